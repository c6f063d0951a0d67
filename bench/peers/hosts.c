/* SPDX-License-Identifier: MIT
 *
 * tram between two hosts: two bus directories with a tramd each, joined over loopback TCP, a node
 * on either. Each daemon runs on the core of its node, so that a core is a host. --channels:
 * messages of a stream take turns among so many senders on the one host, to one receiver on the
 * other. --one-host: the same nodes on one bus without a daemon, the floor of it all.
 */
// links: tram_shared
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <tram/tram.h>
#include <unistd.h>

#include "job.h"

#define TAG 7
#define START_NS UINT64_C(20000000000)
#define RECEIVER TRAM_ID(1, 2, 0, 1)
#define SENDER(n) TRAM_ID(1, 1, (n) >> 8, (n) & 0xff)

struct end {
    tram_node **nodes; /* of the sender: one for each channel */
    tram_node *node;
    uint32_t flags;
    unsigned who, channels, turn;
    uint64_t *seen; /* by the receiver: numbers of each channel */
};

static pid_t daemons[2];

/* ---- two hosts ------------------------------------------------------------------------------- */

static int free_port(void) {
    struct sockaddr_in at = { .sin_family = AF_INET };
    socklen_t size = sizeof(at);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), port = -1;

    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd >= 0 && bind(fd, (struct sockaddr *) &at, sizeof(at)) == 0 &&
        getsockname(fd, (struct sockaddr *) &at, &size) == 0)
        port = ntohs(at.sin_port);
    if (fd >= 0)
        (void) close(fd);
    return port;
}

static void host_dir(char *ret, size_t size, const char *dir, unsigned who) {
    (void) snprintf(ret, size, "%s/%c", dir, 'a' + who);
}

static int write_config(const struct job_opts *o, unsigned who, const int ports[2]) {
    char path[192];
    FILE *file;

    host_dir(path, sizeof(path), o->dir, who);
    if (mkdir(path, 0700) < 0)
        return -errno;
    (void) strncat(path, ".conf", sizeof(path) - strlen(path) - 1);
    file = fopen(path, "we");
    if (!file)
        return -errno;
    fprintf(file, "[cluster]\nname = bench\nhost = %c\nlisten = 127.0.0.1\nport = %d\n"
                  "spin = %s\n[log]\nlevel = warning\n", 'a' + who, ports[who],
            o->spin_daemons ? "1ms" : "0s");
    for (unsigned i = 0; i < 2; i++)
        fprintf(file, "[host %c]\naddress = 127.0.0.1:%d\nallow-ids = 1.%u.0.0/16\n", 'a' + i,
                ports[i], i + 1);
    return fclose(file) == 0 ? 0 : -errno;
}

static void start_daemon(const struct job_opts *o, unsigned who) {
    char program[256] = "", dir[192], config[200];
    ssize_t size = readlink("/proc/self/exe", program, sizeof(program) - 8);
    char *slash = size > 0 ? strrchr(program, '/') : NULL;

    daemons[who] = fork();
    if (daemons[who] != 0)
        return;
    host_dir(dir, sizeof(dir), o->dir, who);
    (void) snprintf(config, sizeof(config), "%s.conf", dir);
    (void) bench_pin(o->cpu[who]);
    (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (slash)
        (void) strcpy(slash + 1, "tramd");
    (void) execl(program, program, "--dir", dir, "--config", config, (char *) NULL);
    _exit(127);
}

/* Until it has said that it is of a cluster. */
static int await_daemon(const char *dir, unsigned who) {
    uint64_t end = bench_now() + START_NS;
    char path[224], host[192];
    struct stat st;

    host_dir(host, sizeof(host), dir, who);
    (void) snprintf(path, sizeof(path), "%s/default/tramd.sock", host);
    while (stat(path, &st) < 0) {
        if (daemons[who] < 0 || bench_now() > end || waitpid(daemons[who], NULL, WNOHANG) != 0)
            return -ECHILD;
        bench_pause(1000000);
    }
    return 0;
}

static void hosts_teardown(void) {
    for (unsigned i = 0; i < 2; i++) {
        if (daemons[i] > 0) {
            (void) kill(daemons[i], SIGKILL);
            (void) waitpid(daemons[i], NULL, 0);
        }
        daemons[i] = 0;
    }
}

static int hosts_setup(const struct job_opts *o) {
    const int ports[2] = { free_port(), free_port() };
    struct rlimit limit;
    char dir[192];
    int ret = 0;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void) setrlimit(RLIMIT_NOFILE, &limit);
    }
    for (unsigned i = 0; i < 2 && ret == 0; i++) {
        host_dir(dir, sizeof(dir), o->dir, i);
        bench_dir_remove(dir); /* of a run that was repeated */
        ret = write_config(o, i, ports);
    }
    for (unsigned i = 0; i < 2 && ret == 0 && !o->one_host; i++)
        start_daemon(o, i);
    for (unsigned i = 0; i < 2 && ret == 0 && !o->one_host; i++)
        ret = await_daemon(o->dir, i);
    if (ret < 0)
        hosts_teardown();
    return ret;
}

