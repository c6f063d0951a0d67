/* SPDX-License-Identifier: MIT
 *
 * The directory, as the daemon sees it: one small interface, behind which stand the host server
 * (directory_server.c), the fixed list of the config (directory_fixed.c), and later a consensus
 * store. It says which hosts there are and where nodes are placed, and grants both.
 *
 *     join      → on_joined, on_host for each that is there, on_told; from then on as things change
 *     claim     → on_granted or on_refused, once for each cookie
 *     watch     → on_placed, now and when it changes
 *     on_yield  → yielded: the node was given up here, for another host; or why not
 *
 * Nothing is called inside a call of the maker's functions but for join(). Without a connection
 * claims and watches wait, and are said when there is one: trouble() tells why they do.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "wire/hosts.h"
#include "wire/member.h"

struct hosts;
struct seat; /* ours at the directory */

struct seat_calls {
    /* What is placed here: the next ID behind `after`. False: no more. */
    bool (*held)(struct hosts *hosts, uint32_t after, uint32_t *ret_id, uint64_t *ret_epoch);
    void (*on_joined)(struct hosts *hosts, uint32_t number);
    void (*on_host)(struct hosts *hosts, const hosts_host *host, bool gone);
    void (*on_told)(struct hosts *hosts);
    void (*on_away)(struct hosts *hosts, const char *why);
    /* `from`: the host whose knowledge of the node has to be asked for; 0: none. */
    void (*on_granted)(struct hosts *hosts, uint64_t cookie, uint32_t id, uint64_t epoch,
                       uint32_t from, bool taken);
    void (*on_refused)(struct hosts *hosts, uint64_t cookie, uint32_t id, int error, uint32_t host,
                       const char *text);
    void (*on_placed)(struct hosts *hosts, const hosts_placed *placed);
    void (*on_yield)(struct hosts *hosts, uint32_t id, uint64_t epoch, uint32_t to);
    void (*on_done)(struct hosts *hosts, uint64_t cookie, int error, const char *text);
};

struct seat_maker {
    const char *word; /* for people */
    int (*join)(struct hosts *hosts, const struct seat_calls *calls, struct seat **ret_seat);
    struct seat *(*leave)(struct seat *seat);
    /* NULL: it is there. Else why it isn't, until the next call. */
    const char *(*trouble)(struct seat *seat);
    int (*claim)(struct seat *seat, uint64_t cookie, uint32_t id, bool take);
    void (*claim_end)(struct seat *seat, uint64_t cookie);
    int (*watch)(struct seat *seat, uint32_t id);
    void (*unwatch)(struct seat *seat, uint32_t id);
    void (*release)(struct seat *seat, uint32_t id, uint64_t epoch);
    /* What the old host knew of it is known here. */
    void (*settled)(struct seat *seat, uint32_t id, uint64_t epoch);
    /* `knew`: nothing that there is to know of it was missing here. `left`: for whom what
     * it sent waits here, until left() says otherwise. */
    void (*yielded)(struct seat *seat, uint32_t id, uint64_t epoch, int error, bool knew,
                    struct member_left left, const char *text);
    void (*left)(struct seat *seat, uint32_t id, struct member_left left);
    int (*forget)(struct seat *seat, uint64_t cookie, const char *host);
    /* The way became better (a network interface came up): try again now. */
    void (*hurry)(struct seat *seat);
};

extern const struct seat_maker seat_by_server, seat_by_list;
