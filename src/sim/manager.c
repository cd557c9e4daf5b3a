// SPDX-License-Identifier: ISC
// NetworkManager in the simulated world: it says what the driver wants.
#include "sim/inside.h"
#include "sys/manager.h"

struct manager {
    struct link all;
    struct loop *loop;
    struct event event;
    void (*changed)(void *ctx);
    void *ctx;
};

enum { CONNECTIONS = 16, TEXT = 64 };
static struct link managers;
static struct {
    struct manager_state state;
    struct manager_connection connections[CONNECTIONS];
    char texts[CONNECTIONS][6][TEXT];
} said;

static const char *keep(char text[TEXT], const char *from)
{
    snprintf(text, TEXT, "%s", from != NULL ? from : "");
    return text;
}

void world_manager_set(const struct manager_state *state)
{
    SIM_CALL;
    said.state = *state;
    said.state.connections = said.connections;
    if (said.state.count > CONNECTIONS)
        said.state.count = CONNECTIONS;
    for (size_t i = 0; i < said.state.count; i++) {
        const struct manager_connection *c = &state->connections[i];
        struct manager_connection *to = &said.connections[i];
        *to = *c;
        to->id = keep(said.texts[i][0], c->id);
        to->uuid = keep(said.texts[i][1], c->uuid);
        to->type = keep(said.texts[i][2], c->type);
        to->ssid = keep(said.texts[i][3], c->ssid);
        to->interface = keep(said.texts[i][4], c->interface);
        to->apn = keep(said.texts[i][5], c->apn);
    }
    struct manager *m;
    list_each (&managers, m, struct manager, all)
        event_at(&m->event, sim.now_us + 100 + (int64_t)sim_below(5000));
}

static void tell(struct event *event)
{
    struct manager *m = container_of(event, struct manager, event);
    SIM_CALLBACK(m->loop, m->changed(m->ctx));
}

struct manager *manager_new(struct loop *loop, void (*changed)(void *ctx), void *ctx)
{
    SIM_CALL;
    struct manager *m = sim_alloc(SIM_CALLER, sizeof(*m));
    m->loop = loop;
    m->changed = changed;
    m->ctx = ctx;
    event_init(&m->event, loop, tell);
    list_append(&managers, &m->all);
    if (said.state.present)
        event_at(&m->event, sim_departs_us() + 1000);
    return m;
}

void manager_free(struct manager **manager)
{
    if (*manager == NULL)
        return;
    SIM_CALL;
    event_cancel(&(*manager)->event);
    list_remove(&(*manager)->all);
    xfree(*manager);
    *manager = NULL;
}

void manager_read(struct manager *manager, struct arena *arena, struct manager_state *out)
{
    *out = said.state;
    struct manager_connection *copy = arena_alloc(arena, (said.state.count + 1) * sizeof(*copy));
    for (size_t i = 0; i < said.state.count; i++) {
        const struct manager_connection *c = &said.connections[i];
        copy[i] = *c;
        copy[i].id = arena_strdup(arena, c->id);
        copy[i].uuid = arena_strdup(arena, c->uuid);
        copy[i].type = arena_strdup(arena, c->type);
        copy[i].ssid = arena_strdup(arena, c->ssid);
        copy[i].interface = arena_strdup(arena, c->interface);
        copy[i].apn = arena_strdup(arena, c->apn);
    }
    out->connections = copy;
}

void manager_init(void)
{
    memset(&said, 0, sizeof(said));
    list_init(&managers);
}

void manager_crash(void)
{
    list_init(&managers);
}
