// SPDX-License-Identifier: ISC
// Files and directories: every call goes on until it is done or has a reason why not.
#include "base/mem.h"
#include "sys/file.h"

#include <assert.h>
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>

struct file {
    int fd;
    atomic_bool waits; // the file system cannot read without waiting: file_read_now just reads
    char path[];       // for what is said about it
};

// What stands behind "cannot open PATH": for a person, and what to do where that is not plain.
static void set_open_err(struct err *err, const char *path, int code)
{
    if (code == ELOOP)
        err_set(err, "cannot open %s: it is a symbolic link, and links are not followed here",
                path);
    else if (code == EACCES)
        err_sys(err, code, "cannot open %s as user %u", path, (unsigned)geteuid());
    else
        err_sys(err, code, "cannot open %s", path);
    err->code = code;
}

struct file *file_open(const char *path, enum file_mode mode, struct err *err)
{
    static const int flags[] = {
        [FILE_READ] = O_RDONLY,
        [FILE_WRITE] = O_RDWR,
        [FILE_CREATE] = O_RDWR | O_CREAT,
        [FILE_CREATE_NEW] = O_RDWR | O_CREAT | O_EXCL,
    };
    // O_NONBLOCK: a named pipe put here must not stop us; ordinary files do not know it.
    int fd = open(path, flags[mode] | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK, 0600);
    if (fd < 0) {
        set_open_err(err, path, errno);
        return NULL;
    }
    struct stat st;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        close(fd);
        err_set(err, "cannot open %s: it is not an ordinary file", path);
        err->code = EINVAL;
        return NULL;
    }
    size_t len = strlen(path) + 1;
    struct file *file = xmalloc(sizeof(*file) + len);
    file->fd = fd;
    atomic_init(&file->waits, false);
    memcpy(file->path, path, len);
    return file;
}

void file_close(struct file **file)
{
    if (*file == NULL)
        return;
    close((*file)->fd);
    xfree(*file);
    *file = NULL;
}

ssize_t file_read(struct file *file, uint64_t offset, void *out, size_t len, struct err *err)
{
    size_t done = 0;
    while (done < len) {
        ssize_t n = pread(file->fd, (char *)out + done, len - done, (off_t)(offset + done));
        if (n == 0)
            break;
        if (n > 0) {
            done += (size_t)n;
        } else if (errno != EINTR) {
            err_sys(err, errno, "cannot read %s at %llu", file->path, (unsigned long long)offset);
            return -1;
        }
    }
    return (ssize_t)done;
}

ssize_t file_read_now(struct file *file, uint64_t offset, void *out, size_t len, struct err *err)
{
    struct iovec iov = {out, len};
    for (;;) {
        int flags = atomic_load_explicit(&file->waits, memory_order_relaxed) ? 0 : RWF_NOWAIT;
        ssize_t n = preadv2(file->fd, &iov, 1, (off_t)offset, flags);
        if (n >= 0)
            return n;
        if (errno == EAGAIN)
            return -2;
        if (flags != 0 && (errno == EOPNOTSUPP || errno == ENOSYS)) {
            atomic_store_explicit(&file->waits, true, memory_order_relaxed);
        } else if (errno != EINTR) {
            err_sys(err, errno, "cannot read %s at %llu", file->path, (unsigned long long)offset);
            return -1;
        }
    }
}

// Writes all of iov, which is used up by it.
static bool write_all(struct file *file, uint64_t offset, struct iovec *iov, int count,
                      struct err *err)
{
    while (count > 0) {
        if (iov->iov_len == 0) {
            iov++;
            count--;
            continue;
        }
        ssize_t n = pwritev(file->fd, iov, count, (off_t)offset);
        if (n <= 0) {
            if (n < 0 && errno == EINTR)
                continue;
            err_sys(err, n < 0 ? errno : ENOSPC, "cannot write %s at %llu", file->path,
                    (unsigned long long)offset);
            return false;
        }
        offset += (uint64_t)n;
        for (size_t left = (size_t)n; left > 0;) {
            size_t step = left < iov->iov_len ? left : iov->iov_len;
            iov->iov_base = (char *)iov->iov_base + step;
            iov->iov_len -= step;
            left -= step;
            if (iov->iov_len == 0) {
                iov++;
                count--;
            }
        }
    }
    return true;
}

