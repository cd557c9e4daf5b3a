// SPDX-License-Identifier: ISC
// password hash: a line for a listener's `users` file.
#include "base/buf.h"
#include "base/limits.h"
#include "main/command.h"
#include "main/password.h"
#include "sys/worker.h"

#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <termios.h>
#include <unistd.h>

bool password_read(const char *prompt, char out[1024])
{
    struct termios shown;
    bool terminal = tcgetattr(STDIN_FILENO, &shown) == 0;
    if (terminal) {
        struct termios hidden = shown;
        hidden.c_lflag &= ~(tcflag_t)ECHO;
        // First, as it drops what was typed before.
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &hidden);
        fprintf(stderr, "%s", prompt);
    }
    bool ok = fgets(out, 1024, stdin) != NULL;
    if (terminal) {
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &shown);
        fprintf(stderr, "\n");
    }
    if (ok)
        out[strcspn(out, "\r\n")] = '\0';
    return ok && out[0] != '\0';
}

int cmd_password_hash(const struct main_options *options, int argc, char **argv)
{
    char password[1024], hash[256];
    if (argc > 1) {
        fprintf(stderr,
                "usage: waypost password hash [USER]    (the password on standard input)\n");
        return EX_USAGE;
    }
    if (!password_read("password: ", password)) {
        fprintf(stderr, "waypost: no password on standard input\n");
        return EX_NOINPUT;
    }
    bool ok = password_hash(password, hash);
    explicit_bzero(password, sizeof(password));
    if (!ok) {
        fprintf(stderr, "waypost: the system's libcrypt makes no such hash\n");
        return EX_OSERR;
    }
    if (argc == 1)
        printf("%s:", argv[0]);
    printf("%s\n", hash);
    return 0;
}
