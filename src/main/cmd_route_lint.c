// SPDX-License-Identifier: ISC
// route lint: what can never happen, found in the file itself.
#include "base/buf.h"
#include "main/command.h"
#include "route/table.h"

#include <stdio.h>
#include <sysexits.h>

int cmd_route_lint(const struct main_options *options, int argc, char **argv)
{
    struct buf out;
    bool json = main_flag(&argc, argv, "--json");
    if (argc > 1 || (argc == 1 && argv[0][0] == '-')) {
        fprintf(stderr, "usage: waypost route lint [FILE] [--json]\n");
        return EX_USAGE;
    }
    const struct main_options named = {.config = argc == 1 ? argv[0] : options->config};
    struct conf *conf = main_find_conf(&named);
    size_t found;
    if (conf == NULL)
        return EX_CONFIG;
    if (json) {
        struct json j = main_json(&out);
        json_text(&j, "file", named.config);
        found = route_lint_json(conf, &j);
        main_json_print(&j);
    } else {
        buf_init(&out, MAIN_JSON_BYTES);
        found = route_lint(conf, &out);
        fputs(found > 0 ? buf_cstr(&out) : "nothing to complain of\n", stdout);
        buf_free(&out);
    }
    conf_unref(&conf);
    return found > 0 ? 1 : 0;
}
