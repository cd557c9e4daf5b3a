// SPDX-License-Identifier: ISC
// The disk that tears and forgets: files and directories in memory, each with what programs see now
// and what would be found after a power cut.
//
// A file is pages of 4096 bytes. A page that was written since the last sync is `split`: `now` is
// what programs read, `disk` what the platter holds, `dirty` which of its 512-byte sectors a sync
// would write. A sync that fails writes some of them and marks the others clean all the same: they
// are lost at the next power cut, and the next sync says all is well.
//
// A directory has its names as seen, the names on the platter, and the changes between the two in
// order. dir_sync makes all changes durable. At a power cut each change survives or not by itself;
// the two halves of a rename share their fate.
//
// What must hold:
//  1. What a successful file_sync covered is found after any crash, if the name is (dir_sync).
//  2. WORLD_KILLED changes nothing here but open files and locks: the kernel lives on.
//  3. An inode lives while a name, a name on the platter, a change or an open file refers to it.
#include "sim/inside.h"
#include "sys/clock.h"
#include "sys/file.h"
#include "sys/host.h"

#include <errno.h>
#include <stdlib.h>

enum { SECTOR = 512, PAGE = 4096, NAME_MAX_LEN = 255 };

struct page {
    unsigned char *now;  // NULL: zeros
    unsigned char *disk; // while split; NULL: zeros
    uint8_t dirty;       // sectors a sync would write
    bool split;
    bool listed; // in inode.split_pages
};

struct inode {
    struct link all;
    bool is_dir;
    unsigned refs;         // invariant 3
    unsigned names, opens; // as seen now; both 0: its space is free
    unsigned mode;
    int64_t modified_ms;
    struct file *locked_by;
    uint64_t charged; // bytes of the disk it takes
    // A file
    struct page *pages;
    size_t page_count;
    uint64_t size, disk_size, reserved;
    size_t *split_pages;
    size_t split_count, split_cap;
    // A directory
    struct link entries, disk_entries, changes;
};

struct entry {
    struct link all;
    struct inode *inode; // of a change: NULL removes the name
    uint64_t group;      // of a change: halves of a rename share it
    char name[NAME_MAX_LEN + 1];
};

struct file {
    struct link all;
    enum sim_owner owner;
    struct inode *inode;
    enum file_mode mode;
    char path[512];
};

static struct link inodes, open_files;
static struct inode *root;
static uint64_t next_group;
static uint64_t used_bytes, limit_bytes;
static bool lose_syncs;
static struct {
    uint64_t calls, fail_at;
    int64_t stall_us; // of the next call
    int code;
    bool then_on;
} ops[WORLD_DISK_OPS];

// ---- Faults. ----

void world_disk_fail(enum world_disk_op op, uint64_t nth, int code, bool from_then_on)
{
    ops[op].fail_at = nth > 0 ? ops[op].calls + nth : 0;
    ops[op].code = code;
    ops[op].then_on = from_then_on;
}

void world_disk_stall(enum world_disk_op op, int64_t ms)
{
    ops[op].stall_us = ms * 1000;
}

void world_disk_heal(void)
{
    for (size_t i = 0; i < WORLD_DISK_OPS; i++)
        ops[i].fail_at = 0;
    limit_bytes = UINT64_MAX;
}

uint64_t world_disk_calls(enum world_disk_op op)
{
    return ops[op].calls;
}

void world_disk_limit(uint64_t bytes)
{
    limit_bytes = bytes;
}

uint64_t world_disk_used(void)
{
    return used_bytes;
}

void world_lose_syncs(bool lose)
{
    lose_syncs = lose;
}

// The errno of the failure asked for, 0 for none. Also takes the time the call takes.
static int disk_call(enum world_disk_op op, enum sim_owner caller)
{
    if (caller != SIM_DAEMON)
        return 0;
    ops[op].calls++;
    sim_trace(0xd15c + op);
    if (op == WORLD_DISK_SYNC || op == WORLD_DISK_DIR_SYNC)
        sim_spend_us(50 + (int64_t)sim_below(sim_chance(5) ? 1000000 : 3000));
    else
        sim_spend_us(1 + (int64_t)sim_below(sim_chance(20) ? 5000 : 20));
    if (ops[op].stall_us > 0)
        sim_spend_us(ops[op].stall_us);
    ops[op].stall_us = 0;
    uint64_t at = ops[op].fail_at;
    if (at == 0 || (ops[op].then_on ? ops[op].calls < at : ops[op].calls != at))
        return 0;
    return ops[op].code;
}

