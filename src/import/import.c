// SPDX-License-Identifier: ISC
// The list of what was found: filled in by the readers, judged, merged and named in the end.
//
// Settling, in this order: 1. what can never be a gateway here is left out, with why; 2. of those
// with the same host, port and user the first stays and learns from the others; 3. each that stays
// gets a name.
#include "import/source.h"
#include "base/utf8.h"
#include "mail/address_list.h"

#include <stdio.h>

struct import *import_new(const struct import_files *files, const char *root)
{
    struct arena *arena = arena_new();
    struct import *im = arena_alloc(arena, sizeof(*im));
    im->arena = arena;
    im->files = files != NULL ? *files : import_disk;
    im->root = arena_strdup(arena, root);
    im->found_end = &im->found;
    im->routes_end = &im->routes;
    im->notes_end = &im->notes;
    return im;
}

void import_free(struct import **im)
{
    if (*im == NULL)
        return;
    struct arena *arena = (*im)->arena;
    for (struct import_found *f = (*im)->found; f != NULL; f = f->next)
        if (f->password != NULL)
            explicit_bzero(f->password, strlen(f->password));
    *im = NULL;
    arena_free(&arena);
}

void import_read(struct import *im, const struct import_source *only, const char *const *homes,
                 size_t home_count)
{
    for (const struct import_source *s = import_sources; s->name != NULL; s++) {
        if (only != NULL && only != s)
            continue;
        im->program = s->name;
        im->home = NULL;
        for (size_t i = 0; i < home_count && s->read_home != NULL; i++) {
            im->home = homes[i];
            s->read_home(im);
        }
        if (s->read_etc != NULL)
            s->read_etc(im);
    }
}

const struct import_source *import_source_find(const char *name)
{
    for (const struct import_source *s = import_sources; s->name != NULL; s++)
        if (str_is(str_of(name), s->name))
            return s;
    return NULL;
}

// ---- for the readers ----

static const char *vprint(struct arena *arena, const char *format, va_list args)
    __attribute__((format(printf, 2, 0)));
static const char *vprint(struct arena *arena, const char *format, va_list args)
{
    char text[1024];
    vsnprintf(text, sizeof(text), format, args);
    return arena_strdup(arena, text);
}

void import_note(struct import *im, const char *file, unsigned line, const char *format, ...)
{
    va_list args;
    if (im->note_count >= LIMIT_IMPORT_NOTES)
        return;
    struct import_note *n = arena_alloc(im->arena, sizeof(*n));
    va_start(args, format);
    *n = (struct import_note){.program = im->program,
                              .file = file,
                              .line = line,
                              .text = vprint(im->arena, format, args)};
    va_end(args);
    *im->notes_end = n;
    im->notes_end = &n->next;
    im->note_count++;
}

static void add_text(struct import *im, struct import_text **list, const char *text)
{
    size_t count = 0;
    for (; *list != NULL; list = &(*list)->next) {
        if (str_ieq(str_of((*list)->text), str_of(text)) || ++count >= LIMIT_IMPORT_TEXTS)
            return;
    }
    *list = arena_alloc(im->arena, sizeof(**list));
    (*list)->text = text;
}

struct import_found *found_add(struct import *im, const char *file, unsigned line,
                               struct str account)
{
    if (im->found_count >= LIMIT_IMPORT_FOUND) {
        if (im->found_count++ == LIMIT_IMPORT_FOUND)
            import_note(im, file, line, "there are too many servers; the rest was left alone");
        return NULL;
    }
    struct import_found *f = arena_alloc(im->arena, sizeof(*f));
    f->places = arena_alloc(im->arena, sizeof(*f->places));
    *f->places =
        (struct import_place){.program = im->program,
                              .file = file,
                              .line = line,
                              .account = account.len > 0 ? arena_str(im->arena, account) : NULL};
    f->host = "";
    *im->found_end = f;
    im->found_end = &f->next;
    im->found_count++;
    return f;
}

void found_port(struct import_found *f, struct str port)
{
    uint16_t number;
    if (port_of(port, &number))
        f->port = number;
}

void found_host(struct import *im, struct import_found *f, struct str text, uint16_t port)
{
    struct str host = text;
    uint16_t own = 0;
    if (!host_port(text, &host, &own))
        host = text;
    f->host = arena_str(im->arena, str_trim(host));
    f->port = own != 0 ? own : port;
}

void found_user(struct import *im, struct import_found *f, struct str user)
{
    if (user.len > 0)
        f->user = arena_str(im->arena, user);
}

void found_password(struct import *im, struct import_found *f, struct str password,
                    const char *file, unsigned line)
{
    if (password.len == 0 || f->secret >= IMPORT_SECRET_CLEAR)
        return;
    f->secret = IMPORT_SECRET_CLEAR;
    f->password = arena_str(im->arena, password);
    f->secret_file = file;
    f->secret_line = line;
}

