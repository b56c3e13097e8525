/* Shared tables: each operation, bounds, expiry, and many threads at once. */
#include "test.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/shared_table.h"
#include "core/value_equal.h"

static const unsigned char secret[16] = "0123456789abcde";

static struct weir_shared_table *make(size_t bytes, uint64_t ttl_ns)
{
    struct weir_shared_table *t;
    assert_int_equal(weir_shared_table_create("t", bytes, ttl_ns, secret, &t, NULL), WEIR_OK);
    return t;
}

static struct weir_shared_key key_of(const char *s)
{
    return weir_shared_key_string(s, (uint32_t)strlen(s));
}

static struct weir_value whole(int64_t i)
{
    return (struct weir_value){.kind = WEIR_VALUE_INT, .integer = i};
}

static struct weir_value real(double d)
{
    return (struct weir_value){.kind = WEIR_VALUE_FLOAT, .number = d};
}

static struct weir_value bytes_of(const char *data, size_t len)
{
    struct weir_blob *blob = weir_blob_create(len);
    assert_non_null(blob);
    memcpy(blob->data, data, len);
    return (struct weir_value){.kind = WEIR_VALUE_BYTES, .blob = blob};
}

/* A string of fewer than 32 bytes, as MessagePack has it. */
static struct weir_value text(const char *s)
{
    char data[40];
    size_t len = strlen(s);
    data[0] = (char)(0xa0 | len);
    memcpy(data + 1, s, len);
    return bytes_of(data, len + 1);
}

static int set(struct weir_shared_table *t, const char *key, struct weir_value v)
{
    struct weir_shared_key k = key_of(key);
    return weir_shared_table_set(t, &k, v, WEIR_SHARED_DEFAULT_TTL);
}

static struct weir_value get(struct weir_shared_table *t, const char *key)
{
    struct weir_shared_key k = key_of(key);
    struct weir_value v = WEIR_VALUE_NOTHING;
    assert_true(weir_shared_table_get(t, &k, &v) == WEIR_OK || v.kind == WEIR_VALUE_NIL);
    return v;
}

static int incr(struct weir_shared_table *t, const char *key, struct weir_value by, struct weir_value *ret)
{
    struct weir_shared_key k = key_of(key);
    return weir_shared_table_incr(t, &k, by, whole(0), WEIR_SHARED_DEFAULT_TTL, ret);
}

static struct weir_shared_figures read_figures(struct weir_shared_table *t)
{
    struct weir_shared_figures f;
    weir_shared_table_read(t, &f);
    return f;
}

static void what_is_set_is_what_is_got(void **state)
{
    (void)state;
    struct weir_shared_table *t = make(1 << 20, WEIR_SHARED_FOREVER);
    const struct weir_value values[] = {
        whole(INT64_MIN), whole(INT64_MAX), real(0.5), {.kind = WEIR_VALUE_BOOL, .boolean = true}};
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(set(t, "k", values[i]), WEIR_OK);
        assert_int_equal(weir_value_equal(get(t, "k"), values[i]), 1);
    }
    struct weir_value s = text("hello");
    assert_int_equal(set(t, "k", weir_value_ref(s)), WEIR_OK);
    struct weir_value back = get(t, "k");
    assert_ptr_equal(back.blob, s.blob);
    weir_value_unref(back);
    weir_value_unref(s);
    assert_int_equal(set(t, "k", WEIR_VALUE_NOTHING), WEIR_OK); /* nil deletes */
    assert_int_equal(get(t, "k").kind, WEIR_VALUE_NIL);
    struct weir_shared_figures f = read_figures(t);
    assert_int_equal(f.entries, 0);
    assert_int_equal(f.bytes, 0);
    assert_int_equal(f.hits, 5);
    assert_int_equal(f.misses, 1);
    weir_shared_table_destroy(t);
}

