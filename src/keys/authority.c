/* SPDX-License-Identifier: MIT */
#include "keys/authority.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "keys/identity.h"
#include "keys/keyring.h"
#include "keys/make.h"
#include "keys/revoked.h"
#include "sys/cleanup.h"
#include "sys/file.h"
#include "sys/lock.h"

#define DAY INT64_C(86400)
#define ADDRESS_CHARACTERS                                                                         \
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.:-"

struct authority {
    char *folder, *list;
    X509 *ca;
    X509_CRL *revoked;
    EVP_PKEY *key; /* NULL: locked */
    struct identity self;
    int lock;
};

static char *path_of(const char *folder, const char *name) {
    char *path;

    return asprintf(&path, "%s/%s", folder, name) < 0 ? NULL : path;
}

static int put(const char *folder, const char *name, const void *bytes, size_t size, uint32_t mode,
               bool replace, struct wrong *wrong) {
    OWNS_MEMORY char *path = path_of(folder, name);

    return path ? keys_file_write(path, bytes, size, mode, replace, wrong)
                : wrong_set(wrong, -ENOMEM, "no memory");
}

static int put_certificate(const char *folder, const char *name, X509 *certificate, bool replace,
                           struct wrong *wrong) {
    OWNS(BIO) *bio = BIO_new(BIO_s_mem());
    OWNS_MEMORY char *text = NULL;
    size_t size;

    if (!bio || PEM_write_bio_X509(bio, certificate) != 1 || make_text(bio, &text, &size) < 0)
        return wrong_set(wrong, -ENOMEM, "no memory");
    return put(folder, name, text, size, 0644, replace, wrong);
}

static int put_revoked(const char *folder, X509_CRL *list, struct wrong *wrong) {
    OWNS(BIO) *bio = BIO_new(BIO_s_mem());
    OWNS_MEMORY char *text = NULL;
    size_t size;

    if (!bio || PEM_write_bio_X509_CRL(bio, list) != 1 || make_text(bio, &text, &size) < 0)
        return wrong_set(wrong, -ENOMEM, "no memory");
    return put(folder, "revoked.crl", text, size, 0644, true, wrong);
}

/* ---- the folder ------------------------------------------------------------------------------ */

/* And those above it. */
static int make_folders(const char *folder, struct wrong *wrong) {
    OWNS_MEMORY char *path = strdup(folder);
    int rc = path ? 0 : -ENOMEM;

    for (char *slash = path ? strchr(path + 1, '/') : NULL; rc == 0 && slash;
         slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        rc = sys_dir_make(AT_FDCWD, path, 0700);
        rc = rc == -EEXIST ? 0 : rc;
        *slash = '/';
    }
    if (rc == 0)
        rc = sys_dir_make(AT_FDCWD, folder, 0700);
    return rc < 0 && rc != -EEXIST
               ? wrong_set(wrong, rc, "cannot make %.150s: %s", folder, strerror(-rc))
               : 0;
}

static int make_in(const char *folder, const char *passphrase,
                   struct certificate_order *order, struct wrong *wrong) {
    OWNS(X509_CRL) *list = NULL;
    OWNS_MEMORY char *text = NULL, *issued = path_of(folder, "issued");
    OWNS(X509) *ca = NULL;
    size_t size = 0;
    int rc = issued ? make_certificate(order, &ca, wrong) : -ENOMEM;

    if (rc == 0)
        rc = revoked_make(NULL, NULL, ca, order->key, order->begins + DAY, &list, wrong);
    if (rc == 0)
        rc = make_folders(issued, wrong);
    if (rc == 0)
        rc = make_key_text(order->key, passphrase, &text, &size, wrong);
    if (rc == 0)
        rc = put(folder, "ca.key", text, size, 0600, false, wrong);
    if (text)
        OPENSSL_cleanse(text, size);
    if (rc == 0)
        rc = put_revoked(folder, list, wrong);
    if (rc == 0)
        rc = put_certificate(folder, "ca.crt", ca, true, wrong);
    return rc;
}

