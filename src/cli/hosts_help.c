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

const char verb_trace_help[] =
    "usage: tram trace --from A --to B [OPTIONS]\n"
    "\n"
    "Where is my message? In which ring on which host the messages from A to B are, how many\n"
    "have arrived on B's host and how many were consumed there, and what the oldest one that\n"
    "was not consumed waits for. The hosts that have to do with it are asked by the daemon\n"
    "here; one that does not answer is named. Without a cluster, or without a daemon, it is\n"
    "what the files of this bus say.\n"
    "\n"
    "  --from A   the sender\n"
    "  --to B     the receiver\n"
    "  --seq N    of message N, instead of the oldest that waits\n"
    "  --json     one JSON object\n"
    "\n"
    "What it waits for, in JSON waiting_for:\n"
    "\n"
    "  nothing          it was consumed\n"
    "  sender           it was not sent yet (--seq)\n"
    "  receiver-busy    the receiver runs, and has not released it\n"
    "  receiver-asleep  it sleeps, and is rung\n"
    "  receiver-down    it does not run; receiver-never: it never did\n"
    "  link-down        there is no link between the two hosts\n"
    "  host-silent      a host could not be asked; no-daemon: no tramd runs here\n"
    "  place-unknown    nobody knows on which host the receiver is placed; place-old: the\n"
    "                   directory is asked again\n"
    "  mirror-full      the ring on the receiver's host is full; stalled: no memory there\n"
    "  older-stream     what the sender sent from elsewhere before is delivered first\n"
    "  opening, sending, acknowledgement, not-held, later\n"
    "                   it is on its way, and should not stay so\n"
    "  denied, fenced, removed, broken, damaged\n"
    "                   it will not arrive unless somebody does something\n"
    "\n"
    "Examples:\n"
    "  tram trace --from 1.0.0.1 --to 1.0.0.2\n"
    "  tram trace --from 1.0.0.1 --to 1.0.0.2 --seq 1718\n"
    "  tram trace --from 1.0.0.1 --to 1.0.0.2 --json | jq -r .waiting_for\n";
