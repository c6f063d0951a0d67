/* SPDX-License-Identifier: MIT
 *
 * The supervisor of the storm with services: starts everybody, kills, hands over and restarts,
 * brings it to an end, and looks at what is left.
 */
#include "support/service_storm.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "harness.h"

#define SIEGE_LEAVING 64

struct supervisor {
    const struct siege_config *config;
    struct siege_world *world;
    struct siege_tally *tally;
    struct rng rng;
    pid_t daemon;
    int64_t awake; /* since when, between two sleeps; 0: has waited for somebody */
    struct {
        pid_t pid;
        enum siege_service service;
        int64_t since;
    } leaving[SIEGE_LEAVING]; /* servers that hand over */
    int64_t *names_ns;        /* shared with the probe */
};

__attribute__((format(printf, 2, 3))) static void wrong(struct supervisor *sup, const char *format,
                                                        ...) {
    va_list arguments;

    va_start(arguments, format);
    (void) fprintf(stderr, "  storm: ");
    (void) vfprintf(stderr, format, arguments);
    (void) fprintf(stderr, "\n");
    va_end(arguments);
    sup->world->failed = 1;
}

/* ---- starting -------------------------------------------------------------------------------- */

/* SIGTERM waits until the child has a handler for it. */
static pid_t fork_child(struct supervisor *sup) {
    sigset_t set;
    pid_t pid;

    (void) sigemptyset(&set);
    (void) sigaddset(&set, SIGTERM);
    (void) sigprocmask(SIG_BLOCK, &set, NULL);
    (void) fflush(NULL);
    pid = fork();
    if (pid < 0) {
        perror("fork");
        abort();
    }
    if (pid > 0)
        (void) sigprocmask(SIG_UNBLOCK, &set, NULL);
    sup->tally->lives += pid > 0;
    return pid;
}

static void start_daemon(struct supervisor *sup) {
    const char *path = test_program("../bin/tramd");
    sigset_t none;

    sup->world->tramd = kit_now();
    sup->daemon = fork_child(sup);
    if (sup->daemon != 0)
        return;
    (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void) sigemptyset(&none);
    (void) sigprocmask(SIG_SETMASK, &none, NULL);
    (void) execl(path, path, (char *) NULL);
    _exit(127);
}

static void start_server(struct supervisor *sup, struct siege_server *server) {
    pid_t pid;

    server->lives++;
    sup->world->disturbed[server->service] = kit_now();
    pid = fork_child(sup);
    if (pid == 0)
        siege_serve(sup->world, server);
    server->pid = pid;
}

static void start_client(struct supervisor *sup, struct siege_client *client) {
    pid_t pid;

    client->lives++;
    pid = fork_child(sup);
    if (pid == 0)
        siege_client(sup->world, client);
    client->pid = pid;
}

/* Who was killed comes again, some sooner, some later. */
static int64_t draw_due(struct supervisor *sup) {
    int64_t wait = (int64_t) rng_below(&sup->rng, 250 * KIT_MS);

    return kit_now() + (rng_chance(&sup->rng, 500) ? 0 : wait);
}

static void start_due(struct supervisor *sup) {
    struct siege_world *world = sup->world;
    int64_t now = kit_now();

    for (int i = 0; i < world->n_servers && world->ending < 2; i++)
        if (!world->servers[i].pid && world->servers[i].due <= now)
            start_server(sup, &world->servers[i]);
    for (int i = 0; i < world->n_clients && !world->ending; i++)
        if (!world->clients[i].pid && world->clients[i].due <= now)
            start_client(sup, &world->clients[i]);
    if (!sup->daemon && world->ending < 3)
        start_daemon(sup);
}

/* ---- ends ------------------------------------------------------------------------------------ */

static void ended(struct supervisor *sup, pid_t pid, int status) {
    struct siege_world *world = sup->world;
    bool killed = WIFSIGNALED(status) &&
                  (WTERMSIG(status) == SIGKILL || pid == sup->daemon); /* before it listened */

    if (!killed && (!WIFEXITED(status) || WEXITSTATUS(status) != 0))
        wrong(sup, "pid %d ended with status %#x", (int) pid, status);
    if (pid == sup->daemon)
        sup->daemon = 0;
    for (int i = 0; i < world->n_servers; i++)
        if (world->servers[i].pid == pid) {
            world->disturbed[world->servers[i].service] = kit_now();
            world->servers[i].pid = 0;
            world->servers[i].due = draw_due(sup);
        }
    for (int i = 0; i < world->n_clients; i++)
        if (world->clients[i].pid == pid) {
            world->clients[i].pid = 0;
            world->clients[i].due = draw_due(sup);
        }
    for (int i = 0; i < SIEGE_LEAVING; i++)
        if (sup->leaving[i].pid == pid)
            sup->leaving[i].pid = 0;
}

