/* SPDX-License-Identifier: MIT
 *
 * tram send: lines or blocks of a file become messages.
 *
 * Messages are staged and flushed in batches while there is input at hand; before the input makes
 * us wait, all that was read is flushed: whoever pipes into us never waits for a batch to be full.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/buf.h"
#include "cli/cli.h"
#include "cli/input.h"

#define BATCH_MESSAGES 64
#define BATCH_BYTES (256 * 1024)

#define LOOK_NS INT64_C(100000000) /* a wait for space looks for signals this often */
#define PROGRESS_NS UINT64_C(200000000)

const char verb_send_help[] =
    "usage: tram send --from A --to B [OPTIONS] [FILE]\n"
    "\n"
    "Send each line of FILE, or of standard input, as a message from node A to node B. B need\n"
    "not run, nor ever have run: its messages wait. Exit code 0 says that all was accepted.\n"
    "\n"
    "  --from A       the node to send as; 'ephemeral' takes a free ID for this run\n"
    "  --to B         the node to send to\n"
    "  --size N       messages are blocks of N bytes (k, M, G) and not lines; the last may be\n"
    "                 shorter\n"
    "  --tag N        the 32-bit tag that goes with each message (0)\n"
    "  --resume       go on where an earlier run was cut off: leave out as many messages of\n"
    "                 the input as the bus has accepted from A to B since the base. However\n"
    "                 that run ended, nothing is sent twice and nothing left out\n"
    "  --base N       the number of messages that were accepted before this input's first (0)\n"
    "  --timeout MS   give up when there was no space for so long (never)\n"
    "  --ring SIZE    bytes of the ring, if this run makes it (4M)\n"
    "  --json         at the end, print what was done as one JSON object\n"
    "\n"
    "On a terminal, standard error shows the rate and what waits for B.\n"
    "\n"
    "Examples:\n"
    "  echo hello | tram send --from 1.0.0.1 --to 1.0.0.2\n"
    "  tram send --from 1.0.0.1 --to 1.0.0.2 --size 64k --resume disk.img\n"
    "  tail -f log | tram send --from 1.0.0.1 --to 1.0.0.2 --tag 7\n";

struct send {
    tram_id from, to;
    uint32_t tag;
    size_t block;
    uint64_t base;
    int64_t timeout_ns;
    uint64_t ring;
    bool resume, json, progress;
    const char *file;

    tram_node *node;
    uint64_t skip, skipped, sent, bytes;
    size_t staged, staged_bytes;
    int unread; /* the errno of a read that failed */
    uint64_t started_ns, shown_ns;
};

/* ---- progress ------------------------------------------------------------------------------- */

static void show_progress(struct send *send, bool last) {
    struct tram_peer peer;
    uint64_t now;
    double seconds;

    if (!send->progress)
        return;
    now = cli_now();
    if (!last && now - send->shown_ns < PROGRESS_NS)
        return;
    send->shown_ns = now;
    seconds = (double) (now - send->started_ns) / 1e9 + 1e-9;
    if (tram_peer(send->node, send->to, &peer) < 0)
        return;
    (void) fprintf(stderr,
                   "\r%" PRIu64 " messages, %.1f MB, %.0f messages/s, %.1f MB/s, waiting %" PRIu64
                   " (%.1f MB)\033[K%s",
                   send->sent, (double) send->bytes / 1e6, (double) send->sent / seconds,
                   (double) send->bytes / 1e6 / seconds, peer.to.accepted - peer.to.consumed,
                   (double) peer.to.bytes / 1e6, last ? "\n" : "");
}

/* ---- sending -------------------------------------------------------------------------------- */

static int flush(struct send *send) {
    int rc = send->staged > 0 ? tram_flush(send->node) : 0;

    if (rc < 0)
        return rc;
    send->staged = 0;
    send->staged_bytes = 0;
    return 0;
}

