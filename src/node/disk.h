/* SPDX-License-Identifier: MIT
 *
 * Buses on a disk: what a restart of the machine leaves of a channel, and what may be believed of
 * it.
 *
 * Overview
 *   While somebody writes a channel's files they carry the number of the machine's boot (`boot` in
 *   struct stream and struct head); an orderly close puts everything on the disk and stores 0. Who
 *   finds the number of another boot knows that any page may be older than any other, or torn:
 *
 *     the stream   its custodian (the sender, or the receiver if that does not run) goes over all
 *                  records that are not consumed. Each has a checksum. At the first that does not
 *                  hold the stream ends: what is behind it is lost, counted, and never handed out.
 *                  The sequence numbers of what was lost are used again; so the channel has one
 *                  life more, which is part of the stream number that a message comes with.
 *     the head     the receiver's words may be older than what it did: everything that waits comes
 *                  marked.
 *
 *   The words of each of the two files lie in one sector, which disks write whole.
 */
#pragma once

#include "node/node.h"

static inline bool on_disk(const struct bus *bus) {
    return bus->boot != 0;
}

/* As custodian of `from`: make the streams in `dir`, the directory of `to`, such that they can be
 * believed. -EBADMSG: not even their first pages can be. -ENOENT: they are no more. */
int disk_repair_streams(const struct bus *bus, int dir, tram_id from, tram_id to);

/* As holder of `to`, before its end of the channel is opened: the same, if the sender does not run.
 * -ENOENT: it does, and will. */
int disk_check_sender(const struct bus *bus, int dir, tram_id from, tram_id to);

/* As holder of the destination: what the words in the head of a channel are worth, now that its
 * streams are repaired. */
int disk_take_head(const struct bus *bus, int dir, struct in *in, uint32_t lowest,
                   uint32_t highest);

/* As custodian of the source: from now on it is written. Sets out->marks. */
int disk_take_stream(const struct bus *bus, int dir, struct out *out);

/* What the receiver has freed, and only in memory: before any of it is overwritten or given back,
 * the words that say so have to be on the disk. Otherwise a restart would begin to read where
 * something else lies, and end the stream there. */
int disk_settle(const tram_node *node, struct out *out);
/* The same, of any channel in `dir`. */
int disk_sync_head(int dir, tram_id from);

/* Below this, positions of the stream at hand may be written. */
static inline uint64_t disk_limit(const struct bus *bus, const struct out *out) {
    uint64_t freed = out->tx.freed;

    if (on_disk(bus) && out->settled < freed)
        freed = out->settled > out->tx.base ? out->settled : out->tx.base;
    return freed + out->capacity;
}

/* Everything that was sent there is on the disk before this returns. */
/* Once it failed, it fails: the kernel says so once, and takes the pages for written. */
int disk_sync(tram_node *node, struct out *out);

/* An orderly end. */
void disk_close_out(struct out *out);
void disk_close_in(const struct in *in);
