/* SPDX-License-Identifier: MIT
 *
 * Output in memory: what is text, how it is escaped, and that all of it is written.
 */
#include "cli/buf.h"

#include <string.h>
#include <unistd.h>

#include "harness.h"

static const char *contents(struct buf *buf) {
    buf_char(buf, '\0');
    return buf->data;
}

static void check_payload(const char *bytes, size_t size, const char *expected) {
    struct buf buf = { 0 };
    bool first = true;

    json_member_payload(&buf, &first, bytes, size);
    CHECK_STR(contents(&buf), expected);
    CHECK(!first);
    buf_free(&buf);
}

#define PAYLOAD(bytes, expected) check_payload(bytes, sizeof(bytes) - 1, expected)

TEST(payloads_are_text_or_base64) {
    PAYLOAD("", "\"text\":\"\"");
    PAYLOAD("a\"b\\c/\t\n", "\"text\":\"a\\\"b\\\\c/\\t\\n\"");
    PAYLOAD("\r", "\"text\":\"\\u000d\"");
    PAYLOAD("\xc3\xa4\xe2\x98\x83\xf0\x9f\x9a\x8b",
            "\"text\":\"\xc3\xa4\xe2\x98\x83\xf0\x9f\x9a\x8b\"");
    PAYLOAD("\xf4\x8f\xbf\xbf", "\"text\":\"\xf4\x8f\xbf\xbf\"");
    PAYLOAD("\0", "\"base64\":\"AA==\"");
    PAYLOAD("\x1b[", "\"base64\":\"G1s=\"");
    PAYLOAD("\x7f", "\"base64\":\"fw==\"");
    PAYLOAD("\xff\xff\xff", "\"base64\":\"////\"");
    PAYLOAD("\xc0\x80", "\"base64\":\"wIA=\"");             /* too long a form */
    PAYLOAD("\xe0\x80\x80", "\"base64\":\"4ICA\"");         /* likewise */
    PAYLOAD("\xed\xa0\x80", "\"base64\":\"7aCA\"");         /* a surrogate */
    PAYLOAD("\xf4\x90\x80\x80", "\"base64\":\"9JCAgA==\""); /* above U+10FFFF */
    PAYLOAD("\xf8\x88\x80\x80\x80", "\"base64\":\"+IiAgIA=\"");
    PAYLOAD("a\xe2\x98", "\"base64\":\"YeKY\""); /* cut short */
    PAYLOAD("\x80", "\"base64\":\"gA==\"");
}

TEST(text_that_is_not_utf8_stays_json) {
    struct buf buf = { 0 };
    bool first = true;

    json_member_text(&buf, &first, "a\xff", "b\xe2\x98");
    json_member_number(&buf, &first, "n", UINT64_MAX);
    json_member_bool(&buf, &first, "t", true);
    json_member_id(&buf, &first, "id", 0x01020304);
    CHECK_STR(contents(&buf), "\"a\xef\xbf\xbd\":\"b\xef\xbf\xbd\xef\xbf\xbd\","
                              "\"n\":18446744073709551615,\"t\":true,\"id\":\"1.2.3.4\"");
    buf_free(&buf);
}

TEST(previews_are_one_line) {
    struct buf buf = { 0 };

    buf_preview(&buf, "a\n\t\\\x1b\xc2\x9b\xc3\xa4\xff\0", 11);
    CHECK_STR(contents(&buf), "a\\n\\t\\\\\\x1b\\xc2\\x9b\xc3\xa4\\xff\\x00");
    buf_free(&buf);
}

TEST(formats_of_any_length) {
    struct buf buf = { 0 };

    buf_format(&buf, "%0300d|", 7);
    buf_format(&buf, "%255s|%s", "x", "y");
    CHECK_EQ(buf.used, 300 + 1 + 255 + 1 + 1);
    CHECK_MEM(buf.data + 298, "07|", 3);
    buf_free(&buf);
}

/* A pipe takes what it likes: pieces are written to their ends, empty ones passed over. */
static void read_all(void *arg) {
    const int *fds = arg;
    char bytes[4096];
    size_t seen = 0;
    ssize_t got;

    (void) close(fds[1]);
    while ((got = read(fds[0], bytes, sizeof(bytes))) > 0) {
        for (ssize_t i = 0; i < got; i++, seen++)
            CHECK_EQ((unsigned char) bytes[i], (unsigned char) (seen * 7));
    }
    CHECK_EQ(seen, 3 * 100000);
    (void) close(fds[0]);
}

TEST(pieces_are_written_whole) {
    static unsigned char bytes[300000];
    static struct iovec pieces[3000];
    size_t at = 0;
    int fds[2], count = 0;
    pid_t reader;

    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (unsigned char) (i * 7);
    for (int i = 0; i < 3000; i++) { /* more than writev(2) takes at once */
        size_t size = i == 2999 ? sizeof(bytes) - at : (size_t) i % 3 * 90;

        pieces[count++] = (struct iovec){ .iov_base = bytes + at, .iov_len = size };
        at += size;
    }
    CHECK_EQ(pipe(fds), 0);
    reader = test_fork(read_all, fds);
    (void) close(fds[0]);
    CHECK_EQ(buf_pieces(fds[1], pieces, count, -1), 0);
    (void) close(fds[1]);
    JOIN(reader);
    CHECK_EQ(buf_pieces(-1, (struct iovec[]){ { .iov_base = bytes, .iov_len = 1 } }, 1, -1),
             -EBADF);
}
