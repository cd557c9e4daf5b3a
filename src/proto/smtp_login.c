// SPDX-License-Identifier: ISC
// SASL mechanisms of the client.
#include "proto/smtp_login.h"

#include "proto/smtp_ehlo.h"

// RFC 4616: no authorization identity.
static bool answer_plain(unsigned step, const char *user, const char *password,
                         struct str challenge, struct buf *out)
{
    if (step > 0)
        return false;
    buf_putc(out, '\0');
    buf_puts(out, user);
    buf_putc(out, '\0');
    return buf_puts(out, password);
}

// Never standardized; the challenges ("Username:", "Password:") differ and are not looked at.
static bool answer_login(unsigned step, const char *user, const char *password,
                         struct str challenge, struct buf *out)
{
    return step < 2 && buf_puts(out, step == 0 ? user : password);
}

// Strongest first.
static const struct smtp_mechanism mechanisms[] = {
    {"PLAIN", SMTP_AUTH_PLAIN, true, true, answer_plain},
    {"LOGIN", SMTP_AUTH_LOGIN, true, false, answer_login},
};

const struct smtp_mechanism *smtp_mechanism_choose(uint32_t offered, bool covered)
{
    for (size_t i = 0; i < sizeof(mechanisms) / sizeof(mechanisms[0]); i++)
        if ((offered & mechanisms[i].bit) != 0 && (covered || !mechanisms[i].needs_cover))
            return &mechanisms[i];
    return NULL;
}
