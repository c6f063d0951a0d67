/* SPDX-License-Identifier: MIT
 *
 * Writing to a socket's link: at once, or gathered.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "service/link_socket_inner.h"
#include "sys/clock.h"

#define PIECES    8
#define OUT_LEAST 4096u

/* ---- buffers --------------------------------------------------------------------------------- */

/* Room for `more` bytes behind the end. `pinned` bytes stay where they are, and are not freed. */
bool buffer_grow(struct buffer *buffer, size_t more, size_t least, const uint8_t *pinned) {
    size_t used = buffer->end - buffer->start, size = buffer->size ? buffer->size : least;
    bool fixed = buffer->bytes && buffer->bytes == pinned;
    uint8_t *bytes;

    if (buffer->size - buffer->end >= more)
        return true;
    if (!fixed && buffer->size >= used + more) {
        memmove(buffer->bytes, buffer->bytes + buffer->start, used);
    } else {
        while (size < used + more)
            size *= 2;
        bytes = malloc(size);
        if (!bytes)
            return false;
        if (used > 0)
            memcpy(bytes, buffer->bytes + buffer->start, used);
        if (!fixed)
            free(buffer->bytes);
        buffer->bytes = bytes;
        buffer->size = size;
    }
    buffer->start = 0;
    buffer->end = used;
    return true;
}

void buffer_free(struct buffer *buffer) {
    free(buffer->bytes);
    *buffer = (struct buffer){ 0 };
}

static void append(struct buffer *buffer, const void *bytes, size_t size) {
    if (size > 0)
        memcpy(buffer->bytes + buffer->end, bytes, size);
    buffer->end += size;
}

/* ---- to the kernel --------------------------------------------------------------------------- */

/* What the peer said before it went is still worth reading: source_turn() does. */
static int cut(struct socket_link *me, int why) {
    me->cut = true;
    return socket_broken(me, why);
}

/* Does something wait for the kernel, in the transport, too? Then the loop tells when to go on. */
static bool is_full(struct socket_link *me) {
    me->full = (transport_want(me->transport) & TRANSPORT_WRITE) != 0;
    if (me->full)
        socket_watch(me);
    return me->full;
}

/* What is encrypted goes first. False: it went. */
static bool flush_transport(struct socket_link *me) {
    int rc;

    if (!(transport_want(me->transport) & TRANSPORT_WRITE))
        return false;
    rc = transport_flush(me->transport);
    if (rc < 0 && rc != -EAGAIN) {
        (void) cut(me, rc);
        return true;
    }
    return is_full(me);
}

void socket_flush(struct socket_link *me) {
    struct buffer *out = &me->out;

    if (me->connecting || me->full || me->down != 0)
        return;
    if (flush_transport(me))
        return;
    while (out->end > out->start) {
        int64_t n = transport_write(me->transport, out->bytes + out->start,
                                    out->end - out->start);

        if (n < 0 && n != -EAGAIN) {
            (void) cut(me, (int) n);
            return;
        }
        out->start += n > 0 ? (size_t) n : 0;
        if (is_full(me) && out->end > out->start)
            return;
    }
    out->start = out->end = 0;
    if (out->size > GATHER || !me->hot)
        buffer_free(out);
    socket_account(me);
    if (me->wants_space)
        socket_look_again(me);
}

/* Copy what is left of a message, of which `skip` bytes are written already. */
static int gather(struct socket_link *me, const struct iovec *pieces, int count, size_t skip,
                  size_t total) {
    if (!buffer_grow(&me->out, total - skip, OUT_LEAST, NULL))
        return skip > 0 ? cut(me, -ENOMEM) : -ENOMEM;
    socket_account(me);
    for (int i = 0; i < count; i++) {
        size_t gone = skip < pieces[i].iov_len ? skip : pieces[i].iov_len;

        append(&me->out, (const uint8_t *) pieces[i].iov_base + gone, pieces[i].iov_len - gone);
        skip -= gone;
    }
    return 0;
}

