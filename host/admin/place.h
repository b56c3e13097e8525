/* admin/place.h - where admin sockets are: a folder of the user's own, "$XDG_RUNTIME_DIR/weir", else
 * "/tmp/weir-UID", with one NAME.sock for each running host. The host makes its socket there, commands look
 * for it there. Any thread. */
#ifndef WEIR_ADMIN_PLACE_H
#define WEIR_ADMIN_PLACE_H

#include "base/err.h"

/* The folder's path, to be freed by the caller; NULL: no memory. Nothing is checked or made. */
char *weir_place_folder(void);
/* Makes the folder if need be and checks that it is this user's alone: another's would let that one answer
 * for us, or listen. */
int weir_place_make(const char *folder, struct weir_err *reterr);
/* The socket of the running host that is meant: `given`, else $WEIR_ADMIN, else the only one in the folder
 * that somebody listens on. A path, to be freed by the caller. NOHOST: none, the text says where it looked.
 * INVAL: several, the text lists them. */
int weir_place_find(const char *given, char **ret, struct weir_err *reterr);

#endif
