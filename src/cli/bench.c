/* SPDX-License-Identifier: MIT
 *
 * `tram bench`: which benchmark, and how.
 */
#include "bench.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

struct bench_verb {
    const char *name;
    int (*run)(const struct bench_opts *o);
    const char *what;
};

static const struct bench_verb verbs[] = {
    { "rtt", bench_rtt, "round trips between two nodes" },
    { "stream", bench_stream, "one to one, as fast as it goes" },
    { "fanin", bench_fanin, "many senders to one node; total, and the slowest one's share" },
    { "wake", bench_wake, "one message at a time to a receiver that sleeps" },
    { "mix", bench_mix, "sizes 8 B to 16 KiB at random between N x N nodes" },
    { "first", bench_first, "the first message to a new node, until it is received" },
    { "durable", bench_durable, "one send that is on a disk before it returns" },
    { "rpc", bench_rpc, "requests to a service and their answers" },
    { "events", bench_events, "events of one publisher to one or many subscribers" },
    { "floor", bench_floor, "what the machine allows: cache line, ideal rings, futex" },
};
#define VERBS (sizeof(verbs) / sizeof(*verbs))

static void bench_help(FILE *out) {
    fprintf(out, "usage: tram bench VERB [OPTIONS]\n\nVerbs:\n");
    for (size_t i = 0; i < VERBS; i++)
        fprintf(out, "  %-8s %s\n", verbs[i].name, verbs[i].what);
    fprintf(out,
            "\nOptions:\n"
            "  --size S       bytes of a message (k, M behind the number; 32, of events 256)\n"
            "  --count N      messages or round trips\n"
            "  --batch N      stage N messages before a flush and receive N at once (stream, mix)\n"
            "                 stage N events (events), have N requests under way (rpc; 1)\n"
            "  --take N       receive N at once, whatever --batch says (stream)\n"
            "  --senders K    senders of fanin (8), nodes of mix (4)\n"
            "  --readers N    subscribers of events (1), readers of floor fan (4)\n"
            "  --spin         never sleep (rtt does that, and rpc with one under way)\n"
            "  --sleep        never spin: sleep at once (wake and first do that)\n"
            "  --default      wait as one does who asks for nothing: spin a little, then sleep\n"
            "                 (all others do that)\n"
            "  --threads      threads of one process with a node each, not processes\n"
            "  --claim        write in place and look in place (rtt, stream)\n"
            "  --on DIR       where the disk is, or the current folder (durable)\n"
            "  --json         nothing but the JSON object\n"
            "\nThe floors are: %s; none named: all.\n"
            "\nEach run is on a bus of its own that is removed at the end. The two ends are pinned "
            "to two\ncores (BENCH_CPUS=A,B says which). Every byte is read, every number checked. "
            "The last\nline is one JSON object. How far the two cores are from each other is "
            "measured before and\nafter (class_ns); what was disturbed is repeated.\n"
            "\nExamples:\n"
            "  tram bench rtt --size 1k              spinning round trips of 1 KiB\n"
            "  tram bench rtt --sleep                both sides sleep each time\n"
            "  tram bench stream --batch 64          32-byte messages in batches\n"
            "  tram bench fanin --senders 64 --json\n"
            "  tram bench rpc --batch 64 --size 64   64 requests under way\n"
            "  tram bench events --readers 4         one publisher, four subscribers\n"
            "  tram bench rtt --claim --size 64M --count 1000\n"
            "  tram bench durable --on /var/tmp      beside one fdatasync of that disk\n"
            "  tram bench floor rtt --size 64k       the ideal ring's round trip\n",
            bench_floor_names);
}

enum {
    OPT_SIZE = 1,
    OPT_COUNT,
    OPT_BATCH,
    OPT_TAKE,
    OPT_SENDERS,
    OPT_READERS,
    OPT_SLEEP,
    OPT_SPIN,
    OPT_DEFAULT,
    OPT_THREADS,
    OPT_CLAIM,
    OPT_ON,
    OPT_JSON,
    OPT_HELP
};

static const struct option options[] = {
    { "size", required_argument, NULL, OPT_SIZE },
    { "count", required_argument, NULL, OPT_COUNT },
    { "batch", required_argument, NULL, OPT_BATCH },
    { "take", required_argument, NULL, OPT_TAKE },
    { "senders", required_argument, NULL, OPT_SENDERS },
    { "readers", required_argument, NULL, OPT_READERS },
    { "sleep", no_argument, NULL, OPT_SLEEP },
    { "spin", no_argument, NULL, OPT_SPIN },
    { "default", no_argument, NULL, OPT_DEFAULT },
    { "threads", no_argument, NULL, OPT_THREADS },
    { "claim", no_argument, NULL, OPT_CLAIM },
    { "on", required_argument, NULL, OPT_ON },
    { "json", no_argument, NULL, OPT_JSON },
    { "help", no_argument, NULL, OPT_HELP },
    { NULL, 0, NULL, 0 },
};

