// SPDX-License-Identifier: ISC
// Values that name a gateway or a network of the same file.
#include "conf/reader.h"

bool value_gateway(struct reader *r, const struct yaml_node *at, uint32_t *index_out)
{
    struct conf_nearest nearest = {0};
    if (at->kind != YAML_SCALAR || at->tag.len > 0) {
        reader_error(r, at, "a gateway's name is plain text");
        return false;
    }
    const struct conf_gateway *g = conf_gateway_find(r->conf, at->text);
    if (g != NULL) {
        *index_out = g->index;
        return true;
    }
    for (size_t i = 0; i < r->conf->gateway_count && r->report->count < CONF_REPORT_MAX; i++)
        conf_nearest_offer(&nearest, at->text, r->conf->gateways[i].name);
    reader_error(r, at, "there is no gateway %s%s", reader_quote(r, at->text),
                 reader_suggest(r, &nearest));
    return false;
}

// Without quotes `!office` is a tag to YAML, with nothing behind it.
static bool network_name(const struct yaml_node *at, struct str *name_out, bool *not_out)
{
    if (at->kind != YAML_SCALAR || (at->tag.len > 0 && at->text.len > 0))
        return false;
    struct str name = at->tag.len > 0 ? at->tag : at->text;
    *not_out = name.len > 0 && name.ptr[0] == '!';
    *name_out = *not_out ? str_trim(str_make(name.ptr + 1, name.len - 1)) : name;
    return name_out->len > 0;
}

bool value_network(struct reader *r, const struct yaml_node *at, uint64_t *set, uint64_t *not_set)
{
    struct conf_nearest nearest = {0};
    struct str name;
    bool not = false;
    if (!network_name(at, &name, &not )) {
        reader_error(r, at, "a network's name is plain text%s",
                     not_set != NULL ? ", or \"!name\" for not being there" : "");
        return false;
    }
    if (not &&not_set == NULL) {
        reader_error(r, at, "`!` is possible only in a route's `network`; name the networks");
        return false;
    }
    for (size_t i = 0; i < r->conf->network_count; i++) {
        if (str_eq(name, str_of(r->conf->networks[i].name))) {
            *(not ? not_set : set) |= UINT64_C(1) << i;
            return true;
        }
        conf_nearest_offer(&nearest, name, r->conf->networks[i].name);
    }
    reader_error(r, at, "there is no network %s%s%s", reader_quote(r, name),
                 reader_suggest(r, &nearest),
                 r->conf->network_count == 0 ? "; `networks` names none" : "");
    return false;
}
