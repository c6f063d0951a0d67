/* SPDX-License-Identifier: MIT
 * test: timeout=120 cpus=2
 *
 * What a peer repeats without end, makes by the thousand, or puts in the place of what is ours:
 * each call of the victim ends, limits hold and are named, doors and bells are mended, and how long
 * an innocent sender's wake-up takes is measured. HOSTILE_MANY=N: N times as long, and as many.
 */
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"
#include "node/files.h"
#include "node/node.h"
#include "support/hostile.h"

#define A HOSTILE_A
#define B HOSTILE_B
#define C HOSTILE_C
#define D TRAM_ID(1, 1, 1, 4)
#define E TRAM_ID(1, 1, 1, 5)

static unsigned many(unsigned number) {
    return number * (unsigned) kit_env("HOSTILE_MANY", 1);
}

/* ---- knocks without end ---------------------------------------------------------------------- */

struct hammer {
    tram_id node;
    bool bell, knocks, clears;
    int64_t ms;
};

/* Rings, knocks and announces, or takes all that away, as fast as it can. */
static void hammer(void *arg) {
    const struct hammer *job = arg;
    struct door *door = hostile_map(job->node, "door", LAYOUT_DOOR);
    int64_t until = kit_now() + job->ms * KIT_MS;
    static uint8_t bytes[4096];
    char path[512];
    int bell = open(hostile_path(path, job->node, "bell"), O_RDWR | O_NONBLOCK);

    while (kit_now() < until) {
        if (job->bell)
            (void) !write(bell, bytes, sizeof(bytes));
        for (int i = 0; job->knocks && i < 100; i++) {
            (void) __atomic_fetch_add(&door->attached, 1, __ATOMIC_SEQ_CST);
            __atomic_store_n(&door->bits[i % 8], UINT64_MAX, __ATOMIC_SEQ_CST);
        }
        for (int i = 0; job->clears && i < 1000; i++)
            __atomic_store_n(&door->bits[i % 8], 0, __ATOMIC_SEQ_CST);
    }
    _exit(0);
}

static bool goes_on(pid_t pid) {
    return kill(pid, 0) == 0 && waitpid(pid, NULL, WNOHANG) == 0;
}

/* Every call ends that should not wait, or not for long. */
TEST(knocked_without_end) {
    struct hammer job = {.node = B, .bell = true, .knocks = true, .ms = many(150)};
    struct sound sound = sound_start();
    struct pollfd entry = {.fd = tram_fd(sound.b), .events = POLLIN};
    uint64_t rounds = 0;
    pid_t pid = test_fork(hammer, &job);

    while (goes_on(pid)) {
        int64_t begin = kit_now();
        struct tram_event event;
        struct tram_msg msg;

        (void) poll(&entry, 1, 10);
        while (tram_dispatch(sound.b, &event) > 0)
            continue;
        CHECK_ERR(tram_recv(sound.b, &msg, 0), -EAGAIN);
        CHECK_ERR(tram_recv(sound.b, &msg, 5 * KIT_MS), -ETIMEDOUT);
        CHECK(tram_timeout(sound.b) >= 0);
        sound_goes_on(&sound);
        CHECK(kit_now() - begin < kit_patience(2));
        rounds++;
    }
    (void) fprintf(stderr, "%llu rounds\n", (unsigned long long) rounds);
    CHECK(rounds > 2); /* each takes 5 ms and more */
    sound_end(&sound);
}

/* A wait for space has its end, although its node is knocked at. */
TEST(full_and_knocked_without_end) {
    static const uint8_t block[1000];
    struct hammer job = {.node = A, .bell = true, .knocks = true, .ms = many(150)};
    tram_node *a = hostile_open(A);
    tram_node *b = hostile_open(B);
    struct iovec piece = {.iov_base = (void *) (uintptr_t) block, .iov_len = sizeof(block)};
    pid_t pid;

    while (tram_send(a, B, 0, block, sizeof(block), TRAM_NOWAIT) == 0)
        continue;
    pid = test_fork(hammer, &job);
    while (goes_on(pid)) {
        int64_t begin = kit_now();

        CHECK_ERR(tram_sendv(a, B, NULL, &piece, 1, 0, 10 * KIT_MS), -ETIMEDOUT);
        CHECK(kit_now() - begin < kit_patience(2));
    }
    (void) tram_close(a);
    (void) tram_close(b);
}

