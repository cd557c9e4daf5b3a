// SPDX-License-Identifier: ISC
// The configuration. Three kinds of gateways: those for their senders; the general ones, which take
// all mail, the catch-all first; and those that only a route names. With any of the last kind, or
// when other mail goes direct, a last route lists the others, as it would else take them all.
#include "import/write.h"
#include "base/utf8.h"

static bool stays(const struct import_found *f)
{
    return f->same == NULL && f->name != NULL;
}

const struct import_found *import_kept(const struct import_found *f)
{
    if (f != NULL && f->same != NULL)
        f = f->same;
    return f != NULL && f->name != NULL ? f : NULL;
}

const struct import_found *import_catch_all(struct import *im)
{
    const struct import_found *first = NULL, *plain = NULL;
    for (const struct import_found *f = im->found; f != NULL; f = f->next) {
        if (!stays(f))
            continue;
        if (f->is_default)
            return f;
        if (plain == NULL && f->senders == NULL && !f->routed)
            plain = f;
        if (first == NULL && !f->routed)
            first = f;
    }
    return im->direct ? NULL : plain != NULL ? plain : first;
}

static bool is_general(const struct import_found *f, const struct import_found *catch_all)
{
    return f == catch_all || (f->senders == NULL && (f->is_default || !f->routed));
}

static bool only_routed(const struct import_found *f, const struct import_found *catch_all)
{
    return f != catch_all && f->routed && !f->is_default && f->senders == NULL;
}

// ---- text ----

static void quote(struct buf *out, struct str text)
{
    buf_putc(out, '"');
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] == '"' || text.ptr[i] == '\\')
            buf_putc(out, '\\');
        buf_putc(out, text.ptr[i]);
    }
    buf_putc(out, '"');
}

// Quoted only where it must be.
static void put_path(struct buf *out, struct str path)
{
    for (size_t i = 0; i < path.len; i++) {
        if (!ascii_is_alnum(path.ptr[i]) && strchr("/._-+", path.ptr[i]) == NULL) {
            quote(out, path);
            return;
        }
    }
    buf_add(out, path);
}

