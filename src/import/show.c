// SPDX-License-Identifier: ISC
// The list for people: a block for each gateway; and the same as JSON.
#include "import/show.h"
#include "base/utf8.h"

// "  login     value": the label only on the first line of its kind.
static void field(struct buf *out, const char *label, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static void field(struct buf *out, const char *label, const char *format, ...)
{
    va_list args;
    struct buf raw;
    buf_init(&raw, 16 * 1024);
    va_start(args, format);
    buf_vprintf(&raw, format, args);
    va_end(args);
    buf_printf(out, "  %-10s ", label);
    utf8_escape(out, buf_str(&raw));
    buf_putc(out, '\n');
    buf_free(&raw);
}

static const char *const tls_words[] = {"", "off", "when offered", "required (STARTTLS)",
                                        "from the first byte"};

static void say_password(struct import *im, const struct import_layout *layout,
                         const struct import_found *f, struct buf *out)
{
    const char *file = import_password_file(im, layout, f);
    if (f->user == NULL)
        return;
    switch (f->secret) {
    case IMPORT_SECRET_CLEAR:
        field(out, "password", "in %s:%u", f->secret_file, f->secret_line);
        if (layout->passwords)
            field(out, "", "copied to %s", file);
        else
            field(out, "", "--passwords DIR copies it to a file of its own; or put it into %s",
                  file);
        break;
    case IMPORT_SECRET_COMMAND:
        field(out, "password", "by the command: %s", f->secret_command);
        field(out, "", "the daemon will run it as its own user; see that it can");
        break;
    case IMPORT_SECRET_KEYRING:
        field(out, "password", "in %s", f->secret_where);
        if (f->secret_command == NULL)
            field(out, "", "put it into %s, one line, mode 0600", file);
        else
            field(out, "", "this asks for it: %s", f->secret_command);
        if (f->secret_command != NULL)
            field(out, "", "a daemon that is not that user's cannot; then put it into %s", file);
        break;
    case IMPORT_SECRET_NONE:
        field(out, "password", "not found; put it into %s, one line, mode 0600", file);
        break;
    }
}

static void say_places(const struct import_found *f, struct buf *out)
{
    const char *label = "found";
    for (const struct import_place *p = f->places; p != NULL; p = p->next, label = "")
        field(out, label, "%s%s%s, %s:%u", p->program, p->account != NULL ? " " : "",
              p->account != NULL ? p->account : "", p->file, p->line);
}

static void say_gateway(struct import *im, const struct import_layout *layout,
                        const struct import_found *f, struct buf *out)
{
    struct buf list;
    buf_printf(out, "\n%s\n", f->name);
    buf_init(&list, 64 * 1024);
    import_url(f, &list);
    field(out, "url", "%s", buf_cstr(&list));
    field(out, "login", "%s", f->user != NULL ? f->user : "none");
    field(out, "TLS", "%s", tls_words[f->tls]);
    buf_clear(&list);
    for (const struct import_text *t = f->senders; t != NULL; t = t->next)
        buf_printf(&list, "%s%s", list.len > 0 ? ", " : "", t->text);
    if (f == import_catch_all(im))
        buf_printf(&list, "%s", list.len > 0 ? "; and all other mail" : "all");
    field(out, "senders", "%s",
          list.len > 0 ? buf_cstr(&list)
          : f->routed  ? "by its route"
                       : "all");
    buf_free(&list);
    say_places(f, out);
    say_password(im, layout, f, out);
    for (const struct import_text *t = f->remarks; t != NULL; t = t->next)
        field(out, "note", "%s", t->text);
}

static void say_left_out(struct import *im, struct buf *out)
{
    bool title = false;
    for (const struct import_found *f = im->found; f != NULL; f = f->next) {
        if (f->why_not == NULL || f->same != NULL)
            continue;
        if (!title)
            buf_puts(out, "\nnot carried over\n");
        title = true;
        bool named = f->host[0] != '\0';
        field(out, "server", "%s%s%s", named ? f->host : "(none named)",
              f->user != NULL ? ", login " : "", f->user != NULL ? f->user : "");
        say_places(f, out);
        field(out, "why", "%s", f->why_not);
    }
}

static void say_routes(struct import *im, struct buf *out)
{
    bool title = false;
    for (const struct import_route *r = im->routes; r != NULL; r = r->next) {
        const struct import_found *f = import_kept(r->found);
        if (!title)
            buf_puts(out, "\nroutes\n");
        title = true;
        field(out, r->to != NULL ? "mail to" : "mail from", "%s: %s (%s:%u)",
              r->to != NULL ? r->to : r->from,
              f != NULL          ? f->name
              : r->found != NULL ? "its server is not carried over"
                                 : "direct",
              r->file, r->line);
    }
}

static void say_notes(struct import *im, struct buf *out)
{
    if (im->notes != NULL)
        buf_puts(out, "\nleft to you\n");
    for (const struct import_note *n = im->notes; n != NULL; n = n->next) {
        if (n->line > 0)
            field(out, n->program, "%s:%u: %s", n->file, n->line, n->text);
        else
            field(out, n->program, "%s: %s", n->file, n->text);
    }
}

void import_show(struct import *im, const struct import_layout *layout, struct buf *out)
{
    size_t count = 0;
    for (const struct import_found *f = im->found; f != NULL; f = f->next)
        count += import_kept(f) == f;
    if (count > 0) // else whoever asks says what that means
        buf_printf(out, "found %zu gateway%s\n", count, count == 1 ? "" : "s");
    for (const struct import_found *f = im->found; f != NULL; f = f->next)
        if (import_kept(f) == f)
            say_gateway(im, layout, f, out);
    say_routes(im, out);
    say_left_out(im, out);
    say_notes(im, out);
}

// ---- JSON ----

static void text_json(struct json *j, const char *key, const struct import_text *list)
{
    json_open_array(j, key);
    for (; list != NULL; list = list->next)
        json_text(j, NULL, list->text);
    json_close_array(j);
}

static void found_json(struct import *im, const struct import_layout *layout,
                       const struct import_found *f, struct json *j)
{
    static const char *const words[] = {"unsaid", "off", "wanted", "required", "implicit"};
    static const char *const where[] = {"none", "keyring", "command", "clear"};
    struct buf url;
    buf_init(&url, 16 * 1024);
    import_url(f, &url);
    json_open(j, NULL);
    json_text(j, "name", f->name);
    json_str(j, "url", buf_str(&url));
    json_text(j, "host", f->host);
    json_int(j, "port", f->port);
    json_text(j, "tls", words[f->tls]);
    json_text(j, "user", f->user);
    text_json(j, "senders", f->senders);
    json_bool(j, "catch_all", f == import_catch_all(im));
    json_text(j, "why_not", f->why_not);
    json_open(j, "password");
    json_text(j, "where", f->user != NULL ? where[f->secret] : where[0]);
    json_text(j, "file", f->secret_file);
    json_int(j, "line", f->secret_line);
    json_text(j, "command", f->secret_command);
    json_text(j, "target", f->name != NULL ? import_password_file(im, layout, f) : NULL);
    json_close(j);
    json_open_array(j, "places");
    for (const struct import_place *p = f->places; p != NULL; p = p->next) {
        json_open(j, NULL);
        json_text(j, "program", p->program);
        json_text(j, "account", p->account);
        json_text(j, "file", p->file);
        json_int(j, "line", p->line);
        json_close(j);
    }
    json_close_array(j);
    text_json(j, "remarks", f->remarks);
    json_close(j);
    buf_free(&url);
}

static void routes_json(struct import *im, struct json *j)
{
    json_open_array(j, "routes");
    for (const struct import_route *r = im->routes; r != NULL; r = r->next) {
        const struct import_found *f = import_kept(r->found);
        json_open(j, NULL);
        json_text(j, "to", r->to);
        json_text(j, "from", r->from);
        json_text(j, "gateway", f != NULL ? f->name : r->found != NULL ? NULL : "direct");
        json_text(j, "file", r->file);
        json_int(j, "line", r->line);
        json_close(j);
    }
    json_close_array(j);
}

void import_json(struct import *im, const struct import_layout *layout, struct json *j)
{
    static const char *const lists[] = {"gateways", "left_out"};
    for (int left_out = 0; left_out < 2; left_out++) {
        json_open_array(j, lists[left_out]);
        for (const struct import_found *f = im->found; f != NULL; f = f->next)
            if (f->same == NULL && (f->why_not != NULL) == (left_out == 1))
                found_json(im, layout, f, j);
        json_close_array(j);
    }
    routes_json(im, j);
    json_open_array(j, "notes");
    for (const struct import_note *n = im->notes; n != NULL; n = n->next) {
        json_open(j, NULL);
        json_text(j, "program", n->program);
        json_text(j, "file", n->file);
        json_int(j, "line", n->line);
        json_text(j, "text", n->text);
        json_close(j);
    }
    json_close_array(j);
}
