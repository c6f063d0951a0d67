/* SPDX-License-Identifier: MIT
 *
 * tls:// as an application has it: the public headers and the shared libraries. OpenSSL is loaded
 * when the first such address is used, and not before; sessions have the names that certificates
 * say; who is revoked goes while it is connected. noasan, notsan: their dlopen() does not look
 * where the RUNPATH of libtram-service.so says.
 */
// test: timeout=60 link=shared label=noasan,notsan
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness.h"
#include "tram/service.h"

static char server_address[128], session_address[128], refused[256];
static int told_fd;

static int run(const char *arguments) {
    char *line;
    int rc;

    CHECK(asprintf(&line, "cd '%s' && '%s' keys --keys ca %s >out 2>&1", test_dir(),
                   getenv("TRAM_BIN") ? getenv("TRAM_BIN") : "tram", arguments) > 0);
    rc = system(line);
    free(line);
    return rc;
}

/* Keys of three hosts; 77 where there is no TLS. */
static void make_keys(void) {
    if (!getenv("TRAM_BIN"))
        SKIP("TRAM_BIN is not set");
    if (run("init plant") != 0 && run("show") != 0) {
        char *line;
        int rc;

        CHECK(asprintf(&line, "grep -q 'without TLS' '%s/out'", test_dir()) > 0);
        rc = system(line);
        free(line);
        if (rc == 0)
            SKIP("there is no TLS");
    }
    CHECK_EQ(run("host alpha beta gamma"), 0);
}

static char *path_of(const char *name) {
    char *path;

    CHECK(asprintf(&path, "%s/%s", test_dir(), name) > 0);
    return path;
}

static bool openssl_is_loaded(void) {
    char line[512];
    FILE *maps = fopen("/proc/self/maps", "r");
    bool found = false;

    CHECK(maps);
    while (fgets(line, sizeof(line), maps))
        found |= strstr(line, "libcrypto") != NULL;
    (void) fclose(maps);
    return found;
}

static tram_worker *worker_with(const char *bundle) {
    struct tram_worker_options options = TRAM_WORKER_OPTIONS_INIT;
    char *path = path_of(bundle);
    tram_worker *worker;

    options.keys = path;
    CHECK_OK(tram_worker_new(&options, &worker));
    free(path);
    return worker;
}

/* ---- the server ------------------------------------------------------------------------------ */

static void say(const char *what, const char *text) {
    char line[512];
    int size = snprintf(line, sizeof(line), "%s %s\n", what, text);

    CHECK_EQ(write(told_fd, line, (size_t) size), size);
}

static void on_state(tram_server *server, enum tram_state state, const struct tram_party *who,
                     void *arg) {
    (void) server;
    (void) arg;
    CHECK_EQ(state, TRAM_STATE_ONLINE);
    say("at", who->address);
}

static void on_session(tram_server *server, tram_session *session, bool online, void *arg) {
    (void) server;
    (void) arg;
    say(online ? "session" : "end", tram_session_party(session)->address);
}

static void on_request(tram_server *server, tram_request **request, void *arg) {
    const struct tram_view *view = tram_request_view(*request);

    (void) server;
    (void) arg;
    CHECK_OK(tram_reply_send(request, view->data, view->size));
}

static void on_refused(tram_server *server, const char *why, void *arg) {
    (void) server;
    (void) arg;
    say("refused", why);
}

static void serve(void *arg) {
    static const struct tram_server_handlers handlers = { .on_state = on_state,
                                                          .on_session = on_session,
                                                          .on_request = on_request,
                                                          .on_refused = on_refused };
    static const char *const addresses[] = { "tls://127.0.0.1:0", NULL };
    struct tram_server_options options = TRAM_SERVER_OPTIONS_INIT;
    tram_worker *worker = worker_with("beta.keys");
    tram_server *server;

    (void) arg;
    options.handlers = &handlers;
    options.flags = TRAM_SERVER_NO_DAEMON | TRAM_SERVER_NO_SHM;
    options.addresses = addresses;
    CHECK_OK(tram_server_new(worker, "svc://pair", &options, &server));
    (void) tram_worker_run(worker);
}

/* Lines of the server, until one begins so. */
static void wait_for_line(FILE *lines, const char *what, char *ret_rest, size_t size) {
    char line[512];

    while (fgets(line, sizeof(line), lines)) {
        size_t length = strlen(what);

        if (strncmp(line, what, length) != 0 || line[length] != ' ')
            continue;
        line[strcspn(line, "\n")] = 0;
        (void) snprintf(ret_rest, size, "%s", line + length + 1);
        return;
    }
    FAIL("the server never said '%s'", what);
}