/* Until it has ended, its successor has no node. */
static void look_after(struct supervisor *sup, int i) {
    int64_t now = kit_now();

    if (!sup->leaving[i].pid)
        return;
    sup->world->disturbed[sup->leaving[i].service] = now;
    if (now - sup->leaving[i].since > sup->tally->drain_ns)
        sup->tally->drain_ns = now - sup->leaving[i].since;
    if (now - sup->leaving[i].since > siege_patience(sup->world, 8))
        wrong(sup, "pid %d does not end after SIGTERM", (int) sup->leaving[i].pid);
}

/* A millisecond, and what little is done in between; what is much more, everybody has lost. */
static void doze(struct supervisor *sup) {
    struct timespec ms = {.tv_nsec = KIT_MS};
    int64_t start = sup->awake ? sup->awake : kit_now();

    sup->world->dozes = start;
    (void) nanosleep(&ms, NULL);
    sup->awake = kit_now();
    if (sup->awake - start > SIEGE_STALL_NS)
        sup->world->stalled += sup->awake - start;
    sup->world->dozes = 0;
}

static void linger(struct supervisor *sup, int64_t ns) {
    int64_t end = kit_now() + ns;

    do {
        int status;
        pid_t pid;

        doze(sup);
        while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
            ended(sup, pid, status);
        start_due(sup);
        for (int i = 0; i < SIEGE_LEAVING; i++)
            look_after(sup, i);
    } while (kit_now() < end && !sup->world->failed);
}

/* ---- the storm ------------------------------------------------------------------------------- */

static void hand_over(struct supervisor *sup, struct siege_server *server) {
    sup->tally->handovers++;
    sup->world->disturbed[server->service] = kit_now();
    for (int i = 0; i < SIEGE_LEAVING; i++) {
        if (sup->leaving[i].pid)
            continue;
        sup->leaving[i].pid = server->pid;
        sup->leaving[i].since = kit_now();
        sup->leaving[i].service = server->service;
        (void) kill(server->pid, SIGTERM);
        server->pid = 0; /* the successor waits for the node */
        server->due = draw_due(sup);
        return;
    }
}

/* Sometimes it is stopped first: others see a server that lives and does nothing. */
static void kill_it(struct supervisor *sup, pid_t pid) {
    if (rng_chance(&sup->rng, 150)) {
        (void) kill(pid, SIGSTOP);
        linger(sup, (int64_t) rng_below(&sup->rng, 20 * KIT_MS));
    }
    (void) kill(pid, SIGKILL);
    sup->tally->kills++;
}

static void strike(struct supervisor *sup) {
    struct siege_world *world = sup->world;
    uint64_t draw = rng_next(&sup->rng) >> 8;
    struct siege_server *server = &world->servers[draw % (unsigned) world->n_servers];
    struct siege_client *client = &world->clients[draw % (unsigned) world->n_clients];
    unsigned dice = (unsigned) rng_below(&sup->rng, 100);

    if (dice < 12 && sup->daemon) {
        world->tramd = kit_now();
        (void) kill(sup->daemon, dice < 9 ? SIGKILL : SIGTERM);
        sup->tally->daemons++;
    } else if (dice < 35 || world->gentle) {
        if (server->pid)
            hand_over(sup, server);
    } else if (dice < 75) {
        world->disturbed[server->service] = kit_now();
        if (server->pid)
            kill_it(sup, server->pid);
        world->disturbed[server->service] = kit_now();
    } else if (client->pid) {
        kill_it(sup, client->pid);
    }
}

static void rage(struct supervisor *sup) {
    int64_t end = kit_now() + sup->config->length_ns;

    while (kit_now() < end && !sup->world->failed) {
        linger(sup, (int64_t) rng_below(&sup->rng, 50 * KIT_MS));
        for (uint64_t several = rng_chance(&sup->rng, 150) ? rng_below(&sup->rng, 4) : 1;
                 several > 0 && !sup->world->failed; several--)
            strike(sup);
    }
}

/* Linger until it is so. */
static void await(struct supervisor *sup, bool (*is_so)(struct supervisor *), const char *what) {
    int64_t start = kit_now() - sup->world->stalled;

    while (!sup->world->failed && !is_so(sup)) {
        linger(sup, KIT_MS);
        if (kit_now() - start > siege_patience(sup->world, 15))
            wrong(sup, "in vain: %s", what);
    }
    for (int i = 0; i < sup->world->n_servers && sup->world->failed; i++) {
        const struct siege_server *server = &sup->world->servers[i];

        (void) fprintf(stderr, "    %s: pid %d, life %u, %s\n", server->address,
                       (int) server->pid, server->lives,
                       server->online == server->pid ? "online" : "offline");
    }
}

