/* SPDX-License-Identifier: MIT
 * test: timeout=60
 *
 * A bus on a disk, through restarts of the machine. What a restart leaves is made by hand: files as
 * they were when their processes were killed, with the number of another boot; pages of which some
 * are older than others; files cut short.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"
#include "ring/layout.h"
#include "support/disk.h"
#include "support/kit.h"

#define S TRAM_ID(1, 1, 1, 1)
#define D TRAM_ID(1, 1, 1, 2)
#define STREAM "from-1.1.1.1"
#define HEAD   "head-1.1.1.1"

static int errors; /* so many times msync() fails */

int msync(void *base, size_t length, int flags) {
    if (errors > 0) {
        errors--;
        errno = EIO;
        return -1;
    }
    return (int) syscall(SYS_msync, base, length, flags);
}

/* ---- a disk ---------------------------------------------------------------------------------- */

static char disk[DISK_PATH];

static void remove_disk(void) {
    kit_remove_tree(disk);
}

static void need_disk(void) {
    disk_make(disk, "disk");
    CHECK_EQ(atexit(remove_disk), 0);
}

static tram_node *start(tram_id id) {
    struct tram_options options = kit_options(65536, TRAM_NO_SPIN);

    options.attempts = 100;
    return kit_open(disk, id, &options);
}

static int file(const char *name) {
    char path[256];

    return open(kit_path(path, sizeof(path), disk, D, name), O_RDWR);
}

static uint64_t word(const char *name, off_t offset) {
    int fd = CHECK_OK(file(name));
    uint64_t value = 0;

    CHECK_EQ(pread(fd, &value, sizeof(value), offset), sizeof(value));
    close(fd);
    return value;
}

static void set_word(const char *name, off_t offset, uint64_t value) {
    int fd = CHECK_OK(file(name));

    CHECK_EQ(pwrite(fd, &value, sizeof(value), offset), sizeof(value));
    close(fd);
}

/* What was written while the machine ran, was written by another boot of it. */
static void restart_machine(void) {
    static const struct {
        const char *name;
        off_t offset;
    } words[] = {
        {HEAD, offsetof(struct head, boot)},
        {STREAM, offsetof(struct stream, boot)},
        {STREAM "+1", offsetof(struct stream, boot)},
        {STREAM "+2", offsetof(struct stream, boot)},
    };

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        int fd = file(words[i].name);

        if (fd < 0)
            continue;
        close(fd);
        if (word(words[i].name, words[i].offset) != 0)
            set_word(words[i].name, words[i].offset, word(words[i].name, words[i].offset) ^ 4096);
    }
}

/* ---- messages -------------------------------------------------------------------------------- */

static bool with_large; /* some that make the ring grow */

static size_t size_of(uint64_t number) {
    if (with_large && kit_mix(number, 5, 0) % 97 == 0)
        return 70000 + (size_t) (kit_mix(number, 6, 0) % 30000);
    return (size_t) (kit_mix(number, 1, 0) % 700);
}

static void put(tram_node *node, uint64_t number, uint32_t flags) {
    static uint8_t data[100000];

    pattern_fill(data, size_of(number), number);
    if (tram_send(node, D, (uint32_t) number, data, size_of(number), flags) != 0)
        FAIL("message %llu: %s", (unsigned long long) number, kit_error(node));
}

static void put_many(tram_node *node, uint64_t first, uint64_t last) {
    for (uint64_t i = first; i <= last; i++)
        put(node, i, 0);
}

/* The next message: its number; 0: there is none. */
static uint64_t get(tram_node *node, struct tram_msg *ret_msg) {
    int rc = tram_recv(node, ret_msg, 0);

    if (rc == -EAGAIN || rc == -EBADMSG)
        return 0;
    CHECK_OK(rc);
    CHECK_EQ(ret_msg->size, size_of(ret_msg->tag));
    CHECK_EQ(pattern_check(ret_msg->data, ret_msg->size, ret_msg->tag), -1);
    return ret_msg->tag;
}

/* Exactly these; again: none of them may come as if it were the first time. */
static uint64_t get_many(tram_node *node, uint64_t first, uint64_t last, bool again) {
    struct tram_msg msg = {0};

    for (uint64_t i = first; i <= last; i++) {
        CHECK_EQ(get(node, &msg), i);
        CHECK_EQ(msg.attempt > 1, again);
    }
    return msg.stream;
}

