/* SPDX-License-Identifier: MIT */
#include "service/topic_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "sys/cleanup.h"
#include "sys/clock.h"
#include "sys/file.h"
#include "sys/lock.h"
#include "tram/tram.h"
#include "wire/events.h"

#define LOCK_PATIENCE (500 * SYS_MILLISECOND) /* who was killed in it keeps it a moment */
#define SWEEP_MAX   1024u /* names looked at in one go */

static void topic_name(uint32_t node, uint32_t port, char name[TOPIC_NAME]) {
    char id[TRAM_ID_TEXT];

    (void) snprintf(name, TOPIC_NAME, "%s-%08x", tram_id_format(node, id), port);
}

int reader_name(uint32_t node, uint32_t port, uint32_t subscriber, uint32_t subscriber_port,
                uint32_t number, const char *durable, struct reader_name *ret_name) {
    char topic[TOPIC_NAME], id[TRAM_ID_TEXT];

    topic_name(node, port, topic);
    if (!durable) {
        (void) snprintf(ret_name->text, READER_NAME, "%s@%s-%08x-%u", topic,
                        tram_id_format(subscriber, id), subscriber_port, number);
        return 0;
    }
    if (!durable_name_ok(durable))
        return -EINVAL;
    (void) snprintf(ret_name->text, READER_NAME, "%s@=%s", topic, durable);
    return 0;
}

int topic_dir(const char *bus, uint32_t mode) {
    OWNS_FD int parent = sys_dir_open(AT_FDCWD, bus);
    uint32_t execute = (mode & 0444u) >> 2;
    int rc;

    if (parent < 0)
        return parent;
    rc = sys_dir_make(parent, "events", mode | execute);
    if (rc < 0 && rc != -EEXIST)
        return rc;
    return sys_dir_open(parent, "events");
}

void topic_file_close(struct topic_file *file) {
    sys_unmap(&file->map);
}

/* ---- rings ----------------------------------------------------------------------------------- */

/* Is this a ring of this endpoint? *ret_capacity is its size, checked against the file's. */
static int check_topic(int fd, uint32_t node, uint32_t port, uint64_t *ret_capacity,
                       bool *ret_copy) {
    struct sys_stat stat;
    struct topic words;
    int rc = sys_stat_fd(fd, &stat);

    if (rc == 0)
        rc = sys_file_read(fd, &words, sizeof(words), 0);
    if (rc < 0)
        return rc == -ENODATA ? -EBADMSG : rc;
    if (words.magic != TOPIC_MAGIC)
        return -EBADMSG;
    if (words.version != TOPIC_VERSION)
        return -EPROTO;
    if (words.node != node || words.port != port || words.capacity < TOPIC_MIN ||
        words.capacity > TOPIC_MAX || (words.capacity & (words.capacity - 1)) != 0 ||
        stat.size != LAYOUT_DATA + words.capacity)
        return -EBADMSG;
    *ret_capacity = words.capacity;
    *ret_copy = words.copy != 0;
    return 0;
}

static int map_topic(int fd, uint64_t capacity, uint32_t flags, struct topic_file *file) {
    return sys_map(fd, LAYOUT_DATA + capacity, capacity, flags | SYS_MAP_GUARD, &file->map);
}

/* What an earlier life of this endpoint left, if it can be used, or (`copy`) the daemon, of a ring
 * of another host: numbers go on there that nobody here knows of. `capacity` 0: any. */
static int reopen(int dir, const char *name, uint32_t node, uint32_t port, uint64_t capacity,
                  bool copy, struct topic_file *file, struct topic_tx *tx) {
    OWNS_FD int fd = sys_file_open(dir, name, true);
    uint64_t there = 0;
    bool is_copy = false;
    int rc = fd < 0 ? fd : check_topic(fd, node, port, &there, &is_copy);

    if (rc == 0 && (is_copy != copy || (capacity && there != capacity)))
        rc = -EBADMSG;
    if (rc == 0)
        rc = sys_file_reserve(fd, 0, LAYOUT_DATA + there); /* somebody may have cut it */
    if (rc == 0)
        rc = map_topic(fd, there, SYS_MAP_WRITE, file);
    if (rc < 0)
        return rc;
    rc = topic_tx_init(tx, topic_words(file), topic_data(file), there);
    if (rc < 0)
        topic_file_close(file);
    return rc;
}

