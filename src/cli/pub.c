/* SPDX-License-Identifier: MIT
 *
 * tram pub: serve a name, and publish lines as its events; or have the one who serves it publish
 * them (--set).
 *
 * A subscriber that is there already needs a moment to find a server that has just come. So what is
 * published is waited for: until somebody came, with --wait, and at the end until all was read.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/input.h"
#include "cli/service.h"

#define LINGER_NS UINT64_C(20000000)
#define SETTLE_NS UINT64_C(50000000)

struct pub {
    struct reach reach;
    const char *topic, *payload;
    uint32_t event;
    uint64_t clients, linger_ns;
    bool set, keep;
    tram_server *server;
    uint64_t sessions;
    bool online, enough, space, done;
    enum cli_exit code;
};

/* ---- as the server --------------------------------------------------------------------------- */

static void on_state(tram_server *server, enum tram_state state, const struct tram_party *who,
                     void *arg) {
    struct pub *pub = arg;

    (void) server;
    if (state == TRAM_STATE_REFUSED) {
        cli_error("%s is served by %s (pid %" PRId32 "); --set has that one publish",
                  pub->reach.address, who->program, who->pid);
        pub->code = CLI_REFUSED;
    }
    pub->online |= state != TRAM_STATE_OFFLINE;
}

static void on_session(tram_server *server, tram_session *session, bool online, void *arg) {
    struct pub *pub = arg;

    (void) server;
    (void) session;
    pub->sessions += online ? 1 : (uint64_t) -1;
    pub->enough |= pub->sessions >= pub->clients;
}

static void on_space(tram_server *server, tram_session *session, void *arg) {
    struct pub *pub = arg;

    (void) server;
    pub->space |= session == NULL;
}

static struct tram_how how_of(const struct pub *pub) {
    struct tram_how how = TRAM_HOW_INIT;

    how.topic = pub->topic;
    how.flags = pub->keep ? TRAM_HOW_KEEP : 0;
    return how;
}

static enum cli_exit publish(struct pub *pub, const void *data, size_t size) {
    struct tram_how how = how_of(pub);

    for (;;) {
        enum cli_exit code;
        int rc;

        pub->space = false;
        rc = tram_server_publish(pub->server, pub->event, data, size, &how);
        if (rc == 0)
            return CLI_OK;
        if (rc != -EAGAIN)
            return cli_failed(tram_worker_error(pub->reach.worker));
        code = reach_until(&pub->reach, &pub->space);
        if (code != CLI_OK)
            return code;
    }
}

static enum cli_exit serve(struct pub *pub) {
    static const struct tram_server_handlers handlers = {
        .on_state = on_state, .on_session = on_session, .on_space = on_space};
    struct tram_server_options options = TRAM_SERVER_OPTIONS_INIT;
    bool never = false;
    enum cli_exit code;
    int rc;

    options.handlers = &handlers;
    options.arg = pub;
    rc = tram_server_new(pub->reach.worker, pub->reach.address, &options, &pub->server);
    if (rc == -EINVAL)
        cli_usage("%s", tram_worker_error(pub->reach.worker)->text);
    if (rc < 0)
        return cli_failed(tram_worker_error(pub->reach.worker));
    code = reach_until(&pub->reach, &pub->online);
    if (code == CLI_OK && pub->code != CLI_OK)
        return pub->code;
    pub->enough |= pub->clients == 0;
    if (code == CLI_OK)
        code = reach_until(&pub->reach, &pub->enough);
    if (code == CLI_TIMEOUT)
        cli_error("%" PRIu64 " clients came in time", pub->sessions);
    if (code == CLI_OK && pub->clients > 0) { /* who has come subscribes next */
        pub->reach.until = cli_now() + SETTLE_NS;
        code = reach_until(&pub->reach, &never);
        code = code == CLI_TIMEOUT ? CLI_OK : code;
    }
    return code;
}

/* ---- by the server --------------------------------------------------------------------------- */

static void on_result(const struct tram_result *result, void *arg) {
    struct pub *pub = arg;

    pub->done = true;
    if (result->status < 0)
        pub->code = reach_failed(&pub->reach, result->status, result->code, result->text);
}

static enum cli_exit set(struct pub *pub, const void *data, size_t size) {
    struct tram_how how = how_of(pub);
    enum cli_exit code;
    int rc;

