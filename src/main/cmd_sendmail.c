// SPDX-License-Identifier: ISC
// sendmail, mailq, newaliases: the names by which programs know a mailer.
//
// A plain client of the daemon's socket: it needs no rights, so it works in services that may not
// gain any. When the daemon is down the mail goes to the drop directory, and the caller hears no
// difference.
#include "accept/drop.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "control/control.h"
#include "mail/address_list.h"
#include "mail/header.h"
#include "main/content.h"
#include "main/origin.h"
#include "main/pipe.h"
#include "main/sendmail_args.h"
#include "main/submit.h"
#include "sys/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>
#include <unistd.h>

struct letter {
    struct origin origin;
    struct sendmail_args args;
    struct envelope envelope;
    size_t rcpt_room;
    struct map *known; // recipients: each once
    struct buf typed;  // as it came, line ends mended
    struct buf ready;  // with its header complete
};

// ---- Addresses ----

static void add_rcpt(struct letter *l, struct str address)
{
    struct envelope *e = &l->envelope;
    if (map_get(l->known, address) != NULL)
        return;
    if (e->count == l->rcpt_room) {
        size_t room = l->rcpt_room > 0 ? l->rcpt_room * 2 : 8;
        struct envelope_rcpt *more = arena_alloc(l->origin.arena, room * sizeof(*more));
        if (e->count > 0)
            memcpy(more, e->rcpts, e->count * sizeof(*more));
        e->rcpts = more;
        l->rcpt_room = room;
    }
    e->rcpts[e->count++] = (struct envelope_rcpt){.address = address, .notify = l->args.notify};
    e->smtputf8 |= !ascii_only(address);
    map_put(l->known, address, l);
}

static bool complain(struct str typed, const char *why)
{
    fprintf(stderr, "sendmail: `%.*s` is no mail address: %s\n", STR_FMT(typed), why);
    return false;
}

// One word may hold several addresses, divided by commas, as in a header.
static bool add_list(struct letter *l, struct str list_text)
{
    struct address_list list = address_list_of(list_text, ADDRESS_UTF8 | ADDRESS_NO_DOMAIN);
    struct address a;
    struct str item;
    const char *why;
    enum address_list_step step;
    while ((step = address_list_next(&list, &a, &item, &why)) != ADDRESS_LIST_END) {
        if (step == ADDRESS_LIST_BAD)
            return complain(item, why);
        struct str whole =
            address_domain(&a).len > 0
                ? arena_dup(l->origin.arena, address_str(&a))
                : str_of(arena_printf(l->origin.arena, "%.*s@%s", STR_FMT(address_local(&a)),
                                      l->origin.conf->hostname));
        add_rcpt(l, whole);
    }
    return true;
}

static bool set_sender(struct letter *l)
{
    const char *typed = l->args.sender, *why;
    if (typed == NULL) {
        l->envelope.sender = origin_address(&l->origin);
    } else if (typed[0] == '\0' || strcmp(typed, "<>") == 0) {
        l->envelope.sender = STR("");
    } else if (!origin_qualify(&l->origin, typed, &l->envelope.sender, &why)) {
        return complain(str_of(typed), why);
    }
    l->envelope.smtputf8 = !ascii_only(l->envelope.sender);
    return true;
}

// ---- The message ----

// With -t the recipients of To, Cc and Bcc join those of the command line.
static bool scan_headers(struct letter *l)
{
    struct header_scan scan;
    struct buf lists;
    buf_init(&lists, LIMIT_HEADER);
    header_scan_init(&scan);
    if (l->args.from_headers)
        scan.capture[HEADER_TO] = scan.capture[HEADER_CC] = scan.capture[HEADER_BCC] = &lists;
    header_scan_feed(&scan, l->typed.data, l->typed.len);
    header_scan_end(&scan);
    if ((scan.header_8bit || scan.body_8bit) && l->envelope.body == BODY_7BIT)
        l->envelope.body = BODY_8BITMIME;
    struct str rest = buf_str(&lists), value;
    bool ok = true;
    while (ok && str_split(&rest, '\n', &value))
        ok = add_list(l, value);
    buf_free(&lists);
    return ok;
}

