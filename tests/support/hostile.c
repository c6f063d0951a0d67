/* SPDX-License-Identifier: MIT */
#include "support/hostile.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "harness.h"

tram_node *hostile_open(tram_id id) {
    struct tram_options options = kit_options(HOSTILE_RING, TRAM_NO_SPIN);

    options.ring_max = 1 << 20;
    return kit_open(NULL, id, &options);
}

char *hostile_path(char buffer[512], tram_id node, const char *name) {
    return kit_path(buffer, 512, test_dir(), node, name);
}

void *hostile_map(tram_id node, const char *name, size_t length) {
    char path[512];
    int fd = CHECK_OK(open(hostile_path(path, node, name), O_RDWR));
    void *base = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    CHECK(base != MAP_FAILED);
    close(fd);
    return base;
}

void hostile_put(tram_id node, const char *name, const void *content, size_t size) {
    char path[512];
    int fd = CHECK_OK(open(hostile_path(path, node, name), O_RDWR | O_CREAT | O_TRUNC, 0600));

    CHECK_EQ(write(fd, content, size), (ssize_t) size);
    close(fd);
}

void hostile_announce(tram_id node) {
    struct door *door = hostile_map(node, "door", LAYOUT_DOOR);

    (void) __atomic_fetch_add(&door->attached, 1, __ATOMIC_SEQ_CST);
    munmap(door, LAYOUT_DOOR);
}

void hostile_ring(tram_id node) {
    char path[512];
    int fd = CHECK_OK(open(hostile_path(path, node, "bell"), O_RDWR | O_NONBLOCK));

    CHECK_EQ(write(fd, "!", 1), 1);
    close(fd);
}

unsigned hostile_values(uint64_t old, uint64_t values[24]) {
    const uint64_t all[] = {
        0, 1, 2, 4, 7, 8, UINT32_MAX, UINT64_C(1) << 32, UINT64_C(1) << 48,
        INT64_MAX, UINT64_C(1) << 63, UINT64_MAX - 7, UINT64_MAX, old + 1, old ^ 1, old - 8,
        old + 8, old + 32, old + HOSTILE_RING, old - HOSTILE_RING, ~old, old << 32 | old >> 32,
    };

    memcpy(values, all, sizeof(all));
    return sizeof(all) / sizeof(all[0]);
}

void hostile_error(const tram_node *node, int rc, const int *codes) {
    const struct tram_error *error = tram_last_error(node);

    while (*codes && *codes != rc)
        codes++;
    if (!*codes)
        FAIL("%d (%s) is none of the codes: %s", rc, strerror(-rc), error->text);
    CHECK_EQ(error->code, rc);
    CHECK_EQ(error->from, HOSTILE_A);
    CHECK_EQ(error->to, HOSTILE_B);
    CHECK(error->text[0] != '\0');
}

struct sound sound_start(void) {
    return (struct sound){.b = hostile_open(HOSTILE_B), .c = hostile_open(HOSTILE_C)};
}

void sound_end(struct sound *sound) {
    (void) tram_close(sound->b);
    (void) tram_close(sound->c);
}

void sound_receive(struct sound *sound, unsigned most) {
    static const int codes[] = {-EBADMSG, 0};

    for (unsigned i = 0; i < most; i++) {
        struct tram_msg msg;
        int rc = tram_recv(sound->b, &msg, 0);

        if (rc == -EAGAIN)
            return;
        if (rc < 0) {
            hostile_error(sound->b, rc, codes);
            sound->closed++;
            continue;
        }
        if (msg.from != HOSTILE_C) {
            CHECK_EQ(msg.from, HOSTILE_A);
            sound->others++;
            continue;
        }
        CHECK_EQ(msg.attempt, 1);
        CHECK_EQ(msg.seq, ++sound->received);
        CHECK_EQ(msg.tag, (uint32_t) sound->received);
        CHECK_EQ(msg.size, msg.seq % 100);
        CHECK_EQ(pattern_check(msg.data, msg.size, msg.seq), -1);
    }
}

void sound_goes_on(struct sound *sound) {
    int64_t end = kit_now() + kit_patience(5);
    uint8_t bytes[100];

    sound->sent++;
    pattern_fill(bytes, sound->sent % 100, sound->sent);
    CHECK_OK(tram_send(sound->c, HOSTILE_B, (uint32_t) sound->sent, bytes, sound->sent % 100, 0));
    do {
        CHECK(kit_now() < end);
        sound_receive(sound, 100);
    } while (sound->received < sound->sent);
}
