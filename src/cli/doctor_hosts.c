/* SPDX-License-Identifier: MIT
 *
 * tram doctor: the cluster that this bus is part of, as its daemon tells.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/ask.h"
#include "cli/doctor.h"

#define TIMEOUT_NS INT64_C(2000000000)
#define CLOCK_MOST UINT64_C(1000000000) /* between two hosts */
#define DAY INT64_C(86400)
#define SOON (30 * DAY)

/* A node that runs somewhere. */
struct runs {
    tram_id id;
    char host[64];
};

struct cluster_look {
    struct doctor *doctor;
    unsigned hosts, links, down;
    char version[64]; /* of the daemon here */
    struct runs *runs;
    size_t count, room;
};

/* ---- keys ------------------------------------------------------------------------------------ */

/* A certificate that ends then (0: there is none), of `whose`. */
static void look_ends(struct cluster_look *look, int64_t ends, const char *whose,
                      const char *host) {
    int64_t left = ends - (int64_t) time(NULL);

    if (ends == 0 || left >= SOON)
        return;
    if (left < 0)
        doctor_say(look->doctor, DOCTOR_PROBLEM, "keys", "the certificate of %s has ended", whose);
    else
        doctor_say(look->doctor, DOCTOR_WARNING, "keys",
                   "the certificate of %s ends in %" PRId64 " days", whose, left / DAY);
    doctor_why(look->doctor, "without it the host is no part of the cluster");
    doctor_do(look->doctor, "tram keys renew %s, where the CA is; then its bundle to the host, and "
                            "SIGHUP to its tramd", host);
}

static void look_revoked(struct cluster_look *look, const char *error) {
    if (!strstr(error, "revoked"))
        return;
    doctor_say(look->doctor, DOCTOR_PROBLEM, "keys", "a certificate is revoked: %.200s", error);
    doctor_why(look->doctor, "who is on the list of the revoked is let in by no host");
    doctor_do(look->doctor, "tram keys show, where the CA is; tram keys host NAME makes new ones, "
                            "should it be let in again");
}

/* ---- hosts ----------------------------------------------------------------------------------- */

static void look_other(struct cluster_look *look, const Tram__Control__Host *host) {
    if (*host->program && *look->version && strcmp(host->program, look->version) != 0) {
        doctor_say(look->doctor, DOCTOR_WARNING, "versions", "host %s has tramd %s, this one %s",
                   host->name, host->program, look->version);
        doctor_why(look->doctor, "neighbouring versions work together; NEWS says which don't");
        doctor_do(look->doctor, "upgrade one host after the other");
    }
    if (host->away && host->up) {
        doctor_say(look->doctor, DOCTOR_WARNING, "cluster",
                   "the directory does not hear of host %s, which has a link to here",
                   host->name);
        doctor_why(look->doctor, "its nodes can be taken over, and it can claim none");
        doctor_do(look->doctor, "look at port 61000 between that host and the host server");
    }
}

static void look_host(struct cluster_look *look, const Tram__Control__Host *host) {
    look->hosts++;
    if (!host->self) {
        look_other(look, host);
        return;
    }
    (void) snprintf(look->version, sizeof(look->version), "%s", host->program);
    look_ends(look, host->ends, "this host", host->name);
    look_revoked(look, host->trouble);
    if (host->plain) {
        doctor_say(look->doctor, DOCTOR_WARNING, "insecure",
                   "this host listens beyond loopback without keys");
        doctor_why(look->doctor, "whoever reaches the port can do what a host can");
        doctor_do(look->doctor, "tram keys host %s, and 'keys =' instead of 'insecure = yes'",
                  host->name);
    }
    if (!*host->trouble)
        return;
    doctor_say(look->doctor, DOCTOR_WARNING, "cluster", "no directory: %.150s", host->trouble);
    doctor_why(look->doctor, "what is connected goes on; but no node that was not opened on this "
                             "host before can be opened");
    doctor_do(look->doctor, "start the tramd that has 'host-server = here'");
}