/* A number between 1 and max. */
static bool option_number(const char *name, const char *text, uint64_t max, uint64_t *ret) {
    if (bench_parse_size(text, ret) && *ret >= 1 && *ret <= max)
        return true;
    fprintf(stderr, "tram bench: --%s is a number from 1 to %llu, not '%s'\n", name,
            (unsigned long long) max, text);
    return false;
}

/* One option; false if its value is nonsense. */
static bool option_take(struct bench_opts *o, int opt, const char *text) {
    uint64_t n = 0;

    switch (opt) {
    case OPT_SIZE:
        if (!option_number("size", text, UINT64_C(1) << 30, &n))
            return false;
        o->size = n;
        if (n >= 8)
            return true;
        fprintf(stderr, "tram bench: a message has its number in it, at least 8 bytes\n");
        return false;
    case OPT_COUNT:
        return option_number("count", text, UINT64_C(1) << 40, &o->count);
    case OPT_BATCH:
        if (!option_number("batch", text, 512, &n))
            return false;
        o->batch = (unsigned) n;
        return true;
    case OPT_TAKE:
        if (!option_number("take", text, 512, &n))
            return false;
        o->take = (unsigned) n;
        return true;
    case OPT_SENDERS:
        if (!option_number("senders", text, 1024, &n))
            return false;
        o->senders = (unsigned) n;
        return true;
    case OPT_READERS:
        if (!option_number("readers", text, BENCH_READERS_MAX, &n))
            return false;
        o->readers = (unsigned) n;
        return true;
    case OPT_ON:
        o->on = text;
        return true;
    default:
        break;
    }
    o->sleep |= opt == OPT_SLEEP;
    o->spin |= opt == OPT_SPIN;
    o->dflt |= opt == OPT_DEFAULT;
    o->threads |= opt == OPT_THREADS;
    o->claim |= opt == OPT_CLAIM;
    o->quiet |= opt == OPT_JSON;
    return true;
}

struct bench_call {
    const struct bench_verb *verb;
    struct bench_opts opts;
};

static int bench_worker(void *arg, const char *dir) {
    struct bench_call *call = arg;

    call->opts.dir = dir;
    bench_cpus(call->opts.cpu);
    bench_clock_init();
    return call->verb->run(&call->opts);
}

int bench_report(const struct bench_opts *o, int (*run)(void *arg, struct bench_result *r),
                 void *arg, struct bench_result *r) {
    int ret = bench_measure(o->cpu, run, arg, r);

    if (ret < 0) {
        fprintf(stderr, "tram bench: %s %s, %zu bytes: %s\n", r->subject, r->bench, r->size,
                ret == -ECHILD ? "a process died" : strerror(-ret));
        return cli_code(ret);
    }
    if (!o->quiet)
        bench_result_text(r);
    if (!o->list) {
        bench_result_json(r, stdout);
        printf("\n");
    }
    (void) fflush(stdout);
    if (!r->verified)
        fprintf(stderr, "tram bench: a message was not what had been sent\n");
    return r->verified ? 0 : 1;
}

static int bench_on_disk(struct bench_call *call) {
    const char *folder = call->opts.on ? call->opts.on : ".";
    int memory = bench_in_memory(folder);

    if (memory < 0)
        fprintf(stderr, "tram bench: %s: %s\n", folder, strerror(-memory));
    else if (memory)
        fprintf(stderr, "tram bench: %s lies in memory; --on names a folder on a disk\n", folder);
    return memory ? CLI_USAGE : bench_supervise_in(folder, bench_worker, call);
}

int verb_bench(int argc, char **argv) {
    struct bench_call call = { 0 };
    int opt;

    opterr = 0;
    optind = 0; /* anew, with options behind operands, whatever came before */
    while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (opt == OPT_HELP) {
            bench_help(stdout);
            return 0;
        }
        if (opt == '?') {
            fprintf(stderr, "tram bench: '%s' is no option, or lacks its value; see --help\n",
                    argv[optind - 1]);
            return CLI_USAGE;
        }
        if (!option_take(&call.opts, opt, optarg))
            return CLI_USAGE;
    }
    for (size_t i = 0; i < VERBS && optind < argc; i++)
        if (strcmp(argv[optind], verbs[i].name) == 0)
            call.verb = &verbs[i];
    if (!call.verb) {
        fprintf(stderr, "tram bench: %s%s; see --help\n",
                optind < argc ? "no such verb: " : "which one? ",
                optind < argc ? argv[optind]
                              : "rtt, stream, fanin, wake, mix, first, durable, rpc, events, "
                                "floor");
        return CLI_USAGE;
    }
    if (call.verb->run == bench_floor && optind + 1 < argc)
        call.opts.floor = argv[++optind];
    if (optind + 1 < argc) {
        fprintf(stderr, "tram bench: '%s' is one too many\n", argv[optind + 1]);
        return CLI_USAGE;
    }
    if (call.verb->run != bench_durable)
        return bench_supervise(bench_worker, &call);
    return bench_on_disk(&call);
}
