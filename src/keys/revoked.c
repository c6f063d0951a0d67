/* SPDX-License-Identifier: MIT */
#include "keys/revoked.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

int revoked_parse(const void *bytes, size_t size, X509_CRL **ret_list, struct wrong *wrong) {
    const unsigned char *at = bytes;
    OWNS(BIO) *bio = NULL;
    X509_CRL *list;

    if (size == 0 || size > REVOKED_MAX)
        return wrong_set(wrong, -EBADMSG, "a list of the revoked has 1 byte to 1 MiB");
    list = d2i_X509_CRL(NULL, &at, (long) size);
    if (list && at != (const unsigned char *) bytes + size) {
        X509_CRL_free(list);
        list = NULL;
    }
    if (!list) {
        bio = BIO_new_mem_buf(bytes, (int) size);
        list = bio ? PEM_read_bio_X509_CRL(bio, NULL, NULL, NULL) : NULL;
    }
    ERR_clear_error();
    if (!list)
        return wrong_set(wrong, -EBADMSG, "this is no list of the revoked (X.509 CRL)");
    *ret_list = list;
    return 0;
}

int revoked_check(X509_CRL *list, X509 *ca, struct wrong *wrong) {
    int rc = X509_CRL_verify(list, X509_get0_pubkey(ca));

    ERR_clear_error();
    if (rc != 1 || X509_NAME_cmp(X509_CRL_get_issuer(list), X509_get_subject_name(ca)) != 0)
        return wrong_set(wrong, -EKEYREJECTED,
                         "the list of the revoked is not signed by the CA of this cluster");
    return 0;
}

uint64_t revoked_number(X509_CRL *list) {
    ASN1_INTEGER *number =
        list ? X509_CRL_get_ext_d2i(list, NID_crl_number, NULL, NULL) : NULL;
    uint64_t value = 0;

    if (number && ASN1_INTEGER_get_uint64(&value, number) != 1)
        value = 0;
    ASN1_INTEGER_free(number);
    ERR_clear_error();
    return value;
}

int revoked_bytes(X509_CRL *list, void **ret_bytes, size_t *ret_size) {
    int size = i2d_X509_CRL(list, NULL);
    unsigned char *bytes = size > 0 ? malloc((size_t) size) : NULL, *at = bytes;

    if (!bytes)
        return -ENOMEM;
    (void) i2d_X509_CRL(list, &at);
    *ret_bytes = bytes;
    *ret_size = (size_t) size;
    return 0;
}

bool revoked_has(X509_CRL *list, X509 *certificate) {
    X509_REVOKED *entry;

    return list && X509_CRL_get0_by_cert(list, &entry, certificate) == 1;
}

/* ---- making ---------------------------------------------------------------------------------- */

static bool copy_entries(X509_CRL *list, X509_CRL *old) {
    STACK_OF(X509_REVOKED) *entries = old ? X509_CRL_get_REVOKED(old) : NULL;

    for (int i = 0; i < sk_X509_REVOKED_num(entries); i++) {
        X509_REVOKED *copy = X509_REVOKED_dup(sk_X509_REVOKED_value(entries, i));

        if (!copy || X509_CRL_add0_revoked(list, copy) != 1) {
            X509_REVOKED_free(copy);
            return false;
        }
    }
    return true;
}

static bool add_entry(X509_CRL *list, X509 *certificate, const ASN1_TIME *when) {
    X509_REVOKED *entry = X509_REVOKED_new();

    if (entry && X509_REVOKED_set_revocationDate(entry, (ASN1_TIME *) (uintptr_t) when) == 1 &&
        X509_REVOKED_set_serialNumber(
            entry, (ASN1_INTEGER *) (uintptr_t) X509_get0_serialNumber(certificate)) == 1 &&
        X509_CRL_add0_revoked(list, entry) == 1)
        return true;
    X509_REVOKED_free(entry);
    return false;
}

static bool add_number(X509_CRL *list, uint64_t value) {
    ASN1_INTEGER *number = ASN1_INTEGER_new();
    bool done = number && ASN1_INTEGER_set_uint64(number, value) == 1 &&
                X509_CRL_add1_ext_i2d(list, NID_crl_number, number, 0, 0) == 1;

    ASN1_INTEGER_free(number);
    return done;
}

int revoked_make(X509_CRL *old, X509 *certificate, X509 *ca, EVP_PKEY *key, int64_t now,
                 X509_CRL **ret_list, struct wrong *wrong) {
    OWNS(X509_CRL) *list = X509_CRL_new();
    ASN1_TIME *when = ASN1_TIME_set(NULL, now);
    bool done = list && when && X509_CRL_set_version(list, 1) == 1 &&
                X509_CRL_set_issuer_name(list, X509_get_subject_name(ca)) == 1 &&
                X509_CRL_set1_lastUpdate(list, when) == 1 && copy_entries(list, old) &&
                (!certificate || revoked_has(old, certificate) ||
                 add_entry(list, certificate, when)) &&
                add_number(list, revoked_number(old) + 1) && X509_CRL_sort(list) == 1 &&
                X509_CRL_sign(list, key, NULL) > 0;

    ASN1_TIME_free(when);
    if (!done)
        return wrong_set(wrong, -EIO, "cannot make the list of the revoked: %s",
                         keys_openssl_text());
    *ret_list = list;
    list = NULL;
    return 0;
}