int authority_make(const char *folder, const char *cluster, const char *passphrase, int64_t now,
                   uint32_t days, struct wrong *wrong) {
    struct certificate_order order = { .role = KEYS_AUTHORITY,
                                       .cluster = cluster,
                                       .name = "",
                                       .begins = now - DAY,
                                       .ends = now + days * DAY };
    OWNS(EVP_PKEY) *key = NULL;
    int rc;

    if (!keys_name_valid(cluster))
        return wrong_set(wrong, -EINVAL,
                         "'%.70s' is no name of a cluster: 1 to 63 of A-Z a-z 0-9 . _ -", cluster);
    rc = make_key(&key, wrong);
    if (rc < 0)
        return rc;
    order.key = order.ca_key = key;
    rc = make_in(folder, passphrase, &order, wrong);
    if (rc == -EEXIST)
        return wrong_set(wrong, rc,
                         "%.150s holds the keys of a cluster; another needs another folder",
                         folder);
    return rc;
}

/* ---- opening --------------------------------------------------------------------------------- */

static int load_list(struct authority *me, struct wrong *wrong) {
    OWNS_MEMORY char *text = NULL;
    size_t size;
    int rc = keys_file_read(me->list, false, &text, &size, wrong);

    if (rc == 0)
        rc = revoked_parse(text, size, &me->revoked, wrong);
    return rc == 0 ? revoked_check(me->revoked, me->ca, wrong) : rc;
}

static int load(struct authority *me, struct wrong *wrong) {
    OWNS_MEMORY char *path = path_of(me->folder, "ca.crt"), *text = NULL;
    OWNS(BIO) *bio = NULL;
    size_t size;
    int rc = path ? keys_file_read(path, false, &text, &size, wrong) : -ENOMEM;

    if (rc == -ENOENT)
        return wrong_set(wrong, rc, "there are no keys in %.120s: 'tram keys init' makes them",
                         me->folder);
    if (rc < 0)
        return rc;
    bio = BIO_new_mem_buf(text, (int) size);
    me->ca = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
    if (!me->ca || identity_read(me->ca, &me->self) < 0 || me->self.role != KEYS_AUTHORITY)
        return wrong_set(wrong, -EBADMSG, "%.150s is no certificate of a CA of 'tram keys'", path);
    return load_list(me, wrong);
}

int authority_open(const char *folder, struct authority **ret_authority, struct wrong *wrong) {
    struct authority *me = calloc(1, sizeof(*me));
    int rc = -ENOMEM;

    if (me) {
        me->lock = -1;
        me->folder = strdup(folder);
        me->list = path_of(folder, "revoked.crl");
        rc = me->folder && me->list ? load(me, wrong) : -ENOMEM;
    }
    if (rc < 0) {
        (void) authority_free(me);
        return rc == -ENOMEM ? wrong_set(wrong, rc, "no memory") : rc;
    }
    *ret_authority = me;
    return 0;
}

struct authority *authority_free(struct authority *me) {
    if (!me)
        return NULL;
    X509_free(me->ca);
    X509_CRL_free(me->revoked);
    EVP_PKEY_free(me->key);
    cleanup_fd(&me->lock);
    free(me->folder);
    free(me->list);
    free(me);
    return NULL;
}

/* Whoever changes something holds the lock, and has read what there is under it. */
static int lock(struct authority *me, struct wrong *wrong) {
    OWNS_FD int dir = sys_dir_open(AT_FDCWD, me->folder);
    int rc = dir;

    if (dir >= 0)
        rc = me->lock = sys_file_open_or_make(dir, "lock", 0600);
    if (rc >= 0)
        rc = sys_lock(me->lock, 0);
    if (rc == -EAGAIN)
        return wrong_set(wrong, -EBUSY, "another 'tram keys' is at work in %.120s", me->folder);
    if (rc < 0)
        return wrong_set(wrong, rc, "cannot lock %.120s: %s", me->folder, strerror(-rc));
    X509_CRL_free(me->revoked);
    me->revoked = NULL;
    return load_list(me, wrong);
}

static int give_passphrase(char *buffer, int size, int writing, void *arg) {
    const char *passphrase = arg;
    int length = passphrase ? (int) strnlen(passphrase, (size_t) size) : -1;

    (void) writing;
    if (length > 0)
        memcpy(buffer, passphrase, (size_t) length);
    return length;
}