static int make(int dir, const char *name, uint32_t node, uint32_t port, uint64_t id,
                uint64_t capacity, uint32_t mode, struct topic_file *file) {
    struct topic words = {
        .magic = TOPIC_MAGIC,
        .version = TOPIC_VERSION,
        .node = node,
        .port = port,
        .id = id,
        .capacity = capacity,
        .made_ns = sys_wall(),
        .copy = id != 0,
    };
    char fresh[TOPIC_NAME + 4];
    int rc = id ? 0 : sys_random(&words.id, sizeof(words.id));

    (void) snprintf(fresh, sizeof(fresh), "%s.new", name);
    OWNS_FD int fd = rc < 0 ? rc : sys_file_make(dir, fresh, mode, LAYOUT_DATA + capacity);

    if (fd < 0)
        return fd;
    rc = sys_file_reserve(fd, 0, LAYOUT_DATA + capacity);
    if (rc == 0)
        rc = sys_file_write(fd, &words, sizeof(words), 0);
    if (rc == 0)
        rc = map_topic(fd, capacity, SYS_MAP_WRITE, file);
    if (rc == 0)
        rc = sys_rename(dir, fresh, name);
    if (rc < 0) {
        topic_file_close(file);
        (void) sys_unlink(dir, fresh); /* the first error is the one to tell */
    }
    return rc;
}

int topic_file_make(int dir, uint32_t node, uint32_t port, uint64_t capacity, uint32_t mode,
                    struct topic_file *ret_file, struct topic_tx *ret_tx, bool *ret_found) {
    struct topic_file file = {0};
    struct topic_tx tx;
    char name[TOPIC_NAME];
    int rc;

    topic_name(node, port, name);
    rc = reopen(dir, name, node, port, capacity, false, &file, &tx);
    *ret_found = rc == 0;
    if (rc == -ENOENT || rc == -EBADMSG || rc == -EPROTO) {
        rc = make(dir, name, node, port, 0, capacity, mode, &file);
        if (rc == 0)
            rc = topic_tx_init(&tx, topic_words(&file), topic_data(&file), capacity);
    }
    if (rc < 0)
        return rc;
    *ret_file = file;
    *ret_tx = tx;
    return 0;
}

int topic_file_copy(int dir, uint32_t node, uint32_t port, uint64_t id, uint64_t capacity,
                    uint32_t mode, struct topic_file *ret_file, struct topic_tx *ret_tx) {
    struct topic_file file = {0};
    struct topic_tx tx;
    char name[TOPIC_NAME];
    int rc;

    topic_name(node, port, name);
    rc = reopen(dir, name, node, port, 0, true, &file, &tx);
    if (rc == 0 && id && topic_words(&file)->id != id) {
        topic_file_close(&file);
        rc = -ENOENT;
    }
    if (rc < 0 && id) {
        rc = make(dir, name, node, port, id, capacity, mode, &file);
        if (rc == 0)
            rc = topic_tx_init(&tx, topic_words(&file), topic_data(&file), capacity);
    }
    if (rc < 0)
        return rc;
    *ret_file = file;
    *ret_tx = tx;
    return 0;
}

bool topic_file_is_copy(int dir, uint32_t node, uint32_t port) {
    char name[TOPIC_NAME];
    uint64_t capacity;
    bool copy = false;

    topic_name(node, port, name);
    OWNS_FD int fd = sys_file_open(dir, name, false);

    return fd >= 0 && check_topic(fd, node, port, &capacity, &copy) == 0 && copy;
}

