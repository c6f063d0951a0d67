/* SPDX-License-Identifier: MIT
 *
 * tram recv: messages become lines, blocks of a file, or JSON.
 *
 * A message is released after its output was written, a batch at a time. Who dies in between gets
 * it again, marked; so the output may have it twice, unless what is written twice lands in the
 * same place (--at-seq). What could not be written (a full disk, a closed pipe) is not released.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/buf.h"
#include "cli/cli.h"

#define IN_HAND 512                     /* messages, at most */
#define JSON_MAX ((size_t) 1024 * 1024) /* of JSON are written at once, about */
#define SPIN_NS INT64_C(1000000)        /* the library waits so long, before we sleep in a poll */

const char verb_recv_help[] =
    "usage: tram recv --id B [OPTIONS]\n"
    "\n"
    "Receive what is sent to node B and write it to standard output, a line for each message,\n"
    "until a signal ends it. A message is released after its output was written: who is\n"
    "killed before gets it again, marked. At most 512 are in hand.\n"
    "\n"
    "  --id B           the node to receive as\n"
    "  --count N        end after N messages\n"
    "  --idle-exit MS   end when nothing came for MS milliseconds (with --count and less than\n"
    "                   that, the exit code is 5)\n"
    "  --json           a line of JSON for each message: from, seq, tag, size, redelivered\n"
    "                   (how often it was handed out before), and text or base64\n"
    "  --raw            payloads as they are, nothing behind them\n"
    "  --out FILE       append to FILE, not to standard output\n"
    "  --size N         as --raw; no message may be longer than N bytes\n"
    "  --at-seq         with --out, --size and --from: write message n of the channel at\n"
    "                   offset (n - 1 - base) * N of FILE. What comes again, after a kill -9\n"
    "                   between writing and releasing, then overwrites itself: FILE becomes\n"
    "                   what was sent, however often sender and receiver are killed\n"
    "  --base N         for --at-seq: the number of the message before FILE's first (0)\n"
    "  --from A         for --at-seq: the sender; a message of another one is an error\n"
    "  --journal FILE   append to FILE what is written, before it is: a line of JSON for each\n"
    "                   run of messages: from, seq (of the first), count, redelivered\n"
    "  --sync           have the file on its disk (fdatasync) before a message is released\n"
    "  --attempts N     set a message aside that was handed out N times and never released\n"
    "                   (5)\n"
    "\n"
    "Examples:\n"
    "  tram recv --id 1.0.0.2\n"
    "  tram recv --id 1.0.0.2 --count 100 --json | jq .text\n"
    "  tram recv --id 1.0.0.2 --from 1.0.0.1 --size 64k --at-seq --out disk.img\n";

struct recv {
    tram_id id, from;
    uint64_t count;
    int64_t idle_ns;
    uint64_t size, base;
    uint32_t attempts;
    bool json, raw, at_seq, sync;
    const char *out, *journal;

    tram_node *node;
    int out_fd, journal_fd;
    uint64_t received;
    bool broken; /* a channel was closed because its sender wrote nonsense */
    struct buf buf;
    void *copy;
    size_t copy_room;
    struct tram_msg msgs[IN_HAND];
    struct iovec pieces[2 * IN_HAND];
};

/* ---- output --------------------------------------------------------------------------------- */

static enum cli_exit unwritten(const char *name, int rc) {
    if (rc != -EPIPE)
        cli_error("%s cannot be written: %s; what was not written is not released", name,
                  strerror(-rc));
    return CLI_FAILURE;
}

static const char *out_name(const struct recv *recv) {
    return recv->out ? recv->out : "the output";
}

static uint32_t redelivered(const struct tram_msg *msg) {
    return msg->attempt > 0 ? msg->attempt - 1 : 0;
}

/* A private copy of the payload: text that was found to be UTF-8 stays it. */
static const void *copied(struct recv *recv, const struct tram_msg *msg) {
    if (recv->copy_room < msg->size || !recv->copy) {
        void *copy = realloc(recv->copy, msg->size + 4096);

        if (!copy) {
            cli_error("no memory for a message of %zu bytes; it is not released", msg->size);
            exit(CLI_FAILURE);
        }
        recv->copy = copy;
        recv->copy_room = msg->size + 4096;
    }
    if (msg->size > 0)
        memcpy(recv->copy, msg->data, msg->size);
    return recv->copy;
}

