/* `weir set`, `freeze`, `unfreeze`: from a dotted path to a knob, or to a setting of what moves it. */
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/nearest.h"
#include "config/units.h"
#include "controller/loop_inner.h"
#include "core/graph.h"
#include "core/stage.h"

enum { PARTS_MAX = 6, PART_MAX = 96 };

static const char *const knob_words[] = {"threads", "batch", "admission"};

/* Where a path leads. */
struct place {
    struct weir_pool *pool;
    struct weir_stage *stage; /* NULL: the pool itself */
    enum weir_knob knob;
    struct weir_unit *unit;   /* whose setting is meant; NULL: the knob */
    const char *setting;      /* "enabled", "record", or an option's name */
};

struct parts {
    char text[PARTS_MAX][PART_MAX];
    size_t count;
};

static int split(const char *path, struct parts *ret, struct weir_err *reterr)
{
    *ret = (struct parts){.count = 0};
    for (const char *at = path;; at++) {
        size_t len = strcspn(at, ".");
        if (len == 0 || len >= PART_MAX || ret->count == PARTS_MAX)
            return weir_err_set(reterr, WEIR_E_NOTFOUND,
                                "'%.120s' is no path of a knob: expected one as stages.page.batch or pools.disk.threads",
                                path);
        memcpy(ret->text[ret->count++], at, len);
        at += len;
        if (*at == '\0')
            return WEIR_OK;
    }
}

static int no_such(struct weir_err *reterr, const char *what, const char *name, const struct weir_nearest *near)
{
    const char *best = weir_nearest_best(near);
    return weir_err_set(reterr, WEIR_E_NOTFOUND, "there is no %s '%s'%s%s%s", what, name, best != NULL ? " (did you mean '" : "",
                        best != NULL ? best : "", best != NULL ? "'?)" : "");
}

static int find_pool(const struct weir_loop *l, const char *name, struct weir_pool **ret, struct weir_err *reterr)
{
    struct weir_nearest near;
    weir_nearest_init(&near, name);
    for (size_t i = 0; i < l->graph->pool_count; i++) {
        weir_nearest_offer(&near, l->graph->pools[i].name);
        if (strcmp(l->graph->pools[i].name, name) == 0) {
            *ret = &l->graph->pools[i];
            return WEIR_OK;
        }
    }
    return no_such(reterr, "pool", name, &near);
}

static int find_stage(const struct weir_loop *l, const char *name, struct weir_stage **ret, struct weir_err *reterr)
{
    struct weir_nearest near;
    weir_nearest_init(&near, name);
    for (size_t i = 0; i < l->graph->stage_count; i++)
        weir_nearest_offer(&near, l->graph->stages[i].name);
    *ret = weir_graph_stage(l->graph, name);
    if (*ret == NULL)
        return no_such(reterr, "stage", name, &near);
    if ((*ret)->kind == WEIR_STAGE_SOURCE)
        return weir_err_set(reterr, WEIR_E_NOTFOUND, "stage '%s' is a source: it has no queue, and no knobs", name);
    return WEIR_OK;
}

static bool moves(const struct weir_unit *u, const struct place *p)
{
    return u->type->knob == p->knob && u->stage == p->stage && (p->stage != NULL || u->pool == p->pool);
}

/* The controller that `name` means ("controller": the only one); NULL: none. */
static struct weir_unit *find_unit(const struct weir_loop *l, const struct place *p, const char *name)
{
    struct weir_unit *only = NULL;
    for (size_t i = 0; i < l->unit_count; i++) {
        struct weir_unit *u = l->units[i];
        if (!moves(u, p))
            continue;
        if (name != NULL && strcmp(u->type->name, name) == 0)
            return u;
        if (only != NULL && name == NULL)
            return NULL;
        only = u;
    }
    return name == NULL || strcmp(name, "controller") == 0 ? only : NULL;
}