static bool failed(struct err *err, int code, const char *what, const char *path)
{
    err_sys(err, code, "cannot %s %s", what, path);
    return false;
}

// ---- Inodes. ----

static bool charge(struct inode *inode, uint64_t bytes)
{
    bytes = (bytes + PAGE - 1) / PAGE * PAGE;
    if (inode->names == 0 && inode->opens == 0)
        bytes = 0;
    if (bytes > inode->charged) {
        uint64_t more = bytes - inode->charged;
        if (used_bytes > limit_bytes || more > limit_bytes - used_bytes)
            return false;
    }
    used_bytes = used_bytes - inode->charged + bytes;
    inode->charged = bytes;
    return true;
}

static uint64_t wanted_bytes(const struct inode *inode)
{
    if (inode->is_dir)
        return PAGE;
    return inode->size > inode->reserved ? inode->size : inode->reserved;
}

static struct inode *inode_new(bool is_dir, unsigned mode)
{
    struct inode *inode = sim_alloc(SIM_WORLD, sizeof(*inode));
    inode->is_dir = is_dir;
    inode->mode = mode;
    inode->modified_ms = clock_wall_ms();
    list_init(&inode->entries);
    list_init(&inode->disk_entries);
    list_init(&inode->changes);
    list_append(&inodes, &inode->all);
    return inode;
}

static void inode_unref(struct inode *inode);

static void entry_free(struct entry *e)
{
    struct inode *inode = e->inode;
    list_remove(&e->all);
    xfree(e);
    if (inode != NULL)
        inode_unref(inode);
}

static void entries_clear(struct link *list)
{
    struct entry *e;
    list_each (list, e, struct entry, all)
        entry_free(e);
}

static void page_clear(struct page *p)
{
    xfree(p->now);
    if (p->split)
        xfree(p->disk);
    *p = (struct page){.listed = p->listed};
}

static void inode_unref(struct inode *inode)
{
    assert(inode->refs > 0);
    if (--inode->refs > 0)
        return;
    struct entry *e;
    list_each (&inode->entries, e, struct entry, all)
        e->inode->names--;
    entries_clear(&inode->entries);
    entries_clear(&inode->disk_entries);
    entries_clear(&inode->changes);
    used_bytes -= inode->charged;
    for (size_t i = 0; i < inode->page_count; i++)
        page_clear(&inode->pages[i]);
    xfree(inode->pages);
    xfree(inode->split_pages);
    list_remove(&inode->all);
    xfree(inode);
}

static struct entry *entry_find(struct link *list, const char *name)
{
    struct entry *e;
    list_each (list, e, struct entry, all)
        if (strcmp(e->name, name) == 0)
            return e;
    return NULL;
}

static void entry_add(struct link *list, const char *name, struct inode *inode, uint64_t group)
{
    struct entry *e = sim_alloc(SIM_WORLD, sizeof(*e));
    snprintf(e->name, sizeof(e->name), "%s", name);
    e->inode = inode;
    e->group = group;
    if (inode != NULL)
        inode->refs++;
    list_append(list, &e->all);
}

// Makes `name` mean `inode` (NULL: nothing) in a list of names.
static void entry_set(struct link *list, const char *name, struct inode *inode)
{
    if (inode != NULL)
        inode->refs++;
    struct entry *e = entry_find(list, name);
    if (e != NULL)
        entry_free(e);
    if (inode != NULL) {
        entry_add(list, name, inode, 0);
        inode_unref(inode);
    }
}

// The same as seen by programs, remembered as a change that is not yet durable.
static void dir_change(struct inode *dir, const char *name, struct inode *inode, uint64_t group)
{
    entry_add(&dir->changes, name, inode, group);
    struct entry *old = entry_find(&dir->entries, name);
    struct inode *before = old != NULL ? old->inode : NULL;
    if (before != NULL)
        before->refs++;
    if (inode != NULL)
        inode->names++;
    entry_set(&dir->entries, name, inode);
    if (before != NULL) {
        before->names--;
        charge(before, wanted_bytes(before));
        inode_unref(before);
    }
    if (inode != NULL)
        charge(inode, wanted_bytes(inode));
    dir->modified_ms = clock_wall_ms();
}

