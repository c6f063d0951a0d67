/* SPDX-License-Identifier: MIT */
#include "cli/service.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "service/inspect.h"

#define INSPECTION_MAX (4u << 20)

/* ---- reaching -------------------------------------------------------------------------------- */

const char *service_address(const char *text) {
    static char address[512]; /* a longer name is none */

    if (strstr(text, "://"))
        return text;
    (void) snprintf(address, sizeof(address), "svc://%s", text);
    return address;
}

bool service_daemon(void) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int size = snprintf(address.sun_path, sizeof(address.sun_path), "%s/tramd.sock",
                        cli_bus_path());
    int fd, rc = -1;

    if (size < 0 || (size_t) size >= sizeof(address.sun_path))
        return true; /* who has to know finds out */
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0) {
        rc = connect(fd, (struct sockaddr *) &address, sizeof(address));
        (void) close(fd); /* nothing was said */
    }
    if (rc < 0)
        cli_error("no daemon runs on this bus (%s), so nobody has a name; start tramd",
                  cli_bus_path());
    return rc == 0;
}

bool reach_open(struct reach *reach, const char *address,
                const struct tram_client_options *options, enum cli_exit *ret_code) {
    struct tram_worker_options made = TRAM_WORKER_OPTIONS_INIT;
    int rc;

    made.flags = TRAM_WORKER_NO_SPIN;
    if (address)
        reach->address = address;
    reach->until = reach->timeout_ns < 0 ? UINT64_MAX : cli_now() + (uint64_t) reach->timeout_ns;
    rc = tram_worker_new(&made, &reach->worker);
    if (rc < 0) {
        *ret_code = cli_failed(tram_last_error(NULL));
        return false;
    }
    if (address)
        rc = tram_client_new(reach->worker, address, options, &reach->client);
    if (rc == -EINVAL)
        cli_usage("%s", tram_worker_error(reach->worker)->text);
    if (rc < 0) {
        *ret_code = cli_failed(tram_worker_error(reach->worker));
        reach_close(reach);
        return false;
    }
    return true;
}

void reach_close(struct reach *reach) {
    reach->worker = tram_worker_free(reach->worker);
    reach->client = NULL;
}

enum cli_exit reach_until(struct reach *reach, const bool *done) {
    int fd = tram_worker_fd(reach->worker);

    while (!*done) {
        uint64_t now = cli_now();
        int rc;

        if (cli_stop)
            return CLI_INTERRUPTED;
        if (now >= reach->until)
            return CLI_TIMEOUT;
        rc = tram_worker_dispatch(reach->worker);
        if (rc < 0)
            return cli_failed(tram_worker_error(reach->worker));
        if (rc == 0 && !*done)
            cli_wait(fd, reach->until == UINT64_MAX ? -1 : (int64_t) (reach->until - now));
    }
    return CLI_OK;
}

enum cli_exit reach_failed(struct reach *reach, int status, int32_t code, const char *text) {
    switch (-status) {
    case EREMOTEIO:
        cli_error("%s answered with error %" PRId32 "%s%s", reach->address, code,
                  text && *text ? ": " : "", text ? text : "");
        return CLI_FAILURE;
    case ENOTCONN:
    case ECONNREFUSED:
        if (strncmp(reach->address, "svc://", 6) != 0 || service_daemon())
            cli_error("nobody serves %s", reach->address);
        return CLI_NOT_FOUND;
    case ETIMEDOUT:
        cli_error("%s did not answer in time", reach->address);
        return CLI_TIMEOUT;
    case ECONNRESET:
        cli_error("%s went away with the request in hand: it may have been executed",
                  reach->address);
        return CLI_FAILURE;
    default:
        cli_error("%s: %s", reach->address, text && *text ? text : strerror(-status));
        return CLI_FAILURE;
    }
}

/* ---- what a server says of itself ------------------------------------------------------------ */

struct asked {
    bool done;
    int status;
    int32_t code;
    char text[256];
    inspection *got;
};

static void on_inspection(const struct tram_result *result, void *arg) {
    struct asked *asked = arg;

    asked->done = true;
    asked->status = result->status;
    asked->code = result->code;
    (void) snprintf(asked->text, sizeof(asked->text), "%s", result->text);
    if (result->status == 0 && result->view.size <= INSPECTION_MAX) {
        uint8_t *copy = malloc(result->view.size + 1);

        if (copy && result->view.size > 0)
            memcpy(copy, result->view.data, result->view.size);
        asked->got = copy ? tram__control__inspection__unpack(NULL, result->view.size, copy) : NULL;
        free(copy);
    }
    if (result->status == 0 && !asked->got) {
        asked->status = -EBADMSG;
        (void) snprintf(asked->text, sizeof(asked->text), "what it says of itself makes no sense");
    }
}

