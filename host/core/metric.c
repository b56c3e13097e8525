#include "core/metric.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/sync.h"

enum { BUCKETS = 256, LANES = 32, LINE = 64 };

/* What one lane has counted. Two threads may write to a lane, so additions are atomic; mostly one does, so
 * they are cheap. */
struct cell {
    void *block;           /* [const] what was allocated for it; NULL: it is part of its series */
    _Atomic int64_t whole; /* [atomic relaxed] counts order nothing, here and below */
    _Atomic uint64_t part; /* [atomic relaxed] the bits of a double */
    _Atomic uint64_t buckets[];
};

struct weir_metric_series {
    struct weir_metric *metric;                /* [const] */
    _Atomic(struct weir_metric_series *) next; /* [atomic acq/rel] written once */
    struct weir_metric_series *chain;          /* [mu] */
    char *values;      /* [const] each with its NUL, in the order of the metric's label names */
    size_t values_len; /* [const] */
    _Atomic(struct cell *) cells[LANES]; /* [atomic acq/rel] made when the lane first counts */
    struct cell *own; /* [const] what counts when no memory is left for a cell, and what a gauge is set in */
};

struct weir_metric {
    _Atomic(struct weir_metric *) next; /* [atomic acq/rel] written once */
    struct weir_metric *chain;          /* [mu] */
    enum weir_metric_type type;         /* [const], as all below but the series */
    char *name, *help;
    char *label_names; /* each with its NUL, sorted */
    size_t label_count, label_names_len;
    double *bounds;
    size_t bound_count;
    _Atomic(struct weir_metric_series *) first; /* [atomic acq/rel] */
    struct weir_metric_series *last, *other;    /* [mu] */
    size_t series_count;                        /* [mu] */
    struct weir_metric_series *table[BUCKETS];  /* [mu] */
};

struct weir_metrics {
    struct weir_mutex mu; /* rank WEIR_RANK_SHARED_TABLE */
    _Atomic(struct weir_metric *) first;
    struct weir_metric *last; /* [mu], as all below */
    size_t count;
    struct weir_metric *table[BUCKETS];
};

static const double default_bounds[] = {0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001,
                                        0.0025,  0.005,    0.01,    0.025,  0.05,    0.1,    0.25,
                                        0.5,     1,        2.5,     5,      10};

/* --- Making --- */

int weir_metrics_create(struct weir_metrics **ret, struct weir_err *reterr)
{
    struct weir_metrics *m = weir_calloc(1, sizeof *m);
    if (m == NULL)
        return weir_err_set(reterr, WEIR_E_NOMEM, "metrics: out of memory");
    weir_mutex_init(&m->mu, WEIR_RANK_SHARED_TABLE, "metrics");
    *ret = m;
    return WEIR_OK;
}

static void free_series(struct weir_metric_series *s)
{
    if (s == NULL)
        return;
    for (size_t i = 0; i < LANES; i++) {
        struct cell *c = atomic_load_explicit(&s->cells[i], memory_order_relaxed);
        if (c != NULL)
            weir_free(c->block);
    }
    if (s->own != NULL)
        weir_free(s->own->block);
    weir_free(s->values);
    weir_free(s);
}

static void free_metric(struct weir_metric *f)
{
    if (f == NULL)
        return;
    for (struct weir_metric_series *s = atomic_load_explicit(&f->first, memory_order_acquire), *next;
         s != NULL; s = next) {
        next = atomic_load_explicit(&s->next, memory_order_acquire);
        free_series(s);
    }
    weir_free(f->name);
    weir_free(f->help);
    weir_free(f->label_names);
    weir_free(f->bounds);
    weir_free(f);
}

void weir_metrics_destroy(struct weir_metrics *m)
{
    if (m == NULL)
        return;
    for (struct weir_metric *f = atomic_load_explicit(&m->first, memory_order_acquire), *next; f != NULL;
         f = next) {
        next = atomic_load_explicit(&f->next, memory_order_acquire);
        free_metric(f);
    }
    weir_mutex_fini(&m->mu);
    weir_free(m);
}

static size_t bucket_count(const struct weir_metric *f)
{
    return f->type == WEIR_METRIC_HISTOGRAM ? f->bound_count + 1 : 0;
}

