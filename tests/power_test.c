/* SPDX-License-Identifier: MIT
 * test: timeout=60 label=notsan
 *
 * What a durable send promises, through power cuts. The C library's calls that put files on the
 * disk are taken over: each remembers how its file was then. After a cut every page is at least as
 * new as that, and at random newer.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"
#include "node/custody.h"
#include "ring/layout.h"
#include "support/disk.h"
#include "support/kit.h"

#define S TRAM_ID(1, 1, 1, 1)
#define D TRAM_ID(1, 1, 1, 2)
#define STREAM "from-1.1.1.1"
#define HEAD   "head-1.1.1.1"

static const char *const names[] = {STREAM, STREAM "+1", STREAM "+2", HEAD};

#define NAMES (sizeof(names) / sizeof(names[0]))

static char disk[DISK_PATH];
static char synced[180]; /* the files as they were when they were last put on it */

/* ---- the disk -------------------------------------------------------------------------------- */

static void copy_bytes(int from, int to, size_t size) {
    char *data = malloc(size + 1);

    if (pread(from, data, size, 0) != (ssize_t) size || pwrite(to, data, size, 0) != (ssize_t) size)
        abort();
    free(data);
}

/* A file of the channel, by its path, goes to the disk. */
static void remember(const char *path) {
    const char *name = strrchr(path, '/');
    struct stat st;
    char to[300];
    int from;
    int fd;

    if (!*synced || !name || strncmp(path, disk, strlen(disk)) != 0)
        return;
    name += name[1] == '.' ? 2 : 1;
    if (strncmp(name, "from-", 5) != 0 && strncmp(name, "head-", 5) != 0)
        return;
    from = open(path, O_RDONLY | O_CLOEXEC);
    if (from < 0)
        return; /* it has no name any more */
    (void) snprintf(to, sizeof(to), "%s/%s", synced, name);
    fd = open(to, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || fstat(from, &st) < 0)
        abort();
    copy_bytes(from, fd, (size_t) st.st_size);
    close(fd);
    close(from);
}

/* The names in a directory when it was last put on the disk; each between slashes. */
enum { DIRS = 8 };
static struct names {
    char path[300], text[2000];
} *dirs; /* shared by all processes of a test */

static void read_names(const char *path, struct names *there) {
    DIR *stream = opendir(path);
    struct dirent *found;
    size_t length = 0;

    (void) snprintf(there->path, sizeof(there->path), "%s", path);
    there->text[0] = '\0';
    while (stream && (found = readdir(stream)))
        length += (size_t) snprintf(there->text + length, sizeof(there->text) - length, "/%s/",
                                    found->d_name);
    if (stream)
        (void) closedir(stream);
}

static struct names *names_of(const char *path) {
    for (int i = 0; i < DIRS; i++)
        if (!dirs[i].path[0] || strcmp(dirs[i].path, path) == 0)
            return &dirs[i];
    FAIL("too many directories");
}

static void remember_fd(int fd) {
    char link[64];
    char path[300];
    ssize_t length;
    struct stat st;

    (void) snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    length = readlink(link, path, sizeof(path) - 1);
    if (length <= 0)
        return;
    path[length] = '\0';
    if (dirs && fstat(fd, &st) == 0 && S_ISDIR(st.st_mode))
        read_names(path, names_of(path));
    remember(path);
}

int fdatasync(int fd) {
    remember_fd(fd);
    return (int) syscall(SYS_fdatasync, fd);
}

int fsync(int fd) {
    remember_fd(fd);
    return (int) syscall(SYS_fsync, fd);
}

int msync(void *base, size_t length, int flags) {
    FILE *maps = fopen("/proc/self/maps", "re");
    unsigned long begin;
    char line[512];
    char path[300];

    while (maps && fgets(line, sizeof(line), maps))
        if (sscanf(line, "%lx-%*x %*s %*s %*s %*s %299s", &begin, path) == 2 &&
            begin == (unsigned long) base)
            remember(path);
    if (maps)
        (void) fclose(maps);
    return (int) syscall(SYS_msync, base, length, flags);
}

static void remove_disk(void) {
    kit_remove_tree(disk);
    kit_remove_tree(synced);
}