static void remark(struct buf *out, const char *indent, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
// One line, whatever it holds; broken at blanks.
static void remark(struct buf *out, const char *indent, const char *format, ...)
{
    enum { WIDTH = 100 };
    va_list args;
    struct buf raw, text;
    struct str rest, word;
    size_t column = 0;
    buf_init(&raw, 16 * 1024);
    buf_init(&text, 64 * 1024);
    va_start(args, format);
    buf_vprintf(&raw, format, args);
    va_end(args);
    utf8_escape(&text, buf_str(&raw));
    rest = buf_str(&text);
    while (str_split(&rest, ' ', &word)) {
        if (column == 0 || column + word.len + 1 > WIDTH) {
            buf_printf(out, "%s%s#", column == 0 ? "" : "\n", indent);
            column = strlen(indent) + 1;
        }
        buf_putc(out, ' ');
        buf_add(out, word);
        column += word.len + 1;
    }
    buf_putc(out, '\n');
    buf_free(&raw);
    buf_free(&text);
}

void import_url(const struct import_found *f, struct buf *out)
{
    static const char *const schemes[] = {"smtp", "smtp", "smtp", "smtp+starttls", "smtps"};
    uint16_t usual = f->tls == IMPORT_TLS_IMPLICIT                      ? 465
                     : f->tls == IMPORT_TLS_STARTTLS || f->user != NULL ? 587
                                                                        : 25;
    buf_printf(out, "%s://", f->lmtp ? "lmtp" : schemes[f->tls]);
    for (const char *p = f->user; p != NULL && *p != '\0'; p++) {
        if (ascii_is_alnum(*p) || strchr("-._~+@=", *p) != NULL)
            buf_putc(out, *p);
        else
            buf_printf(out, "%%%02X", (unsigned char)*p);
    }
    bool six = strchr(f->host, ':') != NULL;
    buf_printf(out, "%s%s%s%s", f->user != NULL ? "@" : "", six ? "[" : "", f->host,
               six ? "]" : "");
    if (f->lmtp || f->port != usual)
        buf_printf(out, ":%u", f->port);
}

const char *import_password_file(struct import *im, const struct import_layout *layout,
                                 const struct import_found *f)
{
    return arena_printf(im->arena, "%s/%s.pw", layout->dir, f->name);
}

// ---- gateways ----

static void put_password(struct import *im, const struct import_layout *layout,
                         const struct import_found *f, struct buf *out)
{
    const char *file = import_password_file(im, layout, f);
    if (f->user == NULL)
        return;
    if (f->secret_command != NULL) {
        if (f->secret == IMPORT_SECRET_KEYRING)
            remark(out, "    ", "%s; the daemon runs this, so it must be able to ask there",
                   f->secret_where);
        else
            remark(out, "    ", "run by the daemon, as its own user");
        buf_puts(out, "    password: !command ");
        quote(out, str_of(f->secret_command));
        buf_putc(out, '\n');
        return;
    }
    if (f->secret == IMPORT_SECRET_CLEAR && !layout->passwords)
        remark(out, "    ",
               "to do: the password is in %s:%u; put it into this file (one line, "
               "mode 0600)",
               f->secret_file, f->secret_line);
    else if (f->secret == IMPORT_SECRET_KEYRING)
        remark(out, "    ",
               "to do: the password is in %s; put it into this file (one line, mode "
               "0600)",
               f->secret_where);
    else if (f->secret == IMPORT_SECRET_NONE)
        remark(out, "    ",
               "to do: no password was found; put it into this file (one line, mode 0600)");
    buf_puts(out, "    password: !file ");
    put_path(out, str_of(file));
    buf_putc(out, '\n');
}

static void put_senders(const struct import_text *senders, struct buf *out)
{
    buf_putc(out, '[');
    for (const struct import_text *t = senders; t != NULL; t = t->next) {
        quote(out, str_of(t->text));
        buf_puts(out, t->next != NULL ? ", " : "");
    }
    buf_putc(out, ']');
}

// The general gateways one after the other, behind those for their senders.
static void put_priority(unsigned place, bool others, struct buf *out)
{
    static const char *const words[] = {"normal", "below-normal", "low"};
    unsigned n = place + (others ? 2 : 0);
    if (n >= 3)
        buf_printf(out, "    priority: %u\n", n < 98 ? 50 + (n - 2) * 10 : 1000);
    else if (n > 0)
        buf_printf(out, "    priority: %s\n", words[n]);
}

static void put_places(const struct import_found *f, struct buf *out)
{
    for (const struct import_place *p = f->places; p != NULL; p = p->next)
        remark(out, "  ", "%s%s%s: %s:%u", p->program, p->account != NULL ? ", " : "",
               p->account != NULL ? p->account : "", p->file, p->line);
    for (const struct import_text *t = f->remarks; t != NULL; t = t->next)
        remark(out, "  ", "%s", t->text);
}

static void put_keys(struct import *im, const struct import_layout *layout,
                     const struct import_found *f, struct buf *out)
{
    buf_puts(out, "    url: \"");
    import_url(f, out);
    buf_puts(out, "\"\n");
    put_password(im, layout, f, out);
    if (f->tls == IMPORT_TLS_OFF)
        buf_printf(out, "    tls: off\n%s", f->user != NULL ? "    auth_in_clear: true\n" : "");
    if (f->tls == IMPORT_TLS_WANTED && f->user != NULL)
        buf_puts(out, "    tls: wanted\n");
    if (f->no_verify && f->tls >= IMPORT_TLS_WANTED)
        buf_puts(out, "    verify: false\n");
    if (f->ca != NULL && !f->no_verify && f->tls >= IMPORT_TLS_STARTTLS) {
        buf_puts(out, "    ca: ");
        put_path(out, str_of(f->ca));
        buf_putc(out, '\n');
    }
}

static void put_gateway(struct import *im, const struct import_layout *layout,
                        const struct import_found *f, struct buf *out)
{
    put_places(f, out);
    buf_printf(out, "  %s:\n", f->name);
    put_keys(im, layout, f, out);
    if (f->senders == NULL)
        return;
    if (f == import_catch_all(im)) {
        remark(out, "    ", "takes the mail of all senders that no other gateway is for");
        return;
    }
    buf_puts(out, "    senders: ");
    put_senders(f->senders, out);
    buf_putc(out, '\n');
}

void import_entry(struct import *im, const struct import_layout *layout,
                  const struct import_found *f, struct buf *out)
{
    struct buf keys;
    struct str rest, line;
    buf_init(&keys, 256 * 1024);
    put_keys(im, layout, f, &keys);
    rest = buf_str(&keys);
    buf_putc(out, '{');
    while (str_split(&rest, '\n', &line)) {
        line = str_trim(line);
        if (line.len == 0 || line.ptr[0] == '#')
            continue;
        buf_add(out, line);
        buf_puts(out, ", ");
    }
    if (f->senders != NULL) {
        buf_puts(out, "senders: ");
        put_senders(f->senders, out);
    } else {
        // Behind what was there before.
        buf_puts(out, "priority: low");
    }
    buf_putc(out, '}');
    buf_free(&keys);
}

// ---- routes ----

static void put_chain(struct import *im, const struct import_found *catch_all, struct buf *out)
{
    unsigned count = 0;
    buf_puts(out, "  - {via: [");
    // First those for their senders (others' mail passes them over), then the general ones.
    for (int turn = 0; turn < 3; turn++)
        for (const struct import_found *f = im->found; f != NULL; f = f->next)
            if (stays(f) && !only_routed(f, catch_all) &&
                turn == (f == catch_all ? 1 : 2 * is_general(f, catch_all)))
                buf_printf(out, "%s%s", count++ > 0 ? ", " : "", f->name);
    if (im->direct && catch_all == NULL)
        buf_printf(out, "%sdirect", count++ > 0 ? ", " : "");
    if (count == 0)
        buf_puts(out, "direct");
    buf_puts(out, "]}\n");
}

static void put_route(const struct import_route *first, const struct import_route *r,
                      struct buf *out)
{
    const struct import_found *f = import_kept(r->found);
    if (r->found != NULL && f == NULL)
        return; // its gateway is left out, and told there
    for (const struct import_route *o = first; o != r; o = o->next)
        if (r->to != NULL && o->to != NULL && str_ieq(str_of(o->to), str_of(r->to)))
            return; // of the same words the first rule holds
    remark(out, "  ", "%s: %s:%u", r->program, r->file, r->line);
    buf_printf(out, "  - {%s: ", r->to != NULL ? "to" : "from");
    quote(out, str_of(r->to != NULL ? r->to : r->from));
    buf_printf(out, ", via: [%s]}\n", f != NULL ? f->name : "direct");
}

static void put_routes(struct import *im, const struct import_found *catch_all, struct buf *out)
{
    bool last = im->direct && catch_all == NULL;
    for (const struct import_found *f = im->found; f != NULL; f = f->next)
        last |= stays(f) && only_routed(f, catch_all);
    if (im->routes == NULL && !last)
        return;
    buf_puts(out, "\nroutes:\n");
    for (const struct import_route *r = im->routes; r != NULL; r = r->next)
        put_route(im->routes, r, out);
    put_chain(im, catch_all, out);
}

static void put_left_out(struct import *im, struct buf *out)
{
    bool title = false;
    for (const struct import_found *f = im->found; f != NULL; f = f->next) {
        if (f->why_not == NULL || f->same != NULL)
            continue;
        if (!title)
            buf_puts(out, "\n# Not carried over:\n");
        title = true;
        const struct import_place *p = f->places;
        remark(out, "", "- %s%s%s%s (%s: %s:%u): %s", f->host, f->host[0] != '\0' ? "" : "a server",
               f->user != NULL ? ", user " : "", f->user != NULL ? f->user : "", p->program,
               p->file, p->line, f->why_not);
    }
}

void import_yaml(struct import *im, const struct import_layout *layout, struct buf *out)
{
    const struct import_found *catch_all = import_catch_all(im);
    bool others = false, first = true;
    unsigned general = 0;
    for (const struct import_found *f = im->found; f != NULL; f = f->next)
        others |= stays(f) && !is_general(f, catch_all) && !only_routed(f, catch_all);
    buf_puts(out, "# Made by `waypost import`; above each entry stands where it was found.\n"
                  "gateways:\n");
    for (const struct import_found *f = im->found; f != NULL; f = f->next) {
        if (!stays(f))
            continue;
        buf_puts(out, first ? "" : "\n");
        first = false;
        put_gateway(im, layout, f, out);
        if (is_general(f, catch_all))
            put_priority(f == catch_all ? 0 : ++general, others, out);
    }
    put_routes(im, catch_all, out);
    put_left_out(im, out);
}
