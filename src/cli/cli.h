/* SPDX-License-Identifier: MIT
 *
 * What the verbs of the tool share: arguments, errors, exit codes, signals, and where the bus is.
 *
 * A verb is one file with one function, int verb_NAME(int argc, char **argv), argv[0] being its
 * name, and a text, verb_NAME_help. It returns an exit code of the table below. --bus and --dir
 * become TRAM_BUS and TRAM_DIR in the environment, where the library looks for them: there is no
 * second way.
 */
#pragma once

#include <getopt.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "observe/observe.h"
#include "tram/tram.h"

/* The same for all verbs; scripts rely on them. */
enum cli_exit {
    CLI_OK = 0,
    CLI_FAILURE = 1,     /* the reason is on stderr */
    CLI_USAGE = 2,       /* wrong arguments */
    CLI_NOT_FOUND = 3,   /* no such bus, node, channel or message */
    CLI_REFUSED = 4,     /* somebody holds it, or messages wait */
    CLI_TIMEOUT = 5,     /* the time given was up before it was done */
    CLI_INTERRUPTED = 6, /* ended by a signal before it was done */
};

/* ---- errors --------------------------------------------------------------------------------- */

/* "tram VERB: …" on stderr: what was wrong; what to do. */
void cli_error(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The same, with where the help is; ends the program with CLI_USAGE. */
void cli_usage(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

/* The exit code for a negative errno. */
enum cli_exit cli_code(int rc);

/* Print the text of a failed call, and return its exit code. */
enum cli_exit cli_failed(const struct tram_error *error);

/* `code` if everything went out that was put into the stream; else CLI_FAILURE, and a text. */
enum cli_exit cli_flushed(FILE *stream, enum cli_exit code);

/* ---- arguments ------------------------------------------------------------------------------ */

enum { CLI_OPT_BUS = 0x100, CLI_OPT_DIR, CLI_OPT_OWN };

/* The last lines of every verb's table. */
#define CLI_COMMON                                                                                 \
    { "bus", required_argument, NULL, CLI_OPT_BUS },                                               \
        { "dir", required_argument, NULL, CLI_OPT_DIR }, { "help", no_argument, NULL, 'h' }, {     \
        NULL, 0, NULL, 0                                                                           \
    }

/* The next option of the verb, -1 after the last. Those in CLI_COMMON are done here, --help and
 * mistakes end the program. */
int cli_option(int argc, char **argv, const char *letters, const struct option *options);

/* Each ends the program with a text when the argument is none. `what` is the option's name. */
tram_id cli_id(const char *what, const char *text);
uint64_t cli_number(const char *what, const char *text, uint64_t min, uint64_t max);
uint64_t cli_size(const char *what, const char *text, uint64_t min, uint64_t max); /* 64k, 1M … */

/* Ends the program if this many arguments behind the options are too few or too many. */
void cli_operands(int argc, int min, int max);

/* ---- the verbs ------------------------------------------------------------------------------ */

struct cli_verb {
    const char *name;
    const char *summary;
    int (*run)(int argc, char **argv);
    const char *help; /* NULL: it has a --help of its own */
};

extern const struct cli_verb cli_verbs[]; /* ends with a name of NULL */

/* Begin with a verb: what errors are called. NULL: the program itself. */
void cli_begin(const struct cli_verb *verb);
void cli_help(const struct cli_verb *verb);

int verb_send(int argc, char **argv);
int verb_recv(int argc, char **argv);
int verb_ls(int argc, char **argv);
int verb_dump(int argc, char **argv);
int verb_rm(int argc, char **argv);
int verb_purge(int argc, char **argv);
int verb_retry(int argc, char **argv);
int verb_top(int argc, char **argv);
int verb_doctor(int argc, char **argv);
int verb_bench(int argc, char **argv);
int verb_describe(int argc, char **argv);
int verb_call(int argc, char **argv);
int verb_wait(int argc, char **argv);
int verb_ping(int argc, char **argv);
int verb_pub(int argc, char **argv);
int verb_sub(int argc, char **argv);
int verb_hosts(int argc, char **argv);
int verb_links(int argc, char **argv);
int verb_takeover(int argc, char **argv);
int verb_forget(int argc, char **argv);
int verb_trace(int argc, char **argv);
int verb_keys(int argc, char **argv);

/* What tram ls does with services, clients and events; a file for each, or service_none.c. */
int ls_services(const char *pattern, bool json, bool following, int64_t timeout_ns);
int ls_clients(const char *pattern, bool json, bool following, int64_t timeout_ns);
int ls_events(const char *pattern, bool json, bool following, int64_t timeout_ns);

extern const char verb_send_help[], verb_recv_help[], verb_ls_help[], verb_dump_help[];
extern const char verb_rm_help[], verb_purge_help[], verb_retry_help[];
extern const char verb_top_help[], verb_doctor_help[];
extern const char verb_pub_help[], verb_sub_help[], verb_keys_help[];
extern const char verb_describe_help[], verb_call_help[], verb_wait_help[], verb_ping_help[];
extern const char verb_hosts_help[], verb_links_help[], verb_takeover_help[], verb_forget_help[];
extern const char verb_trace_help[];

/* ---- the bus -------------------------------------------------------------------------------- */

#define CLI_PATH 4096

const char *cli_bus_name(void);
const char *cli_buses_path(void); /* the directory that buses lie in */
const char *cli_bus_path(void);

/* Open a node, or say why not and return NULL with the exit code. */
tram_node *cli_node(tram_id id, const struct tram_options *options, enum cli_exit *ret_code);

/* Open the bus for looking at it, the same way. */
struct observe *cli_observe(enum cli_exit *ret_code);

/* ---- running -------------------------------------------------------------------------------- */

/* Not 0 after SIGINT, SIGTERM or SIGHUP, which then end nothing by themselves. */
extern volatile sig_atomic_t cli_stop;

void cli_catch_signals(void);

/* Wait until `fd` is readable, a caught signal came, or the time is up (negative: no limit). A
 * signal that came before the call ends it at once. */
void cli_wait(int fd, int64_t timeout_ns);

uint64_t cli_now(void); /* CLOCK_MONOTONIC, ns */