// Applies the changes that survive (permille 1000: all) to the names on the platter.
static void dir_settle(struct inode *dir, uint64_t seed, unsigned permille)
{
    struct entry *e;
    list_each (&dir->changes, e, struct entry, all) {
        uint64_t state = seed ^ (e->group * 0x9e3779b97f4a7c15u);
        if (sim_random(&state) % 1000 < permille)
            entry_set(&dir->disk_entries, e->name, e->inode);
    }
    entries_clear(&dir->changes);
}

// ---- Paths. ----

// Finds the directory of a path's last component. NULL with errno code when there is none.
static struct inode *walk(const char *path, char name_out[NAME_MAX_LEN + 1], int *code_out)
{
    struct inode *dir = root;
    struct str rest = str_of(path), part;
    name_out[0] = '\0';
    while (str_split(&rest, '/', &part)) {
        if (part.len == 0 || str_eq(part, STR(".")))
            continue;
        if (name_out[0] != '\0') {
            struct entry *e = entry_find(&dir->entries, name_out);
            *code_out = e == NULL ? ENOENT : ENOTDIR;
            if (e == NULL || !e->inode->is_dir)
                return NULL;
            dir = e->inode;
        }
        *code_out = ENAMETOOLONG;
        if (part.len > NAME_MAX_LEN)
            return NULL;
        memcpy(name_out, part.ptr, part.len);
        name_out[part.len] = '\0';
    }
    return dir;
}

static struct inode *find(const char *path, int *code_out)
{
    char name[NAME_MAX_LEN + 1];
    struct inode *dir = walk(path, name, code_out);
    if (dir == NULL || name[0] == '\0')
        return dir;
    struct entry *e = entry_find(&dir->entries, name);
    *code_out = ENOENT;
    return e != NULL ? e->inode : NULL;
}

// ---- Pages. ----

static struct page *page_at(struct inode *inode, size_t index)
{
    if (index >= inode->page_count) {
        size_t count = inode->page_count > 0 ? inode->page_count : 4;
        while (count <= index)
            count *= 2;
        inode->pages = xrealloc(inode->pages, count * sizeof(*inode->pages));
        memset(inode->pages + inode->page_count, 0,
               (count - inode->page_count) * sizeof(*inode->pages));
        inode->page_count = count;
    }
    return &inode->pages[index];
}

static unsigned char *page_copy(const unsigned char *from)
{
    unsigned char *copy = sim_alloc(SIM_WORLD, PAGE);
    if (from != NULL)
        memcpy(copy, from, PAGE);
    return copy;
}

// Makes a page ready to be changed. `all`: its old contents as seen do not matter.
static struct page *page_split(struct inode *inode, size_t index, bool writable)
{
    struct page *p = page_at(inode, index);
    if (!p->split) {
        p->split = true;
        p->disk = p->now;
        p->now = writable ? page_copy(p->disk) : NULL;
    } else if (p->now == NULL && writable) {
        p->now = page_copy(NULL);
    }
    if (!p->listed) {
        p->listed = true;
        if (inode->split_count == inode->split_cap) {
            inode->split_cap = inode->split_cap > 0 ? inode->split_cap * 2 : 8;
            inode->split_pages =
                xrealloc(inode->split_pages, inode->split_cap * sizeof(*inode->split_pages));
        }
        inode->split_pages[inode->split_count++] = index;
    }
    return p;
}

static void write_range(struct inode *inode, uint64_t offset, const unsigned char *bytes,
                        uint64_t len)
{
    while (len > 0) {
        size_t in_page = (size_t)(offset % PAGE);
        size_t n = PAGE - in_page < len ? PAGE - in_page : (size_t)len;
        struct page *p = page_split(inode, (size_t)(offset / PAGE), true);
        if (bytes != NULL) {
            memcpy(p->now + in_page, bytes, n);
            bytes += n;
        } else {
            memset(p->now + in_page, 0, n);
        }
        for (size_t s = in_page / SECTOR; s <= (in_page + n - 1) / SECTOR; s++)
            p->dirty |= (uint8_t)(1u << s);
        offset += n;
        len -= n;
    }
}

static void read_range(const struct inode *inode, uint64_t offset, unsigned char *out, size_t len)
{
    while (len > 0) {
        size_t in_page = (size_t)(offset % PAGE), index = (size_t)(offset / PAGE);
        size_t n = PAGE - in_page < len ? PAGE - in_page : len;
        const unsigned char *now = index < inode->page_count ? inode->pages[index].now : NULL;
        if (now != NULL)
            memcpy(out, now + in_page, n);
        else
            memset(out, 0, n);
        offset += n;
        out += n;
        len -= n;
    }
}

