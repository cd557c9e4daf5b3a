// SPDX-License-Identifier: ISC
// Lines of sections, keys and values, as most programs keep them.
#include "import/source.h"

bool ini_open(struct import *im, struct ini *ini, const char *path, enum ini_form form)
{
    *ini = (struct ini){.form = form};
    return text_open(im, &ini->text, path);
}

// Git's values (git-config(1)): quoted pieces anywhere, escapes, remarks behind, blanks around cut.
static struct str git_value(struct ini *ini, struct str in)
{
    char *out = arena_alloc(ini->text.im->arena, in.len + 1);
    size_t n = 0, kept = 0;
    bool quoted = false;
    for (size_t i = 0; i < in.len; i++) {
        char c = in.ptr[i];
        if (!quoted && (c == '#' || c == ';'))
            break;
        if (c == '"') {
            quoted = !quoted;
            kept = n;
            continue;
        }
        bool escaped = c == '\\' && i + 1 < in.len;
        if (escaped) {
            c = in.ptr[++i];
            c = c == 'n' ? '\n' : c == 't' ? '\t' : c == 'b' ? '\b' : c;
        }
        out[n++] = c;
        if (quoted || escaped || (c != ' ' && c != '\t'))
            kept = n;
    }
    return str_make(out, kept);
}

// TOML's: a string in quotes, or what stands before a remark.
static struct str toml_value(struct ini *ini, struct str in)
{
    in = str_trim(in);
    if (in.len > 0 && (in.ptr[0] == '"' || in.ptr[0] == '\''))
        return unquote(ini->text.im, in);
    if (in.len > 0 && in.ptr[0] == '{')
        return in;
    return str_trim(str_make(in.ptr, str_find(in, '#')));
}

// Of `line`, which begins with [. What stands behind the ] is left pending.
static void begin_section(struct ini *ini, struct str line)
{
    size_t close = 1;
    bool quoted = false;
    for (; close < line.len && (quoted || line.ptr[close] != ']'); close++)
        if (line.ptr[close] == '"' && ini->form != INI_PLAIN && line.ptr[close - 1] != '\\')
            quoted = !quoted;
    ini->section = str_trim(str_make(line.ptr + 1, close - 1));
    ini->pending = ini->form == INI_GIT ? str_trim(str_after(line, close + 1)) : STR("");
}

bool ini_next_or_section(struct ini *ini, struct ini_entry *entry_out)
{
    struct str line;
    for (;;) {
        if (ini->pending.len > 0) {
            line = ini->pending;
            ini->pending.len = 0;
        } else if (!(ini->form == INI_GIT ? text_next_joined(&ini->text, &line)
                                          : text_next(&ini->text, &line))) {
            return false;
        }
        line = str_trim(line);
        if (line.len == 0 || line.ptr[0] == '#' || (line.ptr[0] == ';' && ini->form != INI_TOML))
            continue;
        *entry_out = (struct ini_entry){.section = ini->section, .line = ini->text.line};
        if (line.ptr[0] == '[') {
            begin_section(ini, line);
            entry_out->section = ini->section;
            return true;
        }
        size_t equals = str_find(line, '=');
        struct str value = str_after(line, equals + 1);
        entry_out->key = str_trim(str_make(line.ptr, equals));
        if (entry_out->key.len == 0)
            continue;
        if (ini->form == INI_GIT && equals == line.len) // alone: true
            value = STR("true");
        entry_out->value = ini->form == INI_GIT    ? git_value(ini, str_trim(value))
                           : ini->form == INI_TOML ? toml_value(ini, value)
                                                   : str_trim(value);
        return true;
    }
}

bool ini_next(struct ini *ini, struct ini_entry *entry_out)
{
    while (ini_next_or_section(ini, entry_out))
        if (entry_out->key.ptr != NULL)
            return true;
    return false;
}
