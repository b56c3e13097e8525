#include "lua/vms.h"

#include <semaphore.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "core/crew.h"
#include "core/graph.h"
#include "core/seat.h"
#include "core/stage.h"
#include "core/worker.h"
#include "lua/call.h"
#include "lua/lib.h"
#include "lua/log.h"
#include "lua/script.h"
#include "lua/stream_ud.h"
#include "lua/vm.h"

enum {
    SPARES = 2,
    COLLECT_MIN = 256 << 10, /* a smaller VM has little to give */
};

static const uint64_t RETRY_NS = WEIR_NS_PER_S;

/* A VM on its way from the builder's thread to the worker's. Each of them holds a reference. */
struct weir_vms_build {
    struct weir_message order;  /* to the builder */
    struct weir_message result; /* to the worker */
    _Atomic unsigned refs;      /* [atomic acq/rel] */
    sem_t built;
    struct weir_vms *vms; /* [owner: worker] NULL: it was closed meanwhile */
    const struct weir_lua_script *script;
    struct weir_seat *seat;
    struct weir_vm *vm; /* [owner: builder until built, then worker] */
    struct weir_err err;
};

static struct weir_vm *vm_of(struct weir_list *node)
{
    return WEIR_LIST_ENTRY(node, struct weir_vm, node);
}

static int make_vm(const struct weir_lua_script *script, struct weir_seat *seat, struct weir_vm **ret, struct weir_err *reterr)
{
    struct weir_vm *vm;
    int rc = weir_vm_create(script, seat, &vm, reterr);
    if (rc != WEIR_OK)
        return rc;
    rc = weir_vm_init(vm, reterr);
    if (rc != WEIR_OK) {
        weir_vm_destroy(vm);
        return rc;
    }
    *ret = vm;
    return WEIR_OK;
}

int weir_vms_init(struct weir_vms *vms, const struct weir_lua_script *script, struct weir_seat *seat, struct weir_err *reterr)
{
    struct weir_vm *vm;
    int rc = make_vm(script, seat, &vm, reterr);
    if (rc != WEIR_OK)
        return rc;
    vms->script = script;
    vms->seat = seat;
    weir_list_init(&vms->live);
    weir_list_init(&vms->retired);
    weir_list_append(&vms->live, &vm->node);
    return WEIR_OK;
}

/* --- closing --- */

static void on_reap(struct weir_message *m)
{
    weir_vm_destroy(WEIR_LIST_ENTRY(m, struct weir_vm, reap));
}

/* Nothing of it is under way, and it is in no list. */
static void close_vm(struct weir_vms *vms, struct weir_vm *vm)
{
    struct weir_crew *reaper = vms->seat->stage->graph->reaper;
    weir_vm_detach(vm);
    vm->reap.deliver = on_reap;
    if (reaper != NULL)
        weir_crew_post(reaper, &vm->reap);
    else
        weir_vm_destroy(vm);
}

static void retire(struct weir_vms *vms, struct weir_vm *vm)
{
    weir_list_remove(&vm->node);
    weir_list_append(&vms->retired, &vm->node);
    vm->retired = true;
    weir_lua_report_replaced(vm, vm->was_doomed);
    weir_vm_retire(vm);
}

/* --- building --- */

static void complain(struct weir_vms *vms, const struct weir_err *err)
{
    vms->retry_ns = weir_clock_ns() + RETRY_NS;
    weir_log(WEIR_LOG_ERROR, vms->seat->stage->name, NULL, "no new VM could be made: %s", err->text);
}

static void add(struct weir_vms *vms, struct weir_vm *vm)
{
    weir_list_append(&vms->live, &vm->node);
    weir_vm_attach(vm);
}

static void unref_build(struct weir_vms_build *b)
{
    if (atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) != 1)
        return;
    sem_destroy(&b->built);
    weir_free(b);
}

