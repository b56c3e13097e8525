/* weir.http.request: the client side of HTTP (io/http_client.h). A request suspends its call until the answer is there; with `stream`
 * until its head is, and the answer is read chunk by chunk. A body that is a function is asked for the next chunk whenever the server
 * takes more. */
#include <lauxlib.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "core/event.h"
#include "core/graph.h"
#include "core/seat.h"
#include "core/stage.h"
#include "io/http_client.h"
#include "io/http_syntax.h"
#include "lua/api.h"
#include "lua/api_options.h"
#include "lua/call.h"
#include "lua/vm_hold.h"

enum { HEADERS_MAX = 256, OWN_HEADERS = 2 /* more, that go along by themselves */, NAME_MAX_LEN = 100, MS_MAX = 24, HEADERS_USUAL = 8, OPTIONS = 1, FETCH = 2, BODY_FUNCTION = 1 /* user value */ };

static const uint64_t DEFAULT_TIMEOUT_NS = 30 * WEIR_NS_PER_S;
static const unsigned DEFAULT_REDIRECTS = 5;
static const char what[] = "weir.http.request";

struct fetch_ud {
    struct weir_http_fetch *f;    /* NULL: closed */
    struct weir_vm_object object; /* listed while `f` is open */
    struct weir_vm_hold hold;     /* of its bodies and headers */
    struct weir_wait wait;
    struct weir_call_hold held; /* by the call that waits, or has been told and not gone on yet */
    bool waiting;  /* it is yet to be told */
    bool ended;    /* the answer came to its end */
    bool streamed; /* the script reads the answer */
    bool given;    /* … and has it: it is the script's to close */
};

static void close_fetch(struct fetch_ud *u)
{
    struct weir_http_fetch *f = u->f;
    u->f = NULL;
    weir_list_remove(&u->object.node);
    weir_http_fetch_close(f);
    weir_vm_unhold(&u->hold);
}

static void close_object(struct weir_vm_object *o)
{
    close_fetch(WEIR_LIST_ENTRY(o, struct fetch_ud, object));
}

static bool stop_waiting(struct weir_wait *wait)
{
    struct fetch_ud *u = WEIR_LIST_ENTRY(wait, struct fetch_ud, wait);
    u->waiting = false;
    u->held.call = NULL;
    close_fetch(u);
    return true;
}

static void on_progress(struct weir_http_fetch *f, unsigned news)
{
    struct fetch_ud *u = f->arg;
    (void)news; /* the call looks itself */
    if (!u->waiting)
        return;
    u->waiting = false;
    weir_call_continue(u->wait.call);
}

WEIR_L_RAISES static int wait_for(lua_State *L, struct fetch_ud *u, lua_KFunction k)
{
    u->wait.cancel = stop_waiting;
    u->waiting = true;
    weir_call_hold(&u->held, weir_vm_of(L)->running);
    return weir_call_suspend(L, &u->wait, k);
}

/* nil, message, code */
WEIR_L_RAISES static int push_failure(lua_State *L, struct fetch_ud *u)
{
    int n = u->hold.refused && strcmp(u->f->code, "ENOMEM") == 0 ? weir_vm_hold_push_refusal(L, what)
                                                                 : weir_api_push_failure(L, u->f->text, u->f->code);
    close_fetch(u);
    return n;
}

/* --- options --- */

static bool is_clean(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (s[i] == '\r' || s[i] == '\n' || s[i] == '\0')
            return false;
    return true;
}

/* How long a body is and how it is sent is said once: else what follows it could be taken for a request. */
WEIR_L_RAISES static void refuse_framing(lua_State *L, const char *name)
{
    static const char *const ours[] = {"content-length", "transfer-encoding", "connection", "expect"};
    for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++)
        if (strcasecmp(name, ours[i]) == 0)
            luaL_error(L, "weir.http.request: header '%s' is the host's (the length of a body that a function gives: `body_size`)", name);
}

