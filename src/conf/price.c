// SPDX-License-Identifier: ISC
// Money in millionths: no fraction is lost, and what is paid is rounded up.
#include "conf/price.h"

enum { MICROS = 1000000, DECIMALS = 6, MOST = 1000000, PER_MOST = 1000000 };
enum { CURRENCY_MAX = sizeof(((struct conf_price *)0)->currency) };

static bool parse_amount(struct str text, uint64_t *micros_out)
{
    size_t dot = str_find(text, '.');
    struct str decimals = STR("");
    uint64_t units, part = 0;
    if (dot < text.len) {
        decimals = str_make(text.ptr + dot + 1, text.len - dot - 1);
        if (decimals.len > DECIMALS || !str_u64(decimals, MICROS, &part))
            return false;
    }
    if (!str_u64(str_make(text.ptr, dot), MOST, &units))
        return false;
    for (size_t i = decimals.len; i < DECIMALS; i++)
        part *= 10;
    *micros_out = units * MICROS + part;
    return *micros_out > 0 && *micros_out <= (uint64_t)MOST * MICROS;
}

static bool parse_currency(struct str text, char out[static CURRENCY_MAX])
{
    if (text.len == 0 || text.len >= CURRENCY_MAX)
        return false;
    for (size_t i = 0; i < text.len; i++)
        if (!ascii_is_alnum(text.ptr[i]))
            return false;
    memset(out, 0, CURRENCY_MAX);
    memcpy(out, text.ptr, text.len);
    return true;
}

bool price_parse(struct str text, struct conf_price *out)
{
    size_t slash = str_find(text, '/');
    struct str sum = str_trim(str_make(text.ptr, slash));
    uint64_t per = 1;
    if (slash < text.len &&
        !str_u64(str_trim(str_make(text.ptr + slash + 1, text.len - slash - 1)), PER_MOST, &per))
        return false;
    size_t space = str_find(sum, ' ');
    if (per == 0 || space == sum.len || !parse_amount(str_make(sum.ptr, space), &out->micros) ||
        !parse_currency(str_trim(str_make(sum.ptr + space, sum.len - space)), out->currency))
        return false;
    out->per = (uint32_t)per;
    return true;
}

void price_put_amount(struct buf *out, uint64_t micros, const char *currency)
{
    unsigned long long part = micros % MICROS;
    int decimals = DECIMALS;
    for (; decimals > 2 && part % 10 == 0; decimals--)
        part /= 10;
    buf_printf(out, "%llu.%0*llu %s", (unsigned long long)(micros / MICROS), decimals, part,
               currency);
}

void price_put(struct buf *out, const struct conf_price *price)
{
    price_put_amount(out, price->micros, price->currency);
    if (price->per != 1)
        buf_printf(out, "/%u", price->per);
}

uint64_t price_of(const struct conf_price *price, uint64_t recipients)
{
    unsigned __int128 all = (unsigned __int128)recipients * price->micros + price->per - 1;
    return price->per == 0 ? 0 : (uint64_t)(all / price->per);
}

uint64_t price_recipients(const struct conf_price *price, uint64_t micros)
{
    return price->micros == 0 ? 0
                              : (uint64_t)((unsigned __int128)micros * price->per / price->micros);
}

uint64_t price_quota(const struct conf_gateway *g, enum conf_unit unit, enum conf_period period)
{
    uint64_t said = g->quota[unit][period];
    if (unit != UNIT_RECIPIENTS || period != PERIOD_MONTH || g->cost.micros == 0 ||
        g->budget.micros == 0)
        return said;
    uint64_t paid = price_recipients(&g->cost, g->budget.micros);
    return said != 0 && said < paid ? said : paid;
}
