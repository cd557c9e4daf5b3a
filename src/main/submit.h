// SPDX-License-Identifier: ISC
// Handing a message to the daemon of this machine, by SMTP over <run_dir>/submit.sock, where it
// knows us by our uid. Blocks; a loop of its own.
#pragma once

#include "base/base64.h"
#include "base/err.h"
#include "mail/envelope.h"
#include "mail/outcome.h"

enum submit_status {
    SUBMIT_TAKEN,   // on disk, for at least one recipient
    SUBMIT_REFUSED, // for good: what is wrong with the message stands in the outcomes
    SUBMIT_LATER,   // the daemon cannot take it now (disk full), or it was lost on the way
    SUBMIT_DOWN,    // nothing answers there; nothing was sent
};

// `content` is canonical (main/content.h). The outcome of each recipient of the envelope goes to
// outcomes[]; with DOWN there are none and err says why. `id_out` gets the id as text, of the last
// transaction when there were several (more than LIMIT_RECIPIENTS).
enum submit_status submit(const char *run_dir, const char *hostname, const struct envelope *e,
                          struct str content, struct outcome *outcomes, char id_out[ID_TEXT_SIZE],
                          struct err *err);
