// SPDX-License-Identifier: ISC
// The table of programs.
#include "import/source.h"

// The order is that of trust: of a server found twice the first one's TLS and password are taken.
const struct import_source import_sources[] = {
    {"postfix", "/etc/postfix/main.cf and the tables it names", NULL, postfix_etc},
    {"exim", "/etc/exim4/update-exim4.conf.conf, passwd.client", NULL, exim_etc},
    {"opensmtpd", "/etc/smtpd.conf", NULL, opensmtpd_etc},
    {"nullmailer", "/etc/nullmailer/remotes", NULL, nullmailer_etc},
    {"dma", "/etc/dma/dma.conf, auth.conf", NULL, dma_etc},
    {"ssmtp", "/etc/ssmtp/ssmtp.conf, revaliases", NULL, ssmtp_etc},
    {"masqmail", "/etc/masqmail/*.route", NULL, masqmail_etc},
    {"msmtp", "~/.msmtprc, ~/.config/msmtp/config, /etc/msmtprc", msmtp_home, msmtp_etc},
    {"esmtp", "~/.esmtprc, /etc/esmtprc", esmtp_home, esmtp_etc},
    {"mutt", "~/.muttrc, ~/.config/mutt, ~/.config/neomutt, /etc", mutt_home, mutt_etc},
    {"mailx", "~/.mailrc, /etc/s-nail.rc, /etc/mail.rc, /etc/nail.rc", mailx_home, mailx_etc},
    {"aerc", "~/.config/aerc/accounts.conf", aerc_home, NULL},
    {"himalaya", "~/.config/himalaya/config.toml", himalaya_home, NULL},
    {"git", "~/.gitconfig, ~/.config/git/config, /etc/gitconfig", git_home, git_etc},
    {"thunderbird", "~/.thunderbird, also of snap, flatpak and Betterbird", thunderbird_home, NULL},
    {"evolution", "~/.config/evolution/sources", evolution_home, NULL},
    {"kmail", "~/.config/mailtransports, emailidentities", kmail_home, NULL},
    {"claws-mail", "~/.claws-mail/accountrc", claws_home, NULL},
    {"sylpheed", "~/.sylpheed-2.0/accountrc", sylpheed_home, NULL},
    {"geary", "~/.config/geary", geary_home, NULL},
    {NULL, NULL, NULL, NULL},
};
