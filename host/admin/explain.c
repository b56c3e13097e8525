#include "admin/explain.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double all_busy = 0.9, mostly = 0.5;

const char *weir_cause_text(enum weir_cause cause)
{
    static const char *const texts[WEIR_CAUSE_COUNT] = {
        [WEIR_CAUSE_PAUSED] = "paused",           [WEIR_CAUSE_STUCK] = "stuck_worker",
        [WEIR_CAUSE_GARBAGE] = "garbage",        [WEIR_CAUSE_SLOW] = "slow_stage",
        [WEIR_CAUSE_BLOCKS] = "blocking_handler", [WEIR_CAUSE_STARVED] = "starved_pool",
        [WEIR_CAUSE_POOL] = "small_pool",         [WEIR_CAUSE_KEY] = "hot_key",
        [WEIR_CAUSE_FILES] = "file_threads",      [WEIR_CAUSE_SINK] = "blocked_sink",
        [WEIR_CAUSE_OUTSIDE] = "outside",         [WEIR_CAUSE_ADMISSION] = "admission",
        [WEIR_CAUSE_BURSTS] = "bursts",
    };
    return texts[cause];
}

/* --- texts --- */

static void set(char text[WEIR_FINDING_TEXT], const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void set(char text[WEIR_FINDING_TEXT], const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, WEIR_FINDING_TEXT, fmt, ap);
    va_end(ap);
}

struct duration {
    char text[24];
};

static struct duration duration(double s)
{
    struct duration d;
    if (s < 1e-3)
        snprintf(d.text, sizeof d.text, "%.0f us", s * 1e6);
    else if (s < 1)
        snprintf(d.text, sizeof d.text, "%.3g ms", s * 1e3);
    else
        snprintf(d.text, sizeof d.text, "%.3g s", s);
    return d;
}

/* --- symptoms --- */

static bool has_queue(const struct weir_explain_stage *s)
{
    return s->kind != WEIR_STAGE_SOURCE;
}

/* Its queue has more than what its workers have just been given. */
static bool stands(const struct weir_explain_facts *f, const struct weir_explain_stage *s)
{
    return s->depth > f->pools[s->pool].threads;
}

static bool is_full_of_calls(const struct weir_explain_facts *f, const struct weir_explain_stage *s)
{
    return s->running >= s->concurrency * f->pools[s->pool].threads;
}

/* It has taken many, which count as running, and writes few. */
static bool is_stuck_sink(const struct weir_explain_stage *s)
{
    return s->kind == WEIR_STAGE_SINK && s->running >= 16 && s->handled < mostly * s->offered;
}

static bool has_symptom(const struct weir_explain_facts *f, const struct weir_explain_stage *s)
{
    if (!has_queue(s))
        return false;
    return stands(f, s) || is_stuck_sink(s) || s->refused > 0 || s->gated > 0 || s->waiting > 0 || (s->paused && s->depth > 0);
}

/* The share of what is offered to it that is refused, and how full its queue is: 0..2. */
static double weigh(const struct weir_explain_stage *s)
{
    double refused = s->offered > 0 ? (s->refused + s->gated) / s->offered : 0;
    double full = s->capacity > 0 ? s->depth / s->capacity : 0;
    return (refused > 1 ? 1 : refused) + (full > 1 ? 1 : full) + (s->waiting > 0 || is_stuck_sink(s) ? 0.5 : 0);
}

/* --- causes --- */

/* The stage of the same pool that has most of its workers. */
static const struct weir_explain_stage *hungriest(const struct weir_explain_facts *f, const struct weir_explain_stage *s, bool by_calls)
{
    const struct weir_explain_stage *most = s;
    for (size_t i = 0; i < f->stage_count; i++) {
        const struct weir_explain_stage *o = &f->stages[i];
        if (o->pool == s->pool && has_queue(o) && (by_calls ? o->running > most->running : o->workers > most->workers))
            most = o;
    }
    return most;
}

static bool file_threads_are_busy(const struct weir_explain_facts *f)
{
    return f->file_jobs > f->file_threads;
}