/* It closes the channel again and again, and removes nothing, though somebody holds the lock that a
 * remover holds: its sender opens it each time, and waits for nobody. */
TEST(closed_without_end) {
    struct flock lock = {.l_type = F_WRLCK, .l_start = LOCK_PROXY, .l_len = 1};
    tram_node *a = hostile_open(A);
    tram_node *b = hostile_open(B);
    struct head *head;
    char path[512];
    int64_t begin;
    int fd;

    CHECK_OK(tram_send(a, B, 0, "x", 1, 0));
    fd = CHECK_OK(open(hostile_path(path, B, "lock"), O_RDWR));
    CHECK_OK(fcntl(fd, F_OFD_SETLK, &lock));
    head = hostile_map(B, "head-1.1.1.1", sizeof(*head));
    begin = kit_now();
    for (int i = 0; i < 30; i++) {
        (void) __atomic_fetch_or(&head->armed, ARMED_CLOSED, __ATOMIC_SEQ_CST);
        (void) __atomic_fetch_add(&head->armed, ARMED_EPOCH, __ATOMIC_SEQ_CST); /* anew */
        CHECK_OK(tram_send(a, B, 0, "x", 1, TRAM_NOWAIT));
    }
    CHECK(kit_now() - begin < kit_patience(1));
    munmap(head, sizeof(*head));
    close(fd);
    (void) tram_close(a);
    (void) tram_close(b);
}

/* Its door says at each look that it died and came anew. */
static void reopen_for_ever(void *unused) {
    struct door *door = hostile_map(A, "door", LAYOUT_DOOR);
    struct flock lock = {.l_type = F_WRLCK, .l_len = 1};
    int64_t until = kit_now() + many(100) * KIT_MS;
    char path[512];
    int fd = CHECK_OK(open(hostile_path(path, A, "lock"), O_RDWR));

    (void) unused;
    CHECK_OK(fcntl(fd, F_OFD_SETLK, &lock));
    door->pid = 0x3fffffff; /* no process */
    while (kit_now() < until)
        for (int i = 0; i < 1000; i++)
            (void) __atomic_fetch_add(&door->opens, 1, __ATOMIC_RELAXED);
    _exit(0);
}

TEST(watched_and_reborn_without_end) {
    struct sound sound = sound_start();
    struct tram_event event;
    pid_t pid;

    (void) tram_close(hostile_open(A));
    CHECK_OK(tram_watch(sound.b, A));
    pid = test_fork(reopen_for_ever, NULL);
    while (goes_on(pid)) {
        hostile_announce(B);
        while (tram_dispatch(sound.b, &event) > 0)
            CHECK_EQ(event.peer, A);
        sound_goes_on(&sound);
    }
    sound_end(&sound);
}

/* ---- hints taken away ------------------------------------------------------------------------ */

/* A node that sleeps until something comes, and notes when. */
struct sleeper {
    tram_id id;
    tram_node *node;
    pthread_t thread;
    int64_t got_at;
    unsigned count;
};

static void *sleep_and_receive(void *arg) {
    struct sleeper *sleeper = arg;
    struct tram_msg msg;

    for (;;) {
        int rc = tram_recv(sleeper->node, &msg, TRAM_FOREVER);

        if (rc < 0 || msg.tag == 99) {
            (void) tram_done(sleeper->node);
            return NULL;
        }
        __atomic_store_n(&sleeper->got_at, kit_now(), __ATOMIC_RELAXED);
        (void) __atomic_fetch_add(&sleeper->count, 1, __ATOMIC_RELEASE);
    }
}

static void sleeper_start(struct sleeper *sleeper, tram_id id) {
    *sleeper = (struct sleeper){.id = id, .node = hostile_open(id)};
    CHECK_EQ(pthread_create(&sleeper->thread, NULL, sleep_and_receive, sleeper), 0);
}

static void sleeper_end(struct sleeper *sleeper, tram_node *from) {
    CHECK_OK(tram_send(from, sleeper->id, 99, NULL, 0, 0));
    CHECK_EQ(pthread_join(sleeper->thread, NULL), 0);
    (void) tram_close(sleeper->node);
}