/* What stands behind the knob's own path: [CONTROLLER.]SETTING. */
static int find_setting(const struct weir_loop *l, const struct parts *parts, size_t at, const char *path, struct place *ret,
                        struct weir_err *reterr)
{
    size_t left = parts->count - at;
    if (left == 0)
        return WEIR_OK;
    ret->setting = parts->text[parts->count - 1];
    ret->unit = left <= 2 ? find_unit(l, ret, left == 2 ? parts->text[at] : NULL) : NULL;
    if (ret->unit == NULL)
        return weir_err_set(reterr, WEIR_E_NOTFOUND, "'%.120s': nothing there can be set; `weir stats --json` shows the controllers", path);
    return WEIR_OK;
}

static int find(const struct weir_loop *l, const char *path, struct parts *parts, struct place *ret, struct weir_err *reterr)
{
    *ret = (struct place){.pool = NULL};
    int rc = split(path, parts, reterr);
    if (rc < 0)
        return rc;
    bool of_pool = strcmp(parts->text[0], "pools") == 0, of_stage = strcmp(parts->text[0], "stages") == 0;
    const char *knob = parts->count > 2 ? parts->text[2] : "";
    if (of_pool && (strcmp(knob, "threads") == 0 || strcmp(knob, "controller") == 0)) {
        ret->knob = WEIR_KNOB_THREADS;
        rc = find_pool(l, parts->text[1], &ret->pool, reterr);
        return rc < 0 ? rc : find_setting(l, parts, 3, path, ret, reterr);
    }
    if (of_stage && strcmp(knob, "batch") == 0) {
        ret->knob = WEIR_KNOB_BATCH;
        rc = find_stage(l, parts->text[1], &ret->stage, reterr);
        return rc < 0 ? rc : find_setting(l, parts, 3, path, ret, reterr);
    }
    if (of_stage && strcmp(knob, "admission") == 0) {
        ret->knob = WEIR_KNOB_ADMISSION;
        rc = find_stage(l, parts->text[1], &ret->stage, reterr);
        return rc < 0 ? rc : find_setting(l, parts, 3, path, ret, reterr);
    }
    return weir_err_set(reterr, WEIR_E_NOTFOUND,
                        "'%.120s' can't be changed while the host runs: expected stages.NAME.batch, stages.NAME.admission.SETTING, "
                        "pools.NAME.threads or pools.NAME.controller.SETTING",
                        path);
}

/* --- values --- */

static int read_count(const char *path, const char *value, double min, double max, double *ret, struct weir_err *reterr)
{
    char *end;
    errno = 0;
    double n = strtod(value, &end);
    if (value[0] == '\0' || *end != '\0' || errno != 0 || n != floor(n) || !(n >= min && n <= max))
        return weir_err_set(reterr, WEIR_E_INVAL, "%s: expected a whole number from %g to %g, found '%.60s'", path, min, max, value);
    *ret = n;
    return WEIR_OK;
}

static int read_bool(const char *path, const char *value, double *ret, struct weir_err *reterr)
{
    if (strcmp(value, "true") != 0 && strcmp(value, "false") != 0)
        return weir_err_set(reterr, WEIR_E_INVAL, "%s: expected true or false, found '%.60s'", path, value);
    *ret = value[0] == 't';
    return WEIR_OK;
}

static int read_word(const char *path, const char *value, const struct weir_option *o, double *ret, struct weir_err *reterr)
{
    char known[160] = "";
    for (size_t i = 0; o->words[i] != NULL; i++) {
        if (strcmp(o->words[i], value) == 0) {
            *ret = (double)i;
            return WEIR_OK;
        }
        size_t len = strlen(known);
        snprintf(known + len, sizeof known - len, "%s%s", i > 0 ? ", " : "", o->words[i]);
    }
    return weir_err_set(reterr, WEIR_E_INVAL, "%s: expected one of %s, found '%.60s'", path, known, value);
}