static bool all_serve(struct supervisor *sup) {
    bool delta = sup->world->gentle;

    for (int i = 0; i < sup->world->n_servers; i++) {
        struct siege_server *server = &sup->world->servers[i];

        if (server->service == DELTA)
            delta |= server->pid && server->online == server->pid;
        else if (!server->pid || server->online != server->pid)
            return false;
    }
    return delta && sup->daemon;
}

static bool no_clients(struct supervisor *sup) {
    for (int i = 0; i < sup->world->n_clients; i++)
        if (sup->world->clients[i].pid)
            return false;
    return true;
}

static bool no_servers(struct supervisor *sup) {
    for (int i = 0; i < sup->world->n_servers; i++)
        if (sup->world->servers[i].pid)
            return false;
    for (int i = 0; i < SIEGE_LEAVING; i++)
        if (sup->leaving[i].pid)
            return false;
    return true;
}

static bool no_daemon(struct supervisor *sup) {
    return !sup->daemon;
}

/* ---- what is left ---------------------------------------------------------------------------- */

/* Of a client that came to its end in order, or is it only known that it was accepted? */
static bool survived(const struct siege_world *world, const struct siege_ask *ask) {
    for (int i = 0; i < world->n_clients; i++)
        if (world->clients[i].life == ask->life)
            return world->clients[i].ended;
    return false;
}

/* Everything that a surviving client sent one-way to a server with an ID of its own. */
static bool one_ways_came(struct supervisor *sup) {
    const struct siege_world *world = sup->world;

    for (uint32_t i = 0; i < SIEGE_ASKS && i < world->n_asks; i++) {
        const struct siege_ask *ask = &world->asks[i];

        if (ask->kind == ASK_ONEWAY && ask->accepted && ask->executed == 0 &&
            ask->service != BETA && ask->service != DELTA && survived(world, ask))
            return false;
    }
    return true;
}

static void report_open(struct supervisor *sup) {
    const struct siege_world *world = sup->world;
    int said = 0;

    for (uint32_t i = 0; i < SIEGE_ASKS && i < world->n_asks && said < 10; i++) {
        const struct siege_ask *ask = &world->asks[i];

        if (ask->end != OPEN || (ask->kind == ASK_ONEWAY && (!ask->accepted || ask->executed)))
            continue;
        for (int k = 0; k < world->n_clients; k++) {
            if (world->clients[k].life != ask->life)
                continue;
            said++;
            (void) fprintf(stderr,
                           "    open: request %u of client %d (pid %d, %s%s), %s, kind %u, "
                           "executed %u, asked %lld ms ago, deadline in %lld ms\n",
                           i, k, (int) world->clients[k].pid,
                           ask->waits ? "waits" : "does not wait", world->clients[k].doing,
                           siege_name(ask->service), ask->kind, ask->executed,
                           (long long) (kit_now() - ask->asked) / KIT_MS,
                           ask->deadline == TRAM_FOREVER
                               ? -1
                               : (long long) (ask->deadline - kit_now()) / KIT_MS);
        }
    }
}

static void count_one(struct supervisor *sup, uint32_t index) {
    const struct siege_ask *ask = &sup->world->asks[index];
    struct siege_tally *tally = sup->tally;

    tally->again += ask->executed > 1;
    if (ask->kind == ASK_ONEWAY) {
        tally->one_way++;
        return;
    }
    tally->asked++;
    if (ask->end == OPEN) {
        tally->open++;
        if (survived(sup->world, ask))
            wrong(sup, "request %u of a client that came to its end did not", index);
        return;
    }
    if (ask->end == CANCELLED)
        tally->cancelled++;
    else if (ask->status == 0)
        tally->answered++;
    else if (ask->status == -ETIMEDOUT)
        tally->timed_out++;
    else if (ask->status == -ECONNRESET)
        tally->unknown++;
    else if (ask->status == -ENOTCONN)
        tally->nobody++;
    else
        tally->failed++;
    if (ask->end == ENDED && ask->status == -ENOTCONN && ask->executed > 0)
        wrong(sup, "request %u ended with -ENOTCONN, but was executed", index);
    if (sup->world->gentle && ask->end == ENDED && ask->executed != 1)
        wrong(sup, "request %u was executed %u times, though nobody was killed", index,
              ask->executed);
}

static void count_all(struct supervisor *sup) {
    for (uint32_t i = 0; i < SIEGE_ASKS && i < sup->world->n_asks; i++)
        count_one(sup, i);
}

