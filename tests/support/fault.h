/* SPDX-License-Identifier: MIT
 *
 * Faults: the n-th call that the library makes of the C library fails. Programs whose "test:" line
 * has the word "wrap" are linked such that each function named in fault.names comes to fault.c
 * first; the library itself is the one that users get.
 *
 *     fault_arm(n, 0, false);
 *     rc = tram_send(…);
 *     if (fault_disarm() == FAULT_HIT) … fault_name() said fault_code()
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define FAULT_ROTATE (-1) /* some variant, another one for another n */

enum fault_result {
    FAULT_NOT_REACHED, /* fewer than n calls were made */
    FAULT_NO_VARIANT,  /* the n-th call has not so many ways to fail */
    FAULT_HIT,
};

/* From here on the n-th call (from 1) of this thread fails in its way `variant`. stay: and so does
 * each later call of the same function. */
void fault_arm(unsigned n, int variant, bool stay);

/* Nothing fails any more. */
enum fault_result fault_disarm(void);

/* Of the last fault: which function, how (an errno; FAULT_SHORT), and whether a caller must not
 * notice it: an interruption, or less than was asked for. */
const char *fault_name(void);
int fault_code(void);
bool fault_transparent(void);

#define FAULT_SHORT (-1)

/* A moment between two system calls. Before this thread's n-th call (from 1; 0: before each) of
 * that function (NULL: of any), on a file of that name if one is given, `act` is done: what another
 * process does just then; it may name a next moment. It returns 0, and the call goes through; or an
 * errno, and it fails so. What it calls itself is left alone. Also moments: clock_gettime(),
 * nanosleep(). */
void fault_before(const char *function, const char *name, unsigned n, int (*act)(void));

/* No moment any more. How often one came. */
unsigned fault_done(void);

/* From here on this thread's clocks are so much further ahead. */
void fault_ahead(int64_t ns);

/* From here on file systems in memory are said to be disks: then the library syncs, and these calls
 * can fail. */
void fault_disk(void);

/* How many allocations of this program live: made by calloc() and its like, and not freed. */
long fault_allocations(void);
