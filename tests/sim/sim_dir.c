/* SPDX-License-Identifier: MIT
 *
 * The host server: the real directory (wire/directory.h), its file, and the connections that the
 * members (wire/member.h) of all hosts have to it. It is a role of one host's daemon, and is dead,
 * stopped or cut off as that one. Its file outlives even the loss of that host's memory: what a
 * directory without it does is in directory_test.c.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sim/sim.h"

#define BEAT (100 * MS)
#define MISSES 5

/* ---- connections ----------------------------------------------------------------------------- */

/* On its way; without bytes: the other end was closed. */
struct letter {
    struct letter *next;
    uint64_t at;
    size_t size;
    uint8_t bytes[];
};

static void letters_free(struct way *way) {
    while (way->first) {
        struct letter *letter = way->first;

        way->first = letter->next;
        free(letter);
    }
    way->last = NULL;
    control_in_reset(&way->in);
}

static void post(struct sim *sim, struct way *way, uint64_t latency, const void *bytes,
                 size_t size) {
    struct letter *letter = malloc(sizeof(*letter) + size);

    letter->next = NULL;
    letter->at = sim->now + latency + sim_random(sim, latency);
    if (way->last && letter->at < way->last->at)
        letter->at = way->last->at;
    letter->size = size;
    if (size > 0)
        memcpy(letter->bytes, bytes, size);
    if (way->last)
        way->last->next = letter;
    else
        way->first = letter;
    way->last = letter;
}

static void post_frame(struct sim *sim, struct way *way, uint64_t latency,
                       const hosts_frame *frame) {
    struct control_out out = {0};

    if (hosts_out_add(&out, frame) < 0)
        sim_fail(sim, "a frame that can't be packed");
    else
        post(sim, way, latency, control_out_bytes(&out), control_out_size(&out));
    control_out_reset(&out);
}

static struct host *server(struct sim *sim) {
    return &sim->host[sim->server];
}

/* When what is under way to that side of it may be read. */
static uint64_t arrives(const struct sim *sim, const struct line *line, int side) {
    const struct host *reader = &sim->host[side ? line->host : sim->server];
    const struct host *member = &sim->host[line->host];
    const struct wall *wall = side ? &sim->walls[sim->server][line->host]
                                   : &sim->walls[line->host][sim->server];
    uint64_t at;

    if (!line->way[side].first || !line->open[side])
        return NEVER;
    at = line->way[side].first->at;
    at = wall->until > at ? wall->until : at;
    if (member->cut_off && member->cut_off_until > at)
        at = member->cut_off_until;
    return reader->paused > at ? reader->paused : at;
}

/* `side` 0 is the server's. The other one hears of it, if there is a kernel left that says so. */
static void line_close(struct sim *sim, struct line *line, int side, bool quietly) {
    struct host *host = &sim->host[line->host];

    if (!line->open[side])
        return;
    line->open[side] = false;
    letters_free(&line->way[side]);
    if (side == 0 && sim->directory)
        line->there = directory_gone(sim->directory, line->there, (int64_t) sim->now);
    if (side == 1 && host->line == line) {
        host->line = NULL;
        host->line_at = sim->now + 20 * MS + sim_random(sim, 60 * MS);
        member_cut(host->member);
        place_cut(host);
    }
    if (line->open[!side] && !quietly)
        post(sim, &line->way[!side], line->latency, NULL, 0);
}

void dir_line_send(struct host *host, const hosts_frame *frame) {
    if (host->line)
        post_frame(host->sim, &host->line->way[0], host->line->latency, frame);
}

