/* SPDX-License-Identifier: MIT
 *
 * The keys of a host, made into what OpenSSL works with.
 */
#include <errno.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "keys/revoked.h"
#include "tls/tls.h"

/* AES with 128 bits is the fastest where the processor has it, and ChaCha where it hasn't. */
#define CIPHERS "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
#define GROUPS  "X25519:P-256"
#define SIGNS   "ed25519:ECDSA+SHA256"
#define CHAIN_MAX 16384 /* bytes of certificates that a peer may show before it is known */

static struct tls_security *tls_security_of(const struct security *security) {
    return (struct tls_security *) (uintptr_t) security;
}

static int64_t clock_seconds(void) {
    return time(NULL);
}

void tls_peer_set(struct transport_peer *peer, const struct identity *identity) {
    peer->role = identity->role == KEYS_HOST ? TRANSPORT_HOST : TRANSPORT_PROGRAM;
    (void) snprintf(peer->name, sizeof(peer->name), "%s", identity->name);
    (void) snprintf(peer->cluster, sizeof(peer->cluster), "%s", identity->cluster);
    (void) snprintf(peer->serial, sizeof(peer->serial), "%s", identity->serial);
    peer->ends = identity->ends;
}

/* ---- the context ----------------------------------------------------------------------------- */

static bool set_rules(SSL_CTX *context) {
    static char groups[] = GROUPS, signs[] = SIGNS; /* OpenSSL's macros want no const */

    return SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) == 1 &&
           SSL_CTX_set_max_proto_version(context, TLS1_3_VERSION) == 1 &&
           SSL_CTX_set_ciphersuites(context, CIPHERS) == 1 &&
           SSL_CTX_set1_groups_list(context, groups) == 1 &&
           SSL_CTX_set1_sigalgs_list(context, signs) == 1 &&
           /* No tickets: who comes again is checked again. */
           SSL_CTX_set_num_tickets(context, 0) == 1 && SSL_CTX_set_max_early_data(context, 0) == 1;
}

static bool set_keys(SSL_CTX *context, const struct keyring *keyring) {
    return SSL_CTX_use_certificate(context, keyring->certificate) == 1 &&
           SSL_CTX_use_PrivateKey(context, keyring->key) == 1 &&
           SSL_CTX_check_private_key(context) == 1 &&
           X509_STORE_add_cert(SSL_CTX_get_cert_store(context), keyring->ca) == 1;
}

static int make_context(const struct keyring *keyring, SSL_CTX **ret_context,
                        struct wrong *wrong) {
    SSL_CTX *context = SSL_CTX_new(TLS_method());

    if (!context || !set_rules(context) || !set_keys(context, keyring)) {
        SSL_CTX_free(context);
        return wrong_set(wrong, -EIO, "OpenSSL does not take the keys: %s", keys_openssl_text());
    }
    (void) SSL_CTX_set_options(context, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION |
                                            SSL_OP_NO_TICKET | SSL_OP_CIPHER_SERVER_PREFERENCE |
                                            SSL_OP_PRIORITIZE_CHACHA);
    (void) SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    (void) SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_max_cert_list(context, CHAIN_MAX);
    SSL_CTX_set_read_ahead(context, 1);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, tls_verify);
    SSL_CTX_set_verify_depth(context, 0);
    *ret_context = context;
    return 0;
}

/* ---- reading --------------------------------------------------------------------------------- */

static void forget_revoked(struct tls_security *me) {
    free(me->revoked);
    me->revoked = NULL;
    me->revoked_size = 0;
}

/* The list that we have may be newer than what the files say. */
static void keep_newer_list(struct tls_security *me, struct keyring *fresh) {
    X509_CRL *list = me->keyring.revoked;

    if (!list || revoked_number(list) <= revoked_number(fresh->revoked) ||
        revoked_check(list, fresh->ca, NULL) < 0)
        return;
    X509_CRL_free(fresh->revoked);
    fresh->revoked = list;
    me->keyring.revoked = NULL;
}

static int load(struct tls_security *me, struct wrong *wrong) {
    struct keyring_paths paths = {
        .bundle = me->paths[0],
        .ca = me->paths[1],
        .certificate = me->paths[2],
        .key = me->paths[3],
        .revoked = me->paths[4],
    };
    struct keyring keyring;
    SSL_CTX *context = NULL;
    int rc = keyring_load(&paths, clock_seconds(), &keyring, wrong);

    if (rc < 0)
        return rc;
    rc = make_context(&keyring, &context, wrong);
    if (rc < 0) {
        keyring_deinit(&keyring);
        return rc;
    }
    keep_newer_list(me, &keyring);
    keyring_deinit(&me->keyring);
    SSL_CTX_free(me->context);
    me->keyring = keyring;
    me->context = context;
    me->self = (struct transport_peer){ .version = "TLSv1.3" };
    tls_peer_set(&me->self, &keyring.self);
    forget_revoked(me);
    return 0;
}