/* Reads `headers` into `out`; their texts are the table's. */
WEIR_L_RAISES static size_t read_headers(const struct weir_api_options *options, struct weir_http_header *out)
{
    size_t n = 0;
    lua_State *L = options->L;
    int type = weir_api_option_push(options, "headers");
    if (type == LUA_TNIL)
        return 0;
    if (type != LUA_TTABLE)
        luaL_error(L, "weir.http.request: `headers` must be a table, it is a %s", luaL_typename(L, -1));
    lua_pushnil(L);
    while (lua_next(L, -2)) {
        struct weir_http_header h;
        if (lua_type(L, -2) != LUA_TSTRING || lua_type(L, -1) != LUA_TSTRING)
            luaL_error(L, "weir.http.request: a header's name and value must be strings");
        h.name.data = lua_tolstring(L, -2, &h.name.len);
        h.value.data = lua_tolstring(L, -1, &h.value.len);
        if (!is_clean(h.name.data, h.name.len) || !is_clean(h.value.data, h.value.len) || h.name.len == 0)
            luaL_error(L, "weir.http.request: header '%s' has a line break in it, or no name", h.name.data);
        refuse_framing(L, h.name.data);
        if (n == HEADERS_MAX)
            luaL_error(L, "weir.http.request: more than %d headers", (int)HEADERS_MAX);
        out[n++] = h;
        lua_pop(L, 1);
    }
    return n; /* the table stays on the stack */
}

/* `body`: a string, or a function that gives chunks, which becomes the user value of the fetch. */
WEIR_L_RAISES static void read_body(const struct weir_api_options *options, struct weir_http_fetch_options *o)
{
    lua_State *L = options->L;
    int type = weir_api_option_push(options, "body");
    if (type == LUA_TSTRING) {
        o->has_body = true;
        o->body = lua_tolstring(L, -1, &o->len);
        lua_pop(L, 1);
    } else if (type == LUA_TFUNCTION) {
        o->body_streamed = true;
        lua_setiuservalue(L, FETCH, BODY_FUNCTION);
        o->body_size = weir_api_option_integer(options, "body_size", -1, 0, LUA_MAXINTEGER);
    } else if (type != LUA_TNIL) {
        luaL_error(L, "weir.http.request: `body` must be a string or a function, it is a %s", luaL_typename(L, -1));
    } else {
        lua_pop(L, 1);
    }
}

/* --- limits: the VM keeps them, each request takes them to the worker's client (init may run on another thread) --- */

struct limits {
    unsigned per_host, kept;
};

static const char limits_key;

WEIR_L_RAISES static void take_limits(lua_State *L, struct weir_http_fetch_options *o)
{
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &limits_key) == LUA_TUSERDATA) {
        const struct limits *l = lua_touserdata(L, -1);
        o->per_host = l->per_host;
        o->kept = l->kept;
    }
    lua_pop(L, 1);
}

/* weir.http.limits{per_host=, kept=} */
WEIR_L_RAISES static int l_limits(lua_State *L)
{
    static const char *const known[] = {"per_host", "kept", NULL};
    luaL_checktype(L, 1, LUA_TTABLE);
    struct weir_api_options options = weir_api_options(L, 1, "weir.http.limits", known);
    struct limits l = {(unsigned)weir_api_option_integer(&options, "per_host", 0, 1, 65536),
                       (unsigned)weir_api_option_integer(&options, "kept", 0, 1, 65536)};
    *(struct limits *)lua_newuserdatauv(L, sizeof l, 0) = l;
    lua_rawsetp(L, LUA_REGISTRYINDEX, &limits_key);
    return 0;
}

/* --- what goes along: the event's class and what is left of its time, so that the next service knows --- */

enum along { CLASS, DEADLINE, ALONG_COUNT };

static const char *const along_options[ALONG_COUNT] = {[CLASS] = "class_header", [DEADLINE] = "deadline_header"};

/* The names of their headers; "": it does not go along. Of the VM, when the script has said so. */
struct along_names {
    char names[ALONG_COUNT][NAME_MAX_LEN + 1];
};

static const struct along_names usual_names = {{[CLASS] = "X-Weir-Class", [DEADLINE] = "X-Weir-Deadline-Ms"}};
static const char along_key;

WEIR_L_RAISES static const struct along_names *vm_names(lua_State *L)
{
    const struct along_names *names = &usual_names;
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &along_key) == LUA_TUSERDATA)
        names = lua_touserdata(L, -1); /* which the registry keeps */
    lua_pop(L, 1);
    return names;
}

