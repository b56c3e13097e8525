/* `overload:`, what the process may use, and from which share of that on what is done about it. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/app_build.h"

static const uint64_t second_ns = UINT64_C(1000000000);
static const char *const action_keys[WEIR_RELIEF_COUNT] = {"collect", "shrink", "close", "shed", "stop"};
static const char *const resource_keys[WEIR_RESOURCE_COUNT] = {"memory", "descriptors", "lag"};

static const double default_at[WEIR_RESOURCE_COUNT][WEIR_RELIEF_COUNT] = {
    [WEIR_RESOURCE_MEMORY] = {0.8, 0.8, 0.9, 0.9, 0.95},
    [WEIR_RESOURCE_DESCRIPTORS] = {0.9, INFINITY, 0.8, 0.9, 0.95},
    [WEIR_RESOURCE_LAG] = {INFINITY, 0.25, INFINITY, 0.5, INFINITY},
};

static bool is_off(const struct weir_conf *c)
{
    const char *text = weir_conf_text(c);
    return (weir_conf_kind(c) == WEIR_CONF_BOOL && !weir_conf_bool(c)) || (text != NULL && strcmp(text, "off") == 0);
}

/* "80%", 0.8, or off. */
static void read_share(struct weir_app_build *b, const struct weir_conf *c, const char *key, bool or_off, double *ret)
{
    const char *text = weir_conf_text(c);
    char *end;
    if (or_off && is_off(c)) {
        *ret = INFINITY;
        return;
    }
    bool number = text != NULL && !c->bad && strspn(text, "0123456789.%") == strlen(text) && *text != '\0';
    double value = number ? strtod(text, &end) : NAN;
    if (number && *end == '%') {
        value /= 100;
        end++;
    }
    if (number && *end == '\0' && value > 0 && value <= 1)
        *ret = value;
    else
        weir_schema_expected(&b->schema, c, key, or_off ? "a share such as 80% or 0.8, or off" : "a share such as 5% or 0.05");
}

static void read_limit(struct weir_app_build *b, const struct weir_conf *c, const char *label, enum weir_resource r, double *ret)
{
    size_t n;
    uint64_t ns;
    if (r == WEIR_RESOURCE_MEMORY && weir_schema_size(&b->schema, c, label, 1 << 20, UINT64_C(1) << 50, &n))
        *ret = (double)n;
    else if (r == WEIR_RESOURCE_DESCRIPTORS && weir_schema_count(&b->schema, c, label, 16, 1 << 30, &n))
        *ret = (double)n;
    else if (r == WEIR_RESOURCE_LAG && weir_schema_duration(&b->schema, c, label, 1000000, 3600 * second_ns, &ns))
        *ret = (double)ns / 1e9;
}

static void read_resource(struct weir_app_build *b, const struct weir_conf *c, enum weir_resource r, struct weir_app_overload *o)
{
    static const char *const keys[] = {"limit", "collect", "shrink", "close", "shed", "stop", NULL};
    if (c == NULL)
        return;
    if (is_off(c)) {
        for (int a = 0; a < WEIR_RELIEF_COUNT; a++)
            o->at[r][a] = INFINITY;
        return;
    }
    if (weir_conf_kind(c) != WEIR_CONF_MAP) {
        read_limit(b, c, resource_keys[r], r, &o->limit[r]);
        return;
    }
    if (!weir_schema_map(&b->schema, c, resource_keys[r], keys))
        return;
    if (weir_conf_get(c, "limit") != NULL)
        read_limit(b, weir_conf_get(c, "limit"), "limit", r, &o->limit[r]);
    for (int a = 0; a < WEIR_RELIEF_COUNT; a++)
        if (weir_conf_get(c, action_keys[a]) != NULL)
            read_share(b, weir_conf_get(c, action_keys[a]), action_keys[a], true, &o->at[r][a]);
}

void weir_app_build_overload(struct weir_app_build *b, const struct weir_conf *c)
{
    static const char *const keys[] = {"memory", "descriptors", "lag", "every", "hold", "hysteresis", NULL};
    struct weir_app_overload *o = &b->app->overload;
    *o = (struct weir_app_overload){.every_ns = second_ns / 4, .hold_ns = second_ns, .hysteresis = 0.05};
    o->limit[WEIR_RESOURCE_LAG] = 1;
    memcpy(o->at, default_at, sizeof o->at);
    if (c == NULL)
        return;
    o->off = is_off(c);
    if (o->off || !weir_schema_map(&b->schema, c, "overload", keys))
        return;
    for (int r = 0; r < WEIR_RESOURCE_COUNT; r++)
        read_resource(b, weir_conf_get(c, resource_keys[r]), (enum weir_resource)r, o);
    if (weir_conf_get(c, "every") != NULL)
        weir_schema_duration(&b->schema, weir_conf_get(c, "every"), "every", second_ns / 100, 60 * second_ns, &o->every_ns);
    if (weir_conf_get(c, "hold") != NULL)
        weir_schema_duration(&b->schema, weir_conf_get(c, "hold"), "hold", 0, 3600 * second_ns, &o->hold_ns);
    if (weir_conf_get(c, "hysteresis") != NULL)
        read_share(b, weir_conf_get(c, "hysteresis"), "hysteresis", false, &o->hysteresis);
}
