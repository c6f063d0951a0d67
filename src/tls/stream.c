/* SPDX-License-Identifier: MIT
 *
 * A connection by TLS 1.3.
 *
 * OpenSSL reads from the socket (as much as fits, which is several records at once) and writes into
 * a buffer of ours. So each write to it succeeds and is over: there is none to be repeated with the
 * same bytes, and what comes next may be something else. The buffer goes to the kernel when it has
 * FLUSH_AT bytes, and at the end of each call; what the kernel does not take stays, and while that
 * is more than FLUSH_AT nothing more is encrypted.
 *
 * Keys for writing are used for RECORDS_MAX records: of AES-GCM no more than 2^24.5 should be made
 * with one key (RFC 8446, 5.5), and OpenSSL does not count.
 */
#include <errno.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tls/tls.h"

#define RECORD      16384u
#define FLUSH_AT    (4 * RECORD)
#define OUT_LEAST   4096u
#define READ_SIZE   (4 * (RECORD + 256u))
#define RECORDS_MAX (UINT64_C(1) << 22)

/* ---- under OpenSSL --------------------------------------------------------------------------- */

static int bio_read(BIO *bio, char *bytes, int size) {
    struct tls *me = BIO_get_data(bio);
    int64_t n = sys_receive(me->transport.fd, bytes, (size_t) size);

    BIO_clear_retry_flags(bio);
    if (n > 0)
        return (int) n;
    if (n == -EAGAIN)
        BIO_set_retry_read(bio);
    else if (n == 0)
        me->ended = true;
    else
        me->error = (int) n;
    return n == 0 ? 0 : -1;
}

static bool room(struct tls *me, size_t more) {
    size_t used = me->out_end - me->out_start, size = me->out_size ? me->out_size : OUT_LEAST;
    uint8_t *out;

    if (me->out_size - me->out_end >= more)
        return true;
    if (me->out_start > 0) {
        memmove(me->out, me->out + me->out_start, used);
        me->out_start = 0;
        me->out_end = used;
    }
    while (size - used < more)
        size *= 2;
    if (size == me->out_size)
        return true;
    out = realloc(me->out, size);
    if (!out)
        return false;
    me->out = out;
    me->out_size = size;
    return true;
}

static int bio_write(BIO *bio, const char *bytes, int size) {
    struct tls *me = BIO_get_data(bio);

    BIO_clear_retry_flags(bio);
    if (!room(me, (size_t) size)) {
        me->error = -ENOMEM;
        return -1;
    }
    memcpy(me->out + me->out_end, bytes, (size_t) size);
    me->out_end += (size_t) size;
    return size;
}

static long bio_control(BIO *bio, int command, long number, void *arg) {
    (void) bio;
    (void) number;
    (void) arg;
    return command == BIO_CTRL_FLUSH;
}

BIO_METHOD *tls_method_new(void) {
    BIO_METHOD *method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "tram");

    if (method && (BIO_meth_set_read(method, bio_read) != 1 ||
                   BIO_meth_set_write(method, bio_write) != 1 ||
                   BIO_meth_set_ctrl(method, bio_control) != 1)) {
        BIO_meth_free(method);
        method = NULL;
    }
    return method;
}

/* SSL_get_error() looks at OpenSSL's queue, where others may have left something. To look first
 * costs little; to clear an empty one 850 instructions, an eighth of what a small record takes. */
static void forget_errors(void) {
    if (ERR_peek_error() != 0)
        ERR_clear_error();
}

/* ---- what went wrong ------------------------------------------------------------------------- */

