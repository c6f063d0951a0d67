/* SPDX-License-Identifier: MIT
 *
 * Addresses of services, as text and taken apart (include/tram/service.h says what they mean).
 *
 *     svc://NAME  svc://NAME:INSTANCE     wire/name.h
 *     svc://NAME@HOST                     … as that host of the cluster serves it
 *     topic://NAME                        svc://topic/NAME, and with it who publishes there
 *     shm://1.2.3.4/NAME                  … with instance, too
 *     ipc:///PATH  file:///PATH           absolute, as its bytes are (no %20), up to 107
 *     tcp://HOST:PORT                     1.2.3.4, [IPv6], or a host's name; port 0: for a server,
 *                                         one that is free
 *     tls://HOST:PORT  tls://NAME@HOST:PORT
 *                                         the same by TLS; NAME: the host that has to be there by
 *                                         its certificate, else HOST
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "wire/name.h"
#include "wire/wrong.h"

#define ADDRESS_SIZE 384 /* room for any address as text */

enum address_kind { ADDRESS_SVC = 1, ADDRESS_SHM, ADDRESS_IPC, ADDRESS_TCP, ADDRESS_TLS };

struct address {
    enum address_kind kind;
    struct name name;  /* svc, shm */
    char at[64];       /* svc: HOST, or "" */
    bool topic;        /* svc: it was written topic:// */
    uint32_t node;     /* shm */
    char path[108];    /* ipc */
    char host[256];    /* tcp, tls: without brackets */
    char expected[64]; /* tls: NAME, or "" */
    uint16_t port;
};

/* -EINVAL, and why. */
int address_parse(const char *text, struct address *ret_address, struct wrong *wrong);

/* The text of an address that was parsed, in its one spelling; `buffer` is returned. */
char *address_format(const struct address *address, char buffer[ADDRESS_SIZE]);

/* "svc", "shm", "ipc", "tcp" or "tls". */
const char *address_scheme(enum address_kind kind);
