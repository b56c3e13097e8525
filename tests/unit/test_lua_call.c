/* longer than 600 lines because each of the ways in which a call can end is a test of its own.
 * weir.call, weir.answer, weir.emit_all: stages that wait for stages, every way it can end, in virtual time. */
#include "lua_fixture.h"

#include "core/timer.h"

static void settle(struct lua_app *app)
{
    struct weir_list *node;
    weir_timers_run(app->w);
    lua_pump(app);
    while ((node = weir_list_take_first(&app->w->aside)) != NULL) {
        struct weir_aside *a = WEIR_LIST_ENTRY(node, struct weir_aside, node);
        a->run(a);
        lua_pump(app);
    }
}

static void pass(struct lua_app *app, uint64_t ms)
{
    weir_clock_set_virtual(weir_clock_ns() + ms * WEIR_NS_PER_MS);
    weir_worker_now(app->w);
    weir_waiter_sweep(app->w, false);
    settle(app);
}

#define HEAD                                                                                                 \
    "local weir = require 'weir'\n"                                                                          \
    "local function out(...) assert(weir.emit('out', table.pack(...))) end\n"

/* "a" calls "b" with what it gets and tells the sink what came. */
#define CALLER HEAD "return function(v) out(weir.call('b', v)) end"

#define CALL_APP(app, ...)                                                                                   \
    weir_clock_set_virtual(1000 * WEIR_NS_PER_S);                                                            \
    LUA_APP(app, __VA_ARGS__);                                                                               \
    settle(&app)

static void end(struct lua_app *app)
{
    lua_close_app(app);
    weir_clock_set_virtual(0);
}

static void lua_cancel_stage(struct lua_app *app, const char *stage)
{
    struct weir_handler *h = lua_seat(app, stage)->handler;
    h->ops->cancel(h);
}

/* At rest, every event of `stage` ended as handled but those named. */
static void check_ends(struct lua_app *app, const char *stage, int64_t handled, int64_t failed, int64_t expired, int64_t dropped)
{
    struct weir_ledger *l = &lua_seat(app, stage)->ledger;
    assert_int_equal(lua_count(&l->handled), handled);
    assert_int_equal(lua_count(&l->failed), failed);
    assert_int_equal(lua_count(&l->expired), expired);
    assert_int_equal(lua_count(&l->dropped), dropped);
    assert_int_equal(lua_count(&l->queued), 0);
    assert_int_equal(lua_count(&l->running), 0);
    assert_int_equal(lua_count(&l->waiting), 0);
    assert_int_equal(lua_count(&l->offered), lua_count(&l->accepted) + lua_count(&l->rejected));
    assert_int_equal(app->w->replies, 0);
}

/* What CALLER tells of it: a map of two keys, in either order. */
static void check_called_hi(void)
{
    const char *got = lua_arrived();
    assert_non_null(strstr(got, "\"1\":[\"hi\",\"hi!\",[1.5]]"));
    assert_non_null(strstr(got, "\"n\":1"));
}

static void a_call_gives_the_answer(void **state)
{
    (void)state;
    CALL_APP(app, {.name = "a", .script = CALLER, .to = "out=sink b=b"},
             {.name = "b", .script = "local weir = require 'weir'\nreturn function(v) weir.answer {v, v .. '!', {1.5}} end"});
    lua_send_text(&app, "a", "hi");
    check_called_hi();
    check_ends(&app, "a", 1, 0, 0, 0);
    check_ends(&app, "b", 1, 0, 0, 0);
    end(&app);
}

static void nil_is_an_answer_and_tells_no_reason(void **state)
{
    (void)state;
    CALL_APP(app,
             {.name = "a", .script = HEAD "return function(v) out(select('#', weir.call('b', v)), (weir.call('b', v))) end", .to = "out=sink b=b"},
             {.name = "b", .script = "return function() require 'weir'.answer() end"});
    lua_send_int(&app, "a", 1);
    assert_string_equal(lua_arrived(), "{\"1\":1,\"n\":2}\n");
    end(&app);
}