static void look_link(struct cluster_look *look, const Tram__Control__Link *link) {
    uint64_t apart = (uint64_t) llabs((long long) link->offset_ns);
    char text[32];

    look->links++;
    look_ends(look, link->ends, link->host, link->host);
    if (link->cut_short > 0) {
        doctor_say(look->doctor, DOCTOR_WARNING, "lost", "host %s lost its memory, and %" PRIu64
                   " channels from there were cut short", link->host, link->cut_short);
        doctor_why(look->doctor, "what its nodes had sent and had not come here, one message of "
                                 "each at least, is lost");
        doctor_do(look->doctor, "the log of tramd names them; their senders may send it again");
    }
    if (!link->up) {
        look_revoked(look, link->error);
        look->down++;
        doctor_say(look->doctor, DOCTOR_WARNING, "link", "host %s: %.150s", link->host,
                   *link->error ? link->error : "not connected yet");
        doctor_why(look->doctor, "%" PRIu64 " messages wait here for nodes there",
                   link->backlog);
        doctor_do(look->doctor, "tram links; or tram forget %s, if it does not come back",
                  link->host);
        return;
    }
    if (link->offset_known && apart > CLOCK_MOST) {
        doctor_say(look->doctor, DOCTOR_WARNING, "clocks", "that of host %s is %s %s", link->host,
                   doctor_span(apart, text), link->offset_ns > 0 ? "ahead" : "behind");
        doctor_why(look->doctor, "times of messages are the sender's, and certificates begin and "
                                 "end by the clock; no time-out depends on it");
        doctor_do(look->doctor, "timedatectl set-ntp true");
    }
    if (*link->tls || strncmp(link->address, "127.", 4) == 0 ||
        strncmp(link->address, "[::1]", 5) == 0)
        return;
    doctor_say(look->doctor, DOCTOR_WARNING, "insecure", "the link to host %s is plain TCP",
               link->host);
    doctor_why(look->doctor, "whoever is on that network can read it, and be that host");
    doctor_do(look->doctor, "tram keys host %s, and 'keys =' instead of 'insecure = yes' in the "
                            "config of each", link->host);
}

/* ---- places ---------------------------------------------------------------------------------- */

static void look_sample(struct cluster_look *look, const Tram__Control__Sample *sample) {
    for (size_t i = 0; i < sample->n_nodes; i++) {
        if (!sample->nodes[i]->up || sample->nodes[i]->id >> 28 == 15)
            continue;
        if (look->count == look->room) {
            size_t room = 2 * look->room + 64;
            struct runs *more = realloc(look->runs, room * sizeof(*more));

            if (!more)
                return;
            look->runs = more;
            look->room = room;
        }
        look->runs[look->count].id = sample->nodes[i]->id;
        (void) snprintf(look->runs[look->count++].host, sizeof(look->runs[0].host), "%s",
                        sample->host);
    }
}

static int by_id(const void *left, const void *right) {
    const struct runs *a = left, *b = right;

    return a->id < b->id ? -1 : a->id > b->id;
}

/* What runs on two hosts. */
static void look_places(struct cluster_look *look) {
    char id[TRAM_ID_TEXT];

    if (look->count > 1)
        qsort(look->runs, look->count, sizeof(*look->runs), by_id);
    for (size_t i = 1; i < look->count; i++) {
        if (look->runs[i].id != look->runs[i - 1].id)
            continue;
        doctor_say(look->doctor, DOCTOR_PROBLEM, "places", "node %s runs on hosts %s and %s",
                   tram_id_format(look->runs[i].id, id), look->runs[i - 1].host,
                   look->runs[i].host);
        doctor_why(look->doctor, "it was taken over from one that lives on: that one is fenced, "
                                 "and sees it when it next waits or sends");
        doctor_do(look->doctor, "end the process on the host that tram trace --from %s --to %s "
                                "does not name", id, id);
    }
}

static void on_answer(void *arg, const ask_frame *frame) {
    if (frame->kind_case == TRAM__CONTROL__FRAME__KIND_HOST)
        look_host(arg, frame->host);
    else if (frame->kind_case == TRAM__CONTROL__FRAME__KIND_LINK)
        look_link(arg, frame->link);
    else if (frame->kind_case == TRAM__CONTROL__FRAME__KIND_SAMPLE)
        look_sample(arg, frame->sample);
}

/* Is this bus part of a cluster? */
static bool in_cluster(void) {
    char path[CLI_PATH];

    return snprintf(path, sizeof(path), "%s/cluster", cli_bus_path()) < (int) sizeof(path) &&
           access(path, F_OK) == 0;
}

void doctor_hosts(struct doctor *doctor) {
    struct cluster_look look = { .doctor = doctor };
    enum cli_exit code;
    struct ask ask;

    if (!in_cluster())
        return;
    if (!ask_try(&ask)) {
        doctor_say(doctor, DOCTOR_PROBLEM, "hosts", "this bus is part of a cluster, and no tramd "
                   "runs");
        doctor_why(doctor, "nothing goes to other hosts or comes from them, and nodes that are not "
                           "placed here can't be opened");
        doctor_do(doctor, "systemctl start tramd@USER; or tramd --config FILE");
        return;
    }
    ask.quiet = true;
    code = ask_now(&ask, ASK_HOSTS, 0, NULL, TIMEOUT_NS, on_answer, &look);
    if (code == CLI_OK)
        code = ask_now(&ask, ASK_LINKS, 0, NULL, TIMEOUT_NS, on_answer, &look);
    if (code == CLI_OK)
        code = ask_now(&ask, ASK_SAMPLES, 0, NULL, 2 * TIMEOUT_NS, on_answer, &look);
    ask_close(&ask);
    look_places(&look);
    free(look.runs);
    if (code != CLI_OK)
        doctor_say(doctor, DOCTOR_PROBLEM, "hosts", "the daemon says nothing of its cluster");
    else if (look.down == 0)
        doctor_say(doctor, DOCTOR_OK, "hosts", "%u in the cluster; all %u links are up",
                   look.hosts, look.links);
}