static enum cli_exit write_json(struct recv *recv, int count) {
    int rc = 0;

    for (int i = 0; rc == 0 && i < count; i++) {
        const struct tram_msg *msg = &recv->msgs[i];
        bool first = true;

        buf_char(&recv->buf, '{');
        json_member_id(&recv->buf, &first, "from", msg->from);
        json_member_number(&recv->buf, &first, "seq", msg->seq);
        json_member_number(&recv->buf, &first, "tag", msg->tag);
        json_member_number(&recv->buf, &first, "size", msg->size);
        json_member_number(&recv->buf, &first, "redelivered", redelivered(msg));
        json_member_payload(&recv->buf, &first, copied(recv, msg), msg->size);
        buf_text(&recv->buf, "}\n");
        if (recv->buf.used >= JSON_MAX)
            rc = buf_write(&recv->buf, recv->out_fd);
    }
    if (rc == 0)
        rc = buf_write(&recv->buf, recv->out_fd);
    return rc == 0 ? CLI_OK : unwritten(out_name(recv), rc);
}

/* All payloads in one writev(2), out of the ring. */
static enum cli_exit write_plain(struct recv *recv, int count) {
    static char newline[] = "\n";
    int pieces = 0, rc;

    for (int i = 0; i < count; i++) {
        const struct tram_msg *msg = &recv->msgs[i];

        recv->pieces[pieces++] = (struct iovec){
            .iov_base = (void *) (uintptr_t) msg->data,
            .iov_len = msg->size,
        };
        if (!recv->raw)
            recv->pieces[pieces++] = (struct iovec){ .iov_base = newline, .iov_len = 1 };
    }
    rc = buf_pieces(recv->out_fd, recv->pieces, pieces, -1);
    return rc == 0 ? CLI_OK : unwritten(out_name(recv), rc);
}

/* Why a message cannot be taken; its number and sender come first. */
__attribute__((format(printf, 2, 3))) static enum cli_exit refuse(const struct tram_msg *msg,
                                                                  const char *format, ...) {
    char from[TRAM_ID_TEXT], reason[256];
    va_list args;

    va_start(args, format);
    (void) vsnprintf(reason, sizeof(reason), format, args); /* cut short is better than nothing */
    va_end(args);
    cli_error("message %" PRIu64 " of %s %s; it is not released", msg->seq,
              tram_id_format(msg->from, from), reason);
    return CLI_FAILURE;
}

static enum cli_exit check_block(const struct recv *recv, const struct tram_msg *msg) {
    char expected[TRAM_ID_TEXT];

    if (msg->size > recv->size)
        return refuse(msg, "has %zu bytes, more than --size", msg->size);
    if (!recv->at_seq)
        return CLI_OK;
    if (msg->from != recv->from)
        return refuse(msg, "is not from %s, as --from says", tram_id_format(recv->from, expected));
    if (msg->seq <= recv->base || msg->seq - 1 - recv->base > INT64_MAX / recv->size - 1)
        return refuse(msg, "has no place behind --base %" PRIu64, recv->base);
    return CLI_OK;
}

/* Each message at its place; those that are neighbours together. */
static enum cli_exit write_at_seq(struct recv *recv, int count) {
    for (int i = 0, end; i < count; i = end) {
        int64_t offset = (int64_t) ((recv->msgs[i].seq - 1 - recv->base) * recv->size);
        int rc;

        for (end = i; end < count; end++) {
            const struct tram_msg *msg = &recv->msgs[end];

            if (msg->seq != recv->msgs[i].seq + (uint64_t) (end - i))
                break;
            if (end > i && recv->msgs[end - 1].size != recv->size)
                break;
            recv->pieces[end - i] = (struct iovec){
                .iov_base = (void *) (uintptr_t) msg->data,
                .iov_len = msg->size,
            };
        }
        rc = buf_pieces(recv->out_fd, recv->pieces, end - i, offset);
        if (rc < 0)
            return unwritten(out_name(recv), rc);
    }
    return CLI_OK;
}

/* Whether `msg` goes on with the run of `count` messages that begins at `first`. */
static bool in_run(const struct tram_msg *first, uint64_t count, const struct tram_msg *msg) {
    return msg->from == first->from && msg->seq == first->seq + count &&
           msg->attempt == first->attempt;
}

