/* SPDX-License-Identifier: MIT */
#include "node/files.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/error.h"
#include "ring/atomic.h"
#include "sys/cleanup.h"
#include "sys/clock.h"
#include "sys/file.h"
#include "sys/lock.h"
#include "sys/process.h"

uint32_t files_dir_mode(uint32_t mode) {
    return mode | (mode & 0444u) >> 2;
}

bool files_is_machine(int rc) {
    return rc == -ENOMEM || rc == -EMFILE || rc == -ENFILE || rc == -ENOSPC || rc == -EIO ||
           rc == -EAGAIN || rc == -EINTR || rc == -ENOLCK;
}

/* ---- the bus --------------------------------------------------------------------------------- */

static bool bus_name_valid(const char *name) {
    size_t length = strlen(name);

    if (length > 63 || name[0] == '.')
        return false;
    return strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") ==
           length;
}

/* Who else can change what lies in this directory is who could take the bus over: refuse. */
static int check_dir(int dir, const char *name, const char *path, uint32_t mode,
                     struct tram_error *error) {
    struct sys_stat st;
    int rc = sys_stat_at(dir, name, &st);

    if (rc < 0)
        return error_set(error, rc, "cannot look at %s: %s", path, strerror(-rc));
    if (st.is_symlink)
        return error_set(error, -EPERM,
                         "%s is a symbolic link; give the directory itself, or remove the link",
                         path);
    if (!st.is_directory)
        return error_set(error, -ENOTDIR, "%s is not a directory", path);
    if (st.owner != sys_user())
        return error_set(error, -EPERM,
                         "%s belongs to user %u, not to you (%u); choose another with TRAM_DIR",
                         path, st.owner, sys_user());
    if (st.mode & 0777u & ~files_dir_mode(mode))
        return error_set(error, -EPERM,
                         "%s is open to others (mode %04o, expected %04o); chmod it, or choose "
                         "another with TRAM_DIR",
                         path, st.mode, files_dir_mode(mode));
    return 0;
}

/* Make, check and open one directory of the path. */
static int enter_dir(int dir, const char *name, const char *path, uint32_t mode,
                     struct tram_error *error) {
    int rc = sys_dir_make(dir, name, files_dir_mode(mode));

    if (rc < 0 && rc != -EEXIST)
        return error_set(error, rc, "cannot make the directory %s: %s", path, strerror(-rc));
    rc = check_dir(dir, name, path, mode, error);
    if (rc < 0)
        return rc;
    rc = sys_dir_open(dir, name);
    if (rc < 0)
        return error_set(error, rc, "cannot open the directory %s: %s", path, strerror(-rc));
    return rc;
}

/* A bus that outlives the machine: know one start of it from another; and its name is there. */
static int know_disk(struct bus *bus, int root_dir, struct tram_error *error) {
    int rc = sys_boot_id(&bus->boot);

    if (rc < 0)
        return error_set(error, rc, "cannot tell this start of the machine from others: %s",
                         strerror(-rc));
    rc = sys_dir_sync(root_dir);
    return rc < 0 ? error_set(error, rc, "the disk of %s fails: %s", bus->path, strerror(-rc)) : 0;
}

int bus_open(const char *name, const char *root, uint32_t mode, struct bus *ret_bus,
             struct tram_error *error) {
    struct bus bus = {.dir = -1, .mode = mode};
    char root_path[sizeof(bus.path) - 64];
    OWNS_FD int root_dir = -1;
    int length;
    int rc;

    if (!name)
        name = getenv("TRAM_BUS");
    if (!name || !*name)
        name = "default";
    if (!bus_name_valid(name))
        return error_set(error, -EINVAL,
                         "'%.64s' is no name for a bus: 1 to 63 of A-Z a-z 0-9 . _ - and no dot "
                         "in front",
                         name);
    if (!root)
        root = getenv("TRAM_DIR");
    if (root && *root)
        length = snprintf(root_path, sizeof(root_path), "%s", root);
    else
        length = snprintf(root_path, sizeof(root_path), "/dev/shm/tram-%u", sys_user());
    if ((size_t) length >= sizeof(root_path))
        return error_set(error, -ENAMETOOLONG, "the path of the bus directory is too long");
    (void) snprintf(bus.path, sizeof(bus.path), "%s/%s", root_path, name);

    root_dir = enter_dir(AT_FDCWD, root_path, root_path, mode, error);
    if (root_dir < 0)
        return root_dir;
    bus.dir = enter_dir(root_dir, name, bus.path, mode, error);
    if (bus.dir < 0)
        return bus.dir;
    rc = sys_file_in_memory(bus.dir);
    if (rc < 0)
        (void) error_set(error, rc, "cannot look at %s: %s", bus.path, strerror(-rc));
    if (rc == 0)
        rc = know_disk(&bus, root_dir, error);
    if (rc < 0) {
        bus_close(&bus);
        return rc;
    }
    *ret_bus = bus;
    return 0;
}

