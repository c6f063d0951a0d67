/* SPDX-License-Identifier: MIT */
#include "wire/address.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define SAMPLES "svc://name, shm://1.2.3.4/name, ipc:///path, tcp://host:port or tls://host:port"

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static bool is_hex(char c) {
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* A decimal number without leading zeros, up to `max`; moves *at behind it. */
static bool number_read(const char **at, uint32_t max, uint32_t *ret_number) {
    const char *digit = *at;
    uint32_t number = 0;

    if (!is_digit(*digit) || (*digit == '0' && is_digit(digit[1])))
        return false;
    for (; is_digit(*digit); digit++) {
        number = number * 10 + (uint32_t) (*digit - '0');
        if (number > max)
            return false;
    }
    *at = digit;
    *ret_number = number;
    return true;
}

/* Four of them, as an ID or an IPv4 address has. */
static bool quad_read(const char **at, uint32_t *ret_quad) {
    uint32_t quad = 0;

    for (int i = 0; i < 4; i++) {
        uint32_t part;

        if ((i > 0 && *(*at)++ != '.') || !number_read(at, 255, &part))
            return false;
        quad = quad << 8 | part;
    }
    *ret_quad = quad;
    return true;
}

static bool is_quad(const char *text) {
    uint32_t quad;

    return quad_read(&text, &quad) && *text == '\0';
}

/* Up to eight groups of one to four digits, "::" once for one or more that are 0, and an IPv4
 * address for the last two. */
static bool is_ipv6(const char *text) {
    bool gap = false;
    int groups = 0;

    if (text[0] == ':' && text[1] != ':')
        return false;
    while (*text) {
        int digits = 0;

        if (text[0] == ':' && text[1] == ':') {
            if (gap)
                return false;
            gap = true;
            text += 2;
            if (*text == ':')
                return false;
            continue;
        }
        if (*text == ':')
            text++;
        if (is_quad(text)) {
            groups += 2;
            break;
        }
        while (is_hex(text[digits]))
            digits++;
        if (digits == 0 || digits > 4)
            return false;
        text += digits;
        groups++;
        if (*text != ':' && *text != '\0')
            return false;
    }
    return gap ? groups < 8 : groups == 8;
}

/* Labels of letters, digits and '-', with '.' between; if it looks like an IPv4 address, it has to
 * be one. */
static bool is_host(const char *text) {
    bool numeric = true;
    size_t label = 0;

    for (size_t i = 0; text[i]; i++) {
        char c = text[i];

        if (c == '.') {
            if (label == 0 || text[i - 1] == '-')
                return false;
            label = 0;
            continue;
        }
        numeric &= is_digit(c);
        if (!(is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
              (c == '-' && label > 0)) ||
            ++label > 63)
            return false;
    }
    return label > 0 && text[strlen(text) - 1] != '-' && (!numeric || is_quad(text));
}

/* ---- each kind ------------------------------------------------------------------------------- */

static int name_of(const char *rest, struct address *address, struct wrong *wrong) {
    if (name_parse(rest, &address->name) < 0)
        return wrong_set(wrong, -EINVAL,
                         "'%.130s' is no name: 1 to 63 of A-Z a-z 0-9 . _ - with '/' between, and "
                         "perhaps ':' and an instance",
                         rest);
    return 0;
}

static int svc_parse(const char *rest, struct address *address, struct wrong *wrong) {
    const char *at = strchr(rest, '@');
    char name[NAME_FULL_SIZE];
    size_t length = at ? (size_t) (at - rest) : 0;

    if (!at)
        return name_of(rest, address, wrong);
    if (at[1] == '\0' || !name_instance_valid(at + 1))
        return wrong_set(wrong, -EINVAL,
                         "'%.70s': behind the '@' stands the name of a host, 1 to 63 of A-Z a-z "
                         "0-9 . _ -", rest);
    if (length >= sizeof(name))
        length = sizeof(name) - 1; /* too long for a name all the same */
    memcpy(name, rest, length);
    name[length] = '\0';
    memcpy(address->at, at + 1, strlen(at + 1) + 1);
    return name_of(name, address, wrong);
}

#define TOPIC_PREFIX "topic/"

static int topic_parse(const char *rest, struct address *address, struct wrong *wrong) {
    char full[NAME_FULL_SIZE];
    int length = snprintf(full, sizeof(full), TOPIC_PREFIX "%s", rest);

    address->topic = true;
    if (length >= (int) sizeof(full) || name_parse(full, &address->name) < 0)
        return wrong_set(wrong, -EINVAL,
                         "'%.130s' is no name of a topic: 1 to 57 of A-Z a-z 0-9 . _ - with '/' "
                         "between",
                         rest);
    return 0;
}

static int shm_parse(const char *rest, struct address *address, struct wrong *wrong) {
    const char *at = rest;

    if (!quad_read(&at, &address->node) || *at != '/' || address->node == 0 ||
        address->node == UINT32_MAX)
        return wrong_set(wrong, -EINVAL, "shm:// takes an ID and a name, as shm://1.2.3.4/name");
    return name_of(at + 1, address, wrong);
}

static int ipc_parse(const char *rest, struct address *address, struct wrong *wrong) {
    size_t length = strnlen(rest, sizeof(address->path));

    if (*rest != '/')
        return wrong_set(wrong, -EINVAL, "the path of a socket begins with '/', as ipc:///run/x");
    if (length == sizeof(address->path))
        return wrong_set(wrong, -EINVAL, "the path of a socket has up to %zu bytes",
                         sizeof(address->path) - 1);
    for (size_t i = 0; i < length; i++)
        if ((unsigned char) rest[i] < 0x20 || rest[i] == 0x7f)
            return wrong_set(wrong, -EINVAL, "the path of a socket has a control character");
    if (rest[length - 1] == '/')
        return wrong_set(wrong, -EINVAL, "the path of a socket ends with its name");
    memcpy(address->path, rest, length + 1);
    return 0;
}

static int tcp_parse(const char *rest, struct address *address, struct wrong *wrong) {
    bool brackets = *rest == '[';
    const char *host = rest + brackets;
    const char *end = brackets ? strchr(host, ']') : strrchr(host, ':');
    const char *at = end && brackets ? end + 1 : end;
    size_t length = end ? (size_t) (end - host) : 0;
    uint32_t port;

    if (!end || *at != ':')
        return wrong_set(wrong, -EINVAL,
                         "%s:// takes a host and a port, as %s://127.0.0.1:7000 or "
                         "%s://[::1]:7000", address_scheme(address->kind),
                         address_scheme(address->kind), address_scheme(address->kind));
    if (length >= sizeof(address->host))
        return wrong_set(wrong, -EINVAL, "the name of a host has up to %zu characters",
                         sizeof(address->host) - 1);
    memcpy(address->host, host, length);
    if (!(brackets ? is_ipv6(address->host) : is_host(address->host)))
        return wrong_set(wrong, -EINVAL, "'%.100s' is no host%s", address->host,
                         !brackets && strchr(address->host, ':')
                             ? ": an IPv6 address is written in [ ]"
                             : "");
    at++;
    if (!number_read(&at, UINT16_MAX, &port) || *at != '\0')
        return wrong_set(wrong, -EINVAL, "'%.20s' is no port: 0 to 65535", end + 1 + brackets);
    address->port = (uint16_t) port;
    return 0;
}

static int tls_parse(const char *rest, struct address *address, struct wrong *wrong) {
    const char *at = strchr(rest, '@');
    size_t length = at ? (size_t) (at - rest) : 0;

    if (!at)
        return tcp_parse(rest, address, wrong);
    if (length < sizeof(address->expected))
        memcpy(address->expected, rest, length);
    if (length == 0 || !name_instance_valid(address->expected) || !*address->expected)
        return wrong_set(wrong, -EINVAL,
                         "'%.70s': before the '@' stands the name of a host by its certificate, 1 "
                         "to 63 of A-Z a-z 0-9 . _ -", rest);
    return tcp_parse(at + 1, address, wrong);
}

static const struct {
    const char *scheme;
    enum address_kind kind;
    int (*parse)(const char *rest, struct address *address, struct wrong *wrong);
} schemes[] = {
    { "svc", ADDRESS_SVC, svc_parse }, { "shm", ADDRESS_SHM, shm_parse },
    { "ipc", ADDRESS_IPC, ipc_parse }, { "tcp", ADDRESS_TCP, tcp_parse },
    { "tls", ADDRESS_TLS, tls_parse }, { "file", ADDRESS_IPC, ipc_parse },
    { "topic", ADDRESS_SVC, topic_parse },
};

int address_parse(const char *text, struct address *ret_address, struct wrong *wrong) {
    struct address address = { 0 };

    for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
        size_t length = strlen(schemes[i].scheme);
        int rc;

        if (strncmp(text, schemes[i].scheme, length) != 0 ||
            strncmp(text + length, "://", 3) != 0)
            continue;
        address.kind = schemes[i].kind;
        rc = schemes[i].parse(text + length + 3, &address, wrong);
        if (rc == 0)
            *ret_address = address;
        return rc;
    }
    return wrong_set(wrong, -EINVAL, "'%.60s' is no address: %s", text, SAMPLES);
}

