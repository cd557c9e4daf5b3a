// SPDX-License-Identifier: ISC
// All commands of the program on one screen, and the nearest one to what was typed.
#include "base/buf.h"
#include "conf/schema.h"
#include "control/command.h"
#include "main/command.h"
#include "main/help.h"
#include "main/topics.h"

#include <stdio.h>
#include <sysexits.h>

const struct main_command main_commands[] = {
    {"serve", "", "the daemon, in the foreground", cmd_serve},
    {"send",
     "[-f FROM] [-s SUBJECT] [--at TIME | --in SPAN] [--test] [--wait SECONDS | --no-wait] "
     "ADDRESS...",
     "send standard input as a mail and follow it; exit 0 delivered, 75 still waiting", cmd_send},
    {"sendmail", "[FLAG]... [ADDRESS]...", "as other programs call it; also by the name sendmail",
     cmd_sendmail},
    {"mailq", "[-j]", "what waits, in the classic layout, or as JSON", cmd_mailq},
    {"newaliases", "", "nothing: there is no alias database", cmd_newaliases},
    {"queue export", "ID... | --all [--folder outbox|held|bad] [--to DIR] [--json]",
     "waiting messages as files, ID.eml", cmd_queue_export},
    {"config check", "[FILE] [--text-only] [--json]",
     "what is wrong with it, or what it means; --text-only leaves the secrets it names unread",
     cmd_config_check},
    {"config explain", "[KEY] [--json]",
     "one key: its values, default and meaning; without one, all keys", cmd_config_explain},
    {"config diff", "OLD NEW [--text-only] [--json] | --live [FILE] [--json]",
     "what changes between two files; --live: what a file would change for the mail that waits",
     cmd_config_diff},
    {"config apply", "FILE [--dry-run] [--json]",
     "take a file's text over as the configuration: checked, told, reloaded", cmd_config_apply},
    {"config rollback", "[--dry-run] [--json]",
     "back to the configuration that was in force before; once more: forward again",
     cmd_config_rollback},
    {"config reference", "", "the whole reference, as Markdown", cmd_config_reference},
    {"config schema", "", "JSON Schema, for editors", cmd_config_schema},
    {"import",
     "[--from PROGRAM] [--home DIR]... [--root DIR] [--json] [--test [--login] | --write FILE | "
     "--append] [--passwords DIR]",
     "the outgoing servers that other mail programs here know; --test asks whether they work, "
     "--write makes a configuration",
     cmd_import},
    {"network learn", "NAME [--write [--dry-run] [--json]]",
     "this place in the words of the configuration; --write puts it there", cmd_network_learn_here},
    {"gateway add",
     "NAME URL [KEY=VALUE]... [--networks A,B] [--senders GLOB,GLOB] [--priority low] "
     "[--password-file FILE|-] [--dry-run] [--json]",
     "one more way out: written into the configuration and taken over", cmd_gateway_add},
    {"gateway edit", "NAME KEY=VALUE... [--dry-run] [--json]",
     "change its keys in the configuration; KEY= takes one out", cmd_gateway_edit},
    {"gateway enable", "NAME [--dry-run] [--json]", "use it again", cmd_gateway_enable},
    {"gateway disable", "NAME [--dry-run] [--json]", "keep it, but send nothing through it",
     cmd_gateway_disable},
    {"gateway remove", "NAME [--dry-run] [--json]", "take it out of the configuration",
     cmd_gateway_remove},
    {"gateway move", "NAME --before OTHER | --last [--dry-run] [--json]",
     "change the order in the configuration, which `gateway next` follows", cmd_gateway_move},
    {"smarthost on", "[GATEWAY] [--dry-run] [--json]",
     "switch the smart host on, in the configuration", cmd_smarthost_on},
    {"smarthost off", "[--dry-run] [--json]", "switch it off: what it would have taken goes direct",
     cmd_smarthost_off},
    {"smarthost", "[--json]", "is it on, and what goes through it", cmd_smarthost},
    {"route lint", "[FILE] [--json]",
     "rules never reached, gateways never used, chains with no way out; exit 1 when there are any",
     cmd_route_lint},
    {"probe", "[HOST[:PORT]]... [--domain DOMAIN] [--timeout SECONDS] [--json] | --from-outside",
     "is mail let out of this network: which port works, else which layer is at fault", cmd_probe},
    {"setup", "[PROGRAM | --json]",
     "what is still to do until mail goes this way, or how a mail program is told; changes nothing",
     cmd_setup},
    {"simulate", "[--follow | --log | --quiet | --json] [--seed N] STORY...",
     "a story of networks, servers and mail, played through the configuration", cmd_simulate},
    {"spool check", "[DIRECTORY] [--json]", "verify every record; the daemon must be down",
     cmd_spool_check},
    {"spool rebuild", "[DIRECTORY]", "save what is readable, make the index anew",
     cmd_spool_rebuild},
    {"password hash", "[USER]", "a line for a listener's `users` file; password on standard input",
     cmd_password_hash},
    {"sink", "[--listen ADDRESS] [--maildir DIR] [--refuse CODE]",
     "an upstream for trying things out: takes everything, a line each", cmd_sink},
    {"help", "[COMMAND | TOPIC]", "this, one command, or a topic", cmd_help},
    {"version", "[--json]", "the version", cmd_version},
    {"check", NULL, NULL, cmd_config_check},
    {"--version", NULL, NULL, cmd_version},
    {"--help", NULL, NULL, cmd_help},
    {"-h", NULL, NULL, cmd_help},
    {NULL, NULL, NULL, NULL},
};

