/* SPDX-License-Identifier: MIT
 *
 * Addresses, names and patterns: what is taken has one spelling, which is found again; and a name
 * fits itself as a pattern.
 */
#include "wire/address.h"

#include <errno.h>
#include <string.h>

#include "fuzz.h"

static void check_address(const char *text) {
    struct address address, again;
    struct wrong wrong = { 0 };
    char spelt[ADDRESS_SIZE], same[ADDRESS_SIZE];

    memset(&address, 0, sizeof(address));
    memset(&again, 0, sizeof(again));
    if (address_parse(text, &address, &wrong) < 0) {
        REQUIRE(wrong.text[0] != '\0');
        return;
    }
    (void) address_format(&address, spelt);
    REQUIRE(address_parse(spelt, &again, &wrong) == 0);
    REQUIRE(again.kind == address.kind && again.node == address.node &&
            again.port == address.port && strcmp(again.host, address.host) == 0 &&
            strcmp(again.path, address.path) == 0 &&
            strcmp(again.name.name, address.name.name) == 0 &&
            strcmp(again.name.instance, address.name.instance) == 0);
    REQUIRE(strcmp(address_format(&again, same), spelt) == 0);
}

static void check_name(const char *text) {
    struct name name;
    char full[NAME_FULL_SIZE];

    if (name_parse(text, &name) < 0)
        return;
    REQUIRE(strcmp(name_format(name.name, name.instance, full), text) == 0);
    REQUIRE(pattern_valid(full) && pattern_fits(full, name.name, name.instance));
    REQUIRE(pattern_fits(name.name, name.name, name.instance));
    REQUIRE(pattern_fits("*", name.name, name.instance));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char text[400];
    size_t half = size / 2;
    struct name name = { 0 };

    if (size == 0 || size >= sizeof(text))
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    check_address(text);
    check_name(text);
    /* The first half as a pattern, the other as what it might fit. */
    if (size - half < sizeof(name.name))
        memcpy(name.name, data + half, size - half);
    text[half] = '\0';
    if (pattern_valid(text) && name_valid(name.name))
        (void) pattern_fits(text, name.name, "");
    return 0;
}
