// SPDX-License-Identifier: ISC
// Changes of the configuration file by commands, which leave everything a person wrote as it is:
// remarks, order, blank lines, quotes. Only the octets that must change do.
//
// Every edit is proved before it is kept: the new text is read again, and its values must be the
// old ones but for what was asked. Where that cannot be (a form this room does not know how to
// write in), the edit is refused in a sentence and nothing is changed.
//
// A key path is written as in the reference: "queue.warn", "gateways.isp.enabled". Names of
// networks and gateways may have dots in them; of the keys that are there the one that fits is
// taken. Items of lists have no path; a list is set as a whole.
//
// A value is YAML as it would stand behind the key, on one line: `false`, `4h`,
// `[home, office]`, `{url: "smtp://mail.isp.example", password: !file isp.pw}`. Text that may hold
// anything goes through conf_edit_quote first.
#pragma once

#include "base/buf.h"
#include "base/err.h"

// Appends `text` as YAML needs it: plain where that is safe inside a flow map too, else in double
// quotes.
void conf_edit_quote(struct buf *out, struct str text);

// The pure core: `text` with the change is appended to `out` (nothing when false).

// The value of a key, replaced where it stands, or put as the last key of its map; a map that is
// missing is made (`queue.warn` where there is no `queue`).
bool conf_edit_text_set(struct str text, const char *key_path, const char *value, struct buf *out,
                        struct err *err);
// A new entry `name` as the last one of a map of names ("gateways", "networks", "listeners"). False
// when it is there already.
bool conf_edit_text_add(struct str text, const char *group, const char *name, const char *value,
                        struct buf *out, struct err *err);
// A key or an entry ("gateways.isp", "gateways.isp.priority") with its value and the remark behind
// it on its line. A map left empty goes too. False when it is not there.
bool conf_edit_text_remove(struct str text, const char *key_path, struct buf *out, struct err *err);
// An entry with the remarks directly above it, to stand before the entry `before` of the same
// group; NULL: as the last one.
bool conf_edit_text_move(struct str text, const char *group, const char *name, const char *before,
                         struct buf *out, struct err *err);

// The same in a file. It is replaced by a new one beside it (same owner and mode, synced, renamed;
// a symbolic link stays one), only when the result has no error as a configuration that the file
// did not have before; otherwise it is left alone. `add` and `set` make a file that is not there,
// readable by its owner's group at most. Not to be called by two processes at once; the daemon's
// reload is the caller's business.
bool conf_edit_set(const char *path, const char *key_path, const char *value, struct err *err);
bool conf_edit_add(const char *path, const char *group, const char *name, const char *value,
                   struct err *err);
bool conf_edit_remove(const char *path, const char *key_path, struct err *err);
bool conf_edit_move(const char *path, const char *group, const char *name, const char *before,
                    struct err *err);
