/* SPDX-License-Identifier: MIT */
#include "service/topic_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness.h"
#include "tram/tram.h"

#define NODE TRAM_ID(1, 0, 0, 1)
#define READER TRAM_ID(1, 0, 0, 2)
#define PORT 0x1234u
#define SIZE 65536u

static int open_dir(void) {
    int dir = topic_dir(getenv("TRAM_DIR"), 0600);

    CHECK_OK(dir);
    return dir;
}

static bool nobody(void *context, uint32_t node) {
    (void) context;
    (void) node;
    return false;
}

static bool everybody(void *context, uint32_t node) {
    (void) context;
    (void) node;
    return true;
}

static void publish(struct topic_tx *tx, uint32_t code) {
    struct topic_record record = {.size = 0, .code = code};

    CHECK(topic_tx_fits(tx, 0) || topic_tx_make_room(tx, 0, UINT64_MAX));
    (void) topic_tx_header(tx, &record);
    topic_tx_stage(tx, 0);
    topic_tx_publish(tx);
}

TEST(a_ring_is_found_again) {
    struct topic_file file, other;
    struct topic_tx tx;
    struct topic_rx rx;
    struct topic_view view;
    struct topic_reader reader = {0};
    uint64_t capacity;
    bool found;
    int dir = open_dir();

    CHECK_OK(topic_file_make(dir, NODE, PORT, SIZE, 0600, &file, &tx, &found));
    CHECK(!found);
    publish(&tx, 1);
    topic_file_close(&file);
    CHECK_OK(topic_file_make(dir, NODE, PORT, SIZE, 0600, &file, &tx, &found));
    CHECK(found);
    CHECK_EQ(tx.number, 1);
    publish(&tx, 2);
    CHECK_OK(topic_file_open(dir, NODE, PORT, &other, &capacity));
    CHECK_EQ(capacity, SIZE);
    CHECK(topic_rx_init(&rx, topic_words(&other), topic_data(&other), capacity, &reader, true));
    CHECK_EQ(topic_rx_next(&rx, &view), TOPIC_EVENT);
    CHECK_EQ(topic_rx_next(&rx, &view), TOPIC_EVENT);
    CHECK_EQ(view.record.code, 2);
    topic_file_close(&other);
    topic_file_close(&file);
    /* Another size: another ring. */
    CHECK_OK(topic_file_make(dir, NODE, PORT, 2 * SIZE, 0600, &file, &tx, &found));
    CHECK(!found);
    topic_file_close(&file);
    topic_file_remove(dir, NODE, PORT, false);
    CHECK_ERR(topic_file_open(dir, NODE, PORT, &other, &capacity), -ENOENT);
    close(dir);
}

/* What another host publishes there goes on in numbers that nobody here knows of: no server takes
 * it for its own ring, and no daemon a server's for a copy. */
TEST(a_copy_is_no_ring_of_ours) {
    struct topic_file file;
    struct topic_tx tx;
    bool found;
    int dir = open_dir();

    CHECK_ERR(topic_file_copy(dir, NODE, PORT, 0, 0, 0600, &file, &tx), -ENOENT);
    CHECK_OK(topic_file_copy(dir, NODE, PORT, 7, SIZE, 0600, &file, &tx));
    publish(&tx, 1);
    topic_file_close(&file);
    CHECK_OK(topic_file_copy(dir, NODE, PORT, 7, 2 * SIZE, 0600, &file, &tx)); /* the same */
    CHECK_EQ(tx.number, 1);
    CHECK_EQ(tx.mask, SIZE - 1);
    topic_file_close(&file);
    CHECK_OK(topic_file_copy(dir, NODE, PORT, 0, 0, 0600, &file, &tx));
    CHECK_EQ(topic_words(&file)->id, 7);
    CHECK(topic_file_is_copy(dir, NODE, PORT));
    topic_file_close(&file);
    CHECK_OK(topic_file_copy(dir, NODE, PORT, 8, SIZE, 0600, &file, &tx));
    CHECK_EQ(tx.number, 0);
    topic_file_close(&file);
    CHECK_OK(topic_file_make(dir, NODE, PORT, SIZE, 0600, &file, &tx, &found));
    CHECK(!found);
    CHECK(topic_words(&file)->id != 8);
    CHECK(!topic_file_is_copy(dir, NODE, PORT));
    topic_file_close(&file);
    CHECK_ERR(topic_file_copy(dir, NODE, PORT, 0, 0, 0600, &file, &tx), -EBADMSG);
    close(dir);
}

static void scribble(int dir, const char *name, const void *bytes, size_t size, off_t at) {
    int fd = openat(dir, name, O_WRONLY | O_CLOEXEC);

    CHECK_OK(fd);
    CHECK_EQ(pwrite(fd, bytes, size, at), (ssize_t) size);
    close(fd);
}