static enum cli_exit write_journal(struct recv *recv, int count) {
    int rc;

    for (int i = 0, end; i < count; i = end) {
        const struct tram_msg *msg = &recv->msgs[i];
        bool first = true;

        for (end = i + 1; end < count; end++)
            if (!in_run(msg, (uint64_t) (end - i), &recv->msgs[end]))
                break;
        buf_char(&recv->buf, '{');
        json_member_id(&recv->buf, &first, "from", msg->from);
        json_member_number(&recv->buf, &first, "seq", msg->seq);
        json_member_number(&recv->buf, &first, "count", (uint64_t) (end - i));
        json_member_number(&recv->buf, &first, "redelivered", redelivered(msg));
        buf_text(&recv->buf, "}\n");
    }
    rc = buf_write(&recv->buf, recv->journal_fd);
    return rc == 0 ? CLI_OK : unwritten(recv->journal, rc);
}

static enum cli_exit write_batch(struct recv *recv, int count) {
    enum cli_exit code = CLI_OK;

    for (int i = 0; recv->size > 0 && code == CLI_OK && i < count; i++)
        code = check_block(recv, &recv->msgs[i]);
    if (code == CLI_OK && recv->journal)
        code = write_journal(recv, count);
    if (code != CLI_OK)
        return code;
    if (recv->json)
        code = write_json(recv, count);
    else if (recv->at_seq)
        code = write_at_seq(recv, count);
    else
        code = write_plain(recv, count);
    if (code == CLI_OK && recv->sync && fdatasync(recv->out_fd) < 0)
        code = unwritten(out_name(recv), -errno);
    return code;
}

/* ---- receiving ------------------------------------------------------------------------------ */

/* Receive a batch: how many, or a negative errno; -ETIMEDOUT: nothing came within --idle-exit,
 * -EINTR: a signal came. */
static int receive(struct recv *recv) {
    int most = IN_HAND;
    uint64_t began = cli_now();

    if (recv->count > 0 && recv->count - recv->received < IN_HAND)
        most = (int) (recv->count - recv->received);
    while (!cli_stop) {
        int64_t left = -1;
        int rc = tram_recv_batch(recv->node, recv->msgs, most, TRAM_HOLD, SPIN_NS);

        if (rc == -EBADMSG) {
            recv->broken = true;
            (void) cli_failed(tram_last_error(recv->node)); /* its code comes at the end */
            continue;
        }
        if (rc != -ETIMEDOUT && rc != -EAGAIN)
            return rc;
        if (recv->idle_ns >= 0) {
            left = recv->idle_ns - (int64_t) (cli_now() - began);
            if (left <= 0)
                return -ETIMEDOUT;
        }
        int64_t due = tram_timeout(recv->node);
        cli_wait(tram_fd(recv->node), due >= 0 && (left < 0 || due < left) ? due : left);
        struct tram_event event;
        while (tram_dispatch(recv->node, &event) > 0)
            continue; /* nothing that we asked for; but it is work that keeps the fd readable */
    }
    return -EINTR;
}

static enum cli_exit receive_all(struct recv *recv) {
    while (recv->count == 0 || recv->received < recv->count) {
        enum cli_exit code;
        int count = receive(recv);

        if (count == -EINTR)
            return recv->count > 0 ? CLI_INTERRUPTED : CLI_OK;
        if (count == -ETIMEDOUT)
            return recv->count > 0 ? CLI_TIMEOUT : CLI_OK;
        if (count < 0)
            return cli_failed(tram_last_error(recv->node));
        code = write_batch(recv, count);
        if (code != CLI_OK)
            return code;
        for (int i = 0; i < count; i++)
            if (tram_release(recv->node, &recv->msgs[i]) < 0)
                return cli_failed(tram_last_error(recv->node));
        recv->received += (uint64_t) count;
    }
    return CLI_OK;
}

/* ---- the verb ------------------------------------------------------------------------------- */

static void check_options(const struct recv *recv, bool based) {
    if (recv->id == 0)
        cli_usage("--id is missing");
    if (recv->json && recv->raw)
        cli_usage("--json and --raw, or --size, exclude each other");
    if (recv->at_seq && (!recv->out || recv->size == 0 || recv->from == 0))
        cli_usage("--at-seq needs --out, --size and --from");
    if (!recv->at_seq && (based || recv->from != 0))
        cli_usage("--%s is for --at-seq", based ? "base" : "from");
    if (recv->sync && !recv->out)
        cli_usage("--sync is for --out");
}

