#include "core/fair.h"

#include <stdlib.h>

#include "base/mem.h"
#include "core/pool.h"
#include "core/stage.h"
#include "core/waiter.h"
#include "support.h"

enum { FEED, WORK, OTHER, STAGES };

static struct rig *rig;
static struct weir_worker *w;
static struct weir_queue *q;

static void open_rig(size_t capacity, enum weir_order order, enum weir_overflow policy)
{
    static const size_t both[] = {WORK, OTHER};
    rig = rig_create(STAGES, 1);
    rig_pool(rig, 0, "main", 2, false);
    rig_stage(rig, FEED, "feed", 0, rig_handled, NULL);
    for (size_t i = WORK; i <= OTHER; i++) {
        struct weir_queue *of = &rig_stage(rig, i, i == WORK ? "work" : "other", 0, rig_handled, NULL)->queue;
        of->capacity = capacity;
        of->order = order;
        of->keys = (struct weir_queue_keys){.by = i == WORK ? WEIR_BY_KEY : WEIR_BY_SOURCE, .fair = true};
        of->overflow.policy = policy;
    }
    q = &rig->g->stages[WORK].queue;
    rig_wire_one(rig, FEED, "out", WORK);
    rig_wire(rig, FEED, "both", both, 2);
    rig_finish(rig);
    w = rig_worker(rig, 0);
}

static void close_rig(void)
{
    rig_check_ledger(rig, WORK);
    rig_worker_end(w);
    assert_int_equal(q->shared.fair->key_count, 0); /* nothing is held, nobody waits */
    assert_int_equal(q->shared.fair->count, 0);
    rig_destroy(rig);
}

static struct weir_event *event_of(uint64_t key, int64_t value)
{
    struct weir_event *ev = rig_event(w, value);
    ev->key = key;
    return ev;
}

static enum weir_verdict emit(uint64_t key, int64_t value)
{
    return rig_emit(w, FEED, event_of(key, value));
}

static enum weir_verdict emit_of_class(uint64_t key, int64_t value, uint8_t class_index)
{
    struct weir_event *ev = event_of(key, value);
    ev->class_index = class_index;
    return rig_emit(w, FEED, ev);
}

/* Takes and finishes what is there, one at a time: its values are `values`. */
static void assert_handles(const int64_t *values, size_t n)
{
    weir_worker_flush(w);
    for (size_t i = 0; i < n; i++) {
        struct weir_event *ev;
        assert_int_equal(rig_take(w, WORK, &ev, 1), 1);
        assert_int_equal(ev->value.integer, values[i]);
        rig_finish_event(w, WORK, ev);
    }
}

#define HANDLES(...)                                                                                         \
    assert_handles((const int64_t[]){__VA_ARGS__}, sizeof((const int64_t[]){__VA_ARGS__}) / sizeof(int64_t))

static int64_t refused_for(enum weir_reason why)
{
    return rig_ledger(rig, WORK).reasons[why];
}

static void keys_take_turns(void **state)
{
    (void)state;
    open_rig(100, WEIR_ORDER_FIFO, WEIR_OVERFLOW_REJECT);
    for (int i = 0; i < 5; i++)
        emit(1, 10 + i);
    emit(2, 20);
    emit(3, 30);
    emit(2, 21);
    emit(0, 0); /* without a key: of one that all such have in common */
    HANDLES(10, 20, 30, 0, 11, 21, 12, 13, 14);
    close_rig();
}

static void batches_are_of_keys_in_turn(void **state)
{
    (void)state;
    struct weir_event *out[4];
    open_rig(100, WEIR_ORDER_FIFO, WEIR_OVERFLOW_REJECT);
    rig->g->stages[WORK].takes_batches = true;
    for (int i = 0; i < 4; i++)
        emit(1, 10 + i);
    emit(2, 20);
    weir_worker_flush(w);
    assert_int_equal(rig_take(w, WORK, out, 3), 3);
    assert_int_equal(out[0]->value.integer, 10);
    assert_int_equal(out[1]->value.integer, 20);
    assert_int_equal(out[2]->value.integer, 11);
    weir_seat_give_back(w->seats[WORK], out, 3);
    HANDLES(10, 20, 11, 12, 13);
    close_rig();
}