/* Of a pool whose workers are all busy: for whom, and with what. */
static enum weir_cause busy_with(const struct weir_explain_facts *f, const struct weir_explain_stage *s,
                                 const struct weir_explain_stage **ret)
{
    const struct weir_explain_pool *p = &f->pools[s->pool];
    const struct weir_explain_stage *most = hungriest(f, s, p->blocking);
    bool other = p->blocking ? most->running > 2 * s->running : most->workers > 2 * s->workers;
    if (most != s && other) {
        *ret = most;
        return WEIR_CAUSE_STARVED;
    }
    if (p->cpu + p->delayed >= mostly * p->busy * p->threads)
        return WEIR_CAUSE_SLOW;
    return p->blocking ? WEIR_CAUSE_POOL : WEIR_CAUSE_BLOCKS;
}

static bool pool_is_busy(const struct weir_explain_facts *f, const struct weir_explain_stage *s)
{
    const struct weir_explain_pool *p = &f->pools[s->pool];
    return p->busy >= all_busy;
}

/* Its events have few keys: there are workers that could take others. */
static bool waits_for_keys(const struct weir_explain_facts *f, const struct weir_explain_stage *s)
{
    return s->keys_waiting > 0 && s->keys_waiting < f->pools[s->pool].threads && stands(f, s);
}

/* Why events stand in front of `s`, which itself waits for no other; *ret: the stage that has the workers, with STARVED. */
static enum weir_cause find_cause(const struct weir_explain_facts *f, const struct weir_explain_stage *s,
                                  const struct weir_explain_stage **ret)
{
    const struct weir_explain_pool *p = &f->pools[s->pool];
    if (s->paused)
        return WEIR_CAUSE_PAUSED;
    if (s->collected > mostly)
        return WEIR_CAUSE_GARBAGE; /* a long collection can't be interrupted either */
    if (p->stuck > 0 && p->stuck >= p->threads)
        return WEIR_CAUSE_STUCK;
    if (s->kind == WEIR_STAGE_SINK && !pool_is_busy(f, s))
        return WEIR_CAUSE_SINK;
    if (waits_for_keys(f, s))
        return WEIR_CAUSE_KEY;
    if (pool_is_busy(f, s))
        return busy_with(f, s, ret);
    if (file_threads_are_busy(f) && s->running > f->file_threads)
        return WEIR_CAUSE_FILES;
    if (is_full_of_calls(f, s))
        return WEIR_CAUSE_OUTSIDE;
    return s->gated > 0 ? WEIR_CAUSE_ADMISSION : WEIR_CAUSE_BURSTS;
}

/* The end of the line of stages that wait for each other; there are no cycles of them, but a count makes sure. */
static const struct weir_explain_stage *last_in_line(const struct weir_explain_facts *f, const struct weir_explain_stage *s)
{
    for (size_t i = 0; i < f->stage_count && s->waits_for < f->stage_count && !s->paused; i++)
        s = &f->stages[s->waits_for];
    return s;
}

/* --- words for them --- */

static void tell_evidence(const struct weir_explain_facts *f, const struct weir_explain_stage *s, struct weir_finding *out)
{
    const struct weir_explain_pool *p = &f->pools[s->pool];
    set(out->evidence,
        "'%s': %.0f of %.0f wait (p50 %s), %.4g/s offered, %.4g/s refused, %.4g/s handled, a call takes %s, %.0f run; its handler had %.2f "
        "workers; pool '%s': %.0f workers, %.0f %% busy, %.2f CPUs, %.2f more waited for",
        s->name, s->depth, s->capacity, duration(s->wait_p50_s).text, s->offered, s->refused + s->gated, s->handled,
        duration(s->service_p50_s).text, s->running, s->workers, p->name, p->threads, 100 * p->busy, p->cpu, p->delayed);
}

