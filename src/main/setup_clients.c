// SPDX-License-Identifier: ISC
// The exact setting of each mail program. Texts, with the server and port of the first listener of
// this machine put in: @HOST@ and @PORT@.
#include "main/setup_clients.h"
#include "conf/schema.h"

#include <stdio.h>

struct client {
    const char *name, *title;
    const char *text;
    bool sendmail; // uses /usr/sbin/sendmail or localhost:25 as it is
};

static const struct client clients[] = {
    {"thunderbird", "Thunderbird",
     "Account Settings > Outgoing Server (SMTP) > Add:\n"
     "  Server Name:           @HOST@\n"
     "  Port:                  @PORT@\n"
     "  Connection security:   None      (it does not leave this machine)\n"
     "  Authentication method: No authentication\n"
     "Then choose it as Outgoing Server of each account.\n",
     false},
    {"evolution", "Evolution",
     "Edit > Preferences > Mail Accounts > Edit > Sending Email:\n"
     "  Server Type: SMTP,  Server: @HOST@,  Port: @PORT@\n"
     "  Server requires authentication: off,  Encryption method: No encryption\n",
     false},
    {"kmail", "KMail",
     "Settings > Configure KMail > Accounts > Sending > Add > SMTP:\n"
     "  Outgoing mail server: @HOST@,  Port: @PORT@ (Advanced tab)\n"
     "  Server requires authentication: off,  Encryption: None\n",
     false},
    {"claws", "Claws Mail, Sylpheed",
     "Configuration > Preferences for current account > Basic:\n"
     "  SMTP server (send): @HOST@\n"
     "Advanced: SMTP port @PORT@.  Send: SMTP Authentication off.  TLS: do not use.\n",
     false},
    {"geary", "Geary",
     "Accounts > Add > Other service, Sending:\n"
     "  Server: @HOST@, Port: @PORT@, Login: No login needed, Security: None\n",
     false},
    {"mutt", "mutt, neomutt",
     "~/.muttrc:\n"
     "  set sendmail = \"/usr/sbin/sendmail -oi -oem\"\n"
     "  unset smtp_url\n",
     true},
    {"git", "git send-email",
     "  git config --global sendemail.smtpServer @HOST@\n"
     "  git config --global sendemail.smtpServerPort @PORT@\n"
     "  git config --global --unset sendemail.smtpEncryption\n"
     "  git config --global --unset sendemail.smtpUser\n",
     false},
    {"msmtp", "msmtp",
     "~/.msmtprc:\n"
     "  account default\n"
     "  host @HOST@\n"
     "  port @PORT@\n"
     "  tls off\n"
     "  auth off\n",
     false},
    {"s-nail", "s-nail, mailx",
     "~/.mailrc:\n"
     "  set mta=smtp://@HOST@:@PORT@\n"
     "  set smtp-auth=none\n",
     false},
    {"aerc", "aerc", "~/.config/aerc/accounts.conf:\n  outgoing = /usr/sbin/sendmail\n", true},
    {"himalaya", "himalaya",
     "~/.config/himalaya/config.toml:\n"
     "  message.send.backend.type = \"smtp\"\n"
     "  message.send.backend.host = \"@HOST@\"\n"
     "  message.send.backend.port = @PORT@\n"
     "  message.send.backend.encryption.type = \"none\"\n",
     false},
    {"emacs", "Emacs",
     "~/.emacs:\n"
     "  (setq send-mail-function 'smtpmail-send-it\n"
     "        smtpmail-smtp-server \"@HOST@\" smtpmail-smtp-service @PORT@)\n",
     false},
    {"postfix", "Postfix, as a client of Waypost",
     "  postconf -e 'relayhost = [@HOST@]:@PORT@'\n"
     "  postfix reload\n",
     false},
    {"php", "PHP's mail()",
     "php.ini:\n"
     "  sendmail_path = /usr/sbin/sendmail -t -i\n",
     true},
    {"cron", "cron, at, and whatever calls sendmail", "Nothing: they call /usr/sbin/sendmail.\n",
     true},
    {"scanner", "printers, scanners and other devices",
     "A listener for them in the configuration, for their addresses only:\n"
     "  listeners:\n"
     "    scanner: {address: [\"THIS-MACHINE:2525\"], clients: [THE-DEVICE], to: "
     "[\"*@your.domain\"]}\n"
     "In the device: SMTP server THIS-MACHINE, port 2525, no authentication, no SSL.\n",
     false},
};
enum { CLIENTS = sizeof(clients) / sizeof(clients[0]) };

// The first listener that programs of this machine reach without TLS or login.
static void place_of(const struct conf *conf, const char **host, unsigned *port)
{
    *host = "localhost";
    *port = 25;
    for (size_t i = 0; i < conf->listener_count; i++) {
        const struct conf_listener *l = &conf->listeners[i];
        if (l->lmtp || l->tls == LISTEN_TLS_IMPLICIT || l->auth == LISTEN_AUTH_REQUIRED)
            continue;
        for (size_t k = 0; k < l->address_count; k++) {
            if (!net_addr_is_loopback(&l->addresses[k]) && !net_addr_is_any(&l->addresses[k]))
                continue;
            *port = l->addresses[k].port;
            return;
        }
    }
}

static void print_with(const char *text, const char *host, unsigned port)
{
    for (const char *at = text; *at != '\0';) {
        if (strncmp(at, "@HOST@", 6) == 0) {
            fputs(host, stdout);
            at += 6;
        } else if (strncmp(at, "@PORT@", 6) == 0) {
            printf("%u", port);
            at += 6;
        } else {
            putchar(*at++);
        }
    }
}

void setup_clients_list(void)
{
    for (size_t i = 0; i < CLIENTS; i++)
        printf("  %-12s %s\n", clients[i].name, clients[i].title);
}

bool setup_client(const struct conf *conf, const char *name)
{
    struct conf_nearest near = {0};
    const char *host;
    unsigned port;
    place_of(conf, &host, &port);
    for (size_t i = 0; i < CLIENTS; i++) {
        conf_nearest_offer(&near, str_of(name), clients[i].name);
        if (strcmp(clients[i].name, name) != 0)
            continue;
        printf("%s\n\n", clients[i].title);
        print_with(clients[i].text, host, port);
        if (clients[i].sendmail)
            printf(
                "\nIt goes by /usr/sbin/sendmail: `waypost setup` says whether that is Waypost.\n");
        return true;
    }
    fprintf(stderr, "waypost: nothing is known of `%s`%s%s%s; these are:\n", name,
            near.word != NULL ? "; did you mean `" : "", near.word != NULL ? near.word : "",
            near.word != NULL ? "`?" : "");
    setup_clients_list();
    return false;
}
