#include "lua/request_handle.h"

#include <lauxlib.h>
#include <stdint.h>
#include <string.h>

#include "lua/call.h"
#include "lua/request_ud.h"

enum { PLACE_BITS = 20, SERIAL_BITS = 42 };

_Static_assert(sizeof(void *) * 8 == PLACE_BITS + SERIAL_BITS + 2, "a handle needs a pointer of 64 bits");

static const size_t PLACES_MAX = (size_t)1 << PLACE_BITS;
static const uint64_t SERIAL_MASK = (((uint64_t)1 << SERIAL_BITS) - 1) << PLACE_BITS;

/* The registry's table under this address keeps the places alive: they are memory of the VM, which its limit
 * counts. */
static const char places_key;

static void push_number(lua_State *L, uint64_t number)
{
    lua_pushlightuserdata(L, (void *)(uintptr_t)number);
}

struct weir_request_ud *weir_request_handle_find(const struct weir_vm *vm, uint64_t handle)
{
    static struct weir_request_ud over; /* of no call; never written to */
    size_t place = (size_t)handle & (PLACES_MAX - 1);
    struct weir_request_ud *u = place < vm->place_count ? vm->places[place] : &over;
    return ((u->serial << PLACE_BITS ^ handle) & SERIAL_MASK) == 0 ? u : &over;
}

/* --- places --- */

/* Room in the list of all places. The table that keeps them is at the top of the stack. */
WEIR_L_RAISES static void grow_list(lua_State *L, struct weir_vm *vm, size_t count)
{
    size_t cap = vm->place_cap > 0 ? vm->place_cap : 8;
    while (cap < vm->place_count + count)
        cap *= 2;
    if (cap == vm->place_cap)
        return;
    struct weir_request_ud **all = lua_newuserdatauv(L, cap * sizeof(struct weir_request_ud *), 0);
    if (vm->place_count > 0)
        memcpy(all, vm->places, vm->place_count * sizeof(struct weir_request_ud *));
    lua_rawseti(L, -2, 1); /* the old list goes only when there is a new one */
    vm->places = all;
    vm->place_cap = cap;
}

/* Places for the events of a call; after a larger batch than before the call leaves its old ones alone. */
WEIR_L_RAISES static void make_places(lua_State *L, struct weir_call *call)
{
    struct weir_vm *vm = call->vm;
    size_t count = 1;
    while (count < call->count)
        count *= 2;
    if (vm->place_count + count > PLACES_MAX)
        luaL_error(L, "a VM can't have more than %I requests at once", (LUAI_UACINT)PLACES_MAX);
    luaL_checkstack(L, 4, NULL);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &places_key);
    grow_list(L, vm, count);
    struct weir_request_ud *made = lua_newuserdatauv(L, count * sizeof *made, 0);
    memset(made, 0, count * sizeof *made);
    lua_rawseti(L, -2, (lua_Integer)vm->place_count + 2);
    lua_pop(L, 1);
    call->places = made;
    call->first_place = (uint32_t)vm->place_count;
    call->places_made = (uint32_t)count;
    for (size_t i = 0; i < count; i++)
        vm->places[vm->place_count++] = &made[i];
}

WEIR_L_RAISES struct weir_request_ud *weir_request_handle_push(lua_State *L, struct weir_call *call,
                                                               size_t index)
{
    if (index >= call->places_made)
        make_places(L, call);
    push_number(L, WEIR_REQUEST_HANDLE_OURS | (call->serial << PLACE_BITS & SERIAL_MASK) |
                       (call->first_place + index));
    return &call->places[index];
}

void weir_request_handle_push_headers(lua_State *L, uint64_t handle)
{
    push_number(L, handle | WEIR_REQUEST_HANDLE_HEADERS);
}

WEIR_L_RAISES void weir_request_handle_open(lua_State *L)
{
    lua_newtable(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &places_key);
}
