/* SPDX-License-Identifier: MIT
 *
 * Messages set aside: handed out several times, never released. One file each, made complete and
 * renamed before the message is committed: a death in between sets it aside once more, under the
 * same name.
 *
 * A retry is asked for by renaming the file, which works whether the node runs or not. It is
 * renamed back before it is handed out: one request is one attempt, whatever happens in it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/disk.h"
#include "node/node.h"
#include "sys/cleanup.h"
#include "sys/file.h"

/* ---- setting aside --------------------------------------------------------------------------- */

int aside_put(tram_node *node, struct in *in, const struct ring_view *view, uint32_t attempts) {
    struct record record = {
        .seq = view->seq,
        .size = view->size,
        .from = in->peer->id,
        .tag = (uint32_t) (view->who >> 32),
        .flags = view->flags & RECORD_WIDE,
        .check = attempts,
    };
    struct head *head = in->head_map.base;
    char name[FILES_NAME];
    char hidden[FILES_NAME + 1];
    OWNS_FD int fd = -1;
    int rc;

    if (node->asides >= ASIDE_MAX)
        return -ENOSPC; /* it is handed out once more instead */
    files_aside_name(name, "aside", in->peer->id, view->seq);
    (void) snprintf(hidden, sizeof(hidden), ".%s", name);
    fd = sys_file_make(node->dir, hidden, node->mode, sizeof(record) + view->size);
    if (fd < 0)
        return fd;
    rc = sys_file_write(fd, &record, sizeof(record), 0);
    if (rc == 0)
        rc = sys_file_write(fd, view->record + 1, view->size, sizeof(record));
    if (rc == 0 && on_disk(&node->bus)) /* before it is committed */
        rc = sys_file_sync(fd);
    if (rc == 0)
        rc = sys_rename(node->dir, hidden, name);
    if (rc == 0 && on_disk(&node->bus))
        rc = sys_dir_sync(node->dir);
    if (rc < 0) { /* it is handed out once more instead, and must not be there twice */
        (void) sys_unlink(node->dir, hidden);
        (void) sys_unlink(node->dir, name);
        return rc;
    }
    node->asides++;
    store_relaxed(&head->aside, load_relaxed(&head->aside) + 1);
    return 0;
}

/* ---- retrying -------------------------------------------------------------------------------- */

struct retry *retry_free(struct retry *retry) {
    if (!retry)
        return NULL;
    free(retry->data);
    free(retry);
    return NULL;
}

bool aside_waits(const tram_node *node) {
    const struct retry *retry = node->retries;

    while (retry && (retry->in_hand || retry->failed))
        retry = retry->next;
    return retry != NULL;
}

int aside_find_retry(tram_node *node, tram_id from, uint64_t seq) {
    struct retry **link = &node->retries;

    for (; *link; link = &(*link)->next) {
        if ((*link)->from == from && (*link)->seq == seq) {
            (*link)->failed = false; /* known: try it again */
            return 0;
        }
    }
    if (node->retry_count >= ASIDE_MAX)
        return 0; /* for a later look */
    *link = calloc(1, sizeof(**link));
    if (!*link)
        return -ENOMEM;
    node->retry_count++;
    (*link)->from = from;
    (*link)->seq = seq;
    node->quick = NULL;
    return 0;
}

static uint32_t extension_size(const struct record *record) {
    return (record->flags & RECORD_WIDE) ? sizeof(struct extension) : 0;
}

/* Read a set-aside message and its body. -EBADMSG: the file is not what it should be. */
static int read_aside(int dir, const char *name, tram_id from, uint64_t seq,
                      struct record *ret_record, void **ret_data) {
    OWNS_FD int fd = sys_file_open(dir, name, false);
    OWNS_MEMORY void *data = NULL;
    struct record record;
    struct sys_stat st;
    int rc;

    if (fd < 0)
        return fd;
    rc = sys_stat_fd(fd, &st);
    if (rc == 0)
        rc = sys_file_read(fd, &record, sizeof(record), 0);
    if (rc < 0)
        return rc == -ENODATA ? -EBADMSG : rc;
    if (record.from != from || record.seq != seq || st.size != sizeof(record) + record.size ||
        record.size < extension_size(&record))
        return -EBADMSG;
    if (ret_data) {
        data = malloc(record.size > 0 ? record.size : 1);
        if (!data)
            return -ENOMEM;
        rc = sys_file_read(fd, data, record.size, sizeof(record));
        if (rc < 0)
            return rc == -ENODATA ? -EBADMSG : rc;
        *ret_data = data;
        data = NULL;
    }
    *ret_record = record;
    return 0;
}

