/* SPDX-License-Identifier: MIT
 *
 * tram doctor: memory, limits, kernel.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/doctor.h"

#define MIB (UINT64_C(1) << 20)
#define RING (4 * MIB)    /* of the default size, full */
#define SPACE_LOW (64 * MIB)
#define FILES_OWN 32      /* descriptors of a process beside its channels */
#define MAPPINGS_OWN 1000 /* mappings, likewise */

/* ---- space ---------------------------------------------------------------------------------- */

static bool exists(const struct doctor *doctor, const char *path) {
    struct machine_file file;
    char full[CLI_PATH];

    doctor_path(doctor, path, full, sizeof(full));
    return machine_file(full, &file) == 0;
}

static void more_space(struct doctor *doctor, const char *point) {
    if (exists(doctor, "/.dockerenv") || exists(doctor, "/run/.containerenv"))
        doctor_do(doctor, "docker run --shm-size=1g; or mount a larger tmpfs into the container, "
                          "and set TRAM_DIR to it");
    else
        doctor_do(doctor, "mount -o remount,size=2g %s (as root), and size=2g in /etc/fstab; or "
                          "see what fills it: du -xsh %s/* | sort -h", point, point);
}

static void space_bytes(struct doctor *doctor, const char *point) {
    const struct machine_space *space = &doctor->space;
    char free_text[32], total[32], held[32];
    enum severity severity = DOCTOR_OK;

    if (space->free < RING)
        severity = DOCTOR_PROBLEM;
    else if (space->total <= SPACE_LOW || space->free < SPACE_LOW ||
             space->free < space->total / 20)
        severity = DOCTOR_WARNING;
    doctor_say(doctor, severity, "space", "%s has %s free of %s; this bus holds %s", point,
               doctor_bytes(space->free, free_text), doctor_bytes(space->total, total),
               doctor_bytes(doctor->memory, held));
    if (severity == DOCTOR_OK)
        return;
    if (space->total <= SPACE_LOW)
        doctor_why(doctor, "64 MB is what Docker gives a container; %" PRIu64 " rings of 4 MiB "
                           "that fill up take all of it, and then sends return -ENOSPC",
                   space->total / RING);
    else
        doctor_why(doctor, "rings take memory as messages wait in them; when there is none left, "
                           "sends return -ENOSPC, and new nodes cannot open");
    more_space(doctor, point);
}

static void space_inodes(struct doctor *doctor, const char *point) {
    const struct machine_space *space = &doctor->space;
    enum severity severity = space->inodes_free < 16     ? DOCTOR_PROBLEM
                             : space->inodes_free < 1000 ? DOCTOR_WARNING
                                                         : DOCTOR_OK;

    if (space->inodes == 0)
        return;
    doctor_say(doctor, severity, "inodes", "%" PRIu64 " of %" PRIu64 " are free on %s",
               space->inodes_free, space->inodes, point);
    if (severity == DOCTOR_OK)
        return;
    doctor_why(doctor, "a node takes 4 inodes, a channel 2; without them opens and first messages "
                       "fail with -ENOSPC");
    doctor_do(doctor, "mount -o remount,nr_inodes=1m %s (as root)", point);
}

/* "huge=" of the mount, or "" */
static void huge_option(const char *options, char value[16]) {
    const char *at = strstr(options, "huge=");

    value[0] = '\0';
    if (at && (at == options || at[-1] == ','))
        (void) snprintf(value, 16, "%.*s", (int) strcspn(at + 5, ","), at + 5);
}

static void space_huge(struct doctor *doctor, const struct machine_mount *mount) {
    char option[16], setting[128];

    huge_option(mount->options, option);
    if (doctor_read(doctor, "/sys/kernel/mm/transparent_hugepage/shmem_enabled", setting,
                    sizeof(setting)) < 0)
        setting[0] = '\0';
    if (strstr(setting, "[force]"))
        (void) snprintf(option, sizeof(option), "force");
    if (strstr(setting, "[deny]") ||
        (strcmp(option, "always") != 0 && strcmp(option, "within_size") != 0 &&
         strcmp(option, "force") != 0))
        return;
    doctor_say(doctor, DOCTOR_WARNING, "huge", "tmpfs gives huge pages (%s) at %s", option,
               mount->point);
    doctor_why(doctor, "each door and each ring then takes memory in pieces of 2 MiB: a channel "
                       "with one message 2 to 4 MiB instead of 16 KiB");
    if (strcmp(option, "force") == 0)
        doctor_do(doctor,
                  "echo advise > /sys/kernel/mm/transparent_hugepage/shmem_enabled (as root)");
    else
        doctor_do(doctor, "mount -o remount,huge=never %s (as root)", mount->point);
}