/* Who opens a node clears up after the dead, when what they sent is through. What was handed out in
 * many lives, to ports that were gone, is no more bad here than to siege_worker(). */
static void tidy(struct supervisor *sup, tram_id id) {
    struct tram_options options = TRAM_OPTIONS_INIT;
    struct tram_msg msg;
    tram_node *node;

    options.attempts = SIEGE_ATTEMPTS;
    node = kit_open(sup->world->dir, id, &options);
    while (tram_recv(node, &msg, 0) == 0)
        ;
    tram_close(node);
}

static void check_files(struct supervisor *sup) {
    static const char *const patterns[] = {"*24[0-9].*.*.*", "*25[0-5].*.*.*", "events*"};

    for (int i = 0; i < sup->world->n_servers; i++)
        if (sup->world->servers[i].id != TRAM_EPHEMERAL)
            tidy(sup, sup->world->servers[i].id);
    for (int i = 0; i < sup->world->n_clients; i++)
        if (sup->world->clients[i].id != TRAM_EPHEMERAL)
            tidy(sup, sup->world->clients[i].id);
    for (int i = 0; i < 3; i++) {
        if (kit_count_files(sup->world->dir, patterns[i]) == 0)
            continue;
        wrong(sup, "files were left behind, as %s", patterns[i]);
        kit_list_tree(sup->world->dir);
    }
}

/* ---- one storm ------------------------------------------------------------------------------- */

static void probe_names(struct supervisor *sup) {
    int64_t since;
    int status;
    pid_t pid;

    (void) kill(sup->daemon, SIGKILL);
    (void) waitpid(sup->daemon, NULL, 0);
    since = kit_now();
    start_daemon(sup);
    pid = fork_child(sup);
    if (pid == 0)
        siege_probe(sup->world, since, sup->names_ns);
    if (waitpid(pid, &status, 0) != pid || status != 0)
        sup->world->failed = 1;
    sup->awake = 0;
    if (*sup->names_ns > sup->tally->names_ns)
        sup->tally->names_ns = *sup->names_ns;
}

static void calm(struct supervisor *sup) {
    struct siege_world *world = sup->world;

    linger(sup, 30 * KIT_MS); /* who was killed just now is gone then */
    await(sup, all_serve, "all servers serve");
    if (!world->failed)
        probe_names(sup);
    world->ending = 1;
    await(sup, no_clients, "the clients come to their end");
    await(sup, one_ways_came, "what was sent one-way arrives");
    if (world->failed)
        report_open(sup);
    world->ending = 2;
    for (int i = 0; i < world->n_servers && !world->failed; i++)
        if (world->servers[i].pid > 0) /* 0 would be all of us */
            (void) kill(world->servers[i].pid, SIGTERM);
    await(sup, no_servers, "the servers hand over");
    world->ending = 3;
    if (!world->failed && sup->daemon > 0)
        (void) kill(sup->daemon, SIGTERM);
    await(sup, no_daemon, "tramd ends");
}

static void stop_all(struct supervisor *sup) {
    for (int i = 0; i < sup->world->n_servers; i++)
        if (sup->world->servers[i].pid > 0)
            (void) kill(sup->world->servers[i].pid, SIGKILL);
    for (int i = 0; i < sup->world->n_clients; i++)
        if (sup->world->clients[i].pid > 0)
            (void) kill(sup->world->clients[i].pid, SIGKILL);
    for (int i = 0; i < SIEGE_LEAVING; i++)
        if (sup->leaving[i].pid > 0)
            (void) kill(sup->leaving[i].pid, SIGKILL);
    if (sup->daemon > 0)
        (void) kill(sup->daemon, SIGKILL);
    while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
        ;
}

int service_storm(const struct siege_config *config, struct siege_tally *tally) {
    struct supervisor sup = {.config = config, .tally = tally};
    int rc;

    sup.world = siege_world_new(config);
    sup.names_ns = kit_shared(sizeof(*sup.names_ns));
    sup.rng.state = kit_mix(config->seed, 77, 0);
    sup.awake = kit_now();
    start_due(&sup);
    rage(&sup);
    if (!sup.world->failed)
        calm(&sup);
    if (!sup.world->failed) {
        count_all(&sup);
        check_files(&sup);
    }
    if (sup.world->failed)
        (void) fprintf(stderr, "  storm: seed %llu%s FAILED\n", (unsigned long long) config->seed,
                       config->gentle ? " (gentle)" : "");
    stop_all(&sup);
    rc = sup.world->failed ? -1 : 0;
    (void) munmap(sup.names_ns, sizeof(*sup.names_ns));
    siege_world_free(sup.world);
    return rc;
}
