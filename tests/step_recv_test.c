/* SPDX-License-Identifier: MIT
 * test: timeout=60
 *
 * Kill at every instruction of what a receiver does. support/step.h says how, step_test.c has the
 * sender's side.
 */
#include <string.h>
#include <unistd.h>

#include "harness.h"
#include "support/step.h"

/* ---- setups --------------------------------------------------------------------------------- */

static void waiting(struct step_pair *pair) {
    step_open_both(pair);
    step_send(pair, 8, SIZE_MAX);
}

static void one_soft(struct step_pair *pair) {
    waiting(pair);
    step_recv_soft(pair, 2);
}

static void five_held(struct step_pair *pair) {
    waiting(pair);
    step_recv(pair, 5);
}

/* Only the first one keeps the others, which are released, in hand. */
static void first_held(struct step_pair *pair) {
    five_held(pair);
    step_release(pair, 1);
    step_release(pair, 3);
    step_release(pair, 2);
}

static void attached_not_seen(struct step_pair *pair) {
    pair->receiver = step_open(pair->this, pair->dir, STEP_RECEIVER);
    pair->sender = step_open(pair->this, pair->dir, STEP_SENDER);
    step_send(pair, 2, SIZE_MAX);
}

static void asleep_and_rung(struct step_pair *pair) {
    step_open_both(pair);
    step_send(pair, 2, SIZE_MAX);
    step_recv_soft(pair, 2);
    STEP_OK(tram_done(pair->receiver));
    model_released_all(&pair->shared->before);
    step_sleep_receiver(pair);
    step_send(pair, 1, SIZE_MAX);
}

static void empty(struct step_pair *pair) {
    step_open_both(pair);
    step_send(pair, 2, SIZE_MAX);
    step_recv_soft(pair, 2);
}

/* Drained up to the last message before the ring grew. */
static void before_the_link(struct step_pair *pair) {
    step_open_both(pair);
    step_send(pair, 2, SIZE_MAX);
    step_send(pair, 1, 70000);
    step_send(pair, 1, SIZE_MAX);
    step_recv_soft(pair, 2);
}

static void before_the_link_held(struct step_pair *pair) {
    step_open_both(pair);
    step_send(pair, 2, SIZE_MAX);
    step_send(pair, 1, 70000);
    step_send(pair, 1, SIZE_MAX);
    step_recv(pair, 2);
}

/* The sender sleeps until there is space, of which the next release gives enough. */
static void sender_waits(struct step_pair *pair) {
    struct tram_event event;

    step_open_both(pair);
    step_fill(pair, 3000);
    step_check(tram_fd(pair->sender) >= 0, "tram_fd");
    while (tram_dispatch(pair->sender, &event) > 0)
        ;
    step_check(tram_timeout(pair->sender) != 0, "asleep");
    step_recv_soft(pair, 3); /* one more, and an eighth of the ring is to be given back */
}

static void crashed(struct step_pair *pair) {
    waiting(pair);
    step_crash_receiver(pair, 5);
}

static void crashed_twice(struct step_pair *pair) {
    crashed(pair);
    step_crash_receiver(pair, 2);
}

static void crashed_and_opened(struct step_pair *pair) {
    crashed(pair);
    pair->receiver = step_open(pair->this, pair->dir, STEP_RECEIVER);
}

/* Message 1 was handed out as often as it may be. */
static void poisoned(struct step_pair *pair) {
    waiting(pair);
    step_crash_receiver(pair, 1);
    step_crash_receiver(pair, 1);
    pair->shared->before.rank[1] = RANK_ASIDE(2); /* whoever comes next sets it aside */
}

static void poisoned_and_opened(struct step_pair *pair) {
    poisoned(pair);
    pair->receiver = step_open(pair->this, pair->dir, STEP_RECEIVER);
}

static void set_aside(struct step_pair *pair) {
    poisoned_and_opened(pair);
    step_check(tram_recv(pair->receiver, &pair->msgs[0], 0) == 0, "recv");
    step_check(pair->msgs[0].seq == 2 && pair->msgs[0].attempt == 1, "number 1 was set aside");
    pair->shared->before.handed = 1;
    model_handed(&pair->shared->before, 1);
    STEP_OK(tram_done(pair->receiver));
    model_released(&pair->shared->before, 2);
}

