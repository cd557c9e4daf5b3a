// SPDX-License-Identifier: ISC
// SOCKS 5. Messages are taken whole:
//
//   METHODS   05 method                         00 none, 02 name and password, ff none of ours
//   LOGIN     01 status                         00 welcome
//   CONNECT   05 reply 00 type address port     type 01: 4 octets, 03: length and name, 04: 16
#include "proto/socks.h"

#include <assert.h>

enum { VERSION = 5, LOGIN_VERSION = 1, COMMAND_CONNECT = 1 };
enum { METHOD_NONE = 0, METHOD_LOGIN = 2 };
enum { TYPE_IPV4 = 1, TYPE_NAME = 3, TYPE_IPV6 = 4 };

static void fail(struct socks *s, enum socks_fault fault)
{
    s->state = SOCKS_FAILED;
    s->fault = fault;
}

static bool fits(const char *text)
{
    return text == NULL || strlen(text) <= SOCKS_TEXT;
}

// A length in one octet, then the text.
static void put_text(struct buf *out, const char *text)
{
    size_t len = text != NULL ? strlen(text) : 0;
    buf_put_u8(out, (uint8_t)len);
    buf_append(out, text, len);
}

static void ask_login(struct socks *s, struct buf *out)
{
    buf_put_u8(out, LOGIN_VERSION);
    put_text(out, s->settings->user);
    put_text(out, s->settings->password);
    s->state = SOCKS_LOGIN;
}

static void ask_connect(struct socks *s, struct buf *out)
{
    const char *host = s->settings->host;
    struct net_addr addr;
    buf_append(out, (const uint8_t[]){VERSION, COMMAND_CONNECT, 0}, 3);
    if (!net_addr_parse_ip(str_of(host), &addr)) {
        buf_put_u8(out, TYPE_NAME);
        put_text(out, host);
    } else {
        bool six = addr.family == NET_IPV6;
        buf_put_u8(out, six ? TYPE_IPV6 : TYPE_IPV4);
        buf_append(out, addr.bytes, six ? 16 : 4);
    }
    buf_put_u8(out, (uint8_t)(s->settings->port >> 8));
    buf_put_u8(out, (uint8_t)(s->settings->port & 0xff));
    s->state = SOCKS_CONNECT;
}

void socks_begin(struct socks *s, const struct socks_settings *settings, struct buf *out)
{
    *s = (struct socks){.state = SOCKS_METHODS, .settings = settings};
    assert(out->max - out->len >= SOCKS_OUT);
    if (!fits(settings->user) || !fits(settings->password)) {
        fail(s, SOCKS_LOGIN_FAULT);
    } else if (!fits(settings->host) || settings->host[0] == '\0') {
        fail(s, SOCKS_UNREACHED);
    } else if (settings->user == NULL) {
        buf_append(out, (const uint8_t[]){VERSION, 1, METHOD_NONE}, 3);
    } else {
        buf_append(out, (const uint8_t[]){VERSION, 2, METHOD_NONE, METHOD_LOGIN}, 4);
    }
}

static size_t take_method(struct socks *s, const uint8_t *in, size_t len, struct buf *out)
{
    if (in[0] != VERSION)
        fail(s, SOCKS_STRANGE);
    if (s->state == SOCKS_FAILED || len < 2)
        return 0;
    if (in[1] == METHOD_NONE)
        ask_connect(s, out);
    else if (in[1] == METHOD_LOGIN && s->settings->user != NULL)
        ask_login(s, out);
    else
        fail(s, SOCKS_LOGIN_FAULT);
    return 2;
}

static size_t take_login(struct socks *s, const uint8_t *in, size_t len, struct buf *out)
{
    if (len < 2)
        return 0;
    // Some proxies answer with the version of SOCKS here; what counts is the status.
    if (in[1] == 0)
        ask_connect(s, out);
    else
        fail(s, SOCKS_LOGIN_FAULT);
    return 2;
}

// The length of a reply, 0: not to be seen yet, SIZE_MAX: of no known type.
static size_t reply_length(const uint8_t *in, size_t len)
{
    enum { HEAD = 4, PORT = 2 };
    if (len <= HEAD)
        return 0;
    switch (in[3]) {
    case TYPE_IPV4: return HEAD + 4 + PORT;
    case TYPE_IPV6: return HEAD + 16 + PORT;
    case TYPE_NAME: return HEAD + 1 + (size_t)in[4] + PORT;
    default: return SIZE_MAX;
    }
}

static size_t take_reply(struct socks *s, const uint8_t *in, size_t len)
{
    enum { FORBIDDEN = 2 };
    if (in[0] != VERSION) {
        fail(s, SOCKS_STRANGE);
        return 0;
    }
    // A refusal need not be whole: some proxies close right behind the code.
    if (len >= 2 && in[1] != 0) {
        s->reply = in[1];
        fail(s, in[1] == FORBIDDEN ? SOCKS_FORBIDDEN : SOCKS_UNREACHED);
        return 0;
    }
    size_t whole = reply_length(in, len);
    if (whole == SIZE_MAX)
        fail(s, SOCKS_STRANGE);
    if (whole == 0 || whole > len)
        return 0;
    s->state = SOCKS_OPEN;
    return whole;
}

size_t socks_take(struct socks *s, struct str in, struct buf *out)
{
    size_t taken = 0, n = 1;
    while (n > 0 && taken < in.len) {
        const uint8_t *at = (const uint8_t *)in.ptr + taken;
        switch (s->state) {
        case SOCKS_METHODS: n = take_method(s, at, in.len - taken, out); break;
        case SOCKS_LOGIN: n = take_login(s, at, in.len - taken, out); break;
        case SOCKS_CONNECT: n = take_reply(s, at, in.len - taken); break;
        case SOCKS_OPEN:
        case SOCKS_FAILED: n = 0; break;
        }
        taken += n;
    }
    return taken;
}

const char *socks_why(const struct socks *s)
{
    static const char *const replies[] = {
        [1] = "failed", // "general SOCKS server failure"
        [2] = "does not allow it",
        [3] = "finds its network unreachable",
        [4] = "finds it unreachable",
        [5] = "was refused by it",
        [6] = "got no answer from it",
        [7] = "does not know the command CONNECT",
        [8] = "does not know this type of address",
    };
    switch (s->fault) {
    case SOCKS_STRANGE: return "does not speak SOCKS 5";
    case SOCKS_LOGIN_FAULT:
        return s->settings->user == NULL ? "wants a user and a password"
                                         : "refuses the user or the password";
    case SOCKS_FORBIDDEN:
    case SOCKS_UNREACHED:
        return s->reply < sizeof(replies) / sizeof(replies[0]) && replies[s->reply] != NULL
                   ? replies[s->reply]
                   : "cannot connect to it";
    case SOCKS_SOUND: break;
    }
    return "";
}
