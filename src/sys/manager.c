// SPDX-License-Identifier: ISC
// NetworkManager by sd-bus. Everything is asked asynchronously and anew after each burst of
// signals; what is under way when another burst comes is finished first.
#include "sys/manager.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "sys/log.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-bus.h>
#include <time.h>

enum {
    SETTLE_MS = 10,
    AGAIN_MS = 60 * 1000, // without a bus
    WRITE_MS = 5,         // looks again while the bus takes nothing, doubled each time up to
    WRITE_MAX_MS = 1000,
    ANSWER_US = 5 * 1000 * 1000,
    SILENT_MS = 2000, // until it is asked again
    TEXT = 128,
    PATH = 256,
};

#define NM                  "org.freedesktop.NetworkManager"
#define NM_PATH             "/org/freedesktop/NetworkManager"
#define ACTIVATED           2
#define CONNECTIVITY_PORTAL 2
#define CONNECTIVITY_FULL   4

struct draft_connection {
    char id[TEXT], uuid[TEXT], type[TEXT], ssid[TEXT], interface[TEXT], apn[TEXT];
    char device[PATH], specific[PATH], settings[PATH];
    bool vpn, is_default, ready;
};
struct draft {
    bool present;
    enum manager_answer captive, metered, connected;
    size_t count;
    struct draft_connection connections[LIMIT_CONNECTIONS_READ];
};

struct manager;
// One question under way.
struct question {
    struct manager *manager;
    sd_bus_slot *slot;
    size_t index; // of the connection
    void (*take)(struct manager *m, size_t index, sd_bus_message *reply);
};
enum { QUESTIONS = LIMIT_CONNECTIONS_READ * 4 + 2 };

struct manager {
    struct loop *loop;
    void (*changed)(void *ctx);
    void *ctx;
    sd_bus *bus; // NULL: there is none
    sd_bus_slot *signals, *owner;
    struct fd_watch *watch;
    struct timer work;   // the bus wants to write, or has a timeout
    struct timer settle; // after signals; without a bus: until the next try
    int64_t write_ms;
    bool processing, again;
    bool silent; // a question was not answered; the draft says too little
    bool told;   // that it is silent
    struct question questions[QUESTIONS];
    size_t asked, open; // questions made, and not answered yet
    struct draft draft, now;
};

static void process(struct manager *m);
static void ask_all(struct manager *m);

// ---- Reading properties ----

// The value of the property at hand; false when it is of another type (and skipped).
static bool read_text(sd_bus_message *reply, const char *type, char *out, size_t size)
{
    const char *text = NULL;
    if (sd_bus_message_read(reply, "v", type, &text) < 0)
        return false;
    snprintf(out, size, "%s", text != NULL ? text : "");
    utf8_make_plain(out); // anybody may name a WLAN
    return true;
}

static uint32_t read_number(sd_bus_message *reply)
{
    uint32_t n = 0;
    return sd_bus_message_read(reply, "v", "u", &n) < 0 ? 0 : n;
}

static bool read_flag(sd_bus_message *reply)
{
    int flag = 0;
    return sd_bus_message_read(reply, "v", "b", &flag) >= 0 && flag != 0;
}

// Each property of an answer of GetAll: `each` reads or skips its value.
static void each_property(sd_bus_message *reply, void *to,
                          bool (*each)(void *to, const char *name, sd_bus_message *reply))
{
    const char *name;
    if (sd_bus_message_enter_container(reply, 'a', "{sv}") < 0)
        return;
    while (sd_bus_message_enter_container(reply, 'e', "sv") > 0) {
        if (sd_bus_message_read(reply, "s", &name) < 0)
            return;
        if (!each(to, name, reply) && sd_bus_message_skip(reply, "v") < 0)
            return;
        if (sd_bus_message_exit_container(reply) < 0)
            return;
    }
}

static void ask(struct manager *m, const char *path, const char *interface, size_t index,
                void (*take)(struct manager *m, size_t index, sd_bus_message *reply));
static void ask_settings(struct manager *m, const char *path, size_t index);

// ---- The answers ----