static void an_answer_may_come_late_and_calls_may_be_many(void **state)
{
    (void)state;
    CALL_APP(app, {.name = "a", .script = CALLER, .to = "out=sink b=b"},
             {.name = "b", .script = "local weir = require 'weir'\nreturn function(v) weir.sleep(1 / v) weir.answer(v) weir.sleep(9) end"});
    for (int i = 1; i <= 3; i++)
        lua_send_int(&app, "a", i);
    assert_string_equal(lua_arrived(), "");
    pass(&app, 334);
    pass(&app, 166);
    pass(&app, 500);
    assert_string_equal(lua_arrived(), "{\"1\":3,\"n\":1}\n{\"1\":2,\"n\":1}\n{\"1\":1,\"n\":1}\n");
    pass(&app, 9000);
    check_ends(&app, "b", 3, 0, 0, 0);
    end(&app);
}

static void every_end_of_the_receiver_is_a_reason(void **state)
{
    (void)state;
    CALL_APP(app, {.name = "a", .script = CALLER, .to = "out=sink b=b"},
             {.name = "b",
              .script = "local weir = require 'weir'\nreturn function(v)\n"
                        "  if v == 1 then return elseif v == 2 then error('no', 0)\n"
                        "  elseif v == 3 then weir.emit('c', 0, {call = true}) end\nend",
              .to = "c=c"},
             {.name = "c", .capacity = 1, .concurrency = 1, .script = "return function() end"});
    int saved = log_begin();
    lua_send_int(&app, "a", 1);
    lua_send_int(&app, "a", 2);
    atomic_store(&lua_seat(&app, "c")->stage->queue.load, (uint64_t)1 << 40); /* full */
    lua_send_int(&app, "a", 3);
    atomic_store(&lua_seat(&app, "c")->stage->queue.load, 0);
    log_end(saved);
    assert_string_equal(lua_arrived(), "{\"2\":\"unanswered\",\"n\":2}\n{\"2\":\"failed\",\"n\":2}\n{\"2\":\"full\",\"n\":2}\n");
    check_ends(&app, "b", 2, 1, 0, 0);
    end(&app);
}

static void every_verdict_of_the_queue_is_a_reason(void **state)
{
    (void)state;
    CALL_APP(app, {.name = "a", .script = CALLER, .to = "out=sink b=b"},
             {.name = "b", .script = "return function() end", .capacity = 1});
    struct weir_queue *q = &lua_seat(&app, "b")->stage->queue;
    atomic_store(&q->load, (uint64_t)1 << 40);
    lua_send_int(&app, "a", 1);
    atomic_store(&q->load, 0);
    atomic_store(&q->closed, true);
    lua_send_int(&app, "a", 1);
    assert_string_equal(lua_arrived(), "{\"2\":\"full\",\"n\":2}\n{\"2\":\"closed\",\"n\":2}\n");
    check_ends(&app, "b", 0, 0, 0, 0);
    assert_int_equal(lua_count(&lua_seat(&app, "b")->ledger.rejected), 2);
    end(&app);
}

static void what_a_policy_drops_is_dropped(void **state)
{
    (void)state;
    CALL_APP(app, {.name = "a", .script = CALLER, .to = "out=sink b=b"},
             {.name = "b", .script = "return function() end", .capacity = 1, .overflow = WEIR_OVERFLOW_DROP_NEWEST});
    struct weir_queue *q = &lua_seat(&app, "b")->stage->queue;
    atomic_store(&q->load, (uint64_t)1 << 40);
    lua_send_int(&app, "a", 1);
    atomic_store(&q->load, 0);
    assert_string_equal(lua_arrived(), "{\"2\":\"dropped\",\"n\":2}\n");
    check_ends(&app, "b", 0, 0, 0, 1);
    end(&app);
}

#define SLOW "local weir = require 'weir'\nreturn function(v) weir.sleep(v) weir.emit('out', {weir.answer(v)}) end"

static void a_timeout_leaves_nothing_behind(void **state)
{
    (void)state;
    CALL_APP(app, {.name = "a", .script = HEAD "return function(v) out(weir.call('b', v, 0.5)) end", .to = "out=sink b=b"},
             {.name = "b", .script = SLOW, .to = "out=sink", .concurrency = 1});
    lua_send_int(&app, "a", 1);
    lua_send_int(&app, "a", 2); /* behind it: dropped before it costs */
    pass(&app, 499);
    assert_string_equal(lua_arrived(), "");
    pass(&app, 1);
    assert_string_equal(lua_arrived(), "{\"2\":\"timeout\",\"n\":2}\n{\"2\":\"timeout\",\"n\":2}\n");
    pass(&app, 500);
    assert_string_equal(lua_arrived(), "");
    check_ends(&app, "a", 2, 0, 0, 0);
    check_ends(&app, "b", 0, 0, 2, 0); /* its deadline was the caller's time: cancelled; and never begun */
    end(&app);
}

