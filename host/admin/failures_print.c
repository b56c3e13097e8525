#include "admin/failures_print.h"

#include <stdio.h>
#include <time.h>

#include "admin/json_out.h"
#include "base/clock.h"
#include "base/mem.h"
#include "core/failures.h"
#include "core/stage.h"

/* As RFC 3339 writes it, in UTC. */
static void print_time(struct weir_json_out *j, uint64_t wall_ns)
{
    time_t seconds = (time_t)(wall_ns / WEIR_NS_PER_S);
    struct tm tm;
    char day[32], text[48];
    gmtime_r(&seconds, &tm);
    strftime(day, sizeof day, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(text, sizeof text, "%s.%03uZ", day, (unsigned)(wall_ns / WEIR_NS_PER_MS % 1000));
    weir_json_string(j, "time", text);
}

static void print_event(struct weir_json_out *j, const struct weir_failure *f)
{
    weir_json_uint(j, "event_bytes", f->value_bytes);
    if (f->value.kind == WEIR_VALUE_NIL && f->value_bytes > 0)
        return; /* it was too large to be kept */
    struct weir_strbuf value = WEIR_STRBUF_INIT;
    weir_value_print(f->value, &value);
    if (value.failed)
        j->out->failed = true;
    else
        weir_json_raw(j, "event", value.data, value.len);
    weir_strbuf_fini(&value);
}

static void print_one(struct weir_json_out *j, const struct weir_failure *f)
{
    weir_json_open(j, NULL, '{');
    weir_json_uint(j, "number", f->number);
    print_time(j, f->wall_ns);
    weir_json_string(j, "stage", f->stage->name);
    weir_json_string(j, "reason", weir_reason_text(f->reason));
    weir_json_uint(j, "worker", f->worker);
    weir_json_uint(j, "generation", f->generation);
    weir_json_uint(j, "id", f->event_id);
    weir_json_bool(j, "request", f->had_request);
    weir_json_string(j, "error", f->text);
    print_event(j, f);
    weir_json_close(j, '}');
}

void weir_failures_print(struct weir_failures *failures, const struct weir_stage *stage, size_t max, struct weir_strbuf *out)
{
    struct weir_json_out j = {.out = out};
    struct weir_failure *kept = weir_calloc(WEIR_FAILURES_KEPT, sizeof *kept);
    if (kept == NULL) {
        out->failed = true;
        return;
    }
    size_t n = weir_failures_read(failures, stage, kept, max < WEIR_FAILURES_KEPT ? max : WEIR_FAILURES_KEPT);
    weir_json_open(&j, NULL, '{');
    weir_json_open(&j, "failures", '[');
    for (size_t i = 0; i < n; i++) {
        print_one(&j, &kept[i]);
        weir_failure_fini(&kept[i]);
    }
    weir_json_close(&j, ']');
    weir_json_close(&j, '}');
    weir_strbuf_addc(out, '\n');
    weir_free(kept);
}