/* It is handed out once more. */
static int count_attempt(int dir, const char *name, uint32_t attempts) {
    OWNS_FD int fd = sys_file_open(dir, name, true);

    if (fd < 0)
        return fd;
    return sys_file_write(fd, &attempts, sizeof(attempts), offsetof(struct record, check));
}

static void retry_remove(tram_node *node, struct retry *retry) {
    struct retry **link = &node->retries;

    while (*link != retry)
        link = &(*link)->next;
    *link = retry->next;
    node->retry_count--;
    (void) retry_free(retry);
}

/* The channel's id, for struct tram_msg: it names the message, the same each time that it comes. 0
 * if the channel is no more. */
static int stream_id(tram_node *node, tram_id from, uint64_t *ret_id) {
    struct head_facts facts = {0};
    struct sys_map map;
    int rc = head_open(node->dir, from, node->id, 0, &map, &facts);

    if (rc == 0)
        sys_unmap(&map);
    if (files_is_machine(rc))
        return rc;
    *ret_id = facts.id;
    return 0;
}

/* 1; 0: it was none, and is on the list no more; or a negative errno. */
static int take_retry(tram_node *node, struct retry *retry, struct tram_msg *ret_msg, bool hold) {
    char asked[FILES_NAME];
    char name[FILES_NAME];
    struct record record;
    uint64_t stream = 0;
    uint32_t size;
    int rc;

    files_aside_name(asked, "retry", retry->from, retry->seq);
    files_aside_name(name, "aside", retry->from, retry->seq);
    rc = read_aside(node->dir, asked, retry->from, retry->seq, &record, &retry->data);
    size = rc == 0 ? record.size - extension_size(&record) : 0;
    if (size > node->size_limit) {
        free(retry->data);
        retry->data = NULL;
        (void) error_channel(&node->error, -EMSGSIZE, retry->from, node->id,
                             "the message has %u bytes, more than the buffer", size);
        node->error.limit = size;
        return -EMSGSIZE;
    }
    if (rc == 0)
        rc = stream_id(node, retry->from, &stream);
    if (rc == 0)
        rc = count_attempt(node->dir, asked, record.check + 1);
    if (rc == 0)
        rc = sys_rename(node->dir, asked, name);
    if (files_is_machine(rc)) {
        free(retry->data);
        retry->data = NULL;
        retry->failed = true;
        return error_channel(&node->error, rc, retry->from, node->id,
                             "cannot read a set-aside message: %s", strerror(-rc));
    }
    if (rc < 0) {
        retry_remove(node, retry);
        if (rc == -EBADMSG || rc == -EISDIR || rc == -ELOOP) {
            (void) sys_unlink(node->dir, asked); /* no message: what lay there was never ours */
            return 0;
        }
        return rc == -ENOENT ? 0
                             : error_set(&node->error, rc, "cannot read a set-aside message: %s",
                                         strerror(-rc));
    }
    retry->in_hand = true;
    retry->hold = hold;
    *ret_msg = (struct tram_msg){
        .data = (const uint8_t *) retry->data + extension_size(&record),
        .size = size,
        .from = record.from,
        .tag = record.tag,
        .seq = record.seq,
        .stream = stream,
        .attempt = record.check + 1,
    };
    if (extension_size(&record) > 0) {
        const struct extension *extension = retry->data;

        ret_msg->time_ns = extension->time_ns;
        memcpy(ret_msg->layer, extension->layer, sizeof(ret_msg->layer));
    }
    return 1;
}

