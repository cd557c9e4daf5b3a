// SPDX-License-Identifier: ISC
// The hosts file.
#include "sys/names_hosts.h"
#include "base/arena.h"
#include "base/map.h"
#include "base/mem.h"
#include "sys/file.h"
#include "sys/names_parse.h"

#include <sys/stat.h>

enum { HOSTS_MOST = 4 * 1024 * 1024 };

struct hosts {
    char *path;
    struct timespec changed;
    off_t size;
    struct arena *arena;
    struct map *names;
};

static void add(struct hosts *hosts, const struct net_addr *addr, struct str word)
{
    char text[256], name[256];
    if (word.len == 0 || word.len >= sizeof(text))
        return;
    memcpy(text, word.ptr, word.len);
    text[word.len] = '\0';
    if (!names_host(text, name))
        return;
    struct hosts_entry *entry = arena_alloc(hosts->arena, sizeof(*entry));
    entry->name = arena_strdup(hosts->arena, name);
    entry->addr = *addr;
    struct hosts_entry *first = map_get(hosts->names, str_of(name));
    if (first == NULL) {
        map_put(hosts->names, str_of(entry->name), entry);
        return;
    }
    while (first->next != NULL)
        first = first->next;
    first->next = entry;
}

static struct str next_word(struct str *line)
{
    struct str rest = str_trim(*line);
    size_t len = 0;
    while (len < rest.len && rest.ptr[len] != ' ' && rest.ptr[len] != '\t')
        len++;
    *line = str_make(rest.ptr + len, rest.len - len);
    return str_make(rest.ptr, len);
}

static void load(struct hosts *hosts)
{
    arena_clear(hosts->arena);
    map_free(&hosts->names);
    hosts->names = map_new();
    struct err err;
    size_t len;
    char *text = file_slurp(hosts->path, HOSTS_MOST, &len, &err);
    if (text == NULL)
        return;
    struct str rest = str_make(text, len), line, word;
    while (str_split(&rest, '\n', &line)) {
        struct net_addr addr;
        line.len = str_find(line, '#');
        if (!net_addr_parse_ip(next_word(&line), &addr))
            continue;
        while ((word = next_word(&line)).len > 0)
            add(hosts, &addr, word);
    }
    xfree(text);
}

struct hosts *hosts_new(const char *path)
{
    struct hosts *hosts = xcalloc(1, sizeof(*hosts));
    hosts->path = xstrdup(path);
    hosts->arena = arena_new();
    hosts->names = map_new();
    hosts->size = -1;
    return hosts;
}

void hosts_free(struct hosts **hosts)
{
    struct hosts *h = *hosts;
    *hosts = NULL;
    if (h == NULL)
        return;
    map_free(&h->names);
    arena_free(&h->arena);
    xfree(h->path);
    xfree(h);
}

const struct hosts_entry *hosts_get(struct hosts *hosts, const char *name)
{
    struct stat st = {0};
    char lower[256];
    (void)!stat(hosts->path, &st);
    if (st.st_size != hosts->size ||
        memcmp(&st.st_mtim, &hosts->changed, sizeof(st.st_mtim)) != 0) {
        hosts->size = st.st_size;
        hosts->changed = st.st_mtim;
        load(hosts);
    }
    return names_host(name, lower) ? map_get(hosts->names, str_of(lower)) : NULL;
}
