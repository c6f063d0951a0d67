/* SPDX-License-Identifier: MIT
 * test: timeout=60
 *
 * A machine that is exhausted. A bus on a file system that is full: a send says -ENOSPC and has
 * accepted nothing, nobody dies of a page that is not there, and all goes on when there is space
 * again. Each of these tests has a small tmpfs of its own, in a mount namespace. And the limits of
 * a process: descriptors, address space, mappings, locked memory, the size of files.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "harness.h"
#include "support/kit.h"

#define A TRAM_ID(1, 1, 1, 1)
#define B TRAM_ID(1, 1, 1, 2)
#define C TRAM_ID(1, 1, 1, 3)

static char place[200];

static void write_text(const char *path, const char *text) {
    int fd = open(path, O_WRONLY | O_CLOEXEC);

    if (fd >= 0) {
        if (write(fd, text, strlen(text)) < 0)
            SKIP("no user namespace here");
        close(fd);
    }
}

static void enter_namespace(void) {
    unsigned uid = geteuid(), gid = getegid();
    char map[64];

    if (unshare(CLONE_NEWNS) == 0)
        return;
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0)
        SKIP("neither root nor a user namespace");
    write_text("/proc/self/setgroups", "deny");
    snprintf(map, sizeof map, "0 %u 1", uid);
    write_text("/proc/self/uid_map", map);
    snprintf(map, sizeof map, "0 %u 1", gid);
    write_text("/proc/self/gid_map", map);
}

/* A tmpfs in which buses may lie. */
static void mount_place(const char *limit) {
    char options[64];

    snprintf(place, sizeof place, "%s/small", test_dir());
    CHECK_OK(mkdir(place, 0700));
    enter_namespace();
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        SKIP("no private mounts here");
    snprintf(options, sizeof options, "%s,mode=0700", limit);
    if (mount("tram", place, "tmpfs", 0, options) < 0)
        SKIP("no mount of a tmpfs here");
}

/* One of so many KiB. */
static void make_place(unsigned kib) {
    char limit[32];

    snprintf(limit, sizeof limit, "size=%uk", kib);
    mount_place(limit);
}

static tram_node *open_here(tram_id id, uint64_t ring_size) {
    struct tram_options options = kit_options(ring_size, 0);

    return kit_open(place, id, &options);
}

/* Take all that is left but so many KiB. */
static void fill_place(unsigned leave_kib) {
    static char bytes[4096];
    char path[300];
    int fd;

    snprintf(path, sizeof path, "%s/ballast", place);
    fd = CHECK_OK(open(path, O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0600));
    while (write(fd, bytes, sizeof bytes) == sizeof bytes)
        continue;
    CHECK_OK(ftruncate(fd, lseek(fd, 0, SEEK_CUR) - (off_t) leave_kib * 1024));
    close(fd);
}

static void drop_ballast(void) {
    char path[300];

    snprintf(path, sizeof path, "%s/ballast", place);
    CHECK_OK(unlink(path));
}

static int send_number(tram_node *node, tram_id to, uint64_t n, size_t size) {
    static char bytes[1 << 20];

    pattern_fill(bytes, size, n);
    return tram_send(node, to, 0, bytes, size, TRAM_NOWAIT);
}

static void check_number(tram_node *node, uint64_t n) {
    struct tram_msg msg;

    CHECK_OK(tram_recv(node, &msg, 0));
    CHECK_EQ(msg.seq, n);
    CHECK_EQ(msg.attempt, 1);
    CHECK_EQ(pattern_check(msg.data, msg.size, n), -1);
}

