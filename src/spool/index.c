// SPDX-License-Identifier: ISC
// Questions to the index.
#include "spool/index.h"
#include "base/mem.h"
#include "spool/index_int.h"
#include "spool/journal.h"

#include <stdio.h>

struct index {
    sqlite3 *db;
};

// ---- The connection. ----

void index_db_err(sqlite3 *db, struct err *err, const char *doing)
{
    err_set(err, "%s: %s", doing, db != NULL ? sqlite3_errmsg(db) : "out of memory");
}

sqlite3 *index_db_open(const char *dir, int flags, struct err *err)
{
    char path[1024];
    sqlite3 *db = NULL;
    snprintf(path, sizeof(path), "%.1000s/index.db", dir);
    if (sqlite3_open_v2(path, &db, flags | SQLITE_OPEN_NOMUTEX, NULL) == SQLITE_OK) {
        sqlite3_busy_timeout(db, 2000);
        return db;
    }
    index_db_err(db, err, path);
    err_prefix(err, "cannot open the index");
    sqlite3_close(db);
    return NULL;
}

bool index_db_exec(sqlite3 *db, const char *sql, struct err *err)
{
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK)
        return true;
    index_db_err(db, err, "the index cannot be used");
    return false;
}

sqlite3_stmt *index_db_prepare(sqlite3 *db, const char *sql, struct err *err)
{
    sqlite3_stmt *s = NULL;
    if (sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, &s, NULL) == SQLITE_OK)
        return s;
    index_db_err(db, err, "the index cannot be used");
    return NULL;
}

struct index *index_open(const char *dir, struct err *err)
{
    sqlite3 *db = index_db_open(dir, SQLITE_OPEN_READONLY, err);
    if (db == NULL)
        return NULL;
    struct index *index = xcalloc(1, sizeof(*index));
    index->db = db;
    return index;
}

void index_close(struct index **index)
{
    if (*index == NULL)
        return;
    sqlite3_close((*index)->db);
    xfree(*index);
    *index = NULL;
}

// ---- Rows. ----

#define COLUMNS                                                                                    \
    "id, position, accepted_ms, ended_ms, sender, recipients, subject, client, user, gateway, "    \
    "class, size, state, held"
enum { COLUMN_COUNT = 14 };

static struct str text_column(sqlite3_stmt *s, int at, struct arena *arena)
{
    const char *bytes = (const char *)sqlite3_column_blob(s, at);
    return arena_dup(arena, str_make(bytes, (size_t)sqlite3_column_bytes(s, at)));
}

static void read_row(sqlite3_stmt *s, struct arena *arena, struct index_message *m)
{
    *m = (struct index_message){
        .id = (uint64_t)sqlite3_column_int64(s, 0),
        .position = (uint64_t)sqlite3_column_int64(s, 1),
        .accepted_ms = sqlite3_column_int64(s, 2),
        .ended_ms = sqlite3_column_int64(s, 3),
        .sender = text_column(s, 4, arena),
        .recipients = text_column(s, 5, arena),
        .subject = text_column(s, 6, arena),
        .client = text_column(s, 7, arena),
        .user = text_column(s, 8, arena),
        .gateway = text_column(s, 9, arena),
        .class = (enum outcome_class)sqlite3_column_int(s, 10),
        .size = (uint64_t)sqlite3_column_int64(s, 11),
        .state = (enum rcpt_state)sqlite3_column_int(s, 12),
        .held = sqlite3_column_int(s, 13) != 0 && sqlite3_column_int(s, 12) == RCPT_WAITING,
    };
}

static struct str take_transcript(struct str transcripts, int64_t wall_ms)
{
    uint64_t ms;
    struct str text;
    while (str_get_u64(&transcripts, &ms) && str_get_str(&transcripts, &text))
        if ((int64_t)ms == wall_ms)
            return text;
    return (struct str){0};
}

