/* SPDX-License-Identifier: MIT
 * test: wrap label=notsan
 *
 * The files of a bus: each field that is nonsense, each moment at which one goes while it is looked
 * at, and what is the machine's fault and not the file's.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness.h"
#include "node/files.h"
#include "support/fault.h"
#include "support/kit.h"

#define A TRAM_ID(1, 1, 1, 1)
#define B TRAM_ID(1, 1, 1, 2)
#define STREAM "from-1.1.1.1"
#define HEAD   "head-1.1.1.1"

static const struct stream_plan plan = {.from = A, .to = B, .mode = 0600, .id = 7,
                                        .capacity = STREAM_MIN, .base = 64, .base_seq = 3};

static int dir;

/* A directory with a door and a channel of so many generations. */
static void make_files(uint32_t lowest, uint32_t highest) {
    const struct door door = {.magic = DOOR_MAGIC, .version = LAYOUT_VERSION, .id = B};

    dir = CHECK_OK(open(test_dir(), O_RDONLY | O_DIRECTORY));
    CHECK_OK(door_make(dir, &door, 0600));
    CHECK_OK(head_make(dir, &plan, NULL));
    for (uint32_t i = lowest; i <= highest; i++) {
        struct stream_plan next = plan;

        next.generation = i;
        CHECK_OK(stream_make(dir, &next, NULL));
    }
}

static void remove_files(void) {
    char name[FILES_NAME];

    for (uint32_t i = 0; i < FILES_GENERATIONS; i++) {
        files_stream_name(name, A, i);
        (void) unlinkat(dir, name, 0);
    }
    (void) unlinkat(dir, HEAD, 0);
    (void) unlinkat(dir, "door", 0);
    close(dir);
}

/* ---- looks ----------------------------------------------------------------------------------- */

static int look_door(void) {
    struct sys_map map = {0};
    int rc = door_open(dir, B, 0600, false, 0, &map, NULL);

    sys_unmap(&map);
    return rc;
}

static int look_head(void) {
    struct sys_map map = {0};
    struct head_facts facts;
    int rc = head_open(dir, A, B, 0, &map, &facts);

    sys_unmap(&map);
    return rc;
}

static int look_stream(void) {
    struct sys_map map = {0};
    struct stream_facts facts;
    int rc = stream_open(dir, A, B, 0, 0, &map, &facts, NULL);

    sys_unmap(&map);
    return rc;
}

static int look_words(void) {
    struct stream words;
    uint64_t size;
    int fd = -1;
    int rc = stream_read(dir, A, B, 0, &words, &size, &fd);

    if (rc == 0)
        close(fd);
    return rc;
}

static int look_channel(void) {
    struct channel_look look;

    return channel_look(dir, A, B, &look);
}

/* ---- nonsense -------------------------------------------------------------------------------- */

static void put(const char *name, size_t offset, const void *bytes, size_t size) {
    int fd = CHECK_OK(openat(dir, name, O_WRONLY | O_CLOEXEC));

    CHECK_EQ(pwrite(fd, bytes, size, (off_t) offset), (ssize_t) size);
    close(fd);
}

struct field {
    const char *file;
    size_t offset, size;
    uint64_t value;
    int rc;
    int (*look[4])(void);
};

#define FIELD(type, name) offsetof(type, name), sizeof(((type *) 0)->name)

TEST(nonsense_in_each_field) {
    static const struct field fields[] = {
        {"door", FIELD(struct door, magic), 1, -EBADMSG, {look_door}},
        {"door", FIELD(struct door, version), LAYOUT_VERSION + 1, -EPROTO, {look_door}},
        {"door", FIELD(struct door, id), A, -EBADMSG, {look_door}},
        {HEAD, FIELD(struct head, magic), 1, -EBADMSG, {look_head, look_channel}},
        {HEAD, FIELD(struct head, version), LAYOUT_VERSION + 1, -EPROTO, {look_head}},
        {HEAD, FIELD(struct head, from), B, -EBADMSG, {look_head, look_channel}},
        {HEAD, FIELD(struct head, to), A, -EBADMSG, {look_head, look_channel}},
        {HEAD, FIELD(struct head, id), 8, -EBADMSG, {look_channel}},
        {HEAD, FIELD(struct head, committed), 128, -EBADMSG, {look_channel}},
        {HEAD, FIELD(struct head, consumed[0]), 4, -EBADMSG, {look_channel}},
        {STREAM, FIELD(struct stream, magic), 1, -EBADMSG, {look_stream, look_words, look_channel}},
        {STREAM, FIELD(struct stream, version), LAYOUT_VERSION + 1, -EPROTO,
         {look_stream, look_words, look_channel}},
        {STREAM, FIELD(struct stream, from), B, -EBADMSG, {look_stream, look_words, look_channel}},
        {STREAM, FIELD(struct stream, to), A, -EBADMSG, {look_stream, look_words, look_channel}},
        {STREAM, FIELD(struct stream, generation), 1, -EBADMSG, {look_stream, look_words}},
        {STREAM, FIELD(struct stream, capacity), 32768, -EBADMSG, {look_stream, look_words}},
        {STREAM, FIELD(struct stream, capacity), STREAM_MAX * 2, -EBADMSG, {look_stream}},
        {STREAM, FIELD(struct stream, capacity), 65536 * 3, -EBADMSG, {look_stream, look_words}},
        {STREAM, FIELD(struct stream, capacity), 131072, -EBADMSG, {look_stream, look_channel}},
        {STREAM, FIELD(struct stream, base), 63, -EBADMSG, {look_stream, look_words}},
        {STREAM, FIELD(struct stream, base), LAYOUT_END, -EBADMSG, {look_stream, look_words}},
        {STREAM, FIELD(struct stream, base_seq), LAYOUT_END, -EBADMSG, {look_stream, look_words}},
        {STREAM, FIELD(struct stream, tail), LAYOUT_END, -EBADMSG, {look_channel}},
        {STREAM, FIELD(struct stream, accepted[0]), LAYOUT_END, -EBADMSG, {look_channel}},
    };

    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        const struct field *field = &fields[i];

        make_files(0, 0);
        for (int n = 0; n < 4 && field->look[n]; n++)
            CHECK_OK(field->look[n]());
        put(field->file, field->offset, &field->value, field->size);
        for (int n = 0; n < 4 && field->look[n]; n++)
            CHECK_ERR(field->look[n](), field->rc);
        remove_files();
    }
}

