// test: timeout=120
/* SPDX-License-Identifier: MIT
 *
 * tramd and clients that do what they should not: none costs the others anything. And the daemon
 * that clients start themselves.
 */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "service/names.h"
#include "support/tramd.h"
#include "sys/file.h"
#include "sys/socket.h"

static int64_t now(void) {
    return (int64_t) sys_now();
}

static bool has_said(const char *text) {
    char *said = tramd_said();
    bool has = strstr(said, text) != NULL;

    free(said);
    return has;
}

/* A name that comes and goes, as seen by somebody else, `rounds` times; the longest time. */
static int64_t live(tram_worker *worker, struct seen *seen, int rounds) {
    struct served served = { 0 };
    int64_t worst = 0;

    for (int i = 0; i < rounds; i++) {
        int online = seen->online, offline = seen->offline;
        int64_t began = now();

        served_bind(worker, &served, "live", NULL);
        worker_until(worker, &seen->online, online + 1);
        names_unbind(&served.binding);
        worker_until(worker, &seen->offline, offline + 1);
        if (now() - began > worst)
            worst = now() - began;
    }
    return worst;
}

static void begin(const char *config, tram_worker **ret_worker, struct seen *seen) {
    (void) tramd_start_config(config);
    *ret_worker = worker_make(0);
    seen_watch(*ret_worker, seen, "live");
    worker_until(*ret_worker, &seen->told, 1);
}

/* ---- slow ------------------------------------------------------------------------------------ */

/* Who doesn't read is cut off when too much waits, and nobody else notices; that it was said. */
TEST_TIMEOUT(who_does_not_read_is_cut_off, 60) {
    struct raw slow;
    tram_worker *worker;
    struct seen seen;
    int64_t worst;
    control_frame *frame;
    int frames = 0;
    char path[512];
    struct sys_stat st;

    begin("[limits]\nqueue = 128K\n", &worker, &seen);
    raw_open(&slow);
    raw_hello(&slow);
    raw_watch(&slow, 1, "live");
    for (int i = 0; i < 100 && !has_said("it does not read"); i++)
        worst = live(worker, &seen, 100);
    CHECK(has_said("it does not read"));
    worst = live(worker, &seen, 100);
    CHECK(worst < test_seconds(1) * (int64_t) SYS_SECOND);
    while ((frame = raw_next(&slow))) { /* what it had been sent, then the end */
        frames++;
        (void) control_free(frame);
    }
    CHECK(frames > 100);
    raw_close(&slow);
    (void) snprintf(path, sizeof(path), "%s/default/names", test_dir());
    CHECK_OK(sys_stat_at(-100, path, &st)); /* AT_FDCWD */
    CHECK(st.size < 128 << 10); /* thousands of changes, of one name */
    (void) tram_worker_free(worker);
}

/* A watch of more names than fit into its queue gets them all, as it reads. */
TEST_TIMEOUT(a_large_table_goes_through_a_small_queue, 60) {
    enum { SERVERS = 4, EACH = 1000 };
    struct raw slow;
    int online = 0;
    bool told = false;
    struct served later = { 0 };
    tram_worker *worker;

    (void) tramd_start_config("[limits]\nqueue = 128K\n");
    for (int i = 0; i < SERVERS; i++) {
        char prefix[64];

        (void) snprintf(prefix, sizeof(prefix), "a-name-that-takes-some-room-%d/", i);
        (void) serve(prefix, EACH);
    }
    worker = worker_make(0);
    raw_open(&slow);
    raw_hello(&slow);
    raw_watch(&slow, 1, "*");
    (void) poll(NULL, 0, 100); /* long enough for the socket to be full: not needed to pass */
    served_bind(worker, &later, "later", NULL); /* comes while it is being told */
    worker_until(worker, &later.published, 1);
    while (!told || online < SERVERS * EACH + 1) {
        control_frame *frame = raw_next(&slow);

        CHECK(frame);
        told |= frame->kind_case == TRAM__CONTROL__FRAME__KIND_TOLD;
        online += frame->kind_case == TRAM__CONTROL__FRAME__KIND_ONLINE;
        CHECK(frame->kind_case != TRAM__CONTROL__FRAME__KIND_OFFLINE);
        (void) control_free(frame);
    }
    CHECK_EQ(online, SERVERS * EACH + 1);
    CHECK(!has_said("it does not read"));
    raw_close(&slow);
    (void) tram_worker_free(worker);
}