static void too_old_for_its_queue_is_expired(void **state)
{
    (void)state;
    CALL_APP(app, {.name = "a", .script = CALLER, .to = "out=sink b=b"},
             {.name = "b", .script = "local weir = require 'weir'\nreturn function(v) weir.sleep(v) weir.answer(v) end", .concurrency = 1});
    lua_seat(&app, "b")->stage->queue.max_age_ns = WEIR_NS_PER_MS;
    lua_send_int(&app, "a", 1);
    lua_send_int(&app, "a", 2);
    pass(&app, 1000);
    assert_string_equal(lua_arrived(), "{\"1\":1,\"n\":1}\n{\"2\":\"expired\",\"n\":2}\n");
    check_ends(&app, "b", 1, 0, 1, 0);
    end(&app);
}

static void a_caller_that_is_gone_is_known_to_the_receiver(void **state)
{
    (void)state;
    CALL_APP(app, {.name = "a", .script = CALLER, .to = "out=sink b=b"},
             {.name = "b", .script = "local weir = require 'weir'\nreturn function(v) weir.sleep(0.5) weir.emit('out', {weir.answer(v)}) end", .to = "out=sink"});
    int saved = log_begin();
    lua_send_int(&app, "a", 7);
    assert_int_equal(lua_seat(&app, "b")->running, 1);
    lua_cancel_stage(&app, "a"); /* long before the deadline that the receiver has from it */
    assert_int_equal(app.w->replies, 0);
    pass(&app, 500);
    log_end(saved);
    assert_string_equal(lua_arrived(), "{\"2\":\"gone\"}\n");
    check_ends(&app, "a", 0, 1, 0, 0);
    check_ends(&app, "b", 1, 0, 0, 0);
    end(&app);
}

static void answering_twice_and_answering_what_is_no_call(void **state)
{
    (void)state;
    CALL_APP(app, {.name = "a", .script = CALLER, .to = "out=sink b=b"},
             {.name = "b",
              .script = HEAD "return function(v)\n"
                             "  local ok, e = pcall(weir.answer, v)\n"
                             "  if not ok then out(e) return end\n"
                             "  out(weir.answer(v))\n"
                             "  out(pcall(weir.emit, 'out', 1, {call = true}))\n"
                             "end",
              .to = "out=sink"});
    lua_send_int(&app, "b", 1);
    lua_send_int(&app, "a", 2);
    const char *got = lua_arrived();
    assert_non_null(strstr(got, "did not come by weir.call"));
    assert_non_null(strstr(got, "{\"2\":\"answered\",\"n\":2}\n"));
    assert_non_null(strstr(got, "the call was answered already"));
    assert_non_null(strstr(got, "{\"1\":2,\"n\":1}\n"));
    end(&app);
}

static void a_call_can_be_passed_on(void **state)
{
    (void)state;
    CALL_APP(app, {.name = "a", .script = CALLER, .to = "out=sink b=b"},
             {.name = "b",
              .script = HEAD "return function(v)\n"
                             "  assert(weir.emit('c', v + 1, {call = true}))\n"
                             "  out(pcall(weir.answer, 0))\n"
                             "end",
              .to = "c=c out=sink"},
             {.name = "c", .script = "local weir = require 'weir'\nreturn function(v) weir.sleep(1) weir.answer(v + 1) end"});
    lua_send_int(&app, "a", 1);
    assert_non_null(strstr(lua_arrived(), "the call was passed on by weir.emit"));
    pass(&app, 1000);
    assert_string_equal(lua_arrived(), "{\"1\":3,\"n\":1}\n");
    end(&app);
}

static void an_ordinary_emit_keeps_the_duty(void **state)
{
    (void)state;
    CALL_APP(app, {.name = "a", .script = CALLER, .to = "out=sink b=b"},
             {.name = "b", .script = HEAD "return function(v) weir.emit('c', v) weir.sleep(0.1) weir.answer('b') end", .to = "c=c out=sink"},
             {.name = "c", .script = HEAD "return function(v) out(pcall(weir.answer, v)) end", .to = "out=sink"});
    lua_send_int(&app, "a", 1);
    assert_non_null(strstr(lua_arrived(), "did not come by weir.call"));
    pass(&app, 100);
    assert_string_equal(lua_arrived(), "{\"1\":\"b\",\"n\":1}\n");
    end(&app);
}

