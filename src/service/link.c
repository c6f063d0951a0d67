/* SPDX-License-Identifier: MIT
 *
 * How a client reaches a server that isn't reached over shared memory.
 */
#include <errno.h>

#include "service/client.h"

int client_reach_socket(struct target *target) {
    return worker_fail(target->client->endpoint.worker, -EPROTONOSUPPORT,
                       "sockets are not there yet");
}