// Both tables as one.
struct row {
    const char *words, *usage, *help;
};
static bool row_at(size_t i, struct row *out)
{
    size_t n = sizeof(main_commands) / sizeof(main_commands[0]) - 1;
    if (i < n) {
        *out = (struct row){main_commands[i].words, main_commands[i].usage, main_commands[i].help};
        return true;
    }
    const struct command *c = &control_commands[i - n];
    *out = (struct row){c->words, c->usage, c->help};
    return c->words != NULL;
}

static const char examples[] =
    "waypost " WAYPOST_VERSION
    ": takes mail from everything here, keeps it safe, finds it a way out\n"
    "\n"
    "  waypost serve --config FILE                 run it\n"
    "  echo hello | waypost send -s hi a@b.example send a mail and see what becomes of it\n"
    "  waypost status                              one screen: what waits, which ways are open\n"
    "  waypost log --since 1h                      what happened\n"
    "  waypost route explain --to a@b.example      which way, and why\n";

// A family has a sentence of its own here, its members show `waypost help FAMILY`.
static const struct row families[] = {
    {"queue", "", "list, show, retry, hold, release, drop, export: mail that waits"},
    {"gateway", "",
     "list, show, test, use, next, auto, forget, reset; add, edit, enable, disable, remove, move"},
    {"route", "", "explain, show, lint, detours, pin, unpin: which way, and why"},
    {"config", "", "check, explain, diff, apply, rollback, reference, schema"},
    {"spool", "", "check, rebuild; the daemon must be down"},
};

static const struct {
    const char *title;
    const char *words[12];
} groups[] = {
    {"mail", {"send", "log", "queue", NULL}},
    {"ways in", {"listener list", NULL}},
    {"ways out", {"gateway", "smarthost", "route", "network", "network learn", "probe", NULL}},
    {"the daemon", {"serve", "status", "config", "reload", "stop", NULL}},
    {"by other names", {"sendmail", "mailq", "newaliases", NULL}},
    {"care and trying out",
     {"setup", "import", "simulate", "password hash", "sink", "spool", "help", "version", NULL}},
};

