/* Garbage that is collected since memory is short: in a fiber of each VM, beside its calls. */
#include "core/relief.h"
#include "lua_fixture.h"

static const char litter[] = "local kept = ('k'):rep(300000)\n"
                             "return function(n)\n"
                             "  local t = {}\n"
                             "  for i = 1, n do t[i] = ('x'):rep(10000) .. i end\n"
                             "  assert(#kept == 300000)\n"
                             "end\n";

static size_t memory(struct lua_app *app)
{
    const struct weir_handler *h = lua_seat(app, "a")->handler;
    return h->ops->memory(h);
}

static void collect(struct lua_app *app)
{
    struct weir_handler *h = lua_seat(app, "a")->handler;
    struct weir_list *node;
    h->ops->collect(h);
    while ((node = weir_list_take_first(&app->w->aside)) != NULL) { /* fibers begin in the worker's turn */
        struct weir_aside *a = WEIR_LIST_ENTRY(node, struct weir_aside, node);
        a->run(a);
    }
    lua_pump(app);
}

static void what_calls_left_is_given_back(void **state)
{
    (void)state;
    struct lua_app app;
    const struct lua_stage_spec spec = {.name = "a", .script = litter};
    lua_open(&app, &spec, 1);
    collect(&app); /* there is little yet */
    lua_send_int(&app, "a", 200);
    assert_true(memory(&app) > 1500000);
    collect(&app);
    assert_true(memory(&app) < 600000);
    lua_send_int(&app, "a", 1); /* what is kept is there */
    assert_int_equal(lua_count(&lua_seat(&app, "a")->ledger.handled), 2);
    assert_int_equal(lua_count(&lua_seat(&app, "a")->ledger.failed), 0);
    lua_close_app(&app);
}

static void it_waits_for_no_fiber(void **state)
{
    (void)state;
    struct lua_app app;
    const struct lua_stage_spec spec = {.name = "a",
                                        .script = "local weir = require 'weir'\n"
                                                  "return function(n)\n"
                                                  "  local t = {}\n"
                                                  "  for i = 1, n do t[i] = ('x'):rep(10000) .. i end\n"
                                                  "  while weir.fiber(weir.sleep, 1000) do end\n"
                                                  "end\n",
                                        .concurrency = 2};
    lua_open(&app, &spec, 1);
    lua_send_int(&app, "a", 200);
    size_t before = memory(&app);
    collect(&app); /* all fibers are taken */
    assert_true(memory(&app) > before / 2);
    lua_cancel(&app);
    lua_close_app(&app);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_calls_left_is_given_back),
        TEST(it_waits_for_no_fiber),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
