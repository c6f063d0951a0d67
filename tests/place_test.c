/* SPDX-License-Identifier: MIT
 * test: timeout=60
 *
 * Placement: who may open a node on a bus that is part of a cluster, who is asked, and who finds
 * out that he may not any more.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <tram/tram.h>
#include <unistd.h>

#include "harness.h"
#include "node/place.h"
#include "support/cable.h"
#include "support/kit.h"
#include "sys/file.h"

#define R TRAM_ID(2, 2, 2, 2)
#define D TRAM_ID(3, 3, 3, 3)

static void join(const struct bus *bus) {
    struct cluster cluster = {.host = 7, .instance = {1, 2}, .name = "alpha"};

    CHECK_OK(cluster_write(bus, &cluster));
}

static void open_bus(struct bus *bus) {
    struct tram_error error;

    if (bus_open(NULL, NULL, 0600, bus, &error) < 0)
        FAIL("%s", error.text);
}

static void put(const struct bus *bus, tram_id id, uint32_t state, uint64_t epoch) {
    struct place place = {.id = id, .state = state, .host = state == PLACE_HERE ? 7 : 8,
                          .epoch = epoch, .name = "beta"};

    CHECK_OK(place_write(bus, &place));
}

/* A daemon that answers each claim in one way. */
struct daemon {
    struct bus bus;
    struct claims claims;
    int code;
    uint64_t epoch, answered;
    bool serving, mute, gone;
};

static struct daemon *daemon_of_test;

static int answer(void *context, tram_id id) {
    struct daemon *daemon = context;
    int rc;

    if (daemon->mute)
        return 0;
    if (daemon->code == 0)
        put(&daemon->bus, id, PLACE_HERE, daemon->epoch);
    rc = claims_answer(&daemon->claims, id, daemon->code, daemon->epoch, 4711,
                       "it runs on host beta, process 4711 (other)");
    if (rc == -ENOENT)
        daemon->gone = true;
    else
        CHECK_OK(rc);
    daemon->answered += rc == 0;
    return 0;
}

static void serve(void *arg) {
    struct daemon *daemon = arg;

    open_bus(&daemon->bus);
    CHECK_OK(claims_open(&daemon->bus, &daemon->claims));
    __atomic_store_n(&daemon->serving, true, __ATOMIC_RELEASE);
    for (;;) {
        struct pollfd fd = {.fd = claims_fd(&daemon->claims), .events = POLLIN};

        (void) poll(&fd, 1, -1);
        CHECK_OK(claims_each(&daemon->claims, answer, daemon));
    }
}

static pid_t start_daemon(void) {
    pid_t pid;

    daemon_of_test->serving = false;
    pid = test_fork(serve, daemon_of_test);
    while (!__atomic_load_n(&daemon_of_test->serving, __ATOMIC_ACQUIRE))
        kit_pause();
    return pid;
}

static void begin(struct bus *bus) {
    daemon_of_test = kit_shared(sizeof(*daemon_of_test));
    open_bus(bus);
    join(bus);
}

static const char *why(void) {
    return tram_last_error(NULL)->text;
}

TEST(without_a_cluster_nobody_is_asked) {
    struct bus bus;
    tram_node *r;
    struct cluster cluster;

    open_bus(&bus);
    CHECK_ERR(cluster_read(bus.dir, &cluster), -ENOENT);
    CHECK_OK(tram_open(NULL, R, NULL, &r));
    (void) tram_close(r);
    join(&bus);
    CHECK_OK(cluster_read(bus.dir, &cluster));
    CHECK_EQ(cluster.host, 7);
    CHECK_STR(cluster.name, "alpha");
    CHECK_ERR(tram_open(NULL, R, NULL, &r), -EAGAIN);
    CHECK_OK(cluster_remove(&bus));
    CHECK_OK(tram_open(NULL, R, NULL, &r));
    (void) tram_close(r);
    bus_close(&bus);
}

