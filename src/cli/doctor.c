/* SPDX-License-Identifier: MIT
 *
 * tram doctor: is this machine fit for a bus, what is left over on it, and what to do.
 *
 * It looks and says; it changes nothing. The parts are in doctor_…c; here are the list of what they
 * found and its printing.
 */
#include "cli/doctor.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/buf.h"
#include "cli/cli.h"

#define LIKE 5    /* findings of one kind that are listed */
#define WIDTH 80
#define INDENT 10
#define OR "; or " /* between ways to do it, in text for people each on its line */

const char verb_doctor_help[] =
    "usage: tram doctor [OPTIONS]\n"
    "\n"
    "Say whether this machine is fit for the bus, what is left over, and what to do. Looked\n"
    "at are: memory and inodes where the bus lies, limits of this process and its cgroup,\n"
    "kernel and clock, what removes files behind one's back (logind, tmpfiles), permissions,\n"
    "nodes, channels, other buses, the cluster. Nothing is changed. There need not be a bus yet.\n"
    "\n"
    "  --strict     warnings make it unfit, too\n"
    "  --json       one JSON object: bus, path, fit, findings (severity, check, what, why, do,\n"
    "               more: how many others like it)\n"
    "  --root DIR   read etc, proc, run, sys and var below DIR: of a container or an image,\n"
    "               seen from outside\n"
    "\n"
    "Limits, free space and the age of things are those of the user and the place where it is\n"
    "run: run it as the user whose bus it is, in the same container or service.\n"
    "\n"
    "  problem   something does not work, or will not: not fit\n"
    "  warning   works now, and will hurt\n"
    "  note      worth knowing\n"
    "  ok        looked at, and good\n"
    "\n"
    "Exit code of doctor: 0 fit; 1 not fit: a problem was found (with --strict: or a\n"
    "warning).\n"
    "\n"
    "Examples:\n"
    "  tram doctor\n"
    "  tram doctor --bus game --strict && start-the-servers\n"
    "  tram doctor --json | jq -r '.findings[] | select(.severity==\"problem\") | .do'\n";

static const char *const severities[] = { "ok", "note", "warning", "problem" };

/* ---- findings ------------------------------------------------------------------------------- */

static struct finding *like_it(struct doctor *doctor, enum severity severity, const char *check) {
    struct finding *last = NULL;
    size_t count = 0;

    for (size_t i = 0; i < doctor->count; i++) {
        struct finding *finding = &doctor->findings[i];

        if (finding->severity != severity || strcmp(finding->check, check) != 0)
            continue;
        last = finding;
        count++;
    }
    return count >= LIKE ? last : NULL;
}

void doctor_say(struct doctor *doctor, enum severity severity, const char *check,
                const char *format, ...) {
    struct finding *other = like_it(doctor, severity, check);
    va_list args;

    if (other) {
        other->more++;
        doctor->last = &doctor->spare;
        return;
    }
    if (doctor->count == doctor->room) {
        size_t room = doctor->room * 2 + 32;
        struct finding *findings = realloc(doctor->findings, room * sizeof(*findings));

        if (!findings) {
            cli_error("no memory for what was found");
            exit(CLI_FAILURE);
        }
        doctor->findings = findings;
        doctor->room = room;
    }
    doctor->last = &doctor->findings[doctor->count++];
    *doctor->last = (struct finding){ .severity = severity, .check = check };
    va_start(args, format);
    (void) vsnprintf(doctor->last->what, sizeof(doctor->last->what), format, args);
    va_end(args);
}

void doctor_why(struct doctor *doctor, const char *format, ...) {
    va_list args;

    va_start(args, format);
    (void) vsnprintf(doctor->last->why, sizeof(doctor->last->why), format, args);
    va_end(args);
}

void doctor_do(struct doctor *doctor, const char *format, ...) {
    va_list args;

    va_start(args, format);
    (void) vsnprintf(doctor->last->remedy, sizeof(doctor->last->remedy), format, args);
    va_end(args);
}

