/* SPDX-License-Identifier: MIT
 *
 * A server's name: bound first, published when all of its addresses are there.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "service/server.h"

static tram_server *of(struct names_binding *binding) {
    return container_of(binding, tram_server, binding);
}

static void on_bound(struct names_binding *binding) {
    tram_server *server = of(binding);
    int rc = server_listen(server);

    if (rc == 0) {
        (void) names_publish(binding, server_listens_at(server)); /* all was checked */
        return;
    }
    names_unbind(binding);
    server->holder = (struct tram_party){
        .name = server->endpoint.name, .program = "", .address = server->address, .error = rc};
    server_state(server, TRAM_STATE_REFUSED);
}

static void on_published(struct names_binding *binding, uint64_t order) {
    (void) order;
    server_state(of(binding), TRAM_STATE_ONLINE);
}

static void on_refused(struct names_binding *binding, int error, const char *text,
                       const struct names_party *holder) {
    tram_server *server = of(binding);

    (void) worker_fail(server->endpoint.worker, error, "%s", text);
    server->holder = (struct tram_party){
        .name = server->endpoint.name, .program = "", .address = server->address, .error = error};
    if (holder) {
        server->holder_program = strdup(holder->program);
        if (server->holder_program)
            server->holder.program = server->holder_program;
        server->holder.pid = holder->pid;
        server->holder.node = holder->node;
    }
    server_state(server, TRAM_STATE_REFUSED);
}

static void on_away(struct names_binding *binding) {
    server_state(of(binding), TRAM_STATE_OFFLINE);
}

int server_publish(tram_server *server) {
    bool shm = !(server->flags & TRAM_SERVER_NO_SHM);

    if (server->flags & TRAM_SERVER_NO_DAEMON) {
        int rc = server_listen(server);

        if (rc == 0)
            server_state(server, TRAM_STATE_ONLINE);
        return rc;
    }
    server->binding.on_bound = on_bound;
    server->binding.on_published = on_published;
    server->binding.on_refused = on_refused;
    server->binding.on_away = on_away;
    return names_bind(server->endpoint.worker, &server->binding, server->service, server->instance,
                      shm ? server->endpoint.port.port : 0);
}
