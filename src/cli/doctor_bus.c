/* SPDX-License-Identifier: MIT
 *
 * tram doctor: the directory of the bus, its nodes and channels, what is left over, and the other
 * buses of this machine.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/cli.h"
#include "cli/doctor.h"
#include "observe/observe.h"

#define MINUTE UINT64_C(60000000000)
#define LONG_DOWN (10 * MINUTE) /* what waits for a node so long is forgotten, not on its way */

static uint64_t wall(void) {
    struct timespec now;

    (void) clock_gettime(CLOCK_REALTIME, &now); /* cannot fail with these arguments */
    return (uint64_t) now.tv_sec * 1000000000 + (uint64_t) now.tv_nsec;
}

static uint64_t since(uint64_t time_ns) {
    uint64_t now = wall();

    return now > time_ns ? now - time_ns : 0;
}

/* ---- directories ---------------------------------------------------------------------------- */

/* Whether nodes could use the directory. */
static bool check_folder(struct doctor *doctor, const char *path, const char *what) {
    struct machine_file file;
    char name[64];
    int rc = machine_file(path, &file);

    if (rc == -ENOENT) {
        doctor_say(doctor, DOCTOR_NOTE, "directory", "%s, %s, is not there yet", path, what);
        doctor_why(doctor, "the first node that opens makes it");
        return false;
    }
    if (rc < 0) {
        doctor_say(doctor, DOCTOR_PROBLEM, "directory", "%s, %s: %s", path, what, strerror(-rc));
        return false;
    }
    machine_user_name(file.owner, name, sizeof(name));
    if (file.is_symlink || !file.is_directory) {
        doctor_say(doctor, DOCTOR_PROBLEM, "directory", "%s, %s, is %s", path, what,
                   file.is_symlink ? "a symlink" : "no directory");
        doctor_why(doctor, "nodes refuse to open (-EPERM): whoever made the link could lead them "
                           "anywhere");
        doctor_do(doctor, "rm %s; or set TRAM_DIR to the real place", path);
    } else if (file.owner != machine_user()) {
        doctor_say(doctor, DOCTOR_PROBLEM, "directory", "%s, %s, belongs to user %s", path, what,
                   name);
        doctor_why(doctor, "nodes of another user refuse to open there (-EPERM)");
        doctor_do(doctor, "run as %s; or set TRAM_DIR to a directory of your own", name);
    } else if (file.mode & 077u) {
        doctor_say(doctor, DOCTOR_PROBLEM, "directory", "%s, %s, is open to others (mode %04o)",
                   path, what, (unsigned) file.mode);
        doctor_why(doctor, "nodes refuse to open (-EPERM), unless their option mode allows it");
        doctor_do(doctor, "chmod 700 %s", path);
    } else {
        return true;
    }
    return !file.is_symlink && file.is_directory;
}

/* ---- nodes ---------------------------------------------------------------------------------- */

struct bus_look {
    struct observe_node *nodes;
    size_t node_count;
    struct observe_channel *channels;
    size_t channel_count;
};

