// SPDX-License-Identifier: ISC
// Files: whole reads and writes, links not followed, locks, room, directories.
#include "base/buf.h"
#include "base/mem.h"
#include "sys/file.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

// Each test gets an empty directory of its own as the current one.
static char place[] = "/tmp/waypost-file-XXXXXX";

static int enter(void **state)
{
    memcpy(strchr(place, '\0') - 6, "XXXXXX", 6);
    return mkdtemp(place) != NULL && chdir(place) == 0 ? 0 : -1;
}
static int leave(void **state)
{
    struct err err;
    char **names = dir_list(".", &err);
    if (names == NULL)
        return -1;
    for (char **name = names; *name != NULL; name++)
        path_remove(*name, &err);
    dir_list_free(&names);
    return chdir("/") == 0 && rmdir(place) == 0 ? 0 : -1;
}

static void put(const char *path, const char *text)
{
    struct err err;
    struct file *file = file_open(path, FILE_CREATE, &err);
    struct file_piece piece = {text, strlen(text)};
    assert_non_null(file);
    assert_true(file_write(file, 0, &piece, 1, &err));
    file_close(&file);
    assert_null(file);
}

static void many_pieces_are_written_as_one(void **state)
{
    enum { COUNT = 5000 }; // more than one system call takes
    struct err err;
    struct file_piece *pieces = xcalloc(COUNT, sizeof(*pieces));
    struct buf want;
    buf_init(&want, 1024 * 1024);
    for (int i = 0; i < COUNT; i++) {
        static const char text[] = "0123456789abcdefghijklmnopqrstuvwxyz";
        pieces[i] = (struct file_piece){text, (size_t)i % sizeof(text)}; // some are empty
        buf_append(&want, pieces[i].bytes, pieces[i].len);
    }
    struct file *file = file_open("pieces", FILE_CREATE_NEW, &err);
    assert_true(file_write(file, 3, pieces, COUNT, &err));
    assert_true(file_write(file, 0, (struct file_piece[]){{"xyz", 3}}, 1, &err));
    assert_true(file_sync(file, &err));
    char *got = xmalloc(want.len + 100);
    assert_int_equal(file_read(file, 0, got, want.len + 100, &err), (ssize_t)want.len + 3);
    assert_memory_equal(got, "xyz", 3);
    assert_memory_equal(got + 3, want.data, want.len);
    assert_int_equal(file_read(file, want.len + 3, got, 10, &err), 0);
    uint64_t size;
    assert_true(file_size(file, &size, &err));
    assert_int_equal(size, want.len + 3);
    assert_true(file_truncate(file, 5, &err));
    assert_int_equal(file_read(file, 0, got, 10, &err), 5);
    file_close(&file);
    file_close(&file);
    xfree(got);
    xfree(pieces);
    buf_free(&want);
}

static void a_short_write_goes_on_and_ends_with_a_reason(void **state)
{
    // A limit in the middle of the write makes the kernel take only the first part.
    struct err err;
    struct rlimit before, small;
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before);
    small = before;
    small.rlim_cur = 10000;
    struct file *file = file_open("short", FILE_CREATE_NEW, &err);
    char bytes[4000] = {0};
    struct file_piece pieces[3] = {{bytes, 4000}, {bytes, 4000}, {bytes, 4000}};
    setrlimit(RLIMIT_FSIZE, &small);
    bool good = file_write(file, 0, pieces, 3, &err);
    setrlimit(RLIMIT_FSIZE, &before);
    assert_false(good);
    assert_int_equal(err.code, EFBIG);
    assert_non_null(strstr(err.text, "cannot write short at "));
    uint64_t size;
    assert_true(file_size(file, &size, &err));
    assert_int_equal(size, 10000);
    file_close(&file);
}

static void opening_says_why_not(void **state)
{
    struct err err;
    assert_null(file_open("none", FILE_READ, &err));
    assert_int_equal(err.code, ENOENT);
    assert_string_equal(err.text, "cannot open none: No such file or directory");
    put("there", "x");
    assert_null(file_open("there", FILE_CREATE_NEW, &err));
    assert_int_equal(err.code, EEXIST);
    struct path_facts facts;
    assert_true(path_stat("there", &facts, &err));
    assert_int_equal(facts.mode, 0600);
}

