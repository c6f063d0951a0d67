/* SPDX-License-Identifier: MIT
 *
 * The names in a bus directory. A name is either exactly what layout.h says, or passed over: an
 * observer of today meets the files of tomorrow, editors' backups, and whatever people put there.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "observe/files.h"
#include "sys/file.h"

/* A decimal number without leading zeros, up to `max`; moves *at behind it. */
static bool number_read(const char **at, uint64_t max, uint64_t *ret_number) {
    const char *digit = *at;
    uint64_t number = 0;

    if (*digit < '0' || *digit > '9' || (*digit == '0' && digit[1] >= '0' && digit[1] <= '9'))
        return false;
    for (; *digit >= '0' && *digit <= '9'; digit++) {
        uint64_t value = (uint64_t) (*digit - '0');

        if (number > (max - value) / 10)
            return false;
        number = number * 10 + value;
    }
    *at = digit;
    *ret_number = number;
    return true;
}

static bool id_read(const char **at, tram_id *ret_id) {
    const char *next = *at;
    tram_id id = 0;

    for (int i = 0; i < 4; i++) {
        uint64_t part;

        if (i > 0 && *next++ != '.')
            return false;
        if (!number_read(&next, 255, &part))
            return false;
        id = id << 8 | (tram_id) part;
    }
    if (id == 0 || id == UINT32_MAX)
        return false;
    *at = next;
    *ret_id = id;
    return true;
}

bool look_id_parse(const char *text, tram_id *ret_id) {
    tram_id id;

    if (!id_read(&text, &id) || *text != '\0')
        return false;
    *ret_id = id;
    return true;
}

void look_id_format(tram_id id, char text[FILE_NAME_TEXT]) {
    (void) snprintf(text, FILE_NAME_TEXT, "%u.%u.%u.%u", id >> 24, id >> 16 & 255, id >> 8 & 255,
                    id & 255);
}

/* "from-S" and "from-S+N", "head-S", "aside-S-SEQ", "retry-S-SEQ". */
static const struct {
    const char *prefix;
    char before_number; /* 0: none */
    bool optional;
    enum file_kind kind;
} file_kinds[] = {
    { "from-", '+', true, FILE_STREAM },
    { "head-", 0, true, FILE_HEAD },
    { "aside-", '-', false, FILE_ASIDE },
    { "retry-", '-', false, FILE_RETRY },
};

bool look_name_parse(const char *text, struct file_name *ret_name) {
    for (size_t i = 0; i < sizeof(file_kinds) / sizeof(file_kinds[0]); i++) {
        struct file_name name = { .kind = file_kinds[i].kind };
        size_t skip = strlen(file_kinds[i].prefix);
        const char *at = text + skip;
        uint64_t max = name.kind == FILE_STREAM ? LAYOUT_GENERATIONS - 1 : UINT64_MAX;

        if (strncmp(text, file_kinds[i].prefix, skip) != 0)
            continue;
        if (!id_read(&at, &name.peer))
            return false;
        if (file_kinds[i].before_number && *at == file_kinds[i].before_number) {
            at++;
            if (!number_read(&at, max, &name.number) || name.number == 0)
                return false;
        } else if (!file_kinds[i].optional) {
            return false;
        }
        if (*at != '\0')
            return false;
        *ret_name = name;
        return true;
    }
    return false;
}

void look_name_format(const struct file_name *name, char text[FILE_NAME_TEXT]) {
    char peer[FILE_NAME_TEXT];
    size_t i = 0;

    look_id_format(name->peer, peer);
    while (file_kinds[i].kind != name->kind)
        i++;
    if (file_kinds[i].before_number && name->number > 0)
        (void) snprintf(text, FILE_NAME_TEXT, "%s%.15s%c%" PRIu64, file_kinds[i].prefix, peer,
                        file_kinds[i].before_number, name->number);
    else
        (void) snprintf(text, FILE_NAME_TEXT, "%s%.15s", file_kinds[i].prefix, peer);
}

int look_node_dir(const struct observe *observe, tram_id id) {
    char text[FILE_NAME_TEXT];

    look_id_format(id, text);
    return sys_dir_open(observe->dir, text);
}

struct listing {
    tram_id peer;
    struct file_name *names;
    size_t count, room;
};

static int listing_entry(void *context, const char *text, uint64_t inode) {
    struct listing *listing = context;
    struct file_name name;

    (void) inode;
    if (!look_name_parse(text, &name) || (listing->peer != 0 && name.peer != listing->peer))
        return 0;
    if (listing->count == listing->room) {
        size_t room = listing->room * 2 + 64;
        struct file_name *names = realloc(listing->names, room * sizeof(*names));

        if (!names)
            return -ENOMEM;
        listing->names = names;
        listing->room = room;
    }
    listing->names[listing->count++] = name;
    return 0;
}

static int by_peer_kind_number(const void *left, const void *right) {
    const struct file_name *a = left, *b = right;

    if (a->peer != b->peer)
        return a->peer < b->peer ? -1 : 1;
    if (a->kind != b->kind)
        return a->kind < b->kind ? -1 : 1;
    return a->number < b->number ? -1 : a->number > b->number;
}

int look_names(int dir, tram_id peer, struct file_name **ret_names, size_t *ret_count) {
    struct listing listing = { .peer = peer };
    int rc = sys_dir_each(dir, listing_entry, &listing);

    if (rc < 0) {
        free(listing.names);
        return rc;
    }
    if (listing.count > 1)
        qsort(listing.names, listing.count, sizeof(*listing.names), by_peer_kind_number);
    *ret_names = listing.names;
    *ret_count = listing.count;
    return 0;
}
