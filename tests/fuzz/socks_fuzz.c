// SPDX-License-Identifier: ISC
// A proxy that says anything: the dialogue ends the same however it is cut, and never takes what is
// the peer's.
#include "base/mem.h"
#include "proto/socks.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void talk(struct socks *s, const struct socks_settings *settings, struct str in, size_t step,
                 size_t *taken_out, struct buf *said)
{
    size_t taken = 0, end = 0;
    buf_init(said, SOCKS_OUT);
    socks_begin(s, settings, said);
    while (end < in.len) {
        end = end + step < in.len ? end + step : in.len;
        // In memory of just this size, so that a byte too far is noticed.
        size_t len = end - taken;
        char *piece = xmalloc(len + 1);
        memcpy(piece, in.ptr + taken, len);
        size_t n = socks_take(s, str_make(piece, len), said);
        xfree(piece);
        assert(n <= len);
        taken += n;
    }
    *taken_out = taken;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    struct socks_settings settings = {.host = "mx.example", .port = 25};
    if (data[0] & 1) {
        settings.user = "me";
        settings.password = "";
    }
    struct str in = str_make((const char *)data + 1, size - 1);
    struct socks once, cut;
    size_t once_taken, cut_taken;
    struct buf once_said, cut_said;
    talk(&once, &settings, in, size, &once_taken, &once_said);
    talk(&cut, &settings, in, 1, &cut_taken, &cut_said);
    assert(once.state == cut.state && once.fault == cut.fault && once.reply == cut.reply);
    assert(once_taken == cut_taken && str_eq(buf_str(&once_said), buf_str(&cut_said)));
    assert(!once_said.full && (once.state == SOCKS_FAILED) == (once.fault != SOCKS_SOUND));
    assert((socks_why(&once)[0] != '\0') == (once.state == SOCKS_FAILED));
    buf_free(&once_said);
    buf_free(&cut_said);
    return 0;
}
