/* SPDX-License-Identifier: MIT
 *
 * Static layouts: text is read or refused with its line; what was read keeps the rules, and is
 * found again.
 */
#include <errno.h>
#include <string.h>

#include "fuzz.h"
#include "node/node.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct layout *layout = NULL;
    struct tram_error error = {0};
    char *text = malloc(size + 1);
    uint64_t lines = 1;
    int rc;

    REQUIRE(text);
    for (size_t i = 0; i < size; i++) {
        text[i] = (char) (data[i] ? data[i] : '\n');
        lines += text[i] == '\n';
    }
    text[size] = '\0';
    rc = layout_parse(text, "fuzz", &layout, &error);
    REQUIRE(rc == 0 || rc == -EBADMSG);
    if (rc < 0)
        REQUIRE(!layout && error.code == rc && error.limit >= 1 && error.limit <= lines &&
                memchr(error.text, '\0', sizeof(error.text)));
    for (const struct layout_channel *at = rc == 0 ? layout_channels(layout) : NULL; at;
         at = at->next) {
        REQUIRE(at->size >= STREAM_MIN && at->size <= STREAM_MAX &&
                (at->size & (at->size - 1)) == 0);
        REQUIRE(layout_find(layout, at->from, at->to) == at);
        REQUIRE(layout_has_node(layout, at->from) && layout_has_node(layout, at->to));
    }
    (void) layout_free(layout);
    free(text);
    return 0;
}
