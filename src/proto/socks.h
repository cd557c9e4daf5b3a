// SPDX-License-Identifier: ISC
// The client's side of SOCKS version 5 (RFC 1928) up to the connection that it asks for, with the
// name and password of RFC 1929. Pure: bytes in, bytes out.
#pragma once

#include "base/buf.h"
#include "base/netaddr.h"

enum socks_state {
    SOCKS_METHODS, // the proxy is to choose how we prove who we are
    SOCKS_LOGIN,
    SOCKS_CONNECT, // it is to connect
    SOCKS_OPEN,    // what follows is the peer's
    SOCKS_FAILED,
};
enum socks_fault {
    SOCKS_SOUND,
    SOCKS_STRANGE,     // what answers is no SOCKS 5 proxy
    SOCKS_LOGIN_FAULT, // it wants a login we have not, or refuses ours
    SOCKS_FORBIDDEN,   // its rules do not allow this connection
    SOCKS_UNREACHED,   // it could not connect
};

enum { SOCKS_TEXT = 255, SOCKS_OUT = 1024 }; // longest name; room for all that is said at once

// Borrowed until OPEN or FAILED.
struct socks_settings {
    const char *host; // given to the proxy as it is, to be looked up there; an IP address as such
    uint16_t port;
    const char *user, *password; // NULL: none
};

struct socks {
    enum socks_state state;
    enum socks_fault fault;
    uint8_t reply; // the code of RFC 1928 section 6, 0: none
    const struct socks_settings *settings;
};

// Names too long for the protocol fail at once. `out` gets what is to be sent; its maximum is at
// least SOCKS_OUT.
void socks_begin(struct socks *s, const struct socks_settings *settings, struct buf *out);

// Takes from the front of `in` and returns how many bytes; those left are to come again with more
// behind them, or, once OPEN, are the peer's.
size_t socks_take(struct socks *s, struct str in, struct buf *out);

// FAILED: what happened, as the end of a sentence about the proxy: "does not allow it".
const char *socks_why(const struct socks *s);
