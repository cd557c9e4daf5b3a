// SPDX-License-Identifier: ISC
// Files and directories. Calls block, so they belong on the committer, the indexer, a worker or
// start-up; the one exception is file_read_now. In the simulated world this is the disk that tears
// and forgets.
#pragma once

#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct file; // an open file

enum file_mode {
    FILE_READ,
    FILE_WRITE,     // read and write, must exist
    FILE_CREATE,    // read and write, created if missing (mode 0600)
    FILE_CREATE_NEW // must not exist
};
// Never follows a symbolic link in the last component. NULL with err (err->code an errno) on
// failure.
struct file *file_open(const char *path, enum file_mode mode, struct err *err);
void file_close(struct file **file);

// -1 with err, else the bytes read (less than len only at the end of the file).
ssize_t file_read(struct file *file, uint64_t offset, void *out, size_t len, struct err *err);
// All or nothing as far as the caller is told; false leaves unknown contents in the range.
struct file_piece {
    const void *bytes;
    size_t len;
};
bool file_write(struct file *file, uint64_t offset, const struct file_piece *pieces, size_t count,
                struct err *err);
// Contents and size reach the disk (fdatasync). A failure is final for this file: the state of
// everything written since the last success is unknown, and calling again proves nothing.
bool file_sync(struct file *file, struct err *err);
bool file_allocate(struct file *file, uint64_t size,
                   struct err *err); // reserves and zero-fills blocks up to size
bool file_truncate(struct file *file, uint64_t size, struct err *err);
bool file_size(struct file *file, uint64_t *size_out, struct err *err);
// What is open, whatever its name means by now.
struct path_facts {
    uint64_t size;
    uint32_t mode, uid, gid, links;
    int64_t modified_ms;
    bool is_file, is_dir;
};
bool file_stat(struct file *file, struct path_facts *facts_out, struct err *err);
bool file_set_mode(struct file *file, unsigned mode, struct err *err);
// Only root may give a file away; fine when it is theirs already.
bool file_set_owner(struct file *file, uint32_t uid, uint32_t gid, struct err *err);
// All names of the file system it lies on reach the disk: for who may not open the directory and so
// cannot dir_sync.
bool file_sync_names(struct file *file, struct err *err);
// Exclusive, of a file open for writing, gone with it; false with EWOULDBLOCK when another has it.
bool file_lock(struct file *file, struct err *err);

// Bytes that are in memory already, without waiting: bytes read (maybe less than len, also before
// the end), 0 at the end, -2 when it would block (then read on a worker), -1 with err. Safe on a
// session loop.
ssize_t file_read_now(struct file *file, uint64_t offset, void *out, size_t len, struct err *err);

// A new one has exactly `mode`, whatever the umask; one that exists as a directory is fine as it
// is.
bool dir_make(const char *path, unsigned mode, struct err *err);
// Of one that exists and is not reached through a symbolic link.
bool dir_set_mode(const char *path, unsigned mode, struct err *err);
bool dir_sync(const char *path, struct err *err); // names created, renamed, removed reach the disk
// Names without "." and "..", sorted; an array ending in NULL, free with dir_list_free. NULL with
// err.
char **dir_list(const char *path, struct err *err);
void dir_list_free(char ***names);
// Without symbolic links, absolute; free with xfree. NULL with err when it does not exist.
char *path_real(const char *path, struct err *err);
bool path_rename(const char *from, const char *to, struct err *err);
bool path_remove(const char *path, struct err *err); // fine when it does not exist
bool path_exists(const char *path);
// May this process use it so? False with err when not, or when it is not there.
enum path_use { PATH_SEARCH, PATH_WRITE, PATH_RUN }; // a directory, a directory, a program
bool path_may(const char *path, enum path_use use, struct err *err);
bool disk_free(const char *path, uint64_t *bytes_out, uint64_t *inodes_out, struct err *err);
bool path_stat(const char *path, struct path_facts *facts_out,
               struct err *err); // of a link, the link itself
bool path_stat_follow(const char *path, struct path_facts *facts_out,
                      struct err *err); // of a link, what it leads to

// A whole small file (configuration, secret), at most max bytes, terminated by a NUL not counted;
// free with xfree. Follows symbolic links.
char *file_slurp(const char *path, size_t max, size_t *len_out, struct err *err);