/* ---- facts ---------------------------------------------------------------------------------- */

void doctor_path(const struct doctor *doctor, const char *path, char *buffer, size_t size) {
    int used = snprintf(buffer, size, "%s%s", doctor->root, path);

    if (used < 0 || (size_t) used >= size)
        buffer[0] = '\0'; /* too long: no such file */
}

int doctor_read(const struct doctor *doctor, const char *path, char *buffer, size_t size) {
    char full[CLI_PATH];

    doctor_path(doctor, path, full, sizeof(full));
    return machine_read(full, buffer, size);
}

uint64_t doctor_number(const struct doctor *doctor, const char *path, uint64_t otherwise) {
    char text[64];
    uint64_t value;
    char *end;

    if (doctor_read(doctor, path, text, sizeof(text)) < 0 || text[0] < '0' || text[0] > '9')
        return otherwise;
    value = strtoull(text, &end, 10);
    return *end == '\0' ? value : otherwise;
}

const char *doctor_bytes(uint64_t bytes, char text[32]) {
    static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
    double value = (double) bytes;
    size_t unit = 0;

    for (; value >= 1000 && unit + 1 < sizeof(units) / sizeof(units[0]); unit++)
        value /= 1024;
    (void) snprintf(text, 32, unit == 0 || value >= 99.95 ? "%.0f %s" : "%.1f %s", value,
                    units[unit]);
    return text;
}

const char *doctor_span(uint64_t ns, char text[32]) {
    uint64_t seconds = ns / 1000000000;

    if (seconds < 120)
        (void) snprintf(text, 32, "%" PRIu64 " s", seconds);
    else if (seconds < 7200)
        (void) snprintf(text, 32, "%" PRIu64 " min", seconds / 60);
    else if (seconds < 172800)
        (void) snprintf(text, 32, "%" PRIu64 " h", seconds / 3600);
    else
        (void) snprintf(text, 32, "%" PRIu64 " days", seconds / 86400);
    return text;
}

/* ---- printing ------------------------------------------------------------------------------- */

/* Text of more than a line, broken between words; what follows the first line is indented. */
static void wrapped(struct buf *buf, const char *text, int column) {
    int indent = column;

    while (*text != '\0') {
        int size = (int) strcspn(text, " ");

        if (column > indent && column + 1 + size > WIDTH) {
            buf_format(buf, "\n%*s", indent, "");
            column = indent;
        } else if (column > indent) {
            buf_char(buf, ' ');
            column++;
        }
        buf_preview(buf, text, (size_t) size);
        column += size;
        text += size;
        text += strspn(text, " ");
    }
    buf_char(buf, '\n');
}

static void text_finding(struct buf *buf, const struct finding *finding) {
    char line[512];

    (void) snprintf(line, sizeof(line), "%s: %s", finding->check, finding->what);
    buf_format(buf, "%-*s", INDENT, severities[finding->severity]);
    wrapped(buf, line, INDENT);
    if (finding->more > 0)
        buf_format(buf, "%*sand %zu more like this\n", INDENT, "", finding->more);
    if (finding->why[0]) {
        buf_format(buf, "%*swhy  ", INDENT, "");
        wrapped(buf, finding->why, INDENT + 5);
    }
    for (const char *at = finding->remedy; *at != '\0';) {
        const char *other = strstr(at, OR);
        size_t size = other ? (size_t) (other - at) : strlen(at);

        buf_format(buf, "%*s%s   ", INDENT, "", at == finding->remedy ? "do" : "or");
        buf_preview(buf, at, size); /* commands are not broken: they are copied */
        buf_char(buf, '\n');
        at += size + (other ? strlen(OR) : 0);
    }
    if (finding->severity > DOCTOR_OK)
        buf_char(buf, '\n');
}

