/* SPDX-License-Identifier: MIT
 *
 * Replays a corpus without libFuzzer, with any compiler: runs the target on each file in the
 * folders (or files) named. The last line counts as the tests' summaries do.
 */
#include <dirent.h>
#include <string.h>
#include <sys/stat.h>

#include "fuzz.h"

#define INPUT_MAX (1u << 20)

static unsigned replayed;

static void replay_file(const char *path) {
    static uint8_t bytes[INPUT_MAX];
    FILE *file = fopen(path, "rb");
    uint8_t *exact;
    size_t size;

    REQUIRE(file);
    size = fread(bytes, 1, sizeof(bytes), file);
    (void) fclose(file);
    exact = malloc(size > 0 ? size : 1); /* so that the sanitizer sees what is read behind it */
    REQUIRE(exact);
    memcpy(exact, bytes, size);
    fprintf(stderr, "%s\n", path); /* the last one is the one that crashed */
    (void) LLVMFuzzerTestOneInput(exact, size);
    free(exact);
    replayed++;
}

static void replay(const char *path) {
    DIR *folder = opendir(path);
    char inner[1024];

    if (!folder) {
        replay_file(path);
        return;
    }
    for (struct dirent *entry; (entry = readdir(folder));) {
        if (entry->d_name[0] == '.')
            continue;
        (void) snprintf(inner, sizeof(inner), "%s/%s", path, entry->d_name);
        replay(inner);
    }
    (void) closedir(folder);
}

int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++)
        replay(argv[i]);
    (void) LLVMFuzzerTestOneInput(NULL, 0);
    printf("%u passed, 0 failed, 0 skipped\n", replayed);
    return replayed > 0 ? 0 : 1;
}