bool topic_file_left(const char *bus, uint32_t node, uint32_t port) {
    OWNS_FD int parent = sys_dir_open(AT_FDCWD, bus);
    OWNS_FD int dir = parent < 0 ? parent : sys_dir_open(parent, "events");
    char name[TOPIC_NAME];
    struct sys_stat stat;

    topic_name(node, port, name);
    return dir >= 0 && sys_stat_at(dir, name, &stat) == 0;
}

int topic_file_open(int dir, uint32_t node, uint32_t port, struct topic_file *ret_file,
                    uint64_t *ret_capacity) {
    struct topic_file file = {0};
    uint64_t capacity = 0;
    char name[TOPIC_NAME];

    topic_name(node, port, name);
    OWNS_FD int fd = sys_file_open(dir, name, false);
    bool copy;
    int rc = fd < 0 ? fd : check_topic(fd, node, port, &capacity, &copy);

    if (rc == 0)
        rc = map_topic(fd, capacity, 0, &file);
    if (rc < 0)
        return rc;
    *ret_file = file;
    *ret_capacity = capacity;
    return 0;
}

struct removal {
    int dir;
    const char *prefix;
    size_t length;
    bool durable_only; /* only count them */
    uint32_t found;
};

static int reader_of(void *context, const char *name, uint64_t inode) {
    struct removal *removal = context;

    (void) inode;
    if (strncmp(name, removal->prefix, removal->length) != 0 || name[removal->length] != '@')
        return 0;
    if (removal->durable_only) {
        removal->found += name[removal->length + 1] == '=';
        return 0;
    }
    (void) sys_unlink(removal->dir, name); /* gone already is as good */
    return 0;
}

void topic_file_remove(int dir, uint32_t node, uint32_t port, bool all) {
    char name[TOPIC_NAME];
    struct removal removal = {.dir = dir, .prefix = name, .durable_only = !all};

    topic_name(node, port, name);
    removal.length = strlen(name);
    (void) sys_dir_each(dir, reader_of, &removal); /* what it can't see stays */
    if (!removal.durable_only || removal.found == 0)
        (void) sys_unlink(dir, name); /* likewise */
}

struct sweep {
    int dir, bus;
    uint32_t looked;
};

static int sweep_name(void *context, const char *name, uint64_t inode) {
    struct sweep *sweep = context;
    size_t length = strcspn(name, "-");
    char node[TRAM_ID_TEXT];
    struct sys_stat stat;
    tram_id id;

    (void) inode;
    if (++sweep->looked > SWEEP_MAX)
        return 1;
    if (length >= sizeof(node) || name[length] != '-')
        return 0;
    memcpy(node, name, length);
    node[length] = 0;
    if (tram_id_parse(node, &id) == 0 && sys_stat_at(sweep->bus, node, &stat) == -ENOENT)
        (void) sys_unlink(sweep->dir, name); /* the next sweep tries again */
    return 0;
}

void topic_dir_sweep(int dir, const char *bus) {
    OWNS_FD int parent = sys_dir_open(AT_FDCWD, bus);
    struct sweep sweep = {.dir = dir, .bus = parent};

    if (parent >= 0)
        (void) sys_dir_each(dir, sweep_name, &sweep); /* likewise */
}

/* ---- readers --------------------------------------------------------------------------------- */

static int check_reader(int fd) {
    struct topic_reader words;
    struct sys_stat stat;
    int rc = sys_stat_fd(fd, &stat);

    if (rc == 0)
        rc = sys_file_read(fd, &words, sizeof(words), 0);
    if (rc < 0)
        return rc == -ENODATA ? -EBADMSG : rc;
    if (words.magic != READER_MAGIC || stat.size != READER_SIZE)
        return -EBADMSG;
    return words.version == TOPIC_VERSION ? 0 : -EPROTO;
}

static int map_reader(int fd, uint32_t flags, struct topic_file *file) {
    return sys_map(fd, READER_SIZE, 0, flags | SYS_MAP_GUARD, &file->map);
}

