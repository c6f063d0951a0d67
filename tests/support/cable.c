/* SPDX-License-Identifier: MIT */
#include "support/cable.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "harness.h"
#include "support/kit.h"
#include "sys/clock.h"

void cable_init(struct cable *cable) {
    char dirs[CABLE_HOSTS][200];

    for (int host = 0; host < CABLE_HOSTS; host++)
        (void) snprintf(dirs[host], sizeof(dirs[host]), "%s/%c", test_dir(), 'a' + host);
    cable_init_in(cable, dirs[0], dirs[1]);
}

void cable_init_in(struct cable *cable, const char *a, const char *b) {
    *cable = (struct cable){.part = 65536};
    for (int host = 0; host < CABLE_HOSTS; host++) {
        struct tram_error error;

        (void) snprintf(cable->dirs[host], sizeof(cable->dirs[host]), "%s", host ? b : a);
        (void) mkdir(cable->dirs[host], 0700);
        if (bus_open(NULL, cable->dirs[host], 0600, &cable->buses[host], &error) < 0)
            FAIL("%s", error.text);
    }
}

static struct cable_node *find(struct cable *cable, tram_id id) {
    for (int i = 0; i < cable->count; i++)
        if (cable->nodes[i].id == id)
            return &cable->nodes[i];
    return NULL;
}

void cable_place(struct cable *cable, tram_id id, int host) {
    struct cable_node *node = find(cable, id);

    if (!node)
        node = &cable->nodes[cable->count++];
    node->id = id;
    node->placed = host;
}

struct stand *cable_stand(struct cable *cable, tram_id id, int host) {
    struct cable_node *node = find(cable, id);

    return node ? node->stands[host] : NULL;
}

static void plug(struct cable *cable, struct cable_node *node, int host) {
    struct tram_error error;
    int rc = 0;

    if (!node->stands[host])
        rc = stand_new(&cable->buses[host], node->id, 0, &node->stands[host]);
    if (rc == 0 && !stand_is_held(node->stands[host])) {
        rc = stand_take(node->stands[host], &error);
        if (rc < 0 && rc != -EBUSY)
            FAIL("%s", error.text);
    }
}

void cable_plug(struct cable *cable) {
    for (int i = 0; i < cable->count; i++)
        plug(cable, &cable->nodes[i], !cable->nodes[i].placed);
}

/* ---- channels -------------------------------------------------------------------------------- */

static void forget(struct cable *cable, struct cable_channel *channel) {
    for (struct cable_channel **link = &cable->channels; *link; link = &(*link)->next) {
        if (*link == channel) {
            *link = channel->next;
            free(channel);
            return;
        }
    }
}

static void found(struct cable *cable, struct stand_in *in, tram_id to, int side) {
    struct cable_channel *channel = calloc(1, sizeof(*channel));
    struct stand_in_state state;

    stand_in_state(in, &state);
    channel->in = in;
    channel->from = state.from;
    channel->to = to;
    channel->side = side;
    channel->next = cable->channels;
    cable->channels = channel;
    stand_in_set_user(in, channel);
}

/* The mirror on the other host, and where it goes on. */
static bool connect_channel(struct cable *cable, struct cable_channel *channel) {
    struct stand_other other;
    struct stand_in_state state;
    struct stand_out_state mirror;
    struct stand_out_plan plan = {.to = channel->to};
    struct cable_node *node;
    int rc;

    stand_in_state(channel->in, &state);
    node = find(cable, state.from);
    if (state.broken || !node || !node->stands[!channel->side])
        return false;
    plan.id = state.id;
    plan.consumed = state.consumed;
    plan.unsure = state.handed;
    plan.capacity = state.capacity;
    rc = stand_out_open(node->stands[!channel->side], &plan, &channel->out, &other);
    if (rc == -EEXIST && !other.held && other.accepted == other.consumed &&
        stand_out_remove(node->stands[!channel->side], channel->to, false) == 0)
        rc = stand_out_open(node->stands[!channel->side], &plan, &channel->out, &other);
    if (rc == -EEXIST || rc == -EBUSY || rc == -EAGAIN || rc == -ENOSPC)
        return false;
    CHECK_OK(rc);
    CHECK_OK(stand_out_look(channel->out, &mirror));
    if (mirror.consumed > state.consumed)
        CHECK_OK(stand_in_commit(channel->in, mirror.consumed));
    stand_out_drop(channel->out);
    channel->number = mirror.accepted + 1;
    channel->offset = 0;
    return true;
}

