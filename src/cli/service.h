/* SPDX-License-Identifier: MIT
 *
 * What the verbs around services share: a worker and a client that are driven until something is
 * so, what a server says of itself, and payloads.
 */
#pragma once

#include "cli/buf.h"
#include "cli/cli.h"
#include "cli/reflect.h"
#include "tram/service.h"
#include "wire/control.pb-c.h"

#define SERVICE_TIMEOUT_NS INT64_C(5000000000)

typedef Tram__Control__Inspection inspection;

struct reach {
    const char *address;
    tram_worker *worker;
    tram_client *client;
    int64_t timeout_ns;
    uint64_t until;     /* cli_now(); UINT64_MAX: for ever */
};

/* "name" becomes svc://name; until the next call. */
const char *service_address(const char *text);

/* A worker; and a client of that address, if it isn't NULL. False: told, and *ret_code. */
bool reach_open(struct reach *reach, const char *address, const struct tram_client_options *options,
                enum cli_exit *ret_code);
void reach_close(struct reach *reach);

/* Let it run until *done, a signal, or the time is up. */
enum cli_exit reach_until(struct reach *reach, const bool *done);

/* Say how a request ended that was not answered; the exit code. */
enum cli_exit reach_failed(struct reach *reach, int status, int32_t code, const char *text);

/* Is there a daemon on this bus? Else it is said. */
bool service_daemon(void);

/* What the server says of itself, to be given to inspection_free(). NULL: told, and *ret_code. */
inspection *reach_inspect(struct reach *reach, uint32_t what, enum cli_exit *ret_code);
inspection *inspection_free(inspection *said);

/* The names that fit the pattern, "svc://name:instance" or "svc://name:instance@host", sorted; NULL
 * ends. NULL: told. */
char **reach_names(struct reach *reach, const char *pattern, enum cli_exit *ret_code);
char **reach_names_free(char **names);

/* "name", "name:instance". */
void service_party(const Tram__Control__Party *party, char *text, size_t room);

/* Hex digits into bytes, in place. -EINVAL. */
int service_hex(char *text, size_t *ret_size);
/* All of standard input. */
int service_read(char **ret_data, size_t *ret_size);
