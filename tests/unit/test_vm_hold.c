#include "lua_fixture.h"

#include <lauxlib.h>
#include <poll.h>

#include "lua/script.h"
#include "lua/vm_hold.h"

enum { LIMIT = 8 << 20, SOFT = LIMIT / 4 * 3 };

/* --- the account itself, of a VM that nobody runs --- */

static struct {
    struct lua_app app; /* its folder alone */
    struct weir_lua_script *script;
    struct weir_vm *vm;
} bare;

static int open_bare(void **state)
{
    const char *libs = "safe";
    char file[160];
    struct weir_err err;
    (void)state;
    lua_folder(&bare.app);
    snprintf(file, sizeof file, "%s/a.lua", bare.app.folder);
    lua_write(&bare.app, "a.lua", "return function() end");
    struct weir_lua_options o = {.file = file,
                                 .folder = bare.app.folder,
                                 .libs = &libs,
                                 .lib_count = 1,
                                 .memory = LIMIT,
                                 .limits = lua_limits};
    if (weir_script_open(&o, &bare.script, &err) != WEIR_OK ||
        weir_vm_create(bare.script, NULL, &bare.vm, &err) != WEIR_OK)
        fail_msg("%s", err.text);
    return 0;
}

static int close_bare(void **state)
{
    weir_vm_destroy(bare.vm);
    weir_script_close(bare.script);
    lua_remove_folder(&bare.app);
    return test_teardown(state);
}

static void what_is_held_counts_and_is_given_back_once(void **state)
{
    (void)state;
    struct weir_vm *vm = bare.vm;
    struct weir_vm_hold a, b;
    size_t before = vm->used;
    weir_vm_hold_begin(&a, vm);
    weir_vm_hold_begin(&b, vm);
    assert_true(weir_vm_hold(&a, 1000));
    assert_true(weir_vm_hold(&b, 500));
    assert_int_equal(vm->used, before + 1500);
    assert_true(a.holder.hold(&a.holder, 3000)); /* as host/io does it */
    assert_true(weir_vm_hold(&b, 100));
    assert_int_equal(vm->used, before + 3100);
    weir_vm_unhold(&a);
    weir_vm_unhold(&a);
    assert_int_equal(vm->used, before + 100);
    weir_vm_unhold(&b);
    assert_int_equal(vm->used, before);
}

static void what_is_refused_changes_nothing(void **state)
{
    (void)state;
    struct weir_vm *vm = bare.vm;
    struct weir_vm_hold a, b;
    weir_vm_hold_begin(&a, vm);
    weir_vm_hold_begin(&b, vm);
    assert_true(weir_vm_hold(&a, 4 << 20));
    size_t used = vm->used;
    assert_false(weir_vm_hold(&b, 4 << 20)); /* more than three quarters */
    assert_true(b.refused);
    assert_false(weir_vm_hold(&a, SIZE_MAX));
    assert_int_equal(vm->used, used);
    assert_false(vm->broken); /* it goes on as before */
    weir_vm_unhold(&a);
    assert_true(weir_vm_hold(&b, 4 << 20));
    assert_false(b.refused);
    weir_vm_unhold(&b);
}

static void a_detached_vm_holds_nothing(void **state)
{
    (void)state;
    struct weir_vm *vm = bare.vm;
    struct weir_vm_hold a, b;
    size_t before = vm->used;
    weir_vm_hold_begin(&a, vm);
    weir_vm_hold_begin(&b, vm);
    assert_true(weir_vm_hold(&a, 1000));
    weir_vm_unhold_all(vm);
    assert_int_equal(vm->used, before);
    assert_true(weir_vm_hold(&a, 0));
    assert_false(weir_vm_hold(&a, 1)); /* there is nobody to ask */
    weir_vm_unhold(&a);
    weir_vm_unhold(&b);
    assert_int_equal(vm->used, before);
}

static int l_make_garbage(lua_State *L)
{
    for (int i = 0; i < 5; i++) {
        luaL_Buffer b;
        memset(luaL_buffinitsize(L, &b, 1 << 20), 'x', 1 << 20);
        luaL_pushresultsize(&b, 1 << 20);
        lua_pop(L, lua_gettop(L));
    }
    return 0;
}

static void garbage_makes_way(void **state)
{
    (void)state;
    struct weir_vm *vm = bare.vm;
    struct weir_vm_hold a;
    struct weir_err err;
    lua_gc(vm->L, LUA_GCSTOP, 0); /* by itself */
    assert_int_equal(weir_vm_call(vm, l_make_garbage, NULL, &err), WEIR_OK);
    lua_gc(vm->L, LUA_GCRESTART, 0);
    assert_true(vm->used > 5 << 20);
    weir_vm_hold_begin(&a, vm);
    assert_true(weir_vm_hold(&a, 5 << 20));
    assert_true(vm->used < SOFT);
    assert_false(vm->broken);
    assert_false(weir_vm_has_room(vm, 4 << 20)); /* over the limit, whatever is collected */
    assert_true(weir_vm_has_room(vm, 2 << 20));
    weir_vm_unhold(&a);
}

/* --- calls --- */

