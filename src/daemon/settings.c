/* SPDX-License-Identifier: MIT */
#include "daemon/settings.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/log.h"
#include "sys/cleanup.h"
#include "sys/clock.h"
#include "sys/file.h"
#include "wire/config.h"

#define FILE_MAX (UINT64_C(1) << 20)

#define AT(member) offsetof(struct settings, member)

static const struct config_key keys[] = {
    { "daemon", "idle", CONFIG_TIME, AT(idle_ns), SYS_SECOND / 10, 86400 * SYS_SECOND, NULL },
    { "log", "level", CONFIG_WORD, AT(level), 0, 0, level_words },
    { "log", "file", CONFIG_TEXT, AT(log_file), 0, sizeof(((struct settings *) NULL)->log_file),
      NULL },
    { "limits", "connections", CONFIG_NUMBER, AT(connections), 1, 1000000, NULL },
    { "limits", "names", CONFIG_NUMBER, AT(names), 1, 1000000, NULL },
    { "limits", "names-each", CONFIG_NUMBER, AT(names_each), 1, 1000000, NULL },
    { "limits", "watches-each", CONFIG_NUMBER, AT(watches_each), 1, 1000000, NULL },
    { "limits", "queue", CONFIG_SIZE, AT(queue), 128 << 10, UINT64_C(1) << 30, NULL },
    { "limits", "greeting", CONFIG_TIME, AT(greeting_ns), SYS_SECOND / 10, 3600 * SYS_SECOND,
      NULL },
    { NULL, NULL, CONFIG_TEXT, 0, 0, 0, NULL },
};

void settings_default(struct settings *settings) {
    *settings = (struct settings){
        .level = LEVEL_INFO,
        .idle_ns = 30 * SYS_SECOND,
        .connections = 4096,
        .names = 16384,
        .names_each = 4096,
        .watches_each = 4096,
        .queue = UINT64_C(1) << 20,
        .greeting_ns = 10 * SYS_SECOND,
    };
}

int settings_read(const char *path, struct settings *ret_settings, struct wrong *wrong) {
    OWNS_FD int fd = sys_file_open(AT_FDCWD, path, false);
    OWNS_MEMORY char *text = NULL;
    struct settings settings;
    struct sys_stat st;
    int rc = fd < 0 ? fd : sys_stat_fd(fd, &st);

    wrong->line = 0;
    if (rc == 0 && st.is_directory)
        rc = -EISDIR;
    if (rc == 0 && st.size > FILE_MAX)
        rc = -EFBIG;
    if (rc == 0) {
        text = malloc(st.size + 1);
        rc = text ? sys_file_read(fd, text, st.size, 0) : -ENOMEM;
    }
    if (rc < 0)
        return wrong_set(wrong, rc, "%s", strerror(-rc));
    settings_default(&settings);
    rc = config_parse(text, st.size, keys, &settings, wrong);
    if (rc == 0)
        *ret_settings = settings;
    return rc;
}
