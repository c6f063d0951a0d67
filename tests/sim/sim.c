/* SPDX-License-Identifier: MIT
 *
 *     sim [--seed N] [--count N] [--seconds S]    worlds from seed N on (1), 1000 of them or S
 *     seconds sim --seed N --trace                        one of them, telling what happens
 *     sim --bug NAME …                            with a fault in the code under test
 *     sim --bugs                                  each of them: in how many of 300 worlds it is
 *     found
 *     sim --known                                 worlds that failed once (sim_known.c)
 *
 * Exit code 1: a world failed, which is said with its seed; of --bugs, one was not found.
 */
#include "sim/sim.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

int tram_bug;

static const char *const bug_names[BUGS] = {
    "none", "ack-on-arrival", "commit-accepted", "hand-late", "handed-fell", "resume-at-sent",
    "stale-turn", "stale-serial", "keep-rest", "credit-twice", "credit-uncounted", "forget-kick",
    "lose-last-ack", "stall-for-ever", "wait-for-ever", "two-connections", "follower-decides",
    "no-unsure", "no-past", "no-stream", "no-wait", "no-tail-check", "publish-part",
    "free-unconsumed", "no-epoch", "no-journal", "no-window", "handed-stays", "keep-removed",
    "late-given", "no-yield", "forget-from", "note-late", "no-fence", "hold-lower", "epoch-kept",
    "settled-lost", "forget-watch", "left-stays",
};

/* Where to begin to look for the rarest, so that `make check` can. */
static const uint64_t bug_begins[BUGS] = {[BUG_LATE_GIVEN] = 990, [BUG_SETTLED_LOST] = 235,
                                          [BUG_HANDED_FELL] = 240, [BUG_NO_PAST] = 195};

/* ---- chance, and words ----------------------------------------------------------------------- */

uint64_t sim_random(struct sim *sim, uint64_t below) {
    uint64_t x = sim->random += UINT64_C(0x9e3779b97f4a7c15);

    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    x ^= x >> 31;
    return below > 0 ? x % below : 0;
}

bool sim_chance(struct sim *sim, unsigned percent) {
    return sim_random(sim, 100) < percent;
}

void sim_trace(struct sim *sim, const char *format, ...) {
    va_list arguments;

    if (!sim->trace)
        return;
    printf("%10.3f  ", (double) sim->now / 1e6);
    va_start(arguments, format);
    (void) vprintf(format, arguments);
    va_end(arguments);
    (void) putchar('\n');
}

void sim_fail(struct sim *sim, const char *format, ...) {
    va_list arguments;

    if (sim->failed)
        return;
    sim->failed = true;
    va_start(arguments, format);
    (void) vsnprintf(sim->why, sizeof(sim->why), format, arguments);
    va_end(arguments);
    rings_show(sim);
    sim_trace(sim, "FAILED %s", sim->why);
}

/* ---- a world --------------------------------------------------------------------------------- */

static void world_init(struct sim *sim) {
    bool many = sim_chance(sim, 10);

    sim->hosts = 2 + (int) sim_random(sim, sim_chance(sim, 40) ? HOSTS - 1 : 2);
    sim->nodes = 2 + (int) sim_random(sim, many ? NODES - 1 : 6);
    sim->messages_left = 50 + (int) sim_random(sim, many ? 2000 : 500);
    sim->capacity = UINT64_C(2048) << sim_random(sim, 5);
    sim->size_max = sim_chance(sim, 10) ? 250000 : sim->capacity * 2;
    sim->calm_at = 300 * MS + sim_random(sim, 2500 * MS);
    for (int h = 0; h < sim->hosts; h++) {
        struct host *host = &sim->host[h];

        host->sim = sim;
        host->index = h;
        (void) snprintf(host->self.host, sizeof(host->self.host), "h%d", h);
        (void) snprintf(host->self.cluster, sizeof(host->self.cluster), "sim");
    }
    sim->server = (int) sim_random(sim, (uint64_t) sim->hosts);
    sim->lease = sim_chance(sim, 20) ? 100 * MS + sim_random(sim, 500 * MS) : 0;
    net_init(sim);
    gone_init(sim);
    place_init(sim);
    gone_begin(sim);
    for (int h = 0; h < sim->hosts; h++)
        fault_daemon_back(&sim->host[(sim->server + h) % sim->hosts]);
    fault_init(sim);
}