/* The option's name of a header: a string, `false` for none, `true` for the usual one; absent: `fallback`. The text is the table's. */
WEIR_L_RAISES static const char *read_name(const struct weir_api_options *from, const char *option, const char *usual, const char *fallback)
{
    lua_State *L = from->L;
    int type = weir_api_option_push(from, option);
    const char *name = fallback;
    if (type == LUA_TBOOLEAN)
        name = lua_toboolean(L, -1) ? usual : "";
    else if (type == LUA_TSTRING)
        name = lua_tostring(L, -1);
    else if (type != LUA_TNIL)
        luaL_error(L, "%s: `%s` must be the name of a header, or false, it is a %s", from->what, option, luaL_typename(L, -1));
    if (type == LUA_TSTRING && (lua_rawlen(L, -1) > NAME_MAX_LEN || !weir_http_is_token(name, lua_rawlen(L, -1))))
        luaL_error(L, "%s: `%s` is no header's name: '%s'", from->what, option, name);
    lua_pop(L, 1);
    return name;
}

/* weir.http.pass_on{class_header=, deadline_header=}: for all requests of the VM that don't say it themselves. */
WEIR_L_RAISES static int l_pass_on(lua_State *L)
{
    static const char *const known[] = {"class_header", "deadline_header", NULL};
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    struct weir_api_options from = weir_api_options(L, 1, "weir.http.pass_on", known);
    struct along_names *names = lua_newuserdatauv(L, sizeof *names, 0);
    *names = *vm_names(L);
    for (int i = 0; i < ALONG_COUNT; i++) {
        char now[NAME_MAX_LEN + 1];
        memcpy(now, names->names[i], sizeof now);
        snprintf(names->names[i], sizeof names->names[i], "%s", read_name(&from, along_options[i], usual_names.names[i], now));
    }
    lua_rawsetp(L, LUA_REGISTRYINDEX, &along_key);
    return 0;
}

static void add_own(struct weir_http_fetch_options *o, struct weir_http_header *headers, const char *name, const char *value)
{
    size_t len = strlen(name);
    for (size_t i = 0; i < o->header_count; i++)
        if (headers[i].name.len == len && strncasecmp(headers[i].name.data, name, len) == 0)
            return; /* the script has said it itself */
    if (len > 0)
        headers[o->header_count++] = (struct weir_http_header){{name, len}, {value, strlen(value)}};
}

/* The class, if it is not the usual one, and the time: the request has no longer than its event. `left_ns` UINT64_MAX: there is no end. */
WEIR_L_RAISES static void go_along(const struct weir_call *call, const struct weir_api_options *from, uint64_t left_ns,
                                   struct weir_http_header *headers, char ms[MS_MAX], struct weir_http_fetch_options *o)
{
    const struct weir_graph *g = call->vm->seat->stage->graph;
    const struct along_names *names = vm_names(from->L);
    const char *class_header = read_name(from, "class_header", usual_names.names[CLASS], names->names[CLASS]);
    const char *deadline_header = read_name(from, "deadline_header", usual_names.names[DEADLINE], names->names[DEADLINE]);
    if (call->count > 0 && call->one->class_index != g->default_class)
        add_own(o, headers, class_header, weir_graph_class_name(g, call->one->class_index));
    if (left_ns == UINT64_MAX)
        return;
    snprintf(ms, MS_MAX, "%llu", (unsigned long long)(left_ns / WEIR_NS_PER_MS));
    add_own(o, headers, deadline_header, ms);
    if (o->timeout_ns == 0 || o->timeout_ns > left_ns)
        o->timeout_ns = left_ns;
}

