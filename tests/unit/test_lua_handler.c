/* Handler files: what is wrong with one, and making them without memory. */
#include "lua_fixture.h"

static int make(struct lua_app *app, const char *script, size_t memory, struct weir_handler_maker *ret,
                struct weir_err *err)
{
    char file[160];
    const char *lib = "safe";
    lua_write(app, "x.lua", script);
    snprintf(file, sizeof file, "%s/x.lua", app->folder);
    struct weir_lua_options o = {
        .file = file, .folder = app->folder, .libs = &lib, .lib_count = 1, .memory = memory};
    return weir_lua_maker_create(&o, ret, err);
}

static void test_what_is_wrong_with_a_file_is_said(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"return {", "x.lua:1: unexpected symbol near <eof>"},
        {"local x =\n\nreturn", "x.lua:3: unexpected symbol near 'return'"},
        {"", "x.lua:1: a handler file must return a table with `handle` or `handle_batch`, or a function; this "
             "one returned nothing"},
        {"return 5", "x.lua:1: a handler file must return a table with `handle` or `handle_batch`, or a "
                     "function; this one returned number"},
        {"return {}", "x.lua:1: the returned table has neither `handle` nor `handle_batch`"},
        {"return {handle = 1}", "x.lua:1: `handle` must be a function, it is a number"},
        {"return {handle = print, handle_batch = print}",
         "x.lua:1: the table has both `handle` and `handle_batch`; it must have one of them"},
        {"return {handle = print, init = true}", "x.lua:1: `init` must be a function, it is a boolean"},
        {"error('at load')", "x.lua:1: at load"},
        {"local t = nil\nprint(t.x)", "x.lua:2: attempt to index a nil value (local 't')"},
        {"require 'gone'", "require: there is no module 'gone': neither "},
        {"io.open('x')", "x.lua:1: io.open is not in libs: safe"},
        {"require 'weir'.emit('out', 1)",
         "x.lua:1: weir.emit can't be used here: no event is being handled (the script is being loaded)"},
        {"require 'weir'.stage()", "x.lua:1: weir.stage can't be used while the script is being loaded; use "
                                   "it in init or in a handler"},
        {"\033Lua", "x.lua:1: it is bytecode; only text can be loaded"},
        {"local t = {} while true do t[#t + 1] = {} end",
         "out of memory while loading (limits.memory is 8388608 bytes)"},
    };
    struct lua_app app;
    lua_folder(&app);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct weir_handler_maker m;
        struct weir_err err;
        if (make(&app, rows[i][0], 8 << 20, &m, &err) == WEIR_OK)
            fail_msg("%s: no error", rows[i][0]);
        if (strstr(err.text, rows[i][1]) == NULL)
            fail_msg("%s: expected %s, got %s", rows[i][0], rows[i][1], err.text);
    }
    lua_remove_folder(&app);
    assert_int_equal(weir_mem_live(), 0);
}

static void test_a_first_line_for_the_shell_is_skipped(void **state)
{
    (void)state;
    struct lua_app app;
    struct weir_handler_maker m;
    struct weir_err err;
    lua_folder(&app);
    assert_int_equal(make(&app, "#!/usr/bin/env weir\nreturn {handle_batch = print}", 8 << 20, &m, &err),
                     WEIR_OK);
    assert_true(weir_lua_maker_takes_batches(&m));
    m.destroy(m.self);
    assert_int_not_equal(make(&app, "#!/usr/bin/env weir\nreturn =", 8 << 20, &m, &err), WEIR_OK);
    assert_non_null(strstr(err.text, "x.lua:2:"));
    lua_remove_folder(&app);
}

/* Fails the 1st, 2nd, … allocation of making a script and of making a handler, until none is left to fail. */
static void test_makers_and_handlers_survive_failing_allocations(void **state)
{
    (void)state;
    static const char script[] =
        "local weir = require 'weir'\nlocal util = require 'util'\n"
        "return {init = function(ctx) util.x = ctx.stage end, handle = function(v) weir.emit('out', v) end}";
    LUA_APP(app, {.name = "a", .to = "out=sink", .script = "return print"});
    lua_write(&app, "util.lua", "return {}");
    long before = weir_mem_live();
    int rc = WEIR_E_NOMEM;
    for (long n = 0; rc != WEIR_OK; n++) {
        struct weir_handler_maker m = {.self = NULL};
        struct weir_err err;
        weir_mem_fail_after(n);
        rc = make(&app, script, 8 << 20, &m, &err);
        weir_mem_fail_after(-1);
        assert_true(rc == WEIR_OK || m.self == NULL);
        if (rc == WEIR_OK) {
            int made = WEIR_E_NOMEM;
            for (long k = 0; made != WEIR_OK; k++) {
                struct weir_handler *h = NULL;
                weir_mem_fail_after(k);
                made = m.make(m.self, lua_seat(&app, "a"), &h, &err);
                weir_mem_fail_after(-1);
                assert_true(made == WEIR_OK || h == NULL);
                if (h != NULL)
                    h->ops->close(h);
            }
            m.destroy(m.self);
        }
        assert_int_equal(weir_mem_live(), before);
    }
    lua_close_app(&app);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_wrong_with_a_file_is_said),
        cmocka_unit_test(test_a_first_line_for_the_shell_is_skipped),
        cmocka_unit_test(test_makers_and_handlers_survive_failing_allocations),
    };
    return cmocka_run_group_tests_name("lua_handler", tests, NULL, NULL);
}
