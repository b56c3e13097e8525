/* io/listener.h - listening sockets, TCP and unix, from an address as users write it:
 *   "127.0.0.1:8080"  "[::1]:8080"  "localhost:8080"  ":8080" (all interfaces)  "unix:/run/x.sock"
 * "unix:@name" (abstract) Owner: the caller. Threads: one at a time, the control thread as a rule; the
 * descriptors may be accepted from on any. */
#ifndef WEIR_IO_LISTENER_H
#define WEIR_IO_LISTENER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"

struct weir_listener;

/* Room for any address in text: a unix path of 108 bytes, or a host and a port. */
#define WEIR_LISTENER_TEXT 160

struct weir_listener_options {
    const char *address;
    int backlog; /* as listen(2) */
    mode_t mode; /* of a unix socket's file; 0: as the umask says */
    bool many;   /* more sockets on the same TCP address will follow (weir_listener_add) */
};

/* Checks how an address is written, without opening anything. */
int weir_listener_check(const char *address, struct weir_err *reterr);
/* Opens the first socket. A TCP address is bound without SO_REUSEPORT first, so that one that is in use is an
 * error. A unix socket's file that nobody listens on any more is replaced; another kind of file never. May
 * wait for a name's look-up. */
int weir_listener_open(const struct weir_listener_options *o, struct weir_listener **ret,
                       struct weir_err *reterr);
/* One more socket on the address (TCP, opened with `many`), or the same one (unix). The descriptor stays the
 * listener's. */
int weir_listener_add(struct weir_listener *l, int *ret_fd, struct weir_err *reterr);
size_t weir_listener_count(const struct weir_listener *l);
/* Non-blocking; valid until close. */
int weir_listener_fd(const struct weir_listener *l, size_t i);
bool weir_listener_is_unix(const struct weir_listener *l);
/* The address as a client types it after "http://": "127.0.0.1:8080" with the port that the system chose;
 * "unix:/run/x.sock". */
const char *weir_listener_text(const struct weir_listener *l);
/* Closes all sockets and removes a unix socket's file if it is still ours. Takes NULL. */
void weir_listener_close(struct weir_listener *l);

#endif
