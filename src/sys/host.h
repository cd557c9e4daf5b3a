// SPDX-License-Identifier: ISC
// Facts about this machine and process.
#pragma once

#include "base/err.h"
#include "base/netaddr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void host_name(
    char out[256]); // fully qualified if the system knows it, else "localhost.localdomain" style
int host_cores(void);
uint32_t host_uid(void); // the user this process acts as
// False with err: as root. What others have a hand in must not be done so.
bool host_unprivileged(struct err *err);
bool host_user(const char *name, uint32_t *uid_out, uint32_t *gid_out, struct err *err);
const char *host_env(const char *name); // NULL when unset
// Is this one of the machine's own addresses?
bool host_owns(const struct net_addr *addr);
void host_moved(void); // they have changed: the next host_owns looks anew
// Readiness and status for a service manager (sd_notify protocol); nothing when there is none.
void host_notify(const char *state);
// Sockets passed by a service manager (sd_listen_fds). The caller owns what is returned, a
// duplicate: each loop listens with one of its own, and an address that is configured anew finds it
// again.
int host_passed_socket(const struct net_addr *at); // fd or -1
// After start: no core dumps with secrets, no new privileges; those stay possible where programs
// are run, which may need them (procmail, sendmail). Best effort; says in err what could not be
// done.
bool host_harden(bool runs_programs, struct err *err);
// Drops root for good. `user` NULL: keep. Keeps what binding low ports needed out.
bool host_become(const char *user, struct err *err);
// As root: gives a directory to the user (and its group) that host_become will be. Else nothing.
bool host_give(const char *path, const char *user, struct err *err);
