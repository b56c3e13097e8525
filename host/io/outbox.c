#include "io/outbox.h"

#include <string.h>

#include "base/mem.h"
#include "io/sink.h"

enum {
    FIRST_FRAMES = 64,
    KEEP_BYTES = 256 << 10, /* memory that an empty one keeps */
    MOVE_BYTES = 64 << 10,  /* sent bytes that are worth moving the others down for */
};

void weir_outbox_init(struct weir_outbox *o, struct weir_seat *seat)
{
    *o = (struct weir_outbox){.seat = seat};
}

void weir_outbox_fini(struct weir_outbox *o)
{
    weir_strbuf_fini(&o->bytes);
    weir_strbuf_fini(&o->scratch);
    weir_free(o->frames);
}

static bool has_room(struct weir_outbox *o)
{
    if (o->first + o->count < o->cap)
        return true;
    if (o->first > o->cap / 2) {
        memmove(o->frames, o->frames + o->first, o->count * sizeof *o->frames);
        o->first = 0;
        return true;
    }
    size_t cap = o->cap == 0 ? FIRST_FRAMES : o->cap * 2;
    struct weir_outbox_frame *frames = weir_realloc(o->frames, cap * sizeof *frames);
    if (frames == NULL)
        return false;
    o->frames = frames;
    o->cap = cap;
    return true;
}

bool weir_outbox_add(struct weir_outbox *o, struct weir_sink *sink, struct weir_event *ev)
{
    struct weir_err why;
    int rc = WEIR_E_NOMEM;
    if (has_room(o))
        rc = weir_sink_encode(sink, ev, &o->scratch, &o->bytes, &why);
    else
        weir_err_set(&why, WEIR_E_NOMEM, "out of memory");
    if (rc < 0) {
        weir_sink_refused(sink, o->seat, ev, &why);
        return false;
    }
    o->frames[o->first + o->count++] = (struct weir_outbox_frame){.ev = ev, .end = o->base + o->bytes.len};
    return true;
}

size_t weir_outbox_pending(const struct weir_outbox *o, const char **ret)
{
    size_t at = (size_t)(o->sent - o->base);
    *ret = o->bytes.data != NULL ? o->bytes.data + at : "";
    return o->bytes.len - at;
}

bool weir_outbox_begun(const struct weir_outbox *o)
{
    return o->count > 0 && o->sent > o->start;
}

static void forget_first(struct weir_outbox *o)
{
    o->start = o->frames[o->first].end;
    o->first++;
    o->count--;
}

/* Gives back the memory of what is through. Everything before `done` is. */
static void trim(struct weir_outbox *o, uint64_t done)
{
    if (o->count == 0) {
        o->base = o->start = o->sent = done;
        o->first = 0;
        if (o->bytes.cap > KEEP_BYTES)
            weir_strbuf_fini(&o->bytes);
        else
            weir_strbuf_clear(&o->bytes);
        return;
    }
    size_t through = (size_t)(done - o->base);
    if (through < MOVE_BYTES || through < o->bytes.len / 2)
        return;
    weir_strbuf_consume(&o->bytes, through);
    o->base = done;
}

void weir_outbox_sent(struct weir_outbox *o, size_t n)
{
    o->sent += n;
    uint64_t done = o->start;
    while (o->count > 0 && o->frames[o->first].end <= o->sent) {
        struct weir_event *ev = o->frames[o->first].ev;
        done = o->frames[o->first].end;
        forget_first(o);
        weir_sink_handled(o->seat, ev);
    }
    trim(o, done);
}

void weir_outbox_sent_frames(struct weir_outbox *o, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct weir_outbox_frame *f = &o->frames[o->first];
        struct weir_event *ev = f->ev;
        o->sent = f->end;
        forget_first(o);
        weir_sink_handled(o->seat, ev);
    }
    trim(o, o->sent);
}

void weir_outbox_drop_first(struct weir_outbox *o, enum weir_reason reason, const char *text)
{
    struct weir_outbox_frame *f = &o->frames[o->first];
    struct weir_event *ev = f->ev;
    o->sent = f->end;
    uint64_t done = f->end;
    forget_first(o);
    weir_sink_failed(o->seat, ev, reason, text);
    trim(o, done);
}

void weir_outbox_rewind(struct weir_outbox *o, unsigned retries, const char *text)
{
    if (!weir_outbox_begun(o))
        return;
    if (++o->frames[o->first].tries > retries)
        weir_outbox_drop_first(o, WEIR_REASON_IO, text);
    else
        o->sent = o->start;
}

size_t weir_outbox_frame(const struct weir_outbox *o, size_t i, const char **ret)
{
    size_t at = o->first + i;
    uint64_t from = i > 0 ? o->frames[at - 1].end : o->start;
    *ret = o->bytes.data + (from - o->base);
    return (size_t)(o->frames[at].end - from);
}

void weir_outbox_cancel(struct weir_outbox *o)
{
    while (o->count > 0)
        weir_outbox_drop_first(o, WEIR_REASON_CANCELLED, "the drain time was over before it was sent");
}

size_t weir_outbox_memory(const struct weir_outbox *o)
{
    return o->bytes.cap + o->scratch.cap + o->cap * sizeof *o->frames;
}
