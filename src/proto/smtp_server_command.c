// SPDX-License-Identifier: ISC
// The verbs of SMTP and LMTP: one table row each.
#include "proto/smtp_server_int.h"

#include "base/timefmt.h"

enum {
    IN_HELLO = 1 << SMTP_HELLO,
    IN_IDLE = 1 << SMTP_IDLE,
    IN_MAIL = 1 << SMTP_MAIL,
    IN_RCPT = 1 << SMTP_RCPT,
    IN_CHUNKS = 1 << SMTP_CHUNKS,
    IN_ANY = IN_HELLO | IN_IDLE | IN_MAIL | IN_RCPT | IN_CHUNKS,
};

struct verb {
    const char *name;
    void (*run)(struct smtp_server *s, struct str arg);
    unsigned states; // where it may come; elsewhere 503, or what `wrong` says
    enum smtp_fixed wrong[SMTP_CHUNKS + 1]; // by state; 0: the usual
    bool bare;                              // takes no argument
};

static void ask(struct smtp_server *s, enum smtp_question question, int verdict,
                const struct smtp_server_reply *reply)
{
    smtp_server_verdict(s, question, verdict, reply);
}

// ---- Greeting. ----

static bool helo_ok(struct str name)
{
    if (name.len == 0 || name.len > LIMIT_DOMAIN)
        return false;
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        if (!ascii_is_alnum(c) && (c == '\0' || strchr(".-_:[]+/#~=@%", c) == NULL))
            return false;
    }
    return true;
}

static bool greeted(struct smtp_server *s, struct str name, bool esmtp)
{
    if (!helo_ok(name)) {
        smtp_server_say(s, SAY_BAD_HELO);
        return false;
    }
    memcpy(s->helo, name.ptr, name.len);
    s->helo[name.len] = '\0';
    s->esmtp = esmtp;
    smtp_server_end_transaction(s, true);
    smtp_server_set_state(s, SMTP_IDLE);
    return true;
}

static void run_helo(struct smtp_server *s, struct str arg)
{
    if (s->settings->lmtp)
        smtp_server_say(s, SAY_WRONG_GREETING);
    else if (greeted(s, arg, false))
        buf_printf(s->out, "250 %s\r\n", s->settings->hostname);
}

void smtp_server_say_ehlo(struct smtp_server *s)
{
    const struct smtp_server_settings *set = s->settings;
    buf_printf(s->out,
               "250-%s\r\n250-PIPELINING\r\n250-SIZE %llu\r\n250-8BITMIME\r\n250-BINARYMIME\r\n"
               "250-CHUNKING\r\n250-SMTPUTF8\r\n%s250-MT-PRIORITY\r\n"
               "250-LIMITS MAILMAX=%u RCPTMAX=%u\r\n",
               set->hostname, (unsigned long long)set->message_size,
               set->no_dsn ? "" : "250-DSN\r\n", (unsigned)LIMIT_SESSION_MESSAGES, set->recipients);
    char moment[TIME_TEXT];
    if (set->hold_max_s > 0)
        buf_printf(s->out, "250-FUTURERELEASE %u %s\r\n", set->hold_max_s,
                   time_rfc3339(set->hold_until_max_ms, moment));
    if (set->tls_offered && !s->tls)
        buf_puts(s->out, "250-STARTTLS\r\n");
    if (set->auth_offered && (s->tls || set->auth_in_clear))
        buf_puts(s->out, "250-AUTH PLAIN LOGIN\r\n");
    buf_puts(s->out, "250 ENHANCEDSTATUSCODES\r\n");
}

static void run_ehlo(struct smtp_server *s, struct str arg)
{
    if (s->settings->lmtp)
        smtp_server_say(s, SAY_WRONG_GREETING);
    else if (greeted(s, arg, true))
        smtp_server_say_ehlo(s);
}

static void run_lhlo(struct smtp_server *s, struct str arg)
{
    if (!s->settings->lmtp)
        smtp_server_say(s, SAY_WRONG_LHLO);
    else if (greeted(s, arg, true))
        smtp_server_say_ehlo(s);
}

// ---- The transaction. ----

// "FROM:" or "TO:" is cut off; blanks behind it are forgiven.
static bool cut_word(struct str *arg, struct str word)
{
    if (!str_istarts(*arg, word))
        return false;
    *arg = str_trim(str_make(arg->ptr + word.len, arg->len - word.len));
    return true;
}

static struct str behind(struct str arg, const struct address *a)
{
    return str_make(arg.ptr + a->used, arg.len - a->used);
}

static bool size_fits(struct smtp_server *s, const struct smtp_mail_params *p)
{
    if (!p->has_size || p->size <= s->settings->message_size)
        return true;
    struct smtp_server_reply reply;
    smtp_server_reply_set(&reply, 552, "5.3.4",
                          "message larger than %llu octets; send less, or raise message_size",
                          (unsigned long long)s->settings->message_size);
    smtp_server_reply(s, &reply);
    return false;
}