/* ---- the two ends ---------------------------------------------------------------------------- */

static void hosts_close(void *end) {
    struct end *e = end;

    if (!e)
        return;
    for (unsigned i = 0; e->nodes && i < e->channels; i++)
        tram_close(e->nodes[i]);
    tram_close(e->node);
    free(e->nodes);
    free(e->seen);
    free(e);
}

static tram_node *open_node(const struct job_opts *o, unsigned who, tram_id id) {
    struct tram_options options = TRAM_OPTIONS_INIT;
    tram_node *node = NULL;
    char dir[192];
    int ret;

    host_dir(dir, sizeof(dir), o->dir, o->one_host ? 0 : who);
    options.dir = dir;
    options.ring_size = o->ring;
    options.spin_ns = o->stream ? 0 : o->sleep ? TRAM_NO_SPIN : TRAM_FOREVER;
    ret = tram_open("default", id, &options, &node);
    if (ret < 0)
        fprintf(stderr, "peer-hosts: open: %s: %s\n", strerror(-ret), tram_last_error(NULL)->text);
    return node;
}

static void *hosts_open(const struct job_opts *o, unsigned who) {
    struct end *e = calloc(1, sizeof(*e));
    unsigned senders = who == 0 && o->channels > 1 ? o->channels : 0;

    if (!e)
        return NULL;
    e->who = who;
    e->channels = o->channels > 1 ? o->channels : 1;
    e->seen = calloc(e->channels, sizeof(*e->seen));
    if (senders)
        e->nodes = calloc(senders, sizeof(tram_node *));
    for (unsigned i = 0; e->nodes && i < senders; i++)
        if (!(e->nodes[i] = open_node(o, who, SENDER(i + 1))))
            senders = 0;
    if (o->channels <= 1 || who)
        e->node = open_node(o, who, who ? RECEIVER : SENDER(1));
    if (!e->seen || (!e->node && !senders)) {
        hosts_close(e);
        return NULL;
    }
    return e;
}

static int hosts_send(void *end, const void *data, size_t size) {
    struct end *e = end;
    tram_node *node = e->nodes ? e->nodes[e->turn] : e->node;
    int ret = tram_send(node, e->who ? SENDER(1) : RECEIVER, TAG, data, size, 0);

    e->turn = e->turn + 1 < e->channels ? e->turn + 1 : 0;
    return ret;
}

static int hosts_flush(void *end) {
    (void) end;
    return 0;
}

static int hosts_recv(void *end, const void **ret_data, size_t *ret_size) {
    struct end *e = end;
    struct tram_msg msg;
    unsigned channel;
    int ret = tram_recv(e->node, &msg, TRAM_FOREVER);

    if (ret < 0)
        return ret;
    channel = (msg.from & 0xffff) - 1;
    if (msg.tag != TAG || msg.attempt != 1 ||
        (e->channels > 1 && (channel >= e->channels || msg.seq != ++e->seen[channel])))
        return -EBADMSG;
    e->turn = channel;
    *ret_data = msg.data;
    *ret_size = msg.size;
    return 0;
}

/* Which message of all it is that was received. */
static uint64_t hosts_number(void *end) {
    const struct end *e = end;

    return (e->seen[e->turn] - 1) * e->channels + e->turn;
}

static const struct job_ops hosts_ops = {
    .name = "hosts",
    .modes = "tram between two hosts: two buses with a tramd each, over loopback TCP.",
    .daemons = true,
    .setup = hosts_setup,
    .teardown = hosts_teardown,
    .open = hosts_open,
    .send = hosts_send,
    .flush = hosts_flush,
    .recv = hosts_recv,
    .number = hosts_number,
    .close = hosts_close,
};

JOB_MAIN(hosts_ops)