TEST(cut_short) {
    static const struct {
        const char *file;
        int (*look)(void);
    } cuts[] = {
        {"door", look_door}, {HEAD, look_head}, {HEAD, look_channel},
        {STREAM, look_stream}, {STREAM, look_words}, {STREAM, look_channel},
    };

    for (size_t i = 0; i < sizeof(cuts) / sizeof(cuts[0]); i++) {
        int fd;

        make_files(0, 0);
        fd = CHECK_OK(openat(dir, cuts[i].file, O_WRONLY | O_CLOEXEC));
        CHECK_OK(ftruncate(fd, 100));
        close(fd);
        CHECK_ERR(cuts[i].look(), -EBADMSG);
        remove_files();
    }
}

/* ---- the machine ----------------------------------------------------------------------------- */

static int code;

static int fail(void) {
    return code;
}

/* What the machine refuses says nothing of the file, and is passed on. */
TEST(refused_by_the_machine) {
    static const char *const functions[] = {"openat", "fstat", "pread", "mmap"};
    static int (*const looks[])(void) = {look_door, look_head, look_stream, look_words,
                                         look_channel};
    static const int codes[] = {ENOMEM, ENFILE, EIO};
    unsigned failed = 0;

    make_files(0, 0);
    for (size_t i = 0; i < sizeof(looks) / sizeof(looks[0]); i++) {
        for (size_t f = 0; f < sizeof(functions) / sizeof(functions[0]); f++) {
            for (unsigned n = 1; n <= 2; n++) {
                int rc;

                code = codes[(f + n) % 3];
                fault_before(functions[f], NULL, n, fail);
                rc = looks[i]();
                if (fault_done() == 0)
                    CHECK_OK(rc);
                else
                    CHECK_ERR(rc, -code), failed++;
            }
        }
        CHECK_OK(looks[i]());
    }
    CHECK(failed >= 20);
    remove_files();
}

TEST(whose_fault_it_is) {
    static const int machine[] = {ENOMEM, EMFILE, ENFILE, ENOSPC, EIO, EAGAIN, EINTR, ENOLCK};
    static const int files[] = {0, ENOENT, EBADMSG, EPROTO, EISDIR, ELOOP, ENXIO, EACCES, EPERM};

    for (size_t i = 0; i < sizeof(machine) / sizeof(machine[0]); i++)
        CHECK(files_is_machine(-machine[i]));
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
        CHECK(!files_is_machine(-files[i]));
}

/* ---- moments --------------------------------------------------------------------------------- */

static const char *victim;

static int remove_victim(void) {
    CHECK_OK(unlinkat(dir, victim, 0));
    return 0;
}

/* Removed between two looks: not there, or nonsense; no crash, and no other's words. */
TEST(gone_while_it_is_looked_at) {
    static const struct {
        uint32_t lowest, highest;
        const char *function, *name; /* at the n-th of these calls … */
        unsigned n;
        const char *gone;            /* … this is removed */
        int rc;
    } moments[] = {
        {0, 0, "fstatat", STREAM, 1, STREAM, -ENOENT},
        {1, 1, "fstatat", STREAM "+1", 2, STREAM "+1", -ENOENT},
        {0, 0, "openat", STREAM, 1, STREAM, -ENOENT},
        {0, 0, "openat", HEAD, 1, HEAD, -EBADMSG},
        {0, 1, "openat", STREAM "+1", 1, STREAM, 0}, /* an older one does not matter */
    };

    for (size_t i = 0; i < sizeof(moments) / sizeof(moments[0]); i++) {
        make_files(moments[i].lowest, moments[i].highest);
        victim = moments[i].gone;
        fault_before(moments[i].function, moments[i].name, moments[i].n, remove_victim);
        CHECK_EQ(look_channel(), moments[i].rc);
        CHECK_EQ(fault_done(), 1);
        remove_files();
    }
}