TEST(no_daemon) {
    struct bus bus;
    tram_node *r;

    begin(&bus);
    CHECK_ERR(tram_open(NULL, R, NULL, &r), -EAGAIN);
    CHECK(strstr(why(), "no tramd runs") != NULL);
    put(&bus, R, PLACE_AWAY, 3);
    CHECK_ERR(tram_open(NULL, R, NULL, &r), -EAGAIN);
    put(&bus, R, PLACE_HERE, 4);
    CHECK_OK(tram_open(NULL, R, NULL, &r)); /* known here: nobody is needed */
    CHECK_EQ(kit_count_files(test_dir(), "claims"), 0);
    (void) tram_close(r);
    bus_close(&bus);
}

/* Who was answered is quicker than who counts it. */
static void await_answers(uint64_t count) {
    while (__atomic_load_n(&daemon_of_test->answered, __ATOMIC_ACQUIRE) < count)
        kit_pause();
    CHECK_EQ(daemon_of_test->answered, count);
}

TEST(granted_and_refused) {
    struct bus bus;
    tram_node *r;
    pid_t daemon;

    begin(&bus);
    daemon_of_test->epoch = 5;
    daemon = start_daemon();
    CHECK_OK(tram_open(NULL, R, NULL, &r));
    (void) tram_close(r);
    CHECK_OK(tram_open(NULL, R, NULL, &r)); /* it is known from then on */
    (void) tram_close(r);
    await_answers(1);
    daemon_of_test->code = -EADDRINUSE;
    CHECK_ERR(tram_open(NULL, D, NULL, &r), -EADDRINUSE);
    CHECK_STR(why(), "it runs on host beta, process 4711 (other)");
    CHECK_EQ(tram_last_error(NULL)->pid, 4711);
    await_answers(2);
    test_kill(daemon);
    CHECK_OK(tram_open(NULL, R, NULL, &r));
    (void) tram_close(r);
    bus_close(&bus);
}

static void open_in_vain(void *arg) {
    int64_t start = kit_now();
    tram_node *r;

    (void) arg;
    CHECK_ERR(tram_open(NULL, R, NULL, &r), -EAGAIN);
    CHECK(strstr(why(), "no tramd runs") != NULL); /* not that it did not answer in time */
    CHECK(kit_now() - start < kit_patience(8));
}

static void open_well(void *arg) {
    tram_node *r;

    (void) arg;
    CHECK_OK(tram_open(NULL, R, NULL, &r));
    (void) tram_close(r);
}

/* Is a claim of this node there? */
static bool is_claimed(void) {
    return kit_count_files(test_dir(), "2.2.2.2") > 0 &&
           access(kit_path((char[512]){0}, 512, test_dir(), R, "../claims/2.2.2.2"), F_OK) == 0;
}

TEST(daemon_dies_before_it_answers) {
    struct bus bus;
    pid_t daemon;
    pid_t opener;

    begin(&bus);
    daemon_of_test->mute = true;
    daemon = start_daemon();
    opener = test_fork(open_in_vain, NULL);
    while (!is_claimed())
        kit_pause();
    test_kill(daemon);
    JOIN(opener);
    CHECK(!is_claimed());
    bus_close(&bus);
}

TEST(opener_dies_as_it_waits) {
    struct bus bus;
    pid_t daemon;
    pid_t opener;
    tram_node *r;

    begin(&bus);
    daemon_of_test->mute = true;
    daemon = start_daemon();
    opener = test_fork(open_in_vain, NULL);
    while (!is_claimed())
        kit_pause();
    test_kill(opener);
    CHECK(is_claimed());
    test_kill(daemon);
    /* The next daemon finds the claim, which nobody waits for. */
    daemon_of_test->mute = false;
    daemon_of_test->code = -EACCES;
    daemon = start_daemon();
    while (is_claimed())
        kit_pause();
    while (!daemon_of_test->gone)
        kit_pause();
    daemon_of_test->code = 0;
    CHECK_OK(tram_open(NULL, R, NULL, &r));
    (void) tram_close(r);
    test_kill(daemon);
    bus_close(&bus);
}