static void a_stage_never_waits_for_itself(void **state)
{
    (void)state;
    CALL_APP(app, {.name = "a", .script = CALLER, .to = "out=sink b=b a=a"},
             {.name = "b", .script = HEAD "return function(v) weir.answer(table.pack(weir.call('c', v))) end", .to = "c=c out=sink"},
             {.name = "c",
              .script = HEAD "return function(v)\n"
                             "  local to_a, to_b = table.pack(weir.call('a', v)), table.pack(weir.call('b', v))\n"
                             "  local to_c, passed = table.pack(weir.call('c', v)), table.pack(weir.emit('a', v, {call = true}))\n"
                             "  weir.answer {to_a, to_b, to_c, passed}\nend",
              .to = "a=a b=b c=c out=sink"});
    int saved = log_begin();
    lua_send_int(&app, "a", 1);
    lua_send_int(&app, "a", 1);
    log_end(saved);
    assert_int_equal(count_of(lua_arrived(), "\"cycle\""), 8);
    assert_int_equal(count_of(logged, "would wait for itself"), 3); /* once for each edge; a is refused by both ways over one */
    check_ends(&app, "c", 2, 0, 0, 0);
    end(&app);
}

static void what_can_not_be_called_raises(void **state)
{
    (void)state;
    CALL_APP(app,
             {.name = "a",
              .script = HEAD "return function(req)\n"
                             "  out(pcall(weir.call, 'b', req))\n"
                             "  out(pcall(weir.call, 'both', 1))\n"
                             "  out(pcall(weir.call, 'nowhere', 1))\n"
                             "  out(pcall(weir.call, 'b', 1, 'soon'))\n"
                             "  out(pcall(table.sort, {1, 2}, function() weir.call('b', 1) end))\n"
                             "  req:reply(204)\nend",
              .to = "out=sink b=b both=b,sink"},
             {.name = "b", .script = "return function() end"});
    lua_send_request(&app, "a", fake_request("", false));
    const char *got = lua_arrived();
    assert_non_null(strstr(got, "an HTTP request can't be sent along with a call"));
    assert_non_null(strstr(got, "'both' goes to several stages"));
    assert_non_null(strstr(got, "has no port 'nowhere'"));
    assert_non_null(strstr(got, "the timeout must be a number of seconds"));
    assert_non_null(strstr(got, "can't wait here"));
    assert_int_equal(seen.status, 204);
    end(&app);
}

static void a_fiber_can_call_for_wall_long(void **state)
{
    (void)state;
    CALL_APP(app,
             {.name = "a",
              .script = HEAD "return {init = function()\n"
                             "  weir.fiber(function() out(weir.call('b', 1)) out(weir.call('b', 100)) out(weir.call('b', 100, 2)) end)\n"
                             "end, handle = function() end}",
              .to = "out=sink b=b"},
             {.name = "b", .script = "local weir = require 'weir'\nreturn function(v) weir.sleep(v) weir.answer(v) end"});
    int saved = log_begin();
    lua_send_int(&app, "a", 1); /* attaches the VM */
    settle(&app);
    pass(&app, 1000);
    assert_string_equal(lua_arrived(), "{\"1\":1,\"n\":1}\n");
    pass(&app, 30000);
    assert_string_equal(lua_arrived(), "{\"2\":\"timeout\",\"n\":2}\n");
    pass(&app, 2000);
    assert_string_equal(lua_arrived(), "{\"2\":\"timeout\",\"n\":2}\n");
    log_end(saved);
    end(&app);
}

#define ONE_AT_A_TIME "local weir = require 'weir'\nreturn function(v) weir.sleep(1) weir.answer(v) end"

static void a_call_waits_for_room(void **state)
{
    (void)state;
    CALL_APP(app, {.name = "a", .script = CALLER, .to = "out=sink b=b"},
             {.name = "b", .script = ONE_AT_A_TIME, .capacity = 1, .concurrency = 1, .overflow = WEIR_OVERFLOW_WAIT});
    for (int i = 1; i <= 4; i++)
        lua_send_int(&app, "a", i);
    assert_int_equal(lua_count(&lua_seat(&app, "b")->ledger.waiting), 2);
    for (int i = 0; i < 5; i++)
        pass(&app, 1000);
    assert_string_equal(lua_arrived(), "{\"1\":1,\"n\":1}\n{\"1\":2,\"n\":1}\n{\"1\":3,\"n\":1}\n{\"1\":4,\"n\":1}\n");
    check_ends(&app, "b", 4, 0, 0, 0);
    end(&app);
}

