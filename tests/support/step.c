/* SPDX-License-Identifier: MIT */
#include "support/step.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"
#include "support/shape.h"
#include "support/watch.h"

enum { PATIENCE = 20 }; /* seconds of a successor */

/* ---- the model ------------------------------------------------------------------------------ */

void model_sent(struct step_model *model, unsigned n) {
    while (n-- > 0)
        model->rank[++model->sent] = 1;
}

void model_handed(struct step_model *model, unsigned n) {
    while (n-- > 0)
        model->rank[++model->handed]++;
}

void model_released(struct step_model *model, uint64_t seq) {
    model->rank[seq] = RANK_GONE;
}

void model_released_all(struct step_model *model) {
    for (uint64_t seq = 1; seq <= model->handed; seq++)
        model->rank[seq] = RANK_GONE;
}

/* ---- what setups do ------------------------------------------------------------------------- */

void step_check(bool good, const char *text) {
    if (!good) {
        fprintf(stderr, "    setup: %s\n", text);
        _exit(1);
    }
}

tram_node *step_open(const struct step_case *this, const char *dir, tram_id id) {
    struct tram_options options =
        kit_options(this->ring_size ? this->ring_size : 65536, TRAM_NO_SPIN);

    options.attempts = this->attempts;
    options.keep = this->keep;
    options.ring_max = 4 << 20;
    return kit_open(dir, id, &options);
}

void step_open_both(struct step_pair *pair) {
    pair->sender = step_open(pair->this, pair->dir, STEP_SENDER);
    pair->receiver = step_open(pair->this, pair->dir, STEP_RECEIVER);
}

/* Small by default: sizes around the granularity of records. */
size_t step_size(uint64_t seq) {
    return seq % 41;
}

static uint64_t key_of(uint64_t seq) {
    return kit_mix(seq, 42, 0);
}

static char prepared[STEP_PREPARED][1 << 19];

void step_prepare(uint64_t seq, size_t size) {
    pattern_fill(prepared[seq % STEP_PREPARED], size, key_of(seq));
}

char *step_prepared(uint64_t seq) {
    return prepared[seq % STEP_PREPARED];
}

/* The size of a message stands in its tag, so that any size can be checked. */
int step_send_prepared(tram_node *node, uint64_t seq, size_t size, uint32_t flags) {
    return tram_send(node, STEP_RECEIVER, (uint32_t) size, step_prepared(seq), size, flags);
}

int step_send_one(tram_node *node, uint64_t seq, size_t size, uint32_t flags) {
    step_prepare(seq, size);
    return step_send_prepared(node, seq, size, flags);
}

void step_send(struct step_pair *pair, unsigned n, size_t size) {
    struct step_model *model = &pair->shared->before;

    for (; n > 0; n--) {
        uint64_t seq = model->sent + 1;

        STEP_OK(step_send_one(pair->sender, seq, size == SIZE_MAX ? step_size(seq) : size,
                              TRAM_NOWAIT));
        model_sent(model, 1);
    }
}

void step_fill(struct step_pair *pair, size_t size) {
    struct step_model *model = &pair->shared->before;
    int rc;

    while ((rc = step_send_one(pair->sender, model->sent + 1, size, TRAM_NOWAIT)) == 0)
        model_sent(model, 1);
    step_check(rc == -EAGAIN, "fill");
}

void step_recv(struct step_pair *pair, int n) {
    for (; n > 0; n--) {
        struct tram_msg *msg = &pair->msgs[pair->n_msgs++];

        step_check(tram_recv_batch(pair->receiver, msg, 1, TRAM_HOLD, 0) == 1, "recv_batch");
        model_handed(&pair->shared->before, 1);
    }
}

void step_recv_soft(struct step_pair *pair, int n) {
    struct step_model *model = &pair->shared->before;

    for (; n > 0; n--) {
        STEP_OK(tram_recv(pair->receiver, &pair->msgs[0], 0));
        model_released_all(model);
        model_handed(model, 1);
    }
}

void step_release(struct step_pair *pair, int index) {
    STEP_OK(tram_release(pair->receiver, &pair->msgs[index]));
    model_released(&pair->shared->before, pair->msgs[index].seq);
}

