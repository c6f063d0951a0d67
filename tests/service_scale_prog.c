/* SPDX-License-Identifier: MIT
 *
 * Many endpoints on one host: `service_scale_prog PROCESSES SERVICES CLIENTS TRAMD`, the second and
 * third of each process. All services are published; every process watches all their names; every
 * client asks the one that it has, of another process, once. Prints how long that took and what it
 * holds of the machine as one JSON object. TRAMD is the daemon's process ID.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "support/footprint.h"
#include "tram/service.h"

enum phase { MAKE, ASK, MEASURE, LEAVE };

static struct world {
    uint32_t processes, services, clients;
    uint32_t phase, made, published, named, answered, failed, measured;
    uint32_t mappings, descriptors;  /* of who has most */
    uint64_t rss, pss;               /* likewise; of all */
} *world;

static uint32_t me, online, asked;
static bool knows_all, has_measured;
static tram_client **clients;

static double now(void) {
    struct timespec t;

    (void) clock_gettime(CLOCK_MONOTONIC, &t);
    return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}

static double most_s(void) {
    const char *scale = getenv("TRAM_TIME_SCALE");

    return 30 * (scale ? strtod(scale, NULL) : 1);
}

static void add(uint32_t *word) {
    (void) __atomic_fetch_add(word, 1, __ATOMIC_SEQ_CST);
}

static uint32_t get(const uint32_t *word) {
    return __atomic_load_n(word, __ATOMIC_SEQ_CST);
}

static void must(const tram_worker *worker, const char *what, int rc) {
    if (rc >= 0)
        return;
    (void) fprintf(stderr, "scale: process %u: %s: %s (%s)\n", me, what, strerror(-rc),
                   tram_worker_error(worker)->text);
    add(&world->failed);
    _exit(1);
}

/* ---- a process ------------------------------------------------------------------------------- */

static void on_request(tram_server *server, tram_request **request, void *arg) {
    const struct tram_view *view = tram_request_view(*request);

    (void) server;
    (void) arg;
    (void) tram_reply_send(request, view->data, view->size);
}

static void on_state(tram_server *server, enum tram_state state, const struct tram_party *who,
                     void *arg) {
    (void) server;
    (void) who;
    (void) arg;
    if (state == TRAM_STATE_ONLINE)
        add(&world->published);
    else
        add(&world->failed);
}

static void on_name(enum tram_state state, const struct tram_party *who, void *arg) {
    (void) arg;
    if (!who)
        return;
    if (state != TRAM_STATE_ONLINE) {
        online--;
        return;
    }
    if (++online < world->processes * world->services || knows_all)
        return;
    knows_all = true;
    add(&world->named);
}

static void on_answer(const struct tram_result *result, void *arg) {
    (void) arg;
    add(result->status == 0 ? &world->answered : &world->failed);
}

static void measure(void) {
    struct footprint mine = footprint_of_self();

    has_measured = true;
    (void) __atomic_fetch_add(&world->pss, mine.pss, __ATOMIC_SEQ_CST);
    if (me == 0) {
        world->mappings = mine.mappings;
        world->descriptors = mine.descriptors;
        world->rss = mine.rss;
    }
    add(&world->measured);
}

static void on_timer(tram_timer *timer, int64_t late_ns, uint64_t missed, void *arg) {
    tram_worker *worker = arg;

    (void) timer;
    (void) late_ns;
    (void) missed;
    if (get(&world->phase) == ASK)
        for (; asked < world->clients; asked++)
            must(worker, "ask", tram_client_ask(clients[asked], 1, "scale", 5, NULL, on_answer,
                                                NULL, NULL));
    if (get(&world->phase) == MEASURE && !has_measured)
        measure();
    if (get(&world->phase) == LEAVE)
        (void) tram_worker_stop(worker, 0);
}

static void address_of(uint32_t service, char address[64]) {
    (void) snprintf(address, 64, "svc://scale/%u", service);
}

static void make(tram_worker *worker) {
    static const struct tram_server_handlers handlers = { .on_state = on_state,
                                                          .on_request = on_request };
    struct tram_server_options options = TRAM_SERVER_OPTIONS_INIT;
    uint32_t all = world->processes * world->services;
    tram_name_watch *watch;
    tram_server *server;
    tram_timer *timer;
    char address[64];

    options.handlers = &handlers;
    for (uint32_t i = 0; i < world->services; i++) {
        address_of(me * world->services + i, address);
        must(worker, "serve", tram_server_new(worker, address, &options, &server));
    }
    for (uint32_t i = 0; i < world->clients; i++) { /* of the processes behind this one */
        address_of((me * world->services + world->services + i * 7) % all, address);
        must(worker, "connect", tram_client_new(worker, address, NULL, &clients[i]));
    }
    must(worker, "watch", tram_name_watch_new(worker, "scale/*", on_name, NULL, &watch));
    must(worker, "timer", tram_timer_new(worker, on_timer, worker, &timer));
    must(worker, "timer", tram_timer_set(timer, 2000000, 2000000));
}