static void need_disk(void) {
    disk_make(disk, "power");
    (void) snprintf(synced, sizeof(synced), "%s.synced", disk);
    CHECK_OK(mkdir(synced, 0700));
    CHECK_EQ(atexit(remove_disk), 0);
}

static void empty_disk(void) {
    remove_disk();
    CHECK_OK(mkdir(disk, 0700));
    CHECK_OK(mkdir(synced, 0700));
}

static int file(const char *name, int flags) {
    char path[256];

    return open(kit_path(path, sizeof(path), disk, D, name), flags | O_CLOEXEC, 0600);
}

static int synced_file(const char *name) {
    char path[256];

    (void) snprintf(path, sizeof(path), "%s/%s", synced, name);
    return open(path, O_RDONLY | O_CLOEXEC);
}

/* One file after the cut. What was removed may be there again. `chance` of a page to be old, in a
 * thousand. */
static void cut_file(const char *name, struct rng *rng, unsigned chance) {
    int then = synced_file(name);
    int now = file(name, O_RDWR);
    char page[4096];
    struct stat st;
    struct stat st_now;
    uint64_t boot;
    off_t at = strcmp(name, HEAD) == 0 ? offsetof(struct head, boot)
                                       : offsetof(struct stream, boot);

    if (then < 0 || (now < 0 && rng_chance(rng, 500))) {
        CHECK(now < 0); /* it was used, and never on the disk? */
    } else {
        CHECK_OK(fstat(then, &st));
        if (now < 0) {
            now = CHECK_OK(file(name, O_RDWR | O_CREAT));
            copy_bytes(then, now, (size_t) st.st_size);
        }
        CHECK_OK(fstat(now, &st_now));
        CHECK_EQ(st.st_size, st_now.st_size);
        for (off_t offset = 0; offset < st.st_size; offset += 4096)
            if (rng_chance(rng, chance)) {
                CHECK_EQ(pread(then, page, 4096, offset), 4096);
                CHECK_EQ(pwrite(now, page, 4096, offset), 4096);
            }
        CHECK_EQ(pread(now, &boot, sizeof(boot), at), sizeof(boot));
        boot ^= boot ? 4096 : 0; /* another start of the machine */
        CHECK_EQ(pwrite(now, &boot, sizeof(boot), at), sizeof(boot));
    }
    if (then >= 0)
        close(then);
    if (now >= 0)
        close(now);
}

static void cut_power(struct rng *rng) {
    /* Heads are small and seldom written out: often old where the streams are new. */
    unsigned chance = rng_chance(rng, 500) ? 300 : 0;

    for (size_t i = 0; i < NAMES; i++)
        cut_file(names[i], rng, strcmp(names[i], HEAD) == 0 ? 800 : chance);
}

/* ---- messages -------------------------------------------------------------------------------- */

struct shown { /* by the process that is cut */
    uint64_t durable;  /* the last whose durable send returned */
    uint64_t received; /* the last in hand */
    uint64_t sent;
};

static struct shown *shown;
static bool with_large;

static tram_node *start(tram_id id) {
    struct tram_options options = kit_options(65536, TRAM_NO_SPIN);

    options.attempts = 100;
    options.keep = 4096;
    return kit_open(disk, id, &options);
}

static size_t size_of(uint64_t number) {
    if (with_large && kit_mix(number, 5, 0) % 97 == 0)
        return 70000 + (size_t) (kit_mix(number, 6, 0) % 30000);
    return (size_t) (kit_mix(number, 1, 0) % 900);
}

static int put(tram_node *node, uint64_t number, uint32_t flags) {
    static uint8_t data[100000];

    pattern_fill(data, size_of(number), number);
    return tram_send(node, D, (uint32_t) number, data, size_of(number), flags);
}

static uint64_t get(tram_node *node, struct tram_msg *ret_msg) {
    int rc = tram_recv(node, ret_msg, 0);

    if (rc == -EAGAIN)
        return 0;
    if (rc < 0)
        FAIL("%s", kit_error(node));
    CHECK_EQ(ret_msg->size, size_of(ret_msg->tag));
    CHECK_EQ(pattern_check(ret_msg->data, ret_msg->size, ret_msg->tag), -1);
    return ret_msg->tag;
}

struct life {
    uint64_t seed, first, count;
    bool close_sender, close_receiver; /* before the power goes */
};

