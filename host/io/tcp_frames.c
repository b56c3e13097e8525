/* What comes on a connection of the source `tcp`, to events: the lines of its greeting, its frames, and its
 * opening and end. */
#include <string.h>

#include "core/worker.h"
#include "io/source_value.h"
#include "io/tcp_conn.h"
#include "io/tcp_server.h"

static bool make_value(struct weir_intake *intake, const struct weir_cut_frame *frame, uint64_t offset,
                       struct weir_value *ret)
{
    struct weir_tcp_conn *c = WEIR_LIST_ENTRY(intake, struct weir_tcp_conn, intake);
    const struct weir_tcp_settings *settings = &c->server->shared->settings;
    (void)offset;
    if (!c->greets)
        return weir_source_value_string(frame->data, frame->len, ret);
    const char *end = settings->greeting_end;
    c->greets_last = c->greeted + 1 == settings->greeting_lines ||
                     (end != NULL && frame->len == strlen(end) && memcmp(frame->data, end, frame->len) == 0);
    const struct weir_conn_news news = {.event = "greeting",
                                        .conn = c->id,
                                        .remote = c->remote,
                                        .line = frame->data,
                                        .line_len = frame->len,
                                        .last = c->greets_last};
    return weir_source_value_news(&news, ret);
}

/* A frame has become an event. After the last line of the greeting the next byte begins a frame of the other
 * kind. */
static void on_sent(struct weir_intake *intake, struct weir_value value, uint64_t end)
{
    struct weir_tcp_conn *c = WEIR_LIST_ENTRY(intake, struct weir_tcp_conn, intake);
    (void)value;
    (void)end;
    if (!c->greets)
        return;
    c->greeted++;
    if (!c->greets_last)
        return;
    c->greets = false;
    weir_cutter_init(&intake->cutter, &c->framing);
}

/* An event about the connection itself, between its frames. Without memory for it, it is left out. */
static void tell(struct weir_tcp_conn *c, const char *what)
{
    struct weir_value value;
    const struct weir_conn_news news = {
        .event = what, .conn = c->id, .remote = c->remote, .reason = c->reason};
    if (c->server->shared->settings.notify && weir_source_value_news(&news, &value))
        weir_intake_send(&c->intake, value);
}

/* No frame comes after those that are there. */
static bool is_over(const struct weir_tcp_conn *c)
{
    return c->eof || c->state >= WEIR_TCP_ENDING;
}

/* All its whole frames are sent: now its opening, and its end, if it has come. */
static void on_hungry(struct weir_intake *intake)
{
    struct weir_tcp_conn *c = WEIR_LIST_ENTRY(intake, struct weir_tcp_conn, intake);
    if (c->opening) {
        c->opening = false;
        tell(c, "open");
        if (weir_feed_waiting(&intake->feed))
            return; /* it comes again */
    }
    if (is_over(c) && !c->told) {
        c->told = true;
        tell(c, "close");
        if (weir_feed_waiting(&intake->feed))
            return;
    }
    c->wants_input = !is_over(c);
    weir_tcp_conn_update(c);
}

/* What follows can't be trusted any more, unless it is to be. */
static void on_overlong(struct weir_intake *intake)
{
    struct weir_tcp_conn *c = WEIR_LIST_ENTRY(intake, struct weir_tcp_conn, intake);
    if (!c->server->shared->settings.cut_overlong || c->state != WEIR_TCP_OPEN)
        return;
    weir_intake_drop(intake);
    c->state = WEIR_TCP_FLUSHING;
    c->reason = "overlong";
    c->active_ns = c->worker->now_ns;
}

static const struct weir_intake_ops ops = {
    .make = make_value, .sent = on_sent, .overlong = on_overlong, .hungry = on_hungry};

void weir_tcp_frames_init(struct weir_tcp_conn *c)
{
    struct weir_tcp_server *s = c->server;
    struct weir_framing first = c->framing;
    c->greets = s->shared->settings.greets;
    if (c->greets) {
        first.kind = WEIR_FRAMING_LINE;
        first.delimiter = '\n';
    }
    weir_intake_init(&c->intake, &ops, &s->shared->counts, s->base.seat, &first);
    c->id = c->intake.feed.source;
}

void weir_tcp_frames_tell(struct weir_tcp_conn *c)
{
    on_hungry(&c->intake);
}
