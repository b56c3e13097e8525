/* The VMs of a handler: which one takes the next call, when another is made, when one is closed; in place,
 * and on threads of their own. */
#include "lua/vms.h"

#include "core/crew.h"
#include "lua/call.h"
#include "lua/handler.h"
#include "lua/script.h"
#include "lua/vm.h"
#include "lua_fixture.h"

/* A set of VMs beside that of stage "a", which is only there for its seat. */
struct bench {
    struct lua_app app;
    struct weir_handler_maker maker;
    struct weir_seat *seat;
    struct weir_vms vms;
};

/* Its VMs can be made until 2000 s. */
static const char *const script = "local weir = require 'weir'\n"
                                  "return {init = function() if weir.now() > 2000 then error('not now', 0) "
                                  "end made = true end, handle = function() assert(made) end}";

static struct weir_call somebody; /* who holds a VM */

static void bench_script(struct bench *b)
{
    struct weir_err err;
    char file[160];
    const char *lib = "safe";
    const struct lua_stage_spec spec = {.name = "a", .script = "return function() end"};
    weir_clock_set_virtual(1000 * WEIR_NS_PER_S);
    lua_open(&b->app, &spec, 1);
    lua_write(&b->app, "mine.lua", script);
    snprintf(file, sizeof file, "%s/mine.lua", b->app.folder);
    struct weir_lua_options o = {.file = file,
                                 .folder = b->app.folder,
                                 .libs = &lib,
                                 .lib_count = 1,
                                 .memory = 4 << 20,
                                 .limits = lua_limits};
    assert_int_equal(weir_lua_maker_create(&o, &b->maker, &err), WEIR_OK);
    b->seat = lua_seat(&b->app, "a");
    memset(&b->vms, 0, sizeof b->vms);
}

static void bench_open(struct bench *b)
{
    struct weir_err err;
    bench_script(b);
    assert_int_equal(weir_vms_init(&b->vms, b->maker.self, b->seat, &err), WEIR_OK);
    weir_vms_start(&b->vms);
}

static void bench_end_script(struct bench *b)
{
    b->maker.destroy(b->maker.self);
    lua_close_app(&b->app);
    weir_clock_set_virtual(0);
}

static void bench_close(struct bench *b)
{
    weir_vms_cancel(&b->vms);
    weir_vms_fini(&b->vms);
    bench_end_script(b);
}

static size_t length(const struct weir_list *list)
{
    size_t n = 0;
    for (const struct weir_list *node = list->next; node != list; node = node->next)
        n++;
    return n;
}

static void check_count(const struct bench *b, size_t live, size_t retired)
{
    assert_int_equal(length(&b->vms.live), live);
    assert_int_equal(length(&b->vms.retired), retired);
}

/* A preempted call has it from now on. */
static struct weir_vm *pick_and_hold(struct bench *b)
{
    struct weir_vm *vm = weir_vms_pick(&b->vms);
    assert_non_null(vm);
    vm->held = &somebody;
    vm->live++;
    return vm;
}

static void let_go(struct bench *b, struct weir_vm *vm)
{
    vm->held = NULL;
    vm->was_held = true;
    vm->live--;
    weir_vms_settle(&b->vms, vm);
}

/* ---- in place ---- */

static void the_first_free_one_takes_the_call(void **state)
{
    (void)state;
    struct bench b;
    bench_open(&b);
    check_count(&b, 1, 0);
    struct weir_vm *first = weir_vms_pick(&b.vms);
    assert_true(first->attached);
    for (int i = 0; i < 10; i++)
        assert_ptr_equal(weir_vms_pick(&b.vms), first); /* calls that wait hold nothing */
    assert_int_equal(weir_vms_memory(&b.vms), first->used);
    assert_true(first->used > 0);
    bench_close(&b);
}

