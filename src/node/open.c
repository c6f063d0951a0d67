/* SPDX-License-Identifier: MIT
 *
 * Opening and closing a node.
 *
 * Order of opening: identity (byte 0), custody (byte 1), the door, the bell; the channels in, which
 * are found in the directory; the channels out, for which the successor of a sender that died
 * between publishing and ringing rings now; and those who watch this node are told.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/custody.h"
#include "node/disk.h"
#include "node/node.h"
#include "sys/bell.h"
#include "sys/cleanup.h"
#include "sys/clock.h"
#include "sys/file.h"
#include "sys/lock.h"

#define CUSTODY_WAIT (2 * SYS_SECOND)

/* ---- options --------------------------------------------------------------------------------- */

/* Of what is not 0. */
static bool power_of_two(uint64_t value) {
    return (value & (value - 1)) == 0;
}

/* The caller's struct may be older (shorter) than ours, or newer: then what we do not know is 0. */
static int options_read(const struct tram_options *given, struct tram_options *ret_options,
                        struct tram_error *error) {
    struct tram_options options = {0};

    if (given) {
        size_t size = given->struct_size;

        if (size < sizeof(size))
            return error_set(error, -EINVAL, "options without struct_size: use TRAM_OPTIONS_INIT");
        memcpy(&options, given, size < sizeof(options) ? size : sizeof(options));
        for (size_t i = sizeof(options); i < size; i++)
            if (((const uint8_t *) given)[i])
                return error_set(error, -EINVAL, "options of a later version than this library's");
    }
    if (options.ring_size == 0)
        options.ring_size = DEFAULT_RING;
    if (options.ring_max == 0)
        options.ring_max = options.ring_size > DEFAULT_RING_MAX ? options.ring_size
                                                                : DEFAULT_RING_MAX;
    if (options.keep == 0)
        options.keep = DEFAULT_KEEP;
    if (options.spin_ns == 0)
        options.spin_ns = DEFAULT_SPIN_NS;
    if (options.attempts == 0)
        options.attempts = DEFAULT_ATTEMPTS;
    if (options.mode == 0)
        options.mode = 0600;
    if (!power_of_two(options.ring_size) || options.ring_size < STREAM_MIN ||
        options.ring_size > STREAM_MAX)
        return error_set(error, -EINVAL, "ring_size must be a power of two from 64 KiB to 4 GiB");
    if (!power_of_two(options.ring_max) || options.ring_max < options.ring_size ||
        options.ring_max > STREAM_MAX)
        return error_set(error, -EINVAL,
                         "ring_max must be a power of two from ring_size to 4 GiB");
    if (options.spin_ns < TRAM_NO_SPIN || options.attempts > 254 || (options.mode & ~0666u) ||
        (options.mode & 0600u) != 0600u || options.reserved ||
        (options.flags & ~(TRAM_OPEN_PREFAULT | TRAM_OPEN_LOCK | TRAM_OPEN_NO_SIGBUS |
                           TRAM_OPEN_STAMP | TRAM_OPEN_DUMP)))
        return error_set(error, -EINVAL,
                         "spin_ns, attempts (at most 254), mode (0600 and more) or flags");
    *ret_options = options;
    return 0;
}

/* ---- identity -------------------------------------------------------------------------------- */

static int id_held(struct tram_error *error, int dir, tram_id id) {
    struct holder holder;
    char text[TRAM_ID_TEXT];

    files_holder(dir, &holder);
    (void) error_set(error, -EADDRINUSE,
                     "node %s is open in %s; end that one, or use another ID",
                     tram_id_format(id, text), holder.text);
    error->pid = holder.pid;
    error->from = id;
    return -EADDRINUSE;
}