static bool find_row(const char *words, struct row *out)
{
    for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++) {
        *out = families[i];
        if (strcmp(out->words, words) == 0)
            return true;
    }
    for (size_t i = 0; row_at(i, out); i++)
        if (out->help != NULL && strcmp(out->words, words) == 0)
            return true;
    return false;
}

static void print_all(void)
{
    struct row row;
    fputs(examples, stdout);
    for (size_t g = 0; g < sizeof(groups) / sizeof(groups[0]); g++) {
        printf("\n%s\n", groups[g].title);
        for (size_t i = 0; groups[g].words[i] != NULL; i++)
            if (find_row(groups[g].words[i], &row))
                printf("  %-17s %s\n", row.words, row.help);
    }
    printf("\n`waypost help TOPIC`:");
    for (const struct help_topic *t = help_topics; t->name != NULL; t++)
        printf(" %s", t->name);
    printf("\n`waypost help COMMAND` says more; --json where it reads; --config FILE (or "
           "$WAYPOST_CONFIG) anywhere\n");
}

static bool is_member(const struct row *row, const char *words)
{
    size_t len = strlen(words);
    return row->help != NULL && strncmp(row->words, words, len) == 0 &&
           (row->words[len] == '\0' || row->words[len] == ' ');
}

static void print_usage(const struct row *row)
{
    printf("waypost %s%s%s\n    %s\n", row->words, row->usage[0] != '\0' ? " " : "", row->usage,
           row->help);
}

static void print_one(const struct row *row)
{
    const struct help_text *text = help_text_find(row->words);
    if (text != NULL)
        printf("%s\n", text->examples);
    print_usage(row);
    if (text != NULL && text->options != NULL)
        printf("\n%s", text->options);
}

// The rows whose words begin with those given: "queue" shows all of its family, one of them alone
// shows all there is to say.
static bool print_some(const char *words)
{
    struct row row, one = {0};
    size_t count = 0;
    for (size_t i = 0; row_at(i, &row); i++) {
        if (!is_member(&row, words))
            continue;
        one = row;
        count++;
    }
    if (count == 1)
        print_one(&one);
    // A command that is a family, too, begins with its own examples.
    const struct help_text *text = count > 1 ? help_text_find(words) : NULL;
    if (text != NULL)
        printf("%s\n", text->examples);
    size_t shown = 0;
    for (size_t i = 0; count > 1 && row_at(i, &row); i++) {
        if (!is_member(&row, words))
            continue;
        if (shown++ > 0)
            printf("\n");
        print_usage(&row);
    }
    if (count > 1)
        printf("\n`waypost help %s COMMAND` has examples and every option\n", words);
    return count > 0;
}

static bool begins_command(const char *word)
{
    struct row row;
    size_t len = strlen(word);
    for (size_t i = 0; row_at(i, &row); i++)
        if (strncmp(row.words, word, len) == 0 && (row.words[len] == '\0' || row.words[len] == ' '))
            return true;
    return false;
}

// Whatever was typed: no command has so many words, nor so long ones.
enum { WORDS = 3, WORD_SHOWN = 60 };

static void join(int argc, char **argv, int count, struct buf *out)
{
    for (int i = 0; i < count && i < argc && i < WORDS; i++)
        buf_printf(out, "%s%.*s", i > 0 ? " " : "", WORD_SHOWN, argv[i]);
    buf_cstr(out);
}

// The nearest of the first words, or, after a right first word, of the whole ones. NULL: none.
static const char *nearest(struct arena *arena, const char *typed, bool whole)
{
    struct conf_nearest near = {0};
    struct row row;
    for (size_t i = 0; row_at(i, &row); i++) {
        struct str first = str_of(row.words);
        first.len = whole ? first.len : str_find(first, ' ');
        if (row.help != NULL)
            conf_nearest_offer(&near, str_of(typed), arena_str(arena, first));
    }
    return near.word;
}

