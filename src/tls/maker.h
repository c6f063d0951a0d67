/* SPDX-License-Identifier: MIT
 *
 * Who makes TLS of keys: for security_built_in(), and the one symbol that libtram-tls.so shows.
 */
#pragma once

#include "transport/security.h"

__attribute__((visibility("default"))) extern const struct security_maker tram_tls_maker;
