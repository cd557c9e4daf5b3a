// SPDX-License-Identifier: ISC
// What is kept, what goes, and what is never touched.
#include "archive/shelf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { DAY_MS = 86400000 };
static const int64_t now = 1795252020000; // 2026-11-21 09:07 UTC
static char dir[64];

static int begin(void **state)
{
    snprintf(dir, sizeof(dir), "/tmp/waypost-shelf-test.XXXXXX");
    return mkdtemp(dir) == NULL;
}

static int end(void **state)
{
    char command[100];
    snprintf(command, sizeof(command), "rm -rf '%s'", dir);
    return system(command);
}

static bool there(const char *name)
{
    char path[200];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    return path_exists(path);
}

static const char *put(uint64_t id, int64_t at_ms, size_t size, char name[SHELF_NAME])
{
    struct err err;
    char bytes[1000] = {0};
    struct file_piece piece = {bytes, size};
    struct file *file = shelf_begin(dir, shelf_name(id, at_ms, 0, name), size, &err);
    assert_non_null(file);
    assert_false(there(name)); // before it is whole
    assert_true(file_write(file, 0, &piece, 1, &err));
    assert_true(shelf_end(dir, name, &file, &err));
    assert_true(there(name));
    return name;
}

static void a_name_tells_the_local_time(void **state)
{
    char name[SHELF_NAME];
    assert_memory_equal(shelf_name(77, now, 0, name), "2026-11-21/090700-", 18);
    assert_memory_equal(shelf_name(77, now, -600, name), "2026-11-20/230700-", 18);
}

static void old_days_go(void **state)
{
    char old[SHELF_NAME], edge[SHELF_NAME], fresh[SHELF_NAME], other[200];
    uint64_t bytes;
    struct err err;
    put(1, now - 4 * DAY_MS, 100, old);
    put(2, now - 3 * DAY_MS, 100, edge);
    put(3, now, 100, fresh);
    snprintf(other, sizeof(other), "%s/notes", dir);
    assert_true(dir_make(other, 0700, &err));
    assert_true(shelf_sweep(dir, now, 0, 3 * DAY_MS, 1000, &bytes, &err));
    assert_false(there(old) || there("2026-11-17"));
    assert_true(there(edge) && there(fresh) && there("notes"));
    assert_int_equal(bytes, 200);
    assert_true(shelf_sweep(dir, now, 0, 0, 1000, &bytes, &err)); // without an end by time
    assert_int_equal(bytes, 200);
}

static void the_oldest_go_when_it_is_too_much(void **state)
{
    char name[5][SHELF_NAME], stranger[200];
    uint64_t bytes;
    struct err err;
    for (int i = 0; i < 5; i++)
        put((uint64_t)i + 1, now + i * DAY_MS / 2, 300, name[i]);
    snprintf(stranger, sizeof(stranger), "%s/2026-11-21/readme", dir);
    struct file *file = file_open(stranger, FILE_CREATE_NEW, &err);
    file_close(&file);
    assert_true(shelf_sweep(dir, now, 0, 0, 900, &bytes, &err));
    assert_false(there(name[0]) || there(name[1]));
    assert_true(there(name[2]) && there(name[3]) && there(name[4]));
    assert_true(there("2026-11-21/readme")); // and so its day
    assert_int_equal(bytes, 900);
}

static void what_was_left_half_written_goes(void **state)
{
    char name[SHELF_NAME], half[SHELF_NAME + 8];
    uint64_t bytes;
    struct err err;
    struct file *file = shelf_begin(dir, shelf_name(9, now, 0, name), 100, &err);
    file_close(&file);
    snprintf(half, sizeof(half), "%s.new", name);
    assert_true(there(half));
    assert_true(shelf_sweep(dir, now, 0, 0, 900, &bytes, &err));
    assert_false(there(half));
    file = shelf_begin(dir, name, 100, &err);
    shelf_abandon(dir, name, &file);
    assert_false(there(half) || there(name));
}

static void a_missing_directory_is_told(void **state)
{
    uint64_t bytes;
    struct err err = {0};
    assert_false(shelf_sweep("/nowhere/at/all", now, 0, 0, 900, &bytes, &err));
    assert_true(err.text[0] != '\0');
    assert_null(shelf_begin("/nowhere/at/all", "2026-11-21/090700-X.eml", 1, &err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_name_tells_the_local_time, begin, end),
        cmocka_unit_test_setup_teardown(old_days_go, begin, end),
        cmocka_unit_test_setup_teardown(the_oldest_go_when_it_is_too_much, begin, end),
        cmocka_unit_test_setup_teardown(what_was_left_half_written_goes, begin, end),
        cmocka_unit_test_setup_teardown(a_missing_directory_is_told, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
