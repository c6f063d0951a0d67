/* SPDX-License-Identifier: MIT
 *
 * The table of ranges is read by a signal handler, possibly while another thread changes it: it is
 * a list of blocks that are never moved or freed, each entry published by storing its base last
 * (R1) and withdrawn by clearing its base first. The handler reads base, then length (pairs with
 * R1). Whoever withdraws a range is who used it, so no access to it can be under way.
 */
#include "sys/guard.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define BLOCK 256u
#define BLOCKS 1024u

struct range {
    uintptr_t base; /* 0: free */
    uint64_t length;
    uint64_t first; /* of it: up to the end of the file, as it was */
    bool writable;
    bool torn;
};

static struct range *blocks[BLOCKS];
static pthread_mutex_t table_lock = PTHREAD_MUTEX_INITIALIZER;
static uint32_t lowest_free; /* no entry below it is free */
static bool installed;
static struct sigaction previous;
static uintptr_t page_mask;

static struct range *range_at(uint32_t index) {
    struct range *block = __atomic_load_n(&blocks[index / BLOCK], __ATOMIC_ACQUIRE);

    return block ? &block[index % BLOCK] : NULL;
}

/* The entry of an address, or NULL. Called by the handler: no lock, no allocation. */
static struct range *range_find(uintptr_t address) {
    for (uint32_t i = 0; i < BLOCK * BLOCKS; i++) {
        struct range *range = range_at(i);
        uintptr_t base;

        if (!range)
            return NULL;
        base = __atomic_load_n(&range->base, __ATOMIC_ACQUIRE); /* pairs with R1 */
        if (base && address - base < __atomic_load_n(&range->length, __ATOMIC_RELAXED))
            return range;
    }
    return NULL;
}

static void chain(int signal_number, siginfo_t *info, void *context) {
    if (previous.sa_flags & SA_SIGINFO) {
        previous.sa_sigaction(signal_number, info, context);
        return;
    }
    if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN) {
        previous.sa_handler(signal_number);
        return;
    }
    /* Default: put it back and let the access fault again, so that the core dump shows the
     * place. */
    (void) sigaction(SIGBUS, &previous, NULL);
}

static bool put(uintptr_t from, uint64_t length, bool writable) {
    return mmap((void *) from, length, PROT_READ | (writable ? PROT_WRITE : 0),
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0) != MAP_FAILED;
}

/* Zeros from this page on to the end of its view of the file, which ends before. A mapping cut in
 * two needs another one; the whole range does not. */
static bool put_zeros(const struct range *range, uintptr_t page) {
    uintptr_t base = __atomic_load_n(&range->base, __ATOMIC_RELAXED);
    uintptr_t end = base + (page - base < range->first ? range->first : range->length);

    return put(page, end - page, range->writable) || put(base, range->length, range->writable);
}

static void on_sigbus(int signal_number, siginfo_t *info, void *context) {
    uintptr_t address = (uintptr_t) info->si_addr;
    struct range *range = info->si_code == BUS_ADRERR ? range_find(address) : NULL;
    int saved = errno;

    if (!range) {
        chain(signal_number, info, context);
        return;
    }
    __atomic_store_n(&range->torn, true, __ATOMIC_RELEASE);
    if (!put_zeros(range, address & page_mask))
        chain(signal_number, info, context);
    errno = saved;
}

static int install(void) {
    struct sigaction action = {.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO | SA_NODEFER};

    if (installed)
        return 0;
    page_mask = ~((uintptr_t) sysconf(_SC_PAGESIZE) - 1);
    (void) sigemptyset(&action.sa_mask);
    if (sigaction(SIGBUS, &action, &previous) < 0)
        return -errno;
    installed = true;
    return 0;
}

/* A free entry, under the lock. */
static int range_new(uint32_t *ret_index) {
    for (uint32_t i = lowest_free; i < BLOCK * BLOCKS; i++) {
        if (!blocks[i / BLOCK]) {
            struct range *block = calloc(BLOCK, sizeof(*block));

            if (!block)
                return -ENOMEM;
            __atomic_store_n(&blocks[i / BLOCK], block, __ATOMIC_RELEASE);
        }
        if (blocks[i / BLOCK][i % BLOCK].base == 0) {
            lowest_free = i + 1;
            *ret_index = i;
            return 0;
        }
    }
    return -ENOMEM;
}

int sys_guard_add(void *base, uint64_t length, uint64_t twice, bool writable, uint32_t *ret_guard,
                  const bool **ret_torn) {
    uint32_t index;
    int rc;

    (void) pthread_mutex_lock(&table_lock);
    rc = install();
    if (rc == 0)
        rc = range_new(&index);
    if (rc == 0) {
        struct range *range = range_at(index);

        range->length = length;
        range->first = length - twice;
        range->writable = writable;
        range->torn = false;
        __atomic_store_n(&range->base, (uintptr_t) base, __ATOMIC_RELEASE); /* R1 */
        *ret_guard = index + 1;
        *ret_torn = &range->torn;
    }
    (void) pthread_mutex_unlock(&table_lock);
    return rc;
}

void sys_guard_remove(uint32_t guard) {
    if (guard == 0)
        return;
    (void) pthread_mutex_lock(&table_lock);
    __atomic_store_n(&range_at(guard - 1)->base, 0, __ATOMIC_RELEASE);
    if (guard - 1 < lowest_free)
        lowest_free = guard - 1;
    (void) pthread_mutex_unlock(&table_lock);
}

void sys_guard_hold(void) {
    (void) pthread_mutex_lock(&table_lock);
}

void sys_guard_let(void) {
    (void) pthread_mutex_unlock(&table_lock);
}
