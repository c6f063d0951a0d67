/* SPDX-License-Identifier: MIT */
#include "keys/make.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROUNDS 600000 /* of PBKDF2 with SHA-256: a guess costs a third of a second */

int make_key(EVP_PKEY **ret_key, struct wrong *wrong) {
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");

    if (!key)
        return wrong_set(wrong, -EIO, "cannot make a key: %s", keys_openssl_text());
    *ret_key = key;
    return 0;
}

/* ---- certificates ---------------------------------------------------------------------------- */

static bool set_serial(X509 *certificate) {
    unsigned char bytes[16];
    BIGNUM *number;
    bool done;

    if (RAND_bytes(bytes, sizeof(bytes)) != 1)
        return false;
    bytes[0] = (unsigned char) ((bytes[0] & 0x7f) | 0x40); /* positive, and always as long */
    number = BN_bin2bn(bytes, sizeof(bytes), NULL);
    done = number && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate)) != NULL;
    BN_free(number);
    return done;
}

static bool set_subject(X509 *certificate, const struct certificate_order *order) {
    X509_NAME *subject = X509_get_subject_name(certificate);
    const char *common = order->role == KEYS_AUTHORITY ? "CA" : order->name;

    return X509_NAME_add_entry_by_txt(subject, "O", MBSTRING_UTF8,
                                      (const unsigned char *) order->cluster, -1, -1, 0) == 1 &&
           X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8,
                                      (const unsigned char *) common, -1, -1, 0) == 1 &&
           X509_set_issuer_name(certificate, order->ca ? X509_get_subject_name(order->ca)
                                                       : subject) == 1;
}

static bool add(X509 *certificate, X509V3_CTX *context, int nid, const char *value) {
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, context, nid, value);
    bool done = extension && X509_add_ext(certificate, extension, -1) == 1;

    X509_EXTENSION_free(extension);
    return done;
}

/* An address, or a DNS name; not by way of OpenSSL's own language, in which ',' means more. */
static bool add_address(GENERAL_NAMES *names, const char *text) {
    ASN1_OCTET_STRING *ip = a2i_IPADDRESS(text);
    GENERAL_NAME *name = GENERAL_NAME_new();
    ASN1_IA5STRING *dns = ip ? NULL : ASN1_IA5STRING_new();

    if (!name || (!ip && (!dns || ASN1_STRING_set(dns, text, -1) != 1)) ||
        sk_GENERAL_NAME_push(names, name) <= 0) {
        ASN1_OCTET_STRING_free(ip);
        ASN1_IA5STRING_free(dns);
        GENERAL_NAME_free(name);
        return false;
    }
    GENERAL_NAME_set0_value(name, ip ? GEN_IPADD : GEN_DNS, ip ? (void *) ip : (void *) dns);
    return true;
}

static bool add_names(X509 *certificate, const struct certificate_order *order) {
    GENERAL_NAMES *names = GENERAL_NAMES_new();
    ASN1_IA5STRING *uri = ASN1_IA5STRING_new();
    GENERAL_NAME *name = GENERAL_NAME_new();
    char text[256];
    bool done = names && uri && name &&
                ASN1_STRING_set(uri, identity_uri(order->role, order->cluster, order->name, text),
                                -1) == 1 &&
                sk_GENERAL_NAME_push(names, name) > 0;

    if (done) {
        GENERAL_NAME_set0_value(name, GEN_URI, uri);
    } else {
        ASN1_IA5STRING_free(uri);
        GENERAL_NAME_free(name);
    }
    for (int i = 0; done && order->addresses && order->addresses[i]; i++)
        done = add_address(names, order->addresses[i]);
    done = done && X509_add1_ext_i2d(certificate, NID_subject_alt_name, names, 0, 0) == 1;
    GENERAL_NAMES_free(names);
    return done;
}

static bool add_extensions(X509 *certificate, const struct certificate_order *order) {
    bool authority = order->role == KEYS_AUTHORITY;
    X509V3_CTX context;

    X509V3_set_ctx(&context, order->ca ? order->ca : certificate, certificate, NULL, NULL, 0);
    return add(certificate, &context, NID_basic_constraints,
               authority ? "critical,CA:TRUE,pathlen:0" : "critical,CA:FALSE") &&
           add(certificate, &context, NID_key_usage,
               authority ? "critical,keyCertSign,cRLSign" : "critical,digitalSignature") &&
           (authority ||
            add(certificate, &context, NID_ext_key_usage, "serverAuth,clientAuth")) &&
           add(certificate, &context, NID_subject_key_identifier, "hash") &&
           add(certificate, &context, NID_authority_key_identifier, "keyid") &&
           add_names(certificate, order);
}

int make_certificate(const struct certificate_order *order, X509 **ret_certificate,
                     struct wrong *wrong) {
    OWNS(X509) *certificate = X509_new();
    bool done = certificate && X509_set_version(certificate, 2) == 1 && set_serial(certificate) &&
                ASN1_TIME_set(X509_getm_notBefore(certificate), order->begins) &&
                ASN1_TIME_set(X509_getm_notAfter(certificate), order->ends) &&
                set_subject(certificate, order) &&
                X509_set_pubkey(certificate, order->key) == 1 &&
                add_extensions(certificate, order) &&
                X509_sign(certificate, order->ca_key, NULL) > 0;

    if (!done)
        return wrong_set(wrong, -EIO, "cannot make a certificate: %s", keys_openssl_text());
    *ret_certificate = certificate;
    certificate = NULL;
    return 0;
}

/* ---- text ------------------------------------------------------------------------------------ */

int make_text(BIO *bio, char **ret_text, size_t *ret_size) {
    char *bytes, *text;
    long size = BIO_get_mem_data(bio, &bytes);

    text = malloc((size_t) size + 1);
    if (!text)
        return -ENOMEM;
    memcpy(text, bytes, (size_t) size);
    text[size] = '\0';
    *ret_text = text;
    *ret_size = (size_t) size;
    return 0;
}

static bool write_locked(BIO *bio, EVP_PKEY *key, const char *passphrase) {
    PKCS8_PRIV_KEY_INFO *plain = EVP_PKEY2PKCS8(key);
    unsigned char salt[16];
    X509_ALGOR *method = RAND_bytes(salt, sizeof(salt)) == 1
                             ? PKCS5_pbe2_set_iv(EVP_aes_256_cbc(), ROUNDS, salt, sizeof(salt),
                                                 NULL, NID_hmacWithSHA256)
                             : NULL;
    X509_SIG *locked =
        plain && method
            ? PKCS8_set0_pbe(passphrase, (int) strlen(passphrase), plain, method)
            : NULL;
    bool done = locked && PEM_write_bio_PKCS8(bio, locked) == 1;

    if (!locked)
        X509_ALGOR_free(method);
    X509_SIG_free(locked);
    PKCS8_PRIV_KEY_INFO_free(plain);
    return done;
}

int make_key_text(EVP_PKEY *key, const char *passphrase, char **ret_text, size_t *ret_size,
                  struct wrong *wrong) {
    OWNS(BIO) *bio = BIO_new(BIO_s_secmem());
    bool done = bio && (passphrase
                            ? write_locked(bio, key, passphrase)
                            : PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL));

    if (!done)
        return wrong_set(wrong, -EIO, "cannot write a key: %s", keys_openssl_text());
    return make_text(bio, ret_text, ret_size);
}
