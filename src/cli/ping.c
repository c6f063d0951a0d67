/* SPDX-License-Identifier: MIT
 *
 * tram ping: how long a server takes to say that it is there. What it is asked no handler of the
 * application sees, but its worker has to be free for it: that is what is measured.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/ping_hosts.h"
#include "cli/service.h"
#include "service/inspect.h"

struct ping {
    struct reach reach;
    uint64_t count, interval_ns, sent, answered, least, most, sum;
    int64_t each_ns;
    bool json, direct;
};

static int show(const struct ping *ping, const inspection *said, uint64_t ns) {
    char name[256], id[TRAM_ID_TEXT];
    struct buf buf = {0};
    bool first = true;
    int rc;

    service_party(said->party, name, sizeof(name));
    if (ping->json) {
        buf_char(&buf, '{');
        json_member_text(&buf, &first, "name", name);
        json_member_number(&buf, &first, "time_ns", ns);
        if (said->party) {
            json_member_number(&buf, &first, "pid", (uint64_t) said->party->pid);
            json_member_id(&buf, &first, "node", said->party->node);
            json_member_text(&buf, &first, "program", said->party->program);
        }
        buf_text(&buf, "}\n");
    } else {
        buf_preview(&buf, name, strlen(name));
        if (said->party) {
            buf_format(&buf, " at %s, pid %" PRId32 ", ", tram_id_format(said->party->node, id),
                       said->party->pid);
            buf_preview(&buf, said->party->program, strlen(said->party->program));
        }
        buf_format(&buf, ": %.3f ms\n", (double) ns / 1e6);
    }
    rc = buf_write(&buf, STDOUT_FILENO);
    buf_free(&buf);
    return rc;
}

static enum cli_exit one(struct ping *ping) {
    uint64_t began = cli_now(), ns;
    enum cli_exit code;
    inspection *said;

    ping->sent++;
    ping->reach.timeout_ns = ping->each_ns;
    ping->reach.until = began + (uint64_t) ping->each_ns;
    said = reach_inspect(&ping->reach, INSPECT_BRIEF, &code);
    if (!said)
        return code;
    ns = cli_now() - began;
    ping->answered++;
    ping->sum += ns;
    ping->least = ping->least == 0 || ns < ping->least ? ns : ping->least;
    ping->most = ns > ping->most ? ns : ping->most;
    if (show(ping, said, ns) < 0)
        code = CLI_FAILURE;
    (void) inspection_free(said);
    return code;
}

static enum cli_exit run(struct ping *ping) {
    struct tram_client_options options = TRAM_CLIENT_OPTIONS_INIT;
    enum cli_exit code, worst = CLI_OK;
    bool never = false;

    if (ping->direct)
        options.flags = TRAM_CLIENT_DIRECT | TRAM_CLIENT_PLAIN;
    if (!reach_open(&ping->reach, ping->reach.address, &options, &code))
        return code;
    while (ping->sent < ping->count && !cli_stop) {
        if (ping->sent > 0) {
            ping->reach.until = cli_now() + ping->interval_ns;
            if (reach_until(&ping->reach, &never) == CLI_INTERRUPTED)
                break;
        }
        code = one(ping);
        worst = code == CLI_OK || code == CLI_INTERRUPTED ? worst : code;
        if (code == CLI_FAILURE)
            break;
    }
    reach_close(&ping->reach);
    if (!ping->json && ping->answered > 1)
        (void) printf("%" PRIu64 " of %" PRIu64 " answered; least %.3f, mean %.3f, most %.3f ms\n",
                      ping->answered, ping->sent, (double) ping->least / 1e6,
                      (double) ping->sum / (double) ping->answered / 1e6,
                      (double) ping->most / 1e6);
    return cli_flushed(stdout, ping->answered == 0 && cli_stop ? CLI_INTERRUPTED : worst);
}

int verb_ping(int argc, char **argv) {
    enum { COUNT = CLI_OPT_OWN, INTERVAL, TIMEOUT, JSON, HOST, HOSTS, DIRECT };
    static const struct option options[] = {
        {"count", required_argument, NULL, COUNT},
        {"interval", required_argument, NULL, INTERVAL},
        {"timeout", required_argument, NULL, TIMEOUT},
        {"json", no_argument, NULL, JSON},
        {"host", required_argument, NULL, HOST},
        {"hosts", no_argument, NULL, HOSTS},
        {"direct", no_argument, NULL, DIRECT},
        CLI_COMMON,
    };
    struct ping ping = {.count = UINT64_MAX, .interval_ns = 1000000000,
                        .each_ns = SERVICE_TIMEOUT_NS};
    const char *host = NULL;
    int option;

    while ((option = cli_option(argc, argv, "h", options)) >= 0) {
        if (option == COUNT)
            ping.count = cli_number("--count", optarg, 1, UINT64_MAX);
        else if (option == INTERVAL)
            ping.interval_ns = cli_number("--interval", optarg, 0, 1000000000) * 1000000;
        else if (option == TIMEOUT)
            ping.each_ns = (int64_t) cli_number("--timeout", optarg, 1, 1000000000) * 1000000;
        else if (option == HOST)
            host = optarg;
        else if (option == HOSTS)
            host = "";
        ping.json |= option == JSON;
        ping.direct |= option == DIRECT;
    }
    cli_operands(argc, host ? 0 : 1, host ? 0 : 1);
    if (host) {
        cli_catch_signals();
        return (int) ping_hosts(host, ping.count, ping.interval_ns, ping.each_ns, ping.json);
    }
    ping.reach.address = service_address(argv[optind]);
    cli_catch_signals();
    return (int) run(&ping);
}
