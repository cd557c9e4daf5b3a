// SPDX-License-Identifier: ISC
// Facts about this machine, and what a service manager and the kernel want to hear of a daemon.
#include "base/mem.h"
#include "sys/clock.h"
#include "sys/file.h"
#include "sys/host.h"
#include "sys/sockaddr.h"

#include <fcntl.h>
#include <grp.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <pthread.h>
#include <pwd.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

// The first name in a hosts file that stands on one line with `name` and is it with a domain.
static bool name_in_hosts(struct str hosts, struct str name, char out[256])
{
    struct str line;
    while (str_split(&hosts, '\n', &line)) {
        line.len = str_find(line, '#');
        for (size_t i = 0; i < line.len;) {
            size_t start = i;
            while (i < line.len && line.ptr[i] != ' ' && line.ptr[i] != '\t' && line.ptr[i] != '\r')
                i++;
            struct str word = str_make(line.ptr + start, i - start);
            i++;
            if (word.len > name.len + 1 && word.len < 256 && str_istarts(word, name) &&
                word.ptr[name.len] == '.') {
                snprintf(out, 256, "%.*s", STR_FMT(word));
                return true;
            }
        }
    }
    return false;
}

void host_name(char out[256])
{
    // Never DNS: this is asked at start, maybe without any network, and must not wait.
    char name[256] = "";
    if (gethostname(name, sizeof(name) - 1) != 0 || name[0] == '\0')
        snprintf(name, sizeof(name), "localhost");
    snprintf(out, 256, "%s", name);
    if (strchr(name, '.') != NULL)
        return;
    struct err err;
    size_t len;
    char *hosts = file_slurp("/etc/hosts", 1024 * 1024, &len, &err);
    bool found = hosts != NULL && name_in_hosts(str_make(hosts, len), str_of(name), out);
    xfree(hosts);
    if (!found)
        snprintf(out, 256, "%.240s.localdomain", name);
}

int host_cores(void)
{
    cpu_set_t allowed; // what a container or a service file leaves to us
    if (sched_getaffinity(0, sizeof(allowed), &allowed) == 0)
        return CPU_COUNT(&allowed);
    long count = sysconf(_SC_NPROCESSORS_ONLN);
    return count > 0 ? (int)count : 1;
}

const char *host_env(const char *name)
{
    return getenv(name);
}

// The machine's addresses, asked anew when a few seconds old: with every delivery would be too
// often, and on a laptop they come and go.
enum { OWN_AGE_US = 3 * 1000 * 1000 };
static struct {
    pthread_mutex_t lock;
    struct ifaddrs *list;
    int64_t read_us;
} own = {.lock = PTHREAD_MUTEX_INITIALIZER};

static bool own_has(const struct net_addr *addr)
{
    for (struct ifaddrs *i = own.list; i != NULL; i = i->ifa_next) {
        struct net_addr have;
        if (i->ifa_addr != NULL && sockaddr_to(i->ifa_addr, sizeof(struct sockaddr_in6), &have) &&
            net_addr_same_ip(&have, addr))
            return true;
    }
    return false;
}

bool host_owns(const struct net_addr *addr)
{
    if (net_addr_is_loopback(addr) || net_addr_is_any(addr))
        return true; // all of 127.0.0.0/8 is here; connecting to 0.0.0.0 ends here too
    pthread_mutex_lock(&own.lock);
    int64_t now_us = clock_mono_us();
    if (own.list == NULL || now_us - own.read_us > OWN_AGE_US) {
        struct ifaddrs *fresh;
        if (getifaddrs(&fresh) == 0) {
            if (own.list != NULL)
                freeifaddrs(own.list);
            own.list = fresh;
        }
        own.read_us = now_us;
    }
    bool has = own_has(addr);
    pthread_mutex_unlock(&own.lock);
    return has;
}

void host_moved(void)
{
    pthread_mutex_lock(&own.lock);
    own.read_us = INT64_MIN / 2;
    pthread_mutex_unlock(&own.lock);
}

void host_notify(const char *state)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct net_addr at = {.family = NET_UNIX};
    if (path == NULL || (path[0] != '/' && path[0] != '@') || strlen(path) >= sizeof(at.path))
        return;
    memcpy(at.path, path, strlen(path) + 1);
    struct sockaddr_storage to;
    socklen_t len = sockaddr_from(&at, &to);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    ssize_t n;
    do
        n = sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&to, len);
    while (n < 0 && errno == EINTR); // a manager that does not listen is no trouble of ours
    close(fd);
}

static int passed_count(void)
{
    const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");
    uint64_t for_pid, count;
    if (pid == NULL || fds == NULL || !str_u64(str_of(pid), INT32_MAX, &for_pid) ||
        !str_u64(str_of(fds), 1024, &count) || for_pid != (uint64_t)getpid())
        return 0;
    return (int)count;
}

