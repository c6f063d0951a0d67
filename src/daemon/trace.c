/* SPDX-License-Identifier: MIT
 *
 * What this host knows of a channel, for `tram trace`; and asking the other hosts for what they
 * know of it, or only whether they are there (`tram ping`), or for a look at their buses (`tram top
 * --hosts`, sample.c). A question waits TIMEOUT at most, and goes to ASKED_MOST hosts at most: of a
 * channel those on which the two nodes are placed, or, while one of these is not known, all.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/stands_inner.h"
#include "node/mirror.h"
#include "observe/observe.h"
#include "sys/cleanup.h"
#include "sys/clock.h"

#define TIMEOUT INT64_C(2000000000)
#define ASKED_MOST 64
#define ROW_ROOM 512u  /* of a channel and a node, as Sample frames and with what else waits */
#define ROWS_LEAST 16u

typedef Tram__Control__View view_words;
typedef Tram__Control__View__Node view_node;

/* A host that was asked, for the connection of a tool. */
struct question {
    struct question *next;
    struct conn *conn;
    uint64_t cookie, number;
    uint32_t host;
    uint32_t rows;  /* of a look at its bus; 0: another question */
    int64_t began;
};

static char *text_of(const char *text) {
    return (char *) (uintptr_t) text; /* frames that go out are only read */
}

/* ---- what is known here ---------------------------------------------------------------------- */

/* A view, and what its texts point to. */
struct look {
    view_words words;
    view_node sender, receiver;
    struct observe_node from, to;
    struct observe_channel channel;
};

static void look_node(struct hosts *hosts, struct observe *observe, tram_id id,
                      struct observe_node *node, view_node *words) {
    uint64_t epoch = 0;
    uint32_t host = placing_of(hosts, id, &epoch);

    *words = (view_node) CONTROL_NEW(View__Node, view__node);
    if (host > 0) {
        words->host = text_of(host_name(hosts, host));
        words->epoch = epoch;
    }
    if (!observe || observe_node(observe, id, node) < 0)
        return;
    words->known = true;
    words->up = node->up;
    words->asleep = node->asleep;
    words->pid = node->pid;
    words->program = trust_shown(node->program);
    words->opens = node->opens;
    if (!node->up && node->closed_ns > 0 && sys_wall() > node->closed_ns)
        words->down_ns = sys_wall() - node->closed_ns;
}

static bool is_mirror(struct hosts *hosts, tram_id from, tram_id to) {
    OWNS_FD int dir = files_node_dir(&hosts->daemon->bus, to, false);

    return dir >= 0 && mirror_lies(dir, from) == 1;
}

static void look_ring(struct hosts *hosts, struct observe *observe, struct look *look) {
    const struct observe_channel *channel = &look->channel;
    view_words *words = &look->words;

    if (!observe || observe_channel(observe, words->from, words->to, &look->channel) < 0 ||
        channel->streams == 0)
        return;
    words->ring = true;
    words->mirror = is_mirror(hosts, words->from, words->to);
    words->stream = channel->id;
    words->state = text_of(observe_state_name(channel->state));
    words->accepted = channel->accepted;
    words->consumed = channel->consumed;
    words->bytes = channel->waiting_bytes;
    words->capacity = channel->capacity;
    words->position = channel->position;
    words->aside = channel->aside;
    words->note = text_of(channel->note);
    if (channel->oldest_ns > 0 && sys_wall() > channel->oldest_ns)
        words->age_ns = sys_wall() - channel->oldest_ns;
}

/* What its link says of an origin here. */
static void look_origin(struct hosts *hosts, struct look *look) {
    Tram__Control__Link link = CONTROL_NEW(Link, link);
    struct standin *standin = standin_find(hosts, look->words.to);
    struct origin *origin = standin ? standin->origins : NULL;
    view_words *words = &look->words;
    struct link_out_info info;
    struct host *host;

    words->held = standin && stand_is_held(standin->stand);
    host = host_by_number(hosts, placing_of(hosts, words->to, &(uint64_t){ 0 }));
    if (host) {
        peer_report(host, &link);
        words->link = host->name;
        words->link_up = link.up;
        words->heard_ns = link.heard_ns;
        words->error = link.error;
        words->link_ns = link.round_trip_ns;
    }
    while (origin && origin->from != words->from)
        origin = origin->next;
    if (!origin)
        return;
    words->answer = origin->answer;
    words->carried = origin->out != NULL;
    if (!origin->out)
        return;
    link_out_info(origin->out, &info);
    words->open = info.open;
    words->answer = info.answer;
    words->sent = info.sent;
    words->credit = info.credit;
    words->stalled = info.stalled;
}

