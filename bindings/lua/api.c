#include "lua/api.h"

#include <lauxlib.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "core/event.h"
#include "lua/call.h"
#include "lua/config.h"
#include "lua/convert.h"

#ifndef WEIR_VERSION
#define WEIR_VERSION "0.1.0"
#endif

/* W3C traceparent; nothing when there is no trace. */
WEIR_L_RAISES static void set_trace(lua_State *L, const struct weir_trace *trace)
{
    static const unsigned char none[sizeof trace->trace_id];
    if (memcmp(trace->trace_id, none, sizeof none) == 0)
        return;
    char text[64];
    size_t n = (size_t)snprintf(text, sizeof text, "00-");
    for (size_t i = 0; i < sizeof trace->trace_id; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "%02x", trace->trace_id[i]);
    text[n++] = '-';
    for (size_t i = 0; i < sizeof trace->parent_id; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "%02x", trace->parent_id[i]);
    snprintf(text + n, sizeof text - n, "-%02x", trace->flags);
    lua_pushstring(L, text);
    lua_setfield(L, -2, "trace");
}

WEIR_L_RAISES const char *weir_api_check_string(lua_State *L, int idx, const char *what)
{
    if (lua_isnone(L, idx))
        luaL_error(L, "%s must be a string, nothing was given", what);
    if (lua_type(L, idx) != LUA_TSTRING)
        luaL_error(L, "%s must be a string, it is a %s", what, luaL_typename(L, idx));
    return lua_tostring(L, idx);
}

WEIR_L_RAISES static int l_meta(lua_State *L)
{
    struct weir_call *call = weir_call_with_event(L, "weir.meta");
    lua_Integer i = luaL_optinteger(L, 1, 1);
    if (i < 1 || (lua_Unsigned)i > call->count)
        return luaL_argerror(L, 1, "there is no such event in the batch");
    const struct weir_event *ev = call->evs[i - 1];
    uint64_t now = weir_clock_ns();
    lua_createtable(L, 0, 8);
    lua_pushinteger(L, (lua_Integer)ev->id);
    lua_setfield(L, -2, "id");
    weir_config_push_class(L, ev->class_index);
    lua_setfield(L, -2, "class");
    if (ev->deadline_ns != 0) {
        lua_pushnumber(L, ((lua_Number)ev->deadline_ns - (lua_Number)now) / 1e9);
        lua_setfield(L, -2, "deadline");
    }
    if (ev->key_value.kind != WEIR_VALUE_NIL) {
        weir_convert_push(L, ev->key_value, 0);
        lua_setfield(L, -2, "key");
    }
    lua_pushinteger(L, (lua_Integer)ev->source);
    lua_setfield(L, -2, "source");
    lua_pushnumber(L, now > ev->arrival_ns ? (lua_Number)(now - ev->arrival_ns) / 1e9 : 0.0);
    lua_setfield(L, -2, "age");
    set_trace(L, &ev->trace);
    return 1;
}

WEIR_L_RAISES void weir_api_open(lua_State *L)
{
    static const luaL_Reg functions[] = {{"meta", l_meta}, {NULL, NULL}};
    luaL_newlib(L, functions);
    lua_pushliteral(L, WEIR_VERSION);
    lua_setfield(L, -2, "version");
    weir_api_emit_open(L);
    weir_api_emit_all_open(L);
    weir_api_call_open(L);
    weir_api_stage_open(L);
    weir_api_log_open(L);
    weir_api_json_open(L);
    weir_api_shared_open(L);
    weir_api_metric_open(L);
    weir_api_time_open(L);
    weir_api_http_open(L);
    weir_api_fs_open(L);
    weir_api_tcp_open(L);
    weir_api_dns_open(L);
    weir_api_spawn_open(L);
    weir_api_conn_open(L);
}