static void an_integer_key_is_not_the_string_of_its_bytes(void **state)
{
    (void)state;
    struct weir_shared_table *t = make(1 << 20, WEIR_SHARED_FOREVER);
    int64_t number = 0x3031323334353637;
    struct weir_shared_key i = weir_shared_key_int(&number),
                           s = weir_shared_key_string((const char *)&number, 8);
    struct weir_value v;
    assert_int_equal(weir_shared_table_set(t, &i, whole(1), 0), WEIR_OK);
    assert_int_equal(weir_shared_table_get(t, &s, &v), WEIR_E_NOTFOUND);
    assert_int_equal(weir_shared_table_set(t, &s, whole(2), 0), WEIR_OK);
    assert_int_equal(weir_shared_table_get(t, &i, &v), WEIR_OK);
    assert_int_equal(v.integer, 1);
    assert_true(weir_shared_table_delete(t, &i));
    assert_false(weir_shared_table_delete(t, &i));
    assert_int_equal(read_figures(t).entries, 1);
    weir_shared_table_destroy(t);
}

static void many_keys_are_all_found_again(void **state)
{
    (void)state;
    struct weir_shared_table *t = make(64 << 20, WEIR_SHARED_FOREVER);
    enum { N = 20000 };
    for (int64_t i = 0; i < N; i++) {
        struct weir_shared_key k = weir_shared_key_int(&i);
        assert_int_equal(weir_shared_table_set(t, &k, whole(i * 3), 0), WEIR_OK);
    }
    assert_int_equal(read_figures(t).entries, N);
    for (int64_t i = 0; i < N; i++) {
        struct weir_shared_key k = weir_shared_key_int(&i);
        struct weir_value v;
        assert_int_equal(weir_shared_table_get(t, &k, &v), WEIR_OK);
        assert_int_equal(v.integer, i * 3);
        assert_true(weir_shared_table_delete(t, &k));
    }
    struct weir_shared_figures f = read_figures(t);
    assert_int_equal(f.entries, 0);
    assert_true(f.bytes > 0); /* the bucket arrays */
    weir_shared_table_clear(t);
    assert_int_equal(read_figures(t).bytes, 0);
    weir_shared_table_destroy(t);
}

static void add_refuses_what_is_there(void **state)
{
    (void)state;
    struct weir_shared_table *t = make(1 << 20, WEIR_SHARED_FOREVER);
    struct weir_shared_key k = key_of("k");
    assert_int_equal(weir_shared_table_add(t, &k, text("first"), 0), WEIR_OK);
    assert_int_equal(weir_shared_table_add(t, &k, text("second"), 0), WEIR_E_EXISTS);
    struct weir_value v = get(t, "k");
    assert_memory_equal(v.blob->data + 1, "first", 5);
    weir_value_unref(v);
    weir_shared_table_destroy(t);
}

static void incr_keeps_integers_exact_and_mixes_to_float(void **state)
{
    (void)state;
    struct weir_shared_table *t = make(1 << 20, WEIR_SHARED_FOREVER);
    struct weir_value v;
    struct weir_shared_key k = key_of("n");
    assert_int_equal(incr(t, "n", whole(1), &v), WEIR_OK);
    assert_int_equal(v.integer, 1);
    assert_int_equal(incr(t, "n", whole(INT64_MAX - 1), &v), WEIR_OK);
    assert_true(v.kind == WEIR_VALUE_INT && v.integer == INT64_MAX);
    assert_int_equal(incr(t, "n", whole(1), &v), WEIR_E_LIMIT);
    assert_true(get(t, "n").integer == INT64_MAX);
    assert_int_equal(incr(t, "n", real(-0.5), &v), WEIR_OK);
    assert_true(v.kind == WEIR_VALUE_FLOAT);
    assert_int_equal(set(t, "n", text("x")), WEIR_OK);
    assert_int_equal(incr(t, "n", whole(1), &v), WEIR_E_INVAL);
    assert_true(weir_shared_table_delete(t, &k));
    assert_int_equal(weir_shared_table_incr(t, &k, whole(2), whole(40), 0, &v), WEIR_OK);
    assert_int_equal(v.integer, 42);
    assert_int_equal(weir_shared_table_incr(t, &k, whole(2), whole(40), 0, &v), WEIR_OK);
    assert_int_equal(v.integer, 44);
    weir_shared_table_destroy(t);
}

