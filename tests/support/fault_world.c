/* SPDX-License-Identifier: MIT */
#include "support/fault_world.h"

#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness.h"
#include "support/fault.h"
#include "support/kit.h"

/* What is tried now, for who complains. */
static struct {
    const char *scenario;
    unsigned n;
    int variant;
    bool stay, wanted;
    enum fault_result result;
    char note[300];
} run;

const char *fault_note(const char *more) {
    snprintf(run.note, sizeof run.note, "%s, call %u: %s fails with %s%s%s%s", run.scenario, run.n,
             fault_name(),
             fault_code() == FAULT_SHORT ? "less than asked for" : strerror(fault_code()),
             run.stay ? ", and so on" : "", more ? "; " : "", more ? more : "");
    return run.note;
}

void fault_fail(const char *file, int line, const char *text, const char *note) {
    kit_list_tree(test_dir());
    test_fail(file, line, "%s [%s]", text, note);
}

int fault_expect_ok(const char *file, int line, const char *text, long long rc) {
    if (rc < 0)
        test_fail(file, line, "%s: %lld %s [%s]", text, rc, strerror((int) -rc), fault_note(NULL));
    return (int) rc;
}

void fault_begin(void) {
    if (run.wanted)
        fault_arm(run.n, run.variant, run.stay);
}

long long fault_end(long long rc) {
    if (run.wanted)
        run.result = fault_disarm();
    run.wanted = false;
    return rc;
}

int fault_said(const tram_node *node, long long rc) {
    const struct tram_error *error = tram_last_error(node);

    if (rc < 0 && rc != -EAGAIN && rc != -ETIMEDOUT) {
        EXPECT(error->code == rc);
        EXPECT(error->text[0] != '\0' && strlen(error->text) < sizeof error->text);
    }
    return (int) rc;
}

/* ---- nodes ----------------------------------------------------------------------------------- */

tram_node *fault_open(struct fault_world *w, tram_id id) {
    tram_node *node = NULL;

    EXPECT_OK(fault_said(NULL, tram_open(NULL, id, &w->options, &node)));
    return node;
}

void fault_open_both(struct fault_world *w) {
    w->a = fault_open(w, FAULT_A);
    w->b = fault_open(w, FAULT_B);
}

const void *fault_bytes(uint64_t number, size_t size) {
    static char bytes[1 << 20];

    pattern_fill(bytes, size, number);
    return bytes;
}

int fault_try_send(struct fault_world *w, size_t size, uint32_t flags) {
    uint64_t number = w->sent + w->staged + 1;
    const void *bytes = fault_bytes(number, size);
    int rc = fault_said(w->a, FAULTY(tram_send(w->a, FAULT_B, (uint32_t) number, bytes, size,
                                               flags)));

    w->staged += rc == TRAM_STAGED;
    if (rc == 0) {
        w->sent += w->staged + 1;
        w->staged = 0;
    }
    return rc;
}

void fault_send(struct fault_world *w, size_t size) {
    uint64_t number = w->sent + 1;

    EXPECT_OK(tram_send(w->a, FAULT_B, (uint32_t) number, fault_bytes(number, size), size,
                        TRAM_NOWAIT));
    w->sent++;
}

void fault_send_many(struct fault_world *w, unsigned count, size_t size) {
    while (count-- > 0)
        fault_send(w, size);
}

void fault_check_message(struct fault_world *w, const struct tram_msg *msg) {
    w->got++;
    if (msg->seq != w->got || msg->tag != w->got ||
        pattern_check(msg->data, msg->size, w->got) >= 0)
        fault_fail(__FILE__, __LINE__, "the next message", fault_note(NULL));
    EXPECT(msg->from == FAULT_A);
    EXPECT(w->got <= w->again ? msg->attempt > 1 : msg->attempt == 1);
}

void fault_receive(struct fault_world *w, uint64_t count) {
    struct tram_msg msg;

    while (count-- > 0) {
        int rc = tram_recv(w->b, &msg, 0);

        /* What was not announced, as a bell could not be rung, is found by the next look. */
        if (rc == -EAGAIN)
            rc = tram_recv(w->b, &msg, kit_patience(5));
        EXPECT_OK(fault_said(w->b, rc));
        fault_check_message(w, &msg);
    }
}

struct death {
    struct fault_world *w;
    int count;
};

static void die(void *arg) {
    struct death *death = arg;
    tram_node *b = fault_open(death->w, FAULT_B);
    struct tram_msg msgs[16];

    EXPECT(tram_recv_batch(b, msgs, death->count, TRAM_HOLD, 0) >= 1);
    _exit(0);
}

void fault_die_with(struct fault_world *w, int count) {
    struct death death = { w, count };

    JOIN(test_fork(die, &death));
}

/* ---- what is there --------------------------------------------------------------------------- */

static int hidden;

static int look_for_hidden(const char *path, const struct stat *st, int type, struct FTW *ftw) {
    (void) st, (void) type;
    hidden += ftw->level > 0 && path[ftw->base] == '.';
    return 0;
}

static int count_hidden(void) {
    hidden = 0;
    nftw(test_dir(), look_for_hidden, 16, FTW_PHYS);
    return hidden;
}

