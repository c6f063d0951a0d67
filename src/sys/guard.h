/* SPDX-License-Identifier: MIT
 *
 * What happens when a peer cuts a mapped file short: a load or store behind its end is a SIGBUS.
 * The guard is one handler for the process, chained to the one that was there, that knows the
 * library's own ranges: it puts private zero pages where the file ended and behind (in one mapping:
 * with one for each page a large message would use up those of the process), notes that the range
 * is torn, and lets the access go on. Whoever reads zeros there fails its checks; whoever wrote
 * looks at the note before it says that anything was accepted. A fault anywhere else goes to the
 * handler that was there.
 *
 * The handler is installed with the first range and stays.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Guard a range, whose last `twice` bytes are a second view of the file's end. *ret_guard is for
 * the call below. *ret_torn points to a flag, set when the file was found cut short, that may be
 * read until the range is removed. -ENOMEM. */
int sys_guard_add(void *base, uint64_t length, uint64_t twice, bool writable, uint32_t *ret_guard,
                  const bool **ret_torn);

/* Before the range is unmapped: afterwards its addresses may be another's. 0 is ignored. */
void sys_guard_remove(uint32_t guard);

/* Around a fork(): the child has only the thread that forks, and the table as it is then. */
void sys_guard_hold(void);
void sys_guard_let(void);