static void cas_compares_types_and_tables_deeply(void **state)
{
    (void)state;
    struct weir_shared_table *t = make(1 << 20, WEIR_SHARED_FOREVER);
    struct weir_shared_key k = key_of("k");
    struct weir_value now;
    assert_int_equal(weir_shared_table_cas(t, &k, WEIR_VALUE_NOTHING, whole(1), 0, &now), WEIR_OK);
    assert_int_equal(weir_shared_table_cas(t, &k, WEIR_VALUE_NOTHING, whole(2), 0, &now), WEIR_E_EXISTS);
    assert_int_equal(now.integer, 1);
    assert_int_equal(weir_shared_table_cas(t, &k, real(1.0), whole(2), 0, &now), WEIR_E_EXISTS);
    assert_int_equal(weir_shared_table_cas(t, &k, whole(1),
                                           bytes_of("\x82\xa1"
                                                    "a\x01\xa1"
                                                    "b\x92\x01\x02",
                                                    9),
                                           0, &now),
                     WEIR_OK);
    /* the same map, written in another order */
    struct weir_value old = bytes_of("\x82\xa1"
                                     "b\x92\x01\x02\xa1"
                                     "a\x01",
                                     9);
    assert_int_equal(weir_shared_table_cas(t, &k, old, text("new"), 0, &now), WEIR_OK);
    assert_int_equal(weir_shared_table_cas(t, &k, old, text("newer"), 0, &now), WEIR_E_EXISTS);
    assert_memory_equal(now.blob->data + 1, "new", 3);
    assert_int_equal(weir_shared_table_cas(t, &k, now, WEIR_VALUE_NOTHING, 0, &now), WEIR_OK); /* deletes */
    weir_value_unref(now);
    weir_value_unref(old);
    assert_int_equal(read_figures(t).entries, 0);
    weir_shared_table_destroy(t);
}

static void entries_live_as_long_as_they_are_told(void **state)
{
    (void)state;
    const uint64_t start = 1000 * WEIR_NS_PER_S;
    weir_clock_set_virtual(start);
    struct weir_shared_table *t = make(1 << 20, 10 * WEIR_NS_PER_S);
    struct weir_shared_key k = key_of("k"), n = key_of("n");
    uint64_t left;
    struct weir_value v;
    assert_int_equal(weir_shared_table_set(t, &k, text("x"), WEIR_NS_PER_S), WEIR_OK);
    assert_int_equal(weir_shared_table_incr(t, &n, whole(1), whole(0), WEIR_SHARED_DEFAULT_TTL, &v), WEIR_OK);
    assert_int_equal(weir_shared_table_ttl(t, &k, &left), WEIR_OK);
    assert_int_equal(left, WEIR_NS_PER_S);
    weir_clock_set_virtual(start + WEIR_NS_PER_S - 1);
    weir_value_unref(get(t, "k"));
    assert_int_equal(read_figures(t).hits, 1);
    weir_clock_set_virtual(start + WEIR_NS_PER_S);
    assert_int_equal(get(t, "k").kind, WEIR_VALUE_NIL);
    assert_int_equal(weir_shared_table_ttl(t, &k, &left), WEIR_E_NOTFOUND);
    assert_false(weir_shared_table_expire(t, &k, WEIR_NS_PER_S));
    assert_int_equal(weir_shared_table_add(t, &k, whole(5), WEIR_SHARED_FOREVER), WEIR_OK);
    assert_int_equal(weir_shared_table_ttl(t, &k, &left), WEIR_OK);
    assert_int_equal(left, 0);
    /* a number that is there keeps its time */
    assert_int_equal(weir_shared_table_incr(t, &n, whole(1), whole(0), 100 * WEIR_NS_PER_S, &v), WEIR_OK);
    assert_int_equal(weir_shared_table_ttl(t, &n, &left), WEIR_OK);
    assert_int_equal(left, 9 * WEIR_NS_PER_S);
    assert_true(weir_shared_table_expire(t, &n, 20 * WEIR_NS_PER_S));
    weir_clock_set_virtual(start + 20 * WEIR_NS_PER_S);
    assert_int_equal(get(t, "n").integer, 2);
    weir_clock_set_virtual(start + 21 * WEIR_NS_PER_S);
    assert_int_equal(incr(t, "n", whole(7), &v), WEIR_OK);
    assert_int_equal(v.integer, 7);
    assert_int_equal(read_figures(t).expired, 2);
    weir_shared_table_destroy(t);
}

