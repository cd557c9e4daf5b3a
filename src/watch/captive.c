// SPDX-License-Identifier: ISC
// One small HTTP request (RFC 9112), of whose answer only the status line is read, and one question
// to the DNS. A library for HTTP would bring threads or a loop of its own, and a world the
// simulation does not know.
#include "watch/captive.h"
#include "base/mem.h"
#include "sys/clock.h"
#include "sys/log.h"
#include "sys/stream.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    ANSWER_MS = 10 * 1000, // all of it
    IPV4_MS = 5 * 1000,    // alone; then IPv6 is asked for
    AGAIN_MS = 60 * 1000,
    LIES_MOST = 60, // so often in a row a lie is enough without the page: an hour
    STATUS_LINE = 256
};

enum page {
    PAGE_ASKED,
    PAGE_OPEN,   // 204
    PAGE_PORTAL, // anything else; `why` says what
    PAGE_FAILED, // no address, no connection, nothing in it
    PAGE_SILENT, // not in time
};

struct captive {
    struct loop *loop;
    struct names *names;
    void (*changed)(void *ctx);
    void *ctx;
    char *url, host[256], path[512];
    uint16_t port;
    struct names_query *query;  // for the page's address
    struct names_query *nobody; // for the name that does not exist
    struct stream *stream;
    struct timer timer; // of the answer, or until it is asked again
    char line[STATUS_LINE];
    size_t len;
    enum page page;
    bool asking, captive;
    bool ipv6;    // it has its turn, or there is no other
    bool late;    // IPv4 has had its time alone
    bool silent;  // there was no answer the last time
    bool lied;    // the DNS, this time
    bool lies;    // as it is told
    unsigned lie; // times in a row that a lie was enough
    char why[400];
};

static void leave_page(struct captive *c)
{
    names_cancel(&c->query);
    if (c->stream != NULL)
        stream_close(&c->stream, false);
    c->len = 0;
}

static void stop(struct captive *c)
{
    leave_page(c);
    names_cancel(&c->nobody);
    timer_stop(&c->timer);
    c->asking = false;
}

// What is true of the DNS here; said in the log once.
static bool learn_lie(struct captive *c)
{
    bool before = c->lies;
    c->lies = c->lied;
    if (c->lies && !before)
        log_warn(
            "network", 0,
            "DNS here answers names that do not exist: a portal, or a provider that redirects");
    return c->lies != before;
}

// Without the page's word: does mail wait?
static bool without_page(struct captive *c)
{
    if (c->lied && c->lie < LIES_MOST) {
        c->lie++;
        snprintf(c->why, sizeof(c->why),
                 "DNS here answers names that do not exist; a portal or a provider that redirects, "
                 "for %.200s does not answer",
                 c->url);
        return true;
    }
    // No answer says nothing of a portal: mail finds out by itself. Silence changes nothing once;
    // but a place that drops such requests is not captive for ever.
    return c->page == PAGE_SILENT && c->captive && !c->silent;
}

// All that matters is known. The DNS may still be asked: the page's word does not wait for it.
static void conclude(struct captive *c)
{
    bool before = c->captive, answered = c->page == PAGE_OPEN || c->page == PAGE_PORTAL;
    if (answered)
        c->lie = 0;
    c->captive = answered ? c->page == PAGE_PORTAL : without_page(c);
    c->silent = c->page == PAGE_SILENT;
    c->asking = false;
    leave_page(c);
    timer_stop(&c->timer);
    if (c->captive)
        timer_start(&c->timer, AGAIN_MS);
    bool news = c->nobody == NULL && learn_lie(c);
    if (before != c->captive || news)
        c->changed(c->ctx);
}

static void page_is(struct captive *c, enum page page)
{
    c->page = page;
    if (page == PAGE_OPEN || page == PAGE_PORTAL || c->nobody == NULL)
        conclude(c);
}

// "HTTP/1.1 204 No Content". Anything else from there is not the page that was asked for.
static void judge(struct captive *c)
{
    unsigned code = 0;
    c->line[c->len] = '\0';
    if (sscanf(c->line, "HTTP/1.%*u %3u", &code) != 1)
        snprintf(c->why, sizeof(c->why), "something that is not HTTP answered");
    else
        snprintf(c->why, sizeof(c->why), "%.200s answered %u instead of 204", c->url, code);
    page_is(c, code == 204 ? PAGE_OPEN : PAGE_PORTAL);
}

static size_t on_data(void *ctx, const char *bytes, size_t len)
{
    struct captive *c = ctx;
    for (size_t i = 0; i < len && c->page == PAGE_ASKED; i++) {
        if (bytes[i] == '\n' || c->len == STATUS_LINE - 1)
            judge(c);
        else
            c->line[c->len++] = bytes[i];
    }
    return len;
}

static void on_address(void *ctx, const struct names_answer *answer);

// IPv4 is not the way: the other one, once.
static void turn(struct captive *c)
{
    c->ipv6 = true;
    c->query = names_lookup(c->names, c->host, NAMES_AAAA, on_address, c);
}

static void way_failed(struct captive *c)
{
    leave_page(c);
    if (c->ipv6)
        page_is(c, PAGE_FAILED);
    else
        turn(c);
}

