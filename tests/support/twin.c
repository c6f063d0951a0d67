/* SPDX-License-Identifier: MIT */
#include "support/twin.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "harness.h"
#include "support/kit.h"

static const char *const hosts[] = {"a", "b"};

/* Each process has loopback addresses of its own, so that no port is anybody else's. */
static void address_of(int host, char text[32]) {
    unsigned number = (unsigned) getpid();

    (void) snprintf(text, 32, "127.%u.%u.%u",
                    130 + (number >> 15 & 31) + 32 * (unsigned) (host & 1), number >> 8 & 127,
                    number & 255);
}

static void configure(struct twin *twin, int host) {
    char own[32], a[32], b[32], config[sizeof(twin->config[0])];
    FILE *file;

    address_of(host, own);
    address_of(0, a);
    address_of(1, b);
    (void) snprintf(config, sizeof(config), "%s.conf", twin->dir[host]);
    memcpy(twin->config[host], config, sizeof(config));
    file = fopen(twin->config[host], "w");
    CHECK(file);
    CHECK(fprintf(file,
                  "[log]\nlevel = debug\n[cluster]\nname = twin\nhost = %s\nlisten = %s\n"
                  "insecure = yes\nheartbeat = 200ms\n"
                  "[host a]\naddress = %s\nallow-ids = 1.1.5.2 1.2.0.0/16\n"
                  "[host b]\naddress = %s\nallow-ids = 1.1.5.1 1.3.0.0/16\n",
                  hosts[host], own, a, b) > 0);
    CHECK_EQ(fclose(file), 0);
}

static bool is_there(const struct twin *twin, int host) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = CHECK_OK(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    int rc;

    CHECK(snprintf(address.sun_path, sizeof(address.sun_path), "%s/default/tramd.sock",
                   twin->dir[host]) < (int) sizeof(address.sun_path));
    rc = connect(fd, (struct sockaddr *) &address, sizeof(address));
    (void) close(fd);
    return rc == 0;
}

void twin_run(struct twin *twin, int host) {
    int64_t until = kit_now() + kit_patience(10);
    char log[320], cluster[320];
    pid_t pid;

    CHECK_EQ(twin->daemon[host], 0);
    pid = CHECK_OK(fork());
    if (pid == 0) {
        int fd;

        (void) snprintf(log, sizeof(log), "%s.log", twin->dir[host]);
        fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
        (void) dup2(fd, 2);
        (void) close(fd);
        (void) setenv("TRAM_DIR", twin->dir[host], 1);
        (void) execl(test_program("../bin/tramd"), "tramd", "--config", twin->config[host], NULL);
        _exit(127);
    }
    twin->daemon[host] = pid;
    (void) snprintf(cluster, sizeof(cluster), "%s/default/cluster", twin->dir[host]);
    while (access(cluster, F_OK) < 0 || !is_there(twin, host)) { /* or a node asks nobody */
        CHECK(kit_now() < until);
        kit_pause();
    }
}

void twin_kill(struct twin *twin, int host) {
    test_kill(twin->daemon[host]);
    twin->daemon[host] = 0;
}

void twin_show(const struct twin *twin) {
    for (int host = 0; host < 2; host++) {
        char path[320], line[1000];
        FILE *file;

        (void) snprintf(path, sizeof(path), "%s.log", twin->dir[host]);
        file = fopen(path, "r");
        while (file && fgets(line, sizeof(line), file))
            (void) fprintf(stderr, "%s: %s", hosts[host], line);
        if (file)
            (void) fclose(file);
    }
}

void twin_be(const struct twin *twin, int host) {
    CHECK_OK(setenv("TRAM_DIR", twin->dir[host], 1));
}

void twin_start(struct twin *twin) {
    static int count;

    *twin = (struct twin){0};
    count++;
    for (int host = 0; host < 2; host++) {
        CHECK(snprintf(twin->dir[host], sizeof(twin->dir[host]), "%s/%d%s", test_dir(), count,
                       hosts[host]) < (int) sizeof(twin->dir[host]));
        CHECK_OK(mkdir(twin->dir[host], 0700));
        configure(twin, host);
    }
    twin_run(twin, 0);
    twin_run(twin, 1);
    twin_be(twin, 0);
}
