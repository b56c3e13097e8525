/* The TLS half of a transport: OpenSSL on a socket that is never waited for. Every call clears the thread's
 * queue of OpenSSL errors first and leaves it empty: what one connection did must not be taken for another's.
 */
#include "io/transport.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "io/tls_context.h"

enum { RECORD_MAX = 16384 }; /* plaintext of one TLS record */

/* ---- the socket under OpenSSL: as its own, but never SIGPIPE ---- */

static int socket_of(BIO *b)
{
    return (int)(intptr_t)BIO_get_data(b);
}

static int bio_read(BIO *b, char *out, int len)
{
    BIO_clear_retry_flags(b);
    ssize_t n = recv(socket_of(b), out, (size_t)len, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        BIO_set_retry_read(b);
    if (n == 0)
        BIO_set_flags(b, BIO_FLAGS_IN_EOF);
    return (int)n;
}

static int bio_write(BIO *b, const char *data, int len)
{
    BIO_clear_retry_flags(b);
    ssize_t n = send(socket_of(b), data, (size_t)len, MSG_NOSIGNAL);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        BIO_set_retry_write(b);
    return (int)n;
}

static long bio_ctrl(BIO *b, int command, long number, void *pointer)
{
    (void)number, (void)pointer;
    if (command == BIO_CTRL_EOF)
        return BIO_test_flags(b, BIO_FLAGS_IN_EOF) != 0;
    return command == BIO_CTRL_FLUSH;
}

BIO_METHOD *weir_transport_new_method(void)
{
    int type = BIO_get_new_index();
    BIO_METHOD *m = type > 0 ? BIO_meth_new(type | BIO_TYPE_SOURCE_SINK, "weir socket") : NULL;
    if (m == NULL)
        return NULL;
    if (BIO_meth_set_read(m, bio_read) == 1 && BIO_meth_set_write(m, bio_write) == 1 &&
        BIO_meth_set_ctrl(m, bio_ctrl) == 1)
        return m;
    BIO_meth_free(m);
    return NULL;
}

int weir_transport_attach(struct weir_transport *t, int fd, struct ssl_ctx_st *context, BIO_METHOD *method)
{
    ERR_clear_error();
    SSL *ssl = SSL_new(context);
    BIO *bio = ssl != NULL ? BIO_new(method) : NULL;
    if (bio == NULL) {
        SSL_free(ssl);
        ERR_clear_error();
        return WEIR_E_NOMEM;
    }
    BIO_set_data(bio, (void *)(intptr_t)fd);
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl, bio, bio); /* both are its own now */
    *t = (struct weir_transport){.fd = fd, .ssl = ssl};
    return WEIR_OK;
}

/* ---- what OpenSSL says, as -errno ---- */

static ssize_t fail(struct weir_transport *t, int error)
{
    t->failed = true;
    ERR_clear_error();
    return -error;
}

/* `error` is what errno was after the call that returned `ret`. */
static ssize_t explain(struct weir_transport *t, int ret, int error, bool reading)
{
    unsigned long code;
    switch (SSL_get_error(t->ssl, ret)) {
    case SSL_ERROR_WANT_READ:
        t->write_waits = !reading;
        return -EAGAIN;
    case SSL_ERROR_WANT_WRITE:
        t->read_waits = reading;
        return -EAGAIN;
    case SSL_ERROR_ZERO_RETURN:
        return 0;
    case SSL_ERROR_SYSCALL:
        if (error != 0)
            return fail(t, error);
        t->truncated = true;
        return t->established ? 0 : fail(t, ECONNRESET);
    default:
        break;
    }
    code = ERR_peek_error();
    if (ERR_GET_LIB(code) == ERR_LIB_SSL && ERR_GET_REASON(code) == SSL_R_UNEXPECTED_EOF_WHILE_READING) {
        t->truncated = true;
        fail(t, 0); /* OpenSSL does not go on after it */
        return t->established ? 0 : -ECONNRESET;
    }
    t->error = code;
    return fail(t, ERR_GET_REASON(code) == ERR_R_MALLOC_FAILURE ? ENOMEM : EPROTO);
}

