// SPDX-License-Identifier: ISC
// network learn: the place of now as the daemon sees it, as lines for the configuration, or written
// into it.
#include "base/buf.h"
#include "conf/edit.h"
#include "control/control.h"
#include "main/conf_file.h"

#include <stdio.h>
#include <string.h>
#include <sysexits.h>

// The daemon's description; the exit status.
static int ask(const struct main_options *options, const char *name, struct buf *lines)
{
    char path[256];
    struct err err = {0};
    const char *const argv[] = {"network", "learn", name};
    struct conf *conf = main_places(options, NULL);
    snprintf(path, sizeof(path), "%s/control.sock", conf->run_dir);
    conf_unref(&conf);
    int status = control_ask(path, 3, argv, lines, &err);
    if (status >= 0)
        return status;
    fprintf(stderr,
            "waypost: no daemon answers at %s: %s\n  it is the daemon that knows where this "
            "machine is; start it with `waypost serve`\n",
            path, err.text);
    return EX_UNAVAILABLE;
}

// The lines below the name ("    subnet: 10.0.0.0/8  # remark") as one value.
static void flow(struct str lines, struct buf *out)
{
    struct str line;
    str_split(&lines, '\n', &line);
    buf_putc(out, '{');
    while (str_split(&lines, '\n', &line)) {
        const char *remark = memmem(line.ptr, line.len, "  #", 3);
        if (remark != NULL)
            line.len = (size_t)(remark - line.ptr);
        line = str_trim(line);
        if (line.len > 0)
            buf_printf(out, "%s%.*s", out->len > 1 ? ", " : "", STR_FMT(line));
    }
    buf_putc(out, '}');
}

static int write_it(const struct main_options *options, int argc, char **argv)
{
    struct conf_file f;
    struct buf lines, value, text;
    struct err err = {0};
    int status;
    if (!conf_file_open(&f, options, &argc, argv, &status))
        return status;
    buf_init(&lines, MAIN_JSON_BYTES);
    buf_init(&value, MAIN_JSON_BYTES);
    buf_init(&text, LIMIT_CONFIG_FILE);
    status = ask(options, argv[0], &lines);
    if (status == 0) {
        flow(buf_str(&lines), &value);
        bool ok = conf_edit_text_add(buf_str(&f.text), "networks", argv[0], buf_cstr(&value), &text,
                                     &err);
        status = ok ? conf_file_change(&f, buf_str(&text)) : EX_DATAERR;
        if (!ok)
            fprintf(stderr, "waypost: %s; nothing was changed\n", err.text);
    }
    buf_free(&lines);
    buf_free(&value);
    buf_free(&text);
    conf_file_close(&f);
    return status;
}

int cmd_network_learn_here(const struct main_options *options, int argc, char **argv)
{
    struct buf lines;
    bool writes = main_flag(&argc, argv, "--write");
    int options_left = 0;
    for (int i = 0; i < argc; i++)
        options_left += strcmp(argv[i], "--json") == 0 || strcmp(argv[i], "--dry-run") == 0;
    if (argc - options_left != 1 || argv[0][0] == '-' || (options_left > 0 && !writes)) {
        fprintf(stderr, "usage: waypost network learn NAME [--write [--dry-run] [--json]]\n");
        return EX_USAGE;
    }
    if (writes)
        return write_it(options, argc, argv);
    buf_init(&lines, MAIN_JSON_BYTES);
    int status = ask(options, argv[0], &lines);
    if (status == 0)
        printf("networks:\n%s# into the configuration: waypost network learn %s --write\n",
               buf_cstr(&lines), argv[0]);
    buf_free(&lines);
    return status;
}
