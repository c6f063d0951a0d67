/* SPDX-License-Identifier: MIT
 *
 * TLS 1.3 by OpenSSL, both sides with certificates. security.c: the keys; stream.c: a connection.
 */
#pragma once

#include <openssl/ssl.h>

#include "keys/keyring.h"
#include "tls/maker.h"
#include "transport/security.h"
#include "transport/transport_inner.h"

struct tls_security {
    struct security security; /* first */
    char *paths[5];           /* of struct security_paths, in its order */
    struct keyring keyring;
    SSL_CTX *context;         /* of these keys; connections that have the one before keep it */
    BIO_METHOD *method;
    struct transport_peer self;
    void *revoked;            /* as bytes, made when asked for */
    size_t revoked_size;
};

struct tls {
    struct transport transport; /* first */
    struct tls_security *security;
    SSL *ssl;
    uint8_t *out;               /* encrypted, and not yet the kernel's */
    size_t out_start, out_end, out_size;
    uint64_t records;           /* since the key for writing is in use */
    bool ended;                 /* the kernel said that nothing more comes */
    int error;                  /* of the kernel */
};

static inline struct tls *tls_of(struct transport *transport) {
    return (struct tls *) (void *) transport;
}

/* ---- stream.c -------------------------------------------------------------------------------- */

extern const struct transport_ops tls_ops;

/* How OpenSSL reads and writes: struct tls is its data. NULL: no memory. */
BIO_METHOD *tls_method_new(void);
/* Is the certificate at the other end to be trusted? For SSL_CTX_set_verify(). */
int tls_verify(int good, X509_STORE_CTX *store);
/* What is behind the role, in words of transport.h. */
void tls_peer_set(struct transport_peer *peer, const struct identity *identity);
