/* SPDX-License-Identifier: MIT */
#include "sys/bias.h"

#include <linux/membarrier.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

_Thread_local uint64_t bias_thread;

static pthread_once_t barrier_once = PTHREAD_ONCE_INIT;
static bool barrier_there;

static bool membarrier(int command) {
    return syscall(SYS_membarrier, command, 0, 0) == 0;
}

/* The thread sanitizer cannot see what the kernel orders. */
static void barrier_register(void) {
    barrier_there = !THREAD_SANITIZER && membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED);
}

/* A fence on every thread of the process, which may be the child of the one that registered. False:
 * refused, by a filter that came after us. */
static bool barrier(void) {
    return membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED) ||
           (membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) &&
            membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED));
}

void bias_init(struct bias *bias) {
    (void) pthread_once(&barrier_once, barrier_register);
    *bias = (struct bias){.turn = BIAS_SHARED, .given = barrier_there ? 0 : BIAS_SLOTS};
}

void bias_retire(struct bias *bias) {
    bias->turn = BIAS_SHARED;
    bias->inside[BIAS_SHARED] = 1;
}

/* Take the lock from its owner; the shared slot is ours, so nobody else tries. False: he is
 * inside. */
static bool take_from_owner(struct bias *bias, uintptr_t turn) {
    __atomic_store_n(&bias->turn, BIAS_SHARED, __ATOMIC_RELAXED);
    if (barrier() && !__atomic_load_n(&bias->inside[turn & 7u], __ATOMIC_ACQUIRE)) /* B2 */
        return true;
    __atomic_store_n(&bias->turn, turn, __ATOMIC_RELAXED);
    return false;
}

bool bias_try_slow(struct bias *bias) {
    uint8_t *shared = &bias->inside[BIAS_SHARED];
    uintptr_t turn;
    uint8_t slot;

    if (__atomic_exchange_n(shared, 1, __ATOMIC_ACQUIRE))
        return false;
    turn = __atomic_load_n(&bias->turn, __ATOMIC_RELAXED);
    if (turn != BIAS_SHARED && !take_from_owner(bias, turn)) {
        __atomic_store_n(shared, 0, __ATOMIC_RELEASE);
        return false;
    }
    bias->slot = BIAS_SHARED;
    if (bias->given == BIAS_SLOTS)
        return true;
    slot = bias->given++;
    bias->slot = slot;
    __atomic_store_n(&bias->inside[slot], 1, __ATOMIC_RELAXED);
    __atomic_store_n(&bias->turn, (uintptr_t) &bias_thread | slot, __ATOMIC_RELEASE);
    __atomic_store_n(shared, 0, __ATOMIC_RELEASE);
    return true;
}
