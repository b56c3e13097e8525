#include "lua/vm_hold.h"

#include "base/clock.h"
#include "config/units.h"
#include "lua/api.h"

enum {
    SPARE = 4 << 10, /* for the tables and names around a string */
    PAUSE = 10,      /* times as long as it took: until garbage is collected again, for nothing but a hold */
    GROWTH = 16,     /* … or once Lua has taken this part of the limit since */
};

static bool fits(const struct weir_vm *vm, size_t bytes, size_t limit)
{
    return vm->used <= limit && bytes <= limit - vm->used;
}

/* Lua collects, and calls no finalizer then, when it is refused an allocation. */
WEIR_L_RAISES static int l_collect(lua_State *L)
{
    weir_vm_of(L)->refuse_once = true;
    lua_newuserdatauv(L, 0, 0);
    return 0;
}

/* Has Lua collect its garbage, unless it has done so lately: a VM that is full of what is in use must not
 * spend its worker's time on looking for more. Runs on the VM's main thread, which is never in the middle of
 * anything. */
static bool collect(struct weir_vm *vm)
{
    struct weir_vm_holds *holds = &vm->holds;
    uint64_t began = weir_clock_ns();
    struct weir_err err;
    if (began < holds->pause_until_ns && vm->used - holds->bytes < holds->own_after + vm->limit / GROWTH)
        return false;
    (void)weir_vm_call(vm, l_collect, NULL,
                       &err); /* without memory for that either, the VM is broken, and says so */
    uint64_t now = weir_clock_ns();
    holds->pause_until_ns = now + PAUSE * (now - began);
    holds->own_after = vm->used - holds->bytes;
    return true;
}

static bool make_room(struct weir_vm *vm, size_t bytes, size_t limit)
{
    if (fits(vm, bytes, limit))
        return true;
    if (bytes > limit || vm->holds.bytes > limit - bytes)
        return false; /* whatever Lua lets go of */
    return collect(vm) && fits(vm, bytes, limit);
}

static void change(struct weir_vm_hold *h, size_t bytes)
{
    h->vm->used += bytes - h->bytes;
    h->vm->holds.bytes += bytes - h->bytes;
    h->bytes = bytes;
}

bool weir_vm_hold(struct weir_vm_hold *h, size_t bytes)
{
    if (bytes > h->bytes) {
        h->refused = h->vm == NULL || !make_room(h->vm, bytes - h->bytes, h->vm->soft);
        if (h->refused)
            return false;
    }
    if (h->vm != NULL)
        change(h, bytes);
    return true;
}

static bool on_hold(struct weir_holder *holder, size_t bytes)
{
    return weir_vm_hold(WEIR_LIST_ENTRY(holder, struct weir_vm_hold, holder), bytes);
}

void weir_vm_hold_begin(struct weir_vm_hold *h, struct weir_vm *vm)
{
    *h = (struct weir_vm_hold){.holder.hold = on_hold, .vm = vm};
    weir_list_append(&vm->holds.list, &h->node);
}

void weir_vm_unhold(struct weir_vm_hold *h)
{
    if (h->vm == NULL)
        return;
    change(h, 0);
    h->vm = NULL;
    weir_list_remove(&h->node);
}

void weir_vm_unhold_all(struct weir_vm *vm)
{
    while (!weir_list_empty(&vm->holds.list))
        weir_vm_unhold(WEIR_LIST_ENTRY(vm->holds.list.next, struct weir_vm_hold, node));
}

bool weir_vm_has_room(struct weir_vm *vm, size_t bytes)
{
    return make_room(vm, bytes + SPARE, vm->limit);
}

WEIR_L_RAISES int weir_vm_hold_push_refusal(lua_State *L, const char *what)
{
    char limit[WEIR_UNITS_TEXT];
    lua_pushnil(L);
    lua_pushfstring(L, "%s: limits.memory (%s) leaves no room for it", what,
                    weir_size_format(weir_vm_of(L)->limit, limit));
    lua_pushliteral(L, "ENOMEM");
    return 3;
}

WEIR_L_RAISES int weir_vm_hold_push_text(lua_State *L, const char *what, const struct weir_strbuf *text)
{
    if (!weir_vm_has_room(weir_vm_of(L), text->len))
        return weir_vm_hold_push_refusal(L, what);
    lua_pushlstring(L, text->len > 0 ? text->data : "", text->len);
    return 1;
}