static void host_work(struct host *host) {
    if (!host->up || !host->daemon || host->paused > host->sim->now)
        return;
    if (host->paused != 0) { /* it runs on: what happened meanwhile nobody told it */
        host->paused = 0;
        host->dirty = host->look = true;
    }
    for (int i = 0; i < 3 && (i == 0 || host->dirty || host->look); i++) {
        if (host->dirty)
            store_refresh(host);
        if (host->look)
            store_look(host);
        net_pump(host);
    }
}

static uint64_t world_next(struct sim *sim) {
    uint64_t next = net_next(sim), at = place_next(sim);

    next = at < next ? at : next;
    at = dir_next(sim);
    next = at < next ? at : next;
    next = sim->fault_at < next ? sim->fault_at : next;
    if (!sim->calm && sim->calm_at < next)
        next = sim->calm_at;
    for (int h = 0; h < sim->hosts; h++) {
        struct host *host = &sim->host[h];

        at = host->daemon ? net_host_next(host) : host->daemon_at;
        next = at < next ? at : next;
        if (host->cut_off && host->cut_off_until < next)
            next = host->cut_off_until;
    }
    for (uint64_t rest = sim->running; rest; rest &= rest - 1) {
        at = sim->node[__builtin_ctzll(rest)].next;
        next = at < next ? at : next;
    }
    return next;
}

/* One that is started by another's step is looked at in the same round, if it is behind it. */
static void nodes_step(struct sim *sim) {
    uint64_t rest = sim->running;

    while (rest) {
        int node = __builtin_ctzll(rest);

        if (sim->node[node].next <= sim->now)
            node_step(sim, node);
        if (sim->node[node].next == NEVER)
            sim->running &= ~(UINT64_C(1) << node);
        rest = sim->running & ~(UINT64_MAX >> (63 - node));
    }
}

static void world_step(struct sim *sim) {
    net_step(sim);
    dir_step(sim);
    for (int h = 0; h < sim->hosts; h++) {
        struct host *host = &sim->host[h];

        if (host->cut_off && host->cut_off_until <= sim->now)
            host->cut_off = false;
        if (!host->daemon && host->daemon_at <= sim->now)
            fault_daemon_back(host);
        else if (host->daemon && net_host_due(host))
            net_host_time(host);
    }
    nodes_step(sim);
    place_step(sim);
    if (sim->fault_at <= sim->now)
        fault_step(sim);
    if (!sim->calm && sim->calm_at <= sim->now)
        fault_repair(sim);
    for (int h = 0; h < sim->hosts && sim->now >= sim->left_at; h++)
        move_left(&sim->host[h]);
    if (sim->now >= sim->left_at)
        sim->left_at = sim->now + 500 * MS;
    for (int h = 0; h < sim->hosts; h++)
        host_work(&sim->host[h]);
}

static void world_run(struct sim *sim) {
    uint64_t check = 0;
    char why[200] = "";

    world_init(sim);
    while (!sim->failed) {
        uint64_t next = world_next(sim);

        if (next > sim->now)
            sim->now = next;
        world_step(sim);
        if (++sim->steps > 2000000)
            sim_fail(sim, "it never rests");
        if (!sim->calm || sim->now < check)
            continue;
        check = sim->now + 20 * MS;
        if (oracle_done(sim, why, sizeof(why)))
            return;
        if (sim->now > sim->calm_at + 60000 * MS)
            sim_fail(sim, "a minute after the last fault: %s", why);
    }
}

struct result {
    bool failed;
    char why[300];
    uint64_t delivered, repeated, marked, faults, steps;
};

static void run(uint64_t seed, bool trace, struct result *ret_result) {
    struct sim *sim = calloc(1, sizeof(*sim));

    sim->seed = sim->random = seed;
    (void) sim_random(sim, 1);
    sim->trace = trace;
    world_run(sim);
    *ret_result = (struct result){sim->failed,  "",          sim->delivered, sim->repeated,
                                  sim->marked,  sim->faults, sim->steps};
    memcpy(ret_result->why, sim->why, sizeof(sim->why));
    for (int h = 0; h < sim->hosts; h++)
        place_end(&sim->host[h], true);
    dir_free(sim);
    net_free(sim);
    for (int h = 0; h < sim->hosts; h++) {
        while (sim->host[h].journals)
            journal_remove(&sim->host[h], sim->host[h].journals);
    }
    rings_free(sim);
    oracle_free(sim);
    free(sim);
}

/* ---- the command line ------------------------------------------------------------------------ */

static double seconds(void) {
    struct timespec now;

    (void) clock_gettime(CLOCK_MONOTONIC, &now);
    return (double) now.tv_sec + (double) now.tv_nsec / 1e9;
}

