/* SPDX-License-Identifier: MIT */
#include "service/names.h"
#include "support/tramd.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "ring/layout.h"
#include "sys/file.h"
#include "sys/lock.h"
#include "sys/socket.h"

#define PATIENCE (10 * (int64_t) SYS_SECOND)

static int64_t now(void) {
    return (int64_t) sys_now();
}

static int64_t patience(void) {
    return now() + PATIENCE * test_seconds(1);
}

/* ---- the daemon ------------------------------------------------------------------------------ */

const char *tramd_path(void) {
    return test_program("../bin/tramd");
}

static void bus_file(char path[512], const char *name) {
    (void) snprintf(path, 512, "%s/default/%s", test_dir(), name);
}

static int try_connect(void) {
    char path[512];
    struct sys_address address;
    bool pending;
    int dir, fd;
    int rc;

    bus_file(path, "");
    dir = sys_dir_open(AT_FDCWD, path);
    if (dir < 0)
        return dir;
    rc = sys_address_at(dir, "tramd.sock", &address);
    if (rc == 0)
        rc = sys_connect(&address, &fd, &pending);
    (void) close(dir);
    return rc < 0 ? rc : fd;
}

pid_t tramd_start(const char *const *more) {
    const char *argv[8] = { tramd_path() };
    char path[512];
    int64_t until = patience();
    pid_t pid;
    int fd;

    for (int i = 0; more && more[i]; i++)
        argv[i + 1] = more[i];
    (void) snprintf(path, sizeof(path), "%s/tramd.err", test_dir());
    pid = CHECK_OK(fork());
    if (pid == 0) {
        fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
        (void) dup2(fd, 2);
        (void) close(fd);
        (void) setenv("XDG_CONFIG_HOME", "/nonexistent", 1);
        (void) setenv("HOME", "/nonexistent", 1);
        (void) execv(argv[0], (char *const *) (uintptr_t) argv);
        _exit(127);
    }
    while ((fd = try_connect()) < 0) {
        int status;

        if (waitpid(pid, &status, WNOHANG) == pid)
            FAIL("tramd ended at once, with status %#x", status);
        CHECK(now() < until);
        (void) poll(NULL, 0, 1);
    }
    (void) close(fd);
    return pid;
}

pid_t tramd_start_config(const char *text) {
    char path[512];
    FILE *file;

    (void) snprintf(path, sizeof(path), "%s/tramd.conf", test_dir());
    file = fopen(path, "w");
    CHECK(file && fputs(text, file) >= 0 && fclose(file) == 0);
    return tramd_start((const char *const[]){ "--config", path, NULL });
}

pid_t tramd_running(void) {
    char path[512], text[16] = "";
    struct sys_stat st;
    int fd, held;

    bus_file(path, "tramd.lock");
    fd = sys_file_open(AT_FDCWD, path, false);
    if (fd < 0)
        return 0;
    held = sys_lock_held(fd, 0);
    if (held == 1 && sys_stat_fd(fd, &st) == 0 && st.size < sizeof(text))
        (void) sys_file_read(fd, text, st.size, 0);
    (void) close(fd);
    return held == 1 ? atoi(text) : 0;
}

char *tramd_said(void) {
    char path[512];
    struct sys_stat st;
    char *text;
    int fd;

    (void) snprintf(path, sizeof(path), "%s/tramd.err", test_dir());
    fd = CHECK_OK(sys_file_open(AT_FDCWD, path, false));
    CHECK_OK(sys_stat_fd(fd, &st));
    text = calloc(1, st.size + 1);
    CHECK(text);
    CHECK_OK(sys_file_read(fd, text, st.size, 0));
    (void) close(fd);
    return text;
}

/* ---- workers --------------------------------------------------------------------------------- */

tram_worker *worker_make(uint32_t flags) {
    struct tram_worker_options options = TRAM_WORKER_OPTIONS_INIT;
    tram_worker *worker = NULL;

    options.flags = flags | TRAM_WORKER_NO_SPIN;
    CHECK_OK(tram_worker_new(&options, &worker));
    return worker;
}

bool worker_for(tram_worker *worker, const int *done, int wanted, int64_t ns) {
    int64_t until = now() + ns;

    while (*done < wanted) {
        struct pollfd entry = { .fd = tram_worker_fd(worker), .events = POLLIN };
        int more = CHECK_OK(tram_worker_dispatch(worker));
        int64_t left = until - now();

        if (*done >= wanted)
            break;
        if (left <= 0)
            return false;
        if (more == 0)
            (void) poll(&entry, 1, (int) (left / (int64_t) SYS_MILLISECOND + 1));
    }
    return true;
}

