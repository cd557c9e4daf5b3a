// SPDX-License-Identifier: ISC
// What the configuration of a gateway means for a connection.
#include "deliver/way.h"

#include <stdio.h>

void way_target(const struct conf_gateway *g, const struct mx_host *host, const char *domain,
                size_t most, struct dial_target *out)
{
    *out = (struct dial_target){.host = g->host,
                                .port = g->port,
                                .source = g->source,
                                .interface = g->interface,
                                .socks = g->socks,
                                .most = most,
                                .limit_ms = g->timeout_ms,
                                .peer = SCOPE_GATEWAY};
    if (g->kind == GATEWAY_DIRECT) {
        out->host = host->name;
        out->port = g->direct_port;
        // Another port than that of mail is a test: there even this machine may be meant.
        out->strict = g->direct_port == 25;
        out->last_resort = host->implicit;
        out->peer = SCOPE_DESTINATION;
        mx_literal(str_of(domain), &out->direct);
    } else if (g->unix_path != NULL) {
        out->direct.family = NET_UNIX;
        snprintf(out->direct.path, sizeof(out->direct.path), "%s", g->unix_path);
        out->source.family = NET_NONE;
        out->socks = NULL;
    } else {
        out->pinned = g->pinned;
        out->pinned_count = g->pinned_count;
    }
}

void way_params(const struct conf *conf, const struct conf_gateway *g, const struct mx_host *host,
                bool in_clear, struct session_params *out)
{
    bool direct = g->kind == GATEWAY_DIRECT;
    *out = (struct session_params){
        .settings = {.lmtp = g->kind == GATEWAY_LMTP,
                     .tls = in_clear || g->tls == TLS_OFF || g->tls == TLS_IMPLICIT
                                ? SMTP_CLIENT_TLS_OFF
                            : g->tls == TLS_WANTED ? SMTP_CLIENT_TLS_WANTED
                                                   : SMTP_CLIENT_TLS_REQUIRED,
                     .auth_in_clear = g->auth_in_clear,
                     .step_ms = (int)g->timeout_ms,
                     .helo = g->helo != NULL ? g->helo : conf->hostname,
                     .user = g->user,
                     .password = g->password != NULL ? g->password : "",
                     .peer = direct ? SCOPE_DESTINATION : SCOPE_GATEWAY,
                     .relayed = g->kind == GATEWAY_SMTP},
        .implicit_tls = g->tls == TLS_IMPLICIT,
        .host = direct ? host->name : g->host,
        .port = direct ? g->direct_port : g->port,
        .verify = g->verify,
        .ca_file = g->ca_file,
    };
}
