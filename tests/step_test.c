/* SPDX-License-Identifier: MIT
 * test: timeout=90
 *
 * Kill at every instruction of what a sender does. support/step.h says how, step_recv_test.c has
 * the receiver's side.
 */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include "harness.h"
#include "ring/layout.h"
#include "support/step.h"

enum { MANY = 30 };

/* ---- setups --------------------------------------------------------------------------------- */

/* Some messages waiting, one in hand. */
static void warm(struct step_pair *pair) {
    step_open_both(pair);
    step_send(pair, 4, SIZE_MAX);
    step_recv(pair, 2);
    step_release(pair, 0);
}

/* The next record of more than 8 bytes goes around the end of the data. */
static void at_the_end(struct step_pair *pair) {
    step_open_both(pair);
    for (int i = 0; i < 64; i++) { /* 63 × (32 + 992) + (32 + 952) = 65536 - 40 */
        step_send(pair, 1, i < 63 ? 992 : 952);
        step_recv_soft(pair, 1);
    }
    STEP_OK(tram_done(pair->receiver));
    model_released_all(&pair->shared->before);
    step_send(pair, 1, 2); /* it ends at the data's end */
}

static void asleep(struct step_pair *pair) {
    step_open_both(pair);
    step_send(pair, 2, SIZE_MAX);
    step_recv_soft(pair, 2);
    STEP_OK(tram_done(pair->receiver));
    model_released_all(&pair->shared->before);
    step_sleep_receiver(pair);
}

static void full(struct step_pair *pair) {
    step_open_both(pair);
    step_fill(pair, 3000);
    step_recv(pair, 1);
}

static void full_and_freed(struct step_pair *pair) {
    full(pair);
    step_release(pair, 0);
    step_recv_soft(pair, (int) pair->shared->before.sent - 1);
    STEP_OK(tram_done(pair->receiver));
    model_released_all(&pair->shared->before);
}

static void nothing_yet(struct step_pair *pair) {
    step_open_both(pair);
}

static void sender_alone(struct step_pair *pair) {
    pair->sender = step_open(pair->this, pair->dir, STEP_SENDER);
}

static void grown(struct step_pair *pair) {
    step_open_both(pair);
    step_send(pair, 3, SIZE_MAX);
    step_recv(pair, 1);
    step_send(pair, 1, 100000);
    step_send(pair, 2, SIZE_MAX);
}

static void grown_and_drained(struct step_pair *pair) {
    grown(pair);
    step_release(pair, 0);
    step_recv_soft(pair, 5);
    STEP_OK(tram_done(pair->receiver));
    model_released_all(&pair->shared->before);
    step_check(tram_recv(pair->receiver, &pair->msgs[0], 0) == -EAGAIN, "empty");
}

static void claimed(struct step_pair *pair) {
    warm(pair);
    STEP_OK(tram_claim(pair->sender, STEP_RECEIVER, 100, 0, &pair->claimed));
}

static void staged(struct step_pair *pair) {
    warm(pair);
    for (uint64_t seq = 5; seq < 8; seq++)
        step_check(step_send_one(pair->sender, seq, 10, TRAM_MORE) == TRAM_STAGED, "staged");
}

static void closed(struct step_pair *pair) {
    warm(pair);
    pair->sender = tram_close(pair->sender);
}

static void closed_asleep(struct step_pair *pair) {
    asleep(pair);
    pair->sender = tram_close(pair->sender);
}

/* The sender has received a message that it will send on. */
static void to_forward(struct step_pair *pair) {
    char *bytes = step_prepared(5); /* will be its number */
    tram_node *third;

    warm(pair);
    third = step_open(pair->this, pair->dir, STEP_THIRD);
    step_prepare(5, 200);
    STEP_OK(tram_send(third, STEP_SENDER, 200, bytes, 200, 0));
    step_check(tram_recv_batch(pair->sender, &pair->msgs[100], 1, TRAM_HOLD, 0) == 1, "recv_batch");
}

static uint64_t memory(const struct step_pair *pair) {
    return kit_memory(pair->dir);
}

/* Up to where data was given back. */
static uint64_t kept(const struct step_pair *pair) {
    char path[200];
    uint64_t word = 0;
    int fd = open(kit_path(path, sizeof path, pair->dir, STEP_RECEIVER, "from-1.1.1.1"), O_RDONLY);

    if (pread(fd, &word, sizeof word, offsetof(struct stream, kept)) != sizeof word)
        _exit(1);
    close(fd);
    return word;
}

/* A ring that has carried much and is drained: idle, it gives its memory back. */
static void drained(struct step_pair *pair) {
    step_open_both(pair);
    for (int i = 0; i < 150; i++) {
        step_send(pair, 1, 1000);
        step_recv_soft(pair, 1);
    }
    STEP_OK(tram_done(pair->receiver));
    model_released_all(&pair->shared->before);
    step_check(tram_recv(pair->receiver, &pair->msgs[0], 0) == -EAGAIN, "empty");
    pair->shared->other[0] = memory(pair);
}