/* Both ends, in one process, until it is killed. */
static void live(void *argument) {
    const struct life *life = argument;
    struct rng rng = {life->seed};
    tram_node *sender = start(S);
    tram_node *receiver = start(D);
    unsigned behind = 100 + (unsigned) rng_below(&rng, 700);
    struct tram_msg msg;

    for (uint64_t number = life->first; number < life->first + life->count; number++) {
        bool durable = rng_chance(&rng, 20);
        int rc;

        while ((rc = put(sender, number, TRAM_NOWAIT | (durable ? TRAM_DURABLE : 0))) == -EAGAIN)
            shown->received = get(receiver, &msg);
        if (rc < 0)
            FAIL("%s", kit_error(sender));
        shown->sent = number;
        if (durable)
            shown->durable = number;
        while (shown->received < number && !rng_chance(&rng, behind))
            shown->received = get(receiver, &msg);
    }
    if (life->close_receiver)
        (void) tram_close(receiver);
    if (life->close_sender)
        (void) tram_close(sender);
    (void) kill(getpid(), SIGKILL);
}

/* What was durable and not done with comes, all of it and in order. */
static void check_round(struct rng *rng) {
    bool sender_first = rng_chance(rng, 500);
    tram_node *sender = sender_first ? start(S) : NULL;
    tram_node *receiver = start(D);
    uint64_t done = shown->received > 0 ? shown->received - 1 : 0;
    struct tram_msg msg;
    uint64_t number;
    uint64_t before = 0;

    while ((number = get(receiver, &msg)) != 0) {
        CHECK(before == 0 ? number <= done + 1 : number == before + 1);
        CHECK(number <= shown->sent);
        if (number <= shown->received)
            CHECK(msg.attempt > 1);
        before = number;
    }
    if (shown->durable > done && before < shown->durable)
        FAIL("message %llu was durable, %llu was done with, %llu came last",
             (unsigned long long) shown->durable, (unsigned long long) done,
             (unsigned long long) before);
    if (!sender)
        sender = start(S);
    CHECK_OK(put(sender, ++shown->sent, TRAM_DURABLE));
    CHECK_EQ(get(receiver, &msg), shown->sent);
    CHECK_EQ(msg.attempt, 1);
    CHECK_OK(tram_done(receiver));
    (void) tram_close(receiver);
    (void) tram_close(sender);
}

static void rounds(uint64_t count, bool large) {
    uint64_t seed = kit_env("DISK_SEED", (uint64_t) kit_now());
    struct rng rng = {seed};

    need_disk();
    with_large = large;
    shown = kit_shared(sizeof(*shown));
    count = kit_env("DISK_ROUNDS", count);
    printf("    DISK_SEED=%llu DISK_ROUNDS=%llu\n", (unsigned long long) seed,
           (unsigned long long) count);
    for (uint64_t round = 0; round < count; round++) {
        struct life life = {
            .seed = rng_next(&rng),
            .first = 1,
            .count = 10 + rng_below(&rng, 700),
            .close_sender = rng_chance(&rng, 200),
            .close_receiver = rng_chance(&rng, 200),
        };
        int status;
        pid_t pid;

        *shown = (struct shown){0};
        pid = test_fork(live, &life);
        CHECK_EQ(waitpid(pid, &status, 0), pid);
        CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        cut_power(&rng);
        check_round(&rng);
        empty_disk();
    }
}

TEST_TIMEOUT(durable_messages_come, 40) {
    rounds(25, false);
}

TEST_TIMEOUT(durable_messages_come_grown, 40) {
    rounds(25, true);
}

/* ---- a receiver that ended in order, and a sender that did not ------------------------------- */

static void close_with_messages_in_hand(void *unused) {
    tram_node *sender = start(S);
    tram_node *receiver = start(D);
    struct tram_msg msgs[20];

    (void) unused;
    CHECK_OK(put(sender, 1, TRAM_DURABLE));
    for (uint64_t i = 2; i <= 20; i++)
        CHECK_OK(put(sender, i, 0));
    for (int i = 0; i < 20; i++)
        CHECK_EQ(tram_recv_batch(receiver, &msgs[i], 1, TRAM_HOLD, 0), 1);
    for (int i = 10; i < 20; i++)
        CHECK_OK(tram_release(receiver, &msgs[i]));
    (void) tram_close(receiver);
    (void) kill(getpid(), SIGKILL);
}