static void look_mirror(struct hosts *hosts, struct look *look) {
    struct standin *standin = standin_find(hosts, look->words.from);
    struct mirror *mirror = standin ? standin->mirrors : NULL;

    for (; mirror; mirror = mirror->next) {
        if (mirror->name.to != look->words.to)
            continue;
        look->words.written |= mirror->in && mirror->out;
        look->words.waits |= mirror->out == NULL;
    }
}

static void look_at(struct hosts *hosts, tram_id from, tram_id to, struct look *ret_look) {
    struct observe *observe = NULL;

    *ret_look = (struct look){ .words = CONTROL_NEW(View, view) };
    ret_look->words.host = hosts->self.name;
    ret_look->words.from = from;
    ret_look->words.to = to;
    if (from == 0 || to == 0)
        return;
    (void) observe_open(hosts->daemon->bus.path, &observe); /* or only the links are told */
    look_node(hosts, observe, from, &ret_look->from, &ret_look->sender);
    look_node(hosts, observe, to, &ret_look->to, &ret_look->receiver);
    ret_look->words.sender = &ret_look->sender;
    ret_look->words.receiver = &ret_look->receiver;
    look_ring(hosts, observe, ret_look);
    if (!ret_look->words.mirror)
        look_origin(hosts, ret_look);
    look_mirror(hosts, ret_look);
    (void) observe_close(observe);
}

/* ---- answers --------------------------------------------------------------------------------- */

static void say(struct conn *conn, uint64_t cookie, view_words *words) {
    control_frame frame = CONTROL_NEW(Frame, frame);

    words->cookie = cookie;
    frame.kind_case = TRAM__CONTROL__FRAME__KIND_VIEW;
    frame.view = words;
    conn_send(conn, &frame);
}

/* `number`: of the host, if its bus was to be looked at. */
static void say_silent(struct conn *conn, uint64_t cookie, const char *host, uint32_t number,
                       const char *why) {
    Tram__Control__Sample sample = CONTROL_NEW(Sample, sample);
    view_words words = CONTROL_NEW(View, view);
    control_frame frame = CONTROL_NEW(Frame, frame);

    if (number > 0) {
        sample.cookie = cookie;
        sample.host = text_of(host);
        sample.number = number;
        sample.silent = text_of(why);
        sample.last = true;
        frame.kind_case = TRAM__CONTROL__FRAME__KIND_SAMPLE;
        frame.sample = &sample;
        conn_send(conn, &frame);
        return;
    }
    words.host = text_of(host);
    words.silent = text_of(why);
    say(conn, cookie, &words);
}

static void say_done(struct conn *conn, uint64_t cookie) {
    Tram__Control__Done words = CONTROL_NEW(Done, done);
    control_frame frame = CONTROL_NEW(Frame, frame);

    words.cookie = cookie;
    frame.kind_case = TRAM__CONTROL__FRAME__KIND_DONE;
    frame.done = &words;
    conn_send(conn, &frame);
}

/* It was answered, or will not be; the last one of its kind ends the tool's waiting. */
static void question_end(struct hosts *hosts, struct question *question) {
    struct question **link = &hosts->questions;
    bool last = true;

    while (*link != question)
        link = &(*link)->next;
    *link = question->next;
    for (struct question *one = hosts->questions; one; one = one->next)
        last &= one->conn != question->conn || one->cookie != question->cookie;
    if (last)
        say_done(question->conn, question->cookie);
    free(question);
}

static void say_sample(const struct question *question, Tram__Control__Sample *sample) {
    control_frame frame = CONTROL_NEW(Frame, frame);

    sample->cookie = question->cookie;
    frame.kind_case = TRAM__CONTROL__FRAME__KIND_SAMPLE;
    frame.sample = sample;
    conn_send(question->conn, &frame);
}