static int copy(struct cable *cable, struct cable_channel *channel, const struct stand_run *run) {
    const uint8_t *from = run->data;
    uint64_t left = run->size;
    int rc = 0;

    while (left > 0 && rc == 0) {
        uint64_t accepted;
        uint64_t size;
        void *place;

        rc = stand_out_place(channel->out, left, &place, &size);
        if (rc < 0)
            break;
        CHECK(size > 0); /* there was space */
        memcpy(place, from, size);
        rc = stand_out_filled(channel->out, size, &accepted);
        from += size;
        left -= size;
        cable->moved += size;
    }
    return rc;
}

static bool fail(struct cable *cable, struct cable_channel *channel, int rc) {
    cable->failed = rc;
    if (rc == -EBADMSG) {
        cable->why = stand_out_why(channel->out);
        stand_in_close(channel->in, "the other host refused it");
        cable->broken++;
    }
    channel->out = stand_out_close(channel->out);
    return rc == -EBADMSG;
}

static bool pump(struct cable *cable, struct cable_channel *channel) {
    struct stand_out_state mirror;
    struct stand_in_state state;
    struct stand_run run;
    uint64_t most = cable->part;
    bool did = false;
    int rc;

    if (!channel->out && !connect_channel(cable, channel))
        return false;
    rc = stand_out_look(channel->out, &mirror);
    if (rc < 0)
        return fail(cable, channel, rc);
    stand_in_state(channel->in, &state);
    if (state.broken)
        return false;
    if (mirror.consumed > state.consumed) {
        rc = stand_in_commit(channel->in, mirror.consumed);
        CHECK(rc == 0 || rc == -EBADMSG);
        did = rc == 0;
    }
    if (mirror.space - mirror.placed < most)
        most = mirror.space - mirror.placed;
    if (most < 8 || !channel->more)
        return did;
    rc = stand_in_run(channel->in, channel->number, channel->offset, most, &run);
    if (rc <= 0) {
        CHECK(rc == 0 || rc == -EBADMSG);
        channel->more = false;
        return did;
    }
    CHECK_EQ(run.first, channel->number);
    CHECK_EQ(run.offset, channel->offset);
    if (run.last >= run.first)
        CHECK_OK(stand_in_handed(channel->in, run.last));
    rc = copy(cable, channel, &run);
    if (rc < 0)
        return fail(cable, channel, rc);
    channel->number = run.last + 1;
    channel->offset = run.left > 0 ? run.offset + run.size : 0;
    return true;
}

/* ---- turns ----------------------------------------------------------------------------------- */

static bool hear(struct cable *cable, struct cable_node *node, int host) {
    struct stand_news news;
    bool did = false;

    (void) stand_due(node->stands[host], sys_now());
    while (stand_next(node->stands[host], &news) > 0) {
        did = true;
        cable->news++;
        switch (news.what) {
        case STAND_OPENER:
            node->opener = true;
            break;
        case STAND_NEW:
            found(cable, news.in, node->id, host);
            break;
        case STAND_GONE:
            forget(cable, stand_in_user(news.in));
            break;
        case STAND_BROKEN:
            cable->broken++;
            cable->why = news.text;
            break;
        case STAND_TROUBLE:
            FAIL("%s", news.text);
        case STAND_MORE:
            ((struct cable_channel *) stand_in_user(news.in))->more = true;
            break;
        case STAND_FREED:
            break;
        }
    }
    return did;
}

bool cable_turn(struct cable *cable) {
    struct cable_channel *next;
    bool did = false;

    for (int i = 0; i < cable->count; i++)
        for (int host = 0; host < CABLE_HOSTS; host++)
            if (cable->nodes[i].stands[host])
                did |= hear(cable, &cable->nodes[i], host);
    for (struct cable_channel *channel = cable->channels; channel; channel = next) {
        next = channel->next;
        did |= pump(cable, channel);
    }
    return did;
}