int weir_transport_handshake(struct weir_transport *t)
{
    if (t->established)
        return 0;
    if (t->failed)
        return -EPROTO;
    t->read_waits = t->write_waits = false;
    ERR_clear_error();
    errno = 0;
    int ret = SSL_do_handshake(t->ssl);
    if (ret != 1) {
        int rc = (int)explain(t, ret, errno, true);
        return rc == 0 ? (int)fail(t, ECONNRESET) : rc; /* close_notify instead of a handshake */
    }
    t->info = weir_tls_info_create(t->ssl);
    if (t->info == NULL)
        return (int)fail(t, ENOMEM);
    t->established = true;
    t->more = SSL_has_pending(t->ssl) == 1;
    return 0;
}

/* ---- reading and writing ---- */

/* Remembers the end that stands behind bytes which are returned first. */
static void keep(struct weir_transport *t, ssize_t rc)
{
    t->has_kept = t->more = true;
    t->kept = rc;
}

ssize_t weir_transport_read_tls(struct weir_transport *t, void *buf, size_t len)
{
    size_t got = 0;
    if (t->has_kept) {
        t->more = false;
        return t->kept; /* the end stays the end */
    }
    int rc = weir_transport_handshake(t);
    if (rc < 0)
        return rc;
    if (t->failed)
        return t->truncated ? 0 : -EPROTO;
    t->more = t->read_waits = false;
    ERR_clear_error();
    /* One record after the other while there are some in memory: the kernel's part of it a poll tells of. */
    do {
        size_t n = 0;
        errno = 0;
        int ret = SSL_read_ex(t->ssl, (char *)buf + got, len - got, &n);
        if (ret != 1) {
            ssize_t end = explain(t, ret, errno, true);
            if (got == 0)
                return end;
            if (end != -EAGAIN)
                keep(t, end);
            return (ssize_t)got;
        }
        got += n;
    } while (got < len && SSL_has_pending(t->ssl) == 1);
    t->more = got == len && SSL_has_pending(t->ssl) == 1;
    return (ssize_t)got;
}

ssize_t weir_transport_send_tls(struct weir_transport *t, const void *data, size_t len)
{
    int rc = weir_transport_handshake(t);
    if (rc < 0) {
        t->write_waits = rc == -EAGAIN && !t->read_waits;
        return rc;
    }
    if (t->failed || t->shut)
        return -EPIPE;
    size_t sent = 0;
    t->write_waits = false;
    ERR_clear_error();
    while (sent < len) {
        size_t n = 0;
        errno = 0;
        /* a record a call: of more, OpenSSL would keep an unknown part when it has to wait */
        size_t piece = len - sent < RECORD_MAX ? len - sent : RECORD_MAX;
        int ret = SSL_write_ex(t->ssl, (const char *)data + sent, piece, &n);
        if (ret != 1) {
            ssize_t end = explain(t, ret, errno, false);
            if (sent > 0)
                break; /* said again by the next call */
            return end == 0 ? -EPIPE : end;
        }
        sent += n;
    }
    return (ssize_t)sent;
}

/* The first RECORD_MAX bytes of the pieces, or all, side by side: one record, one system call. What is in
 * OpenSSL after -EAGAIN is never more, so the same pieces begin with it again. */
ssize_t weir_transport_writev_tls(struct weir_transport *t, const struct iovec *iov, int count)
{
    char record[RECORD_MAX];
    size_t len = 0;
    while (count > 1 && iov[0].iov_len == 0) {
        iov++;
        count--;
    }
    if (count == 0)
        return 0;
    if (count == 1 || iov[0].iov_len >= sizeof record)
        return weir_transport_send_tls(t, iov[0].iov_base, iov[0].iov_len);
    for (int i = 0; i < count && len < sizeof record; i++) {
        size_t room = sizeof record - len, n = iov[i].iov_len < room ? iov[i].iov_len : room;
        if (n > 0)
            memcpy(record + len, iov[i].iov_base, n);
        len += n;
    }
    return weir_transport_send_tls(t, record, len);
}

ssize_t weir_transport_writev(struct weir_transport *t, const struct iovec *iov, int count)
{
    if (t->ssl != NULL)
        return weir_transport_writev_tls(t, iov, count);
    struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = (size_t)count};
    ssize_t n = sendmsg(t->fd, &message, MSG_NOSIGNAL); /* writev has no flags */
    return n >= 0 ? n : -(ssize_t)errno;
}

/* ---- the end ---- */