/* What kind of file system that is. */
static void space_kind(struct doctor *doctor, const struct machine_mount *mount) {
    static const char *const disks[] = { "ext4", "ext3", "ext2", "xfs", "btrfs", "f2fs", "zfs" };

    if (doctor->space.read_only) {
        doctor_say(doctor, DOCTOR_PROBLEM, "readonly", "%s is mounted read-only", mount->point);
        doctor_why(doctor, "nodes cannot open, channels cannot be made");
        doctor_do(doctor, "mount -o remount,rw %s (as root); or set TRAM_DIR to another place",
                  mount->point);
    }
    if (doctor->space.tmpfs) {
        space_huge(doctor, mount);
        return;
    }
    for (size_t i = 0; i < sizeof(disks) / sizeof(disks[0]); i++) {
        if (strcmp(mount->type, disks[i]) != 0)
            continue;
        doctor_say(doctor, DOCTOR_NOTE, "filesystem", "the bus lies on a disk: %s (%s)",
                   mount->point, mount->type);
        doctor_why(doctor, "it survives the machine, and is slower: each message has a checksum, "
                           "and what is written goes to the disk some time");
        doctor_do(doctor, "for speed, unset TRAM_DIR, or set it to a place below /dev/shm");
        return;
    }
    doctor_say(doctor, DOCTOR_WARNING, "filesystem", "the bus lies on %s (%s)", mount->point,
               mount->type);
    doctor_why(doctor, "rings are files that two processes map at once, and locks in them say who "
                       "lives: that is known to work on tmpfs and on local disks only");
    doctor_do(doctor, "unset TRAM_DIR, or set it to a place below /dev/shm");
}

void doctor_space(struct doctor *doctor) {
    struct machine_mount mount = { .point = "/", .type = "?" };
    char mounts[CLI_PATH], place[CLI_PATH];
    int rc = machine_space(cli_bus_path(), &doctor->space);

    if (rc < 0) {
        doctor_say(doctor, DOCTOR_PROBLEM, "space", "%s cannot be looked at: %s", cli_bus_path(),
                   strerror(-rc));
        return;
    }
    doctor_path(doctor, "/proc/self/mounts", mounts, sizeof(mounts));
    if (machine_place(cli_bus_path(), place) < 0 || machine_mount(mounts, place, &mount) < 0)
        (void) snprintf(mount.type, sizeof(mount.type), "%s", doctor->space.tmpfs ? "tmpfs" : "?");
    space_bytes(doctor, mount.point);
    space_inodes(doctor, mount.point);
    space_kind(doctor, &mount);
}

/* ---- memory --------------------------------------------------------------------------------- */

/* A value of /proc/meminfo in bytes; UINT64_MAX: not there. */
static uint64_t meminfo(const char *text, const char *name) {
    const char *at = strstr(text, name);

    if (!at || (at != text && at[-1] != '\n') || at[strlen(name)] != ':')
        return UINT64_MAX;
    return strtoull(at + strlen(name) + 1, NULL, 10) * 1024;
}

static void memory_available(struct doctor *doctor, const char *text) {
    uint64_t available = meminfo(text, "MemAvailable");
    char a[32], b[32];

    if (available == UINT64_MAX || !doctor->space.tmpfs ||
        available >= doctor->space.free / 2)
        return;
    doctor_say(doctor, available < SPACE_LOW ? DOCTOR_WARNING : DOCTOR_NOTE, "memory",
               "the machine has %s to give, the tmpfs would take %s more",
               doctor_bytes(available, a), doctor_bytes(doctor->space.free, b));
    doctor_why(doctor, "before a send says -ENOSPC, the machine is out of memory and kills "
                       "processes");
    doctor_do(doctor, "a smaller tmpfs; or a smaller ring_size; or more memory");
}

