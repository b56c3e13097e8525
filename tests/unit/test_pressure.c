/* The overload manager on a graph: what it looks at in a folder made for it, and what it tells. */
#include "test.h"

#include <ftw.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/app.h"
#include "controller/journal.h"
#include "controller/pressure.h"
#include "core/pool.h"
#include "core/relief.h"
#include "support.h"

struct place {
    char root[64];
    struct rig *r;
    struct weir_journal *journal;
    struct weir_app_overload conf;
    struct weir_pressure *p;
    uint64_t now_ns;
};

static void put_pages(const struct place *at, unsigned resident)
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s/proc/self/statm", at->root);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fprintf(f, "100000 %u 0 0 0 0 0\n", resident) > 0);
    assert_int_equal(fclose(f), 0);
}

static void begin(struct place *at)
{
    char path[128];
    struct weir_err err;
    *at = (struct place){.root = "/tmp/weir-pressure-XXXXXX", .now_ns = WEIR_NS_PER_S};
    assert_non_null(mkdtemp(at->root));
    (void)snprintf(path, sizeof path, "%s/proc", at->root);
    assert_int_equal(mkdir(path, 0700), 0);
    (void)snprintf(path, sizeof path, "%s/proc/self", at->root);
    assert_int_equal(mkdir(path, 0700), 0);
    put_pages(at, 100);
    at->r = rig_create(1, 1);
    rig_pool(at->r, 0, "main", 1, false);
    rig_stage(at->r, 0, "stage", 0, rig_handled, NULL);
    at->r->g->class_count = 3;
    rig_finish(at->r);
    assert_int_equal(weir_journal_create(&at->journal, &err), WEIR_OK);
    at->conf = (struct weir_app_overload){.every_ns = 250 * WEIR_NS_PER_MS, .hold_ns = WEIR_NS_PER_S, .hysteresis = 0.05};
    at->conf.limit[WEIR_RESOURCE_MEMORY] = 1000.0 * (double)sysconf(_SC_PAGESIZE);
    at->conf.limit[WEIR_RESOURCE_LAG] = 1;
    for (int r = 0; r < WEIR_RESOURCE_COUNT; r++)
        for (int a = 0; a < WEIR_RELIEF_COUNT; a++)
            at->conf.at[r][a] = r == WEIR_RESOURCE_MEMORY ? 0.9 : INFINITY;
    assert_int_equal(weir_pressure_create(&at->conf, at->r->g, at->journal, at->root, &at->p, &err), WEIR_OK);
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st;
    (void)kind;
    (void)at;
    return remove(path);
}

static void end(struct place *at)
{
    weir_pressure_destroy(at->p);
    weir_journal_destroy(at->journal);
    rig_destroy(at->r);
    assert_int_equal(nftw(at->root, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}

static uint64_t tick(struct place *at, uint64_t ms)
{
    at->now_ns += ms * WEIR_NS_PER_MS;
    return weir_pressure_tick(at->p, at->now_ns);
}

static void it_acts_tells_and_takes_back(void **state)
{
    (void)state;
    struct place at;
    struct weir_pressure_view v;
    begin(&at);
    assert_true(tick(&at, 250) == 250 * WEIR_NS_PER_MS);
    assert_int_equal(weir_relief_word(at.r->g), 0);
    weir_pressure_look(at.p, &v);
    assert_true(fabs(v.pressure[WEIR_RESOURCE_MEMORY] - 0.1) < 1e-9);
    assert_string_equal(v.of_memory, "process");
    assert_true(isnan(v.pressure[WEIR_RESOURCE_DESCRIPTORS])); /* the folder has none */

    put_pages(&at, 850);
    assert_true(tick(&at, 250) == 50 * WEIR_NS_PER_MS); /* near: it looks more often */
    assert_int_equal(weir_journal_last(at.journal), 0);

    put_pages(&at, 2000);
    (void)tick(&at, 50);
    assert_true(weir_relief_stops(at.r->g) && weir_relief_closes(at.r->g));
    assert_true(weir_relief_sheds_class(at.r->g, 1) && !weir_relief_sheds_class(at.r->g, 0));
    assert_int_equal(weir_relief_batch(at.r->g, 64), 1);
    assert_int_equal(weir_journal_last(at.journal), WEIR_RELIEF_COUNT);
    const struct weir_journal_entry *e = weir_journal_next(at.journal, WEIR_RELIEF_SHED);
    assert_string_equal(e->subject, "overload.shed");
    assert_string_equal(e->rule, "memory runs short");
    assert_true(e->from == 0 && e->to == 2);
    assert_non_null(strstr(e->text, "memory at 200 % (process: 8 of 4 MiB)"));

    put_pages(&at, 100);
    for (int i = 0; i < 400; i++)
        (void)tick(&at, 50);
    assert_int_equal(weir_relief_word(at.r->g), 0);
    uint64_t last = weir_journal_last(at.journal);
    (void)tick(&at, 5000);
    assert_int_equal(weir_journal_last(at.journal), last);
    end(&at);
}

static void the_end_takes_everything_back_at_once(void **state)
{
    (void)state;
    struct place at;
    begin(&at);
    put_pages(&at, 990);
    (void)tick(&at, 250);
    assert_int_not_equal(weir_relief_word(at.r->g), 0);
    weir_pressure_end(at.p);
    assert_int_equal(weir_relief_word(at.r->g), 0);
    (void)tick(&at, 250);
    assert_int_equal(weir_relief_word(at.r->g), 0);
    end(&at);
}

static void the_lag_of_a_worker_is_how_long_it_has_not_polled(void **state)
{
    (void)state;
    struct place at;
    struct weir_pressure_view v;
    begin(&at);
    struct weir_worker *w = rig_worker(at.r, 0);
    at.r->g->pools[0].workers[0] = w;
    at.now_ns = w->now_ns;
    (void)tick(&at, 0);
    atomic_store(&w->polled_ns, w->now_ns); /* it has polled just now, and goes on to work */
    for (int i = 0; i < 40; i++)
        (void)tick(&at, 50);
    weir_pressure_look(at.p, &v);
    assert_true(v.used[WEIR_RESOURCE_LAG] > 1 && v.used[WEIR_RESOURCE_LAG] < 2);
    atomic_store(&w->parked_ns, at.now_ns);
    for (int i = 0; i < 40; i++)
        (void)tick(&at, 50);
    weir_pressure_look(at.p, &v);
    assert_true(v.used[WEIR_RESOURCE_LAG] == 0);
    atomic_store(&w->parked_ns, 0);
    at.r->g->pools[0].workers[0] = NULL;
    rig_worker_end(w);
    end(&at);
}

static void a_lack_of_memory_leaves_nothing_behind(void **state)
{
    (void)state;
    NEEDS_INJECTION();
    struct place at;
    int rc = WEIR_E_NOMEM;
    begin(&at);
    long live = weir_mem_live();
    for (long n = 0; rc != WEIR_OK; n++) {
        struct weir_pressure *p = NULL;
        struct weir_err err;
        weir_mem_fail_after(n);
        rc = weir_pressure_create(&at.conf, at.r->g, at.journal, at.root, &p, &err);
        weir_mem_fail_after(-1);
        assert_true(rc == WEIR_OK || (rc == WEIR_E_NOMEM && p == NULL));
        weir_pressure_destroy(p);
        assert_int_equal(weir_mem_live(), live);
    }
    end(&at);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(it_acts_tells_and_takes_back),
        TEST(the_end_takes_everything_back_at_once),
        TEST(the_lag_of_a_worker_is_how_long_it_has_not_polled),
        TEST(a_lack_of_memory_leaves_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