bool file_write(struct file *file, uint64_t offset, const struct file_piece *pieces, size_t count,
                struct err *err)
{
    enum { BATCH = 1024 }; // IOV_MAX of Linux
    struct iovec iov[BATCH];
    while (count > 0) {
        size_t some = count < BATCH ? count : BATCH;
        uint64_t bytes = 0;
        for (size_t i = 0; i < some; i++) {
            iov[i] = (struct iovec){(void *)pieces[i].bytes, pieces[i].len};
            bytes += pieces[i].len;
        }
        if (!write_all(file, offset, iov, (int)some, err))
            return false;
        offset += bytes;
        pieces += some;
        count -= some;
    }
    return true;
}

bool file_sync(struct file *file, struct err *err)
{
    if (fdatasync(file->fd) == 0)
        return true;
    err_sys(err, errno, "cannot bring %s to the disk", file->path);
    return false;
}

bool file_size(struct file *file, uint64_t *size_out, struct err *err)
{
    struct stat st;
    if (fstat(file->fd, &st) != 0) {
        err_sys(err, errno, "cannot tell the size of %s", file->path);
        return false;
    }
    *size_out = (uint64_t)st.st_size;
    return true;
}

static struct path_facts facts_of(const struct stat *st)
{
    return (struct path_facts){
        .size = (uint64_t)st->st_size,
        .mode = st->st_mode & 07777,
        .uid = st->st_uid,
        .gid = st->st_gid,
        .links = (uint32_t)st->st_nlink,
        .modified_ms = (int64_t)st->st_mtim.tv_sec * 1000 + st->st_mtim.tv_nsec / 1000000,
        .is_file = S_ISREG(st->st_mode),
        .is_dir = S_ISDIR(st->st_mode),
    };
}

bool file_stat(struct file *file, struct path_facts *facts_out, struct err *err)
{
    struct stat st;
    if (fstat(file->fd, &st) != 0) {
        err_sys(err, errno, "cannot look at %s", file->path);
        return false;
    }
    *facts_out = facts_of(&st);
    return true;
}

bool file_set_mode(struct file *file, unsigned mode, struct err *err)
{
    if (fchmod(file->fd, (mode_t)mode) == 0)
        return true;
    err_sys(err, errno, "cannot set the rights of %s", file->path);
    return false;
}

bool file_set_owner(struct file *file, uint32_t uid, uint32_t gid, struct err *err)
{
    struct stat st;
    if (fstat(file->fd, &st) == 0 && st.st_uid == uid && st.st_gid == gid)
        return true;
    if (fchown(file->fd, uid, gid) == 0)
        return true;
    err_sys(err, errno, "cannot give %s to its owner", file->path);
    return false;
}

bool file_sync_names(struct file *file, struct err *err)
{
    if (syncfs(file->fd) == 0)
        return true;
    err_sys(err, errno, "cannot bring the file system of %s to the disk", file->path);
    return false;
}

// Hands the pages to the disk and waits until it has written them. Not that they stay there: that
// is for file_sync. Whoever syncs another file meanwhile has no more than these before it in the
// queue, where a whole segment's would hold it up for as long as they take.
static bool write_out(struct file *file, uint64_t at, uint64_t len, struct err *err)
{
    const unsigned all =
        SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
    if (sync_file_range(file->fd, (off_t)at, (off_t)len, all) == 0 || errno == ENOSYS ||
        errno == EINVAL || errno == ESPIPE || errno == EOPNOTSUPP)
        return true;
    err_sys(err, errno, "cannot bring %s to the disk", file->path);
    return false;
}