/* A cell on cache lines of its own; NULL: no memory. */
static struct cell *make_cell(const struct weir_metric *f)
{
    size_t size = sizeof(struct cell) + bucket_count(f) * sizeof(uint64_t);
    size_t lines = (size + LINE - 1) / LINE * LINE;
    void *block = weir_calloc(1, lines + LINE);
    if (block == NULL)
        return NULL;
    struct cell *c = (struct cell *)(((uintptr_t)block + LINE - 1) & ~(uintptr_t)(LINE - 1));
    c->block = block;
    return c;
}

static struct weir_metric_series *make_series(struct weir_metric *f, const char *values, size_t len)
{
    struct weir_metric_series *s = weir_calloc(1, sizeof *s);
    if (s == NULL)
        return NULL;
    s->metric = f;
    s->values = weir_strndup(values, len);
    s->values_len = len;
    s->own = make_cell(f);
    if (s->values == NULL || s->own == NULL) {
        free_series(s);
        return NULL;
    }
    return s;
}

/* What a set of labels is, in order: the names and the values, each with its NUL. */
struct identity {
    char name[WEIR_METRIC_NAME_MAX + 8]; /* with _total */
    struct weir_metric_label sorted[WEIR_METRIC_LABELS_MAX];
    char *names, *values; /* on the heap */
    size_t names_len, values_len;
};

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct weir_metric_label *)a)->name, ((const struct weir_metric_label *)b)->name);
}

static char *join(const struct weir_metric_label *labels, size_t count, bool names, size_t *ret_len)
{
    size_t len = 0;
    for (size_t i = 0; i < count; i++)
        len += strlen(names ? labels[i].name : labels[i].value) + 1;
    char *text = weir_malloc(len + 1), *at = text;
    for (size_t i = 0; text != NULL && i < count; i++) {
        const char *part = names ? labels[i].name : labels[i].value;
        size_t n = strlen(part) + 1;
        memcpy(at, part, n);
        at += n;
    }
    *ret_len = len;
    return text;
}

static bool identify(const struct weir_metric_spec *spec, struct identity *ret)
{
    size_t len = strlen(spec->name), total = strlen("_total");
    bool has = len >= total && strcmp(spec->name + len - total, "_total") == 0;
    bool add = spec->type == WEIR_METRIC_COUNTER && !has;
    (void)snprintf(ret->name, sizeof ret->name, "%s%s", spec->name,
                   add ? "_total" : ""); /* its length was checked */
    for (size_t i = 0; i < spec->label_count; i++)
        ret->sorted[i] = spec->labels[i];
    if (spec->label_count > 1)
        qsort(ret->sorted, spec->label_count, sizeof ret->sorted[0], by_name);
    ret->names = join(ret->sorted, spec->label_count, true, &ret->names_len);
    ret->values = join(ret->sorted, spec->label_count, false, &ret->values_len);
    return ret->names != NULL && ret->values != NULL;
}

static struct weir_metric *make_metric(const struct weir_metric_spec *spec, const struct identity *id)
{
    struct weir_metric *f = weir_calloc(1, sizeof *f);
    if (f == NULL)
        return NULL;
    const double *bounds = spec->bounds != NULL ? spec->bounds : default_bounds;
    size_t bound_count =
        spec->bounds != NULL ? spec->bound_count : sizeof default_bounds / sizeof default_bounds[0];
    f->type = spec->type;
    f->name = weir_strdup(id->name);
    f->help = weir_strdup(spec->help != NULL && *spec->help != '\0' ? spec->help
                                                                    : "Made by a script of the application.");
    f->label_names = weir_strndup(id->names, id->names_len);
    f->label_names_len = id->names_len;
    f->label_count = spec->label_count;
    bool whole = f->name != NULL && f->help != NULL && f->label_names != NULL;
    if (whole && spec->type == WEIR_METRIC_HISTOGRAM) {
        f->bounds = weir_malloc(bound_count * sizeof *bounds);
        whole = f->bounds != NULL;
        if (whole)
            memcpy(f->bounds, bounds, bound_count * sizeof *bounds);
        f->bound_count = bound_count;
    }
    if (whole)
        return f;
    free_metric(f);
    return NULL;
}

