#include "core/failures.h"

#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/sync.h"
#include "core/event.h"
#include "core/seat.h"
#include "core/stage.h"
#include "core/worker.h"

struct weir_failures {
    struct weir_mutex mu;                           /* rank WEIR_RANK_LOG: nothing is taken under it */
    uint64_t count;                                 /* [mu] of all that there were */
    struct weir_failure ring[WEIR_FAILURES_KEPT];   /* [mu] the n-th, from 1, at n % KEPT */
};

int weir_failures_create(struct weir_failures **ret, struct weir_err *reterr)
{
    struct weir_failures *f = weir_calloc(1, sizeof *f);
    if (f == NULL)
        return weir_err_set(reterr, WEIR_E_NOMEM, "graph: out of memory");
    weir_mutex_init(&f->mu, WEIR_RANK_LOG, "failures");
    *ret = f;
    return WEIR_OK;
}

void weir_failure_fini(struct weir_failure *f)
{
    weir_free(f->text);
    weir_value_unref(f->value);
    *f = (struct weir_failure){.value = WEIR_VALUE_NOTHING};
}

void weir_failures_destroy(struct weir_failures *f)
{
    if (f == NULL)
        return;
    for (size_t i = 0; i < WEIR_FAILURES_KEPT; i++)
        weir_failure_fini(&f->ring[i]);
    weir_mutex_fini(&f->mu);
    weir_free(f);
}

static char *copy_text(const char *text)
{
    return text == NULL ? NULL : weir_strndup(text, strnlen(text, WEIR_FAILURE_TEXT_MAX));
}

/* Not a reference: whoever waits for the end of an event may look whether its value is held by somebody still (io/file_tail.h). */
static struct weir_value copy_value(struct weir_value v)
{
    if (v.kind != WEIR_VALUE_BYTES)
        return v;
    struct weir_blob *blob = weir_blob_create(v.blob->len);
    if (blob == NULL)
        return WEIR_VALUE_NOTHING;
    memcpy(blob->data, v.blob->data, v.blob->len);
    return (struct weir_value){.kind = WEIR_VALUE_BYTES, .blob = blob};
}

void weir_failures_note(struct weir_failures *f, const struct weir_seat *seat, const struct weir_event *ev, enum weir_reason reason,
                        const char *text)
{
    struct weir_failure fresh = {.wall_ns = weir_clock_wall_ns(),
                                 .stage = seat->stage,
                                 .event_id = ev->id,
                                 .generation = seat->stage->generation,
                                 .worker = seat->worker->index,
                                 .reason = reason,
                                 .text = copy_text(text),
                                 .value = WEIR_VALUE_NOTHING,
                                 .value_bytes = weir_value_size(ev->value),
                                 .had_request = ev->request != NULL};
    if (fresh.value_bytes <= WEIR_FAILURE_VALUE_MAX)
        fresh.value = copy_value(ev->value);
    weir_mutex_lock(&f->mu);
    fresh.number = ++f->count;
    struct weir_failure old = f->ring[fresh.number % WEIR_FAILURES_KEPT];
    f->ring[fresh.number % WEIR_FAILURES_KEPT] = fresh;
    weir_mutex_unlock(&f->mu);
    weir_failure_fini(&old);
}

size_t weir_failures_read(struct weir_failures *f, const struct weir_stage *stage, struct weir_failure *out, size_t max)
{
    size_t n = 0;
    weir_mutex_lock(&f->mu);
    for (uint64_t i = f->count; i > 0 && i + WEIR_FAILURES_KEPT > f->count && n < max; i--) {
        const struct weir_failure *kept = &f->ring[i % WEIR_FAILURES_KEPT];
        if (stage != NULL && kept->stage != stage)
            continue;
        out[n] = *kept;
        out[n].text = copy_text(kept->text);
        weir_value_ref(kept->value);
        n++;
    }
    weir_mutex_unlock(&f->mu);
    return n;
}
