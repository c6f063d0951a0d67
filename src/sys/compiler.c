/* SPDX-License-Identifier: MIT */
#include "sys/compiler.h"

#include <stdint.h>

#if THREAD_SANITIZER
extern uint64_t fence_word;
uint64_t fence_word; /* see ring/atomic.h */
#endif