/* A life of the receiver that takes n messages and dies with them. */
void step_crash_receiver(struct step_pair *pair, int n) {
    struct step_model *model = &pair->shared->before;
    uint64_t first = 1;
    int status = 1;
    pid_t pid;

    pair->receiver = tram_close(pair->receiver);
    pid = fork();
    if (pid == 0) {
        tram_node *node = step_open(pair->this, pair->dir, STEP_RECEIVER);

        for (int i = 0; i < n; i++)
            step_check(tram_recv_batch(node, pair->msgs, 1, TRAM_HOLD, 0) == 1, "recv_batch");
        _exit(0);
    }
    step_check(waitpid(pid, &status, 0) == pid && status == 0, "a life of the receiver");
    while (model->rank[first] >= RANK_ASIDE(0))
        first++;
    for (uint64_t seq = first; seq < first + (uint64_t) n; seq++)
        model->rank[seq]++;
    if (model->handed < first + (uint64_t) n - 1)
        model->handed = first + (uint64_t) n - 1;
}

void step_sleep_receiver(struct step_pair *pair) {
    struct tram_event event;
    struct tram_msg msg;

    step_check(tram_fd(pair->receiver) >= 0, "tram_fd");
    while (tram_dispatch(pair->receiver, &event) > 0)
        ;
    step_check(tram_recv(pair->receiver, &msg, 0) == -EAGAIN, "not empty");
    step_check(tram_timeout(pair->receiver) != 0, "tram_timeout");
    step_check(kit_asleep(pair->dir, STEP_RECEIVER), "asleep");
}

/* ---- successors ----------------------------------------------------------------------------- */

void step_wrong(struct step_shared *shared, const char *format, ...) {
    va_list args;

    va_start(args, format);
    vsnprintf(shared->why, sizeof shared->why, format, args);
    va_end(args);
    _exit(1);
}

#define ULL(x) ((unsigned long long) (x))

static void check_message(struct step_shared *shared, const struct tram_msg *msg) {
    ssize_t bad;

    if (msg->from != STEP_SENDER)
        step_wrong(shared, "a message from %#x", msg->from);
    if (msg->size != msg->tag)
        step_wrong(shared, "number %llu has %zu bytes, not %u", ULL(msg->seq), msg->size, msg->tag);
    bad = pattern_check(msg->data, msg->size, key_of(msg->seq));
    if (bad >= 0)
        step_wrong(shared, "number %llu: byte %zd is wrong", ULL(msg->seq), bad);
}

/* All that waits, in order; what does not come is gone. */
static void receive_all(struct step_shared *shared, const struct step_case *this,
                        tram_node *receiver) {
    struct step_model *found = &shared->found;
    uint64_t last = 0;
    struct tram_msg msg;
    int rc;

    while ((rc = tram_recv(receiver, &msg, 0)) == 0) {
        check_message(shared, &msg);
        if (this->attempts && msg.attempt > this->attempts && msg.seq <= found->sent) {
            found->rank[msg.seq] = (uint16_t) RANK_RETRY(this->attempts + 1); /* was set aside */
            continue;
        }
        if (msg.seq <= last || msg.seq > found->sent)
            step_wrong(shared, "number %llu after %llu, %llu accepted", ULL(msg.seq), ULL(last),
                       ULL(found->sent));
        last = msg.seq;
        found->rank[msg.seq] = (uint16_t) msg.attempt;
    }
    if (rc != -EAGAIN)
        step_wrong(shared, "tram_recv: %s: %s", strerror(-rc), kit_error(receiver));
}

static void list_aside(struct step_shared *shared, tram_node *receiver) {
    struct tram_aside list[16];
    int n = tram_aside_list(receiver, list, 16);

    if (n < 0)
        step_wrong(shared, "tram_aside_list: %s", strerror(-n));
    for (int i = 0; i < n && i < 16; i++)
        if (list[i].seq < STEP_SEQS)
            shared->found.rank[list[i].seq] = (uint16_t) RANK_ASIDE(list[i].attempts);
}

