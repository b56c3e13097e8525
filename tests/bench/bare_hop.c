/* bench/bare_hop.c - the least that a hop between two Lua VMs can cost: a coroutine that stands ready is resumed with the
 * decoded event, the handler's emit encodes it, and the other VM is next. No queue, counters, limits or histograms.
 * Prints "integer NS" and "table NS", wall time per hop. The encoding is the part of MessagePack that the token needs. */
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { HOPS = 1000000, BUFFER = 256 };

static struct event {
    int is_table;
    int64_t integer;
    unsigned char bytes[BUFFER];
    size_t len;
} travelling;

static void put(unsigned char tag, const void *data, size_t len)
{
    travelling.bytes[travelling.len++] = tag;
    memcpy(travelling.bytes + travelling.len, data, len);
    travelling.len += len;
}

static void put_integer(int64_t n)
{
    uint64_t big_endian = __builtin_bswap64((uint64_t)n);
    put(0xd3, &big_endian, 8);
}

static void put_float(double d)
{
    uint64_t bits;
    memcpy(&bits, &d, 8);
    bits = __builtin_bswap64(bits);
    put(0xcb, &bits, 8);
}

static void encode_scalar(lua_State *L, int at)
{
    size_t len;
    switch (lua_type(L, at)) {
    case LUA_TSTRING: {
        const char *s = lua_tolstring(L, at, &len);
        if (len > 31 || travelling.len + len + 16 > BUFFER)
            luaL_error(L, "too long for this benchmark");
        put((unsigned char)(0xa0 | len), s, len);
        break;
    }
    case LUA_TNUMBER:
        if (lua_isinteger(L, at))
            put_integer(lua_tointeger(L, at));
        else
            put_float(lua_tonumber(L, at));
        break;
    case LUA_TBOOLEAN:
        put(lua_toboolean(L, at) ? 0xc3 : 0xc2, "", 0);
        break;
    default:
        luaL_error(L, "not in this benchmark");
    }
}

static int l_emit(lua_State *L)
{
    travelling.is_table = lua_istable(L, 1);
    if (!travelling.is_table) {
        travelling.integer = luaL_checkinteger(L, 1);
        return 0;
    }
    travelling.len = 1;
    unsigned count = 0;
    for (lua_pushnil(L); lua_next(L, 1) != 0; lua_pop(L, 1), count++) {
        encode_scalar(L, lua_gettop(L) - 1);
        encode_scalar(L, lua_gettop(L));
    }
    travelling.bytes[0] = (unsigned char)(0x80 | count);
    return 0;
}

static uint64_t take_word(size_t *at)
{
    uint64_t word;
    memcpy(&word, travelling.bytes + *at, 8);
    *at += 8;
    return __builtin_bswap64(word);
}

static void decode_scalar(lua_State *L, size_t *at)
{
    unsigned char tag = travelling.bytes[(*at)++];
    if ((tag & 0xe0) == 0xa0) {
        lua_pushlstring(L, (const char *)travelling.bytes + *at, tag & 0x1f);
        *at += tag & 0x1f;
    } else if (tag == 0xd3) {
        lua_pushinteger(L, (lua_Integer)take_word(at));
    } else if (tag == 0xcb) {
        uint64_t bits = take_word(at);
        double d;
        memcpy(&d, &bits, 8);
        lua_pushnumber(L, d);
    } else {
        lua_pushboolean(L, tag == 0xc3);
    }
}

static void decode(lua_State *L)
{
    if (!travelling.is_table) {
        lua_pushinteger(L, travelling.integer);
        return;
    }
    size_t at = 1;
    int count = travelling.bytes[0] & 0x0f;
    lua_createtable(L, 0, count);
    for (int i = 0; i < count; i++) {
        decode_scalar(L, &at);
        decode_scalar(L, &at);
        lua_rawset(L, -3);
    }
}

static void must(lua_State *L, int status)
{
    if (status != LUA_OK) {
        fprintf(stderr, "bare_hop: %s\n", lua_tostring(L, -1));
        exit(1);
    }
}

/* A VM with one coroutine, and the handler at the bottom of that one's stack. */
static lua_State *open_vm(const char *handler, lua_State **ret_coroutine)
{
    lua_State *L = luaL_newstate();
    if (L == NULL)
        exit(1);
    luaL_openlibs(L);
    lua_register(L, "emit", l_emit);
    must(L, luaL_dostring(L, handler));
    lua_State *co = lua_newthread(L);
    lua_pushvalue(L, -2);
    lua_xmove(L, co, 1);
    *ret_coroutine = co;
    return L;
}

/* One call of the handler: it ends, and its coroutine is ready for the next. */
static void handle(lua_State *co)
{
    int results;
    lua_pushvalue(co, 1);
    decode(co);
    must(co, lua_resume(co, NULL, 1, &results));
    lua_settop(co, 1);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void run(const char *kind, const char *handler)
{
    lua_State *co[2];
    lua_State *vm[2] = {open_vm(handler, &co[0]), open_vm(handler, &co[1])};
    double began = now();
    for (long i = 0; i < HOPS; i++)
        handle(co[i & 1]);
    printf("%s %.1f\n", kind, (now() - began) / HOPS);
    lua_close(vm[0]);
    lua_close(vm[1]);
}

int main(void)
{
    travelling.integer = 7;
    run("integer", "local emit = emit return function(t) emit(t) end");
    lua_State *co;
    lua_State *first = open_vm("emit{name = 'a token', path = '/some/where', left = 7, ratio = 0.25, good = true} "
                               "return emit", &co);
    lua_close(first);
    run("table", "local emit = emit return function(t) t.good = not t.good emit(t) end");
    return 0;
}
