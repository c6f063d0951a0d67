/* SPDX-License-Identifier: MIT
 * test: timeout=60
 *
 * Static layouts: read from a file, reserved ahead, and enforced; with prefault there is no page
 * fault any more, with the memory reserved no ENOSPC.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"
#include "support/kit.h"

#define A TRAM_ID(1, 1, 1, 1)
#define B TRAM_ID(1, 1, 1, 2)
#define C TRAM_ID(1, 1, 1, 3)

static char file_path[200];

/* A layout file, beside the buses. */
static const char *write_layout(const char *text) {
    FILE *file;

    snprintf(file_path, sizeof file_path, "%s/layout", test_dir());
    file = fopen(file_path, "w");
    CHECK(file);
    CHECK(fputs(text, file) >= 0);
    CHECK_EQ(fclose(file), 0);
    return file_path;
}

static tram_node *open_with(const char *text, tram_id id) {
    struct tram_options options = kit_options(65536, 0);

    options.layout = write_layout(text);
    return kit_open(NULL, id, &options);
}

static uint64_t memory_of(const char *name) {
    char path[300];
    struct stat st;

    CHECK_OK(stat(kit_path(path, sizeof path, test_dir(), B, name), &st));
    return (uint64_t) st.st_blocks * 512;
}

static const char standard[] = "# who sends to whom\n"
                               "channel 1.1.1.1 1.1.1.2 size=1M   # the large one\n"
                               "\n"
                               "   channel\t1.1.1.2 1.1.1.1 size=65536\r\n"
                               "node 1.1.1.3\n";

TEST(reserved_ahead) {
    tram_node *node = open_with(standard, A);

    CHECK(memory_of("from-1.1.1.1") >= 1 << 20);
    CHECK_EQ(kit_count_files(test_dir(), "from-1.1.1.2"), 0); /* the other end's */
    tram_close(node);
    CHECK(memory_of("from-1.1.1.1") >= 1 << 20); /* not given back */
    tram_close(open_with(standard, B));
    CHECK_EQ(kit_count_files(test_dir(), "from-1.1.1.2"), 1);
}

TEST(enforced) {
    tram_node *a = open_with(standard, A), *c = open_with(standard, C), *b;
    struct tram_options options = TRAM_OPTIONS_INIT;
    tram_node *other = NULL;
    struct tram_msg msg;
    void *data;

    CHECK_OK(tram_send(a, B, 0, "x", 1, 0));
    CHECK_ERR(tram_send(a, C, 0, "x", 1, 0), -EACCES);
    CHECK(strstr(tram_last_error(a)->text, "layout"));
    CHECK_EQ(tram_last_error(a)->to, C);
    CHECK_ERR(tram_sendv(a, C, NULL, NULL, 0, 0, 0), -EACCES);
    CHECK_ERR(tram_claim(a, C, 1, 0, &data), -EACCES);
    CHECK_ERR(tram_send(c, B, 0, "x", 1, 0), -EACCES);
    CHECK_ERR(tram_send(c, C, 0, "x", 1, 0), -EACCES);

    /* A node that is not in the file is not opened; one without the file sends, unheard. */
    options.layout = file_path;
    CHECK_ERR(tram_open(NULL, TRAM_ID(9, 9, 9, 9), &options, &other), -EACCES);
    other = kit_open(NULL, TRAM_ID(9, 9, 9, 9), NULL);
    CHECK_OK(tram_send(other, B, 0, "x", 1, 0));
    b = open_with(standard, B);
    CHECK_OK(tram_recv(b, &msg, 0));
    CHECK_EQ(msg.from, A);
    CHECK_ERR(tram_recv(b, &msg, 0), -EAGAIN);
    tram_close(other);
    tram_close(a);
    tram_close(b);
    tram_close(c);
}

/* The ring neither grows nor shrinks. */
TEST(of_fixed_size) {
    tram_node *a = open_with(standard, A);
    static char bytes[1 << 20];

    CHECK_ERR(tram_send(a, B, 0, bytes, sizeof bytes, 0), -EMSGSIZE);
    CHECK(tram_last_error(a)->limit < sizeof bytes);
    CHECK(tram_last_error(a)->limit > 1000000);
    CHECK_OK(tram_send(a, B, 0, bytes, tram_last_error(a)->limit, 0));
    tram_close(a);
}

/* Each unit, and none. */
TEST(units) {
    tram_node *node = open_with("channel 1.1.1.1 1.1.1.2 size=128k\n"
                                "channel 1.1.1.1 1.1.1.3 size=1m\n"
                                "channel 1.1.1.2 1.1.1.1 size=2g\n"
                                "channel 1.1.1.3 1.1.1.1 size=4G\n", A);
    static char bytes[1 << 20];

    CHECK_ERR(tram_send(node, B, 0, bytes, sizeof bytes, 0), -EMSGSIZE);
    CHECK_EQ(tram_last_error(node)->limit, (128 << 10) - 64);
    CHECK_ERR(tram_send(node, C, 0, bytes, sizeof bytes, 0), -EMSGSIZE);
    CHECK_EQ(tram_last_error(node)->limit, (1 << 20) - 64);
    tram_close(node);
}