void worker_until(tram_worker *worker, const int *done, int wanted) {
    if (!worker_for(worker, done, wanted, patience() - now()))
        FAIL("waited in vain: %d of %d", *done, wanted);
}

static void on_bound(struct names_binding *binding) {
    struct served *served = (struct served *) binding;

    served->bound++;
    if (!served->only_bind)
        CHECK_OK(names_publish(binding, NULL));
}

static void on_published(struct names_binding *binding, uint64_t order) {
    struct served *served = (struct served *) binding;

    served->published++;
    served->order = order;
}

static void on_refused(struct names_binding *binding, int error, const char *text,
                       const struct names_party *holder) {
    struct served *served = (struct served *) binding;

    (void) text;
    served->refused++;
    served->error = error;
    served->holder_pid = holder ? holder->pid : 0;
    (void) snprintf(served->holder, sizeof(served->holder), "%s", holder ? holder->program : "");
}

static void on_binding_away(struct names_binding *binding) {
    ((struct served *) binding)->away++;
}

void served_bind(tram_worker *worker, struct served *served, const char *name,
                 const char *instance) {
    bool only_bind = served->only_bind;

    *served = (struct served){ .only_bind = only_bind };
    served->binding.on_bound = on_bound;
    served->binding.on_published = on_published;
    served->binding.on_refused = on_refused;
    served->binding.on_away = on_binding_away;
    CHECK_OK(names_bind(worker, &served->binding, name, instance, 17));
}

static void note(struct seen *seen, const struct names_party *party) {
    seen->at = now();
    (void) snprintf(seen->last, sizeof(seen->last), "%s", party->full);
}

static void on_online(struct names_watch *watch, const struct names_party *party) {
    ((struct seen *) watch)->online++;
    note((struct seen *) watch, party);
}

static void on_offline(struct names_watch *watch, const struct names_party *party) {
    ((struct seen *) watch)->offline++;
    note((struct seen *) watch, party);
}

static void on_told(struct names_watch *watch) {
    ((struct seen *) watch)->told++;
}

static void on_watch_away(struct names_watch *watch) {
    ((struct seen *) watch)->away++;
}

void seen_watch(tram_worker *worker, struct seen *seen, const char *pattern) {
    *seen = (struct seen){ 0 };
    seen->watch.on_online = on_online;
    seen->watch.on_offline = on_offline;
    seen->watch.on_told = on_told;
    seen->watch.on_away = on_watch_away;
    CHECK_OK(names_watch(worker, &seen->watch, pattern));
}

struct order {
    const char *prefix;
    int count, ready;
};

static void serve_body(void *arg) {
    struct order *order = arg;
    struct served *served = calloc((size_t) order->count, sizeof(*served));
    tram_worker *worker = worker_make(0);
    char name[64];

    CHECK(served);
    for (int i = 0; i < order->count; i++) {
        (void) snprintf(name, sizeof(name), "%s%d", order->prefix, i);
        served_bind(worker, &served[i], name, NULL);
    }
    for (int i = 0; i < order->count; i++)
        worker_until(worker, &served[i].published, 1);
    CHECK_EQ(write(order->ready, "!", 1), 1);
    (void) close(order->ready);
    CHECK_OK(tram_worker_run(worker));
}

pid_t serve(const char *prefix, int count) {
    struct order order = { .prefix = prefix, .count = count };
    int pipes[2];
    pid_t pid;
    char byte;

    CHECK_OK(pipe(pipes));
    order.ready = pipes[1];
    pid = test_fork(serve_body, &order);
    (void) close(pipes[1]);
    CHECK_EQ(read(pipes[0], &byte, 1), 1);
    (void) close(pipes[0]);
    return pid;
}

/* ---- by hand --------------------------------------------------------------------------------- */

void raw_open(struct raw *raw) {
    *raw = (struct raw){ .fd = CHECK_OK(try_connect()) };
}

void raw_close(struct raw *raw) {
    (void) close(raw->fd);
    control_in_reset(&raw->in);
}

void raw_send(struct raw *raw, const control_frame *frame) {
    struct control_out out = { 0 };

    CHECK_OK(control_out_add(&out, frame));
    CHECK_EQ(sys_send(raw->fd, control_out_bytes(&out), control_out_size(&out)),
             control_out_size(&out));
    control_out_reset(&out);
}