static void read_event(const struct journal_op *op, struct str transcripts, struct arena *arena,
                       struct index_event *e)
{
    *e = (struct index_event){
        .kind = (enum index_event_kind)op->kind,
        .wall_ms = op->wall_ms,
        .gateway = op->gateway,
        .facts = op->facts,
        .flag = op->kind == STORE_ACCEPT ? journal_is_over(op) : op->flag,
        .value = op->value,
        .text = op->text,
        .at_ms = op->at_ms,
    };
    if (op->kind != STORE_RESULT)
        return;
    e->transcript = take_transcript(transcripts, op->wall_ms);
    // A result takes 28 bytes at least: the count of a damaged row cannot ask for more memory.
    size_t most = op->results.len / 28;
    size_t count = op->result_count < most ? op->result_count : most;
    struct str in = op->results;
    e->results = arena_alloc(arena, (count + 1) * sizeof(e->results[0]));
    while (e->result_count < count && journal_next_result(&in, &e->results[e->result_count]))
        e->result_count++;
}

static void read_timeline(struct index_message *m, struct str timeline, struct str transcripts,
                          struct arena *arena)
{
    struct journal_op op;
    struct str walk = timeline;
    uint64_t body_at = 0;
    size_t count = 0;
    while (journal_next_op(&walk, &body_at, &op) == 1)
        count++;
    m->events = arena_alloc(arena, (count + 1) * sizeof(m->events[0]));
    while (m->event_count < count && journal_next_op(&timeline, &body_at, &op) == 1) {
        if (op.kind == STORE_ACCEPT)
            envelope_unpack(op.packed, arena, &m->envelope);
        read_event(&op, transcripts, arena, &m->events[m->event_count++]);
    }
}

static bool names(uint64_t first, struct str more, uint64_t id)
{
    while (first < id && journal_next_id(&more, &first))
        ;
    return first == id;
}

static void insert_event(struct index_message *m, struct index_event event, struct arena *arena)
{
    struct index_event *events = arena_alloc(arena, (m->event_count + 1) * sizeof(events[0]));
    size_t at = m->event_count;
    while (at > 1 && m->events[at - 1].wall_ms > event.wall_ms) // the ACCEPT stays the first
        at--;
    for (size_t i = 0; i < m->event_count; i++)
        events[i < at ? i : i + 1] = m->events[i];
    events[at] = event;
    m->events = events;
    m->event_count++;
}

// Notes that were made on many messages at once.
static bool add_notes(struct index *index, struct index_message *m, struct arena *arena,
                      struct err *err)
{
    sqlite3_stmt *s = index_db_prepare(
        index->db, "SELECT first, wall_ms, text, more FROM notes WHERE last>=?1 AND first<=?1",
        err);
    if (s == NULL)
        return false;
    sqlite3_bind_int64(s, 1, (sqlite3_int64)m->id);
    int rc;
    while ((rc = sqlite3_step(s)) == SQLITE_ROW) {
        struct str more = str_make(sqlite3_column_blob(s, 3), (size_t)sqlite3_column_bytes(s, 3));
        if (!names((uint64_t)sqlite3_column_int64(s, 0), more, m->id))
            continue;
        struct index_event event = {.kind = INDEX_NOTE,
                                    .wall_ms = sqlite3_column_int64(s, 1),
                                    .text = text_column(s, 2, arena)};
        insert_event(m, event, arena);
    }
    if (rc != SQLITE_DONE)
        index_db_err(index->db, err, "the index cannot be read");
    sqlite3_finalize(s);
    return rc == SQLITE_DONE;
}

int index_get(struct index *index, uint64_t id, struct arena *arena,
              struct index_message *message_out, struct err *err)
{
    sqlite3_stmt *s = index_db_prepare(
        index->db, "SELECT " COLUMNS ", timeline, states, transcript FROM message WHERE id=?1",
        err);
    if (s == NULL)
        return -1;
    sqlite3_bind_int64(s, 1, (sqlite3_int64)id);
    int rc = sqlite3_step(s);
    if (rc == SQLITE_ROW) {
        read_row(s, arena, message_out);
        struct str timeline = text_column(s, COLUMN_COUNT, arena);
        struct str states = text_column(s, COLUMN_COUNT + 1, arena);
        struct str transcripts = text_column(s, COLUMN_COUNT + 2, arena);
        read_timeline(message_out, timeline, transcripts, arena);
        message_out->states = arena_alloc(arena, message_out->envelope.count + states.len + 1);
        if (states.len > 0)
            memcpy(message_out->states, states.ptr, states.len);
    } else if (rc != SQLITE_DONE) {
        index_db_err(index->db, err, "the index cannot be read");
    }
    sqlite3_finalize(s);
    if (rc == SQLITE_ROW && !add_notes(index, message_out, arena, err))
        return -1;
    return rc == SQLITE_ROW ? 1 : rc == SQLITE_DONE ? 0 : -1;
}

