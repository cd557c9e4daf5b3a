// SPDX-License-Identifier: ISC
// AUTH PLAIN (RFC 4616) and LOGIN, with and without initial response (RFC 4954).
#include "proto/smtp_server_int.h"

#include "base/base64.h"
#include "base/mem.h"

enum { CREDENTIAL_MAX = 255 };

enum login_step { LOGIN_PLAIN, LOGIN_USER, LOGIN_PASSWORD };

// Exists only while a login runs, so that idle sessions do not pay for it.
struct smtp_login_state {
    enum login_step step;
    char user[CREDENTIAL_MAX + 1];
};

void smtp_server_auth_free(struct smtp_server *s)
{
    if (s->login != NULL)
        explicit_bzero(s->login, sizeof(*s->login));
    xfree(s->login);
    s->login = NULL;
}

static void login_over(struct smtp_server *s)
{
    smtp_server_auth_free(s);
    smtp_server_set_state(s, SMTP_IDLE);
}

static void login_failed(struct smtp_server *s, enum smtp_fixed why)
{
    login_over(s);
    smtp_server_say(s, why);
}

static bool copy_credential(char out[CREDENTIAL_MAX + 1], struct str in)
{
    if (in.len == 0 || in.len > CREDENTIAL_MAX || memchr(in.ptr, 0, in.len) != NULL)
        return false;
    memcpy(out, in.ptr, in.len);
    out[in.len] = '\0';
    return true;
}

static void ask_owner(struct smtp_server *s, const char *user, struct str password)
{
    char secret[CREDENTIAL_MAX + 1];
    if (!copy_credential(secret, password)) {
        login_failed(s, SAY_AUTH_MALFORMED);
        return;
    }
    struct smtp_server_reply reply;
    smtp_server_fixed(SAY_AUTH_OK, &reply);
    smtp_server_set_state(s, SMTP_IDLE);
    int verdict = s->ops->auth(s->ctx, user, secret, &reply);
    explicit_bzero(secret, sizeof(secret));
    smtp_server_auth_free(s);
    smtp_server_verdict(s, ASKED_AUTH, verdict, &reply);
}

// authzid NUL user NUL password; an authzid must be the user itself, as nobody may be another here.
static void take_plain(struct smtp_server *s, struct str text)
{
    size_t first = str_find(text, '\0');
    struct str authzid = str_make(text.ptr, first), user = {0}, password = {0};
    if (first < text.len) {
        user = str_make(text.ptr + first + 1, text.len - first - 1);
        size_t second = str_find(user, '\0');
        if (second < user.len)
            password = str_make(user.ptr + second + 1, user.len - second - 1);
        user.len = second;
    }
    if ((authzid.len > 0 && !str_eq(authzid, user)) || !copy_credential(s->login->user, user))
        login_failed(s, SAY_AUTH_MALFORMED);
    else
        ask_owner(s, s->login->user, password);
}

static void take_response(struct smtp_server *s, struct str text)
{
    switch (s->login->step) {
    case LOGIN_PLAIN: take_plain(s, text); break;
    case LOGIN_USER:
        if (!copy_credential(s->login->user, text)) {
            login_failed(s, SAY_AUTH_MALFORMED);
            break;
        }
        s->login->step = LOGIN_PASSWORD;
        buf_puts(s->out, "334 UGFzc3dvcmQ6\r\n");
        break;
    case LOGIN_PASSWORD: ask_owner(s, s->login->user, text); break;
    }
}

void smtp_server_auth_line(struct smtp_server *s, struct str line)
{
    if (str_eq(line, STR("*"))) {
        login_failed(s, SAY_AUTH_CANCELLED);
        return;
    }
    struct buf text;
    buf_init(&text, LIMIT_AUTH_LINE);
    if (base64_decode(&text, line))
        take_response(s, buf_str(&text));
    else
        login_failed(s, SAY_AUTH_BASE64);
    if (text.data != NULL)
        explicit_bzero(text.data, text.cap);
    buf_free(&text);
}

void smtp_server_auth_command(struct smtp_server *s, struct str arg)
{
    struct str mechanism, initial = arg;
    if (!str_split(&initial, ' ', &mechanism))
        mechanism = (struct str){0};
    bool plain = str_ieq(mechanism, STR("PLAIN"));
    if (!s->settings->auth_offered) {
        smtp_server_say(s, SAY_AUTH_NONE);
    } else if (s->authenticated) {
        smtp_server_say(s, SAY_AUTH_TWICE);
    } else if (!s->tls && !s->settings->auth_in_clear) {
        smtp_server_say(s, SAY_AUTH_CLEAR);
    } else if (!plain && !str_ieq(mechanism, STR("LOGIN"))) {
        smtp_server_say(s, SAY_AUTH_MECHANISM);
    } else {
        s->login = xcalloc(1, sizeof(*s->login));
        s->login->step = plain ? LOGIN_PLAIN : LOGIN_USER;
        smtp_server_set_state(s, SMTP_LOGIN);
        initial = str_trim(initial);
        if (str_eq(initial, STR("=")))
            smtp_server_auth_line(s, (struct str){"", 0});
        else if (initial.len > 0)
            smtp_server_auth_line(s, initial);
        else
            buf_puts(s->out, plain ? "334 \r\n" : "334 VXNlcm5hbWU6\r\n");
    }
}