/* ---- nonsense -------------------------------------------------------------------------------- */

static void speak(const void *bytes, size_t size) {
    struct raw raw;
    control_frame *frame;
    int error = 0;

    raw_open(&raw);
    CHECK_EQ(sys_send(raw.fd, bytes, size), size);
    while ((frame = raw_next(&raw))) {
        CHECK_EQ(frame->kind_case, TRAM__CONTROL__FRAME__KIND_WELCOME);
        error = frame->welcome->error;
        CHECK(error == 0 || frame->welcome->text[0] != '\0');
        (void) control_free(frame);
    }
    CHECK_EQ(error, -EBADMSG);
    raw_close(&raw);
}

TEST(nonsense_ends_its_own_connection_only) {
    static const char http[] = "GET / HTTP/1.1\r\n\r\n";
    struct control_out out = { 0 };
    Tram__Control__Watch watch = CONTROL_NEW(Watch, watch);
    Tram__Control__Hello hello = CONTROL_NEW(Hello, hello);
    control_frame frame = CONTROL_NEW(Frame, frame);
    char pattern[] = "*";
    tram_worker *worker;
    struct seen seen;

    begin("", &worker, &seen);
    speak(http, sizeof(http));
    speak("\0\0\0\0", 4);
    speak("\4\0\0\0\377\377\377\377", 8);
    watch.pattern = pattern; /* no greeting */
    frame.kind_case = TRAM__CONTROL__FRAME__KIND_WATCH;
    frame.watch = &watch;
    CHECK_OK(control_out_add(&out, &frame));
    speak(control_out_bytes(&out), control_out_size(&out));
    control_out_reset(&out);
    hello.version = CONTROL_VERSION; /* two */
    frame.kind_case = TRAM__CONTROL__FRAME__KIND_HELLO;
    frame.hello = &hello;
    CHECK_OK(control_out_add(&out, &frame));
    CHECK_OK(control_out_add(&out, &frame));
    speak(control_out_bytes(&out), control_out_size(&out));
    control_out_reset(&out);
    srand(1);
    for (int i = 0; i < 200; i++) { /* noise behind a length that can be one */
        uint8_t noise[68] = { 64 };
        for (int j = 4; j < 68; j++)
            noise[j] = (uint8_t) rand();
        speak(noise, sizeof(noise));
    }
    CHECK(live(worker, &seen, 10) < test_seconds(1) * (int64_t) SYS_SECOND);
    CHECK_EQ(seen.away, 0);
    (void) tram_worker_free(worker);
}

/* Whatever the modes of its files say: the kernel knows who connects. */
TEST(another_user_is_turned_away) {
    struct raw raw;
    control_frame *frame;
    char path[300];

    if (geteuid() != 0)
        SKIP("only root can be somebody else");
    (void) tramd_start(NULL);
    CHECK_OK(chmod(test_dir(), 0755));
    (void) snprintf(path, sizeof(path), "%s/default", test_dir());
    CHECK_OK(chmod(path, 0755));
    (void) strcat(path, "/tramd.sock");
    CHECK_OK(chmod(path, 0777));
    CHECK_OK(seteuid(12345));
    raw_open(&raw);
    CHECK_OK(seteuid(0));
    frame = raw_next(&raw);
    CHECK(frame && frame->kind_case == TRAM__CONTROL__FRAME__KIND_WELCOME);
    CHECK_ERR(frame->welcome->error, -EACCES);
    CHECK(strstr(frame->welcome->text, "12345"));
    (void) control_free(frame);
    CHECK(!raw_next(&raw));
    raw_close(&raw);
    raw_open(&raw);
    raw_hello(&raw); /* that of its own user is not */
    raw_close(&raw);
}

