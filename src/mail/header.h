// SPDX-License-Identifier: ISC
// The header section of a message (RFC 5322 section 2.2), read once while the content streams by,
// in pieces of any size: what it says does not depend on where the pieces end. Goes on over the
// body for the facts of transport (8-bit octets, line lengths, stray CR, LF and NUL).
//
// Lines end with LF; one without a CR before it is counted as bare_lf. A CR that no LF follows ends
// nothing. The section ends at an empty line, or before the first line that is neither field nor
// continuation (which then belongs to the body), or with the content.
#pragma once

#include "base/arena.h"
#include "base/buf.h"

enum header_field {
    HEADER_OTHER,
    HEADER_FROM,
    HEADER_SENDER,
    HEADER_TO,
    HEADER_CC,
    HEADER_BCC,
    HEADER_RESENT_BCC,
    HEADER_DATE,
    HEADER_SUBJECT,
    HEADER_MESSAGE_ID,
    HEADER_RECEIVED,
    HEADER_DELIVERED_TO,
    HEADER_RETURN_PATH,
    HEADER_MBOX, // not a field: "From someone Mon Jan ..." as the first line of all
};
enum { HEADER_FIELDS = HEADER_MBOX + 1 };
enum { HEADER_SUBJECT_MAX = 200, HEADER_ID_MAX = 250, HEADER_TRACE_MAX = 600 };
enum { HEADER_NAME_MAX = 80 };

struct header_scan {
    // Set between header_scan_init and the first byte; all optional.
    struct str own_host; // for own_hops
    // Values of such fields, unfolded and trimmed, each ended by '\n'. One buffer may serve
    // several.
    struct buf *capture[HEADER_FIELDS];
    // Each field with its continuations and line ends: octets [start, end) of the content.
    void (*on_field)(void *ctx, enum header_field field, uint64_t start, uint64_t end);
    // Where to put a field's value, as `capture` does; NULL: as `capture` says. Names are cut at
    // HEADER_NAME_MAX octets. on_field follows when the value is whole.
    struct buf *(*want)(void *ctx, struct str name);
    void *ctx;

    // What was found. The header's part is complete once `ended` is set, the rest after
    // header_scan_end.
    uint64_t size;                 // octets so far
    bool ended;                    // the end of the header section was seen
    bool separator;                // by an empty line
    uint64_t fields_end;           // octets of fields: here another field may be put
    uint64_t body_at;              // octets of the section with its empty line
    uint32_t count[HEADER_FIELDS]; // how many of each
    uint32_t own_hops;             // Received fields that say "by own_host (Waypost" (mail/trace.h)
    bool header_8bit, body_8bit;
    bool bare_cr, bare_lf, nul;
    uint64_t longest_line; // octets without the line end
    size_t subject_len, message_id_len;
    char subject[HEADER_SUBJECT_MAX]; // of the first one, unfolded; cut between characters
    char message_id[HEADER_ID_MAX];   // of the first one; empty when it is longer

    // Internal.
    enum { HS_LINE, HS_NAME, HS_BLANK, HS_VALUE, HS_MBOX } state;
    enum header_field field;
    bool in_field, cr, line_8bit, keep, value_begun, id_too_long, trace_blank;
    uint8_t name_len;
    char name[HEADER_NAME_MAX];
    struct buf *captured; // of this field; NULL: none
    uint64_t line_at, field_at, line_len;
    size_t trace_len, capture_from;
    char trace[HEADER_TRACE_MAX];
};

void header_scan_init(struct header_scan *s);
void header_scan_feed(struct header_scan *s, const char *bytes, size_t len);
void header_scan_end(struct header_scan *s); // nothing more comes

// Too early to say whether there is any field: the first line has not got to its colon.
static inline bool header_undecided(const struct header_scan *s)
{
    return !s->ended && s->line_at == 0 && !s->in_field;
}
// The content begins with its body: a field put in front of it needs an empty line behind.
static inline bool header_absent(const struct header_scan *s)
{
    return s->ended && s->fields_end == 0 && !s->separator && s->size > 0;
}
static inline struct str header_subject(const struct header_scan *s)
{
    return (struct str){s->subject, s->subject_len};
}
static inline struct str header_message_id(const struct header_scan *s)
{
    return (struct str){s->message_id, s->message_id_len};
}

// ---- Completing what a program handed to sendmail ----

struct header_wants {
    bool drop_bcc;         // Bcc and Resent-Bcc
    bool add_date;         // when missing, from the next two
    int64_t wall_ms;       //
    int offset_minutes;    //
    struct str from;       // a mailbox; added when there is no From. Empty: not wanted
    struct str message_id; // with its <>; the same
};

// At octet `at` of the content, `remove` octets go and `insert` comes.
struct header_edit {
    uint64_t at;
    uint64_t remove;
    struct str insert;
};

// `content` begins with the header section and holds all of it. Also drops a leading mbox line, and
// puts the empty line where it is missing. The edits (in ascending order, not overlapping) and
// their texts live in the arena. Returns their number.
size_t header_fix(struct str content, const struct header_wants *wants, struct arena *arena,
                  struct header_edit **edits_out);
bool header_apply(struct buf *out, struct str content, const struct header_edit *edits,
                  size_t count);

// Appends text that is not ASCII as encoded words (RFC 2047 section 2) with blanks between them;
// the caller folds there.
void header_put_encoded(struct buf *out, struct str text);

// Appends `"Full Name" <address>`, the name quoted, or as an encoded word (RFC 2047) when it is not
// ASCII; or the address alone without a name.
bool header_put_mailbox(struct buf *out, struct str name, struct str address);