/* The ring is full: wait for space, looking for signals meanwhile. -EINTR: one said to stop. */
static int send_slowly(struct send *send, const void *data, size_t size, uint32_t flags) {
    struct tram_meta meta = { .tag = send->tag };
    struct iovec piece = { .iov_base = (void *) (uintptr_t) data, .iov_len = size };
    int64_t waited = 0;

    for (;;) {
        int64_t look = LOOK_NS;
        int rc;

        if (send->timeout_ns >= 0 && send->timeout_ns - waited < look)
            look = send->timeout_ns - waited;
        rc = tram_sendv(send->node, send->to, &meta, &piece, 1, flags, look);
        if (rc != -ETIMEDOUT && rc != -EAGAIN)
            return rc;
        waited += look;
        if (cli_stop)
            return -EINTR;
        if (send->timeout_ns >= 0 && waited >= send->timeout_ns)
            return -ETIMEDOUT;
        show_progress(send, false);
    }
}

static int send_one(struct send *send, const void *data, size_t size) {
    bool more = send->staged + 1 < BATCH_MESSAGES && send->staged_bytes + size < BATCH_BYTES;
    uint32_t flags = more ? TRAM_MORE : 0;
    int rc = tram_send(send->node, send->to, send->tag, data, size, flags | TRAM_NOWAIT);

    if (rc == -EAGAIN)
        rc = send_slowly(send, data, size, flags);
    if (rc < 0)
        return rc;
    send->staged = rc == TRAM_STAGED ? send->staged + 1 : 0;
    send->staged_bytes = rc == TRAM_STAGED ? send->staged_bytes + size : 0;
    send->sent++;
    send->bytes += size;
    if (!more)
        show_progress(send, false);
    return 0;
}

/* More input, without letting what was read wait for it. */
static int refill(struct send *send, struct input *input) {
    int rc = 0;

    if (!input_ready(input)) {
        rc = flush(send);
        if (rc < 0)
            return rc;
        show_progress(send, false);
        cli_wait(input->fd, -1);
        if (cli_stop)
            return -EINTR;
    }
    rc = input_fill(input);
    if (rc == -EINTR)
        return 0; /* who called us looks for signals */
    send->unread = rc;
    return rc;
}

static int send_all(struct send *send, struct input *input) {
    send->skipped = input_seek(input, send->skip);
    send->skip -= send->skipped;
    while (!cli_stop) {
        enum input_result result;
        const void *data;
        size_t size;
        int rc = 0;

        result = input_next(input, &data, &size);
        if (result == INPUT_END)
            return flush(send);
        if (result == INPUT_EMPTY) {
            rc = refill(send, input);
        } else if (send->skip > 0) {
            send->skip--;
            send->skipped++;
        } else {
            rc = send_one(send, data, size);
        }
        if (rc < 0)
            return rc;
    }
    return -EINTR;
}

/* ---- before and after ----------------------------------------------------------------------- */

/* Other buses in the same directory that know this node, as " 'a', 'b'". */
static void other_buses(tram_id id, char *buffer, size_t size) {
    char **names;
    size_t count, used = 0;

    buffer[0] = '\0';
    if (observe_buses(cli_buses_path(), &names, &count) < 0)
        return; /* then there is none that we can name */
    for (size_t i = 0; i < count; i++) {
        struct observe *observe = NULL;
        struct observe_node node;
        char path[CLI_PATH];
        int length = snprintf(path, sizeof(path), "%s/%s", cli_buses_path(), names[i]);

        if (strcmp(names[i], cli_bus_name()) == 0 || length < 0 ||
            (size_t) length >= sizeof(path) || observe_open(path, &observe) < 0)
            continue;
        if (observe_node(observe, id, &node) == 0 && node.opens > 0 && used < size) {
            length = snprintf(buffer + used, size - used, "%s '%s'", used > 0 ? "," : "", names[i]);
            used += length > 0 ? (size_t) length : 0;
        }
        (void) observe_close(observe);
    }
    free(names);
}

/* It is placed on another host, where it may well be open; or on none that this host has heard of.
 * False: this bus is part of no cluster. */