/* FNV-1a; the number of entries is bounded, so nobody gains by collisions. */
static size_t hash_bytes(const char *s, size_t len)
{
    uint64_t h = 0xcbf29ce484222325ULL;
    for (size_t i = 0; i < len; i++)
        h = (h ^ (unsigned char)s[i]) * 0x100000001b3ULL;
    return (size_t)(h ^ h >> 32) % BUCKETS;
}

static struct weir_metric *find_metric_locked(const struct weir_metrics *m, const char *name)
{
    struct weir_metric *f = m->table[hash_bytes(name, strlen(name))];
    while (f != NULL && strcmp(f->name, name) != 0)
        f = f->chain;
    return f;
}

static struct weir_metric_series *find_series_locked(const struct weir_metric *f, const char *values,
                                                     size_t len)
{
    struct weir_metric_series *s = f->table[hash_bytes(values, len)];
    while (s != NULL && (s->values_len != len || memcmp(s->values, values, len) != 0))
        s = s->chain;
    return s;
}

static void add_metric_locked(struct weir_metrics *m, struct weir_metric *f)
{
    struct weir_metric **bucket = &m->table[hash_bytes(f->name, strlen(f->name))];
    f->chain = *bucket;
    *bucket = f;
    atomic_store_explicit(m->last != NULL ? &m->last->next : &m->first, f, memory_order_release);
    m->last = f;
    m->count++;
}

static void add_series_locked(struct weir_metric *f, struct weir_metric_series *s)
{
    struct weir_metric_series **bucket = &f->table[hash_bytes(s->values, s->values_len)];
    s->chain = *bucket;
    *bucket = s;
    atomic_store_explicit(f->last != NULL ? &f->last->next : &f->first, s, memory_order_release);
    f->last = s;
    f->series_count++;
}

/* Label names for people: "a, b", or "none". */
static const char *list_names(const char *names, size_t count, char out[256])
{
    size_t n = 0;
    (void)snprintf(out, 256, "no labels");
    for (size_t i = 0; i < count && n < 200; i++, names += strlen(names) + 1) {
        int more = snprintf(out + n, 256 - n, "%s%.60s",
                            i == 0 ? count == 1 ? "the label " : "the labels " : ", ", names);
        n += more > 0 ? (size_t)more : 0;
    }
    return out;
}

static int check_same(const struct weir_metric *f, const struct weir_metric_spec *spec,
                      const struct identity *id, struct weir_err *reterr)
{
    char have[256], want[256];
    if (f->type != spec->type)
        return weir_err_set(reterr, WEIR_E_EXISTS, "%s '%s': there is a %s of that name",
                            weir_metric_type_text(spec->type), spec->name, weir_metric_type_text(f->type));
    if (f->label_names_len != id->names_len || memcmp(f->label_names, id->names, id->names_len) != 0)
        return weir_err_set(
            reterr, WEIR_E_EXISTS, "%s '%s' has %s, not %s", weir_metric_type_text(spec->type), spec->name,
            list_names(f->label_names, f->label_count, have), list_names(id->names, spec->label_count, want));
    if (spec->bounds != NULL && (f->bound_count != spec->bound_count ||
                                 memcmp(f->bounds, spec->bounds, f->bound_count * sizeof *f->bounds) != 0))
        return weir_err_set(reterr, WEIR_E_EXISTS, "histogram '%s' has other buckets", spec->name);
    return WEIR_OK;
}

/* Everything that a look-up may have to add, made before the lock is taken. */
struct spares {
    struct weir_metric *metric;
    struct weir_metric_series *series, *other;
};

enum { NEED_METRIC = 1, NEED_SERIES = 2, NEED_OTHER = 3 };

/* The series of what is beyond the bound; one that a script named so itself is the same. */
static int look_other_locked(struct weir_metric *f, struct spares *spare, struct weir_metric_series **ret)
{
    if (f->other == NULL && spare->other == NULL)
        return NEED_OTHER;
    if (f->other == NULL)
        f->other = find_series_locked(f, spare->other->values, spare->other->values_len);
    if (f->other == NULL) {
        f->other = spare->other;
        spare->other = NULL;
        add_series_locked(f, f->other);
    }
    *ret = f->other;
    return WEIR_OK;
}

