/* SPDX-License-Identifier: MIT
 *
 * The keys of a host, as connections use them: its certificate and key, the certificate of the
 * cluster's CA, and the list of what was revoked (docs/HOSTS.md, "Keys"). They are made by 'tram
 * keys', and come as one file, the bundle, or as four.
 *
 * What speaks TLS is not in here, and not in libtram-service.so, which so needs no OpenSSL: tramd
 * has it built in (security_built_in()); anybody else gets it by dlopen(3) of libtram-tls.so when
 * keys are first asked for.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "transport/transport.h"

/* Where keys lie: a bundle, and what is named beside it counts instead of what it has. NULL or "":
 * not there. `revoked` is where a newer list is kept; NULL: beside the bundle, with ".revoked"
 * behind its name; "": in memory only. */
struct security_paths {
    const char *bundle, *ca, *certificate, *key, *revoked;
};

/* Read the keys. -ENOENT, -EBADMSG, -EACCES (others may read the key), -EKEYEXPIRED, -EKEYREVOKED,
 * -EKEYREJECTED (they don't belong together), -EPROTONOSUPPORT (nothing here speaks TLS); with
 * text. */
int security_new(const struct security_paths *paths, struct security **ret_security,
                 struct wrong *wrong);
/* Everybody who keeps it has a share; connections have one of their own. */
struct security *security_ref(struct security *security);
struct security *security_unref(struct security *security); /* NULL is fine, and returned */

/* Read the files again: connections that begin from now on use what is there. On failure all is as
 * before. */
int security_reload(struct security *security, struct wrong *wrong);

/* Who this host is, by its certificate, and when that ends (seconds of the clock). */
const struct transport_peer *security_self(const struct security *security);

/* The list of the revoked as bytes, to be handed to others, and its number, which grows with each
 * one that the CA makes. NULL, 0: none. They stay until a newer one is taken. */
const void *security_revoked(const struct security *security, size_t *ret_size,
                             uint64_t *ret_number);
/* One from somebody else, who need not be trusted, for the CA has signed it. 1: it is newer, counts
 * from now on (transport_check() all connections), and is written to its file, or *wrong says why
 * not; 0: not newer; -EBADMSG, -EKEYREJECTED. */
int security_revoked_take(struct security *security, const void *bytes, size_t size,
                          struct wrong *wrong);

#define SECURITY_REVOKED_MAX (1u << 20) /* bytes of a list */

/* ---- whoever speaks TLS (src/tls) ------------------------------------------------------------ */

struct security {
    const struct security_maker *maker;
    uint32_t count;
};

struct security_maker {
    const char *version; /* of tram: it fits its own only */
    int (*make)(const struct security_paths *paths, struct security **ret_security,
                struct wrong *wrong);
    void (*end)(struct security *security); /* nobody has a share any more */
    int (*reload)(struct security *security, struct wrong *wrong);
    const struct transport_peer *(*self)(const struct security *security);
    const void *(*revoked)(const struct security *security, size_t *ret_size, uint64_t *ret_number);
    int (*revoked_take)(struct security *security, const void *bytes, size_t size,
                        struct wrong *wrong);
    int (*transport)(struct security *security, struct transport **ret_transport);
};

/* Use this one. */
void security_built_in(const struct security_maker *maker);
/* A transport that uses these keys: in memory, without a descriptor. */
int security_transport(struct security *security, struct transport **ret_transport);
