// SPDX-License-Identifier: ISC
// The walk over all segments, and the summaries that make it fast: the operations of a sealed
// segment without the bodies, in a file beside it.
//
// A summary is written unsynced after its segment was sealed. It is believed only when its CRCs
// are right and it ends right before the first frame of the next segment; else the segment itself
// is read.
//
//    0  8  magic "WPSUM1\n\0"     8  8  segment     16  8  sequence of the frame behind the last
//   24  8  end of the last frame in the segment     32  8  id floor
//   40  8  wall clock of the last frame             48  4  records   52  4  CRC of all records
//   56  4  chain                 60  4  CRC of bytes 0..60
//   64     records: u64 offset, u64 sequence, i64 wall, u64 bodies' length, u32 meta length,
//          u16 operations, u16 flags, meta
#include "base/crc32c.h"
#include "base/mem.h"
#include "spool/segment.h"

#include <inttypes.h>
#include <stdio.h>

static const char magic[8] = "WPSUM1\n";
enum { SUM_HEAD = 64, SUM_RECORD = 40, SUM_CHUNK = 256 * 1024 };

struct sum_head {
    uint64_t sequence, end, id_floor, wall_ms;
    uint32_t records, crc, chain;
};

static void sum_head_encode(struct buf *out, uint64_t segment, const struct sum_head *h)
{
    buf_append(out, magic, sizeof(magic));
    buf_put_u64(out, segment);
    buf_put_u64(out, h->sequence);
    buf_put_u64(out, h->end);
    buf_put_u64(out, h->id_floor);
    buf_put_u64(out, h->wall_ms);
    buf_put_u32(out, h->records);
    buf_put_u32(out, h->crc);
    buf_put_u32(out, h->chain);
    buf_put_u32(out, crc32c(0, out->data, 60));
}

static bool sum_head_decode(struct str in, uint64_t segment, struct sum_head *h)
{
    uint64_t number;
    uint32_t crc;
    if (in.len < SUM_HEAD || memcmp(in.ptr, magic, sizeof(magic)) != 0)
        return false;
    uint32_t right = crc32c(0, in.ptr, 60);
    in.ptr += sizeof(magic);
    in.len -= sizeof(magic);
    return str_get_u64(&in, &number) && str_get_u64(&in, &h->sequence) &&
           str_get_u64(&in, &h->end) && str_get_u64(&in, &h->id_floor) &&
           str_get_u64(&in, &h->wall_ms) && str_get_u32(&in, &h->records) &&
           str_get_u32(&in, &h->crc) && str_get_u32(&in, &h->chain) && str_get_u32(&in, &crc) &&
           crc == right && number == segment;
}

// ---- Writing. ----

struct summary {
    struct file *file;
    struct buf chunk;
    uint64_t at;
    struct sum_head head;
};

static bool flush(struct summary *s, struct err *err)
{
    struct file_piece piece = {s->chunk.data, s->chunk.len};
    s->head.crc = crc32c(s->head.crc, s->chunk.data, s->chunk.len);
    bool ok = piece.len == 0 || file_write(s->file, s->at, &piece, 1, err);
    s->at += piece.len;
    buf_clear(&s->chunk);
    return ok;
}

static bool add_frame(struct summary *s, const struct scan_frame *f, struct err *err)
{
    buf_put_u64(&s->chunk, f->offset);
    buf_put_u64(&s->chunk, f->head.sequence);
    buf_put_u64(&s->chunk, (uint64_t)f->head.wall_ms);
    buf_put_u64(&s->chunk, f->head.body_len);
    buf_put_u32(&s->chunk, f->head.meta_len);
    buf_put_u16(&s->chunk, f->head.ops);
    buf_put_u16(&s->chunk, f->head.flags);
    buf_add(&s->chunk, f->meta);
    s->head.records++;
    s->head.sequence = f->head.sequence + 1;
    s->head.wall_ms = (uint64_t)f->head.wall_ms;
    s->head.chain = f->crc;
    if (f->head.id_floor > s->head.id_floor)
        s->head.id_floor = f->head.id_floor;
    return s->chunk.len < SUM_CHUNK || flush(s, err);
}

static bool write_summary(struct summary *s, struct segment *segment, struct err *err)
{
    struct scan scan;
    struct scan_frame f;
    bool ok = true;
    scan_begin(&scan, segment->file, segment->number, segment->end, SEGMENT_HEAD, false);
    while (ok && scan.at < segment->end && scan_next(&scan, &f))
        ok = add_frame(s, &f, err);
    s->head.end = scan.at;
    bool whole = scan.at == segment->end && !scan.unread;
    scan_end(&scan);
    if (ok && !whole) {
        err_set(err, "segment %" PRIu64 " is damaged at byte %" PRIu64, segment->number,
                s->head.end);
        return false;
    }
    ok = ok && flush(s, err) && file_truncate(s->file, s->at, err);
    sum_head_encode(&s->chunk, segment->number, &s->head);
    struct file_piece piece = {s->chunk.data, s->chunk.len};
    return ok && file_write(s->file, 0, &piece, 1, err);
}