static int look_locked(struct weir_metrics *m, const struct weir_metric_spec *spec, const struct identity *id,
                       struct spares *spare, struct weir_metric **ret_metric, struct weir_metric_series **ret,
                       bool *ret_other, struct weir_err *reterr)
{
    struct weir_metric *f = find_metric_locked(m, id->name);
    if (f == NULL && m->count == WEIR_METRIC_COUNT_MAX)
        return weir_err_set(reterr, WEIR_E_LIMIT,
                            "%s '%s': there are %d metrics already, and may not be more",
                            weir_metric_type_text(spec->type), spec->name, WEIR_METRIC_COUNT_MAX);
    if (f == NULL && spare->metric == NULL)
        return NEED_METRIC;
    if (f == NULL) {
        f = spare->metric;
        spare->metric = NULL;
        add_metric_locked(m, f);
    }
    *ret_metric = f;
    int rc = check_same(f, spec, id, reterr);
    if (rc < 0)
        return rc;
    *ret = find_series_locked(f, id->values, id->values_len);
    *ret_other = *ret == NULL && f->series_count >= WEIR_METRIC_SERIES_MAX;
    if (*ret_other)
        return look_other_locked(f, spare, ret);
    if (*ret == NULL && spare->series == NULL)
        return NEED_SERIES;
    if (*ret == NULL) {
        *ret = spare->series;
        spare->series = NULL;
        add_series_locked(f, *ret);
    }
    return WEIR_OK;
}

/* The series whose labels are all `other`; NULL: no memory. */
static struct weir_metric_series *make_other(struct weir_metric *f)
{
    char values[WEIR_METRIC_LABELS_MAX * sizeof "other"];
    for (size_t i = 0; i < f->label_count; i++)
        memcpy(values + i * sizeof "other", "other", sizeof "other");
    return make_series(f, values, f->label_count * sizeof "other");
}

static int get_identified(struct weir_metrics *m, const struct weir_metric_spec *spec,
                          const struct identity *id, struct weir_metric_series **ret, bool *ret_other,
                          struct weir_err *reterr)
{
    struct spares spare = {NULL, NULL, NULL};
    for (;;) {
        struct weir_metric *f = NULL;
        bool made;
        weir_mutex_lock(&m->mu);
        int rc = look_locked(m, spec, id, &spare, &f, ret, ret_other, reterr);
        weir_mutex_unlock(&m->mu);
        if (rc == NEED_METRIC)
            made = (spare.metric = make_metric(spec, id)) != NULL;
        else if (rc == NEED_SERIES)
            made = (spare.series = make_series(f, id->values, id->values_len)) != NULL;
        else if (rc == NEED_OTHER)
            made = (spare.other = make_other(f)) != NULL;
        else
            made = false;
        if (made)
            continue;
        free_metric(spare.metric);
        free_series(spare.series);
        free_series(spare.other);
        return rc > 0 ? weir_err_set(reterr, WEIR_E_NOMEM, "%s '%s': out of memory",
                                     weir_metric_type_text(spec->type), spec->name)
                      : rc;
    }
}

int weir_metrics_get(struct weir_metrics *m, const struct weir_metric_spec *spec,
                     struct weir_metric_series **ret, bool *ret_other, struct weir_err *reterr)
{
    struct identity id = {.names = NULL};
    struct weir_metric_series *s = NULL;
    bool other = false;
    int rc = weir_metric_check(spec, reterr);
    if (rc < 0)
        return rc;
    if (identify(spec, &id))
        rc = get_identified(m, spec, &id, &s, &other, reterr);
    else
        rc = weir_err_set(reterr, WEIR_E_NOMEM, "%s '%s': out of memory", weir_metric_type_text(spec->type),
                          spec->name);
    weir_free(id.names);
    weir_free(id.values);
    if (rc < 0)
        return rc;
    *ret = s;
    *ret_other = other;
    return WEIR_OK;
}

/* --- Writing --- */

static struct cell *cell_of(struct weir_metric_series *s, unsigned lane)
{
    _Atomic(struct cell *) *at = &s->cells[lane % LANES];
    struct cell *c = atomic_load_explicit(at, memory_order_acquire);
    if (c != NULL)
        return c;
    struct cell *made = make_cell(s->metric);
    if (made == NULL)
        return s->own;
    if (atomic_compare_exchange_strong_explicit(at, &c, made, memory_order_acq_rel, memory_order_acquire))
        return made;
    weir_free(made->block); /* another thread of this lane was first */
    return c;
}