/* By what the other side, or OpenSSL, said; and what is to be done about it. */
static const struct {
    int reason;
    int code;
    const char *text;
} reasons[] = {
    { SSL_R_UNSUPPORTED_PROTOCOL, -EPROTO, "it does not speak TLS 1.3" },
    { SSL_R_TLSV1_ALERT_PROTOCOL_VERSION, -EPROTO, "it does not speak TLS 1.3" },
    { SSL_R_NO_PROTOCOLS_AVAILABLE, -EPROTO, "it does not speak TLS 1.3" },
    { SSL_R_WRONG_VERSION_NUMBER, -EPROTO, "it speaks no TLS; is one of both plain TCP?" },
    { SSL_R_HTTP_REQUEST, -EPROTO, "it speaks HTTP, not TLS" },
    { SSL_R_HTTPS_PROXY_REQUEST, -EPROTO, "it speaks HTTP, not TLS" },
    { SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE, -EKEYREJECTED, "it shows no certificate" },
    { SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED, -EKEYREJECTED,
      "it wants a certificate, and was shown none" },
    { SSL_R_TLSV1_ALERT_UNKNOWN_CA, -EKEYREJECTED,
      "it refuses our certificate: it is of another cluster" },
    { SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED, -EKEYREJECTED,
      "it refuses our certificate: by its clock it has ended" },
    { SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED, -EKEYREJECTED,
      "it refuses our certificate: it was revoked" },
    { SSL_R_SSLV3_ALERT_BAD_CERTIFICATE, -EKEYREJECTED, "it refuses our certificate" },
    { SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN, -EKEYREJECTED, "it refuses our certificate" },
    { SSL_R_TLSV1_ALERT_ACCESS_DENIED, -EKEYREJECTED, "it refuses our certificate" },
    { SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE, -EPROTO, "it has no cipher in common with us" },
    { SSL_R_NO_SHARED_CIPHER, -EPROTO, "it has no cipher in common with us" },
    { SSL_R_EXCESSIVE_MESSAGE_SIZE, -EBADMSG, "its certificates are too large" },
    { SSL_R_DECRYPTION_FAILED_OR_BAD_RECORD_MAC, -EBADMSG, "what came was changed on its way" },
};

/* After a call of OpenSSL that did not succeed. -EAGAIN; 0: the end, as was said; or broken. */
static int failed(struct tls *me, int result) {
    struct transport *transport = &me->transport;
    const char *who = transport->peer.address;
    int kind = SSL_get_error(me->ssl, result);
    unsigned long error = ERR_peek_error();

    if (kind == SSL_ERROR_WANT_READ || kind == SSL_ERROR_WANT_WRITE)
        return -EAGAIN;
    if (kind == SSL_ERROR_ZERO_RETURN)
        return 0;
    if (me->error < 0)
        return transport_broken(transport, me->error, "%s: %s", who, strerror(-me->error));
    if (me->ended)
        return transport_broken(transport, -ECONNRESET,
                                transport->open ? "%s: it ended without saying so"
                                                : "%s: it ended in the middle of the handshake",
                                who);
    for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
        if (ERR_GET_LIB(error) == ERR_LIB_SSL && ERR_GET_REASON(error) == reasons[i].reason)
            return transport_broken(transport, reasons[i].code, "%s: %s", who, reasons[i].text);
    return transport_broken(transport, -EBADMSG, "%s: TLS: %s", who, keys_openssl_text());
}

/* Whom the certificate names is looked at when OpenSSL has found that the CA signed it. */
int tls_verify(int good, X509_STORE_CTX *store) {
    SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct tls *me = (struct tls *) (void *) SSL_get_app_data(ssl);
    X509 *certificate = X509_STORE_CTX_get0_cert(store);
    struct identity identity;
    struct wrong wrong = { 0 };
    int error = X509_STORE_CTX_get_error(store), rc;

    if (!good && error != X509_V_ERR_CERT_HAS_EXPIRED && error != X509_V_ERR_CERT_NOT_YET_VALID) {
        (void) transport_broken(&me->transport, -EKEYREJECTED,
                                "%s: its certificate is not signed by the CA of this cluster (%s)",
                                me->transport.peer.address, X509_verify_cert_error_string(error));
        return 0;
    }
    rc = keyring_admits(&me->security->keyring, certificate, me->transport.expected,
                        (int64_t) time(NULL), me->transport.peer.address, &wrong, &identity);
    if (rc == 0 && good) {
        tls_peer_set(&me->transport.peer, &identity);
        return 1;
    }
    if (rc == 0)
        rc = wrong_set(&wrong, -EKEYEXPIRED, "%s: the certificate of the CA has ended",
                       me->transport.peer.address);
    (void) transport_broken(&me->transport, rc, "%s", wrong.text);
    if (good)
        X509_STORE_CTX_set_error(store, rc == -EKEYREVOKED   ? X509_V_ERR_CERT_REVOKED
                                        : rc == -EKEYEXPIRED ? X509_V_ERR_CERT_HAS_EXPIRED
                                                             : X509_V_ERR_APPLICATION_VERIFICATION);
    return 0;
}