static void the_limit_holds_to_the_byte(void **state)
{
    (void)state;
    struct weir_shared_table *probe = make(1 << 20, WEIR_SHARED_FOREVER);
    assert_int_equal(set(probe, "k", text("0123456789")), WEIR_OK);
    size_t one = read_figures(probe).bytes;
    weir_shared_table_destroy(probe);
    struct weir_shared_table *t = make(one, WEIR_SHARED_FOREVER);
    assert_int_equal(set(t, "k", text("0123456789a")), WEIR_E_FULL);
    assert_int_equal(set(t, "kk", text("0123456789")),
                     WEIR_OK); /* within the entry's padding: keys of 1 to 3 bytes are the same size */
    assert_int_equal(read_figures(t).bytes, one);
    assert_int_equal(set(t, "l", whole(1)), WEIR_E_FULL);
    assert_int_equal(set(t, "kk", text("0123456789a")), WEIR_E_FULL); /* the old value stays */
    struct weir_value v = get(t, "kk");
    assert_memory_equal(v.blob->data + 1, "0123456789", 10);
    weir_value_unref(v);
    assert_int_equal(set(t, "kk", whole(1)), WEIR_OK);
    assert_int_equal(incr(t, "other", whole(1), &v), WEIR_E_FULL);
    assert_int_equal(incr(t, "kk", whole(1), &v), WEIR_OK);
    struct weir_shared_key k = key_of("kk");
    assert_int_equal(weir_shared_table_cas(t, &k, whole(2), text("0123456789a"), 0, &v), WEIR_E_FULL);
    assert_int_equal(read_figures(t).refused, 5);
    assert_true(weir_shared_table_delete(t, &k));
    assert_int_equal(read_figures(t).bytes, 0);
    assert_int_equal(set(t, "l", whole(1)), WEIR_OK);
    weir_shared_table_destroy(t);
}

/* Fills the table with entries that live so long; returns how many fit. */
static int64_t fill(struct weir_shared_table *t, int64_t from, uint64_t ttl_ns)
{
    int64_t i = from;
    for (;; i++) {
        struct weir_shared_key k = weir_shared_key_int(&i);
        int rc = weir_shared_table_set(t, &k, whole(i), ttl_ns);
        if (rc == WEIR_E_FULL)
            return i - from;
        assert_int_equal(rc, WEIR_OK);
        assert_true(read_figures(t).bytes <= read_figures(t).limit);
    }
}

static void expired_entries_make_room_when_it_is_needed(void **state)
{
    (void)state;
    const uint64_t start = 1000 * WEIR_NS_PER_S;
    weir_clock_set_virtual(start);
    struct weir_shared_table *t = make(100000, WEIR_SHARED_FOREVER);
    int64_t n = fill(t, 0, WEIR_NS_PER_S);
    assert_true(n > 500);
    weir_clock_set_virtual(start + WEIR_NS_PER_S);
    int64_t again = fill(t, 1000000, WEIR_SHARED_FOREVER);
    assert_true(again * 10 >= n * 8); /* bucket arrays that grew meanwhile have their share */
    assert_int_equal(read_figures(t).expired,
                     n); /* all of the first were swept, though nobody asked for them */
    assert_int_equal(read_figures(t).entries, again);
    for (int64_t i = 1000000; i < 1000000 + again; i++) {
        struct weir_shared_key k = weir_shared_key_int(&i);
        struct weir_value v;
        assert_int_equal(weir_shared_table_get(t, &k, &v), WEIR_OK); /* nothing that lives was evicted */
    }
    weir_shared_table_destroy(t);
}