static void check_mistake(const char *text, uint64_t line) {
    struct tram_options options = TRAM_OPTIONS_INIT;
    tram_node *node = NULL;
    char word[20];

    options.layout = write_layout(text);
    CHECK_ERR(tram_open(NULL, A, &options, &node), -EBADMSG);
    CHECK(node == NULL);
    snprintf(word, sizeof word, "line %llu", (unsigned long long) line);
    if (!strstr(tram_last_error(NULL)->text, word))
        FAIL("'%s' is missing in: %s", word, tram_last_error(NULL)->text);
    CHECK_EQ(tram_last_error(NULL)->limit, line);
}

TEST(mistakes) {
    struct tram_options options = TRAM_OPTIONS_INIT;
    tram_node *node = NULL;

    check_mistake("chanel 1.1.1.1 1.1.1.2\n", 1);
    check_mistake("# fine\nchannel 1.1.1.1\n", 2);
    check_mistake("channel 1.1.1.1 1.1.1.999\n", 1);
    check_mistake("channel 1.1.1.1 1.1.1.2 size=100K\n", 1);
    check_mistake("channel 1.1.1.1 1.1.1.2 size=32K\n", 1);
    check_mistake("channel 1.1.1.1 1.1.1.2 size=8G\n", 1);
    check_mistake("channel 1.1.1.1 1.1.1.2 size=-65536\n", 1);
    check_mistake("channel 1.1.1.1 1.1.1.2 size=\n", 1);
    check_mistake("channel 1.1.1.1 1.1.1.2 size=8589934592\n", 1);
    check_mistake("channel 1.1.1.1 1.1.1.2 size=99999999999999999999\n", 1);
    check_mistake("channel 1.1.1.1 1.1.1.2 size=64KB\n", 1);
    check_mistake("channel 1.1.1.1 1.1.1.2 prefaults\n", 1);
    check_mistake("channel 1.1.1.1 1.1.1.2\n\nchannel 1.1.1.1 1.1.1.2\n", 3);
    check_mistake("node\n", 1);
    check_mistake("node 1.1.1.1 1.1.1.2\n", 1);
    check_mistake("node 0.0.0.0\n", 1);
    options.layout = "/nowhere/at/all";
    CHECK_ERR(tram_open(NULL, A, &options, &node), -ENOENT);
}

/* ---- no page fault -------------------------------------------------------------------------- */

enum { MESSAGES = 60000, SIZE = 500 }; /* many times around a ring of 1 MiB */

static long faults(void) {
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_minflt + usage.ru_majflt;
}

struct reader {
    const char *layout;
    volatile long *faults; /* shared */
};

static void receive_many(void *arg) {
    const struct reader *reader = arg;
    struct tram_options options = kit_options(0, 0);
    struct tram_msg msg;
    tram_node *node;
    long before = 0;

    options.layout = reader->layout;
    options.flags = TRAM_OPEN_PREFAULT;
    node = kit_open(NULL, B, &options);
    for (int i = 0; i < MESSAGES; i++) {
        CHECK_OK(tram_recv(node, &msg, kit_patience(10)));
        if (pattern_check(msg.data, msg.size, msg.seq) >= 0)
            FAIL("number %d has wrong bytes", i);
        if (i == 0)
            before = faults();
    }
    *reader->faults = faults() - before;
    tram_close(node);
}

static void check_no_faults(const char *text) {
    struct reader reader = { .layout = write_layout(text), .faults = kit_shared(4096) };
    struct tram_options options = kit_options(0, 0);
    char bytes[SIZE];
    long before = 0;
    tram_node *node;
    pid_t pid;

    *reader.faults = -1;
    options.layout = reader.layout;
    node = kit_open(NULL, A, &options);
    pid = test_fork(receive_many, &reader);
    for (uint64_t i = 1; i <= MESSAGES; i++) {
        pattern_fill(bytes, sizeof bytes, i);
        CHECK_OK(tram_send(node, B, 0, bytes, sizeof bytes, 0));
        if (i == 1)
            before = faults();
    }
    before = faults() - before;
    JOIN(pid);
    printf("    page faults while %d messages went around: sender %ld, receiver %ld\n", MESSAGES,
           before, *reader.faults);
    tram_close(node);
    if (*test_sanitizer())
        return;          /* its own memory faults */
    CHECK(before <= 16); /* some stack pages; the ring has hundreds */
    CHECK(*reader.faults <= 16);
}

TEST_TIMEOUT(prefaulted, 40) {
    check_no_faults("channel 1.1.1.1 1.1.1.2 size=1M prefault\n");
}

TEST_TIMEOUT(locked, 40) {
    struct rlimit limit;

    CHECK_OK(getrlimit(RLIMIT_MEMLOCK, &limit));
    if (geteuid() != 0 && limit.rlim_cur < 8 << 20)
        SKIP("so much memory may not be locked here");
    check_no_faults("channel 1.1.1.1 1.1.1.2 size=1M lock\n");
}