static int read_duration(const char *path, const char *value, const struct weir_option *o, double *ret, struct weir_err *reterr)
{
    uint64_t ns;
    struct weir_err why;
    char low[WEIR_UNITS_TEXT], high[WEIR_UNITS_TEXT];
    if (weir_duration_parse(value, &ns, &why) < 0)
        return weir_err_set(reterr, WEIR_E_INVAL, "%s: %s", path, why.text);
    uint64_t max = o->max == 0 ? INT64_MAX : (uint64_t)o->max;
    if (ns < (uint64_t)o->min || ns > max)
        return weir_err_set(reterr, WEIR_E_INVAL, "%s: expected a duration from %s to %s, found '%.60s'", path,
                            weir_duration_format((uint64_t)o->min, low), weir_duration_format(max, high), value);
    *ret = (double)ns / 1e9;
    return WEIR_OK;
}

static int read_number(const char *path, const char *value, const struct weir_option *o, double *ret, struct weir_err *reterr)
{
    char *end;
    errno = 0;
    double n = strtod(value, &end), low = (double)o->min, high = o->max == 0 ? 1e12 : (double)o->max;
    if (o->min == 0 && o->max == 0)
        low = -high;
    if (value[0] == '\0' || *end != '\0' || errno != 0 || !(n >= low && n <= high))
        return weir_err_set(reterr, WEIR_E_INVAL, "%s: expected a number from %g to %g, found '%.60s'", path, low, high, value);
    *ret = n;
    return WEIR_OK;
}

static int read_setting(const char *path, const char *value, const struct weir_option *o, double *ret, struct weir_err *reterr)
{
    switch (o->type) {
    case WEIR_OPTION_BOOL:
        return read_bool(path, value, ret, reterr);
    case WEIR_OPTION_ENUM:
        return read_word(path, value, o, ret, reterr);
    case WEIR_OPTION_DURATION:
        return read_duration(path, value, o, ret, reterr);
    case WEIR_OPTION_INT:
        return read_count(path, value, (double)o->min, o->max == 0 ? 1e12 : (double)o->max, ret, reterr);
    default:
        return read_number(path, value, o, ret, reterr);
    }
}

/* --- doing it --- */

static void tell(struct weir_loop *l, enum weir_journal_kind kind, const char *path, const char *controller, double from, double to)
{
    struct weir_journal_entry *e = weir_journal_add(l->journal, kind);
    snprintf(e->subject, sizeof e->subject, "%s", path);
    e->controller = controller;
    e->from = from;
    e->to = to;
}

/* Its knob is let go of. */
static void switch_unit(struct weir_loop *l, struct weir_unit *u, bool on, uint64_t now_ns)
{
    u->off = !on;
    if (on) {
        weir_loop_restart(l, u, now_ns);
        return;
    }
    weir_setpoint_init(&u->at);
    if (u->type->knob == WEIR_KNOB_ADMISSION) /* what it held back is let go; other knobs stay where they are */
        weir_loop_apply_admission(l, u->stage, now_ns);
}

static int set_setting(struct weir_loop *l, const struct place *p, const char *path, const char *value, uint64_t now_ns,
                       struct weir_err *reterr)
{
    struct weir_unit *u = p->unit;
    struct weir_nearest near;
    double v = 0;
    if (strcmp(p->setting, "enabled") == 0) {
        int rc = read_bool(path, value, &v, reterr);
        if (rc == WEIR_OK && u->off != (v == 0)) {
            tell(l, WEIR_JOURNAL_SET, path, u->type->name, !u->off, v);
            switch_unit(l, u, v != 0, now_ns);
        }
        return rc;
    }
    if (strcmp(p->setting, "record") == 0) {
        int rc = read_bool(path, value, &v, reterr);
        if (rc == WEIR_OK && u->recorded != (v != 0)) {
            tell(l, WEIR_JOURNAL_SET, path, u->type->name, u->recorded, v);
            u->recorded = v != 0;
            if (u->recorded && !u->off)
                weir_loop_restart(l, u, now_ns); /* what is recorded begins with an empty state, so that it can be made again */
        }
        return rc;
    }
    weir_nearest_init(&near, p->setting);
    weir_nearest_offer(&near, "enabled");
    weir_nearest_offer(&near, "record");
    for (size_t i = 0; i < u->type->option_count; i++) {
        const struct weir_option *o = &u->type->options[i];
        weir_nearest_offer(&near, o->name);
        if (strcmp(o->name, p->setting) != 0)
            continue;
        int rc = read_setting(path, value, o, &v, reterr);
        if (rc < 0)
            return rc;
        tell(l, WEIR_JOURNAL_SET, path, u->type->name, u->settings[i], v);
        u->settings[i] = v;
        weir_unit_set_percentile(u);
        return WEIR_OK;
    }
    return no_such(reterr, "setting", p->setting, &near);
}