static void end(struct security *security) {
    struct tls_security *me = tls_security_of(security);

    keyring_deinit(&me->keyring);
    SSL_CTX_free(me->context);
    BIO_meth_free(me->method);
    forget_revoked(me);
    for (int i = 0; i < 5; i++)
        free(me->paths[i]);
    free(me);
}

static int make(const struct security_paths *paths, struct security **ret_security,
                struct wrong *wrong) {
    const char *const texts[5] = { paths->bundle, paths->ca, paths->certificate, paths->key,
                                   paths->revoked };
    struct tls_security *me = calloc(1, sizeof(*me));
    bool whole = me != NULL;
    int rc;

    for (int i = 0; whole && i < 5; i++)
        whole = !texts[i] || (me->paths[i] = strdup(texts[i]));
    if (whole && !texts[4] && texts[0] && *texts[0])
        whole = asprintf(&me->paths[4], "%s.revoked", texts[0]) >= 0;
    if (whole)
        me->method = tls_method_new();
    whole = whole && me->method;
    rc = whole ? load(me, wrong) : wrong_set(wrong, -ENOMEM, "no memory for keys");
    if (rc < 0) {
        if (me)
            end(&me->security);
        return rc;
    }
    *ret_security = &me->security;
    return 0;
}

static int reload(struct security *security, struct wrong *wrong) {
    return load(tls_security_of(security), wrong);
}

static const struct transport_peer *self(const struct security *security) {
    return &tls_security_of(security)->self;
}

/* ---- the revoked ----------------------------------------------------------------------------- */

static const void *revoked(const struct security *security, size_t *ret_size,
                           uint64_t *ret_number) {
    struct tls_security *me = tls_security_of(security);

    if (!me->revoked && me->keyring.revoked &&
        revoked_bytes(me->keyring.revoked, &me->revoked, &me->revoked_size) < 0)
        forget_revoked(me);
    *ret_size = me->revoked_size;
    *ret_number = me->revoked ? revoked_number(me->keyring.revoked) : 0;
    return me->revoked;
}

static int revoked_take(struct security *security, const void *bytes, size_t size,
                        struct wrong *wrong) {
    struct tls_security *me = tls_security_of(security);
    OWNS(X509_CRL) *list = NULL;
    int rc = revoked_parse(bytes, size, &list, wrong);

    if (rc == 0)
        rc = revoked_check(list, me->keyring.ca, wrong);
    if (rc < 0 || revoked_number(list) <= revoked_number(me->keyring.revoked))
        return rc;
    X509_CRL_free(me->keyring.revoked);
    me->keyring.revoked = list;
    list = NULL;
    forget_revoked(me);
    if (wrong)
        wrong->text[0] = '\0';
    /* What is not written counts all the same, and comes again after a restart. */
    if (me->paths[4] && *me->paths[4])
        (void) keys_file_write(me->paths[4], bytes, size, 0644, true, wrong);
    return 1;
}

/* ---- connections ----------------------------------------------------------------------------- */

static int transport(struct security *security, struct transport **ret_transport) {
    struct tls_security *me = tls_security_of(security);
    struct tls *tls = calloc(1, sizeof(*tls));
    BIO *bio = NULL;

    if (tls) {
        tls->ssl = SSL_new(me->context);
        bio = BIO_new(me->method);
    }
    if (!tls || !tls->ssl || !bio) {
        if (tls)
            SSL_free(tls->ssl);
        BIO_free(bio);
        free(tls);
        ERR_clear_error();
        return -ENOMEM;
    }
    BIO_set_data(bio, tls);
    BIO_set_init(bio, 1);
    SSL_set_bio(tls->ssl, bio, bio);
    SSL_set_app_data(tls->ssl, (char *) tls);
    tls->transport.ops = &tls_ops;
    tls->security = tls_security_of(security_ref(security));
    *ret_transport = &tls->transport;
    return 0;
}

const struct security_maker tram_tls_maker = {
    .version = TRAM_VERSION,
    .make = make,
    .end = end,
    .reload = reload,
    .self = self,
    .revoked = revoked,
    .revoked_take = revoked_take,
    .transport = transport,
};