/* Send when it sleeps; how long it took to wake it, or -1. */
static int64_t wake(struct sleeper *sleeper, tram_node *from, int64_t most) {
    unsigned before = __atomic_load_n(&sleeper->count, __ATOMIC_ACQUIRE);
    int64_t begin;

    if (!kit_await_asleep(test_dir(), sleeper->id))
        return -1;
    begin = kit_now();
    CHECK_OK(tram_send(from, sleeper->id, 0, "x", 1, 0));
    while (__atomic_load_n(&sleeper->count, __ATOMIC_ACQUIRE) == before) {
        if (kit_now() - begin > most)
            return -1;
        kit_pause();
    }
    return __atomic_load_n(&sleeper->got_at, __ATOMIC_RELAXED) - begin;
}

static int by_size(const void *left, const void *right) {
    int64_t a = *(const int64_t *) left;
    int64_t b = *(const int64_t *) right;

    return a < b ? -1 : a > b;
}

static int64_t tell(const char *who, int64_t *times, unsigned count) {
    CHECK(count > 0);
    qsort(times, count, sizeof(*times), by_size);
    (void) fprintf(stderr, "%s: %u wake-ups, median %.3f ms, p99 %.3f ms, most %.3f ms\n", who,
                   count, (double) times[count / 2] / 1e6,
                   (double) times[(count - 1) * 99 / 100] / 1e6,
                   (double) times[count - 1] / 1e6);
    return times[count - 1];
}

/* Bits of a door are cleared without end: an innocent's wake-up takes as long as the look that a
 * bell for nothing brings, or the re-look; at another node nothing changes. */
TEST_TIMEOUT(hints_cleared, 40) {
    struct hammer job = {.node = B, .clears = true, .ms = many(350)};
    tram_node *c = hostile_open(C);
    tram_node *e = hostile_open(E);
    struct sleeper b;
    struct sleeper d;
    static int64_t spoilt[10000];
    static int64_t fine[10000];
    unsigned count = 0;
    pid_t pid;

    sleeper_start(&b, B);
    sleeper_start(&d, D);
    CHECK(wake(&b, c, kit_patience(5)) >= 0);
    CHECK(wake(&d, e, kit_patience(5)) >= 0);
    pid = test_fork(hammer, &job);
    while (goes_on(pid) && count < 10000) {
        spoilt[count] = wake(&b, c, kit_patience(5));
        fine[count] = wake(&d, e, kit_patience(5));
        CHECK(spoilt[count] >= 0);
        CHECK(fine[count] >= 0);
        count++;
    }
    CHECK(tell("bits cleared", spoilt, count) < kit_patience(2));
    CHECK(tell("another node", fine, count) < kit_patience(1));
    sleeper_end(&b, c);
    sleeper_end(&d, e);
    (void) tram_close(c);
    (void) tram_close(e);
}

/* ---- what is ours ---------------------------------------------------------------------------- */

enum kind { NOTHING, REGULAR, LINK, SOCKET, DIRECTORY, KINDS };

static void put_kind(tram_id node, const char *name, enum kind kind) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char path[512];
    int fd;

    (void) hostile_path(path, node, name);
    (void) unlink(path);
    switch (kind) {
    case REGULAR:
        hostile_put(node, name, "nonsense", 8);
        break;
    case LINK:
        CHECK_OK(symlink("/dev/null", path));
        break;
    case SOCKET:
        fd = CHECK_OK(socket(AF_UNIX, SOCK_STREAM, 0));
        CHECK(strlen(path) < sizeof(address.sun_path));
        memcpy(address.sun_path, path, strlen(path));
        CHECK_OK(bind(fd, (struct sockaddr *) &address, sizeof(address)));
        close(fd);
        break;
    case DIRECTORY:
        CHECK_OK(mkdir(path, 0700));
        break;
    default:
        break;
    }
}

/* Whatever lies there when a node opens, or is put there while it sleeps: after a re-look its door
 * and bell wake it again. */
