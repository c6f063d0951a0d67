/* SPDX-License-Identifier: MIT */
#include "cli/cli.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const struct cli_verb *verb;

volatile sig_atomic_t cli_stop;

/* ---- errors --------------------------------------------------------------------------------- */

/* One write for one line, so that those of several processes do not mix. */
__attribute__((format(printf, 1, 0))) static void complain(const char *format, va_list args,
                                                           const char *more) {
    char text[1024];

    (void) vsnprintf(text, sizeof(text), format, args); /* cut short is better than nothing */
    (void) fflush(stdout);                              /* its failure is told by cli_flushed() */
    if (verb)
        (void) fprintf(stderr, "tram %s: %s%s\n", verb->name, text, more);
    else
        (void) fprintf(stderr, "tram: %s%s\n", text, more);
}

void cli_error(const char *format, ...) {
    va_list args;

    va_start(args, format);
    complain(format, args, "");
    va_end(args);
}

void cli_usage(const char *format, ...) {
    char more[64];
    va_list args;

    (void) snprintf(more, sizeof(more), "; see 'tram%s%s --help'", verb ? " " : "",
                    verb ? verb->name : "");
    va_start(args, format);
    complain(format, args, more);
    va_end(args);
    exit(CLI_USAGE);
}

enum cli_exit cli_code(int rc) {
    switch (-rc) {
    case 0:
        return CLI_OK;
    case ENOENT:
    case ENOTDIR:
        return CLI_NOT_FOUND;
    case EADDRINUSE:
    case EBUSY:
    case ENOTEMPTY:
        return CLI_REFUSED;
    case EAGAIN:
    case ETIMEDOUT:
        return CLI_TIMEOUT;
    default:
        return CLI_FAILURE;
    }
}

enum cli_exit cli_failed(const struct tram_error *error) {
    const char *text = error->text[0] ? error->text : strerror(-error->code);
    char from[TRAM_ID_TEXT], to[TRAM_ID_TEXT];

    if (error->from != 0 && error->to != 0)
        cli_error("channel %s to %s: %s", tram_id_format(error->from, from),
                  tram_id_format(error->to, to), text);
    else
        cli_error("%s", text);
    return cli_code(error->code);
}

enum cli_exit cli_flushed(FILE *stream, enum cli_exit code) {
    if (fflush(stream) == 0 && !ferror(stream))
        return code;
    if (errno != EPIPE) /* who closes our output knows that */
        cli_error("the output cannot be written: %s", strerror(errno));
    return CLI_FAILURE;
}

/* ---- arguments ------------------------------------------------------------------------------ */

void cli_begin(const struct cli_verb *begun) {
    verb = begun;
}

static void bad_option(int argc, char **argv, const struct option *options) {
    const char *text = optind > 0 && optind <= argc ? argv[optind - 1] : "";

    for (const struct option *option = options; option->name; option++)
        if (optopt == option->val && option->has_arg == required_argument)
            cli_usage("--%s needs a value", option->name);
    if (optopt > 0 && optopt < 0x80 && strncmp(text, "--", 2) != 0)
        cli_usage("there is no option -%c", optopt);
    cli_usage("there is no option %s, or it takes no value", text);
}

int cli_option(int argc, char **argv, const char *letters, const struct option *options) {
    opterr = 0; /* we say it ourselves */
    for (;;) {
        int option = getopt_long(argc, argv, letters, options, NULL);

        switch (option) {
        case CLI_OPT_BUS:
            if (setenv("TRAM_BUS", optarg, 1) < 0)
                cli_usage("--bus: %s", strerror(errno));
            break;
        case CLI_OPT_DIR:
            if (setenv("TRAM_DIR", optarg, 1) < 0)
                cli_usage("--dir: %s", strerror(errno));
            break;
        case 'h':
            cli_help(verb);
            exit((int) cli_flushed(stdout, CLI_OK));
        case '?':
        case ':':
            bad_option(argc, argv, options);
            break;
        default:
            return option;
        }
    }
}

tram_id cli_id(const char *what, const char *text) {
    tram_id id;

    if (tram_id_parse(text, &id) < 0)
        cli_usage("%s '%s' is not an ID; an ID is four numbers, as 1.2.3.4", what, text);
    return id;
}

/* A number, decimal or 0x…, and what is behind it. */
static bool number(const char *text, uint64_t *ret_number, char **ret_end) {
    if (text[0] < '0' || text[0] > '9') /* strtoull() would take blanks and signs */
        return false;
    errno = 0;
    *ret_number = strtoull(text, ret_end, strncmp(text, "0x", 2) == 0 ? 16 : 10);
    return errno == 0;
}