static void memory_swap(struct doctor *doctor) {
    char text[512];
    const char *line;

    if (!doctor->space.tmpfs || doctor_read(doctor, "/proc/swaps", text, sizeof(text)) < 0)
        return;
    line = strchr(text, '\n');
    if (!line || line[1] == '\0')
        return;
    doctor_say(doctor, DOCTOR_NOTE, "swap", "there is swap: %.*s", (int) strcspn(line + 1, " \t"),
               line + 1);
    doctor_why(doctor, "what waits in a ring for long can be swapped out, and is slow to receive");
    doctor_do(doctor, "TRAM_OPEN_LOCK in nodes that must not wait; or mount -o remount,noswap "
                      "(Linux 6.4); or swapoff -a");
}

static void memory_overcommit(struct doctor *doctor, const char *text) {
    uint64_t limit = meminfo(text, "CommitLimit"), used = meminfo(text, "Committed_AS");
    char a[32], b[32];

    if (doctor_number(doctor, "/proc/sys/vm/overcommit_memory", 0) != 2 || limit == UINT64_MAX ||
        used == UINT64_MAX)
        return;
    doctor_say(doctor, limit < used + doctor->space.free ? DOCTOR_WARNING : DOCTOR_NOTE,
               "overcommit", "vm.overcommit_memory is 2: %s of %s are committed",
               doctor_bytes(used, a), doctor_bytes(limit, b));
    doctor_why(doctor, "memory of rings is committed as it is taken: sends fail with -ENOSPC or "
                       "-ENOMEM before the tmpfs is full");
    doctor_do(doctor, "sysctl vm.overcommit_memory=0; or a higher vm.overcommit_ratio");
}

/* The lowest limit on the way up from our cgroup, and what is used there. Version 2 has one tree,
 * version 1 one per controller. */
static bool cgroup_limit(const struct doctor *doctor, const char *controller, const char *names[4],
                         uint64_t *ret_limit, uint64_t *ret_used) {
    char text[4096], path[CLI_PATH], file[CLI_PATH + 256], mine[64];
    uint64_t lowest = UINT64_MAX;

    if (doctor_read(doctor, "/proc/self/cgroup", text, sizeof(text)) < 0)
        return false;
    (void) snprintf(mine, sizeof(mine), ":%s:", controller);
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        bool two = strncmp(line, "0::", 3) == 0;
        char *at = two ? line + 3 : strstr(line, mine);
        char base[96] = "/sys/fs/cgroup";

        if (!at)
            continue;
        at += two ? 0 : strlen(mine);
        if (!two)
            (void) snprintf(base, sizeof(base), "/sys/fs/cgroup/%s", controller);
        (void) snprintf(path, sizeof(path), "%s", at);
        for (char *slash = path + strlen(path); slash; slash = strrchr(path, '/')) {
            uint64_t limit;

            *slash = '\0';
            (void) snprintf(file, sizeof(file), "%s%s/%s", base, path, names[two ? 0 : 2]);
            limit = doctor_number(doctor, file, UINT64_MAX);
            if (limit >= lowest || limit >= UINT64_MAX / 4)
                continue;
            lowest = limit;
            (void) snprintf(file, sizeof(file), "%s%s/%s", base, path, names[two ? 1 : 3]);
            *ret_used = doctor_number(doctor, file, 0);
        }
    }
    *ret_limit = lowest;
    return lowest != UINT64_MAX;
}

static void memory_cgroup(struct doctor *doctor) {
    const char *names[4] = { "memory.max", "memory.current", "memory.limit_in_bytes",
                             "memory.usage_in_bytes" };
    uint64_t limit, used, left;
    char a[32], b[32], c[32];

    if (!doctor->space.tmpfs || !cgroup_limit(doctor, "memory", names, &limit, &used))
        return;
    left = limit > used ? limit - used : 0;
    if (left >= doctor->space.free) {
        doctor_say(doctor, DOCTOR_OK, "cgroup", "limit of %s, %s used", doctor_bytes(limit, a),
                   doctor_bytes(used, b));
        return;
    }
    doctor_say(doctor, DOCTOR_WARNING, "cgroup",
               "the memory limit of the cgroup is %s with %s used; the tmpfs has %s free",
               doctor_bytes(limit, a), doctor_bytes(used, b), doctor_bytes(doctor->space.free, c));
    doctor_why(doctor, "what lies in a tmpfs counts for the cgroup that first touched it, mostly "
                       "the sender's: it is killed before a send can say -ENOSPC");
    doctor_do(doctor, "a limit for the tmpfs and the processes: docker run --memory, MemoryMax=; "
                      "or a smaller tmpfs");
}

