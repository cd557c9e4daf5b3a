// SPDX-License-Identifier: ISC
// Who hands mail in on this machine, and where: for the commands that any user may run.
#pragma once

#include "main/command.h"

struct origin {
    struct arena *arena;
    struct conf *conf; // never NULL
    const char *user;  // login name
    const char *full_name;
};

// Reads the configuration without its secrets, quietly: a user may be unable to read the file, or
// it may be half edited; then what is built in holds, for mail must be accepted all the same.
void origin_find(struct origin *o, const struct main_options *options);
void origin_free(struct origin *o);

// An address as a person types it, with our hostname when it has no domain. False with a static
// phrase.
bool origin_qualify(struct origin *o, const char *typed, struct str *address_out,
                    const char **why_out);
// user@hostname
struct str origin_address(struct origin *o);
// A new Message-ID with its <>.
struct str origin_message_id(struct origin *o);