static struct str mailbox(struct letter *l)
{
    struct buf out;
    const char *name = l->args.full_name;
    bool own = l->args.sender == NULL;
    struct str address =
        l->envelope.sender.len > 0 ? l->envelope.sender : origin_address(&l->origin);
    buf_init(&out, 4096);
    header_put_mailbox(&out, str_of(name != NULL ? name : own ? l->origin.full_name : ""), address);
    struct str copy = arena_dup(l->origin.arena, buf_str(&out));
    buf_free(&out);
    return copy;
}

static bool complete(struct letter *l)
{
    int64_t now = clock_wall_ms();
    struct header_wants wants = {.drop_bcc = l->args.from_headers,
                                 .add_date = true,
                                 .wall_ms = now,
                                 .offset_minutes = clock_utc_offset_minutes(now),
                                 .from = mailbox(l),
                                 .message_id = origin_message_id(&l->origin)};
    struct header_edit *edits;
    size_t count = header_fix(buf_str(&l->typed), &wants, l->origin.arena, &edits);
    return header_apply(&l->ready, buf_str(&l->typed), edits, count);
}

// ---- Handing it in ----

static int drop(struct letter *l, const struct err *down)
{
    struct err err = {0};
    bool seen = isatty(STDERR_FILENO);
    if (!drop_write(l->origin.conf->spool_dir, &l->envelope, buf_str(&l->ready), &err)) {
        fprintf(stderr, "sendmail: not sent: the daemon does not answer (%s), and: %s\n",
                down->text, err.text);
        return EX_TEMPFAIL;
    }
    if (seen)
        fprintf(stderr,
                "sendmail: the daemon does not answer; the mail waits in %s/drop until it "
                "is started\n",
                l->origin.conf->spool_dir);
    return 0;
}

static int say_refusals(const struct letter *l, const struct outcome *outcomes)
{
    int status = 0;
    for (size_t i = 0; i < l->envelope.count; i++) {
        const struct outcome *o = &outcomes[i];
        if (o->class == OUTCOME_OK)
            continue;
        fprintf(stderr, "sendmail: not taken for <%.*s>: %u %s\n",
                STR_FMT(l->envelope.rcpts[i].address), o->code, o->text);
        if (o->class != OUTCOME_REFUSED)
            status = EX_TEMPFAIL;
        else if (status == 0)
            status = o->phase == PHASE_RCPT   ? EX_NOUSER
                     : o->phase == PHASE_MAIL ? EX_NOPERM
                                              : EX_UNAVAILABLE;
    }
    return status;
}

static int hand_in(struct letter *l)
{
    struct err err = {0};
    char id[ID_TEXT_SIZE];
    const struct conf *conf = l->origin.conf;
    struct outcome *outcomes = arena_alloc(l->origin.arena, l->envelope.count * sizeof(*outcomes));
    enum submit_status status =
        submit(conf->run_dir, conf->hostname, &l->envelope, buf_str(&l->ready), outcomes, id, &err);
    return status == SUBMIT_DOWN ? drop(l, &err) : say_refusals(l, outcomes);
}

static int deliver(struct letter *l)
{
    const struct sendmail_args *args = &l->args;
    const char *why;
    l->envelope.priority = PRIORITY_NORMAL;
    l->envelope.ret = args->ret;
    l->envelope.envid = str_of(args->envid != NULL ? args->envid : "");
    l->envelope.body = args->body == BODY_BINARYMIME ? BODY_8BITMIME : args->body;
    bool ok = set_sender(l);
    for (size_t i = 0; ok && i < args->count; i++)
        ok = add_list(l, str_of(args->rcpts[i]));
    if (!ok)
        return EX_USAGE;
    if (l->envelope.count == 0 && !args->from_headers) {
        fprintf(stderr, "sendmail: no recipient: name them, or use -t to take them from the "
                        "header\n");
        return EX_USAGE;
    }
    if (!content_read(&l->typed, STDIN_FILENO, !args->dot_is_text, &why)) {
        fprintf(stderr, "sendmail: cannot read the message: %s\n", why);
        return l->typed.full ? EX_UNAVAILABLE : EX_IOERR;
    }
    if (!scan_headers(l))
        return EX_DATAERR;
    if (l->envelope.count == 0) {
        fprintf(stderr, "sendmail: no recipient in To, Cc or Bcc\n");
        return EX_NOINPUT;
    }
    if (!complete(l)) {
        fprintf(stderr, "sendmail: the message is too large\n");
        return EX_UNAVAILABLE;
    }
    return hand_in(l);
}