static void to_retry(struct step_pair *pair) {
    set_aside(pair);
    STEP_OK(tram_aside_retry(pair->receiver, STEP_SENDER, 1));
    pair->shared->before.rank[1] = RANK_RETRY(3);
}

static void retried(struct step_pair *pair) {
    to_retry(pair);
    STEP_OK(tram_recv(pair->receiver, &pair->msgs[0], 0));
    step_check(pair->msgs[0].seq == 1, "number 1 comes once more");
    pair->shared->before.rank[1] = RANK_ASIDE(3);
}

static void watched(struct step_pair *pair) {
    waiting(pair);
    STEP_OK(tram_watch(pair->receiver, STEP_SENDER));
}

/* ---- operations ----------------------------------------------------------------------------- */

static void recv_one(struct step_pair *pair) {
    tram_recv(pair->receiver, &pair->msgs[0], 0);
}

static void recv_sleeping(struct step_pair *pair) {
    tram_recv(pair->receiver, &pair->msgs[0], KIT_MS / 5);
}

static void recv_batch(struct step_pair *pair) {
    tram_recv_batch(pair->receiver, pair->msgs, 5, 0, 0);
}

static void recv_batch_held(struct step_pair *pair) {
    tram_recv_batch(pair->receiver, pair->msgs, 5, TRAM_HOLD, 0);
}

static void recv_copy(struct step_pair *pair) {
    tram_recv_copy(pair->receiver, step_prepared(1), 1000, &pair->msgs[0], 0);
}

static void release_first(struct step_pair *pair) {
    tram_release(pair->receiver, &pair->msgs[0]);
}

static void release_third(struct step_pair *pair) {
    tram_release(pair->receiver, &pair->msgs[2]);
}

static void release_all(struct step_pair *pair) {
    static const int order[] = { 3, 0, 4, 2, 1 };

    for (int i = 0; i < 5; i++)
        tram_release(pair->receiver, &pair->msgs[order[i]]);
}

static void done(struct step_pair *pair) {
    tram_done(pair->receiver);
}

static void go_to_sleep(struct step_pair *pair) {
    struct tram_event event;

    tram_fd(pair->receiver);
    tram_dispatch(pair->receiver, &event);
    tram_timeout(pair->receiver);
}

static void open_receiver(struct step_pair *pair) {
    struct tram_options options = kit_options(65536, TRAM_NO_SPIN);

    options.dir = pair->dir;
    options.attempts = pair->this->attempts;
    tram_open(NULL, STEP_RECEIVER, &options, &pair->receiver);
}

static void close_receiver(struct step_pair *pair) {
    tram_close(pair->receiver);
}

static void retry(struct step_pair *pair) {
    tram_aside_retry(pair->receiver, STEP_SENDER, 1);
}

static void drop(struct step_pair *pair) {
    tram_aside_drop(pair->receiver, STEP_SENDER, 1);
}

static void watch(struct step_pair *pair) {
    tram_watch(pair->receiver, STEP_SENDER);
}

static void unwatch(struct step_pair *pair) {
    tram_unwatch(pair->receiver, STEP_SENDER);
}

static void ask(struct step_pair *pair) {
    struct tram_peer peer;

    tram_peer(pair->receiver, STEP_SENDER, &peer);
}

/* ---- what they do to the model -------------------------------------------------------------- */

static void one_handed(struct step_model *model) {
    model_handed(model, 1);
}

static void two_handed(struct step_model *model) {
    model_handed(model, 2);
}

static void five_handed(struct step_model *model) {
    model_handed(model, 5);
}

static void released_and_one_handed(struct step_model *model) {
    model_released_all(model);
    model_handed(model, 1);
}

static void released(struct step_model *model) {
    model_released_all(model);
}

static void first_released(struct step_model *model) {
    model_released(model, 1);
}

