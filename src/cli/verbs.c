/* SPDX-License-Identifier: MIT
 *
 * Which verbs there are, and what is said about all of them.
 */
#include "cli/cli.h"

const struct cli_verb cli_verbs[] = {
    { "send", "lines or blocks of a file become messages", verb_send, verb_send_help },
    { "recv", "messages become lines, blocks of a file, or JSON", verb_recv, verb_recv_help },
    { "ls", "nodes and channels: who is up, what waits", verb_ls, verb_ls_help },
    { "top", "rates, what waits and for how long, live", verb_top, verb_top_help },
    { "doctor", "is this machine fit, what is left over, what to do", verb_doctor,
      verb_doctor_help },
    { "dump", "the messages in a channel, without receiving them", verb_dump, verb_dump_help },
    { "rm", "remove a node and what waits for it", verb_rm, verb_rm_help },
    { "purge", "empty a channel, and make it usable again", verb_purge, verb_purge_help },
    { "retry", "messages that were set aside: list, hand out again, drop", verb_retry,
      verb_retry_help },
    { "describe", "a service: who serves it, its methods", verb_describe, verb_describe_help },
    { "call", "a request to a service, in JSON or bytes", verb_call, verb_call_help },
    { "pub", "events of a service or topic, from lines", verb_pub, verb_pub_help },
    { "sub", "events of a service or topic, as lines, or their rate", verb_sub, verb_sub_help },
    { "wait", "until a service is there, or gone", verb_wait, verb_wait_help },
    { "ping", "is a service there, and how fast", verb_ping, verb_ping_help },
    { "keys", "of the hosts of a cluster: make, show, renew, revoke", verb_keys, verb_keys_help },
    { "hosts", "the hosts of the cluster", verb_hosts, verb_hosts_help },
    { "links", "to the other hosts: round trip, rates, what waits", verb_links, verb_links_help },
    { "trace", "where is my message, and what does it wait for", verb_trace, verb_trace_help },
    { "takeover", "place a node here whose host does not answer", verb_takeover,
      verb_takeover_help },
    { "forget", "a host that does not come back", verb_forget, verb_forget_help },
    { "bench", "measure: round trips, throughput, waking", verb_bench, NULL },
    { NULL, NULL, NULL, NULL },
};

static const char common_help[] =
    "\n"
    "For every verb:\n"
    "  --bus NAME   the bus (TRAM_BUS, or 'default')\n"
    "  --dir DIR    where buses lie (TRAM_DIR, or /dev/shm/tram-UID)\n"
    "  --help       this text\n"
    "\n"
    "Exit codes: 0 done; 1 failed, the reason is on standard error; 2 wrong arguments; 3 no\n"
    "such bus, node, channel or message; 4 refused: somebody holds it, or messages wait; 5\n"
    "the time was up; 6 ended by a signal before it was done.\n";

void cli_help(const struct cli_verb *verb) {
    if (verb) {
        (void) fputs(verb->help, stdout); /* cli_flushed() looks whether it went out */
        (void) fputs(common_help, stdout);
        return;
    }
    (void) printf("usage: tram [--bus NAME] [--dir DIR] VERB [OPTIONS]\n"
                  "\n"
                  "A message bus for this host: two IDs and one call.\n"
                  "\n"
                  "Verbs ('tram VERB --help' has the options and examples):\n");
    for (verb = cli_verbs; verb->name; verb++)
        (void) printf("  %-8s  %s\n", verb->name, verb->summary);
    (void) fputs(common_help, stdout);
    (void) printf("\n"
                  "Examples:\n"
                  "  tram recv --id 1.0.0.2 &\n"
                  "  echo hello | tram send --from 1.0.0.1 --to 1.0.0.2\n"
                  "  tram ls\n");
}
