#include <stdio.h>
#include <tram/tram.h>
int main(void) {
    tram_node *node = NULL;
    int rc = tram_open(NULL, TRAM_ID(1, 0, 0, 1), NULL, &node);
    if (rc < 0 || (rc = tram_send(node, TRAM_ID(1, 0, 0, 2), 0, "hello, world\n", 13, 0)) < 0)
        fprintf(stderr, "%s\n", tram_last_error(node)->text);
    tram_close(node);
    return rc < 0;
}