static bool read_rows(struct index *index, sqlite3_stmt *s, size_t limit, struct arena *arena,
                      struct index_message **messages_out, size_t *count_out, struct err *err)
{
    struct index_message *list = NULL;
    size_t count = 0, cap = 0;
    int rc;
    while ((rc = sqlite3_step(s)) == SQLITE_ROW && count < limit) {
        if (count == cap) {
            cap = cap != 0 ? cap * 2 : 64;
            list = xrealloc(list, cap * sizeof(list[0]));
        }
        read_row(s, arena, &list[count++]);
    }
    if (rc != SQLITE_ROW && rc != SQLITE_DONE)
        index_db_err(index->db, err, "the index cannot be read");
    sqlite3_finalize(s);
    *messages_out = arena_alloc(arena, (count + 1) * sizeof(list[0]));
    if (count > 0)
        memcpy(*messages_out, list, count * sizeof(list[0]));
    *count_out = count;
    xfree(list);
    return rc == SQLITE_ROW || rc == SQLITE_DONE;
}

// ---- Filters. ----

// A pattern for LIKE ... ESCAPE '\'.
static const char *like_pattern(struct str text, struct arena *arena)
{
    bool whole = str_find(text, '*') < text.len || str_find(text, '?') < text.len;
    char *out = arena_alloc(arena, 2 * text.len + 3), *p = out;
    if (!whole)
        *p++ = '%';
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (whole && (c == '*' || c == '?')) {
            *p++ = c == '*' ? '%' : '_';
            continue;
        }
        if (c == '%' || c == '_' || c == '\\')
            *p++ = '\\';
        *p++ = c;
    }
    if (!whole)
        *p++ = '%';
    return out;
}

// One byte a recipient stands in `states`.
#define HAS(state) "instr(states,x'0" #state "')>0"
_Static_assert(RCPT_WAITING == 0 && RCPT_DELIVERED == 1 && RCPT_RELAYED == 2 &&
                   RCPT_RETURNED == 3 && RCPT_BAD == 4 && RCPT_DROPPED == 5,
               "the numbers below are these");
_Static_assert(OUTCOME_REFUSED == 9 && OUTCOME_NO_RECORD == 12, "and those of what is refused");

static const struct {
    const char *name, *where;
} folders[] = {
    [INDEX_ALL] = {NULL, NULL},
    [INDEX_OUTBOX] = {"outbox", "state=0 AND held=0"},
    [INDEX_HELD] = {"held", "state=0 AND held<>0"},
    [INDEX_SENT] = {"sent", "(" HAS(1) " OR " HAS(2) ")"},
    [INDEX_BAD] = {"bad", "(" HAS(4) " OR (state=0 AND held<>0 AND class IN (9,12)))"},
    [INDEX_BOUNCED] = {"bounced", HAS(3)},
    [INDEX_DELETED] = {"deleted", "(" HAS(5) " OR state=5)"},
    [INDEX_FAILED] = {NULL, "(" HAS(3) " OR " HAS(4) ")"},
};

bool index_folder_parse(struct str name, enum index_folder *folder_out)
{
    for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
        if (folders[i].name == NULL || !str_eq(name, str_of(folders[i].name)))
            continue;
        *folder_out = (enum index_folder)i;
        return true;
    }
    return false;
}

#define LIKE(column, parameter) column " LIKE " parameter " ESCAPE '\\'"