static bool each_of_point(void *to, const char *name, sd_bus_message *reply)
{
    struct draft_connection *c = to;
    const void *bytes;
    size_t len;
    if (strcmp(name, "Ssid") != 0 || sd_bus_message_enter_container(reply, 'v', "ay") < 0)
        return false;
    if (sd_bus_message_read_array(reply, 'y', &bytes, &len) >= 0) {
        len = len < TEXT - 1 ? len : TEXT - 1;
        memcpy(c->ssid, bytes, len);
        c->ssid[len] = '\0';
        utf8_make_plain(c->ssid);
    }
    return sd_bus_message_exit_container(reply) >= 0;
}

static void take_point(struct manager *m, size_t index, sd_bus_message *reply)
{
    each_property(reply, &m->draft.connections[index], each_of_point);
}

static bool each_of_device(void *to, const char *name, sd_bus_message *reply)
{
    struct draft_connection *c = to;
    if (strcmp(name, "Interface") == 0 && c->interface[0] == '\0')
        return read_text(reply, "s", c->interface, TEXT);
    // What addresses are on, when it is another (a modem's, a tunnel's).
    if (strcmp(name, "IpInterface") == 0) {
        char text[TEXT];
        if (!read_text(reply, "s", text, TEXT))
            return false;
        if (text[0] != '\0')
            memcpy(c->interface, text, TEXT);
        return true;
    }
    return false;
}

static void take_device(struct manager *m, size_t index, sd_bus_message *reply)
{
    each_property(reply, &m->draft.connections[index], each_of_device);
}

static bool each_of_modem(void *to, const char *name, sd_bus_message *reply)
{
    struct draft_connection *c = to;
    return strcmp(name, "apn") == 0 && read_text(reply, "s", c->apn, TEXT);
}

// Groups of settings, of which a modem's is one.
static void take_settings(struct manager *m, size_t index, sd_bus_message *reply)
{
    const char *group;
    if (sd_bus_message_enter_container(reply, 'a', "{sa{sv}}") < 0)
        return;
    while (sd_bus_message_enter_container(reply, 'e', "sa{sv}") > 0) {
        if (sd_bus_message_read(reply, "s", &group) < 0)
            return;
        if (strcmp(group, "gsm") == 0) {
            each_property(reply, &m->draft.connections[index], each_of_modem);
            return;
        }
        if (sd_bus_message_skip(reply, "a{sv}") < 0 || sd_bus_message_exit_container(reply) < 0)
            return;
    }
}

static bool first_path(sd_bus_message *reply, char *out)
{
    const char *path = NULL;
    if (sd_bus_message_enter_container(reply, 'v', "ao") < 0)
        return false;
    if (sd_bus_message_enter_container(reply, 'a', "o") >= 0) {
        if (sd_bus_message_read(reply, "o", &path) > 0)
            snprintf(out, PATH, "%s", path);
        while (sd_bus_message_read(reply, "o", &path) > 0)
            ;
        sd_bus_message_exit_container(reply);
    }
    return sd_bus_message_exit_container(reply) >= 0;
}

static bool each_of_active(void *to, const char *name, sd_bus_message *reply)
{
    struct draft_connection *c = to;
    if (strcmp(name, "Id") == 0)
        return read_text(reply, "s", c->id, TEXT);
    if (strcmp(name, "Uuid") == 0)
        return read_text(reply, "s", c->uuid, TEXT);
    if (strcmp(name, "Type") == 0)
        return read_text(reply, "s", c->type, TEXT);
    if (strcmp(name, "SpecificObject") == 0)
        return read_text(reply, "o", c->specific, PATH);
    if (strcmp(name, "Connection") == 0)
        return read_text(reply, "o", c->settings, PATH);
    if (strcmp(name, "Devices") == 0)
        return first_path(reply, c->device);
    if (strcmp(name, "Vpn") == 0)
        c->vpn = read_flag(reply);
    else if (strcmp(name, "Default") == 0 || strcmp(name, "Default6") == 0)
        c->is_default = read_flag(reply) || c->is_default;
    else if (strcmp(name, "State") == 0)
        c->ready = read_number(reply) == ACTIVATED;
    else
        return false;
    return true;
}

