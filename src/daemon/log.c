/* SPDX-License-Identifier: MIT */
#include "daemon/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "sys/cleanup.h"
#include "sys/clock.h"
#include "sys/file.h"

const char *const level_words[] = { "error", "warning", "info", "debug", NULL };

static uint64_t most = LEVEL_INFO;
static bool for_journal;
static int file = -1;
static uint64_t file_size;

void log_set_level(uint64_t level) {
    most = level;
}

void log_set_journal(bool journal) {
    for_journal = journal;
}

int log_set_file(int dir, const char *path) {
    int fd = sys_file_open_or_make(dir, path, 0600);
    struct sys_stat now, next;

    if (fd < 0)
        return fd;
    /* The same one, when the config is read again: what it has stays. */
    if (file >= 0 && sys_stat_fd(file, &now) == 0 && sys_stat_fd(fd, &next) == 0 &&
        now.inode == next.inode) {
        (void) close(fd);
        return 0;
    }
    (void) sys_file_extend(fd, 0);
    cleanup_fd(&file);
    file = fd;
    file_size = 0;
    return 0;
}

static void put(const char *line, size_t size) {
    if (file < 0) {
        (void) !write(STDERR_FILENO, line, size); /* nobody is left to be told */
        return;
    }
    if (file_size + size > LOG_FILE_MAX) {
        (void) sys_file_extend(file, 0);
        file_size = 0;
    }
    if (sys_file_write(file, line, size, file_size) == 0)
        file_size += size;
}

/* How a line begins. */
static int head(enum level level, char *buffer, size_t size) {
    static const int severities[] = { 3, 4, 6, 7 }; /* of syslog(3) */
    uint64_t now = sys_wall();
    time_t seconds = (time_t) (now / SYS_SECOND);
    struct tm parts;
    char when[32];

    if (for_journal)
        return snprintf(buffer, size, "<%d>", severities[level]);
    (void) gmtime_r(&seconds, &parts);
    (void) strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%S", &parts);
    return snprintf(buffer, size, "%s.%03uZ tramd %s: ", when,
                    (unsigned) (now % SYS_SECOND / SYS_MILLISECOND), level_words[level]);
}

void log_line(enum level level, const char *format, ...) {
    char line[1024];
    va_list arguments;
    size_t size;
    int more;

    if ((uint64_t) level > most)
        return;
    size = (size_t) head(level, line, sizeof(line));
    va_start(arguments, format);
    more = vsnprintf(line + size, sizeof(line) - size - 1, format, arguments);
    va_end(arguments);
    if (more > 0)
        size += (size_t) more < sizeof(line) - size - 1 ? (size_t) more : sizeof(line) - size - 2;
    line[size++] = '\n';
    put(line, size);
}