uint64_t cli_number(const char *what, const char *text, uint64_t min, uint64_t max) {
    uint64_t value;
    char *end;

    if (!number(text, &value, &end) || *end != '\0' || value < min || value > max)
        cli_usage("%s '%s' is not a number from %" PRIu64 " to %" PRIu64, what, text, min, max);
    return value;
}

uint64_t cli_size(const char *what, const char *text, uint64_t min, uint64_t max) {
    static const char units[] = "kMG";
    uint64_t value;
    char *end;

    if (number(text, &value, &end)) {
        const char *unit = *end != '\0' ? strchr(units, *end == 'K' ? 'k' : *end) : NULL;
        int shift = unit ? 10 * (int) (unit - units + 1) : 0;

        if (end[unit != NULL] == '\0' && value <= UINT64_MAX >> shift && value << shift >= min &&
            value << shift <= max)
            return value << shift;
    }
    cli_usage("%s '%s' is not a size from %" PRIu64 " to %" PRIu64 ", as 4096, 64k or 1M", what,
              text, min, max);
}

void cli_operands(int argc, int min, int max) {
    int count = argc - optind;

    if (count < min)
        cli_usage("an argument is missing");
    if (count > max)
        cli_usage("too many arguments");
}

/* ---- the bus -------------------------------------------------------------------------------- */

const char *cli_bus_name(void) {
    const char *name = getenv("TRAM_BUS");

    return name && *name ? name : "default";
}

const char *cli_buses_path(void) {
    static char path[CLI_PATH];
    const char *dir = getenv("TRAM_DIR");

    if (dir && *dir)
        return dir;
    (void) snprintf(path, sizeof(path), "/dev/shm/tram-%u", (unsigned) geteuid());
    return path;
}

const char *cli_bus_path(void) {
    static char path[CLI_PATH];
    const char *name = cli_bus_name();
    int size;

    if (name[0] == '.' || strchr(name, '/'))
        cli_usage("'%s' is not the name of a bus; letters, digits, '.', '_' and '-' are", name);
    size = snprintf(path, sizeof(path), "%s/%s", cli_buses_path(), name);
    if (size < 0 || (size_t) size >= sizeof(path))
        cli_usage("the path of the bus is too long");
    return path;
}

tram_node *cli_node(tram_id id, const struct tram_options *options, enum cli_exit *ret_code) {
    tram_node *node = NULL;
    int rc = tram_open(NULL, id, options, &node);

    if (rc == 0)
        return node;
    *ret_code = cli_failed(tram_last_error(NULL));
    if (rc == -ETIMEDOUT)
        *ret_code = CLI_REFUSED; /* somebody acts for the node, and does not let go */
    return NULL;
}

struct observe *cli_observe(enum cli_exit *ret_code) {
    struct observe *observe = NULL;
    int rc = observe_open(cli_bus_path(), &observe);

    if (rc == 0)
        return observe;
    if (rc == -ENOENT)
        cli_error("there is no bus at %s; --bus and --dir choose another one", cli_bus_path());
    else
        cli_error("the bus at %s cannot be read: %s", cli_bus_path(), strerror(-rc));
    *ret_code = cli_code(rc);
    return NULL;
}

/* ---- running -------------------------------------------------------------------------------- */

static const int caught[] = { SIGINT, SIGTERM, SIGHUP };

static void stop(int signal_number) {
    cli_stop = signal_number;
}

void cli_catch_signals(void) {
    struct sigaction action = { .sa_handler = stop };

    for (size_t i = 0; i < sizeof(caught) / sizeof(caught[0]); i++) {
        struct sigaction old;

        /* One that whoever started us ignores (nohup) stays ignored. */
        if (sigaction(caught[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN)
            (void) sigaction(caught[i], &action, NULL); /* cannot fail with these arguments */
    }
    (void) signal(SIGPIPE, SIG_IGN); /* a failed write says it as well */
}

void cli_wait(int fd, int64_t timeout_ns) {
    struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
    struct timespec timeout = {
        .tv_sec = (time_t) (timeout_ns / 1000000000),
        .tv_nsec = (long) (timeout_ns % 1000000000),
    };
    sigset_t blocked, before;

    (void) sigemptyset(&blocked);
    for (size_t i = 0; i < sizeof(caught) / sizeof(caught[0]); i++)
        (void) sigaddset(&blocked, caught[i]);
    (void) sigprocmask(SIG_BLOCK, &blocked, &before);
    if (!cli_stop) /* it returns early for a signal; whoever waits looks again anyway */
        (void) ppoll(&poll_fd, 1, timeout_ns < 0 ? NULL : &timeout, &before);
    (void) sigprocmask(SIG_SETMASK, &before, NULL);
}

uint64_t cli_now(void) {
    struct timespec now;

    (void) clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail with these arguments */
    return (uint64_t) now.tv_sec * 1000000000 + (uint64_t) now.tv_nsec;
}
