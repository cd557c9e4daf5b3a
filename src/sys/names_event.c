// SPDX-License-Identifier: ISC
// libunbound's events on our loop: its sockets stand in the net's epoll set, its time-outs in the
// loop's timer heap. Semantics are libevent's: an event without UB_EV_PERSIST is gone before its
// callback runs, and the callback may free the event.
#include "sys/names_event.h"
#include "base/mem.h"

#include <assert.h>
#include <sys/time.h>

struct names_event {
    struct ub_event ub; // first
    struct names_base *base;
    short bits;
    void (*cb)(int fd, short bits, void *arg);
    void *arg;
    struct net_watch watch;
    bool watched;
    struct timer timer;
    int64_t every_ms; // what a persistent event restarts its time-out with
};

static struct names_event *of(struct ub_event *ub)
{
    return (struct names_event *)ub;
}

static int event_del(struct ub_event *ub)
{
    struct names_event *ev = of(ub);
    // At once: libunbound closes the descriptor right after.
    if (ev->watched)
        net_unwatch(ev->base->net, &ev->watch);
    ev->watched = false;
    timer_stop(&ev->timer);
    return 0;
}

static void fire(struct names_event *ev, short bits)
{
    if ((ev->bits & UB_EV_PERSIST) == 0)
        event_del(&ev->ub);
    else if (ev->every_ms >= 0)
        timer_start(&ev->timer, ev->every_ms);
    ev->cb(ev->watch.fd, bits, ev->arg);
}

static void on_ready(struct net_watch *watch, uint32_t events)
{
    struct names_event *ev = container_of(watch, struct names_event, watch);
    short bits = 0;
    if ((events & (EPOLLIN | EPOLLERR | EPOLLHUP)) != 0)
        bits |= UB_EV_READ;
    if ((events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) != 0)
        bits |= UB_EV_WRITE;
    bits &= ev->bits;
    if (bits != 0)
        fire(ev, bits);
}

static void on_timeout(void *ctx)
{
    fire(ctx, UB_EV_TIMEOUT);
}

static int event_add(struct ub_event *ub, struct timeval *tv)
{
    struct names_event *ev = of(ub);
    event_del(ub);
    uint32_t events = ((ev->bits & UB_EV_READ) != 0 ? EPOLLIN : 0) |
                      ((ev->bits & UB_EV_WRITE) != 0 ? EPOLLOUT : 0);
    if (ev->watch.fd >= 0 && events != 0) {
        net_watch(ev->base->net, &ev->watch, events);
        ev->watched = true;
    }
    ev->every_ms = -1;
    if (tv != NULL) {
        ev->every_ms = (int64_t)tv->tv_sec * 1000 + (tv->tv_usec + 999) / 1000;
        timer_start(&ev->timer, ev->every_ms);
    }
    return 0;
}

static void event_add_bits(struct ub_event *ub, short bits)
{
    of(ub)->bits |= bits;
}

static void event_del_bits(struct ub_event *ub, short bits)
{
    of(ub)->bits &= (short)~bits;
}

static void event_set_fd(struct ub_event *ub, int fd)
{
    of(ub)->watch.fd = fd;
}

static void event_free(struct ub_event *ub)
{
    event_del(ub);
    xfree(ub);
}

static int event_add_timer(struct ub_event *ub, struct ub_event_base *base,
                           void (*cb)(int, short, void *), void *arg, struct timeval *tv)
{
    struct names_event *ev = of(ub);
    ev->cb = cb;
    ev->arg = arg;
    ev->bits = UB_EV_TIMEOUT;
    ev->watch.fd = -1;
    return event_add(ub, tv);
}

static int no_signal(struct ub_event *ub, struct timeval *tv)
{
    return -1;
}

static int no_signal_del(struct ub_event *ub)
{
    return 0;
}

static void no_winsock(struct ub_event *ub)
{
}

static void no_winsock_block(struct ub_event *ub, int bit)
{
}

static struct ub_event_vmt event_vmt = {
    .add_bits = event_add_bits,
    .del_bits = event_del_bits,
    .set_fd = event_set_fd,
    .free = event_free,
    .add = event_add,
    .del = event_del,
    .add_timer = event_add_timer,
    .del_timer = event_del,
    .add_signal = no_signal,
    .del_signal = no_signal_del,
    .winsock_unregister_wsaevent = no_winsock,
    .winsock_tcp_wouldblock = no_winsock_block,
};

static struct ub_event *base_new_event(struct ub_event_base *ub, int fd, short bits,
                                       void (*cb)(int, short, void *), void *arg)
{
    struct names_event *ev = xcalloc(1, sizeof(*ev));
    ev->ub = (struct ub_event){.magic = UB_EVENT_MAGIC, .vmt = &event_vmt};
    ev->base = (struct names_base *)ub;
    ev->watch = (struct net_watch){.fn = on_ready, .fd = fd};
    ev->bits = bits;
    ev->cb = cb;
    ev->arg = arg;
    timer_init(&ev->timer, ev->base->net->loop, on_timeout, ev);
    return &ev->ub;
}

static void base_free(struct ub_event_base *ub)
{
}

static int base_dispatch(struct ub_event_base *ub)
{
    return 0;
}

static int base_exit(struct ub_event_base *ub, struct timeval *tv)
{
    return 0;
}

static struct ub_event *base_new_signal(struct ub_event_base *ub, int fd,
                                        void (*cb)(int, short, void *), void *arg)
{
    return NULL;
}

static struct ub_event *base_winsock(struct ub_event_base *ub, void *wsaevent,
                                     void (*cb)(int, short, void *), void *arg)
{
    return NULL;
}

static struct ub_event_base_vmt base_vmt = {
    .free = base_free,
    .dispatch = base_dispatch,
    .loopexit = base_exit,
    .new_event = base_new_event,
    .new_signal = base_new_signal,
    .winsock_register_wsaevent = base_winsock,
};

void names_base_init(struct names_base *base, struct loop *loop)
{
    base->ub = (struct ub_event_base){.magic = UB_EVENT_MAGIC, .vmt = &base_vmt};
    base->net = net_of(loop);
}