static bool hold_fits(struct smtp_server *s, const struct smtp_mail_params *p)
{
    struct smtp_server_reply reply;
    bool asked = p->hold_s > 0 || p->hold_until_ms != 0;
    if (!asked || (s->settings->hold_max_s > 0 && p->hold_s <= s->settings->hold_max_s))
        return true;
    if (s->settings->hold_max_s == 0)
        smtp_server_reply_set(&reply, 555, "5.5.4",
                              "no mail is kept for a later time here; leave HOLDFOR and HOLDUNTIL "
                              "out");
    else
        smtp_server_reply_set(&reply, 501, "5.5.4",
                              "HOLDFOR is more than %u seconds; ask for less, or raise send_later "
                              "of the listener",
                              s->settings->hold_max_s);
    smtp_server_reply(s, &reply);
    return false;
}

static void refuse_address(struct smtp_server *s, const char *enhanced, const char *why)
{
    struct smtp_server_reply reply;
    smtp_server_reply_set(&reply, 501, enhanced, "%s", why);
    smtp_server_reply(s, &reply);
    smtp_server_count_error(s);
}

static void run_mail(struct smtp_server *s, struct str arg)
{
    struct address sender;
    struct smtp_mail_params params;
    struct smtp_server_reply reply;
    const char *why;
    if (s->settings->tls_required && !s->tls) {
        smtp_server_say(s, SAY_NEED_TLS);
    } else if (s->settings->auth_required && !s->authenticated) {
        smtp_server_say(s, SAY_NEED_AUTH);
    } else if (!cut_word(&arg, STR("FROM:"))) {
        smtp_server_say(s, SAY_MAIL_SYNTAX);
    } else if (!address_parse(arg, ADDRESS_REVERSE | ADDRESS_UTF8, &sender, &why)) {
        refuse_address(s, "5.1.7", why);
    } else if (!smtp_mail_params_parse(behind(arg, &sender), &params, &reply)) {
        smtp_server_reply(s, &reply);
        smtp_server_count_error(s);
    } else if (sender.utf8 && !params.smtputf8) {
        smtp_server_say(s, SAY_NEED_UTF8);
    } else if (size_fits(s, &params) && hold_fits(s, &params)) {
        s->binary = params.body == BODY_BINARYMIME;
        s->utf8 = params.smtputf8;
        smtp_server_fixed(SAY_MAIL_OK, &reply);
        struct smtp_server_mail mail = {&sender, &params};
        ask(s, ASKED_MAIL, s->ops->mail(s->ctx, &mail, &reply), &reply);
    }
}

static void run_rcpt(struct smtp_server *s, struct str arg)
{
    struct address address;
    struct smtp_rcpt_params params;
    struct smtp_server_reply reply;
    const char *why;
    if (!cut_word(&arg, STR("TO:"))) {
        smtp_server_say(s, SAY_RCPT_SYNTAX);
    } else if (s->rcpts >= s->settings->recipients) {
        smtp_server_reply_set(&reply, 452, "4.5.3",
                              "more than %u recipients; send the message again for the others",
                              s->settings->recipients);
        smtp_server_reply(s, &reply);
    } else if (!address_parse(arg, ADDRESS_UTF8, &address, &why)) {
        refuse_address(s, "5.1.3", why);
    } else if (!smtp_rcpt_params_parse(behind(arg, &address), &params, &reply)) {
        smtp_server_reply(s, &reply);
        smtp_server_count_error(s);
    } else if (address.utf8 && !s->utf8) {
        smtp_server_say(s, SAY_NEED_UTF8);
    } else {
        smtp_server_fixed(SAY_RCPT_OK, &reply);
        struct smtp_server_rcpt rcpt = {&address, &params};
        ask(s, ASKED_RCPT, s->ops->rcpt(s->ctx, &rcpt, &reply), &reply);
    }
}

static void run_data(struct smtp_server *s, struct str arg)
{
    struct smtp_server_reply reply;
    if (s->binary) {
        smtp_server_say(s, SAY_BINARY_DATA);
        return;
    }
    smtp_server_fixed(SAY_START, &reply);
    ask(s, ASKED_BEGIN, s->ops->data_begin(s->ctx, &reply), &reply);
}

static void run_bdat(struct smtp_server *s, struct str arg)
{
    uint64_t octets;
    bool last;
    if (!smtp_bdat_parse(arg, &octets, &last))
        smtp_server_say(s, SAY_BAD_BDAT);
    else
        smtp_server_chunk_begin(s, octets, last);
}

static void run_rset(struct smtp_server *s, struct str arg)
{
    smtp_server_end_transaction(s, true);
    smtp_server_say(s, SAY_RESET);
}

// ---- The rest. ----

static void run_starttls(struct smtp_server *s, struct str arg)
{
    struct smtp_server_reply reply;
    if (s->tls) {
        smtp_server_say(s, SAY_TLS_TWICE);
    } else if (!s->settings->tls_offered) {
        smtp_server_say(s, SAY_TLS_NONE);
    } else if (s->more) {
        smtp_server_say(s, SAY_TLS_INJECTED);
    } else {
        smtp_server_fixed(SAY_TLS_GO, &reply);
        ask(s, ASKED_STARTTLS, s->ops->starttls(s->ctx, &reply), &reply);
    }
}