static void a_copy_has_what_a_shard_holds(void **state)
{
    (void)state;
    weir_clock_set_virtual(1000 * WEIR_NS_PER_S);
    struct weir_shared_table *t = make(1 << 20, WEIR_SHARED_FOREVER);
    bool seen[300] = {false};
    char name[16];
    for (int i = 0; i < 300; i++) {
        snprintf(name, sizeof name, "key%d", i);
        struct weir_shared_key k = key_of(name);
        assert_int_equal(
            weir_shared_table_set(t, &k, i % 3 == 0 ? text(name) : whole(i), i % 2 == 0 ? 0 : WEIR_NS_PER_S),
            WEIR_OK);
    }
    weir_clock_set_virtual(1001 * WEIR_NS_PER_S);
    for (size_t shard = 0; shard < WEIR_SHARED_SHARDS; shard++) {
        struct weir_shared_extent x = {0, 0};
        struct weir_shared_item items[300];
        unsigned char keys[4096];
        bool none = weir_shared_table_copy(t, shard, items, keys, &x);
        assert_true(none == (x.items == 0));
        struct weir_shared_extent room = {300, sizeof keys};
        assert_true(weir_shared_table_copy(t, shard, items, keys, &room));
        assert_int_equal(room.items, x.items);
        for (size_t i = 0; i < room.items; i++) {
            assert_false(items[i].key_is_int);
            snprintf(name, sizeof name, "%.*s", (int)items[i].key_len, (const char *)keys + items[i].key_at);
            int n = (int)strtol(name + 3, NULL, 10);
            assert_false(seen[n]);
            seen[n] = true;
            weir_value_unref(items[i].value);
        }
    }
    for (int i = 0; i < 300; i++)
        assert_true(seen[i] == (i % 2 == 0)); /* the others have expired */
    weir_shared_table_destroy(t);
}

static void lack_of_memory_changes_nothing(void **state)
{
    (void)state;
    NEEDS_INJECTION();
    int rc = WEIR_E_NOMEM;
    for (long n = 0; rc != WEIR_OK; n++) {
        struct weir_shared_table *t = NULL;
        weir_mem_fail_after(n);
        rc = weir_shared_table_create("t", 100, 0, secret, &t, NULL);
        weir_mem_fail_after(-1);
        assert_true((rc == WEIR_OK) == (t != NULL));
        weir_shared_table_destroy(t);
    }
    struct weir_shared_table *t = make(1 << 20, WEIR_SHARED_FOREVER);
    for (int i = 0; i < 2000; i++) { /* so that buckets grow, too */
        char name[16];
        snprintf(name, sizeof name, "k%d", i);
        rc = WEIR_E_NOMEM;
        for (long n = 0; rc != WEIR_OK; n++) {
            struct weir_value v = text("v");
            weir_mem_fail_after(n);
            rc = set(t, name, v);
            weir_mem_fail_after(-1);
            assert_true(rc == WEIR_OK || rc == WEIR_E_NOMEM);
            assert_int_equal(read_figures(t).entries, i + (rc == WEIR_OK));
        }
    }
    struct weir_shared_key k = key_of("k1");
    struct weir_value old = bytes_of("\x81\x01\x02", 3), same = bytes_of("\x81\xcc\x01\x02", 4), now;
    assert_int_equal(set(t, "k1", weir_value_ref(same)), WEIR_OK);
    rc = WEIR_E_NOMEM;
    weir_mem_fail_after(0);
    rc = weir_shared_table_cas(t, &k, old, whole(1), 0,
                               &now); /* the key is there: nothing of ours is allocated */
    weir_mem_fail_after(-1);
    assert_int_equal(rc, WEIR_OK);
    weir_value_unref(old);
    weir_value_unref(same);
    weir_shared_table_destroy(t);
}

