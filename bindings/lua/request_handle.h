/* bindings/lua/request_handle.h - the number that stands for a request in Lua: a light userdata, which costs
 * no memory and no collection.
 *
 *   63      62             61 … 20                        19 … 0
 *   ours    its headers    serial number of the call      place
 *
 * Bit 63 is in no address of a program, so nothing else that is a light userdata (weir.json.null, those of C
 * libraries) is taken for a handle. A place is a struct weir_request_ud of a call, for one of its events; it
 * is used again by the call's next event. What a script kept from an earlier one has another serial number,
 * and says that it is over: numbers come again after 2^42 calls, and would stand for the request of that call
 * then. The place is in the low bits because Lua's tables hash those. All light userdata of a VM share one
 * metatable (request_ud.c). Owner of places: the VM, as long as it lives. Threads: the VM's. */
#ifndef WEIR_LUA_REQUEST_HANDLE_H
#define WEIR_LUA_REQUEST_HANDLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lua/vm.h"

struct weir_call;
struct weir_request_ud;

static const uint64_t WEIR_REQUEST_HANDLE_OURS = (uint64_t)1 << 63;
static const uint64_t WEIR_REQUEST_HANDLE_HEADERS = (uint64_t)1 << 62;

/* The handle at `idx`, of a request or of its headers; 0: something else is there. Never raises. */
static inline uint64_t weir_request_handle_at(lua_State *L, int idx)
{
    uint64_t number =
        lua_type(L, idx) == LUA_TLIGHTUSERDATA ? (uint64_t)(uintptr_t)lua_touserdata(L, idx) : 0;
    return (number & WEIR_REQUEST_HANDLE_OURS) != 0 ? number : 0;
}

/* Whether it is one of headers. */
static inline bool weir_request_handle_is_headers(uint64_t handle)
{
    return (handle & WEIR_REQUEST_HANDLE_HEADERS) != 0;
}

/* The place that a handle means, if it still is of the call that was given the handle, else one that belongs
 * to no call; never NULL. */
struct weir_request_ud *weir_request_handle_find(const struct weir_vm *vm, uint64_t handle);
/* Pushes the handle for event `index` of `call`, and returns its place, to be filled. */
WEIR_L_RAISES struct weir_request_ud *weir_request_handle_push(lua_State *L, struct weir_call *call,
                                                               size_t index);
/* Pushes the headers' handle of a request's. Never raises. */
void weir_request_handle_push_headers(lua_State *L, uint64_t handle);
/* Before the first push. */
WEIR_L_RAISES void weir_request_handle_open(lua_State *L);

#endif