/* A daemon that looks before the claim is open, or that took its name for a dead opener's. */
TEST(claim_is_taken_away_unanswered) {
    struct bus bus;
    char path[300];
    pid_t daemon;
    pid_t opener;

    begin(&bus);
    daemon_of_test->mute = true;
    daemon_of_test->epoch = 1;
    daemon = start_daemon();
    (void) snprintf(path, sizeof(path), "%s/claims/2.2.2.2", bus.path);
    opener = test_fork(open_well, NULL);
    for (int i = 0; i < 3; i++) {
        while (!is_claimed())
            kit_pause();
        if (i < 2)
            CHECK_OK(unlink(path));
    }
    __atomic_store_n(&daemon_of_test->mute, false, __ATOMIC_SEQ_CST);
    CHECK_OK(unlink(path)); /* the next claim rings it */
    JOIN(opener);
    test_kill(daemon);
    bus_close(&bus);
}

TEST(ephemeral_ids_are_of_the_hosts_block) {
    struct bus bus;
    tram_node *node;

    begin(&bus);
    for (int i = 0; i < 20; i++) {
        CHECK_OK(tram_open(NULL, TRAM_EPHEMERAL, NULL, &node));
        CHECK_EQ(tram_node_id(node) >> 16, TRAM_EPHEMERAL >> 16 | 7);
        (void) tram_close(node);
    }
    bus_close(&bus);
}

/* What other hosts still have of one that ended is not for the next one: an ID comes again after
 * all others, whoever gives it. */
TEST(ephemeral_ids_come_again_last) {
    static uint8_t seen[HOST_IDS];
    struct claims claims;
    struct bus bus;

    begin(&bus);
    CHECK_OK(claims_open(&bus, &claims));
    for (int i = 0; i < 1000; i++) {
        tram_node *node;
        uint32_t number;

        CHECK_OK(tram_open(NULL, TRAM_EPHEMERAL, NULL, &node));
        number = tram_node_id(node) & 0xffff;
        CHECK(number < sizeof(seen) && !seen[number]++);
        (void) tram_close(node);
    }
    claims_close(&claims);
    bus_close(&bus);
}

static uint64_t life_of(const struct bus *bus, tram_id id) {
    int dir = CHECK_OK(files_node_dir(bus, id, false));
    int fd = CHECK_OK(sys_file_open(dir, "door", false));
    struct door door;

    CHECK_OK(sys_file_read(fd, &door, sizeof(door), 0));
    (void) close(fd);
    (void) close(dir);
    return door.opens;
}

/* As if all other IDs had been given. */
static void come_round(const struct bus *bus) {
    int dir = CHECK_OK(sys_dir_open(bus->dir, "claims"));
    int fd = CHECK_OK(sys_file_open(dir, "count", true));
    uint64_t count;

    CHECK_OK(sys_file_read(fd, &count, sizeof(count), 0));
    count += HOST_IDS - 1;
    CHECK_OK(sys_file_write(fd, &count, sizeof(count), 0));
    (void) close(fd);
    (void) close(dir);
}

/* The next one with an ID is another node: senders are told once that the first one is gone, and
 * who watches sees that it is another life. */
TEST(an_ephemeral_id_comes_round_again) {
    struct claims claims;
    struct tram_msg msg;
    struct bus bus;
    tram_node *e;
    tram_node *s;
    uint64_t life;
    tram_id id;

    begin(&bus);
    CHECK_OK(claims_open(&bus, &claims));
    put(&bus, R, PLACE_HERE, 1);
    CHECK_OK(tram_open(NULL, R, NULL, &s));
    CHECK_OK(tram_open(NULL, TRAM_EPHEMERAL, NULL, &e));
    id = tram_node_id(e);
    life = life_of(&bus, id);
    CHECK_OK(tram_send(s, id, 1, "1", 1, 0));
    CHECK_OK(tram_recv(e, &msg, 0));
    (void) tram_close(e);
    CHECK_ERR(tram_send(s, id, 1, "2", 1, 0), -EHOSTUNREACH);
    CHECK_ERR(tram_send(s, id, 1, "2", 1, 0), -EHOSTUNREACH);
    come_round(&bus);
    CHECK_OK(tram_open(NULL, TRAM_EPHEMERAL, NULL, &e));
    CHECK_EQ(tram_node_id(e), id);
    CHECK_EQ(life_of(&bus, id), life + 1);
    CHECK_OK(tram_send(s, id, 1, "3", 1, 0));
    CHECK_OK(tram_recv(e, &msg, 0));
    CHECK(memcmp(msg.data, "3", 1) == 0 && msg.attempt == 1);
    (void) tram_close(e);
    (void) tram_close(s);
    claims_close(&claims);
    bus_close(&bus);
}

