// SPDX-License-Identifier: ISC
// Letters may be joined ("-ti"). One that has a value takes the rest of its word, or the next word.
#include "main/sendmail_args.h"

#include <string.h>

// The letters that have a value. Those in `maybe` take the next word only when it fits, because
// some callers give them alone.
static const char with_value[] = "ABCFLMNORVXbefhopr";
static const char attached_only[] = "AMdq";
// Letters that stand alone and may be followed by others in the same word.
static const char alone[] = "GIUacimnstvx";

static const struct {
    const char *word;
    enum envelope_body body;
} bodies[] = {{"7BIT", BODY_7BIT}, {"8BITMIME", BODY_8BITMIME}, {"BINARYMIME", BODY_BINARYMIME}};

static const struct {
    const char *word;
    uint8_t bit;
} notices[] = {{"never", NOTIFY_NEVER},
               {"success", NOTIFY_SUCCESS},
               {"failure", NOTIFY_FAILURE},
               {"delay", NOTIFY_DELAY}};

static bool take_body(struct sendmail_args *a, const char *value)
{
    for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
        if (!str_ieq(str_of(value), str_of(bodies[i].word)))
            continue;
        a->body = bodies[i].body;
        a->body_given = true;
        return true;
    }
    return false;
}

// All or nothing; NEVER stands alone (RFC 3461 section 4.1).
static void take_notify(struct sendmail_args *a, const char *value)
{
    struct str rest = str_of(value), word;
    uint8_t set = 0;
    while (str_split(&rest, ',', &word)) {
        uint8_t bit = 0;
        for (size_t i = 0; i < sizeof(notices) / sizeof(notices[0]); i++)
            if (str_ieq(str_trim(word), str_of(notices[i].word)))
                bit = notices[i].bit;
        if (bit == 0)
            return;
        set |= bit;
    }
    if (set == NOTIFY_NEVER || (set & NOTIFY_NEVER) == 0)
        a->notify = set;
}

static void take_mode(struct sendmail_args *a, char letter)
{
    switch (letter) {
    case 'm':
    case 'a': a->mode = SENDMAIL_DELIVER; break;
    case 's': a->mode = SENDMAIL_SMTP; break;
    case 'p': a->mode = SENDMAIL_MAILQ; break;
    case 'i': a->mode = SENDMAIL_ALIASES; break;
    case 'v': a->mode = SENDMAIL_VERIFY; break;
    case 'd':
    case 'D': a->mode = SENDMAIL_DAEMON; break;
    default: a->mode = SENDMAIL_NOTHING; break;
    }
}

static void take_value(struct sendmail_args *a, char letter, const char *value)
{
    switch (letter) {
    case 'b': take_mode(a, value[0]); break;
    case 'f':
    case 'r': a->sender = value; break;
    case 'F': a->full_name = value; break;
    case 'N': take_notify(a, value); break;
    case 'R':
        if (str_ieq(str_of(value), STR("full")))
            a->ret = RET_FULL;
        else if (str_ieq(str_of(value), STR("hdrs")))
            a->ret = RET_HDRS;
        break;
    case 'V': a->envid = value; break;
    case 'B': take_body(a, value); break;
    case 'o':
        if (strcmp(value, "i") == 0 || str_ieq(str_of(value), STR("itrue")))
            a->dot_is_text = true;
        break;
    default: break; // -C, -h, -L, -O, -p, -X, -e: sendmail's own affairs
    }
}

static void take_alone(struct sendmail_args *a, char letter)
{
    if (letter == 't')
        a->from_headers = true;
    else if (letter == 'i')
        a->dot_is_text = true;
    else if (letter == 'I')
        a->mode = SENDMAIL_ALIASES;
}

// May `next` be the value of a letter that stands alone in its word?
static bool takes_next(char letter, const char *next)
{
    struct sendmail_args scratch = {0};
    if (next == NULL || strchr(attached_only, letter) != NULL)
        return false;
    if (letter == 'B')
        return take_body(&scratch, next);
    if (letter == 'e')
        return strlen(next) == 1 && strchr("epqmw", next[0]) != NULL;
    return true;
}

// One word that begins with '-'. Returns how many words were used.
static int take_flags(struct sendmail_args *a, const char *word, const char *next)
{
    for (const char *p = word + 1; *p != '\0'; p++) {
        if (*p == 'q') {
            a->queue_run = true;
            return 1;
        }
        if (strchr(with_value, *p) != NULL) {
            if (p[1] != '\0') {
                take_value(a, *p, p + 1);
                return 1;
            }
            bool used = takes_next(*p, next);
            if (used)
                take_value(a, *p, next);
            return used ? 2 : 1;
        }
        if (strchr(alone, *p) == NULL)
            return 1; // unknown: the rest of the word belongs to it
        take_alone(a, *p);
    }
    return 1;
}

void sendmail_args_parse(int argc, char **argv, struct arena *arena, struct sendmail_args *out)
{
    *out = (struct sendmail_args){0};
    const char **rcpts = arena_alloc(arena, ((size_t)argc + 1) * sizeof(*rcpts));
    bool flags = true;
    for (int i = 0; i < argc;) {
        const char *word = argv[i];
        if (flags && strcmp(word, "--") == 0) {
            flags = false;
            i++;
        } else if (flags && word[0] == '-' && word[1] != '\0') {
            i += take_flags(out, word, i + 1 < argc ? argv[i + 1] : NULL);
        } else {
            rcpts[out->count++] = word;
            i++;
        }
    }
    out->rcpts = rcpts;
    if (out->mode == SENDMAIL_DELIVER && out->queue_run && out->count == 0 && !out->from_headers)
        out->mode = SENDMAIL_QUEUE_RUN;
}
