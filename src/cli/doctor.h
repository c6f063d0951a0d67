/* SPDX-License-Identifier: MIT
 *
 * What the parts of `tram doctor` share: findings, and where facts come from.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sys/machine.h"
#include "tram/tram.h"

enum severity { DOCTOR_OK, DOCTOR_NOTE, DOCTOR_WARNING, DOCTOR_PROBLEM };

struct finding {
    enum severity severity;
    const char *check; /* what was looked at: one word, stable */
    char what[320], why[320], remedy[320]; /* the last two: "" if there is nothing to say */
    size_t more;       /* so many others like it are not listed */
};

struct doctor {
    const char *root; /* before /etc, /proc, /run, /sys and /var; "" */
    struct finding *findings;
    size_t count, room;
    struct finding spare; /* takes what is said about findings that are not listed */
    struct finding *last;

    struct machine_space space; /* of the bus; total 0: unknown */
    uint64_t memory;            /* that the bus holds */
    uint64_t node_channels;     /* of the node that has the most */
    tram_id busiest;            /* that node, or 0 */
};

/* A finding; then why it matters and what to do about it, ways to do it being separated by "; or ",
 * commands being such that they can be copied. After some of one kind the others are
 * only counted. */
void doctor_say(struct doctor *doctor, enum severity severity, const char *check,
                const char *format, ...) __attribute__((format(printf, 4, 5)));
void doctor_why(struct doctor *doctor, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void doctor_do(struct doctor *doctor, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* A small file below the root, as machine_read(). */
int doctor_read(const struct doctor *doctor, const char *path, char *buffer, size_t size);
void doctor_path(const struct doctor *doctor, const char *path, char *buffer, size_t size);

/* The number a small file holds; `otherwise` if it holds none. */
uint64_t doctor_number(const struct doctor *doctor, const char *path, uint64_t otherwise);

/* "1.5 GiB" */
const char *doctor_bytes(uint64_t bytes, char text[32]);

/* "2 h": a time span in words. */
const char *doctor_span(uint64_t ns, char text[32]);

/* The parts; the bus first, its figures are needed by the others. */
void doctor_bus(struct doctor *doctor);
void doctor_leftovers(struct doctor *doctor);
void doctor_neighbours(struct doctor *doctor);
void doctor_space(struct doctor *doctor);
void doctor_memory(struct doctor *doctor);
void doctor_limits(struct doctor *doctor);
void doctor_kernel(struct doctor *doctor);
void doctor_session(struct doctor *doctor);
void doctor_hosts(struct doctor *doctor); /* or service_none.c */
