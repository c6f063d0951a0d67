/* SPDX-License-Identifier: MIT */
#include "cli/buf.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"

/* Room for `size` more bytes. */
static char *buf_room(struct buf *buf, size_t size) {
    if (buf->room - buf->used < size) {
        size_t room = buf->room + buf->room / 2 + size + 4096;
        char *data = room > size ? realloc(buf->data, room) : NULL;

        if (!data) {
            cli_error("no memory for %zu bytes of output", room);
            exit(CLI_FAILURE);
        }
        buf->data = data;
        buf->room = room;
    }
    return buf->data + buf->used;
}

void buf_bytes(struct buf *buf, const void *bytes, size_t size) {
    if (size == 0)
        return;
    memcpy(buf_room(buf, size), bytes, size);
    buf->used += size;
}

void buf_text(struct buf *buf, const char *text) {
    buf_bytes(buf, text, strlen(text));
}

void buf_char(struct buf *buf, char character) {
    *buf_room(buf, 1) = character;
    buf->used++;
}

void buf_format(struct buf *buf, const char *format, ...) {
    va_list args;
    int size;

    va_start(args, format);
    size = vsnprintf(buf_room(buf, 256), 256, format, args);
    va_end(args);
    if (size >= 256) {
        va_start(args, format);
        (void) vsnprintf(buf_room(buf, (size_t) size + 1), (size_t) size + 1, format, args);
        va_end(args);
    }
    if (size > 0)
        buf->used += (size_t) size;
}

int buf_write(struct buf *buf, int fd) {
    struct iovec piece = { .iov_base = buf->data, .iov_len = buf->used };
    int rc = buf->used > 0 ? buf_pieces(fd, &piece, 1, -1) : 0;

    buf->used = 0;
    return rc;
}

void buf_free(struct buf *buf) {
    free(buf->data);
    *buf = (struct buf){ 0 };
}

int buf_pieces(int fd, struct iovec *pieces, int count, int64_t offset) {
    while (count > 0) {
        int some = count < IOV_MAX ? count : IOV_MAX;
        ssize_t put =
            offset < 0 ? writev(fd, pieces, some) : pwritev(fd, pieces, some, (off_t) offset);
        size_t done = put > 0 ? (size_t) put : 0;

        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return -errno;
        if (offset >= 0)
            offset += put;
        while (count > 0 && done >= pieces->iov_len) {
            done -= pieces->iov_len;
            pieces++;
            count--;
        }
        if (count > 0) {
            pieces->iov_base = (char *) pieces->iov_base + done;
            pieces->iov_len -= done;
        }
    }
    return 0;
}

/* ---- text ----------------------------------------------------------------------------------- */

/* The length of the UTF-8 character at the start of `size` bytes; 0 if there is none: too long a
 * form, a surrogate, above U+10FFFF, or cut short. */
static size_t utf8_length(const uint8_t *bytes, size_t size) {
    static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
    uint8_t first = bytes[0];
    size_t length = first < 0x80 ? 1 : first >> 5 == 6 ? 2 : first >> 4 == 14 ? 3 : 4;
    uint32_t character;

    if (length == 1)
        return 1;
    if (length > size || (length == 4 && first >> 3 != 30))
        return 0;
    character = first & (0xffu >> (length + 1));
    for (size_t i = 1; i < length; i++) {
        if (bytes[i] >> 6 != 2)
            return 0;
        character = character << 6 | (bytes[i] & 0x3fu);
    }
    if (character < least[length] || character > 0x10ffff ||
        (character >= 0xd800 && character <= 0xdfff))
        return 0;
    return length;
}

static bool is_control(uint8_t byte) {
    return byte < 0x20 || byte == 0x7f;
}

static bool is_text(const uint8_t *bytes, size_t size) {
    for (size_t at = 0; at < size;) {
        size_t length = utf8_length(bytes + at, size - at);

        if (length == 0)
            return false;
        if (length == 1 && is_control(bytes[at]) && !memchr("\t\n\r", bytes[at], 3))
            return false;
        at += length;
    }
    return true;
}

