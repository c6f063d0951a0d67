/* SPDX-License-Identifier: MIT */
#include "keys/keyring.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "keys/revoked.h"
#include "sys/cleanup.h"
#include "sys/file.h"

/* ---- files ----------------------------------------------------------------------------------- */

int keys_file_read(const char *path, bool secret, char **ret_text, size_t *ret_size,
                   struct wrong *wrong) {
    OWNS_FD int fd = sys_file_open(AT_FDCWD, path, false);
    OWNS_MEMORY char *text = NULL;
    struct sys_stat st;
    int rc = fd < 0 ? fd : sys_stat_fd(fd, &st);

    if (rc == 0 && st.is_directory)
        rc = -EISDIR;
    if (rc == 0 && secret && (st.mode & 077) != 0)
        return wrong_set(wrong, -EACCES,
                         "%.120s: others than its owner may read it, and it holds a key: chmod 600",
                         path);
    if (rc == 0 && st.size > KEYRING_FILE_MAX)
        rc = -EFBIG;
    if (rc == 0) {
        text = malloc(st.size + 1);
        rc = text ? sys_file_read(fd, text, st.size, 0) : -ENOMEM;
    }
    if (rc < 0)
        return wrong_set(wrong, rc, "%.150s: %s", path, strerror(-rc));
    text[st.size] = '\0';
    *ret_text = text;
    *ret_size = st.size;
    text = NULL;
    return 0;
}

/* Below the directory in which it lies, so that it can be renamed into place. */
static int write_new(int dir, const char *name, const void *bytes, size_t size, uint32_t mode) {
    char hidden[300];
    int length = snprintf(hidden, sizeof(hidden), ".%s.new", name);
    OWNS_FD int fd = -1;
    int rc;

    if (length < 0 || (size_t) length >= sizeof(hidden))
        return -ENAMETOOLONG;
    fd = sys_file_make(dir, hidden, mode, 0);
    if (fd < 0)
        return fd;
    rc = sys_file_write(fd, bytes, size, 0);
    if (rc == 0)
        rc = sys_file_sync(fd);
    if (rc == 0)
        rc = sys_rename(dir, hidden, name);
    if (rc < 0)
        (void) sys_unlink(dir, hidden); /* what failed first is told */
    return rc;
}

int keys_file_write(const char *path, const void *bytes, size_t size, uint32_t mode, bool replace,
                    struct wrong *wrong) {
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    OWNS_MEMORY char *folder =
        !slash ? strdup(".") : strndup(path, slash == path ? 1 : (size_t) (slash - path));
    OWNS_FD int dir = folder ? sys_dir_open(AT_FDCWD, folder) : -ENOMEM;
    struct sys_stat st;
    int rc = dir;

    if (dir >= 0 && !replace && sys_stat_at(dir, name, &st) == 0)
        return wrong_set(wrong, -EEXIST, "%.150s is there already; --force replaces it", path);
    if (dir >= 0)
        rc = write_new(dir, name, bytes, size, mode);
    return rc < 0 ? wrong_set(wrong, rc, "cannot write %.150s: %s", path, strerror(-rc)) : 0;
}

/* ---- what is in them ------------------------------------------------------------------------- */

#define CERTIFICATES_MAX 8

struct found {
    EVP_PKEY *key;
    X509 *certificates[CERTIFICATES_MAX];
    int count;
    X509_CRL *revoked;
};

static void found_deinit(struct found *found) {
    EVP_PKEY_free(found->key);
    for (int i = 0; i < found->count; i++)
        X509_free(found->certificates[i]);
    X509_CRL_free(found->revoked);
}

/* A bundle's key has no passphrase: nobody is there to be asked. */
static int no_passphrase(char *buffer, int size, int writing, void *arg) {
    (void) buffer;
    (void) size;
    (void) writing;
    (void) arg;
    return -1;
}

/* What an entry has becomes ours. */
static int find_one(struct found *found, X509_INFO *info, const char *name, struct wrong *wrong) {
    if (info->x509 && found->count == CERTIFICATES_MAX)
        return wrong_set(wrong, -EBADMSG, "%.120s has more than %d certificates", name,
                         CERTIFICATES_MAX);
    if (info->x509) {
        found->certificates[found->count++] = info->x509;
        info->x509 = NULL;
    }
    if (info->crl) {
        X509_CRL_free(found->revoked);
        found->revoked = info->crl;
        info->crl = NULL;
    }
    if (!info->x_pkey)
        return 0;
    if (found->key || !info->x_pkey->dec_pkey)
        return wrong_set(wrong, -EBADMSG, "%.120s has %s", name,
                         found->key ? "two private keys" : "a private key with a passphrase");
    found->key = info->x_pkey->dec_pkey;
    info->x_pkey->dec_pkey = NULL;
    return 0;
}

