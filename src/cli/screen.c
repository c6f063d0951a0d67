/* SPDX-License-Identifier: MIT */
#include "cli/screen.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "cli/buf.h"
#include "cli/cli.h"

/* Alternate screen, no cursor; and back, with the attributes off. */
#define ENTER "\033[?1049h\033[?25l\033[0m\033[2J"
#define LEAVE "\033[0m\033[?25h\033[?1049l"

#define ESCAPE_NS 50000000 /* an escape with nothing behind it for so long is the key */

static struct termios before;            /* what the terminal gets back */
static volatile sig_atomic_t open_now;   /* it has to */
static volatile sig_atomic_t resized, suspend, resumed;
static sigset_t unblocked;               /* while we wait or write */

static const int fatal[] = { SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGQUIT, SIGSEGV };
static struct sigaction fatal_before[sizeof(fatal) / sizeof(fatal[0])];

/* ---- modes ---------------------------------------------------------------------------------- */

/* Safe in signal handlers. */
static void leave(void) {
    if (!open_now)
        return;
    open_now = 0;
    if (write(STDOUT_FILENO, LEAVE, sizeof(LEAVE) - 1) < 0) { /* then nobody sees it */
    }
    (void) tcsetattr(STDIN_FILENO, TCSANOW, &before); /* likewise */
}

static int enter(void) {
    struct termios raw = before;

    raw.c_lflag &= ~(tcflag_t) (ICANON | ECHO | IEXTEN);
    raw.c_iflag &= ~(tcflag_t) (IXON | ICRNL | INLCR); /* ctrl-s is not to stop us for ever */
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    if (tcsetattr(STDIN_FILENO, TCSANOW, &raw) < 0)
        return -errno;
    open_now = 1;
    return write(STDOUT_FILENO, ENTER, sizeof(ENTER) - 1) < 0 ? -errno : 0;
}

static void on_fatal(int number) {
    leave();
    for (size_t i = 0; i < sizeof(fatal) / sizeof(fatal[0]); i++)
        if (fatal[i] == number)
            (void) sigaction(number, &fatal_before[i], NULL);
    (void) raise(number); /* comes when this returns, to whom it would have come without us */
}

static void on_change(int number) {
    resized |= number == SIGWINCH;
    suspend |= number == SIGTSTP;
    resumed |= number == SIGCONT;
}

bool screen_possible(void) {
    const char *term = getenv("TERM");

    return isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) && term && *term &&
           strcmp(term, "dumb") != 0;
}

/* The signals that we hear of in poll(2) only, so that none comes between a look and the wait. */
static void catch_signals(void) {
    static const int changes[] = { SIGWINCH, SIGTSTP, SIGCONT };
    struct sigaction action = { .sa_handler = on_change };
    sigset_t blocked;

    (void) sigemptyset(&blocked);
    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
        (void) sigaction(changes[i], &action, NULL); /* cannot fail with these arguments */
        (void) sigaddset(&blocked, changes[i]);
    }
    action.sa_handler = on_fatal;
    for (size_t i = 0; i < sizeof(fatal) / sizeof(fatal[0]); i++)
        (void) sigaction(fatal[i], &action, &fatal_before[i]);
    (void) sigaddset(&blocked, SIGINT);
    (void) sigaddset(&blocked, SIGTERM);
    (void) sigaddset(&blocked, SIGHUP);
    (void) sigprocmask(SIG_BLOCK, &blocked, &unblocked);
}

/* ---- frames --------------------------------------------------------------------------------- */

static char *line_of(struct screen *screen, char *lines, int row) {
    return lines + (size_t) row * ((size_t) screen->columns + 2);
}

/* Begin anew, in the size that the terminal has now. */
static int resize(struct screen *screen) {
    struct winsize size = { 0 };
    size_t bytes;

    (void) ioctl(STDOUT_FILENO, TIOCGWINSZ, &size); /* 0 columns: it does not say */
    screen->columns = size.ws_col > 0 ? size.ws_col : 80;
    screen->rows = size.ws_row > 0 ? size.ws_row : 24;
    bytes = (size_t) screen->rows * ((size_t) screen->columns + 2);
    free(screen->lines);
    free(screen->shown);
    screen->lines = calloc(1, bytes);
    screen->shown = calloc(1, bytes);
    screen->fresh = true;
    return screen->lines && screen->shown ? 0 : -ENOMEM;
}

