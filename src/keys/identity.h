/* SPDX-License-Identifier: MIT
 *
 * Who a certificate says its holder is. Normative is one name in it (subjectAltName, a URI):
 *
 *     tram://CLUSTER/host/NAME        a host: its daemon, and what runs there
 *     tram://CLUSTER/program/NAME     a program that belongs to no host
 *     tram://CLUSTER                  the cluster's CA
 *
 * CLUSTER and NAME are 1 to 63 of A-Z a-z 0-9 . _ -. A certificate without it, or with two, is none
 * of ours. The subject is for people only.
 */
#pragma once

#include <openssl/x509.h>
#include <stdbool.h>
#include <stdint.h>

#include "wire/wrong.h"

#define KEYS_NAME_SIZE   64
#define KEYS_SERIAL_SIZE 48
#define KEYS_PRINT_SIZE  100 /* of a fingerprint: AA:BB:… of SHA-256 */
#define KEYS_DATE_SIZE   24

enum keys_role { KEYS_AUTHORITY, KEYS_HOST, KEYS_PROGRAM };

struct identity {
    enum keys_role role;
    char cluster[KEYS_NAME_SIZE];
    char name[KEYS_NAME_SIZE]; /* of the CA "" */
    char serial[KEYS_SERIAL_SIZE];
    int64_t begins, ends;      /* seconds of the clock */
};

bool keys_name_valid(const char *text);

/* The URI; `buffer` has room for 256 bytes and is returned. */
char *identity_uri(enum keys_role role, const char *cluster, const char *name, char *buffer);
/* -EINVAL: it is none of these. */
int identity_parse(const char *uri, size_t size, struct identity *ret_identity);

/* -EBADMSG: it has no such name, or two. */
int identity_read(X509 *certificate, struct identity *ret_identity);

/* Does the certificate stand for `expected`: the name of a host, or a DNS name or address that is
 * in it? */
bool identity_is(X509 *certificate, const struct identity *identity, const char *expected);

/* SHA-256 of the certificate; `buffer` is returned. */
char *identity_print(X509 *certificate, char buffer[KEYS_PRINT_SIZE]);
/* "2026-11-22 16:00 UTC"; `buffer` is returned. */
char *identity_date(int64_t seconds, char buffer[KEYS_DATE_SIZE]);
int64_t identity_seconds(const ASN1_TIME *time);

/* What OpenSSL says was wrong last, and forget it. */
const char *keys_openssl_text(void);

#define KEYS_FREE(type)                                                                            \
    static inline void cleanup_##type(type **object) {                                             \
        type##_free(*object);                                                                      \
    }
KEYS_FREE(X509)
KEYS_FREE(X509_CRL)
KEYS_FREE(EVP_PKEY)
KEYS_FREE(BIO)
#define OWNS(type) __attribute__((cleanup(cleanup_##type))) type
