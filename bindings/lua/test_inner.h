/* bindings/lua/test_inner.h - what the parts of `weir test` share: test_run.c has the Lua state of the specs, test_app.c
 * applications under test (with test_outside.c, test_send.c, test_look.c), test_conn.c their clients, test_fake.c what replaces functions in their VMs. One thread. */
#ifndef WEIR_LUA_TEST_INNER_H
#define WEIR_LUA_TEST_INNER_H

#include <lua.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/strbuf.h"
#include "core/event.h"
#include "core/graph.h"
#include "core/port.h"
#include "core/worker.h"
#include "lua/call.h"
#include "lua/request_ud.h"
#include "lua/script.h"
#include "lua/test_run.h"
#include "lua/vm.h"

struct weir_http_server;

enum { WEIR_TEST_FAKES_MAX = 16, WEIR_TEST_FAKE_NAME = 16 };

/* A run of specs. */
struct weir_test_run {
    const struct weir_lua_test_options *options;
    struct weir_vm vm;             /* of the specs' state: what the converters need; it runs no calls */
    struct weir_lua_script script; /* stands for the specs in messages */
    lua_State *L;                  /* the coroutine whose C function drives applications now, or the main one */
    struct weir_list apps;
    struct weir_call call;         /* holds the requests that specs have: those made by t.request, those a sink was given */
    struct weir_event holder, *holders[1];
    struct weir_request made;      /* what a request is before it is sent */
    int dispatch_ref;              /* the function that answers for fakes; LUA_NOREF: none */
    char active[WEIR_TEST_FAKES_MAX][WEIR_TEST_FAKE_NAME]; /* what is faked: "http" */
    size_t active_count;
    _Atomic uint64_t busy_ns;      /* [atomic relaxed] real time since when a handler computes; 0: none does */
};

/* A client of an application under test. */
struct weir_test_conn {
    struct weir_list node; /* of its application */
    struct weir_test_app *app;
    lua_Integer id;
    int fd;
    bool eof;
    struct weir_strbuf out, in;
    size_t out_pos;
    struct weir_http_request *request; /* has come, and is to be sent on now */
    struct weir_worker *worker;
    struct weir_emission emission;
};

/* What arrived at a sink. */
struct weir_test_capture {
    struct weir_list node;
    struct weir_stage *stage;
    struct weir_value value, key;
    struct weir_request *request; /* held until the application is closed; NULL: none */
    struct weir_worker *worker;
    uint64_t deadline_ns, id;
    uint8_t class_index;
};

/* Emits of a port that are to be refused. */
struct weir_test_fault {
    struct weir_list node;
    const struct weir_stage *stage; /* NULL: of any */
    char *port;
    lua_Integer left; /* negative: without end */
    bool closed;      /* "closed" rather than "full" */
};

/* An application under test, a userdata of the specs. */
struct weir_test_app {
    struct weir_list node; /* of the run */
    struct weir_test_run *run;
    void *opened;                /* the host's; NULL: closed */
    struct weir_graph *g;
    struct weir_worker **workers; /* by pool, one each */
    struct weir_http_server **servers; /* by pool, two each: whole bodies, streamed ones */
    size_t *capacities;          /* by stage: of its queue, as configured */
    bool shut;                   /* some queues refuse by order of a fault */
    bool *held;                  /* by stage: runs nothing now */
    struct weir_list captured;   /* new */
    struct weir_list kept;       /* told, but its request is held */
    struct weir_list conns, faults;
    struct weir_test_conn *expecting;
    lua_Integer conn_count;
    int error_ref;               /* what a fake raised; LUA_NOREF: nothing */
    struct weir_value scratch;   /* a value on its way between two VMs */
};

/* ---- test_app.c ---- */

struct weir_test_app *weir_test_app_of(struct weir_test_run *run, const struct weir_graph *g);
/* The application at `idx`; raises when it is none, or closed. */
WEIR_L_RAISES struct weir_test_app *weir_test_app_check(lua_State *L, int idx);
WEIR_L_RAISES struct weir_stage *weir_test_stage_check(lua_State *L, struct weir_test_app *app, int idx);
/* Runs what can run without time going by. */
WEIR_L_RAISES void weir_test_app_pump(lua_State *L, struct weir_test_app *app);
void weir_test_app_close(struct weir_test_app *app);
WEIR_L_RAISES void weir_test_app_open_lib(lua_State *L);
/* Nanoseconds that really go by. */
uint64_t weir_test_real_ns(void);

/* ---- test_outside.c ---- */

/* Sets the makers of sinks and sources. */
void weir_test_outside_take(struct weir_test_app *app);
/* The request that it holds is answered as one that nobody answered. */
void weir_test_capture_free(struct weir_test_capture *c);

/* ---- test_send.c, test_look.c: methods of applications, added to the table at the top ---- */

WEIR_L_RAISES void weir_test_send_open_lib(lua_State *L);
WEIR_L_RAISES void weir_test_look_open_lib(lua_State *L);

/* ---- test_conn.c ---- */

/* Sends the text of the request at `idx` and waits until it has come whole. NULL: no memory, no socket. */
WEIR_L_RAISES struct weir_test_conn *weir_test_conn_open(lua_State *L, struct weir_test_app *app, struct weir_pool *pool, int idx);
/* Moves bytes; whether there were any. */
bool weir_test_conn_move(struct weir_test_conn *c);
void weir_test_conn_close(struct weir_test_conn *c);
void weir_test_conn_close_servers(struct weir_test_app *app);
void weir_test_conn_free_servers(struct weir_test_app *app);
WEIR_L_RAISES void weir_test_conn_open_lib(lua_State *L);

/* ---- test_fake.c ---- */

/* Prepares a VM of an application under test: the `weir` table is at the top. */
WEIR_L_RAISES void weir_test_fake_prepare(lua_State *L, void *run);
WEIR_L_RAISES void weir_test_fake_open_lib(lua_State *L);
/* What the spec's fake answers to `asked`, which weir.call has sent to a sink, as a new reference; false: nothing. */
bool weir_test_fake_answer(struct weir_test_app *app, const char *sink, struct weir_value asked, struct weir_value *ret);
void weir_test_fault_free_all(struct weir_test_app *app);
/* Emits that were refused by order have been: queues take again. */
void weir_test_fault_restore(struct weir_test_app *app);

static inline struct weir_test_run *weir_test_run_of(lua_State *L)
{
    return WEIR_LIST_ENTRY(weir_vm_of(L), struct weir_test_run, vm);
}

/* The Lua files, put into the program by the build. */
extern const unsigned char weir_test_lib_text[], weir_test_fakes_text[], weir_test_stage_text[], weir_test_main_text[];
extern const size_t weir_test_lib_len, weir_test_fakes_len, weir_test_stage_len, weir_test_main_len;

#endif