TEST(nonsense_is_no_ring) {
    static const struct {
        size_t at;
        uint64_t value;
        int rc;
    } cases[] = {
        {offsetof(struct topic, magic), 1, -EBADMSG},
        {offsetof(struct topic, version), 99, -EPROTO},
        {offsetof(struct topic, node), 7, -EBADMSG},
        {offsetof(struct topic, capacity), 65537, -EBADMSG},
        {offsetof(struct topic, capacity), 131072, -EBADMSG},
        {offsetof(struct topic, capacity), UINT64_MAX, -EBADMSG},
    };
    int dir = open_dir();

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct topic_file file, other;
        struct topic_tx tx;
        uint64_t capacity;
        bool found;

        CHECK_OK(topic_file_make(dir, NODE, PORT, SIZE, 0600, &file, &tx, &found));
        CHECK(!found); /* what was nonsense was replaced */
        topic_file_close(&file);
        scribble(dir, "1.0.0.1-00001234", &cases[i].value, sizeof(cases[i].value),
                 (off_t) cases[i].at);
        CHECK_ERR(topic_file_open(dir, NODE, PORT, &other, &capacity), cases[i].rc);
    }
    close(dir);
}

TEST(a_durable_reader_is_one_process) {
    struct topic_file first, second;
    struct reader_name name;
    bool found;
    int dir = open_dir();

    CHECK_OK(reader_name(NODE, PORT, READER, 1, 1, "store", &name));
    CHECK_STR(name.text, "1.0.0.1-00001234@=store");
    CHECK_OK(reader_file_make(dir, &name, READER, 0600, nobody, NULL, &first, &found));
    CHECK(!found);
    store_release(&reader_words(&first)->position, 64);
    topic_file_close(&first);
    CHECK_ERR(reader_file_make(dir, &name, READER + 1, 0600, everybody, NULL, &second, &found),
              -EBUSY);
    CHECK_OK(reader_file_make(dir, &name, READER, 0600, everybody, NULL, &second, &found));
    CHECK(found); /* one's own */
    topic_file_close(&second);
    CHECK_OK(reader_file_make(dir, &name, READER + 1, 0600, nobody, NULL, &second, &found));
    CHECK(found);
    CHECK_EQ(reader_words(&second)->position, 64);
    CHECK_EQ(reader_words(&second)->node, READER + 1);
    topic_file_close(&second);
    CHECK_OK(reader_file_open(dir, &name, &first));
    topic_file_close(&first);
    reader_file_remove(dir, &name);
    CHECK_ERR(reader_file_open(dir, &name, &first), -ENOENT);
    CHECK_ERR(reader_name(NODE, PORT, READER, 1, 1, "", &name), -EINVAL);
    CHECK_ERR(reader_name(NODE, PORT, READER, 1, 1, "a/b", &name), -EINVAL);
    CHECK_ERR(reader_name(NODE, PORT, READER, 1, 1,
                          "0123456789012345678901234567890123456789012345678", &name), -EINVAL);
    close(dir);
}

TEST(rings_of_nodes_that_are_gone_are_swept) {
    struct topic_file file, reader;
    struct reader_name name;
    struct topic_tx tx;
    uint64_t capacity;
    bool found;
    int dir = open_dir();

    for (uint32_t node = NODE; node < NODE + 2; node++) {
        CHECK_OK(topic_file_make(dir, node, PORT, SIZE, 0600, &file, &tx, &found));
        topic_file_close(&file);
        CHECK_OK(reader_name(node, PORT, READER, 1, 1, NULL, &name));
        CHECK_OK(reader_file_make(dir, &name, READER, 0600, nobody, NULL, &reader, &found));
        topic_file_close(&reader);
    }
    CHECK_OK(mkdirat(dir, "../1.0.0.2", 0700));
    topic_dir_sweep(dir, getenv("TRAM_DIR"));
    CHECK_ERR(topic_file_open(dir, NODE, PORT, &file, &capacity), -ENOENT);
    CHECK_ERR(faccessat(dir, "1.0.0.1-00001234@1.0.0.2-00000001-1", F_OK, 0) < 0 ? -errno : 0,
              -ENOENT);
    CHECK_OK(topic_file_open(dir, NODE + 1, PORT, &file, &capacity));
    CHECK_OK(reader_file_open(dir, &name, &reader));
    topic_file_close(&file);
    topic_file_close(&reader);
    /* Without durable readers it goes; with one it stays. */
    CHECK_OK(reader_name(NODE + 1, PORT, READER, 1, 1, "d", &name));
    CHECK_OK(reader_file_make(dir, &name, READER, 0600, nobody, NULL, &reader, &found));
    topic_file_close(&reader);
    topic_file_remove(dir, NODE + 1, PORT, false);
    CHECK_OK(topic_file_open(dir, NODE + 1, PORT, &file, &capacity));
    topic_file_close(&file);
    topic_file_remove(dir, NODE + 1, PORT, true);
    CHECK_ERR(topic_file_open(dir, NODE + 1, PORT, &file, &capacity), -ENOENT);
    CHECK_ERR(reader_file_open(dir, &name, &reader), -ENOENT);
    close(dir);
}
