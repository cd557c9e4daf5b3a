// SPDX-License-Identifier: ISC
// The user from the password file, the rest from the configuration.
#include "main/origin.h"
#include "base/base64.h"
#include "mail/address.h"
#include "sys/clock.h"
#include "sys/host.h"

#include <pwd.h>
#include <unistd.h>

// The first part of the GECOS field; '&' stands for the login name.
static const char *full_name(struct arena *arena, const char *gecos, const char *user)
{
    struct buf out;
    buf_init(&out, 256);
    for (const char *p = gecos; *p != '\0' && *p != ','; p++) {
        if (*p != '&') {
            buf_putc(&out, *p);
        } else if (user[0] != '\0') {
            buf_putc(&out, ascii_upper(user[0]));
            buf_puts(&out, user + 1);
        }
    }
    const char *name = arena_str(arena, str_trim(buf_str(&out)));
    buf_free(&out);
    return name;
}

void origin_find(struct origin *o, const struct main_options *options)
{
    o->arena = arena_new();
    o->conf = main_places(options, NULL);
    const struct passwd *me = getpwuid(getuid());
    if (me == NULL) {
        // A user without an entry, as service managers make them up.
        o->user = arena_printf(o->arena, "uid%u", (unsigned)getuid());
        o->full_name = "";
        return;
    }
    o->user = arena_strdup(o->arena, me->pw_name);
    o->full_name = full_name(o->arena, me->pw_gecos != NULL ? me->pw_gecos : "", o->user);
}

void origin_free(struct origin *o)
{
    conf_unref(&o->conf);
    arena_free(&o->arena);
}

bool origin_qualify(struct origin *o, const char *typed, struct str *address_out,
                    const char **why_out)
{
    struct address a;
    if (!address_parse(str_of(typed), ADDRESS_BARE | ADDRESS_NO_DOMAIN | ADDRESS_UTF8, &a, why_out))
        return false;
    bool whole = address_domain(&a).len > 0;
    *address_out = str_of(
        whole ? arena_str(o->arena, address_str(&a))
              : arena_printf(o->arena, "%.*s@%s", STR_FMT(address_local(&a)), o->conf->hostname));
    return true;
}

struct str origin_address(struct origin *o)
{
    return str_of(arena_printf(o->arena, "%s@%s", o->user, o->conf->hostname));
}

struct str origin_message_id(struct origin *o)
{
    char now[ID_TEXT_SIZE], chance[ID_TEXT_SIZE];
    return str_of(arena_printf(o->arena, "<%s.%s@%s>", id_format((uint64_t)clock_wall_ms(), now),
                               id_format(random_u64() >> 4, chance), o->conf->hostname));
}