static void process(void) {
    struct tram_worker_options options = TRAM_WORKER_OPTIONS_INIT;
    tram_worker *worker = NULL;

    options.id = TRAM_ID(10, 1, 0, 0) + 1 + me;
    options.flags = TRAM_WORKER_NO_SPIN;
    clients = calloc(world->clients + 1, sizeof(*clients));
    must(NULL, "open", clients ? tram_worker_new(&options, &worker) : -ENOMEM);
    make(worker);
    add(&world->made);
    (void) tram_worker_run(worker);
    (void) tram_worker_free(worker);
    free(clients);
    _exit(0);
}

/* ---- all of them ----------------------------------------------------------------------------- */

/* Seconds since `start` until so many are there. */
static double await(const uint32_t *word, uint32_t wanted, double start, const char *what) {
    double until = now() + most_s();

    while (get(word) < wanted) {
        const struct timespec pause = { .tv_nsec = 500000 };

        if (get(&world->failed) > 0 || now() > until) {
            (void) fprintf(stderr, "scale: %s: %u of %u, %u failed\n", what, get(word), wanted,
                           get(&world->failed));
            return -1;
        }
        (void) nanosleep(&pause, NULL);
    }
    return now() - start;
}

static void phase(enum phase next) {
    __atomic_store_n(&world->phase, (uint32_t) next, __ATOMIC_SEQ_CST);
}

/* Of the daemon: memory in bytes, and descriptors. */
static void of_daemon(const char *pid, unsigned long *ret_rss, unsigned *ret_descriptors) {
    char path[64], line[128];
    unsigned long kib = 0;
    FILE *file;
    DIR *folder;

    *ret_rss = *ret_descriptors = 0;
    (void) snprintf(path, sizeof(path), "/proc/%.10s/status", pid);
    file = fopen(path, "r");
    while (file && fgets(line, sizeof(line), file))
        if (sscanf(line, "VmRSS: %lu", &kib) == 1)
            *ret_rss = kib * 1024;
    if (file)
        (void) fclose(file);
    (void) snprintf(path, sizeof(path), "/proc/%.10s/fd", pid);
    folder = opendir(path);
    while (folder && readdir(folder))
        ++*ret_descriptors;
    if (folder)
        (void) closedir(folder);
    *ret_descriptors -= *ret_descriptors > 2 ? 2 : 0; /* "." and ".." */
}

static int report(double start, const char *daemon) {
    uint32_t services = world->processes * world->services;
    uint32_t asks = world->processes * world->clients;
    double made, published, named, answered, ask;
    unsigned long daemon_rss;
    unsigned daemon_fds;
    uint64_t files = 0, bytes;

    if ((made = await(&world->made, world->processes, start, "made")) < 0 ||
        (published = await(&world->published, services, start, "published")) < 0 ||
        (named = await(&world->named, world->processes, start, "know all names")) < 0)
        return -1;
    ask = now();
    phase(ASK);
    if ((answered = await(&world->answered, asks, ask, "answered")) < 0)
        return -1;
    phase(MEASURE);
    if (await(&world->measured, world->processes, ask, "measured") < 0)
        return -1;
    bytes = footprint_of_files(getenv("TRAM_DIR"), 3, &files);
    of_daemon(daemon, &daemon_rss, &daemon_fds);
    (void) printf("{\"processes\":%u,\"services\":%u,\"endpoints\":%u,\"made_s\":%.3f,"
                  "\"published_s\":%.3f,\"named_s\":%.3f,\"answered_s\":%.3f,"
                  "\"rss_bytes\":%llu,\"pss_bytes_all\":%llu,\"descriptors\":%u,\"mappings\":%u,"
                  "\"bus_bytes\":%llu,\"bus_files\":%llu,\"daemon_rss_bytes\":%lu,"
                  "\"daemon_descriptors\":%u}\n",
                  world->processes, services, services + asks, made, published, named, answered,
                  (unsigned long long) world->rss, (unsigned long long) world->pss,
                  world->descriptors, world->mappings, (unsigned long long) bytes,
                  (unsigned long long) files, daemon_rss, daemon_fds);
    return 0;
}

int main(int argc, char **argv) {
    struct rlimit files;
    double start = now();
    int rc;

    if (argc != 5 || !getenv("TRAM_DIR")) {
        (void) fprintf(stderr, "usage: TRAM_DIR=… service_scale_prog PROCESSES SERVICES CLIENTS "
                               "TRAMD\n");
        return 2;
    }
    world = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (world == MAP_FAILED)
        return 1;
    world->processes = (uint32_t) strtoul(argv[1], NULL, 10);
    world->services = (uint32_t) strtoul(argv[2], NULL, 10);
    world->clients = (uint32_t) strtoul(argv[3], NULL, 10);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        (void) setrlimit(RLIMIT_NOFILE, &files); /* a refusal shows soon enough */
    }
    for (me = 0; me < world->processes; me++)
        if (fork() == 0)
            process();
    rc = report(start, argv[4]);
    phase(LEAVE);
    while (wait(NULL) > 0 || errno == EINTR)
        continue;
    return rc < 0 ? 1 : 0;
}