static void on_event(void *ctx, enum stream_event event)
{
    struct captive *c = ctx;
    char text[1200];
    if (event == STREAM_CONNECTED) {
        const char *host = c->url + strlen("http://");
        int n = snprintf(text, sizeof(text),
                         "GET %s HTTP/1.0\r\nHost: %.*s\r\nUser-Agent: waypost\r\n"
                         "Connection: close\r\n\r\n",
                         c->path, (int)strcspn(host, "/"), host);
        stream_write(c->stream, text, (size_t)n);
    } else if (event == STREAM_EOF || event == STREAM_ERROR) {
        if (c->query != NULL) // IPv6 is asked for already
            stream_close(&c->stream, false);
        else
            way_failed(c);
    }
}

static const struct stream_handler handler = {on_data, on_event};

static void go(struct captive *c, struct net_addr to)
{
    leave_page(c);
    to.port = c->port;
    c->stream = stream_connect(c->loop, &to, NULL, &handler, c);
}

static void on_address(void *ctx, const struct names_answer *answer)
{
    struct captive *c = ctx;
    c->query = NULL;
    if (answer->status == NAMES_OK)
        go(c, answer->records[0].addr);
    else if (c->stream == NULL)
        way_failed(c);
    // Else IPv4 has the rest of the time.
}

static void on_nobody(void *ctx, const struct names_answer *answer)
{
    struct captive *c = ctx;
    c->nobody = NULL;
    c->lied = answer->status == NAMES_OK;
    if (c->asking && c->page != PAGE_ASKED)
        conclude(c); // it was waited for
    else if (!c->asking && learn_lie(c))
        c->changed(c->ctx);
}

static void begin(struct captive *c)
{
    struct net_addr literal;
    char nobody[40];
    c->asking = true;
    c->page = PAGE_ASKED;
    c->lied = c->late = false;
    snprintf(nobody, sizeof(nobody), "%016llx.invalid", (unsigned long long)random_u64());
    c->nobody = names_lookup(c->names, nobody, NAMES_A, on_nobody, c);
    c->ipv6 = net_addr_parse_ip(str_of(c->host), &literal);
    timer_start(&c->timer, IPV4_MS);
    if (c->ipv6)
        go(c, literal);
    else
        c->query = names_lookup(c->names, c->host, NAMES_A, on_address, c);
}

static void on_timer(void *ctx)
{
    struct captive *c = ctx;
    if (!c->asking) {
        stop(c);
        if (c->lies)
            names_refresh(c->names); // the portal's own address may be believed still
        begin(c);
    } else if (!c->late) {
        c->late = true;
        timer_start(&c->timer, ANSWER_MS - IPV4_MS);
        if (c->page == PAGE_ASKED && !c->ipv6 && c->query == NULL)
            turn(c);
    } else {
        names_cancel(&c->nobody);
        page_is(c, c->page == PAGE_ASKED ? PAGE_SILENT : c->page);
    }
}

void captive_ask(struct captive *c, bool offline)
{
    stop(c);
    c->lie = 0;
    if (c->url == NULL || offline) {
        c->captive = c->lies = false;
        return;
    }
    begin(c);
}

// The configuration was checked; what is no address for all that is never asked.
static bool read_url(struct captive *c, const char *url)
{
    const char *at = url + strlen("http://");
    unsigned port = 80;
    int len = 0;
    if (sscanf(at, at[0] == '[' ? "[%255[^]]]%n" : "%255[^:/]%n", c->host, &len) < 1 || len == 0)
        return false;
    at += len;
    if (sscanf(at, ":%5u%n", &port, &len) == 1)
        at += len;
    if (port > UINT16_MAX || (at[0] != '/' && at[0] != '\0'))
        return false; // also a host that is longer than any
    c->port = (uint16_t)port;
    snprintf(c->path, sizeof(c->path), "%s", at[0] == '/' ? at : "/");
    return true;
}

void captive_set_url(struct captive *c, const char *url)
{
    if (url != NULL && c->url != NULL && strcmp(url, c->url) == 0)
        return; // what it answered holds
    stop(c);
    xfree(c->url);
    c->url = NULL;
    c->captive = c->lies = false;
    if (url != NULL && read_url(c, url))
        c->url = xstrdup(url);
}

struct captive *captive_new(struct loop *loop, struct names *names, const char *url,
                            void (*changed)(void *ctx), void *ctx)
{
    struct captive *c = xcalloc(1, sizeof(*c));
    c->loop = loop;
    c->names = names;
    c->changed = changed;
    c->ctx = ctx;
    timer_init(&c->timer, loop, on_timer, c);
    captive_set_url(c, url);
    return c;
}

void captive_free(struct captive **cp)
{
    struct captive *c = *cp;
    *cp = NULL;
    if (c == NULL)
        return;
    stop(c);
    xfree(c->url);
    xfree(c);
}

bool captive_is(const struct captive *c)
{
    return c->captive;
}

const char *captive_why(const struct captive *c)
{
    return c->why;
}

bool captive_dns_lies(const struct captive *c)
{
    return c->lies;
}