TEST(another_version_is_told_so) {
    Tram__Control__Hello hello = CONTROL_NEW(Hello, hello);
    control_frame frame = CONTROL_NEW(Frame, frame), *answer;
    struct raw raw;

    (void) tramd_start(NULL);
    raw_open(&raw);
    hello.version = CONTROL_VERSION + 1;
    frame.kind_case = TRAM__CONTROL__FRAME__KIND_HELLO;
    frame.hello = &hello;
    raw_send(&raw, &frame);
    answer = raw_next(&raw);
    CHECK(answer);
    CHECK_EQ(answer->welcome->error, -EPROTO);
    CHECK_EQ(answer->welcome->version, CONTROL_VERSION);
    CHECK_STR(answer->welcome->text, "it speaks version 2 of the protocol, this tramd 1");
    (void) control_free(answer);
    CHECK(!raw_next(&raw));
    raw_close(&raw);
}

/* Half a frame, and nothing at all; a hundred of each. Cut off when their time is up. */
TEST(who_does_not_greet_is_cut_off) {
    struct raw silent[200];
    tram_worker *worker;
    struct seen seen;

    begin("[limits]\ngreeting = 100ms\n", &worker, &seen);
    for (int i = 0; i < 200; i++) {
        raw_open(&silent[i]);
        if (i % 2)
            CHECK_EQ(sys_send(silent[i].fd, "\377\0\0\0xx", 6), 6);
    }
    CHECK(live(worker, &seen, 10) < test_seconds(1) * (int64_t) SYS_SECOND);
    for (int i = 0; i < 200; i++) {
        control_frame *frame = raw_next(&silent[i]);

        CHECK(frame);
        CHECK_EQ(frame->welcome->error, -ETIMEDOUT);
        (void) control_free(frame);
        CHECK(!raw_next(&silent[i]));
        raw_close(&silent[i]);
    }
    CHECK_EQ(seen.away, 0);
    (void) tram_worker_free(worker);
}

static void watch_for_ever(void *arg) {
    tram_worker *worker = worker_make(0);
    struct seen seen;

    seen_watch(worker, &seen, "live");
    worker_until(worker, &seen.told, 1);
    CHECK_EQ(write(*(int *) arg, "!", 1), 1);
    CHECK_OK(tram_worker_run(worker));
}

TEST(a_stopped_client_costs_nobody_anything) {
    tram_worker *worker;
    struct seen seen;
    int pipes[2];
    char byte;
    pid_t stopped;

    begin("", &worker, &seen);
    CHECK_OK(pipe(pipes));
    stopped = test_fork(watch_for_ever, &pipes[1]);
    CHECK_EQ(read(pipes[0], &byte, 1), 1);
    CHECK_OK(kill(stopped, SIGSTOP));
    CHECK(live(worker, &seen, 300) < test_seconds(1) * (int64_t) SYS_SECOND);
    test_kill(stopped);
    (void) tram_worker_free(worker);
    (void) close(pipes[0]);
    (void) close(pipes[1]);
}

/* ---- limits ---------------------------------------------------------------------------------- */

TEST(limits_of_connections_names_and_watches) {
    tram_worker *worker;
    struct served served[4] = { 0 };
    struct seen seen;
    struct raw raw, more[8];
    control_frame *frame;
    int refused = 0;

    (void) tramd_start_config("[limits]\nconnections = 4\nnames-each = 3\nwatches-each = 2\n");
    worker = worker_make(0);
    for (int i = 0; i < 4; i++) {
        char name[] = "x0";

        name[1] = (char) ('0' + i);
        served_bind(worker, &served[i], name, NULL);
    }
    worker_until(worker, &served[2].published, 1);
    worker_until(worker, &served[3].refused, 1);
    CHECK_EQ(served[3].error, -EDQUOT);
    names_unbind(&served[3].binding);
    names_unbind(&served[0].binding);
    served_bind(worker, &served[3], "x3", NULL);
    worker_until(worker, &served[3].published, 1);

    raw_open(&raw);
    raw_hello(&raw);
    for (uint64_t i = 0; i < 3; i++)
        raw_watch(&raw, i, "y");
    while ((frame = raw_next(&raw))) {
        refused += frame->kind_case == TRAM__CONTROL__FRAME__KIND_WELCOME &&
                   frame->welcome->error == -EDQUOT;
        (void) control_free(frame);
    }
    CHECK_EQ(refused, 1);
    raw_close(&raw);

    for (int i = 0; i < 8; i++)
        raw_open(&more[i]);
    frame = raw_next(&more[7]);
    CHECK(frame);
    CHECK_EQ(frame->welcome->error, -EUSERS);
    (void) control_free(frame);
    for (int i = 0; i < 8; i++)
        raw_close(&more[i]);
    seen_watch(worker, &seen, "x*"); /* there is room again */
    worker_until(worker, &seen.online, 3);
    (void) tram_worker_free(worker);
}

