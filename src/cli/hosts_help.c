/* SPDX-License-Identifier: MIT
 *
 * What is said about the verbs around hosts.
 */
#include "cli/cli.h"

const char verb_hosts_help[] =
    "usage: tram hosts [OPTIONS]\n"
    "\n"
    "The hosts of the cluster, as the daemon of this bus knows them: number, whether there is\n"
    "a link and whether the directory hears of it, how many nodes are known to be placed\n"
    "there, how many messages wait here for these, and the services that it announced.\n"
    "\n"
    "  --json     one JSON object\n"
    "  --follow   again, whenever something changed\n"
    "\n"
    "Examples:\n"
    "  tram hosts\n"
    "  tram hosts --json | jq -r '.hosts[] | select(.up | not) | .name'\n";

const char verb_links_help[] =
    "usage: tram links [OPTIONS]\n"
    "\n"
    "The links of this host to all others: round trip, messages a second, how many wait here,\n"
    "bytes that were sent once more, how often it was connected, and the other end's address,\n"
    "or what went wrong last.\n"
    "\n"
    "  --json     one JSON object, with all that is counted\n"
    "  --follow   again each second\n"
    "\n"
    "Examples:\n"
    "  tram links --follow\n"
    "  tram links --json | jq '.links[] | {host, round_trip_ns, clock_offset_ns}'\n";

const char verb_takeover_help[] =
    "usage: tram takeover [OPTIONS] ID\n"
    "\n"
    "Place node ID on this host though the host that has it does not answer, or does not give\n"
    "it up. What that one may have handed out comes again, marked; when it is back, a process\n"
    "that still has the node open there gets -ESTALE.\n"
    "\n"
    "  --timeout MS   give up after so long (10000)\n"
    "\n"
    "Examples:\n"
    "  tram takeover 1.0.0.7\n";

const char verb_forget_help[] =
    "usage: tram forget [OPTIONS] HOST\n"
    "\n"
    "HOST, which is unreachable, does not come back: what is placed there is placed nowhere,\n"
    "and can be opened anywhere. What only that host had is given up.\n"
    "\n"
    "  --timeout MS   give up after so long (10000)\n"
    "\n"
    "Examples:\n"
    "  tram forget beta\n";
