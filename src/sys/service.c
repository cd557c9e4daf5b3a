// SPDX-License-Identifier: ISC
// Runs a command and takes what it prints; made for secrets, so nothing of it stays behind.
#include "base/mem.h"
#include "sys/clock.h"
#include "sys/service.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

// A process group of its own, so that a time-out ends all of it; default signals, since our threads
// block them.
static int spawn_shell(const char *command, int out, pid_t *pid_out)
{
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attr;
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&files, out, STDOUT_FILENO);
    posix_spawnattr_init(&attr);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setsigdefault(&attr, &all);
    posix_spawnattr_setpgroup(&attr, 0);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
                                        POSIX_SPAWN_SETPGROUP);
    char *argv[] = {"sh", "-c", (char *)command, NULL};
    int rc = posix_spawn(pid_out, "/bin/sh", &files, &attr, argv, environ);
    posix_spawnattr_destroy(&attr);
    posix_spawn_file_actions_destroy(&files);
    return rc;
}

struct run {
    int out;    // the reading end, not blocking
    int exited; // a pidfd, readable when the shell ended
    char *text; // max + 1 bytes
    size_t len, max;
};

// Takes what is there. True at the end of the output or when there is more of it than may be.
static bool take_output(struct run *run)
{
    for (;;) {
        ssize_t n = read(run->out, run->text + run->len, run->max + 1 - run->len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n > 0)
            run->len += (size_t)n;
        if (run->len > run->max || n == 0)
            return true;
        if (n < 0)
            return errno != EAGAIN;
    }
}

// Until the shell ended, too much came, or time is up (false). A process that the shell left in the
// background may hold the pipe open: the shell's end counts.
static bool watch_output(struct run *run, int timeout_ms)
{
    int64_t until_us = clock_mono_us() + (int64_t)timeout_ms * 1000;
    struct pollfd fds[2] = {{run->exited, POLLIN, 0}, {run->out, POLLIN, 0}};
    for (;;) {
        int64_t left_us = until_us - clock_mono_us();
        if (left_us <= 0)
            return false;
        if (poll(fds, 2, (int)((left_us + 999) / 1000)) < 0)
            continue; // EINTR
        if (fds[1].revents != 0 && take_output(run))
            fds[1].fd = -1;
        if (fds[0].fd < 0 && fds[1].fd < 0)
            return true; // no pidfd could be had: whoever waits will see the end
        if (run->len > run->max)
            return true;
        if (fds[0].revents != 0) {
            if (fds[1].fd >= 0)
                take_output(run);
            return true;
        }
    }
}

static bool judge_output(struct run *run, bool in_time, int timeout_ms, int status, struct err *err)
{
    if (!in_time) {
        err_set(err, "the command did not end within %d ms", timeout_ms);
        err->code = ETIMEDOUT;
    } else if (run->len > run->max) {
        err_set(err, "the command printed more than %zu bytes", run->max);
    } else if (WIFSIGNALED(status)) {
        err_set(err, "the command was ended by signal %d (%s)", WTERMSIG(status),
                sigabbrev_np(WTERMSIG(status)));
    } else if (WEXITSTATUS(status) == 127) {
        err_set(err, "the shell could not find the command (status 127)");
    } else if (WEXITSTATUS(status) != 0) {
        err_set(err, "the command failed with status %d", WEXITSTATUS(status));
    } else if (memchr(run->text, '\0', run->len) != NULL) {
        err_set(err, "the command printed a NUL byte, which no text has");
    } else {
        return true;
    }
    return false;
}

char *command_output(const char *command, int timeout_ms, size_t max, struct err *err)
{
    int ends[2];
    pid_t pid;
    if (pipe2(ends, O_CLOEXEC) != 0) {
        err_sys(err, errno, "cannot make a pipe for a command");
        return NULL;
    }
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    int rc = spawn_shell(command, ends[1], &pid);
    close(ends[1]);
    if (rc != 0) {
        close(ends[0]);
        err_sys(err, rc, "cannot run /bin/sh");
        return NULL;
    }
    struct run run = {.out = ends[0], .exited = pidfd_open(pid, 0), .max = max};
    run.text = xmalloc(max + 1);
    bool in_time = watch_output(&run, timeout_ms);
    if (!in_time || run.len > max)
        kill(-pid, SIGKILL);
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    close(run.out);
    if (run.exited >= 0)
        close(run.exited);
    if (!judge_output(&run, in_time, timeout_ms, status, err)) {
        explicit_bzero(run.text, run.len);
        xfree(run.text);
        return NULL;
    }
    if (run.len > 0 && run.text[run.len - 1] == '\n')
        run.len--;
    run.text[run.len] = '\0';
    return run.text;
}
