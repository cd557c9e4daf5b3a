// SPDX-License-Identifier: ISC
// Logins against a file of "name:crypt-hash" lines. A yescrypt hash costs tens of milliseconds, so
// it is computed on a worker, and a right password is remembered for a few minutes, as a keyed hash
// with a salt of this process, never in clear.
#include "accept/accept_int.h"

#include "base/mem.h"
#include "sys/clock.h"
#include "sys/file.h"
#include "sys/log.h"

#include <stdio.h>

enum { VERDICT_MS = 5 * 60 * 1000, VERDICTS_MOST = 1000, USERS_FILE_MOST = 4 * 1024 * 1024 };

// A hash of nobody's password, so that an unknown name takes as long as a wrong password.
static const char nobody_hash[] =
    "$y$j9T$F5Jx5fExrKuPp53xLKQ..1$tnSYvahCwPBHKZUspmcxMfb0.WiB9W.zEaKlOBL35rC";

struct digest {
    uint64_t part[2];
};

struct verdict {
    struct digest digest;
    int64_t until_ms;
    char key[]; // file, NUL, user
};

struct verdicts {
    struct map *map;
    unsigned char salt[2][16];
};

struct login {
    struct work work; // first
    struct accept *accept;
    struct session *session; // NULL: gone
    const char *file;        // owned
    char *user, *password;   // owned; the password is wiped
    struct digest digest;
    bool right;
    struct err err; // the file could not be read
};

struct verdicts *verdicts_new(void)
{
    struct verdicts *v = xcalloc(1, sizeof(*v));
    v->map = map_new();
    random_bytes(v->salt, sizeof(v->salt));
    return v;
}

static void forget_all(struct verdicts *v)
{
    size_t pos = 0;
    for (void *one; (one = map_next(v->map, &pos)) != NULL;)
        xfree(one);
    map_free(&v->map);
}

void verdicts_free(struct verdicts **verdicts)
{
    struct verdicts *v = *verdicts;
    if (v == NULL)
        return;
    forget_all(v);
    xfree(v);
    *verdicts = NULL;
}

static struct digest digest_of(const struct verdicts *v, const char *password)
{
    struct digest d;
    char text[16 + 256];
    size_t len = strnlen(password, 256);
    for (int i = 0; i < 2; i++) {
        memcpy(text, v->salt[i], 16);
        memcpy(text + 16, password, len);
        d.part[i] = map_hash(text, 16 + len);
    }
    explicit_bzero(text, sizeof(text));
    return d;
}

static struct verdict *verdict_make(const char *file, const char *user)
{
    size_t file_len = strlen(file) + 1, user_len = strlen(user) + 1;
    struct verdict *v = xcalloc(1, sizeof(*v) + file_len + user_len);
    memcpy(v->key, file, file_len);
    memcpy(v->key + file_len, user, user_len);
    return v;
}

static struct str verdict_key(const struct verdict *v)
{
    size_t file_len = strlen(v->key) + 1;
    return str_make(v->key, file_len + strlen(v->key + file_len));
}

static bool remembered(struct accept *a, const char *file, const char *user, struct digest digest)
{
    struct verdict *probe = verdict_make(file, user);
    struct verdict *v = map_get(a->verdicts->map, verdict_key(probe));
    xfree(probe);
    return v != NULL && v->until_ms > loop_now_ms(a->loop) &&
           ((v->digest.part[0] ^ digest.part[0]) | (v->digest.part[1] ^ digest.part[1])) == 0;
}

static void remember(struct accept *a, const struct login *l)
{
    struct verdicts *all = a->verdicts;
    if (map_count(all->map) >= VERDICTS_MOST) {
        forget_all(all);
        all->map = map_new();
    }
    struct verdict *v = verdict_make(l->file, l->user);
    v->digest = l->digest;
    v->until_ms = loop_now_ms(a->loop) + VERDICT_MS;
    xfree(map_put(all->map, verdict_key(v), v));
}

static void login_free(struct login *l)
{
    explicit_bzero(l->password, strlen(l->password));
    xfree(l->password);
    xfree(l->user);
    xfree((void *)l->file);
    xfree(l);
}

void login_drop(struct session *s)
{
    if (s->login == NULL)
        return;
    s->login->session = NULL;
    s->accept->orphans++;
    s->login = NULL;
}

// On a worker.
static void check_password(struct work *w)
{
    struct login *l = (struct login *)w;
    size_t len;
    char *text = file_slurp(l->file, USERS_FILE_MOST, &len, &l->err);
    const char *hash = nobody_hash;
    bool known = false;
    struct str rest = text != NULL ? str_make(text, len) : (struct str){0}, line, name;
    while (!known && str_split(&rest, '\n', &line)) {
        line = str_trim(line);
        if (line.len == 0 || line.ptr[0] == '#' || !str_split(&line, ':', &name) ||
            !str_eq(name, str_of(l->user)))
            continue;
        // A further field, as in shadow(5), ends the hash.
        line.len = str_find(line, ':');
        text[line.ptr - text + (ptrdiff_t)line.len] = '\0';
        hash = line.ptr;
        known = true;
    }
    bool right = password_verify(l->password, hash);
    l->right = known && right;
    if (text != NULL)
        explicit_bzero(text, len);
    xfree(text);
}

static int refuse(struct session *s, const char *user, struct smtp_server_reply *reply)
{
    log_warn("login-failed", 0, "client %s gave a wrong user or password (user %s)", s->client,
             user);
    smtp_server_reply_set(reply, 535, "5.7.8", "wrong user or password");
    if (++s->login_failures >= LOGIN_FAILURES)
        smtp_server_reply_set(reply, 421, "4.7.0", "too many failed logins; goodbye");
    return -1;
}

static int welcome(struct session *s, const char *user)
{
    xfree((void *)s->user);
    s->user = xstrdup(user);
    return 1;
}

static void password_checked(struct work *w)
{
    struct login *l = (struct login *)w;
    struct accept *a = l->accept;
    struct session *s = l->session;
    if (l->right)
        remember(a, l);
    if (s == NULL) {
        a->orphans--;
        login_free(l);
        accept_count_changed(a);
        return;
    }
    s->login = NULL;
    struct smtp_server_reply reply;
    int verdict = -1;
    if (l->err.text[0] != '\0') {
        log_error("users", 0, "%s", l->err.text);
        smtp_server_reply_set(&reply, 454, "4.7.0", "logins cannot be checked now; try later");
    } else if (l->right) {
        verdict = welcome(s, l->user);
    } else {
        verdict = refuse(s, l->user, &reply);
    }
    login_free(l);
    session_answer(s, verdict, verdict > 0 ? NULL : &reply);
}

int session_auth(void *ctx, const char *user, const char *password, struct smtp_server_reply *reply)
{
    struct session *s = ctx;
    if (s->set->users == NULL) {
        smtp_server_reply_set(reply, 454, "4.7.0",
                              "nobody can log in; set listeners.%s.users to a password file",
                              s->set->name);
        return -1;
    }
    struct digest digest = digest_of(s->accept->verdicts, password);
    if (remembered(s->accept, s->set->users, user, digest))
        return welcome(s, user);
    struct login *l = xcalloc(1, sizeof(*l));
    l->work =
        (struct work){.home = s->accept->loop, .work = check_password, .done = password_checked};
    l->accept = s->accept;
    l->session = s;
    l->file = xstrdup(s->set->users);
    l->user = xstrdup(user);
    l->password = xstrdup(password);
    l->digest = digest;
    s->login = l;
    worker_submit(&l->work);
    return 0;
}
