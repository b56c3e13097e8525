/* io/file_set_inner.h - what the parts of a file set (file_set.c, file_set_look.c, file_set_save.c) share;
 * nobody else includes it. */
#ifndef WEIR_IO_FILE_SET_INNER_H
#define WEIR_IO_FILE_SET_INNER_H

#include <uv.h>

#include "base/log.h"
#include "core/seat.h"
#include "core/worker.h"
#include "io/file_saver.h"
#include "io/file_set.h"
#include "io/file_tail.h"
#include "io/file_watch.h"
#include "io/handover.h"

enum { WEIR_FILE_SET_BUCKETS = 1024 };

/* All fields belong to the worker once it runs, but `list` and `look_error` while a look is under way. */
struct weir_file_set {
    const struct weir_file_settings *settings; /* [const] */
    struct weir_file_totals *totals;           /* [const] */
    struct weir_seat *seat;                    /* [const] */
    struct weir_list tails;                    /* oldest first */
    struct weir_list buckets[WEIR_FILE_SET_BUCKETS];
    struct weir_list ready;
    size_t reads, open;
    uint64_t look_number;
    uv_work_t look;
    struct weir_handover handover; /* of `list` and look_error */
    struct weir_file_list list;
    int look_error;
    bool looking, look_again;
    struct weir_timer look_timer, save_timer;
    struct weir_file_watch *watch;
    struct weir_file_saver *saver; /* NULL: no state is kept */
    size_t saved_count;            /* of tails, when the state was written last */
    bool unsaved;                  /* something was added or removed since */
    bool stopped, closed, done;
};

static inline struct weir_worker *weir_file_set_worker(const struct weir_file_set *s)
{
    return s->seat->worker;
}

/* One line of the log about a file. */
void weir_file_set_say(enum weir_log_level level, const struct weir_file_set *s, const char *path,
                       const char *what);

/* ---- the tails: file_set.c ---- */

/* NULL: none. One that has ended is another file, should its number be given anew. */
struct weir_tail *weir_file_set_find(struct weir_file_set *s, uint64_t dev, uint64_t ino);
/* The newest of those that have, or had, that name; NULL: none. */
struct weir_tail *weir_file_set_find_named(struct weir_file_set *s, const char *path);
/* A new one, IDLE; NULL: no memory, which is logged. */
struct weir_tail *weir_file_set_add(struct weir_file_set *s, const struct weir_file_seen *seen,
                                    uint64_t offset);
void weir_file_set_remove(struct weir_file_set *s, struct weir_tail *t);
/* It is its turn when it comes; the same for one of which there may be more to read, in whatever state it is.
 */
void weir_file_set_make_ready(struct weir_tail *t);
void weir_file_set_wake(struct weir_tail *t);
/* `t` is read once `before`, which has or had its name, is read to its end; to those behind, they are one
 * stream if `stream`. */
void weir_file_set_hold(struct weir_tail *t, struct weir_tail *before, bool stream);
/* Reads what is ready. */
void weir_file_set_schedule(struct weir_file_set *s);
/* When the host does not finish what is in flight, events are dropped: they have ended, but were not handled.
 * For weir_tail_sweep. */
bool weir_file_set_is_frozen(void *set);

/* ---- looking: file_set_look.c ---- */

void weir_file_set_look(struct weir_file_set *s);
void weir_file_set_on_look_timer(struct weir_timer *t);
/* For file_watch.h. */
void weir_file_set_on_change(void *set, const char *path);

/* ---- positions: file_set_save.c ---- */

/* Has them written, if any has moved. */
void weir_file_set_save(struct weir_file_set *s);
void weir_file_set_on_save_timer(struct weir_timer *t);
/* For file_saver.h. */
void weir_file_set_on_saved(void *set, int error);

enum { WEIR_FILE_SET_SAVE_MS = 1000 };

#endif