// ---- The other modes ----

// Says which addresses are well formed; where mail to them goes is the daemon's knowledge.
static int verify(struct letter *l)
{
    int status = 0;
    for (size_t i = 0; i < l->args.count; i++) {
        struct str whole;
        const char *why;
        if (origin_qualify(&l->origin, l->args.rcpts[i], &whole, &why)) {
            printf("%.*s is a mail address; its way says `waypost route explain --to %.*s`\n",
                   STR_FMT(whole), STR_FMT(whole));
        } else {
            complain(str_of(l->args.rcpts[i]), why);
            status = EX_NOUSER;
        }
    }
    return status;
}

static int mailq(struct letter *l, bool json)
{
    char path[256];
    struct err err = {0};
    static const char *const as_json[] = {"queue", "list", "--json"}, *const as_text[] = {
                                                                          "queue", "classic"};
    snprintf(path, sizeof(path), "%s/control.sock", l->origin.conf->run_dir);
    int status = json ? control_call(path, 3, as_json, &err) : control_call(path, 2, as_text, &err);
    if (status >= 0)
        return status;
    fprintf(stderr, "mailq: no daemon answers at %s: %s\n", path, err.text);
    return EX_UNAVAILABLE;
}

static int run(struct letter *l, bool json)
{
    switch (l->args.mode) {
    case SENDMAIL_DELIVER: return deliver(l);
    case SENDMAIL_VERIFY: return verify(l);
    case SENDMAIL_MAILQ: return mailq(l, json);
    case SENDMAIL_SMTP: return pipe_smtp(l->origin.conf->run_dir, l->origin.conf->hostname);
    case SENDMAIL_ALIASES:
        printf("waypost: nothing to rebuild; there is no alias database\n");
        return 0;
    case SENDMAIL_DAEMON:
        fprintf(stderr, "sendmail: the daemon is started with `waypost serve`\n");
        return EX_USAGE;
    default: return 0; // the daemon looks after its queue by itself
    }
}

static int begin(const struct main_options *options, int argc, char **argv, bool queue, bool json)
{
    struct letter l = {0};
    origin_find(&l.origin, options);
    l.known = map_new();
    buf_init(&l.typed, LIMIT_MESSAGE);
    buf_init(&l.ready, LIMIT_MESSAGE + 64 * 1024);
    sendmail_args_parse(argc, argv, l.origin.arena, &l.args);
    if (queue)
        l.args.mode = SENDMAIL_MAILQ;
    int status = run(&l, json);
    fflush(stdout);
    buf_free(&l.typed);
    buf_free(&l.ready);
    map_free(&l.known);
    origin_free(&l.origin);
    return status;
}

int cmd_sendmail(const struct main_options *options, int argc, char **argv)
{
    return begin(options, argc, argv, false, false);
}

int cmd_mailq(const struct main_options *options, int argc, char **argv)
{
    bool json = false;
    for (int i = 0; i < argc; i++)
        json |= strcmp(argv[i], "-j") == 0 || strcmp(argv[i], "--json") == 0;
    return begin(options, 0, argv, true, json);
}

int cmd_newaliases(const struct main_options *options, int argc, char **argv)
{
    char *as_flag[] = {"-bi"};
    return begin(options, 1, as_flag, false, false);
}
