/* SPDX-License-Identifier: MIT
 *
 * Names in a bus directory: whatever is taken for one is spelt as the library spells it, by the
 * node's reader and the observer's alike.
 */
#include <string.h>

#include "fuzz.h"
#include "node/files.h"

static void check_name(const char *name, enum file_kind kind, tram_id peer, uint64_t number) {
    char spelt[FILES_NAME];

    switch (kind) {
    case FILE_STREAM:
        REQUIRE(number < FILES_GENERATIONS);
        files_stream_name(spelt, peer, (uint32_t) number);
        break;
    case FILE_HEAD:
        files_head_name(spelt, peer);
        break;
    case FILE_ASIDE:
        files_aside_name(spelt, "aside", peer, number);
        break;
    case FILE_RETRY:
        files_aside_name(spelt, "retry", peer, number);
        break;
    case FILE_WATCH:
        files_watch_name(spelt, peer);
        break;
    default:
        return;
    }
    REQUIRE(peer != 0 && peer != UINT32_MAX && strcmp(name, spelt) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const prefixes[] = {"", "from-", "head-", "aside-", "retry-", "watch-"};
    uint64_t number = 0;
    enum file_kind kind;
    tram_id peer = 0;
    char name[300];
    char again[TRAM_ID_TEXT];
    size_t length;

    if (size == 0)
        return 0;
    length = (size_t) snprintf(name, sizeof(name), "%s", prefixes[data[0] % 6]);
    size = size - 1 < sizeof(name) - 1 - length ? size - 1 : sizeof(name) - 1 - length;
    memcpy(name + length, data + 1, size);
    name[length + size] = '\0';
    kind = files_parse(name, &peer, &number);
    check_name(name, kind, peer, number);
    if (tram_id_parse(name + length, &peer) == 0) {
        tram_id same;

        REQUIRE(peer != 0 && peer != UINT32_MAX);
        REQUIRE(tram_id_parse(tram_id_format(peer, again), &same) == 0 && same == peer);
    }
    return 0;
}