int bus_find_boot(struct bus *bus) {
    int rc = sys_file_in_memory(bus->dir);

    return rc == 0 ? sys_boot_id(&bus->boot) : rc < 0 ? rc : 0;
}

int bus_sync_names(const struct bus *bus, int dir) {
    return bus->boot ? sys_dir_sync(dir) : 0;
}

void bus_close(struct bus *bus) {
    cleanup_fd(&bus->dir);
    bus->dir = -1;
}

int files_node_dir(const struct bus *bus, tram_id id, bool make) {
    char name[TRAM_ID_TEXT];
    int dir = sys_dir_open(bus->dir, tram_id_format(id, name));

    /* What was made may be removed before it is opened: by whoever clears the remains of dead
     * ephemeral nodes, or by tram rm. */
    for (int tries = 0; dir == -ENOENT && make && tries < 1000; tries++) {
        int rc = sys_dir_make(bus->dir, name, files_dir_mode(bus->mode));

        if (rc == 0 && bus->boot)
            rc = sys_dir_sync(bus->dir);
        if (rc < 0 && rc != -EEXIST && rc != -ENOENT)
            return rc;
        dir = sys_dir_open(bus->dir, name);
    }
    return dir;
}

/* ---- names ----------------------------------------------------------------------------------- */

void files_stream_name(char name[FILES_NAME], tram_id from, uint32_t generation) {
    char id[TRAM_ID_TEXT];

    (void) tram_id_format(from, id);
    if (generation == 0)
        (void) snprintf(name, FILES_NAME, "from-%s", id);
    else
        (void) snprintf(name, FILES_NAME, "from-%s+%u", id, generation);
}

void files_head_name(char name[FILES_NAME], tram_id from) {
    char id[TRAM_ID_TEXT];

    (void) snprintf(name, FILES_NAME, "head-%s", tram_id_format(from, id));
}

void files_aside_name(char name[FILES_NAME], const char *kind, tram_id from, uint64_t seq) {
    char id[TRAM_ID_TEXT];

    (void) snprintf(name, FILES_NAME, "%s-%s-%" PRIu64, kind, tram_id_format(from, id), seq);
}

void files_watch_name(char name[FILES_NAME], tram_id watcher) {
    char id[TRAM_ID_TEXT];

    (void) snprintf(name, FILES_NAME, "watch-%s", tram_id_format(watcher, id));
}

void files_mirror_name(char name[FILES_NAME], tram_id from) {
    char id[TRAM_ID_TEXT];

    (void) snprintf(name, FILES_NAME, "mirror-%s", tram_id_format(from, id));
}

void files_past_name(char name[FILES_NAME], tram_id from) {
    char id[TRAM_ID_TEXT];

    (void) snprintf(name, FILES_NAME, "past-%s", tram_id_format(from, id));
}

enum file_kind files_parse(const char *name, tram_id *ret_peer, uint64_t *ret_number) {
    static const struct {
        const char *prefix;
        char separator; /* between ID and number; 0: there is no number */
        enum file_kind kind;
    } forms[] = {
        {"from-", '+', FILE_STREAM},  {"head-", 0, FILE_HEAD},    {"aside-", '-', FILE_ASIDE},
        {"retry-", '-', FILE_RETRY}, {"watch-", 0, FILE_WATCH},
        {"mirror-", 0, FILE_MIRROR}, {"past-", 0, FILE_PAST},
    };
    char id[TRAM_ID_TEXT];
    char plain[TRAM_ID_TEXT];

    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        const char *at = name + strlen(forms[i].prefix);
        size_t length;
        char *end;

