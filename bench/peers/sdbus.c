/* SPDX-License-Identifier: MIT
 *
 * Peer: sd-bus, peer to peer over a UNIX socket pair, without a daemon in between: method calls
 * with an array of bytes, and their returns. Spinning is sd_bus_process() without a wait.
 */
// needs: libsystemd
#include <stdlib.h>
#include <sys/socket.h>
#include <systemd/sd-bus.h>
#include <unistd.h>

#include "job.h"

static int ends[2];

struct sdbus_end {
    sd_bus *bus;
    sd_bus_message *in;
    bool serves, spin;
};

static int pair_setup(const struct job_opts *o) {
    (void) o;
    return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0 ? -errno : 0;
}

static void pair_teardown(void) {
    (void) close(ends[0]);
    (void) close(ends[1]);
}

static void end_close(void *end) {
    struct sdbus_end *e = end;

    if (!e)
        return;
    sd_bus_message_unref(e->in);
    sd_bus_flush_close_unref(e->bus);
    free(e);
}

static int end_start(struct sdbus_end *e, int fd) {
    sd_id128_t id;
    int rc = sd_bus_new(&e->bus);

    if (rc >= 0)
        rc = sd_bus_set_fd(e->bus, fd, fd);
    if (rc >= 0 && e->serves)
        rc = sd_id128_randomize(&id);
    if (rc >= 0 && e->serves)
        rc = sd_bus_set_server(e->bus, 1, id);
    if (rc >= 0)
        rc = sd_bus_set_anonymous(e->bus, 1);
    return rc >= 0 ? sd_bus_start(e->bus) : rc;
}

static void *end_open(const struct job_opts *o, unsigned who) {
    struct sdbus_end *e = calloc(1, sizeof(*e));
    int fd = dup(ends[who]), rc;

    if (!e)
        return NULL;
    e->serves = who == 1;
    e->spin = !o->sleep;
    rc = fd < 0 ? -errno : end_start(e, fd);
    if (rc >= 0)
        return e;
    fprintf(stderr, "peer-sdbus: %s\n", strerror(-rc));
    end_close(e);
    return NULL;
}

static int end_send(void *end, const void *data, size_t size) {
    struct sdbus_end *e = end;
    sd_bus_message *m = NULL;
    uint64_t cookie;
    int rc;

    if (e->serves)
        rc = sd_bus_message_new_method_return(e->in, &m);
    else
        rc = sd_bus_message_new_method_call(e->bus, &m, NULL, "/bench", "tram.Bench", "Echo");
    if (rc >= 0)
        rc = sd_bus_message_append_array(m, 'y', data, size);
    if (rc >= 0)
        rc = sd_bus_send(e->bus, m, e->serves ? NULL : &cookie);
    sd_bus_message_unref(m);
    return rc < 0 ? rc : 0;
}

static int end_flush(void *end) {
    (void) end;
    return 0;
}

static int end_recv(void *end, const void **ret_data, size_t *ret_size) {
    struct sdbus_end *e = end;

    for (;;) {
        int rc;

        e->in = sd_bus_message_unref(e->in);
        rc = sd_bus_process(e->bus, &e->in);
        if (rc < 0)
            return rc;
        if (e->in && (sd_bus_message_is_method_call(e->in, "tram.Bench", "Echo") > 0 ||
                      sd_bus_message_is_method_error(e->in, NULL) == 0))
            return sd_bus_message_read_array(e->in, 'y', ret_data, ret_size) < 0 ? -EBADMSG : 0;
        if (rc == 0 && !e->spin && (rc = sd_bus_wait(e->bus, UINT64_MAX)) < 0)
            return rc;
    }
}

static const struct job_ops sdbus_ops = {
    .name = "sdbus",
    .modes = "sd-bus, peer to peer over a UNIX socket pair: method calls and their returns.",
    .requests = true,
    .setup = pair_setup,
    .teardown = pair_teardown,
    .open = end_open,
    .send = end_send,
    .flush = end_flush,
    .recv = end_recv,
    .close = end_close,
};

JOB_MAIN(sdbus_ops)
