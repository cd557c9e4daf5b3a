// SPDX-License-Identifier: ISC
// What `waypost help COMMAND` says besides usage and sentence.
#pragma once

struct help_text {
    const char *words;
    const char *examples; // whole lines
    const char *options;  // whole lines, one an option; NULL: none worth a word
};
// NULL: there is none.
const struct help_text *help_text_find(const char *words);
