/* SPDX-License-Identifier: MIT
 *
 * What tests/instructions_test.py counts: sends, then receives, of 32 bytes, in one process, both
 * ends awake. Argument: how many hundreds.
 */
#include <stdio.h>
#include <stdlib.h>

#include "tram/tram.h"

#define FROM TRAM_ID(1, 0, 0, 1)
#define TO   TRAM_ID(1, 0, 0, 2)

int main(int argc, char **argv) {
    long rounds = argc == 2 ? strtol(argv[1], NULL, 10) : 0;
    tram_node *from = NULL, *to = NULL;
    struct tram_msg msg;
    char payload[32] = "";

    if (tram_open(NULL, FROM, NULL, &from) < 0 || tram_open(NULL, TO, NULL, &to) < 0) {
        (void) fprintf(stderr, "instructions: %s\n", tram_last_error(NULL)->text);
        return 1;
    }
    for (long round = 0; round < rounds; round++) {
        for (int i = 0; i < 100; i++)
            if (tram_send(from, TO, 0, payload, sizeof(payload), 0) < 0)
                return 1;
        for (int i = 0; i < 100; i++)
            if (tram_recv(to, &msg, 0) < 0)
                return 1;
    }
    (void) tram_close(from);
    (void) tram_close(to);
    return 0;
}