/* One message that takes 5 ms: seven to a chunk of 8 KiB, which then takes more than 10 ms. */
static void send_slowly(struct step_pair *pair) {
    int64_t end = kit_now() + 5 * KIT_MS;

    step_send(pair, 1, 1000);
    step_recv_soft(pair, 1);
    STEP_OK(tram_done(pair->receiver));
    step_check(tram_recv(pair->receiver, &pair->msgs[0], 0) == -EAGAIN, "empty");
    while (kit_now() < end)
        kit_pause();
}

/* Send until memory was given back; how many that took. */
static int until_trimmed(struct step_pair *pair) {
    uint64_t most = 0, now = 0;
    int n = 0;

    do {
        send_slowly(pair);
        now = memory(pair);
        most = now > most ? now : most;
        step_check(n++ < 300, "memory was given back");
    } while (now + 10000 > most);
    return n;
}

/* Some such chunks are light traffic. The second time tells after how many messages memory is given
 * back; the third time is near then. */
static void light_traffic(struct step_pair *pair) {
    step_open_both(pair);
    (void) until_trimmed(pair);
    for (int n = until_trimmed(pair) - 4; n > 0; n--)
        send_slowly(pair);
    model_released_all(&pair->shared->before);
    pair->shared->other[0] = kept(pair);
}

/* It has received one, and staged it for its receiver: the next receive makes it accepted, and
 * only then releases it. */
static void staged_forward(struct step_pair *pair) {
    tram_node *third = step_open(pair->this, pair->dir, STEP_THIRD);

    step_open_both(pair);
    step_prepare(1, 200);
    for (int i = 0; i < 2; i++)
        STEP_OK(tram_send(third, STEP_SENDER, 200, step_prepared(1), 200, 0));
    STEP_OK(tram_recv(pair->sender, &pair->msgs[100], 0));
    step_check(tram_forward(pair->sender, &pair->msgs[100], STEP_RECEIVER, TRAM_MORE) ==
                   TRAM_STAGED,
               "staged");
}

/* Released means accepted further on: else a relay loses it. */
static void relay_and_receiver(struct step_shared *shared, const struct step_case *this) {
    tram_node *relay = step_open(this, shared->copy, STEP_SENDER);
    uint64_t accepted = 0;
    struct tram_msg msg;

    if (tram_accepted(relay, STEP_RECEIVER, &accepted) < 0 || tram_recv(relay, &msg, 0) < 0)
        step_wrong(shared, "%s", kit_error(relay));
    if (msg.seq == 2 && accepted == 0)
        step_wrong(shared, "number 1 is released, and was not sent on");
    tram_close(relay);
    step_successors(shared, this);
}

/* ---- operations ----------------------------------------------------------------------------- */

static uint64_t next(const struct step_pair *pair) {
    return pair->shared->before.sent + 1;
}

static void send_small(struct step_pair *pair) {
    step_send_prepared(pair->sender, next(pair), 40, 0);
}

static void send_large(struct step_pair *pair) {
    step_send_prepared(pair->sender, next(pair), 9000, 0);
}

static void send_huge(struct step_pair *pair) {
    step_send_prepared(pair->sender, next(pair), 70000, 0);
}

static void send_larger_still(struct step_pair *pair) {
    step_send_prepared(pair->sender, next(pair), 270000, 0);
}

static void send_not_waiting(struct step_pair *pair) {
    step_send_prepared(pair->sender, next(pair), 3000, TRAM_NOWAIT);
}

static void send_bounded(struct step_pair *pair) {
    struct iovec piece = { .iov_base = pair->msgs, .iov_len = 3000 };

    tram_sendv(pair->sender, STEP_RECEIVER, NULL, &piece, 1, 0, KIT_MS / 5);
}

static void send_staged(struct step_pair *pair) {
    step_send_prepared(pair->sender, next(pair), 10, TRAM_MORE);
    step_send_prepared(pair->sender, next(pair) + 1, 20, TRAM_MORE);
    step_send_prepared(pair->sender, next(pair) + 2, 30, 0);
}

static void flush(struct step_pair *pair) {
    tram_flush(pair->sender);
}

static void gather(struct step_pair *pair) {
    struct tram_meta meta = { .tag = 61 };
    char *bytes = step_prepared(next(pair));
    struct iovec pieces[3] = { { bytes, 10 }, { bytes + 10, 0 }, { bytes + 10, 51 } };

    tram_sendv(pair->sender, STEP_RECEIVER, &meta, pieces, 3, 0, 0);
}

static void claim_and_commit(struct step_pair *pair) {
    struct tram_meta meta = { .tag = 72 };
    void *data;

    if (tram_claim(pair->sender, STEP_RECEIVER, 100, 0, &data) < 0)
        _exit(1);
    memcpy(data, step_prepared(next(pair)), 72);
    tram_commit(pair->sender, STEP_RECEIVER, &meta, 72, 0);
}

