#include "io/listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/mem.h"
#include "config/address.h"

struct weir_listener {
    struct sockaddr_storage address;
    socklen_t address_len;
    int backlog;
    int *fds;
    size_t count;
    dev_t device; /* of the unix socket's file, so that we remove no other */
    ino_t inode;
    bool has_file;
    char text[WEIR_LISTENER_TEXT];
};

int weir_listener_check(const char *address, struct weir_err *reterr)
{
    struct weir_address parsed;
    return weir_address_parse(address, &parsed, reterr);
}

static int fail(struct weir_err *reterr, const char *address, const char *what)
{
    int code = errno == EADDRINUSE ? WEIR_E_EXISTS : WEIR_E_IO;
    return weir_err_set(reterr, code, "can't listen on %s: %s%s%s", address, what,
                        what[0] != '\0' ? ": " : "", strerror(errno));
}

static int open_socket(int family)
{
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int on = 1, off = 0;
    if (fd < 0 || family == AF_UNIX)
        return fd;
    /* both are inherited by accepted sockets, which saves a call for each */
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off,
                   sizeof off); /* [::] is every interface, IPv4 included */
    return fd;
}

static void close_keeping_errno(int fd)
{
    int error = errno;
    close(fd);
    errno = error;
}

static bool keep_fd(struct weir_listener *l, int fd)
{
    int *fds = weir_realloc(l->fds, (l->count + 1) * sizeof *fds);
    if (fds == NULL)
        return false;
    l->fds = fds;
    l->fds[l->count++] = fd;
    return true;
}

/* ---- TCP ---- */

/* Binds with SO_REUSEPORT; the address must be free or ours. */
static int bind_shared(struct weir_listener *l)
{
    int fd = open_socket(l->address.ss_family), on = 1;
    if (fd < 0)
        return -1;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) < 0 ||
        bind(fd, (const struct sockaddr *)&l->address, l->address_len) < 0 || listen(fd, l->backlog) < 0) {
        close_keeping_errno(fd);
        return -1;
    }
    return fd;
}

/* Binds without SO_REUSEPORT, which fails if anyone else has the address, and learns the port when the system
 * chooses it. With `many` the socket is only a probe: it gives way to one with SO_REUSEPORT. */
static int bind_first(struct weir_listener *l, bool many)
{
    int fd = open_socket(l->address.ss_family);
    if (fd < 0)
        return -1;
    if (bind(fd, (const struct sockaddr *)&l->address, l->address_len) < 0 ||
        getsockname(fd, (struct sockaddr *)&l->address, &l->address_len) < 0 ||
        (!many && listen(fd, l->backlog) < 0)) {
        close_keeping_errno(fd);
        return -1;
    }
    if (!many)
        return fd;
    close(fd);
    return bind_shared(l);
}

static void describe_tcp(struct weir_listener *l)
{
    char host[INET6_ADDRSTRLEN] = "";
    if (l->address.ss_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)&l->address;
        bool any = IN6_IS_ADDR_UNSPECIFIED(&v6->sin6_addr);
        inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof host);
        snprintf(l->text, sizeof l->text, any ? "%s:%u" : "[%s]:%u", any ? "127.0.0.1" : host,
                 ntohs(v6->sin6_port));
        return;
    }
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)&l->address;
    bool any = v4->sin_addr.s_addr == htonl(INADDR_ANY);
    inet_ntop(AF_INET, &v4->sin_addr, host, sizeof host);
    snprintf(l->text, sizeof l->text, "%s:%u", any ? "127.0.0.1" : host, ntohs(v4->sin_port));
}

static int open_tcp(struct weir_listener *l, const struct weir_listener_options *o,
                    const struct weir_address *a, struct weir_err *reterr)
{
    struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM}, *found;
    char port[8];
    snprintf(port, sizeof port, "%u", a->port);
    if (a->host[0] == '\0')
        hints.ai_family = AF_INET6; /* takes IPv4 too; see below for a system without it */
    int failed = getaddrinfo(a->host[0] != '\0' ? a->host : NULL, port, &hints, &found);
    if (failed != 0)
        return weir_err_set(reterr, WEIR_E_IO, "can't listen on %s: %s", o->address, gai_strerror(failed));
    memcpy(&l->address, found->ai_addr, found->ai_addrlen);
    l->address_len = found->ai_addrlen;
    freeaddrinfo(found);
    int fd = bind_first(l, o->many);
    if (fd < 0 && (errno == EAFNOSUPPORT || errno == EADDRNOTAVAIL) && a->host[0] == '\0') {
        struct sockaddr_in any = {
            .sin_family = AF_INET, .sin_port = htons(a->port), .sin_addr.s_addr = htonl(INADDR_ANY)};
        memcpy(&l->address, &any, sizeof any);
        l->address_len = sizeof any;
        fd = bind_first(l, o->many);
    }
    if (fd < 0)
        return fail(reterr, o->address, "");
    if (!keep_fd(l, fd)) {
        close(fd);
        return weir_err_set(reterr, WEIR_E_NOMEM, "can't listen on %s: out of memory", o->address);
    }
    describe_tcp(l);
    return WEIR_OK;
}