static bool is_elsewhere(struct send *send) {
    struct observe_node node;
    struct observe *observe;
    bool away = false, cluster = false;
    char id[TRAM_ID_TEXT];

    if (observe_open(tram_bus_path(send->node), &observe) < 0)
        return false;
    cluster = observe_node(observe, send->from, &node) == 0 && node.host[0] != '\0';
    away = observe_node(observe, send->to, &node) == 0 && node.away;
    (void) observe_close(observe);
    if (cluster && !away)
        cli_error("no host is known yet on which %s is placed; its messages wait until it is "
                  "('tram trace' tells where)", tram_id_format(send->to, id));
    return cluster || away;
}

/* A message to a node that never was waits for it, maybe for ever: say so. */
static void say_if_never_opened(struct send *send) {
    char id[TRAM_ID_TEXT], others[512];
    struct tram_peer peer;

    if (tram_peer(send->node, send->to, &peer) < 0 || peer.state != TRAM_PEER_NEVER ||
        is_elsewhere(send))
        return;
    other_buses(send->to, others, sizeof(others));
    (void) tram_id_format(send->to, id);
    if (others[0] != '\0')
        cli_error(
            "%s was never opened on this bus (%s), but on the bus%s%s; --bus chooses another, "
            "here its messages wait until it is opened",
            id, tram_bus_path(send->node), strchr(others, ',') ? "es" : "", others);
    else
        cli_error("%s was never opened on this bus (%s); its messages wait until it is", id,
                  tram_bus_path(send->node));
}

/* Find out how much of the input earlier runs have sent. */
static enum cli_exit resume(struct send *send) {
    uint64_t accepted;
    int rc = tram_accepted(send->node, send->to, &accepted);

    if (rc < 0)
        return cli_failed(tram_last_error(send->node));
    if (accepted < send->base) {
        cli_error("the base is %" PRIu64 ", but the bus accepted %" PRIu64
                  " messages on this channel; give a --base that is not higher",
                  send->base, accepted);
        return CLI_FAILURE;
    }
    send->skip = accepted - send->base;
    return CLI_OK;
}

static enum cli_exit conclude(struct send *send, int rc) {
    char from[TRAM_ID_TEXT], to[TRAM_ID_TEXT];

    if (rc == -EINTR) {
        rc = flush(send);
        cli_error("ended by a signal after %" PRIu64 " messages; --resume goes on", send->sent);
        return rc < 0 ? cli_failed(tram_last_error(send->node)) : CLI_INTERRUPTED;
    }
    if (rc == -ETIMEDOUT) {
        rc = flush(send);
        cli_error("%s took nothing from %s for %" PRId64
                  " ms and the ring is full; is it running? --resume goes on",
                  tram_id_format(send->to, to), tram_id_format(send->from, from),
                  send->timeout_ns / 1000000);
        return rc < 0 ? cli_failed(tram_last_error(send->node)) : CLI_TIMEOUT;
    }
    if (send->skip > 0) {
        cli_error("the bus accepted %" PRIu64
                  " messages since the base, the input has only %" PRIu64
                  "; it is not the same input, or --base is wrong",
                  send->skipped + send->skip, send->skipped);
        return CLI_FAILURE;
    }
    return CLI_OK;
}

static enum cli_exit report(struct send *send) {
    struct buf buf = { 0 };
    bool first = true;
    uint64_t accepted = 0;
    int rc = tram_accepted(send->node, send->to, &accepted);

    if (rc < 0)
        return cli_failed(tram_last_error(send->node));
    buf_char(&buf, '{');
    json_member_id(&buf, &first, "from", send->from);
    json_member_id(&buf, &first, "to", send->to);
    json_member_number(&buf, &first, "sent", send->sent);
    json_member_number(&buf, &first, "bytes", send->bytes);
    json_member_number(&buf, &first, "skipped", send->skipped);
    json_member_number(&buf, &first, "accepted", accepted);
    buf_text(&buf, "}\n");
    rc = buf_write(&buf, STDOUT_FILENO);
    buf_free(&buf);
    if (rc == 0)
        return CLI_OK;
    cli_error("the output cannot be written: %s", strerror(-rc));
    return CLI_FAILURE;
}

/* ---- the verb ------------------------------------------------------------------------------- */

