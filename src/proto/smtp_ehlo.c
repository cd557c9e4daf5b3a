// SPDX-License-Identifier: ISC
// Capabilities of a server.
#include "proto/smtp_ehlo.h"

#define ROWS(table) (sizeof(table) / sizeof((table)[0]))

static bool next_word(struct str *rest, struct str *word_out)
{
    do {
        if (!str_split(rest, ' ', word_out))
            return false;
        *word_out = str_trim(*word_out);
    } while (word_out->len == 0);
    return true;
}

static void take_size(struct smtp_ehlo *e, struct str args)
{
    struct str word;
    uint64_t size;
    if (next_word(&args, &word) && str_u64(word, UINT64_MAX, &size))
        e->size = size;
}

static void take_auth(struct smtp_ehlo *e, struct str args)
{
    static const struct {
        struct str name;
        uint32_t bit;
    } mechs[] = {
        {STR("PLAIN"), SMTP_AUTH_PLAIN},
        {STR("LOGIN"), SMTP_AUTH_LOGIN},
        {STR("CRAM-MD5"), SMTP_AUTH_CRAM_MD5},
        {STR("SCRAM-SHA-1"), SMTP_AUTH_SCRAM_SHA_1},
        {STR("SCRAM-SHA-256"), SMTP_AUTH_SCRAM_SHA_256},
        {STR("XOAUTH2"), SMTP_AUTH_XOAUTH2},
        {STR("OAUTHBEARER"), SMTP_AUTH_OAUTHBEARER},
        {STR("EXTERNAL"), SMTP_AUTH_EXTERNAL},
    };
    struct str word;
    while (next_word(&args, &word)) {
        for (size_t i = 0; i < ROWS(mechs); i++)
            if (str_ieq(word, mechs[i].name))
                e->auth |= mechs[i].bit;
        size_t used = strlen(e->auth_text), gap = used > 0;
        bool fits = used + gap + word.len < sizeof(e->auth_text);
        for (size_t i = 0; i < word.len; i++)
            fits = fits && (ascii_is_alnum(word.ptr[i]) || strchr("-_.", word.ptr[i]) != NULL) &&
                   word.ptr[i] != '\0';
        if (!fits)
            continue;
        if (gap)
            e->auth_text[used] = ' ';
        memcpy(e->auth_text + used + gap, word.ptr, word.len);
        e->auth_text[used + gap + word.len] = '\0';
    }
}

static void take_limits(struct smtp_ehlo *e, struct str args)
{
    struct str word;
    while (next_word(&args, &word)) {
        struct str name;
        str_split(&word, '=', &name);
        uint64_t value;
        if (!str_u64(word, UINT32_MAX, &value) || value == 0)
            continue;
        if (str_ieq(name, STR("RCPTMAX")))
            e->rcpt_max = (uint32_t)value;
        else if (str_ieq(name, STR("MAILMAX")))
            e->mail_max = (uint32_t)value;
    }
}

static const struct keyword {
    struct str name;
    uint32_t cap;
    void (*take)(struct smtp_ehlo *e, struct str args);
    bool again; // may stand on several lines, each adding to what was said
} keywords[] = {
    {STR("PIPELINING"), SMTP_CAP_PIPELINING, NULL, false},
    {STR("SIZE"), SMTP_CAP_SIZE, take_size, false},
    {STR("8BITMIME"), SMTP_CAP_8BITMIME, NULL, false},
    {STR("SMTPUTF8"), SMTP_CAP_SMTPUTF8, NULL, false},
    {STR("DSN"), SMTP_CAP_DSN, NULL, false},
    {STR("ENHANCEDSTATUSCODES"), SMTP_CAP_ENHANCED, NULL, false},
    {STR("CHUNKING"), SMTP_CAP_CHUNKING, NULL, false},
    {STR("BINARYMIME"), SMTP_CAP_BINARYMIME, NULL, false},
    {STR("STARTTLS"), SMTP_CAP_STARTTLS, NULL, false},
    {STR("AUTH"), SMTP_CAP_AUTH, take_auth, true},
    {STR("LIMITS"), SMTP_CAP_LIMITS, take_limits, false},
    {STR("FUTURERELEASE"), SMTP_CAP_FUTURE, NULL, false},
};

void smtp_ehlo_parse(struct smtp_ehlo *e, struct str text)
{
    *e = (struct smtp_ehlo){0};
    struct str line;
    str_split(&text, '\n', &line); // the server's name and greeting
    while (str_split(&text, '\n', &line)) {
        struct str name;
        if (!next_word(&line, &name))
            continue;
        // "AUTH=LOGIN PLAIN": what servers said before RFC 2554 was settled.
        if (str_istarts(name, STR("AUTH="))) {
            e->caps |= SMTP_CAP_AUTH;
            take_auth(e, str_make(name.ptr + 5, name.len - 5));
            take_auth(e, line);
            continue;
        }
        for (size_t i = 0; i < ROWS(keywords); i++) {
            const struct keyword *k = &keywords[i];
            if (!str_ieq(name, k->name) || ((e->caps & k->cap) != 0 && !k->again))
                continue;
            e->caps |= k->cap;
            if (k->take != NULL)
                k->take(e, line);
        }
    }
}
