// SPDX-License-Identifier: ISC
// What the commands of dial-up networks do in a story.
#include "simulate/lines.h"
#include "base/mem.h"
#include "base/timefmt.h"
#include "simulate/place.h"
#include "simulate/story.h"
#include "simulate/tale.h"

#include <stdlib.h>

enum { LINES = 8 };

struct line {
    char *name;
    const struct yaml_node *links; // NULL: none comes
    char *says;
    int exit;
    int64_t slow_ms;
    unsigned dialled, hung_up; // how often its commands ran
};

static struct {
    struct line lines[LINES];
    size_t count;
} all;

static struct line *find(struct str name)
{
    for (size_t i = 0; i < all.count; i++)
        if (str_eq(name, str_of(all.lines[i].name)))
            return &all.lines[i];
    return NULL;
}

void lines_new(void)
{
    memset(&all, 0, sizeof(all));
}

void lines_free(void)
{
    for (size_t i = 0; i < all.count; i++) {
        xfree(all.lines[i].name);
        xfree(all.lines[i].says);
    }
    lines_new();
}

bool line_change(struct str name, const struct yaml_node *traits)
{
    struct line *l = find(name);
    const struct yaml_node *links = yaml_get(traits, "links"), *says = yaml_get(traits, "says");
    uint64_t status = 0;
    if (l == NULL && all.count == LINES)
        return false;
    if (l == NULL) {
        l = &all.lines[all.count++];
        l->name = xstrndup(name.ptr, name.len);
    }
    if (links != NULL)
        l->links = links;
    xfree(l->says);
    l->says = says != NULL ? xstrndup(says->text.ptr, says->text.len) : NULL;
    str_u64(story_text(traits, "exit", "0"), 255, &status);
    l->exit = (int)status;
    l->slow_ms = 0;
    time_parse_span(story_text(traits, "slow", "0s"), &l->slow_ms);
    return true;
}

void line_run(struct str name, bool up, struct world_program *out)
{
    struct line *l = find(name);
    struct err err;
    if (l == NULL)
        return;
    l->dialled += up;
    l->hung_up += !up;
    out->status = l->exit;
    out->output = l->says;
    out->takes_ms = l->slow_ms;
    tales_world("%s is %s", l->name, l->exit != 0 ? "asked in vain" : up ? "dialled" : "hung up");
    if (l->exit != 0 || l->links == NULL)
        return;
    if (up)
        place_links(l->links, &err);
    else
        place_links_gone(l->links);
}

bool line_counts(struct str name, unsigned *dialled_out, unsigned *hung_up_out)
{
    const struct line *l = find(name);
    if (l == NULL)
        return false;
    *dialled_out = l->dialled;
    *hung_up_out = l->hung_up;
    return true;
}
