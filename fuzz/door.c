/* SPDX-License-Identifier: MIT
 *
 * A door whose words anybody changes between any two steps of its owner and of a peer: what each
 * step says has to follow from the words as they are, and no more than its own words change.
 */
#include <string.h>

#include "fuzz.h"
#include "ring/door.h"

static struct door door;

static bool any_bit(void) {
    uint64_t all = 0;

    for (size_t i = 0; i < LAYOUT_BITS / 64; i++)
        all |= door.bits[i];
    return all != 0;
}

static void knock(uint32_t id) {
    struct door before = door;
    uint32_t bit = door_bit(id);
    bool ring = door_knock(&door, id);

    REQUIRE(bit < LAYOUT_BITS);
    REQUIRE(door.bits[bit / 64] == (before.bits[bit / 64] | UINT64_C(1) << bit % 64));
    REQUIRE(ring == (before.asleep != 0) && door_bits(&door));
    before.bits[bit / 64] = door.bits[bit / 64];
    REQUIRE(memcmp(&before, &door, sizeof(door)) == 0);
}

static void announce(void) {
    struct door before = door;
    bool ring = door_announce(&door);

    REQUIRE(door.attached == before.attached + 1 && ring == (before.asleep != 0));
    before.attached = door.attached;
    REQUIRE(memcmp(&before, &door, sizeof(door)) == 0);
}

static void take(uint32_t index) {
    struct door before = door;
    uint64_t taken = door_take(&door, index);

    REQUIRE(taken == before.bits[index] && door.bits[index] == 0);
    before.bits[index] = 0;
    REQUIRE(memcmp(&before, &door, sizeof(door)) == 0);
}

static void sleep_on(uint32_t seen) {
    struct door before = door;
    bool sleeps = door_sleep(&door, seen);

    REQUIRE(sleeps == (!any_bit() && door.attached == seen) && door.asleep == 1);
    before.asleep = 1;
    REQUIRE(memcmp(&before, &door, sizeof(door)) == 0);
    REQUIRE(door_bits(&door) == any_bit());
}

/* Any word of it. */
static void attack(struct input *input) {
    size_t at = input_byte(input) % (sizeof(door) / 8) * 8;
    uint64_t word;

    memcpy(&word, (uint8_t *) &door + at, sizeof(word));
    word = input_word(input, word);
    memcpy((uint8_t *) &door + at, &word, sizeof(word));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct input input = {data, data + size};

    memset(&door, 0, sizeof(door));
    while (input_left(&input)) {
        uint8_t step = input_byte(&input);

        switch (step % 8) {
        case 0:
            knock((uint32_t) input_number(&input, 4));
            break;
        case 1:
            announce();
            break;
        case 2:
            take(step / 8 % (LAYOUT_BITS / 64));
            break;
        case 3:
            sleep_on(step & 8 ? door.attached : input_byte(&input));
            break;
        case 4:
            door_wake(&door);
            REQUIRE(door.asleep == 0);
            break;
        default:
            attack(&input);
        }
    }
    return 0;
}