void doctor_memory(struct doctor *doctor) {
    char text[4096];

    if (doctor_read(doctor, "/proc/meminfo", text, sizeof(text)) < 0)
        text[0] = '\0';
    memory_available(doctor, text);
    memory_swap(doctor);
    memory_overcommit(doctor, text);
    memory_cgroup(doctor);
}

/* ---- limits --------------------------------------------------------------------------------- */

static const char *limit_text(uint64_t value, char text[32]) {
    if (value == MACHINE_NONE)
        (void) snprintf(text, 32, "unlimited");
    else
        (void) snprintf(text, 32, "%" PRIu64, value);
    return text;
}

/* What the node with the most channels would need, if it ran in a process of this limit. */
static enum severity enough(uint64_t limit, uint64_t needed, uint64_t usual) {
    if (limit < needed)
        return DOCTOR_PROBLEM;
    return limit < usual || limit / 2 < needed ? DOCTOR_WARNING : DOCTOR_OK;
}

static void limit_files(struct doctor *doctor) {
    uint64_t soft, hard, needed = doctor->node_channels + FILES_OWN;
    char a[32], b[32], id[TRAM_ID_TEXT];
    enum severity severity;

    if (machine_limit(MACHINE_FILES, &soft, &hard) < 0)
        return;
    severity = enough(soft, needed, 256);
    doctor_say(doctor, severity, "descriptors", "%s a process (up to %s)", limit_text(soft, a),
               limit_text(hard, b));
    if (severity == DOCTOR_OK)
        return;
    if (doctor->busiest != 0)
        doctor_why(doctor, "a channel takes a descriptor at its sending end; node %s has %" PRIu64
                           " channels, so its process needs some %" PRIu64,
                   tram_id_format(doctor->busiest, id), doctor->node_channels, needed);
    else
        doctor_why(doctor, "a node takes 4 descriptors and one for each that it sends to");
    doctor_do(doctor, "ulimit -n 65536; or LimitNOFILE=65536 in the unit; or docker run --ulimit "
                      "nofile=65536");
}

static void limit_mappings(struct doctor *doctor) {
    uint64_t limit = doctor_number(doctor, "/proc/sys/vm/max_map_count", 65530);
    uint64_t needed = 3 * doctor->node_channels + MAPPINGS_OWN;
    enum severity severity = enough(limit, needed, 16384);

    doctor_say(doctor, severity, "mappings", "%" PRIu64 " a process, for some %" PRIu64 " channels",
               limit, limit > MAPPINGS_OWN ? (limit - MAPPINGS_OWN) / 3 : 0);
    if (severity == DOCTOR_OK)
        return;
    doctor_why(doctor, "a channel takes three mappings at each end, and the busiest node here has "
                       "%" PRIu64 " channels; without them opens, sends and receives fail with "
                       "-ENOMEM", doctor->node_channels);
    doctor_do(doctor, "sysctl -w vm.max_map_count=262144 (as root), and in /etc/sysctl.d/");
}

static void limit_rest(struct doctor *doctor) {
    uint64_t soft, hard;
    char text[32];

    if (machine_limit(MACHINE_LOCKED, &soft, &hard) == 0 && soft < 16 * RING) {
        doctor_say(doctor, DOCTOR_NOTE, "memlock", "%s may be locked a process",
                   doctor_bytes(soft, text));
        doctor_why(doctor, "only nodes with TRAM_OPEN_LOCK need it: a ring of 4 MiB each time, or "
                           "the send returns -ENOMEM or -EPERM");
        doctor_do(doctor, "ulimit -l unlimited; or LimitMEMLOCK=infinity in the unit; or docker "
                          "run --ulimit memlock=-1");
    }
    if (machine_limit(MACHINE_SIZE, &soft, &hard) == 0 && soft < RING + 65536) {
        doctor_say(doctor, DOCTOR_PROBLEM, "filesize", "files may have %s at most",
                   doctor_bytes(soft, text));
        doctor_why(doctor, "a ring of 4 MiB is a file of 4,259,840 bytes; who makes it gets "
                           "SIGXFSZ, which kills");
        doctor_do(doctor, "ulimit -f unlimited; or LimitFSIZE=infinity in the unit");
    }
    if (machine_limit(MACHINE_ADDRESS, &soft, &hard) == 0 && soft != MACHINE_NONE) {
        doctor_say(doctor, soft < 64 * RING ? DOCTOR_PROBLEM : DOCTOR_WARNING, "address",
                   "a process may have %s of address space", doctor_bytes(soft, text));
        doctor_why(doctor, "each ring of 4 MiB is mapped twice, 8 MiB at each end, whatever memory "
                           "it has: %" PRIu64 " channels use it up", soft / (2 * RING));
        doctor_do(doctor, "ulimit -v unlimited; or LimitAS=infinity in the unit");
    }
}

