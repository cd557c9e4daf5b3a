// SPDX-License-Identifier: ISC
// Every ceiling of the program, in one place. Sizes are bytes, times milliseconds, unless the name
// says otherwise. Values that a configuration may lower or raise are only defaults here; the conf
// schema names its bounds.
#pragma once

enum {
    // SMTP in (RFC 5321 section 4.5.3.1 gives the least that must be taken)
    LIMIT_COMMAND_LINE = 2048, // one command line with CRLF; longer is 500 5.5.2
    LIMIT_AUTH_LINE = 12288,   // one AUTH response line (RFC 4954 section 4.5)
    LIMIT_PATH = 1024,         // one address; RFC 5321 asks for 256
    LIMIT_LOCAL_PART = 256,    // RFC 5321 asks for 64; real ones (VERP) are longer
    LIMIT_DOMAIN = 255,
    LIMIT_LABEL = 63,
    LIMIT_RECIPIENTS = 1000,                      // a transaction (default of `recipients`)
    LIMIT_MESSAGE = 50 * 1024 * 1024 + 64 * 1024, // default of `message_size`
    LIMIT_BODY_LINE = 32 * 1024 * 1024,           // one line of a body without CRLF, kept as it is
    LIMIT_HEADER = 1024 * 1024,                   // the header section; larger is 552
    LIMIT_HOPS = 100,                             // Received fields; more is a loop (5.4.6)
    LIMIT_OWN_HOPS = 10,                          // of them our own; as many are a loop
    LIMIT_SESSION_ERRORS = 20,                    // bad commands before 421
    LIMIT_SESSION_MESSAGES = 100000,              // transactions a connection
    LIMIT_SESSIONS = 4000,                        // inbound connections, all listeners
    LIMIT_SESSIONS_PER_CLIENT = 200,              // by IP address; loopback is free of it
    LIMIT_REPLY_QUEUE = 256 * 1024,  // replies a client has not read before we stop reading it
    LIMIT_COMMAND_MS = 300 * 1000,   // waiting for a command
    LIMIT_DATA_MS = 600 * 1000,      // without progress in a body
    LIMIT_FRUITLESS_MS = 600 * 1000, // of a session in which no mail moves on
    LIMIT_SESSION_MS = 24 * 3600 * 1000,
    LIMIT_GUESS_MS = 300, // `tls: auto`: for the first byte, before the banner is said
    LIMIT_LISTEN_BACKLOG = 1024,
#define LIMIT_SEND_LATER_MS (365 * 24 * 3600 * 1000LL) // ahead, on the socket for local programs

    // SMTP out
    LIMIT_REPLY_LINE = 4096, // RFC 5321 says 512; real servers are longer
    LIMIT_REPLY_LINES = 128,
    LIMIT_REPLY_BYTES = 16 * 1024, // a whole multi-line reply; the rest is cut
    LIMIT_EHLO_BYTES = 64 * 1024,
    LIMIT_RECIPIENTS_OUT = 100, // RCPT in one outgoing transaction
    LIMIT_MX = 20,              // MX hosts looked at
    LIMIT_ADDRESSES = 8,        // addresses tried for one delivery
    LIMIT_CONNECT_MS = 30 * 1000,
    LIMIT_GREETING_MS = 60 * 1000, // RFC 5321 section 4.5.3.2 says 5 minutes; see docs/decisions
    LIMIT_MAIL_MS = 300 * 1000,
    LIMIT_DATA_OUT_MS = 180 * 1000, // a block of the body without progress
    LIMIT_FINAL_MS = 600 * 1000,    // from the final dot to the reply
    LIMIT_TRANSACTION_MS = 3600 * 1000,
    LIMIT_SLOWEST_OUT = 2,      // bytes a millisecond: what a body has beyond that, a modem's pace
    LIMIT_PROBE_MS = 60 * 1000, // of a gateway, without mail
    LIMIT_IDLE_CONNECTION_MS = 10 * 1000,
    LIMIT_PARTING_MS = 1000,           // for a server to close its end after QUIT
    LIMIT_OUT_PER_CONNECTION = 100000, // messages over one connection; a gateway may lower it

    LIMIT_STOP_MS = 10 * 1000, // transactions under way at an orderly end

    // Spool
    LIMIT_BODY_INLINE = 256 * 1024, // larger bodies are streamed to a file of their own
    LIMIT_BODY_MEMORY =
        32 * 1024 * 1024,    // all bodies held in memory; beyond that they go to files at once
    LIMIT_SPARE_BODIES = 16, // files of bodies kept to be written over
    LIMIT_SPARE_BYTES = 512 * 1024 * 1024, // all of them
    LIMIT_SEGMENT = 64 * 1024 * 1024,
    LIMIT_GROUP_BYTES = 8 * 1024 * 1024, // written and synced as one group
    LIMIT_GROUP_RECORDS = 4096,

