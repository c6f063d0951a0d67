/* SPDX-License-Identifier: MIT
 *
 * A cluster's CA: a folder on the machine of whoever runs the cluster, and on no host.
 *
 *     ca.key                 its private key (Ed25519), 0600, perhaps under a passphrase
 *     ca.crt                 its certificate
 *     revoked.crl            the newest list of the revoked
 *     issued/NAME-SERIAL.crt every certificate that it made; the keys of hosts are not kept
 *     lock                   held while something is changed
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/wrong.h"

#define AUTHORITY_NAME_SIZE 64
#define AUTHORITY_ADDRESSES 16

struct authority;

/* Make a folder with a new CA in it; `passphrase` NULL: none. -EEXIST: there is one. */
int authority_make(const char *folder, const char *cluster, const char *passphrase, int64_t now,
                   uint32_t days, struct wrong *wrong);

int authority_open(const char *folder, struct authority **ret_authority, struct wrong *wrong);
struct authority *authority_free(struct authority *authority); /* NULL is fine, and returned */

/* What is done with the key of the CA comes after this. -ENOKEY: it has a passphrase, and that was
 * not given; -EKEYREJECTED: another one. */
int authority_unlock(struct authority *authority, const char *passphrase, struct wrong *wrong);

struct authority_order {
    const char *name;
    bool program;      /* not a host */
    const char *addresses[AUTHORITY_ADDRESSES + 1]; /* DNS names and addresses; NULL ends */
    int64_t begins, ends; /* seconds of the clock */
};
/* Make key and certificate: the bundle, from malloc(). It is not written. -EINVAL */
int authority_issue(struct authority *authority, const struct authority_order *order,
                    char **ret_bundle, size_t *ret_size, struct wrong *wrong);

/* Write it, readable by its owner only. -EEXIST, unless it is to be replaced. */
int authority_write(const char *path, const char *bundle, size_t size, bool replace,
                    struct wrong *wrong);

struct authority_entry {
    char name[AUTHORITY_NAME_SIZE]; /* "": the CA itself */
    char cluster[AUTHORITY_NAME_SIZE];
    char serial[48];
    char print[100];       /* SHA-256 */
    char addresses[512];   /* with blanks between */
    bool program, revoked;
    int64_t begins, ends;
};
/* The CA, then all that it made, until `each` returns nonzero, which is returned. */
int authority_each(struct authority *authority,
                   int (*each)(void *context, const struct authority_entry *entry), void *context,
                   struct wrong *wrong);

/* The same of one file: a bundle, or a certificate. Whether it was revoked is as far as the list in
 * it says. */
int authority_each_in(const char *path,
                      int (*each)(void *context, const struct authority_entry *entry),
                      void *context, struct wrong *wrong);

/* Revoke all certificates of a host or program, or the one with this serial number; how many were
 * not yet. -ENOENT: there is none. */
int authority_revoke(struct authority *authority, const char *what, int64_t now, int *ret_count,
                     struct wrong *wrong);
/* The path of the list; as long as the authority is open. */
const char *authority_list(const struct authority *authority);

/* The certificate of the CA anew, with the same key: bundles made before go on working. */
int authority_renew(struct authority *authority, int64_t now, uint32_t days, struct wrong *wrong);