bool index_find(struct index *index, const struct index_filter *f, struct arena *arena,
                struct index_message **messages_out, size_t *count_out, struct err *err)
{
    struct buf sql;
    buf_init(&sql, 4096);
    buf_puts(&sql, "SELECT " COLUMNS " FROM message WHERE 1");
    if (f->before_id != 0)
        buf_puts(&sql, " AND id<?1");
    if (f->since_ms != 0)
        buf_puts(&sql, " AND accepted_ms>=?2");
    if (f->until_ms != 0)
        buf_puts(&sql, " AND accepted_ms<?3");
    if (f->sender.len > 0)
        buf_puts(&sql, " AND " LIKE("sender", "?4"));
    if (f->recipient.len > 0) // with a pattern: any one of them, which stand between blanks
        buf_puts(&sql, " AND (" LIKE("recipients", "?5") " OR " LIKE("' '||recipients||' '",
                                                                     "'% '||?5||' %'") ")");
    if (f->text.len > 0)
        buf_puts(&sql, " AND (" LIKE("sender", "?6") " OR " LIKE("recipients", "?6") " OR " LIKE(
                           "subject", "?6") ")");
    if (f->gateway.len > 0)
        buf_puts(&sql, " AND gateway=?7");
    if (f->class != INDEX_ANY)
        buf_puts(&sql, " AND class=?8");
    if (f->state != INDEX_ANY)
        buf_puts(&sql, " AND state=?9");
    if (f->held)
        buf_puts(&sql, " AND held<>0 AND state=0");
    if (f->folder != INDEX_ALL)
        buf_printf(&sql, " AND %s", folders[f->folder].where);
    buf_puts(&sql, " ORDER BY id DESC LIMIT ?10");
    sqlite3_stmt *s = index_db_prepare(index->db, buf_cstr(&sql), err);
    buf_free(&sql);
    if (s == NULL)
        return false;
    // Parameters that are not in the statement are refused, harmlessly.
    sqlite3_bind_int64(s, 1, (sqlite3_int64)f->before_id);
    sqlite3_bind_int64(s, 2, f->since_ms);
    sqlite3_bind_int64(s, 3, f->until_ms);
    sqlite3_bind_text(s, 4, like_pattern(f->sender, arena), -1, SQLITE_STATIC);
    sqlite3_bind_text(s, 5, like_pattern(f->recipient, arena), -1, SQLITE_STATIC);
    sqlite3_bind_text(s, 6, like_pattern(f->text, arena), -1, SQLITE_STATIC);
    sqlite3_bind_text(s, 7, f->gateway.ptr, (int)f->gateway.len, SQLITE_STATIC);
    sqlite3_bind_int(s, 8, f->class);
    sqlite3_bind_int(s, 9, f->state);
    sqlite3_bind_int64(s, 10, (sqlite3_int64)f->limit);
    return read_rows(index, s, f->limit, arena, messages_out, count_out, err);
}

bool index_follow(struct index *index, uint64_t position, size_t limit, struct arena *arena,
                  struct index_message **messages_out, size_t *count_out, struct err *err)
{
    sqlite3_stmt *s = index_db_prepare(
        index->db,
        "SELECT " COLUMNS " FROM message WHERE position>?1 ORDER BY position, id LIMIT ?2", err);
    if (s == NULL)
        return false;
    sqlite3_bind_int64(s, 1, (sqlite3_int64)position);
    sqlite3_bind_int64(s, 2, (sqlite3_int64)limit);
    return read_rows(index, s, limit, arena, messages_out, count_out, err);
}

bool index_position(struct index *index, uint64_t *position_out, struct err *err)
{
    sqlite3_stmt *s = index_db_prepare(index->db, "SELECT max(position) FROM message", err);
    if (s == NULL)
        return false;
    int rc = sqlite3_step(s);
    *position_out = rc == SQLITE_ROW ? (uint64_t)sqlite3_column_int64(s, 0) : 0;
    if (rc != SQLITE_ROW)
        index_db_err(index->db, err, "the index cannot be read");
    sqlite3_finalize(s);
    return rc == SQLITE_ROW;
}

bool index_totals(struct index *index, int64_t since_ms, uint64_t counts[RCPT_DROPPED + 1],
                  struct err *err)
{
    sqlite3_stmt *s = index_db_prepare(
        index->db, "SELECT state, count(*) FROM message WHERE accepted_ms>=?1 GROUP BY state", err);
    if (s == NULL)
        return false;
    memset(counts, 0, (RCPT_DROPPED + 1) * sizeof(counts[0]));
    sqlite3_bind_int64(s, 1, since_ms);
    int rc;
    while ((rc = sqlite3_step(s)) == SQLITE_ROW) {
        int state = sqlite3_column_int(s, 0);
        if (state >= 0 && state <= RCPT_DROPPED)
            counts[state] = (uint64_t)sqlite3_column_int64(s, 1);
    }
    if (rc != SQLITE_DONE)
        index_db_err(index->db, err, "the index cannot be read");
    sqlite3_finalize(s);
    return rc == SQLITE_DONE;
}
