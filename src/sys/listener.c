// SPDX-License-Identifier: ISC
// Listening sockets.
#include "base/limits.h"
#include "base/mem.h"
#include "sys/holder.h"
#include "sys/host.h"
#include "sys/log.h"
#include "sys/sockaddr.h"
#include "sys/stream_int.h"

#include <assert.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    ACCEPTS_MOST = 16, // a wake-up
    SHORT_OF_FILES_MS = 100,
};

// Its name is no file.
static bool abstract(const struct net_addr *at)
{
    return at->path[0] == '@';
}

struct listener {
    struct listener *next_own;
    struct net_watch watch;
    struct net *net;
    void (*accepted)(void *ctx, struct stream *s);
    void *ctx;
    struct net_addr at;
    int burst; // accepts tried at the next wake-up
    struct timer rest;
    bool paused;
    bool resting; // no descriptors left: not before the timer
    bool warned;
    bool passed; // by the service manager, whose socket file it is
    bool *freed; // set while `accepted` runs, to tell that it freed us
};

// SO_REUSEPORT lets our loops share an address, but also any other process of the same user: a
// second daemon would silently take half of the mail. So who comes first asks without it whether
// somebody is there; the lock makes sure that it is not one of us.
static struct {
    pthread_mutex_t lock;
    struct listener *all;
} own = {.lock = PTHREAD_MUTEX_INITIALIZER};

static bool is_own(const struct net_addr *at)
{
    for (const struct listener *l = own.all; l != NULL; l = l->next_own) {
        if (l->at.family == at->family && l->at.port == at->port &&
            (net_addr_same_ip(&l->at, at) || net_addr_is_any(&l->at) || net_addr_is_any(at)))
            return true;
    }
    return false;
}

static void own_remove(struct listener *l)
{
    struct listener **at = &own.all;
    while (*at != l)
        at = &(*at)->next_own;
    *at = l->next_own;
}

static void watch_or_not(struct listener *l)
{
    net_watch_change(l->net, &l->watch, l->paused || l->resting ? 0 : EPOLLIN);
}

static void on_rested(void *ctx)
{
    struct listener *l = ctx;
    l->resting = false;
    watch_or_not(l);
}

// Waiting connections stay in the backlog; to ask again at once would only burn the processor.
static void rest(struct listener *l, int code)
{
    char text[NET_ADDR_TEXT];
    if (!l->warned)
        log_warn("accept", 0,
                 "cannot accept connections on %s for now: %s; raise LimitNOFILE if this lasts",
                 net_addr_format(&l->at, text), strerror(code));
    l->warned = true;
    l->resting = true;
    watch_or_not(l);
    timer_start(&l->rest, SHORT_OF_FILES_MS);
}

enum accepted { ACCEPTED, NOBODY, STOP };

static enum accepted accept_one(struct listener *l)
{
    struct sockaddr_storage sa = {0};
    socklen_t len = sizeof(sa);
    int fd = accept4(l->watch.fd, (struct sockaddr *)&sa, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            rest(l, errno);
            return STOP;
        }
        // Else a connection that was gone before we came, or nothing there.
        return NOBODY;
    }
    l->warned = false;
    struct net_addr peer = l->at; // the far end of a unix socket has no name of its own
    if (l->at.family != NET_UNIX)
        sockaddr_to((struct sockaddr *)&sa, len, &peer);
    bool freed = false;
    l->freed = &freed;
    struct stream *s = stream_accepted(l->net, fd, &peer);
    l->accepted(l->ctx, s);
    if (freed)
        return STOP;
    l->freed = NULL;
    return l->paused ? STOP : ACCEPTED;
}

static void on_connection(struct net_watch *watch, uint32_t events)
{
    struct listener *l = container_of(watch, struct listener, watch);
    // A lone connection costs one accept; a crowd is taken in growing bursts.
    int most = l->burst;
    for (int i = 0; i < most; i++) {
        enum accepted result = accept_one(l);
        if (result == STOP)
            return;
        if (result == NOBODY) {
            l->burst = 1;
            return;
        }
    }
    l->burst = most * 2 > ACCEPTS_MOST ? ACCEPTS_MOST : most * 2;
}

static void explain_bind(struct err *err, const struct net_addr *at, int code)
{
    char text[NET_ADDR_TEXT], holder[100];
    net_addr_format(at, text);
    if (code == EADDRINUSE && at->family != NET_UNIX && port_holder(at, holder, sizeof(holder)))
        err_set(err,
                "cannot listen on %s: another program listens there already, %s; stop it, or "
                "choose another port",
                text, holder);
    else if (code == EADDRINUSE && at->family != NET_UNIX)
        err_set(err,
                "cannot listen on %s: another program listens there already; find it with "
                "\"ss -ltnp sport = :%u\" and stop it, or choose another port",
                text, at->port);
    else if (code == EACCES && at->family != NET_UNIX)
        err_set(err,
                "cannot listen on %s: ports below 1024 need root or CAP_NET_BIND_SERVICE; start as "
                "root, or choose a higher port",
                text);
    else if (code == EADDRNOTAVAIL)
        err_set(err, "cannot listen on %s: this machine does not have that address now", text);
    else
        err_sys(err, code, "cannot listen on %s", text);
    err->code = code;
}

