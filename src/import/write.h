// SPDX-License-Identifier: ISC
// What was found, as a configuration. No password is ever in its text.
#pragma once

#include "base/buf.h"
#include "import/import.h"

struct import_layout {
    const char *dir; // of the password files
    bool passwords;  // they are written there now; else somebody has to
};

// Like smtp+starttls://me@smtp.example.org, without a password.
void import_url(const struct import_found *f, struct buf *out);
// DIR/NAME.pw
const char *import_password_file(struct import *im, const struct import_layout *layout,
                                 const struct import_found *f);
// The whole text, with remarks that say where each entry came from and what is to be done.
void import_yaml(struct import *im, const struct import_layout *layout, struct buf *out);

// One gateway as the value of its name in a configuration that has others: {url: ..., ...}. It
// takes the mail of its senders alone; without any, what those before it cannot.
void import_entry(struct import *im, const struct import_layout *layout,
                  const struct import_found *f, struct buf *out);

// The server that stands for this one: itself, or the one it was merged with; NULL: left out.
const struct import_found *import_kept(const struct import_found *f);
// The one that takes what no other is for; NULL: none.
const struct import_found *import_catch_all(struct import *im);
