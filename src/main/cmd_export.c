// SPDX-License-Identifier: ISC
// queue export: waiting messages as files. The daemon gives the content, the files belong to who
// asks.
#include "base/base64.h"
#include "control/control.h"
#include "main/command.h"
#include "sys/file.h"

#include <stdio.h>
#include <sysexits.h>

struct export
{
    char socket[256];
    const char *dir;
    bool json;
    struct json *out;
    size_t count;
};

static int ask(const struct export *x, int argc, const char *const *argv, struct buf *answer)
{
    struct err err = {0};
    int status = control_ask(x->socket, argc, argv, answer, &err);
    if (status >= 0)
        return status;
    fprintf(stderr,
            "waypost: no daemon answers at %s: %s\n  it is the daemon that has the mail; start it "
            "with `waypost serve`\n",
            x->socket, err.text);
    return EX_UNAVAILABLE;
}

static bool write_lines(struct file *file, struct str lines, struct err *err)
{
    struct buf bytes;
    struct str line;
    uint64_t offset = 0;
    bool ok = true;
    buf_init(&bytes, LIMIT_CONTROL_LINE);
    while (ok && str_split(&lines, '\n', &line)) {
        buf_clear(&bytes);
        if (!base64_decode(&bytes, line)) {
            err_set(err, "the answer of the daemon is damaged");
            ok = false;
            break;
        }
        struct file_piece piece = {bytes.data, bytes.len};
        ok = file_write(file, offset, &piece, 1, err);
        offset += bytes.len;
    }
    buf_free(&bytes);
    return ok;
}

static int export_one(struct export *x, const char *id)
{
    struct buf lines;
    struct err err = {0};
    char path[1024];
    const char *const argv[] = {"queue", "content", id};
    buf_init(&lines, SIZE_MAX / 2);
    int status = ask(x, 3, argv, &lines);
    if (status != 0) {
        buf_free(&lines);
        return status;
    }
    snprintf(path, sizeof(path), "%s/%s.eml", x->dir, id);
    struct file *file = file_open(path, FILE_CREATE_NEW, &err);
    bool ok = file != NULL && write_lines(file, buf_str(&lines), &err);
    if (file != NULL && !ok) {
        struct err ignored;
        path_remove(path, &ignored);
    }
    file_close(&file);
    buf_free(&lines);
    if (!ok) {
        fprintf(stderr, "waypost: %s\n", err.text);
        return EX_CANTCREAT;
    }
    x->count++;
    if (x->json)
        json_text(x->out, NULL, path);
    else
        printf("%s\n", path);
    return 0;
}

// The ids of `queue list --json`, an object a line that begins with them.
static int export_all(struct export *x, const char *folder)
{
    static const struct str head = {"{\"schema\":1,\"id\":\"", 18};
    const char *argv[] = {"queue", "list", "--json", "--folder", folder};
    struct buf list;
    struct str rest, line;
    char id[ID_TEXT_SIZE];
    buf_init(&list, SIZE_MAX / 2);
    int status = ask(x, folder != NULL ? 5 : 3, argv, &list);
    rest = buf_str(&list);
    while (status == 0 && str_split(&rest, '\n', &line)) {
        if (!str_starts(line, head))
            continue;
        line = str_make(line.ptr + head.len, line.len - head.len);
        snprintf(id, sizeof(id), "%.*s", (int)str_find(line, '"'), line.ptr);
        status = export_one(x, id);
        if (status == EX_DATAERR)
            status = 0; // it left meanwhile
    }
    buf_free(&list);
    return status;
}

static int usage(void)
{
    fprintf(stderr,
            "usage: waypost queue export ID... | --all [--folder outbox|held|bad] [--to DIR] "
            "[--json]\n");
    return EX_USAGE;
}

int cmd_queue_export(const struct main_options *options, int argc, char **argv)
{
    struct buf text;
    struct err err = {0};
    bool all = main_flag(&argc, argv, "--all");
    struct export x = {.dir = main_option(&argc, argv, "--to"),
                       .json = main_flag(&argc, argv, "--json")};
    const char *folder = main_option(&argc, argv, "--folder");
    for (int i = 0; i < argc; i++) {
        uint64_t id;
        if (!id_parse(str_of(argv[i]), &id))
            return usage();
    }
    if (all != (argc == 0) || (folder != NULL && !all))
        return usage();
    if (x.dir == NULL)
        x.dir = ".";
    else if (!path_exists(x.dir) && !dir_make(x.dir, 0700, &err)) {
        fprintf(stderr, "waypost: %s\n", err.text);
        return EX_CANTCREAT;
    }
    struct conf *conf = main_places(options, NULL);
    snprintf(x.socket, sizeof(x.socket), "%s/control.sock", conf->run_dir);
    conf_unref(&conf);
    struct json j = main_json(&text);
    x.out = &j;
    json_open_array(&j, "files");
    int status = all ? export_all(&x, folder) : 0;
    for (int i = 0; i < argc; i++) {
        int one = export_one(&x, argv[i]);
        status = one != 0 ? one : status;
    }
    json_close_array(&j);
    if (x.json)
        main_json_print(&j);
    else if (all && x.count == 0 && status == 0)
        printf("nothing waits%s\n", folder != NULL ? " there" : "");
    if (!x.json)
        buf_free(&text);
    return status;
}
