/* SPDX-License-Identifier: MIT
 *
 * The descriptor in a GLib main loop: a source on it is told of messages and left alone
 * otherwise. No header of GLib, since it may be missing when this is built: what little is needed
 * is looked up.
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
    void *(*context_new)(void);
    void (*context_unref)(void *context);
    int (*iteration)(void *context, int may_block);
    void *(*fd_source)(int fd, int condition);
    void *(*timeout_source)(unsigned ms);
    void (*set_callback)(void *source, void (*told)(void), void *data, void (*done)(void *data));
    unsigned (*attach)(void *source, void *context);
    void (*destroy)(void *source);
    void (*unref)(void *source);
} glib;

static void glib_find(void) {
    struct {
        const char *name;
        void *place;
    } symbols[] = {
        { "g_main_context_new", &glib.context_new },
        { "g_main_context_unref", &glib.context_unref },
        { "g_main_context_iteration", &glib.iteration },
        { "g_unix_fd_source_new", &glib.fd_source },
        { "g_timeout_source_new", &glib.timeout_source },
        { "g_source_set_callback", &glib.set_callback },
        { "g_source_attach", &glib.attach },
        { "g_source_destroy", &glib.destroy },
        { "g_source_unref", &glib.unref },
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
    void *context, *source, *clock;
    pid_t pid;

    glib_find();
    state.node = kit_open(NULL, RIGHT, NULL);
    context = glib.context_new();
    source = glib.fd_source(CHECK_OK(tram_fd(state.node)), IO_IN);
    glib.set_callback(source, (void (*)(void)) readable, &state, NULL);
    glib.attach(source, context);
    pid = test_fork(send_slowly, NULL);
    while (state.received < MESSAGES)
        (void) glib.iteration(context, 1);
    JOIN(pid);
    clock = glib.timeout_source(200); /* of nothing */
    glib.set_callback(clock, (void (*)(void)) enough, &state, NULL);
    glib.attach(clock, context);
    while (!state.over)
        (void) glib.iteration(context, 1);
    printf("    told %u times of %u messages and 200 ms of nothing\n", state.told, state.received);
    CHECK_EQ(state.received, MESSAGES);
    CHECK(state.told <= 2 * MESSAGES + 10);
    glib.destroy(source);
    glib.unref(source);
    glib.unref(clock);
    glib.context_unref(context);
    tram_close(state.node);
}
