/* `pools:`. Pool 0 is always 'main', written or not. */
#include <string.h>
#include <uv.h>

#include "config/app_build.h"

enum { THREADS_MAX = 1024 };

static unsigned cores(void)
{
    unsigned n = uv_available_parallelism();
    return n == 0 ? 1 : n < THREADS_MAX ? n : THREADS_MAX;
}

size_t weir_app_find_pool(const struct weir_app *app, const char *name)
{
    size_t i = 0;
    while (i < app->pool_count && strcmp(app->pools[i].name, name) != 0)
        i++;
    return i;
}

/* A number, or {min:, max:}. */
static void read_threads(struct weir_app_build *b, const struct weir_conf *c, struct weir_app_pool *pool)
{
    static const char *const keys[] = {"min", "max", NULL};
    if (weir_conf_kind(c) != WEIR_CONF_MAP) {
        if (weir_conf_kind(c) != WEIR_CONF_INT)
            weir_schema_expected(&b->schema, c, "threads", "a whole number or {min: , max: }");
        else if (weir_schema_unsigned(&b->schema, c, "threads", 1, THREADS_MAX, &pool->min))
            pool->max = pool->min;
        return;
    }
    weir_schema_map(&b->schema, c, "threads", keys);
    const struct weir_conf *min = weir_conf_get(c, "min"), *max = weir_conf_get(c, "max");
    if (min == NULL || max == NULL) {
        weir_problems_error(b->schema.problems, c->at, "'threads': expected both 'min' and 'max'");
        return;
    }
    unsigned low, high;
    bool ok = weir_schema_unsigned(&b->schema, min, "min", 1, THREADS_MAX, &low);
    ok = weir_schema_unsigned(&b->schema, max, "max", 1, THREADS_MAX, &high) && ok;
    if (ok && low > high)
        weir_problems_error(b->schema.problems, max->at, "'max' (%u) is below 'min' (%u)", high, low);
    pool->min = ok ? low : pool->min;
    pool->max = ok ? high : pool->max;
}

static void read_pool(struct weir_app_build *b, const struct weir_conf *c, struct weir_app_pool *pool,
                      bool is_main)
{
    static const char *const keys[] = {"threads", "blocking", "controller", NULL};
    if (weir_conf_kind(c) == WEIR_CONF_NIL && is_main)
        return; /* `main:` alone says nothing new */
    if (!weir_schema_map(&b->schema, c, pool->name, keys))
        return;
    const struct weir_conf *threads = weir_conf_get(c, "threads"), *blocking = weir_conf_get(c, "blocking");
    if (threads != NULL)
        read_threads(b, threads, pool);
    else if (!is_main)
        weir_problems_error(b->schema.problems, pool->at,
                            "pool '%s' needs 'threads' (a number, or {min: , max: })", pool->name);
    if (blocking != NULL)
        weir_schema_bool(&b->schema, blocking, "blocking", &pool->blocking);
    if (is_main && pool->blocking) {
        weir_problems_error(
            b->schema.problems, blocking->at,
            "the pool 'main' is event-driven and can't be blocking; make another pool for what blocks");
        pool->blocking = false; /* or every source in it would be reported, too */
    }
    const struct weir_conf *controller = weir_conf_get(c, "controller");
    pool->controller.at = pool->at;
    if (pool->min < pool->max)
        weir_app_read_controller(b, controller, WEIR_KNOB_THREADS, "queue", &pool->controller);
    else if (controller != NULL)
        weir_problems_warn(b->schema.problems, controller->at,
                           "'controller' has no effect on a pool of a fixed size: give 'threads' as {min: , max: }");
}

static void add_pool(struct weir_app_build *b, const struct weir_conf *pools, size_t i)
{
    struct weir_app *app = b->app;
    const char *name = weir_conf_key(pools, i);
    bool is_main = strcmp(name, "main") == 0;
    if (!weir_schema_check_name(&b->schema, weir_conf_key_mark(pools, i), "pool", name)) {
        b->pools_unknown = true;
        return;
    }
    struct weir_app_pool *pool = is_main ? &app->pools[0] : &app->pools[app->pool_count++];
    pool->name = name;
    pool->at = weir_conf_key_mark(pools, i);
    if (!is_main)
        pool->min = pool->max = 1;
    read_pool(b, weir_conf_at(pools, i), pool, is_main);
}

void weir_app_build_pools(struct weir_app_build *b, const struct weir_conf *pools)
{
    size_t count = weir_conf_size(pools);
    if (pools != NULL && weir_conf_kind(pools) != WEIR_CONF_MAP) {
        weir_schema_expected(&b->schema, pools, "pools", "a map of pools");
        count = 0;
        b->pools_unknown = true;
    } else if (count > WEIR_APP_MAX_POOLS) {
        weir_problems_error(b->schema.problems, pools->at, "more than %d pools", WEIR_APP_MAX_POOLS);
        count = 0;
        b->pools_unknown = true;
    }
    b->app->pools = weir_arena_alloc(b->schema.arena, count + 1, sizeof *b->app->pools);
    if (b->app->pools == NULL)
        return;
    b->app->pool_count = 1;
    b->app->pools[0] = (struct weir_app_pool){.name = "main", .min = cores(), .max = cores()};
    for (size_t i = 0; i < count; i++)
        add_pool(b, pools, i);
}