/* Who acts for the node may be a stand-in, which lets go when it is told that somebody is here. */
static void knock(const tram_node *node) {
    OWNS_FD int bell = -1;
    struct sys_map map;

    if (door_open(node->dir, node->id, node->mode, false, node->map_flags, &map, NULL) < 0)
        return;
    if (door_announce(map.base)) {
        bell = sys_bell_open(node->dir, "bell");
        if (bell >= 0)
            (void) sys_bell_ring(bell); /* knocked again after a while */
    }
    sys_unmap(&map);
}

/* Byte 1, for which a cleaner or `tram rm` may have to be waited. */
static int take_custody(const tram_node *node, struct tram_error *error) {
    uint64_t now = sys_now();
    uint64_t deadline = now + CUSTODY_WAIT;
    uint64_t next = now;
    char text[TRAM_ID_TEXT];
    int rc;

    while ((rc = sys_lock(node->lock, LOCK_CUSTODY)) == -EAGAIN) {
        now = sys_now();
        if (now >= next) {
            knock(node);
            next = now + 100 * SYS_MILLISECOND;
        }
        if (now > deadline)
            return error_set(error, -ETIMEDOUT,
                             "another process acts for node %s and does not let go (a hung `tram "
                             "rm` or daemon?)",
                             tram_id_format(node->id, text));
        /* Nothing is ever read there: a nap, for who is to let go may need this processor. */
        (void) sys_wait_readable(node->lock, now + 50000);
    }
    return rc;
}

/* The node's directory and both bytes of its lock file: for good, not of a directory that is being
 * removed. */
static int take_identity(tram_node *node, struct tram_error *error) {
    struct sys_stat st;
    int asked = 0;
    int rc;

    for (int tries = 0; tries < 1000; tries++) {
        node->dir = files_node_dir(&node->bus, node->id, true);
        if (node->dir < 0)
            return error_set(error, node->dir, "cannot make the node's directory: %s",
                             strerror(-node->dir));
        if (files_held(node->dir))
            return id_held(error, node->dir, node->id);
        node->lock = sys_lock_open(node->dir, "lock", node->mode);
        if (node->lock >= 0) {
            rc = sys_lock(node->lock, LOCK_IDENTITY);
            if (rc == -EAGAIN)
                return id_held(error, node->dir, node->id);
            /* The bus may have become one of a cluster meanwhile. Its daemon writes `cluster`, and
             * then looks who has a lock; we took the lock, and then look for `cluster`. */
            if (rc == 0 && !node->cluster && !node->ephemeral)
                asked = rc = place_join(node, error);
            if (rc == 0 && node->cluster && !node->ephemeral)
                asked = rc = place_ask(node, error);
            if (rc == 0)
                rc = take_custody(node, error);
            if (rc == -ETIMEDOUT || asked < 0)
                return rc;
            if (rc == 0)
                rc = sys_stat_fd(node->lock, &st);
            if (rc < 0)
                return error_set(error, rc, "cannot lock the node: %s", strerror(-rc));
            if (st.links > 0)
                return 0;
        } else if (node->lock != -ENOENT) {
            return error_set(error, node->lock, "cannot make the node's lock: %s",
                             strerror(-node->lock));
        }
        cleanup_fd(&node->lock); /* removed under our hands: again */
        cleanup_fd(&node->dir);
        node->lock = node->dir = -1;
    }
    return error_set(error, -ESTALE, "the node's lock is removed again and again");
}