/* What it refers to is the table's, or stays on the stack. */
WEIR_L_RAISES static struct weir_api_options read_options(lua_State *L, struct weir_http_header *headers, struct weir_http_fetch_options *o)
{
    static const char *const known[] = {"url",          "method",  "headers",   "body",   "body_size", "timeout", "connect_timeout",
                                        "idle_timeout", "stream",  "redirects", "verify", "max_body",  "ca",      "socket",
                                        "certificate",  "key",     "class_header", "deadline_header", NULL};
    struct weir_api_options from = weir_api_options(L, OPTIONS, what, known);
    *o = (struct weir_http_fetch_options){
        .url = weir_api_option_text(&from, "url"),
        .method = weir_api_option_text(&from, "method"),
        .socket = weir_api_option_text(&from, "socket"),
        .ca = weir_api_option_path(&from, "ca"),
        .certificate = weir_api_option_path(&from, "certificate"),
        .key = weir_api_option_path(&from, "key"),
        .timeout_ns = weir_api_option_duration(&from, "timeout", DEFAULT_TIMEOUT_NS),
        .connect_timeout_ns = weir_api_option_duration(&from, "connect_timeout", 0),
        .idle_timeout_ns = weir_api_option_duration(&from, "idle_timeout", 0),
        .redirects = (unsigned)weir_api_option_integer(&from, "redirects", DEFAULT_REDIRECTS, 0, 1000),
        .insecure = !weir_api_option_bool(&from, "verify", true),
        .answer_streamed = weir_api_option_bool(&from, "stream", false),
        .max_body = weir_api_option_bytes(&from, "max_body", weir_vm_of(L)->limit / 4)};
    if (o->url == NULL)
        luaL_error(L, "weir.http.request: `url` is missing");
    if (o->method != NULL && !is_clean(o->method, strlen(o->method)))
        luaL_error(L, "weir.http.request: `method` has a line break in it");
    read_body(&from, o);
    take_limits(L, o);
    o->header_count = read_headers(&from, headers);
    o->headers = headers;
    return from;
}

/* --- the answer --- */

WEIR_L_RAISES static void add_header(lua_State *L, int headers, int cookies, const char *line, size_t len)
{
    const char *colon = memchr(line, ':', len);
    size_t name = (size_t)(colon - line);
    lua_pushlstring(L, line, name);
    lua_pushlstring(L, colon + 2, len - name - 2);
    if (strcmp(lua_tostring(L, -2), "set-cookie") == 0) {
        lua_rawseti(L, cookies, (lua_Integer)lua_rawlen(L, cookies) + 1);
        lua_pop(L, 1);
        return;
    }
    lua_pushvalue(L, -2);
    if (lua_rawget(L, headers) != LUA_TNIL) { /* name, value, the earlier one */
        lua_insert(L, -2);
        lua_pushliteral(L, ", ");
        lua_insert(L, -2);
        lua_concat(L, 3);
    } else {
        lua_pop(L, 1);
    }
    lua_rawset(L, headers);
}

WEIR_L_RAISES static void push_headers(lua_State *L, const struct weir_strbuf *lines)
{
    lua_createtable(L, 0, HEADERS_USUAL);
    lua_newtable(L);
    int cookies = lua_gettop(L), headers = cookies - 1;
    size_t at = 0;
    while (at < lines->len) {
        const char *end = memchr(lines->data + at, '\n', lines->len - at);
        size_t len = (size_t)(end - (lines->data + at));
        add_header(L, headers, cookies, lines->data + at, len);
        at += len + 1;
    }
}

/* Fills the table at the top: status, headers, cookies. */
WEIR_L_RAISES static void set_head(lua_State *L, const struct fetch_ud *u)
{
    lua_pushinteger(L, u->f->status);
    lua_setfield(L, -2, "status");
    push_headers(L, &u->f->headers);
    lua_setfield(L, -3, "cookies");
    lua_setfield(L, -2, "headers");
}

WEIR_L_RAISES static int push_whole(lua_State *L, struct fetch_ud *u)
{
    if (!weir_vm_has_room(u->hold.vm, u->f->body.len + 2 * u->f->headers.len)) {
        close_fetch(u);
        return weir_vm_hold_push_refusal(L, what);
    }
    lua_createtable(L, 0, 4);
    set_head(L, u);
    lua_pushlstring(L, u->f->body.data != NULL ? u->f->body.data : "", u->f->body.len);
    lua_setfield(L, -2, "body");
    close_fetch(u);
    return 1;
}

/* A table with the head whose methods are those of the stream. */
WEIR_L_RAISES static int push_stream(lua_State *L, struct fetch_ud *u)
{
    u->given = true;
    lua_createtable(L, 1, 4);
    set_head(L, u);
    lua_pushvalue(L, FETCH);
    lua_rawseti(L, -2, 1);
    luaL_setmetatable(L, "weir.http.answer");
    return 1;
}