static void a_timeout_ends_the_wait_for_room_too(void **state)
{
    (void)state;
    CALL_APP(app, {.name = "a", .script = HEAD "return function(v) out(weir.call('b', v, v)) end", .to = "out=sink b=b"},
             {.name = "b", .script = "local weir = require 'weir'\nreturn function(v) weir.sleep(20) weir.answer(v) end", .capacity = 1, .concurrency = 1,
              .overflow = WEIR_OVERFLOW_WAIT});
    lua_send_int(&app, "a", 25);
    lua_send_int(&app, "a", 26);
    lua_send_int(&app, "a", 2);
    pass(&app, 2001);
    assert_string_equal(lua_arrived(), "{\"2\":\"timeout\",\"n\":2}\n");
    assert_int_equal(lua_count(&lua_seat(&app, "b")->ledger.waiting), 0);
    assert_int_equal(lua_count(&lua_seat(&app, "b")->ledger.rejected), 1);
    end(&app);
}

static void a_limit_ends_the_wait_for_room_too(void **state)
{
    (void)state;
    CALL_APP(app, {.name = "a", .script = CALLER, .to = "out=sink b=b"},
             {.name = "b", .script = "local weir = require 'weir'\nreturn function(v) weir.sleep(20) weir.answer(v) end", .capacity = 1, .concurrency = 1,
              .overflow = WEIR_OVERFLOW_WAIT});
    int saved = log_begin();
    lua_send_int(&app, "a", 1);
    lua_send_int(&app, "a", 2);
    lua_seat(&app, "a")->stage->wall_ns = WEIR_NS_PER_S;
    lua_send_int(&app, "a", 3);
    assert_int_equal(lua_count(&lua_seat(&app, "b")->ledger.waiting), 1);
    weir_clock_set_virtual(weir_clock_ns() + WEIR_NS_PER_S);
    weir_worker_now(app.w);
    settle(&app); /* the call ends; its event waits until the sweep sees that it is gone */
    assert_int_equal(lua_seat(&app, "a")->running, 2);
    pass(&app, 5);
    assert_int_equal(lua_count(&lua_seat(&app, "b")->ledger.waiting), 0);
    assert_int_equal(lua_count(&lua_seat(&app, "b")->ledger.rejected), 1);
    assert_int_equal(app.w->replies, 2);
    log_end(saved);
    end(&app);
}

static void shutdown_ends_calls_in_every_state(void **state)
{
    (void)state;
    CALL_APP(app, {.name = "a", .script = CALLER, .to = "out=sink b=b"},
             {.name = "b", .script = "local weir = require 'weir'\nreturn function(v) weir.sleep(9) weir.answer(v) end", .capacity = 1, .concurrency = 1,
              .overflow = WEIR_OVERFLOW_WAIT});
    int saved = log_begin();
    for (int i = 1; i <= 4; i++) /* one is handled, one is queued, two wait for room */
        lua_send_int(&app, "a", i);
    lua_cancel(&app);
    weir_inbox_drain(&app.w->inbox);
    lua_pump(&app);
    log_end(saved);
    check_ends(&app, "a", 2, 2, 0, 0); /* the emits that waited were told "closed" */
    end(&app);
}

static void answers_of_calls_in_a_batch(void **state)
{
    (void)state;
    CALL_APP(app, {.name = "a", .script = CALLER, .to = "out=sink b=b"},
             {.name = "b",
              .script = HEAD "return {handle_batch = function(evs)\n"
                             "  out(pcall(weir.emit, 'c', 1, {call = true}))\n"
                             "  assert(weir.emit('c', evs[1], {call = 1}))\n"
                             "  for i = 2, evs.n do assert(weir.answer(-evs[i], i)) end\nend}",
              .to = "c=c out=sink"},
             {.name = "c", .script = "local weir = require 'weir'\nreturn function(v) weir.answer(v * 10) end"});
    for (int i = 1; i <= 3; i++)
        assert_int_equal(lua_offer(&app, "a", (struct weir_value){.kind = WEIR_VALUE_INT, .integer = i}, NULL), WEIR_VERDICT_ACCEPTED);
    settle(&app);
    const char *got = lua_arrived();
    assert_non_null(strstr(got, "call must say which event of the batch"));
    assert_non_null(strstr(got, "{\"1\":-2,\"n\":1}\n{\"1\":-3,\"n\":1}\n"));
    assert_non_null(strstr(got, "{\"1\":10,\"n\":1}\n"));
    end(&app);
}

