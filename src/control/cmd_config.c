// SPDX-License-Identifier: ISC
// config live: what another configuration would change for the mail that waits. Asked by `waypost
// config diff --live`, which reads the file as the one who asks and sends its text. Secrets in it
// are not looked at.
#include "base/base64.h"
#include "base/mem.h"
#include "conf/read.h"
#include "control/command.h"
#include "control/words.h"
#include "sys/worker.h"

enum { TEXT_BYTES = 1 << 20 };

struct live {
    struct work work;    // first
    struct reply *reply; // NULL: the asker went away
    struct queue *queue;
    struct arena *arena;
    const char *name;
    struct str text;
    struct conf *conf; // NULL: it has mistakes
    struct buf report;
};

static void live_free(struct live *l)
{
    conf_unref(&l->conf);
    buf_free(&l->report);
    arena_free(&l->arena);
    xfree(l);
}

static void on_gone(struct reply *r)
{
    ((struct live *)r->ctx)->reply = NULL;
}

static void end(struct live *l, int status)
{
    struct reply *r = l->reply;
    live_free(l);
    if (r == NULL)
        return;
    r->gone = NULL;
    reply_end(r, status);
}

static void tell_move(struct reply *r, const struct queue_diff_move *m)
{
    char number[WORDS_TEXT], id[ID_TEXT_SIZE];
    const char *from = m->from[0] != '\0' ? m->from : "no way";
    words_number(m->recipients, number);
    id_format(m->example, id);
    if (m->to[0] == '\0')
        reply_line(r, "  %6s of %s would have no way   (%s)", number, from, id);
    else
        reply_line(r, "  %6s %s from %s to %s   (%s)", number,
                   m->recipients == 1 ? "moves" : "move", from, m->to, id);
}

static bool stranded_told(const struct queue_diff *d)
{
    uint64_t told = 0;
    for (size_t i = 0; i < d->move_count; i++)
        told += d->moves[i].to[0] == '\0' ? d->moves[i].recipients : 0;
    return told == d->stranded;
}

static void tell_text(struct reply *r, const struct queue_diff *d)
{
    char same[WORDS_TEXT], all[WORDS_TEXT], stranded[WORDS_TEXT];
    if (d->recipients == 0) {
        reply_line(r, "no mail waits: nothing to go another way");
        return;
    }
    reply_line(r, "%s of %s waiting recipient%s go%s as before", words_number(d->same, same),
               words_number(d->recipients, all), d->recipients == 1 ? "" : "s",
               d->same == 1 ? "es" : "");
    for (size_t i = 0; i < d->move_count; i++)
        tell_move(r, &d->moves[i]);
    if (d->stranded > 0 && !stranded_told(d))
        reply_line(r, "%s would have no way", words_number(d->stranded, stranded));
    if (d->move_count > 0)
        reply_line(r, "in brackets a message of each: waypost route explain ID");
}

static void tell_json(struct reply *r, const struct queue_diff *d)
{
    struct buf out;
    char id[ID_TEXT_SIZE];
    struct json j = reply_json(&out);
    json_int(&j, "recipients", (int64_t)d->recipients);
    json_int(&j, "same", (int64_t)d->same);
    json_int(&j, "stranded", (int64_t)d->stranded);
    json_open_array(&j, "moves");
    for (size_t i = 0; i < d->move_count; i++) {
        const struct queue_diff_move *m = &d->moves[i];
        json_open(&j, NULL);
        json_text(&j, "from", m->from[0] != '\0' ? m->from : NULL);
        json_text(&j, "to", m->to[0] != '\0' ? m->to : NULL);
        json_int(&j, "recipients", (int64_t)m->recipients);
        json_text(&j, "example", id_format(m->example, id));
        json_close(&j);
    }
    json_close_array(&j);
    reply_json_send(r, &j);
}

static void on_compared(void *ctx, const struct queue_diff *diff)
{
    struct live *l = ctx;
    bool stranded = diff->stranded > 0;
    if (l->reply != NULL && l->reply->json)
        tell_json(l->reply, diff);
    else if (l->reply != NULL)
        tell_text(l->reply, diff);
    end(l, stranded ? 1 : 0);
}

static void read_text(struct work *work)
{
    struct live *l = (struct live *)work;
    struct conf_report report = {0};
    conf_report_init(&report);
    report.text_only = true;
    l->conf = conf_read_text(l->name, l->text, &report);
    if (l->conf == NULL)
        conf_report_print(&report, &l->report);
    conf_report_free(&report);
}

static void on_read(struct work *work)
{
    struct live *l = (struct live *)work;
    struct str rest = buf_str(&l->report), line;
    if (l->reply == NULL) {
        live_free(l);
    } else if (l->conf == NULL) {
        while (str_split(&rest, '\n', &line))
            reply_error(l->reply, "%.*s", STR_FMT(line));
        end(l, EX_CONFIG);
    } else {
        queue_diff(l->queue, l->conf, l->arena, on_compared, l);
    }
}

// Arguments: the name of the file for messages, its text.
void cmd_config_live(struct reply *r)
{
    struct live *l = xcalloc(1, sizeof(*l));
    l->reply = r;
    l->queue = r->control->parts.queue;
    l->arena = arena_new();
    l->name = arena_strdup(l->arena, r->argv[0]);
    l->text = str_of(arena_strdup(l->arena, r->argv[1]));
    buf_init(&l->report, TEXT_BYTES);
    r->ctx = l;
    r->gone = on_gone;
    l->work = (struct work){.home = r->control->parts.loop, .work = read_text, .done = on_read};
    worker_submit(&l->work);
}