static int put(struct socket_link *me, const struct iovec *pieces, int count, size_t total,
               bool more) {
    int64_t written = 0;
    int rc;

    if (total >= DIRECT && socket_gathered(me) == 0 && !me->connecting && !me->full) {
        written = transport_writev(me->transport, pieces, count);
        if (written < 0 && written != -EAGAIN)
            return cut(me, (int) written);
        (void) is_full(me);
        if (written == (int64_t) total)
            return 0;
        me->full = true;
        if (written < 0)
            written = 0;
    }
    rc = gather(me, pieces, count, (size_t) written, total);
    if (rc < 0)
        return rc;
    if (written > 0 || (me->full && !(me->events & TRAM_IO_WRITE)))
        socket_watch(me);
    if ((more || me->corked) && socket_gathered(me) < GATHER) {
        socket_look_again(me);
        return 0;
    }
    socket_flush(me);
    return me->down != 0 ? socket_broken(me, 0) : 0;
}

/* ---- frames ---------------------------------------------------------------------------------- */

/* On a socket a deadline is what is left of the time. */
static void deadline_to_wire(const struct frame *frame, uint8_t *extra) {
    int64_t deadline;

    if (!(frame->flags & FRAME_DEADLINE))
        return;
    memcpy(&deadline, extra, sizeof(deadline));
    deadline -= (int64_t) sys_now();
    memcpy(extra, &deadline, sizeof(deadline));
}

static int ready(struct socket_link *me, size_t size) {
    if (me->down != 0)
        return socket_broken(me, 0);
    if (size > SOCKET_MAX)
        return -EMSGSIZE;
    if (socket_gathered(me) < OUT_MAX)
        return 0;
    me->wants_space = true;
    return -EAGAIN;
}

/* Of a request: its answer is looked for; of a one-way message: it is counted. */
static int sent(struct socket_link *me, const struct frame *frame, int rc) {
    if (rc < 0)
        return rc;
    if (frame->kind == FRAME_ONEWAY)
        me->sent++;
    else if (frame->kind == FRAME_REQUEST && !me->hot)
        socket_warm(me);
    return 0;
}

int socket_send(struct link *link, const struct frame *frame, uint32_t code,
                const struct iovec *pieces, int count, bool more) {
    struct socket_link *me = socket_of(link);
    struct socket_head head = { .code = code, .frame = *frame };
    struct iovec all[PIECES + 2] = { { &head, sizeof(head) } };
    uint8_t extra[FRAME_EXTRA_MAX], zero[8] = { 0 };
    size_t size = 0;
    int rc;

    if (count > PIECES)
        return -EINVAL;
    for (int i = 0; i < count; i++) {
        all[i + 1] = pieces[i];
        size += pieces[i].iov_len;
    }
    rc = ready(me, size);
    if (rc < 0)
        return rc;
    if (frame->extra > 0) {
        memcpy(extra, pieces[0].iov_base, frame->extra);
        deadline_to_wire(frame, extra);
        all[1] = (struct iovec){ extra, frame->extra };
    }
    head.size = (uint32_t) size;
    all[count + 1] = (struct iovec){ zero, PAD(size) - size };
    return sent(me, frame, put(me, all, count + 2, sizeof(head) + PAD(size), more));
}

int socket_claim(struct link *link, size_t size, void **ret_data) {
    struct socket_link *me = socket_of(link);
    int rc = ready(me, size);

    if (rc < 0)
        return rc;
    if (me->draft)
        return -EBUSY;
    me->draft = malloc(sizeof(struct socket_head) + PAD(size));
    if (!me->draft)
        return -ENOMEM;
    me->draft_size = size;
    *ret_data = me->draft + sizeof(struct socket_head);
    return 0;
}

int socket_commit(struct link *link, const struct frame *frame, uint32_t code, size_t size) {
    struct socket_link *me = socket_of(link);
    struct socket_head head = { .size = (uint32_t) size, .code = code, .frame = *frame };
    struct iovec piece = { me->draft, sizeof(head) + PAD(size) };
    int rc;

    if (!me->draft)
        return -ENOENT;
    if (me->down != 0 || size > me->draft_size) {
        rc = me->down != 0 ? socket_broken(me, 0) : -EINVAL;
    } else {
        memcpy(me->draft, &head, sizeof(head));
        memset(me->draft + sizeof(head) + size, 0, PAD(size) - size);
        deadline_to_wire(frame, me->draft + sizeof(head));
        rc = sent(me, frame, put(me, &piece, 1, piece.iov_len, false));
    }
    socket_abort(link);
    return rc;
}

void socket_abort(struct link *link) {
    struct socket_link *me = socket_of(link);

    free(me->draft);
    me->draft = NULL;
}