/* More than the file system holds: what was accepted arrives, and then it goes on. */
TEST(full_and_drained) {
    tram_node *a, *b;
    uint64_t sent = 0, count, received = 0;

    make_place(1024);
    a = open_here(A, 0);
    b = open_here(B, 0);
    for (int round = 0; round < 5; round++) {
        int rc;

        while ((rc = send_number(a, B, sent + 1, 3000)) == 0)
            sent++;
        CHECK_EQ(rc, -ENOSPC);
        CHECK(strstr(tram_last_error(a)->text, "full"));
        CHECK_OK(tram_accepted(a, B, &count));
        CHECK_EQ(count, sent);
        CHECK(sent - received > 100);
        while (received < sent)
            check_number(b, ++received);
        CHECK_OK(tram_done(b));
    }
    tram_close(a);
    tram_close(b);
}

/* The first message: no channel comes into being, and later it is the first all the same. */
TEST(no_space_for_a_channel) {
    tram_node *a, *b;
    uint64_t count;

    make_place(512);
    a = open_here(A, 65536);
    b = open_here(B, 65536);
    for (unsigned leave = 0; leave < 12; leave += 4) {
        fill_place(leave);
        CHECK_ERR(send_number(a, B, 1, 5000), -ENOSPC);
        CHECK_OK(tram_accepted(a, B, &count));
        CHECK_EQ(count, 0);
        drop_ballast();
    }
    CHECK_OK(send_number(a, B, 1, 5000));
    check_number(b, 1);
    tram_close(a);
    tram_close(b);
}

TEST(no_space_for_a_node) {
    struct tram_options options = TRAM_OPTIONS_INIT;
    tram_node *a = NULL;

    make_place(256);
    options.dir = place;
    fill_place(0);
    CHECK_ERR(tram_open(NULL, A, &options, &a), -ENOSPC);
    CHECK(a == NULL);
    CHECK(strstr(tram_last_error(NULL)->text, "No space"));
    drop_ballast();
    CHECK_OK(tram_open(NULL, A, &options, &a));
    tram_close(a);
}

/* A message for which the ring had to grow is not accepted; small ones still are. */
TEST(no_space_to_grow) {
    tram_node *a, *b;

    make_place(512);
    a = open_here(A, 65536);
    b = open_here(B, 65536);
    CHECK_OK(send_number(a, B, 1, 100));
    fill_place(40);
    CHECK_ERR(send_number(a, B, 2, 200000), -ENOSPC);
    CHECK_OK(send_number(a, B, 2, 100));
    check_number(b, 1);
    check_number(b, 2);
    drop_ballast();
    CHECK_OK(send_number(a, B, 3, 200000));
    CHECK_OK(send_number(a, B, 4, 100));
    check_number(b, 3);
    check_number(b, 4);
    tram_close(a);
    tram_close(b);
}

/* A receiver needs no memory to hand out and to release, in whatever order. */
TEST(receiver_needs_nothing) {
    struct tram_msg msgs[20];
    tram_node *a, *b;

    make_place(512);
    a = open_here(A, 65536);
    b = open_here(B, 65536);
    for (uint64_t n = 1; n <= 20; n++)
        CHECK_OK(send_number(a, B, n, 100));
    fill_place(0);
    CHECK_EQ(tram_recv_batch(b, msgs, 20, TRAM_HOLD, 0), 20);
    for (int i = 19; i >= 0; i--)
        CHECK_OK(tram_release(b, &msgs[i]));
    CHECK_ERR(tram_recv(b, &msgs[0], 0), -EAGAIN);
    tram_close(b);
    b = NULL;
    tram_close(a);
}