        if (strncmp(name, forms[i].prefix, strlen(forms[i].prefix)) != 0)
            continue;
        length = strspn(at, "0123456789.");
        if (length >= sizeof(id))
            return FILE_OTHER;
        memcpy(id, at, length);
        id[length] = '\0';
        at += length;
        /* One spelling only: two names of one thing would be two things. */
        if (tram_id_parse(id, ret_peer) < 0 || strcmp(tram_id_format(*ret_peer, plain), id) != 0)
            return FILE_OTHER;
        *ret_number = 0;
        if (*at == '\0')
            return forms[i].separator == '-' ? FILE_OTHER : forms[i].kind;
        if (forms[i].separator == 0 || *at != forms[i].separator || at[1] < '1' || at[1] > '9' ||
            strlen(at + 1) > 19)
            return FILE_OTHER;
        *ret_number = strtoull(at + 1, &end, 10);
        if (*end != '\0' || (forms[i].kind == FILE_STREAM && *ret_number >= FILES_GENERATIONS))
            return FILE_OTHER;
        return forms[i].kind;
    }
    return FILE_OTHER;
}

/* ---- files ----------------------------------------------------------------------------------- */

/* Make a file under `.name`, its first `reserve` bytes with memory, `content` at its start; then
 * rename it. What fails leaves nothing. ret_fd may be NULL. */
static int file_put(int dir, const char *name, uint32_t mode, uint64_t size, uint64_t reserve,
                    const void *content, uint64_t length, bool sync, int *ret_fd) {
    char hidden[FILES_NAME + 1];
    OWNS_FD int fd = -1;
    int rc;

    (void) snprintf(hidden, sizeof(hidden), ".%s", name);
    fd = sys_file_make(dir, hidden, mode, size);
    if (fd < 0)
        return fd;
    rc = sys_file_reserve(fd, 0, reserve);
    if (rc == 0)
        rc = sys_file_write(fd, content, length, 0);
    if (rc == 0 && sync)
        rc = sys_file_sync(fd);
    if (rc == 0)
        rc = sys_rename(dir, hidden, name);
    if (rc == -EISDIR && sys_remove(dir, name) == 0)
        rc = sys_rename(dir, hidden, name);
    if (rc < 0) {
        (void) sys_unlink(dir, hidden); /* what is left behind is overwritten the next time */
        return rc;
    }
    rc = sync ? sys_dir_sync(dir) : 0;
    if (rc < 0)
        (void) sys_unlink(dir, name); /* or the next process would take it for the channel's end */
    else if (ret_fd)
        *ret_fd = take_fd(&fd);
    return rc;
}

int files_put(const struct bus *bus, int dir, const char *name, const void *content,
              uint64_t length) {
    return file_put(dir, name, bus->mode, length, length, content, length, bus->boot != 0, NULL);
}

/* The words at the start of a file. -EBADMSG: it is shorter; else what the system says, which tells
 * nothing of the file. */
static int file_words(int fd, void *words, uint64_t length) {
    int rc = sys_file_read(fd, words, length, 0);

    return rc == -ENODATA ? -EBADMSG : rc;
}

static int check_version(uint64_t magic, uint64_t expected, uint32_t version) {
    if (magic != expected)
        return -EBADMSG;
    return version == LAYOUT_VERSION ? 0 : -EPROTO;
}

int door_make(int dir, const struct door *words, uint32_t mode) {
    return file_put(dir, "door", mode, LAYOUT_DOOR, LAYOUT_DOOR, words, sizeof(*words), false,
                    NULL);
}

int door_open(int dir, tram_id id, uint32_t mode, bool make, uint32_t flags,
              struct sys_map *ret_map, uint64_t *ret_inode) {
    const struct door fresh = {.magic = DOOR_MAGIC, .version = LAYOUT_VERSION, .id = id};
    OWNS_FD int fd = sys_file_open(dir, "door", true);
    struct sys_stat st;
    struct door found;
    int rc;

    if (fd == -ENOENT && make) {
        rc = door_make(dir, &fresh, mode);
        if (rc < 0)
            return rc;
        fd = sys_file_open(dir, "door", true);
    }
    if (fd < 0)
        return fd;
    rc = sys_stat_fd(fd, &st);
    if (rc < 0)
        return rc;
    rc = st.size == LAYOUT_DOOR ? file_words(fd, &found, sizeof(found)) : -EBADMSG;
    if (rc == 0)
        rc = check_version(found.magic, DOOR_MAGIC, found.version);
    if (rc < 0)
        return rc;
    if (found.id != id)
        return -EBADMSG;
    rc = sys_map(fd, LAYOUT_DOOR, 0, SYS_MAP_WRITE | flags, ret_map);
    if (rc == 0 && ret_inode)
        *ret_inode = st.inode;
    return rc;
}

