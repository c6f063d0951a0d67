/* SPDX-License-Identifier: MIT
 *
 * What is said about the verbs around services.
 */
#include "cli/cli.h"

const char verb_describe_help[] =
    "usage: tram describe [OPTIONS] ADDRESS\n"
    "\n"
    "Show who serves ADDRESS (svc://name, shm://ID/name, ipc://, tcp://; a bare name is\n"
    "svc://name), and, if the server gave its descriptors, its methods, their numbers, and\n"
    "the .proto that they come from.\n"
    "\n"
    "  --json         one JSON object\n"
    "  --timeout MS   give up after so long (5000)\n"
    "\n"
    "Examples:\n"
    "  tram describe svc://ranking\n"
    "  tram describe ranking --json | jq -r '.methods[].method'\n";

const char verb_call_help[] =
    "usage: tram call [OPTIONS] ADDRESS METHOD [PAYLOAD]\n"
    "\n"
    "Send a request and print the answer. A server that gave its descriptors is spoken to in\n"
    "JSON: METHOD is a name that 'tram describe' shows, or the end of it, PAYLOAD an object\n"
    "(without it {}), and the answer a line; so is each part of a streamed one. '-' stands\n"
    "for standard input.\n"
    "\n"
    "  --raw          METHOD is a number, or a full name as \"package.Service.Method\", PAYLOAD\n"
    "                 and the answer are bytes as they are\n"
    "  --hex          like --raw, with PAYLOAD in hex\n"
    "  --json         with these: the answer as a JSON object, {\"size\", \"text\" or \"base64\"}\n"
    "  --timeout MS   give up after so long (5000)\n"
    "\n"
    "Examples:\n"
    "  tram call svc://ranking Best '{\"limit\": 3}'\n"
    "  tram call ranking Report - < score.json\n"
    "  tram call --raw hello 0 world\n"
    "  tram call --hex --json shm://1.1.7.2/ranking 2166136261 0803\n";

const char verb_wait_help[] =
    "usage: tram wait [OPTIONS] ADDRESS\n"
    "\n"
    "Wait until somebody serves ADDRESS.\n"
    "\n"
    "  --gone         until nobody does any more\n"
    "  --timeout MS   give up after so long, with exit code 5 (never)\n"
    "\n"
    "Examples:\n"
    "  tram wait svc://ranking && tram call svc://ranking Best\n"
    "  tram wait --gone --timeout 2000 svc://ranking\n";

const char verb_ping_help[] =
    "usage: tram ping [OPTIONS] ADDRESS\n"
    "\n"
    "Ask a server again and again who it is, and show how long that takes. No handler of it\n"
    "runs for this, but its worker has to be free.\n"
    "\n"
    "  --count N      stop after so many (never)\n"
    "  --interval MS  between two (1000)\n"
    "  --timeout MS   for each (5000)\n"
    "  --json         a JSON object for each\n"
    "\n"
    "Examples:\n"
    "  tram ping svc://ranking\n"
    "  tram ping --count 1 --timeout 100 ranking || alarm\n";
