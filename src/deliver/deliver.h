// SPDX-License-Identifier: ISC
// Outgoing SMTP and LMTP: one transaction a job, over pooled connections. Knows neither files nor
// policy: it is told what to send through which gateway, and says what came of it, recipient by
// recipient.
//
// One `deliver` a session loop. deliver_submit may be called from any thread; everything else on
// the loop.
#pragma once

#include "conf/conf.h"
#include "mail/body.h"
#include "mail/envelope.h"
#include "proto/smtp_reply.h"
#include "sys/loop.h"
#include "sys/names.h"

struct deliver;
struct deliver *deliver_new(struct loop *loop, struct names *names);
void deliver_free(
    struct deliver **d); // closes all connections; jobs under way end as OUTCOME_LOCAL first
void deliver_close_idle(
    struct deliver *d); // any thread: a reload or network change makes pooled connections stale
// Any thread: this machine's addresses have changed. Kept connections are closed; transactions that
// came from an address which is gone, and connections being made, end as NET at once instead of
// after the patience for a step.
void deliver_moved(struct deliver *d);

// Connections are counted by way: the gateway, and for direct delivery the domain. `name`:
// "GATEWAY\0DOMAIN", in small letters behind the NUL, which stands there for gateways, too. `open`:
// those in use (each job counts as one), kept ones, and those the server has not closed yet.
//
// All a loop says of them, the jobs' `open` included, reaches another loop in order. What has been
// begun meanwhile is not in it: at no time there are more than the greater of the latest `open` and
// the jobs of that way under way.
struct deliver_report {
    struct post post; // internal; first
    struct deliver *deliver;
    void *ctx;
    void (*run)(const struct deliver_report *r);
    size_t open;
    bool ordered; // the answer to one deliver_close_one
    struct str name;
};
// `run` gets on `home` what no job tells: kept connections ended. Before the loop starts.
void deliver_watch(struct deliver *d, struct loop *home,
                   void (*run)(const struct deliver_report *r), void *ctx);
size_t deliver_open(struct deliver *d, const char *gateway, const char *domain);
// Any thread: the kept connection of that way which was idle for the longest is closed. Always
// answered by a report, when that is done or nothing is to be done.
void deliver_close_one(struct deliver *d, struct str name);

struct deliver_rcpt {
    struct envelope_rcpt rcpt; // borrowed until done
    struct outcome outcome;    // out: what came of it
};

struct deliver_job {
    struct post post; // internal; first
    struct deliver *deliver;
    struct loop *home; // `done` runs there
    void (*done)(struct deliver_job *job);
    void *ctx;

    // In. All borrowed until done, except conf (a reference of the job's owner).
    struct conf *conf;
    const struct conf_gateway *gateway;
    const char *domain; // the recipients' domain, for direct delivery (all share it); else ""
    uint64_t id;
    const struct envelope *envelope; // sender, body type, DSN parameters
    struct deliver_rcpt *rcpts;
    size_t count;
    // Called on the session loop when the dialogue is ready for it; NULL with text in err means
    // OUTCOME_LOCAL.
    struct body_source *(*open_body)(struct deliver_job *job, struct loop *loop, struct err *err);
    int64_t started_ms, finished_ms; // out, loop_now_ms
    bool reused;                     // out: over a kept connection
    bool dsn_passed; // out: the next hop took over the DSN parameters (RFC 3461), success notices
                     // are its task
    size_t open;     // out: connections of its way this loop has now (deliver_watch)
    uint64_t server_size; // out: the largest message the next hop takes (RFC 1870), 0: not said
    char facts[160];      // out: "192.0.2.1:587 TLSv1.3 ... verified, login, 3 rcpt, 210 ms"
    struct buf
        transcript; // out: the dialogue ("<- 220 ...", "-> EHLO ..."), secrets masked, max 16 KiB
    bool want_transcript; // kept anyway when the outcome is not OK
    // A live job: its client waits for the verdict on each recipient (see below). `rcpts` has room
    // for so many then; 0: not live. `said`: the latest verdict of the server, whole.
    size_t room;
    uint64_t announced; // octets, 0: nothing was said of them
    void (*held)(struct deliver_job *job);
    struct smtp_said said;
    // Internal to deliver.
    struct deliver_job *next;
    void *session;
    int64_t submitted_us; // monotonic
};
void deliver_submit(struct deliver *d, struct deliver_job *job);

// Live jobs, on the loop of the deliver, which is their home. Whenever all recipients have been
// asked and one of them is taken, `held` runs: the next recipient may follow, or the body, from
// inside that call or later. The outcome of a recipient that is taken so far is OK with phase RCPT.
// `held` can come again without a question, after a connection was lost
// and made anew elsewhere: then all recipients were asked again. `done` ends it as always: at once
// when nobody was taken.
void deliver_begin(struct deliver *d, struct deliver_job *job);
// Whether it holds now: not while the connection is being made anew elsewhere, nor when it has
// ended and `done` is on its way. The next two only while it does.
bool deliver_holds(const struct deliver_job *job);
// rcpts[count] has been filled in. False: the server takes no more recipients in one transaction.
bool deliver_more(struct deliver_job *job);
void deliver_content(struct deliver_job *job); // open_body is called, perhaps more than once
// Ends it in any state: what is open is LOCAL, or DOUBT. `done` comes, never from inside.
void deliver_cancel(struct deliver_job *job, const char *why);
