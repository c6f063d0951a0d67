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

const char verb_sub_help[] =
    "usage: tram sub [OPTIONS] ADDRESS [EVENT]\n"
    "\n"
    "Subscribe to events of a service, or of a topic (topic://name), and print each as a\n"
    "line: its number, its topic, its payload. EVENT is a number; without it all. A server\n"
    "that is not there is waited for, and one that comes back is subscribed to again.\n"
    "\n"
    "  --topic T      only of this topic, or of all that begin so if it ends with '*'\n"
    "  --count N      stop after so many (never)\n"
    "  --initial N    first the last N values of each that the server has kept (0)\n"
    "  --type T       payloads are messages of this full name, shown in JSON by the\n"
    "                 descriptors that the server gave\n"
    "  --block        hold the publisher up rather than miss events, within its patience\n"
    "  --durable D    go on where a subscription of this name ended\n"
    "  --hz           not the events, but their rate each second\n"
    "  --bw           not the events, but their bytes each second\n"
    "  --raw          the payloads only, as they are\n"
    "  --json         a JSON object for each line\n"
    "  --timeout MS   stop after so long, with exit code 5 (never)\n"
    "\n"
    "Examples:\n"
    "  tram sub svc://weather 7 --topic 'wind/*' --initial 1\n"
    "  tram sub svc://weather --hz --bw\n"
    "  tram sub topic://chat --json | jq .text\n";

const char verb_pub_help[] =
    "usage: tram pub [OPTIONS] ADDRESS EVENT [PAYLOAD]\n"
    "\n"
    "Serve ADDRESS, a name (svc://…) or a topic (topic://…), and publish PAYLOAD, or each\n"
    "line of standard input, as an event of this number. When the input ends, so does the\n"
    "server.\n"
    "\n"
    "  --topic T      the topic of the events\n"
    "  --keep         keep the last value, for those who come later\n"
    "  --wait N       publish when N clients are there (0)\n"
    "  --linger MS    stay for so long after the last one (20)\n"
    "  --set          serve nothing: have the one who serves ADDRESS publish it\n"
    "  --timeout MS   how long clients, or with --set the server, are waited for (5000)\n"
    "\n"
    "Examples:\n"
    "  tram pub --wait 1 svc://weather 7 'rain' --topic wind/north\n"
    "  tail -f log | tram pub topic://log 1\n"
    "  tram pub --set svc://thermostat 1 21.5\n";

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
