// SPDX-License-Identifier: ISC
// The machine of the simulated world: its links (links.c), two cores, no environment, nothing to
// drop.
#include "sim/inside.h"
#include "sys/host.h"

static char own_name[256];

void host_init(void)
{
    world_set_host("relay.example.org");
}

void world_set_host(const char *name)
{
    snprintf(own_name, sizeof(own_name), "%s", name);
}

void host_name(char out[256])
{
    snprintf(out, 256, "%s", own_name);
}

int host_cores(void)
{
    return 2;
}

const char *host_env(const char *name)
{
    return NULL;
}

bool host_owns(const struct net_addr *addr)
{
    return net_addr_is_loopback(addr) || net_addr_is_any(addr) || links_own(addr);
}

void host_moved(void)
{
}

void host_notify(const char *state)
{
}

int host_passed_socket(const struct net_addr *at)
{
    return -1;
}

bool host_harden(bool runs_programs, struct err *err)
{
    return true;
}

bool host_become(const char *user, struct err *err)
{
    return true;
}

bool host_give(const char *path, const char *user, struct err *err)
{
    return true;
}

bool host_unprivileged(struct err *err)
{
    return true;
}

bool host_user(const char *name, uint32_t *uid_out, uint32_t *gid_out, struct err *err)
{
    *uid_out = *gid_out = 1000;
    return true;
}

uint32_t host_uid(void)
{
    return 0;
}
