/* SPDX-License-Identifier: MIT */
#include "job.h"

#include <getopt.h>
#include <stdlib.h>

#define JOB_TIMEOUT_S 300u

struct job_call {
    const struct job_ops *ops;
    int (*end)(void *job, unsigned who);
    struct job *job;
    struct job_opts o;
};

static void job_help(const struct job_ops *ops, FILE *out) {
    fprintf(out,
            "usage: peer-%s rtt|stream%s [--size S] [--count N] [--sleep] [--each]%s%s\n"
            "       %s%s[--json]\n\n"
            "  --size S   bytes of a message (k, M behind the number; default 32)\n"
            "  --count N  messages or round trips\n"
            "  --sleep    round trips: both sides block; else both spin\n"
            "  --each     streams: a system call per message, where packing is possible\n"
            "%s%s%s%s"
            "  --json     nothing but the JSON object on the last line\n\n%s\n",
            ops->name, ops->requests ? "|rpc" : "", ops->requests ? " [--batch N]" : "",
            ops->number ? " [--channels N]" : "",
            ops->daemons ? "[--spin-daemons] [--one-host] [--ring S] " : "",
            ops->tcp ? "[--tcp] " : "",
            ops->requests ? "  --batch N  rpc: so many requests under way (1)\n" : "",
            ops->number ? "  --channels N  streams: messages take turns among so many (1)\n" : "",
            ops->daemons ? "  --spin-daemons  daemons look for 1 ms before they sleep\n"
                           "  --one-host  both ends on one host, no daemon between them\n"
                           "  --ring S   bytes of a ring (4M)\n"
                         : "",
            ops->tcp ? "  --tcp      over loopback TCP\n" : "", ops->modes);
}

static bool job_options(struct job_call *call, int argc, char **argv) {
    static const struct option options[] = {
        { "size", required_argument, NULL, 's' },
        { "count", required_argument, NULL, 'n' },
        { "batch", required_argument, NULL, 'b' },
        { "channels", required_argument, NULL, 'c' },
        { "spin-daemons", no_argument, NULL, 'd' },
        { "one-host", no_argument, NULL, 'o' },
        { "ring", required_argument, NULL, 'r' },
        { "tcp", no_argument, NULL, 't' },
        { "sleep", no_argument, NULL, 'w' },
        { "each", no_argument, NULL, 'e' },
        { "json", no_argument, NULL, 'j' },
        { "help", no_argument, NULL, 'h' },
        { NULL, 0, NULL, 0 },
    };
    uint64_t n = 32;
    int opt;

    call->o.size = n;
    while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (opt == 'h') {
            job_help(call->ops, stdout);
            exit(0);
        }
        if (opt == '?')
            return false;
        if (strchr("snbcr", opt) && (!bench_parse_size(optarg, &n) || n < 1))
            return false;
        if (opt == 's')
            call->o.size = n < BENCH_SIZE_MIN ? BENCH_SIZE_MIN : n;
        if (opt == 'n')
            call->o.count = n;
        if (opt == 'b' && n > JOB_UNDER_WAY_MAX)
            return false;
        if (opt == 'b')
            call->o.under_way = (unsigned) n;
        if (opt == 'c' && n > JOB_CHANNELS_MAX)
            return false;
        if (opt == 'c')
            call->o.channels = (unsigned) n;
        if (opt == 'r')
            call->o.ring = n;
        call->o.one_host |= opt == 'o';
        call->o.spin_daemons |= opt == 'd';
        call->o.tcp |= opt == 't';
        call->o.sleep |= opt == 'w';
        call->o.each |= opt == 'e';
        call->o.quiet |= opt == 'j';
    }
    if (optind + 1 != argc)
        return false;
    call->o.stream = strcmp(argv[optind], "stream") == 0;
    call->o.requests = call->ops->requests && strcmp(argv[optind], "rpc") == 0;
    if (call->o.under_way > 1 && !call->o.requests)
        return false;
    if (call->o.channels > 1 && !(call->ops->number && call->o.stream))
        return false;
    if ((call->o.spin_daemons || call->o.one_host || call->o.ring) && !call->ops->daemons)
        return false;
    if (call->o.tcp && !call->ops->tcp)
        return false;
    return call->o.stream || call->o.requests || strcmp(argv[optind], "rtt") == 0;
}

static int job_run(void *arg, struct bench_result *r) {
    struct job_call *call = arg;
    struct job *j = call->job;
    struct bench_team team = {
        .n = 2, .timeout_s = JOB_TIMEOUT_S, .fn = call->end, .arg = call->job
    };
    int ret;

    memset(j, 0, sizeof(*j));
    j->o = call->o;
    ret = call->ops->setup ? call->ops->setup(&call->o) : 0;
    if (ret == 0)
        ret = bench_team_run(&team);
    if (call->ops->teardown)
        call->ops->teardown();
    if (ret < 0)
        return ret;
    r->count = j->o.count;
    r->verified = j->ok[0] && j->ok[1];
    r->preempted = j->switches[0].preempted + j->switches[1].preempted;
    r->slept = j->switches[0].slept + j->switches[1].slept;
    r->msgs_per_s = j->rate;
    r->bytes_per_s = j->rate * (double) j->o.size;
    bench_result_times(r, &j->hist, j->o.stream ? BENCH_SLICE_UNIT : 1);
    return 0;
}

static int job_worker(void *arg, const char *dir) {
    struct job_call *call = arg;
    struct bench_result r = { .bench = call->o.stream     ? "stream"
                                       : call->o.requests ? "rpc"
                                                          : "rtt",
                              .subject = call->ops->name,
                              .size = call->o.size };
    int ret;

    call->o.dir = dir;
    bench_cpus(call->o.cpu);
    bench_clock_init();
    call->job = bench_shared(sizeof(*call->job));
    if (!call->job)
        return 1;
    if (call->o.stream)
        r.mode = !call->ops->packs ? "as it is" : call->o.each ? "each" : "packed";
    else
        r.mode = call->o.sleep ? "sleep" : "spin";
    ret = bench_measure(call->o.cpu, job_run, call, &r);
    bench_unshare(call->job, sizeof(*call->job));
    if (ret < 0) {
        fprintf(stderr, "peer-%s: %s\n", call->ops->name, strerror(-ret));
        return 1;
    }
    if (!call->o.quiet)
        bench_result_text(&r);
    bench_result_json(&r, stdout);
    printf("\n");
    return r.verified ? 0 : 1;
}

int job_main(int argc, char **argv, const struct job_ops *ops,
             int (*end)(void *job, unsigned who)) {
    struct job_call call = { .ops = ops, .end = end };

    if (!job_options(&call, argc, argv)) {
        job_help(ops, stderr);
        return 2;
    }
    if (!call.o.count && call.o.stream)
        call.o.count = bench_stream_count(call.o.size) / 4;
    else if (!call.o.count)
        call.o.count = call.o.sleep || call.o.size > 4096 ? 20000 : 100000;
    call.o.warm = call.o.count / 10 + 1;
    return bench_supervise(job_worker, &call);
}