static void parse(struct send *send, int argc, char **argv) {
    enum { FROM = CLI_OPT_OWN, TO, SIZE, TAG, RESUME, BASE, TIMEOUT, RING, JSON };
    static const struct option options[] = {
        { "from", required_argument, NULL, FROM },
        { "to", required_argument, NULL, TO },
        { "size", required_argument, NULL, SIZE },
        { "tag", required_argument, NULL, TAG },
        { "resume", no_argument, NULL, RESUME },
        { "base", required_argument, NULL, BASE },
        { "timeout", required_argument, NULL, TIMEOUT },
        { "ring", required_argument, NULL, RING },
        { "json", no_argument, NULL, JSON },
        CLI_COMMON,
    };
    int option;
    bool based = false;

    while ((option = cli_option(argc, argv, "h", options)) >= 0) {
        if (option == FROM && strcmp(optarg, "ephemeral") == 0)
            send->from = TRAM_EPHEMERAL;
        else if (option == FROM)
            send->from = cli_id("--from", optarg);
        else if (option == TO)
            send->to = cli_id("--to", optarg);
        else if (option == SIZE)
            send->block = cli_size("--size", optarg, 1, UINT32_MAX);
        else if (option == TAG)
            send->tag = (uint32_t) cli_number("--tag", optarg, 0, UINT32_MAX);
        else if (option == RESUME)
            send->resume = true;
        else if (option == BASE)
            send->base = cli_number("--base", optarg, 0, UINT64_MAX);
        else if (option == TIMEOUT)
            send->timeout_ns = (int64_t) cli_number("--timeout", optarg, 0, 1000000000) * 1000000;
        else if (option == RING)
            send->ring = cli_size("--ring", optarg, 64 * 1024, UINT64_C(1) << 32);
        else if (option == JSON)
            send->json = true;
        based |= option == BASE;
    }
    cli_operands(argc, 0, 1);
    send->file = argv[optind];
    if (send->from == 0 || send->to == 0)
        cli_usage("--%s is missing", send->from == 0 ? "from" : "to");
    if (based && !send->resume)
        cli_usage("--base says from where on to --resume, which was not given");
    if (send->resume && send->from == TRAM_EPHEMERAL)
        cli_usage("an ephemeral node has sent nothing before: there is nothing to --resume");
}

static enum cli_exit run(struct send *send, int fd) {
    struct input input;
    enum cli_exit code = CLI_OK;
    int rc;

    say_if_never_opened(send);
    if (send->resume)
        code = resume(send);
    if (code != CLI_OK)
        return code;
    send->started_ns = cli_now();
    input_init(&input, fd, send->block);
    rc = send_all(send, &input);
    input_deinit(&input);
    show_progress(send, true);
    if (send->unread < 0) {
        cli_error("%s cannot be read: %s", send->file ? send->file : "the input",
                  strerror(-send->unread));
        return CLI_FAILURE;
    }
    if (rc < 0 && rc != -EINTR && rc != -ETIMEDOUT)
        return cli_failed(tram_last_error(send->node));
    code = conclude(send, rc);
    if (send->json) {
        enum cli_exit told = report(send);

        return code == CLI_OK ? told : code;
    }
    return code;
}

int verb_send(int argc, char **argv) {
    struct send send = { .timeout_ns = -1, .progress = isatty(STDERR_FILENO) };
    struct tram_options options = TRAM_OPTIONS_INIT;
    enum cli_exit code = CLI_FAILURE;
    int fd = STDIN_FILENO;

    parse(&send, argc, argv);
    if (send.file && strcmp(send.file, "-") != 0)
        fd = open(send.file, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        cli_error("%s cannot be opened: %s", send.file, strerror(errno));
        return CLI_FAILURE;
    }
    cli_catch_signals();
    options.ring_size = send.ring;
    send.node = cli_node(send.from, &options, &code);
    if (send.node) {
        send.from = tram_node_id(send.node);
        code = run(&send, fd);
    }
    (void) tram_close(send.node);
    if (fd != STDIN_FILENO)
        (void) close(fd); /* was only read */
    return (int) code;
}
