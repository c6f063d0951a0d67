/* SPDX-License-Identifier: MIT
 *
 * A node that comes upon the files of a channel, spoilt before it maps them and while it uses them,
 * as receiver and as sender. Its answers are those that tram.h has, name the channel, and end; what
 * another node sends it meanwhile arrives, once and in order.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "files.h"
#include "support/kit.h"

#define C TRAM_ID(1, 1, 1, 3)

static tram_node *sound, *victim;
static struct files files;

static struct tram_options options(void) {
    struct tram_options made = kit_options(65536, TRAM_NO_SPIN);

    made.dir = files_root();
    made.ring_max = 1 << 18;
    return made;
}

static tram_node *open_node(tram_id id) {
    struct tram_options made = options();
    tram_node *node = NULL;

    REQUIRE(tram_open(NULL, id, &made, &node) == 0);
    return node;
}

static void check_error(const tram_node *node, int rc, tram_id from, tram_id to) {
    const struct tram_error *error = tram_last_error(node);

    REQUIRE(error->code == rc && error->from == from && error->to == to && error->text[0]);
}

/* ---- the victim receives --------------------------------------------------------------------- */

static void announce(void) {
    static struct sys_map map;
    struct door *door;

    if (!map.base) /* of B, which never makes it anew */
        REQUIRE(door_open(files_dir(), B, 0600, false, 0, &map, NULL) == 0);
    door = map.base;
    (void) __atomic_fetch_add(&door->attached, 1, __ATOMIC_SEQ_CST);
}

/* Everything that can be had; what C sent comes exactly. */
static void receive_all(uint64_t *next) {
    for (int tries = 0;; tries++) {
        static uint8_t buffer[65536];
        struct tram_msg msg;
        int rc;

        REQUIRE(tries < 200); /* or it never says that there is nothing */
        rc = tries % 2 ? tram_recv(victim, &msg, 0)
                       : tram_recv_copy(victim, buffer, sizeof(buffer), &msg, 0);

        if (rc == -EAGAIN)
            return;
        if (rc == -EBADMSG || rc == -EMSGSIZE) {
            check_error(victim, rc, A, B);
            if (rc == -EMSGSIZE)
                return;
            continue;
        }
        REQUIRE(rc == 0 && (msg.from == A || msg.from == C));
        if (msg.size > 0 && msg.data != buffer) {
            volatile uint8_t byte = ((const uint8_t *) msg.data)[msg.size - 1];

            (void) byte;
        }
        if (msg.from == C)
            REQUIRE(msg.seq == (*next)++ && msg.attempt == 1 && msg.size == 4 &&
                    memcmp(msg.data, "fine", 4) == 0);
    }
}

static void receiver(struct input *input) {
    static uint64_t next = 1;
    uint64_t before = next;

    if (!victim)
        victim = open_node(B);
    if (!sound)
        sound = open_node(C);
    REQUIRE(tram_done(victim) == 0);
    files_make(input, &files, true);
    for (int i = input_byte(input) % 8; i > 0; i--)
        files_attack(input, &files);
    announce();
    REQUIRE(tram_send(sound, B, 0, "fine", 4, 0) == 0);
    receive_all(&next);
    REQUIRE(next == before + 1);
    for (int i = 0; i < 8 && input_left(input); i++)
        files_attack(input, &files);
    if (input_byte(input) & 1)
        announce();
    REQUIRE(tram_send(sound, B, 0, "fine", 4, 0) == 0);
    receive_all(&next);
    REQUIRE(next == before + 2);
    REQUIRE(tram_done(victim) == 0);
}

/* ---- the victim sends ------------------------------------------------------------------------ */

static void send_some(tram_node *node, struct input *input) {
    static uint8_t block[100000];

    for (int i = 0; i < 4; i++) {
        uint8_t how = input_byte(input);
        int rc = tram_send(node, B, 0, block, how < 250 ? how * 40u : 70000, TRAM_NOWAIT);

        REQUIRE(rc == 0 || rc == -EAGAIN || rc == -EMSGSIZE || rc == -ENOTRECOVERABLE ||
                rc == -EPROTO || rc == -ESTALE);
        if (rc < 0)
            check_error(node, rc, A, B);
        files_forget(); /* it grew, or made them anew */
        if (how & 1)
            files_attack(input, &files);
    }
}

static void sender(struct input *input, bool is_up) {
    tram_node *node;
    struct tram_peer peer;
    uint64_t count;

    if (!is_up)
        victim = tram_close(victim);
    else if (!victim)
        victim = open_node(B);
    files_make(input, &files, true);
    for (int i = input_byte(input) % 8; i > 0; i--)
        files_attack(input, &files);
    node = open_node(A);
    send_some(node, input);
    REQUIRE(tram_accepted(node, B, &count) == 0);
    REQUIRE(tram_peer(node, B, &peer) == 0);
    REQUIRE(!tram_close(node));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct input input = {data, data + size};

    (void) files_dir();
    if (size > 0 && data[size - 1] & 1)
        sender(&input, data[size - 1] & 2);
    else
        receiver(&input);
    files_remove();
    return 0;
}