/* A key that comes has its first turn before those that have gone through a round, and its second behind them. */
static void who_sends_seldom_does_not_wait_for_who_sends_without_end(void **state)
{
    (void)state;
    open_rig(100, WEIR_ORDER_FIFO, WEIR_OVERFLOW_REJECT);
    for (int i = 0; i < 6; i++)
        emit(1, 10 + i);
    for (int i = 0; i < 6; i++)
        emit(2, 20 + i);
    HANDLES(10, 20, 11);
    emit(3, 30);
    emit(3, 31);
    HANDLES(30, 21, 12);
    emit(3, 32);
    HANDLES(31, 22, 13, 32, 23);
    emit(3, 33);
    HANDLES(33);
    emit(3, 34); /* at once again: it has had its turn ahead of the round */
    HANDLES(14, 24, 34, 15, 25);
    close_rig();
}

static void the_round_goes_on_whoever_comes(void **state)
{
    (void)state;
    open_rig(200, WEIR_ORDER_FIFO, WEIR_OVERFLOW_REJECT);
    for (int i = 0; i < 3; i++)
        emit(1, i);
    HANDLES(0);
    for (int i = 0; i < 20; i++)
        emit(100 + (uint64_t)i, 100 + i);
    HANDLES(100, 101, 102, 103, 104, 105, 106, 107, 1, 108, 109, 110, 111, 112, 113, 114, 115, 2, 116, 117, 118, 119);
    close_rig();
}

/* Of n keys that want all of it, each gets 1 / (n + 1). */
static void a_key_holds_no_more_than_is_left(void **state)
{
    (void)state;
    open_rig(12, WEIR_ORDER_FIFO, WEIR_OVERFLOW_REJECT);
    int accepted[4] = {0};
    for (int i = 0; i < 20; i++)
        accepted[0] += emit(1, i) == WEIR_VERDICT_ACCEPTED;
    assert_int_equal(accepted[0], 6);
    assert_int_equal(refused_for(WEIR_REASON_SHARE), 14);
    for (uint64_t key = 2; key <= 3; key++)
        for (int i = 0; i < 20; i++)
            accepted[key - 1] += emit(key, i) == WEIR_VERDICT_ACCEPTED;
    assert_int_equal(accepted[1], 3);
    assert_int_equal(accepted[2], 2);                    /* 1 of 1 left is no less: 2 */
    assert_int_equal(emit(4, 0), WEIR_VERDICT_ACCEPTED); /* who has nothing gets the last place */
    assert_int_equal(emit(5, 0), WEIR_VERDICT_FULL);
    assert_int_equal(refused_for(WEIR_REASON_FULL), 1);
    assert_int_equal(weir_queue_depth(q), 12);
    close_rig();
}

static void so_it_is_with_bytes(void **state)
{
    (void)state;
    open_rig(100, WEIR_ORDER_FIFO, WEIR_OVERFLOW_REJECT);
    size_t each = sizeof(struct weir_event) + 100;
    q->bytes = 4 * each;
    struct weir_event *evs[4];
    for (int i = 0; i < 4; i++) {
        evs[i] = rig_event_sized(w, 100);
        evs[i]->key = i < 3 ? 1 : 2;
    }
    assert_int_equal(rig_emit(w, FEED, evs[0]), WEIR_VERDICT_ACCEPTED);
    assert_int_equal(rig_emit(w, FEED, evs[1]), WEIR_VERDICT_ACCEPTED);
    assert_int_equal(rig_emit(w, FEED, evs[2]), WEIR_VERDICT_FULL); /* it would have 3 of 4 */
    assert_int_equal(rig_emit(w, FEED, evs[3]), WEIR_VERDICT_ACCEPTED);
    assert_int_equal(refused_for(WEIR_REASON_SHARE), 1);
    close_rig();
}

static void who_drops_the_oldest_drops_its_own(void **state)
{
    (void)state;
    open_rig(4, WEIR_ORDER_FIFO, WEIR_OVERFLOW_DROP_OLDEST);
    emit(2, 20);
    for (int i = 0; i < 5; i++)
        assert_int_equal(emit(1, 10 + i), WEIR_VERDICT_ACCEPTED);
    assert_int_equal(rig_ledger(rig, WORK).reasons[WEIR_REASON_OLDEST], 3);
    HANDLES(20, 13, 14);
    close_rig();
}