    how.flags = 0;
    how.timeout_ns = pub->reach.timeout_ns;
    pub->done = false;
    rc = tram_client_set(pub->reach.client, pub->event, data, size, &how, on_result, pub, NULL);
    if (rc < 0)
        return reach_failed(&pub->reach, rc, 0, tram_worker_error(pub->reach.worker)->text);
    code = reach_until(&pub->reach, &pub->done);
    return code == CLI_OK ? pub->code : code;
}

/* ---- the input ------------------------------------------------------------------------------- */

static enum cli_exit one(struct pub *pub, const void *data, size_t size) {
    return pub->set ? set(pub, data, size) : publish(pub, data, size);
}

static enum cli_exit all(struct pub *pub) {
    enum cli_exit code = CLI_OK;
    bool never = false;
    struct input input;

    if (pub->payload)
        return one(pub, pub->payload, strlen(pub->payload));
    input_init(&input, STDIN_FILENO, 0);
    while (code == CLI_OK && !cli_stop) {
        enum input_result result;
        const void *data;
        size_t size;

        result = input_next(&input, &data, &size);
        if (result == INPUT_END)
            break;
        if (result == INPUT_MESSAGE) {
            code = one(pub, data, size);
            continue;
        }
        while (!input_ready(&input) && code == CLI_OK) { /* the worker has to run meanwhile */
            uint64_t until = pub->reach.until;

            pub->reach.until = cli_now() + 10000000;
            code = reach_until(&pub->reach, &never);
            code = code == CLI_TIMEOUT ? CLI_OK : code;
            pub->reach.until = until;
        }
        if (code == CLI_OK && input_fill(&input) < 0 && !cli_stop) {
            cli_error("the input cannot be read");
            code = CLI_FAILURE;
        }
    }
    input_deinit(&input);
    return code == CLI_OK && cli_stop ? CLI_INTERRUPTED : code;
}

static enum cli_exit run(struct pub *pub) {
    bool never = false;
    enum cli_exit code;

    if (!pub->set && strncmp(pub->reach.address, "svc://", 6) == 0 && !service_daemon())
        return CLI_NOT_FOUND;
    if (!reach_open(&pub->reach, pub->set ? pub->reach.address : NULL, NULL, &code))
        return code;
    code = pub->set ? CLI_OK : serve(pub);
    pub->reach.until = pub->set ? pub->reach.until : UINT64_MAX;
    if (code == CLI_OK)
        code = all(pub);
    if (code == CLI_OK && !pub->set) {
        pub->reach.until = cli_now() + pub->linger_ns;
        if (reach_until(&pub->reach, &never) == CLI_FAILURE)
            code = CLI_FAILURE;
    }
    reach_close(&pub->reach);
    return code;
}

int verb_pub(int argc, char **argv) {
    enum { TOPIC = CLI_OPT_OWN, SET, KEEP, WAIT, LINGER, TIMEOUT };
    static const struct option options[] = {
        {"topic", required_argument, NULL, TOPIC},
        {"set", no_argument, NULL, SET},
        {"keep", no_argument, NULL, KEEP},
        {"wait", required_argument, NULL, WAIT},
        {"linger", required_argument, NULL, LINGER},
        {"timeout", required_argument, NULL, TIMEOUT},
        CLI_COMMON,
    };
    struct pub pub = {.reach.timeout_ns = SERVICE_TIMEOUT_NS, .linger_ns = LINGER_NS};
    int option;

    while ((option = cli_option(argc, argv, "h", options)) >= 0) {
        if (option == TOPIC)
            pub.topic = optarg;
        else if (option == WAIT)
            pub.clients = cli_number("--wait", optarg, 0, UINT32_MAX);
        else if (option == LINGER)
            pub.linger_ns = cli_number("--linger", optarg, 0, 1000000000) * 1000000;
        else if (option == TIMEOUT)
            pub.reach.timeout_ns =
                (int64_t) cli_number("--timeout", optarg, 0, 1000000000) * 1000000;
        pub.set |= option == SET;
        pub.keep |= option == KEEP;
    }
    cli_operands(argc, 2, 3);
    pub.reach.address = service_address(argv[optind]);
    pub.event = (uint32_t) cli_number("EVENT", argv[optind + 1], 0, UINT32_MAX - 1);
    pub.payload = argv[optind + 2] && strcmp(argv[optind + 2], "-") != 0 ? argv[optind + 2] : NULL;
    cli_catch_signals();
    return (int) run(&pub);
}