TEST_TIMEOUT(door_and_bell_replaced, 60) {
    static const char *const names[] = {"bell", "door", ".door"};
    tram_node *c = hostile_open(C);

    (void) tram_close(hostile_open(B));
    for (int at = 0; at < 3 * KINDS; at++) {
        struct sleeper b;

        put_kind(B, names[at / KINDS], (enum kind)(at % KINDS));
        if (at > KINDS) { /* else it has the old door mapped, and needs a re-look to notice */
            (void) tram_close(c);
            c = hostile_open(C);
        }
        sleeper_start(&b, B);
        CHECK(wake(&b, c, kit_patience(5)) >= 0);
        CHECK(wake(&b, c, kit_patience(5)) < kit_patience(1));
        if (at == KINDS + DIRECTORY || (at == REGULAR && many(1) > 1)) { /* a second: the re-look */
            put_kind(B, names[at / KINDS], (enum kind)(at % KINDS));
            (void) tram_close(c);
            c = hostile_open(C);
            CHECK_OK(tram_send(c, B, 0, "x", 1, 0));
            if (at / KINDS > 0)
                hostile_ring(B);
            while (__atomic_load_n(&b.count, __ATOMIC_ACQUIRE) < 3)
                kit_pause();
            CHECK(wake(&b, c, kit_patience(5)) < kit_patience(1));
        }
        sleeper_end(&b, c);
    }
    (void) tram_close(c);
}

/* Peers that have the old door mapped take the new one. */
TEST(door_cut_while_mapped) {
    tram_node *c = hostile_open(C);
    struct sleeper b;
    char path[512];

    sleeper_start(&b, B);
    CHECK(wake(&b, c, kit_patience(5)) >= 0);
    CHECK_OK(truncate(hostile_path(path, B, "door"), 0));
    CHECK_OK(tram_send(c, B, 0, "x", 1, 0));
    hostile_ring(B);
    while (__atomic_load_n(&b.count, __ATOMIC_ACQUIRE) < 2)
        kit_pause();
    CHECK(wake(&b, c, kit_patience(5)) < kit_patience(1));
    CHECK(wake(&b, c, kit_patience(5)) < kit_patience(1));
    sleeper_end(&b, c);
    (void) tram_close(c);
}

/* The words of a door that only its node writes are put back, also that it sleeps. */
TEST(words_of_a_door_put_back) {
    tram_node *c = hostile_open(C);
    struct door *door;
    struct door good;
    struct sleeper b;
    int64_t end;

    sleeper_start(&b, B);
    CHECK(wake(&b, c, kit_patience(5)) >= 0);
    CHECK(kit_await_asleep(test_dir(), B));
    door = hostile_map(B, "door", LAYOUT_DOOR);
    good = *door;
    memset(door, 0xff, offsetof(struct door, zero));
    __atomic_store_n(&door->asleep, 0, __ATOMIC_SEQ_CST);
    end = kit_now() + kit_patience(5);
    hostile_ring(B);
    while (memcmp(door, &good, offsetof(struct door, zero)) != 0 ||
           __atomic_load_n(&door->asleep, __ATOMIC_SEQ_CST) != 1) {
        CHECK(kit_now() < end);
        kit_pause();
    }
    hostile_ring(B); /* a re-look is due 100 ms after the last, in its sleep */
    CHECK(kit_await_asleep(test_dir(), B));
    __atomic_store_n(&door->asleep, 0, __ATOMIC_SEQ_CST);
    while (__atomic_load_n(&door->asleep, __ATOMIC_SEQ_CST) != 1) {
        CHECK(kit_now() < end);
        kit_pause();
    }
    CHECK(wake(&b, c, kit_patience(5)) < kit_patience(1));
    munmap(door, LAYOUT_DOOR);
    sleeper_end(&b, c);
    (void) tram_close(c);
}

/* While its door and bell are open elsewhere, and again when only the door's size is wrong: whoever
 * has neither open finds good ones, and who has the old ones the new ones. */
TEST(bell_replaced_while_open) {
    tram_node *c = hostile_open(C);
    int64_t best = INT64_MAX;
    struct sleeper b;
    char path[512];

    sleeper_start(&b, B);
    CHECK(wake(&b, c, kit_patience(5)) >= 0);
    for (int round = 0; round < 2; round++) {
        int bell = CHECK_OK(open(hostile_path(path, B, "bell"), O_RDWR | O_NONBLOCK));
        tram_node *e = hostile_open(E);
        struct stat old;
        struct stat now;
        int64_t begin;

        CHECK(kit_await_asleep(test_dir(), B));
        CHECK_OK(stat(hostile_path(path, B, "door"), &old));
        if (round == 0) {
            CHECK_OK(unlink(hostile_path(path, B, "bell")));
            CHECK_OK(mkfifo(path, 0600));
        } else {
            CHECK_OK(truncate(path, 2 * LAYOUT_DOOR));
        }
        begin = kit_now();
        CHECK_EQ(write(bell, "!", 1), 1); /* for nothing: a re-look follows soon */
        do {
            CHECK(kit_now() - begin < kit_patience(5));
            kit_pause();
        } while (stat(hostile_path(path, B, "door"), &now) < 0 || now.st_ino == old.st_ino);
        if (kit_now() - begin < best)
            best = kit_now() - begin;
        CHECK_EQ(now.st_size, LAYOUT_DOOR);
        CHECK(wake(&b, e, kit_patience(5)) >= 0);
        CHECK(wake(&b, c, kit_patience(5)) >= 0);
        (void) tram_close(e);
        close(bell);
    }
    CHECK(best < kit_patience(1) / 2);
    sleeper_end(&b, c);
    (void) tram_close(c);
}