static void connect_line(struct host *host) {
    struct sim *sim = host->sim;
    bool walled = sim->walls[host->index][sim->server].until > sim->now ||
                  sim->walls[sim->server][host->index].until > sim->now;
    struct line *line = NULL;

    host->line_at = sim->now + 20 * MS + sim_random(sim, 60 * MS);
    for (int i = 0; i < LINES && !line; i++) {
        if (!sim->lines[i].open[0] && !sim->lines[i].open[1])
            line = &sim->lines[i];
    }
    if (!line || !sim->directory || host->cut_off || (walled && host->index != sim->server))
        return;
    if (line - sim->lines >= sim->lines_top)
        sim->lines_top = (int) (line - sim->lines) + 1;
    letters_free(&line->way[0]);
    letters_free(&line->way[1]);
    memset(line, 0, sizeof(*line));
    line->host = host->index;
    line->latency = MS / 50 + sim_random(sim, host->index == sim->server ? 2 : 2 * MS);
    if (directory_connected(sim->directory, (int64_t) sim->now, line, NULL, &line->there) < 0)
        return;
    line->open[0] = line->open[1] = true;
    host->line = line;
    sim_trace(sim, "host %d is connected to the host server", host->index);
    member_connected(host->member, (int64_t) sim->now);
}

/* ---- what comes ------------------------------------------------------------------------------ */

/* A frame for that side. False: the connection is over. */
static bool take(struct sim *sim, struct line *line, int side, const hosts_frame *frame) {
    struct wrong wrong = {0};
    int rc;

    if (side == 0)
        rc = directory_take(sim->directory, line->there, (int64_t) sim->now, frame, &wrong);
    else
        rc = member_take(sim->host[line->host].member, (int64_t) sim->now, frame, &wrong);
    if (rc >= 0)
        return true;
    sim_trace(sim, "host %d and the host server: %s", line->host, wrong.text);
    if (rc == -EBADMSG && !strstr(wrong.text, "another connection"))
        sim_fail(sim, "host %d and the host server: nonsense: %s", line->host, wrong.text);
    return false;
}

static void arrive(struct sim *sim, struct line *line, int side) {
    struct way *way = &line->way[side];
    struct letter *letter = way->first;
    size_t done = 0;

    way->first = letter->next;
    if (!way->first)
        way->last = NULL;
    for (int h = 0; h < sim->hosts; h++)
        sim->host[h].touched = true;
    while (done < letter->size && line->open[side]) {
        struct wrong wrong = {0};
        hosts_frame *frame;
        size_t room, part = letter->size - done;
        void *bytes = control_in_room(&way->in, &room);
        int rc;

        part = part < room ? part : room;
        if (sim_chance(sim, 20))
            part = 1 + sim_random(sim, part);
        memcpy(bytes, letter->bytes + done, part);
        control_in_add(&way->in, part);
        done += part;
        while (line->open[side] &&
               (rc = hosts_in_next(&way->in, side ? HOSTS_TO_MEMBER : HOSTS_TO_DIRECTORY, &frame,
                                   &wrong)) != 0) {
            if (rc < 0) {
                sim_fail(sim, "host %d and the host server: %s", line->host, wrong.text);
                break;
            }
            if (!take(sim, line, side, frame))
                line_close(sim, line, side, false);
            (void) hosts_free(frame);
        }
    }
    if (letter->size == 0)
        line_close(sim, line, side, false);
    free(letter);
}

/* ---- the directory --------------------------------------------------------------------------- */

static void on_send(void *arg, void *conn, const hosts_frame *frame) {
    struct line *line = conn;

    if (line->open[1] || line->way[1].first)
        post_frame(arg, &line->way[1], line->latency, frame);
}

/* Into the file; and what is so from now on. */
static int on_note(void *arg, const Tram__Hosts__Record *record) {
    struct sim *sim = arg;
    hosts_frame frame = HOSTS_FRAME(RECORD, record, (Tram__Hosts__Record *) (uintptr_t) record);

    if (!sim->calm && sim->notes_fail > sim->now)
        return -ENOSPC;
    if (!(BUG(NOTE_LATE) && record->id) && hosts_out_add(&sim->file, &frame) < 0)
        return -ENOMEM;
    if (record->id)
        place_noted(sim, record);
    return 0;
}

static void on_say(void *arg, const char *text) {
    sim_trace(arg, "the host server: %s", text);
}

static const struct directory_calls calls = {.send = on_send, .note = on_note, .say = on_say};

