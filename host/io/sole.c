#include "io/sole.h"

#include "base/mem.h"
#include "core/pool.h"
#include "core/seat.h"
#include "core/stage.h"
#include "core/worker.h"

int weir_sole_make(struct weir_seat *seat, size_t size, const struct weir_source_ops *ops,
                   struct weir_source **ret, struct weir_err *reterr)
{
    if (seat->worker->index != seat->stage->pool->first_slot)
        return WEIR_OK;
    struct weir_source *s = weir_calloc(1, size);
    if (s == NULL)
        return weir_err_set(reterr, WEIR_E_NOMEM, "stage '%s': out of memory", seat->stage->name);
    *s = (struct weir_source){.ops = ops, .seat = seat};
    *ret = s;
    return WEIR_OK;
}

bool weir_sole_ends(const struct weir_seat *seat)
{
    return (seat->worker->obeyed & WEIR_ORDER_RETIRE) == 0;
}
