/* SPDX-License-Identifier: MIT
 *
 * In each test of the second layer: libuv opens a pipe for the whole process with its first loop,
 * and keeps it. Here it does so before the harness counts descriptors.
 */
#include <stdlib.h>
#include <uv.h>

__attribute__((constructor)) static void uv_start(void) {
    uv_loop_t loop;

    if (uv_loop_init(&loop) != 0 || uv_loop_close(&loop) != 0)
        abort();
}