/* A free ID of 240.0.0.0/4: its directory is made by us. */
static int take_ephemeral(tram_node *node, struct tram_error *error) {
    for (int tries = 0; tries < 1000; tries++) {
        char name[TRAM_ID_TEXT];
        uint32_t number;
        int rc = sys_random(&number, sizeof(number));

        if (rc < 0)
            return error_set(error, rc, "no random number: %s", strerror(-rc));
        node->id = TRAM_EPHEMERAL + 1 + number % 0x0ffffffeu; /* neither the first nor the last */
        if (node->cluster) { /* of the host's own block: no other host gives it away */
            uint64_t count = place_count(node, number);

            node->id = TRAM_EPHEMERAL | node->host << 16 | (uint32_t) (count % HOST_IDS);
            node->epoch = 1 + count / HOST_IDS;
        }
        rc = sys_dir_make(node->bus.dir, tram_id_format(node->id, name),
                          files_dir_mode(node->mode));
        if (rc == -EEXIST)
            continue;
        if (rc < 0)
            return error_set(error, rc, "cannot make the node's directory: %s", strerror(-rc));
        rc = take_identity(node, error);
        if (rc < 0 && node->lock < 0) /* else closing the node removes it */
            (void) sys_dir_remove(node->bus.dir, name);
        return rc;
    }
    return error_set(error, -EADDRNOTAVAIL, "no free ephemeral ID found");
}

/* ---- door and bell --------------------------------------------------------------------------- */

/* Whoever has it mapped looks for another one. */
static void discard_door(int dir) {
    OWNS_FD int fd = sys_file_open(dir, "door", true);
    const uint64_t none = 0;

    if (fd >= 0)
        (void) sys_file_write(fd, &none, sizeof(none), offsetof(struct door, magic));
    (void) sys_remove(dir, "door");
}

/* Whoever has the door mapped may have the bell open, too: a new bell needs a new door. */
static bool needs_new_bell(int dir) {
    OWNS_FD int fd = sys_bell_open(dir, "bell");

    return fd == -ENOENT || node_is_no_bell(fd);
}

/* Who has the node open. */
static void sign_door(tram_node *node) {
    struct door *door = node->door;

    sys_program(door->program, sizeof(door->program));
    door->pid_namespace = node->pid_namespace = sys_pid_namespace();
    door->start = sys_start_time();
    door->flags = node->ephemeral ? DOOR_EPHEMERAL : 0;
    door->opened_ns = sys_wall();
    door->closed_ns = 0;
    store_release(&door->pid, sys_pid()); /* who reads it looks at the rest next */
    /* An ephemeral node is opened once: among those of its ID it is told by its round. */
    store_release(&door->opens, node->ephemeral && node->cluster ? node->epoch : door->opens + 1);
}

int node_open_door(tram_node *node, struct tram_error *error) {
    struct sys_stat st;
    struct door *door;
    int rc = door_open(node->dir, node->id, node->mode, false, node->map_flags, &node->door_map,
                       NULL);

    if (rc == 0 && needs_new_bell(node->dir)) {
        sys_unmap(&node->door_map);
        discard_door(node->dir);
        rc = -ENOENT;
    }
    if (rc == -ENOENT)
        rc = door_open(node->dir, node->id, node->mode, true, node->map_flags, &node->door_map,
                       NULL);
    if (rc == -EPROTO)
        return error_set(error, rc,
                         "the node was opened by a tram with layout version %u, this one has %u: "
                         "use that one, or remove the node with it",
                         files_door_version(node->dir), LAYOUT_VERSION);
    if (rc == -EBADMSG || rc == -EISDIR || rc == -ELOOP || rc == -ENXIO) {
        discard_door(node->dir); /* ours to make: nobody else's words are in it */
        rc = door_open(node->dir, node->id, node->mode, true, node->map_flags, &node->door_map,
                       NULL);
    }
    if (rc == 0)
        rc = node_make_bell(node);
    if (rc == 0)
        rc = sys_stat_at(node->dir, "door", &st);
    if (rc < 0)
        return error_set(error, rc, "cannot make the node's door and bell: %s", strerror(-rc));

    door = node->door = node->door_map.base;
    door_wake(door);
    /* What rang for the last owner; then the bits, then the rings. */
    (void) sys_bell_drain(node->bell);
    for (uint32_t i = 0; i < LAYOUT_BITS / 64; i++)
        (void) door_take(door, i);
    if (!node->standing) {
        sign_door(node);
        rc = sys_lock(node->lock, LOCK_UP); /* until then the door has the words of the last life */
        if (rc < 0)
            return error_set(error, rc, "cannot lock the node: %s", strerror(-rc));
    }
    node->attached = load_acquire(&door->attached);
    node->door_inode = st.inode;
    memcpy(&node->mine, door, offsetof(struct door, zero));
    return 0;
}