static void take_active(struct manager *m, size_t index, sd_bus_message *reply)
{
    struct draft_connection *c = &m->draft.connections[index];
    each_property(reply, c, each_of_active);
    // The device of a VPN is the one it runs over: the link of another connection.
    bool lent = strcmp(c->type, "vpn") == 0;
    if (c->device[0] == '/' && c->device[1] != '\0' && !lent)
        ask(m, c->device, NM ".Device", index, take_device);
    if (strcmp(c->type, "gsm") == 0 && c->settings[0] == '/')
        ask_settings(m, c->settings, index);
    if (strstr(c->specific, "/AccessPoint/") != NULL)
        ask(m, c->specific, NM ".AccessPoint", index, take_point);
}

struct top {
    struct draft *draft;
    char paths[LIMIT_CONNECTIONS_READ][PATH];
    size_t count;
};

static bool read_paths(struct top *top, sd_bus_message *reply)
{
    const char *path;
    if (sd_bus_message_enter_container(reply, 'v', "ao") < 0)
        return false;
    if (sd_bus_message_enter_container(reply, 'a', "o") >= 0) {
        while (sd_bus_message_read(reply, "o", &path) > 0)
            if (top->count < LIMIT_CONNECTIONS_READ)
                snprintf(top->paths[top->count++], PATH, "%s", path);
        sd_bus_message_exit_container(reply);
    }
    return sd_bus_message_exit_container(reply) >= 0;
}

static bool each_of_top(void *to, const char *name, sd_bus_message *reply)
{
    struct top *top = to;
    uint32_t n;
    if (strcmp(name, "ActiveConnections") == 0)
        return read_paths(top, reply);
    if (strcmp(name, "Connectivity") == 0) {
        n = read_number(reply);
        top->draft->captive = n == 0                     ? MANAGER_UNKNOWN
                              : n == CONNECTIVITY_PORTAL ? MANAGER_YES
                                                         : MANAGER_NO;
        top->draft->connected = n == 0                   ? MANAGER_UNKNOWN
                                : n == CONNECTIVITY_FULL ? MANAGER_YES
                                                         : MANAGER_NO;
        return true;
    }
    if (strcmp(name, "Metered") == 0) {
        n = read_number(reply); // yes, no, guess-yes, guess-no
        top->draft->metered = n == 1 || n == 3   ? MANAGER_YES
                              : n == 2 || n == 4 ? MANAGER_NO
                                                 : MANAGER_UNKNOWN;
        return true;
    }
    return false;
}

static void take_top(struct manager *m, size_t index, sd_bus_message *reply)
{
    struct top *top = xcalloc(1, sizeof(*top));
    top->draft = &m->draft;
    m->draft.present = true;
    each_property(reply, top, each_of_top);
    m->draft.count = top->count;
    for (size_t i = 0; i < top->count; i++)
        ask(m, top->paths[i], NM ".Connection.Active", i, take_active);
    xfree(top);
}

// ---- Asking ----

static void forget_questions(struct manager *m)
{
    for (size_t i = 0; i < m->asked; i++)
        m->questions[i].slot = sd_bus_slot_unref(m->questions[i].slot);
    m->asked = m->open = 0;
}

// Not to know is no move: of a manager that hangs, what it said before holds until it speaks.
static void stay(struct manager *m)
{
    if (!m->told)
        log_warn("network", 0,
                 "NetworkManager does not answer; what it said before is taken as it was");
    m->told = true;
    m->again = false;
    timer_start(&m->settle, SILENT_MS);
}

static void conclude(struct manager *m)
{
    bool differs = memcmp(&m->draft, &m->now, sizeof(m->now)) != 0;
    if (m->silent) {
        stay(m);
        return;
    }
    m->told = false;
    if (m->again) {
        m->again = false;
        timer_start(&m->settle, SETTLE_MS);
    }
    if (!differs)
        return;
    m->now = m->draft;
    m->changed(m->ctx);
}

