// SPDX-License-Identifier: ISC
// Troubles, each kept once.
#include "spool/trouble.h"

#include "base/buf.h"
#include "base/map.h"
#include "base/mem.h"

#include <assert.h>
#include <inttypes.h>

struct troubles {
    struct map *by_key;
};

struct troubles *troubles_new(void)
{
    struct troubles *t = xcalloc(1, sizeof(*t));
    t->by_key = map_new();
    return t;
}

static void end(struct troubles *t, struct trouble *trouble)
{
    map_del(t->by_key, trouble->key);
    xfree((char *)trouble->key.ptr);
    xfree((char *)(uintptr_t)trouble->gateway);
    xfree(trouble);
}

void troubles_free(struct troubles **troubles)
{
    struct troubles *t = *troubles;
    if (t == NULL)
        return;
    size_t pos = 0;
    for (struct trouble *one; (one = map_next(t->by_key, &pos)) != NULL;)
        end(t, one);
    map_free(&t->by_key);
    xfree(t);
    *troubles = NULL;
}

const struct trouble *trouble_keep(struct troubles *t, struct str gateway, int64_t doubt_ms,
                                   const struct outcome *o)
{
    struct buf key;
    buf_init(&key, 4096);
    buf_printf(&key, "%.*s|%" PRId64 "|%d|%d|%d|%d|%u|%u.%u.%u|%s|%s", STR_FMT(gateway), doubt_ms,
               o->class, o->scope, o->phase, o->relayed, o->code, o->enhanced[0], o->enhanced[1],
               o->enhanced[2], o->where, o->text);
    struct trouble *trouble = map_get(t->by_key, buf_str(&key));
    bool worded = o->text[0] != '\0' || o->where[0] != '\0';
    if (trouble == NULL && worded && map_count(t->by_key) >= LIMIT_TROUBLES) {
        // Servers put names and numbers of their own into each reply; a million of these must not
        // fill the memory. The timeline has them all.
        struct outcome brief = *o;
        brief.text[0] = brief.where[0] = '\0';
        buf_free(&key);
        return trouble_keep(t, gateway, doubt_ms, &brief);
    }
    if (trouble == NULL) {
        trouble = xcalloc(1, sizeof(*trouble));
        trouble->key = str_make(xstrndup(key.data, key.len), key.len);
        trouble->gateway = gateway.len > 0 ? xstrndup(gateway.ptr, gateway.len) : NULL;
        trouble->doubt_ms = doubt_ms;
        trouble->outcome = *o;
        map_put(t->by_key, trouble->key, trouble);
    }
    trouble->refs++;
    buf_free(&key);
    return trouble;
}

const struct trouble *trouble_again(const struct trouble *trouble)
{
    ((struct trouble *)(uintptr_t)trouble)->refs++;
    return trouble;
}

void trouble_drop(struct troubles *t, const struct trouble **troublep)
{
    struct trouble *trouble = (struct trouble *)(uintptr_t)*troublep;
    *troublep = NULL;
    if (trouble == NULL)
        return;
    assert(trouble->refs > 0);
    if (--trouble->refs == 0)
        end(t, trouble);
}