static uint32_t version_of(int dir, const char *name) {
    OWNS_FD int file = dir < 0 ? -1 : sys_file_open(dir, name, false);
    struct {
        uint64_t magic;
        uint32_t version, other;
    } first;

    if (file < 0 || sys_file_read(file, &first, sizeof(first), 0) < 0)
        return LAYOUT_VERSION;
    if (first.magic != DOOR_MAGIC && first.magic != HEAD_MAGIC && first.magic != STREAM_MAGIC)
        return LAYOUT_VERSION;
    return first.version;
}

uint32_t files_door_version(int dir) {
    return version_of(dir, "door");
}

uint32_t files_channel_version(int dir, tram_id from) {
    char name[FILES_NAME];
    uint32_t version;

    files_head_name(name, from);
    version = version_of(dir, name);
    for (uint32_t i = 0; i < LAYOUT_GENERATIONS && version == LAYOUT_VERSION; i++) {
        files_stream_name(name, from, i);
        version = version_of(dir, name);
    }
    return version;
}

bool files_held(int dir) {
    OWNS_FD int lock = sys_lock_look(dir, "lock");

    return lock >= 0 && sys_lock_held(lock, LOCK_IDENTITY) == 1;
}

void files_holder(int dir, struct holder *ret_holder) {
    OWNS_FD int file = dir < 0 ? -1 : sys_file_open(dir, "door", false);
    struct door door = {0};

    if (file >= 0)
        (void) sys_file_read(file, &door, sizeof(door), 0); /* what cannot be read is 0 */
    door.program[sizeof(door.program) - 1] = '\0';
    ret_holder->pid = files_pid(&door, sys_pid_namespace());
    (void) snprintf(ret_holder->text, sizeof(ret_holder->text), "process %u%s (%s)", door.pid,
                    ret_holder->pid == 0 && door.pid != 0 ? " of another pid namespace" : "",
                    door.program);
}

int stream_make(int dir, const struct stream_plan *plan, int *ret_fd) {
    const struct stream fresh = {
        .magic = STREAM_MAGIC,
        .version = LAYOUT_VERSION,
        .generation = plan->generation,
        .from = plan->from,
        .to = plan->to,
        .id = plan->id,
        .base = plan->base,
        .base_seq = plan->base_seq,
        .capacity = plan->capacity,
        .made_ns = sys_wall(),
        .tail = plan->base,
        .accepted = {plan->base_seq, plan->base_seq},
        .kept = plan->base,
        .reserved = plan->base,
        .boot = plan->boot,
        .lost = plan->lost,
        .life = plan->life,
        .since = plan->since,
    };
    char name[FILES_NAME];

    files_stream_name(name, plan->from, plan->generation);
    return file_put(dir, name, plan->mode, LAYOUT_DATA + plan->capacity, 4096, &fresh,
                    sizeof(fresh), plan->boot != 0, ret_fd);
}

int head_make(int dir, const struct stream_plan *plan, int *ret_fd) {
    struct head fresh = {
        .magic = HEAD_MAGIC,
        .version = LAYOUT_VERSION,
        .from = plan->from,
        .to = plan->to,
        .id = plan->id,
        .consumed = {plan->base_seq, plan->base_seq},
        .unsure = plan->unsure,
    };
    char name[FILES_NAME];

    if (plan->window)
        memcpy(fresh.window, plan->window, sizeof(fresh.window));
    files_head_name(name, plan->from);
    return file_put(dir, name, plan->mode, sizeof(struct head), sizeof(struct head), &fresh,
                    plan->window ? sizeof(fresh) : offsetof(struct head, zero5), plan->boot != 0,
                    ret_fd);
}

/* Believe nothing in a stream's first page that would make us read or write outside. */
static int check_words(const struct stream *found, tram_id from, tram_id to, uint32_t generation) {
    int rc = check_version(found->magic, STREAM_MAGIC, found->version);

    if (rc < 0)
        return rc;
    if (found->from != from || found->to != to || found->generation != generation)
        return -EBADMSG;
    if (found->capacity < STREAM_MIN || found->capacity > STREAM_MAX ||
        (found->capacity & (found->capacity - 1)) != 0)
        return -EBADMSG;
    if (found->base % LAYOUT_ALIGN != 0 || found->base >= LAYOUT_END ||
        found->base_seq >= LAYOUT_END)
        return -EBADMSG;
    return 0;
}