bool file_allocate(struct file *file, uint64_t size, struct err *err)
{
    enum { STEP = 1024 * 1024 };
    uint64_t before;
    if (!file_size(file, &before, err))
        return false;
    if (before >= size)
        return true;
    // fallocate finds the room in one piece, or says at once that there is none; but its blocks are
    // marked as unwritten, and the first write to each would change the file system's books. So
    // they are really written.
    bool good = fallocate(file->fd, 0, (off_t)before, (off_t)(size - before)) == 0 ||
                errno == EOPNOTSUPP || errno == ENOSYS;
    if (!good)
        err_sys(err, errno, "cannot reserve %llu bytes for %s", (unsigned long long)size,
                file->path);
    char *zeros = xcalloc(1, STEP);
    for (uint64_t at = before; good && at < size; at += STEP) {
        uint64_t len = size - at < STEP ? size - at : STEP;
        struct iovec iov = {zeros, len};
        good = write_all(file, at, &iov, 1, err) && write_out(file, at, len, err);
    }
    xfree(zeros);
    if (!good && ftruncate(file->fd, (off_t)before) != 0) {
        // The room stays taken until the file goes; the caller hears of the first trouble.
    }
    return good;
}

bool file_truncate(struct file *file, uint64_t size, struct err *err)
{
    int rc;
    do
        rc = ftruncate(file->fd, (off_t)size);
    while (rc != 0 && errno == EINTR);
    if (rc != 0)
        err_sys(err, errno, "cannot cut %s to %llu bytes", file->path, (unsigned long long)size);
    return rc == 0;
}

bool file_lock(struct file *file, struct err *err)
{
    // A lock of the open file, not of the process: closing another descriptor of the same file does
    // not lose it.
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(file->fd, F_OFD_SETLK, &whole) == 0)
        return true;
    if (errno == EAGAIN || errno == EACCES) {
        err_set(err, "%s is locked: another process uses it", file->path);
        err->code = EWOULDBLOCK;
    } else {
        err_sys(err, errno, "cannot lock %s", file->path);
    }
    return false;
}

bool dir_make(const char *path, unsigned mode, struct err *err)
{
    struct stat st;
    int rc = mkdir(path, (mode_t)mode);
    if (rc == 0 && (rc = chmod(path, (mode_t)mode)) == 0)
        return true;
    int code = errno;
    if (code == EEXIST && stat(path, &st) == 0) {
        if (S_ISDIR(st.st_mode))
            return true;
        code = ENOTDIR;
    }
    err_sys(err, code, "cannot make the directory %s", path);
    return false;
}

bool dir_set_mode(const char *path, unsigned mode, struct err *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    bool good = fd >= 0 && fchmod(fd, (mode_t)mode) == 0;
    if (!good)
        err_sys(err, errno, "cannot set the rights of the directory %s", path);
    if (fd >= 0)
        close(fd);
    return good;
}

bool dir_sync(const char *path, struct err *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        err_sys(err, errno, "cannot open the directory %s", path);
        return false;
    }
    bool good = fsync(fd) == 0;
    if (!good)
        err_sys(err, errno, "cannot bring the directory %s to the disk", path);
    close(fd);
    return good;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