/* ---- the test -------------------------------------------------------------------------------- */

static FILE *start(pid_t *ret_server) {
    int fds[2];
    FILE *lines;

    CHECK_OK(pipe(fds));
    told_fd = fds[1];
    *ret_server = test_fork(serve, NULL);
    close(fds[1]);
    lines = fdopen(fds[0], "r");
    CHECK(lines);
    wait_for_line(lines, "at", server_address, sizeof(server_address));
    return lines;
}

TEST_TIMEOUT(who_has_keys_is_let_in_until_it_is_revoked, 40) {
    tram_client *client;
    tram_worker *worker;
    tram_reply *reply;
    pid_t server;
    FILE *lines;
    int rc;

    make_keys();
    lines = start(&server);
    CHECK(strncmp(server_address, "tls://beta@127.0.0.1:", 21) == 0);
    worker = worker_with("alpha.keys");
    CHECK(!openssl_is_loaded());
    CHECK_OK(tram_client_new(worker, server_address, NULL, &client));
    CHECK(openssl_is_loaded());
    CHECK_OK(tram_client_call(client, 1, "hello", 5, NULL, &reply));
    CHECK_MEM(tram_reply_view(reply)->data, "hello", 5);
    (void) tram_reply_free(reply);
    wait_for_line(lines, "session", session_address, sizeof(session_address));
    CHECK_STR(session_address, "tls://alpha");

    CHECK_EQ(run("revoke alpha && cp ca/revoked.crl beta.keys.revoked"), 0);
    wait_for_line(lines, "end", session_address, sizeof(session_address));
    while ((rc = tram_client_call(client, 1, "hello", 5, NULL, &reply)) == 0)
        (void) tram_reply_free(reply);
    CHECK(rc == -ECONNRESET || rc == -ENOTCONN);
    for (int i = 0; i < 3; i++) /* it tries again */
        (void) tram_client_wait(client, 100000000);
    wait_for_line(lines, "refused", refused, sizeof(refused));
    CHECK(strstr(refused, "certificate of alpha was revoked") != NULL);
    (void) tram_worker_free(worker);

    worker = worker_with("gamma.keys"); /* others go on */
    CHECK_OK(tram_client_new(worker, server_address, NULL, &client));
    CHECK_OK(tram_client_call(client, 1, "hello", 5, NULL, &reply));
    (void) tram_reply_free(reply);
    (void) tram_worker_free(worker);
    test_kill(server);
    (void) fclose(lines);
}

TEST_TIMEOUT(the_wrong_server_and_no_keys_are_told, 40) {
    struct tram_client_options options = TRAM_CLIENT_OPTIONS_INIT;
    struct tram_server_options serving = TRAM_SERVER_OPTIONS_INIT;
    const char *const plain[] = { "tcp://0.0.0.0:0", NULL };
    tram_client *client;
    tram_server *other;
    tram_worker *worker;
    pid_t server;
    FILE *lines;
    char *wrong;

    make_keys();
    lines = start(&server);
    worker = worker_with("alpha.keys");
    CHECK(asprintf(&wrong, "tls://%s", strchr(server_address, '@') + 1) > 0);
    CHECK_OK(tram_client_new(worker, wrong, NULL, &client)); /* 127.0.0.1 is no name of beta */
    CHECK_ERR(tram_client_wait(client, 300000000), -ETIMEDOUT);
    (void) tram_client_free(client);
    free(wrong);
    (void) tram_worker_free(worker);

    worker = worker_with("nobody.keys");
    CHECK_ERR(tram_client_new(worker, server_address, &options, &client), -ENOKEY);
    CHECK(strstr(tram_worker_error(worker)->text, "no keys for tls://: ") != NULL);
    CHECK(strstr(tram_worker_error(worker)->text, "nobody.keys") != NULL);

    serving.addresses = plain;
    serving.flags = TRAM_SERVER_NO_DAEMON;
    CHECK_ERR(tram_server_new(worker, "svc://plain", &serving, &other), -EACCES);
    CHECK(strstr(tram_worker_error(worker)->text, "TRAM_SERVER_PLAIN") != NULL);
    serving.flags |= TRAM_SERVER_PLAIN;
    CHECK_OK(tram_server_new(worker, "svc://plain", &serving, &other));
    CHECK_ERR(tram_client_new(worker, "tcp://192.0.2.1:7", NULL, &client), -EACCES);
    options.flags = TRAM_CLIENT_PLAIN;
    CHECK_OK(tram_client_new(worker, "tcp://192.0.2.1:7", &options, &client));
    (void) tram_worker_free(worker);
    test_kill(server);
    (void) fclose(lines);
}
