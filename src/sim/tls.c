// SPDX-License-Identifier: ISC
// TLS identities of the simulated world: no cryptography, only who would be believed.
#include "sim/inside.h"
#include "sys/file.h"
#include "sys/tls.h"

struct tls_server {
    unsigned refs;
};

struct named {
    struct link all;
    enum world_certificate what;
    char name[512];
};
static struct link certificates = {&certificates, &certificates};
static struct link sessions = {&sessions, &sessions}; // keys a client could resume

static struct named *named_find(struct link *list, const char *name)
{
    struct named *n;
    list_each (list, n, struct named, all)
        if (strcmp(n->name, name) == 0)
            return n;
    return NULL;
}

static struct named *named_add(struct link *list, const char *name)
{
    struct named *n = sim_alloc(SIM_WORLD, sizeof(*n));
    snprintf(n->name, sizeof(n->name), "%s", name);
    list_append(list, &n->all);
    return n;
}

static void named_clear(struct link *list)
{
    struct named *n;
    list_each (list, n, struct named, all) {
        list_remove(&n->all);
        xfree(n);
    }
}

static struct tls_server *server_new(enum sim_owner owner)
{
    struct tls_server *tls = sim_alloc(owner, sizeof(*tls));
    tls->refs = 1;
    return tls;
}

struct tls_server *tls_server_new(const char *cert_file, const char *key_file, struct err *err)
{
    const char *files[] = {cert_file, key_file};
    for (size_t i = 0; i < 2; i++) {
        if (!path_exists(files[i])) {
            err_sys(err, ENOENT, "cannot read %s", files[i]);
            return NULL;
        }
    }
    SIM_CALL;
    return server_new(SIM_CALLER);
}

struct tls_server *tls_server_self_signed(const char *name, struct err *err)
{
    SIM_CALL;
    return server_new(SIM_CALLER);
}

struct tls_server *tls_server_ref(struct tls_server *tls)
{
    tls->refs++;
    return tls;
}

void tls_server_unref(struct tls_server **tls)
{
    if (*tls != NULL && --(*tls)->refs == 0)
        xfree(*tls);
    *tls = NULL;
}

void world_set_certificate(const char *server_name, enum world_certificate what)
{
    SIM_CALL;
    struct named *n = named_find(&certificates, server_name);
    if (n == NULL)
        n = named_add(&certificates, server_name);
    n->what = what;
}

enum world_certificate tls_certificate(const char *server_name)
{
    struct named *n = named_find(&certificates, server_name);
    return n != NULL ? n->what : WORLD_CERT_GOOD;
}

bool tls_session_known(const char *key)
{
    if (named_find(&sessions, key) != NULL)
        return true;
    named_add(&sessions, key);
    return false;
}

void tls_crash(void)
{
    named_clear(&sessions);
}

void tls_free(void)
{
    named_clear(&sessions);
    named_clear(&certificates);
}