/* The head is exact, but speaks of messages that are no more: their numbers are used again. */
TEST(released_then_closed_then_lost) {
    tram_node *sender;
    tram_node *receiver;
    struct tram_msg msg;
    struct rng rng = {1};
    int status;
    pid_t pid;

    need_disk();
    pid = test_fork(close_with_messages_in_hand, NULL);
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK(WIFSIGNALED(status));
    cut_file(STREAM, &rng, 1000);
    sender = start(S);
    for (uint64_t i = 21; i <= 39; i++)
        CHECK_OK(put(sender, i, 0));
    receiver = start(D);
    CHECK_EQ(get(receiver, &msg), 1);
    CHECK(msg.attempt > 1);
    for (uint64_t i = 21; i <= 39; i++) {
        CHECK_EQ(get(receiver, &msg), i);
        CHECK_EQ(msg.seq, i - 19);
    }
    (void) tram_close(receiver);
    (void) tram_close(sender);
}

/* ---- staged, and never accepted -------------------------------------------------------------- */

static void stage_and_die(void *unused) {
    tram_node *sender = start(S);

    (void) unused;
    CHECK_OK(put(sender, 1, 0));
    for (uint64_t i = 0; i < 3; i++)
        CHECK_EQ(tram_send(sender, D, 1000, "staged", 6, TRAM_MORE), TRAM_STAGED);
    (void) kill(getpid(), SIGKILL);
}

static void send_over_it(void *unused) {
    tram_node *sender = start(S);

    (void) unused;
    for (uint64_t i = 0; i < 3; i++)
        CHECK_OK(tram_send(sender, D, 2000, "others", 6, 0));
    (void) kill(getpid(), SIGKILL);
}

/* The disk has the page with what was staged; and the stream's words of after what was accepted in
 * its place, which is not on it. */
TEST(staged_by_a_dead_process_and_overwritten) {
    char page[4096];
    tram_node *receiver;
    struct tram_msg msg;
    char path[300];
    uint64_t boot;
    int status;
    int then;
    int now;

    need_disk();
    CHECK_EQ(waitpid(test_fork(stage_and_die, NULL), &status, 0) > 0 && WIFSIGNALED(status), 1);
    remember(kit_path(path, sizeof(path), disk, D, STREAM)); /* the kernel writes when it likes */
    CHECK_EQ(waitpid(test_fork(send_over_it, NULL), &status, 0) > 0 && WIFSIGNALED(status), 1);
    then = CHECK_OK(synced_file(STREAM));
    now = CHECK_OK(file(STREAM, O_RDWR));
    for (off_t at = LAYOUT_DATA; pread(then, page, 4096, at) == 4096; at += 4096)
        CHECK_EQ(pwrite(now, page, 4096, at), 4096);
    CHECK_EQ(pread(now, &boot, 8, offsetof(struct stream, boot)), 8);
    boot ^= 4096; /* another start of the machine */
    CHECK_EQ(pwrite(now, &boot, 8, offsetof(struct stream, boot)), 8);
    close(then);
    close(now);
    receiver = start(D);
    CHECK_EQ(get(receiver, &msg), 1);
    CHECK_ERR(tram_recv(receiver, &msg, 0), -EAGAIN); /* lost; but nothing that never was */
    (void) tram_close(receiver);
}

/* ---- what was removed ------------------------------------------------------------------------ */

/* After a cut each name that was in a directory when that was last put on the disk may be there. */
static bool may_come_back(const char *path, const char *name) {
    char entry[100];

    (void) snprintf(entry, sizeof(entry), "/%s/", name);
    return strstr(names_of(path)->text, entry) != NULL;
}

static const char *bus_path(void) {
    static char path[200];

    (void) snprintf(path, sizeof(path), "%s/default", disk);
    return path;
}

static const char *node_path(tram_id id) {
    static char path[300];
    char text[TRAM_ID_TEXT];

    (void) snprintf(path, sizeof(path), "%s/default/%s", disk, tram_id_format(id, text));
    return path;
}