static void abort_claim(struct step_pair *pair) {
    memset(pair->claimed, 0xff, 100);
    tram_abort(pair->sender, STEP_RECEIVER);
}

static void forward(struct step_pair *pair) {
    tram_forward(pair->sender, &pair->msgs[100], STEP_RECEIVER, 0);
}

static void recv_at_sender(struct step_pair *pair) {
    tram_recv(pair->sender, &pair->msgs[101], 0);
}

static void close_sender(struct step_pair *pair) {
    tram_close(pair->sender);
}

static void open_sender(struct step_pair *pair) {
    struct tram_options options = kit_options(65536, TRAM_NO_SPIN);

    options.dir = pair->dir;
    tram_open(NULL, STEP_SENDER, &options, &pair->sender);
}

static void wait_and_trim(struct step_pair *pair) {
    tram_wait(pair->sender, 300 * KIT_MS);
    if (memory(pair) > pair->shared->other[0] - 100000)
        _exit(1);
}

/* Past the point where memory is given back, with up to six waiting. */
static void send_and_receive(struct step_pair *pair) {
    for (uint64_t i = 0; i < MANY; i++) {
        step_send_prepared(pair->sender, next(pair) + i, 1000, 0);
        while (i % 6 == 5 && tram_recv(pair->receiver, &pair->msgs[0], 0) == 0)
            continue;
    }
    if (kept(pair) == pair->shared->other[0])
        _exit(1);
}

static void dispatch_sender(struct step_pair *pair) {
    struct tram_event event;

    tram_dispatch(pair->sender, &event);
    tram_timeout(pair->sender);
}

/* ---- what they do to the model -------------------------------------------------------------- */

static void one_more(struct step_model *model) {
    model_sent(model, 1);
}

static void three_more(struct step_model *model) {
    model_sent(model, 3);
}

static void many_passed(struct step_model *model) {
    model_sent(model, MANY);
    model_handed(model, MANY);
    model_released_all(model);
}

/* ---- the cases ------------------------------------------------------------------------------ */

STEP_CASE(send, .setup = warm, .operation = send_small, .after = one_more)
STEP_CASE(send_around_the_end, .setup = at_the_end, .operation = send_small, .after = one_more)
STEP_CASE(send_gathered, .setup = warm, .operation = gather, .after = one_more)
STEP_CASE(send_claimed, .setup = warm, .operation = claim_and_commit, .after = one_more)
STEP_CASE(claim_aborted, .setup = claimed, .operation = abort_claim)
STEP_CASE(send_several_staged, .setup = warm, .operation = send_staged, .after = three_more)
STEP_CASE(flush_staged, .setup = staged, .operation = flush, .after = three_more)
STEP_CASE(send_large_reserves, .setup = warm, .operation = send_large, .after = one_more)
STEP_CASE(send_wakes, .setup = asleep, .operation = send_small, .after = one_more)
STEP_CASE(send_first, .setup = nothing_yet, .operation = send_small, .after = one_more)
STEP_CASE(send_first_to_nobody, .slow = true, .setup = sender_alone, .operation = send_small,
          .after = one_more)
STEP_CASE(send_to_full, .setup = full, .operation = send_not_waiting)
STEP_CASE(send_waits_at_full, .setup = full, .operation = send_bounded)
STEP_CASE(send_finds_room, .setup = full_and_freed, .operation = send_not_waiting,
          .after = one_more)
STEP_CASE(send_grows, .setup = warm, .operation = send_huge, .after = one_more)
STEP_CASE(send_grows_full, .setup = full, .operation = send_huge, .after = one_more)
STEP_CASE(send_grows_again, .setup = grown, .operation = send_larger_still, .after = one_more)
STEP_CASE(send_after_growth_is_drained, .setup = grown_and_drained, .operation = send_small,
          .after = one_more)
STEP_CASE(forward_message, .setup = to_forward, .operation = forward, .after = one_more)
STEP_CASE(relay_flushes_before_it_releases, .setup = staged_forward, .operation = recv_at_sender,
          .after = one_more, .successors = relay_and_receiver)
STEP_CASE(close_flushes, .setup = staged, .operation = close_sender, .after = three_more)
STEP_CASE(close_without_work, .slow = true, .setup = asleep, .operation = close_sender)
STEP_CASE(open_after_close, .slow = true, .setup = closed, .operation = open_sender)
STEP_CASE(open_rings, .slow = true, .setup = closed_asleep, .operation = open_sender)
STEP_CASE(trim_when_idle, .slow = true, .ring_size = 262144, .keep = 4096, .setup = drained,
          .operation = wait_and_trim)
STEP_CASE(trim_in_light_traffic, .slow = true, .keep = 4096, .setup = light_traffic,
          .operation = send_and_receive, .after = many_passed)
STEP_CASE(dispatch, .setup = grown_and_drained, .operation = dispatch_sender)
