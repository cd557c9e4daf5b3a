// SPDX-License-Identifier: ISC
// A gateway's url: scheme://[user[:password]@]host[:port], or lmtp+unix:///path, or one of those
// for this machine (conf/local.c).
#include "conf/reader.h"

static const struct scheme {
    const char *name;
    enum conf_gateway_kind kind;
    bool unix_socket;
    enum conf_tls tls, tls_login; // without and with a login
    uint16_t port, port_login;
} schemes[] = {
    {"smtp", GATEWAY_SMTP, false, TLS_WANTED, TLS_REQUIRED, 25, 587},
    {"smtp+starttls", GATEWAY_SMTP, false, TLS_REQUIRED, TLS_REQUIRED, 587, 587},
    {"smtps", GATEWAY_SMTP, false, TLS_IMPLICIT, TLS_IMPLICIT, 465, 465},
    {"lmtp", GATEWAY_LMTP, false, TLS_WANTED, TLS_REQUIRED, 24, 24},
    {"lmtp+unix", GATEWAY_LMTP, true, TLS_OFF, TLS_OFF, 0, 0},
    {"smtp+unix", GATEWAY_SMTP, true, TLS_OFF, TLS_OFF, 0, 0},
};
enum { SCHEMES = sizeof(schemes) / sizeof(schemes[0]) };

