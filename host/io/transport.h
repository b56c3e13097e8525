/* io/transport.h - a non-blocking stream socket, plain or TLS, behind one read and one write. It has no loop
 * in it: its owner polls `fd` and calls again. How to use it:
 *
 *   weir_transport_init(&t, fd)                                 plain, or, for TLS (io/tls.h):
 *   weir_tls_server_accept(server, fd, &t, &err) · weir_tls_client_connect(client, fd, "name", &t, &err)
 *   n = weir_transport_read(&t, buf, len)     n = weir_transport_send(&t, data, len)    (or …_writev)
 *   -EAGAIN: poll for what weir_transport_polls_for_read(&t) or …_write(&t) says, then do the same again
 *   weir_transport_shutdown(&t)               our end of the stream has been sent; reading goes on
 *   weir_transport_close(&t)                  frees what TLS has, closes fd
 *
 * The TLS handshake is the first part of the first read or write, whichever comes first; whoever wants it
 * alone calls weir_transport_handshake. Two things about TLS that a plain socket does not have:
 * - a read may leave something behind in memory that no poll will tell of: after each read that gave bytes
 * ask weir_transport_pending and, if so, read again without polling (in a later turn of the loop, so that
 *   others get theirs); before polling after a pause, ask it, too;
 * - after -EAGAIN from a write, the next write begins with the same bytes and has at least as many, or 16 KiB
 *   (they may have moved): some of them are encrypted already.
 *
 * Owner: who embeds it, which owns the descriptor through it. One thread at a time, no lock, never waits,
 * never raises SIGPIPE. */
#ifndef WEIR_IO_TRANSPORT_H
#define WEIR_IO_TRANSPORT_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

struct ssl_st;
struct weir_tls_info;

/* What to poll for: UV_READABLE and UV_WRITABLE of libuv have these values. */
enum { WEIR_TRANSPORT_READABLE = 1, WEIR_TRANSPORT_WRITABLE = 2 };

enum { WEIR_TRANSPORT_WHY_MAX = 256 };

struct weir_transport {
    int fd;             /* -1: closed */
    struct ssl_st *ssl; /* NULL: plain. Private from here on */
    struct weir_tls_info *info;
    unsigned long error; /* OpenSSL's code of the failure that ended it */
    ssize_t kept;        /* with `has_kept`: what the next read returns */
    bool established;    /* the handshake is over */
    bool failed;         /* nothing more can be sent: only closing is left */
    bool more;           /* the last read may have left something behind */
    bool has_kept;
    bool read_waits, write_waits; /* the last read waits to write; the last write waits to read */
    bool truncated;               /* see weir_transport_truncated */
    bool shut;                    /* our end has been sent */
};

/* Takes a connected, non-blocking socket. */
static inline void weir_transport_init(struct weir_transport *t, int fd)
{
    *t = (struct weir_transport){.fd = fd, .established = true};
}

static inline bool weir_transport_is_tls(const struct weir_transport *t)
{
    return t->ssl != NULL;
}

/* Whether the handshake is over. Plain ones have none: always. */
static inline bool weir_transport_is_established(const struct weir_transport *t)
{
    return t->established;
}

/* The handshake. 0: done (or plain); -EAGAIN: poll first (for what …_polls_for_read says), then again;
 * -EPROTO: it failed, see weir_transport_why; other -errno: the socket's. */
int weir_transport_handshake(struct weir_transport *t);

ssize_t weir_transport_read_tls(struct weir_transport *t, void *buf, size_t len);
ssize_t weir_transport_send_tls(struct weir_transport *t, const void *data, size_t len);
ssize_t weir_transport_writev_tls(struct weir_transport *t, const struct iovec *iov, int count);

/* Reads up to `len` bytes (not 0). > 0: so many. 0: the peer has sent its end (writing may go on).
 * -EAGAIN: poll first. -EPROTO: TLS failed, see weir_transport_why. Other -errno: the socket failed. */
static inline ssize_t weir_transport_read(struct weir_transport *t, void *buf, size_t len)
{
    if (t->ssl != NULL)
        return weir_transport_read_tls(t, buf, len);
    ssize_t n = recv(t->fd, buf, len, 0);
    return n >= 0 ? n : -(ssize_t)errno;
}

/* Writes up to `len` bytes. >= 0: so many, maybe fewer than given. Failures as above; -EPIPE after
 * weir_transport_shutdown. */
static inline ssize_t weir_transport_send(struct weir_transport *t, const void *data, size_t len)
{
    if (t->ssl != NULL)
        return weir_transport_send_tls(t, data, len);
    ssize_t n = send(t->fd, data, len, MSG_NOSIGNAL);
    return n >= 0 ? n : -(ssize_t)errno;
}

/* The same for several pieces (at most IOV_MAX). Over TLS small neighbours share a record. */
ssize_t weir_transport_writev(struct weir_transport *t, const struct iovec *iov, int count);

/* Which events the next read or write has to wait for: one of WEIR_TRANSPORT_READABLE, …WRITABLE. Not what it
 * is named after only in the middle of a handshake or a change of keys. */
static inline int weir_transport_polls_for_read(const struct weir_transport *t)
{
    return t->read_waits ? WEIR_TRANSPORT_WRITABLE : WEIR_TRANSPORT_READABLE;
}

static inline int weir_transport_polls_for_write(const struct weir_transport *t)
{
    return t->write_waits ? WEIR_TRANSPORT_READABLE : WEIR_TRANSPORT_WRITABLE;
}

/* Whether a read now may give what no poll will tell of. Never true right after -EAGAIN, 0 or an error. */
static inline bool weir_transport_pending(const struct weir_transport *t)
{
    return t->more; /* never set on plain ones */
}

/* After a read gave 0: whether a TLS peer went without saying so (no close_notify). What carries no length of
 * its own may have been cut by somebody on the way. */
static inline bool weir_transport_truncated(const struct weir_transport *t)
{
    return t->truncated;
}

/* Says that nothing more will be sent (close_notify, then the socket's FIN). Reading may go on. 0, or -errno
 * when it could not be said; a second time does nothing. Everything written must have been taken. */
int weir_transport_shutdown(struct weir_transport *t);

/* Closes the socket and frees what TLS has. Says close_notify first, if it can at once, unless `cut`: then
 * the peer can tell that the stream was not complete. Takes closed ones. */
void weir_transport_close(struct weir_transport *t, bool cut);

/* Frees what TLS has and gives the socket back to the caller, who closes it. */
int weir_transport_detach(struct weir_transport *t);

/* Why the last call failed with -EPROTO, or `rc`'s own text: "the peer's certificate has expired". Written to
 * `buf`. */
const char *weir_transport_why(const struct weir_transport *t, int rc, char buf[WEIR_TRANSPORT_WHY_MAX]);

/* A name for it, for scripts: "CERT_EXPIRED", "CERT_NOT_YET_VALID", "CERT_NAME_MISMATCH", "CERT_UNTRUSTED",
 * "CERT_REVOKED", "CERT_INVALID", "TLS_HANDSHAKE", "TLS_PROTOCOL" (after the handshake); for other failures
 * the errno's name ("ECONNRESET"). A constant. */
const char *weir_transport_code(const struct weir_transport *t, int rc);

/* After a failed handshake of a server: what came was not TLS but looked like HTTP. */
bool weir_transport_met_http(const struct weir_transport *t);

/* What was agreed on: NULL while plain or not established; borrowed, weir_tls_info_ref (io/tls.h) keeps it
 * longer. */
static inline struct weir_tls_info *weir_transport_info(const struct weir_transport *t)
{
    return t->info;
}

#endif