// A command that only says a password shows it: echo, printf.
static bool says_it_itself(struct str command)
{
    static const char *const words[] = {"echo", "printf", "/bin/echo", "/usr/bin/echo",
                                        "/usr/bin/printf"};
    struct str first = str_make(command.ptr, str_find(command, ' '));
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (str_is(first, words[i]))
            return true;
    return false;
}

// The daemon is another user, so ~ would be another home.
static const char *at_home(struct import *im, struct str command)
{
    struct buf out;
    buf_init(&out, 64 * 1024);
    for (size_t i = 0; i < command.len; i++) {
        struct str here = str_after(command, i);
        bool begins = i == 0 || command.ptr[i - 1] == ' ';
        if (im->home != NULL && begins && str_starts(here, STR("~/")))
            buf_puts(&out, im->home);
        else
            buf_putc(&out, command.ptr[i]);
    }
    const char *text = arena_str(im->arena, buf_str(&out));
    buf_free(&out);
    return text;
}

void found_command(struct import *im, struct import_found *f, struct str command)
{
    command = str_trim(command);
    if (command.len == 0 || f->secret >= IMPORT_SECRET_COMMAND)
        return;
    if (says_it_itself(command)) {
        struct str word = str_after(command, str_find(command, ' ') + 1), rest = word;
        unsigned flags = WORD_ESCAPE | WORD_SINGLE;
        bool one = word_next(im, &rest, flags, &word) && !has_text(rest);
        // Only the plain case is surely understood.
        if (one && memchr(word.ptr, '$', word.len) == NULL && word.ptr[0] != '-' &&
            memchr(word.ptr, '%', word.len) == NULL)
            found_password(im, f, word, f->places->file, f->places->line);
        else
            found_keyring(im, f, NULL, "a command in %s that shows the password itself",
                          f->places->file);
        return;
    }
    f->secret = IMPORT_SECRET_COMMAND;
    f->secret_command = at_home(im, command);
}

void found_keyring(struct import *im, struct import_found *f, const char *command,
                   const char *format, ...)
{
    va_list args;
    if (f->secret >= IMPORT_SECRET_KEYRING)
        return;
    f->secret = IMPORT_SECRET_KEYRING;
    f->secret_command = command;
    va_start(args, format);
    f->secret_where = vprint(im->arena, format, args);
    va_end(args);
}

static bool is_glob(struct str text)
{
    for (size_t i = 0; i < text.len; i++)
        if ((unsigned char)text.ptr[i] <= ' ' || strchr("\"\\<>(),;:", text.ptr[i]) != NULL ||
            text.ptr[i] == 0x7f)
            return false;
    return text.len > 1 && memchr(text.ptr, '@', text.len) != NULL && text.len < LIMIT_PATH &&
           (memchr(text.ptr, '*', text.len) != NULL || text.ptr[0] == '@');
}

void found_senders(struct import *im, struct import_found *f, struct str addresses)
{
    addresses = str_trim(addresses);
    if (is_glob(addresses) && ascii_only(addresses)) {
        const char *text = arena_str(im->arena, addresses);
        add_text(im, &f->senders, text[0] == '@' ? arena_printf(im->arena, "*%s", text) : text);
        return;
    }
    struct address_list list = address_list_of(addresses, ADDRESS_UTF8);
    struct address a;
    struct str item;
    const char *why;
    enum address_list_step step;
    for (unsigned i = 0; i < LIMIT_IMPORT_TEXTS; i++) {
        if ((step = address_list_next(&list, &a, &item, &why)) == ADDRESS_LIST_END)
            break;
        if (step == ADDRESS_LIST_ADDRESS && a.local_len < a.len)
            add_text(im, &f->senders, arena_str(im->arena, address_str(&a)));
    }
}

void found_remark(struct import *im, struct import_found *f, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    add_text(im, &f->remarks, vprint(im->arena, format, args));
    va_end(args);
}

void found_why_not(struct import *im, struct import_found *f, const char *format, ...)
{
    va_list args;
    if (f->why_not != NULL)
        return;
    va_start(args, format);
    f->why_not = vprint(im->arena, format, args);
    va_end(args);
}

void route_add(struct import *im, const char *to, const char *from, struct import_found *found,
               const char *file, unsigned line)
{
    if (im->route_count >= LIMIT_IMPORT_ROUTES) {
        if (im->route_count++ == LIMIT_IMPORT_ROUTES)
            import_note(im, file, line, "there are too many rules; the rest was left alone");
        return;
    }
    const char *glob = to != NULL ? to : from;
    for (const char *p = glob; *p != '\0'; p++) {
        if ((unsigned char)*p <= ' ' || (unsigned char)*p >= 0x7f || strlen(glob) > LIMIT_PATH) {
            import_note(im, file, line, "what this rule is for is no address and no domain");
            return;
        }
    }
    struct import_route *r = arena_alloc(im->arena, sizeof(*r));
    *r = (struct import_route){
        .to = to, .from = from, .found = found, .program = im->program, .file = file, .line = line};
    if (found != NULL)
        found->routed = true;
    *im->routes_end = r;
    im->routes_end = &r->next;
    im->route_count++;
}
