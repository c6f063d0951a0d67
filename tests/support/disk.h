/* SPDX-License-Identifier: MIT
 *
 * A bus that lies on a disk, for the tests of restarts and power cuts.
 */
#pragma once

#define DISK_PATH 160

/* A new directory beside the test's program, where `make clean` finds what a failed test leaves.
 * The test is skipped where that is no disk. Whoever makes it removes it. */
void disk_make(char path[DISK_PATH], const char *name);
