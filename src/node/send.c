/* SPDX-License-Identifier: MIT
 *
 * Sending: the fast path. A send that finds its channel and room in it makes no system call; the
 * rest is in out.c (channels, waiting) and grow.c (larger streams, memory).
 */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "node/disk.h"
#include "node/mirror.h"
#include "node/node.h"
#include "sys/clock.h"

/* The channel, and room in it for `size` bytes of payload and `more` of extension. */
static int prepare(tram_node *node, tram_id to, uint64_t size, uint64_t more, uint64_t deadline,
                   struct out **ret_out) {
    struct peer *peer;
    int rc = out_get(node, to, true, &peer);

    while (unlikely(rc == -EAGAIN) && deadline != 0 && mirror_waits(node, to)) {
        rc = mirror_wait(node, to, deadline);
        if (rc == 0)
            rc = out_get(node, to, true, &peer);
    }
    if (rc == 0 && !ring_tx_fits(&peer->out->tx, size + more))
        rc = out_room(node, peer, size, more, deadline);
    if (rc < 0)
        return rc;
    *ret_out = peer->out; /* it may have been made anew */
    if (!peer->out->marks && !(node->flags & TRAM_OPEN_STAMP)) {
        node->last = peer->out;
        node->last_to = to;
    }
    return 0;
}

/* Write the extension at the start of a body; returns where the payload goes. */
static void *extend(const tram_node *node, void *body, const uint8_t *layer) {
    struct extension *extension = body;

    *extension = (struct extension){
        .time_ns = (node->flags & TRAM_OPEN_STAMP) ? sys_wall() : 0};
    if (layer)
        memcpy(extension->layer, layer, sizeof(extension->layer));
    return extension + 1;
}

static bool is_wide(const tram_node *node, const struct tram_meta *meta) {
    static const uint8_t none[sizeof(meta->layer)];

    return (node->flags & TRAM_OPEN_STAMP) ||
           (meta && memcmp(meta->layer, none, sizeof(none)) != 0);
}

#define FETCH_MOST 4096u /* longer copies fetch for themselves */
#define SEND_FLAGS (TRAM_NOWAIT | TRAM_MORE | TRAM_DURABLE)

/* It will be accepted when all that is staged is. */
static inline int keep_staged(tram_node *node, struct out *out) {
    if (!out->staged) {
        out->staged = true;
        node->quick = NULL;
        out->staged_next = node->staged;
        node->staged = out;
    }
    return TRAM_STAGED;
}

/* The record is written: stage it, and publish unless more comes. */
static int finish(tram_node *node, struct out *out, uint64_t size, uint32_t flags) {
    ring_tx_stage(&out->tx, size);
    return (flags & TRAM_MORE) ? keep_staged(node, out) : out_publish(node, out);
}

/* The same where the record may have to be checked, and to be on the disk. */
static int finish_slow(tram_node *node, struct out *out, uint64_t size, uint32_t flags) {
    int rc;

    if (out->marks)
        ring_tx_check(&out->tx, size);
    rc = finish(node, out, size, flags);
    if (rc == TRAM_STAGED && (flags & TRAM_DURABLE))
        rc = outs_flush(node, true);
    return rc == 0 && (flags & TRAM_DURABLE) ? disk_sync(node, out) : rc;
}

/* No ring carries STREAM_MAX; a size near 2^64 would come out small when headers are added. */
static uint64_t bounded(uint64_t size) {
    return size < STREAM_MAX ? size : STREAM_MAX;
}

/* The sum of the pieces. -EINVAL: too many, or one without data. */
static int pieces_size(const struct iovec *pieces, int count, uint64_t *ret_size) {
    uint64_t size = 0;

    if (count < 0 || count > IOV_MAX || (!pieces && count > 0))
        return -EINVAL;
    for (int i = 0; i < count; i++) {
        if (!pieces[i].iov_base && pieces[i].iov_len > 0)
            return -EINVAL;
        size += pieces[i].iov_len < STREAM_MAX ? pieces[i].iov_len : STREAM_MAX;
    }
    *ret_size = bounded(size);
    return 0;
}

