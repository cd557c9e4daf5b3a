// SPDX-License-Identifier: ISC
// Looking into the table of keys, and near words.
#include "conf/schema.h"

const struct conf_key *conf_key_find(const char *path)
{
    for (size_t i = 0; i < conf_key_count; i++)
        if (strcmp(conf_keys[i].path, path) == 0)
            return &conf_keys[i];
    return NULL;
}

const char *conf_key_under(const char *path, const char *prefix)
{
    size_t len = strlen(prefix);
    if (strncmp(path, prefix, len) != 0 || path[len] == '\0')
        return NULL;
    return strpbrk(path + len, ".[") == NULL ? path + len : NULL;
}

const char *conf_key_name(const struct conf_key *key)
{
    const char *name = key->path, *at;
    while ((at = strstr(name, "NAME.")) != NULL || (at = strstr(name, "[].")) != NULL)
        name = strchr(at, '.') + 1;
    return name;
}

// Edits (insert, delete, change, swap of neighbours) from one word to another, ignoring case;
// words of up to 31 characters.
static unsigned distance(struct str a, struct str b)
{
    enum { MAX = 31 };
    unsigned rows[3][MAX + 1];
    if (a.len > MAX || b.len > MAX)
        return MAX;
    unsigned *old = rows[0], *last = rows[1], *now = rows[2];
    for (size_t j = 0; j <= b.len; j++)
        last[j] = (unsigned)j;
    for (size_t i = 1; i <= a.len; i++) {
        now[0] = (unsigned)i;
        for (size_t j = 1; j <= b.len; j++) {
            char x = ascii_lower(a.ptr[i - 1]), y = ascii_lower(b.ptr[j - 1]);
            unsigned best = last[j - 1] + (x != y);
            if (last[j] + 1 < best)
                best = last[j] + 1;
            if (now[j - 1] + 1 < best)
                best = now[j - 1] + 1;
            if (i > 1 && j > 1 && x == ascii_lower(b.ptr[j - 2]) &&
                y == ascii_lower(a.ptr[i - 2]) && old[j - 2] + 1 < best)
                best = old[j - 2] + 1;
            now[j] = best;
        }
        unsigned *free_row = old;
        old = last;
        last = now;
        now = free_row;
    }
    return last[b.len];
}

void conf_nearest_offer(struct conf_nearest *n, struct str typed, const char *word)
{
    struct str w = str_of(word);
    unsigned d = distance(typed, w);
    unsigned near = w.len <= 3 ? 1 : w.len <= 7 ? 2 : 3;
    // A piece of the word counts as near: `conn` for `connections`.
    if (d > near && typed.len >= 3 && (str_istarts(w, typed) || str_istarts(typed, w)))
        d = near;
    if (d <= near && d < w.len && (n->word == NULL || d < n->distance))
        *n = (struct conf_nearest){word, d};
}

const char *conf_type_words(const struct conf_key *key)
{
    switch (key->type) {
    case CONF_SECTION: return "a map of the keys below";
    case CONF_NAMED: return "a map of names, each with the keys below";
    case CONF_RECORDS: return "a list of maps with the keys below";
    case CONF_BOOL: return "true or false (also yes, no, on, off)";
    case CONF_INT: return key->words != NULL ? "a word or a whole number" : "a whole number";
    case CONF_ENUM: return "a word";
    case CONF_CLASSED: return "a word, or a map of words by class (urgent, normal, bulk)";
    case CONF_SIZE: return "a size such as 512KiB, 50MiB or 1GiB";
    case CONF_TIME: return "a time such as 90s, 5m, 4h or 5d";
    case CONF_TIMES: return "a list of times such as [1m, 5m, 1h]";
    case CONF_RATE: return "a rate such as 10/s, 30/min, 500/h or 1000/d";
    case CONF_STRING: return "text";
    case CONF_HOST: return "a host name or an address in brackets";
    case CONF_MAILBOX: return "a mail address such as admin@example.org";
    case CONF_PATH: return "a file path";
    case CONF_IP: return "an IP address";
    case CONF_ADDRESSES: return "a list of addresses such as [\"127.0.0.1:25\", \"[::1]:25\"]";
    case CONF_RANGES:
        return "a list of addresses, networks or ranges such as [10.0.0.0/8, "
               "192.168.1.40-192.168.1.47]";
    case CONF_WORDS: return "a list of words such as [-d, \"%u\"]";
    case CONF_GLOBS: return "a list of patterns such as [\"*@example.org\"]";
    case CONF_SERVERS: return "a list of addresses such as [127.0.0.1, \"[::1]:5353\"]";
    case CONF_URL: return "a url such as smtp+starttls://user@host:587";
    case CONF_SECRET: return "a secret: !file, !env, !credential, !command, or text";
    case CONF_CHAIN: return "a list of gateways";
    case CONF_GATEWAY: return "the name of a gateway";
    case CONF_GATEWAYS: return "a list of gateways such as [isp, backup]";
    case CONF_SET: return "a list of words";
    case CONF_MAIL_GLOBS: return "a list of patterns such as [\"*@example.org\", example.net]";
    case CONF_PRICE: return "an amount such as \"5 EUR\", or \"0.10 USD/1000\" for a thousand";
    case CONF_PERCENT: return "a percentage such as 10%";
    case CONF_IPS: return "a list of addresses such as [192.0.2.25, \"2001:db8::25\"]";
    case CONF_ZONE: return "a time zone such as Europe/Berlin, UTC or +02:00";
    case CONF_ENHANCED: return "a status code such as 5.4.5";
    case CONF_STICKY: return "a word, or a time such as 1h";
    case CONF_SOCKS: return "a url such as socks5://user@127.0.0.1:1080";
    case CONF_PLACES: return "a list of networks such as [office, home]";
    case CONF_CLIENTS:
        return "a list of addresses, networks, ranges and patterns such as [192.168.1.0/24, "
               "\"uid 1000\", \"user alice\"]";
    case CONF_HEADERS: return "a map of fields and patterns such as {list-id: \"*\"}";
    case CONF_HOURS:
        return "a list of times of the week such as [\"mon-fri 08:00-18:00\", \"sat,sun\"]";
    }
    return "";
}
