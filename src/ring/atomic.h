/* SPDX-License-Identifier: MIT
 *
 * Access to words that another process reads or writes. Plain words in files, never language
 * atomics: their layout is the file's, not the compiler's. Each use names its partner by a label.
 */
#pragma once

#include <stdint.h>

#include "sys/compiler.h"

#define load_relaxed(word)         __atomic_load_n((word), __ATOMIC_RELAXED)
#define load_acquire(word)         __atomic_load_n((word), __ATOMIC_ACQUIRE)
#define store_relaxed(word, value) __atomic_store_n((word), (value), __ATOMIC_RELAXED)
#define store_release(word, value) __atomic_store_n((word), (value), __ATOMIC_RELEASE)

/* Orders the stores before it with the loads after it: one half of a Dekker pair. */
static inline void fence(void) {
#if THREAD_SANITIZER
    /* The thread sanitizer knows no fences; a read-modify-write of one word orders all of them. */
    extern uint64_t fence_word;
    (void) __atomic_fetch_add(&fence_word, 1, __ATOMIC_SEQ_CST);
#else
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
#endif
}

/* Halves of a sequence lock: data read before, loads after it; stores before it, data written
 * after. */
static inline void fence_acquire(void) {
#if THREAD_SANITIZER
    fence();
#else
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
#endif
}

static inline void fence_release(void) {
#if THREAD_SANITIZER
    fence();
#else
    __atomic_thread_fence(__ATOMIC_RELEASE);
#endif
}

/* Orders what this process has stored as its successor sees it, should it be killed: the kernel
 * orders the death of one process with the life of the next, so only the compiler has to be held
 * back. */
static inline void journal_order(void) {
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
}

/* Have a line fetched, to be read or written soon. A hint: it orders nothing, and never faults. Not
 * the compilers' built-in alone: a function that does nothing else has no effect in their eyes, and
 * its calls are gone; and for writing it takes a processor asked for by name. (Old processors of 64
 * bits take prefetchw for no operation.) */
static inline void prefetch_read(const void *at) {
#if defined(__x86_64__)
    __asm__ volatile("prefetcht0 %0" : : "m"(*(const char *) at));
#else
    __builtin_prefetch(at, 0);
    __asm__ volatile("" : : "r"(at));
#endif
}

static inline void prefetch_write(const void *at) {
#if defined(__x86_64__)
    __asm__ volatile("prefetchw %0" : : "m"(*(const char *) at));
#else
    __builtin_prefetch(at, 1);
    __asm__ volatile("" : : "r"(at));
#endif
}