/* --- threads --- */

enum {
    THREADS = 16,
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
    ROUNDS = 20000,
#else
    ROUNDS = 1000000,
#endif
};

struct crew {
    struct weir_shared_table *t;
    _Atomic int64_t won; /* how often a cas succeeded, or a copy was made */
    _Atomic bool stop;
    int index; /* of the next thread */
};

static void run(struct crew *crew, int count, void *(*work)(void *))
{
    pthread_t threads[THREADS];
    for (int i = 0; i < count; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, work, crew), 0);
    for (int i = 0; i < count; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
}

static void *count_up(void *arg)
{
    struct crew *crew = arg;
    struct weir_value v;
    for (int64_t i = 0; i < ROUNDS; i++) {
        int64_t which = i % 8;
        struct weir_shared_key k = weir_shared_key_int(&which);
        if (weir_shared_table_incr(crew->t, &k, whole(1), whole(0), 0, &v) != WEIR_OK)
            abort();
    }
    return NULL;
}

static void no_incr_is_lost(void **state)
{
    (void)state;
    struct crew crew = {.t = make(1 << 20, WEIR_SHARED_FOREVER)};
    run(&crew, THREADS, count_up);
    int64_t sum = 0;
    for (int64_t i = 0; i < 8; i++) {
        struct weir_shared_key k = weir_shared_key_int(&i);
        struct weir_value v;
        assert_int_equal(weir_shared_table_get(crew.t, &k, &v), WEIR_OK);
        sum += v.integer;
    }
    assert_true(sum == (int64_t)THREADS * ROUNDS);
    weir_shared_table_destroy(crew.t);
}

/* The value is a table {n = count}; each thread reads it, adds one, and swaps it in if nobody else was first.
 */
static struct weir_value count_table(uint32_t n)
{
    const char data[] = {(char)0x81,      (char)0xa1,     'n',    (char)0xce, (char)(n >> 24),
                         (char)(n >> 16), (char)(n >> 8), (char)n};
    struct weir_blob *blob = weir_blob_create(sizeof data);
    if (blob == NULL)
        abort();
    memcpy(blob->data, data, sizeof data);
    return (struct weir_value){.kind = WEIR_VALUE_BYTES, .blob = blob};
}

static uint32_t count_in(struct weir_value v)
{
    const unsigned char *d = v.blob->data + 4;
    return (uint32_t)d[0] << 24 | (uint32_t)d[1] << 16 | (uint32_t)d[2] << 8 | d[3];
}

static void *swap_up(void *arg)
{
    struct crew *crew = arg;
    struct weir_shared_key k = weir_shared_key_string("cas", 3);
    for (int done = 0; done < ROUNDS / 1000;) {
        struct weir_value old, now;
        if (weir_shared_table_get(crew->t, &k, &old) != WEIR_OK)
            abort();
        struct weir_value equal = count_table(count_in(old)); /* equal, not the same */
        int rc = weir_shared_table_cas(crew->t, &k, equal, count_table(count_in(old) + 1), 0, &now);
        if (rc == WEIR_OK)
            done++;
        else if (rc == WEIR_E_EXISTS)
            weir_value_unref(now);
        else
            abort();
        weir_value_unref(old);
        weir_value_unref(equal);
    }
    return NULL;
}

static void cas_lets_one_of_many_win(void **state)
{
    (void)state;
    struct crew crew = {.t = make(1 << 20, WEIR_SHARED_FOREVER)};
    assert_int_equal(set(crew.t, "cas", count_table(0)), WEIR_OK);
    run(&crew, 8, swap_up);
    struct weir_value v = get(crew.t, "cas");
    assert_int_equal(count_in(v), 8 * (ROUNDS / 1000));
    weir_value_unref(v);
    weir_shared_table_destroy(crew.t);
}

