/* SPDX-License-Identifier: MIT
 *
 * Where others connect to: links (peers.c), and the directory (host_server.c). Beyond this machine
 * only with keys, or if the config says that it may be without.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/hosts.h"
#include "daemon/log.h"
#include "sys/cleanup.h"
#include "wire/allow.h"

#define BACKLOG 256
#define ACCEPTS_MAX 32           /* of a turn */
#define AGAIN INT64_C(100000000) /* until then who connects waits, if there is no descriptor */

static void on_listener(tram_io *io, int fd, uint32_t events, void *arg) {
    struct listener *listener = arg;

    (void) events;
    for (int i = 0; i < ACCEPTS_MAX; i++) {
        int accepted = sys_accept(fd);

        if (accepted == -EAGAIN)
            return;
        if (accepted < 0) { /* else it would be tried, and said, in each turn */
            if (!listener->failed)
                log_line(LEVEL_ERROR, "cannot accept a connection: %s", strerror(-accepted));
            listener->failed = true;
            listener->again = hosts_now(listener->hosts) + AGAIN;
            (void) tram_io_set(io, 0); /* its arguments are right */
            hosts_wake(listener->hosts, listener->again);
            return;
        }
        listener->failed = false;
        listener->on_accept(listener->hosts, accepted);
    }
}

int64_t listeners_time(struct listener *list, int64_t now) {
    int64_t next = INT64_MAX;

    for (struct listener *listener = list; listener; listener = listener->next) {
        if (listener->again > 0 && listener->again <= now) {
            listener->again = 0;
            (void) tram_io_set(listener->io, TRAM_IO_READ); /* as above */
        }
        if (listener->again > 0 && listener->again < next)
            next = listener->again;
    }
    return next;
}

int listener_new(struct hosts *hosts, const char *address, uint16_t port,
                 void (*on_accept)(struct hosts *hosts, int fd), struct listener **list,
                 struct wrong *wrong) {
    struct listener *listener = calloc(1, sizeof(*listener));
    char host[ALLOW_HOST_SIZE];
    struct sys_address where;
    int rc = listener ? allow_address(address, port, host, &port) : -ENOMEM;

    if (rc == 0)
        rc = sys_address_numeric(host, port, &where);
    if (rc == 0)
        rc = transport_allowed(&where, hosts->security, hosts_settings(hosts)->insecure, wrong);
    if (rc == 0) {
        listener->fd = sys_listen(&where, BACKLOG);
        rc = listener->fd;
        if (rc < 0)
            (void) wrong_set(wrong, rc, "cannot listen at %.60s, port %u: %s", address,
                             (unsigned) port, strerror(-rc));
        else
            rc = tram_io_new(hosts->tasks.worker, listener->fd, TRAM_IO_READ, on_listener,
                             listener, &listener->io);
        if (rc < 0)
            cleanup_fd(&listener->fd);
    }
    if (rc < 0) {
        free(listener);
        return rc;
    }
    listener->hosts = hosts;
    listener->on_accept = on_accept;
    listener->next = *list;
    *list = listener;
    return 0;
}

void listeners_free(struct listener **list) {
    while (*list) {
        struct listener *listener = *list;

        *list = listener->next;
        listener->io = tram_io_free(listener->io);
        cleanup_fd(&listener->fd);
        free(listener);
    }
}