static void each_class_has_a_round_of_its_own(void **state)
{
    (void)state;
    open_rig(6, WEIR_ORDER_CLASS, WEIR_OVERFLOW_REJECT);
    emit_of_class(1, 10, 1);
    emit_of_class(1, 11, 1);
    emit_of_class(2, 20, 1);
    emit_of_class(1, 90, 0);
    emit_of_class(3, 30, 1);
    emit_of_class(4, 40, 1);
    assert_int_equal(emit_of_class(5, 50, 1), WEIR_VERDICT_FULL);
    assert_int_equal(emit_of_class(1, 91, 0),
                     WEIR_VERDICT_ACCEPTED); /* instead of the newest of a lower class */
    assert_int_equal(emit_of_class(2, 92, 0), WEIR_VERDICT_ACCEPTED);
    assert_int_equal(refused_for(WEIR_REASON_DISPLACED), 2);
    assert_int_equal(emit_of_class(1, 93, 0), WEIR_VERDICT_ACCEPTED);
    assert_int_equal(emit_of_class(1, 94, 0),
                     WEIR_VERDICT_FULL); /* as much as there is left, and what gives way */
    assert_int_equal(refused_for(WEIR_REASON_SHARE), 1);
    HANDLES(90, 92, 91, 93, 30, 40);
    close_rig();
}

static void newest_first_is_meant_within_a_key(void **state)
{
    (void)state;
    open_rig(100, WEIR_ORDER_LIFO, WEIR_OVERFLOW_REJECT);
    emit(1, 10);
    emit(1, 11);
    emit(2, 20);
    emit(1, 12);
    HANDLES(12, 20, 11, 10);
    close_rig();
}

/* ---- waiters ---- */

struct wait {
    struct weir_emission em;
    int verdict; /* -1: none yet */
};

static void on_done(struct weir_emission *em, enum weir_verdict verdict, struct weir_event *ev)
{
    ((struct wait *)(void *)em)->verdict = (int)verdict;
    weir_event_free(w, ev);
}

static enum weir_verdict emit_waiting(struct wait *wait, uint64_t key, int64_t value)
{
    *wait = (struct wait){.em.done = on_done, .verdict = -1};
    return weir_port_emit(w->seats[FEED], &rig->g->stages[FEED].ports[0], event_of(key, value), &wait->em);
}

static void who_waits_holds_up_its_own_key_only(void **state)
{
    (void)state;
    struct wait greedy[3], other;
    open_rig(4, WEIR_ORDER_FIFO, WEIR_OVERFLOW_WAIT);
    emit(1, 10);
    emit(1, 11);
    for (int i = 0; i < 3; i++)
        assert_int_equal(emit_waiting(&greedy[i], 1, 12 + i), WEIR_VERDICT_PENDING);
    assert_int_equal(emit_waiting(&other, 2, 20), WEIR_VERDICT_ACCEPTED);
    HANDLES(10);
    weir_inbox_drain(&w->inbox);
    assert_int_equal(greedy[0].verdict, WEIR_VERDICT_ACCEPTED);
    assert_int_equal(greedy[1].verdict, -1);
    HANDLES(20, 11, 12, 13, 14); /* all come in, in their order */
    weir_inbox_drain(&w->inbox);
    for (int i = 0; i < 3; i++)
        assert_int_equal(greedy[i].verdict, WEIR_VERDICT_ACCEPTED);
    close_rig();
}

static void waiters_of_many_keys_all_come_in(void **state)
{
    (void)state;
    enum { KEYS = 40 };
    struct wait waits[KEYS];
    open_rig(2, WEIR_ORDER_FIFO, WEIR_OVERFLOW_WAIT);
    emit(100, 0);
    emit(101, 0);
    for (uint64_t i = 0; i < KEYS; i++)
        assert_int_equal(emit_waiting(&waits[i], i, (int64_t)i), WEIR_VERDICT_PENDING);
    for (int i = 0; i < KEYS + 2; i++) {
        struct weir_event *ev;
        weir_worker_flush(w);
        assert_int_equal(rig_take(w, WORK, &ev, 1), 1);
        rig_finish_event(w, WORK, ev);
    }
    weir_inbox_drain(&w->inbox);
    for (size_t i = 0; i < KEYS; i++)
        assert_int_equal(waits[i].verdict, WEIR_VERDICT_ACCEPTED);
    close_rig();
}

static void a_wait_that_ends_frees_its_key(void **state)
{
    (void)state;
    struct wait wait;
    open_rig(1, WEIR_ORDER_FIFO, WEIR_OVERFLOW_WAIT);
    emit(1, 10);
    assert_int_equal(emit_waiting(&wait, 2, 20), WEIR_VERDICT_PENDING);
    assert_int_equal(q->shared.fair->key_count, 2);
    weir_waiter_sweep(w, true);
    assert_int_equal(wait.verdict, WEIR_VERDICT_CLOSED);
    assert_int_equal(q->shared.fair->key_count, 1);
    HANDLES(10);
    close_rig();
}

/* ---- all or none ---- */