static void text_all(struct buf *buf, const struct doctor *doctor, const size_t counts[4],
                     bool fit) {
    buf_format(buf, "bus %s at %s\n\n", cli_bus_name(), cli_bus_path());
    for (int severity = DOCTOR_PROBLEM; severity >= DOCTOR_OK; severity--)
        for (size_t i = 0; i < doctor->count; i++)
            if ((int) doctor->findings[i].severity == severity)
                text_finding(buf, &doctor->findings[i]);
    buf_format(buf, "\n%s: %zu problem%s, %zu warning%s, %zu note%s\n", fit ? "fit" : "NOT FIT",
               counts[DOCTOR_PROBLEM], counts[DOCTOR_PROBLEM] == 1 ? "" : "s",
               counts[DOCTOR_WARNING], counts[DOCTOR_WARNING] == 1 ? "" : "s", counts[DOCTOR_NOTE],
               counts[DOCTOR_NOTE] == 1 ? "" : "s");
}

static void json_all(struct buf *buf, const struct doctor *doctor, const size_t counts[4],
                     bool fit) {
    bool first = true, item = true;

    buf_char(buf, '{');
    json_member_text(buf, &first, "bus", cli_bus_name());
    json_member_text(buf, &first, "path", cli_bus_path());
    json_member_bool(buf, &first, "fit", fit);
    json_member_number(buf, &first, "problems", counts[DOCTOR_PROBLEM]);
    json_member_number(buf, &first, "warnings", counts[DOCTOR_WARNING]);
    json_member_number(buf, &first, "notes", counts[DOCTOR_NOTE]);
    json_key(buf, &first, "findings");
    buf_char(buf, '[');
    for (size_t i = 0; i < doctor->count; i++) {
        const struct finding *finding = &doctor->findings[i];
        bool member = true;

        json_item(buf, &item);
        buf_char(buf, '{');
        json_member_text(buf, &member, "severity", severities[finding->severity]);
        json_member_text(buf, &member, "check", finding->check);
        json_member_text(buf, &member, "what", finding->what);
        json_member_text(buf, &member, "why", finding->why);
        json_member_text(buf, &member, "do", finding->remedy);
        json_member_number(buf, &member, "more", finding->more);
        buf_char(buf, '}');
    }
    buf_text(buf, "]}\n");
}

/* ---- the verb ------------------------------------------------------------------------------- */

static void examine(struct doctor *doctor) {
    doctor_bus(doctor);
    doctor_leftovers(doctor);
    doctor_space(doctor);
    doctor_memory(doctor);
    doctor_limits(doctor);
    doctor_kernel(doctor);
    doctor_session(doctor);
    doctor_neighbours(doctor);
    doctor_hosts(doctor);
}

int verb_doctor(int argc, char **argv) {
    enum { STRICT = CLI_OPT_OWN, JSON, ROOT };
    static const struct option options[] = {
        { "strict", no_argument, NULL, STRICT },
        { "json", no_argument, NULL, JSON },
        { "root", required_argument, NULL, ROOT },
        CLI_COMMON,
    };
    struct doctor doctor = { .root = "" };
    bool strict = false, json = false, fit;
    size_t counts[4] = { 0 };
    struct buf buf = { 0 };
    int option, rc;

    while ((option = cli_option(argc, argv, "h", options)) >= 0) {
        strict |= option == STRICT;
        json |= option == JSON;
        if (option == ROOT)
            doctor.root = strcmp(optarg, "/") == 0 ? "" : optarg;
    }
    cli_operands(argc, 0, 0);
    examine(&doctor);
    for (size_t i = 0; i < doctor.count; i++)
        counts[doctor.findings[i].severity] += 1 + doctor.findings[i].more;
    fit = counts[DOCTOR_PROBLEM] == 0 && (!strict || counts[DOCTOR_WARNING] == 0);
    if (json)
        json_all(&buf, &doctor, counts, fit);
    else
        text_all(&buf, &doctor, counts, fit);
    rc = buf_write(&buf, STDOUT_FILENO);
    buf_free(&buf);
    free(doctor.findings);
    if (rc < 0 && rc != -EPIPE)
        cli_error("the output cannot be written: %s", strerror(-rc));
    return rc < 0 || !fit ? CLI_FAILURE : CLI_OK;
}