static int check_stream(const struct stream *found, tram_id from, tram_id to, uint32_t generation,
                        uint64_t size) {
    int rc = check_words(found, from, to, generation);

    if (rc == 0 && size != LAYOUT_DATA + found->capacity)
        return -EBADMSG;
    return rc;
}

int stream_read(int dir, tram_id from, tram_id to, uint32_t generation, struct stream *ret_words,
                uint64_t *ret_size, int *ret_fd) {
    char name[FILES_NAME];
    OWNS_FD int fd = -1;
    struct sys_stat st;
    struct stream words;
    int rc;

    files_stream_name(name, from, generation);
    fd = sys_file_open(dir, name, true);
    if (fd < 0)
        return fd;
    rc = sys_stat_fd(fd, &st);
    if (rc == 0)
        rc = file_words(fd, &words, sizeof(words));
    if (rc == 0)
        rc = check_words(&words, from, to, generation);
    if (rc < 0)
        return rc;
    *ret_words = words;
    *ret_size = st.size;
    *ret_fd = take_fd(&fd);
    return 0;
}

int stream_map(int fd, tram_id from, tram_id to, uint32_t generation, uint32_t flags,
               struct sys_map *ret_map, struct stream_facts *ret_facts) {
    struct sys_stat st;
    struct stream found;
    int rc = sys_stat_fd(fd, &st);

    if (rc == 0)
        rc = file_words(fd, &found, sizeof(found));
    if (rc == 0)
        rc = check_stream(&found, from, to, generation, st.size);
    if (rc < 0)
        return rc;
    rc = sys_map(fd, st.size, found.capacity, flags, ret_map);
    if (rc < 0)
        return rc;
    *ret_facts = (struct stream_facts){
        .id = found.id,
        .base = found.base,
        .base_seq = found.base_seq,
        .capacity = found.capacity,
        .inode = st.inode,
    };
    return 0;
}

int stream_open(int dir, tram_id from, tram_id to, uint32_t generation, uint32_t flags,
                struct sys_map *ret_map, struct stream_facts *ret_facts, int *ret_fd) {
    char name[FILES_NAME];
    OWNS_FD int fd = -1;
    int rc;

    files_stream_name(name, from, generation);
    fd = sys_file_open(dir, name, (flags & SYS_MAP_WRITE) != 0);
    rc = fd < 0 ? fd : stream_map(fd, from, to, generation, flags, ret_map, ret_facts);
    if (rc == 0 && ret_fd)
        *ret_fd = take_fd(&fd);
    return rc;
}

int head_inode(int dir, tram_id from, uint64_t *ret_inode) {
    char name[FILES_NAME];
    struct sys_stat st;
    int rc;

    files_head_name(name, from);
    rc = sys_stat_at(dir, name, &st);
    if (rc == 0)
        *ret_inode = st.inode;
    return rc;
}

int head_map(int fd, tram_id from, tram_id to, uint32_t flags, struct sys_map *ret_map,
             struct head_facts *ret_facts) {
    struct sys_stat st;
    struct head found;
    int rc = sys_stat_fd(fd, &st);

    if (rc < 0)
        return rc;
    rc = st.size == sizeof(struct head)
             ? file_words(fd, &found, offsetof(struct head, window))
             : -EBADMSG;
    if (rc == 0)
        rc = check_version(found.magic, HEAD_MAGIC, found.version);
    if (rc < 0)
        return rc;
    if (found.from != from || found.to != to)
        return -EBADMSG;
    rc = sys_map(fd, sizeof(struct head), 0, flags, ret_map);
    if (rc < 0)
        return rc;
    *ret_facts = (struct head_facts){.id = found.id, .inode = st.inode};
    return 0;
}

int head_open(int dir, tram_id from, tram_id to, uint32_t flags, struct sys_map *ret_map,
              struct head_facts *ret_facts) {
    char name[FILES_NAME];
    OWNS_FD int fd = -1;

    files_head_name(name, from);
    fd = sys_file_open(dir, name, (flags & SYS_MAP_WRITE) != 0);
    return fd < 0 ? fd : head_map(fd, from, to, flags, ret_map, ret_facts);
}