static void what_is_reserved_at_one_is_given_back_when_another_refuses(void **state)
{
    (void)state;
    open_rig(4, WEIR_ORDER_FIFO, WEIR_OVERFLOW_REJECT);
    struct weir_part part = {.port = &rig->g->stages[FEED].ports[1]};
    struct weir_parts parts = {.from = w->seats[FEED], .parts = &part, .count = 1};
    for (int i = 0; i < 3; i++) { /* one source, three keys: the source's share at the other stage is two */
        part.ev = event_of((uint64_t)i + 1, i);
        part.ev->source = 7;
        assert_int_equal(weir_parts_emit(&parts, false), i < 2 ? WEIR_VERDICT_ACCEPTED : WEIR_VERDICT_FULL);
    }
    weir_event_free(w, part.ev);
    assert_int_equal(weir_queue_depth(q), 2);
    assert_int_equal(q->shared.fair->key_count, 2);
    rig_run(w);
    assert_int_equal(rig_ledger(rig, OTHER).handled, 2);
    close_rig();
}

static void no_memory_for_a_key_is_a_refusal(void **state)
{
    (void)state;
    open_rig(4, WEIR_ORDER_FIFO, WEIR_OVERFLOW_REJECT);
    struct weir_event *ev = event_of(1, 1);
    weir_mem_fail_after(0);
    assert_int_equal(weir_port_emit(w->seats[FEED], &rig->g->stages[FEED].ports[0], ev, NULL),
                     WEIR_VERDICT_FULL);
    weir_mem_fail_after(-1);
    weir_event_free(w, ev);
    assert_int_equal(refused_for(WEIR_REASON_NOMEM), 1);
    assert_int_equal(weir_queue_depth(q), 0);
    close_rig();
}

/* ---- whatever happens ---- */

enum { KEYS = 12 };

static void check_sums(void)
{
    const struct weir_fair *f = q->shared.fair;
    size_t held = 0, bytes = 0, keys = 0;
    for (size_t i = 0; i < f->bucket_count; i++) {
        for (const struct weir_fair_key *k = f->buckets[i]; k != NULL; k = k->next) {
            held += k->held;
            bytes += k->held_bytes;
            keys++;
            assert_true(k->held > 0 || !weir_list_empty(&k->turn));
        }
    }
    assert_int_equal(held, weir_queue_depth(q));
    assert_int_equal(bytes, weir_queue_bytes(q));
    assert_int_equal(keys, f->key_count);
}

static void sums_hold_and_no_key_starves(void **state)
{
    (void)state;
    unsigned short seed[3] = {7, 11, 13};
    int64_t handled[KEYS] = {0}, sent[KEYS] = {0};
    open_rig(64, WEIR_ORDER_FIFO, WEIR_OVERFLOW_REJECT);
    for (int step = 0; step < 20000; step++) {
        uint64_t key = (uint64_t)nrand48(seed) % 100;
        key = key < KEYS - 1 ? key + 1 : 0; /* one sends nine of ten */
        sent[key] += emit(key, (int64_t)key) == WEIR_VERDICT_ACCEPTED;
        if (nrand48(seed) % 4 == 0) {
            struct weir_event *ev;
            weir_worker_flush(w);
            assert_int_equal(rig_take(w, WORK, &ev, 1), 1);
            handled[ev->value.integer]++;
            rig_finish_event(w, WORK, ev);
        }
        if (step % 100 == 0)
            check_sums();
    }
    for (size_t i = 1; i < KEYS;
         i++) /* each sends one of 100 where 25 are handled: none is refused, none falls behind */
        assert_true(sent[i] > 150 && sent[i] - handled[i] <= 2);
    rig_run(w);
    close_rig();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(keys_take_turns),
        TEST(batches_are_of_keys_in_turn),
        TEST(who_sends_seldom_does_not_wait_for_who_sends_without_end),
        TEST(the_round_goes_on_whoever_comes),
        TEST(a_key_holds_no_more_than_is_left),
        TEST(so_it_is_with_bytes),
        TEST(who_drops_the_oldest_drops_its_own),
        TEST(each_class_has_a_round_of_its_own),
        TEST(newest_first_is_meant_within_a_key),
        TEST(who_waits_holds_up_its_own_key_only),
        TEST(waiters_of_many_keys_all_come_in),
        TEST(a_wait_that_ends_frees_its_key),
        TEST(what_is_reserved_at_one_is_given_back_when_another_refuses),
        TEST(no_memory_for_a_key_is_a_refusal),
        TEST(sums_hold_and_no_key_starves),
    };
    return cmocka_run_group_tests_name("fair", tests, NULL, NULL);
}
