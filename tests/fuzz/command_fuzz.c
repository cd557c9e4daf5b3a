// SPDX-License-Identifier: ISC
// The server machine on any bytes: the same replies and the same messages whatever the pieces, with
// answers at once and later.
#include "smtp_server_owner.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 4)
        return 0;
    // What stands behind STARTTLS in the same piece closes, so pieces matter there.
    bool tls = (data[0] & 8) != 0;
    struct smtp_server_settings set = {.hostname = "h",
                                       .message_size = 5000,
                                       .recipients = 4,
                                       .lmtp = (data[0] & 1) != 0,
                                       .auth_offered = (data[0] & 2) != 0,
                                       .auth_required = (data[0] & 4) != 0,
                                       .auth_in_clear = true,
                                       .tls_offered = tls,
                                       .tls_required = (data[0] & 16) != 0};
    struct str sizes = str_make((const char *)data + 1, 3);
    struct str in = str_make((const char *)data + 4, size - 4);
    struct owner whole, pieces;
    owner_open(&whole, &set, false);
    owner_open(&pieces, &set, true);
    owner_feed(&whole, in, STR(""));
    owner_feed(&pieces, in, sizes);
    if (!tls) {
        assert(str_eq(buf_str(&whole.out), buf_str(&pieces.out)));
        assert(whole.sum == pieces.sum);
    }
    owner_close(&whole);
    owner_close(&pieces);
    return 0;
}