/* ---- on demand ------------------------------------------------------------------------------- */

static void auto_body(void *arg) {
    const int *fds = arg;
    tram_worker *worker;
    struct served served = { 0 };
    char name[32], byte;

    (void) close(fds[1]);
    CHECK_EQ(read(fds[0], &byte, 1), 0); /* all at one instant */
    (void) close(fds[0]);
    worker = worker_make(TRAM_WORKER_AUTO);
    (void) snprintf(name, sizeof(name), "auto%d", getpid());
    served_bind(worker, &served, name, NULL);
    worker_until(worker, &served.published, 1);
    CHECK_EQ(served.away, 0);
    (void) tram_worker_free(worker);
}

static void use_auto(const char *config) {
    char path[512];
    FILE *file;

    CHECK_OK(setenv("TRAMD", tramd_path(), 1));
    CHECK_OK(setenv("XDG_CONFIG_HOME", test_dir(), 1));
    (void) snprintf(path, sizeof(path), "%s/tram", test_dir());
    CHECK_OK(mkdir(path, 0700));
    (void) strcat(path, "/tramd.conf");
    file = fopen(path, "w");
    CHECK(file && fputs(config, file) >= 0 && fclose(file) == 0);
}

/* A process that lives on, and uses no name any more, does not hold the daemon. */
TEST_TIMEOUT(who_uses_no_name_needs_no_daemon, 60) {
    const int never = 0;
    struct served served = { 0 };
    int64_t until = now() + 20 * test_seconds(1) * (int64_t) SYS_SECOND;
    tram_worker *worker;

    use_auto("[daemon]\nidle = 100ms\n");
    worker = worker_make(TRAM_WORKER_AUTO);
    for (int i = 0; i < 2; i++) { /* and if it does again, there is one again */
        served_bind(worker, &served, "x", NULL);
        worker_until(worker, &served.published, 1);
        CHECK(tramd_running() != 0);
        names_unbind(&served.binding);
        while (tramd_running() != 0) {
            CHECK(now() < until);
            (void) worker_for(worker, &never, 1, 10 * (int64_t) SYS_MILLISECOND);
        }
    }
    (void) tram_worker_free(worker);
}

static int count(const char *text, const char *part) {
    int found = 0;

    for (text = strstr(text, part); text; text = strstr(text + 1, part))
        found++;
    return found;
}

TEST_TIMEOUT(clients_start_one_daemon_and_it_leaves, 60) {
    enum { CLIENTS = 20 };
    char path[512], text[4096] = "";
    int64_t until = now() + 20 * test_seconds(1) * (int64_t) SYS_SECOND;
    struct sys_stat st;
    pid_t pids[CLIENTS];
    int pipes[2], fd;

    use_auto("[daemon]\nidle = 300ms\n");
    CHECK_OK(pipe(pipes));
    for (int i = 0; i < CLIENTS; i++)
        pids[i] = test_fork(auto_body, (int[]){ pipes[0], pipes[1] });
    (void) close(pipes[1]);
    (void) close(pipes[0]);
    for (int i = 0; i < CLIENTS; i++)
        JOIN(pids[i]);
    while (tramd_running() != 0) {
        CHECK(now() < until);
        (void) poll(NULL, 0, 5);
    }
    (void) snprintf(path, sizeof(path), "%s/default/tramd.log", test_dir());
    fd = CHECK_OK(sys_file_open(-100, path, false)); /* AT_FDCWD */
    CHECK_OK(sys_stat_fd(fd, &st));
    CHECK(st.size < sizeof(text));
    CHECK_OK(sys_file_read(fd, text, st.size, 0));
    (void) close(fd);
    CHECK_EQ(count(text, "serves"), 1);
    CHECK_EQ(count(text, "nobody needs it"), 1);
    (void) snprintf(path, sizeof(path), "%s/default/tramd.sock", test_dir());
    CHECK_ERR(sys_stat_at(-100, path, &st), -ENOENT);
}