static void set_size(struct inode *inode, uint64_t size)
{
    if (size < inode->size) {
        uint64_t page_end = (size + PAGE - 1) / PAGE * PAGE;
        uint64_t tail = (page_end < inode->size ? page_end : inode->size) - size;
        write_range(inode, size, NULL, tail);
        for (size_t i = (size_t)(page_end / PAGE); i < inode->page_count; i++) {
            if (!inode->pages[i].split && inode->pages[i].now == NULL)
                continue;
            struct page *p = page_split(inode, i, false);
            xfree(p->now);
            p->now = NULL;
            p->dirty = 0xff;
        }
    }
    inode->size = size;
    inode->modified_ms = clock_wall_ms();
}

// Writes each dirty sector to the platter with the chance given, and ends the page's split when
// both sides are the same again.
static void page_settle(struct page *p, unsigned permille)
{
    for (unsigned s = 0; s < PAGE / SECTOR; s++) {
        if ((p->dirty & (1u << s)) == 0 || (permille < 1000 && !sim_chance(permille)))
            continue;
        if (p->disk == NULL)
            p->disk = page_copy(NULL);
        if (p->now != NULL)
            memcpy(p->disk + s * SECTOR, p->now + s * SECTOR, SECTOR);
        else
            memset(p->disk + s * SECTOR, 0, SECTOR);
    }
    p->dirty = 0;
    static const unsigned char zeros[PAGE];
    const unsigned char *now = p->now != NULL ? p->now : zeros;
    const unsigned char *disk = p->disk != NULL ? p->disk : zeros;
    if (memcmp(now, disk, PAGE) == 0) {
        xfree(p->disk);
        p->disk = NULL;
        p->split = false;
    }
}

static void file_settle(struct inode *inode, unsigned permille)
{
    size_t still = 0;
    for (size_t i = 0; i < inode->split_count; i++) {
        size_t index = inode->split_pages[i];
        struct page *p = &inode->pages[index];
        if (p->split)
            page_settle(p, permille);
        if (p->split)
            inode->split_pages[still++] = index;
        else
            p->listed = false;
    }
    inode->split_count = still;
    if (permille >= 1000 || sim_chance(permille))
        inode->disk_size = inode->size;
}

// What is found after a power cut.
static void file_power_cut(struct inode *inode, unsigned permille)
{
    uint64_t seen = inode->size;
    file_settle(inode, permille);
    // The size is one of both, or somewhere between.
    uint64_t low = seen < inode->disk_size ? seen : inode->disk_size;
    uint64_t high = seen < inode->disk_size ? inode->disk_size : seen;
    uint64_t size = inode->disk_size;
    if (low < high && permille < 1000 && sim_chance(permille) && sim_chance(300))
        size = low + sim_below(high - low);
    for (size_t i = 0; i < inode->split_count; i++) {
        struct page *p = &inode->pages[inode->split_pages[i]];
        xfree(p->now);
        p->now = p->disk;
        p->disk = NULL;
        p->split = p->listed = false;
    }
    inode->split_count = 0;
    inode->size = inode->disk_size = inode->reserved = size;
    for (size_t i = (size_t)((size + PAGE - 1) / PAGE); i < inode->page_count; i++)
        page_clear(&inode->pages[i]);
    if (size % PAGE != 0 && size / PAGE < inode->page_count && inode->pages[size / PAGE].now)
        memset(inode->pages[size / PAGE].now + size % PAGE, 0, PAGE - size % PAGE);
}

// ---- Open files. ----

static struct inode *create(struct inode *dir, const char *name, bool is_dir, unsigned mode,
                            int *code_out)
{
    *code_out = ENOSPC;
    if (is_dir && used_bytes + PAGE > limit_bytes)
        return NULL;
    struct inode *inode = inode_new(is_dir, mode);
    dir_change(dir, name, inode, ++next_group);
    return inode;
}

