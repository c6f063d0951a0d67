/* SPDX-License-Identifier: MIT
 *
 * What the benchmarks stand on: percentiles that are right, checks that would notice, processes
 * and directories that don't stay.
 */
#include "cli/bench_util.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/bench_os.h"
#include "cli/bench_pattern.h"
#include "harness.h"

static struct bench_hist hist, other;

static void near(uint64_t got, uint64_t want) {
    CHECK(got >= want - want / 100);
    CHECK(got <= want + want / 100);
}

TEST(percentiles_are_within_a_percent) {
    bench_hist_clear(&hist);
    for (uint64_t i = 1; i <= 100000; i++)
        bench_hist_add(&hist, i * 10);
    near(bench_hist_at(&hist, 0.5), 500000);
    near(bench_hist_at(&hist, 0.99), 990000);
    near(bench_hist_at(&hist, 0.999), 999000);
    CHECK_EQ(bench_hist_at(&hist, 1), 1000000);
    CHECK_EQ(hist.min, 10);
    CHECK_EQ(hist.max, 1000000);
}

TEST(small_and_huge_values_have_a_place) {
    bench_hist_clear(&hist);
    CHECK_EQ(bench_hist_at(&hist, 0.5), 0);
    bench_hist_add(&hist, 0);
    bench_hist_add(&hist, UINT64_MAX);
    CHECK_EQ(bench_hist_at(&hist, 0.5), 0);
    CHECK(bench_hist_at(&hist, 1) > UINT64_C(1) << (HIST_TOP_BITS - 1));
    for (uint64_t v = 0; v < 128; v++) {
        bench_hist_clear(&hist);
        bench_hist_add(&hist, v);
        CHECK_EQ(bench_hist_at(&hist, 0.5), v);
    }
}

TEST(histograms_add_up) {
    bench_hist_clear(&hist);
    bench_hist_clear(&other);
    for (unsigned i = 0; i < 100; i++) {
        bench_hist_add(&hist, 100);
        bench_hist_add(&other, 200);
    }
    bench_hist_merge(&hist, &other);
    CHECK_EQ(hist.n, 200);
    CHECK_EQ(bench_hist_at(&hist, 0.5), 100);
    near(bench_hist_at(&hist, 0.75), 200);
    CHECK_EQ(hist.max, 200);
}

/* Whatever byte is wrong, and whichever message is there in the place of another, is noticed. */
TEST(every_wrong_byte_is_noticed) {
    static const size_t sizes[] = { 8, 9, 16, 24, 31, 32, 63, 64, 100, 1024 };
    unsigned char message[1024];

    for (size_t s = 0; s < sizeof(sizes) / sizeof(*sizes); s++) {
        struct bench_pattern out, in;

        CHECK_OK(bench_pattern_init(&out, sizes[s]));
        CHECK_OK(bench_pattern_init(&in, sizes[s]));
        for (uint64_t seq = 5; seq < 200; seq++) {
            size_t at = (size_t) (seq * 7) % sizes[s];

            bench_pattern_write(&out, message, sizes[s], seq);
            CHECK(bench_pattern_check(&in, message, sizes[s], seq));
            CHECK(!bench_pattern_check_any(&in, message, sizes[s], seq + 1));
            message[at] ^= 0x10;
            CHECK(!bench_pattern_check_any(&in, message, sizes[s], seq));
        }
        bench_pattern_deinit(&out);
        bench_pattern_deinit(&in);
    }
}

TEST(messages_may_be_shorter_than_the_longest) {
    struct bench_pattern out, in;

    CHECK_OK(bench_pattern_init(&out, 16384));
    CHECK_OK(bench_pattern_init(&in, 16384));
    for (size_t size = 8; size <= 16384; size += 1 + size / 3) {
        const void *message = bench_pattern_make_any(&out, size * 3);

        CHECK(bench_pattern_check_any(&in, message, size, size * 3));
    }
    bench_pattern_deinit(&out);
    bench_pattern_deinit(&in);
}

