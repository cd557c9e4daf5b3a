// SPDX-License-Identifier: ISC
// One small HTTP request (RFC 9112): only the status line of the answer is read. A library for HTTP
// would bring threads or a loop of its own, and a world the simulation does not know.
#include "watch/captive.h"
#include "base/mem.h"
#include "sys/stream.h"

#include <stdio.h>
#include <stdlib.h>

enum { ANSWER_MS = 10 * 1000, AGAIN_MS = 60 * 1000, STATUS_LINE = 256 };

struct captive {
    struct loop *loop;
    struct names *names;
    void (*changed)(void *ctx);
    void *ctx;
    char *url, host[256], path[512];
    uint16_t port;
    struct names_query *query;
    struct stream *stream;
    struct timer timer; // of the answer, or until it is asked again
    char line[STATUS_LINE];
    size_t len;
    bool asking, captive, silent; // silent: there was no answer the last time
    char why[300];
};

static void stop(struct captive *c)
{
    names_cancel(&c->query);
    if (c->stream != NULL)
        stream_close(&c->stream, false);
    timer_stop(&c->timer);
    c->asking = false;
    c->len = 0;
}

static void conclude(struct captive *c, bool captive, const char *why)
{
    bool before = c->captive;
    stop(c);
    c->captive = captive;
    if (why != c->why)
        snprintf(c->why, sizeof(c->why), "%s", why);
    if (captive)
        timer_start(&c->timer, AGAIN_MS);
    if (before != captive)
        c->changed(c->ctx);
}

// "HTTP/1.1 204 No Content". Anything else from there is not the page that was asked for.
static void judge(struct captive *c)
{
    unsigned code = 0;
    char why[300];
    c->line[c->len] = '\0';
    c->silent = false;
    if (sscanf(c->line, "HTTP/1.%*u %3u", &code) != 1) {
        conclude(c, true, "something that is not HTTP answered");
        return;
    }
    snprintf(why, sizeof(why), "%.200s answered %u instead of 204", c->url, code);
    conclude(c, code != 204, code == 204 ? "" : why);
}

static size_t on_data(void *ctx, const char *bytes, size_t len)
{
    struct captive *c = ctx;
    for (size_t i = 0; i < len && c->asking; i++) {
        if (bytes[i] == '\n' || c->len == STATUS_LINE - 1)
            judge(c);
        else
            c->line[c->len++] = bytes[i];
    }
    return len;
}

static void on_event(void *ctx, enum stream_event event)
{
    struct captive *c = ctx;
    char text[900];
    if (event == STREAM_CONNECTED) {
        int n = snprintf(text, sizeof(text),
                         "GET %s HTTP/1.0\r\nHost: %s\r\nUser-Agent: waypost\r\n"
                         "Connection: close\r\n\r\n",
                         c->path, c->host);
        stream_write(c->stream, text, (size_t)n);
    } else if (event == STREAM_EOF || event == STREAM_ERROR) {
        // No answer says nothing of a portal: mail finds out by itself.
        conclude(c, false, "");
    }
}

static const struct stream_handler handler = {on_data, on_event};

static void on_address(void *ctx, const struct names_answer *answer)
{
    struct captive *c = ctx;
    c->query = NULL;
    if (answer->status != NAMES_OK) {
        conclude(c, false, "");
        return;
    }
    struct net_addr to = answer->records[0].addr;
    to.port = c->port;
    c->stream = stream_connect(c->loop, &to, NULL, &handler, c);
}

static void on_timer(void *ctx)
{
    struct captive *c = ctx;
    bool silent = c->asking && !c->silent;
    if (!c->asking) {
        captive_ask(c, false);
        return;
    }
    // Once it changes nothing; but a place that drops such requests is not captive for ever.
    conclude(c, c->captive && silent, c->why);
    c->silent = silent;
}

void captive_ask(struct captive *c, bool offline)
{
    struct net_addr literal;
    stop(c);
    if (c->url == NULL || offline) {
        c->captive = false;
        return;
    }
    c->asking = true;
    timer_start(&c->timer, ANSWER_MS);
    if (net_addr_parse_ip(str_of(c->host), &literal)) {
        literal.port = c->port;
        c->stream = stream_connect(c->loop, &literal, NULL, &handler, c);
        return;
    }
    c->query = names_lookup(c->names, c->host, NAMES_A, on_address, c);
}

void captive_set_url(struct captive *c, const char *url)
{
    unsigned port = 80;
    if (url != NULL && c->url != NULL && strcmp(url, c->url) == 0)
        return; // what it answered holds
    stop(c);
    xfree(c->url);
    c->url = NULL;
    c->captive = false;
    if (url == NULL)
        return;
    c->path[0] = '/';
    c->path[1] = '\0';
    if (sscanf(url, "http://%255[^:/]:%5u%511s", c->host, &port, c->path) < 2 &&
        sscanf(url, "http://%255[^:/]%511s", c->host, c->path) < 1)
        return;
    c->port = (uint16_t)port;
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
