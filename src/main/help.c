// SPDX-License-Identifier: ISC
// Examples first, then each option on a line.
#include "main/help.h"

#include <stddef.h>
#include <string.h>

static const char edit_options[] = "  --dry-run          show what would change, write nothing\n"
                                   "  --json             the changes as an object\n";

static const struct help_text texts[] = {
    {"send",
     "  echo hello | waypost send -s hi you@example.org\n"
     "  waypost send --test you@example.org              needs no input\n"
     "  echo up | waypost send --at 08:00 you@example.org\n",
     "  -f FROM            the sender, else you at this machine\n"
     "  -s SUBJECT         the subject\n"
     "  --at TIME          kept until then: \"2026-12-24 18:00\", local time, or 08:00, the next\n"
     "  --in SPAN          kept for so long: 90s, 5m, 4h, 2d\n"
     "  --test             a short test message\n"
     "  --wait SECONDS     follow it for so long (30)\n"
     "  --no-wait          only hand it in\n"
     "exit status: 0 delivered or taken by a gateway, 75 still waiting, 69 returned\n"},
    {"log",
     "  waypost log --since 1h                           the last hour\n"
     "  waypost log --to '*@example.org' --class auth    what met a refused login\n"
     "  waypost log CZHBYK --transcript                  one message with its dialogues\n"
     "  waypost log -f                                   what happens, as it happens\n",
     "  --from GLOB        only mail of this sender; --to GLOB of this recipient\n"
     "  --text PART        in sender, recipients or subject\n"
     "  --gateway NAME     last tried through this gateway\n"
     "  --class CLASS      ok, offline, net, dns, no-record, tls, auth, quota, reputation, busy,\n"
     "                     refused, doubt, local\n"
     "  --folder FOLDER    outbox, held, sent, bad, bounced, deleted\n"
     "  --addresses failed each address that failed, one a line; invalid: only those that are bad\n"
     "                     themselves; --csv: with the reason\n"
     "  --since AGE        accepted in the last 90s, 5m, 4h, 2d\n"
     "  --max N            at most so many (50)\n"
     "  -f, --follow       goes on telling\n"
     "  --wait SECONDS     with an id: until nothing will happen soon\n"
     "  --transcript       with an id: the dialogues that were kept\n"},
    {"queue export",
     "  waypost queue export CZHBYK\n"
     "  waypost queue export --all --folder bad --to /root/bad\n",
     "  --all              all that waits; --folder outbox, held or bad: only these\n"
     "  --to DIR           where the files go (here); made when it is missing\n"
     "The messages stay in the queue. What left or was returned has no content any more, what "
     "was\ndropped as long as it can be brought back.\n"},
    {"queue list",
     "  waypost queue list '*@example.org'\n"
     "  waypost queue list --folder held\n",
     "  --folder FOLDER    outbox: on its way; held: by a person; bad: failed, and kept by its "
     "route\n"},
    {"status",
     "  waypost status\n"
     "  waypost status --check --warn 15m --crit 4h      for a monitoring plug-in\n",
     "  -q                 only the exit status: 0, or 74 when the spool has failed\n"
     "  --check            one line; exit 0 well, 1 look at it, 2 mail is stuck\n"
     "  --warn AGE         --check: the oldest message waits so long (15m); --crit AGE (4h)\n"},
    {"listener list", "  waypost listener list\n",
     "OPEN is what is connected now and how many may be, CAME all since the start, TURNED AWAY\n"
     "those that were not allowed or too many, REFUSED senders, recipients and messages.\n"},
    {"gateway list", "  waypost gateway list\n", NULL},
    {"gateway show", "  waypost gateway show m365\n", NULL},
    {"gateway test",
     "  waypost gateway test m365                        the dialogue up to the login; sends "
     "nothing\n"
     "  waypost gateway test m365 --to you@example.org   a real message\n",
     "  --to ADDRESS       send a test message there\n"
     "  --from ADDRESS     its sender, else one the gateway lets through\n"
     "  --depth DEPTH      how far without a message: tcp, tls, ehlo, auth (auth)\n"
     "exit status: 0 well, 77 the login was refused, 76 no safe TLS, 68 the name does not "
     "resolve,\n"
     "             69 not reached or refused, 75 not now\n"},
    {"gateway use",
     "  waypost gateway use backup\n"
     "  waypost gateway auto                             automatic again\n",
     "How long it holds says `choice.manual` in the configuration.\n"},
    {"gateway next",
     "  waypost gateway next                             this one is blocked here: take the next\n"
     "  waypost gateway auto                             automatic again\n",
     "One that no mail could use now (other network, allowance used up, disabled) is passed "
     "over.\n"},
    {"gateway auto", "  waypost gateway auto\n", NULL},
    {"gateway forget",
     "  waypost gateway forget isp                       it has another name, or no TLS, for "
     "good\n",
     NULL},
    {"gateway reset",
     "  waypost gateway reset isp                        the provider has raised or reset it\n",
     NULL},
    {"gateway add",
     "  waypost gateway add isp smtp+starttls://me@mail.isp.example\n"
     "  waypost gateway add office smtp://relay.corp.example --networks office --priority high\n"
     "  waypost gateway add ses smtps://key@email.example limits='{per_day: 50000}' "
     "--password-file -\n",
     "  KEY=VALUE          any key of `waypost config explain gateways`; VALUE as in the file\n"
     "  --networks A,B     use it only there\n"
     "  --senders GLOBS    carry only mail of these senders\n"
     "  --priority WORD    highest, high, normal, below-normal, low, or a number\n"
     "  --password-file F  a file whose only line is the password; `-`: ask for it, and keep it "
     "in\n"
     "                     NAME.pw beside the configuration\n"
     "  --dry-run          show what would change, write nothing\n"},
    {"gateway edit",
     "  waypost gateway edit isp priority=low networks=home,office\n"
     "  waypost gateway edit isp networks=               takes the key out\n"
     "  waypost gateway edit isp limits.per_day=10000\n",
     edit_options},
    {"gateway enable", "  waypost gateway enable isp\n", edit_options},
    {"gateway disable", "  waypost gateway disable isp\n", edit_options},
    {"gateway remove", "  waypost gateway remove isp\n", edit_options},
    {"smarthost on",
     "  waypost smarthost on\n"
     "  waypost smarthost on isp                         another gateway\n",
     edit_options},
    {"smarthost off", "  waypost smarthost off\n", edit_options},
    {"smarthost", "  waypost smarthost                                is it on?\n", ""},
    {"gateway move",
     "  waypost gateway move backup --before isp\n"
     "  waypost gateway move isp --last\n",
     edit_options},
    {"probe",
     "  waypost probe                                    the gateways of the configuration\n"
     "  waypost probe smtp.isp.example                   ports 587, 465, 25 and 2525 there\n"
     "  waypost probe mail.example:587 203.0.113.5:25    these ports only\n"
     "  waypost probe --domain example.org               its mail servers, as `direct` would\n"
     "  waypost probe --from-outside                     how to see whether mail gets in here\n",
     "  --domain DOMAIN    ask up to four of its MX, port 25\n"
     "  --timeout SECONDS  the patience with each port (10)\n"
     "  --json             all of it, with the dialogues\n"
     "It says EHLO and QUIT, never a login or a message; no host is asked that nobody named.\n"
     "exit status: 0 each host has a port that works, 69 one has none\n"},
    {"network",
     "  waypost network\n"
     "  waypost network learn office --write             remember this place\n",
     NULL},
    {"network learn",
     "  waypost network learn office                     the lines for the configuration\n"
     "  waypost network learn office --write             puts them there\n",
     "  --write            add it to the configuration and take that over\n"},
    {"route explain",
     "  waypost route explain CZHBYK                     also one that left long ago\n"
     "  waypost route explain --from a@corp.example --to b@partner.example --size 10M\n"
     "  waypost route explain --to b@outlook.com --on-network train --assume m365=down\n"
     "  waypost route explain CZHBYK --at '2026-12-01 08:00'\n",
     "  --to ADDRESS       a made-up message to this recipient; may come several times\n"
     "  --from ADDRESS     its sender; '<>' is none\n"
     "  --size SIZE        its size: 300k, 10M\n"
     "  --client WHO       who handed it in: an address, or \"uid 1000\"\n"
     "  --user NAME        who logged in; --listener NAME where\n"
     "  --header \"X: y\"    a field of its header; may come several times\n"
     "  --class CLASS      low, normal, urgent\n"
     "  --on-network A,B   as if these networks held, and no others; `none`\n"
     "  --assume G=down    as if this gateway rested; may come several times\n"
     "  --at TIME          as if it were then: \"2026-12-01 08:00\", or 08:00\n"},
    {"route show", "  waypost route show\n", NULL},
    {"route lint", "  waypost route lint && echo nothing to complain of\n", NULL},
    {"route detours", "  waypost route detours\n", NULL},
    {"route pin",
     "  waypost route pin outlook.com m365               mail for all it hosts\n"
     "  waypost route unpin outlook.com\n",
     "PROVIDER is the end of the mail exchangers' names, as `waypost route detours` shows it.\n"},
    {"route unpin", "  waypost route unpin outlook.com\n", NULL},
    {"config check",
     "  waypost config check\n"
     "  waypost config check new.yaml --text-only        on a machine without the secrets\n",
     "  --text-only        leaves the secrets it names unread\n"
     "exit status: 0, or 78 when something is wrong\n"},
    {"config explain",
     "  waypost config explain queue.retry\n"
     "  waypost config explain gateways\n",
     NULL},
    {"config diff",
     "  waypost config diff old.yaml new.yaml\n"
     "  waypost config diff --live new.yaml              what it would do to the mail that waits\n",
     "  --live [FILE]      FILE, else the configured one as it is on disk, against the queue\n"
     "  --text-only        leaves the secrets unread\n"
     "exit status of --live: 0, 1 when mail would have no way, 78 when FILE has mistakes\n"},
    {"config apply", "  waypost config apply new.yaml\n", edit_options},
    {"config rollback",
     "  waypost config rollback                          back\n"
     "  waypost config rollback                          and forward again\n",
     edit_options},
    {"queue list",
     "  waypost queue list '*@example.org'\n"
     "  waypost queue list --json | jq -r .id\n",
     NULL},
    {"queue release", "  waypost queue release CZHBYK\n", NULL},
    {"queue retry",
     "  waypost queue retry CZHBYK\n"
     "  waypost queue retry all\n",
     NULL},
    {"queue send-at",
     "  waypost queue send-at CZHBYK '2026-12-24 18:00'\n"
     "  waypost queue send-at CZHBYK +2h\n",
     "Until then nothing moves it but `waypost queue now`; its age counts from that moment.\n"},
    {"queue now", "  waypost queue now CZHBYK\n", NULL},
    {"queue hold", "  waypost queue hold CZHBYK --reason 'asks the author first'\n",
     "  --reason TEXT      kept in its history\n"},
    {"queue drop", "  waypost queue drop CZHBYK --reason 'sent by mistake'\n",
     "  --reason TEXT      kept in its history\n"
     "  --for-good         it cannot be brought back; also of what was dropped before\n"},
    {"queue deleted", "  waypost queue deleted\n",
     "How long it is kept says `queue.keep_deleted`. `queue show` and `queue export` take it, "
     "too.\n"},
    {"queue restore", "  waypost queue restore CZHBYK\n",
     "It is as it was, held if it was held; its age counts from now.\n"},
    {"serve", "  waypost serve --config waypost.yaml\n",
     "It stays in the foreground and tells on standard error what it does; `waypost stop` or\n"
     "SIGTERM end it in order, `waypost reload` or SIGHUP take over the changed configuration.\n"},
    {"reload", "  waypost config check && waypost reload\n",
     "exit status: 0, or 78 when something is wrong; what was in force stays then\n"},
    {"setup",
     "  waypost setup                                    what is done, what is still to do\n"
     "  waypost setup thunderbird                        what to enter there\n",
     "PROGRAM: thunderbird, evolution, kmail, claws, geary, mutt, git, msmtp, s-nail, aerc, "
     "himalaya,\n"
     "         emacs, postfix, php, cron, scanner\n"
     "exit status: 0 all is done, 78 something is still to do, 64 no such program\n"},
    {"import",
     "  waypost import                                   what was found, and what it would become\n"
     "  waypost import --from msmtp --home /home/alice\n"
     "  waypost import --test                            and does it work?\n"
     "  waypost import --write /etc/waypost/waypost.yaml --passwords /etc/waypost\n",
     "  --from PROGRAM     only this one\n"
     "  --home DIR         this home instead of $HOME; may come several times\n"
     "  --root DIR         in front of every absolute path: the disk of another machine\n"
     "  --test             asks each server up to EHLO: no login, no mail\n"
     "  --login            the same with the login; a command that gives a password is run\n"
     "  --write FILE       writes the configuration; FILE must not exist\n"
     "  --append           adds the gateways to the configuration in force\n"
     "  --passwords DIR    with these two: passwords found in clear go into files of their own\n"
     "exit status: 0 something was found, 69 nothing was, or does not work, 73 a file was in the "
     "way\n"},
    {"simulate",
     "  waypost simulate day.yaml                        your own configuration, a day's story\n"
     "  waypost simulate --config new.yaml day.yaml      another configuration\n"
     "  waypost simulate --quiet tests/stories/*.yaml    only what is not as expected\n",
     "  --follow           everything in the order in which it happens\n"
     "  --log              with the daemon's own log\n"
     "  --quiet            no timelines\n"
     "  --json             the timelines as JSON, a line a story\n"
     "  --seed N           other chances of the simulated world (1)\n"
     "exit status: 0, or 1 when something is not as the story expects\n"},
    {"sink",
     "  waypost sink --listen 127.0.0.1:2526\n"
     "  waypost sink --listen 127.0.0.1:2526 --refuse 451\n",
     "  --listen ADDRESS   where it takes mail\n"
     "  --maildir DIR      keeps what comes\n"
     "  --refuse CODE      refuses every recipient with this code\n"},
    {"spool check", "  waypost spool check /var/lib/waypost\n", NULL},
    {"spool rebuild", "  waypost spool rebuild /var/lib/waypost\n", NULL},
    {"password hash", "  waypost password hash alice >> /etc/waypost/users\n", NULL},
};

const struct help_text *help_text_find(const char *words)
{
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        if (strcmp(texts[i].words, words) == 0)
            return &texts[i];
    return NULL;
}