/* Who has the lock has it for some system calls. -EAGAIN: for longer than that can take. */
static int lock_patiently(int fd) {
    uint64_t begin = sys_now();
    int rc;

    while ((rc = sys_lock(fd, 0)) == -EAGAIN && sys_now() - begin < LOCK_PATIENCE)
        sys_relax();
    return rc;
}

/* Take over what a durable reader left. Its file is locked for that moment only. */
static int take_over(int dir, const char *name, uint32_t subscriber,
                     bool (*runs)(void *context, uint32_t node), void *context,
                     struct topic_file *file) {
    OWNS_FD int fd = sys_file_open(dir, name, true);
    uint32_t holder;
    int rc = fd < 0 ? fd : lock_patiently(fd);

    if (rc == -EAGAIN)
        return -EBUSY;
    if (rc == 0)
        rc = check_reader(fd);
    if (rc == 0)
        rc = sys_file_reserve(fd, 0, READER_SIZE);
    if (rc == 0)
        rc = map_reader(fd, SYS_MAP_WRITE, file);
    if (rc < 0)
        return rc;
    holder = load_relaxed(&reader_words(file)->node);
    if (holder != subscriber && runs(context, holder)) {
        topic_file_close(file);
        return -EBUSY;
    }
    store_relaxed(&reader_words(file)->node, subscriber);
    (void) sys_unlock(fd, 0); /* the mapping would keep it, for some time also after our end */
    return 0;
}

static int make_reader(int dir, const char *name, uint32_t subscriber, uint32_t mode,
                       struct topic_file *file) {
    struct topic_reader words = {
        .magic = READER_MAGIC, .version = TOPIC_VERSION, .node = subscriber};
    char fresh[READER_NAME + 32], id[TRAM_ID_TEXT];
    int rc;

    words.number[0] = words.number[1] = TOPIC_UNKNOWN;
    (void) snprintf(fresh, sizeof(fresh), "%s.new-%s", name, tram_id_format(subscriber, id));
    OWNS_FD int fd = sys_file_make(dir, fresh, mode, READER_SIZE);

    if (fd < 0)
        return fd;
    rc = sys_file_reserve(fd, 0, READER_SIZE);
    if (rc == 0)
        rc = sys_file_write(fd, &words, sizeof(words), 0);
    if (rc == 0)
        rc = map_reader(fd, SYS_MAP_WRITE, file);
    if (rc == 0)
        rc = sys_rename(dir, fresh, name);
    if (rc < 0) {
        topic_file_close(file);
        (void) sys_unlink(dir, fresh); /* the first error is the one to tell */
    }
    return rc;
}

int reader_file_make(int dir, const struct reader_name *name, uint32_t subscriber, uint32_t mode,
                     bool (*runs)(void *context, uint32_t node), void *context,
                     struct topic_file *ret_file, bool *ret_found) {
    struct topic_file file = {0};
    bool durable = strstr(name->text, "@=") != NULL;
    int rc = durable ? take_over(dir, name->text, subscriber, runs, context, &file) : -ENOENT;

    *ret_found = rc == 0;
    if (rc == -ENOENT || rc == -EBADMSG || rc == -EPROTO)
        rc = make_reader(dir, name->text, subscriber, mode, &file);
    if (rc == 0)
        *ret_file = file;
    return rc;
}

int reader_file_open(int dir, const struct reader_name *name, struct topic_file *ret_file) {
    struct topic_file file = {0};
    OWNS_FD int fd = sys_file_open(dir, name->text, false);
    int rc = fd < 0 ? fd : check_reader(fd);

    if (rc == 0)
        rc = map_reader(fd, 0, &file);
    if (rc == 0)
        *ret_file = file;
    return rc;
}

void reader_file_remove(int dir, const struct reader_name *name) {
    (void) sys_unlink(dir, name->text); /* gone already is as good */
}
