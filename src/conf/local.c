// SPDX-License-Identifier: ISC
// Gateways on this machine: maildir:///path, pipe:/program, sendmail:/program.
#include "conf/reader.h"

static const struct local_scheme {
    const char *name;
    enum conf_gateway_kind kind;
    bool sendmail;
    const char *example;
} schemes[] = {
    {"maildir", GATEWAY_MAILDIR, false, "maildir:///var/mail/%u"},
    {"pipe", GATEWAY_PIPE, false, "pipe:/usr/bin/procmail"},
    {"sendmail", GATEWAY_PIPE, true, "sendmail:/usr/sbin/sendmail"},
};

static const struct local_scheme *find_scheme(struct str url)
{
    size_t colon = str_find(url, ':');
    for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++)
        if (str_ieq(str_make(url.ptr, colon), str_of(schemes[i].name)) && colon + 1 < url.len &&
            url.ptr[colon + 1] == '/')
            return &schemes[i];
    return NULL;
}

bool local_is(struct str url)
{
    return find_scheme(url) != NULL;
}

// Every % is followed by one of `letters`.
static bool check_pattern(struct reader *r, const struct yaml_node *at, const char *text,
                          const char *letters)
{
    for (const char *c = text; *c != '\0'; c++) {
        if ((unsigned char)*c < 0x20) {
            reader_error(r, at, "a control character stands in it");
            return false;
        }
        if (*c != '%')
            continue;
        c++;
        if (*c == '\0' || strchr(letters, *c) == NULL) {
            reader_error(r, at,
                         "`%%%.*s` stands for nothing here; what may follow a %% are the letters "
                         "%s",
                         *c != '\0', c, letters);
            return false;
        }
    }
    return true;
}

// Programs start many, and each has all the memory it wants.
static void settle_connections(const struct yaml_node *entry, struct conf_gateway *g)
{
    const struct yaml_node *limits = yaml_get(entry, "limits");
    if (limits == NULL || yaml_get(limits, "connections") == NULL)
        g->connections = LIMIT_OUT_PROGRAMS;
}

bool local_read(struct reader *r, const struct yaml_node *entry, const struct yaml_node *node,
                struct conf_gateway *g)
{
    static const char *const for_sendmail[] = {"-i", "-f", "%s", "--", "%r"};
    const struct local_scheme *s = find_scheme(node->text);
    size_t skip = strlen(s->name) + 1;
    struct str path = str_make(node->text.ptr + skip, node->text.len - skip);
    if (str_starts(path, STR("//")))
        path = str_make(path.ptr + 2, path.len - 2);
    if (path.len < 2 || path.ptr[0] != '/' || path.ptr[path.len - 1] == '/') {
        reader_error(r, node, "%s: is followed by an absolute path: %s", s->name, s->example);
        return false;
    }
    g->kind = s->kind;
    g->host = "";
    g->path = arena_str(r->arena, path);
    g->tls = TLS_OFF;
    if (g->kind == GATEWAY_MAILDIR)
        return check_pattern(r, node, g->path, "ud%");
    settle_connections(entry, g);
    g->bare = s->sendmail;
    if (s->sendmail && g->argument_count == 0) {
        g->arguments = for_sendmail;
        g->argument_count = sizeof(for_sendmail) / sizeof(for_sendmail[0]);
    }
    for (size_t i = 0; i < g->argument_count; i++)
        if (!check_pattern(r, yaml_get(entry, "arguments"), g->arguments[i], "uedrs%"))
            return false;
    return true;
}
