/* SPDX-License-Identifier: MIT
 *
 * What tools ask of a server: the answer is a tram.control.Inspection (wire/control.proto).
 */
#pragma once

#include "tram/service.h"

#define INSPECT_ALL   0u
#define INSPECT_BRIEF 1u /* who it is, and its counts: no sessions, events, descriptors */

/* Ask the server of this client; `fn` as for tram_client_ask(). */
int client_inspect(tram_client *client, uint32_t what, const struct tram_how *how,
                   tram_result_fn *fn, void *arg, tram_call **ret_call);
