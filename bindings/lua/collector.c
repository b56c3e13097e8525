/* How long Lua's collector takes. Lua does not tell, so its two entries into a collection are wrapped when the program is linked
 * (--wrap, see CMakeLists.txt): every step, and every whole collection. A step is some ten microseconds, reading the clock twice
 * 60 ns. The thread that has the VM. */
#include <lua.h>

#include "base/clock.h"
#include "core/seat.h"
#include "lua/vm.h"

/* Lua's own (lgc.h), which no header shows. */
void __real_luaC_step(lua_State *L);
void __real_luaC_fullgc(lua_State *L, int is_emergency);
void __wrap_luaC_step(lua_State *L);
void __wrap_luaC_fullgc(lua_State *L, int is_emergency);

/* Before a worker has the VM it is its builder's, whose time is nobody's. */
static void note(lua_State *L, uint64_t began_ns)
{
    const struct weir_vm *vm = weir_vm_of(L);
    if (vm != NULL && vm->attached && vm->seat != NULL)
        weir_seat_add_time(&vm->seat->collected_ns, weir_clock_ns() - began_ns);
}

void __wrap_luaC_step(lua_State *L)
{
    uint64_t began = weir_clock_ns();
    __real_luaC_step(L);
    note(L, began);
}

void __wrap_luaC_fullgc(lua_State *L, int is_emergency)
{
    uint64_t began = weir_clock_ns();
    __real_luaC_fullgc(L, is_emergency);
    note(L, began);
}