/* ---- to the kernel --------------------------------------------------------------------------- */

static int tls_flush(struct transport *transport) {
    struct tls *me = tls_of(transport);

    while (me->out_end > me->out_start) {
        int64_t n = sys_send(transport->fd, me->out + me->out_start, me->out_end - me->out_start);

        transport->full = n == -EAGAIN;
        if (n == -EAGAIN)
            return -EAGAIN;
        if (n < 0)
            return transport_broken(transport, (int) n, "%s: %s", transport->peer.address,
                                    strerror((int) -n));
        me->out_start += (size_t) n;
    }
    me->out_start = me->out_end = 0;
    transport->full = false;
    return 0;
}

/* ---- the handshake --------------------------------------------------------------------------- */

static void opened(struct tls *me) {
    struct transport_peer *peer = &me->transport.peer;

    (void) snprintf(peer->version, sizeof(peer->version), "%s", SSL_get_version(me->ssl));
    (void) snprintf(peer->cipher, sizeof(peer->cipher), "%s", SSL_get_cipher_name(me->ssl));
    /* Who is known may have more memory: it reads several records at once, and keeps it. */
    SSL_set_default_read_buffer_len(me->ssl, READ_SIZE);
    (void) SSL_clear_mode(me->ssl, SSL_MODE_RELEASE_BUFFERS);
    me->transport.open = true;
    me->transport.pending = SSL_has_pending(me->ssl);
}

static int tls_open(struct transport *transport) {
    struct tls *me = tls_of(transport);
    int result, rc;

    forget_errors();
    result = transport->accepted ? SSL_accept(me->ssl) : SSL_connect(me->ssl);
    rc = result == 1 ? 0 : failed(me, result);
    if (result != 1 && rc == 0)
        rc = transport_broken(transport, -ECONNRESET, "%s: it ended in the middle of the handshake",
                              transport->peer.address);
    forget_errors();
    if (rc < 0 && rc != -EAGAIN) {
        /* The alert that says why is worth one try. */
        (void) sys_send(transport->fd, me->out + me->out_start, me->out_end - me->out_start);
        return rc;
    }
    if (me->out_end > me->out_start) {
        int flushed = tls_flush(transport);

        if (flushed < 0 && flushed != -EAGAIN)
            return flushed;
    }
    if (rc == 0)
        opened(me);
    return rc;
}

/* ---- reading --------------------------------------------------------------------------------- */

static int64_t tls_readv(struct transport *transport, const struct iovec *pieces, int count) {
    struct tls *me = tls_of(transport);
    size_t total = 0;

    forget_errors();
    transport->pending = true;
    for (int i = 0; i < count; i++) {
        for (size_t at = 0; at < pieces[i].iov_len;) {
            size_t n;
            int result = SSL_read_ex(me->ssl, (char *) pieces[i].iov_base + at,
                                     pieces[i].iov_len - at, &n);

            if (result != 1) {
                int rc = failed(me, result);

                /* What was read comes first; the end comes again. */
                if (rc == -EAGAIN)
                    transport->pending = false;
                if (me->out_end > me->out_start) /* a new key was asked for */
                    (void) tls_flush(transport);
                return total > 0 ? (int64_t) total : rc;
            }
            at += n;
            total += n;
            if (!SSL_has_pending(me->ssl)) { /* of what comes now the descriptor tells */
                transport->pending = false;
                return (int64_t) total;
            }
        }
    }
    return (int64_t) total;
}