static void spares_serve_while_calls_hold_vms_and_then_the_seat_is_held(void **state)
{
    (void)state;
    struct bench b;
    bench_open(&b);
    struct weir_vm *vm[3];
    for (int i = 0; i < 3; i++)
        vm[i] = pick_and_hold(&b);
    check_count(&b, 3, 0);
    assert_true(vm[0] != vm[1] && vm[1] != vm[2] && vm[0] != vm[2]);
    assert_null(weir_vms_pick(&b.vms));
    assert_null(weir_vms_pick(&b.vms));
    check_count(&b, 3, 0);
    assert_true(b.seat->held);
    let_go(&b, vm[1]);
    assert_false(b.seat->held);
    assert_ptr_equal(weir_vms_pick(&b.vms), vm[1]);
    let_go(&b, vm[0]);
    let_go(&b, vm[2]);
    assert_ptr_equal(weir_vms_pick(&b.vms), vm[0]); /* spares stay for the next time, the first is used */
    check_count(&b, 3, 0);
    bench_close(&b);
}

static void after_a_first_preempted_call_a_spare_is_made_ahead(void **state)
{
    (void)state;
    struct bench b;
    bench_open(&b);
    for (int i = 0; i < 10; i++)
        weir_vms_settle(&b.vms, weir_vms_pick(&b.vms)); /* calls that end without */
    check_count(&b, 1, 0);
    struct weir_vm *vm = pick_and_hold(&b);
    weir_vms_settle(&b.vms, vm);
    check_count(&b, 2, 0); /* before another call asks for one */
    let_go(&b, vm);
    check_count(&b, 2, 0);
    struct weir_vm *held[3];
    for (int i = 0; i < 3; i++) {
        held[i] = pick_and_hold(&b);
        weir_vms_settle(&b.vms, held[i]);
    }
    check_count(&b, 3, 0); /* and no more */
    for (int i = 0; i < 3; i++)
        let_go(&b, held[i]);
    bench_close(&b);
}

static void a_broken_one_takes_no_calls_and_is_closed_with_its_last(void **state)
{
    (void)state;
    struct bench b;
    bench_open(&b);
    struct weir_vm *old = weir_vms_pick(&b.vms);
    old->live = 2; /* calls that are suspended in it */
    old->broken = true;
    weir_vms_settle(&b.vms, old);
    check_count(&b, 1, 0); /* until there is another one */
    int saved = log_begin();
    struct weir_vm *fresh = weir_vms_pick(&b.vms);
    log_end(saved);
    assert_non_null(fresh);
    assert_ptr_not_equal(fresh, old);
    check_count(&b, 1, 1);
    assert_non_null(strstr(logged, "was replaced"));
    size_t both = weir_vms_memory(&b.vms);
    old->live = 1;
    weir_vms_settle(&b.vms, old);
    check_count(&b, 1, 1);
    old->live = 0;
    weir_vms_settle(&b.vms, old);
    check_count(&b, 1, 0);
    assert_true(weir_vms_memory(&b.vms) < both);
    assert_ptr_equal(weir_vms_pick(&b.vms), fresh);
    bench_close(&b);
}

static void broken_ones_make_room_for_new_ones(void **state)
{
    (void)state;
    struct bench b;
    bench_open(&b);
    int saved = log_begin();
    for (int i = 0; i < 50; i++) {
        struct weir_vm *vm = pick_and_hold(&b);
        vm->broken = vm->was_doomed = true;
        struct weir_vm *spare = pick_and_hold(&b); /* meanwhile another call */
        assert_ptr_not_equal(vm, spare);
        let_go(&b, vm);
        let_go(&b, spare);
        assert_true(length(&b.vms.live) <= 3);
        check_count(&b, length(&b.vms.live), 0);
    }
    log_end(saved);
    assert_non_null(strstr(logged, "a call was ended over its limits"));
    bench_close(&b);
}

