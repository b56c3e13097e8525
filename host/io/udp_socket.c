#include "io/udp_socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "config/address.h"

static int fail(struct weir_err *reterr, const char *address, int error)
{
    return weir_err_set(reterr, error == EADDRINUSE ? WEIR_E_EXISTS : WEIR_E_IO, "can't receive on %s: %s",
                        address, strerror(error));
}

static int open_socket(int family)
{
    int fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int off = 0;
    if (fd >= 0 && family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off,
                   sizeof off); /* [::] is every interface, IPv4 included */
    return fd;
}

size_t weir_udp_print(const struct sockaddr_storage *from, char *out, size_t size)
{
    char host[INET6_ADDRSTRLEN] = "?";
    int n = 0;
    if (from->ss_family == AF_INET) {
        struct sockaddr_in v4;
        memcpy(&v4, from, sizeof v4);
        inet_ntop(AF_INET, &v4.sin_addr, host, sizeof host);
        n = snprintf(out, size, "%s:%u", host, ntohs(v4.sin_port));
    } else if (from->ss_family == AF_INET6) {
        struct sockaddr_in6 v6;
        memcpy(&v6, from, sizeof v6);
        bool mapped = IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr);
        if (mapped)
            inet_ntop(AF_INET, v6.sin6_addr.s6_addr + 12, host, sizeof host);
        else
            inet_ntop(AF_INET6, &v6.sin6_addr, host, sizeof host);
        n = snprintf(out, size, mapped ? "%s:%u" : "[%s]:%u", host, ntohs(v6.sin6_port));
    }
    return n < 0 ? 0 : (size_t)n < size ? (size_t)n : size - 1;
}

/* What a client types: every interface is this machine. */
static void describe(struct weir_udp_address *a)
{
    struct sockaddr_storage shown = a->address;
    if (shown.ss_family == AF_INET6) {
        struct sockaddr_in6 v6;
        memcpy(&v6, &shown, sizeof v6);
        if (IN6_IS_ADDR_UNSPECIFIED(&v6.sin6_addr)) {
            struct sockaddr_in v4 = {
                .sin_family = AF_INET, .sin_port = v6.sin6_port, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
            memcpy(&shown, &v4, sizeof v4);
        }
    } else {
        struct sockaddr_in v4;
        memcpy(&v4, &shown, sizeof v4);
        if (v4.sin_addr.s_addr == htonl(INADDR_ANY)) {
            v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
            memcpy(&shown, &v4, sizeof v4);
        }
    }
    weir_udp_print(&shown, a->text, sizeof a->text);
}

/* Binds alone, which fails if anyone else is there, learns the port, and gives the address free again. 0, or
 * errno. */
static int probe(struct weir_udp_address *a)
{
    int fd = open_socket(a->address.ss_family);
    if (fd < 0)
        return errno;
    int error = 0;
    if (bind(fd, (const struct sockaddr *)&a->address, a->len) < 0 ||
        getsockname(fd, (struct sockaddr *)&a->address, &a->len) < 0)
        error = errno;
    close(fd);
    return error;
}

int weir_udp_address_open(const char *address, struct weir_udp_address *ret, struct weir_err *reterr)
{
    struct weir_address parsed;
    struct weir_udp_address a = {.len = 0};
    int rc = weir_address_parse(address, &parsed, reterr);
    if (rc < 0)
        return rc;
    if (parsed.is_unix)
        return weir_err_set(reterr, WEIR_E_CONFIG,
                            "can't receive datagrams on %s: a unix socket; expected host:port", address);
    bool everywhere = parsed.host[0] == '\0';
    struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICSERV, .ai_socktype = SOCK_DGRAM}, *found;
    char port[8];
    snprintf(port, sizeof port, "%u", parsed.port);
    hints.ai_family =
        everywhere ? AF_INET6 : AF_UNSPEC; /* takes IPv4 too; see below for a system without it */
    int failed = getaddrinfo(everywhere ? NULL : parsed.host, port, &hints, &found);
    if (failed != 0)
        return weir_err_set(reterr, WEIR_E_IO, "can't receive on %s: %s", address, gai_strerror(failed));
    memcpy(&a.address, found->ai_addr, found->ai_addrlen);
    a.len = found->ai_addrlen;
    freeaddrinfo(found);
    int error = probe(&a);
    if (everywhere && (error == EAFNOSUPPORT || error == EADDRNOTAVAIL)) {
        struct sockaddr_in any = {
            .sin_family = AF_INET, .sin_port = htons(parsed.port), .sin_addr.s_addr = htonl(INADDR_ANY)};
        memcpy(&a.address, &any, sizeof any);
        a.len = sizeof any;
        error = probe(&a);
    }
    if (error != 0)
        return fail(reterr, address, error);
    describe(&a);
    *ret = a;
    return WEIR_OK;
}

int weir_udp_socket(const struct weir_udp_address *a, size_t buffer, int *ret_fd, struct weir_err *reterr)
{
    int on = 1, fd = open_socket(a->address.ss_family);
    if (fd < 0)
        return fail(reterr, a->text, errno);
    int bytes = buffer > INT_MAX ? INT_MAX : (int)buffer;
    if (bytes > 0 && setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes) < 0)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes); /* as far as net.core.rmem_max allows */
    setsockopt(fd, SOL_SOCKET, SO_RXQ_OVFL, &on, sizeof on);
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) < 0 ||
        bind(fd, (const struct sockaddr *)&a->address, a->len) < 0) {
        int error = errno;
        close(fd);
        return fail(reterr, a->text, error);
    }
    *ret_fd = fd;
    return WEIR_OK;
}