/* S sent `count` messages to D, which received some and ended. */
static void sent_and_received(unsigned count, unsigned received) {
    tram_node *sender;
    tram_node *receiver;
    struct tram_msg msg;

    need_disk();
    dirs = kit_shared(DIRS * sizeof(*dirs));
    sender = start(S);
    receiver = start(D);
    for (unsigned i = 1; i <= count; i++)
        CHECK_OK(put(sender, i, 0));
    for (unsigned i = 1; i <= received; i++)
        CHECK_EQ(get(receiver, &msg), i);
    CHECK_OK(tram_done(receiver));
    (void) tram_close(receiver);
    (void) tram_close(sender);
}

static void end_names(void) {
    CHECK_OK(munmap(dirs, DIRS * sizeof(*dirs)));
    dirs = NULL;
}

TEST(removed_nodes_stay_removed) {
    struct tram_error error;

    sent_and_received(3, 3);
    CHECK(may_come_back(bus_path(), "1.1.1.2"));
    CHECK_OK(custody_rm(bus_path(), D, false, &error));
    CHECK(!may_come_back(bus_path(), "1.1.1.2"));
    CHECK(may_come_back(bus_path(), "1.1.1.1"));
    end_names();
}

TEST(channels_of_a_removed_sender_stay_removed) {
    struct tram_error error;

    sent_and_received(3, 3);
    CHECK(may_come_back(node_path(D), STREAM) && may_come_back(node_path(D), HEAD));
    CHECK_OK(custody_rm(bus_path(), S, false, &error));
    CHECK(!may_come_back(node_path(D), STREAM) && !may_come_back(node_path(D), HEAD));
    CHECK(!may_come_back(bus_path(), "1.1.1.1"));
    end_names();
}

/* The receiver's words are on the disk, and say that all is done with. */
TEST(what_was_purged_stays_purged) {
    struct rng rng = {1};
    struct tram_error error;
    struct tram_msg msg;
    tram_node *sender;
    tram_node *receiver;
    uint64_t count;

    sent_and_received(5, 2);
    CHECK_OK(custody_purge(bus_path(), S, D, &count, &error));
    CHECK_EQ(count, 3);
    cut_file(HEAD, &rng, 1000);
    receiver = start(D);
    CHECK_EQ(get(receiver, &msg), 0);
    sender = start(S);
    CHECK_OK(put(sender, 6, 0));
    CHECK_EQ(get(receiver, &msg), 6);
    (void) tram_close(receiver);
    (void) tram_close(sender);
    end_names();
}

/* A channel whose words make no sense goes as a whole. */
TEST(a_purged_channel_stays_removed) {
    struct tram_error error;
    uint64_t nonsense = UINT64_MAX;
    uint64_t count;
    int fd;

    sent_and_received(5, 2);
    fd = CHECK_OK(file(STREAM, O_RDWR));
    CHECK_EQ(pwrite(fd, &nonsense, 8, offsetof(struct stream, tail)), 8);
    close(fd);
    CHECK_OK(custody_purge(bus_path(), S, D, &count, &error));
    CHECK(!may_come_back(node_path(D), STREAM) && !may_come_back(node_path(D), HEAD));
    end_names();
}

static void set_aside_one(void) {
    struct tram_options options = kit_options(65536, TRAM_NO_SPIN);
    tram_node *sender;
    tram_node *receiver;
    struct tram_msg msg;

    need_disk();
    dirs = kit_shared(DIRS * sizeof(*dirs));
    options.attempts = 1;
    sender = start(S);
    CHECK_OK(put(sender, 1, 0));
    receiver = kit_open(disk, D, &options);
    CHECK_EQ(get(receiver, &msg), 1);
    (void) tram_close(receiver);
    receiver = kit_open(disk, D, &options);
    CHECK_EQ(get(receiver, &msg), 0);
    (void) tram_close(receiver);
    (void) tram_close(sender);
    CHECK(may_come_back(node_path(D), "aside-1.1.1.1-1"));
}

TEST(what_was_dropped_stays_dropped) {
    struct tram_error error;

    set_aside_one();
    CHECK_OK(custody_drop(bus_path(), D, S, 1, &error));
    CHECK(!may_come_back(node_path(D), "aside-1.1.1.1-1"));
    end_names();
}

TEST(what_its_receiver_dropped_stays_dropped) {
    tram_node *receiver;

    set_aside_one();
    receiver = start(D);
    CHECK_OK(tram_aside_drop(receiver, S, 1));
    CHECK(!may_come_back(node_path(D), "aside-1.1.1.1-1"));
    (void) tram_close(receiver);
    end_names();
}