/* Both go on, and nothing is repeated or left out from here. */
static void go_on(struct step_shared *shared, tram_node *sender, tram_node *receiver) {
    uint64_t sent = shared->found.sent;
    struct tram_peer peer;
    struct tram_msg msg;
    int rc;

    for (uint64_t seq = sent + 1; seq <= sent + STEP_MORE; seq++) {
        rc = step_send_one(sender, seq, step_size(seq), TRAM_NOWAIT);
        if (rc < 0)
            step_wrong(shared, "the successor cannot send %llu: %s: %s", ULL(seq), strerror(-rc),
                       kit_error(sender));
    }
    for (uint64_t seq = sent + 1; seq <= sent + STEP_MORE; seq++) {
        rc = tram_recv(receiver, &msg, 0);
        if (rc < 0)
            step_wrong(shared, "number %llu of the successor does not come: %s: %s", ULL(seq),
                       strerror(-rc), kit_error(receiver));
        check_message(shared, &msg);
        if (msg.seq != seq || msg.attempt != 1)
            step_wrong(shared, "%llu attempt %u comes, not %llu attempt 1", ULL(msg.seq),
                       msg.attempt, ULL(seq));
    }
    rc = tram_recv(receiver, &msg, 0);
    if (rc != -EAGAIN)
        step_wrong(shared, "after all: %d, number %llu", rc, ULL(msg.seq));
    rc = tram_peer(receiver, STEP_SENDER, &peer);
    if (rc < 0 || peer.from.accepted != sent + STEP_MORE ||
        peer.from.consumed != sent + STEP_MORE || peer.from.bytes != 0)
        step_wrong(shared, "tram_peer: accepted %llu consumed %llu waiting %llu, of %llu",
                   ULL(peer.from.accepted), ULL(peer.from.consumed), ULL(peer.from.bytes),
                   ULL(sent + STEP_MORE));
}

void step_successors(struct step_shared *shared, const struct step_case *this) {
    tram_node *sender = NULL, *receiver = NULL;
    uint64_t sent = 0;
    int rc;

    if (shared->other[7] % 2) /* now one first, now the other */
        receiver = step_open(this, shared->copy, STEP_RECEIVER);
    sender = step_open(this, shared->copy, STEP_SENDER);
    if (!receiver)
        receiver = step_open(this, shared->copy, STEP_RECEIVER);
    rc = tram_accepted(sender, STEP_RECEIVER, &sent);
    if (rc < 0 || sent >= STEP_SEQS - STEP_MORE)
        step_wrong(shared, "tram_accepted: %d, %llu", rc, ULL(sent));
    shared->found.sent = sent;
    for (uint64_t seq = 1; seq <= sent; seq++)
        shared->found.rank[seq] = RANK_GONE;
    receive_all(shared, this, receiver);
    list_aside(shared, receiver);
    go_on(shared, sender, receiver);
    tram_close(sender);
    tram_close(receiver);
}

/* ---- one state ------------------------------------------------------------------------------ */

static void compare(const struct step_case *this, struct step_shared *shared,
                    const struct step_model *last, uint64_t step) {
    const struct step_model *found = &shared->found;

    if (found->sent < shared->before.sent || found->sent > shared->after.sent)
        FAIL("%s, step %llu: accepted %llu, not %llu to %llu", this->name, ULL(step),
             ULL(found->sent), ULL(shared->before.sent), ULL(shared->after.sent));
    for (uint64_t seq = 1; seq <= shared->after.sent; seq++) {
        unsigned rank = found->rank[seq], least = last->rank[seq], most = shared->after.rank[seq];

        if (step == 0)
            most = shared->before.rank[seq];
        if (rank < least || rank > most)
            FAIL("%s, step %llu: number %llu has rank %u, not %u to %u (0: not accepted, n: comes "
                 "as attempt n, 500 + 10n: set aside after n, %d: gone)",
                 this->name, ULL(step), ULL(seq), rank, least, most, RANK_GONE);
    }
}

/* Check a copy of the files, and let the successors at it. */
static void check_state(const struct step_case *this, struct step_shared *shared, const char *live,
                        const struct step_model *last, uint64_t step) {
    char bus[160], why[400];
    int status = 0, rc;
    pid_t pid;

    rc = kit_copy_tree(live, shared->copy);
    if (rc < 0)
        FAIL("%s: cannot copy: %s", this->name, strerror(-rc));
    snprintf(bus, sizeof bus, "%s/default", shared->copy);
    if (shape_check(bus, why, sizeof why) < 0)
        FAIL("%s, step %llu: %s", this->name, ULL(step), why);
    memset(&shared->found, 0, sizeof shared->found);
    shared->why[0] = 0;
    shared->other[7]++;
    fflush(NULL);
    pid = fork();
    if (pid == 0) {
        alarm((unsigned) test_seconds(PATIENCE));
        if (this->successors)
            this->successors(shared, this);
        else
            step_successors(shared, this);
        _exit(0);
    }
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (status != 0) {
        kit_list_tree(shared->copy);
        FAIL("%s, step %llu: successors: %s", this->name, ULL(step),
             shared->why[0]        ? shared->why
             : WIFSIGNALED(status) ? strsignal(WTERMSIG(status))
                                   : "exited");
    }
    compare(this, shared, last, step);
    kit_remove_tree(shared->copy);
}