#define MANY_TEXT "10000"
enum { MANY = 10000 };

static void very_many_calls_at_once(void **state)
{
    (void)state;
    CALL_APP(app,
             {.name = "a", .script = HEAD "local n = 0\nreturn function(v) assert(weir.call('b', v) == v) n = n + 1 if n == " MANY_TEXT " then out(n) end end",
              .to = "out=sink b=b", .capacity = MANY, .concurrency = MANY, .memory = 256 << 20},
             {.name = "b", .script = ONE_AT_A_TIME, .capacity = MANY, .concurrency = MANY, .memory = 256 << 20});
    for (int i = 0; i < MANY; i++)
        assert_int_equal(lua_offer(&app, "a", (struct weir_value){.kind = WEIR_VALUE_INT, .integer = i}, NULL), WEIR_VERDICT_ACCEPTED);
    settle(&app);
    assert_int_equal(lua_seat(&app, "a")->running, MANY);
    assert_int_equal(app.w->replies, MANY);
    pass(&app, 1000);
    pass(&app, 1000);
    assert_string_equal(lua_arrived(), "{\"1\":" MANY_TEXT ",\"n\":1}\n");
    check_ends(&app, "a", MANY, 0, 0, 0);
    check_ends(&app, "b", MANY, 0, 0, 0);
    end(&app);
}

static void out_of_memory_a_call_says_so_or_works(void **state)
{
    (void)state;
    CALL_APP(app, {.name = "a", .script = HEAD "return function(v) local x, e = weir.call('b', 'text' .. v, 1) out(x, e) end", .to = "out=sink b=b"},
             {.name = "b", .script = "local weir = require 'weir'\nreturn function(v) weir.answer(v) end"});
    lua_send_int(&app, "a", 0); /* VMs and coroutines are there */
    lua_arrived();
    int saved = log_begin();
    bool worked = false;
    for (long n = 0; n < 200 && !worked; n++) {
        struct weir_event *ev = weir_event_create(app.w);
        struct weir_seat *host = lua_seat(&app, "host");
        ev->value = (struct weir_value){.kind = WEIR_VALUE_INT, .integer = 1};
        weir_mem_fail_after(n);
        enum weir_verdict v = weir_port_emit(host, weir_stage_port(host->stage, "to_a"), ev, NULL);
        assert_int_equal(v, WEIR_VERDICT_ACCEPTED);
        settle(&app);
        weir_mem_fail_after(-1);
        pass(&app, 2000);
        assert_int_equal(app.w->replies, 0);
        assert_int_equal(lua_seat(&app, "a")->running, 0);
        assert_int_equal(lua_seat(&app, "b")->running, 0);
        worked = strcmp(lua_arrived(), "{\"1\":\"text1\",\"n\":2}\n") == 0 && n > 3;
        lua_send_int(&app, "a", 0); /* with a fresh VM, if need be */
        pass(&app, 2000);
        lua_arrived();
    }
    log_end(saved);
    assert_true(worked);
    end(&app);
}

/* --- emit_all --- */

#define ALL HEAD "return function(v) weir.emit('log', {weir.emit_all {{'b', v}, {'c', {v}, {key = 'k'}}, {'both', v}}}) end"
#define TELL(name) HEAD "return function(v) out('" name "', v) end"

static void all_go_in_their_order(void **state)
{
    (void)state;
    CALL_APP(app, {.name = "a", .script = ALL, .to = "log=sink b=b c=c both=b,c"}, {.name = "b", .script = TELL("b"), .to = "out=sink"},
             {.name = "c", .script = TELL("c"), .to = "out=sink"});
    lua_send_int(&app, "a", 7);
    const char *got = lua_arrived();
    assert_int_equal(count_of(got, "{\"1\":\"b\",\"2\":7,\"n\":2}\n"), 2);
    assert_int_equal(count_of(got, "[true]\n"), 1);
    const char *list = strstr(got, "{\"1\":\"c\",\"2\":[7],\"n\":2}"), *scalar = strstr(got, "{\"1\":\"c\",\"2\":7,\"n\":2}");
    assert_true(list != NULL && scalar > list);
    check_ends(&app, "b", 2, 0, 0, 0);
    check_ends(&app, "c", 2, 0, 0, 0);
    for (size_t p = 1; p < 4; p++)
        assert_int_equal(weir_stage_emitted(lua_seat(&app, "a")->stage, p), 1);
    end(&app);
}