void dir_start(struct sim *sim) {
    struct directory_rules rules = {.cluster = "sim", .beat_ns = (int64_t) BEAT, .misses = MISSES,
                                    .lease_ns = (int64_t) sim->lease, .hosts = HOSTS,
                                    .ids_each = NODES};
    struct control_in in = {0};
    struct wrong wrong = {0};
    hosts_frame *frame;
    size_t done = 0, size = control_out_size(&sim->file);

    if (directory_new(&rules, &calls, sim, &sim->directory) < 0)
        sim_fail(sim, "no memory");
    while (done < size) {
        size_t room;
        void *bytes = control_in_room(&in, &room);

        room = room < size - done ? room : size - done;
        memcpy(bytes, (const uint8_t *) control_out_bytes(&sim->file) + done, room);
        control_in_add(&in, room);
        done += room;
        while (hosts_in_next(&in, HOSTS_TO_FILE, &frame, &wrong) > 0) {
            (void) directory_enter(sim->directory, frame->record);
            (void) hosts_free(frame);
        }
    }
    control_in_reset(&in);
    sim->dir_at = sim->now;
    sim_trace(sim, "the host server is there");
}

void dir_stop(struct sim *sim, bool quietly) {
    for (int i = 0; i < sim->lines_top; i++)
        line_close(sim, &sim->lines[i], 0, quietly);
    sim->directory = directory_free(sim->directory);
}

void dir_free(struct sim *sim) {
    dir_stop(sim, true);
    for (int i = 0; i < sim->lines_top; i++) {
        letters_free(&sim->lines[i].way[0]);
        letters_free(&sim->lines[i].way[1]);
    }
    control_out_reset(&sim->file);
}

/* A daemon died: so did its end of the connection. */
void dir_leave(struct host *host, bool quietly) {
    if (host->line)
        line_close(host->sim, host->line, 1, quietly);
}

/* The connection ends, and what was just said on it is lost. */
void dir_cut(struct host *host) {
    if (!host->line)
        return;
    sim_trace(host->sim, "host %d: the connection to the host server is cut", host->index);
    letters_free(&host->line->way[0]);
    line_close(host->sim, host->line, 1, false);
}

/* ---- time ------------------------------------------------------------------------------------ */

uint64_t dir_next(const struct sim *sim) {
    const struct host *here = &sim->host[sim->server];
    uint64_t next = NEVER;

    if (sim->directory)
        next = sim->dir_at > here->paused ? sim->dir_at : here->paused;
    for (int i = 0; i < sim->lines_top; i++) {
        for (int side = 0; side < 2; side++) {
            uint64_t at = arrives(sim, &sim->lines[i], side);

            next = at < next ? at : next;
        }
    }
    for (int h = 0; h < sim->hosts; h++) {
        const struct host *host = &sim->host[h];
        uint64_t at = host->line_at > host->paused ? host->line_at : host->paused;

        if (host->up && host->daemon && at < next)
            next = at;
    }
    return next;
}

static void host_time(struct host *host) {
    struct sim *sim = host->sim;
    int64_t next;

    host->touched = true;
    if (!host->line) {
        connect_line(host);
        return;
    }
    next = member_time(host->member, (int64_t) sim->now);
    if (next == -ETIMEDOUT)
        line_close(sim, host->line, 1, true);
    else
        host->line_at = next == INT64_MAX ? sim->now + BEAT : (uint64_t) next;
}

void dir_step(struct sim *sim) {
    for (int i = 0; i < sim->lines_top; i++) {
        for (int side = 0; side < 2; side++) {
            while (!sim->failed && arrives(sim, &sim->lines[i], side) <= sim->now)
                arrive(sim, &sim->lines[i], side);
        }
    }
    for (int h = 0; h < sim->hosts; h++) {
        struct host *host = &sim->host[h];

        if (host->up && host->daemon && host->line_at <= sim->now && host->paused <= sim->now)
            host_time(host);
    }
    if (!sim->directory || sim->dir_at > sim->now || server(sim)->paused > sim->now)
        return;
    sim->dir_at = sim->now + BEAT;
    directory_time(sim->directory, (int64_t) sim->now);
    for (int i = 0; i < sim->lines_top; i++) {
        if (sim->lines[i].open[0] &&
            directory_silent(sim->directory, sim->lines[i].there, (int64_t) sim->now))
            line_close(sim, &sim->lines[i], 0, true);
    }
}
