/* Keys that format 1 has and this version does not act on: their shape is checked, so that a file written for
 * them stays valid, and a warning says that they do nothing yet. */
#include <string.h>

#include "config/app_build.h"

static const uint64_t day_ns = UINT64_C(86400) * 1000000000;
static const double number_max = 1e12;

/* Only for what is right: a mistake is reported already, and enough. */
static void no_effect(struct weir_app_build *b, const struct weir_conf *c, const char *key,
                      size_t errors_before)
{
    if (b->schema.problems->errors == errors_before)
        weir_problems_warn(b->schema.problems, c->at, "'%s' has no effect in this version", key);
}

static void check_number(struct weir_app_build *b, const struct weir_conf *map, const char *key, double min,
                         double max)
{
    double ignored;
    const struct weir_conf *c = weir_conf_get(map, key);
    if (c != NULL)
        weir_schema_number(&b->schema, c, key, min, max, &ignored);
}

static void check_duration(struct weir_app_build *b, const struct weir_conf *map, const char *key)
{
    uint64_t ignored;
    const struct weir_conf *c = weir_conf_get(map, key);
    if (c != NULL)
        weir_schema_duration(&b->schema, c, key, 1000, day_ns, &ignored);
}

static void check_script(struct weir_app_build *b, const struct weir_conf *c)
{
    const char *ignored;
    static const char *const keys[] = {"script", NULL};
    weir_schema_map(&b->schema, c, "admission", keys);
    weir_schema_string(&b->schema, weir_conf_get(c, "script"), "script", &ignored);
}

/* One {controller: …} or {script: …}. */
static void check_controller(struct weir_app_build *b, const struct weir_conf *c)
{
    static const char *const keys[] = {"controller", "target", "percentile", "interval",
                                       "rate",       "burst",  NULL};
    static const char *const names[] = {"response_time", "codel", "gradient", "token_bucket", NULL};
    if (weir_conf_get(c, "script") != NULL) {
        check_script(b, c);
        return;
    }
    if (!weir_schema_map(&b->schema, c, "admission", keys))
        return;
    size_t which = 0;
    const struct weir_conf *name = weir_conf_get(c, "controller");
    if (name == NULL)
        weir_problems_error(b->schema.problems, c->at, "'admission': expected 'controller' or 'script'");
    else if (weir_schema_word(&b->schema, name, "controller", names, &which) &&
             strcmp(names[which], "token_bucket") == 0 && weir_conf_get(c, "rate") == NULL)
        weir_problems_error(b->schema.problems, c->at,
                            "'admission': token_bucket needs 'rate' (events per second)");
    check_duration(b, c, "target");
    check_duration(b, c, "interval");
    check_number(b, c, "percentile", 1, 100);
    check_number(b, c, "rate", 0, number_max);
    check_number(b, c, "burst", 0, number_max);
}

void weir_app_check_admission(struct weir_app_build *b, const struct weir_conf *c)
{
    if (c == NULL)
        return;
    size_t errors = b->schema.problems->errors;
    if (weir_conf_kind(c) == WEIR_CONF_LIST)
        for (size_t i = 0; i < weir_conf_size(c); i++)
            check_controller(b, weir_conf_at(c, i));
    else
        check_controller(b, c);
    no_effect(b, c, "admission", errors);
}
