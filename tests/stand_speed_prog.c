/* SPDX-License-Identifier: MIT
 *
 * What a daemon's two ends cost: messages of 32 bytes from a node of one bus directory, copied to a
 * mirror in another, received there and acknowledged, in one process, some 1000 at a time.
 * Argument: how many hundreds; tests/instructions_test.py counts them. With --time: how long the
 * two ends took of it.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "node/stand.h"
#include "tram/tram.h"

#define FROM TRAM_ID(1, 0, 0, 1)
#define TO   TRAM_ID(1, 0, 0, 2)
#define BATCH 1000

struct ends {
    struct stand *reads, *writes;
    struct stand_in *in;
    struct stand_out *out;
    uint64_t number;
    double ns[2]; /* of reading, of writing */
};

static double now(void) {
    struct timespec ts;

    (void) clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double) ts.tv_sec * 1e9 + (double) ts.tv_nsec;
}

static void must(bool holds, const char *what) {
    if (holds)
        return;
    (void) fprintf(stderr, "stand_speed: %s\n", what);
    exit(1);
}

static tram_node *open_in(const char *dir, tram_id id, struct bus *bus) {
    struct tram_options options = TRAM_OPTIONS_INIT;
    struct tram_error error;
    tram_node *node;

    options.dir = dir;
    (void) mkdir(dir, 0700);
    must(tram_open(NULL, id, &options, &node) == 0 && bus_open(NULL, dir, 0600, bus, &error) == 0,
         "no node");
    return node;
}

/* All that is there, as the daemons would. */
static void cross(struct ends *ends) {
    struct stand_out_state mirror;
    struct stand_in_state state;
    struct stand_news news;
    struct stand_run run;
    double start = now();

    while (stand_next(ends->reads, &news) > 0)
        if (news.what == STAND_NEW)
            ends->in = news.in;
    if (!ends->out) {
        struct stand_out_plan plan = {.to = TO, .capacity = 4 << 20};

        stand_in_state(ends->in, &state);
        plan.id = state.id;
        must(stand_out_open(ends->writes, &plan, &ends->out, NULL) == 0, "no mirror");
    }
    while (stand_in_run(ends->in, ends->number, 0, 65536, &run) > 0) {
        const uint8_t *data = run.data;
        uint64_t accepted = 0;
        uint64_t size;
        void *place;
        double middle;

        must(stand_in_handed(ends->in, run.last) == 0, "handed");
        ends->number = run.last + 1;
        middle = now();
        ends->ns[0] += middle - start;
        for (uint64_t left = run.size; left > 0; left -= size, data += size) {
            must(stand_out_place(ends->out, left, &place, &size) == 0 && size > 0, "place");
            memcpy(place, data, size); /* by the kernel, from a socket */
            must(stand_out_filled(ends->out, size, &accepted) == 0, "fill");
        }
        must(accepted == run.last, "accept");
        start = now();
        ends->ns[1] += start - middle;
    }
    must(stand_out_look(ends->out, &mirror) == 0, "look");
    must(stand_in_commit(ends->in, mirror.consumed) == 0, "commit");
    ends->ns[0] += now() - start;
}

int main(int argc, char **argv) {
    bool timed = argc > 1 && strcmp(argv[1], "--time") == 0;
    long rounds = timed ? 20000 : argc == 2 ? strtol(argv[1], NULL, 10) / (BATCH / 100) : 0;
    const char *root = getenv("TRAM_DIR");
    struct bus buses[2];
    struct ends ends = {.number = 1};
    struct tram_error error;
    static struct tram_msg msgs[BATCH];
    char dirs[2][512];
    char payload[32] = "";
    tram_node *from;
    tram_node *to;

    must(root != NULL, "TRAM_DIR is not set");
    (void) snprintf(dirs[0], sizeof(dirs[0]), "%s/a", root);
    (void) snprintf(dirs[1], sizeof(dirs[1]), "%s/b", root);
    from = open_in(dirs[0], FROM, &buses[0]);
    to = open_in(dirs[1], TO, &buses[1]);
    must(stand_new(&buses[0], TO, 0, &ends.reads) == 0 &&
             stand_take(ends.reads, &error) == 0 &&
             stand_new(&buses[1], FROM, 0, &ends.writes) == 0 &&
             stand_take(ends.writes, &error) == 0,
         "no stands");
    for (long round = 0; round < rounds; round++) {
        for (int i = 0; i < BATCH; i++)
            must(tram_send(from, TO, 0, payload, sizeof(payload), TRAM_MORE) >= 0, "send");
        must(tram_flush(from) == 0, "flush");
        cross(&ends);
        for (int got = 0; got < BATCH;) {
            int rc = tram_recv_batch(to, msgs, BATCH, 0, 0);

            must(rc > 0, "receive");
            got += rc;
        }
        must(tram_done(to) == 0, "done");
    }
    if (timed)
        printf("32 bytes: %.1f ns to read, hand and commit; %.1f ns to copy and accept\n",
               ends.ns[0] / (double) rounds / BATCH, ends.ns[1] / (double) rounds / BATCH);
    ends.reads = stand_free(ends.reads);
    ends.writes = stand_free(ends.writes);
    (void) tram_close(from);
    (void) tram_close(to);
    return 0;
}