/* ---- the bus --------------------------------------------------------------------------------- */

static struct bus bus;

static int open_bus(void) {
    struct tram_error error;

    return bus_open("b", test_dir(), 0600, &bus, &error);
}

static int remove_node_dir(void) {
    (void) unlinkat(bus.dir, "1.1.1.1", AT_REMOVEDIR);
    return 0;
}

static int make_node_dir(void) {
    return mkdirat(bus.dir, "1.1.1.1", 0700) < 0 ? errno : 0;
}

static int remove_bus_dir(void) {
    CHECK_OK(kit_count_files(test_dir(), "b") == 0 ? 0 : -1);
    kit_remove_tree(bus.path);
    return 0;
}

TEST(a_directory_that_comes_and_goes) {
    int fd;

    CHECK_OK(open_bus());
    fault_before("mkdirat", "1.1.1.1", 1, make_node_dir); /* by another at the same time */
    fd = CHECK_OK(files_node_dir(&bus, A, true));
    CHECK_EQ(fault_done(), 1);
    close(fd);
    remove_node_dir();
    fault_before("openat", "1.1.1.1", 2, remove_node_dir); /* as soon as it is made */
    fd = CHECK_OK(files_node_dir(&bus, A, true));
    CHECK_EQ(fault_done(), 1);
    close(fd);
    remove_node_dir();
    fault_before("openat", "1.1.1.1", 0, remove_node_dir); /* again and again */
    CHECK_ERR(files_node_dir(&bus, A, true), -ENOENT);
    CHECK(fault_done() > 100);
    fault_before("mkdirat", "1.1.1.1", 1, remove_bus_dir);
    CHECK_ERR(files_node_dir(&bus, A, true), -ENOENT);
    CHECK_EQ(fault_done(), 1);
    bus_close(&bus);
}

/* Without TRAM_DIR a bus lies in the user's own directory, which is left alone here. */
TEST(where_a_bus_lies_without_being_told) {
    struct tram_error error;
    char path[64];

    (void) snprintf(path, sizeof(path), "/dev/shm/tram-%u", geteuid());
    code = EACCES;
    for (int i = 0; i < 3; i++) {
        if (i == 0)
            CHECK_OK(setenv("TRAM_DIR", "", 1));
        else
            CHECK_OK(unsetenv("TRAM_DIR"));
        fault_before("mkdirat", path, 1, fail);
        CHECK_ERR(bus_open("b", i < 2 ? NULL : "", 0600, &bus, &error), -EACCES);
        CHECK_EQ(fault_done(), 1);
        CHECK(strstr(error.text, path));
    }
}

TEST(buses_without_a_name) {
    static const char *const given[] = {NULL, ""};
    struct tram_error error;

    for (int i = 0; i < 4; i++) {
        if (i < 2)
            CHECK_OK(setenv("TRAM_BUS", "", 1));
        else
            CHECK_OK(unsetenv("TRAM_BUS"));
        CHECK_OK(bus_open(given[i % 2], test_dir(), 0600, &bus, &error));
        CHECK(strstr(bus.path, "/default"));
        bus_close(&bus);
    }
}

/* A disk of which one start of the machine cannot be told from another, or that fails, holds no
 * bus. */
TEST(a_bus_on_a_failing_disk) {
    static const char *const functions[] = {"open", "read", "fsync", "fstatfs"};
    unsigned failed = 0;

    fault_disk();
    code = EIO;
    for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++) {
        int rc;

        fault_before(functions[i], NULL, 1, fail);
        rc = open_bus();
        if (fault_done() > 0)
            CHECK_ERR(rc, -EIO), failed++;
        else
            CHECK_OK(rc), bus_close(&bus);
    }
    CHECK(failed >= 2);
    CHECK_OK(open_bus());
    CHECK(bus.boot != 0);
    bus_close(&bus);
}

/* The door's place is taken by a directory: an empty one goes, a full one is an error. */
TEST(a_door_that_is_a_directory) {
    const struct door door = {.magic = DOOR_MAGIC, .version = LAYOUT_VERSION, .id = B};

    dir = CHECK_OK(open(test_dir(), O_RDONLY | O_DIRECTORY));
    CHECK_OK(mkdirat(dir, "door", 0700));
    CHECK_OK(mkdirat(dir, "door/full", 0700));
    CHECK_ERR(door_make(dir, &door, 0600), -EISDIR);
    CHECK_OK(unlinkat(dir, "door/full", AT_REMOVEDIR));
    CHECK_OK(door_make(dir, &door, 0600));
    CHECK_OK(look_door());
    remove_files();
}

/* A directory that could not be opened tells nothing. */
TEST(no_directory) {
    struct holder holder;

    files_holder(-1, &holder);
    CHECK_EQ(holder.pid, 0);
    CHECK_STR(holder.text, "process 0 ()");
    CHECK_EQ(files_door_version(-1), LAYOUT_VERSION);
    CHECK_EQ(files_channel_version(-1, A), LAYOUT_VERSION);
    CHECK(!files_held(-1));
}
