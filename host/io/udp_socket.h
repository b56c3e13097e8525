/* io/udp_socket.h - sockets that receive datagrams on one address: one per worker, between which the kernel
 * deals by sender. Owner: the control thread opens and closes; a descriptor may be read on any thread. */
#ifndef WEIR_IO_UDP_SOCKET_H
#define WEIR_IO_UDP_SOCKET_H

#include <stddef.h>
#include <sys/socket.h>

#include "base/err.h"

#define WEIR_UDP_TEXT 64

struct weir_udp_address {
    struct sockaddr_storage address;
    socklen_t len;
    char text[WEIR_UDP_TEXT]; /* "127.0.0.1:5140", with the port that the system chose */
};

/* Finds out what `address` ("host:port", ":port") is, with a port if it has none. The address must be free: a
 * stranger or a second weir there is an error (WEIR_E_EXISTS). May wait for a name's look-up. */
int weir_udp_address_open(const char *address, struct weir_udp_address *ret, struct weir_err *reterr);
/* One more socket on it: non-blocking, tells of datagrams that the kernel dropped. `buffer`: bytes it asks
 * the kernel to keep; 0: the system's default. */
int weir_udp_socket(const struct weir_udp_address *a, size_t buffer, int *ret_fd, struct weir_err *reterr);
/* "127.0.0.1:5140", "[::1]:5140"; IPv4 behind an IPv6 socket as IPv4. Returns its length. */
size_t weir_udp_print(const struct sockaddr_storage *from, char *out, size_t size);

#endif
