/* SPDX-License-Identifier: MIT
 *
 * tram doctor: who removes files behind one's back. logind removes what a user has in /dev/shm when
 * the last session ends, /run/user/UID goes as a whole, and old files in /tmp are cleaned away.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/doctor.h"

#define SYSTEM_USERS 999 /* the highest of them, unless login.defs says otherwise */

/* ---- logind.conf ---------------------------------------------------------------------------- */

/* Where logind looks, the first one being the strongest. */
static const char *const conf_dirs[] = { "/etc/systemd", "/run/systemd", "/usr/local/lib/systemd",
                                         "/usr/lib/systemd", "/lib/systemd" };
#define CONF_DIRS (sizeof(conf_dirs) / sizeof(conf_dirs[0]))

#define DROP_INS 64

struct drop_ins {
    size_t count;
    char names[DROP_INS][64];
};

static char *trimmed(char *text) {
    char *end = text + strlen(text);

    text += strspn(text, " \t\r");
    while (end > text && strchr(" \t\r", end[-1]))
        *--end = '\0';
    return text;
}

/* What a file says about RemoveIPC, if anything. */
static void conf_read(const struct doctor *doctor, const char *path, bool *ret_remove,
                      char source[CLI_PATH]) {
    static const char *const yes[] = { "1", "yes", "y", "true", "t", "on" };
    static const char *const no[] = { "0", "no", "n", "false", "f", "off" };
    bool login = false;
    char text[16384];

    if (doctor_read(doctor, path, text, sizeof(text)) < 0)
        return;
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        char *value = strchr(line, '=');

        line = trimmed(line);
        if (line[0] == '[')
            login = strcmp(line, "[Login]") == 0;
        if (!login || !value || value < line)
            continue;
        *value = '\0';
        value = trimmed(value + 1);
        if (strcmp(trimmed(line), "RemoveIPC") != 0)
            continue;
        for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++) {
            if (strcasecmp(value, yes[i]) != 0 && strcasecmp(value, no[i]) != 0)
                continue;
            *ret_remove = strcasecmp(value, yes[i]) == 0;
            (void) snprintf(source, CLI_PATH, "%s", path);
        }
    }
}

static int drop_in_entry(void *context, const char *name) {
    struct drop_ins *found = context;
    size_t size = strlen(name);

    if (size < 6 || size >= sizeof(found->names[0]) || strcmp(name + size - 5, ".conf") != 0)
        return 0;
    for (size_t i = 0; i < found->count; i++)
        if (strcmp(found->names[i], name) == 0)
            return 0; /* a stronger directory has one of this name */
    if (found->count < DROP_INS)
        memcpy(found->names[found->count++], name, size + 1);
    return 0;
}

static int by_name(const void *left, const void *right) {
    return strcmp(left, right);
}

/* Whether logind removes IPC, and which file says so ("": it is the default). */
static bool remove_ipc(const struct doctor *doctor, char source[CLI_PATH]) {
    static struct drop_ins found;
    char path[CLI_PATH], probe[8];
    bool remove = true;

    source[0] = '\0';
    found.count = 0;
    for (size_t i = 0; i < CONF_DIRS; i++) {
        (void) snprintf(path, sizeof(path), "%s/logind.conf", conf_dirs[i]);
        if (doctor_read(doctor, path, probe, sizeof(probe)) < 0)
            continue;
        conf_read(doctor, path, &remove, source);
        break;
    }
    for (size_t i = 0; i < CONF_DIRS; i++) {
        char below[64];

        (void) snprintf(below, sizeof(below), "%s/logind.conf.d", conf_dirs[i]);
        doctor_path(doctor, below, path, sizeof(path));
        (void) machine_each(path, drop_in_entry, &found); /* there need not be one */
    }
    qsort(found.names, found.count, sizeof(found.names[0]), by_name);
    for (size_t i = 0; i < found.count; i++) {
        for (size_t j = 0; j < CONF_DIRS; j++) {
            (void) snprintf(path, sizeof(path), "%s/logind.conf.d/%.63s", conf_dirs[j],
                            found.names[i]);
            if (doctor_read(doctor, path, probe, sizeof(probe)) < 0)
                continue;
            conf_read(doctor, path, &remove, source);
            break;
        }
    }
    return remove;
}

/* ---- who is spared -------------------------------------------------------------------------- */

static bool there(const struct doctor *doctor, const char *path) {
    struct machine_file file;
    char full[CLI_PATH];

    doctor_path(doctor, path, full, sizeof(full));
    return machine_file(full, &file) == 0;
}

static void session_logind(struct doctor *doctor) {
    uint32_t user = machine_user();
    char name[64], linger[128], source[CLI_PATH];

    machine_user_name(user, name, sizeof(name));
    (void) snprintf(linger, sizeof(linger), "/var/lib/systemd/linger/%.63s", name);
    if (user <= SYSTEM_USERS) {
        doctor_say(doctor, DOCTOR_OK, "logind", "%s is a system user, whose files it spares", name);
    } else if (!there(doctor, "/run/systemd/seats")) {
        doctor_say(doctor, DOCTOR_OK, "logind", "it does not run here");
    } else if (!remove_ipc(doctor, source)) {
        doctor_say(doctor, DOCTOR_OK, "logind", "RemoveIPC=no in %.200s", source);
    } else if (there(doctor, linger)) {
        doctor_say(doctor, DOCTOR_OK, "logind", "%s lingers, so its files stay", name);
    } else {
        doctor_say(doctor, DOCTOR_WARNING, "logind", "RemoveIPC is on (%.200s) for user %s",
                   source[0] ? source : "the default", name);
        doctor_why(doctor, "when the last session of %s ends, also one over ssh, logind removes "
                           "all that %s has in /dev/shm: this bus, with what waits, and while "
                           "nodes run", name, name);
        doctor_do(doctor, "loginctl enable-linger %s; or RemoveIPC=no in /etc/systemd/logind.conf, "
                          "and systemctl restart systemd-logind", name);
    }
}

void doctor_session(struct doctor *doctor) {
    char path[CLI_PATH];

    if (machine_place(cli_bus_path(), path) < 0)
        return; /* doctor_bus() and doctor_space() have said why */
    if (strncmp(path, "/dev/shm/", 9) == 0) {
        session_logind(doctor);
    } else if (strncmp(path, "/run/user/", 10) == 0) {
        doctor_say(doctor, DOCTOR_WARNING, "logind", "the bus lies below /run/user");
        doctor_why(doctor, "logind unmounts that, bus and all, when the user's last session ends");
        doctor_do(doctor, "loginctl enable-linger; or set TRAM_DIR to a place below /dev/shm");
    } else if (strncmp(path, "/tmp/", 5) == 0 || strncmp(path, "/var/tmp/", 9) == 0) {
        doctor_say(doctor, DOCTOR_WARNING, "tmpfiles", "the bus lies below %s",
                   path[1] == 't' ? "/tmp" : "/var/tmp");
        doctor_why(doctor, "systemd-tmpfiles removes files there that look old, and a ring that is "
                           "written through a mapping looks as old as it is");
        doctor_do(doctor, "unset TRAM_DIR, or set it to a place below /dev/shm; or echo 'x %s' > "
                          "/etc/tmpfiles.d/tram.conf (as root)", cli_buses_path());
    }
}