/* --- the request --- */

WEIR_L_RAISES static int pump(lua_State *L, struct fetch_ud *u);

WEIR_L_RAISES static int l_waited(lua_State *L, int status, lua_KContext ctx)
{
    (void)status; /* always LUA_YIELD */
    (void)ctx;
    struct fetch_ud *u = lua_touserdata(L, FETCH);
    u->held.call = NULL;
    return pump(L, u);
}

/* The body's function has given a chunk, or nil: the end. Pushes a failure if it can't be taken, and returns how much that is. */
WEIR_L_RAISES static int take_chunk(lua_State *L, struct fetch_ud *u)
{
    size_t len = 0;
    int rc = WEIR_OK;
    if (!lua_isnil(L, -1) && lua_type(L, -1) != LUA_TSTRING)
        luaL_error(L, "weir.http.request: the body's function must return a string or nil, it returned a %s", luaL_typename(L, -1));
    const char *chunk = lua_tolstring(L, -1, &len);
    if (u->f != NULL && (chunk == NULL || len > 0))
        rc = weir_http_fetch_write(u->f, chunk, len, chunk == NULL);
    lua_pop(L, 1);
    if (rc == WEIR_OK)
        return 0;
    close_fetch(u);
    return rc == WEIR_E_LIMIT ? weir_vm_hold_push_refusal(L, what) : weir_api_push_failure(L, "out of memory", "ENOMEM");
}

WEIR_L_RAISES static int l_chunk_came(lua_State *L, int status, lua_KContext ctx)
{
    struct fetch_ud *u = lua_touserdata(L, FETCH);
    (void)status; /* always LUA_YIELD */
    (void)ctx;
    int n = take_chunk(L, u);
    return n != 0 ? n : pump(L, u);
}

/* What the script waits for, if it is there: pushes it, and returns how much; 0: it has to wait. */
WEIR_L_RAISES static int push_news(lua_State *L, struct fetch_ud *u)
{
    unsigned news = u->f->news;
    bool over = (news & WEIR_HTTP_FETCH_END) != 0;
    if (u->given && u->f->body.len > 0) {
        int n = weir_vm_hold_push_text(L, "answer:read", &u->f->body); /* refused: it is there still */
        if (n == 1)
            weir_http_fetch_consume(u->f);
        return n;
    }
    if (u->streamed && !u->given && (news & WEIR_HTTP_FETCH_HEAD) != 0)
        return push_stream(L, u);
    if (!over)
        return 0;
    if (u->f->code != NULL)
        return push_failure(L, u);
    if (!u->given)
        return push_whole(L, u);
    u->ended = true;
    close_fetch(u);
    lua_pushnil(L);
    return 1;
}

/* Goes on until there is what the script waits for, the call suspends, or the body's function does: it is asked for more whenever the
 * server takes more, before its answer and during it. */
WEIR_L_RAISES static int pump(lua_State *L, struct fetch_ud *u)
{
    for (;;) {
        if (u->f == NULL && u->ended) { /* read to its end */
            lua_pushnil(L);
            return 1;
        }
        if (u->f == NULL) /* closed: by a script, or with the call that waited for it */
            return weir_api_push_failure(L, "the answer was closed", "ECANCELED");
        int n = push_news(L, u);
        if (n != 0)
            return n;
        if ((u->f->news & WEIR_HTTP_FETCH_ROOM) == 0)
            return wait_for(L, u, l_waited);
        lua_getiuservalue(L, FETCH, BODY_FUNCTION);
        lua_callk(L, 0, 1, 0, l_chunk_came);
        n = take_chunk(L, u);
        if (n != 0)
            return n;
    }
}

