// SPDX-License-Identifier: ISC
// waypost-simulate: plays stories against a configuration, in virtual time. `waypost simulate` runs
// it; it is a program of its own because the simulated world has the same symbols as the real one.
#include "base/limits.h"
#include "simulate/play.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

static const char usage[] =
    "usage: waypost simulate [OPTIONS] STORY...\n"
    "\n"
    "  waypost simulate day.yaml                   your own configuration, the story of a day\n"
    "  waypost simulate --config new.yaml day.yaml another configuration\n"
    "  waypost simulate --quiet stories/*.yaml     only what is not as the stories expect\n"
    "\n"
    "  --config FILE   the configuration to play with (a story may bring its own)\n"
    "  --seed N        other chances of the simulated world (1)\n"
    "  --follow        everything in the order in which it happens\n"
    "  --log           with the daemon's own log\n"
    "  --quiet         no timelines\n"
    "  --json          the timelines as JSON, a line a story\n";

static struct {
    const char *config;
    struct play_options play;
    bool quiet, json;
} options = {.play = {.seed = 1}};

// This program lives in the simulated world, but its user does not.
static bool slurp(const char *path, struct buf *out)
{
    FILE *f = fopen(path, "rb");
    if (f == NULL)
        return false;
    char piece[8192];
    for (size_t n; !out->full && (n = fread(piece, 1, sizeof(piece), f)) > 0;)
        buf_append(out, piece, n);
    bool ok = !ferror(f) && !out->full;
    fclose(f);
    return ok;
}

static struct story *read_story(const char *path)
{
    struct buf text;
    struct conf_report report = {0};
    struct story *story = NULL;
    buf_init(&text, LIMIT_CONFIG_FILE);
    conf_report_init(&report);
    if (!slurp(path, &text)) {
        fprintf(stderr,
                text.full ? "waypost: %s is larger than a story may be (4 MiB)\n"
                          : "waypost: cannot read %s: %s\n",
                path, strerror(errno));
    } else {
        story = story_read(path, buf_str(&text), &report);
        struct buf out;
        buf_init(&out, 1 << 20);
        conf_report_print(&report, &out);
        fputs(buf_cstr(&out), stderr);
        buf_free(&out);
    }
    conf_report_free(&report);
    buf_free(&text);
    return story;
}

static int play_one(const char *path)
{
    struct story *story = read_story(path);
    if (story == NULL)
        return EX_DATAERR;
    struct buf config;
    buf_init(&config, LIMIT_CONFIG_FILE);
    const char *name = path;
    if (story->config.len > 0)
        buf_add(&config, story->config);
    else if ((name = options.config) == NULL || !slurp(name, &config)) {
        fprintf(stderr,
                "waypost: %s brings no configuration%s%s; name one: waypost simulate --config "
                "FILE %s\n",
                path, name != NULL ? ", and this cannot be read: " : "", name != NULL ? name : "",
                path);
        buf_free(&config);
        story_free(&story);
        return EX_NOINPUT;
    }
    struct play_result result = {0};
    struct err err = {0};
    buf_init(&result.faults, 1 << 20);
    buf_init(&result.tales, 64 << 20);
    if (options.play.follow)
        printf("%s: %s\n", path, story->title);
    bool played = play(story, name, buf_str(&config), &options.play, options.json, &result, &err);
    if (options.json)
        fputs(buf_cstr(&result.tales), stdout);
    else if (!options.quiet && !options.play.follow)
        printf("%s: %s\n%s\n", path, story->title, buf_cstr(&result.tales));
    fflush(stdout);
    if (!played)
        fprintf(stderr, "%s: %s\n", path, err.text);
    fputs(buf_cstr(&result.faults), stderr);
    int status = !played ? EX_DATAERR : result.failures > 0 ? 1 : 0;
    buf_free(&result.faults);
    buf_free(&result.tales);
    buf_free(&config);
    story_free(&story);
    return status;
}

int main(int argc, char **argv)
{
    int i = 1, worst = 0;
    unsigned passed = 0, failed = 0;
    for (; i < argc && strncmp(argv[i], "--", 2) == 0; i++) {
        if (strcmp(argv[i], "--config") == 0 && i + 1 < argc)
            options.config = argv[++i];
        else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc)
            options.play.seed = strtoull(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--follow") == 0)
            options.play.follow = true;
        else if (strcmp(argv[i], "--log") == 0)
            options.play.details = true;
        else if (strcmp(argv[i], "--quiet") == 0)
            options.quiet = true;
        else if (strcmp(argv[i], "--json") == 0)
            options.json = true;
        else
            break;
    }
    if (i >= argc || strncmp(argv[i], "--", 2) == 0) {
        bool help = i < argc && strcmp(argv[i], "--help") == 0;
        fputs(usage, help ? stdout : stderr);
        return help ? 0 : EX_USAGE;
    }
    for (int first = i; i < argc; i++) {
        int status = play_one(argv[i]);
        worst = status > worst ? status : worst;
        passed += status == 0;
        failed += status != 0;
        if (i == argc - 1 && argc - first > 1)
            fprintf(stderr, "%u stories as expected, %u not\n", passed, failed);
    }
    return worst;
}
