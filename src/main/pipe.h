// SPDX-License-Identifier: ISC
// SMTP on standard input and output (`sendmail -bs`): carried to the daemon's socket and back.
#pragma once

// Runs until either side ends. Returns the exit status.
int pipe_smtp(const char *run_dir, const char *hostname);