int authority_unlock(struct authority *me, const char *passphrase, struct wrong *wrong) {
    OWNS_MEMORY char *path = path_of(me->folder, "ca.key"), *text = NULL;
    OWNS(BIO) *bio = NULL;
    bool encrypted;
    size_t size;
    int rc = path ? keys_file_read(path, true, &text, &size, wrong) : -ENOMEM;

    if (rc < 0)
        return rc;
    encrypted = strstr(text, "ENCRYPTED") != NULL;
    if (encrypted && !passphrase) {
        rc = wrong_set(wrong, -ENOKEY, "%.150s has a passphrase", path);
    } else {
        bio = BIO_new_mem_buf(text, (int) size);
        me->key = bio ? PEM_read_bio_PrivateKey(bio, NULL, give_passphrase,
                                                (void *) (uintptr_t) passphrase)
                      : NULL;
        if (!me->key)
            rc = wrong_set(wrong, -EKEYREJECTED,
                           encrypted ? "that is not the passphrase of %.150s"
                                     : "%.150s is no private key", path);
    }
    ERR_clear_error();
    OPENSSL_cleanse(text, size);
    if (rc == 0 && X509_check_private_key(me->ca, me->key) != 1)
        rc = wrong_set(wrong, -EKEYREJECTED, "%.150s is not the key of ca.crt", path);
    return rc == 0 && me->lock < 0 ? lock(me, wrong) : rc;
}

/* ---- making ---------------------------------------------------------------------------------- */

static int bundle_text(struct authority *me, EVP_PKEY *key, X509 *certificate,
                       const struct authority_order *order, char **ret_text, size_t *ret_size,
                       struct wrong *wrong) {
    OWNS(BIO) *bio = BIO_new(BIO_s_secmem());
    bool done =
        bio &&
        BIO_printf(bio, "# tram: keys of the %s %s in the cluster %s. Whoever has this file can "
                        "pose as it.\n", order->program ? "program" : "host", order->name,
                   me->self.cluster) > 0 &&
        PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) == 1 &&
        PEM_write_bio_X509(bio, certificate) == 1 && PEM_write_bio_X509(bio, me->ca) == 1 &&
        PEM_write_bio_X509_CRL(bio, me->revoked) == 1;

    if (!done || make_text(bio, ret_text, ret_size) < 0)
        return wrong_set(wrong, -EIO, "cannot write keys: %s", keys_openssl_text());
    return 0;
}

int authority_write(const char *path, const char *bundle, size_t size, bool replace,
                    struct wrong *wrong) {
    return keys_file_write(path, bundle, size, 0600, replace, wrong);
}

static bool address_valid(const char *text) {
    size_t size = strlen(text);

    return size > 0 && size < 254 && strspn(text, ADDRESS_CHARACTERS) == size;
}

static int check_order(const struct authority *me, const struct authority_order *order,
                       struct wrong *wrong) {
    if (!me->key)
        return wrong_set(wrong, -ENOKEY, "the key of the CA is locked");
    if (!keys_name_valid(order->name))
        return wrong_set(wrong, -EINVAL,
                         "'%.70s' is no name of a host: 1 to 63 of A-Z a-z 0-9 . _ -",
                         order->name);
    for (int i = 0; order->addresses[i]; i++)
        if (!address_valid(order->addresses[i]))
            return wrong_set(wrong, -EINVAL, "'%.100s' is no address of a host",
                             order->addresses[i]);
    return 0;
}

int authority_issue(struct authority *me, const struct authority_order *order, char **ret_bundle,
                    size_t *ret_size, struct wrong *wrong) {
    struct certificate_order inner = {
        .role = order->program ? KEYS_PROGRAM : KEYS_HOST,
        .cluster = me->self.cluster,
        .name = order->name,
        .addresses = order->addresses,
        .begins = order->begins,
        .ends = order->ends < me->self.ends ? order->ends : me->self.ends,
        .ca = me->ca,
        .ca_key = me->key,
    };
    OWNS_MEMORY char *folder = path_of(me->folder, "issued");
    OWNS(EVP_PKEY) *key = NULL;
    OWNS(X509) *certificate = NULL;
    struct identity identity;
    char name[KEYS_NAME_SIZE + KEYS_SERIAL_SIZE + 8];
    int rc = check_order(me, order, wrong);

    if (rc == 0)
        rc = make_key(&key, wrong);
    inner.key = key;
    if (rc == 0)
        rc = make_certificate(&inner, &certificate, wrong);
    if (rc == 0 && (!folder || identity_read(certificate, &identity) < 0))
        rc = wrong_set(wrong, -ENOMEM, "no memory");
    if (rc < 0)
        return rc;
    /* Noted first: what nobody knows of, nobody can revoke. */
    (void) snprintf(name, sizeof(name), "%s-%s.crt", identity.name, identity.serial);
    rc = put_certificate(folder, name, certificate, false, wrong);
    return rc < 0 ? rc : bundle_text(me, key, certificate, order, ret_bundle, ret_size, wrong);
}