/* That others could open the same ID is said, once; the node works on. */
TEST(lock_replaced) {
    struct sound sound = sound_start();
    struct tram_msg msg;
    uint64_t looked;
    char path[512];
    int rc;

    CHECK(tram_fd(sound.b) >= 0);
    sound_goes_on(&sound);
    CHECK_OK(unlink(hostile_path(path, B, "lock")));
    hostile_put(B, "lock", "", 0);
    do {
        struct tram_event event;

        hostile_ring(B);
        (void) tram_dispatch(sound.b, &event);
        rc = tram_recv(sound.b, &msg, 0);
    } while (rc == -EAGAIN);
    CHECK_EQ(rc, -ESTALE);
    CHECK_EQ(tram_last_error(sound.b)->code, -ESTALE);
    CHECK_EQ(tram_last_error(sound.b)->from, B);
    CHECK(strstr(kit_error(sound.b), "lock"));
    sound_goes_on(&sound);
    looked = sound.b->relooked_at;
    while (sound.b->relooked_at == looked) {
        struct tram_event event;

        hostile_ring(B);
        (void) tram_dispatch(sound.b, &event);
        CHECK_ERR(tram_recv(sound.b, &msg, 0), -EAGAIN);
    }
    sound_end(&sound);
}

TEST(bell_is_full) {
    struct sound sound = sound_start();
    static const uint8_t bytes[1 << 16];
    struct tram_msg msg;
    char path[512];
    int fd = CHECK_OK(open(hostile_path(path, B, "bell"), O_RDWR | O_NONBLOCK));

    while (write(fd, bytes, sizeof(bytes)) > 0)
        continue;
    sound_goes_on(&sound);
    CHECK_ERR(tram_recv(sound.b, &msg, 20 * KIT_MS), -ETIMEDOUT);
    CHECK(tram_fd(sound.b) >= 0);
    while (write(fd, bytes, sizeof(bytes)) > 0)
        continue;
    sound_goes_on(&sound);
    CHECK_ERR(tram_recv(sound.b, &msg, 0), -EAGAIN);
    close(fd);
    sound_end(&sound);
}

/* ---- by the thousand ------------------------------------------------------------------------- */

/* Memory of this process that was ever used, KiB. */
static long memory(void) {
    struct rusage usage;

    CHECK_OK(getrusage(RUSAGE_SELF, &usage));
    return usage.ru_maxrss;
}

/* PREFIX.0.0SUFFIX and so on. */
static void make_names(unsigned count, const char *prefix, const char *suffix,
                       const void *content, size_t size) {
    for (unsigned i = 0; i < count; i++) {
        char name[FILES_NAME];

        (void) snprintf(name, sizeof(name), "%s.%u.%u%s", prefix, i >> 8, i & 255, suffix);
        hostile_put(B, name, content, size);
    }
}

static unsigned count_names(const char *prefix) {
    char path[512];
    DIR *dir = opendir(hostile_path(path, B, "."));
    const struct dirent *entry;
    unsigned count = 0;

    CHECK(dir);
    while ((entry = readdir(dir)))
        count += strncmp(entry->d_name, prefix, strlen(prefix)) == 0;
    (void) closedir(dir);
    return count;
}