TEST(a_stream_is_timed_from_the_warm_up_on) {
    struct bench_slices slices;

    bench_clock_init();
    bench_slices_init(&slices, &hist, 100, 1000);
    for (uint64_t done = 1; done <= 1100; done++)
        bench_slices_count(&slices, done);
    CHECK_EQ(slices.begin, 100);
    CHECK_EQ(slices.last, 1100);
    CHECK_EQ(hist.n, 100);
    CHECK(bench_slices_rate(&slices) > 0);
}

TEST(sizes_are_read_as_people_write_them) {
    uint64_t n = 7;

    CHECK(bench_parse_size("64k", &n));
    CHECK_EQ(n, 65536);
    CHECK(bench_parse_size("1M", &n));
    CHECK_EQ(n, 1 << 20);
    CHECK(bench_parse_size("17", &n));
    CHECK_EQ(n, 17);
    CHECK(!bench_parse_size("", &n));
    CHECK(!bench_parse_size("-1", &n));
    CHECK(!bench_parse_size("1kk", &n));
    CHECK(!bench_parse_size("99999999999999G", &n));
    CHECK_EQ(n, 17);
}

TEST(a_ring_goes_on_at_its_start) {
    unsigned char *ring = bench_ring_map(65536);

    CHECK(ring != NULL);
    memcpy(ring + 65530, "across the end", 15);
    CHECK_STR((char *) ring + 65530, "across the end");
    CHECK_STR((char *) ring, " the end");
    bench_ring_unmap(ring, 65536);
}

static _Noreturn void forever(void) {
    for (;;)
        bench_pause(1000000);
}

static int member_fails(void *arg, unsigned who) {
    (void) arg;
    if (who == 1)
        return -EDOM;
    forever();
}

static int member_dies(void *arg, unsigned who) {
    (void) arg;
    if (who == 1)
        (void) raise(SIGKILL);
    forever();
}

static int member_meets(void *arg, unsigned who) {
    struct bench_barrier *barrier = arg;

    (void) who;
    for (unsigned i = 0; i < 10; i++)
        bench_barrier(barrier, 3);
    return 0;
}

TEST(one_that_fails_or_dies_ends_the_team) {
    struct bench_team team = { .n = 3, .timeout_s = 60, .fn = member_fails };

    CHECK_ERR(bench_team_run(&team), -EDOM);
    team.fn = member_dies;
    CHECK_ERR(bench_team_run(&team), -ECHILD);
}

TEST(a_team_meets_at_barriers) {
    struct bench_barrier *barrier = bench_shared(sizeof(*barrier));
    struct bench_team team = { .n = 3, .timeout_s = 60, .fn = member_meets, .arg = barrier };

    CHECK_OK(bench_team_run(&team));
    team.threads = true;
    CHECK_OK(bench_team_run(&team));
    bench_unshare(barrier, sizeof(*barrier));
}

struct worker {
    char dir[64];
    bool die;
};

static int worker_leaves_files(void *arg, const char *dir) {
    struct worker *w = arg;
    char path[128];

    (void) snprintf(w->dir, sizeof(w->dir), "%s", dir);
    (void) snprintf(path, sizeof(path), "%s/file", dir);
    if (creat(path, 0600) < 0)
        return 1;
    if (w->die)
        (void) raise(SIGKILL);
    return 5;
}

TEST(the_directory_is_removed_in_every_case) {
    struct worker *w = bench_shared(sizeof(*w));

    CHECK_EQ(bench_supervise(worker_leaves_files, w), 5);
    CHECK(w->dir[0] == '/');
    CHECK_ERR(access(w->dir, F_OK) < 0 ? -errno : 0, -ENOENT);
    w->die = true;
    CHECK_EQ(bench_supervise(worker_leaves_files, w), 128 + SIGKILL);
    CHECK_ERR(access(w->dir, F_OK) < 0 ? -errno : 0, -ENOENT);
    bench_unshare(w, sizeof(*w));
}