const char *address_scheme(enum address_kind kind) {
    return schemes[kind - ADDRESS_SVC].scheme;
}

char *address_format(const struct address *address, char buffer[ADDRESS_SIZE]) {
    char full[NAME_FULL_SIZE];
    uint32_t node = address->node;
    bool brackets = strchr(address->host, ':') != NULL;

    switch (address->kind) {
    case ADDRESS_SVC:
        (void) name_format(address->name.name, address->name.instance, full);
        if (address->topic)
            (void) snprintf(buffer, ADDRESS_SIZE, "topic://%s", full + strlen(TOPIC_PREFIX));
        else
            (void) snprintf(buffer, ADDRESS_SIZE, "svc://%s%s%s", full, *address->at ? "@" : "",
                            address->at);
        break;
    case ADDRESS_SHM:
        (void) snprintf(buffer, ADDRESS_SIZE, "shm://%u.%u.%u.%u/%s", node >> 24, node >> 16 & 255,
                        node >> 8 & 255, node & 255,
                        name_format(address->name.name, address->name.instance, full));
        break;
    case ADDRESS_IPC:
        (void) snprintf(buffer, ADDRESS_SIZE, "ipc://%s", address->path);
        break;
    case ADDRESS_TCP:
    case ADDRESS_TLS:
        (void) snprintf(buffer, ADDRESS_SIZE, "%s://%s%s%s%s%s:%u", address_scheme(address->kind),
                        address->expected, *address->expected ? "@" : "", brackets ? "[" : "",
                        address->host, brackets ? "]" : "", address->port);
        break;
    }
    return buffer;
}