static void on_built(struct weir_message *m)
{
    struct weir_vms_build *b = WEIR_LIST_ENTRY(m, struct weir_vms_build, result);
    struct weir_vms *vms = b->vms;
    if (vms != NULL) {
        vms->building = NULL;
        if (b->vm != NULL)
            add(vms, b->vm);
        else
            complain(vms, &b->err);
        weir_vms_settle(vms, NULL);
    }
    unref_build(b);
}

static void on_order(struct weir_message *m)
{
    struct weir_vms_build *b = WEIR_LIST_ENTRY(m, struct weir_vms_build, order);
    if (make_vm(b->script, b->seat, &b->vm, &b->err) != WEIR_OK)
        b->vm = NULL;
    weir_worker_post(b->seat->worker, &b->result);
    sem_post(&b->built);
    unref_build(b);
}

static struct weir_vms_build *make_build(struct weir_vms *vms)
{
    struct weir_vms_build *b = weir_calloc(1, sizeof *b);
    if (b == NULL)
        return NULL;
    b->order.deliver = on_order;
    b->result.deliver = on_built;
    atomic_init(&b->refs, 2);
    sem_init(&b->built, 0, 0);
    b->vms = vms;
    b->script = vms->script;
    b->seat = vms->seat;
    return b;
}

static void build_in_place(struct weir_vms *vms)
{
    struct weir_err err;
    struct weir_vm *vm;
    if (make_vm(vms->script, vms->seat, &vm, &err) == WEIR_OK)
        add(vms, vm);
    else
        complain(vms, &err);
}

/* Those that take calls, or will when the preempted one has ended. */
static size_t count_sound(const struct weir_vms *vms)
{
    size_t n = 0;
    for (const struct weir_list *node = vms->live.next; node != &vms->live; node = node->next)
        n += !WEIR_LIST_ENTRY(node, const struct weir_vm, node)->broken;
    return n;
}

static size_t count_free(const struct weir_vms *vms)
{
    size_t n = 0;
    for (const struct weir_list *node = vms->live.next; node != &vms->live; node = node->next) {
        const struct weir_vm *vm = WEIR_LIST_ENTRY(node, const struct weir_vm, node);
        n += vm->held == NULL && !vm->broken;
    }
    return n;
}

/* Has one more VM made, if there may be one. */
static void build(struct weir_vms *vms)
{
    struct weir_crew *builder = vms->seat->stage->graph->builder;
    if (vms->building != NULL || count_sound(vms) > SPARES || weir_clock_ns() < vms->retry_ns)
        return;
    if (builder == NULL) {
        build_in_place(vms);
        return;
    }
    vms->building = make_build(vms);
    if (vms->building != NULL)
        weir_crew_post(builder, &vms->building->order);
    else
        complain(vms, &(struct weir_err){.text = "out of memory"});
}

/* --- choosing --- */

static struct weir_vm *find_free(struct weir_vms *vms)
{
    WEIR_LIST_EACH(node, following, &vms->live)
    {
        struct weir_vm *vm = vm_of(node);
        if (!vm->attached) /* the first one, of a worker that a test runs by hand */
            weir_vm_attach(vm);
        if (vm->held == NULL && !vm->broken)
            return vm;
    }
    return NULL;
}

/* A broken VM whose successor can't be made: its state is whole when only memory was short, and it goes on. */
static struct weir_vm *find_broken(struct weir_vms *vms)
{
    WEIR_LIST_EACH(node, following, &vms->live)
    {
        struct weir_vm *vm = vm_of(node);
        if (vm->held == NULL)
            return vm;
    }
    return NULL;
}

static void retire_broken(struct weir_vms *vms)
{
    WEIR_LIST_EACH(node, following, &vms->live)
    {
        struct weir_vm *vm = vm_of(node);
        if (vm->broken && vm->held == NULL)
            retire(vms, vm);
    }
}

