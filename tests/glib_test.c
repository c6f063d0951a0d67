/* SPDX-License-Identifier: MIT
 *
 * The descriptor in a GLib main loop: a source on it is told of messages and left alone otherwise.
 * No header of GLib, since it may be missing when this is built: what little is needed is looked up.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include "harness.h"
#include "support/kit.h"

#define LEFT  TRAM_ID(6, 0, 0, 1)
#define RIGHT TRAM_ID(6, 0, 0, 2)
#define MESSAGES 50u
#define IO_IN 1

static struct {
    void *library;
    unsigned (*fd_add)(int fd, int condition, int (*told)(int fd, int condition, void *context),
                       void *context);
    unsigned (*timeout_add)(unsigned ms, int (*told)(void *context), void *context);
    int (*iteration)(void *context, int may_block);
    int (*remove)(unsigned source);
} glib;

static void glib_find(void) {
    struct {
        const char *name;
        void *place;
    } symbols[] = {
        { "g_unix_fd_add", &glib.fd_add },
        { "g_timeout_add", &glib.timeout_add },
        { "g_main_context_iteration", &glib.iteration },
        { "g_source_remove", &glib.remove },
    };

    glib.library = dlopen("libglib-2.0.so.0", RTLD_NOW);
    if (!glib.library)
        SKIP("GLib is not installed");
    for (size_t i = 0; i < sizeof symbols / sizeof *symbols; i++) {
        void *symbol = dlsym(glib.library, symbols[i].name);

        CHECK(symbol);
        memcpy(symbols[i].place, &symbol, sizeof symbol);
    }
}

struct state {
    tram_node *node;
    unsigned told, received;
    bool over;
};

static int readable(int fd, int condition, void *context) {
    struct state *state = context;
    struct tram_event event;
    struct tram_msg msg;

    (void) fd;
    CHECK_EQ(condition, IO_IN);
    state->told++;
    while (tram_dispatch(state->node, &event) > 0)
        continue;
    while (tram_recv(state->node, &msg, 0) == 0)
        state->received++;
    return 1; /* keep the source */
}

static int enough(void *context) {
    struct state *state = context;

    state->over = true;
    return 0;
}

static void send_slowly(void *arg) {
    tram_node *node = kit_open(NULL, LEFT, NULL);

    (void) arg;
    for (unsigned i = 0; i < MESSAGES; i++) {
        CHECK_OK(tram_send(node, RIGHT, 0, "x", 1, 0));
        if (!kit_await_asleep(test_dir(), RIGHT))
            FAIL("the receiver does not go to sleep");
    }
    tram_close(node);
}

TEST(glib_loop) {
    struct state state = { 0 };
    unsigned source;
    pid_t pid;

    glib_find();
    state.node = kit_open(NULL, RIGHT, NULL);
    source = glib.fd_add(CHECK_OK(tram_fd(state.node)), IO_IN, readable, &state);
    pid = test_fork(send_slowly, NULL);
    while (state.received < MESSAGES)
        (void) glib.iteration(NULL, 1);
    JOIN(pid);
    glib.timeout_add(200, enough, &state); /* of nothing */
    while (!state.over)
        (void) glib.iteration(NULL, 1);
    printf("    told %u times of %u messages and 200 ms of nothing\n", state.told, state.received);
    CHECK_EQ(state.received, MESSAGES);
    CHECK(state.told <= 2 * MESSAGES + 10);
    CHECK(glib.remove(source));
    tram_close(state.node);
}
