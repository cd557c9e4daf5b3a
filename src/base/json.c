// SPDX-License-Identifier: ISC
// Writing JSON.
#include "base/json.h"
#include "base/utf8.h"

static void quoted(struct buf *out, struct str s)
{
    static const char hex[] = "0123456789abcdef";
    buf_putc(out, '"');
    while (s.len > 0) {
        unsigned char c = (unsigned char)s.ptr[0];
        size_t n = utf8_len(s);
        if (n == 0) {
            buf_puts(out, "\\ufffd");
            n = 1;
        } else if (c == '"' || c == '\\') {
            buf_putc(out, '\\');
            buf_putc(out, (char)c);
        } else if (c < 0x20 || c == 0x7f) {
            buf_puts(out, "\\u00");
            buf_putc(out, hex[c >> 4]);
            buf_putc(out, hex[c & 15]);
        } else if (n == 2 && c == 0xc2 && (unsigned char)s.ptr[1] < 0xa0) {
            // C1: some terminals obey these as they obey ESC.
            buf_puts(out, "\\u00");
            buf_putc(out, hex[(unsigned char)s.ptr[1] >> 4]);
            buf_putc(out, hex[s.ptr[1] & 15]);
        } else {
            buf_append(out, s.ptr, n);
        }
        s.ptr += n;
        s.len -= n;
    }
    buf_putc(out, '"');
}

static void before(struct json *j, const char *key)
{
    if (j->comma)
        buf_putc(j->out, ',');
    j->comma = true;
    if (key != NULL) {
        quoted(j->out, str_of(key));
        buf_putc(j->out, ':');
    }
}

struct json json_answer(struct buf *out)
{
    struct json j = json_to(out);
    json_open(&j, NULL);
    json_int(&j, "schema", 1);
    return j;
}

void json_open(struct json *j, const char *key)
{
    before(j, key);
    buf_putc(j->out, '{');
    j->comma = false;
}

void json_open_array(struct json *j, const char *key)
{
    before(j, key);
    buf_putc(j->out, '[');
    j->comma = false;
}

void json_close(struct json *j)
{
    buf_putc(j->out, '}');
    j->comma = true;
}

void json_close_array(struct json *j)
{
    buf_putc(j->out, ']');
    j->comma = true;
}

void json_str(struct json *j, const char *key, struct str value)
{
    before(j, key);
    quoted(j->out, value);
}

void json_text(struct json *j, const char *key, const char *value)
{
    if (value == NULL)
        json_null(j, key);
    else
        json_str(j, key, str_of(value));
}

void json_int(struct json *j, const char *key, int64_t value)
{
    before(j, key);
    buf_printf(j->out, "%lld", (long long)value);
}

void json_bool(struct json *j, const char *key, bool value)
{
    before(j, key);
    buf_puts(j->out, value ? "true" : "false");
}

void json_null(struct json *j, const char *key)
{
    before(j, key);
    buf_puts(j->out, "null");
}