#define HEAD               "local weir = require 'weir'\nlocal function out(...) weir.emit('out', ...) end\n"
#define HOLD_APP(app, ...) LUA_APP(app, {.name = "a", .to = "out=sink", .memory = LIMIT, __VA_ARGS__})

static size_t memory(struct lua_app *app)
{
    struct weir_handler *h = lua_seat(app, "a")->handler;
    return h->ops->memory(h);
}

static void write_file(const struct lua_app *app, const char *name, size_t len)
{
    char path[160];
    snprintf(path, sizeof path, "%s/%s", app->folder, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    for (size_t i = 0; i < len; i++)
        fputc('x', f);
    fclose(f);
}

/* Until so many lines have come; the most memory that the VMs had on the way. */
static size_t wait_for(struct lua_app *app, size_t lines)
{
    size_t most = 0;
    for (int i = 0; lua_got.data == NULL || count_of(lua_got.data, "\n") < lines; i++) {
        assert_true(i < 20000);
        lua_pump(app);
        most = memory(app) > most ? memory(app) : most;
        poll(NULL, 0, 1);
    }
    return most;
}

static void many_large_reads_stay_under_the_limit(void **state)
{
    (void)state;
    HOLD_APP(app, .script = HEAD "return function(n)\n"
                                 "  local data, why, code = weir.fs.read('big')\n"
                                 "  weir.sleep(0) out(data and 'ok' or code .. ' ' .. why)\n"
                                 "end");
    write_file(&app, "big", 1 << 20);
    int saved = log_begin();
    for (int i = 0; i < 40; i++)
        lua_send_int(&app, "a", i);
    size_t most = wait_for(&app, 40);
    log_end(saved);
    const char *text = lua_arrived();
    assert_true(most <= LIMIT);
    assert_true(count_of(text, "\"ok\"") >= 4);
    assert_true(count_of(text, "ENOMEM weir.fs.read: limits.memory (8MiB) leaves no room for it") > 0);
    assert_int_equal(count_of(text, "\n"), 40);
    assert_null(strstr(logged, "no new calls")); /* the VM is as good as ever */
    lua_send_int(&app, "a", 1);
    wait_for(&app, 1);
    assert_string_equal(lua_arrived(), "\"ok\"\n");
    lua_close_app(&app);
}

static void one_after_the_other_goes_on(void **state)
{
    (void)state;
    HOLD_APP(
        app,
        .script = HEAD
        "return function() local n = 0 for _ = 1, 12 do n = n + #assert(weir.fs.read 'big') end out(n) end");
    write_file(&app, "big", 1500000);
    lua_send_int(&app, "a", 1);
    assert_true(wait_for(&app, 1) <= LIMIT);
    assert_string_equal(lua_arrived(), "18000000\n");
    lua_close_app(&app);
}

static void what_is_to_be_written_is_held_too(void **state)
{
    (void)state;
    HOLD_APP(app, .script =
                      HEAD "local data = ('x'):rep(2000000)\n"
                           "return function(i)\n"
                           "  local ok, _, code = weir.fs.write('to' .. i, data) out(ok and 'ok' or code)\n"
                           "end");
    for (int i = 0; i < 8; i++)
        assert_int_equal(
            lua_offer(&app, "a", (struct weir_value){.kind = WEIR_VALUE_INT, .integer = i}, NULL),
            WEIR_VERDICT_ACCEPTED);
    assert_true(wait_for(&app, 8) <= LIMIT);
    const char *text = lua_arrived();
    assert_true(count_of(text, "ENOMEM") > 0);
    assert_true(count_of(text, "ok") >= 1);
    lua_close_app(&app);
}

static void a_cancelled_call_holds_until_its_job_has_ended(void **state)
{
    (void)state;
    HOLD_APP(app, .script = HEAD "return function() weir.fs.read('big') out 'read' end");
    write_file(&app, "big", 1 << 20);
    size_t before = memory(&app);
    for (int i = 0; i < 5; i++)
        lua_send_int(&app, "a", i);
    lua_cancel(&app);
    size_t read =
        count_of(lua_arrived(), "read"); /* some were quicker, and leave a string for the collector */
    for (int i = 0; memory(&app) > before + (read << 20) + (256 << 10); i++) {
        assert_true(i < 20000);
        lua_pump(&app);
        poll(NULL, 0, 1);
    }
    for (int i = 0; i < 5; i++) /* while they run the VM closes: nothing of it is touched any more */
        lua_send_int(&app, "a", i);
    lua_close_app(&app);
}

static void output_of_programs_is_held(void **state)
{
    (void)state;
    HOLD_APP(app, .lib = "all",
             .script =
                 HEAD "return function()\n"
                      "  local function run(n)\n"
                      "    local p, why, code = weir.spawn {cmd = 'head', args = {'-c', tostring(n), "
                      "'/dev/zero'}, max_output = 1e9}\n"
                      "    return p and #p.stdout or code .. ' ' .. why\n"
                      "  end\n"
                      "  out(run(1000000)) out(run(50000000)) out(run(1000000))\n"
                      "  out(select(3, weir.spawn {cmd = 'true', stdin = ('x'):rep(3500000)}) or 'fine')\n"
                      "end");
    lua_send_int(&app, "a", 1);
    assert_true(wait_for(&app, 4) <= LIMIT);
    assert_string_equal(
        lua_arrived(),
        "1000000\n\"ENOMEM weir.spawn: limits.memory (8MiB) leaves no room for it\"\n1000000\n\"ENOMEM\"\n");
    lua_close_app(&app);
}

static void options_are_checked(void **state)
{
    (void)state;
    static const char *const calls[][2] = {
        {"weir.fs.read('x', {ofset = 1})",
         "weir.fs.read: there is no option 'ofset'; did you mean 'offset'?"},
        {"weir.fs.read('x', {quux = 1})",
         "weir.fs.read: there is no option 'quux'; it takes max, offset, length"},
        {"weir.fs.read('x', {[1] = 1})",
         "weir.fs.read: an option's name must be a string, there is a number"},
        {"weir.fs.read('x', {max = -1})", "weir.fs.read: `max` must be an integer, at least 0"},
        {"weir.fs.read('x', {max = '1'})", "weir.fs.read: `max` must be an integer, at least 0"},
        {"weir.fs.read('x', 7)", "weir.fs.read: the options must be a table, they are a number"},
        {"weir.fs.write('x', '', {sync = 1})", "weir.fs.write: `sync` must be true or false, it is a number"},
        {"weir.fs.write('x', '', {mode = 4096})", "weir.fs.write: `mode` must be an integer from 0 to 4095"},
        {"weir.tcp.connect('a:1', {timout = 1})",
         "weir.tcp.connect: there is no option 'timout'; did you mean 'timeout'?"},
        {"weir.tcp.connect('a:1', {timeout = -1})",
         "weir.tcp.connect: `timeout` must be a number of seconds, at least 0"},
        {"weir.tcp.connect('a:1', {tls = 1})",
         "weir.tcp.connect: `tls` must be true, false or a table, it is a number"},
        {"weir.tcp.connect('a:1', {tls = {cert = 'x'}})",
         "weir.tcp.connect: tls: there is no option 'cert'; it takes name, ca, certificate, key, verify"},
        {"weir.tcp.connect('a:1', {tls = {ca = 'x\\0y'}})",
         "weir.tcp.connect: tls: `ca` has a NUL byte in it"},
        {"weir.http.request {}", "weir.http.request: `url` is missing"},
        {"weir.http.request {url = 'http://a', methd = 'GET'}",
         "weir.http.request: there is no option 'methd'; did you mean 'method'?"},
        {"weir.http.request {url = 'http://a', redirects = 1.5}",
         "weir.http.request: `redirects` must be an integer from 0 to 1000"},
        {"weir.http.request {url = 'http://a\\0b'}", "weir.http.request: `url` has a NUL byte in it"},
        {"weir.http.limits {kept = 0}", "weir.http.limits: `kept` must be an integer from 1 to 65536"},
        {"weir.spawn {cmd = 'true', argv = {}}",
         "weir.spawn: there is no option 'argv'; did you mean 'args'?"},
        {"weir.spawn {cmd = 'true', stdin = 1}", "weir.spawn: `stdin` must be a string, it is a number"},
    };
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        char script[512];
        snprintf(script, sizeof script,
                 HEAD "return function() local _, why = pcall(function() %s end) "
                      "out((tostring(why):gsub('^.-:%%d+: ', ''))) end",
                 calls[i][0]);
        HOLD_APP(app, .lib = strncmp(calls[i][0], "weir.spawn", 10) == 0 ? "all" : "safe", .script = script);
        lua_send_int(&app, "a", 1);
        char expected[256];
        snprintf(expected, sizeof expected, "\"%s\"\n", calls[i][1]);
        assert_string_equal(lua_arrived(), expected);
        lua_close_app(&app);
    }
}

