/* controller/journal.h - what the host decided and what it was told, kept for whoever asks: every decision of a controller with its
 * inputs, every `weir set`, `freeze`, every failure to do what a controller wanted, and every step of those that are recorded. The newest
 * WEIR_JOURNAL_KEPT entries.
 * Owner: the runtime. Control thread. */
#ifndef WEIR_CONTROLLER_JOURNAL_H
#define WEIR_CONTROLLER_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "controller/controller.h"

enum { WEIR_JOURNAL_KEPT = 1024, WEIR_JOURNAL_SUBJECT_MAX = 96, WEIR_JOURNAL_TEXT_MAX = 256 };

enum weir_journal_kind {
    WEIR_JOURNAL_DECISION, /* a controller moved its knob */
    WEIR_JOURNAL_SET,      /* somebody set a knob or a setting */
    WEIR_JOURNAL_FREEZE,
    WEIR_JOURNAL_UNFREEZE,
    WEIR_JOURNAL_PROBLEM,  /* what was decided could not be done */
    WEIR_JOURNAL_STEP,     /* a step of a controller that is recorded, whether it decided anything or not */
};

/* What a step of a controller had beside its sample, and where it put the knobs. */
struct weir_journal_step {
    const struct weir_controller_type *type; /* valid as long as the loop */
    double settings[WEIR_SETTINGS_MAX];
    struct weir_setpoint was, at;
};

struct weir_journal_entry {
    uint64_t number;  /* counts all entries, from 1 */
    uint64_t wall_ns; /* when, since 1970 */
    enum weir_journal_kind kind;
    char subject[WEIR_JOURNAL_SUBJECT_MAX]; /* the knob's path: "stages.page.batch" */
    const char *controller;  /* static; NULL: none */
    const char *rule;        /* static; NULL: none */
    double from, to;         /* INFINITY: no bound; both NAN: not about a number */
    bool has_inputs;
    struct weir_sample inputs;
    struct weir_journal_step step; /* STEP */
    char text[WEIR_JOURNAL_TEXT_MAX]; /* "": none */
};

struct weir_journal;

int weir_journal_create(struct weir_journal **ret, struct weir_err *reterr);
/* Takes NULL. */
void weir_journal_destroy(struct weir_journal *j);
/* The next entry, cleared but for number and time, to be filled in at once. */
struct weir_journal_entry *weir_journal_add(struct weir_journal *j, enum weir_journal_kind kind);
/* The oldest kept entry whose number is above `after`; NULL: none. Valid until the next weir_journal_add. */
const struct weir_journal_entry *weir_journal_next(const struct weir_journal *j, uint64_t after);
/* The number of the newest entry; 0: none was ever made. */
uint64_t weir_journal_last(const struct weir_journal *j);
/* "decision", "set", … Static. */
const char *weir_journal_kind_text(enum weir_journal_kind kind);

#endif