int screen_open(struct screen *screen) {
    static bool registered;
    int rc;

    *screen = (struct screen){ 0 };
    if (tcgetattr(STDIN_FILENO, &before) < 0)
        return -errno;
    if (!registered && atexit(leave) != 0)
        return -ENOMEM;
    registered = true;
    catch_signals();
    rc = enter();
    if (rc == 0)
        rc = resize(screen);
    if (rc < 0)
        screen_close(screen);
    return rc;
}

void screen_close(struct screen *screen) {
    leave();
    (void) sigprocmask(SIG_SETMASK, &unblocked, NULL);
    free(screen->lines);
    free(screen->shown);
    *screen = (struct screen){ 0 };
}

void screen_line(struct screen *screen, int row, enum screen_look look, const char *text) {
    char *line;
    int i;

    if (row < 0 || row >= screen->rows)
        return;
    line = line_of(screen, screen->lines, row);
    line[0] = (char) look;
    for (i = 0; i < screen->columns && text[i] != '\0'; i++)
        line[i + 1] = text[i];
    line[i + 1] = '\0';
    for (char *at = line + 1; *at != '\0'; at++)
        *at = *at >= ' ' && *at <= '~' ? *at : '?';
}

/* All of it, unless a signal ends us: a terminal may take its time. */
static int write_all(const char *data, size_t size) {
    sigset_t blocked;
    int rc = 0;

    (void) sigprocmask(SIG_SETMASK, &unblocked, &blocked);
    while (size > 0 && rc == 0 && !cli_stop) {
        ssize_t put = write(STDOUT_FILENO, data, size);

        if (put < 0 && errno == EAGAIN) { /* somebody made the terminal non-blocking */
            struct pollfd room = { .fd = STDOUT_FILENO, .events = POLLOUT };

            (void) poll(&room, 1, -1);
        } else if (put < 0 && errno != EINTR) {
            rc = -errno;
        } else if (put > 0) {
            data += put;
            size -= (size_t) put;
        }
    }
    (void) sigprocmask(SIG_SETMASK, &blocked, NULL);
    return rc;
}

int screen_show(struct screen *screen) {
    static const char *const looks[] = { "", "", "\033[1m", "\033[7m" };
    struct buf buf = { 0 };
    char *spare = screen->shown;
    int rc;

    if (screen->fresh)
        buf_text(&buf, "\033[2J");
    for (int row = 0; row < screen->rows; row++) {
        const char *line = line_of(screen, screen->lines, row);
        const char *old = line_of(screen, screen->shown, row);
        int size = (int) strlen(line[0] ? line + 1 : "");

        if (!screen->fresh && strcmp(line, old) == 0)
            continue;
        buf_format(&buf, "\033[%d;1H", row + 1);
        if (size == 0) {
            buf_text(&buf, "\033[K");
            continue;
        }
        buf_format(&buf, "%s%s", looks[(int) line[0]], line + 1);
        if (line[0] == SCREEN_TITLE) /* a bar as wide as the screen */
            for (; size < screen->columns; size++)
                buf_char(&buf, ' ');
        if (line[0] != SCREEN_PLAIN)
            buf_text(&buf, "\033[0m");
        if (size < screen->columns) /* in the last column it would take the last character */
            buf_text(&buf, "\033[K");
    }
    screen->shown = screen->lines;
    screen->lines = spare;
    memset(screen->lines, 0, (size_t) screen->rows * ((size_t) screen->columns + 2));
    screen->fresh = false;
    rc = write_all(buf.data, buf.used);
    buf_free(&buf);
    return rc;
}

/* ---- keys ----------------------------------------------------------------------------------- */

/* Stop as ctrl-z is meant to; go on when somebody says so. */
static void stop_here(void) {
    leave();
    (void) kill(getpid(), SIGSTOP);
}