static void options_with_metamethods_are_read_raw(void **state)
{
    (void)state;
    HOLD_APP(app,
             .script = HEAD
             "return function()\n"
             "  local options = setmetatable({}, {__index = function(_, k) out('asked for ' .. k) end})\n"
             "  local _, _, code = weir.fs.read('missing', options)\n"
             "  out(code)\n"
             "end");
    lua_send_int(&app, "a", 1);
    wait_for(&app, 1);
    assert_string_equal(lua_arrived(), "\"ENOENT\"\n");
    lua_close_app(&app);
}

#define BARE(f) cmocka_unit_test_setup_teardown(f, open_bare, close_bare)
#define CASE(f) cmocka_unit_test_teardown(f, test_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        BARE(what_is_held_counts_and_is_given_back_once),
        BARE(what_is_refused_changes_nothing),
        BARE(a_detached_vm_holds_nothing),
        BARE(garbage_makes_way),
        CASE(many_large_reads_stay_under_the_limit),
        CASE(one_after_the_other_goes_on),
        CASE(what_is_to_be_written_is_held_too),
        CASE(a_cancelled_call_holds_until_its_job_has_ended),
        CASE(output_of_programs_is_held),
        CASE(options_are_checked),
        CASE(options_with_metamethods_are_read_raw),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
