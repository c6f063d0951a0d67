/* SPDX-License-Identifier: MIT
 *
 * Making keys and certificates, in memory.
 */
#pragma once

#include "keys/identity.h"

struct certificate_order {
    enum keys_role role;
    const char *cluster, *name;
    const char *const *addresses; /* NULL: none */
    int64_t begins, ends;
    EVP_PKEY *key;                /* whose certificate it is */
    X509 *ca;                     /* NULL: its own */
    EVP_PKEY *ca_key;
};

int make_key(EVP_PKEY **ret_key, struct wrong *wrong);
int make_certificate(const struct certificate_order *order, X509 **ret_certificate,
                     struct wrong *wrong);

/* A private key as text, from malloc(); under a passphrase, or not. */
int make_key_text(EVP_PKEY *key, const char *passphrase, char **ret_text, size_t *ret_size,
                  struct wrong *wrong);
/* All that was written to a memory BIO, from malloc(). */
int make_text(BIO *bio, char **ret_text, size_t *ret_size);