static void tell_busy(const struct weir_explain_facts *f, const struct weir_explain_stage *s, const struct weir_explain_stage *other,
                      struct weir_finding *out)
{
    const struct weir_explain_pool *p = &f->pools[s->pool];
    switch (out->cause) {
    case WEIR_CAUSE_GARBAGE:
        set(out->what, "the VMs of '%s' collect garbage %.0f %% of their time; they hold %.1f of %.1f MiB", s->name,
            100 * s->collected, s->vm_bytes / 1048576, s->vm_limit / 1048576);
        set(out->advice, "make less garbage in the handler of '%s' (tables and strings per call), keep less in its VMs, or raise stages.%s.limits.memory if they are "
            "nearly full", s->name, s->name);
        break;
    case WEIR_CAUSE_SLOW:
        set(out->what, "'%s' is the bottleneck: its handler needs %s a call, and all %.0f workers of pool '%s' compute all the time", s->name,
            duration(s->handled > 0 ? s->workers / s->handled : s->service_p50_s).text, p->threads, p->name);
        set(out->advice, "make the handler cheaper or native, raise pools.%s.threads if CPUs are idle, or refuse early (stages.%s.admission)",
            p->name, s->name);
        if (p->delayed > p->cpu)
            set(out->advice, "the machine's CPUs are taken: the workers got %.2f CPUs and waited for %.2f more; look for who has them", p->cpu,
                p->delayed);
        break;
    case WEIR_CAUSE_BLOCKS:
        set(out->what, "'%s' blocks its worker: pool '%s' is %.0f %% busy, but uses only %.2f CPUs", s->name, p->name, 100 * p->busy, p->cpu);
        set(out->advice, "give '%s' a pool of its own with `blocking: true`, or use the async calls of weir.*", s->name);
        break;
    case WEIR_CAUSE_STARVED:
        set(out->what, "'%s' gets no workers: '%s' has %.2f of the %.0f of pool '%s'", s->name, other->name,
            p->blocking ? other->running : other->workers, p->threads, p->name);
        set(out->advice, "give '%s' a pool of its own", other->name);
        break;
    default:
        set(out->what, "pool '%s' is too small: all %.0f workers wait in calls, mostly of '%s' (%s a call), with %.2f CPUs in use", p->name,
            p->threads, s->name, duration(s->service_p50_s).text, p->cpu);
        if (p->threads < p->max)
            set(out->advice, "none: it is growing, up to %.0f workers", p->max);
        else
            set(out->advice, "raise pools.%s.threads, a range {min: 1, max: %.0f} lets a controller size it", p->name, 4 * p->max);
        break;
    }
}

static void tell_idle(const struct weir_explain_facts *f, const struct weir_explain_stage *s, struct weir_finding *out)
{
    switch (out->cause) {
    case WEIR_CAUSE_PAUSED:
        set(out->what, "'%s' is paused, %.0f events wait", s->name, s->depth);
        set(out->advice, "weir queue resume %s", s->name);
        break;
    case WEIR_CAUSE_STUCK:
        set(out->what, "all workers of pool '%s' are stuck in calls that can't be interrupted", f->pools[s->pool].name);
        set(out->advice, "the log has stage, traceback and function; weir failures shows what became of the calls");
        break;
    case WEIR_CAUSE_KEY:
        set(out->what, "'%s' waits for few keys: all %.0f events have %.0f of them, and events of a key go one by one", s->name, s->depth,
            s->keys_waiting);
        set(out->advice, "weir queue peek %s shows the key; order by something finer, or make its calls shorter", s->name);
        break;
    case WEIR_CAUSE_FILES:
        set(out->what, "the %.0f threads for files and names are all busy, %.0f jobs wait for them; '%s' has %.0f calls that wait",
            f->file_threads, f->file_jobs - f->file_threads, s->name, s->running);
        set(out->advice, "start weir with UV_THREADPOOL_SIZE=%.0f, or read files in a blocking pool", f->file_threads * 4);
        break;
    case WEIR_CAUSE_SINK:
        set(out->what, "sink '%s' can't get rid of its events: it has %.0f in hand and %.0f in its queue, what it writes to takes %.4g/s", s->name,
            s->running, s->depth, s->handled);
        set(out->advice, "look at the other side; stages.%s.concurrency bounds what it takes in hand", s->name);
        break;
    case WEIR_CAUSE_OUTSIDE:
        set(out->what, "'%s' waits for something outside: %.0f calls are suspended, as many as it may have (%s a call)", s->name, s->running,
            duration(s->service_p50_s).text);
        set(out->advice, "look at what it calls; raise stages.%s.concurrency (%.0f a worker) if that can take more", s->name, s->concurrency);
        break;
    case WEIR_CAUSE_ADMISSION:
        set(out->what, "admission to '%s' is limited: %s refuses %.4g of %.4g events/s, with workers to spare", s->name,
            s->controller != NULL ? s->controller : "its controller", s->gated, s->offered);
        set(out->advice, "weir events shows why; its limits are stages.%s.admission", s->name);
        break;
    default:
        set(out->what, "'%s' has bursts to get through: its pool is %.0f %% busy on the whole", s->name, 100 * f->pools[s->pool].busy);
        set(out->advice, s->refused > 0 ? "raise stages.%s.queue.capacity if they may wait" : "nothing to do, as long as '%s' keeps its wait",
            s->name);
        break;
    }
}

