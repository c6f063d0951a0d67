/* SPDX-License-Identifier: MIT
 *
 * Files of events that somebody of the same user cuts short or scribbles on: who reads or writes
 * them gets an error, and the others do not notice.
 */
// test: timeout=60
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness.h"
#include "support/events.h"
#include "support/pair.h"
#include "tram/service.h"

/* The ring, or the reader's file of that node; opened for writing. */
static int open_file(tram_id reader) {
    char path[512], id[TRAM_ID_TEXT] = "";
    struct dirent *entry;
    DIR *dir;
    int fd = -1;

    (void) snprintf(path, sizeof(path), "%s/default/events", test_dir());
    dir = opendir(path);
    CHECK(dir);
    if (reader)
        (void) tram_id_format(reader, id);
    while (fd < 0 && (entry = readdir(dir))) {
        const char *at = strchr(entry->d_name, '@');

        if (entry->d_name[0] == '.' || (at != NULL) != (reader != 0) ||
            (at && strncmp(at + 1, id, strlen(id)) != 0))
            continue;
        fd = CHECK_OK(openat(dirfd(dir), entry->d_name, O_RDWR | O_CLOEXEC));
    }
    CHECK_OK(closedir(dir));
    CHECK(fd >= 0);
    return fd;
}

struct world {
    struct events_pub pub;
    struct events_sub subs[2];
};

static void begin(struct world *world, enum tram_delivery delivery) {
    struct tram_server_options options = TRAM_SERVER_OPTIONS_INIT;
    struct tram_subscribe_options wish = TRAM_SUBSCRIBE_OPTIONS_INIT;

    options.topic_ring = 65536;
    options.patience_ns = 20000000;
    events_publisher(&world->pub, &options);
    for (int i = 0; i < 2; i++) {
        events_subscriber(&world->subs[i], TRAM_ID(1, 1, 6, 11 + i));
        wish.delivery = i == 0 ? delivery : TRAM_DELIVER_LATEST_ALL;
        events_subscribe(&world->subs[i], 7, NULL, &wish);
    }
    while (world->subs[0].count == 0 || world->subs[1].count == 0) {
        CHECK_OK(events_publish(&world->pub, 8, NULL));
        events_turn();
    }
}

static void end(struct world *world) {
    for (int i = 0; i < 2; i++)
        events_subscriber_end(&world->subs[i]);
    events_publisher_end(&world->pub);
}

/* Publish on, past all that was there. */
static void go_on(struct world *world) {
    for (int i = 0; i < 3000; i++) {
        EVENTS_UNTIL(events_publish(&world->pub, 100, NULL) == 0);
        if (i % 50 == 0)
            events_turn();
    }
}

TEST(a_reader_that_writes_nonsense_holds_up_no_longer_than_patience) {
    static const uint64_t positions[] = {0, UINT64_MAX, UINT64_MAX - 7, 4096};

    for (size_t i = 0; i < sizeof(positions) / sizeof(positions[0]); i++) {
        struct world world;
        int fd;

        begin(&world, TRAM_DELIVER_BLOCK);
        events_stop(world.subs[0].worker);
        fd = open_file(TRAM_ID(1, 1, 6, 11));
        CHECK_EQ(pwrite(fd, &positions[i], 8, 128), 8);
        CHECK_OK(close(fd));
        go_on(&world);
        EVENTS_UNTIL(world.subs[1].last == world.pub.number);
        CHECK_EQ(world.subs[1].ended, 0);
        events_go(world.subs[0].worker);
        EVENTS_UNTIL(world.subs[0].ended);
        end(&world);
    }
}

TEST(a_reader_whose_file_is_cut_short_hurts_nobody_else) {
    struct world world;
    int fd;

    begin(&world, TRAM_DELIVER_BLOCK);
    fd = open_file(TRAM_ID(1, 1, 6, 11));
    CHECK_OK(ftruncate(fd, 0));
    CHECK_OK(close(fd));
    go_on(&world);
    EVENTS_UNTIL(world.subs[1].last == world.pub.number && world.subs[0].ended);
    CHECK_EQ(world.subs[1].ended, 0);
    CHECK_EQ(world.subs[1].missed, 0);
    end(&world);
}

TEST(a_ring_that_is_cut_short_ends_its_readers_and_begins_anew) {
    struct world world;
    int fd;

    begin(&world, TRAM_DELIVER_LATEST_ALL);
    fd = open_file(0);
    CHECK_OK(ftruncate(fd, 4096));
    CHECK_OK(close(fd));
    go_on(&world);
    EVENTS_UNTIL(world.subs[0].ended && world.subs[1].ended);
    CHECK_ERR(world.subs[0].ended, -EBADMSG);
    for (int i = 0; i < 2; i++) {
        (void) tram_subscription_free(world.subs[i].subscription);
        world.subs[i].subscription = NULL;
        world.subs[i].loose = true;
        events_subscribe(&world.subs[i], 7, NULL, NULL);
        world.subs[i].count = 0;
    }
    while (world.subs[0].count == 0 || world.subs[1].count == 0) {
        CHECK_OK(events_publish(&world.pub, 8, NULL));
        events_turn();
    }
    end(&world);
}

/* Who sleeps finds it with his re-look: 2 to 5 s for all, and 18 s were seen on a busy machine. */
TEST_TIMEOUT(nonsense_in_the_ring_ends_a_subscription_and_no_process, 50) {
    for (uint64_t seed = 1; seed <= 40; seed++) {
        uint64_t value = seed * UINT64_C(0x9e3779b97f4a7c15), junk[64];
        struct world world;
        int fd;

        begin(&world, seed % 2 ? TRAM_DELIVER_LATEST_ALL : TRAM_DELIVER_LAST);
        events_stop(world.subs[0].worker);
        events_stop(world.subs[1].worker);
        for (int i = 0; i < 200; i++)
            CHECK_OK(events_publish(&world.pub, 100, NULL));
        for (size_t i = 0; i < 64; i++)
            junk[i] = value = value * UINT64_C(6364136223846793005) + 1442695040888963407u;
        fd = open_file(0);
        if (seed % 4 == 0)
            CHECK_EQ(pwrite(fd, junk, 8, 256 + (off_t) (seed % 3) * 64), 8); /* tail, floor, want */
        else
            for (off_t at = 12288; at < 12288 + 65536; at += sizeof(junk))
                CHECK_EQ(pwrite(fd, junk, sizeof(junk), at), (ssize_t) sizeof(junk));
        CHECK_OK(close(fd));
        for (int i = 0; i < 2; i++) {
            events_go(world.subs[i].worker);
            if (seed % 4 != 0)
                EVENTS_UNTIL(world.subs[i].ended);
        }
        for (int i = 0; i < 20; i++)
            events_turn();
        end(&world);
    }
}