static void run_noop(struct smtp_server *s, struct str arg)
{
    smtp_server_say(s, SAY_OK);
}
static void run_quit(struct smtp_server *s, struct str arg)
{
    smtp_server_say(s, SAY_BYE);
}
static void run_vrfy(struct smtp_server *s, struct str arg)
{
    smtp_server_say(s, SAY_VRFY);
}
static void run_expn(struct smtp_server *s, struct str arg)
{
    smtp_server_say(s, SAY_EXPN);
}
static void run_help(struct smtp_server *s, struct str arg)
{
    smtp_server_say(s, SAY_HELP);
}
static void run_http(struct smtp_server *s, struct str arg)
{
    smtp_server_say(s, SAY_NOT_HTTP);
}

static const struct verb verbs[] = {
    {"MAIL", run_mail, IN_IDLE, {[SMTP_MAIL] = SAY_NESTED_MAIL, [SMTP_RCPT] = SAY_NESTED_MAIL}},
    {"RCPT", run_rcpt, IN_MAIL | IN_RCPT},
    {"DATA", run_data, IN_RCPT, {[SMTP_MAIL] = SAY_NEED_RCPT}, true},
    {"BDAT", run_bdat, IN_ANY},
    {"EHLO", run_ehlo, IN_ANY},
    {"HELO", run_helo, IN_ANY},
    {"LHLO", run_lhlo, IN_ANY},
    {"RSET", run_rset, IN_ANY, .bare = true},
    {"NOOP", run_noop, IN_ANY},
    {"QUIT", run_quit, IN_ANY, .bare = true},
    {"AUTH",
     smtp_server_auth_command,
     IN_IDLE,
     {[SMTP_MAIL] = SAY_MID_MAIL, [SMTP_RCPT] = SAY_MID_MAIL}},
    {"STARTTLS",
     run_starttls,
     IN_HELLO | IN_IDLE,
     {[SMTP_MAIL] = SAY_MID_MAIL, [SMTP_RCPT] = SAY_MID_MAIL},
     true},
    {"VRFY", run_vrfy, IN_ANY},
    {"EXPN", run_expn, IN_ANY},
    {"HELP", run_help, IN_ANY},
    // A browser made to speak to this port.
    {"GET", run_http, IN_ANY},
    {"POST", run_http, IN_ANY},
    {"PUT", run_http, IN_ANY},
    {"HEAD", run_http, IN_ANY},
    {"DELETE", run_http, IN_ANY},
    {"OPTIONS", run_http, IN_ANY},
    {"CONNECT", run_http, IN_ANY},
    {"PATCH", run_http, IN_ANY},
    {"TRACE", run_http, IN_ANY},
    {"PRI", run_http, IN_ANY},
};

static const enum smtp_fixed usual_wrong[SMTP_CHUNKS + 1] = {
    [SMTP_HELLO] = SAY_NEED_EHLO, [SMTP_IDLE] = SAY_NEED_MAIL, [SMTP_CHUNKS] = SAY_MID_CHUNKS};

static void run_verb(struct smtp_server *s, const struct verb *v, struct str arg)
{
    enum smtp_state before = s->state;
    if ((v->states & 1U << before) == 0)
        smtp_server_say(s, v->wrong[before] != 0 ? v->wrong[before] : usual_wrong[before]);
    else if (v->bare && arg.len > 0)
        smtp_server_say(s, SAY_NO_ARG);
    else
        v->run(s, arg);
    // An unanswered DATA says so with its answer.
    if (v->run == run_data && s->asked == ASKED_NOTHING)
        s->data_refused = s->state != SMTP_CONTENT;
}

static bool has_control(struct str line)
{
    for (size_t i = 0; i < line.len; i++) {
        unsigned char c = (unsigned char)line.ptr[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return true;
    }
    return false;
}

void smtp_server_command(struct smtp_server *s, struct str line)
{
    bool after_data = s->data_refused;
    s->data_refused = false;
    struct str arg = line, word;
    if (!str_split(&arg, ' ', &word))
        word = (struct str){0};
    const struct verb *verb = NULL;
    for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]) && verb == NULL; i++) {
        if (str_ieq(word, str_of(verbs[i].name)))
            verb = &verbs[i];
    }
    if (verb == NULL && after_data)
        smtp_server_say(s, SAY_BODY_AS_COMMANDS);
    else if (has_control(line))
        smtp_server_say(s, SAY_CONTROL);
    else if (verb == NULL &&
             (str_iends(line, STR(" HTTP/1.1")) || str_iends(line, STR(" HTTP/1.0"))))
        run_http(s, arg); // whatever its method: a browser was made to talk to this port
    else if (verb == NULL)
        smtp_server_say(s, SAY_UNKNOWN);
    else
        run_verb(s, verb, str_trim(arg));
}
