/* SPDX-License-Identifier: MIT
 *
 * A node of another layout version (this is linked with a library compiled so): says what each call
 * returned, and the text of its error. For tests/version_test.c.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tram/tram.h"

static int say(int rc, const tram_node *node) {
    (void) printf("%d %s\n", rc < 0 ? rc : 0, rc < 0 ? tram_last_error(node)->text : "");
    return 0;
}

int main(int argc, char **argv) {
    struct tram_peer peer;
    struct tram_msg msg;
    tram_node *node;
    tram_id id, to = 0;
    int rc;

    if (argc < 3 || tram_id_parse(argv[2], &id) < 0 ||
        (argc > 3 && tram_id_parse(argv[3], &to) < 0)) {
        (void) fprintf(stderr, "usage: other_version open|recv|send|peer|watch ID [ID]\n");
        return 2;
    }
    rc = tram_open(NULL, id, NULL, &node);
    if (rc < 0)
        return say(rc, NULL);
    if (strcmp(argv[1], "send") == 0)
        rc = tram_send(node, to, 0, "other", 5, 0);
    else if (strcmp(argv[1], "recv") == 0)
        rc = tram_recv(node, &msg, 0);
    else if (strcmp(argv[1], "peer") == 0)
        rc = tram_peer(node, to, &peer);
    else if (strcmp(argv[1], "watch") == 0)
        rc = tram_watch(node, to);
    (void) say(rc, node);
    (void) tram_close(node);
    return 0;
}
