#include "io/null_sink.h"

#include "base/mem.h"
#include "config/types.h"
#include "core/seat.h"
#include "io/sink.h"

const struct weir_app_type weir_null_sink_type = {
    .name = "null", .kind = WEIR_APP_SINK, .text = "takes every event and forgets it", .options = NULL, .option_count = 0};

static void handle(struct weir_handler *h, struct weir_event **evs, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (weir_seat_begin(h->seat, evs[i]))
            weir_sink_handled(h->seat, evs[i]);
}

static void cancel(struct weir_handler *h)
{
    (void)h; /* no call outlives handle() */
}

static void close_sink(struct weir_handler *h)
{
    weir_free(h);
}

static size_t memory(const struct weir_handler *h)
{
    return sizeof *h;
}

static const struct weir_handler_ops ops = {.handle = handle, .cancel = cancel, .close = close_sink, .memory = memory};

static int make(void *self, struct weir_seat *seat, struct weir_handler **ret, struct weir_err *reterr)
{
    (void)self; /* nothing to configure */
    struct weir_handler *h = weir_calloc(1, sizeof *h);
    if (h == NULL)
        return weir_err_set(reterr, WEIR_E_NOMEM, "sink null: out of memory");
    h->ops = &ops;
    h->seat = seat;
    *ret = h;
    return WEIR_OK;
}

int weir_null_sink_open(struct weir_stage *stage, const struct weir_conf *options, struct weir_handler_maker *ret,
                        struct weir_err *reterr)
{
    (void)stage;   /* the same for all of them */
    (void)options; /* it has none */
    (void)reterr;  /* can't fail */
    *ret = (struct weir_handler_maker){.make = make};
    return WEIR_OK;
}