/* ---- open ------------------------------------------------------------------------------------ */

static tram_node *node_new(const struct tram_options *options) {
    tram_node *node = calloc(1, sizeof(*node));

    if (!node)
        return NULL;
    bias_init(&node->entry);
    node->dir = node->lock = node->bell = node->set = node->bus.dir = -1;
    node->flags = options->flags;
    node->mode = options->mode;
    node->attempts = options->attempts;
    node->ring_size = options->ring_size;
    node->ring_max = options->ring_max;
    node->keep = options->keep;
    node->spin_ns = options->spin_ns;
    if (node->spin_ns == TRAM_NO_SPIN)
        node->spin_ns = 0;
    node->events_end = &node->events;
    node->size_limit = UINT64_MAX;
    node->trim_at = UINT64_MAX;
    node->last_to = UINT64_MAX;
    node->relook_at = sys_now() + SYS_SECOND;
    node->map_flags = ((options->flags & TRAM_OPEN_NO_SIGBUS) ? 0 : SYS_MAP_GUARD) |
                      ((options->flags & TRAM_OPEN_DUMP) ? SYS_MAP_DUMP : 0);
    return node;
}

/* Everything after the memory for it. */
static int node_start(tram_node *node, const char *bus, tram_id id,
                      const struct tram_options *options, struct tram_error *error) {
    int rc = 0;

    if (options->layout)
        rc = layout_read(options->layout, &node->layout, error);
    if (rc == 0)
        rc = bus_open(bus, options->dir, options->mode, &node->bus, error);
    if (rc < 0)
        return rc;
    node->ephemeral = id == TRAM_EPHEMERAL;
    node->id = id;
    rc = place_join(node, error);
    if (rc < 0)
        return rc;
    if (node->layout && !layout_has_node(node->layout, id))
        return error_set(error, -EACCES, "the static layout has no such node");
    /* One that was killed as it opened has no channel by which anybody else would come upon it. */
    custody_clean_ephemerals(&node->bus, node->host, 4);
    rc = fork_register(node); /* first: what is forked from here on closes the lock */
    if (rc < 0)
        return error_set(error, rc, "cannot watch for forks: %s", strerror(-rc));
    rc = node->ephemeral ? take_ephemeral(node, error) : take_identity(node, error);
    if (rc == 0)
        rc = node_open_door(node, error);
    if (rc < 0)
        return rc;
    rc = ins_scan(node);
    if (rc == 0 && !node->ephemeral)
        rc = outs_resume(node);
    if (rc == 0 && node->layout)
        rc = layout_apply(node);
    if (rc < 0) {
        *error = node->error;
        if (error->code != rc)
            rc = error_set(error, rc, "cannot take over the node's channels: %s", strerror(-rc));
        return rc;
    }
    peers_tell_watchers(node);
    return 0;
}

int tram_open(const char *bus, tram_id id, const struct tram_options *options,
              tram_node **ret_node) {
    struct tram_error *error = error_of_open();
    struct tram_options read = {0};
    tram_node *node;
    int rc;

    if (!ret_node)
        return error_set(error, -EINVAL, "ret_node is NULL");
    if (id == 0 || id == UINT32_MAX || (id >> 28 == 0xf && id != TRAM_EPHEMERAL))
        return error_set(error, -EINVAL,
                         "an ID is not 0.0.0.0 nor 255.255.255.255; 240.0.0.0/4 is for ephemeral "
                         "nodes (TRAM_EPHEMERAL)");
    rc = options_read(options, &read, error);
    if (rc < 0)
        return rc;
    node = node_new(&read);
    if (!node)
        return error_set(error, -ENOMEM, "no memory for a node");
    rc = node_start(node, bus, id, &read, error);
    if (rc < 0) {
        struct tram_error kept = *error;

        (void) tram_close(node);
        *error = kept;
        return rc;
    }
    *ret_node = node;
    return 0;
}

