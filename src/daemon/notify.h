/* SPDX-License-Identifier: MIT
 *
 * What systemd wants to know of a service of Type=notify: a datagram to the socket that it names in
 * NOTIFY_SOCKET. Without one nothing happens.
 */
#pragma once

#include <stdint.h>

/* Lines as sd_notify(3) has them. */
void notify(const char *lines);

/* How often it wants to hear WATCHDOG=1, with some to spare; 0: never. */
int64_t notify_watchdog_ns(void);
