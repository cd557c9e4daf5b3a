// SPDX-License-Identifier: ISC
// Asking servers without a daemon.
#include "main/probing.h"

bool probing_open(struct probing *p, const struct conf *conf, int64_t names_ms, struct err *err)
{
    struct names_settings names = {.servers = conf->dns_servers,
                                   .anchor_file = conf->dns_anchor,
                                   .hosts_file = conf->hosts_file,
                                   .timeout_ms = (int)names_ms};
    p->loop = loop_new("probe");
    p->names = names_new(p->loop, &names, err);
    if (p->names == NULL) {
        loop_free(&p->loop);
        return false;
    }
    p->deliver = deliver_new(p->loop, p->names);
    return true;
}

void probing_close(struct probing *p)
{
    deliver_free(&p->deliver);
    names_free(&p->names);
    loop_free(&p->loop);
}