static void none_goes_when_one_has_no_room(void **state)
{
    (void)state;
    CALL_APP(app, {.name = "a", .script = ALL, .to = "log=sink b=b c=c both=b,c"}, {.name = "b", .script = TELL("b"), .to = "out=sink"},
             {.name = "c", .script = TELL("c"), .to = "out=sink", .capacity = 1, .overflow = WEIR_OVERFLOW_DROP_OLDEST});
    lua_send_int(&app, "a", 7); /* c would get two: never */
    assert_string_equal(lua_arrived(), "{\"2\":\"full\"}\n");
    assert_int_equal(lua_count(&lua_seat(&app, "b")->ledger.offered), 0);
    assert_int_equal(lua_count(&lua_seat(&app, "c")->ledger.offered), 1);
    assert_int_equal(lua_count(&lua_seat(&app, "c")->ledger.rejected), 1);
    assert_int_equal(atomic_load(&lua_seat(&app, "b")->stage->queue.load), 0);
    assert_int_equal(atomic_load(&lua_seat(&app, "c")->stage->queue.load), 0);
    atomic_store(&lua_seat(&app, "b")->stage->queue.closed, true);
    lua_send_int(&app, "a", 7);
    assert_string_equal(lua_arrived(), "{\"2\":\"closed\"}\n");
    end(&app);
}

static void all_wait_for_room_together(void **state)
{
    (void)state;
    CALL_APP(app, {.name = "a", .script = HEAD "return function(v) out(weir.emit_all {{'b', v}, {'c', v}}) end", .to = "out=sink b=b c=c"},
             {.name = "b", .script = TELL("b"), .to = "out=sink"},
             {.name = "c", .script = "local weir = require 'weir'\nreturn function(v) weir.sleep(1) end", .capacity = 1, .concurrency = 1,
              .overflow = WEIR_OVERFLOW_WAIT});
    for (int i = 1; i <= 3; i++)
        lua_send_int(&app, "a", i);
    assert_int_equal(count_of(lua_arrived(), "\"b\""), 2);
    assert_int_equal(lua_count(&lua_seat(&app, "c")->ledger.waiting), 1);
    assert_int_equal(lua_count(&lua_seat(&app, "c")->ledger.offered), 2);
    pass(&app, 1000);
    pass(&app, 2);
    assert_string_equal(lua_arrived(), "{\"1\":true,\"n\":1}\n{\"1\":\"b\",\"2\":3,\"n\":2}\n");
    pass(&app, 1000);
    pass(&app, 1000);
    check_ends(&app, "c", 3, 0, 0, 0);
    /* one that waits while all is cut short */
    for (int i = 1; i <= 3; i++)
        lua_send_int(&app, "a", i);
    assert_int_equal(lua_count(&lua_seat(&app, "c")->ledger.waiting), 1);
    int saved = log_begin();
    lua_cancel(&app);
    lua_pump(&app); /* what was queued begins, and is cancelled with the rest */
    log_end(saved);
    assert_int_equal(lua_count(&lua_seat(&app, "c")->ledger.waiting), 0);
    assert_int_equal(lua_count(&lua_seat(&app, "c")->ledger.rejected), 1);
    end(&app);
}

static void the_one_request_moves_or_stays(void **state)
{
    (void)state;
    CALL_APP(app,
             {.name = "a",
              .script = HEAD "return function(req)\n"
                             "  out(pcall(weir.emit_all, {{'b', req}, {'c', {req}}}))\n"
                             "  out(pcall(weir.emit_all, {{'both', req}}))\n"
                             "  out(pcall(weir.emit_all, {{'b', 1}, {'c', print}}))\n"
                             "  out(pcall(weir.emit_all, {{'b', 1}, 2}))\n"
                             "  out(pcall(weir.emit_all, {{'b', 1, {colour = 1}}}))\n"
                             "  local ok = weir.emit_all {{'c', 1}, {'b', req}}\n"
                             "  if not ok then req:reply(503) else out(pcall(req.reply, req, 200)) end\nend",
              .to = "out=sink b=b c=c both=b,c"},
             {.name = "b", .script = "return function(req) req:reply(201) end"}, {.name = "c", .script = "return function() end"});
    lua_send_request(&app, "a", fake_request("", false));
    const char *got = lua_arrived();
    assert_non_null(strstr(got, "part 2: only one of the events can carry a request"));
    assert_non_null(strstr(got, "can't be sent to 'both'"));
    assert_non_null(strstr(got, "[2][2]: a function can't be sent"));
    assert_non_null(strstr(got, "part 2 must be a table"));
    assert_non_null(strstr(got, "part 1: there is no option 'colour'"));
    assert_non_null(strstr(got, "given away"));
    assert_int_equal(seen.status, 201);
    atomic_store(&lua_seat(&app, "b")->stage->queue.closed, true);
    lua_send_request(&app, "a", fake_request("", false));
    assert_int_equal(seen.status, 503);
    assert_int_equal(seen.live, 0);
    end(&app);
}