void trace_sampled(struct hosts *hosts, uint64_t number, Tram__Control__Sample *sample) {
    struct question *question = hosts->questions;

    while (question && question->number != number)
        question = question->next;
    if (!question)
        return; /* too late */
    say_sample(question, sample);
    if (sample->last)
        question_end(hosts, question);
}

static int take_sample(struct host *host, const Tram__Hosts__Answer *answer) {
    Tram__Control__Sample *sample =
        tram__control__sample__unpack(NULL, answer->sample.len, answer->sample.data);
    struct wrong wrong = { 0 };
    int rc = 0;

    if (!sample || control_sample_check(sample, &wrong) < 0 ||
        strcmp(sample->host, host->name) != 0 || sample->number != host->number)
        rc = link_wrong_set(peer_link(host), -EBADMSG, "a look at its bus that can be none");
    else
        trace_sampled(host->hosts, answer->number, sample);
    if (sample)
        tram__control__sample__free_unpacked(sample, NULL);
    return rc;
}

static int take_answer(struct host *host, const Tram__Hosts__Answer *answer) {
    struct question *question = host->hosts->questions;
    Tram__Control__Link link = CONTROL_NEW(Link, link);
    struct wrong wrong = { 0 };
    view_words *words;

    while (question && (question->number != answer->number || question->host != host->number))
        question = question->next;
    if (!question)
        return 0; /* too late */
    if (answer->sample.len > 0)
        return question->rows > 0 ? take_sample(host, answer) : 0;
    words = tram__control__view__unpack(NULL, answer->view.len, answer->view.data);
    if (!words || control_view_check(words, &wrong) < 0 || strcmp(words->host, host->name) != 0) {
        if (words)
            tram__control__view__free_unpacked(words, NULL);
        return link_wrong_set(peer_link(host), -EBADMSG, "a view that can be none");
    }
    peer_report(host, &link);
    words->link_ns = words->link_ns > 0 ? words->link_ns : link.round_trip_ns;
    words->took_ns = (uint64_t) (hosts_now(host->hosts) - question->began);
    say(question->conn, question->cookie, words);
    tram__control__view__free_unpacked(words, NULL);
    question_end(host->hosts, question);
    return 0;
}

static void answer_it(struct host *host, const Tram__Hosts__Ask *ask) {
    Tram__Hosts__Answer words = HOSTS_NEW(Answer, answer);
    hosts_frame frame = HOSTS_FRAME(ANSWER, answer, &words);
    uint8_t bytes[HOSTS_VIEW_MAX];
    struct look look;

    look_at(host->hosts, ask->from, ask->to, &look);
    if (tram__control__view__get_packed_size(&look.words) > sizeof(bytes))
        return; /* cannot be: its texts are short */
    words.number = ask->number;
    words.view.data = bytes;
    words.view.len = tram__control__view__pack(&look.words, bytes);
    (void) peer_say(host, &frame); /* or its question runs out */
}

int trace_take(struct host *host, const hosts_frame *frame) {
    if (frame->kind_case == TRAM__HOSTS__FRAME__KIND_ANSWER)
        return take_answer(host, frame->answer);
    if (frame->ask->rows > 0)
        sample_begin(host->hosts, host, frame->ask->number, frame->ask->rows);
    else
        answer_it(host, frame->ask);
    return 0;
}

/* ---- questions ------------------------------------------------------------------------------- */

static struct question *question_new(struct hosts *hosts, struct conn *conn, uint64_t cookie,
                                     uint32_t host, uint64_t number) {
    struct question *question = calloc(1, sizeof(*question));

    if (!question)
        return NULL;
    question->conn = conn;
    question->cookie = cookie;
    question->number = number;
    question->host = host;
    question->began = hosts_now(hosts);
    question->next = hosts->questions;
    hosts->questions = question;
    hosts_wake(hosts, question->began + TIMEOUT);
    return question;
}

