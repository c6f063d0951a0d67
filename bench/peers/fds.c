/* SPDX-License-Identifier: MIT */
#include "fds.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

#define FDS_PACK (64u << 10)
#define FDS_READ (256u << 10)

struct fds fds_ends[2] = { { -1, -1 }, { -1, -1 } };

struct fds_end {
    int in, out;
    bool spin, pack;
    size_t staged;     /* bytes in `pack_data` */
    size_t begin, end; /* unread bytes in `read_data` */
    size_t room;       /* of read_data */
    unsigned char *pack_data, *read_data;
};

void *fds_open(const struct job_opts *o, unsigned who) {
    struct fds_end *e = calloc(1, sizeof(*e));

    if (!e)
        return NULL;
    e->in = fds_ends[who].in;
    e->out = fds_ends[who].out;
    e->spin = !o->stream && !o->sleep;
    e->pack = o->stream && !o->each && o->size + 8 <= FDS_PACK / 2;
    e->room = FDS_READ + o->size + 8;
    e->pack_data = malloc(FDS_PACK);
    e->read_data = malloc(e->room);
    if (!e->pack_data || !e->read_data) {
        fds_close(e);
        return NULL;
    }
    /* Spinning is reading without blocking; writes block in any case, there is always room. */
    if (e->spin && fcntl(e->in, F_SETFL, O_NONBLOCK) < 0) {
        fds_close(e);
        return NULL;
    }
    return e;
}

static int fds_write(int fd, struct iovec *pieces, int count) {
    while (count) {
        ssize_t n = writev(fd, pieces, count);

        if (n < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (n < 0)
            return -errno;
        while (count && (size_t) n >= pieces->iov_len) {
            n -= (ssize_t) pieces->iov_len;
            pieces++;
            count--;
        }
        if (count) {
            pieces->iov_base = (unsigned char *) pieces->iov_base + n;
            pieces->iov_len -= (size_t) n;
        }
    }
    return 0;
}

int fds_flush(void *end) {
    struct fds_end *e = end;
    struct iovec all = { .iov_base = e->pack_data, .iov_len = e->staged };
    int ret = e->staged ? fds_write(e->out, &all, 1) : 0;

    e->staged = 0;
    return ret;
}

int fds_send(void *end, const void *data, size_t size) {
    struct fds_end *e = end;
    uint64_t length = size;

    if (!e->pack) {
        struct iovec pieces[2] = {
            { .iov_base = &length, .iov_len = sizeof(length) },
            { .iov_base = (void *) (uintptr_t) data, .iov_len = size },
        };

        return fds_write(e->out, pieces, 2);
    }
    if (e->staged + 8 + size > FDS_PACK) {
        int ret = fds_flush(e);

        if (ret < 0)
            return ret;
    }
    memcpy(e->pack_data + e->staged, &length, sizeof(length));
    bench_copy(e->pack_data + e->staged + 8, data, size);
    e->staged += 8 + size;
    return 0;
}

/* More bytes behind those that are there; first moves these to the start if there is no room. */
static int fds_fill(struct fds_end *e) {
    ssize_t n;

    if (e->begin == e->end)
        e->begin = e->end = 0;
    if (e->room - e->end < FDS_READ / 2 && e->begin) {
        memmove(e->read_data, e->read_data + e->begin, e->end - e->begin);
        e->end -= e->begin;
        e->begin = 0;
    }
    do
        n = read(e->in, e->read_data + e->end, e->room - e->end);
    while (n < 0 && (errno == EINTR || errno == EAGAIN));
    if (n == 0)
        return -EPIPE;
    if (n < 0)
        return -errno;
    e->end += (size_t) n;
    return 0;
}

int fds_recv(void *end, const void **ret_data, size_t *ret_size) {
    struct fds_end *e = end;
    uint64_t length = 0;

    for (;;) {
        int ret;

        if (e->end - e->begin >= 8) {
            length = bench_load8(e->read_data + e->begin);
            if (length > e->room - 8)
                return -EBADMSG;
            if (e->end - e->begin >= 8 + length)
                break;
        }
        ret = fds_fill(e);
        if (ret < 0)
            return ret;
    }
    *ret_data = e->read_data + e->begin + 8;
    *ret_size = length;
    e->begin += 8 + length;
    return 0;
}

void fds_close(void *end) {
    struct fds_end *e = end;

    if (!e)
        return;
    free(e->pack_data);
    free(e->read_data);
    free(e);
}

void fds_teardown(void) {
    for (unsigned i = 0; i < 2; i++) {
        if (fds_ends[i].in >= 0)
            (void) close(fds_ends[i].in);
        if (fds_ends[i].out >= 0 && fds_ends[i].out != fds_ends[i].in)
            (void) close(fds_ends[i].out);
        fds_ends[i] = (struct fds){ -1, -1 };
    }
}
