/* SPDX-License-Identifier: MIT
 *
 * Config files: what was taken lies in its bounds, and a mistake has its line and its text.
 */
#include "wire/config.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "fuzz.h"

struct sample {
    uint64_t number, size, time, word, truth, plain;
    char text[16];
    uint64_t behind;
};

#define AT(member) offsetof(struct sample, member)

static const char *const words[] = { "error", "warning", "info", "debug", NULL };

static const struct config_key keys[] = {
    { "", "plain", CONFIG_NUMBER, AT(plain), 3, 9, NULL },
    { "a", "number", CONFIG_NUMBER, AT(number), 1, UINT64_MAX, NULL },
    { "a", "size", CONFIG_SIZE, AT(size), 1024, UINT64_MAX, NULL },
    { "b", "time", CONFIG_TIME, AT(time), 1000000, UINT64_MAX, NULL },
    { "b", "word", CONFIG_WORD, AT(word), 0, 0, words },
    { "b", "truth", CONFIG_BOOL, AT(truth), 0, 0, NULL },
    { "b", "text", CONFIG_TEXT, AT(text), 0, 16, NULL },
    { NULL, NULL, CONFIG_TEXT, 0, 0, 0, NULL },
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct sample sample = { 1, 1024, 1000000, 0, 0, 3, "", 77 };
    struct wrong wrong = { 0 };
    int rc = config_parse((const char *) data, size, keys, &sample, &wrong);
    int lines = 1;

    for (size_t i = 0; i < size; i++)
        lines += data[i] == '\n';
    REQUIRE(rc == 0 || (rc == -EINVAL && wrong.text[0] != '\0' && wrong.line >= 1 &&
                        wrong.line <= lines));
    REQUIRE(sample.plain >= 3 && sample.plain <= 9 && sample.number >= 1 && sample.size >= 1024);
    REQUIRE(sample.time >= 1000000 && sample.time % 1000000 == 0);
    REQUIRE(sample.word < 4 && sample.truth < 2 && sample.behind == 77);
    REQUIRE(memchr(sample.text, '\0', sizeof(sample.text)));
    return 0;
}
