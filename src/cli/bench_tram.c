/* SPDX-License-Identifier: MIT */
#include "bench_tram.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

void bench_bus_init(struct bench_bus *bus, const struct bench_opts *o) {
    static unsigned number;

    bus->dir = o->dir;
    (void) snprintf(bus->name, sizeof(bus->name), "bench%u", ++number);
}

void bench_bus_deinit(struct bench_bus *bus) {
    char path[BENCH_PATH + 64];

    if (snprintf(path, sizeof(path), "%s/%s", bus->dir, bus->name) < (int) sizeof(path))
        bench_dir_remove(path);
}

tram_node *bench_open(const struct bench_bus *bus, tram_id id, enum bench_wait wait, size_t size) {
    static const int64_t spin[] = {
        [BENCH_SPIN] = TRAM_FOREVER, [BENCH_DEFAULT] = 0, [BENCH_SLEEP] = TRAM_NO_SPIN
    };
    struct tram_options options = TRAM_OPTIONS_INIT;
    tram_node *node;
    int ret;

    options.dir = bus->dir;
    options.spin_ns = spin[wait];
    /* Growing is another matter than handing over: large ones get a ring for three from the start.
       What is usual has the usual ring. */
    if (size > (1u << 20))
        for (options.ring_size = 4u << 20; options.ring_size < 3 * size;)
            options.ring_size *= 2;
    ret = tram_open(bus->name, id, &options, &node);
    if (ret < 0) {
        (void) bench_fail(NULL, "open", ret);
        return NULL;
    }
    return node;
}

int bench_fail(const tram_node *node, const char *what, int err) {
    /* Time-outs and empty rings leave no text. */
    const char *text = err == -EAGAIN || err == -ETIMEDOUT ? "" : tram_last_error(node)->text;

    fprintf(stderr, "tram bench: %s: %s%s%s\n", what, strerror(-err), *text ? ": " : "", text);
    return err;
}

enum bench_wait bench_wait_of(const struct bench_opts *o, enum bench_wait other) {
    return o->sleep ? BENCH_SLEEP : o->dflt ? BENCH_DEFAULT : o->spin ? BENCH_SPIN : other;
}

const char *bench_wait_name(enum bench_wait wait) {
    static const char *const names[] = {
        [BENCH_SPIN] = "spin", [BENCH_DEFAULT] = "default", [BENCH_SLEEP] = "sleep"
    };

    return names[wait];
}
