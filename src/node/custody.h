/* SPDX-License-Identifier: MIT
 *
 * Acting for a node that does not run: byte 1 of its lock. Removing it, emptying a channel to it,
 * giving back memory of rings it wrote, and its set-aside messages. For `tram rm` and its like, for
 * nodes that meet the remains of dead ones, and, later, for the daemon.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "node/files.h"
#include "ring/rx.h"
#include "tram/tram.h"

/* Remove a node with the channels to it, and those from it that are drained.
 *   -EBUSY      it runs (the error has the pid), or somebody else acts for it
 *   -ENOTEMPTY  messages wait, to it or from it, and not `force`
 *   -ENOENT     there is no such node
 *   -EAGAIN     files of it are made as fast as they are removed */
int custody_rm(const char *bus_path, tram_id id, bool force, struct tram_error *ret_error);

/* Drop what waits from `from` to `to`, and make the channel usable if it was closed. `to` must not
 * run; if the words are nonsense, `from` must not either. -EBUSY, -ENOENT. */
int custody_purge(const char *bus_path, tram_id from, tram_id to, uint64_t *ret_messages,
                  struct tram_error *ret_error);

/* Have a message that was set aside for `to` handed out once more, now or when it next runs; or
 * drop it. -ENOENT. */
int custody_retry(const char *bus_path, tram_id to, tram_id from, uint64_t seq,
                  struct tram_error *ret_error);
int custody_drop(const char *bus_path, tram_id to, tram_id from, uint64_t seq,
                 struct tram_error *ret_error);

/* Remove up to `most` ephemeral nodes whose processes died. `host`: the number of this one in its
 * cluster, 0 if there is none. What lies here of a node of another host looks dead when the daemon
 * is; only that one knows when it is (custody_remove_far()). */
void custody_clean_ephemerals(const struct bus *bus, uint32_t host, int most);
/* Remove what is here of an ephemeral node of another host, which is no more. -EBUSY, -ENOENT. */
int custody_remove_far(const struct bus *bus, tram_id id);

/* Remove an ephemeral node that the caller holds (both bytes). */
void custody_remove_own(const struct bus *bus, int dir, tram_id id);

/* If `from` does not run: repair its streams in `dir` after a restart of the machine
 * (disk_repair_streams()). -EBUSY: it runs. */
int custody_repair_sender(const struct bus *bus, int dir, tram_id from, tram_id to);

/* Of a channel in `dir` it was decided that it is removed, and whoever did died then: remove it, if
 * `from` does not run. -EBUSY: it does, and will when it sends. */
int custody_bury(const struct bus *bus, int dir, tram_id from);
/* As custodian of `from`: all of its files in `dir`. */
int custody_unlink_channel(int dir, tram_id from);

/* As custodian of `to`, whose directory `dir` is, with bytes 1 and 2 of its lock: the channel from
 * `from` is removed, whatever waits in it, and its sender is told, as by custody_rm() of `to`. */
int custody_remove_channel(const struct bus *bus, int dir, tram_id from, tram_id to);

/* A channel into the directory `dir` of `to`, which the caller holds, is drained and its sender
 * does not run: give back its memory but `keep`; remove it altogether if the sender was ephemeral
 * (1). `rx` is the receiving end; NULL: there is no stream yet. Both are looked at again once the
 * sender is known not to run: it may have published before it ended. -EAGAIN: it has. */
int custody_tidy_sender(const struct bus *bus, int dir, tram_id from, tram_id to, uint64_t keep,
                        struct ring_rx *rx);
