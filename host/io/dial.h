/* io/dial.h - connects a socket without waiting: looks the name up, then tries its addresses one after the
 * other. Owner: the caller, until `done` or cancel. Threads: the loop's. */
#ifndef WEIR_IO_DIAL_H
#define WEIR_IO_DIAL_H

#include <stdint.h>
#include <uv.h>

#include "base/err.h"
#include "config/address.h"

struct weir_dial;

/* `fd` is connected, non-blocking and the callee's now; or it is -1, `code` a negative code of libuv, and
 * `why` says why not ("Connection refused"; "a look-up of 'x' failed: …"), valid during the call. The dial is
 * gone. Never called inside weir_dial_start. */
typedef void weir_dial_done_fn(void *arg, int fd, int code, const char *why);

/* Begins to connect to `to` (`type` SOCK_STREAM or SOCK_DGRAM), `timeout_ns` long at most. *ret is valid
 * until `done` or cancel. */
int weir_dial_start(uv_loop_t *loop, const struct weir_address *to, int type, uint64_t timeout_ns,
                    weir_dial_done_fn *done, void *arg, struct weir_dial **ret, struct weir_err *reterr);
/* Gives it up: `done` is not called. Its handles close in the loop; a look-up that has begun keeps the loop
 * running until it ends. */
void weir_dial_cancel(struct weir_dial *d);

#endif
