/* SPDX-License-Identifier: MIT
 *
 * Dialling: which of another host's addresses is next. Those of our own segments come first, so a
 * host that is on several is reached without a router.
 */
#include <errno.h>
#include <string.h>

#include "daemon/hosts.h"
#include "sys/file.h"
#include "wire/allow.h"

#define NEAR_TIME INT64_C(1000000000) /* until interfaces are looked at again */

int64_t hosts_jitter(int64_t ns) {
    uint32_t dice;

    if (sys_random(&dice, sizeof(dice)) < 0)
        return ns;
    return ns / 2 + (int64_t) ((uint64_t) ns / 2 * dice / UINT32_MAX);
}

/* Is it in a segment that this host is in? */
static bool is_near(struct hosts *hosts, const char *word, uint16_t port) {
    const char *at_sign = strchr(word, '@');
    char host[ALLOW_HOST_SIZE];
    struct sys_address address;

    if (allow_address(at_sign ? at_sign + 1 : word, port, host, &port) < 0 ||
        sys_address_numeric(host, port, &address) < 0)
        return false;
    for (int i = 0; i < hosts->near_count; i++)
        if (sys_interface_has(&hosts->near[i], &address))
            return true;
    return false;
}

/* The address of that number of the list: those of our own segments first. */
static unsigned pick(struct hosts *hosts, const char *list, uint16_t port, unsigned number,
                     char word[HOSTS_ADDRESS_MAX + 1]) {
    unsigned count = 0;

    if (hosts->near_count == 0 || hosts_now(hosts) >= hosts->near_until) {
        int got = sys_interfaces(hosts->near, HOSTS_INTERFACES);

        hosts->near_count = got > 0 ? got : 0;
        hosts->near_until = hosts_now(hosts) + NEAR_TIME;
    }
    for (int round = 0; round < 2; round++) {
        const char *rest = list;

        while (allow_next(&rest, word, HOSTS_ADDRESS_MAX + 1))
            if (is_near(hosts, word, port) == (round == 0) && count++ == number)
                return count;
    }
    return count;
}

struct transport *hosts_dial(struct hosts *hosts, const char *list, uint16_t port, unsigned *at,
                             const char *expected, struct wrong *wrong) {
    char word[HOSTS_ADDRESS_MAX + 1], host[ALLOW_HOST_SIZE];
    unsigned count = pick(hosts, list, port, UINT32_MAX, word);
    struct transport *transport;
    struct sys_address address;
    uint16_t its = port;
    char *at_sign;
    int rc;

    if (count == 0) {
        (void) wrong_set(wrong, -EDESTADDRREQ, "it has no address");
        return NULL;
    }
    (void) pick(hosts, list, port, (*at)++ % count, word);
    at_sign = strchr(word, '@');
    if (at_sign) { /* of a host server: who has to be there */
        *at_sign = '\0';
        expected = word;
    }
    rc = allow_address(at_sign ? at_sign + 1 : word, port, host, &its);
    if (rc == 0)
        rc = sys_address_numeric(host, its, &address);
    if (rc < 0) {
        (void) wrong_set(wrong, rc, "'%.63s' is no address", at_sign ? at_sign + 1 : word);
        return NULL;
    }
    rc = transport_allowed(&address, hosts->security, hosts_settings(hosts)->insecure, wrong);
    if (rc == 0)
        rc = transport_connect(&address, expected, hosts->security, &transport, wrong);
    return rc == 0 ? transport : NULL;
}