/* Wait for input: 1, or 0 when the time is up or a signal came, or -EIO. */
static int wait_input(int64_t timeout_ns) {
    struct pollfd input = { .fd = STDIN_FILENO, .events = POLLIN };
    struct timespec timeout = {
        .tv_sec = (time_t) (timeout_ns / 1000000000),
        .tv_nsec = (long) (timeout_ns % 1000000000),
    };
    int rc = ppoll(&input, 1, &timeout, &unblocked);

    if (rc <= 0)
        return 0;
    return input.revents & POLLIN ? 1 : -EIO;
}

static int read_input(struct screen *screen, int64_t timeout_ns) {
    int rc = wait_input(timeout_ns);
    ssize_t got;

    if (rc <= 0)
        return rc;
    got = read(STDIN_FILENO, screen->input + screen->input_size,
               sizeof(screen->input) - screen->input_size);
    if (got < 0 && (errno == EINTR || errno == EAGAIN))
        return 0;
    if (got <= 0)
        return -EIO;
    screen->input_size += (size_t) got;
    return 1;
}

static int take_input(struct screen *screen, size_t size, int key) {
    screen->input_size -= size;
    memmove(screen->input, screen->input + size, screen->input_size);
    return key;
}

/* The key at the start of the input, if it is all there. */
static int decode(struct screen *screen) {
    static const struct {
        const char *text;
        enum screen_key key;
    } keys[] = {
        { "[A", SCREEN_UP },       { "OA", SCREEN_UP },         { "[B", SCREEN_DOWN },
        { "OB", SCREEN_DOWN },     { "[5~", SCREEN_PAGE_UP },   { "[6~", SCREEN_PAGE_DOWN },
        { "[H", SCREEN_HOME },     { "OH", SCREEN_HOME },       { "[1~", SCREEN_HOME },
        { "[F", SCREEN_END },      { "OF", SCREEN_END },        { "[4~", SCREEN_END },
    };
    const unsigned char *at = screen->input;
    size_t size = screen->input_size, end = 2;

    if (at[0] != '\033')
        return take_input(screen, 1, at[0]);
    if (size > 1 && at[1] != '[' && at[1] != 'O')
        return take_input(screen, 1, SCREEN_ESCAPE);
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        size_t length = strlen(keys[i].text);

        if (size > length && memcmp(at + 1, keys[i].text, length) == 0)
            return take_input(screen, length + 1, (int) keys[i].key);
    }
    while (end < size && (at[end] < '@' || at[end] > '~')) /* a sequence that we do not know */
        end++;
    if (end < size)
        return take_input(screen, end + 1, SCREEN_NOTHING);
    return size == sizeof(screen->input) ? take_input(screen, size, SCREEN_NOTHING) : -EAGAIN;
}

/* What a signal asks for. */
static int changed(struct screen *screen) {
    if (suspend) {
        suspend = 0;
        stop_here();
        resumed = 1;
    }
    if (!resized && !resumed)
        return SCREEN_NOTHING;
    if (resumed && enter() < 0) /* whoever had the terminal meanwhile gave it other modes */
        return SCREEN_GONE;
    resized = resumed = 0;
    return resize(screen) < 0 ? SCREEN_GONE : SCREEN_RESIZED;
}

int screen_key(struct screen *screen, int64_t timeout_ns) {
    int rc, key;

    if (screen->input_size == 0) {
        rc = cli_stop ? 0 : read_input(screen, timeout_ns < 0 ? 0 : timeout_ns);
        if (rc < 0)
            return SCREEN_GONE;
        if (rc == 0)
            return changed(screen);
    }
    key = decode(screen);
    while (key == -EAGAIN) { /* an escape sequence comes in pieces, or it is the key itself */
        rc = read_input(screen, ESCAPE_NS);
        if (rc < 0)
            return SCREEN_GONE;
        key = rc == 0 ? take_input(screen, screen->input_size, SCREEN_ESCAPE) : decode(screen);
    }
    return key;
}
