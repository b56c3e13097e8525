#include "controller/journal.h"

#include <math.h>

#include "base/clock.h"
#include "base/mem.h"

struct weir_journal {
    uint64_t last;
    struct weir_journal_entry *ring;
};

int weir_journal_create(struct weir_journal **ret, struct weir_err *reterr)
{
    struct weir_journal *j = weir_calloc(1, sizeof *j);
    if (j != NULL)
        j->ring = weir_calloc(WEIR_JOURNAL_KEPT, sizeof *j->ring); /* what is not used takes no memory */
    if (j == NULL || j->ring == NULL) {
        weir_journal_destroy(j);
        return weir_err_set(reterr, WEIR_E_NOMEM, "journal: out of memory");
    }
    *ret = j;
    return WEIR_OK;
}

void weir_journal_destroy(struct weir_journal *j)
{
    if (j == NULL)
        return;
    weir_free(j->ring);
    weir_free(j);
}

struct weir_journal_entry *weir_journal_add(struct weir_journal *j, enum weir_journal_kind kind)
{
    struct weir_journal_entry *e = &j->ring[j->last % WEIR_JOURNAL_KEPT];
    *e = (struct weir_journal_entry){.number = ++j->last, .wall_ns = weir_clock_wall_ns(), .kind = kind, .from = NAN, .to = NAN};
    return e;
}

const struct weir_journal_entry *weir_journal_next(const struct weir_journal *j, uint64_t after)
{
    uint64_t oldest = j->last > WEIR_JOURNAL_KEPT ? j->last - WEIR_JOURNAL_KEPT + 1 : 1;
    uint64_t number = after + 1 > oldest ? after + 1 : oldest;
    return number <= j->last ? &j->ring[(number - 1) % WEIR_JOURNAL_KEPT] : NULL;
}

uint64_t weir_journal_last(const struct weir_journal *j)
{
    return j->last;
}

const char *weir_journal_kind_text(enum weir_journal_kind kind)
{
    static const char *const texts[] = {"decision", "set", "freeze", "unfreeze", "problem", "step"};
    return texts[kind];
}