static void out_of_memory_nothing_of_all_goes(void **state)
{
    (void)state;
    CALL_APP(app, {.name = "a", .script = HEAD "return function(v) weir.emit_all {{'b', 'x' .. v}, {'both', 'y' .. v}} end", .to = "out=sink b=b both=b,c"},
             {.name = "b", .script = "return function() end"}, {.name = "c", .script = "return function() end"});
    lua_send_int(&app, "a", 0);
    int saved = log_begin();
    bool went = false;
    for (long n = 0; n < 200 && !went; n++) {
        struct weir_seat *host = lua_seat(&app, "host"), *a = lua_seat(&app, "a");
        struct weir_event *ev = weir_event_create(app.w), *one = ev;
        ev->value = (struct weir_value){.kind = WEIR_VALUE_INT, .integer = 1};
        assert_int_equal(weir_port_emit(host, weir_stage_port(host->stage, "to_a"), ev, NULL), WEIR_VERDICT_ACCEPTED);
        assert_int_equal(weir_queue_take(a, &one, 1), 1);
        int64_t b = lua_count(&lua_seat(&app, "b")->ledger.accepted), c = lua_count(&lua_seat(&app, "c")->ledger.accepted);
        weir_mem_fail_after(n);
        a->handler->ops->handle(a->handler, &one, 1);
        weir_mem_fail_after(-1);
        b = lua_count(&lua_seat(&app, "b")->ledger.accepted) - b;
        c = lua_count(&lua_seat(&app, "c")->ledger.accepted) - c;
        assert_true((b == 2 && c == 1) || (b == 0 && c == 0));
        went = b == 2;
        pass(&app, 2000);
        lua_send_int(&app, "a", 0);
        pass(&app, 2000);
    }
    log_end(saved);
    assert_true(went);
    end(&app);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_call_gives_the_answer),
        cmocka_unit_test(nil_is_an_answer_and_tells_no_reason),
        cmocka_unit_test(an_answer_may_come_late_and_calls_may_be_many),
        cmocka_unit_test(every_end_of_the_receiver_is_a_reason),
        cmocka_unit_test(every_verdict_of_the_queue_is_a_reason),
        cmocka_unit_test(what_a_policy_drops_is_dropped),
        cmocka_unit_test(a_timeout_leaves_nothing_behind),
        cmocka_unit_test(too_old_for_its_queue_is_expired),
        cmocka_unit_test(a_caller_that_is_gone_is_known_to_the_receiver),
        cmocka_unit_test(answering_twice_and_answering_what_is_no_call),
        cmocka_unit_test(a_call_can_be_passed_on),
        cmocka_unit_test(an_ordinary_emit_keeps_the_duty),
        cmocka_unit_test(a_stage_never_waits_for_itself),
        cmocka_unit_test(what_can_not_be_called_raises),
        cmocka_unit_test(a_fiber_can_call_for_wall_long),
        cmocka_unit_test(a_call_waits_for_room),
        cmocka_unit_test(a_timeout_ends_the_wait_for_room_too),
        cmocka_unit_test(a_limit_ends_the_wait_for_room_too),
        cmocka_unit_test(shutdown_ends_calls_in_every_state),
        cmocka_unit_test(answers_of_calls_in_a_batch),
        cmocka_unit_test(very_many_calls_at_once),
        cmocka_unit_test(out_of_memory_a_call_says_so_or_works),
        cmocka_unit_test(all_go_in_their_order),
        cmocka_unit_test(none_goes_when_one_has_no_room),
        cmocka_unit_test(all_wait_for_room_together),
        cmocka_unit_test(the_one_request_moves_or_stays),
        cmocka_unit_test(out_of_memory_nothing_of_all_goes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