static void nothing_more(tram_node *node) {
    struct tram_msg msg;

    CHECK_EQ(tram_recv(node, &msg, 0), -EAGAIN);
}

struct life {
    uint64_t send, receive; /* up to these numbers */
    uint64_t sent, received;
    uint64_t lag; /* how far the receiver is behind; 0: it begins when all is sent */
};

/* One process is both, and is killed with the last message it received in hand. */
static void live(void *argument) {
    const struct life *life = argument;
    tram_node *sender = start(S);
    tram_node *receiver = start(D);
    struct tram_msg msg;

    uint64_t got = life->received;

    for (uint64_t i = life->sent + 1; i <= life->send; i++) {
        put(sender, i, 0);
        while (life->lag > 0 && got < life->receive && i - got > life->lag)
            CHECK_EQ(get(receiver, &msg), ++got);
    }
    while (got < life->receive)
        CHECK_EQ(get(receiver, &msg), ++got);
    (void) kill(getpid(), SIGKILL);
}

static void live_and_die(struct life life) {
    int status;
    pid_t pid = test_fork(live, &life);

    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static uint64_t lost(tram_node *node) {
    struct tram_peer peer;

    CHECK_OK(tram_peer(node, S, &peer));
    return peer.from.lost;
}

/* What `tram ls` says about the bus. */
static const char *output_of_ls(void) {
    static char text[4096];
    char command[512];
    FILE *pipe;

    (void) snprintf(command, sizeof(command), "TRAM_DIR=%s %s ls", disk,
                    test_program("../bin/tram"));
    pipe = popen(command, "re");
    CHECK(pipe != NULL);
    text[fread(text, 1, sizeof(text) - 1, pipe)] = '\0';
    CHECK_EQ(pclose(pipe), 0);
    return text;
}

/* ---- restarts -------------------------------------------------------------------------------- */

/* After an orderly end there is nothing to doubt. */
TEST(closed_and_restarted) {
    struct tram_msg msg;
    tram_node *sender;
    tram_node *receiver;
    uint64_t stream;

    need_disk();
    sender = start(S);
    receiver = start(D);
    put_many(sender, 1, 60);
    stream = get_many(receiver, 1, 20, false);
    CHECK_OK(tram_done(receiver));
    (void) tram_close(receiver);
    (void) tram_close(sender);
    CHECK_EQ(word(STREAM, offsetof(struct stream, boot)), 0);
    CHECK_EQ(word(HEAD, offsetof(struct head, boot)), 0);
    restart_machine();

    receiver = start(D);
    CHECK_EQ(get_many(receiver, 21, 60, false), stream);
    nothing_more(receiver);
    sender = start(S);
    put(sender, 61, 0);
    CHECK_EQ(get(receiver, &msg), 61);
    CHECK_EQ(msg.stream, stream);
    CHECK_EQ(msg.seq, 61);
    (void) tram_close(receiver);
    (void) tram_close(sender);
}

static void killed_and_restarted(bool sender_first) {
    struct tram_msg msg;
    tram_node *sender = NULL;
    tram_node *receiver;
    uint64_t accepted;
    uint64_t stream;

    live_and_die((struct life){.send = 60, .receive = 20});
    restart_machine();
    if (sender_first)
        sender = start(S);
    receiver = start(D);
    if (!sender_first)
        sender = start(S);
    CHECK_OK(tram_accepted(sender, D, &accepted));
    CHECK_EQ(accepted, 60);
    put(sender, 61, 0);
    stream = get_many(receiver, 20, 60, true);
    CHECK_EQ(get(receiver, &msg), 61);
    CHECK_EQ(msg.attempt, 1);
    CHECK_EQ(msg.stream, stream + 1); /* if the disk had lost number 61, this would be another */
    CHECK_EQ(lost(receiver), 0);
    (void) tram_close(sender);
    (void) tram_close(receiver);
}

TEST(killed_and_restarted_sender_first) {
    need_disk();
    killed_and_restarted(true);
}

TEST(killed_and_restarted_receiver_first) {
    need_disk();
    killed_and_restarted(false);
}

/* Who is killed again before it has all of them gets them marked again. */
TEST(killed_after_the_restart) {
    tram_node *receiver;

    need_disk();
    live_and_die((struct life){.send = 60, .receive = 20});
    restart_machine();
    receiver = start(D);
    (void) get_many(receiver, 20, 25, true);
    (void) tram_close(receiver); /* 25 is in hand */
    live_and_die((struct life){.sent = 60, .send = 60, .received = 24, .receive = 30});
    receiver = start(D);
    (void) get_many(receiver, 30, 60, true);
    (void) tram_close(receiver);
}

/* The byte of a record, anywhere. */
TEST(torn_record) {
    need_disk();
    for (int round = 0; round < 20; round++) {
        struct tram_msg msg;
        tram_node *sender;
        tram_node *receiver;
        uint64_t accepted;
        uint64_t at = LAYOUT_DATA;
        uint64_t bad = 21 + kit_mix((uint64_t) round, 2, 0) % 40;

        live_and_die((struct life){.send = 60, .receive = 20});
        for (uint64_t i = 1; i < bad; i++)
            at += record_span(size_of(i));
        at += kit_mix((uint64_t) round, 3, 0) % (sizeof(struct record) + size_of(bad));
        set_word(STREAM, (off_t) at, word(STREAM, (off_t) at) ^ 0x10); /* in the first of 8 bytes */
        restart_machine();
        receiver = start(D);
        (void) get_many(receiver, 20, bad - 1, true);
        nothing_more(receiver);
        CHECK_EQ(lost(receiver), 61 - bad);
        if (round == 0)
            CHECK(strstr(output_of_ls(), "lost when the machine stopped") != NULL);
        sender = start(S);
        CHECK_OK(tram_accepted(sender, D, &accepted));
        CHECK_EQ(accepted, bad - 1);
        put(sender, 61, 0);
        CHECK_EQ(get(receiver, &msg), 61);
        CHECK_EQ(msg.seq, bad);
        CHECK_EQ(msg.attempt, 1);
        (void) tram_close(receiver);
        (void) tram_close(sender);
        remove_disk();
        CHECK_OK(mkdir(disk, 0700));
    }
}

static void send_some(void *first) {
    tram_node *sender = start(S);
    uint8_t data[100] = {0};

    for (uint32_t i = 0; i < 3; i++)
        CHECK_OK(tram_send(sender, D, *(uint32_t *) first + i, data, sizeof(data), 0));
    (void) kill(getpid(), SIGKILL);
}

static void send_some_and_die(uint32_t first) {
    int status;
    pid_t pid = test_fork(send_some, &first);

    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK(WIFSIGNALED(status));
    restart_machine();
}

/* What was lost is at its place again, for what was written over it is lost, too. */
TEST(record_of_a_life_before) {
    off_t second = LAYOUT_DATA + (off_t) record_span(100);
    uint8_t old[136 * 2];
    tram_node *receiver;
    struct tram_msg msg;
    int fd;

    need_disk();
    send_some_and_die(1);
    fd = CHECK_OK(file(STREAM));
    CHECK_EQ(pread(fd, old, sizeof(old), second), sizeof(old));
    set_word(STREAM, LAYOUT_DATA, 0);
    send_some_and_die(11);
    CHECK_EQ(pwrite(fd, old, sizeof(old), second), sizeof(old));
    close(fd);
    receiver = start(D);
    CHECK_OK(tram_recv(receiver, &msg, 0));
    CHECK_EQ(msg.tag, 11);
    nothing_more(receiver);
    CHECK_EQ(lost(receiver), 5);
    (void) tram_close(receiver);
}

static void release_out_of_turn(void *unused) {
    tram_node *sender = start(S);
    tram_node *receiver = start(D);
    struct tram_msg msgs[20];

    (void) unused;
    put_many(sender, 1, 20);
    for (int i = 0; i < 20; i++)
        CHECK_EQ(tram_recv_batch(receiver, &msgs[i], 1, TRAM_HOLD, 0), 1);
    for (int i = 10; i < 20; i++)
        CHECK_OK(tram_release(receiver, &msgs[i]));
    (void) kill(getpid(), SIGKILL);
}

/* A number that was released out of turn, lost, and used again is another message. */
TEST(released_and_lost) {
    tram_node *sender;
    tram_node *receiver;
    struct tram_msg msg;
    uint64_t at = LAYOUT_DATA;
    int status;
    pid_t pid;

    need_disk();
    pid = test_fork(release_out_of_turn, NULL);
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK(WIFSIGNALED(status));
    for (uint64_t i = 1; i < 6; i++)
        at += record_span(size_of(i));
    set_word(STREAM, (off_t) at, 0);
    restart_machine();
    sender = start(S);
    receiver = start(D);
    put_many(sender, 21, 40);
    (void) get_many(receiver, 1, 5, true);
    for (uint64_t i = 21; i <= 40; i++) {
        CHECK_EQ(get(receiver, &msg), i);
        CHECK_EQ(msg.seq, i - 15);
        CHECK_EQ(msg.attempt, 1);
    }
    (void) tram_close(receiver);
    (void) tram_close(sender);
}

/* Corrupted while the machine runs: closed, and said. */
TEST(torn_under_our_hands) {
    tram_node *receiver;
    tram_node *sender;
    struct tram_msg msg;

    need_disk();
    sender = start(S);
    receiver = start(D);
    put_many(sender, 1, 3);
    set_word(STREAM, LAYOUT_DATA + (off_t) record_span(size_of(1)) + 32, 0x1122334455667788);
    CHECK_EQ(get(receiver, &msg), 1);
    CHECK_EQ(tram_recv(receiver, &msg, 0), -EBADMSG);
    CHECK_EQ(tram_last_error(receiver)->from, S);
    (void) tram_close(receiver);
    (void) tram_close(sender);
}

TEST(file_cut_short) {
    need_disk();
    for (int round = 0; round < 10; round++) {
        struct tram_msg msg;
        tram_node *receiver;
        tram_node *sender;
        uint64_t expected = 20;
        int fd;

        live_and_die((struct life){.send = 60, .receive = 20});
        fd = CHECK_OK(file(STREAM));
        CHECK_OK(ftruncate(fd, LAYOUT_DATA + (off_t) (kit_mix((uint64_t) round, 4, 0) % 24000)));
        close(fd);
        restart_machine();
        receiver = start(D);
        while (get(receiver, &msg) == expected)
            expected++;
        nothing_more(receiver);
        CHECK_EQ(lost(receiver), 61 - expected);
        sender = start(S);
        put(sender, 61, 0);
        CHECK_EQ(get(receiver, &msg), 61);
        (void) tram_close(receiver);
        (void) tram_close(sender);
        remove_disk();
        CHECK_OK(mkdir(disk, 0700));
    }
}

/* ---- grown rings ----------------------------------------------------------------------------- */

static void grow_and_die(void *unused) {
    tram_node *sender = start(S);
    uint8_t *large = calloc(1, 200000);

    (void) unused;
    put_many(sender, 1, 5);
    CHECK_OK(tram_send(sender, D, 6, large, 200000, 0));
    (void) kill(getpid(), SIGKILL);
}

static void after_growth(void) {
    int status;
    pid_t pid = test_fork(grow_and_die, NULL);

    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK(WIFSIGNALED(status));
}

TEST(grown_and_restarted) {
    struct tram_msg msg;
    tram_node *receiver;

    need_disk();
    after_growth();
    restart_machine();
    receiver = start(D);
    /* It never received, and so never wrote a word that could be in doubt. */
    (void) get_many(receiver, 1, 5, false);
    CHECK_OK(tram_recv(receiver, &msg, 0));
    CHECK_EQ(msg.size, 200000);
    CHECK_EQ(lost(receiver), 0);
    (void) tram_close(receiver);
}

TEST(successor_lost) {
    struct tram_msg msg;
    tram_node *receiver;
    tram_node *sender;
    char path[256];

    need_disk();
    after_growth();
    CHECK_OK(unlink(kit_path(path, sizeof(path), disk, D, STREAM "+1")));
    restart_machine();
    receiver = start(D);
    (void) get_many(receiver, 1, 5, false);
    nothing_more(receiver);
    sender = start(S);
    put(sender, 7, 0);
    CHECK_EQ(get(receiver, &msg), 7);
    (void) tram_close(receiver);
    (void) tram_close(sender);
}

/* ---- pages of two ages ----------------------------------------------------------------------- */

static const char *const names[] = {STREAM, STREAM "+1", STREAM "+2", HEAD};

#define NAMES (sizeof(names) / sizeof(names[0]))

/* The channel's files as they were; NULL: not there. */
struct ages {
    uint8_t *data[NAMES];
    size_t size[NAMES];
};

static uint8_t *read_file(const char *name, size_t *ret_size) {
    int fd = file(name);
    uint8_t *data;
    struct stat st;

    if (fd < 0)
        return NULL;
    CHECK_OK(fstat(fd, &st));
    *ret_size = (size_t) st.st_size;
    data = malloc(*ret_size);
    CHECK_EQ(pread(fd, data, *ret_size, 0), *ret_size);
    close(fd);
    return data;
}

static void remember(struct ages *ages) {
    for (size_t i = 0; i < NAMES; i++)
        ages->data[i] = read_file(names[i], &ages->size[i]);
}

/* A file's pages, each of now or of then. What is new since may have no data yet. */
static void mix_file(int fd, const uint8_t *then, size_t size, struct rng *rng) {
    static const uint8_t nothing[4096];
    struct stat st;

    CHECK_OK(fstat(fd, &st));
    for (size_t at = then ? 0 : LAYOUT_DATA; at < (size_t) st.st_size; at += 4096)
        if (rng_chance(rng, 300))
            CHECK_EQ(pwrite(fd, then && at < size ? then + at : nothing, 4096, (off_t) at), 4096);
}

/* What the disk had. A name that was removed may still be there. */
static void mix(struct ages *then, struct rng *rng) {
    char path[256];

    for (size_t i = 0; i < NAMES; i++) {
        int fd = file(names[i]);

        if (fd >= 0) {
            mix_file(fd, then->data[i], then->size[i], rng);
        } else if (then->data[i] && rng_chance(rng, 500)) {
            fd = CHECK_OK(open(kit_path(path, sizeof(path), disk, D, names[i]),
                               O_RDWR | O_CREAT | O_CLOEXEC, 0600));
            CHECK_EQ(pwrite(fd, then->data[i], then->size[i], 0), then->size[i]);
        }
        if (fd >= 0)
            close(fd);
        free(then->data[i]);
        then->data[i] = NULL;
    }
}

/* What comes after the restart is a run of what was sent, whole and in order. */
static void check_round(struct rng *rng, uint64_t sent) {
    bool sender_first = rng_chance(rng, 500);
    tram_node *sender = sender_first ? start(S) : NULL;
    tram_node *receiver = start(D);
    struct tram_msg msg;
    uint64_t number;
    uint64_t before = 0;

    while ((number = get(receiver, &msg)) != 0) {
        CHECK(before == 0 || number == before + 1);
        CHECK(number <= sent);
        CHECK(msg.attempt > 1);
        before = number;
    }
    if (!sender)
        sender = start(S);
    put(sender, sent + 1, 0);
    CHECK_EQ(get(receiver, &msg), sent + 1);
    CHECK_EQ(msg.attempt, 1);
    (void) tram_close(receiver);
    (void) tram_close(sender);
}

/* `most` messages in each of two lives, the second of which was caught in the middle. */
static void two_ages(struct rng *rng, uint64_t most, uint64_t lag) {
    uint64_t behind = lag ? lag : 60; /* not so far that the ring is full: nobody else receives */
    struct life life = {.send = 20 + rng_below(rng, most), .lag = lag};
    struct life more;
    struct ages then;

    life.receive = life.send - rng_below(rng, life.send < behind ? life.send : behind);
    live_and_die(life);
    remember(&then);
    more = (struct life){.sent = life.send, .received = life.receive - 1, .lag = lag};
    more.send = more.sent + rng_below(rng, most);
    more.receive = more.send - rng_below(rng, more.send - life.receive < behind
                                                  ? more.send - life.receive + 1
                                                  : behind);
    live_and_die(more);
    mix(&then, rng);
    restart_machine();
    check_round(rng, more.send);
    remove_disk();
    CHECK_OK(mkdir(disk, 0700));
}

static void many_rounds(uint64_t rounds, uint64_t most, uint64_t lag) {
    uint64_t seed = kit_env("DISK_SEED", (uint64_t) kit_now());
    struct rng rng = {seed};

    rounds = kit_env("DISK_ROUNDS", rounds);
    printf("    DISK_SEED=%llu DISK_ROUNDS=%llu\n", (unsigned long long) seed,
           (unsigned long long) rounds);
    for (uint64_t round = 0; round < rounds; round++)
        two_ages(&rng, most, lag);
}

TEST_TIMEOUT(pages_of_two_ages, 30) {
    need_disk();
    many_rounds(30, 60, 0);
}

/* Rings that go round, and grow. */
TEST_TIMEOUT(pages_of_two_ages_grown, 30) {
    need_disk();
    with_large = true;
    many_rounds(15, 400, 5);
}

/* ---- durable sends --------------------------------------------------------------------------- */

/* Kilobytes of our mapping of the stream that are not on the disk yet. */
static unsigned long dirty(void) {
    FILE *maps = fopen("/proc/self/smaps", "re");
    unsigned long sum = 0;
    unsigned long kilobytes;
    bool ours = false;
    char line[512];

    CHECK(maps != NULL);
    while (fgets(line, sizeof(line), maps)) {
        if (strchr(line, '-') && strstr(line, " rw-s ") != NULL)
            ours = strstr(line, STREAM) != NULL;
        else if (strstr(line, "-p ") != NULL)
            ours = false;
        if (ours && sscanf(line, "Shared_Dirty: %lu", &kilobytes) == 1)
            sum += kilobytes;
        if (ours && sscanf(line, "Private_Dirty: %lu", &kilobytes) == 1)
            sum += kilobytes;
    }
    (void) fclose(maps);
    return sum;
}

TEST(durable_is_on_the_disk) {
    struct tram_meta meta = {.tag = 1, .layer = "above"};
    tram_node *sender;
    void *room;

    need_disk();
    sender = start(S);
    put_many(sender, 1, 20);
    CHECK(dirty() > 0);
    put(sender, 21, TRAM_DURABLE);
    CHECK_EQ(dirty(), 0);
    CHECK_EQ(tram_send(sender, D, 22, "staged", 6, TRAM_MORE), TRAM_STAGED);
    put(sender, 23, TRAM_DURABLE);
    CHECK_EQ(dirty(), 0);
    CHECK_OK(tram_claim(sender, D, 100, 0, &room));
    memset(room, 1, 100);
    CHECK_OK(tram_commit(sender, D, &meta, 100, TRAM_DURABLE));
    CHECK_EQ(dirty(), 0);
    (void) tram_close(sender);
}

/* msync() fails from here on, as on a disk that does. */
static void break_disk(void) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_msync, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EIO),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof(code) / sizeof(code[0]), code};

    CHECK_OK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    CHECK_OK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program));
}