/* ---- fencing --------------------------------------------------------------------------------- */

TEST(fenced_at_every_call) {
    struct bus bus;
    tram_node *r;
    tram_node *d;
    struct tram_msg msg;
    struct tram_event event;
    struct tram_error error;
    struct stand *stand;
    int rc;

    begin(&bus);
    put(&bus, R, PLACE_HERE, 1);
    put(&bus, D, PLACE_HERE, 1);
    CHECK_OK(tram_open(NULL, R, NULL, &r));
    CHECK_OK(tram_open(NULL, D, NULL, &d));
    CHECK_OK(tram_send(r, D, 1, "x", 1, 0));
    put(&bus, R, PLACE_AWAY, 2);
    CHECK_ERR(tram_recv(r, &msg, 0), -ESTALE);
    CHECK_ERR(tram_recv(r, &msg, TRAM_FOREVER), -ESTALE);
    CHECK_ERR(tram_send(r, D, 1, "x", 1, 0), -ESTALE);
    CHECK_ERR(tram_send(r, R, 1, "x", 1, 0), -ESTALE);
    CHECK_ERR(tram_dispatch(r, &event), -ESTALE);
    CHECK_ERR(tram_wait(r, TRAM_FOREVER), -ESTALE);
    CHECK(strstr(tram_last_error(r)->text, "another host") != NULL);
    CHECK_OK(stand_new(&bus, R, 0, &stand));
    CHECK_ERR(stand_take(stand, &error), -EBUSY); /* as long as it is there */
    (void) tram_close(r);
    CHECK_OK(stand_take(stand, &error));
    (void) stand_free(stand);
    CHECK_OK(tram_recv(d, &msg, 0));
    CHECK_ERR(tram_recv(d, &msg, 0), -EAGAIN);
    (void) tram_close(d);
    rc = tram_open(NULL, R, NULL, &r);
    CHECK_ERR(rc, -EAGAIN);
    bus_close(&bus);
}

/* Who only sends finds it when it next needs room. */
TEST(fenced_as_it_sends) {
    struct bus bus;
    tram_node *r;
    int rc = 0;
    int sent = 0;

    begin(&bus);
    put(&bus, R, PLACE_HERE, 1);
    CHECK_OK(tram_open(NULL, R, NULL, &r));
    CHECK_OK(tram_send(r, D, 1, "x", 1, 0));
    put(&bus, R, PLACE_AWAY, 2);
    for (; rc == 0 && sent < 10000; sent++)
        rc = tram_send(r, D, 1, "hundred bytes are not needed for this", 37, TRAM_NOWAIT);
    CHECK_ERR(rc, -ESTALE);
    CHECK(sent < 2000);
    (void) tram_close(r);
    bus_close(&bus);
}

static void receive_until_fenced(void *arg) {
    struct tram_msg msg;
    tram_node *r;

    (void) arg;
    CHECK_OK(tram_open(NULL, R, NULL, &r));
    CHECK_ERR(tram_recv(r, &msg, TRAM_FOREVER), -ESTALE);
}

TEST(a_sleeper_is_fenced_at_once) {
    struct bus bus;
    pid_t pid;
    int64_t start;

    begin(&bus);
    put(&bus, R, PLACE_HERE, 1);
    pid = test_fork(receive_until_fenced, NULL);
    CHECK(kit_await_asleep(test_dir(), R));
    start = kit_now();
    put(&bus, R, PLACE_AWAY, 2);
    JOIN(pid);
    CHECK(kit_now() - start < 200 * KIT_MS * test_seconds(1));
    bus_close(&bus);
}

