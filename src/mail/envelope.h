// SPDX-License-Identifier: ISC
// The envelope (RFC 5321) with its DSN (RFC 3461) and body parameters, and its packed form for disk
// and memory.
#pragma once

#include "base/arena.h"
#include "base/buf.h"

enum envelope_body { BODY_7BIT, BODY_8BITMIME, BODY_BINARYMIME };
enum envelope_ret { RET_UNSET, RET_FULL, RET_HDRS };
// NOTIFY, a set; 0 means the client did not say (treated as failure and delay).
enum { NOTIFY_NEVER = 1, NOTIFY_SUCCESS = 2, NOTIFY_FAILURE = 4, NOTIFY_DELAY = 8 };
enum envelope_priority { PRIORITY_LOW = 0, PRIORITY_NORMAL = 1, PRIORITY_URGENT = 2 };

struct envelope_rcpt {
    struct str address; // local@domain, as given, without <>; domain in lower case
    struct str orcpt;   // "rfc822;..." decoded from xtext; empty when not given
    uint8_t notify;
};

// A field of the header that rules of the configuration asked for when the message came in.
struct envelope_header {
    struct str name; // lower case
    struct str text; // unfolded and decoded, at most LIMIT_KEPT_HEADER octets
};

struct envelope {
    struct str sender; // without <>; empty for the null sender
    struct str envid;  // decoded; empty when not given
    enum envelope_body body;
    enum envelope_ret ret;
    enum envelope_priority priority;
    bool smtputf8;
    bool is_dsn;         // written by ourselves: never returned
    int64_t accepted_ms; // wall clock
    // RFC 4865: not to be sent before (wall clock), 0: at once; and whether that was asked for as
    // so many seconds from acceptance (HOLDFOR), 0: as a moment (HOLDUNTIL).
    int64_t release_ms;
    uint32_t hold_s;
    // Where it came from, for rules, the trace and the timeline.
    struct str client; // address text, "uid 1000", "local"
    struct str helo;
    struct str user; // authenticated as; empty without
    struct str listener;
    struct str subject; // first 200 bytes, for the timeline only; may be empty
    size_t header_count;
    struct envelope_header *headers;
    size_t count;
    struct envelope_rcpt *rcpts;
};

// One more recipient, all zero, to be filled. Only for an envelope that began empty and grows by
// this alone, in one arena; the recipients before move.
struct envelope_rcpt *envelope_add(struct envelope *e, struct arena *arena);

// The packed form, version first; grows only at its end, so that older records stay readable.
bool envelope_pack(struct buf *out, const struct envelope *e);
// Texts are borrowed from `packed`; the array of recipients lives in the arena. False when damaged
// (nothing is kept).
bool envelope_unpack(struct str packed, struct arena *arena, struct envelope *e_out);

// The part behind the last '@', or empty.
struct str envelope_domain(struct str address);