static void without_a_successor_a_broken_one_goes_on_for_a_second(void **state)
{
    (void)state;
    struct bench b;
    bench_open(&b);
    struct weir_vm *old = weir_vms_pick(&b.vms);
    weir_clock_set_virtual(2001 * WEIR_NS_PER_S); /* init fails from now on */
    old->broken = true;
    int saved = log_begin();
    assert_ptr_equal(weir_vms_pick(&b.vms), old);
    for (int i = 0; i < 100; i++)
        assert_ptr_equal(weir_vms_pick(&b.vms), old);
    log_end(saved);
    assert_int_equal(count_of(logged, "no new VM could be made"), 1); /* not with each call */
    assert_non_null(strstr(logged, "not now"));
    weir_clock_set_virtual(2002 * WEIR_NS_PER_S);
    saved = log_begin();
    assert_ptr_equal(weir_vms_pick(&b.vms), old);
    log_end(saved);
    assert_int_equal(count_of(logged, "no new VM could be made"), 1);
    weir_clock_set_virtual(1000 * WEIR_NS_PER_S); /* well again; b.vms.retry_ns is to come */
    b.vms.retry_ns = 0;
    saved = log_begin();
    assert_ptr_not_equal(weir_vms_pick(&b.vms), old);
    log_end(saved);
    check_count(&b, 1, 0);
    bench_close(&b);
}

static void a_seat_that_was_held_is_let_go_when_none_can_be_made(void **state)
{
    (void)state;
    struct bench b;
    bench_open(&b);
    struct weir_vm *vm = pick_and_hold(&b);
    weir_clock_set_virtual(2001 * WEIR_NS_PER_S);
    int saved = log_begin();
    assert_null(weir_vms_pick(&b.vms)); /* it is taken, and there will be no other */
    assert_true(b.seat->held);
    vm->broken = true;
    let_go(&b, vm);
    log_end(saved);
    weir_clock_set_virtual(1000 * WEIR_NS_PER_S);
    b.vms.retry_ns = 0;
    saved = log_begin();
    weir_vms_settle(&b.vms, NULL);
    log_end(saved);
    assert_false(b.seat->held);
    assert_non_null(weir_vms_pick(&b.vms));
    check_count(&b, 1, 0);
    bench_close(&b);
}

static void an_init_that_fails_is_told_and_leaves_nothing(void **state)
{
    (void)state;
    struct bench b;
    struct weir_err err;
    bench_script(&b);
    long live = weir_mem_live();
    weir_clock_set_virtual(2001 * WEIR_NS_PER_S);
    assert_true(weir_vms_init(&b.vms, b.maker.self, b.seat, &err) < 0);
    assert_non_null(strstr(err.text, "not now"));
    assert_int_equal(weir_mem_live(), live);
    bench_end_script(&b);
}

static void any_allocation_may_fail_when_one_is_made(void **state)
{
    (void)state;
    NEEDS_INJECTION();
    struct bench b;
    struct weir_err err;
    bench_script(&b);
    long live = weir_mem_live();
    int rc = WEIR_E_NOMEM;
    for (long n = 0; rc != WEIR_OK; n++) {
        weir_mem_fail_after(n);
        rc = weir_vms_init(&b.vms, b.maker.self, b.seat, &err);
        weir_mem_fail_after(-1);
        assert_true(rc == WEIR_OK || weir_mem_live() == live);
    }
    bench_close(&b);
}

/* ---- on threads of their own ---- */

static struct weir_crew *builder, *reaper;

static void bench_open_crews(struct bench *b)
{
    struct weir_err err;
    bench_open(b);
    assert_int_equal(weir_crew_start("builder", NULL, &builder, &err), WEIR_OK);
    assert_int_equal(weir_crew_start("reaper", NULL, &reaper, &err), WEIR_OK);
    b->app.g->builder = builder;
    b->app.g->reaper = reaper;
}

/* What was ordered is done, and told. */
static void end_crews(struct bench *b)
{
    b->app.g->builder = b->app.g->reaper = NULL;
    weir_crew_stop(builder);
    weir_crew_stop(reaper);
    weir_inbox_drain(&b->app.w->inbox);
}

static void wait_until_built(struct bench *b)
{
    while (b->vms.building != NULL) {
        uv_run(&b->app.w->loop, UV_RUN_ONCE); /* the builder's message wakes it */
        weir_inbox_drain(&b->app.w->inbox);
    }
}