static int send_pieces(tram_node *node, tram_id to, const struct tram_meta *meta,
                       const struct iovec *pieces, int count, uint32_t flags, uint64_t deadline) {
    bool wide = is_wide(node, meta);
    uint64_t more = wide ? sizeof(struct extension) : 0;
    struct out *out = NULL;
    uint64_t size;
    uint8_t *at;
    int rc = pieces_size(pieces, count, &size);

    if (rc < 0)
        return error_set(&node->error, rc, "pieces are missing, or too many");
    rc = prepare(node, to, size, more, deadline, &out);
    if (rc < 0)
        return rc;
    at = ring_tx_header(&out->tx, node->id, meta ? meta->tag : 0,
                        (wide ? RECORD_WIDE : 0) | out->marks, size + more);
    if (wide)
        at = extend(node, at, meta ? meta->layer : NULL);
    for (int i = 0; i < count; i++) {
        if (pieces[i].iov_len > 0)
            memcpy(at, pieces[i].iov_base, pieces[i].iov_len);
        at += pieces[i].iov_len;
    }
    return finish_slow(node, out, size + more, flags);
}

/* ---- tram_send() ----------------------------------------------------------------------------- */

/* Stores that overlap, for what most small messages are. */
static inline bool is_small(size_t size) {
    return size - 8 <= 56;
}

static inline void copy_small(char *to, const char *from, size_t size) {
    typedef uint64_t __attribute__((aligned(1), may_alias)) word;
    typedef uint8_t __attribute__((vector_size(16), aligned(1), may_alias)) half;

    if (size < 16) {
        *(word *) to = *(const word *) from;
        *(word *) (to + size - 8) = *(const word *) (from + size - 8);
        return;
    }
    *(half *) to = *(const half *) from;
    if (size > 32) {
        *(half *) (to + 16) = *(const half *) (from + 16);
        *(half *) (to + size - 32) = *(const half *) (from + size - 32);
    }
    *(half *) (to + size - 16) = *(const half *) (from + size - 16);
}

static __attribute__((noinline)) int told_and_left(tram_node *node, struct out *out,
                                                   uint64_t armed) {
    return node_leave(node, out_published(node, out, armed));
}

/* A plain record in a channel with room for it is written. Leaves the node. */
static inline __attribute__((always_inline)) int finish_plain(tram_node *node, struct out *out,
                                                              size_t size, uint32_t flags) {
    uint64_t armed;

    ring_tx_stage(&out->tx, size);
    if (flags & TRAM_MORE)
        return node_leave(node, keep_staged(node, out));
    armed = ring_tx_publish(&out->tx);
    if (unlikely(out_must_tell(out, armed)))
        return told_and_left(node, out, armed);
    return node_leave(node, 0);
}

static __attribute__((noinline)) int send_any(tram_node *node, tram_id to, uint32_t tag,
                                              const void *data, size_t size, uint32_t flags) {
    struct tram_meta meta = {.tag = tag};
    struct iovec piece = {.iov_base = (void *) (uintptr_t) data, .iov_len = size};
    int rc;

    if ((flags & ~SEND_FLAGS) || (!data && size > 0))
        rc = error_set(&node->error, -EINVAL, "no data, or unknown flags");
    else
        rc = send_pieces(node, to, &meta, &piece, 1, flags,
                         (flags & TRAM_NOWAIT) ? 0 : UINT64_MAX);
    return node_leave(node, rc);
}

static __attribute__((noinline)) int send_large(tram_node *node, tram_id to, uint32_t tag,
                                                const void *data, size_t size, uint32_t flags) {
    struct out *out = node->last;

    if (unlikely(!ring_tx_fits(&out->tx, size)))
        return send_any(node, to, tag, data, size, flags);
    if (size <= FETCH_MOST)
        ring_tx_fetch(&out->tx, size);
    memcpy(ring_tx_header(&out->tx, node->id, tag, 0, size), data, size);
    return finish_plain(node, out, size, flags);
}