static int run_many(uint64_t first, uint64_t count, double limit, bool trace) {
    struct result sum = {0}, one;
    double began = seconds();
    uint64_t seed = first;
    int failed = 0;

    for (; (limit > 0 ? seconds() - began < limit : seed < first + count) && failed < 5; seed++) {
        run(seed, trace, &one);
        if (one.failed) {
            printf("FAILED %s\n    again: sim --seed %llu --trace%s%s\n", one.why,
                   (unsigned long long) seed, tram_bug ? " --bug " : "",
                   tram_bug ? bug_names[tram_bug] : "");
            (void) fflush(stdout);
            failed++;
        }
        sum.delivered += one.delivered;
        sum.repeated += one.repeated;
        sum.marked += one.marked;
        sum.faults += one.faults;
        sum.steps += one.steps;
    }
    printf("%llu worlds from seed %llu in %.1f s: %llu faults, %llu messages, %llu again, "
           "%llu marked, %llu steps\n",
           (unsigned long long) (seed - first), (unsigned long long) first, seconds() - began,
           (unsigned long long) sum.faults, (unsigned long long) sum.delivered,
           (unsigned long long) sum.repeated, (unsigned long long) sum.marked,
           (unsigned long long) sum.steps);
    printf("%llu passed, %d failed, 0 skipped\n", (unsigned long long) (seed - first) - failed,
           failed);
    return failed > 0;
}

static int run_known(void) {
    int passed = 0, failed = 0;

    for (const struct known_world *known = sim_known; known->seed; known++) {
        struct result one;

        run(known->seed, false, &one);
        passed += !one.failed;
        failed += one.failed;
        if (one.failed)
            printf("FAILED %s\n    again: sim --seed %llu --trace; it had shown: %s\n", one.why,
                   (unsigned long long) known->seed, known->showed);
    }
    printf("%d passed, %d failed, 0 skipped\n", passed, failed);
    return failed > 0;
}

/* Does each fault make some world fail? `stop`: at the first one. */
static int run_bugs(uint64_t first, uint64_t count, bool stop) {
    int missed = 0;

    for (int bug = 1; bug < BUGS; bug++) {
        uint64_t found = 0, runs = 0, begin = first + (stop ? bug_begins[bug] : 0);
        char why[300] = "";

        tram_bug = bug;
        for (; runs < count && !(stop && found); runs++) {
            struct result one;

            run(begin + runs, false, &one);
            found += one.failed;
            if (one.failed && !why[0])
                memcpy(why, one.why, sizeof(why));
        }
        printf("%-18s %4llu of %llu, from %llu  %s\n", bug_names[bug],
               (unsigned long long) found, (unsigned long long) runs, (unsigned long long) begin,
               why);
        (void) fflush(stdout);
        missed += found == 0;
    }
    printf("%d passed, %d failed, 0 skipped\n", BUGS - 1 - missed, missed);
    return missed > 0;
}

static int bug_of(const char *name) {
    for (int i = 0; i < BUGS; i++) {
        if (strcmp(bug_names[i], name) == 0)
            return i;
    }
    (void) fprintf(stderr, "there is no fault '%s'\n", name);
    exit(2);
}

int main(int argc, char **argv) {
    uint64_t seed = 1, count = 1000;
    bool trace = false, bugs = false, stop = false, counted = false, known = false;
    double limit = 0;

    for (int i = 1; i < argc; i++) {
        bool value = i + 1 < argc;

        if (strcmp(argv[i], "--trace") == 0)
            trace = true;
        else if (strcmp(argv[i], "--bugs") == 0)
            bugs = true;
        else if (strcmp(argv[i], "--known") == 0)
            known = true;
        else if (strcmp(argv[i], "--first") == 0)
            stop = true;
        else if (value && strcmp(argv[i], "--seed") == 0)
            seed = strtoull(argv[++i], NULL, 10);
        else if (value && strcmp(argv[i], "--count") == 0)
            count = strtoull(argv[++i], NULL, 10), counted = true;
        else if (value && strcmp(argv[i], "--seconds") == 0)
            limit = strtod(argv[++i], NULL);
        else if (value && strcmp(argv[i], "--bug") == 0)
            tram_bug = bug_of(argv[++i]);
        else {
            (void) fprintf(stderr, "usage: sim [--seed N] [--count N | --seconds S] [--trace] "
                                   "[--bug NAME | --bugs [--first] | --known]\n");
            return 2;
        }
    }
    if (known)
        return run_known();
    if (bugs)
        return run_bugs(seed, counted ? count : 300, stop);
    return run_many(seed, trace && !counted ? 1 : count, limit, trace);
}
