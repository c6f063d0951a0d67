/* SPDX-License-Identifier: MIT
 *
 * Output that is made in memory and written as a whole, and JSON in it.
 *
 * Running out of memory ends the program: nothing was released or changed that was not written.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct buf {
    char *data;
    size_t used, room;
};

void buf_bytes(struct buf *buf, const void *bytes, size_t size);
void buf_text(struct buf *buf, const char *text);
void buf_char(struct buf *buf, char character);
void buf_format(struct buf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Write all to the descriptor and empty the buffer. 0 or a negative errno. */
int buf_write(struct buf *buf, int fd);

/* Give the memory back. */
void buf_free(struct buf *buf);

/* All pieces, in one call of writev(2) where the kernel takes them; the pieces are used up.
 * With an offset that is not negative, at that place of the file. */
int buf_pieces(int fd, struct iovec *pieces, int count, int64_t offset);

/* ---- JSON ----------------------------------------------------------------------------------- */

/* Commas are put by who asks: json_key() begins a member, json_item() an element; the text
 * between is one of the values below. `first` of an object or array is a bool of the caller's,
 * true at the start. */
void json_key(struct buf *buf, bool *first, const char *key);
void json_item(struct buf *buf, bool *first);
void json_string(struct buf *buf, const char *text, size_t size);
void json_number(struct buf *buf, uint64_t value);
void json_bool(struct buf *buf, bool value);

/* A member in one go. In text that is not UTF-8, U+FFFD stands for what is wrong. */
void json_member_number(struct buf *buf, bool *first, const char *key, uint64_t value);
void json_member_text(struct buf *buf, bool *first, const char *key, const char *text);
void json_member_bool(struct buf *buf, bool *first, const char *key, bool value);
void json_member_id(struct buf *buf, bool *first, const char *key, uint32_t id);

/* "text" if these bytes are UTF-8 without control characters other than tab, line feed and
 * carriage return, else "base64". */
void json_member_payload(struct buf *buf, bool *first, const void *bytes, size_t size);

/* Bytes as people read them on one line: what is not printable becomes an escape. */
void buf_preview(struct buf *buf, const void *bytes, size_t size);