/* ---- stepping ------------------------------------------------------------------------------- */

#if defined(__x86_64__)

const char *step_impossible(void) {
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        if (ptrace(PTRACE_TRACEME, 0, 0, 0) < 0)
            _exit(1);
        raise(SIGSTOP);
        _exit(0);
    }
    if (waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status))
        return "ptrace is not allowed here";
    test_kill(pid);
    return NULL;
}

/* The address of the next instruction. The child was forked from this process and runs the same
 * code at the same addresses. */
static const unsigned char *next_instruction(pid_t pid) {
    return (const unsigned char *) ptrace(PTRACE_PEEKUSER, pid,
                                          offsetof(struct user_regs_struct, rip), 0);
}

static bool is_system_call(const unsigned char *code) {
    return code[0] == 0x0f && code[1] == 0x05;
}

/* The length of a repeated string instruction (rep movs, rep stos), or 0. */
static unsigned repeated(const unsigned char *code) {
    unsigned wide = code[1] == 0x48;

    if (code[0] != 0xf3)
        return 0;
    switch (code[1 + wide]) {
    case 0xa4:
    case 0xa5:
    case 0xaa:
    case 0xab:
        return 2 + wide;
    default:
        return 0;
    }
}

/* Run to an address, by a breakpoint. */
static void run_to(const struct step_case *this, pid_t pid, const unsigned char *to) {
    void *place = (void *) ((uintptr_t) to & ~(uintptr_t) 7);
    unsigned shift = (unsigned) ((uintptr_t) to & 7) * 8;
    long word = ptrace(PTRACE_PEEKTEXT, pid, place, 0);
    unsigned long trap = ((unsigned long) word & ~(0xfful << shift)) | 0xccul << shift;
    int status;

    if (ptrace(PTRACE_POKETEXT, pid, place, trap) < 0 || ptrace(PTRACE_CONT, pid, 0, 0) < 0 ||
        waitpid(pid, &status, __WALL) != pid || !WIFSTOPPED(status) ||
        WSTOPSIG(status) != SIGTRAP || next_instruction(pid) != to + 1)
        FAIL("%s: a breakpoint was missed", this->name);
    ptrace(PTRACE_POKETEXT, pid, place, word);
    ptrace(PTRACE_POKEUSER, pid, offsetof(struct user_regs_struct, rip), to);
}

#else

/* Loops of load-exclusive and store-exclusive never succeed when they are single-stepped. */
const char *step_impossible(void) {
    return "single-stepping is for x86-64 only";
}

static const unsigned char *next_instruction(pid_t pid) {
    (void) pid;
    return NULL;
}

static bool is_system_call(const unsigned char *code) {
    (void) code;
    return true;
}

static unsigned repeated(const unsigned char *code) {
    (void) code;
    return 0;
}

static void run_to(const struct step_case *this, pid_t pid, const unsigned char *to) {
    (void) this, (void) pid, (void) to;
}

#endif

static void live_and_wait(const struct step_case *this, struct step_shared *shared,
                          const char *live) {
    static struct step_pair pair;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    pair.this = this;
    pair.shared = shared;
    pair.dir = live;
    this->setup(&pair);
    shared->after = shared->before;
    if (this->after)
        this->after(&shared->after);
    for (uint64_t i = 1; i <= STEP_PREPARED; i++)
        step_prepare(shared->before.sent + i, i == 1 ? sizeof prepared[0] : 2000);
    if (ptrace(PTRACE_TRACEME, 0, 0, 0) < 0)
        _exit(1);
    raise(SIGSTOP);
    this->operation(&pair);
    __atomic_store_n(&shared->ended, 1, __ATOMIC_RELEASE);
    for (;;)
        pause();
}