/* More senders than there may be: the limit is named, once, and those that are there go on. */
TEST_TIMEOUT(senders_without_end, 60) {
    struct sound sound = sound_start();
    struct tram_msg msg;
    bool refused = false;
    unsigned closed = 0;
    int rc;

    sound_goes_on(&sound);
    make_names(INS_MAX + 100, "head-9.9", "", "nonsense", 8);
    make_names(INS_MAX + 100, "from-9.9", "", "nonsense", 8);
    hostile_announce(B);
    do {
        rc = tram_recv(sound.b, &msg, KIT_MS);
        closed += rc == -EBADMSG;
        if (rc == -EMLINK) {
            CHECK(!refused);
            refused = true;
            CHECK_EQ(tram_last_error(sound.b)->limit, INS_MAX);
            CHECK_EQ(tram_last_error(sound.b)->from >> 16, 0x0909);
            CHECK_EQ(tram_last_error(sound.b)->to, B);
        }
    } while (rc == -EBADMSG || rc == -EMLINK || !refused);
    CHECK_EQ(rc, -ETIMEDOUT);
    CHECK_EQ(closed, INS_MAX - 1);
    for (int i = 0; i < 20; i++) {
        hostile_announce(B);
        sound_goes_on(&sound);
    }
    sound_end(&sound);
}

static unsigned count_peers(const tram_node *node) {
    unsigned count = 0;

    for (unsigned i = 0; i < LAYOUT_BITS; i++)
        for (const struct peer *peer = node->peers[i]; peer; peer = peer->next)
            count++;
    return count;
}

/* Names of all kinds: an open takes no minute, nothing is kept for a name. */
TEST_TIMEOUT(names_without_end, 60) {
    struct record record = {.seq = 1};
    struct sound sound = sound_start();
    long before;
    int64_t begin;
    unsigned retried = 0;
    struct tram_msg msg;

    sound_goes_on(&sound);
    (void) tram_close(sound.b);
    make_names(many(4000), "watch-9.1", "", "", 0);
    make_names(many(600), "head-240.1", "", "nonsense", 8);
    make_names(many(2000), "from-9.2", "", "nonsense", 8); /* no head: being made */
    make_names(many(1200), "aside-9.3", "-1", &record, sizeof(record));
    for (unsigned i = 0; i < many(1200); i++) {
        char name[FILES_NAME];

        record.from = TRAM_ID(9, 4, i >> 8, i & 255);
        files_aside_name(name, "retry", record.from, 1);
        hostile_put(B, name, &record, sizeof(record));
    }
    before = memory();
    begin = kit_now();
    sound.b = hostile_open(B);
    CHECK(kit_now() - begin < kit_patience(5));
    CHECK_EQ(count_names("watch-9.1."), many(4000) - WATCHERS_MAX); /* stale ones go, in turn */
    CHECK(count_names("head-240.1.") >= many(600) - 4 * REMAINS_MAX);
    while (tram_recv(sound.b, &msg, 0) == 0 && msg.from >> 24 == 9)
        retried++;
    CHECK_EQ(retried, ASIDE_MAX);
    for (int i = 0; i < 5; i++) {
        CHECK_OK(tram_done(sound.b));
        begin = kit_now();
        sound_goes_on(&sound);
        CHECK(kit_now() - begin < kit_patience(2));
    }
    CHECK_OK(tram_done(sound.b));
    CHECK(count_peers(sound.b) < 10);
    (void) fprintf(stderr, "%ld KiB more\n", memory() - before);
    if (!test_sanitizer()[0])
        CHECK(memory() - before < 8192);
    begin = kit_now();
    sound_end(&sound);
    CHECK(kit_now() - begin < kit_patience(5));
}

/* All generations that a name can have, all nonsense: closed, said, and nothing else. */
TEST(generations_without_end) {
    static const int codes[] = {-EBADMSG, 0};
    struct sound sound = sound_start();
    tram_node *a = hostile_open(A);
    struct tram_msg msg;
    int rc;

    CHECK_OK(tram_send(a, B, 0, "x", 1, 0));
    (void) tram_close(a);
    (void) tram_close(sound.b);
    for (unsigned i = 1; i < 40; i++) {
        char name[FILES_NAME];

        files_stream_name(name, A, i);
        hostile_put(B, name, "nonsense", 8);
    }
    sound.b = hostile_open(B);
    rc = tram_recv(sound.b, &msg, 0);
    hostile_error(sound.b, rc, codes);
    sound_goes_on(&sound);
    a = hostile_open(A);
    rc = tram_send(a, B, 0, "x", 1, 0);
    CHECK_EQ(rc, -ENOTRECOVERABLE);
    hostile_error(a, rc, (int[]){-ENOTRECOVERABLE, 0});
    (void) tram_close(a);
    sound_end(&sound);
}