static void put_question(struct conn *conn, struct host *host, const Tram__Control__Cluster *asked,
                         uint32_t rows) {
    bool channel = asked->what == TRAM__CONTROL__ASK__TRACE;
    Tram__Hosts__Ask words = HOSTS_NEW(Ask, ask);
    hosts_frame frame = HOSTS_FRAME(ASK, ask, &words);
    struct hosts *hosts = host->hosts;
    struct question *question;
    char why[CONTROL_TEXT_MAX + 1];

    words.number = ++hosts->command;
    words.from = channel ? asked->from : 0;
    words.to = channel ? asked->id : 0;
    words.rows = rows;
    if (peer_say(host, &frame) < 0) {
        const char *error = peer_error(host);

        (void) snprintf(why, sizeof(why), "no link%s%.200s", *error ? ": " : "", error);
        say_silent(conn, asked->cookie, host->name, rows > 0 ? host->number : 0, why);
        return;
    }
    question = question_new(hosts, conn, asked->cookie, host->number, words.number);
    if (!question)
        say_silent(conn, asked->cookie, host->name, rows > 0 ? host->number : 0, "no memory");
    else
        question->rows = rows;
}

/* Nothing is left to be asked? */
static void maybe_done(struct hosts *hosts, struct conn *conn, uint64_t cookie) {
    for (struct question *one = hosts->questions; one; one = one->next)
        if (one->conn == conn && one->cookie == cookie)
            return;
    say_done(conn, cookie);
}

/* All buses: as many rows of each as the connection may hold, should its reader be slow. */
static void ask_samples(struct conn *conn, const Tram__Control__Cluster *asked) {
    struct hosts *hosts = conn->daemon->hosts;
    uint32_t count = hosts->count < ASKED_MOST ? hosts->count + 1 : ASKED_MOST;
    uint64_t rows = hosts_settings(hosts)->queue / ROW_ROOM / count;
    struct question *own;

    rows = rows < ROWS_LEAST ? ROWS_LEAST : rows > SAMPLE_ROWS_MOST ? SAMPLE_ROWS_MOST : rows;
    own = question_new(hosts, conn, asked->cookie, hosts->self.host, ++hosts->command);
    for (struct host *host = hosts->list; host && count > 1; host = host->next, count--)
        put_question(conn, host, asked, (uint32_t) rows);
    if (own) {
        own->rows = (uint32_t) rows;
        sample_begin(hosts, NULL, own->number, own->rows);
    }
    maybe_done(hosts, conn, asked->cookie);
}

void trace_ask(struct conn *conn, const Tram__Control__Cluster *asked) {
    struct hosts *hosts = conn->daemon->hosts;
    bool ping = asked->what == TRAM__CONTROL__ASK__THERE, found = !ping || *asked->host == '\0';
    uint32_t from = 0, to = 0;
    unsigned count = 0;
    struct look look;

    if (asked->what == TRAM__CONTROL__ASK__SAMPLES) {
        ask_samples(conn, asked);
        return;
    }
    if (!ping) {
        from = placing_of(hosts, asked->from, &(uint64_t){ 0 });
        to = placing_of(hosts, asked->id, &(uint64_t){ 0 });
        look_at(hosts, asked->from, asked->id, &look);
        say(conn, asked->cookie, &look.words);
    }
    for (struct host *host = hosts->list; host && count < ASKED_MOST; host = host->next) {
        if (ping ? *asked->host != '\0' && strcmp(asked->host, host->name) != 0
                 : from > 0 && to > 0 && host->number != from && host->number != to)
            continue;
        put_question(conn, host, asked, 0);
        found = true;
        count++;
    }
    if (!found)
        say_silent(conn, asked->cookie, asked->host, 0, "the cluster has no host of that name");
    maybe_done(hosts, conn, asked->cookie);
}

int64_t trace_time(struct hosts *hosts, int64_t now) {
    int64_t next = INT64_MAX;
    struct question *after;

    for (struct question *one = hosts->questions; one; one = after) {
        struct host *host = host_by_number(hosts, one->host);

        after = one->next;
        if (one->began + TIMEOUT <= now) {
            say_silent(one->conn, one->cookie, host ? host->name : "?",
                       one->rows > 0 ? one->host : 0, "it did not answer");
            question_end(hosts, one);
        } else if (one->began + TIMEOUT < next) {
            next = one->began + TIMEOUT;
        }
    }
    return next;
}

void trace_forget(struct hosts *hosts, const struct conn *conn) {
    for (struct question **link = &hosts->questions; *link;) {
        struct question *question = *link;

        if (!conn || question->conn == conn) {
            *link = question->next;
            free(question);
        } else {
            link = &question->next;
        }
    }
}