WEIR_L_RAISES static int l_request(lua_State *L)
{
    struct weir_http_header headers[HEADERS_MAX + OWN_HEADERS];
    struct weir_http_fetch_options o;
    struct weir_err err;
    char ms[MS_MAX];
    struct weir_call *call = weir_call_running(L, "weir.http.request");
    weir_call_check_can_wait(L, "weir.http.request");
    lua_settop(L, 1);
    if (lua_type(L, 1) == LUA_TSTRING) {
        lua_createtable(L, 0, 1);
        lua_insert(L, 1);
        lua_setfield(L, 1, "url");
    }
    if (!lua_istable(L, OPTIONS))
        return luaL_error(L, "weir.http.request: expected a table of options or a URL, got %s", luaL_typename(L, 1));
    struct fetch_ud *u = lua_newuserdatauv(L, sizeof *u, 1);
    *u = (struct fetch_ud){.f = NULL};
    u->object.close = close_object;
    weir_list_init(&u->object.node);
    luaL_setmetatable(L, "weir.http.fetch");
    struct weir_api_options from = read_options(L, headers, &o);
    uint64_t left_ns = weir_call_time_left(call);
    if (left_ns < WEIR_NS_PER_MS)
        return weir_api_push_too_late(L);
    go_along(call, &from, left_ns, headers, ms, &o);
    u->streamed = o.answer_streamed;
    weir_vm_hold_begin(&u->hold, call->vm);
    o.holder = &u->hold.holder;
    int rc = weir_http_fetch_open(call->vm->seat->worker, &o, on_progress, u, &u->f, &err);
    if (rc != WEIR_OK) {
        weir_vm_unhold(&u->hold);
        return rc == WEIR_E_LIMIT ? weir_vm_hold_push_refusal(L, what) : weir_api_push_failure(L, err.text, "ENOMEM");
    }
    weir_list_append(&call->vm->objects, &u->object.node);
    lua_settop(L, FETCH);
    lua_toclose(L, FETCH); /* an error in the body's function ends the request */
    return pump(L, u);
}

/* --- reading a streamed answer --- */

/* The fetch of the answer at 1, which is put in its place. */
WEIR_L_RAISES static struct fetch_ud *check_answer(lua_State *L, const char *method)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_rawgeti(L, 1, 1);
    struct fetch_ud *u = luaL_testudata(L, -1, "weir.http.fetch");
    if (u == NULL)
        luaL_error(L, "%s: this answer is not streamed (ask for it with `stream = true`)", method);
    lua_replace(L, 1);
    lua_settop(L, 1);
    return u;
}

/* answer:read() -> chunk | nil | nil, message, code */
WEIR_L_RAISES static int l_read(lua_State *L)
{
    struct fetch_ud *u = check_answer(L, "answer:read");
    weir_call_running(L, "answer:read");
    if (weir_call_is_held(&u->held))
        return luaL_error(L, "answer:read: another call is reading it");
    weir_call_check_can_wait(L, "answer:read");
    lua_pushnil(L);
    lua_insert(L, 1); /* the fetch is at FETCH */
    return pump(L, u);
}

WEIR_L_RAISES static int l_close(lua_State *L)
{
    struct fetch_ud *u = check_answer(L, "answer:close");
    if (weir_call_is_held(&u->held))
        return luaL_error(L, "answer:close: another call is reading it");
    close_fetch(u);
    return 0;
}

WEIR_L_RAISES static int l_gc(lua_State *L)
{
    close_fetch(luaL_checkudata(L, 1, "weir.http.fetch"));
    return 0;
}

/* weir.http.request is left. */
WEIR_L_RAISES static int l_left(lua_State *L)
{
    struct fetch_ud *u = luaL_checkudata(L, 1, "weir.http.fetch");
    if (!u->given)
        close_fetch(u);
    return 0;
}

WEIR_L_RAISES void weir_api_http_open(lua_State *L)
{
    static const luaL_Reg methods[] = {{"read", l_read}, {"close", l_close}, {NULL, NULL}};
    luaL_newmetatable(L, "weir.http.fetch");
    lua_pushcfunction(L, l_gc);
    lua_setfield(L, -2, "__gc");
    lua_pushcfunction(L, l_left);
    lua_setfield(L, -2, "__close");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 1);
    luaL_newmetatable(L, "weir.http.answer");
    luaL_newlib(L, methods);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, l_close);
    lua_setfield(L, -2, "__close");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 1);
    lua_createtable(L, 0, 3);
    lua_pushcfunction(L, l_pass_on);
    lua_setfield(L, -2, "pass_on");
    lua_pushcfunction(L, l_request);
    lua_setfield(L, -2, "request");
    lua_pushcfunction(L, l_limits);
    lua_setfield(L, -2, "limits");
    lua_setfield(L, -2, "http");
}
