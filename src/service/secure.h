/* SPDX-License-Identifier: MIT
 *
 * The keys of a worker, for tls:// addresses: read when the first is used, from the file that
 * struct tram_worker_options names, $TRAM_KEYS, ~/.config/tram/host.keys or /etc/tram/host.keys.
 *
 * While there are connections by them, the files are looked at every two seconds: new keys count
 * for connections that begin, and a new list of the revoked (the daemon writes it beside the
 * bundle) for all. A certificate that ends, ends its connections.
 */
#pragma once

#include "service/link_socket_inner.h"

struct secure;

/* -ENOKEY: there are none, or they are no good; tram_worker_error() has the text. */
int secure_get(tram_worker *worker, struct security **ret_security);

/* A connection by them came; it goes. */
void secure_add(struct socket_link *link);
void secure_remove(struct socket_link *link);

/* The worker ends. */
void secure_free(struct secure *secure);