static void links_and_special_files_are_refused(void **state)
{
    struct err err;
    put("target", "secret");
    assert_int_equal(symlink("target", "link"), 0);
    assert_int_equal(symlink("nowhere", "dangling"), 0);
    assert_null(file_open("link", FILE_READ, &err));
    assert_int_equal(err.code, ELOOP);
    assert_null(file_open("dangling", FILE_CREATE, &err));
    assert_false(path_exists("nowhere"));
    assert_true(path_exists("dangling"));
    assert_int_equal(mkfifo("pipe", 0600), 0);
    assert_null(file_open("pipe", FILE_READ, &err)); // does not hang
    assert_int_equal(err.code, EINVAL);
    assert_null(file_open(".", FILE_READ, &err));
    struct path_facts facts;
    assert_true(path_stat("link", &facts, &err));
    assert_false(facts.is_file);
    size_t len;
    char *text = file_slurp("link", 100, &len, &err);
    assert_string_equal(text, "secret");
    xfree(text);
}

static void slurp_knows_its_limit(void **state)
{
    struct err err;
    size_t len;
    put("ten", "0123456789");
    for (size_t max = 0; max < 20; max++) {
        char *text = file_slurp("ten", max, &len, &err);
        assert_int_equal(text != NULL, max >= 10);
        if (text != NULL) {
            assert_int_equal(len, 10);
            assert_string_equal(text, "0123456789");
        }
        xfree(text);
    }
    struct file *file = file_open("big", FILE_CREATE_NEW, &err);
    assert_true(file_allocate(file, 100000, &err));
    file_close(&file);
    char *text = file_slurp("big", 100000, &len, &err);
    assert_int_equal(len, 100000);
    xfree(text);
    assert_null(file_slurp("big", 99999, &len, &err));
    assert_null(file_slurp(".", 99999, &len, &err));
    put("empty", "");
    text = file_slurp("empty", 0, &len, &err);
    assert_string_equal(text, "");
    xfree(text);
}

static void a_lock_holds_against_others_until_closed(void **state)
{
    struct err err;
    struct file *first = file_open("lock", FILE_CREATE, &err);
    struct file *second = file_open("lock", FILE_CREATE, &err);
    struct file *third = file_open("lock", FILE_CREATE, &err);
    assert_true(file_lock(first, &err));
    assert_true(file_lock(first, &err));
    assert_false(file_lock(second, &err));
    assert_int_equal(err.code, EWOULDBLOCK);
    assert_string_equal(err.text, "lock is locked: another process uses it");
    file_close(&third); // an ordinary POSIX lock would go with it
    assert_false(file_lock(second, &err));
    file_close(&first);
    assert_true(file_lock(second, &err));
    file_close(&second);
}

static void allocated_room_is_really_there_and_zero(void **state)
{
    struct err err;
    enum { SIZE = 3 * 1024 * 1024 + 17 };
    put("segment", "head");
    struct file *file = file_open("segment", FILE_WRITE, &err);
    assert_true(file_allocate(file, SIZE, &err));
    uint64_t size;
    assert_true(file_size(file, &size, &err));
    assert_int_equal(size, SIZE);
    char *bytes = xmalloc(SIZE);
    assert_int_equal(file_read(file, 0, bytes, SIZE, &err), SIZE);
    assert_memory_equal(bytes, "head", 4);
    for (size_t i = 4; i < SIZE; i++)
        assert_int_equal(bytes[i], 0);
    struct stat st;
    assert_int_equal(stat("segment", &st), 0);
    assert_true(st.st_blocks * 512 >= SIZE);
    assert_true(file_allocate(file, 10, &err)); // never shrinks
    assert_true(file_size(file, &size, &err));
    assert_int_equal(size, SIZE);
    file_close(&file);
    xfree(bytes);
}

static void room_that_cannot_be_had_leaves_the_file_as_it_was(void **state)
{
    struct err err;
    struct rlimit before, small;
    signal(SIGXFSZ, SIG_IGN);
    put("segment", "head");
    struct file *file = file_open("segment", FILE_WRITE, &err);
    getrlimit(RLIMIT_FSIZE, &before);
    small = before;
    small.rlim_cur = 2 * 1024 * 1024;
    setrlimit(RLIMIT_FSIZE, &small);
    bool good = file_allocate(file, 8 * 1024 * 1024, &err);
    setrlimit(RLIMIT_FSIZE, &before);
    assert_false(good);
    assert_int_equal(err.code, EFBIG);
    uint64_t size;
    assert_true(file_size(file, &size, &err));
    assert_int_equal(size, 4);
    file_close(&file);
}

static void reading_now_gives_cached_bytes_and_the_end(void **state)
{
    struct err err;
    char got[16];
    put("cached", "hello world");
    struct file *file = file_open("cached", FILE_READ, &err);
    ssize_t n = file_read_now(file, 6, got, sizeof(got), &err);
    if (n != -2) { // the file system may have dropped it already
        assert_int_equal(n, 5);
        assert_memory_equal(got, "world", 5);
    }
    assert_int_equal(file_read_now(file, 11, got, sizeof(got), &err), 0);
    file_close(&file);
}