struct file *file_open(const char *path, enum file_mode mode, struct err *err)
{
    SIM_CALL;
    int code = disk_call(WORLD_DISK_OPEN, SIM_CALLER);
    char name[NAME_MAX_LEN + 1];
    struct inode *dir = code == 0 ? walk(path, name, &code) : NULL;
    struct inode *inode = NULL;
    if (dir != NULL) {
        struct entry *e = name[0] != '\0' ? entry_find(&dir->entries, name) : NULL;
        inode = e != NULL ? e->inode : name[0] == '\0' ? dir : NULL;
        code = ENOENT;
        if (inode == NULL && (mode == FILE_CREATE || mode == FILE_CREATE_NEW)) {
            inode = create(dir, name, false, 0600, &code);
        } else if (inode != NULL && (inode->is_dir || mode == FILE_CREATE_NEW)) {
            code = inode->is_dir ? EISDIR : EEXIST;
            inode = NULL;
        }
    }
    if (inode == NULL) {
        failed(err, code, "open", path);
        return NULL;
    }
    struct file *file = sim_alloc(SIM_CALLER, sizeof(*file));
    file->owner = SIM_CALLER;
    file->inode = inode;
    file->mode = mode;
    snprintf(file->path, sizeof(file->path), "%s", path);
    inode->refs++;
    inode->opens++;
    list_append(&open_files, &file->all);
    return file;
}

static void file_forget(struct file *file)
{
    struct inode *inode = file->inode;
    if (inode->locked_by == file)
        inode->locked_by = NULL;
    list_remove(&file->all);
    inode->opens--;
    charge(inode, wanted_bytes(inode));
    inode_unref(inode);
}

void file_close(struct file **file)
{
    if (*file == NULL)
        return;
    SIM_CALL;
    file_forget(*file);
    xfree(*file);
    *file = NULL;
}

static ssize_t read_some(struct file *file, uint64_t offset, void *out, size_t len)
{
    struct inode *inode = file->inode;
    if (offset >= inode->size)
        return 0;
    if (len > inode->size - offset)
        len = (size_t)(inode->size - offset);
    read_range(inode, offset, out, len);
    return (ssize_t)len;
}

ssize_t file_read(struct file *file, uint64_t offset, void *out, size_t len, struct err *err)
{
    SIM_CALL;
    int code = disk_call(WORLD_DISK_READ, SIM_CALLER);
    if (code != 0) {
        failed(err, code, "read", file->path);
        return -1;
    }
    return read_some(file, offset, out, len);
}

ssize_t file_read_now(struct file *file, uint64_t offset, void *out, size_t len, struct err *err)
{
    SIM_CALL;
    if (SIM_CALLER == SIM_DAEMON && sim_chance(125))
        return -2; // not in memory
    int code = disk_call(WORLD_DISK_READ, SIM_CALLER);
    if (code != 0) {
        failed(err, code, "read", file->path);
        return -1;
    }
    if (SIM_CALLER == SIM_DAEMON && len > 1 && sim_chance(125))
        len = 1 + (size_t)sim_below(len - 1); // only the first part is
    return read_some(file, offset, out, len);
}

bool file_write(struct file *file, uint64_t offset, const struct file_piece *pieces, size_t count,
                struct err *err)
{
    SIM_CALL;
    assert(file->mode != FILE_READ);
    struct inode *inode = file->inode;
    uint64_t total = 0;
    for (size_t i = 0; i < count; i++)
        total += pieces[i].len;
    int code = disk_call(WORLD_DISK_WRITE, SIM_CALLER);
    uint64_t end = offset + total;
    if (code == 0 && end > wanted_bytes(inode) && !charge(inode, end))
        code = ENOSPC;
    uint64_t left = code == 0 ? total : sim_below(total + 1); // a failed write wrote a part
    if (code == ENOSPC && offset + left > wanted_bytes(inode))
        left = 0;
    for (size_t i = 0; i < count && left > 0; i++) {
        uint64_t n = pieces[i].len < left ? pieces[i].len : left;
        write_range(inode, offset, pieces[i].bytes, n);
        offset += n;
        left -= n;
    }
    if (offset > inode->size)
        inode->size = offset;
    charge(inode, wanted_bytes(inode));
    inode->modified_ms = clock_wall_ms();
    sim_trace(total);
    return code == 0 || failed(err, code, "write", file->path);
}

bool file_sync(struct file *file, struct err *err)
{
    SIM_CALL;
    int code = disk_call(WORLD_DISK_SYNC, SIM_CALLER);
    if (code != 0) {
        file_settle(file->inode, (unsigned)sim_below(1000));
        return failed(err, code, "sync", file->path);
    }
    if (!lose_syncs)
        file_settle(file->inode, 1000);
    return true;
}

