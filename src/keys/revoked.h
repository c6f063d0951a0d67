/* SPDX-License-Identifier: MIT
 *
 * The list of the revoked: an X.509 CRL (RFC 5280) with a number (cRLNumber) that grows, and signed
 * by the CA; so it may come from anybody. A newer one is one with a higher number. It has no date
 * on which it ends: a cluster doesn't stop because nobody made a new list.
 */
#pragma once

#include <stddef.h>

#include "keys/identity.h"

#define REVOKED_MAX (1u << 20) /* bytes of it */

/* Text (PEM) or DER. -EBADMSG */
int revoked_parse(const void *bytes, size_t size, X509_CRL **ret_list, struct wrong *wrong);
/* Did this CA sign it? -EKEYREJECTED */
int revoked_check(X509_CRL *list, X509 *ca, struct wrong *wrong);
uint64_t revoked_number(X509_CRL *list);
/* As bytes (DER), from malloc(). -ENOMEM */
int revoked_bytes(X509_CRL *list, void **ret_bytes, size_t *ret_size);
bool revoked_has(X509_CRL *list, X509 *certificate); /* NULL has nobody */

/* A new list: what was in the old one (NULL: nothing) and this certificate (NULL: nobody more),
 * with the next number. */
int revoked_make(X509_CRL *old, X509 *certificate, X509 *ca, EVP_PKEY *key, int64_t now,
                 X509_CRL **ret_list, struct wrong *wrong);