static void parse(struct recv *recv, int argc, char **argv) {
    enum {
        ID = CLI_OPT_OWN,
        COUNT,
        IDLE,
        JSON,
        RAW,
        OUT,
        SIZE,
        AT_SEQ,
        BASE,
        FROM,
        JOURNAL,
        SYNC,
        TRY
    };
    static const struct option options[] = {
        { "id", required_argument, NULL, ID },
        { "count", required_argument, NULL, COUNT },
        { "idle-exit", required_argument, NULL, IDLE },
        { "json", no_argument, NULL, JSON },
        { "raw", no_argument, NULL, RAW },
        { "out", required_argument, NULL, OUT },
        { "size", required_argument, NULL, SIZE },
        { "at-seq", no_argument, NULL, AT_SEQ },
        { "base", required_argument, NULL, BASE },
        { "from", required_argument, NULL, FROM },
        { "journal", required_argument, NULL, JOURNAL },
        { "sync", no_argument, NULL, SYNC },
        { "attempts", required_argument, NULL, TRY },
        CLI_COMMON,
    };
    bool based = false;
    int option;

    while ((option = cli_option(argc, argv, "h", options)) >= 0) {
        if (option == ID)
            recv->id = cli_id("--id", optarg);
        else if (option == COUNT)
            recv->count = cli_number("--count", optarg, 1, UINT64_MAX);
        else if (option == IDLE)
            recv->idle_ns = (int64_t) cli_number("--idle-exit", optarg, 0, 1000000000) * 1000000;
        else if (option == OUT)
            recv->out = optarg;
        else if (option == SIZE)
            recv->size = cli_size("--size", optarg, 1, UINT32_MAX);
        else if (option == BASE)
            recv->base = cli_number("--base", optarg, 0, UINT64_MAX);
        else if (option == FROM)
            recv->from = cli_id("--from", optarg);
        else if (option == JOURNAL)
            recv->journal = optarg;
        else if (option == TRY)
            recv->attempts = (uint32_t) cli_number("--attempts", optarg, 1, 254);
        recv->json |= option == JSON;
        recv->raw |= option == RAW || option == SIZE;
        recv->at_seq |= option == AT_SEQ;
        recv->sync |= option == SYNC;
        based |= option == BASE;
    }
    cli_operands(argc, 0, 0);
    check_options(recv, based);
}

/* -1 after a text. Who writes at offsets must not append. */
static int open_out(const char *path, bool append) {
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | (append ? O_APPEND : 0), 0666);

    if (fd < 0)
        cli_error("%s cannot be opened: %s", path, strerror(errno));
    return fd;
}

static enum cli_exit run(struct recv *recv) {
    struct tram_options options = TRAM_OPTIONS_INIT;
    enum cli_exit code = CLI_FAILURE;

    cli_catch_signals();
    options.attempts = recv->attempts;
    recv->node = cli_node(recv->id, &options, &code);
    if (!recv->node)
        return code;
    code = receive_all(recv);
    (void) tram_close(recv->node);
    return code == CLI_OK && recv->broken ? CLI_FAILURE : code;
}

int verb_recv(int argc, char **argv) {
    static struct recv recv = { .idle_ns = -1, .out_fd = STDOUT_FILENO, .journal_fd = -1 };
    enum cli_exit code = CLI_FAILURE;

    parse(&recv, argc, argv);
    if (recv.out)
        recv.out_fd = open_out(recv.out, !recv.at_seq);
    if (recv.journal && recv.out_fd >= 0)
        recv.journal_fd = open_out(recv.journal, true);
    if (recv.out_fd >= 0 && (!recv.journal || recv.journal_fd >= 0))
        code = run(&recv);
    if (recv.out && recv.out_fd >= 0 && close(recv.out_fd) < 0 && code == CLI_OK)
        code = unwritten(recv.out, -errno);
    if (recv.journal_fd >= 0 && close(recv.journal_fd) < 0 && code == CLI_OK)
        code = unwritten(recv.journal, -errno);
    buf_free(&recv.buf);
    free(recv.copy);
    return (int) code;
}
