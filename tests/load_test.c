/* SPDX-License-Identifier: MIT
 * test: timeout=30 label=noasan,notsan
 *
 * The library as others load it that were not linked with it (Python): at run time, in a thread,
 * by any C library.
 */
#include <dlfcn.h>
#include <pthread.h>

#include "harness.h"
#include "support/kit.h"

static void *send_to_itself(void *library) {
    int (*open_node)(const char *, tram_id, const struct tram_options *, tram_node **);
    int (*send)(tram_node *, tram_id, uint32_t, const void *, size_t, uint32_t);
    int (*receive)(tram_node *, struct tram_msg *, int64_t);
    tram_node *(*close_node)(tram_node *);
    tram_node *node;
    struct tram_msg msg;

    *(void **) &open_node = dlsym(library, "tram_open");
    *(void **) &send = dlsym(library, "tram_send");
    *(void **) &receive = dlsym(library, "tram_recv");
    *(void **) &close_node = dlsym(library, "tram_close");
    CHECK(open_node && send && receive && close_node);
    CHECK_OK(open_node(NULL, TRAM_ID(1, 1, 1, 1), NULL, &node));
    CHECK_OK(send(node, TRAM_ID(1, 1, 1, 1), 7, "x", 1, 0));
    CHECK_OK(receive(node, &msg, 0));
    CHECK_EQ(msg.tag, 7);
    (void) close_node(node);
    return NULL;
}

TEST(loaded_at_run_time) {
    void *library = dlopen(test_program("../lib/libtram.so"), RTLD_NOW | RTLD_LOCAL);
    pthread_t thread;

    if (!library)
        FAIL("%s", dlerror());
    (void) send_to_itself(library);
    CHECK_EQ(pthread_create(&thread, NULL, send_to_itself, library), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
}
