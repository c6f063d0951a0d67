#include <stdio.h>
#include <tram/tram.h>
int main(void) {
    tram_node *node = NULL;
    struct tram_msg msg;
    int rc = tram_open(NULL, TRAM_ID(1, 0, 0, 2), NULL, &node);
    while (rc == 0 && (rc = tram_recv(node, &msg, TRAM_FOREVER)) == 0)
        dprintf(1, "%.*s", (int) msg.size, (const char *) msg.data);
    return fprintf(stderr, "%s\n", tram_last_error(node)->text), 1;
}