char **dir_list(const char *path, struct err *err)
{
    DIR *dir = opendir(path);
    if (dir == NULL) {
        err_sys(err, errno, "cannot list the directory %s", path);
        return NULL;
    }
    size_t count = 0, room = 16;
    char **names = xmalloc(room * sizeof(*names));
    struct dirent *entry;
    while (errno = 0, (entry = readdir(dir)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (count + 1 == room)
            names = xrealloc(names, (room *= 2) * sizeof(*names));
        names[count++] = xstrdup(entry->d_name);
    }
    int code = errno;
    closedir(dir);
    names[count] = NULL;
    if (code != 0) {
        err_sys(err, code, "cannot list the directory %s", path);
        dir_list_free(&names);
        return NULL;
    }
    qsort(names, count, sizeof(*names), by_name);
    return names;
}

void dir_list_free(char ***names)
{
    if (*names == NULL)
        return;
    for (char **name = *names; *name != NULL; name++)
        xfree(*name);
    xfree(*names);
    *names = NULL;
}

bool path_rename(const char *from, const char *to, struct err *err)
{
    if (rename(from, to) == 0)
        return true;
    err_sys(err, errno, "cannot rename %s to %s", from, to);
    return false;
}

bool path_remove(const char *path, struct err *err)
{
    if (remove(path) == 0 || errno == ENOENT)
        return true;
    err_sys(err, errno, "cannot remove %s", path);
    return false;
}

bool path_may(const char *path, enum path_use use, struct err *err)
{
    static const int modes[] = {
        [PATH_SEARCH] = X_OK, [PATH_WRITE] = W_OK | X_OK, [PATH_RUN] = X_OK};
    struct stat st;
    int rc = stat(path, &st);
    bool kind = rc == 0 && (use == PATH_RUN ? S_ISREG(st.st_mode) : S_ISDIR(st.st_mode));
    if (kind && faccessat(AT_FDCWD, path, modes[use], AT_EACCESS) == 0)
        return true;
    if (rc == 0 && !kind) {
        err_set(err, "%s is no %s", path, use == PATH_RUN ? "program" : "directory");
        err->code = use == PATH_RUN ? EACCES : ENOTDIR;
    } else {
        err_sys(err, errno, "%s cannot be %s as user %u", path,
                use == PATH_RUN     ? "run"
                : use == PATH_WRITE ? "written to"
                                    : "used",
                (unsigned)geteuid());
    }
    return false;
}

bool path_exists(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0;
}

bool disk_free(const char *path, uint64_t *bytes_out, uint64_t *inodes_out, struct err *err)
{
    struct statvfs vfs;
    int rc;
    do
        rc = statvfs(path, &vfs);
    while (rc != 0 && errno == EINTR);
    if (rc != 0) {
        err_sys(err, errno, "cannot ask how full the disk of %s is", path);
        return false;
    }
    *bytes_out = (uint64_t)vfs.f_bavail * vfs.f_frsize;
    // Some file systems make inodes as they go and count none.
    *inodes_out = vfs.f_files == 0 ? UINT64_MAX : vfs.f_favail;
    return true;
}

static bool stat_path(const char *path, int flags, struct path_facts *facts_out, struct err *err)
{
    struct stat st;
    if (fstatat(AT_FDCWD, path, &st, flags) != 0) {
        err_sys(err, errno, "cannot look at %s", path);
        return false;
    }
    *facts_out = facts_of(&st);
    return true;
}

bool path_stat(const char *path, struct path_facts *facts_out, struct err *err)
{
    return stat_path(path, AT_SYMLINK_NOFOLLOW, facts_out, err);
}

bool path_stat_follow(const char *path, struct path_facts *facts_out, struct err *err)
{
    return stat_path(path, 0, facts_out, err);
}

char *path_real(const char *path, struct err *err)
{
    char real[PATH_MAX];
    if (realpath(path, real) != NULL)
        return xstrdup(real);
    err_sys(err, errno, "cannot find %s", path);
    return NULL;
}

char *file_slurp(const char *path, size_t max, size_t *len_out, struct err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0) {
        set_open_err(err, path, errno);
        return NULL;
    }
    size_t len = 0, room = max < 4096 ? max + 1 : 4096;
    char *text = xmalloc(room + 1);
    for (;;) {
        ssize_t n = read(fd, text + len, room - len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            err_sys(err, errno, "cannot read %s", path);
        len += n > 0 ? (size_t)n : 0;
        if (len > max)
            err_set(err, "%s is larger than the %zu bytes it may have", path, max);
        if (n < 0 || len > max) {
            close(fd);
            explicit_bzero(text, len);
            xfree(text);
            return NULL;
        }
        if (n == 0)
            break;
        if (len == room) {
            // One byte beyond max, so that a file too large shows itself.
            room = room * 2 < max + 1 ? room * 2 : max + 1;
            text = xrealloc(text, room + 1);
        }
    }
    close(fd);
    text[len] = '\0';
    *len_out = len;
    return text;
}