/* Let it go on for one instruction. */
static void step(const struct step_case *this, pid_t pid, uint64_t n) {
    int status, signal = 0;

    do {
        if (ptrace(PTRACE_SINGLESTEP, pid, 0, signal) < 0)
            FAIL("%s: ptrace: %s", this->name, strerror(errno));
        if (waitpid(pid, &status, __WALL) != pid || !WIFSTOPPED(status))
            FAIL("%s, step %llu: the operation ended with status %#x", this->name, ULL(n), status);
        signal = WSTOPSIG(status) == SIGTRAP ? 0 : WSTOPSIG(status);
    } while (signal);
}

/* A running case. */
struct run {
    const struct step_case *this;
    struct step_shared *shared;
    struct step_model last;
    struct step_result result;
    struct watch watch;
    pid_t pid;
    unsigned quiet; /* states since the last one that was checked */
};

static bool has_ended(const struct run *run) {
    return __atomic_load_n(&run->shared->ended, __ATOMIC_ACQUIRE);
}

/* Go on to the next state. A repeated string instruction would be one step a round: it only copies
 * payload, and is one step here. */
static void next_state(struct run *run) {
    enum watch_change change = WATCH_SAME;

    do {
        const unsigned char *at = next_instruction(run->pid);
        unsigned length = repeated(at);

        if (length)
            run_to(run->this, run->pid, at + length);
        else
            step(run->this, run->pid, run->result.steps);
        run->result.steps++;
        change = watch_changed(&run->watch, is_system_call(at));
    } while (change == WATCH_SAME && !has_ended(run));
    run->result.states++;
}

/* Where all is slow, not every state is checked. */
static bool worth_checking(struct run *run) {
    return has_ended(run) || ++run->quiet >= kit_env("STEP_EVERY", *test_sanitizer() ? 3 : 1);
}

static void start(struct run *run, const char *live) {
    int status;

    fflush(NULL);
    run->pid = fork();
    if (run->pid == 0)
        live_and_wait(run->this, run->shared, live);
    if (waitpid(run->pid, &status, 0) != run->pid || !WIFSTOPPED(status))
        FAIL("%s: the setup ended with status %#x", run->this->name, status);
    run->last = run->shared->before;
}

static void check_end(const struct run *run) {
    const struct step_model *after = &run->shared->after;

    for (uint64_t seq = 1; seq <= after->sent; seq++)
        if (run->last.rank[seq] != after->rank[seq])
            FAIL("%s, after the operation: number %llu has rank %u, not %u", run->this->name,
                 ULL(seq), run->last.rank[seq], after->rank[seq]);
}

struct step_result step_run(const struct step_case *this, const char *dir) {
    static struct run run;
    char live[100];

    run.this = this;
    run.shared = kit_shared(sizeof *run.shared);
    snprintf(live, sizeof live, "%s/live", dir);
    snprintf(run.shared->copy, sizeof run.shared->copy, "%s/copy", dir);
    CHECK_OK(mkdir(live, 0700));
    kit_pin(sched_getcpu()); /* two processes that take turns are fastest on one processor */
    start(&run, live);
    watch_init(&run.watch, live);
    for (;; next_state(&run)) {
        if (run.result.steps == 0 || worth_checking(&run)) {
            check_state(this, run.shared, live, &run.last, run.result.steps);
            run.last = run.shared->found;
            run.result.checked++;
            run.quiet = 0;
        }
        if (has_ended(&run))
            break;
    }
    check_end(&run);
    test_kill(run.pid);
    watch_deinit(&run.watch);
    kit_remove_tree(live);
    munmap(run.shared, sizeof *run.shared);
    return run.result;
}

void step_case(const struct step_case *this) {
    const char *reason = step_impossible();
    int64_t begin = kit_now();
    struct step_result result;

    if (reason)
        SKIP(reason);
    if (this->slow && *test_sanitizer() && !getenv("STEP_EVERY"))
        SKIP("too slow when instrumented, unless STEP_EVERY is set");
    result = step_run(this, test_dir());
    printf("    %-28s %7llu instructions, %4llu states, %4llu checked, %4.0f ms\n", this->name,
           ULL(result.steps), ULL(result.states), ULL(result.checked),
           (double) (kit_now() - begin) / 1e6);
}