int authority_renew(struct authority *me, int64_t now, uint32_t days, struct wrong *wrong) {
    struct certificate_order order = {
        .role = KEYS_AUTHORITY,
        .cluster = me->self.cluster,
        .name = "",
        .begins = now - DAY,
        .ends = now + days * DAY,
        .key = me->key,
        .ca_key = me->key,
    };
    X509 *certificate;
    int rc;

    if (!me->key)
        return wrong_set(wrong, -ENOKEY, "the key of the CA is locked");
    rc = make_certificate(&order, &certificate, wrong);
    if (rc < 0)
        return rc;
    X509_free(me->ca);
    me->ca = certificate;
    (void) identity_read(certificate, &me->self); /* what was just made can be read */
    return put_certificate(me->folder, "ca.crt", certificate, true, wrong);
}

/* ---- what there is --------------------------------------------------------------------------- */

static void addresses_of(X509 *certificate, char *text, size_t room) {
    GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    OWNS(BIO) *bio = BIO_new(BIO_s_mem());
    size_t size = 0;
    char *bytes;

    for (int i = 0; bio && i < sk_GENERAL_NAME_num(names); i++) {
        GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);

        if (name->type != GEN_URI) {
            (void) GENERAL_NAME_print(bio, name); /* "DNS:…", "IP Address:…" */
            (void) BIO_puts(bio, "\n");
        }
    }
    if (bio)
        size = (size_t) BIO_get_mem_data(bio, &bytes);
    text[0] = '\0';
    for (size_t at = 0; at < size;) {
        char *end = memchr(bytes + at, '\n', size - at);
        char *colon = memchr(bytes + at, ':', size - at);
        size_t length = end && colon && colon < end ? (size_t) (end - colon - 1) : 0;
        size_t used = strlen(text);

        if (length > 0 && used + length + 2 < room)
            (void) snprintf(text + used, room - used, "%s%.*s", used > 0 ? " " : "", (int) length,
                            colon + 1);
        at = end ? (size_t) (end - bytes) + 1 : size;
    }
    /* It is printed: what no address has is no part of one. */
    for (size_t at = 0; text[at]; at++)
        if (text[at] != ' ' && !strchr(ADDRESS_CHARACTERS, text[at]))
            text[at] = '?';
    GENERAL_NAMES_free(names);
    ERR_clear_error();
}

static void entry_of(X509_CRL *list, X509 *certificate, const struct identity *identity,
                     struct authority_entry *entry) {
    *entry = (struct authority_entry){
        .program = identity->role == KEYS_PROGRAM,
        .revoked = revoked_has(list, certificate),
        .begins = identity->begins,
        .ends = identity->ends,
    };
    (void) snprintf(entry->name, sizeof(entry->name), "%s", identity->name);
    (void) snprintf(entry->cluster, sizeof(entry->cluster), "%s", identity->cluster);
    (void) snprintf(entry->serial, sizeof(entry->serial), "%s", identity->serial);
    (void) identity_print(certificate, entry->print);
    addresses_of(certificate, entry->addresses, sizeof(entry->addresses));
}

struct walk {
    const struct authority *me;
    char *folder;
    int (*each)(struct walk *walk, X509 *certificate, const struct identity *identity);
    int (*entry)(void *context, const struct authority_entry *entry);
    void *context;
    struct wrong *wrong;
    /* of revoking */
    const char *what;
    X509_CRL *list;
    int64_t now;
    int found, count;
};

static int walk_one(void *context, const char *name, uint64_t inode) {
    struct walk *walk = context;
    OWNS_MEMORY char *path = NULL, *text = NULL;
    OWNS(X509) *certificate = NULL;
    OWNS(BIO) *bio = NULL;
    struct identity identity;
    size_t size;
    int rc;

    (void) inode;
    if (strlen(name) < 4 || strcmp(name + strlen(name) - 4, ".crt") != 0 || name[0] == '.')
        return 0;
    path = path_of(walk->folder, name);
    rc = path ? keys_file_read(path, false, &text, &size, walk->wrong) : -ENOMEM;
    if (rc < 0)
        return rc;
    bio = BIO_new_mem_buf(text, (int) size);
    certificate = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
    if (!certificate || identity_read(certificate, &identity) < 0)
        return wrong_set(walk->wrong, -EBADMSG, "%.150s is no certificate of 'tram keys'", path);
    return walk->each(walk, certificate, &identity);
}