inspection *reach_inspect(struct reach *reach, uint32_t what, enum cli_exit *ret_code) {
    struct tram_how how = TRAM_HOW_INIT;
    struct asked asked = {0};
    tram_call *call;
    int rc;

    how.timeout_ns = reach->timeout_ns == 0 ? 1 : reach->timeout_ns;
    rc = client_inspect(reach->client, what, &how, on_inspection, &asked, &call);
    if (rc < 0) {
        *ret_code = reach_failed(reach, rc, 0, NULL);
        return NULL;
    }
    *ret_code = reach_until(reach, &asked.done);
    if (!asked.done)
        (void) tram_call_free(call);
    if (*ret_code == CLI_TIMEOUT)
        *ret_code = reach_failed(reach, -ETIMEDOUT, 0, NULL);
    else if (*ret_code == CLI_OK && asked.status < 0)
        *ret_code = reach_failed(reach, asked.status, asked.code, asked.text);
    return asked.got;
}

inspection *inspection_free(inspection *said) {
    if (said)
        tram__control__inspection__free_unpacked(said, NULL);
    return NULL;
}

void service_party(const Tram__Control__Party *party, char *text, size_t room) {
    if (!party)
        (void) snprintf(text, room, "?");
    else
        (void) snprintf(text, room, "%s%s%s", party->name, *party->instance ? ":" : "",
                        party->instance);
}

/* ---- names ----------------------------------------------------------------------------------- */

struct gathered {
    char **names;
    size_t count;
    bool done, failed;
};

static void on_name(enum tram_state state, const struct tram_party *who, void *arg) {
    struct gathered *g = arg;
    char **more;

    if (!who) {
        g->done = true;
        return;
    }
    if (state != TRAM_STATE_ONLINE || g->done || g->failed)
        return;
    more = realloc(g->names, (g->count + 2) * sizeof(*more));
    if (more) {
        size_t size = strlen(who->name) + strlen(who->host) + 9;

        g->names = more;
        more[g->count] = malloc(size);
        if (more[g->count]) {
            (void) snprintf(more[g->count], size, "svc://%s%s%s", who->name,
                            *who->host ? "@" : "", who->host);
            more[++g->count] = NULL;
            return;
        }
    }
    g->failed = g->done = true;
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(char *const *) a, *(char *const *) b);
}

char **reach_names(struct reach *reach, const char *pattern, enum cli_exit *ret_code) {
    struct gathered g = {.names = calloc(1, sizeof(char *))};
    tram_name_watch *watch;

    *ret_code = CLI_FAILURE;
    g.failed = !g.names;
    if (!g.failed && tram_name_watch_new(reach->worker, pattern, on_name, &g, &watch) < 0) {
        *ret_code = cli_failed(tram_worker_error(reach->worker));
        return reach_names_free(g.names);
    }
    if (!g.failed) {
        *ret_code = reach_until(reach, &g.done);
        (void) tram_name_watch_free(watch);
        if (*ret_code == CLI_TIMEOUT)
            cli_error("the daemon did not answer in time");
    }
    if (g.failed)
        cli_error("no memory for names");
    if (g.failed || *ret_code != CLI_OK)
        return reach_names_free(g.names);
    qsort(g.names, g.count, sizeof(*g.names), by_name);
    return g.names;
}

char **reach_names_free(char **names) {
    for (char **name = names; name && *name; name++)
        free(*name);
    free(names);
    return NULL;
}

/* ---- payloads -------------------------------------------------------------------------------- */

static int digit(char c) {
    static const char digits[] = "0123456789abcdef";
    const char *at = c ? strchr(digits, c >= 'A' && c <= 'F' ? c - 'A' + 'a' : c) : NULL;

    return at ? (int) (at - digits) : -1;
}

int service_hex(char *text, size_t *ret_size) {
    size_t used = 0;

    for (const char *at = text; *at; at += 2) {
        while (*at == ' ' || *at == '\n' || *at == ':')
            at++;
        if (!*at)
            break;
        if (digit(at[0]) < 0 || digit(at[1]) < 0)
            return -EINVAL;
        text[used++] = (char) (digit(at[0]) << 4 | digit(at[1]));
    }
    *ret_size = used;
    return 0;
}

int service_read(char **ret_data, size_t *ret_size) {
    struct buf buf = {0};
    char some[4096];
    ssize_t got;

    while ((got = read(STDIN_FILENO, some, sizeof(some))) != 0) {
        if (got < 0 && errno == EINTR && !cli_stop)
            continue;
        if (got < 0) {
            buf_free(&buf);
            return -errno;
        }
        buf_bytes(&buf, some, (size_t) got);
    }
    buf_char(&buf, '\0');
    *ret_size = buf.used - 1;
    *ret_data = buf.data;
    return 0;
}