// 2: exactly there. 1: a socket for all of IPv6 takes IPv4 as well. 0: somewhere else.
static int passed_fits(int fd, const struct net_addr *at)
{
    struct sockaddr_storage ss;
    socklen_t len = sizeof(ss);
    struct net_addr have;
    int listens = 0, only6 = 1;
    socklen_t int_len = sizeof(int);
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &int_len) != 0 || !listens ||
        getsockname(fd, (struct sockaddr *)&ss, &len) != 0 ||
        !sockaddr_to((struct sockaddr *)&ss, len, &have) || have.port != at->port)
        return 0;
    if (have.family == NET_UNIX || at->family == NET_UNIX)
        return have.family == at->family && strcmp(have.path, at->path) == 0 ? 2 : 0;
    if (have.family == at->family && net_addr_same_ip(&have, at))
        return 2;
    int_len = sizeof(int);
    return have.family == NET_IPV6 && at->family == NET_IPV4 && net_addr_is_any(&have) &&
                   net_addr_is_any(at) &&
                   getsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only6, &int_len) == 0 && !only6
               ? 1
               : 0;
}

int host_passed_socket(const struct net_addr *at)
{
    enum { FIRST = 3 };
    int best = -1, best_fit = 0;
    int end = FIRST + passed_count();
    for (int fd = FIRST; fd < end; fd++) {
        int fit = passed_fits(fd, at);
        if (fit > best_fit) {
            best = fd;
            best_fit = fit;
        }
    }
    if (best < 0)
        return -1;
    fcntl(best, F_SETFD, FD_CLOEXEC);
    return fcntl(best, F_DUPFD_CLOEXEC, 0);
}

bool host_harden(bool runs_programs, struct err *err)
{
    struct rlimit none = {0, 0};
    if (!runs_programs && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
        err_sys(err, errno, "cannot give up gaining privileges");
        return false;
    }
    if (setrlimit(RLIMIT_CORE, &none) != 0) {
        err_sys(err, errno, "cannot turn off core dumps");
        return false;
    }
#ifndef __SANITIZE_ADDRESS__ // its leak check is a debugger, which this keeps out
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) {
        err_sys(err, errno, "cannot keep debuggers out");
        return false;
    }
#endif
    return true;
}

bool host_user(const char *user, uint32_t *uid_out, uint32_t *gid_out, struct err *err)
{
    char text[4096];
    struct passwd entry, *found = NULL;
    int rc = getpwnam_r(user, &entry, text, sizeof(text), &found);
    if (found == NULL) {
        if (rc != 0)
            err_sys(err, rc, "cannot look up the user \"%s\"", user);
        else
            err_set(err, "there is no user \"%s\"; create it, or name another", user);
        return false;
    }
    *uid_out = entry.pw_uid;
    *gid_out = entry.pw_gid;
    return true;
}

bool host_give(const char *path, const char *user, struct err *err)
{
    uid_t uid;
    gid_t gid;
    if (user == NULL || geteuid() != 0)
        return true;
    if (!host_user(user, &uid, &gid, err))
        return false;
    if (lchown(path, uid, gid) == 0)
        return true;
    err_sys(err, errno, "cannot give %s to the user \"%s\"", path, user);
    return false;
}

bool host_become(const char *user, struct err *err)
{
    uid_t uid;
    gid_t gid;
    if (user == NULL)
        return true;
    if (!host_user(user, &uid, &gid, err))
        return false;
    if (geteuid() == uid && getuid() == uid)
        return true; // also: started by a service manager as that user
    if (geteuid() != 0) {
        err_set(err, "only root can become the user \"%s\"; this process has uid %u", user,
                (unsigned)geteuid());
        err->code = EPERM;
        return false;
    }
    // In this order: without uid 0 the others are not allowed any more. With it the capabilities
    // go.
    if (initgroups(user, gid) != 0 || setresgid(gid, gid, gid) != 0 ||
        setresuid(uid, uid, uid) != 0) {
        err_sys(err, errno, "cannot become the user \"%s\"", user);
        return false;
    }
    if (uid != 0 && setuid(0) == 0) {
        err_set(err, "root was not dropped for good when becoming the user \"%s\"", user);
        return false;
    }
    return true;
}

bool host_unprivileged(struct err *err)
{
    if (geteuid() != 0)
        return true;
    err_set(err,
            "this is not done as root; name an ordinary user (`user`, or `run_as` of a program)");
    err->code = EPERM;
    return false;
}

uint32_t host_uid(void)
{
    return geteuid();
}