static int on_answer(sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
    struct question *q = userdata;
    struct manager *m = q->manager;
    // Another error: an object that went away meanwhile, its signal follows; or all of it.
    if (sd_bus_message_is_method_error(reply, SD_BUS_ERROR_NO_REPLY))
        m->silent = true;
    else if (sd_bus_message_get_error(reply) == NULL)
        q->take(m, q->index, reply);
    if (--m->open == 0)
        conclude(m);
    return 0;
}

// `argument` NULL: none.
static void call(struct manager *m, const char *path, const char *interface, const char *method,
                 const char *argument, size_t index,
                 void (*take)(struct manager *m, size_t index, sd_bus_message *reply))
{
    sd_bus_message *message = NULL;
    if (m->asked == QUESTIONS)
        return;
    struct question *q = &m->questions[m->asked];
    *q = (struct question){.manager = m, .index = index, .take = take};
    if (sd_bus_message_new_method_call(m->bus, &message, NM, path, interface, method) >= 0 &&
        (argument == NULL || sd_bus_message_append(message, "s", argument) >= 0) &&
        sd_bus_message_set_auto_start(message, 0) >= 0 &&
        sd_bus_call_async(m->bus, &q->slot, message, on_answer, q, ANSWER_US) >= 0) {
        m->asked++;
        m->open++;
    }
    sd_bus_message_unref(message);
}

// All properties of an object.
static void ask(struct manager *m, const char *path, const char *interface, size_t index,
                void (*take)(struct manager *m, size_t index, sd_bus_message *reply))
{
    call(m, path, "org.freedesktop.DBus.Properties", "GetAll", interface, index, take);
}

// What the active connection was made from. No secrets are in the answer.
static void ask_settings(struct manager *m, const char *path, size_t index)
{
    call(m, path, NM ".Settings.Connection", "GetSettings", NULL, index, take_settings);
}

static void ask_all(struct manager *m)
{
    if (m->open > 0) {
        m->again = true;
        return;
    }
    forget_questions(m);
    memset(&m->draft, 0, sizeof(m->draft));
    m->silent = false;
    ask(m, NM_PATH, NM, 0, take_top);
}

// ---- The bus ----

static void close_bus(struct manager *m)
{
    forget_questions(m);
    timer_stop(&m->work);
    fd_watch_free(&m->watch);
    m->signals = sd_bus_slot_unref(m->signals);
    m->owner = sd_bus_slot_unref(m->owner);
    if (m->bus != NULL)
        sd_bus_close(m->bus);
    m->bus = sd_bus_unref(m->bus);
}

static void lost(struct manager *m)
{
    bool was = m->now.present;
    close_bus(m);
    memset(&m->now, 0, sizeof(m->now));
    timer_start(&m->settle, AGAIN_MS);
    if (was)
        m->changed(m->ctx);
}

// Access points tell of their strength all day long, devices of their octets.
static bool matters(sd_bus_message *signal)
{
    const char *path = sd_bus_message_get_path(signal), *interface = NULL;
    if (path != NULL && strstr(path, "/AccessPoint/") != NULL)
        return false;
    if (sd_bus_message_is_signal(signal, "org.freedesktop.DBus.Properties", "PropertiesChanged") &&
        sd_bus_message_read(signal, "s", &interface) > 0)
        return strstr(interface, ".Statistics") == NULL && strstr(interface, ".Wireless") == NULL;
    return true;
}

static int on_signal(sd_bus_message *signal, void *userdata, sd_bus_error *error)
{
    struct manager *m = userdata;
    if (matters(signal) && !timer_running(&m->settle))
        timer_start(&m->settle, SETTLE_MS);
    return 0;
}

static int on_owner(sd_bus_message *signal, void *userdata, sd_bus_error *error)
{
    struct manager *m = userdata;
    if (!timer_running(&m->settle))
        timer_start(&m->settle, SETTLE_MS);
    return 0;
}

static int on_installed(sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
    return 0;
}

static void on_readable(void *ctx)
{
    process(ctx);
}

