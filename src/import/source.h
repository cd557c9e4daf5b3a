// SPDX-License-Identifier: ISC
// What the readers of the programs' files share. Not for other rooms.
//
// A reader opens files by text_open, which says what cannot be read, and fills in a found server
// with whatever it learns; import_settle judges the result. All text lives as long as the import.
#pragma once

#include "base/buf.h"
#include "base/limits.h"
#include "import/import.h"

// A file, line by line.
struct text {
    struct import *im;
    const char *file;
    struct str rest;
    unsigned line;  // where the one read last begins
    unsigned count; // of lines read
};

// False when there is none; when it is there but cannot be read that is noted.
bool text_open(struct import *im, struct text *t, const char *path);
// The same for a file that another names: that it is missing is noted, too.
bool text_open_named(struct import *im, struct text *t, const char *path);
bool text_next(struct text *t, struct str *line_out); // without its end
// A line, with the following ones as long as it ends in a backslash.
bool text_next_joined(struct text *t, struct str *line_out);
// A line that is no remark, with the following ones that begin with a blank (Postfix).
bool text_next_folded(struct text *t, struct str *line_out);

// Paths as they are opened.
const char *home_path(struct import *im, const char *below); // ".msmtprc"
const char *etc_path(struct import *im, const char *path);   // "/etc/msmtprc"
// As a file of `dir` means it: ~/x, $HOME/x, /x, or x in `dir`.
const char *named_path(struct import *im, const char *dir, struct str path);
const char *dir_of(struct import *im, const char *file);
// dir_list of the world, one level.
const char *const *names_in(struct import *im, const char *dir);

void import_note(struct import *im, const char *file, unsigned line, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

// A new one at this place. NULL when there are too many (that is noted).
struct import_found *found_add(struct import *im, const char *file, unsigned line,
                               struct str account);
// The host, or "host:port", "[host]:port", "host:submission"; without a port, `port`.
void found_host(struct import *im, struct import_found *f, struct str text, uint16_t port);
void found_port(struct import_found *f, struct str port); // a number or a service's name
void found_user(struct import *im, struct import_found *f, struct str user);
// All of these leave a better one alone.
void found_password(struct import *im, struct import_found *f, struct str password,
                    const char *file, unsigned line);
void found_command(struct import *im, struct import_found *f, struct str command);
void found_keyring(struct import *im, struct import_found *f, const char *command,
                   const char *format, ...) __attribute__((format(printf, 4, 5)));
// The addresses in a list or a single glob; what is none is left out.
void found_senders(struct import *im, struct import_found *f, struct str addresses);
void found_remark(struct import *im, struct import_found *f, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void found_why_not(struct import *im, struct import_found *f, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
// `to` or `from` is a glob; `found` NULL: direct.
void route_add(struct import *im, const char *to, const char *from, struct import_found *found,
               const char *file, unsigned line);

// Splits "host:port" at its end; false when it makes no sense. The port is 0 without one.
bool host_port(struct str text, struct str *host_out, uint16_t *port_out);
bool port_of(struct str text, uint16_t *port_out);

// scheme://[user[:password]@]host[:port][/...]; user and password are decoded.
struct mail_url {
    struct str scheme, user, password, host;
    uint16_t port;
    bool has_password;
};
bool mail_url(struct import *im, struct str text, struct mail_url *url_out);

// Words of a line.
enum {
    WORD_HASH = 1,       // # begins a remark
    WORD_ESCAPE = 2,     // backslashes outside of quotes
    WORD_EQUALS = 4,     // ends at =, too; the = itself is a blank
    WORD_SINGLE = 8,     // '...' quotes, too
    WORD_SEMICOLON = 16, // ends the line, and stays in *rest
};
// The next word, its quotes and escapes gone; false at the end. A quote that is not closed ends
// with the line.
bool word_next(struct import *im, struct str *rest, unsigned flags, struct str *word_out);

// "...": as C, JavaScript and TOML write it, with its quotes; '...' as it stands. Anything else is
// returned as it is.
struct str unquote(struct import *im, struct str text);

// Lines of sections, keys and values.
enum ini_form {
    INI_PLAIN, // key=value; # and ; begin a remark at the front of a line
    INI_GIT,   // as git-config(1) has it
    INI_TOML,  // quoted values; # begins a remark anywhere outside
};
struct ini {
    struct text text;
    enum ini_form form;
    struct str section;
    struct str pending; // behind a ] on the same line
};
struct ini_entry {
    struct str section; // as in the brackets
    struct str key, value;
    unsigned line;
};
bool ini_open(struct import *im, struct ini *ini, const char *path, enum ini_form form);
bool ini_next(struct ini *ini, struct ini_entry *entry_out);
// Also tells of each section when it begins: key.ptr is NULL then.
bool ini_next_or_section(struct ini *ini, struct ini_entry *entry_out);

bool is_yes(struct str text); // yes, true, on, 1, enabled; ASCII case is ignored
bool has_text(struct str text);
struct str str_after(struct str s, size_t count);
static inline bool str_is(struct str s, const char *text)
{
    return str_ieq(s, str_of(text));
}

// The readers.
void thunderbird_home(struct import *im);
void evolution_home(struct import *im);
void kmail_home(struct import *im);
void claws_home(struct import *im);
void sylpheed_home(struct import *im);
void geary_home(struct import *im);
void mutt_home(struct import *im);
void mutt_etc(struct import *im);
void msmtp_home(struct import *im);
void msmtp_etc(struct import *im);
void ssmtp_etc(struct import *im);
void git_home(struct import *im);
void git_etc(struct import *im);
void postfix_etc(struct import *im);
void exim_etc(struct import *im);
void nullmailer_etc(struct import *im);
void dma_etc(struct import *im);
void opensmtpd_etc(struct import *im);
void masqmail_etc(struct import *im);
void aerc_home(struct import *im);
void himalaya_home(struct import *im);
void mailx_home(struct import *im);
void mailx_etc(struct import *im);
void esmtp_home(struct import *im);
void esmtp_etc(struct import *im);