void buf_preview(struct buf *buf, const void *data, size_t size) {
    const uint8_t *bytes = data;

    for (size_t at = 0; at < size;) {
        size_t length = utf8_length(bytes + at, size - at);

        if (length == 0 || (length == 1 && is_control(bytes[at])) ||
            (length == 2 && bytes[at] == 0xc2 && bytes[at + 1] < 0xa0)) {
            if (bytes[at] == '\n')
                buf_text(buf, "\\n");
            else if (bytes[at] == '\t')
                buf_text(buf, "\\t");
            else
                buf_format(buf, "\\x%02x", bytes[at]);
            at++;
        } else if (bytes[at] == '\\') {
            buf_text(buf, "\\\\");
            at++;
        } else {
            buf_bytes(buf, bytes + at, length);
            at += length;
        }
    }
}

/* ---- JSON ----------------------------------------------------------------------------------- */

void json_item(struct buf *buf, bool *first) {
    if (!*first)
        buf_char(buf, ',');
    *first = false;
}

void json_key(struct buf *buf, bool *first, const char *key) {
    json_item(buf, first);
    json_string(buf, key, strlen(key));
    buf_char(buf, ':');
}

static bool plain(uint8_t byte) {
    return byte >= 0x20 && byte < 0x7f && byte != '"' && byte != '\\';
}

void json_string(struct buf *buf, const char *text, size_t size) {
    const uint8_t *bytes = (const uint8_t *) text;

    buf_char(buf, '"');
    for (size_t at = 0; at < size;) {
        size_t run = 0, length;

        while (at + run < size && plain(bytes[at + run]))
            run++;
        buf_bytes(buf, bytes + at, run);
        at += run;
        if (at == size)
            break;
        length = utf8_length(bytes + at, size - at);
        if (length == 0)
            buf_text(buf, "\xef\xbf\xbd");
        else if (length > 1)
            buf_bytes(buf, bytes + at, length);
        else if (bytes[at] == '"' || bytes[at] == '\\')
            buf_format(buf, "\\%c", bytes[at]);
        else if (bytes[at] == '\n')
            buf_text(buf, "\\n");
        else if (bytes[at] == '\t')
            buf_text(buf, "\\t");
        else
            buf_format(buf, "\\u%04x", bytes[at]);
        at += length > 0 ? length : 1;
    }
    buf_char(buf, '"');
}

void json_number(struct buf *buf, uint64_t value) {
    buf_format(buf, "%" PRIu64, value);
}

void json_bool(struct buf *buf, bool value) {
    buf_text(buf, value ? "true" : "false");
}

void json_member_number(struct buf *buf, bool *first, const char *key, uint64_t value) {
    json_key(buf, first, key);
    json_number(buf, value);
}

void json_member_text(struct buf *buf, bool *first, const char *key, const char *text) {
    json_key(buf, first, key);
    json_string(buf, text, strlen(text));
}

void json_member_bool(struct buf *buf, bool *first, const char *key, bool value) {
    json_key(buf, first, key);
    json_bool(buf, value);
}

void json_member_id(struct buf *buf, bool *first, const char *key, uint32_t id) {
    char text[TRAM_ID_TEXT];

    json_member_text(buf, first, key, tram_id_format(id, text));
}

static void base64(struct buf *buf, const uint8_t *bytes, size_t size) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char *to = buf_room(buf, (size + 2) / 3 * 4);

    for (size_t at = 0; at < size; at += 3) {
        size_t left = size - at;
        uint32_t word = (uint32_t) bytes[at] << 16 |
                        (left > 1 ? (uint32_t) bytes[at + 1] << 8 : 0) |
                        (left > 2 ? bytes[at + 2] : 0u);

        *to++ = digits[word >> 18];
        *to++ = digits[word >> 12 & 63];
        *to++ = left > 1 ? digits[word >> 6 & 63] : '=';
        *to++ = left > 2 ? digits[word & 63] : '=';
    }
    buf->used += (size + 2) / 3 * 4;
}

void json_member_payload(struct buf *buf, bool *first, const void *bytes, size_t size) {
    if (size == 0 || is_text(bytes, size)) {
        json_key(buf, first, "text");
        json_string(buf, bytes, size);
        return;
    }
    json_key(buf, first, "base64");
    buf_char(buf, '"');
    base64(buf, bytes, size);
    buf_char(buf, '"');
}