int head_is_final(int dir, tram_id from) {
    char name[FILES_NAME];
    OWNS_FD int fd = -1;
    uint64_t armed;
    int rc;

    files_head_name(name, from);
    fd = sys_file_open(dir, name, false);
    rc = fd < 0 ? fd : sys_file_read(fd, &armed, sizeof(armed), offsetof(struct head, armed));
    if (rc < 0)
        return files_is_machine(rc) ? rc : 0;
    return (armed & ARMED_FINAL) != 0;
}

/* 1, 0, or a negative errno: not to know is not to say that there is none. */
static int has_generation(int dir, tram_id from, uint32_t generation) {
    char name[FILES_NAME];
    struct sys_stat st;
    int rc;

    files_stream_name(name, from, generation);
    rc = sys_stat_at(dir, name, &st);
    return rc == -ENOENT ? 0 : rc < 0 ? rc : 1;
}

/* The first that there is, going from one to the other. FILES_GENERATIONS: there is none. */
static int first_generation(int dir, tram_id from, int at, int end) {
    for (;; at += at < end ? 1 : -1) {
        int rc = has_generation(dir, from, (uint32_t) at);

        if (rc != 0)
            return rc < 0 ? rc : at;
        if (at == end)
            return FILES_GENERATIONS;
    }
}

/* By name, not by reading the directory, which has files of every sender. */
int files_generations(int dir, tram_id from, uint32_t *ret_lowest, uint32_t *ret_highest) {
    uint64_t inode;
    int lowest = head_inode(dir, from, &inode); /* made first and removed last */
    int highest;

    if (lowest == 0)
        lowest = first_generation(dir, from, 0, FILES_GENERATIONS - 1);
    if (lowest < 0 || lowest == FILES_GENERATIONS)
        return lowest < 0 ? lowest : -ENOENT;
    highest = lowest;
    if (lowest > 0 || (highest = has_generation(dir, from, 1)) == 1) /* most never grew */
        highest = first_generation(dir, from, FILES_GENERATIONS - 1, lowest);
    if (highest < 0 || highest == FILES_GENERATIONS)
        return highest < 0 ? highest : -ENOENT; /* it went this moment */
    *ret_lowest = (uint32_t) lowest;
    *ret_highest = (uint32_t) highest;
    return 0;
}

int channel_look_final(int dir, tram_id from, tram_id to, struct channel_look *ret_look) {
    struct channel_look look = {0};
    char name[FILES_NAME];
    OWNS_FD int stream_file = -1;
    OWNS_FD int head_file = -1;
    struct sys_stat st;
    struct stream stream;
    struct head head;
    int rc = files_generations(dir, from, &look.lowest, &look.highest);

    if (rc < 0)
        return rc;
    files_stream_name(name, from, look.highest);
    stream_file = sys_file_open(dir, name, false);
    files_head_name(name, from);
    head_file = sys_file_open(dir, name, false);
    if (stream_file < 0)
        return stream_file;
    if (head_file < 0)
        return head_file == -ENOENT ? -EBADMSG : head_file;
    rc = sys_stat_fd(stream_file, &st);
    if (rc < 0)
        return rc;
    /* The consumer's words first: what it consumed was accepted before. */
    rc = file_words(head_file, &head, offsetof(struct head, window));
    if (rc == 0)
        rc = file_words(stream_file, &stream, sizeof(stream));
    if (rc == 0)
        rc = check_stream(&stream, from, to, look.highest, st.size);
    if (rc < 0)
        return rc;
    if (head.magic != HEAD_MAGIC || head.from != from || head.to != to || head.id != stream.id)
        return -EBADMSG;
    look.id = stream.id;
    look.base = stream.base;
    look.capacity = stream.capacity;
    look.tail = stream.tail & ~UINT64_C(7);
    look.accepted = stream.accepted[stream.tail & 1];
    look.committed = head.committed & ~UINT64_C(7);
    look.consumed = head.consumed[head.committed & 1];
    look.head = head.head;
    look.armed = head.armed;
    look.aside = head.aside;
    look.lost = stream.lost;
    if (look.committed > look.tail || look.consumed > look.accepted || look.tail >= LAYOUT_END ||
        look.accepted >= LAYOUT_END)
        return -EBADMSG;
    *ret_look = look;
    return 0;
}

int channel_look(int dir, tram_id from, tram_id to, struct channel_look *ret_look) {
    struct channel_look look;
    int rc = channel_look_final(dir, from, to, &look);

    if (rc < 0 || (look.armed & ARMED_FINAL))
        return rc < 0 ? rc : -ENOENT;
    *ret_look = look;
    return 0;
}