static __attribute__((noinline)) int send_entering(tram_node *node, tram_id to, uint32_t tag,
                                                   const void *data, size_t size,
                                                   uint32_t flags) {
    int rc = node_enter(node);

    return rc < 0 ? rc : send_any(node, to, tag, data, size, flags);
}

/* A plain record for the channel that was used last: everything else goes another way. */
int tram_send(tram_node *node, tram_id to, uint32_t tag, const void *data, size_t size,
              uint32_t flags) {
    struct out *out;

    if (unlikely(!node_enter_quick(node)))
        return send_entering(node, to, tag, data, size, flags);
    if (unlikely(to != node->last_to || !data || (flags & ~(TRAM_NOWAIT | TRAM_MORE))))
        return send_any(node, to, tag, data, size, flags);
    if (unlikely(!is_small(size)))
        return send_large(node, to, tag, data, size, flags);
    if (unlikely(!ring_tx_fits(&node->last->tx, size)))
        return send_any(node, to, tag, data, size, flags);
    out = node->last;
    copy_small(ring_tx_header(&out->tx, node->id, tag, 0, size), data, size);
    return finish_plain(node, out, size, flags);
}

/* ---- the others ------------------------------------------------------------------------------ */

static __attribute__((noinline)) int sendv_any(tram_node *node, tram_id to,
                                               const struct tram_meta *meta,
                                               const struct iovec *pieces, int count,
                                               uint32_t flags, int64_t timeout_ns) {
    int rc;

    if (flags & ~SEND_FLAGS)
        return node_leave(node, error_set(&node->error, -EINVAL, "unknown flags"));
    rc = send_pieces(node, to, meta, pieces, count, flags,
                     (flags & TRAM_NOWAIT) ? 0 : sys_deadline(timeout_ns));
    return node_leave(node, rc);
}

static inline char *put_piece(char *to, const struct iovec *piece) {
    size_t size = piece->iov_len;

    if (likely(is_small(size)))
        copy_small(to, piece->iov_base, size);
    else if (size > 0)
        memcpy(to, piece->iov_base, size);
    return to + size;
}

/* No more than two pieces with layer bytes, for the channel that was used last: what endpoints
 * send. Everything else goes another way. */
int tram_sendv(tram_node *node, tram_id to, const struct tram_meta *meta,
               const struct iovec *pieces, int count, uint32_t flags, int64_t timeout_ns) {
    typedef uint64_t __attribute__((may_alias, aligned(1))) word;
    struct out *out;
    uint64_t size;
    word *body;
    char *at;

    if (unlikely(!node_enter_quick(node))) {
        int rc = node_enter(node);

        return rc < 0 ? rc : sendv_any(node, to, meta, pieces, count, flags, timeout_ns);
    }
    out = node->last;
    if (unlikely(to != node->last_to || !meta || !pieces || count < 1 || count > 2 ||
                 (flags & ~(TRAM_NOWAIT | TRAM_MORE)) || !*(const word *) meta->layer ||
                 !pieces[0].iov_base || !pieces[count - 1].iov_base ||
                 (pieces[0].iov_len | pieces[count - 1].iov_len) > STREAM_MAX))
        return sendv_any(node, to, meta, pieces, count, flags, timeout_ns);
    size = sizeof(struct extension) + pieces[0].iov_len + (count > 1 ? pieces[1].iov_len : 0);
    if (unlikely(!ring_tx_fits(&out->tx, size)))
        return sendv_any(node, to, meta, pieces, count, flags, timeout_ns);
    if (size <= FETCH_MOST)
        ring_tx_fetch(&out->tx, size);
    body = ring_tx_header(&out->tx, node->id, meta->tag, RECORD_WIDE, size);
    body[0] = 0; /* no time stamp: that goes the other way */
    body[1] = ((const word *) meta->layer)[0];
    body[2] = ((const word *) meta->layer)[1];
    at = put_piece((char *) (body + 3), &pieces[0]);
    if (count > 1)
        (void) put_piece(at, &pieces[1]);
    return finish_plain(node, out, size, flags);
}