/* ---- unix ---- */

/* Removes the file of a socket that nobody listens on any more. 0, or -1 with errno: EADDRINUSE somebody
 * does, ENOTSOCK it is no socket. */
static int remove_stale(const struct sockaddr_un *un, socklen_t len)
{
    struct stat st;
    if (un->sun_path[0] == '\0' || lstat(un->sun_path, &st) < 0)
        return 0;
    if (!S_ISSOCK(st.st_mode)) {
        errno = ENOTSOCK;
        return -1;
    }
    int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (probe < 0)
        return -1;
    int rc = connect(probe, (const struct sockaddr *)un, len), error = errno;
    close(probe);
    if (rc == 0 || error != ECONNREFUSED) {
        errno = rc == 0 || error == EAGAIN ? EADDRINUSE : error;
        return -1;
    }
    return unlink(un->sun_path);
}

static int bind_unix(struct weir_listener *l, const struct sockaddr_un *un, mode_t mode)
{
    int fd = open_socket(AF_UNIX);
    if (fd < 0)
        return -1;
    /* the file gets the socket's mode, less the umask: so nobody else gets in between bind and chmod */
    if ((mode != 0 && fchmod(fd, mode) < 0) || bind(fd, (const struct sockaddr *)un, l->address_len) < 0 ||
        listen(fd, l->backlog) < 0) {
        close_keeping_errno(fd);
        return -1;
    }
    return fd;
}

static int open_unix(struct weir_listener *l, const struct weir_listener_options *o, const char *path,
                     struct weir_err *reterr)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    size_t len = strlen(path);
    if (len >= sizeof un.sun_path) {
        errno = ENAMETOOLONG;
        return fail(reterr, o->address, "");
    }
    memcpy(un.sun_path, path, len);
    bool abstract = path[0] == '@';
    if (abstract)
        un.sun_path[0] = '\0';
    l->address_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + (abstract ? 0 : 1));
    memcpy(&l->address, &un, sizeof un);
    if (remove_stale(&un, l->address_len) < 0)
        return fail(reterr, o->address, errno == ENOTSOCK ? "the file there is left alone" : "");
    int fd = bind_unix(l, &un, o->mode);
    if (fd < 0)
        return fail(reterr, o->address, "");
    struct stat st;
    if (!abstract && lstat(path, &st) == 0) {
        l->has_file = true;
        l->device = st.st_dev;
        l->inode = st.st_ino;
    }
    if (!keep_fd(l, fd)) {
        close(fd);
        return weir_err_set(reterr, WEIR_E_NOMEM, "can't listen on %s: out of memory", o->address);
    }
    snprintf(l->text, sizeof l->text, "unix:%.107s", path);
    return WEIR_OK;
}

/* ---- both ---- */

int weir_listener_open(const struct weir_listener_options *o, struct weir_listener **ret,
                       struct weir_err *reterr)
{
    struct weir_address a;
    int rc = weir_address_parse(o->address, &a, reterr);
    if (rc < 0)
        return rc;
    struct weir_listener *l = weir_calloc(1, sizeof *l);
    if (l == NULL)
        return weir_err_set(reterr, WEIR_E_NOMEM, "can't listen on %s: out of memory", o->address);
    l->backlog = o->backlog > 0 ? o->backlog : SOMAXCONN;
    rc = a.is_unix ? open_unix(l, o, a.host, reterr) : open_tcp(l, o, &a, reterr);
    if (rc < 0) {
        weir_listener_close(l);
        return rc;
    }
    *ret = l;
    return WEIR_OK;
}

int weir_listener_add(struct weir_listener *l, int *ret_fd, struct weir_err *reterr)
{
    if (weir_listener_is_unix(l)) {
        *ret_fd = l->fds[0];
        return WEIR_OK;
    }
    int fd = bind_shared(l);
    if (fd < 0)
        return fail(reterr, l->text, "one more socket");
    if (!keep_fd(l, fd)) {
        close(fd);
        return weir_err_set(reterr, WEIR_E_NOMEM, "can't listen on %s: out of memory", l->text);
    }
    *ret_fd = fd;
    return WEIR_OK;
}

size_t weir_listener_count(const struct weir_listener *l)
{
    return l->count;
}

int weir_listener_fd(const struct weir_listener *l, size_t i)
{
    return l->fds[i];
}

bool weir_listener_is_unix(const struct weir_listener *l)
{
    return l->address.ss_family == AF_UNIX;
}

const char *weir_listener_text(const struct weir_listener *l)
{
    return l->text;
}

void weir_listener_close(struct weir_listener *l)
{
    if (l == NULL)
        return;
    const struct sockaddr_un *un = (const struct sockaddr_un *)(const void *)&l->address;
    struct stat st;
    if (l->has_file && lstat(un->sun_path, &st) == 0 && st.st_dev == l->device && st.st_ino == l->inode)
        unlink(un->sun_path);
    for (size_t i = 0; i < l->count; i++)
        close(l->fds[i]);
    weir_free(l->fds);
    weir_free(l);
}