static int find(struct found *found, const void *bytes, size_t size, const char *name,
                struct wrong *wrong) {
    OWNS(BIO) *bio = size <= KEYRING_FILE_MAX ? BIO_new_mem_buf(bytes, (int) size) : NULL;
    STACK_OF(X509_INFO) *all = bio ? PEM_X509_INFO_read_bio(bio, NULL, no_passphrase, NULL) : NULL;
    int rc = 0;

    if (!all || sk_X509_INFO_num(all) == 0) {
        sk_X509_INFO_free(all);
        return wrong_set(wrong, -EBADMSG, "%.120s is no file of keys: %s", name,
                         keys_openssl_text());
    }
    for (int i = 0; rc == 0 && i < sk_X509_INFO_num(all); i++)
        rc = find_one(found, sk_X509_INFO_value(all, i), name, wrong);
    sk_X509_INFO_pop_free(all, X509_INFO_free);
    ERR_clear_error();
    return rc;
}

/* Which certificate is whose. What was found is the keyring's from now on. */
static void sort_out(struct found *found, struct keyring *keyring) {
    for (int i = 0; i < found->count; i++) {
        X509 *one = found->certificates[i];

        if (found->key && !keyring->certificate && X509_check_private_key(one, found->key) == 1) {
            keyring->certificate = X509_up_ref(one) == 1 ? one : NULL;
        } else if (X509_check_ca(one) > 0) {
            X509_free(keyring->ca);
            keyring->ca = X509_up_ref(one) == 1 ? one : NULL;
        }
    }
    ERR_clear_error();
    if (found->key) {
        EVP_PKEY_free(keyring->key);
        keyring->key = found->key;
        found->key = NULL;
    }
    if (found->revoked) {
        X509_CRL_free(keyring->revoked);
        keyring->revoked = found->revoked;
        found->revoked = NULL;
    }
}

int keyring_parse(const void *bytes, size_t size, const char *name, struct keyring *ret_keyring,
                  struct wrong *wrong) {
    struct found found = { 0 };
    int rc = find(&found, bytes, size, name, wrong);

    if (rc == 0) {
        *ret_keyring = (struct keyring){ 0 };
        sort_out(&found, ret_keyring);
    }
    found_deinit(&found);
    return rc;
}

void keyring_deinit(struct keyring *keyring) {
    EVP_PKEY_free(keyring->key);
    X509_free(keyring->certificate);
    X509_free(keyring->ca);
    X509_CRL_free(keyring->revoked);
    *keyring = (struct keyring){ 0 };
}

/* ---- reading --------------------------------------------------------------------------------- */

/* All files as if they were one. */
static int load_found(const struct keyring_paths *paths, struct found *found,
                      struct wrong *wrong) {
    const char *const names[] = { paths->bundle, paths->key, paths->certificate, paths->ca };
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < sizeof(names) / sizeof(names[0]); i++) {
        OWNS_MEMORY char *text = NULL;
        size_t size;

        if (!names[i] || !*names[i])
            continue;
        if (i == 1) {
            EVP_PKEY_free(found->key);
            found->key = NULL;
        }
        rc = keys_file_read(names[i], i < 2, &text, &size, wrong);
        if (rc == 0)
            rc = find(found, text, size, names[i], wrong);
        if (text)
            OPENSSL_cleanse(text, size);
    }
    return rc;
}

/* The list beside the bundle is newer than the one in it, or there is none. */
static int load_revoked(const char *path, struct keyring *keyring, struct wrong *wrong) {
    OWNS(X509_CRL) *list = NULL;
    OWNS_MEMORY char *text = NULL;
    size_t size;
    int rc;

    if (keyring->revoked) {
        rc = revoked_check(keyring->revoked, keyring->ca, wrong);
        if (rc < 0)
            return rc;
    }
    if (!path || !*path)
        return 0;
    rc = keys_file_read(path, false, &text, &size, wrong);
    if (rc == -ENOENT)
        return 0;
    if (rc == 0)
        rc = revoked_parse(text, size, &list, wrong);
    if (rc == 0)
        rc = revoked_check(list, keyring->ca, wrong);
    if (rc == 0 && revoked_number(list) > revoked_number(keyring->revoked)) {
        X509_CRL_free(keyring->revoked);
        keyring->revoked = list;
        list = NULL;
    }
    return rc;
}

