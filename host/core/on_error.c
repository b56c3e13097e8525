#include "core/on_error.h"

#include <string.h>

#include "core/event.h"
#include "core/seat.h"
#include "core/stage.h"
#include "core/worker.h"

static void pack_text(struct weir_strbuf *out, const char *key, const char *text)
{
    weir_value_pack_string(out, key, strlen(key));
    weir_value_pack_string(out, text, strlen(text));
}

static void pack_count(struct weir_strbuf *out, const char *key, uint64_t n)
{
    weir_value_pack_string(out, key, strlen(key));
    weir_value_pack_int(out, (int64_t)n);
}

/* Leaves out what is of no use. Returns whether there is a member more. */
static bool pack_event(struct weir_strbuf *out, struct weir_value v)
{
    weir_value_pack_string(out, "event", 5);
    return weir_value_size(v) <= WEIR_VALUE_MAX_BYTES / 2 && weir_value_pack(v, WEIR_VALUE_MAX_DEPTH - 1, out);
}

/* false: no memory. */
static bool describe(const struct weir_seat *seat, const struct weir_event *ev, enum weir_reason reason, const char *error,
                     struct weir_value *ret)
{
    struct weir_strbuf members = WEIR_STRBUF_INIT, map = WEIR_STRBUF_INIT;
    unsigned n = 4;
    pack_text(&members, "stage", seat->stage->name);
    pack_text(&members, "reason", weir_reason_text(reason));
    pack_count(&members, "generation", seat->stage->generation);
    pack_count(&members, "id", ev->id);
    if (error != NULL) {
        pack_text(&members, "error", error);
        n++;
    }
    size_t without = members.len;
    if (pack_event(&members, ev->value))
        n++;
    else
        members.len = without;
    weir_value_pack_map(&map, n);
    weir_strbuf_add(&map, members.data, members.len);
    struct weir_blob *blob = members.failed || map.failed ? NULL : weir_blob_create(map.len);
    if (blob != NULL) {
        memcpy(blob->data, map.data, map.len);
        *ret = (struct weir_value){.kind = WEIR_VALUE_BYTES, .blob = blob};
    }
    weir_strbuf_fini(&members);
    weir_strbuf_fini(&map);
    return blob != NULL;
}

void weir_on_error_offer(struct weir_seat *seat, const struct weir_event *ev, enum weir_reason reason, const char *error)
{
    struct weir_worker *w = seat->worker;
    struct weir_edge *edge = &seat->stage->on_error;
    if (edge->target == NULL)
        return;
    struct weir_event *out = weir_event_create_from(w, ev);
    if (out == NULL || !describe(seat, ev, reason, error, &out->value)) {
        weir_event_free(w, out);
        weir_edge_lose(w, edge, ev->class_index);
        return;
    }
    out->deadline_ns = 0;
    if (weir_edge_offer(w, edge, out) != WEIR_VERDICT_ACCEPTED)
        weir_event_free(w, out);
}