static void close_idle(struct weir_vms *vms)
{
    WEIR_LIST_EACH(node, following, &vms->retired)
    {
        struct weir_vm *vm = vm_of(node);
        if (vm->live > 0)
            continue;
        weir_list_remove(&vm->node);
        close_vm(vms, vm);
    }
}

void weir_vms_start(struct weir_vms *vms)
{
    weir_vm_attach(vm_of(vms->live.next));
}

struct weir_vm *weir_vms_pick(struct weir_vms *vms)
{
    struct weir_vm *vm = find_free(vms);
    if (vm != NULL)
        return vm;
    build(vms);
    vm = find_free(vms);
    if (vm != NULL) {
        retire_broken(vms);
        close_idle(vms);
    }
    if (vm == NULL && vms->building == NULL && weir_clock_ns() < vms->retry_ns)
        vm = find_broken(vms);
    if (vm == NULL && !vms->held) {
        vms->held = true;
        weir_seat_hold(vms->seat);
    }
    return vm;
}

void weir_vms_settle(struct weir_vms *vms, struct weir_vm *vm)
{
    if (vm != NULL && vm->held == NULL)
        vm->was_held = false;
    else if (vm != NULL)
        vms->spares = true;
    if (find_free(vms) != NULL)
        retire_broken(vms);
    close_idle(vms);
    if ((vms->held && find_free(vms) == NULL) || (vms->spares && count_free(vms) < 2))
        build(vms); /* ahead: who finds none waits for two slices of the call that is preempted */
    if (!vms->held || (find_free(vms) == NULL && weir_clock_ns() >= vms->retry_ns))
        return;
    vms->held = false;
    weir_seat_release(vms->seat);
}

/* --- collecting --- */

WEIR_L_RAISES static int l_begin_collecting(lua_State *L)
{
    weir_lib_push_collect(L);
    (void)weir_call_begin_fiber(L, 0, true); /* where all fibers are taken, calls collect as they allocate */
    return 0;
}

/* One that a call holds is left alone: that call may be the last time's collection. */
void weir_vms_collect(struct weir_vms *vms)
{
    WEIR_LIST_EACH(node, following, &vms->live)
    {
        struct weir_vm *vm = vm_of(node);
        struct weir_err err; /* no memory: it has collected then */
        if (vm->attached && vm->held == NULL && !vm->broken && vm->used >= COLLECT_MIN)
            (void)weir_vm_call(vm, l_begin_collecting, NULL, &err);
    }
}

/* --- the end --- */

static void cancel_list(struct weir_list *list)
{
    WEIR_LIST_EACH(node, following, list)
    {
        struct weir_vm *vm = vm_of(node);
        weir_call_cancel_all(vm, WEIR_REASON_CANCELLED);
        weir_stream_ud_cut_all(vm);
    }
}

void weir_vms_cancel(struct weir_vms *vms)
{
    cancel_list(&vms->live);
    cancel_list(&vms->retired);
    close_idle(vms);
}

static void close_list(struct weir_vms *vms, struct weir_list *list)
{
    struct weir_list *node;
    while ((node = weir_list_take_first(list)) != NULL)
        close_vm(vms, vm_of(node));
}

void weir_vms_fini(struct weir_vms *vms)
{
    struct weir_vms_build *b = vms->building;
    if (b != NULL) {
        while (sem_wait(&b->built) != 0)
            ; /* a signal came */
        b->vms = NULL;
        weir_vm_destroy(b->vm);
    }
    close_list(vms, &vms->retired);
    close_list(vms, &vms->live);
}

size_t weir_vms_memory(const struct weir_vms *vms)
{
    size_t sum = 0;
    for (const struct weir_list *node = vms->live.next; node != &vms->live; node = node->next)
        sum += WEIR_LIST_ENTRY(node, const struct weir_vm, node)->used;
    for (const struct weir_list *node = vms->retired.next; node != &vms->retired; node = node->next)
        sum += WEIR_LIST_ENTRY(node, const struct weir_vm, node)->used;
    return sum;
}
