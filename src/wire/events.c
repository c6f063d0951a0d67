/* SPDX-License-Identifier: MIT */
#include "wire/events.h"

#include <errno.h>
#include <string.h>

#define DELIVERY_LAST 2u /* the largest enum tram_delivery */

bool durable_name_ok(const char *name) {
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    size_t length = strspn(name, letters);

    return length > 0 && length < DURABLE_SIZE && name[length] == '\0';
}

int subscribe_read(const void *payload, size_t size, struct subscribe *ret_subscribe) {
    struct subscribe wish;

    if (size != sizeof(wish))
        return -EBADMSG;
    memcpy(&wish, payload, sizeof(wish)); /* its sender may change it while we read */
    if (wish.delivery > DELIVERY_LAST || wish.zero[0] || wish.zero[1] || wish.zero[2] ||
        !memchr(wish.durable, 0, sizeof(wish.durable)) ||
        (wish.durable[0] && !durable_name_ok(wish.durable)))
        return -EBADMSG;
    *ret_subscribe = wish;
    return 0;
}

int subscribed_read(const void *payload, size_t size, struct subscribed *ret_subscribed) {
    struct subscribed said;

    if (size != sizeof(said))
        return -EBADMSG;
    memcpy(&said, payload, sizeof(said)); /* likewise */
    if (said.status > 0 || said.status < -4095 || said.ring > 1 || said.start % 8 != 0)
        return -EBADMSG;
    *ret_subscribed = said;
    return 0;
}

bool topic_fits(const char *pattern, const char *topic) {
    size_t length = strlen(pattern);

    if (length == 0)
        return true;
    if (pattern[length - 1] != '*')
        return strcmp(pattern, topic) == 0;
    return strncmp(pattern, topic, length - 1) == 0;
}