bool main_command_known(int argc, char **argv)
{
    struct buf typed;
    struct row row;
    bool known = false;
    buf_init(&typed, 256);
    join(argc, argv, 2, &typed);
    for (size_t i = 0; !known && row_at(i, &row); i++) {
        size_t len = strlen(row.words);
        known = strncmp(typed.data, row.words, len) == 0 &&
                (typed.data[len] == '\0' || typed.data[len] == ' ');
    }
    buf_free(&typed);
    return known;
}

// What people type who know other programs.
static const struct {
    const char *typed, *meant;
} synonyms[] = {
    {"pin", "gateway use"},
    {"gateway pin", "gateway use"},
    {"unpin", "gateway auto"},
    {"next", "gateway next"},
    {"gateway set", "gateway edit"},
    {"gateway rm", "gateway remove"},
    {"gateway delete", "gateway remove"},
    {"test", "gateway test"},
    {"show", "queue show"},
    {"trace", "log"},
    {"explain", "route explain"},
    {"lint", "route lint"},
    {"learn", "network learn"},
    {"diff", "config diff"},
    {"rollback", "config rollback"},
    {"doctor", "setup"},
    {"retry", "queue retry"},
    {"hold", "queue hold"},
    {"release", "queue release"},
    {"drop", "queue drop"},
    {"queue remove", "queue drop"},
    {"queue delete", "queue drop"},
    {"remove", "queue drop"},
    {"restore", "queue restore"},
    {"undelete", "queue restore"},
    {"start", "serve"},
};

static const char *synonym(const char *typed)
{
    for (size_t i = 0; i < sizeof(synonyms) / sizeof(synonyms[0]); i++)
        if (strcmp(synonyms[i].typed, typed) == 0)
            return synonyms[i].meant;
    return NULL;
}

int main_command_unknown(int argc, char **argv)
{
    struct buf typed;
    struct row row;
    struct arena *arena = arena_new();
    buf_init(&typed, 256);
    bool family = argc > 0 && begins_command(argv[0]);
    join(argc, argv, family ? 2 : 1, &typed);
    const char *meant = synonym(typed.data);
    if (meant == NULL)
        meant = nearest(arena, typed.data, family);
    if (family && argc == 1 && find_row(argv[0], &row))
        fprintf(stderr, "waypost %s: which of %s? See `waypost help %s`\n", argv[0], row.help,
                argv[0]);
    else if (meant != NULL)
        fprintf(stderr, "waypost: there is no command `%s`; did you mean `waypost %s`?\n",
                typed.data, meant);
    else
        fprintf(stderr, "waypost: there is no command `%s`; see `waypost help%s%s`\n", typed.data,
                family ? " " : "", family ? argv[0] : "");
    buf_free(&typed);
    arena_free(&arena);
    return EX_USAGE;
}

int cmd_help(const struct main_options *options, int argc, char **argv)
{
    struct buf words;
    bool found = false;
    if (argc == 0) {
        print_all();
        return 0;
    }
    const struct help_topic *topic = argc == 1 ? help_topic_find(argv[0]) : NULL;
    if (topic != NULL) {
        printf("%s: %s\n\n%s", topic->name, topic->title, topic->text);
        return 0;
    }
    // Behind the command's own words may stand its arguments.
    buf_init(&words, 256);
    for (int count = argc; !found && count > 0; count--) {
        buf_clear(&words);
        join(argc, argv, count, &words);
        found = print_some(words.data);
    }
    buf_free(&words);
    return found ? 0 : main_command_unknown(argc, argv);
}

int cmd_version(const struct main_options *options, int argc, char **argv)
{
    if (!main_flag(&argc, argv, "--json")) {
        printf("waypost " WAYPOST_VERSION "\n");
        return 0;
    }
    struct buf out;
    struct json j = main_json(&out);
    json_text(&j, "version", WAYPOST_VERSION);
    main_json_print(&j);
    return 0;
}