bool segment_summarize(struct segments *set, struct segment *segment, struct err *err)
{
    char path[SPOOL_PATH];
    struct summary s = {.at = SUM_HEAD};
    s.file = file_open(segment_path(set, segment->number, "sum", path), FILE_CREATE, err);
    if (s.file == NULL)
        return false;
    buf_init(&s.chunk, SUM_CHUNK + FRAME_META_MAX + SUM_RECORD);
    bool ok = write_summary(&s, segment, err);
    buf_free(&s.chunk);
    file_close(&s.file);
    struct err ignored;
    if (!ok)
        path_remove(path, &ignored);
    return ok;
}

// ---- The walk. ----

struct step {
    struct walk *w;
    uint64_t number;
    struct segment *segment;
    struct segment_head head;
    enum segment_head_kind kind;
    bool untouched;         // prepared, never written to
    uint64_t next_sequence; // of the next segment's first frame, 0: not known
    bool last;
};

static void note_unread(struct walk *w, const struct err *err)
{
    if (!w->unread)
        w->unread_err = *err;
    w->unread = true;
}

static void end_scan(struct walk *w, struct scan *scan)
{
    if (scan->unread)
        note_unread(w, &scan->unread_err);
    scan_end(scan);
}

static void take_frame(struct walk *w, const struct scan_frame *f)
{
    w->last_segment = f->segment;
    w->end = f->offset + frame_size(&f->head);
    w->sequence = f->head.sequence + 1;
    w->wall_ms = f->head.wall_ms;
    w->clean = f->head.flags & FRAME_END;
    w->frames++;
    w->frame(w->ctx, f);
}

static bool summary_frames(struct step *s, struct str in, const struct sum_head *head)
{
    struct scan_frame f = {.segment = s->number};
    for (uint32_t i = 0; i < head->records; i++) {
        uint64_t wall_ms;
        if (!str_get_u64(&in, &f.offset) || !str_get_u64(&in, &f.head.sequence) ||
            !str_get_u64(&in, &wall_ms) || !str_get_u64(&in, &f.head.body_len) ||
            !str_get_u32(&in, &f.head.meta_len) || !str_get_u16(&in, &f.head.ops) ||
            !str_get_u16(&in, &f.head.flags) || in.len < f.head.meta_len)
            return false;
        f.head.segment = s->number;
        f.head.wall_ms = (int64_t)wall_ms;
        f.meta = str_make(in.ptr, f.head.meta_len);
        f.bodies_at = f.offset + FRAME_HEAD + journal_align(f.head.meta_len);
        in.ptr += f.head.meta_len;
        in.len -= f.head.meta_len;
        take_frame(s->w, &f);
    }
    return true;
}

// The whole file, in memory of the walk that all its summaries use one after the other: fresh
// memory for each would cost more than reading it.
static bool read_summary(struct step *s, struct str *text_out)
{
    char path[SPOOL_PATH];
    struct err err;
    struct walk *w = s->w;
    uint64_t size = 0;
    struct file *file = file_open(segment_path(w->set, s->number, "sum", path), FILE_READ, &err);
    if (file == NULL)
        return false;
    bool ok = file_size(file, &size, &err) && size >= SUM_HEAD && size <= s->segment->size * 2;
    if (ok && size > w->room_size) {
        xfree(w->room);
        w->room_size = size + size / 4;
        w->room = xmalloc(w->room_size);
    }
    uint64_t got = 0;
    while (ok && got < size) {
        ssize_t n = file_read(file, got, w->room + got, (size_t)(size - got), &err);
        ok = n > 0;
        got += ok ? (uint64_t)n : 0;
    }
    file_close(&file);
    *text_out = str_make(w->room, (size_t)size);
    return ok;
}

static bool by_summary(struct step *s)
{
    struct sum_head head;
    struct str text;
    if (s->last || s->next_sequence == 0 || !read_summary(s, &text) ||
        !sum_head_decode(text, s->number, &head) || head.sequence != s->next_sequence ||
        head.end > s->segment->size)
        return false;
    struct str records = str_make(text.ptr + SUM_HEAD, text.len - SUM_HEAD);
    if (crc32c(0, records.ptr, records.len) != head.crc || !summary_frames(s, records, &head))
        return false;
    s->segment->end = head.end;
    s->w->chain = head.chain;
    s->w->unlinked = false;
    if (head.id_floor > s->w->id_floor)
        s->w->id_floor = head.id_floor;
    return true;
}

static void say_damage(struct step *s, uint64_t from, uint64_t to, uint64_t until)
{
    char text[256];
    struct walk *w = s->w;
    snprintf(text, sizeof(text),
             "segment %" PRIu64 ", bytes %" PRIu64 " to %" PRIu64 ": unreadable; %" PRIu64
             " record%s missing (%" PRIu64 " to %" PRIu64 ")",
             s->number, from, to, until - w->sequence, until - w->sequence == 1 ? "" : "s",
             w->sequence, until - 1);
    w->damage(w->ctx, s->number, from, to, text);
    w->sequence = until;
    w->unlinked = true;
}