/* Each writer adds, replaces, expires and deletes under a limit that is often reached; one thread copies
 * meanwhile. */
static void *churn(void *arg)
{
    struct crew *crew = arg;
    for (int64_t i = 0; i < ROUNDS / 20; i++) {
        int64_t which = (i * 7919) % 997;
        struct weir_shared_key k = weir_shared_key_int(&which);
        char data[64] = {(char)0xd9, (char)(i % 60)};
        struct weir_blob *blob = weir_blob_create(2 + (size_t)(i % 60));
        if (blob == NULL)
            abort();
        memcpy(blob->data, data, blob->len);
        weir_shared_table_set(crew->t, &k, (struct weir_value){.kind = WEIR_VALUE_BYTES, .blob = blob},
                              i % 4 == 0 ? 1000 : 0);
        if (i % 3 == 0)
            weir_shared_table_delete(crew->t, &k);
        struct weir_value v;
        if (i % 5 == 0 && weir_shared_table_get(crew->t, &k, &v) == WEIR_OK)
            weir_value_unref(v);
        struct weir_shared_figures f;
        weir_shared_table_read(crew->t, &f);
        if (f.bytes > f.limit)
            abort();
        if (i % 10000 == 0)
            weir_shared_table_clear(crew->t);
    }
    return NULL;
}

static void *copy_all(void *arg)
{
    struct crew *crew = arg;
    static _Thread_local struct weir_shared_item items[2000];
    static _Thread_local unsigned char keys[32000];
    while (!atomic_load(&crew->stop)) {
        for (size_t shard = 0; shard < WEIR_SHARED_SHARDS; shard++) {
            struct weir_shared_extent x = {2000, sizeof keys};
            if (!weir_shared_table_copy(crew->t, shard, items, keys, &x))
                abort();
            for (size_t i = 0; i < x.items; i++) {
                if (items[i].value.blob->data[0] != 0xd9 ||
                    items[i].value.blob->data[1] + 2u != items[i].value.blob->len)
                    abort(); /* half a value */
                weir_value_unref(items[i].value);
            }
        }
        atomic_fetch_add(&crew->won, 1);
    }
    return NULL;
}

static void copies_are_whole_while_others_write(void **state)
{
    (void)state;
    struct crew crew = {.t = make(60000, WEIR_SHARED_FOREVER)};
    pthread_t reader;
    assert_int_equal(pthread_create(&reader, NULL, copy_all, &crew), 0);
    run(&crew, 4, churn);
    while (atomic_load(&crew.won) == 0)
        sched_yield(); /* the reader's first round ends in any case */
    atomic_store(&crew.stop, true);
    assert_int_equal(pthread_join(reader, NULL), 0);
    weir_shared_table_clear(crew.t);
    assert_int_equal(read_figures(crew.t).bytes, 0); /* the account closes */
    assert_int_equal(read_figures(crew.t).entries, 0);
    weir_shared_table_destroy(crew.t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_set_is_what_is_got),
        TEST(an_integer_key_is_not_the_string_of_its_bytes),
        TEST(many_keys_are_all_found_again),
        TEST(add_refuses_what_is_there),
        TEST(incr_keeps_integers_exact_and_mixes_to_float),
        TEST(cas_compares_types_and_tables_deeply),
        TEST(entries_live_as_long_as_they_are_told),
        TEST(the_limit_holds_to_the_byte),
        TEST(expired_entries_make_room_when_it_is_needed),
        TEST(a_copy_has_what_a_shard_holds),
        TEST(lack_of_memory_changes_nothing),
        TEST(no_incr_is_lost),
        TEST(cas_lets_one_of_many_win),
        TEST(copies_are_whole_while_others_write),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
