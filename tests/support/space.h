/* SPDX-License-Identifier: MIT
 *
 * Namespaces of a test's own, as containers have them: entered as root, or by way of a user
 * namespace. The caller must have one thread.
 */
#pragma once

#include <stdbool.h>

#define SPACE_PIDS 1u /* of the children to come: the first one is process 1 */
#define SPACE_USER 2u /* with a user namespace, also where root would not need one */
#define SPACE_PROC 4u /* the children mount a /proc of their own: space_proc() */
#define SPACE_TIME 8u /* clocks of the children to come */

/* Private mounts and what the flags say. NULL, or why that is refused. */
const char *space_enter(unsigned flags);

/* In a child: /proc of its own pid namespace. 0 or a negative errno. */
int space_proc(void);

/* Is all this allowed? Tried in a child. */
bool space_possible(unsigned flags);