bool file_allocate(struct file *file, uint64_t size, struct err *err)
{
    SIM_CALL;
    struct inode *inode = file->inode;
    int code = disk_call(WORLD_DISK_ALLOCATE, SIM_CALLER);
    if (code == 0 && size > wanted_bytes(inode) && !charge(inode, size))
        code = ENOSPC;
    if (code != 0)
        return failed(err, code, "reserve space for", file->path);
    if (size > inode->reserved)
        inode->reserved = size;
    if (size > inode->size)
        set_size(inode, size);
    return true;
}

bool file_truncate(struct file *file, uint64_t size, struct err *err)
{
    SIM_CALL;
    struct inode *inode = file->inode;
    int code = disk_call(WORLD_DISK_TRUNCATE, SIM_CALLER);
    if (code == 0 && size > wanted_bytes(inode) && !charge(inode, size))
        code = ENOSPC;
    if (code != 0)
        return failed(err, code, "truncate", file->path);
    if (size < inode->reserved)
        inode->reserved = size;
    set_size(inode, size);
    charge(inode, wanted_bytes(inode));
    return true;
}

bool file_size(struct file *file, uint64_t *size_out, struct err *err)
{
    SIM_CALL;
    *size_out = file->inode->size;
    return true;
}

static struct path_facts facts_of(const struct inode *inode)
{
    return (struct path_facts){
        .size = inode->size,
        .mode = inode->mode,
        .uid = host_uid(),
        .gid = 0,
        .links = inode->is_dir ? 2 : inode->names,
        .modified_ms = inode->modified_ms,
        .is_file = !inode->is_dir,
        .is_dir = inode->is_dir,
    };
}

bool file_stat(struct file *file, struct path_facts *facts_out, struct err *err)
{
    SIM_CALL;
    *facts_out = facts_of(file->inode);
    return true;
}

bool file_set_mode(struct file *file, unsigned mode, struct err *err)
{
    SIM_CALL;
    file->inode->mode = mode;
    return true;
}

bool file_set_owner(struct file *file, uint32_t uid, uint32_t gid, struct err *err)
{
    SIM_CALL; // all is one user's here
    return true;
}

bool file_sync_names(struct file *file, struct err *err)
{
    SIM_CALL;
    int code = disk_call(WORLD_DISK_DIR_SYNC, SIM_CALLER);
    if (code != 0)
        return failed(err, code, "sync the file system of", file->path);
    struct inode *inode;
    list_each (&inodes, inode, struct inode, all) {
        if (inode->is_dir && !lose_syncs)
            dir_settle(inode, 0, 1000);
    }
    return true;
}

bool file_lock(struct file *file, struct err *err)
{
    SIM_CALL;
    struct file *holder = file->inode->locked_by;
    if (holder != NULL && holder != file)
        return failed(err, EWOULDBLOCK, "lock", file->path);
    file->inode->locked_by = file;
    return true;
}

// ---- Directories and names. ----

bool dir_make(const char *path, unsigned mode, struct err *err)
{
    SIM_CALL;
    int code = disk_call(WORLD_DISK_MAKE, SIM_CALLER);
    char name[NAME_MAX_LEN + 1];
    struct inode *dir = code == 0 ? walk(path, name, &code) : NULL;
    if (dir == NULL)
        return failed(err, code, "make the directory", path);
    if (name[0] == '\0')
        return true;
    struct entry *e = entry_find(&dir->entries, name);
    if (e != NULL)
        return e->inode->is_dir || failed(err, EEXIST, "make the directory", path);
    return create(dir, name, true, mode, &code) != NULL ||
           failed(err, code, "make the directory", path);
}

bool dir_set_mode(const char *path, unsigned mode, struct err *err)
{
    SIM_CALL;
    int code;
    struct inode *dir = find(path, &code);
    if (dir == NULL || !dir->is_dir)
        return failed(err, dir == NULL ? code : ENOTDIR, "set the rights of the directory", path);
    dir->mode = mode;
    return true;
}