/* ---- writing --------------------------------------------------------------------------------- */

static int encrypt(struct tls *me, const void *bytes, size_t size) {
    size_t n;
    int result;

    if (me->records++ >= RECORDS_MAX) {
        me->records = 0;
        (void) SSL_key_update(me->ssl, SSL_KEY_UPDATE_NOT_REQUESTED); /* open: it goes */
    }
    result = SSL_write_ex(me->ssl, bytes, size, &n);
    if (result == 1 && n == size)
        return 0;
    (void) failed(me, result);
    return transport_broken(&me->transport, -EIO, "%s: TLS does not take more",
                            me->transport.peer.address);
}

/* Where we are in the pieces. */
struct cursor {
    const struct iovec *pieces;
    int count, index;
    size_t at;
};

/* Up to a record of bytes: in place if they lie in one piece, else gathered in `copy`. */
static size_t next_record(struct cursor *cursor, uint8_t *copy, const uint8_t **ret_bytes) {
    size_t gathered = 0;

    while (cursor->index < cursor->count && gathered < RECORD) {
        const struct iovec *piece = &cursor->pieces[cursor->index];
        size_t left = piece->iov_len - cursor->at, take = RECORD - gathered;
        const uint8_t *bytes = (const uint8_t *) piece->iov_base + cursor->at;

        if (take > left)
            take = left;
        cursor->at += take;
        if (cursor->at == piece->iov_len) {
            cursor->index++;
            cursor->at = 0;
        }
        if (gathered == 0 && (take == RECORD || cursor->index == cursor->count)) {
            *ret_bytes = bytes;
            return take;
        }
        if (take > 0)
            memcpy(copy + gathered, bytes, take);
        gathered += take;
    }
    *ret_bytes = copy;
    return gathered;
}

static int64_t tls_writev(struct transport *transport, const struct iovec *pieces, int count) {
    struct tls *me = tls_of(transport);
    struct cursor cursor = { .pieces = pieces, .count = count };
    uint8_t copy[RECORD];
    const uint8_t *bytes;
    int64_t total = 0;
    size_t size;
    int rc = 0;

    forget_errors();
    while (rc == 0) {
        if (me->out_end - me->out_start >= FLUSH_AT && (rc = tls_flush(transport)) < 0 &&
            (rc != -EAGAIN || me->out_end - me->out_start >= FLUSH_AT))
            break;
        size = next_record(&cursor, copy, &bytes);
        if (size == 0)
            break;
        rc = encrypt(me, bytes, size);
        if (rc == 0)
            total += (int64_t) size;
    }
    if (rc == 0 || rc == -EAGAIN)
        (void) tls_flush(transport); /* -EAGAIN is in transport_want(), others in the next call */
    return total > 0 || rc == 0 ? total : rc;
}

/* ---- the end --------------------------------------------------------------------------------- */

static int tls_check(struct transport *transport, int64_t now) {
    struct tls *me = tls_of(transport);
    X509 *certificate = SSL_get0_peer_certificate(me->ssl);
    struct identity identity;
    struct wrong wrong = { 0 };
    int rc = certificate ? keyring_trusts(&me->security->keyring, certificate, transport->expected,
                                          now, transport->peer.address, &wrong, &identity)
                         : -EKEYREJECTED;

    return rc < 0 ? transport_broken(transport, rc, "%s", wrong.text) : 0;
}

static void tls_end(struct transport *transport) {
    struct tls *me = tls_of(transport);

    /* Goodbye, if there is room for it: who reads it knows that nothing was cut off. */
    if (transport->open && transport->broken == 0) {
        forget_errors();
        (void) SSL_shutdown(me->ssl);
        (void) tls_flush(transport);
    }
    SSL_free(me->ssl);
    forget_errors();
    free(me->out);
    (void) security_unref(&me->security->security);
}

const struct transport_ops tls_ops = {
    .open = tls_open,
    .readv = tls_readv,
    .writev = tls_writev,
    .flush = tls_flush,
    .check = tls_check,
    .end = tls_end,
};
