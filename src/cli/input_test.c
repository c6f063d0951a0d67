/* SPDX-License-Identifier: MIT
 *
 * Cutting input into messages, however it arrives.
 */
#include "cli/input.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness.h"

/* What is read in pieces of these sizes, and what has to come of it; NULL ends both. */
static void check_split(size_t block, const char *const *reads, const char *const *expected) {
    struct input input;
    int fds[2];

    CHECK_EQ(pipe(fds), 0);
    input_init(&input, fds[0], block);
    for (;;) {
        const void *data;
        size_t size;
        enum input_result result = input_next(&input, &data, &size);

        if (result == INPUT_MESSAGE) {
            CHECK(*expected != NULL);
            CHECK_EQ(size, strlen(*expected));
            CHECK_MEM(data, *expected, size);
            expected++;
        } else if (result == INPUT_EMPTY) {
            if (*reads) {
                CHECK_EQ(write(fds[1], *reads, strlen(*reads)), (ssize_t) strlen(*reads));
                reads++;
                CHECK(input_ready(&input));
            } else {
                (void) close(fds[1]);
            }
            CHECK_OK(input_fill(&input));
        } else {
            break;
        }
    }
    CHECK(*expected == NULL);
    CHECK(*reads == NULL);
    input_deinit(&input);
    (void) close(fds[0]);
}

#define LIST(...) ((const char *const[]){ __VA_ARGS__, NULL })

TEST(lines) {
    check_split(0, LIST("a\nb\n"), LIST("a", "b"));
    check_split(0, LIST("a\nb"), LIST("a", "b"));
    check_split(0, LIST("a", "b", "\n", "\n", "c\nd", "e"), LIST("ab", "", "c", "de"));
    check_split(0, LIST("\n\n"), LIST("", ""));
    check_split(0, LIST("a\r\n"), LIST("a\r"));
    check_split(0, (const char *const[]){ NULL }, (const char *const[]){ NULL });
}

TEST(blocks) {
    check_split(2, LIST("abcdef"), LIST("ab", "cd", "ef"));
    check_split(2, LIST("a", "bc", "d", "e"), LIST("ab", "cd", "e"));
    check_split(4, LIST("a\n", "b"), LIST("a\nb"));
    check_split(1, (const char *const[]){ NULL }, (const char *const[]){ NULL });
}

/* A file of `size` bytes: byte i is i % 251. */
static int make_file(size_t size) {
    char path[256];
    int fd;

    (void) snprintf(path, sizeof(path), "%s/inputXXXXXX", test_dir());
    fd = CHECK_OK(mkstemp(path));
    CHECK_EQ(unlink(path), 0);
    for (size_t i = 0; i < size;) {
        unsigned char bytes[1000];
        size_t some = 0;

        for (; some < sizeof(bytes) && i < size; some++, i++)
            bytes[some] = (unsigned char) (i % 251);
        CHECK_EQ(write(fd, bytes, some), (ssize_t) some);
    }
    CHECK_EQ(lseek(fd, 0, SEEK_SET), 0);
    return fd;
}

static void check_blocks_of_file(size_t size, size_t block, uint64_t skip) {
    uint64_t at = skip * block < size ? skip * block : size / block * block;
    int fd = make_file(size);
    struct input input;

    input_init(&input, fd, block);
    CHECK_EQ(input_seek(&input, skip), at / block);
    for (;;) {
        const void *data;
        size_t got;
        enum input_result result = input_next(&input, &data, &got);

        if (result == INPUT_END)
            break;
        if (result == INPUT_EMPTY) {
            CHECK_OK(input_fill(&input));
            continue;
        }
        CHECK_EQ(got, size - at < block ? size - at : block);
        for (size_t i = 0; i < got; i++)
            CHECK_EQ(((const unsigned char *) data)[i], (at + i) % 251);
        at += got;
    }
    CHECK_EQ(at, size);
    input_deinit(&input);
    (void) close(fd);
}

TEST(blocks_of_files) {
    check_blocks_of_file(700001, 1000, 0);
    check_blocks_of_file(700001, 300000, 0);
    check_blocks_of_file(700001, 1000000, 0);
    check_blocks_of_file(700001, 1000, 1);
    check_blocks_of_file(700001, 1000, 700);
    check_blocks_of_file(700001, 1000, 900);
    check_blocks_of_file(700000, 1000, 700);
    check_blocks_of_file(0, 10, 3);
}

TEST(lines_are_not_sought_in) {
    int fd = make_file(100);
    struct input input;

    input_init(&input, fd, 0);
    CHECK_EQ(input_seek(&input, 3), 0);
    input_deinit(&input);
    (void) close(fd);
}
