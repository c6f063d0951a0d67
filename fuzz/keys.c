/* SPDX-License-Identifier: MIT
 *
 * What is read of keys outside TLS: bundles (files of an operator), lists of the revoked (from any
 * host of the cluster) and the name in a certificate. What is taken is whole; a list that is taken
 * can be told to others and read again; and a name has one spelling.
 */
#include <errno.h>
#include <openssl/err.h>
#include <string.h>

#include "fuzz.h"
#include "keys/keyring.h"
#include "keys/revoked.h"

static void check_name(const char *uri, size_t size) {
    struct identity identity, again;
    char spelt[256];

    if (identity_parse(uri, size, &identity) < 0)
        return;
    REQUIRE(keys_name_valid(identity.cluster));
    REQUIRE(identity.role == KEYS_AUTHORITY || keys_name_valid(identity.name));
    (void) identity_uri(identity.role, identity.cluster, identity.name, spelt);
    REQUIRE(strlen(spelt) == size && memcmp(spelt, uri, size) == 0);
    REQUIRE(identity_parse(spelt, size, &again) == 0 && again.role == identity.role);
}

static void check_list(const void *bytes, size_t size) {
    struct wrong wrong = { 0 };
    X509_CRL *list = NULL, *again = NULL;
    void *told = NULL;
    size_t told_size = 0;

    if (revoked_parse(bytes, size, &list, &wrong) < 0) {
        REQUIRE(!list && wrong.text[0] != '\0');
        return;
    }
    if (revoked_bytes(list, &told, &told_size) == 0) {
        REQUIRE(revoked_parse(told, told_size, &again, &wrong) == 0);
        REQUIRE(revoked_number(again) == revoked_number(list));
    }
    X509_CRL_free(list);
    X509_CRL_free(again);
    free(told);
}

static void check_bundle(const void *bytes, size_t size) {
    struct keyring keyring = { 0 };
    struct wrong wrong = { 0 };
    struct identity identity;
    char text[KEYS_PRINT_SIZE];

    if (keyring_parse(bytes, size, "fuzz", &keyring, &wrong) < 0) {
        REQUIRE(wrong.text[0] != '\0');
        return;
    }
    if (keyring.certificate) {
        REQUIRE(keyring.key);
        REQUIRE(X509_check_private_key(keyring.certificate, keyring.key) == 1);
        (void) identity_print(keyring.certificate, text);
    }
    if (keyring.certificate && keyring.ca &&
        keyring_trusts(&keyring, keyring.certificate, NULL, 1800000000, "fuzz", &wrong,
                       &identity) == 0)
        REQUIRE(keys_name_valid(identity.name) && identity.ends > 1800000000);
    keyring_deinit(&keyring);
    ERR_clear_error();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0)
        return 0;
    switch (*data % 3) {
    case 0:
        check_name((const char *) data + 1, size - 1);
        break;
    case 1:
        check_list(data + 1, size - 1);
        break;
    default:
        check_bundle(data + 1, size - 1);
    }
    return 0;
}
