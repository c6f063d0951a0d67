/* SPDX-License-Identifier: MIT */
#include "daemon/notify.h"

#include <stdlib.h>
#include <string.h>

#include "daemon/log.h"
#include "sys/process.h"
#include "sys/socket.h"

void notify(const char *lines) {
    const char *path = getenv("NOTIFY_SOCKET");
    int rc;

    if (!path || !*path)
        return;
    rc = sys_tell(path, lines, strlen(lines));
    if (rc < 0)
        log_line(LEVEL_WARNING, "cannot tell %s: %s", path, strerror(-rc));
}

int64_t notify_watchdog_ns(void) {
    const char *period = getenv("WATCHDOG_USEC");
    const char *pid = getenv("WATCHDOG_PID");

    if (!period || (pid && strtoull(pid, NULL, 10) != sys_pid()))
        return 0;
    return (int64_t) (strtoull(period, NULL, 10) % (UINT64_C(1) << 50)) * 1000 / 2;
}
