/* SPDX-License-Identifier: MIT
 *
 * tram doctor: the cluster that this bus is part of, as its daemon tells.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/ask.h"
#include "cli/doctor.h"

#define TIMEOUT_NS INT64_C(2000000000)
#define CLOCK_MOST UINT64_C(1000000000) /* between two hosts */

struct cluster_look {
    struct doctor *doctor;
    unsigned hosts, links, down;
};

static void look_host(struct cluster_look *look, const Tram__Control__Host *host) {
    look->hosts++;
    if (!host->self || !*host->trouble)
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
    if (!link->up) {
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

static void on_answer(void *arg, const ask_frame *frame) {
    if (frame->kind_case == TRAM__CONTROL__FRAME__KIND_HOST)
        look_host(arg, frame->host);
    else if (frame->kind_case == TRAM__CONTROL__FRAME__KIND_LINK)
        look_link(arg, frame->link);
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
    ask_close(&ask);
    if (code != CLI_OK)
        doctor_say(doctor, DOCTOR_PROBLEM, "hosts", "the daemon says nothing of its cluster");
    else if (look.down == 0)
        doctor_say(doctor, DOCTOR_OK, "hosts", "%u in the cluster; all %u links are up",
                   look.hosts, look.links);
}