/* Claims, pieces and staged messages are refused like sends. */
TEST(every_way_to_send) {
    struct iovec piece;
    tram_node *a, *b;
    static char bytes[30000];
    uint64_t count;
    void *data;
    int rc;

    make_place(512);
    a = open_here(A, 1 << 20);
    b = open_here(B, 65536);
    piece = (struct iovec){ bytes, sizeof bytes };
    CHECK_OK(send_number(a, B, 1, 100));
    fill_place(0);
    do
        rc = tram_claim(a, B, sizeof bytes, 0, &data);
    while (rc == 0 && tram_commit(a, B, NULL, sizeof bytes, 0) == 0);
    CHECK_EQ(rc, -ENOSPC);
    CHECK_ERR(tram_sendv(a, B, NULL, &piece, 1, 0, 0), -ENOSPC);
    CHECK_ERR(tram_send(a, B, 0, bytes, sizeof bytes, TRAM_MORE), -ENOSPC);
    CHECK_ERR(tram_sendv(a, B, NULL, &piece, 1, 0, 50 * KIT_MS), -ENOSPC);
    CHECK_OK(tram_flush(a));
    CHECK_OK(tram_accepted(a, B, &count));
    for (uint64_t n = 1; n <= count; n++) {
        struct tram_msg msg;

        CHECK_OK(tram_recv(b, &msg, 0));
        CHECK_EQ(msg.seq, n);
    }
    tram_close(a);
    tram_close(b);
}

/* No inodes: whoever would make a file is refused, and leaves none behind that would need one. */
TEST(no_inodes) {
    tram_node *a, *b;
    uint64_t refused = 0;

    mount_place("nr_inodes=30");
    a = open_here(A, 65536);
    b = open_here(B, 65536);
    CHECK_OK(send_number(a, B, 1, 100));
    for (tram_id id = TRAM_ID(2, 0, 0, 1); id < TRAM_ID(2, 0, 0, 10); id++) {
        int rc = tram_send(a, id, 0, "x", 1, TRAM_NOWAIT);
        uint64_t count;

        refused += rc < 0;
        CHECK(rc == 0 || rc == -ENOSPC);
        CHECK_OK(tram_accepted(a, id, &count));
        CHECK_EQ(count, rc == 0);
    }
    CHECK(refused > 2 && refused < 9);
    CHECK_EQ(kit_count_files(place, ".*"), 0);
    /* Whoever has his files goes on. */
    CHECK_OK(send_number(a, B, 2, 100));
    CHECK_ERR(send_number(a, B, 3, 100000), -ENOSPC); /* a larger ring is a file */
    check_number(b, 1);
    check_number(b, 2);
    CHECK_OK(tram_done(b));
    tram_close(a); /* or its mappings keep what is unlinked */
    for (tram_id id = TRAM_ID(2, 0, 0, 1); id < TRAM_ID(2, 0, 0, 10); id++) {
        char path[300];

        kit_remove_tree(kit_path(path, sizeof path, place, id, NULL));
    }
    a = open_here(A, 65536);
    CHECK_OK(send_number(a, B, 3, 100000));
    check_number(b, 3);
    tram_close(a);
    tram_close(b);
}

/* ---- limits of the process ------------------------------------------------------------------- */

