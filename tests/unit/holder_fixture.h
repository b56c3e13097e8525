/* tests/unit/holder_fixture.h - a holder of buffers (io/holder.h) that counts, and refuses beyond a limit. */
#ifndef WEIR_TESTS_UNIT_HOLDER_FIXTURE_H
#define WEIR_TESTS_UNIT_HOLDER_FIXTURE_H

#include "base/list.h"
#include "io/holder.h"

struct counting {
    struct weir_holder holder;
    size_t held, most, limit;
    int asked, refused;
};

static bool count_hold(struct weir_holder *h, size_t bytes)
{
    struct counting *c = WEIR_LIST_ENTRY(h, struct counting, holder);
    c->asked++;
    if (bytes > c->held && bytes > c->limit) {
        c->refused++;
        return false;
    }
    c->held = bytes;
    c->most = bytes > c->most ? bytes : c->most;
    return true;
}

#define COUNTING(bytes)                                                                                      \
    {                                                                                                        \
        .holder.hold = count_hold, .limit = (bytes)                                                          \
    }

#endif
