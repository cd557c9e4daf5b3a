// SPDX-License-Identifier: ISC
// The outgoing servers that other mail programs of this machine know. Only reads: what is found is
// a list, made into a configuration by import/write.h and shown by import/show.h.
//
// Each program is a row of import_sources with a reader in a file of its own (import/source.h).
// Servers found more than once (same host, port and user) are one, with all their places. Nothing
// here runs a command or opens a connection.
#pragma once

#include "base/arena.h"
#include "base/err.h"
#include "base/map.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

enum import_tls {
    IMPORT_TLS_UNSAID, // by the port
    IMPORT_TLS_OFF,
    IMPORT_TLS_WANTED,   // when offered
    IMPORT_TLS_STARTTLS, // required
    IMPORT_TLS_IMPLICIT,
};

enum import_login {
    IMPORT_LOGIN_UNSAID, // one when there is a user
    IMPORT_LOGIN_NONE,
    IMPORT_LOGIN_PASSWORD,
    IMPORT_LOGIN_OAUTH2,
    IMPORT_LOGIN_OTHER, // a client certificate, Kerberos, NTLM
};

enum import_secret {
    IMPORT_SECRET_NONE,    // nowhere: the program asks for it
    IMPORT_SECRET_KEYRING, // in a store of the program or the desktop; maybe a command is known
    IMPORT_SECRET_COMMAND,
    IMPORT_SECRET_CLEAR,
};

struct import_place {
    struct import_place *next;
    const char *program, *file;
    unsigned line;
    const char *account; // the program's own name for it; NULL: none
};

struct import_text { // a list of sentences, or of addresses
    struct import_text *next;
    const char *text;
};

struct import_found {
    struct import_found *next;
    const char *name; // proposed, unique; NULL while it is left out
    const char *host;
    uint16_t port;
    enum import_tls tls;
    bool lmtp, no_verify;
    const char *ca;
    const char *user; // NULL: no login
    enum import_login login;
    enum import_secret secret;
    char *password;              // CLEAR; wiped by import_free
    const char *secret_file;     // CLEAR: where it stands
    unsigned secret_line;        //
    const char *secret_command;  // COMMAND; KEYRING when known
    const char *secret_where;    // KEYRING: in words
    struct import_text *senders; // globs
    struct import_place *places;
    struct import_text *remarks;
    bool is_default;           // takes mail of all senders of its program
    bool routed;               // a route names it
    const char *why_not;       // it cannot be carried over: a sentence and what to do
    struct import_found *same; // it was found before: that one
};

// Which mail the program sent where.
struct import_route {
    struct import_route *next;
    const char *to, *from;      // one of them, a glob
    struct import_found *found; // NULL: direct
    const char *program, *file;
    unsigned line;
};

struct import_note { // what could not be read, or not be carried over
    struct import_note *next;
    const char *program, *file;
    unsigned line; // 0: the file as a whole
    const char *text;
};

// Where files come from: the disk, or a test.
struct import_files {
    // The text, alive as long as the arena; NULL with err, err->code ENOENT when there is none.
    // Both calls may get paths of any kind.
    const char *(*read)(void *ctx, struct arena *arena, const char *path, size_t *len_out,
                        struct err *err);
    // The names in a directory, sorted, ending in NULL; NULL when there is none.
    const char *const *(*list)(void *ctx, struct arena *arena, const char *path);
    void *ctx;
};
extern const struct import_files import_disk;

struct import {
    struct arena *arena;
    struct import_files files;
    const char *root; // before every absolute path; ""
    const char *home; // of the user being looked at
    const char *program;
    bool direct; // an MTA sends what no rule is for to the recipients' own servers
    struct import_found *found, **found_end;
    struct import_route *routes, **routes_end;
    struct import_note *notes, **notes_end;
    size_t found_count, route_count, note_count, file_count, byte_count;
};

struct import_source {
    const char *name; // as --from takes it
    const char *places;
    void (*read_home)(struct import *im); // im->home; NULL: nothing there
    void (*read_etc)(struct import *im);  // NULL: nothing there
};
extern const struct import_source import_sources[]; // ends with name NULL
const struct import_source *import_source_find(const char *name);

// `files` NULL: the disk. `root` is copied.
struct import *import_new(const struct import_files *files, const char *root);
void import_free(struct import **im);

// Reads one source, or all with NULL: the system's files, and those of each home.
void import_read(struct import *im, const struct import_source *only, const char *const *homes,
                 size_t home_count);
// After reading: judges what can be carried over, merges, and gives names. With how many gateways
// that makes.
size_t import_settle(struct import *im);