static int set_threads(struct weir_loop *l, struct weir_pool *p, const char *path, const char *value, struct weir_err *reterr)
{
    double v;
    unsigned from = p->target;
    int rc = read_count(path, value, 1, p->slot_count, &v, reterr);
    if (rc == WEIR_OK && from != (unsigned)v)
        rc = weir_loop_apply_threads(l, p, (unsigned)v, reterr);
    if (p->target != from)
        tell(l, WEIR_JOURNAL_SET, path, NULL, from, p->target);
    return rc;
}

static int set_batch(struct weir_loop *l, struct weir_stage *s, const char *path, const char *value, struct weir_err *reterr)
{
    double v;
    int rc = read_count(path, value, 1, weir_stage_batch_limit(s), &v, reterr);
    if (rc < 0)
        return rc;
    tell(l, WEIR_JOURNAL_SET, path, NULL, atomic_load_explicit(&s->batch, memory_order_relaxed), v);
    atomic_store_explicit(&s->batch, (unsigned)v, memory_order_relaxed);
    return WEIR_OK;
}

int weir_loop_set(struct weir_loop *l, const char *path, const char *value, uint64_t now_ns, struct weir_err *reterr)
{
    struct parts parts;
    struct place p;
    int rc = find(l, path, &parts, &p, reterr);
    if (rc < 0)
        return rc;
    if (p.unit != NULL)
        return set_setting(l, &p, path, value, now_ns, reterr);
    if (strcmp(parts.text[2], knob_words[p.knob]) != 0 || p.knob == WEIR_KNOB_ADMISSION)
        return weir_err_set(reterr, WEIR_E_INVAL, "%s: expected a setting behind it, as %s.target", path, path);
    return p.stage != NULL ? set_batch(l, p.stage, path, value, reterr) : set_threads(l, p.pool, path, value, reterr);
}

int weir_loop_freeze(struct weir_loop *l, const char *path, bool frozen, uint64_t now_ns, struct weir_err *reterr)
{
    struct parts parts;
    struct place p;
    size_t changed = 0, found = 0;
    int rc = find(l, path, &parts, &p, reterr);
    if (rc < 0)
        return rc;
    if (p.setting != NULL)
        return weir_err_set(reterr, WEIR_E_INVAL, "%s is a setting: freeze the knob, as stages.page.batch", path);
    for (size_t i = 0; i < l->unit_count; i++) {
        struct weir_unit *u = l->units[i];
        if (!moves(u, &p))
            continue;
        found++;
        changed += u->frozen != frozen;
        if (u->frozen && !frozen)
            weir_loop_restart(l, u, now_ns);
        u->frozen = frozen;
    }
    if (found == 0)
        return weir_err_set(reterr, WEIR_E_NOTFOUND, "%s: no controller moves it", path);
    if (changed > 0)
        tell(l, frozen ? WEIR_JOURNAL_FREEZE : WEIR_JOURNAL_UNFREEZE, path, NULL, NAN, NAN);
    return WEIR_OK;
}
