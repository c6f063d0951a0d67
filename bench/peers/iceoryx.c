/* SPDX-License-Identifier: MIT
 *
 * Peer: iceoryx 2, through its C binding. Publisher and subscriber that wait for each other, so
 * that nothing is lost; the longest queue that there is. Chunks are written in place and looked at
 * in place. Its daemon, iox-roudi, is started for the run, unless one runs already.
 */
// package: iceoryx_binding_c::iceoryx_binding_c
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "iceoryx_binding_c/log.h"
#include "iceoryx_binding_c/publisher.h"
#include "iceoryx_binding_c/runtime.h"
#include "iceoryx_binding_c/subscriber.h"
#include "iceoryx_binding_c/wait_set.h"

#include "job.h"

#define QUEUE 256
#define ROUDI_READY_TRIES 500u

struct iox_end {
    iox_pub_storage_t pub_memory;
    iox_sub_storage_t sub_memory;
    iox_ws_storage_t wait_memory;
    iox_pub_t pub;
    iox_sub_t sub;
    iox_ws_t wait;
    const void *chunk;
    size_t size; /* of all chunks: a topic has one type */
};

static pid_t roudi = -1;

/* It says "ready" when it is, on its standard output. */
static int roudi_ready(int fd) {
    char text[4096];
    size_t have = 0;

    while (have < sizeof(text) - 1) {
        ssize_t n = read(fd, text + have, sizeof(text) - 1 - have);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return -ESRCH;
        have += (size_t) n;
        text[have] = 0;
        if (strstr(text, "ready for clients"))
            return 0;
    }
    return -EPROTO;
}

static void roudi_stop(void) {
    if (roudi > 0) {
        (void) kill(roudi, SIGTERM);
        (void) waitpid(roudi, NULL, 0);
    }
    roudi = -1;
}

static int roudi_start(const struct job_opts *o) {
    int out[2], ret;

    (void) o;
    if (pipe(out) < 0)
        return -errno;
    roudi = fork();
    if (roudi == 0) {
        (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void) dup2(out[1], 1);
        (void) dup2(out[1], 2);
        (void) close(out[0]);
        (void) close(out[1]);
        (void) execlp("iox-roudi", "iox-roudi", "-m", "off", (char *) NULL);
        _exit(127);
    }
    (void) close(out[1]);
    ret = roudi < 0 ? -errno : roudi_ready(out[0]);
    /* Left open: it may say more, and would be killed by a pipe that nobody reads from. */
    if (ret < 0) {
        fprintf(stderr, "peer-iceoryx: iox-roudi doesn't start (or another one runs)\n");
        roudi_stop();
    }
    return ret;
}

static void end_close(void *end) {
    struct iox_end *e = end;

    if (!e)
        return;
    if (e->sub && e->chunk)
        iox_sub_release_chunk(e->sub, e->chunk);
    if (e->wait) {
        iox_ws_detach_subscriber_event(e->wait, e->sub, SubscriberEvent_DATA_RECEIVED);
        iox_ws_deinit(e->wait);
    }
    if (e->sub)
        iox_sub_deinit(e->sub);
    if (e->pub)
        iox_pub_deinit(e->pub);
    free(e);
}

/* Topics are called after who writes to them. */
static void *end_open(const struct job_opts *o, unsigned who) {
    static const char *const names[2] = { "first", "second" };
    struct iox_end *e = calloc(1, sizeof(*e));
    iox_pub_options_t pub;
    iox_sub_options_t sub;
    char name[64];

    if (!e)
        return NULL;
    e->size = o->size;
    (void) snprintf(name, sizeof(name), "tram-bench-%s", names[who]);
    iox_set_loglevel(Iceoryx_LogLevel_Warn);
    iox_runtime_init(name);
    iox_pub_options_init(&pub);
    pub.subscriberTooSlowPolicy = ConsumerTooSlowPolicy_WAIT_FOR_CONSUMER;
    iox_sub_options_init(&sub);
    sub.queueCapacity = QUEUE;
    sub.queueFullPolicy = QueueFullPolicy_BLOCK_PRODUCER;
    if (!o->stream || who == 0)
        e->pub = iox_pub_init(&e->pub_memory, "tram", "bench", names[who], &pub);
    if (!o->stream || who == 1)
        e->sub = iox_sub_init(&e->sub_memory, "tram", "bench", names[1 - who], &sub);
    if (o->sleep && e->sub) {
        e->wait = iox_ws_init(&e->wait_memory);
        if (iox_ws_attach_subscriber_event(e->wait, e->sub, SubscriberEvent_DATA_RECEIVED, 0,
                                           NULL) != WaitSetResult_SUCCESS) {
            end_close(e);
            return NULL;
        }
    }
    /* What is published before they know of each other is nobody's. */
    while (e->pub && !iox_pub_has_subscribers(e->pub))
        bench_pause(1000000);
    while (e->sub && iox_sub_get_subscription_state(e->sub) != SubscribeState_SUBSCRIBED)
        bench_pause(1000000);
    return e;
}

static int end_send(void *end, const void *data, size_t size) {
    struct iox_end *e = end;
    void *chunk;

    /* None left: the other end has them, and gives them back. */
    for (;;) {
        enum iox_AllocationResult ret = iox_pub_loan_chunk(e->pub, &chunk, (uint32_t) size);

        if (ret == AllocationResult_SUCCESS)
            break;
        if (ret != AllocationResult_RUNNING_OUT_OF_CHUNKS)
            return -ENOMEM;
    }
    bench_copy(chunk, data, size);
    iox_pub_publish_chunk(e->pub, chunk);
    return 0;
}

static int end_flush(void *end) {
    (void) end;
    return 0;
}

static int end_recv(void *end, const void **ret_data, size_t *ret_size) {
    struct iox_end *e = end;

    if (e->chunk)
        iox_sub_release_chunk(e->sub, e->chunk);
    e->chunk = NULL;
    for (;;) {
        enum iox_ChunkReceiveResult ret = iox_sub_take_chunk(e->sub, &e->chunk);
        iox_notification_info_t info;
        uint64_t missed;

        if (ret == ChunkReceiveResult_SUCCESS)
            break;
        if (ret != ChunkReceiveResult_NO_CHUNK_AVAILABLE)
            return -EIO;
        if (e->wait)
            (void) iox_ws_wait(e->wait, &info, 1, &missed);
    }
    *ret_data = e->chunk;
    *ret_size = e->size;
    return 0;
}

static const struct job_ops iox_ops = {
    .name = "iceoryx",
    .modes = "iceoryx 2, blocking policies, a queue of 256 chunks; --sleep waits on a wait set.",
    .setup = roudi_start,
    .teardown = roudi_stop,
    .open = end_open,
    .send = end_send,
    .flush = end_flush,
    .recv = end_recv,
    .close = end_close,
};

JOB_MAIN(iox_ops)