static int missing(const struct keyring *keyring, const char *name, struct wrong *wrong) {
    const char *what = !keyring->key           ? "private key"
                       : !keyring->certificate ? "certificate that goes with its private key"
                       : !keyring->ca          ? "certificate of the CA"
                                               : NULL;

    return what ? wrong_set(wrong, -EBADMSG, "%.120s has no %s", name, what) : 0;
}

static int check(struct keyring *keyring, int64_t now, const char *name, struct wrong *wrong) {
    struct identity authority;
    int rc = identity_read(keyring->ca, &authority);

    if (rc == 0 && authority.role != KEYS_AUTHORITY)
        rc = -EBADMSG;
    if (rc < 0)
        return wrong_set(wrong, -EKEYREJECTED, "%.120s: the CA in it is none of 'tram keys'", name);
    rc = keyring_trusts(keyring, keyring->certificate, NULL, now, name, wrong, &keyring->self);
    if (rc == 0 && authority.ends <= now)
        rc = wrong_set(wrong, -EKEYEXPIRED, "%.100s: the certificate of the CA has ended", name);
    return rc;
}

int keyring_load(const struct keyring_paths *paths, int64_t now, struct keyring *ret_keyring,
                 struct wrong *wrong) {
    const char *name = paths->bundle && *paths->bundle ? paths->bundle
                       : paths->key                     ? paths->key
                                                        : "keys";
    struct keyring keyring = { 0 };
    struct found found = { 0 };
    int rc = load_found(paths, &found, wrong);

    if (rc == 0) {
        sort_out(&found, &keyring);
        rc = missing(&keyring, name, wrong);
    }
    found_deinit(&found);
    if (rc == 0)
        rc = load_revoked(paths->revoked, &keyring, wrong);
    if (rc == 0)
        rc = check(&keyring, now, name, wrong);
    if (rc < 0) {
        keyring_deinit(&keyring);
        return rc;
    }
    *ret_keyring = keyring;
    return 0;
}

/* ---- others ---------------------------------------------------------------------------------- */

static const char *role_text(const struct identity *identity) {
    return identity->role == KEYS_HOST ? "host" : identity->role == KEYS_PROGRAM ? "program" : "CA";
}

int keyring_admits(const struct keyring *keyring, X509 *certificate, const char *expected,
                   int64_t now, const char *who, struct wrong *wrong,
                   struct identity *ret_identity) {
    struct identity identity, ours;
    char date[KEYS_DATE_SIZE];

    if (identity_read(certificate, &identity) < 0 || identity_read(keyring->ca, &ours) < 0 ||
        identity.role == KEYS_AUTHORITY)
        return wrong_set(wrong, -EKEYREJECTED, "%.80s: its certificate names no host or program",
                         who);
    if (strcmp(identity.cluster, ours.cluster) != 0)
        return wrong_set(wrong, -EKEYREJECTED, "%.60s: it is of the cluster %s, this is %s", who,
                         identity.cluster, ours.cluster);
    if (identity.begins > now)
        return wrong_set(wrong, -EKEYEXPIRED,
                         "%.60s: the certificate of %s begins on %s: is the clock right?", who,
                         identity.name, identity_date(identity.begins, date));
    if (identity.ends <= now)
        return wrong_set(wrong, -EKEYEXPIRED,
                         "%.60s: the certificate of %s ended on %s: tram keys renew", who,
                         identity.name, identity_date(identity.ends, date));
    if (revoked_has(keyring->revoked, certificate))
        return wrong_set(wrong, -EKEYREVOKED, "%.80s: the certificate of %s was revoked", who,
                         identity.name);
    if (expected && *expected && !identity_is(certificate, &identity, expected))
        return wrong_set(wrong, -EKEYREJECTED, "%.60s: by its certificate it is %s %s, not %.63s",
                         who, role_text(&identity), identity.name, expected);
    *ret_identity = identity;
    return 0;
}

int keyring_trusts(const struct keyring *keyring, X509 *certificate, const char *expected,
                   int64_t now, const char *who, struct wrong *wrong,
                   struct identity *ret_identity) {
    int signed_by_us = X509_verify(certificate, X509_get0_pubkey(keyring->ca));

    ERR_clear_error();
    if (signed_by_us != 1)
        return wrong_set(wrong, -EKEYREJECTED,
                         "%.80s: its certificate is not signed by the CA of this cluster", who);
    return keyring_admits(keyring, certificate, expected, now, who, wrong, ret_identity);
}
