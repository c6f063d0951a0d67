/* SPDX-License-Identifier: MIT
 *
 * Process, then commit: what a server's handlers answered in a busy turn is accepted before the
 * requests are released. The server is killed at each instant between the two; its successor has
 * the requests again, and none ends as unknown.
 *
 * The calls of libtram by which a worker stages, flushes and releases go through this program.
 */
// test: timeout=120 link=shared
#include <dlfcn.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"
#include "support/pair.h"
#include "tram/service.h"

#define ADDRESS "shm://1.1.5.1/pair"
#define EACH    16 /* requests that are sent together */
#define ROUNDS  2000

enum moment {
    NEVER,
    BEFORE_FLUSH,   /* answers are staged */
    AFTER_FLUSH,    /* … accepted */
    AFTER_RELEASES, /* … and some of the requests are released */
};

static enum moment doom;
static unsigned staged, flushed;

static void die(void) {
    (void) kill(getpid(), SIGKILL);
}

/* ---- between the worker and its node --------------------------------------------------------- */

#define REAL(name) ((__typeof__(&name)) dlsym(RTLD_NEXT, #name))

/* What is staged is accepted with this call, whichever it is. */
static void accepted(void) {
    if (doom == BEFORE_FLUSH && staged > 4)
        die();
    flushed = staged > 4;
    staged = 0;
}

int tram_sendv(tram_node *node, tram_id to, const struct tram_meta *meta,
               const struct iovec *pieces, int count, uint32_t flags, int64_t timeout_ns) {
    if (flags & TRAM_MORE)
        staged++;
    else
        accepted();
    return REAL(tram_sendv)(node, to, meta, pieces, count, flags, timeout_ns);
}

int tram_flush(tram_node *node) {
    if (staged > 0)
        accepted();
    return REAL(tram_flush)(node);
}

int tram_recv_batch(tram_node *node, struct tram_msg *ret_msgs, int max, uint32_t flags,
                    int64_t timeout_ns) {
    accepted();
    flushed = 0;
    return REAL(tram_recv_batch)(node, ret_msgs, max, flags, timeout_ns);
}

int tram_release(tram_node *node, const struct tram_msg *msg) {
    int rc;

    if (doom == AFTER_FLUSH && flushed)
        die();
    rc = REAL(tram_release)(node, msg);
    if (doom == AFTER_RELEASES && flushed && ++flushed > 4)
        die();
    return rc;
}

/* ---- the test -------------------------------------------------------------------------------- */

static int asked, ended_count, unknown, others;

static void ended(const struct tram_result *result, void *arg) {
    (void) arg;
    ended_count++;
    unknown += result->status == -ECONNRESET;
    others += result->status != 0 && result->status != -ECONNRESET;
}

static pid_t start(enum moment moment) {
    pid_t server;

    doom = moment;
    server = pair_start(NULL);
    doom = NEVER;
    return server;
}

/* A turn's worth, so that the server finds them together. */
static void ask_all(tram_client *client, bool defer) {
    struct tram_how how = TRAM_HOW_INIT;

    how.flags = TRAM_HOW_MORE;
    how.timeout_ns = TRAM_FOREVER;
    for (int i = 0; i < EACH; i++) {
        uint32_t code = !defer ? PAIR_ECHO : i < 8 ? PAIR_DEFER : i == 8 ? PAIR_FLUSH : PAIR_ECHO;

        CHECK_OK(tram_client_ask(client, code, &asked, sizeof(asked), &how, ended, NULL, NULL));
        asked++;
    }
}

static void killed_at(enum moment moment, bool defer) {
    pid_t server = start(moment);
    tram_worker *worker = pair_worker(PAIR_CLIENT);
    tram_client *client = pair_client(worker, ADDRESS, TRAM_CLIENT_WAIT, NULL, NULL);
    int rounds = 0;
    bool died = false;

    CHECK_OK(tram_client_wait(client, pair_patience()));
    while (!died && rounds++ < ROUNDS) {
        ask_all(client, defer);
        while (!died && ended_count < asked) {
            pair_turn(worker);
            died = waitpid(server, NULL, WNOHANG) == server;
        }
    }
    if (!died) {
        (void) tram_worker_free(worker);
        test_kill(server);
        SKIP("handlers are not quick enough here to stage their answers");
    }
    server = start(NEVER);
    if (defer) { /* some came again, and are kept again */
        tram_reply *reply;

        CHECK_OK(tram_client_call(client, PAIR_FLUSH, NULL, 0, NULL, &reply));
        (void) tram_reply_free(reply);
    }
    UNTIL(worker, ended_count == asked);
    CHECK_EQ(unknown, 0);
    CHECK_EQ(others, 0);
    (void) tram_worker_free(worker);
    test_kill(server);
}

TEST(before_the_flush) { killed_at(BEFORE_FLUSH, false); }
TEST(after_the_flush) { killed_at(AFTER_FLUSH, false); }
TEST(between_releases) { killed_at(AFTER_RELEASES, false); }
TEST(deferred_before_the_flush) { killed_at(BEFORE_FLUSH, true); }
TEST(deferred_after_the_flush) { killed_at(AFTER_FLUSH, true); }
TEST(deferred_between_releases) { killed_at(AFTER_RELEASES, true); }