static const struct observe_node *find_node(const struct bus_look *look, tram_id id) {
    size_t low = 0, high = look->node_count;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (look->nodes[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low < look->node_count && look->nodes[low].id == id ? &look->nodes[low] : NULL;
}

static void check_version(struct doctor *doctor, const char *what, const char *note) {
    doctor_say(doctor, DOCTOR_PROBLEM, "version", "%s: %s", what, note);
    doctor_why(doctor, "programs with another version of tram made it; ours refuse it (-EPROTO)");
    doctor_do(doctor, "drain the bus with the tram that filled it, end all, and rm -r %s; or "
                      "another bus: TRAM_BUS=NAME", cli_bus_path());
}

static void check_node(struct doctor *doctor, const struct observe_node *node) {
    char id[TRAM_ID_TEXT], what[64], name[64], span[32];

    (void) tram_id_format(node->id, id);
    (void) snprintf(what, sizeof(what), "node %s", id);
    if (node->other_layout) {
        check_version(doctor, what, node->note);
    } else if (node->note[0]) {
        doctor_say(doctor, DOCTOR_PROBLEM, "node", "%s: %s", what, node->note);
        doctor_why(doctor, "it cannot be opened, or its peers cannot ring it");
        doctor_do(doctor, "look at %s/%s; when its process has ended: tram rm --force %s",
                  cli_bus_path(), id, id);
    }
    if (node->owner != machine_user() && node->note[0] == '\0') {
        machine_user_name(node->owner, name, sizeof(name));
        doctor_say(doctor, DOCTOR_PROBLEM, "owner", "the files of node %s belong to user %s", id,
                   name);
        doctor_why(doctor, "somebody, perhaps sudo, opened it as that user; others cannot");
        doctor_do(doctor, "end its process, then chown -R %" PRIu32 " %s/%s (as root)",
                  machine_user(), cli_bus_path(), id);
    }
    if (node->up && node->foreign) {
        doctor_say(doctor, DOCTOR_NOTE, "namespace", "node %s is up in another PID namespace, as "
                   "pid %" PRId32 " there (%s)", id, node->pid, node->program);
        doctor_why(doctor, "messages go as they should, and its end is told at once; but here the "
                           "pid means nothing: ps, kill and gdb find somebody else, or nobody");
        doctor_do(doctor, "look for it there; docker run --pid=host (or --pid=container:NAME), if "
                          "that matters");
    }
    if (node->ephemeral && !node->up && !node->custody && node->note[0] == '\0') {
        doctor_say(doctor, DOCTOR_NOTE, "ephemeral", "ephemeral node %s died (%s, opened %s ago)",
                   id, node->program, doctor_span(since(node->opened_ns), span));
        doctor_why(doctor, "its directory and what waits for it stay until the next ephemeral node "
                           "opens");
        doctor_do(doctor, "tram rm --force %s", id);
    }
}

/* ---- channels ------------------------------------------------------------------------------- */

/* "down for 2 h", as far as it is known, and whether that is long. */
static bool how_long_down(const struct observe_node *node, const struct observe_channel *channel,
                          char text[96]) {
    bool ran = node && node->opens > 0, closed = ran && node->closed_ns > 0;
    uint64_t down = since(closed ? node->closed_ns : ran ? node->opened_ns : channel->made_ns);
    char span[32];

    (void) doctor_span(down, span);
    if (closed)
        (void) snprintf(text, 96, "closed %s ago", span);
    else if (ran)
        (void) snprintf(text, 96, "died, and was opened %s ago", span);
    else
        (void) snprintf(text, 96, "was never opened; the channel is %s old", span);
    return down > LONG_DOWN;
}

static void check_broken(struct doctor *doctor, const struct observe_channel *channel,
                         const char *from, const char *to) {
    char what[64];

    (void) snprintf(what, sizeof(what), "channel %s to %s", from, to);
    if (channel->other_layout) {
        check_version(doctor, what, channel->note);
        return;
    }
    if (channel->state == OBSERVE_CLOSED) {
        doctor_say(doctor, DOCTOR_WARNING, "channel", "%s is closed: a removal of %s was cut off",
                   what, to);
        doctor_why(doctor, "its sender goes on when it next sends, or %s opens", to);
        doctor_do(doctor, "tram rm %s; or start its program", to);
        return;
    }
    doctor_say(doctor, DOCTOR_PROBLEM, "channel", "%s is %s%s%s", what,
               observe_state_name(channel->state), channel->note[0] ? ": " : "", channel->note);
    doctor_why(doctor, channel->state == OBSERVE_BROKEN
                           ? "the receiver read nonsense in it; sends return -ENOTRECOVERABLE, "
                             "and %" PRIu64 " messages in it are not received"
                           : "it cannot be received from; %" PRIu64 " messages seem to wait in it",
               channel->waiting);
    doctor_do(doctor, "end %s (and, if refused, %s), and drop what is in it: tram purge --from %s "
                      "--to %s", to, from, from, to);
}

static void check_backlog(struct doctor *doctor, const struct observe_channel *channel,
                          const struct observe_node *receiver, const char *from, const char *to) {
    char down[96], bytes[32];
    bool is_long;

    if (channel->waiting == 0 || (receiver && (receiver->up || receiver->away)))
        return; /* what waits for another host: tram links */
    is_long = how_long_down(receiver, channel, down);
    doctor_say(doctor, is_long ? DOCTOR_WARNING : DOCTOR_NOTE, "backlog",
               "%" PRIu64 " messages (%s) from %s wait for %s, which %s%s", channel->waiting,
               doctor_bytes(channel->waiting_bytes, bytes), from, to, down,
               channel->state == OBSERVE_FULL ? "; the ring is full, the sender waits" : "");
    doctor_why(doctor, "they hold memory (%s) until it opens and receives them",
               doctor_bytes(channel->memory, bytes));
    doctor_do(doctor, "start the program of %s; or drop them: tram purge --from %s --to %s; or "
                      "drop the node: tram rm --force %s", to, from, to, to);
}

static void check_channel(struct doctor *doctor, const struct bus_look *look,
                          const struct observe_channel *channel) {
    const struct observe_node *receiver = find_node(look, channel->to);
    const struct observe_node *sender = find_node(look, channel->from);
    char from[TRAM_ID_TEXT], to[TRAM_ID_TEXT];

    (void) tram_id_format(channel->from, from);
    (void) tram_id_format(channel->to, to);
    if (channel->state == OBSERVE_CLOSED || channel->state == OBSERVE_BROKEN ||
        channel->state == OBSERVE_DAMAGED) {
        check_broken(doctor, channel, from, to);
        return;
    }
    check_backlog(doctor, channel, receiver, from, to);
    if (channel->aside > 0) {
        doctor_say(doctor, DOCTOR_WARNING, "aside", "%" PRIu64 " messages from %s are set aside "
                   "for %s", channel->aside, from, to);
        doctor_why(doctor, "the receiver died of each of them several times, or closed without "
                           "releasing it");
        doctor_do(doctor, "see them: tram dump --to %s --aside; or hand them out again: tram retry "
                          "--id %s --all; or drop them: tram retry --id %s --all --drop", to, to,
                  to);
    }
    if (channel->lost > 0) {
        doctor_say(doctor, DOCTOR_WARNING, "lost", "%" PRIu64 " messages from %s to %s were lost "
                   "in restarts of the machine", channel->lost, from, to);
        doctor_why(doctor, "sends had accepted them, and they were not on the disk yet");
        doctor_do(doctor, "TRAM_DURABLE for messages that must not be lost so; the count ends with "
                          "the channel");
    }
    if (!sender && channel->from >> 28 != 15) {
        doctor_say(doctor, DOCTOR_NOTE, "orphan", "channel %s to %s has no sender: there is no "
                   "node %s", from, to, from);
        doctor_why(doctor, "the sender was removed with messages under way; its files stay when "
                           "they are received");
        doctor_do(doctor, "%stram send --from %s --to %s </dev/null && tram rm %s",
                  channel->waiting > 0 ? "when all is received: " : "", from, to, from);
    }
}

/* ---- the bus -------------------------------------------------------------------------------- */

/* How many channels each node has, both ways: what its process needs. */
static void count_channels(struct doctor *doctor, const struct bus_look *look) {
    uint64_t *counts = calloc(look->node_count + 1, sizeof(*counts));

    for (size_t i = 0; counts && i < look->channel_count; i++) {
        const struct observe_node *from = find_node(look, look->channels[i].from);
        const struct observe_node *to = find_node(look, look->channels[i].to);

        doctor->memory += look->channels[i].memory;
        if (from)
            counts[from - look->nodes]++;
        if (to)
            counts[to - look->nodes]++;
    }
    for (size_t i = 0; counts && i < look->node_count; i++) {
        if (counts[i] <= doctor->node_channels)
            continue;
        doctor->node_channels = counts[i];
        doctor->busiest = look->nodes[i].id;
    }
    free(counts);
}

static void check_all(struct doctor *doctor, const struct bus_look *look) {
    uint64_t waiting = 0;
    size_t up = 0;

    for (size_t i = 0; i < look->node_count; i++) {
        up += look->nodes[i].up;
        check_node(doctor, &look->nodes[i]);
    }
    for (size_t i = 0; i < look->channel_count; i++) {
        waiting += look->channels[i].waiting;
        check_channel(doctor, look, &look->channels[i]);
    }
    doctor_say(doctor, DOCTOR_OK, "bus", "%zu nodes (%zu up), %zu channels, %" PRIu64 " messages "
               "wait", look->node_count, up, look->channel_count, waiting);
}

void doctor_bus(struct doctor *doctor) {
    struct bus_look look = { 0 };
    struct observe *observe = NULL;
    int rc;

    if (!check_folder(doctor, cli_buses_path(), "where buses lie") ||
        !check_folder(doctor, cli_bus_path(), "the bus"))
        return;
    rc = observe_open(cli_bus_path(), &observe);
    if (rc == 0)
        rc = observe_nodes(observe, &look.nodes, &look.node_count);
    if (rc == 0)
        rc = observe_channels(observe, 0, &look.channels, &look.channel_count);
    if (rc == 0) {
        count_channels(doctor, &look);
        check_all(doctor, &look);
    } else {
        doctor_say(doctor, DOCTOR_PROBLEM, "bus", "%s cannot be read: %s", cli_bus_path(),
                   strerror(-rc));
    }
    free(look.nodes);
    free(look.channels);
    (void) observe_close(observe);
}

/* ---- leftovers ------------------------------------------------------------------------------ */

static void check_leftover(struct doctor *doctor, struct observe *observe,
                           const struct observe_leftover *left) {
    struct observe_node watcher;
    char id[TRAM_ID_TEXT], peer[TRAM_ID_TEXT], bytes[32], span[32];

    (void) tram_id_format(left->node, id);
    (void) tram_id_format(left->peer, peer);
    if (left->kind == OBSERVE_WATCH) {
        if (observe_node(observe, left->peer, &watcher) == 0 && watcher.up)
            return;
        doctor_say(doctor, DOCTOR_NOTE, "watch", "%s/%s is of a node that does not run", id,
                   left->name);
        doctor_why(doctor, "it costs %s a look when it opens and closes, no more", id);
        doctor_do(doctor, "rm %s/%s/%s", cli_bus_path(), id, left->name);
        return;
    }
    if (left->events)
        (void) snprintf(id, sizeof(id), "events");
    if (left->kind == OBSERVE_HIDDEN && since(left->changed_ns) < MINUTE)
        return; /* somebody is at it */
    doctor_say(doctor, DOCTOR_NOTE, "leftover", "%s/%s holds %s and is %s old", id, left->name,
               doctor_bytes(left->memory, bytes), doctor_span(since(left->changed_ns), span));
    if (left->kind == OBSERVE_HIDDEN)
        doctor_why(doctor, "a process died while it made that file; the next one that makes it "
                           "writes over it");
    else if (left->kind == OBSERVE_EVENTS)
        doctor_why(doctor, "the node that published there is not on the bus any more; the next one "
                           "that publishes removes it");
    else
        doctor_why(doctor, left->events ? "it is no file of tram's"
                                        : "it is no file of tram's, and keeps the node from being "
                                          "removed");
    doctor_do(doctor, "rm '%s/%s/%s'", cli_bus_path(), id, left->name);
}

void doctor_leftovers(struct doctor *doctor) {
    struct observe_leftover *list = NULL;
    struct observe *observe;
    size_t count;

    if (observe_open(cli_bus_path(), &observe) < 0)
        return; /* doctor_bus() has said why */
    if (observe_leftovers(observe, &list, &count) == 0)
        for (size_t i = 0; i < count; i++)
            check_leftover(doctor, observe, &list[i]);
    free(list);
    (void) observe_close(observe);
}

/* ---- other buses ---------------------------------------------------------------------------- */

static void check_bus(struct doctor *doctor, const char *path, const char *owner) {
    struct observe *observe;
    struct observe_node *nodes = NULL;
    struct observe_channel *channels = NULL;
    size_t node_count = 0, channel_count = 0, up = 0;
    uint64_t memory = 0, waiting = 0;
    char bytes[32];

    if (observe_open(path, &observe) < 0)
        return;
    if (observe_nodes(observe, &nodes, &node_count) < 0 ||
        observe_channels(observe, 0, &channels, &channel_count) < 0)
        channel_count = 0;
    for (size_t i = 0; i < node_count; i++)
        up += nodes[i].up;
    for (size_t i = 0; i < channel_count; i++) {
        memory += channels[i].memory;
        waiting += channels[i].waiting;
    }
    free(nodes);
    free(channels);
    (void) observe_close(observe);
    doctor_say(doctor, DOCTOR_NOTE, "other", "another bus, %s%s%s: %zu nodes (%zu up), %" PRIu64
               " messages wait, %s", path, owner[0] ? " of user " : "", owner, node_count, up,
               waiting, doctor_bytes(memory, bytes));
    if (up == 0 && node_count > 0) {
        doctor_why(doctor, "nobody uses it, and it takes memory that the others could have");
        doctor_do(doctor, "if nobody will: rm -r %s", path);
    }
}

static void check_buses(struct doctor *doctor, const char *folder, const char *owner) {
    char path[CLI_PATH], **names;
    size_t count;

    if (observe_buses(folder, &names, &count) < 0)
        return;
    for (size_t i = 0; i < count; i++) {
        int size = snprintf(path, sizeof(path), "%s/%s", folder, names[i]);

        if (size > 0 && (size_t) size < sizeof(path) && strcmp(path, cli_bus_path()) != 0)
            check_bus(doctor, path, owner);
    }
    free(names);
}

/* Directories in which users have their buses, where this one may be among. */
static int user_entry(void *context, const char *name) {
    struct doctor *doctor = context;
    struct machine_file file;
    char path[CLI_PATH], user[64];

    (void) snprintf(path, sizeof(path), "/dev/shm/%.200s", name);
    if (strncmp(name, "tram-", 5) != 0 || name[5] == '\0' ||
        strspn(name + 5, "0123456789") != strlen(name + 5) || strcmp(path, cli_buses_path()) == 0)
        return 0;
    if (machine_file(path, &file) < 0 || !file.is_directory)
        return 0;
    machine_user_name(file.owner, user, sizeof(user));
    check_buses(doctor, path, user);
    return 0;
}

void doctor_neighbours(struct doctor *doctor) {
    check_buses(doctor, cli_buses_path(), "");
    (void) machine_each("/dev/shm", user_entry, doctor); /* not there: no buses there */
}
