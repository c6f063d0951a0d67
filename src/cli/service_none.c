/* SPDX-License-Identifier: MIT
 *
 * The verbs around services, where the second layer is not built.
 */
#include <errno.h>
#include <string.h>

#include "cli/bench.h"
#include "cli/cli.h"
#include "cli/doctor.h"
#include "cli/top_hosts.h"

static int absent(void) {
    cli_error("this tram was built without services");
    return CLI_FAILURE;
}

/* What it would do can be read. */
static int absent_verb(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "--help") == 0) {
        static const struct option options[] = {CLI_COMMON};

        (void) cli_option(argc, argv, "h", options);
    }
    return absent();
}

#define ABSENT(verb)                                                                               \
    int verb_##verb(int argc, char **argv) {                                                       \
        return absent_verb(argc, argv);                                                            \
    }

ABSENT(describe)
ABSENT(call)
ABSENT(wait)
ABSENT(ping)
ABSENT(pub)
ABSENT(sub)
ABSENT(hosts)
ABSENT(links)
ABSENT(takeover)
ABSENT(forget)
ABSENT(trace)

/* Without tramd there is no cluster. */
void doctor_hosts(struct doctor *doctor) {
    (void) doctor;
}

int top_look_hosts(struct top *top) {
    (void) top;
    (void) absent();
    return -EIO;
}

void top_hosts_end(void) {}

#define ABSENT_LIST(kind)                                                                          \
    int ls_##kind(const char *pattern, bool json, bool following, int64_t timeout_ns) {            \
        (void) pattern;                                                                            \
        (void) json;                                                                               \
        (void) following;                                                                          \
        (void) timeout_ns;                                                                         \
        return absent();                                                                           \
    }

ABSENT_LIST(services)
ABSENT_LIST(clients)
ABSENT_LIST(events)

int bench_rpc(const struct bench_opts *o) {
    (void) o;
    return absent();
}

int bench_events(const struct bench_opts *o) {
    (void) o;
    return absent();
}