TEST(epochs_only_rise) {
    struct bus bus;
    struct place place = {.id = R, .state = PLACE_HERE, .host = 7, .epoch = 4};

    begin(&bus);
    put(&bus, R, PLACE_AWAY, 5);
    CHECK_ERR(place_write(&bus, &place), -ESTALE);
    CHECK_OK(place_remove(&bus, R));
    CHECK_OK(place_write(&bus, &place));
    bus_close(&bus);
}

/* ---- what a node sent elsewhere -------------------------------------------------------------- */

static void send_blocking(void *arg) {
    const struct cable *cable = arg;
    tram_node *r = kit_open(cable->dirs[1], R, NULL);

    CHECK_OK(tram_send(r, D, 100, "own", 3, 0));
    CHECK_OK(tram_send(r, D, 101, "own", 3, 0));
    (void) tram_close(r);
}

/* R sent five messages on host 0 to D on host 1, and moved to host 1 before D received them. */
static void move_with_mirror(struct cable *cable, tram_node **ret_d) {
    tram_node *r;

    cable_init(cable);
    cable_place(cable, R, 0);
    cable_place(cable, D, 1);
    *ret_d = kit_open(cable->dirs[1], D, NULL);
    r = kit_open(cable->dirs[0], R, NULL);
    cable_plug(cable);
    for (uint32_t i = 1; i <= 5; i++)
        CHECK_OK(tram_send(r, D, i, "early", 5, 0));
    cable_settle(cable);
    (void) tram_close(r);
    cable_move(cable, R, 1);
    cable_settle(cable);
    join(&cable->buses[1]);
    put(&cable->buses[1], R, PLACE_HERE, 2);
}

static void receive_early(struct cable *cable, tram_node *d) {
    struct tram_msg msg;

    for (uint32_t i = 1; i <= 5; i++) {
        CHECK_OK(tram_recv(d, &msg, 0));
        CHECK_EQ(msg.tag, i);
    }
    CHECK_ERR(stand_out_remove(cable_stand(cable, R, 1), D, false), -ENOTEMPTY);
    CHECK_OK(tram_done(d));
    cable_settle(cable);
    cable_remove(cable, R, D);
}

TEST(sends_wait_for_a_mirror_of_earlier_ones) {
    struct cable cable;
    tram_node *r;
    tram_node *d;
    struct tram_msg msg;
    struct tram_event event;

    move_with_mirror(&cable, &d);
    r = kit_open(cable.dirs[1], R, NULL);
    CHECK(tram_fd(r) >= 0);
    CHECK_ERR(tram_send(r, D, 99, "late", 4, TRAM_NOWAIT), -EAGAIN);
    CHECK_ERR(tram_sendv(r, D, NULL, NULL, 0, 0, 20 * KIT_MS), -ETIMEDOUT);
    CHECK_EQ(tram_dispatch(r, &event), 0);
    receive_early(&cable, d);
    while (tram_dispatch(r, &event) == 0)
        kit_pause();
    CHECK_EQ(event.type, TRAM_EVENT_SPACE);
    CHECK_EQ(event.peer, D);
    CHECK_OK(tram_send(r, D, 99, "late", 4, TRAM_NOWAIT));
    CHECK_OK(tram_recv(d, &msg, TRAM_FOREVER));
    CHECK_EQ(msg.tag, 99);
    CHECK_EQ(msg.seq, 1);
    (void) tram_close(r);
    (void) tram_close(d);
    cable_close(&cable);
}

/* The same for sends that block. */
TEST(a_send_blocks_for_a_mirror) {
    struct cable cable;
    tram_node *d;
    struct tram_msg msg;
    pid_t blocked;
    int64_t start;

    move_with_mirror(&cable, &d);
    blocked = test_fork(send_blocking, &cable);
    CHECK(kit_await_asleep(cable.dirs[1], R));
    start = kit_now();
    receive_early(&cable, d);
    JOIN(blocked);
    CHECK(kit_now() - start < 500 * KIT_MS * test_seconds(1));
    CHECK_OK(tram_recv(d, &msg, TRAM_FOREVER));
    CHECK_EQ(msg.tag, 100);
    CHECK_OK(tram_recv(d, &msg, TRAM_FOREVER));
    CHECK_EQ(msg.tag, 101);
    (void) tram_close(d);
    cable_close(&cable);
}
