/* bindings/lua/stream_ud.h - an answer that is being streamed. The userdata owns the stream; `close` ends the
 * answer whole. A stream belongs to the call that started it: one that is still open when the call ends, in
 * whatever way, or that is collected or left by `<close>`, is cut, so that the client sees at once that it is
 * not complete. */
#ifndef WEIR_LUA_STREAM_UD_H
#define WEIR_LUA_STREAM_UD_H

#include "base/list.h"
#include "lua/vm.h"

struct weir_call;
struct weir_http_stream;

struct weir_stream_ud {
    struct weir_list node;           /* of the VM's open streams */
    struct weir_http_stream *stream; /* NULL: closed */
    bool cut;                        /* it was closed incomplete */
    char place[LUA_IDSIZE + 12];     /* of the script's line that started it, "app.lua:12" */
    struct weir_call *owner;         /* the call that started it, while it is open */
    struct weir_call *writer;        /* the call that waits for the client; NULL: none */
};

WEIR_L_RAISES void weir_stream_ud_open(lua_State *L);
/* Pushes an empty one … */
WEIR_L_RAISES struct weir_stream_ud *weir_stream_ud_push(lua_State *L);
/* … and gives it its stream; NULL: there was no memory, it is as good as closed. */
void weir_stream_ud_begin(struct weir_stream_ud *u, struct weir_http_stream *stream, struct weir_vm *vm);
/* Closes it, incomplete. Never raises. */
void weir_stream_ud_cut(struct weir_stream_ud *u);
void weir_stream_ud_cut_all(struct weir_vm *vm);
/* Cuts what the call left open, which it says in the log when the call did not fail. */
void weir_stream_ud_end_call(struct weir_call *call);
/* nil, "closed" | "timeout" | "limit": how waits for clients fail. */
WEIR_L_RAISES int weir_stream_push_failure(lua_State *L, int rc);

#endif