int tram_forward(tram_node *node, const struct tram_msg *msg, tram_id to, uint32_t flags) {
    struct tram_meta meta = {0};
    struct iovec piece;
    int rc;

    if (!msg)
        return -EINVAL;
    rc = node_enter(node);
    if (rc < 0)
        return rc;
    if (flags & ~SEND_FLAGS)
        return node_leave(node, error_set(&node->error, -EINVAL, "unknown flags"));
    meta.tag = msg->tag;
    memcpy(meta.layer, msg->layer, sizeof(meta.layer));
    piece = (struct iovec){.iov_base = (void *) (uintptr_t) msg->data, .iov_len = msg->size};
    rc = send_pieces(node, to, &meta, &piece, 1, flags, (flags & TRAM_NOWAIT) ? 0 : UINT64_MAX);
    return node_leave(node, rc);
}

int tram_claim(tram_node *node, tram_id to, size_t size, int64_t timeout_ns, void **ret_data) {
    struct out *out = NULL;
    int rc = node_enter(node);

    if (rc < 0)
        return rc;
    if (!ret_data)
        return node_leave(node, error_set(&node->error, -EINVAL, "ret_data is NULL"));
    /* What goes with it is known at the commit only: room for everything. */
    rc = prepare(node, to, bounded(size), sizeof(struct extension), sys_deadline(timeout_ns),
                 &out);
    if (rc == 0) {
        out->claimed = true;
        out->claim_size = size;
        out->claim_room = out->tx.room;
        out->tx.room = out->tx.pos; /* everything else goes the slow way: refused */
        *ret_data = (uint8_t *) ring_tx_body(&out->tx) + sizeof(struct extension);
    }
    return node_leave(node, rc);
}

/* The open claim on a channel, which ends here. */
static int take_claim(tram_node *node, tram_id to, struct out **ret_out) {
    struct peer *peer = peer_find(node, to);
    struct out *out = peer ? peer->out : NULL;

    if (!out || !out->claimed)
        return error_channel(&node->error, -ENOENT, node->id, to,
                             "nothing is claimed on this channel");
    out->claimed = false;
    if (!out->broken)
        out->tx.room = out->claim_room;
    *ret_out = out;
    return 0;
}

int tram_commit(tram_node *node, tram_id to, const struct tram_meta *meta, size_t size,
                uint32_t flags) {
    struct out *out = NULL;
    int rc = node_enter(node);

    if (rc < 0)
        return rc;
    if (flags & ~(TRAM_MORE | TRAM_DURABLE))
        return node_leave(node, error_set(&node->error, -EINVAL, "unknown flags"));
    rc = take_claim(node, to, &out);
    if (rc == 0 && size > out->claim_size) {
        out->claimed = true;
        out->tx.room = out->tx.pos;
        rc = error_channel(&node->error, -EINVAL, node->id, to,
                           "commit of %zu bytes, more than were claimed (%llu)", size,
                           (unsigned long long) out->claim_size);
    }
    if (rc == 0 && out->broken)
        rc = error_channel(&node->error, out->broken, node->id, to, "the channel is closed");
    if (rc == 0) {
        size += sizeof(struct extension);
        (void) extend(node,
                      ring_tx_header(&out->tx, node->id, meta ? meta->tag : 0,
                                     RECORD_WIDE | out->marks, size),
                      meta ? meta->layer : NULL);
        rc = finish_slow(node, out, size, flags);
    }
    return node_leave(node, rc);
}

int tram_abort(tram_node *node, tram_id to) {
    struct out *out = NULL;
    int rc = node_enter(node);

    if (rc < 0)
        return rc;
    return node_leave(node, take_claim(node, to, &out));
}

int tram_flush(tram_node *node) {
    int rc = node_enter(node);

    return rc < 0 ? rc : node_leave(node, outs_flush(node, true));
}
