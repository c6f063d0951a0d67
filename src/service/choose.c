/* SPDX-License-Identifier: MIT */
#include "service/choose.h"

uint64_t choose_identity(const char *name) {
    uint64_t hash = UINT64_C(0xcbf29ce484222325);

    while (*name)
        hash = (hash ^ (uint8_t) *name++) * UINT64_C(0x100000001b3);
    return hash;
}

/* The finalizer of splitmix64, twice: keys are often small numbers in a row. */
static uint64_t mix(uint64_t value) {
    value = (value ^ value >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    value = (value ^ value >> 27) * UINT64_C(0x94d049bb133111eb);
    return value ^ value >> 31;
}

uint64_t choose_weight(uint64_t key, uint64_t identity) {
    return mix(mix(key + UINT64_C(0x9e3779b97f4a7c15)) ^ identity);
}

/* Is `a` better than `b`? Equals: not. */
static bool better(enum tram_choice choice, const struct candidate *a, const struct candidate *b,
                   uint64_t key) {
    uint64_t weights[2];

    switch (choice) {
    case TRAM_CHOOSE_NEAREST:
        if ((a->distance == 0) != (b->distance == 0))
            return a->distance == 0;
        if (a->current || b->current)
            return a->current;
        if (a->distance != b->distance)
            return a->distance < b->distance;
        return a->order < b->order;
    case TRAM_CHOOSE_FIRST:
        if (a->current || b->current)
            return a->current;
        return a->order < b->order;
    case TRAM_CHOOSE_NEWEST:
        return a->order > b->order;
    case TRAM_CHOOSE_LEAST:
        return a->load < b->load;
    default:
        weights[0] = choose_weight(key, a->identity);
        weights[1] = choose_weight(key, b->identity);
        return weights[0] != weights[1] ? weights[0] > weights[1] : a->identity > b->identity;
    }
}

int choose(enum tram_choice choice, const struct candidate *candidates, int count, uint64_t key,
           uint32_t turn) {
    int best = -1;

    for (int i = 0; i < count; i++) {
        int at = choice == TRAM_CHOOSE_LEAST ? (int) ((turn + (uint32_t) i) % (uint32_t) count) : i;

        if (!candidates[at].usable)
            continue;
        if (best < 0 || better(choice, &candidates[at], &candidates[best], key))
            best = at;
    }
    return best;
}