// Behind a bad frame: false when the journal (or this segment) ends here.
static bool get_over(struct step *s, struct scan *scan)
{
    struct walk *w = s->w;
    uint64_t bad = scan->at;
    // Invariant 5: in the last segment only a later group proves damage.
    uint64_t group = s->last || s->next_sequence == 0 ? w->sequence + 1 : 0;
    struct scan_frame f;
    if (scan_resync(scan, w->sequence, group)) {
        uint64_t found = scan->at;
        struct scan probe = *scan; // look without moving on
        probe.window = NULL;
        probe.window_cap = probe.window_len = 0;
        bool good =
            scan_next(&probe, &f) && (s->next_sequence == 0 || f.head.sequence < s->next_sequence);
        scan_end(&probe);
        if (good) {
            say_damage(s, bad, found, f.head.sequence);
            return true;
        }
    }
    if (!s->last && s->next_sequence > w->sequence)
        say_damage(s, bad, scan->size, s->next_sequence);
    return false;
}

static void by_scan(struct step *s)
{
    struct walk *w = s->w;
    struct scan scan;
    struct scan_frame f;
    scan_begin(&scan, s->segment->file, s->number, w->again ? s->segment->end : s->segment->size,
               SEGMENT_HEAD, w->verify || (s->last && !w->again));
    if (w->sequence == 0) {
        w->unlinked = true;
        if (s->kind == SEGMENT_HEAD_OK)
            w->sequence = s->head.first_sequence;
    }
    for (;;) {
        if (s->next_sequence != 0 && w->sequence == s->next_sequence)
            break;
        uint64_t at = scan.at;
        bool good = scan_next(&scan, &f) && (w->sequence == 0 || f.head.sequence == w->sequence) &&
                    (w->unlinked || f.head.chain == w->chain);
        if (!good) {
            scan.at = at;
            if (!get_over(s, &scan))
                break;
            continue;
        }
        w->unlinked = false;
        w->chain = f.crc;
        // The end mark knows exactly.
        if (f.head.id_floor > w->id_floor || f.head.flags & FRAME_END)
            w->id_floor = f.head.id_floor;
        take_frame(w, &f);
        s->segment->end = scan.at;
    }
    end_scan(w, &scan);
}

static bool look_at_head(struct step *s, struct err *err)
{
    char head[FRAME_HEAD] = {0};
    static const char zeros[FRAME_HEAD];
    struct err unread;
    if (file_read(s->segment->file, 0, head, sizeof(head), &unread) < 0) {
        head[0] = 1; // which is not untouched
        note_unread(s->w, &unread);
    }
    s->untouched = memcmp(head, zeros, sizeof(head)) == 0;
    s->kind = segment_head_decode(head, s->number, &s->head);
    if (s->kind != SEGMENT_HEAD_NEWER)
        return true;
    err_set(err,
            "the spool's segment %" PRIu64 " was written by a newer version of this program; "
            "start that version",
            s->number);
    return false;
}

// The sequence number at which a segment begins, 0: not to be known.
static uint64_t first_sequence(struct step *s)
{
    if (s->kind == SEGMENT_HEAD_OK)
        return s->head.first_sequence;
    struct scan scan;
    struct scan_frame f;
    scan_begin(&scan, s->segment->file, s->number, s->segment->size, SEGMENT_HEAD, false);
    uint64_t first = scan_next(&scan, &f) ? f.head.sequence : 0;
    end_scan(s->w, &scan);
    return first;
}

bool journal_walk(struct walk *w, const uint64_t *numbers, size_t count, struct err *err)
{
    struct step *steps = xcalloc(count + 1, sizeof(*steps));
    bool ok = true;
    size_t used = 0; // segments up to the last one that was ever written to
    for (size_t i = 0; ok && i < count; i++) {
        steps[i] = (struct step){
            .w = w, .number = numbers[i], .segment = segments_get(w->set, numbers[i])};
        ok = look_at_head(&steps[i], err);
        if (ok && !steps[i].untouched)
            used = i + 1;
    }
    for (size_t i = 0; ok && i < used; i++) {
        struct step *s = &steps[i];
        s->last = i + 1 == used;
        if (!s->last)
            s->next_sequence = first_sequence(s + 1);
        if (s->kind == SEGMENT_HEAD_OK && s->head.id_floor > w->id_floor)
            w->id_floor = s->head.id_floor;
        if (s->kind != SEGMENT_HEAD_OK && !s->untouched)
            w->damage(w->ctx, s->number, 0, SEGMENT_HEAD,
                      "the header of the segment is unreadable");
        if (w->verify || !by_summary(s))
            by_scan(s);
    }
    xfree(steps);
    xfree(w->room);
    w->room = NULL;
    w->room_size = 0;
    return ok;
}
