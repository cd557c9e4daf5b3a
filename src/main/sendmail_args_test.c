// SPDX-License-Identifier: ISC
// The flags that programs give to sendmail.
#include "main/sendmail_args.h"

#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

// The arguments as one text, in the order of the struct.
static const char *said(const struct sendmail_args *a, char out[400])
{
    static const char *const modes[] = {"send",   "smtp",   "mailq", "aliases",
                                        "verify", "daemon", "queue", "nothing"};
    int n = snprintf(out, 400, "%s", modes[a->mode]);
    if (a->sender != NULL)
        n += snprintf(out + n, 400 - (size_t)n, " from=%s", a->sender);
    if (a->full_name != NULL)
        n += snprintf(out + n, 400 - (size_t)n, " name=%s", a->full_name);
    if (a->from_headers)
        n += snprintf(out + n, 400 - (size_t)n, " headers");
    if (a->dot_is_text)
        n += snprintf(out + n, 400 - (size_t)n, " dots");
    if (a->notify != 0)
        n += snprintf(out + n, 400 - (size_t)n, " notify=%d", a->notify);
    if (a->ret != RET_UNSET)
        n += snprintf(out + n, 400 - (size_t)n, " ret=%d", a->ret);
    if (a->envid != NULL)
        n += snprintf(out + n, 400 - (size_t)n, " envid=%s", a->envid);
    if (a->body_given)
        n += snprintf(out + n, 400 - (size_t)n, " body=%d", a->body);
    for (size_t i = 0; i < a->count; i++)
        n += snprintf(out + n, 400 - (size_t)n, " <%s>", a->rcpts[i]);
    return out;
}

static void flags_are_understood(void **state)
{
    static const struct {
        const char *args[10], *said;
    } cases[] = {
        {{"-FCronDaemon", "-i", "-B8BITMIME", "-oem", "root"},
         "send name=CronDaemon dots body=1 <root>"},
        {{"-F", "Cron Daemon", "-i", "-oem", "root"}, "send name=Cron Daemon dots <root>"},
        {{"-t"}, "send headers"},
        {{"-oi", "-t"}, "send headers dots"},
        {{"-ti"}, "send headers dots"},
        {{"-it", "-v"}, "send headers dots"},
        {{"-oem", "-oi", "--", "a@b.example", "-c@d.example"},
         "send dots <a@b.example> <-c@d.example>"},
        {{"-oem", "-oi", "-f", "me@b.example", "--", "a"}, "send from=me@b.example dots <a>"},
        {{"-i", "one@a.example", "two@a.example"}, "send dots <one@a.example> <two@a.example>"},
        {{"-f", "<>", "a"}, "send from=<> <a>"},
        {{"-f", "", "a"}, "send from= <a>"},
        {{"-f<>", "a"}, "send from=<> <a>"},
        {{"-fme", "a"}, "send from=me <a>"},
        {{"-rme", "a"}, "send from=me <a>"},
        {{"-r", "me", "a"}, "send from=me <a>"},
        {{"a", "-f", "me"}, "send from=me <a>"},
        {{"-B", "8BITMIME", "a"}, "send body=1 <a>"},
        {{"-B", "-e", "-F", "Cron", "a"}, "send name=Cron <a>"},
        {{"-B", "root"}, "send <root>"},
        {{"-e", "m", "a"}, "send <a>"},
        {{"-em", "a"}, "send <a>"},
        {{"-N", "success,failure", "-R", "hdrs", "-V", "x1", "a"},
         "send notify=6 ret=2 envid=x1 <a>"},
        {{"-Nnever", "-Rfull", "a"}, "send notify=1 ret=1 <a>"},
        {{"-N", "never,delay", "a"}, "send <a>"},
        {{"-N", "sometimes", "a"}, "send <a>"},
        {{"-O", "DeliveryMode=b", "-OErrorMode=m", "a"}, "send <a>"},
        {{"-odb", "-o", "em", "-om", "a"}, "send <a>"},
        {{"-h", "3", "-p", "smtp", "-X", "/tmp/x", "-L", "tag", "a"}, "send <a>"},
        {{"-d0.1", "-Am", "-Ac", "a"}, "send <a>"},
        {{"-Y", "-Zfoo", "a"}, "send <a>"},
        {{"-bs"}, "smtp"},
        {{"-b", "s"}, "smtp"},
        {{"-bp"}, "mailq"},
        {{"-bi"}, "aliases"},
        {{"-I"}, "aliases"},
        {{"-bv", "a"}, "verify <a>"},
        {{"-bm", "-i", "a"}, "send dots <a>"},
        {{"-bd", "-q15m"}, "daemon"},
        {{"-q"}, "queue"},
        {{"-q30m"}, "queue"},
        {{"-qRexample.org"}, "queue"},
        {{"-bH"}, "nothing"},
        {{"-f"}, "send"},
        {{"-"}, "send <->"},
        {{NULL}, "send"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct arena *arena = arena_new();
        struct sendmail_args a;
        char text[400];
        int argc = 0;
        while (argc < 10 && cases[i].args[argc] != NULL)
            argc++;
        sendmail_args_parse(argc, (char **)cases[i].args, arena, &a);
        assert_string_equal(said(&a, text), cases[i].said);
        arena_free(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(flags_are_understood)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
