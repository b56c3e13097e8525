/* `shared:`, the tables that all workers share: each with its bound and how long its entries live. */
#include <string.h>

#include "config/app_build.h"

static const uint64_t shared_year_ns = UINT64_C(365) * 86400 * 1000000000;
static const char shared_rest[] = "*"; /* stands for every name that is not written */

enum { SHARED_BYTES = 16 << 20, SHARED_BYTES_MIN = 4096 };

static void read_table(struct weir_app_build *b, const struct weir_conf *c, struct weir_app_shared *table)
{
    static const char *const keys[] = {"bytes", "ttl", NULL};
    table->bytes = SHARED_BYTES;
    if (weir_conf_kind(c) == WEIR_CONF_NIL || !weir_schema_map(&b->schema, c, table->name, keys))
        return; /* `counters:` alone is a table with the default bound */
    const struct weir_conf *bytes = weir_conf_get(c, "bytes"), *ttl = weir_conf_get(c, "ttl");
    if (bytes != NULL)
        weir_schema_size(&b->schema, bytes, "bytes", SHARED_BYTES_MIN, UINT64_C(1) << 40, &table->bytes);
    if (ttl != NULL)
        weir_schema_duration(&b->schema, ttl, "ttl", 1000000, shared_year_ns, &table->ttl_ns);
}

void weir_app_build_shared(struct weir_app_build *b, const struct weir_conf *shared)
{
    struct weir_app *app = b->app;
    size_t count = weir_conf_size(shared);
    if (shared == NULL)
        return;
    if (weir_conf_kind(shared) != WEIR_CONF_MAP) {
        weir_schema_expected(&b->schema, shared, "shared", "a map of shared tables");
        return;
    }
    if (count > WEIR_APP_MAX_SHARED) {
        weir_problems_error(b->schema.problems, shared->at, "more than %d shared tables",
                            WEIR_APP_MAX_SHARED);
        return;
    }
    app->shared = weir_arena_alloc(b->schema.arena, count + 1, sizeof *app->shared);
    for (size_t i = 0; app->shared != NULL && i < count; i++) {
        const char *name = weir_conf_key(shared, i);
        struct weir_app_shared *table =
            strcmp(name, shared_rest) == 0 ? &app->shared_any : &app->shared[app->shared_count];
        if (table != &app->shared_any &&
            !weir_schema_check_name(&b->schema, weir_conf_key_mark(shared, i), "shared table", name))
            continue;
        table->name = name;
        table->at = weir_conf_key_mark(shared, i);
        read_table(b, weir_conf_at(shared, i), table);
        app->shared_count += table != &app->shared_any;
    }
}