static int count_descriptors(void) {
    int count = 0;

    for (int fd = 0; fd < 200; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

static struct rlimit set_limit(int which, rlim_t value) {
    struct rlimit before, now;

    CHECK_OK(getrlimit(which, &before));
    now = (struct rlimit){ value, before.rlim_max };
    CHECK_OK(setrlimit(which, &now));
    return before;
}

/* Open two nodes, send, grow, receive, watch: 0, or the first error. *ret_sent: what was
 * accepted. */
static int try_everything(uint64_t *ret_sent) {
    struct tram_options options = kit_options(65536, TRAM_NO_SPIN);
    tram_node *a = NULL, *b = NULL;
    struct tram_msg msg;
    int rc = tram_open(NULL, A, &options, &a);

    if (rc == 0)
        rc = tram_open(NULL, B, &options, &b);
    if (rc == 0 && (rc = tram_fd(b)) >= 0)
        rc = tram_watch(a, B);
    for (int i = 0; rc == 0 && i < 2; i++) {
        size_t size = i == 0 ? 100 : 100000;

        rc = send_number(a, B, *ret_sent + 1, size);
        *ret_sent += rc == 0;
    }
    while (rc == 0 && (rc = tram_recv(b, &msg, 0)) == 0)
        CHECK_EQ(pattern_check(msg.data, msg.size, msg.seq), -1);
    tram_close(a);
    tram_close(b);
    return rc == -EAGAIN ? 0 : rc;
}

/* After it, with what it lacked: all that was accepted is there, once, and it goes on. */
static void check_everything(uint64_t sent) {
    tram_node *a = kit_open(NULL, A, NULL), *b = kit_open(NULL, B, NULL);
    struct tram_msg msg;
    uint64_t count;

    CHECK_OK(tram_accepted(a, B, &count));
    CHECK_EQ(count, sent);
    CHECK_OK(send_number(a, B, sent + 1, 10));
    do {
        CHECK_OK(tram_recv(b, &msg, 0));
        CHECK_EQ(pattern_check(msg.data, msg.size, msg.seq), -1);
    } while (msg.seq <= sent);
    CHECK_ERR(tram_recv(b, &msg, 0), -EAGAIN);
    tram_close(a);
    tram_close(b);
}

/* One descriptor more each time, until there are enough. */
TEST(no_descriptors) {
    int before = count_descriptors(), rc = -EMFILE;
    uint64_t sent = 0;

    for (rlim_t more = 0; rc < 0; more++) {
        struct rlimit limit = set_limit(RLIMIT_NOFILE, (rlim_t) before + more);

        CHECK(more < 40);
        rc = try_everything(&sent);
        CHECK(rc == 0 || rc == -EMFILE);
        CHECK_OK(setrlimit(RLIMIT_NOFILE, &limit));
        CHECK_EQ(count_descriptors(), before);
        CHECK_EQ(kit_count_files(test_dir(), ".*"), 0);
    }
    check_everything(sent);
}

static uint64_t address_space(void) {
    FILE *file = fopen("/proc/self/statm", "re");
    unsigned long pages = 0;

    CHECK(file && fscanf(file, "%lu", &pages) == 1);
    fclose(file);
    return (uint64_t) pages * (uint64_t) sysconf(_SC_PAGESIZE);
}

/* 16 KiB of addresses more each time. */
TEST(no_address_space) {
    uint64_t sent = 0, base;
    int rc = -ENOMEM;

    if (*test_sanitizer())
        SKIP("sanitizers live on address space");
    CHECK_OK(try_everything(&sent)); /* what the C library keeps is there from now on */
    base = address_space();
    for (rlim_t more = 0; rc < 0; more += 16384) {
        struct rlimit limit = set_limit(RLIMIT_AS, base + more);

        CHECK(more < 16 << 20);
        rc = try_everything(&sent);
        CHECK(rc == 0 || rc == -ENOMEM);
        CHECK_OK(setrlimit(RLIMIT_AS, &limit));
        CHECK(address_space() <= base + 4096 * 64);
    }
    check_everything(sent);
}

/* All the mappings that a process may have, but for so many. */
static char *hoard_mappings(unsigned left, size_t *ret_size) {
    FILE *file = fopen("/proc/sys/vm/max_map_count", "re");
    size_t page = (size_t) sysconf(_SC_PAGESIZE), most = 0, size, i = 0;
    char *base;

    CHECK(file && fscanf(file, "%zu", &most) == 1);
    fclose(file);
    if (most > 300000)
        SKIP("this machine allows too many mappings");
    size = most * page;
    base = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(base != MAP_FAILED);
    /* Each second page readable: two mappings a time. */
    while (i < most && mprotect(base + i * page, page, PROT_READ) == 0)
        i += 2;
    CHECK(i < most);
    while (left-- > 0) {
        i -= 2;
        CHECK_OK(mprotect(base + i * page, page, PROT_NONE));
    }
    *ret_size = size;
    return base;
}

TEST_TIMEOUT(no_mappings, 60) {
    uint64_t sent = 0;
    int rc = -ENOMEM;

    if (*test_sanitizer())
        SKIP("sanitizers map for themselves");
    CHECK_OK(try_everything(&sent));
    for (unsigned left = 0; rc < 0; left += 2) {
        size_t size;
        char *hoard = hoard_mappings(left, &size);

        CHECK(left < 40);
        rc = try_everything(&sent);
        CHECK_OK(munmap(hoard, size));
        CHECK(rc == 0 || rc == -ENOMEM);
        CHECK_EQ(kit_count_files(test_dir(), ".*"), 0);
    }
    check_everything(sent);
}

/* A ring is cut short under a reader who may not have one more mapping. */
TEST(cut_short_without_mappings) {
    tram_node *a, *b;
    struct tram_msg msg;
    char path[300], *hoard;
    size_t size;

    if (*test_sanitizer())
        SKIP("sanitizers map for themselves");
    a = kit_open(NULL, A, NULL);
    b = kit_open(NULL, B, NULL);
    for (uint64_t n = 1; n <= 50; n++)
        CHECK_OK(send_number(a, B, n, 10000));
    CHECK_OK(tram_recv(b, &msg, 0));
    CHECK_OK(truncate(kit_path(path, sizeof path, test_dir(), B, "from-1.1.1.1"), 65536 + 4096));
    hoard = hoard_mappings(0, &size);
    CHECK_ERR(tram_recv(b, &msg, 0), -EBADMSG);
    CHECK_OK(munmap(hoard, size));
    CHECK_OK(tram_send(b, A, 1, "x", 1, 0));
    CHECK_OK(tram_recv(a, &msg, 0));
    tram_close(a);
    tram_close(b);
}

/* Root may lock what it likes: give that up. */
static void drop_privilege_to_lock(void) {
    struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
    struct __user_cap_data_struct data[2];

    CHECK_OK(syscall(SYS_capget, &header, data));
    data[0].effective &= ~(1u << CAP_IPC_LOCK);
    CHECK_OK(syscall(SYS_capset, &header, data));
}

TEST(no_locked_memory) {
    struct tram_options options = kit_options(65536, 0);
    struct rlimit limit;
    tram_node *a = NULL, *b;
    uint64_t count;

    if (*test_sanitizer())
        SKIP("sanitizers make mlock() do nothing");
    drop_privilege_to_lock();
    options.flags = TRAM_OPEN_LOCK;
    limit = set_limit(RLIMIT_MEMLOCK, 32768);
    CHECK_OK(tram_open(NULL, A, &options, &a));
    for (int i = 0; i < 2; i++) {
        CHECK_ERR(send_number(a, B, 1, 100), -ENOMEM);
        CHECK_OK(tram_accepted(a, B, &count));
        CHECK_EQ(count, 0);
    }
    CHECK(strstr(tram_last_error(a)->text, "memory"));
    if (setrlimit(RLIMIT_MEMLOCK, &(struct rlimit){ limit.rlim_max, limit.rlim_max }) == 0 &&
        limit.rlim_max >= 1 << 20)
        CHECK_OK(send_number(a, B, 1, 100));
    tram_close(a);
    b = kit_open(NULL, B, NULL);
    tram_close(b);
}

/* The kernel would not only refuse, but kill with SIGXFSZ. */
TEST(no_large_files) {
    tram_node *a = kit_open(NULL, A, NULL), *b = kit_open(NULL, B, NULL);
    struct rlimit limit = set_limit(RLIMIT_FSIZE, 1 << 20);
    uint64_t count = 99;

    CHECK_ERR(send_number(a, B, 1, 100), -EFBIG);
    CHECK_OK(tram_accepted(a, B, &count));
    CHECK_EQ(count, 0);
    CHECK_EQ(kit_count_files(test_dir(), ".*"), 0);
    CHECK_OK(setrlimit(RLIMIT_FSIZE, &limit));
    CHECK_OK(send_number(a, B, 1, 100));
    check_number(b, 1);
    tram_close(a);
    tram_close(b);
}