static int hex(char c)
{
    if (ascii_is_digit(c))
        return c - '0';
    c = ascii_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

// NULL when a % is not followed by two hex digits, or for a control character.
static const char *percent_decode(struct arena *arena, struct str text)
{
    char *out = arena_alloc(arena, text.len + 1);
    size_t n = 0;
    for (size_t i = 0; i < text.len; i++) {
        int c = (unsigned char)text.ptr[i];
        if (c == '%') {
            int high = i + 2 < text.len ? hex(text.ptr[i + 1]) : -1;
            int low = i + 2 < text.len ? hex(text.ptr[i + 2]) : -1;
            if (high < 0 || low < 0)
                return NULL;
            c = high * 16 + low;
            i += 2;
        }
        if (c < 0x20 || c == 0x7f)
            return NULL;
        out[n++] = (char)c;
    }
    return out;
}

static const struct scheme *find_scheme(struct reader *r, const struct yaml_node *node,
                                        struct str *rest)
{
    size_t colon = str_find(node->text, ':');
    struct str name = str_make(node->text.ptr, colon);
    *rest = str_make(node->text.ptr + colon, node->text.len - colon);
    // Host and port alone.
    if (!str_starts(*rest, STR("://")) && node->text.len > 0 &&
        memchr(node->text.ptr, '@', node->text.len) == NULL &&
        memchr(node->text.ptr, '/', node->text.len) == NULL) {
        *rest = node->text;
        return &schemes[0];
    }
    if (!str_starts(*rest, STR("://"))) {
        reader_error(r, node,
                     "a url begins with smtp://, smtp+starttls://, smtps://, lmtp://, "
                     "maildir:/// or pipe:/");
        return NULL;
    }
    *rest = str_make(rest->ptr + 3, rest->len - 3);
    struct conf_nearest nearest = {0};
    for (size_t i = 0; i < SCHEMES; i++) {
        if (str_ieq(name, str_of(schemes[i].name)))
            return &schemes[i];
        conf_nearest_offer(&nearest, name, schemes[i].name);
    }
    reader_error(r, node, "`%.*s://` is not a url scheme for mail%s", STR_FMT(name),
                 reader_suggest(r, &nearest));
    return NULL;
}

// user[:password], decoded; *password_out is NULL when there is none.
static bool split_login(struct reader *r, const struct yaml_node *node, struct str login,
                        const char **user_out, const char **password_out)
{
    size_t colon = str_find(login, ':');
    const char *user = percent_decode(r->arena, str_make(login.ptr, colon));
    const char *password = NULL;
    if (colon < login.len) {
        password = percent_decode(r->arena, str_make(login.ptr + colon + 1, login.len - colon - 1));
        if (r->plain_text == NULL)
            r->plain_text = node;
    }
    if (user == NULL || (colon < login.len && password == NULL)) {
        reader_error(r, node,
                     "the login in the url is not well written: %% is followed by two hex "
                     "digits (%%25 is %% itself)");
        return false;
    }
    if (user[0] == '\0') {
        reader_error(r, node, "the url has an @ but no user before it");
        return false;
    }
    *user_out = user;
    *password_out = password;
    return true;
}

static bool stands_twice(struct reader *r, const struct yaml_node *node, const char *what)
{
    reader_error(r, node, "the %s stands both in the url and in a key of its own; keep one", what);
    return false;
}

static void warn_of_password(struct reader *r, const struct yaml_node *node, const char *key,
                             const char *name)
{
    reader_warn(r, node,
                "a password in a url is easily shown around; better: %s: !file /etc/waypost/%s.pw",
                key, name);
}

// In front of the last @.
static bool read_login(struct reader *r, const struct yaml_node *entry,
                       const struct yaml_node *node, struct str login, struct conf_gateway *g)
{
    const char *user, *password;
    if (!split_login(r, node, login, &user, &password))
        return false;
    if (yaml_get(entry, "user") != NULL)
        return stands_twice(r, node, "user");
    if (password != NULL && yaml_get(entry, "password") != NULL)
        return stands_twice(r, node, "password");
    g->user = user;
    if (password != NULL) {
        g->password = password;
        warn_of_password(r, node, "password", g->name);
    }
    return true;
}

// The octets of `login@`; 0 without an @.
static size_t login_end(struct str text)
{
    size_t at = text.len;
    while (at > 0 && text.ptr[at - 1] != '@')
        at--;
    return at;
}

// host[:port]; the port is 0 when it is not written.
static bool split_host(struct reader *r, const struct yaml_node *node, struct str text,
                       const char **host_out, uint16_t *port_out)
{
    if (text.len > 0 && text.ptr[text.len - 1] == '/')
        text.len--;
    size_t end = text.len > 0 && text.ptr[0] == '[' ? str_find(text, ']') + 1 : str_find(text, ':');
    if (end > text.len)
        end = text.len;
    struct str host = str_make(text.ptr, end), port = str_make(text.ptr + end, text.len - end);
    if (host.len == 0) {
        reader_error(r, node, "the url has no host");
        return false;
    }
    if (!value_is_host(host)) {
        // Not quoted: with the @ forgotten it is a piece of the login.
        reader_error(r, node, "there is no good host name in the url%s",
                     memchr(host.ptr, '/', host.len) != NULL
                         ? "; nothing follows host and port in a mail url"
                         : "; international names are written as xn--..., IPv6 in brackets");
        return false;
    }
    uint64_t number = 0;
    if (port.len > 0 &&
        (port.ptr[0] != ':' || !str_u64(str_make(port.ptr + 1, port.len - 1), 65535, &number) ||
         number == 0)) {
        reader_error(r, node, "the port in the url must be a number from 1 to 65535");
        return false;
    }
    *port_out = (uint16_t)number;
    if (host.ptr[0] == '[')
        host = str_make(host.ptr + 1, host.len - 2);
    *host_out = arena_str(r->arena, host);
    return true;
}

static bool settle_tls(struct reader *r, const struct yaml_node *entry, const struct scheme *s,
                       struct conf_gateway *g)
{
    const struct yaml_node *tls = yaml_get(entry, "tls");
    bool login = g->user != NULL || yaml_get(entry, "password") != NULL;
    if (tls == NULL)
        g->tls = login ? s->tls_login : s->tls;
    else if (s->tls == TLS_IMPLICIT && g->tls != TLS_IMPLICIT) {
        reader_error(r, tls,
                     "smtps:// is TLS from the first byte; for STARTTLS write "
                     "smtp+starttls://");
        return false;
    } else if (strcmp(s->name, "smtp+starttls") == 0 && g->tls != TLS_REQUIRED) {
        reader_error(r, tls,
                     "smtp+starttls:// requires TLS by STARTTLS; for another kind write "
                     "smtp:// or smtps://");
        return false;
    }
    if (g->port == 0 && g->tls == TLS_IMPLICIT && g->kind == GATEWAY_SMTP)
        g->port = 465;
    if (g->port == 0)
        g->port = login ? s->port_login : s->port;
    return true;
}

bool url_read(struct reader *r, const struct yaml_node *entry, const struct yaml_node *node,
              struct conf_gateway *g)
{
    struct str rest;
    if (local_is(node->text))
        return local_read(r, entry, node, g);
    const struct scheme *s = find_scheme(r, node, &rest);
    if (s == NULL)
        return false;
    if (s->unix_socket) {
        struct net_addr at;
        struct str path = str_of(arena_printf(r->arena, "unix:%.*s", STR_FMT(rest)));
        if (rest.len == 0 || rest.ptr[0] != '/' || !net_addr_parse(path, 0, &at)) {
            reader_error(r, node,
                         "%s:// is followed by an absolute path of at most 103 bytes: "
                         "%s:///run/lmtp.sock",
                         s->name, s->name);
            return false;
        }
        g->host = "";
        g->kind = s->kind;
        g->unix_path = arena_strdup(r->arena, at.path);
        return settle_tls(r, entry, s, g);
    }
    size_t at = login_end(rest);
    if (at > 0 && !read_login(r, entry, node, str_make(rest.ptr, at - 1), g))
        return false;
    if (!split_host(r, node, str_make(rest.ptr + at, rest.len - at), &g->host, &g->port))
        return false;
    g->kind = s->kind;
    return settle_tls(r, entry, s, g);
}

const struct conf_socks *socks_read(struct reader *r, const struct yaml_node *entry,
                                    const struct yaml_node *node, struct conf_gateway *g)
{
    enum { SOCKS_PORT = 1080, SOCKS_TEXT_MAX = 255 }; // RFC 1929 section 2
    static const struct str scheme = {"socks5://", 9};
    struct conf_socks *socks = arena_alloc(r->arena, sizeof(*socks));
    const char *password = NULL;
    if (node->kind != YAML_SCALAR || node->tag.len > 0 || !str_istarts(node->text, scheme)) {
        reader_error(r, node, "socks is a url such as socks5://user@127.0.0.1:1080");
        return NULL;
    }
    struct str rest = str_make(node->text.ptr + scheme.len, node->text.len - scheme.len);
    size_t at = login_end(rest);
    if (at > 0 && !split_login(r, node, str_make(rest.ptr, at - 1), &socks->user, &password))
        return NULL;
    if (!split_host(r, node, str_make(rest.ptr + at, rest.len - at), &socks->host, &socks->port))
        return NULL;
    if (password != NULL && yaml_get(entry, "socks_password") != NULL) {
        stands_twice(r, node, "password");
        return NULL;
    }
    if (password != NULL) {
        g->socks_password = password;
        warn_of_password(r, node, "socks_password", "proxy");
    }
    socks->password = g->socks_password;
    if (socks->port == 0)
        socks->port = SOCKS_PORT;
    if ((socks->user != NULL && strlen(socks->user) > SOCKS_TEXT_MAX) ||
        (socks->password != NULL && strlen(socks->password) > SOCKS_TEXT_MAX)) {
        reader_error(r, node, "user and password of a proxy have at most %d octets",
                     SOCKS_TEXT_MAX);
        return NULL;
    }
    return socks;
}