static int walk(struct walk *walk) {
    OWNS_MEMORY char *folder = path_of(walk->me->folder, "issued");
    OWNS_FD int dir = folder ? sys_dir_open(AT_FDCWD, folder) : -ENOMEM;

    walk->folder = folder;
    if (dir < 0)
        return wrong_set(walk->wrong, dir, "cannot read %.100s/issued: %s", walk->me->folder,
                         strerror(-dir));
    return sys_dir_each(dir, walk_one, walk);
}

static int show_one(struct walk *walk, X509 *certificate, const struct identity *identity) {
    struct authority_entry entry;

    entry_of(walk->me->revoked, certificate, identity, &entry);
    return walk->entry(walk->context, &entry);
}

int authority_each(struct authority *me,
                   int (*each)(void *context, const struct authority_entry *entry), void *context,
                   struct wrong *wrong) {
    struct walk all = { .me = me, .each = show_one, .entry = each, .context = context,
                        .wrong = wrong };
    struct authority_entry entry;
    int rc;

    entry_of(me->revoked, me->ca, &me->self, &entry);
    rc = each(context, &entry);
    return rc != 0 ? rc : walk(&all);
}

/* What a bundle has: its own certificate, or that of a CA alone. */
int authority_each_in(const char *path,
                      int (*each)(void *context, const struct authority_entry *entry),
                      void *context, struct wrong *wrong) {
    OWNS_MEMORY char *text = NULL;
    struct authority_entry entry;
    struct identity identity;
    struct keyring keyring;
    size_t size;
    int rc = keys_file_read(path, false, &text, &size, wrong);

    if (rc == 0)
        rc = keyring_parse(text, size, path, &keyring, wrong);
    if (text)
        OPENSSL_cleanse(text, size);
    if (rc < 0)
        return rc;
    if (!keyring.certificate && !keyring.ca)
        rc = wrong_set(wrong, -EBADMSG, "%.150s has no certificate with its key", path);
    for (int i = 0; rc == 0 && i < 2; i++) {
        X509 *certificate = i == 0 ? keyring.certificate : keyring.ca;

        if (!certificate)
            continue;
        rc = identity_read(certificate, &identity);
        if (rc < 0) {
            (void) wrong_set(wrong, rc, "%.150s: a certificate in it is none of 'tram keys'", path);
            break;
        }
        entry_of(keyring.revoked, certificate, &identity, &entry);
        rc = each(context, &entry);
    }
    keyring_deinit(&keyring);
    return rc;
}

/* ---- revoking -------------------------------------------------------------------------------- */

static int revoke_one(struct walk *walk, X509 *certificate, const struct identity *identity) {
    X509_CRL *list;
    int rc;

    if (strcmp(identity->name, walk->what) != 0 && strcmp(identity->serial, walk->what) != 0)
        return 0;
    walk->found++;
    if (revoked_has(walk->list, certificate))
        return 0;
    rc = revoked_make(walk->list, certificate, walk->me->ca, walk->me->key, walk->now, &list,
                      walk->wrong);
    if (rc < 0)
        return rc;
    if (walk->list != walk->me->revoked)
        X509_CRL_free(walk->list);
    walk->list = list;
    walk->count++;
    return 0;
}

const char *authority_list(const struct authority *me) {
    return me->list;
}

int authority_revoke(struct authority *me, const char *what, int64_t now, int *ret_count,
                     struct wrong *wrong) {
    struct walk all = { .me = me, .each = revoke_one, .wrong = wrong, .what = what,
                        .list = me->revoked, .now = now };
    int rc;

    if (!me->key)
        return wrong_set(wrong, -ENOKEY, "the key of the CA is locked");
    rc = walk(&all);
    if (rc == 0 && all.found == 0)
        rc = wrong_set(wrong, -ENOENT,
                       "there is no certificate of '%.100s': 'tram keys show' lists all", what);
    if (rc == 0 && all.count > 0)
        rc = put_revoked(me->folder, all.list, wrong);
    if (all.list != me->revoked) {
        X509_CRL_free(rc == 0 ? me->revoked : all.list);
        me->revoked = rc == 0 ? all.list : me->revoked;
    }
    if (rc == 0)
        *ret_count = all.count;
    return rc;
}
