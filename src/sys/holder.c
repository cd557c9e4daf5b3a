// SPDX-License-Identifier: ISC
// /proc/net/tcp knows the socket, /proc/PID/fd who has it.
#include "sys/holder.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LISTENING = 0x0a };

// The inode of the socket that listens there, 0: none. A socket of the other family, or of another
// address than all, does not stand in the way.
static unsigned long socket_inode(const char *table, const struct net_addr *at)
{
    char line[512], local[33];
    unsigned port, state;
    unsigned long inode, found = 0;
    FILE *f = fopen(table, "re");
    if (f == NULL)
        return 0;
    while (found == 0 && fgets(line, sizeof(line), f) != NULL) {
        if (sscanf(line, " %*d: %32[0-9A-F]:%4X %*[0-9A-F]:%*4X %2X %*s %*s %*s %*s %*s %lu", local,
                   &port, &state, &inode) != 4 ||
            state != LISTENING || port != at->port)
            continue;
        char wanted[33] = "";
        for (size_t i = 0; i < (at->family == NET_IPV4 ? 4 : 16); i += 4) {
            uint32_t word;
            memcpy(&word, at->bytes + i, sizeof(word)); // as the kernel prints it: host order
            snprintf(wanted + i * 2, 9, "%08X", word);
        }
        bool any = strspn(local, "0") == strlen(local);
        if (any || net_addr_is_any(at) || strcmp(local, wanted) == 0)
            found = inode;
    }
    fclose(f);
    return found;
}

static bool has_socket(const char *pid, const char *link)
{
    char path[300], target[64];
    bool found = false;
    snprintf(path, sizeof(path), "/proc/%s/fd", pid);
    DIR *dir = opendir(path);
    for (struct dirent *e; dir != NULL && !found && (e = readdir(dir)) != NULL;) {
        ssize_t n = readlinkat(dirfd(dir), e->d_name, target, sizeof(target) - 1);
        target[n > 0 ? n : 0] = '\0';
        found = strcmp(target, link) == 0;
    }
    if (dir != NULL)
        closedir(dir);
    return found;
}

static void name_of(const char *pid, char *out, size_t size)
{
    char path[300], name[64] = "";
    snprintf(path, sizeof(path), "/proc/%s/comm", pid);
    FILE *f = fopen(path, "re");
    if (f != NULL) {
        if (fgets(name, sizeof(name), f) != NULL)
            name[strcspn(name, "\n")] = '\0';
        fclose(f);
    }
    snprintf(out, size, "%s (process %.20s)", name[0] != '\0' ? name : "a program", pid);
}

bool port_holder(const struct net_addr *at, char *out, size_t size)
{
    unsigned long inode = 0;
    char link[64];
    if (at->family == NET_IPV4 || net_addr_is_any(at))
        inode = socket_inode("/proc/net/tcp", at);
    if (inode == 0)
        inode = socket_inode("/proc/net/tcp6", at);
    if (inode == 0)
        return false;
    snprintf(link, sizeof(link), "socket:[%lu]", inode);
    bool found = false;
    DIR *proc = opendir("/proc");
    for (struct dirent *e; proc != NULL && !found && (e = readdir(proc)) != NULL;) {
        if (strspn(e->d_name, "0123456789") != strlen(e->d_name) || !has_socket(e->d_name, link))
            continue;
        name_of(e->d_name, out, size);
        found = true;
    }
    if (proc != NULL)
        closedir(proc);
    return found;
}
