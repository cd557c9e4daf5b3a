// SPDX-License-Identifier: ISC
// listener list: the ways in, with their limits and what came since the start.
#include "base/limits.h"
#include "base/netaddr.h"
#include "control/command.h"
#include "control/table.h"
#include "control/words.h"

#include <stdio.h>

// The socket for programs of this machine has no entry in the configuration.
static const struct conf_listener submit = {.name = "submit"};

static const struct conf_listener *listener_at(const struct conf *conf, size_t i)
{
    if (i < conf->listener_count)
        return &conf->listeners[i];
    return i == conf->listener_count ? &submit : NULL;
}

static void look(struct reply *r, const struct conf_listener *l, struct control_listener *out)
{
    const struct control_parts *parts = &r->control->parts;
    *out = (struct control_listener){0};
    if (parts->listener != NULL)
        parts->listener(parts->ctx, l->name, out);
}

void listeners_json(struct reply *r, struct json *j)
{
    const struct conf_listener *l;
    struct control_listener c;
    char text[NET_ADDR_TEXT];
    json_open_array(j, "listeners");
    for (size_t i = 0; (l = listener_at(r->control->conf, i)) != NULL; i++) {
        look(r, l, &c);
        json_open(j, NULL);
        json_text(j, "name", l->name);
        json_open_array(j, "addresses");
        for (size_t k = 0; k < l->address_count; k++)
            json_text(j, NULL, net_addr_format(&l->addresses[k], text));
        json_close_array(j);
        json_int(j, "open", c.open);
        json_int(j, "connections", (int64_t)c.connections);
        json_int(j, "turned_away", (int64_t)c.turned_away);
        json_int(j, "messages", (int64_t)c.messages);
        json_int(j, "refused", (int64_t)c.refused);
        json_int(j, "limit", l->connections);
        json_int(j, "limit_per_client", l->connections_per_client);
        json_close(j);
    }
    json_close_array(j);
}

static const struct table_column columns[] = {
    {"LISTENER", 12, false, true},   {"OPEN", 9, true, false},
    {"CAME", 7, true, false},        {"TURNED AWAY", 11, true, false},
    {"MESSAGES", 8, true, false},    {"REFUSED", 7, true, false},
    {"LISTENS ON", 0, false, false}, {NULL},
};

static void row(struct reply *r, const struct conf_listener *l)
{
    struct control_listener c;
    struct buf where;
    char open[40], number[4][WORDS_TEXT], text[NET_ADDR_TEXT];
    look(r, l, &c);
    buf_init(&where, LIMIT_LOG_LINE);
    for (size_t i = 0; i < l->address_count; i++)
        buf_printf(&where, "%s%s", i > 0 ? ", " : "", net_addr_format(&l->addresses[i], text));
    if (l->connections > 0)
        snprintf(open, sizeof(open), "%u/%u", c.open, l->connections);
    else
        snprintf(open, sizeof(open), "%u", c.open);
    const struct str cells[] = {
        str_of(l->name),
        str_of(open),
        str_of(words_number(c.connections, number[0])),
        str_of(words_number(c.turned_away, number[1])),
        str_of(words_number(c.messages, number[2])),
        str_of(words_number(c.refused, number[3])),
        l == &submit ? STR("the socket of this machine's programs") : buf_str(&where),
    };
    reply_table(r, columns, cells);
    buf_free(&where);
}

void cmd_listener_list(struct reply *r)
{
    const struct conf_listener *l;
    if (r->json) {
        struct buf out;
        struct json j = reply_json(&out);
        listeners_json(r, &j);
        reply_json_send(r, &j);
    } else {
        reply_table(r, columns, NULL);
        for (size_t i = 0; (l = listener_at(r->control->conf, i)) != NULL; i++)
            row(r, l);
    }
    reply_end(r, 0);
}