    LIMIT_ARCHIVE_WAITING = 1000,           // copies to be written; what comes then has none
    LIMIT_ARCHIVE_FREE = 256 * 1024 * 1024, // left on the disk of the copies
    LIMIT_BIN_BYTES = 512 * 1024 * 1024,    // of removed mail that can be brought back; and so many
    LIMIT_BIN_MESSAGES = 10000,             // messages; beyond that the oldest go for good

    // Queue
    LIMIT_WAITING_RECIPIENTS = 4 * 1000 * 1000,
    LIMIT_OUT_CONNECTIONS = 500,    // all gateways together
    LIMIT_OUT_PER_DESTINATION = 20, // default for one destination of direct delivery
    LIMIT_OUT_PER_GATEWAY = 50,     // default of a gateway's `connections`
    LIMIT_OUT_PROGRAMS = 4,         // the same of a program: runs at once
    LIMIT_PROGRAM_MS = 300 * 1000,  // a run of it
    LIMIT_PROGRAM_OUTPUT = 4096,    // of it kept; the rest is read and dropped
    LIMIT_DIAL_MS = 120 * 1000,     // a command that dials or hangs up
    LIMIT_TROUBLES = 8192,          // different refusals kept in full beside what waits
    LIMIT_NOTICES_AT_ONCE = 100,    // reports to senders, of one kind; then
    LIMIT_NOTICES_PER_MINUTE = 120, // the rest waits its turn

    LIMIT_KEPT_HEADER = 512, // of a header field kept for the rules
    LIMIT_KEPT_HEADERS = 16, // different fields that rules may ask for
    LIMIT_PROVIDERS = 65536, // mail exchangers of domains remembered for rules and detours
    LIMIT_DETOURS = 1024,
    LIMIT_GATEWAYS =
        1000, // of a configuration; each decision looks at all that may come into question
    LIMIT_REPLAN_MS = 10, // a slice of planning everything anew, on the conductor

    // Mail that passes through. Clients wait 5 minutes for a recipient and 10 for the end
    // (RFC 5321 section 4.5.3.2).
    LIMIT_PASS_WAIT_MS = 30 * 1000,   // for room at a gateway
    LIMIT_PASS_WAY_MS = 60 * 1000,    // for one gateway's word on a recipient; then the next way
    LIMIT_PASS_RCPT_MS = 240 * 1000,  // for all of them
    LIMIT_PASS_FINAL_MS = 540 * 1000, // from the client's final dot to the last word

    // Where the machine is
    LIMIT_LINKS = 1024,
    LIMIT_OWN_ADDRESSES = 4096,
    LIMIT_ROUTES_READ = 4096,
    LIMIT_CONNECTIONS_READ = 64, // of NetworkManager
    LIMIT_STATE_BYTES = 1024 * 1024,

    // The process
    LIMIT_THREAD_STACK = 1024 * 1024,

    // What is kept and said
    LIMIT_OUTCOME_TEXT = 512,   // a remote reply as kept in a record
    LIMIT_DSN_BODY = 50 * 1024, // the returned part of the original
    LIMIT_LOG_LINE = 2048,
    LIMIT_CONTROL_LINE = 64 * 1024,           // a request on the control socket
    LIMIT_CONTROL_REQUEST = 13 * 1024 * 1024, // of root and the daemon's user: may hold a whole
                                              // configuration, encoded
    LIMIT_CONTROL_REQUEST_MS = 5 * 1000,      // for the request to be whole
    LIMIT_CONTROL_STALL_MS = 600 * 1000,      // for an answer to be read
    LIMIT_CONTROL_QUEUE = 256 * 1024,         // of an answer not read yet before it goes on
    LIMIT_CONTROL_OPERATORS = 200,            // connections of root and the daemon's user
    LIMIT_CONTROL_USERS = 64,                 // of all other users
    LIMIT_CONTROL_PER_USER = 8,               // of one of these
    LIMIT_CONTROL_LOG = 1000,                 // messages of one answer to one of these
    LIMIT_CONTROL_ANSWER = 64 * 1024 * 1024,  // a line of an answer: one JSON value
    LIMIT_CONFIG_FILE = 4 * 1024 * 1024,

    // Reading other programs' files
    LIMIT_IMPORT_FILE = 8 * 1024 * 1024,
    LIMIT_IMPORT_BYTES = 64 * 1024 * 1024, // all files together
    LIMIT_IMPORT_FILES = 2000,
    LIMIT_IMPORT_DEPTH = 10,  // files that name files
    LIMIT_IMPORT_FOUND = 300, // servers
    LIMIT_IMPORT_ROUTES = 1000,
    LIMIT_IMPORT_TEXTS = 64, // senders of a server; remarks on it
    LIMIT_IMPORT_NOTES = 200,
};
