// SPDX-License-Identifier: ISC
// The drop directory `<spool>/drop`: where the sendmail command leaves mail while the daemon is
// down, and where the daemon finds it.
//
// A file there is one message, in the words of SMTP, so that the same parsers check it:
//
//     WAYPOST-DROP 1
//     MAIL FROM:<sender> SIZE=<octets of content> [BODY= SMTPUTF8 RET= ENVID= MT-PRIORITY=]
//     RCPT TO:<recipient> [NOTIFY= ORCPT=]          one line each
//                                                   an empty line
//     content, canonical: every line ends in CRLF
//
// The lines above the content end in LF. A file is written in drop/tmp, synced, and renamed into
// drop, so what has a name there is whole. It is removed after its message is on disk in the store;
// a crash between the two can double the message. Damaged ones go to drop/bad, with a line in the
// log.
#pragma once

#include "conf/conf.h"
#include "mail/envelope.h"
#include "spool/store.h"

enum {
    DROP_SCAN_MS = 3000,
    DROP_HEAD_MOST = LIMIT_RECIPIENTS * 2048, // the lines above the content
    // Whoever may reach the spool may leave mail; only the daemon can list or take it. A file gets
    // the directory's group, which is the daemon's, and lets that group read
    // (docs/decisions/0003).
    DROP_DIR_MODE = 03733,
    DROP_FILE_MODE = 0640,
};

// The writer; any process that may write there. `content` is canonical, with its header complete.
// False with err: nothing was left.
bool drop_write(const char *spool_dir, const struct envelope *e, struct str content,
                struct err *err);

// Makes the directories below `spool_dir`, and lets others through the spool to them, but not write
// there. False with err when one of them is not what it should be.
bool drop_make_dirs(const char *spool_dir, struct err *err);

// Texts of *e_out live in the arena, *content_out is borrowed from `file`. False with err: damaged.
bool drop_parse(struct str file, struct arena *arena, struct envelope *e_out,
                struct str *content_out, struct err *err);

// The reader: one a process, on a loop. Looks at once and every DROP_SCAN_MS. NULL with err when
// the directories cannot be made.
struct drop;
struct drop *drop_new(struct loop *loop, struct conf *conf, struct store *store, struct err *err);
void drop_set_gate(struct drop *d, bool (*may_accept)(void *ctx, struct err *why), void *ctx);
void drop_reload(struct drop *d, struct conf *conf);
// No further message is begun; `stopped` (may be NULL) runs from the loop when the last is done.
void drop_stop(struct drop *d, void (*stopped)(void *ctx), void *ctx);
void drop_free(struct drop **drop); // after `stopped`
