#include "io/sink.h"

#include "base/clock.h"
#include "base/log.h"
#include "config/conf.h"
#include "core/stage.h"
#include "core/value_json.h"
#include "core/worker.h"

enum {
    TELL_EVERY_S = 10,
    FRAME_MAX =
        8 * WEIR_VALUE_MAX_BYTES, /* more than the JSON of any value: each byte of it is six at most */
};

const char *const weir_sink_encode_words[] = {"auto", "json", "msgpack", NULL};

int weir_sink_init(struct weir_sink *s, struct weir_stage *stage, const struct weir_conf *options,
                   bool framed, struct weir_err *reterr)
{
    s->stage = stage;
    s->encode = (enum weir_sink_encode)weir_conf_option_enum(options, "encode");
    s->framing = (struct weir_framing){.kind = WEIR_FRAMING_RAW, .max = FRAME_MAX};
    atomic_init(&s->troubled, false);
    atomic_init(&s->told_ns, 0);
    struct weir_err why;
    if (framed && weir_framing_from_options(options, &s->framing, &why) < 0)
        return weir_err_set(reterr, why.code, "stage '%s': %s", stage->name, why.text);
    if (framed && !weir_conf_option_given(options, "max_frame"))
        s->framing.max = FRAME_MAX; /* the default is for what comes from outside */
    if (framed && s->encode == WEIR_SINK_MSGPACK && s->framing.kind == WEIR_FRAMING_LINE)
        return weir_err_set(
            reterr, WEIR_E_CONFIG,
            "stage '%s': encode: msgpack can't be told apart by lines; say framing: length (or raw)",
            stage->name);
    return WEIR_OK;
}

/* ---- bytes ---- */

static void add_msgpack(struct weir_value v, struct weir_strbuf *out)
{
    unsigned char head[9];
    uint64_t bits = 0;
    switch (v.kind) {
    case WEIR_VALUE_BYTES:
        weir_strbuf_add(out, v.blob->data, v.blob->len);
        return;
    case WEIR_VALUE_BOOL:
        weir_strbuf_addc(out, (char)(v.boolean ? 0xc3 : 0xc2));
        return;
    case WEIR_VALUE_INT:
        head[0] = 0xd3;
        bits = (uint64_t)v.integer;
        break;
    case WEIR_VALUE_FLOAT:
        head[0] = 0xcb;
        __builtin_memcpy(&bits, &v.number, sizeof bits);
        break;
    default:
        weir_strbuf_addc(out, (char)0xc0);
        return;
    }
    for (int i = 8; i > 0; i--, bits >>= 8)
        head[i] = (unsigned char)bits;
    weir_strbuf_add(out, head, sizeof head);
}

int weir_sink_encode(const struct weir_sink *s, const struct weir_event *ev, struct weir_strbuf *scratch,
                     struct weir_strbuf *out, struct weir_err *reterr)
{
    const char *data;
    size_t len;
    if (ev->value.kind == WEIR_VALUE_REQUEST)
        return weir_err_set(reterr, WEIR_E_INVAL,
                            "the event is a request, which has no bytes: emit a value made from it");
    if (s->encode != WEIR_SINK_AUTO || !weir_value_string(ev->value, &data, &len)) {
        weir_strbuf_clear(scratch);
        if (s->encode == WEIR_SINK_MSGPACK)
            add_msgpack(ev->value, scratch);
        else
            weir_value_json(ev->value, scratch);
        if (scratch->failed)
            return weir_err_set(reterr, WEIR_E_NOMEM, "out of memory");
        data = scratch->data;
        len = scratch->len;
    }
    size_t before = out->len;
    int rc = weir_framing_write(&s->framing, data, len, out);
    if (rc == WEIR_OK && !out->failed)
        return WEIR_OK;
    bool no_memory = rc == WEIR_OK || rc == WEIR_E_NOMEM;
    out->len = before;
    out->failed = false;
    if (no_memory)
        return weir_err_set(reterr, WEIR_E_NOMEM, "out of memory");
    if (rc == WEIR_E_LIMIT)
        return weir_err_set(reterr, rc, "%zu bytes don't fit into a frame (max_frame, length_size)", len);
    return weir_err_set(reterr, rc,
                        s->framing.kind == WEIR_FRAMING_LINE
                            ? "it has the delimiter in it, so it is no one line; encode: json escapes it"
                            : "it does not begin with a header that says its length");
}

/* ---- the end of an event ---- */

void weir_sink_handled(struct weir_seat *seat, struct weir_event *ev)
{
    weir_seat_end(seat, ev, WEIR_REASON_NONE, NULL);
}

void weir_sink_failed(struct weir_seat *seat, struct weir_event *ev, enum weir_reason reason,
                      const char *text)
{
    weir_seat_end(seat, ev, reason, text);
}

void weir_sink_tell(struct weir_sink *s, const struct weir_seat *seat, const struct weir_err *why)
{
    uint64_t now = seat->worker->now_ns, told = atomic_load_explicit(&s->told_ns, memory_order_relaxed);
    bool due = told == 0 || now - told > TELL_EVERY_S * WEIR_NS_PER_S;
    if (due && atomic_compare_exchange_strong_explicit(&s->told_ns, &told, now, memory_order_relaxed,
                                                       memory_order_relaxed))
        weir_log(WEIR_LOG_WARN, "sink", NULL, "stage '%s': an event can't be written: %s", s->stage->name,
                 why->text);
}

void weir_sink_refused(struct weir_sink *s, struct weir_seat *seat, struct weir_event *ev,
                       const struct weir_err *why)
{
    bool memory = why->code == WEIR_E_NOMEM;
    if (!memory)
        weir_sink_tell(s, seat, why);
    weir_sink_failed(seat, ev, memory ? WEIR_REASON_MEMORY : WEIR_REASON_ENCODE, why->text);
}

void weir_sink_cancel(struct weir_seat *seat, struct weir_list *events)
{
    struct weir_list *node;
    while ((node = weir_list_take_first(events)) != NULL)
        weir_sink_failed(seat, WEIR_LIST_ENTRY(node, struct weir_event, node), WEIR_REASON_CANCELLED,
                         "the drain time was over before it was written");
}

/* ---- connections ---- */

uint64_t weir_sink_backoff_next(struct weir_sink_backoff *b)
{
    uint64_t wait = b->min_ns;
    for (unsigned i = 0; i < b->failures && wait < b->max_ns; i++)
        wait *= 2;
    if (wait > b->max_ns)
        wait = b->max_ns;
    b->failures++;
    b->random ^= b->random << 13; /* xorshift64, https://www.jstatsoft.org/article/view/v008i14 */
    b->random ^= b->random >> 7;
    b->random ^= b->random << 17;
    return wait / 2 + b->random % (wait / 2 + 1);
}

/* ---- trouble ---- */

void weir_sink_trouble(struct weir_sink *s, const char *text)
{
    if (!atomic_exchange_explicit(&s->troubled, true, memory_order_relaxed))
        weir_log(WEIR_LOG_ERROR, "sink", NULL, "stage '%s': %s", s->stage->name, text);
}

void weir_sink_well(struct weir_sink *s)
{
    if (atomic_load_explicit(&s->troubled, memory_order_relaxed) &&
        atomic_exchange_explicit(&s->troubled, false, memory_order_relaxed))
        weir_log(WEIR_LOG_INFO, "sink", NULL, "stage '%s': writes again", s->stage->name);
}