static void send_to_broken_disk(void *unused) {
    tram_node *sender = start(S);

    (void) unused;
    put(sender, 1, TRAM_DURABLE);
    break_disk();
    put(sender, 2, 0);
    CHECK_EQ(tram_send(sender, D, 3, "x", 1, TRAM_DURABLE), -EIO);
    CHECK(strstr(kit_error(sender), "disk") != NULL);
    (void) tram_close(sender);
}

TEST(disk_that_fails) {
    need_disk();
    JOIN(test_fork(send_to_broken_disk, NULL));
}

/* The kernel says only once that a page could not be written, and takes it for clean then. */
static void send_after_an_error(void *unused) {
    tram_node *sender = start(S);

    (void) unused;
    put(sender, 1, TRAM_DURABLE);
    errors = 1;
    CHECK_EQ(tram_send(sender, D, 2, "x", 1, TRAM_DURABLE), -EIO);
    CHECK_EQ(tram_send(sender, D, 3, "x", 1, TRAM_DURABLE), -EIO);
    CHECK_OK(tram_send(sender, D, 4, "x", 1, 0));
    (void) tram_close(sender);
    CHECK(word(STREAM, offsetof(struct stream, boot)) != 0);
}

TEST(disk_that_failed_once) {
    need_disk();
    JOIN(test_fork(send_after_an_error, NULL));
}

/* In memory there is nothing to sync. */
TEST(durable_in_memory) {
    tram_node *sender = kit_open(NULL, S, NULL);

    CHECK_OK(tram_send(sender, D, 1, "x", 1, TRAM_DURABLE));
    (void) tram_close(sender);
}
