/* SPDX-License-Identifier: MIT
 *
 * What a node sent before it moved goes before what it sends now: the directory keeps on which
 * hosts that waits, and for whom (docs/HOSTS.md, "What a sender left goes first").
 */
#include <errno.h>
#include <stdlib.h>

#include "daemon/placing_inner.h"
#include "daemon/stands.h"

#define LOOK INT64_C(50000000)  /* whether what a node left here is gone */
#define SAY INT64_C(1000000000) /* that it is, again: the directory could not note it */

/* ---- who sends for it ------------------------------------------------------------------------ */

static bool is_left(const struct known *known, uint32_t host) {
    for (uint32_t i = 0; i < known->left_count; i++)
        if (known->left[i] == host)
            return true;
    return false;
}

/* The first host on which messages of it wait for that node; 0: none. */
static uint32_t left_first(const struct known *known, tram_id to) {
    for (uint32_t i = 0; i < known->left_count; i++) {
        uint32_t whom = known->left[known->left_count + i];

        if (whom == 0 || whom == to)
            return known->left[i];
    }
    return 0;
}

/* What it sent before it moved goes before what it sends now. Who gave it up in order has the word
 * of the directory for that, not his own. */
enum link_answer placing_sends(struct hosts *hosts, const struct link_name *name, uint32_t host,
                               uint64_t epoch) {
    const struct known *known = placing_find(hosts, name->from);
    uint32_t first;

    if (!known || (!known->told && hosts_now(hosts) < GRACE +
                       (known->since > hosts->placing->began ? known->since
                                                             : hosts->placing->began)))
        return LINK_LATER; /* nobody told us yet */
    first = left_first(known, name->to);
    if (host == (first > 0 ? first : known->host))
        return LINK_TAKEN;
    if (is_left(known, host) || known->host == host)
        return LINK_LATER; /* others go first */
    return known->told && known->host > 0 && known->epoch > epoch ? LINK_STALE : LINK_LATER;
}

void placing_left_set(struct hosts *hosts, struct known *known, const hosts_placed *placed) {
    size_t count = placed->n_left;
    uint32_t *left = count > 0 ? malloc(2 * count * sizeof(*left)) : NULL;

    if (count > 0 && !left)
        return; /* it stays as it was, until the directory says it again */
    for (size_t i = 0; i < count; i++) {
        left[i] = placed->left[i];
        left[count + i] = placed->to[i];
    }
    free(known->left);
    known->left = left;
    known->left_count = (uint32_t) count;
    known->told = true;
    known->said = 0;
    if (!is_left(known, hosts->self.host))
        return;
    hosts->placing->look_at = hosts_now(hosts) + LOOK;
    hosts_wake(hosts, hosts->placing->look_at);
    stands_again(hosts, known->id);
}

/* For whom the directory has it that messages wait on that host. */
static size_t left_of(const struct known *known, uint32_t host, tram_id *ret_to) {
    size_t count = 0;

    for (uint32_t i = 0; i < known->left_count && count < HOSTS_LEFT_EACH; i++)
        if (known->left[i] == host)
            ret_to[count++] = known->left[known->left_count + i];
    return count;
}

/* Does the directory know it so? */
static bool is_said(const struct known *known, uint32_t host, struct member_left left) {
    size_t same = 0, count = 0;

    for (uint32_t i = 0; i < known->left_count; i++) {
        if (known->left[i] != host)
            continue;
        count++;
        for (size_t k = 0; k < left.count; k++)
            same += left.to[k] == known->left[known->left_count + i];
    }
    return count == left.count && same == count;
}

int64_t placing_left_time(struct hosts *hosts, int64_t now) {
    struct placing *placing = hosts->placing;
    bool any = false;

    if (placing->look_at > 0 && now - placing->began < GRACE) /* all that is here is looked at */
        placing->look_at = placing->began + GRACE;
    if (placing->look_at == 0 || placing->look_at > now)
        return placing->look_at > 0 ? placing->look_at : INT64_MAX;
    for (size_t i = 0; i < placing->count; i++) {
        struct known *known = &placing->known[i];
        tram_id to[HOSTS_LEFT_EACH], said[HOSTS_LEFT_EACH];
        struct member_left left = { to, 0 };
        size_t count;
        int rc;

        if (!is_left(known, hosts->self.host) || known->host == hosts->self.host)
            continue;
        any = true;
        count = left_of(known, hosts->self.host, said);
        rc = known->said > 0 && now - known->said < SAY
                 ? -EALREADY
                 : stands_left(hosts, known->id, count > 0 && said[0] == 0 ? NULL : said, count,
                               to);
        left.count = rc < 0 ? 0 : (size_t) rc;
        if (rc < 0 || is_said(known, hosts->self.host, left))
            continue;
        known->said = now;
        hosts->maker->left(hosts->seat, known->id, left);
    }
    placing->look_at = any ? now + LOOK : 0;
    return any ? placing->look_at : INT64_MAX;
}
