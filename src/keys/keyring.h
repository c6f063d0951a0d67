/* SPDX-License-Identifier: MIT
 *
 * A keyring: the keys of a host, as read from files. What is in a bundle is text (PEM), in any
 * order: one private key, its certificate, the certificate of the CA, and perhaps the CA's list of
 * the revoked (an X.509 CRL). What belongs together is found by the keys themselves.
 */
#pragma once

#include <stddef.h>

#include "keys/identity.h"

#define KEYRING_FILE_MAX (1u << 20) /* bytes of a file */

struct keyring_paths {
    const char *bundle, *ca, *certificate, *key, *revoked; /* NULL or "": none */
};

struct keyring {
    EVP_PKEY *key;
    X509 *certificate, *ca;
    X509_CRL *revoked; /* NULL: none */
    struct identity self;
};

/* Read and check them: that they belong together, are of a host or program, and not over (`now`:
 * seconds of the clock). The list of the revoked counts if it is of this CA. -ENOENT, -EACCES,
 * -EBADMSG, -EKEYREJECTED, -EKEYEXPIRED, -EKEYREVOKED, with text. */
int keyring_load(const struct keyring_paths *paths, int64_t now, struct keyring *ret_keyring,
                 struct wrong *wrong);
/* The bytes of a bundle, without any of the checks. `name` is for texts. -EBADMSG */
int keyring_parse(const void *bytes, size_t size, const char *name, struct keyring *ret_keyring,
                  struct wrong *wrong);
void keyring_deinit(struct keyring *keyring);

/* Is this certificate of somebody else to be trusted? Signed by the CA, of the cluster, neither
 * before its time nor behind it, not revoked; and is it whom we expect (NULL: anybody)?
 * -EKEYREJECTED, -EKEYEXPIRED, -EKEYREVOKED, with text that begins with `who`. */
int keyring_trusts(const struct keyring *keyring, X509 *certificate, const char *expected,
                   int64_t now, const char *who, struct wrong *wrong,
                   struct identity *ret_identity);
/* The same without whether it was signed, for whoever knows that. */
int keyring_admits(const struct keyring *keyring, X509 *certificate, const char *expected,
                   int64_t now, const char *who, struct wrong *wrong,
                   struct identity *ret_identity);

/* All of a file. -EFBIG; -EACCES if it is `secret` and others than its owner may read it. */
int keys_file_read(const char *path, bool secret, char **ret_text, size_t *ret_size,
                   struct wrong *wrong);
/* Make it, in one go; `replace` whatever is there, or -EEXIST. */
int keys_file_write(const char *path, const void *bytes, size_t size, uint32_t mode, bool replace,
                    struct wrong *wrong);