static void third_released(struct step_model *model) {
    model_released(model, 3);
}

static void first_again(struct step_model *model) {
    model->rank[1]++;
}

static void second_handed(struct step_model *model) {
    model->rank[2]++;
}

static void one_to_retry(struct step_model *model) {
    model->rank[1] = RANK_RETRY(3);
}

/* In hand once more; whoever dies with it leaves it set aside. */
static void one_aside_again(struct step_model *model) {
    model->rank[1] = RANK_ASIDE(3);
}

/* ---- the cases ------------------------------------------------------------------------------ */

STEP_CASE(recv_next, .setup = waiting, .operation = recv_one, .after = one_handed)
STEP_CASE(recv_releases, .setup = one_soft, .operation = recv_one, .after = released_and_one_handed)
STEP_CASE(recv_in_batch, .slow = true, .setup = waiting, .operation = recv_batch,
          .after = five_handed)
STEP_CASE(recv_in_batch_held, .slow = true, .setup = waiting, .operation = recv_batch_held,
          .after = five_handed)
STEP_CASE(recv_into_buffer, .slow = true, .setup = waiting, .operation = recv_copy,
          .after = one_handed)
STEP_CASE(recv_attaches, .slow = true, .setup = attached_not_seen, .operation = recv_one,
          .after = one_handed)
STEP_CASE(recv_woken, .setup = asleep_and_rung, .operation = recv_one, .after = one_handed)
STEP_CASE(recv_sleeps_in_vain, .setup = empty, .operation = recv_sleeping, .after = released)
STEP_CASE(recv_across_link, .setup = before_the_link, .operation = recv_one,
          .after = released_and_one_handed)
STEP_CASE(recv_across_link_held, .setup = before_the_link_held, .operation = recv_batch_held,
          .after = two_handed)
STEP_CASE(recv_gives_space, .setup = sender_waits, .operation = recv_one,
          .after = released_and_one_handed)
STEP_CASE(recv_again, .setup = crashed_and_opened, .operation = recv_one, .after = first_again)
STEP_CASE(recv_batch_again, .setup = crashed_and_opened, .operation = recv_batch,
          .after = first_again)
STEP_CASE(recv_sets_aside, .attempts = 2, .setup = poisoned_and_opened, .operation = recv_one,
          .after = second_handed)
STEP_CASE(release_in_order, .setup = five_held, .operation = release_first, .after = first_released)
STEP_CASE(release_out_of_order, .setup = five_held, .operation = release_third,
          .after = third_released)
STEP_CASE(release_of_the_last_held, .setup = first_held, .operation = release_first,
          .after = first_released)
STEP_CASE(release_five, .setup = five_held, .operation = release_all, .after = released)
STEP_CASE(done_releases, .setup = one_soft, .operation = done, .after = released)
STEP_CASE(sleep_armed, .setup = empty, .operation = go_to_sleep)
STEP_CASE(close_in_hand, .slow = true, .setup = five_held, .operation = close_receiver)
STEP_CASE(open_new, .slow = true, .setup = waiting, .operation = ask)
STEP_CASE(open_after_crash, .slow = true, .setup = crashed, .operation = open_receiver)
STEP_CASE(open_after_two_crashes, .slow = true, .setup = crashed_twice, .operation = open_receiver)
STEP_CASE(open_with_poison, .slow = true, .attempts = 2, .setup = poisoned,
          .operation = open_receiver)
STEP_CASE(aside_retry, .attempts = 2, .setup = set_aside, .operation = retry, .after = one_to_retry)
STEP_CASE(aside_drop, .attempts = 2, .setup = set_aside, .operation = drop, .after = first_released)
STEP_CASE(recv_retried, .attempts = 2, .setup = to_retry, .operation = recv_one,
          .after = one_aside_again)
STEP_CASE(release_retried, .attempts = 2, .setup = retried, .operation = done,
          .after = first_released)
STEP_CASE(watch_peer, .setup = waiting, .operation = watch)
STEP_CASE(unwatch_peer, .setup = watched, .operation = unwatch)