int aside_take_retry(tram_node *node, struct tram_msg *ret_msg, bool hold, bool failed) {
    for (;;) {
        struct retry *retry = node->retries;
        int rc;

        while (retry && (retry->in_hand || (retry->failed && !failed)))
            retry = retry->next;
        rc = retry ? take_retry(node, retry, ret_msg, hold) : 0;
        if (!retry || rc != 0)
            return rc;
    }
}

int aside_release(tram_node *node, tram_id from, uint64_t seq, bool automatic) {
    struct retry *retry = node->retries;
    char name[FILES_NAME];
    int rc;

    while (retry && (retry->from != from || retry->seq != seq || !retry->in_hand ||
                     retry->hold == automatic))
        retry = retry->next;
    if (!retry)
        return -ENOENT;
    files_aside_name(name, "aside", from, seq);
    rc = sys_unlink(node->dir, name);
    if (rc < 0 && rc != -ENOENT)
        return error_channel(&node->error, rc, from, node->id,
                             "cannot remove the set-aside message: %s", strerror(-rc));
    if (rc == 0 && node->asides > 0)
        node->asides--;
    retry_remove(node, retry);
    return 0;
}

/* ---- the application's side ------------------------------------------------------------------ */

struct listing {
    tram_node *node;
    struct tram_aside *list;
    int max, count;
};

static int list_one(void *context, const char *name, uint64_t inode) {
    struct listing *listing = context;
    struct record record;
    uint64_t seq;
    tram_id from;
    int rc;

    (void) inode;
    if (files_parse(name, &from, &seq) != FILE_ASIDE)
        return 0;
    rc = read_aside(listing->node->dir, name, from, seq, &record, NULL);
    if (rc < 0)
        return files_is_machine(rc) ? rc : 0;
    if (listing->count < listing->max)
        listing->list[listing->count] = (struct tram_aside){
            .from = from,
            .tag = record.tag,
            .seq = seq,
            .size = record.size - extension_size(&record),
            .attempts = record.check,
        };
    listing->count++;
    return 0;
}

int tram_aside_list(tram_node *node, struct tram_aside *ret_list, int max) {
    struct listing listing = {.node = node, .list = ret_list, .max = max};
    int rc = node_enter(node);

    if (rc < 0)
        return rc;
    if (max < 0 || (!ret_list && max > 0))
        return node_leave(node, error_set(&node->error, -EINVAL, "no list, or max below 0"));
    rc = sys_dir_each(node->dir, list_one, &listing);
    if (rc < 0)
        return node_leave(node, error_set(&node->error, rc, "cannot list: %s", strerror(-rc)));
    return node_leave(node, listing.count);
}

static int no_such(tram_node *node, tram_id from, uint64_t seq, int rc) {
    if (rc == -ENOENT)
        return error_channel(&node->error, rc, from, node->id, "message %llu is not set aside",
                             (unsigned long long) seq);
    return error_channel(&node->error, rc, from, node->id,
                         "cannot change a set-aside message: %s", strerror(-rc));
}

int tram_aside_retry(tram_node *node, tram_id from, uint64_t seq) {
    char name[FILES_NAME];
    char asked[FILES_NAME];
    int rc = node_enter(node);

    if (rc < 0)
        return rc;
    files_aside_name(name, "aside", from, seq);
    files_aside_name(asked, "retry", from, seq);
    rc = sys_rename(node->dir, name, asked);
    if (rc == 0) {
        rc = aside_find_retry(node, from, seq);
        if (rc < 0)
            (void) sys_rename(node->dir, asked, name); /* else it is found by the next look */
    }
    if (rc < 0)
        rc = no_such(node, from, seq, rc);
    else if (node->asleep)
        node_wake(node);
    return node_leave(node, rc);
}

int tram_aside_drop(tram_node *node, tram_id from, uint64_t seq) {
    char name[FILES_NAME];
    int rc = node_enter(node);

    if (rc < 0)
        return rc;
    files_aside_name(name, "aside", from, seq);
    rc = sys_unlink(node->dir, name);
    if (rc == 0)
        rc = bus_sync_names(&node->bus, node->dir);
    if (rc < 0)
        rc = no_such(node, from, seq, rc);
    else if (node->asides > 0)
        node->asides--;
    return node_leave(node, rc);
}
