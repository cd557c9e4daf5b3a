// SPDX-License-Identifier: ISC
// Word of every change of links, addresses and routes: what the event says is not used but to leave
// out what cannot matter; whoever is told reads the state of now. So an event that was lost
// (ENOBUFS) is one like any other.
#include "base/mem.h"
#include "sys/links.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>

// A word goes out at once but for its burst (an address comes with its routes). Each costs COST_MS
// of a credit that time gives back: whoever walks from place to place never uses it up; a storm of
// routes, as a router's daemon makes one, does, and is told once a second.
enum { BURST_MS = 2, STORM_MS = 1000, COST_MS = 200, CREDIT_MS = 20 * COST_MS };
enum { MESSAGES_A_TURN = 64, EVENT_BYTES = 32768 };

struct links_watch {
    struct loop *loop;
    void (*changed)(void *ctx);
    void *ctx;
    struct mnl_socket *socket;
    struct fd_watch *fd;
    struct timer soon;
    int64_t told_ms, credit_ms;
    char bytes[EVENT_BYTES];
};

static int on_message(const struct nlmsghdr *message, void *ctx)
{
    bool *matters = ctx;
    if ((message->nlmsg_type == RTM_NEWROUTE || message->nlmsg_type == RTM_DELROUTE) &&
        mnl_nlmsg_get_payload_len(message) >= sizeof(struct rtmsg)) {
        // Other tables and what the kernel remembers of single hosts are no place to be.
        const struct rtmsg *info = mnl_nlmsg_get_payload(message);
        if ((info->rtm_table != RT_TABLE_MAIN && info->rtm_table != RT_TABLE_COMPAT) ||
            (info->rtm_flags & RTM_F_CLONED) != 0)
            return MNL_CB_OK;
    }
    *matters = true;
    return MNL_CB_OK;
}

static void on_events(void *ctx)
{
    struct links_watch *w = ctx;
    bool matters = false;
    for (int i = 0; i < MESSAGES_A_TURN; i++) {
        ssize_t n = mnl_socket_recvfrom(w->socket, w->bytes, sizeof(w->bytes));
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            break;
        // Lost, cut short, not understood: something happened.
        if (n <= 0 || mnl_cb_run(w->bytes, (size_t)n, 0, 0, on_message, &matters) < MNL_CB_STOP)
            matters = true;
    }
    if (!matters || timer_running(&w->soon))
        return;
    int64_t since = loop_now_ms(w->loop) - w->told_ms;
    timer_start(&w->soon, w->credit_ms + since >= COST_MS ? BURST_MS : STORM_MS);
}

static void on_soon(void *ctx)
{
    struct links_watch *w = ctx;
    int64_t now = loop_now_ms(w->loop);
    w->credit_ms += now - w->told_ms;
    if (w->credit_ms > CREDIT_MS)
        w->credit_ms = CREDIT_MS;
    w->credit_ms -= COST_MS;
    w->told_ms = now;
    w->changed(w->ctx);
}

static struct mnl_socket *open_socket(struct err *err)
{
    static const int groups[] = {RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR,
                                 RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE};
    struct mnl_socket *socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC | SOCK_NONBLOCK);
    bool ok = socket != NULL && mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) == 0;
    for (size_t i = 0; ok && i < sizeof(groups) / sizeof(groups[0]); i++) {
        int group = groups[i];
        int rc = mnl_socket_setsockopt(socket, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group));
        ok = rc == 0 || group == RTNLGRP_IPV6_IFADDR || group == RTNLGRP_IPV6_ROUTE;
    }
    if (ok)
        return socket;
    err_sys(err, errno, "the kernel does not tell changes of its links (rtnetlink)");
    if (socket != NULL)
        mnl_socket_close(socket);
    return NULL;
}

struct links_watch *links_watch_new(struct loop *loop, void (*changed)(void *ctx), void *ctx,
                                    struct err *err)
{
    struct mnl_socket *socket = open_socket(err);
    if (socket == NULL)
        return NULL;
    struct links_watch *w = xcalloc(1, sizeof(*w));
    w->loop = loop;
    w->changed = changed;
    w->ctx = ctx;
    w->socket = socket;
    w->credit_ms = CREDIT_MS;
    w->told_ms = loop_now_ms(loop);
    timer_init(&w->soon, loop, on_soon, w);
    w->fd = fd_watch_new(loop, mnl_socket_get_fd(socket), on_events, w);
    return w;
}

void links_watch_free(struct links_watch **wp)
{
    struct links_watch *w = *wp;
    *wp = NULL;
    if (w == NULL)
        return;
    timer_stop(&w->soon);
    fd_watch_free(&w->fd);
    mnl_socket_close(w->socket);
    xfree(w);
}
