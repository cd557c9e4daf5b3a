// SPDX-License-Identifier: ISC
// What is wrong with a configuration, each thing in a sentence with its place in the file:
//
//   waypost.yaml:7:4: error: `prot` is not a key here; did you mean `port`?
//       7 |   {prot: 25}
//         |    ^~~~
//
// Text that stands where a secret belongs is shown as asterisks.
#pragma once

#include "base/arena.h"
#include "base/buf.h"

enum { CONF_REPORT_MAX = 50 }; // problems kept; further ones are only counted

struct conf_problem {
    bool warning;
    unsigned line, column; // from 1; 0: the file as a whole
    const char *sentence;
    const char *rendered; // the lines above, with a newline at the end
};

struct conf_report {
    // Set by the caller before reading: look at nothing but the text. Secrets stay empty, files and
    // commands it names are not touched.
    bool text_only;
    // Set by the caller too: mistakes are no hindrance, only `run_dir`, `spool_dir` and `hostname`
    // of the result will be used.
    bool places_only;

    struct arena *arena;
    struct conf_problem problems[CONF_REPORT_MAX]; // by their place in the file
    size_t count;
    unsigned errors, warnings; // all of them, kept or not
};

void conf_report_init(struct conf_report *report);
void conf_report_free(struct conf_report *report); // may be used again after it

// All problems rendered, and a last line "1 error, 2 warnings" when there were any.
void conf_report_print(const struct conf_report *report, struct buf *out);

// For the room itself: a text being read, and the pieces of it that nobody may see.
struct conf_span {
    size_t begin, end; // byte offsets
};
struct conf_source {
    const char *name;
    struct str text;
    struct conf_span *secrets;
    size_t secret_count, secret_cap;
    bool broken; // no YAML: secrets may be missing, guess widely
};
struct conf_place {
    unsigned line, column; // from 1
    size_t begin, end;     // byte offsets of what the caret underlines
};
// Is the value of a key of this name a secret? Guesses wide, so that a misspelt `password` is
// covered.
bool conf_key_hides(struct str key);
void conf_source_hide(struct conf_source *source, size_t begin, size_t end);
void conf_report_add(struct conf_report *report, const struct conf_source *source, bool warning,
                     const struct conf_place *place, const char *format, va_list args)
    __attribute__((format(printf, 5, 0)));
