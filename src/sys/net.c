// SPDX-License-Identifier: ISC
// What all sockets of one loop share.
#include "sys/net_int.h"
#include "base/mem.h"
#include "sys/tls_int.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SPARE_CHUNKS = 64 };

static void on_events(uv_poll_t *poll, int status, int events)
{
    struct net *net = poll->data;
    int max = (int)(sizeof(net->batch) / sizeof(net->batch[0]));
    int count = epoll_wait(net->epoll, net->batch, max, 0);
    net->batch_end = count > 0 ? count : 0;
    for (net->batch_next = 0; net->batch_next < net->batch_end;) {
        struct epoll_event *e = &net->batch[net->batch_next++];
        struct net_watch *watch = e->data.ptr;
        if (watch != NULL)
            watch->fn(watch, e->events);
    }
    net->batch_next = net->batch_end = 0;
}

static void on_poll_closed(uv_handle_t *handle)
{
    xfree(handle);
}

static void on_exit_loop(void *ctx)
{
    struct net *net = ctx;
    stream_drop_all(net);
    defer_cancel(&net->turn);
    defer_cancel(&net->reap);
    timer_stop(&net->again);
    tls_cache_free(&net->tls);
    uv_close((uv_handle_t *)net->poll, on_poll_closed);
    close(net->epoll);
    while (net->spare != NULL) {
        struct chunk *chunk = net->spare;
        net->spare = chunk->next;
        xfree(chunk);
    }
    loop_uv(net->loop)->data = NULL;
    xfree(net->clear);
    xfree(net);
}

static void on_turn(void *ctx)
{
    stream_serve_turns(ctx);
}

static void on_again(void *ctx)
{
    stream_serve_busy(ctx);
}

struct net *net_of(struct loop *loop)
{
    uv_loop_t *uv = loop_uv(loop);
    if (uv->data != NULL)
        return uv->data;
    struct net *net = xcalloc(1, sizeof(*net));
    net->loop = loop;
    list_init(&net->streams);
    list_init(&net->turns);
    list_init(&net->busy);
    list_init(&net->dead);
    net->turn = (struct defer){.fn = on_turn, .ctx = net};
    timer_init(&net->again, loop, on_again, net);
    net->epoll = epoll_create1(EPOLL_CLOEXEC);
    net->poll = xcalloc(1, sizeof(*net->poll));
    net->poll->data = net;
    if (net->epoll < 0 || uv_poll_init(uv, net->poll, net->epoll) != 0 ||
        uv_poll_start(net->poll, UV_READABLE, on_events) != 0) {
        fprintf(stderr, "waypost: cannot make an epoll set: %s\n", strerror(errno));
        abort();
    }
    uv->data = net;
    loop_on_exit(loop, &net->exit, on_exit_loop, net);
    return net;
}

static void set(struct net *net, int op, struct net_watch *watch, uint32_t events)
{
    struct epoll_event e = {.events = events, .data.ptr = watch};
    if (epoll_ctl(net->epoll, op, watch->fd, &e) == 0)
        return;
    // Only memory (or fs.epoll.max_user_watches) can be short here; a socket that is never heard
    // of again would hang its session for ever.
    fprintf(stderr, "waypost: epoll_ctl: %s\n", strerror(errno));
    abort();
}

void net_watch(struct net *net, struct net_watch *watch, uint32_t events)
{
    set(net, EPOLL_CTL_ADD, watch, events);
}

void net_watch_change(struct net *net, struct net_watch *watch, uint32_t events)
{
    set(net, EPOLL_CTL_MOD, watch, events);
}

void net_unwatch(struct net *net, struct net_watch *watch)
{
    epoll_ctl(net->epoll, EPOLL_CTL_DEL, watch->fd, NULL);
    for (int i = net->batch_next; i < net->batch_end; i++)
        if (net->batch[i].data.ptr == watch)
            net->batch[i].data.ptr = NULL;
}

static struct chunk *chunk_new(struct net *net)
{
    struct chunk *chunk = net->spare;
    if (chunk != NULL) {
        net->spare = chunk->next;
        net->spares--;
    } else {
        chunk = xmalloc(sizeof(*chunk));
    }
    chunk->next = NULL;
    chunk->begin = chunk->end = 0;
    return chunk;
}

static void chunk_free(struct net *net, struct chunk *chunk)
{
    if (net->spares >= SPARE_CHUNKS) {
        xfree(chunk);
        return;
    }
    chunk->next = net->spare;
    net->spare = chunk;
    net->spares++;
}

void chunks_append(struct net *net, struct chunks *chunks, const void *bytes, size_t len)
{
    const char *from = bytes;
    chunks->len += len;
    while (len > 0) {
        struct chunk *last = chunks->last;
        if (last == NULL || last->end == CHUNK_BYTES) {
            struct chunk *chunk = chunk_new(net);
            if (last == NULL)
                chunks->first = chunk;
            else
                last->next = chunk;
            chunks->last = last = chunk;
        }
        size_t part = CHUNK_BYTES - last->end;
        if (part > len)
            part = len;
        memcpy(last->data + last->end, from, part);
        last->end += (uint32_t)part;
        from += part;
        len -= part;
    }
}

void chunks_consume(struct net *net, struct chunks *chunks, size_t len)
{
    assert(len <= chunks->len);
    chunks->len -= len;
    while (chunks->first != NULL) {
        struct chunk *chunk = chunks->first;
        size_t part = chunk->end - chunk->begin;
        if (part > len) {
            chunk->begin += (uint32_t)len;
            return;
        }
        len -= part;
        chunks->first = chunk->next;
        chunk_free(net, chunk);
    }
    chunks->last = NULL;
}

void chunks_clear(struct net *net, struct chunks *chunks)
{
    chunks_consume(net, chunks, chunks->len);
}