tram_id tram_node_id(const tram_node *node) {
    return node ? node->id : 0;
}

const char *tram_bus_path(const tram_node *node) {
    return node ? node->bus.path : NULL;
}

/* ---- close ----------------------------------------------------------------------------------- */

static void free_peers(tram_node *node) {
    for (uint32_t i = 0; i < LAYOUT_BITS; i++) {
        while (node->peers[i]) {
            struct peer *peer = node->peers[i];

            node->peers[i] = peer->next;
            peer->out = out_free(peer->out);
            peer->in = in_free(peer->in);
            peer_forget_door(peer);
            cleanup_fd(&peer->watch_fd);
            free(peer);
        }
    }
    while (node->retries) {
        struct retry *retry = node->retries;

        node->retries = retry->next;
        (void) retry_free(retry);
    }
}

static void close_on_disk(tram_node *node) {
    for (uint32_t i = 0; i < LAYOUT_BITS; i++) {
        for (struct peer *peer = node->peers[i]; peer; peer = peer->next) {
            if (peer->out && !peer->out->broken)
                disk_close_out(peer->out);
            if (peer->in && !peer->in->broken)
                disk_close_in(peer->in);
        }
    }
}

/* What an orderly end leaves behind: everything published, space given, the memory of drained
 * channels given back (there is nothing to examine after an orderly end). */
static void settle(tram_node *node) {
    (void) outs_flush(node, false);
    for (uint32_t i = 0; i < LAYOUT_BITS; i++) {
        for (struct peer *peer = node->peers[i]; peer; peer = peer->next) {
            struct out *out = peer->out;

            if (peer->in && !peer->in->broken &&
                WORD_POSITION(peer->in->rx.committed) != peer->in->rx.freed)
                in_give(node, peer->in);
            if (peer->watched)
                watch_file_remove(node, peer->id);
            if (!out || out->broken || ring_tx_look(&out->tx) < 0)
                continue;
            if (out->old)
                out_reap_old(node, peer);
            if (out->tx.freed == out->tx.pos && !out->old && !out->fixed &&
                disk_settle(node, out) == 0)
                out_trim(out, 0);
        }
    }
    ins_tidy_ephemerals(node, UINT32_MAX);
    if (on_disk(&node->bus))
        close_on_disk(node);
    node->door->closed_ns = sys_wall();
}

tram_node *tram_close(tram_node *node) {
    if (!node)
        return NULL;
    if (!node->forked) {
        if (!node->fenced && node_enter(node) < 0)
            return NULL; /* another thread is inside: nothing can be done safely */
        if (node->door && !node->fenced) /* else nothing here is its own any more */
            settle(node);
        if (node->ephemeral && node->lock >= 0)
            custody_remove_own(&node->bus, node->dir, node->id);
        fork_unregister(node);
    }
    if (!node->forked && node->lock >= 0) { /* a child that is forked this moment has it, too */
        (void) sys_unlock(node->lock, LOCK_UP);
        (void) sys_unlock(node->lock, LOCK_IDENTITY);
        (void) sys_unlock(node->lock, LOCK_CUSTODY);
    }
    cleanup_fd(&node->lock); /* and with it the ID */
    if (!node->forked && node->door)
        peers_tell_watchers(node); /* the process may live on: nothing else would tell them */
    free_peers(node);
    sys_unmap(&node->door_map);
    cleanup_fd(&node->bell);
    cleanup_fd(&node->set);
    cleanup_fd(&node->dir);
    bus_close(&node->bus);
    node->layout = layout_free(node->layout);
    free(node);
    return NULL;
}