static bool open_bus(struct manager *m)
{
    if (sd_bus_open_system(&m->bus) < 0)
        return false;
    int fd = sd_bus_get_fd(m->bus);
    if (fd < 0 ||
        sd_bus_match_signal_async(m->bus, &m->signals, NM, NULL, NULL, NULL, on_signal,
                                  on_installed, m) < 0 ||
        sd_bus_add_match_async(m->bus, &m->owner,
                               "type='signal',sender='org.freedesktop.DBus',"
                               "member='NameOwnerChanged',arg0='" NM "'",
                               on_owner, on_installed, m) < 0)
        return false;
    m->watch = fd_watch_new(m->loop, fd, on_readable, m);
    m->write_ms = WRITE_MS;
    ask_all(m);
    process(m);
    return m->bus != NULL;
}

// What the bus waits for besides being readable.
static void arm(struct manager *m)
{
    uint64_t due_us = UINT64_MAX;
    int events = sd_bus_get_events(m->bus);
    int64_t wait = INT64_MAX;
    struct timespec now;
    if (sd_bus_get_timeout(m->bus, &due_us) >= 0 && due_us != UINT64_MAX) {
        clock_gettime(CLOCK_MONOTONIC, &now);
        int64_t now_us = (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
        wait = (int64_t)due_us > now_us ? ((int64_t)due_us - now_us) / 1000 + 1 : 0;
    }
    if (events >= 0 && (events & POLLOUT) != 0) {
        wait = m->write_ms < wait ? m->write_ms : wait;
        m->write_ms = m->write_ms * 2 < WRITE_MAX_MS ? m->write_ms * 2 : WRITE_MAX_MS;
    } else {
        m->write_ms = WRITE_MS;
    }
    if (wait != INT64_MAX)
        timer_start(&m->work, wait);
    else
        timer_stop(&m->work);
}

static void process(struct manager *m)
{
    int n;
    if (m->processing || m->bus == NULL)
        return;
    m->processing = true;
    do
        n = sd_bus_process(m->bus, NULL);
    while (n > 0);
    m->processing = false;
    if (n < 0)
        lost(m);
    else
        arm(m);
}

static void on_work(void *ctx)
{
    process(ctx);
}

static void on_settled(void *ctx)
{
    struct manager *m = ctx;
    if (m->bus == NULL) {
        if (!open_bus(m))
            lost(m);
        return;
    }
    ask_all(m);
    process(m);
}

struct manager *manager_new(struct loop *loop, void (*changed)(void *ctx), void *ctx)
{
    struct manager *m = xcalloc(1, sizeof(*m));
    m->loop = loop;
    m->changed = changed;
    m->ctx = ctx;
    timer_init(&m->work, loop, on_work, m);
    timer_init(&m->settle, loop, on_settled, m);
    timer_start(&m->settle, 0);
    return m;
}

void manager_free(struct manager **manager)
{
    struct manager *m = *manager;
    *manager = NULL;
    if (m == NULL)
        return;
    timer_stop(&m->settle);
    close_bus(m);
    xfree(m);
}

void manager_read(struct manager *m, struct arena *arena, struct manager_state *out)
{
    const struct draft *d = &m->now;
    struct manager_connection *list = arena_alloc(arena, (d->count + 1) * sizeof(*list));
    *out = (struct manager_state){.present = d->present,
                                  .captive = d->captive,
                                  .metered = d->metered,
                                  .connected = d->connected,
                                  .count = d->count,
                                  .connections = list};
    for (size_t i = 0; i < d->count; i++) {
        const struct draft_connection *c = &d->connections[i];
        list[i] = (struct manager_connection){.id = arena_strdup(arena, c->id),
                                              .uuid = arena_strdup(arena, c->uuid),
                                              .type = arena_strdup(arena, c->type),
                                              .ssid = arena_strdup(arena, c->ssid),
                                              .interface = arena_strdup(arena, c->interface),
                                              .apn = arena_strdup(arena, c->apn),
                                              .vpn = c->vpn,
                                              .is_default = c->is_default,
                                              .ready = c->ready};
    }
}