// A socket file that nobody serves is a leftover of a crash.
static bool remove_stale(const struct net_addr *at, struct err *err)
{
    struct stat st;
    if (lstat(at->path, &st) != 0)
        return true;
    if (!S_ISSOCK(st.st_mode)) {
        err_set(err, "cannot listen on %s: a file that is no socket stands there; move it away",
                at->path);
        err->code = EADDRINUSE;
        return false;
    }
    struct sockaddr_storage sa;
    socklen_t len = sockaddr_from(at, &sa);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    // A full backlog (EAGAIN) is an answer too.
    bool gone = fd >= 0 && connect(fd, (struct sockaddr *)&sa, len) != 0 && errno == ECONNREFUSED;
    if (fd >= 0)
        close(fd);
    if (!gone) {
        err_set(err,
                "cannot listen on unix:%s: another program answers there; is the daemon running "
                "already?",
                at->path);
        err->code = EADDRINUSE;
        return false;
    }
    return unlink(at->path) == 0 || errno == ENOENT;
}

// False: another program listens there, perhaps one that would share it with us.
static bool nobody_there(const struct net_addr *at, struct err *err)
{
    int on = 1;
    struct sockaddr_storage sa;
    socklen_t len = sockaddr_from(at, &sa);
    int fd = socket(sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return true; // the real one will say why
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (at->family == NET_IPV6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
    bool free_there = bind(fd, (struct sockaddr *)&sa, len) == 0;
    if (!free_there)
        explain_bind(err, at, errno);
    close(fd);
    return free_there;
}

static bool bind_here(int fd, const struct net_addr *at, struct err *err)
{
    int on = 1;
    struct sockaddr_storage sa;
    socklen_t len = sockaddr_from(at, &sa);
    if (at->family == NET_UNIX) {
        if (!abstract(at) && !remove_stale(at, err))
            return false;
    } else {
        if (at->port != 0 && !is_own(at) && !nobody_there(at, err))
            return false;
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)); // inherited by what it accepts
        if (at->family == NET_IPV6)
            setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
    }
    if (bind(fd, (struct sockaddr *)&sa, len) != 0 ||
        (at->family == NET_UNIX && !abstract(at) && chmod(at->path, 0666) != 0)) {
        explain_bind(err, at, errno);
        return false;
    }
    return true;
}

static int open_socket(const struct net_addr *at, struct err *err)
{
    struct sockaddr_storage sa;
    char text[NET_ADDR_TEXT];
    if (sockaddr_from(at, &sa) == 0) {
        err_set(err, "cannot listen on %s: not an address", net_addr_format(at, text));
        return -1;
    }
    int fd = socket(sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        explain_bind(err, at, errno);
        return -1;
    }
    if (!bind_here(fd, at, err)) {
        close(fd);
        return -1;
    }
    if (listen(fd, LIMIT_LISTEN_BACKLOG) != 0) {
        explain_bind(err, at, errno);
        close(fd);
        return -1;
    }
    return fd;
}

struct listener *listener_new(struct loop *loop, const struct net_addr *at,
                              void (*accepted)(void *ctx, struct stream *s), void *ctx,
                              struct err *err)
{
    int fd = host_passed_socket(at);
    bool passed = fd >= 0;
    pthread_mutex_lock(&own.lock);
    if (fd < 0)
        fd = open_socket(at, err);
    if (fd < 0) {
        pthread_mutex_unlock(&own.lock);
        return NULL;
    }
    struct listener *l = xcalloc(1, sizeof(*l));
    l->net = net_of(loop);
    l->watch = (struct net_watch){.fn = on_connection, .fd = fd};
    l->accepted = accepted;
    l->ctx = ctx;
    l->at = *at;
    l->burst = 1;
    l->passed = passed;
    int on = 1;
    if (passed)
        fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    if (passed && at->family != NET_UNIX)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    struct sockaddr_storage sa = {0};
    socklen_t len = sizeof(sa);
    if (at->family != NET_UNIX && getsockname(fd, (struct sockaddr *)&sa, &len) == 0)
        sockaddr_to((struct sockaddr *)&sa, len, &l->at);
    l->next_own = own.all;
    own.all = l;
    pthread_mutex_unlock(&own.lock);
    timer_init(&l->rest, loop, on_rested, l);
    net_watch(l->net, &l->watch, EPOLLIN);
    return l;
}

void listener_free(struct listener **listener)
{
    struct listener *l = *listener;
    if (l == NULL)
        return;
    *listener = NULL;
    if (l->freed != NULL)
        *l->freed = true;
    timer_stop(&l->rest);
    net_unwatch(l->net, &l->watch);
    pthread_mutex_lock(&own.lock);
    own_remove(l);
    close(l->watch.fd);
    pthread_mutex_unlock(&own.lock);
    if (l->at.family == NET_UNIX && !l->passed && !abstract(&l->at))
        unlink(l->at.path);
    xfree(l);
}

const struct net_addr *listener_addr(const struct listener *listener)
{
    return &listener->at;
}

void listener_pause(struct listener *listener)
{
    listener->paused = true;
    watch_or_not(listener);
}

void listener_resume(struct listener *listener)
{
    listener->paused = false;
    watch_or_not(listener);
}
