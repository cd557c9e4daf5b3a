// SPDX-License-Identifier: ISC
// Help by topic.
#include "main/topics.h"

#include <stddef.h>
#include <string.h>

const struct help_topic help_topics[] = {
    {"gateways", "the ways out",
     "A gateway is a server that takes mail from you, or `direct`: the recipients' own servers.\n"
     "\n"
     "  gateways:\n"
     "    isp:    {url: \"smtp+starttls://me@mail.isp.example\", password: !file isp.pw}\n"
     "    backup: {url: \"smtps://me@smtp.other.example\", password: !file other.pw, priority: "
     "low}\n"
     "\n"
     "smtps:// is TLS from the first byte (465), smtp+starttls:// asks for it (587), smtp:// "
     "takes\n"
     "it when it is offered (25). All that are enabled are used by `priority`; one in trouble "
     "rests\n"
     "and the next takes over.\n"
     "\n"
     "  waypost import                       those that other programs here know\n"
     "  waypost gateway add NAME URL         one more; edit, disable, remove, move\n"
     "  waypost gateway list                 how they are; * is the one mail takes now\n"
     "  waypost gateway test NAME            talk to it: does it work, and what to do\n"
     "  waypost gateway use NAME             this one by hand; gateway auto: automatic again\n"
     "  waypost config explain gateways      every key\n"},
    {"networks", "a machine that moves",
     "A network is a place this machine can be at; a gateway may be bound to some.\n"
     "\n"
     "  networks:\n"
     "    office: {subnet: \"10.20.0.0/16\"}\n"
     "  gateways:\n"
     "    relay: {url: \"smtp://relay.corp.example\", networks: [office]}\n"
     "\n"
     "  waypost network                      where this machine is, and which networks hold\n"
     "  waypost network learn NAME --write   this place, into the configuration\n"
     "  waypost probe                        does this network let mail out\n"
     "  waypost config explain networks      every condition\n"},
    {"routes", "which mail goes which way",
     "The first route whose conditions hold decides; its `via` is a chain of gateways.\n"
     "\n"
     "  routes:\n"
     "    - {to: [\"*@corp.example\"], via: [company]}\n"
     "    - {via: [direct, {gateway: isp, on: [net, reputation]}]}\n"
     "\n"
     "A step is taken when the one before met with trouble that its `on` names. Without routes "
     "all\n"
     "gateways are one chain, by priority.\n"
     "\n"
     "  waypost route explain --to A@B       which way, and why\n"
     "  waypost route show                   the routes as sentences\n"
     "  waypost route lint                   what can never happen\n"
     "  waypost simulate STORY               play it before it matters\n"
     "  waypost config explain routes        every condition\n"},
    {"proxy", "mail that passes through",
     "A listener in mode `proxy` keeps nothing: its client waits and hears the next server's own\n"
     "answer to each recipient and to the message.\n"
     "\n"
     "  listeners:\n"
     "    local:   {address: \"127.0.0.1:25\"}\n"
     "    through: {address: \"127.0.0.1:2525\", mode: proxy}\n"
     "\n"
     "The way is chosen as for all mail, and the next gateway asked within the session when one\n"
     "cannot be used. Without a way: 451 and why. Recipients whose ways part: 451 4.5.3, one way\n"
     "at a time. Lost after the final dot: 451, in doubt.\n"
     "\n"
     "  waypost log                          what passed, which way, and what was answered\n"
     "  waypost config explain listeners.NAME.mode\n"},
    {"passwords", "where secrets are kept",
     "Never in the configuration: it names where they are.\n"
     "\n"
     "  password: !file isp.pw               a file beside it, readable for the daemon only\n"
     "  password: !credential isp            of systemd: LoadCredential=isp:/etc/waypost/isp.pw\n"
     "  waypost gateway add NAME URL --password-file -      asks, and keeps it in NAME.pw\n"
     "  waypost password hash USER           a line for a listener's `users` file\n"
     "\n"
     "A login that is refused stops that gateway only: the mail takes another way or waits.\n"},
    {"troubles", "when mail does not go",
     "  waypost status                       what waits and why, in a sentence\n"
     "  waypost queue list                   each message with its last trouble\n"
     "  waypost log ID --transcript          what was tried, with the dialogue\n"
     "  waypost route explain ID             which way it would take now, and why not another\n"
     "  waypost gateway test NAME            login refused, certificate wrong, no answer: what to "
     "do\n"
     "  waypost probe                        is a port blocked on this network, and by what\n"
     "  waypost probe --from-outside         does mail get in\n"
     "  waypost config check                 mistakes in the configuration\n"
     "\n"
     "Nothing is lost meanwhile: what was answered with 250 is on disk, and trouble of a gateway "
     "or\n"
     "an account never returns a message.\n"
     "\n"
     "  waypost queue retry all              try now\n"
     "  waypost gateway next                 take the next one\n"
     "  waypost queue export --all --to DIR  copies of what waits\n"},
    {NULL, NULL, NULL},
};

const struct help_topic *help_topic_find(const char *name)
{
    for (const struct help_topic *t = help_topics; t->name != NULL; t++)
        if (strcmp(t->name, name) == 0)
            return t;
    return NULL;
}
