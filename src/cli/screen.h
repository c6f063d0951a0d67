/* SPDX-License-Identifier: MIT
 *
 * The terminal as a screen of lines and a source of keys: plain ANSI sequences, which every
 * terminal since the VT100 knows, and no library.
 *
 * A frame is a set of lines. What differs from the frame before goes out as one write, so that
 * nothing flickers and an ssh connection carries little. The terminal gets its modes back on every
 * way out: screen_close(), exit(), the signals that end a program, also by a crash, and ctrl-z,
 * after which the screen comes again.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct screen {
    int rows, columns;
    char *lines, *shown;  /* rows × (columns + 2): look, text, terminator */
    bool fresh;           /* nothing of what is shown is known */
    unsigned char input[64];
    size_t input_size;
};

enum screen_look { SCREEN_PLAIN = 1, SCREEN_BOLD, SCREEN_TITLE };

/* What screen_key() returns beside characters. */
enum screen_key {
    SCREEN_NOTHING = 0x100, /* the time is up, or a signal that is none of these (cli_stop) */
    SCREEN_RESIZED,         /* the size changed, or all has to be drawn again */
    SCREEN_UP,
    SCREEN_DOWN,
    SCREEN_PAGE_UP,
    SCREEN_PAGE_DOWN,
    SCREEN_HOME,
    SCREEN_END,
    SCREEN_ESCAPE,
    SCREEN_GONE, /* no more input: the terminal hung up */
};

/* Can standard input and output be a screen? Not if one is no terminal, nor with TERM=dumb. */
bool screen_possible(void);

/* 0 or a negative errno. Once at a time. */
int screen_open(struct screen *screen);
void screen_close(struct screen *screen);

/* Text of a line of the next frame, from 0; cut to the width; what is not printable ASCII becomes
 * a question mark. */
void screen_line(struct screen *screen, int row, enum screen_look look, const char *text);

/* Show the frame, and begin one of empty lines. */
int screen_show(struct screen *screen);

/* A character or enum screen_key, waiting at most so long. */
int screen_key(struct screen *screen, int64_t timeout_ns);