static void greet(struct raw *raw, tram_id node, uint64_t life) {
    Tram__Control__Hello hello = CONTROL_NEW(Hello, hello);
    control_frame frame = CONTROL_NEW(Frame, frame);
    control_frame *answer;
    char program[] = "by hand";

    hello.version = CONTROL_VERSION;
    hello.program = program;
    hello.node = node;
    hello.life = life;
    frame.kind_case = TRAM__CONTROL__FRAME__KIND_HELLO;
    frame.hello = &hello;
    raw_send(raw, &frame);
    answer = raw_next(raw);
    CHECK(answer && answer->kind_case == TRAM__CONTROL__FRAME__KIND_WELCOME);
    CHECK_EQ(answer->welcome->error, 0);
    CHECK_EQ(answer->welcome->version, CONTROL_VERSION);
    (void) control_free(answer);
}

void raw_hello(struct raw *raw) {
    greet(raw, 0, 0);
}

void raw_hello_as(struct raw *raw, tram_worker *worker, uint64_t later) {
    tram_node *node = tram_worker_node(worker);
    char id[TRAM_ID_TEXT], path[512];
    struct door door;
    int fd;

    (void) snprintf(path, sizeof(path), "%s/%s/door", tram_bus_path(node),
                    tram_id_format(tram_node_id(node), id));
    fd = CHECK_OK(sys_file_open(AT_FDCWD, path, false));
    CHECK_OK(sys_file_read(fd, &door, sizeof(door), 0));
    (void) close(fd);
    greet(raw, tram_node_id(node), door.opens + later);
}

int raw_bind(struct raw *raw, uint64_t cookie, const char *name) {
    control_party party = CONTROL_NEW(Party, party);
    Tram__Control__Bind bind = CONTROL_NEW(Bind, bind);
    control_frame frame = CONTROL_NEW(Frame, frame), *answer;
    int error;

    party.name = (char *) (uintptr_t) name;
    bind.cookie = cookie;
    bind.party = &party;
    frame.kind_case = TRAM__CONTROL__FRAME__KIND_BIND;
    frame.bind = &bind;
    raw_send(raw, &frame);
    answer = raw_next(raw);
    CHECK(answer && answer->kind_case == TRAM__CONTROL__FRAME__KIND_BOUND);
    CHECK_EQ(answer->bound->cookie, cookie);
    error = answer->bound->error;
    (void) control_free(answer);
    return error;
}

uint64_t raw_publish(struct raw *raw, uint64_t cookie) {
    Tram__Control__Publish publish = CONTROL_NEW(Publish, publish);
    control_frame frame = CONTROL_NEW(Frame, frame), *answer;
    uint64_t order;

    publish.cookie = cookie;
    frame.kind_case = TRAM__CONTROL__FRAME__KIND_PUBLISH;
    frame.publish = &publish;
    raw_send(raw, &frame);
    answer = raw_next(raw);
    CHECK(answer && answer->kind_case == TRAM__CONTROL__FRAME__KIND_PUBLISHED);
    CHECK_EQ(answer->published->cookie, cookie);
    order = answer->published->order;
    (void) control_free(answer);
    return order;
}

void raw_settle(struct raw *raw) {
    Tram__Control__Settle settle = CONTROL_NEW(Settle, settle);
    control_frame frame = CONTROL_NEW(Frame, frame);

    frame.kind_case = TRAM__CONTROL__FRAME__KIND_SETTLE;
    frame.settle = &settle;
    raw_send(raw, &frame);
}

void raw_watch(struct raw *raw, uint64_t cookie, const char *pattern) {
    Tram__Control__Watch watch = CONTROL_NEW(Watch, watch);
    control_frame frame = CONTROL_NEW(Frame, frame);

    watch.cookie = cookie;
    watch.pattern = (char *) (uintptr_t) pattern;
    frame.kind_case = TRAM__CONTROL__FRAME__KIND_WATCH;
    frame.watch = &watch;
    raw_send(raw, &frame);
}

control_frame *raw_next(struct raw *raw) {
    int64_t until = patience();
    control_frame *frame;
    struct wrong wrong = { 0 };

    for (;;) {
        struct pollfd entry = { .fd = raw->fd, .events = POLLIN };
        int rc = control_in_next(&raw->in, CONTROL_TO_PROCESS, &frame, &wrong);
        int64_t got;
        size_t size;
        void *room;

        if (rc < 0)
            FAIL("%s", wrong.text);
        if (rc > 0)
            return frame;
        CHECK(now() < until);
        (void) poll(&entry, 1, 100);
        room = control_in_room(&raw->in, &size);
        CHECK(room);
        got = sys_receive(raw->fd, room, size);
        if (got == 0 || got == -ECONNRESET)
            return NULL;
        if (got != -EAGAIN)
            control_in_add(&raw->in, (size_t) CHECK_OK(got));
    }
}