/* Sends close_notify when the state allows it. 0 or -errno. */
static int notify(struct weir_transport *t)
{
    if (t->ssl == NULL || !t->established || t->failed || t->shut)
        return 0;
    ERR_clear_error();
    errno = 0;
    int ret = SSL_shutdown(t->ssl), error = errno;
    int rc = ret >= 0 ? 0 : (int)explain(t, ret, error, false);
    t->shut = rc != -EAGAIN;
    ERR_clear_error();
    return rc;
}

int weir_transport_shutdown(struct weir_transport *t)
{
    if (t->ssl == NULL)
        return shutdown(t->fd, SHUT_WR) == 0 ? 0 : -errno;
    if (t->shut)
        return 0;
    int rc = notify(t);
    if (rc == -EAGAIN)
        return rc;
    t->shut = true;
    if (shutdown(t->fd, SHUT_WR) < 0 && rc == 0)
        rc = -errno;
    return rc;
}

int weir_transport_detach(struct weir_transport *t)
{
    int fd = t->fd;
    if (t->ssl != NULL) {
        SSL_set_quiet_shutdown(t->ssl, 1);
        SSL_free(t->ssl);
        weir_tls_info_unref(t->info);
        t->ssl = NULL;
        t->info = NULL;
        t->more = t->has_kept = false;
    }
    t->fd = -1;
    return fd;
}

void weir_transport_close(struct weir_transport *t, bool cut)
{
    if (t->fd < 0)
        return;
    if (!cut)
        (void)notify(t); /* nobody waits for it: what can't be said now never is */
    close(weir_transport_detach(t));
}

/* ---- what went wrong ---- */

static bool is_reason(const struct weir_transport *t, int reason)
{
    return ERR_GET_LIB(t->error) == ERR_LIB_SSL && ERR_GET_REASON(t->error) == reason;
}

bool weir_transport_met_http(const struct weir_transport *t)
{
    return t->ssl != NULL && !t->established && is_reason(t, SSL_R_HTTP_REQUEST);
}

const char *weir_transport_why(const struct weir_transport *t, int rc, char buf[WEIR_TRANSPORT_WHY_MAX])
{
    if (rc == -ECONNRESET && t->ssl != NULL && !t->established)
        snprintf(buf, WEIR_TRANSPORT_WHY_MAX, "the connection was closed during the TLS handshake");
    else if (rc != -EPROTO || t->ssl == NULL)
        snprintf(buf, WEIR_TRANSPORT_WHY_MAX, "%s", strerror(-rc));
    else if (is_reason(t, SSL_R_CERTIFICATE_VERIFY_FAILED))
        snprintf(buf, WEIR_TRANSPORT_WHY_MAX, "the peer's certificate was refused: %s",
                 X509_verify_cert_error_string(SSL_get_verify_result(t->ssl)));
    else if (is_reason(t, SSL_R_HTTP_REQUEST))
        snprintf(buf, WEIR_TRANSPORT_WHY_MAX, "the peer speaks HTTP, not TLS");
    else if (is_reason(t, SSL_R_WRONG_VERSION_NUMBER))
        snprintf(buf, WEIR_TRANSPORT_WHY_MAX, "the peer does not speak TLS");
    else {
        const char *reason = ERR_reason_error_string(t->error);
        snprintf(buf, WEIR_TRANSPORT_WHY_MAX, "TLS: %s", reason != NULL ? reason : "it failed before");
    }
    return buf;
}

static const char *verify_code(long result)
{
    switch (result) {
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        return "CERT_NAME_MISMATCH";
    case X509_V_ERR_CERT_HAS_EXPIRED:
        return "CERT_EXPIRED";
    case X509_V_ERR_CERT_NOT_YET_VALID:
        return "CERT_NOT_YET_VALID";
    case X509_V_ERR_CERT_REVOKED:
        return "CERT_REVOKED";
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_CERT_UNTRUSTED:
        return "CERT_UNTRUSTED";
    default:
        return "CERT_INVALID";
    }
}

const char *weir_transport_code(const struct weir_transport *t, int rc)
{
    if (rc != -EPROTO || t->ssl == NULL) {
        const char *name = strerrorname_np(-rc);
        return name != NULL ? name : "EIO";
    }
    if (is_reason(t, SSL_R_CERTIFICATE_VERIFY_FAILED))
        return verify_code(SSL_get_verify_result(t->ssl));
    return t->established ? "TLS_PROTOCOL" : "TLS_HANDSHAKE";
}