static void limit_processes(struct doctor *doctor) {
    const char *names[4] = { "pids.max", "pids.current", "pids.max", "pids.current" };
    uint64_t limit, used, most = doctor_number(doctor, "/proc/sys/kernel/pid_max", 32768);

    if (!cgroup_limit(doctor, "pids", names, &limit, &used) || limit >= used + 64) {
        doctor_say(doctor, most < 1024 ? DOCTOR_WARNING : DOCTOR_OK, "processes",
                   "up to %" PRIu64 " on this machine", most);
        if (most < 1024) {
            doctor_why(doctor, "nodes are processes, and so is all that else runs here");
            doctor_do(doctor, "sysctl -w kernel.pid_max=32768 (as root)");
        }
        return;
    }
    doctor_say(doctor, limit > used ? DOCTOR_WARNING : DOCTOR_PROBLEM, "processes",
               "%" PRIu64 " of %" PRIu64 " that the cgroup allows are there", used, limit);
    doctor_why(doctor, "nodes are processes, and what starts them cannot start more");
    doctor_do(doctor, "docker run --pids-limit=4096; or TasksMax=4096 in the unit");
}

void doctor_limits(struct doctor *doctor) {
    limit_files(doctor);
    limit_mappings(doctor);
    limit_processes(doctor);
    limit_rest(doctor);
}

/* ---- the kernel ----------------------------------------------------------------------------- */

static void kernel_clock(struct doctor *doctor) {
    uint64_t cost = machine_clock_cost();
    char name[64];
    enum severity severity = cost > 200 ? DOCTOR_WARNING : DOCTOR_OK;

    if (doctor_read(doctor, "/sys/devices/system/clocksource/clocksource0/current_clocksource",
                    name, sizeof(name)) < 0)
        (void) snprintf(name, sizeof(name), "unknown");
    if (strcmp(name, "hpet") == 0 || strcmp(name, "acpi_pm") == 0 || strcmp(name, "jiffies") == 0)
        severity = DOCTOR_WARNING;
    doctor_say(doctor, severity, "clock", "source %s: a read takes %" PRIu64 " ns", name, cost);
    if (severity == DOCTOR_OK)
        return;
    doctor_why(doctor, "a good one takes 20 to 60; waits that spin, time-outs and TRAM_OPEN_STAMP "
                       "read the clock");
    doctor_do(doctor, "echo tsc > /sys/devices/system/clocksource/clocksource0/"
                      "current_clocksource (as root), if available_clocksource has it");
}

void doctor_kernel(struct doctor *doctor) {
    char release[65] = "?", text[128];
    unsigned major = 0, minor = 0;
    bool locks = machine_has_locks(cli_bus_path());

    if (machine_kernel(release, &major, &minor) == 0 && doctor->root[0] &&
        doctor_read(doctor, "/proc/sys/kernel/osrelease", text, sizeof(text)) == 0)
        (void) snprintf(release, sizeof(release), "%.64s", text);
    if (!locks) {
        doctor_say(doctor, DOCTOR_PROBLEM, "kernel", "%s: no OFD locks on files at %s", release,
                   cli_bus_path());
        doctor_why(doctor, "a node's ID is such a lock: no node can open");
        doctor_do(doctor, "Linux 3.15 or later, and a local file system");
    }
    if (locks)
        doctor_say(doctor, DOCTOR_OK, "kernel", "%s: OFD locks", release);
    kernel_clock(doctor);
}
