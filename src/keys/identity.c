/* SPDX-License-Identifier: MIT */
#include "keys/identity.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "wire/name.h"

#define SCHEME "tram://"

static const char *const role_words[] = { "", "host", "program" };

bool keys_name_valid(const char *text) {
    return *text != '\0' && *text != '.' && *text != '-' && name_instance_valid(text);
}

char *identity_uri(enum keys_role role, const char *cluster, const char *name, char *buffer) {
    if (role == KEYS_AUTHORITY)
        (void) snprintf(buffer, 256, SCHEME "%s", cluster);
    else
        (void) snprintf(buffer, 256, SCHEME "%s/%s/%s", cluster, role_words[role], name);
    return buffer;
}

/* The part up to `end`, which is a name. */
static bool take(const char *at, const char *end, char *ret_name) {
    size_t size = (size_t) (end - at);

    if (size >= KEYS_NAME_SIZE || memchr(at, 0, size))
        return false;
    memcpy(ret_name, at, size);
    ret_name[size] = '\0';
    return keys_name_valid(ret_name);
}

int identity_parse(const char *uri, size_t size, struct identity *ret_identity) {
    struct identity identity = { .role = KEYS_AUTHORITY };
    const char *at = uri + strlen(SCHEME), *end = uri + size, *slash;

    if (size < strlen(SCHEME) || memcmp(uri, SCHEME, strlen(SCHEME)) != 0)
        return -EINVAL;
    slash = memchr(at, '/', (size_t) (end - at));
    if (!take(at, slash ? slash : end, identity.cluster))
        return -EINVAL;
    if (slash) {
        char word[KEYS_NAME_SIZE];

        at = slash + 1;
        slash = memchr(at, '/', (size_t) (end - at));
        if (!slash || !take(at, slash, word) || !take(slash + 1, end, identity.name))
            return -EINVAL;
        if (strcmp(word, role_words[KEYS_HOST]) == 0)
            identity.role = KEYS_HOST;
        else if (strcmp(word, role_words[KEYS_PROGRAM]) == 0)
            identity.role = KEYS_PROGRAM;
        else
            return -EINVAL;
    }
    *ret_identity = identity;
    return 0;
}

/* How many of the names are ours; *ret_identity is of the last. */
static int read_names(X509 *certificate, struct identity *ret_identity) {
    GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    int found = 0;

    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        const ASN1_IA5STRING *uri = name->d.uniformResourceIdentifier;

        if (name->type != GEN_URI)
            continue;
        if (identity_parse((const char *) ASN1_STRING_get0_data(uri),
                           (size_t) ASN1_STRING_length(uri), ret_identity) == 0)
            found++;
    }
    GENERAL_NAMES_free(names);
    return found;
}

static void read_serial(X509 *certificate, char ret_serial[KEYS_SERIAL_SIZE]) {
    BIGNUM *number = ASN1_INTEGER_to_BN(X509_get0_serialNumber(certificate), NULL);
    char *text = number ? BN_bn2hex(number) : NULL;

    (void) snprintf(ret_serial, KEYS_SERIAL_SIZE, "%s", text ? text : "?");
    OPENSSL_free(text);
    BN_free(number);
}

int64_t identity_seconds(const ASN1_TIME *time) {
    struct tm parts;

    if (!time || ASN1_TIME_to_tm(time, &parts) != 1)
        return 0;
    return timegm(&parts);
}

int identity_read(X509 *certificate, struct identity *ret_identity) {
    struct identity identity;
    int found = read_names(certificate, &identity);

    ERR_clear_error();
    if (found != 1)
        return -EBADMSG;
    read_serial(certificate, identity.serial);
    identity.begins = identity_seconds(X509_get0_notBefore(certificate));
    identity.ends = identity_seconds(X509_get0_notAfter(certificate));
    *ret_identity = identity;
    return 0;
}

bool identity_is(X509 *certificate, const struct identity *identity, const char *expected) {
    if (identity->role == KEYS_HOST && strcmp(identity->name, expected) == 0)
        return true;
    /* Not by the subject: that is for people. */
    return X509_check_ip_asc(certificate, expected, 0) == 1 ||
           X509_check_host(certificate, expected, 0, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT, NULL) ==
               1;
}

char *identity_print(X509 *certificate, char buffer[KEYS_PRINT_SIZE]) {
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int size = 0;
    size_t at = 0;

    buffer[0] = '\0';
    if (X509_digest(certificate, EVP_sha256(), digest, &size) != 1)
        return buffer;
    for (unsigned int i = 0; i < size && at + 4 < KEYS_PRINT_SIZE; i++)
        at += (size_t) snprintf(buffer + at, KEYS_PRINT_SIZE - at, i > 0 ? ":%02X" : "%02X",
                                digest[i]);
    return buffer;
}

char *identity_date(int64_t seconds, char buffer[KEYS_DATE_SIZE]) {
    time_t when = seconds;
    struct tm parts;

    if (!gmtime_r(&when, &parts) ||
        strftime(buffer, KEYS_DATE_SIZE, "%Y-%m-%d %H:%M UTC", &parts) == 0)
        buffer[0] = '\0';
    return buffer;
}

const char *keys_openssl_text(void) {
    unsigned long error = ERR_peek_last_error();
    const char *text = ERR_reason_error_string(error);

    ERR_clear_error();
    return text ? text : "no more is known";
}
