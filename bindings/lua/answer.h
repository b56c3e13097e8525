/* bindings/lua/answer.h - the arguments of req:reply and req:start: status, headers, body, file, checked
 * before anything is sent. */
#ifndef WEIR_LUA_ANSWER_H
#define WEIR_LUA_ANSWER_H

#include <stddef.h>

#include "io/http_request.h"
#include "lua/vm.h"

enum { WEIR_ANSWER_HEADERS_MAX = 100 };

/* Points into strings that stay on the Lua stack, or in its tables, until the C function returns. */
struct weir_answer {
    int status;
    struct weir_http_header headers[WEIR_ANSWER_HEADERS_MAX];
    size_t header_count;
    const char *body;
    size_t len;
    const char *file; /* NULL: none */
    const char *root; /* the folder that `file` is in; NULL: the application's */
};

/* Reads (status [, headers] [, body]) or {status=, headers=, body=, file=} from index 2 on; `with_body`
 * false: no body, no file. */
WEIR_L_RAISES void weir_answer_read(lua_State *L, const char *what, bool with_body, struct weir_answer *ret);

#endif
