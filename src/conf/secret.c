// SPDX-License-Identifier: ISC
// Secrets by tag: the configuration names where a password is instead of holding it.
#include "conf/reader.h"
#include "base/mem.h"
#include "sys/file.h"
#include "sys/host.h"
#include "sys/service.h"

enum { SECRET_MAX = 4096, COMMAND_MS = 15 * 1000 };

// The one line of a file or an output, without its end.
static const char *one_line(struct reader *r, const struct yaml_node *node, const char *text,
                            size_t len, const char *where)
{
    if (len > 0 && text[len - 1] == '\n')
        len--;
    if (len > 0 && text[len - 1] == '\r')
        len--;
    if (len == 0) {
        reader_error(r, node, "%s is empty; the secret must be its one line", where);
        return NULL;
    }
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)text[i] < 0x20) {
            reader_error(r, node,
                         "%s holds more than one line of text; the secret must be its one "
                         "line",
                         where);
            return NULL;
        }
    }
    return arena_str(r->arena, str_make(text, len));
}

static const char *from_file(struct reader *r, const struct yaml_node *node, const char *path,
                             bool check_mode)
{
    struct err err;
    struct path_facts facts;
    if (check_mode && path_stat_follow(path, &facts, &err) && facts.is_file &&
        (facts.mode & 04) != 0) {
        reader_error(r, node, "everyone may read %s; run: chmod o= %s", path, path);
        return NULL;
    }
    size_t len;
    char *text = file_slurp(path, SECRET_MAX, &len, &err);
    if (text == NULL) {
        reader_error(r, node, "no secret: %s", err.text);
        return NULL;
    }
    const char *secret = one_line(r, node, text, len, path);
    explicit_bzero(text, len);
    xfree(text);
    return secret;
}

static const char *from_environment(struct reader *r, const struct yaml_node *node,
                                    const char *name)
{
    const char *value = host_env(name);
    if (value == NULL) {
        reader_error(r, node, "the environment has no variable %s", name);
        return NULL;
    }
    return one_line(r, node, value, strlen(value),
                    arena_printf(r->arena, "the environment variable %s", name));
}

static const char *from_credential(struct reader *r, const struct yaml_node *node, const char *name)
{
    const char *dir = host_env("CREDENTIALS_DIRECTORY");
    if (dir == NULL) {
        reader_error(r, node,
                     "there are no credentials here: CREDENTIALS_DIRECTORY is not set; "
                     "give the unit a LoadCredential=%s:/path and start it by systemd",
                     name);
        return NULL;
    }
    if (strchr(name, '/') != NULL) {
        reader_error(r, node, "a credential is a name, not a path; for a file write !file");
        return NULL;
    }
    return from_file(r, node, arena_printf(r->arena, "%s/%s", dir, name), false);
}

static const char *from_command(struct reader *r, const struct yaml_node *node, const char *command)
{
    struct err err;
    char *text = command_output(command, COMMAND_MS, SECRET_MAX, &err);
    if (text == NULL) {
        reader_error(r, node, "no secret from the command: %s", err.text);
        return NULL;
    }
    const char *secret = one_line(r, node, text, strlen(text), "the command's output");
    explicit_bzero(text, strlen(text));
    xfree(text);
    return secret;
}

const char *secret_read(struct reader *r, const struct yaml_node *node)
{
    static const char *const tags[] = {"!file", "!env", "!credential", "!command"};
    enum { TAGS = sizeof(tags) / sizeof(tags[0]) };
    const char *text = arena_str(r->arena, node->text);
    if (node->tag.len == 0) {
        if (r->plain_text == NULL)
            r->plain_text = node;
        return text;
    }
    size_t tag = 0;
    struct conf_nearest nearest = {0};
    for (; tag < TAGS && !str_eq(node->tag, str_of(tags[tag])); tag++)
        conf_nearest_offer(&nearest, node->tag, tags[tag]);
    if (tag == TAGS) {
        reader_error(r, node, "the tag %.*s is not known%s (%s, %s, %s, %s)", STR_FMT(node->tag),
                     reader_suggest(r, &nearest), tags[0], tags[1], tags[2], tags[3]);
        return NULL;
    }
    if (node->text.len == 0) {
        reader_error(r, node, "%s says where the secret is, but nothing follows it", tags[tag]);
        return NULL;
    }
    if (r->report->text_only)
        return "";
    switch (tag) {
    case 0: return from_file(r, node, reader_path(r, node->text), true);
    case 1: return from_environment(r, node, text);
    case 2: return from_credential(r, node, text);
    default: return from_command(r, node, text);
    }
}