static void while_one_is_built_the_seat_takes_nothing(void **state)
{
    (void)state;
    struct bench b;
    bench_open_crews(&b);
    struct weir_vm *vm = pick_and_hold(&b);
    assert_null(weir_vms_pick(&b.vms));
    assert_true(b.seat->held);
    assert_non_null(b.vms.building);
    assert_null(weir_vms_pick(&b.vms)); /* orders no second one */
    wait_until_built(&b);
    assert_false(b.seat->held);
    check_count(&b, 2, 0);
    struct weir_vm *spare = weir_vms_pick(&b.vms);
    assert_ptr_not_equal(spare, vm);
    assert_true(spare->attached);
    let_go(&b, vm);
    end_crews(&b);
    bench_close(&b);
}

static void many_that_break_are_all_replaced_and_closed(void **state)
{
    (void)state;
    struct bench b;
    bench_open_crews(&b);
    int saved = log_begin();
    for (int i = 0; i < 100; i++) {
        struct weir_vm *vm = weir_vms_pick(&b.vms);
        assert_non_null(vm);
        vm->broken = vm->was_doomed = true;
        weir_vms_settle(&b.vms, vm);
        assert_null(weir_vms_pick(&b.vms));
        wait_until_built(&b);
        check_count(&b, 1, 0);
    }
    log_end(saved);
    end_crews(&b);
    bench_close(&b); /* and no memory is left */
}

static void the_end_waits_for_one_that_is_being_built(void **state)
{
    (void)state;
    struct bench b;
    for (int i = 0; i < 20; i++) {
        bench_open_crews(&b);
        struct weir_vm *vm = pick_and_hold(&b);
        assert_null(weir_vms_pick(&b.vms));
        vm->held = NULL;
        vm->live = 0;
        weir_vms_cancel(&b.vms);
        weir_vms_fini(&b.vms);
        end_crews(&b);
        weir_seat_release(b.seat);
        bench_end_script(&b);
    }
}

static void one_that_cannot_be_built_is_tried_again_a_second_later(void **state)
{
    (void)state;
    struct bench b;
    bench_open_crews(&b);
    struct weir_vm *vm = weir_vms_pick(&b.vms);
    vm->broken = true;
    weir_clock_set_virtual(2001 * WEIR_NS_PER_S);
    int saved = log_begin();
    assert_null(weir_vms_pick(&b.vms));
    wait_until_built(&b);
    log_end(saved);
    assert_non_null(strstr(logged, "no new VM could be made"));
    assert_ptr_equal(weir_vms_pick(&b.vms), vm); /* it is all there is */
    assert_null(b.vms.building);
    weir_clock_set_virtual(1999 * WEIR_NS_PER_S);
    b.vms.retry_ns = 0;
    assert_null(weir_vms_pick(&b.vms));
    saved = log_begin();
    wait_until_built(&b);
    log_end(saved);
    assert_ptr_not_equal(weir_vms_pick(&b.vms), NULL);
    check_count(&b, 1, 0);
    end_crews(&b);
    bench_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_first_free_one_takes_the_call),
        TEST(spares_serve_while_calls_hold_vms_and_then_the_seat_is_held),
        TEST(after_a_first_preempted_call_a_spare_is_made_ahead),
        TEST(a_broken_one_takes_no_calls_and_is_closed_with_its_last),
        TEST(broken_ones_make_room_for_new_ones),
        TEST(without_a_successor_a_broken_one_goes_on_for_a_second),
        TEST(a_seat_that_was_held_is_let_go_when_none_can_be_made),
        TEST(an_init_that_fails_is_told_and_leaves_nothing),
        TEST(any_allocation_may_fail_when_one_is_made),
        TEST(while_one_is_built_the_seat_takes_nothing),
        TEST(many_that_break_are_all_replaced_and_closed),
        TEST(the_end_waits_for_one_that_is_being_built),
        TEST(one_that_cannot_be_built_is_tried_again_a_second_later),
    };
    return cmocka_run_group_tests_name("vms", tests, NULL, NULL);
}