static void directories_list_in_order(void **state)
{
    struct err err;
    assert_true(dir_make("sub", 0700, &err));
    assert_true(dir_make("sub", 0700, &err));
    put("b", "");
    put("a", "");
    put("plain", "x");
    assert_false(dir_make("plain", 0700, &err));
    assert_int_equal(err.code, ENOTDIR);
    assert_false(dir_make("none/deep", 0700, &err));
    assert_true(path_rename("b", "c", &err));
    assert_false(path_rename("b", "d", &err));
    assert_true(dir_sync(".", &err));
    assert_false(dir_sync("none", &err));
    char **names = dir_list(".", &err);
    const char *const want[] = {"a", "c", "plain", "sub"};
    for (size_t i = 0; i < 4; i++)
        assert_string_equal(names[i], want[i]);
    assert_null(names[4]);
    dir_list_free(&names);
    assert_null(names);
    assert_null(dir_list("none", &err));
    assert_int_equal(err.code, ENOENT);
    assert_true(path_remove("a", &err));
    assert_true(path_remove("a", &err));
    struct path_facts facts;
    assert_true(path_stat("sub", &facts, &err));
    assert_true(facts.is_dir && !facts.is_file && facts.mode == 0700 && facts.uid == geteuid());
    uint64_t bytes, inodes;
    assert_true(disk_free(".", &bytes, &inodes, &err));
    assert_true(bytes > 0 && inodes > 0);
    assert_false(disk_free("none", &bytes, &inodes, &err));
}

static void rights_are_exact(void **state)
{
    struct err err;
    struct path_facts facts;
    mode_t before = umask(0077);
    assert_true(dir_make("wide", 03733, &err));
    assert_true(path_stat("wide", &facts, &err));
    assert_int_equal(facts.mode, 03733);
    // One that exists stays as its owner wants it.
    assert_true(dir_make("wide", 0700, &err));
    assert_true(path_stat("wide", &facts, &err));
    assert_int_equal(facts.mode, 03733);
    assert_true(dir_set_mode("wide", 0711, &err));
    assert_true(path_stat("wide", &facts, &err));
    assert_int_equal(facts.mode, 0711);
    assert_int_equal(symlink("wide", "way"), 0);
    assert_false(dir_set_mode("way", 0777, &err));
    struct file *file = file_open("letter", FILE_CREATE_NEW, &err);
    assert_true(file_set_mode(file, 0640, &err));
    assert_true(file_stat(file, &facts, &err));
    assert_true(facts.is_file && facts.mode == 0640 && facts.links == 1 && facts.size == 0);
    // What is open is looked at, not what has its name by now.
    assert_int_equal(link("letter", "second"), 0);
    assert_true(path_remove("letter", &err));
    put("letter", "another");
    assert_true(path_rename("letter", "second", &err));
    assert_true(file_stat(file, &facts, &err));
    assert_true(facts.links == 0 && facts.size == 0);
    assert_true(file_sync_names(file, &err));
    file_close(&file);
    umask(before);
}

static void looking_follows_links_where_asked(void **state)
{
    struct err err;
    struct path_facts facts;
    put("secret", "x");
    assert_int_equal(chmod("secret", 0604), 0);
    assert_int_equal(symlink("secret", "current"), 0);
    assert_true(path_stat("current", &facts, &err));
    assert_true(!facts.is_file && !facts.is_dir);
    assert_true(path_stat_follow("current", &facts, &err));
    assert_true(facts.is_file && facts.mode == 0604 && facts.size == 1);
    assert_false(path_stat_follow("none", &facts, &err));
    assert_int_equal(err.code, ENOENT);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, enter, leave)
    const struct CMUnitTest tests[] = {
        CASE(many_pieces_are_written_as_one),
        CASE(a_short_write_goes_on_and_ends_with_a_reason),
        CASE(opening_says_why_not),
        CASE(links_and_special_files_are_refused),
        CASE(slurp_knows_its_limit),
        CASE(a_lock_holds_against_others_until_closed),
        CASE(allocated_room_is_really_there_and_zero),
        CASE(room_that_cannot_be_had_leaves_the_file_as_it_was),
        CASE(reading_now_gives_cached_bytes_and_the_end),
        CASE(directories_list_in_order),
        CASE(rights_are_exact),
        CASE(looking_follows_links_where_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