bool dir_sync(const char *path, struct err *err)
{
    SIM_CALL;
    int code = disk_call(WORLD_DISK_DIR_SYNC, SIM_CALLER);
    struct inode *dir = code == 0 ? find(path, &code) : NULL;
    if (dir == NULL || !dir->is_dir)
        return failed(err, dir == NULL ? code : ENOTDIR, "sync the directory", path);
    if (!lose_syncs)
        dir_settle(dir, 0, 1000);
    return true;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

char **dir_list(const char *path, struct err *err)
{
    SIM_CALL;
    int code = disk_call(WORLD_DISK_LIST, SIM_CALLER);
    struct inode *dir = code == 0 ? find(path, &code) : NULL;
    if (dir == NULL || !dir->is_dir) {
        failed(err, dir == NULL ? code : ENOTDIR, "list the directory", path);
        return NULL;
    }
    size_t count = 0;
    struct entry *e;
    list_each (&dir->entries, e, struct entry, all)
        count++;
    char **names = sim_alloc(SIM_CALLER, (count + 1) * sizeof(*names));
    count = 0;
    list_each (&dir->entries, e, struct entry, all) {
        size_t size = strlen(e->name) + 1;
        names[count] = sim_alloc(SIM_CALLER, size);
        memcpy(names[count++], e->name, size);
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

static void (*renamed_fn)(void *ctx, const char *to);
static void *renamed_ctx;

void world_on_rename(void (*renamed)(void *ctx, const char *to), void *ctx)
{
    renamed_fn = renamed;
    renamed_ctx = ctx;
}

bool path_rename(const char *from, const char *to, struct err *err)
{
    SIM_CALL;
    int code = disk_call(WORLD_DISK_RENAME, SIM_CALLER);
    char from_name[NAME_MAX_LEN + 1], to_name[NAME_MAX_LEN + 1];
    struct inode *from_dir = code == 0 ? walk(from, from_name, &code) : NULL;
    struct inode *to_dir = from_dir != NULL ? walk(to, to_name, &code) : NULL;
    if (to_dir == NULL)
        return failed(err, code, "rename", from);
    struct entry *e = entry_find(&from_dir->entries, from_name);
    struct entry *target = entry_find(&to_dir->entries, to_name);
    if (e == NULL)
        return failed(err, ENOENT, "rename", from);
    if (target != NULL && target->inode == e->inode)
        return true;
    if (target != NULL && target->inode->is_dir != e->inode->is_dir)
        return failed(err, target->inode->is_dir ? EISDIR : ENOTDIR, "rename", from);
    if (target != NULL && target->inode->is_dir && !list_empty(&target->inode->entries))
        return failed(err, ENOTEMPTY, "rename", from);
    uint64_t group = ++next_group;
    struct inode *inode = e->inode;
    dir_change(to_dir, to_name, inode, group);
    dir_change(from_dir, from_name, NULL, group);
    if (renamed_fn != NULL && SIM_CALLER == SIM_DAEMON)
        renamed_fn(renamed_ctx, to);
    return true;
}

bool path_remove(const char *path, struct err *err)
{
    SIM_CALL;
    int code = disk_call(WORLD_DISK_REMOVE, SIM_CALLER);
    if (code != 0)
        return failed(err, code, "remove", path);
    char name[NAME_MAX_LEN + 1];
    struct inode *dir = walk(path, name, &code);
    struct entry *e = dir != NULL ? entry_find(&dir->entries, name) : NULL;
    if (e == NULL)
        return true;
    if (e->inode->is_dir && !list_empty(&e->inode->entries))
        return failed(err, ENOTEMPTY, "remove", path);
    dir_change(dir, name, NULL, ++next_group);
    return true;
}

bool path_may(const char *path, enum path_use use, struct err *err)
{
    SIM_CALL;
    int code;
    if (use == PATH_RUN || find(path, &code) != NULL) // programs are the driver's, not of this disk
        return true;
    return failed(err, code, "use", path);
}

bool path_exists(const char *path)
{
    SIM_CALL;
    int code;
    return find(path, &code) != NULL;
}

bool disk_free(const char *path, uint64_t *bytes_out, uint64_t *inodes_out, struct err *err)
{
    SIM_CALL;
    uint64_t limit = limit_bytes < UINT64_MAX ? limit_bytes : used_bytes + (UINT64_C(100) << 30);
    *bytes_out = limit > used_bytes ? limit - used_bytes : 0;
    *inodes_out = 1000000;
    return true;
}

bool path_stat(const char *path, struct path_facts *facts_out, struct err *err)
{
    SIM_CALL;
    int code;
    struct inode *inode = find(path, &code);
    if (inode == NULL)
        return failed(err, code, "look at", path);
    *facts_out = facts_of(inode);
    return true;
}

// There are no links in this world.
bool path_stat_follow(const char *path, struct path_facts *facts_out, struct err *err)
{
    return path_stat(path, facts_out, err);
}

char *path_real(const char *path, struct err *err)
{
    if (path_exists(path))
        return xstrdup(path);
    err_sys(err, ENOENT, "cannot find %s", path);
    return NULL;
}

char *file_slurp(const char *path, size_t max, size_t *len_out, struct err *err)
{
    SIM_CALL;
    int code = disk_call(WORLD_DISK_OPEN, SIM_CALLER);
    struct inode *inode = code == 0 ? find(path, &code) : NULL;
    if (inode == NULL || inode->is_dir) {
        failed(err, inode == NULL ? code : EISDIR, "read", path);
        return NULL;
    }
    if (inode->size > max) {
        err_set(err, "%s is larger than %zu bytes", path, max);
        return NULL;
    }
    char *text = sim_alloc(SIM_CALLER, (size_t)inode->size + 1);
    read_range(inode, 0, (unsigned char *)text, (size_t)inode->size);
    if (len_out != NULL)
        *len_out = (size_t)inode->size;
    return text;
}

// ---- The driver's hand. ----

void world_disk_mkdirs(const char *path)
{
    SIM_CALL;
    char part[512];
    struct err err;
    for (size_t i = 1; i <= strlen(path); i++) {
        if (path[i] != '/' && path[i] != '\0')
            continue;
        snprintf(part, sizeof(part), "%.*s", (int)i, path);
        bool made = dir_make(part, 0700, &err);
        assert(made);
        char name[NAME_MAX_LEN + 1];
        int code;
        dir_settle(walk(part, name, &code), 0, 1000);
    }
}

void world_disk_put(const char *path, const void *bytes, size_t len)
{
    SIM_CALL;
    struct err err;
    struct file *file = file_open(path, FILE_CREATE, &err);
    assert(file != NULL);
    struct file_piece piece = {bytes, len};
    bool good = file_truncate(file, 0, &err) && file_write(file, 0, &piece, 1, &err);
    assert(good);
    file_settle(file->inode, 1000);
    file_close(&file);
    char name[NAME_MAX_LEN + 1];
    int code;
    dir_settle(walk(path, name, &code), 0, 1000);
}

bool world_disk_get(const char *path, struct buf *out)
{
    SIM_CALL;
    int code;
    struct inode *inode = find(path, &code);
    if (inode == NULL || inode->is_dir)
        return false;
    char *to = buf_reserve(out, (size_t)inode->size);
    if (to == NULL)
        return false;
    read_range(inode, 0, (unsigned char *)to, (size_t)inode->size);
    out->len += (size_t)inode->size;
    return true;
}

// ---- Crash. ----

static unsigned survival(void)
{
    switch (sim_below(4)) {
    case 0: return 0;
    case 1: return 1000;
    case 2: return 500;
    default: return (unsigned)sim_below(1000);
    }
}

static void see_platter(struct inode *dir)
{
    struct entry *e;
    list_each (&dir->entries, e, struct entry, all)
        e->inode->names--;
    // The names on the platter hold their inodes; the others go now.
    entries_clear(&dir->entries);
    list_each (&dir->disk_entries, e, struct entry, all) {
        entry_add(&dir->entries, e->name, e->inode, 0);
        e->inode->names++;
    }
}

static void power_cut(void)
{
    uint64_t seed = sim_random(&sim.world_random);
    unsigned permille = survival();
    struct inode *inode;
    list_each (&inodes, inode, struct inode, all) {
        if (!inode->is_dir)
            file_power_cut(inode, survival());
        inode->refs++; // until all names are settled
    }
    list_each (&inodes, inode, struct inode, all) {
        if (inode->is_dir) {
            dir_settle(inode, seed, permille);
            see_platter(inode);
        }
    }
    list_each (&inodes, inode, struct inode, all)
        charge(inode, wanted_bytes(inode));
    // A directory that goes takes along what only it holds: members before it in the list at once,
    // members behind it when their own turn comes.
    list_each (&inodes, inode, struct inode, all)
        inode_unref(inode);
}

void disk_crash(enum world_crash how)
{
    struct file *file;
    list_each (&open_files, file, struct file, all)
        if (file->owner == SIM_DAEMON)
            file_forget(file);
    if (how == WORLD_POWER_CUT)
        power_cut();
}

void disk_init(void)
{
    list_init(&inodes);
    list_init(&open_files);
    next_group = 0;
    used_bytes = 0;
    lose_syncs = false;
    memset(ops, 0, sizeof(ops));
    world_disk_heal();
    root = inode_new(true, 0755);
    root->refs = root->names = 1;
}

void disk_free_all(void)
{
    assert(list_empty(&open_files));
    inode_unref(root);
    root = NULL;
    assert(list_empty(&inodes));
}