static double bits_to_double(uint64_t bits)
{
    double d;
    memcpy(&d, &bits, sizeof d);
    return d;
}

static uint64_t double_to_bits(double d)
{
    uint64_t bits;
    memcpy(&bits, &d, sizeof bits);
    return bits;
}

static void add_part(_Atomic uint64_t *part, double n)
{
    uint64_t old = atomic_load_explicit(part, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(part, &old, double_to_bits(bits_to_double(old) + n),
                                                  memory_order_relaxed, memory_order_relaxed))
        ; /* another one added in between */
}

void weir_metric_add_int(struct weir_metric_series *s, unsigned lane, int64_t n)
{
    if (s->metric->type == WEIR_METRIC_GAUGE)
        weir_metric_add(s, lane, (double)n);
    else
        atomic_fetch_add_explicit(&cell_of(s, lane)->whole, n, memory_order_relaxed);
}

/* A gauge has one cell, so that set and add see each other. */
void weir_metric_add(struct weir_metric_series *s, unsigned lane, double n)
{
    add_part(s->metric->type == WEIR_METRIC_GAUGE ? &s->own->part : &cell_of(s, lane)->part, n);
}

void weir_metric_set(struct weir_metric_series *s, double value)
{
    atomic_store_explicit(&s->own->part, double_to_bits(value), memory_order_relaxed);
}

void weir_metric_observe(struct weir_metric_series *s, unsigned lane, double value)
{
    const struct weir_metric *f = s->metric;
    struct cell *c = cell_of(s, lane);
    size_t low = 0, high = f->bound_count; /* the first bound that is not below the value */
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (f->bounds[middle] < value)
            low = middle + 1;
        else
            high = middle;
    }
    atomic_fetch_add_explicit(&c->buckets[low], 1, memory_order_relaxed);
    add_part(&c->part, value);
}

/* --- Reading --- */

static void add_cell(const struct weir_metric *f, const struct cell *c, struct weir_metric_value *ret)
{
    ret->whole += atomic_load_explicit(&c->whole, memory_order_relaxed);
    ret->part += bits_to_double(atomic_load_explicit(&c->part, memory_order_relaxed));
    for (size_t i = 0; i < bucket_count(f); i++) {
        uint64_t n = atomic_load_explicit(&c->buckets[i], memory_order_relaxed);
        ret->buckets[i] += n;
        ret->count += n;
    }
}

void weir_metric_read(const struct weir_metric_series *s, struct weir_metric_value *ret)
{
    memset(ret, 0, sizeof *ret);
    add_cell(s->metric, s->own, ret);
    for (size_t i = 0; i < LANES; i++) {
        const struct cell *c = atomic_load_explicit(&s->cells[i], memory_order_acquire);
        if (c != NULL)
            add_cell(s->metric, c, ret);
    }
}

const struct weir_metric *weir_metrics_first(const struct weir_metrics *m)
{
    return atomic_load_explicit(&m->first, memory_order_acquire);
}

const struct weir_metric *weir_metric_next(const struct weir_metric *m)
{
    return atomic_load_explicit(&m->next, memory_order_acquire);
}

const struct weir_metric_series *weir_metric_first_series(const struct weir_metric *m)
{
    return atomic_load_explicit(&m->first, memory_order_acquire);
}

const struct weir_metric_series *weir_metric_next_series(const struct weir_metric_series *s)
{
    return atomic_load_explicit(&s->next, memory_order_acquire);
}

const char *weir_metric_name(const struct weir_metric *m)
{
    return m->name;
}

const char *weir_metric_help(const struct weir_metric *m)
{
    return m->help;
}

enum weir_metric_type weir_metric_type(const struct weir_metric *m)
{
    return m->type;
}

const double *weir_metric_bounds(const struct weir_metric *m, size_t *ret_count)
{
    *ret_count = m->bound_count;
    return m->bounds;
}

size_t weir_metric_label_count(const struct weir_metric *m)
{
    return m->label_count;
}

static const char *nth(const char *texts, size_t i)
{
    for (; i > 0; i--)
        texts += strlen(texts) + 1;
    return texts;
}

const char *weir_metric_label_name(const struct weir_metric *m, size_t i)
{
    return nth(m->label_names, i);
}

const char *weir_metric_label_value(const struct weir_metric_series *s, size_t i)
{
    return nth(s->values, i);
}