static int count_descriptors(void) {
    DIR *dir = opendir("/proc/self/fd");
    int count = 0;

    EXPECT(dir != NULL);
    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

static int count_mappings(void) {
    FILE *file = fopen("/proc/self/maps", "re");
    char line[PATH_MAX + 100];
    int count = 0;

    EXPECT(file != NULL);
    while (fgets(line, sizeof line, file))
        count += strstr(line, "tram-test-") != NULL;
    fclose(file);
    return count;
}

struct holdings {
    int descriptors, mappings;
    long allocations;
};

static struct holdings take_stock(void) {
    return (struct holdings){ count_descriptors(), count_mappings(), fault_allocations() };
}

static void compare_stock(const struct holdings *before) {
    struct holdings after = take_stock();

    EXPECT(after.descriptors == before->descriptors);
    EXPECT(after.mappings == before->mappings);
    EXPECT(after.allocations == before->allocations);
}

/* ---- one scenario ---------------------------------------------------------------------------- */

static void ask(struct fault_world *w) {
    uint64_t accepted = 0;

    EXPECT_OK(fault_said(w->a, tram_accepted(w->a, FAULT_B, &accepted)));
    EXPECT(accepted == w->sent);
}

/* All that was accepted arrives; then again with new processes' eyes, so to say. */
static void finish(struct fault_world *w) {
    struct tram_msg msg;

    if (!w->a)
        w->a = fault_open(w, FAULT_A);
    if (!w->b)
        w->b = fault_open(w, FAULT_B);
    if (w->staged > 0) {
        EXPECT_OK(tram_flush(w->a));
        w->sent += w->staged;
        w->staged = 0;
    }
    ask(w);
    fault_send(w, 100); /* it works */
    fault_receive(w, w->sent - w->got);
    EXPECT(tram_recv(w->b, &msg, 0) == -EAGAIN);
    w->a = tram_close(w->a);
    w->b = tram_close(w->b);
    fault_open_both(w);
    ask(w);
    EXPECT(tram_recv(w->b, &msg, 0) == -EAGAIN);
    fault_send(w, 100);
    fault_receive(w, 1);
}

static void close_all(struct fault_world *w) {
    w->a = tram_close(w->a);
    w->b = tram_close(w->b);
    w->c = tram_close(w->c);
}

static void empty_dir(void) {
    char path[PATH_MAX];

    snprintf(path, sizeof path, "%s/default", test_dir());
    kit_remove_tree(path);
}

/* Once, with one fault. */
static void once(const struct fault_scenario *scenario, struct holdings *stock) {
    struct fault_world w = { .options = kit_options(65536, TRAM_NO_SPIN) };
    int rc;

    w.options.dir = test_dir();
    w.options.ring_max = 1 << 20;
    if (scenario->prepare)
        scenario->prepare(&w);
    run.result = FAULT_NOT_REACHED;
    run.wanted = true;
    rc = scenario->act(&w);
    run.wanted = false;
    if (run.result == FAULT_HIT) {
        if (fault_transparent())
            EXPECT(rc == scenario->expect);
        if (strcmp(fault_name(), "unlinkat") != 0)
            EXPECT(count_hidden() == 0);
    }
    if (rc < 0 && rc != scenario->expect) {
        EXPECT(run.result == FAULT_HIT);
        /* The reason, and no other. Too much that is locked is no memory; -EAGAIN means full, or
         * empty. */
        EXPECT(rc == (fault_code() == EAGAIN ? -ENOMEM : -fault_code()));
        rc = scenario->act(&w);
    }
    EXPECT(rc == scenario->expect);
    if (scenario->check)
        scenario->check(&w);
    finish(&w);
    close_all(&w);
    if (stock->descriptors > 0)
        compare_stock(stock);
    else
        *stock = take_stock();
    empty_dir();
}

/* Each call fails, in one way, or in all its ways; once, or from there on. */
static unsigned pass(const struct fault_scenario *scenario, bool all, bool stay,
                     struct holdings *stock) {
    unsigned faults = 0, step = stay && *test_sanitizer() ? 3 : 1;

    run.stay = stay;
    for (run.n = 1;; run.n += step) {
        for (run.variant = all ? 0 : FAULT_ROTATE;; run.variant++) {
            once(scenario, stock);
            if (run.result != FAULT_HIT)
                break;
            faults++;
            if (!all)
                break;
        }
        if (run.result == FAULT_NOT_REACHED)
            return faults;
    }
}

void fault_run(const struct fault_scenario *scenario) {
    struct holdings stock = { 0 };
    bool all = kit_env("FAULT_ALL", 0) != 0;
    unsigned once_each, for_good;

    run.scenario = scenario->name;
    once_each = pass(scenario, all, false, &stock);
    for_good = pass(scenario, all, true, &stock);
    printf("       %s: %u calls failed once, %u from there on\n", scenario->name, once_each,
           for_good);
}

void fault_run_all(const struct fault_scenario *scenarios, size_t count) {
    for (size_t i = 0; i < count; i++)
        fault_run(&scenarios[i]);
}