void cable_settle(struct cable *cable) {
    int64_t end = kit_now() + kit_patience(10);

    for (int quiet = 0; quiet < 3; quiet++) {
        while (cable_turn(cable)) {
            quiet = 0;
            CHECK(kit_now() < end);
        }
    }
}

/* Who opens a node where it is not placed gets it, if it does not run where it is. */
static void serve_openers(struct cable *cable) {
    for (int i = 0; i < cable->count; i++) {
        if (cable->nodes[i].opener) {
            cable->nodes[i].opener = false;
            cable_move(cable, cable->nodes[i].id, !cable->nodes[i].placed);
        }
    }
}

void cable_run(struct cable *cable) {
    for (;;) {
        struct pollfd fds[2 * CABLE_NODES];
        nfds_t count = 0;

        cable_plug(cable);
        if (cable_turn(cable))
            continue;
        serve_openers(cable);
        for (int i = 0; i < cable->count; i++) {
            for (int host = 0; host < CABLE_HOSTS; host++) {
                struct stand *stand = cable->nodes[i].stands[host];

                if (stand && stand_is_held(stand))
                    fds[count++] = (struct pollfd){.fd = stand_fd(stand), .events = POLLIN};
            }
        }
        (void) poll(fds, count, 1); /* a link's acknowledgements come by the clock */
    }
}

/* ---- ends ------------------------------------------------------------------------------------ */

static void unplug(struct cable *cable, int host) {
    struct cable_channel *next;

    for (struct cable_channel *channel = cable->channels; channel; channel = next) {
        next = channel->next;
        if (channel->side == host)
            forget(cable, channel);
        else
            channel->out = NULL;
    }
    for (int i = 0; i < cable->count; i++)
        cable->nodes[i].stands[host] = stand_free(cable->nodes[i].stands[host]);
}

void cable_restart(struct cable *cable, int host) {
    for (int each = 0; each < CABLE_HOSTS; each++)
        if (host < 0 || host == each)
            unplug(cable, each);
    cable_plug(cable);
}

void cable_close(struct cable *cable) {
    for (int host = 0; host < CABLE_HOSTS; host++) {
        unplug(cable, host);
        bus_close(&cable->buses[host]);
    }
}

struct moving {
    struct cable *cable;
    tram_id id;
    int from, to;
};

static int take_journal(void *context, const struct stand_journal *journal) {
    struct moving *moving = context;
    struct cable_node *node = find(moving->cable, moving->id);

    CHECK_OK(stand_import(node->stands[moving->to], journal));
    return 0;
}

static int take_note(void *context, const struct stand_note *note) {
    struct moving *moving = context;
    struct cable_node *node = find(moving->cable, moving->id);

    CHECK_OK(stand_import_note(node->stands[moving->to], note));
    return 0;
}

/* What the hosts have for the node is let go of, or removed where it goes on elsewhere. */
static void cut_off(struct cable *cable, tram_id id, int from, int to) {
    struct cable_channel *next;

    for (struct cable_channel *channel = cable->channels; channel; channel = next) {
        next = channel->next;
        if (channel->to != id || channel->side != to)
            continue;
        if (channel->out)
            CHECK_OK(stand_out_remove(find(cable, channel->from)->stands[from], id, true));
        forget(cable, channel);
    }
}

void cable_move(struct cable *cable, tram_id id, int host) {
    struct cable_node *node = find(cable, id);
    static const struct stand_exported each = {take_journal, take_note};
    struct moving moving = {.cable = cable, .id = id, .from = node->placed, .to = host};

    if (node->placed == host)
        return;
    cable_settle(cable);
    plug(cable, node, moving.from);
    if (!stand_is_held(node->stands[moving.from]))
        FAIL("the node that is to move runs");
    CHECK_OK(stand_export(node->stands[moving.from], &each, &moving));
    cut_off(cable, id, moving.from, host);
    node->placed = host;
    stand_let_go(node->stands[host]);
}

void cable_remove(struct cable *cable, tram_id from, tram_id to) {
    for (struct cable_channel *channel = cable->channels; channel; channel = channel->next) {
        if (channel->from == from && channel->to == to && channel->out) {
            struct stand *stand = find(cable, from)->stands[!channel->side];

            channel->out = NULL;
            CHECK_OK(stand_out_remove(stand, to, false));
            return;
        }
    }
    FAIL("there is no such mirror");
}
