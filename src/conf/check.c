// SPDX-License-Identifier: ISC
// What is wrong only when several keys are seen together.
#include "conf/reader.h"

void check_all(struct reader *r)
{
    const struct conf *conf = r->conf;
    if (r->plain_text != NULL && r->others_may_read)
        reader_warn(r, r->plain_text,
                    "a password stands here and everyone may read this file; run: chmod o= %s",
                    conf->file);
}