/* --- all of it --- */

static bool is_known(const struct weir_finding *found, size_t n, const struct weir_finding *f)
{
    for (size_t i = 0; i < n; i++)
        if (found[i].cause == f->cause && (found[i].stage == f->stage || (f->cause == WEIR_CAUSE_STARVED && found[i].pool == f->pool)))
            return true;
    return false;
}

static void add(const struct weir_explain_facts *f, const struct weir_explain_stage *at, struct weir_finding *found, size_t *n)
{
    const struct weir_explain_stage *s = last_in_line(f, at), *other = NULL;
    struct weir_finding *out = &found[*n];
    *out = (struct weir_finding){.cause = find_cause(f, s, &other), .pool = s->pool, .weight = weigh(at)};
    out->stage = (size_t)((other != NULL ? other : s) - f->stages);
    if (is_known(found, *n, out))
        return;
    switch (out->cause) {
    case WEIR_CAUSE_GARBAGE:
    case WEIR_CAUSE_SLOW:
    case WEIR_CAUSE_BLOCKS:
    case WEIR_CAUSE_STARVED:
    case WEIR_CAUSE_POOL:
        tell_busy(f, s, other, out);
        break;
    default:
        tell_idle(f, s, out);
        break;
    }
    tell_evidence(f, s, out);
    if (s != at) {
        size_t len = strlen(out->what);
        snprintf(out->what + len, sizeof out->what - len, "; '%s' waits for it", at->name);
    }
    ++*n;
}

/* Calls that wait for files make no queue as long as there may be more of them. */
static void add_file_threads(const struct weir_explain_facts *f, struct weir_finding *found, size_t *n)
{
    const struct weir_explain_stage *most = NULL;
    if (!file_threads_are_busy(f))
        return;
    for (size_t i = 0; i < f->stage_count; i++)
        if (has_queue(&f->stages[i]) && (most == NULL || f->stages[i].running > most->running))
            most = &f->stages[i];
    if (most == NULL || most->running < f->file_threads)
        return;
    struct weir_finding *out = &found[*n];
    *out = (struct weir_finding){
        .cause = WEIR_CAUSE_FILES, .pool = most->pool, .stage = (size_t)(most - f->stages), .weight = 0.5};
    if (is_known(found, *n, out))
        return;
    tell_idle(f, most, out);
    tell_evidence(f, most, out);
    ++*n;
}

static int heavier_first(const void *a, const void *b)
{
    double x = ((const struct weir_finding *)a)->weight, y = ((const struct weir_finding *)b)->weight;
    return x < y ? 1 : x > y ? -1 : 0;
}

size_t weir_explain(const struct weir_explain_facts *f, struct weir_finding out[WEIR_FINDINGS_MAX])
{
    size_t n = 0;
    for (size_t i = 0; i < f->stage_count && n < WEIR_FINDINGS_MAX; i++)
        if (has_symptom(f, &f->stages[i]))
            add(f, &f->stages[i], out, &n);
    if (n < WEIR_FINDINGS_MAX)
        add_file_threads(f, out, &n);
    qsort(out, n, sizeof *out, heavier_first);
    return n;
}
