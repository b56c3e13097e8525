/* io/file_set.h - the files that a source reads: which there are, whose turn it is, what rotation did to
 * them, and how far they have been read. Looks at folders when inotify (uv_fs_event) tells of a change there,
 * and every `poll` in any case. Owner: the source's instance. Threads: the worker's; all that may wait for a
 * disk is done by libuv's. */
#ifndef WEIR_IO_FILE_SET_H
#define WEIR_IO_FILE_SET_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "io/file_look.h"
#include "io/file_state.h"
#include "io/framing.h"
#include "io/intake.h"

struct weir_file_set;
struct weir_seat;

struct weir_file_settings { /* [const] once opened */
    const char *const *patterns;
    size_t pattern_count;
    struct weir_framing framing;
    bool whole;          /* each file once, in order, to its end; else they are followed */
    bool from_end;       /* files of the first look: only what is added to them */
    bool with_path;      /* the events are {path, line, offset} */
    bool stop_when_done; /* whole: the host ends with the last file */
    uint64_t poll_ns, rotate_wait_ns;
    uint64_t flush_after_ns; /* 0: never */
    size_t max_open;
    const char *state; /* path; NULL: positions are not kept */
};

struct weir_file_totals { /* [atomic relaxed] */
    struct weir_intake_counts intake;
    _Atomic uint64_t files, open; /* now */
    _Atomic uint64_t rotated, truncated, errors;
};

/* `settings` and `totals` outlive it. Before the worker runs. */
int weir_file_set_create(const struct weir_file_settings *settings, struct weir_file_totals *totals,
                         struct weir_seat *seat, struct weir_file_set **ret, struct weir_err *reterr);
/* Begins with the files of the first look and the positions kept before; `had_state`: there was a state file.
 * Both are borrowed. */
int weir_file_set_start(struct weir_file_set *s, const struct weir_file_list *found,
                        const struct weir_file_state *kept, bool had_state, struct weir_err *reterr);
/* Reads and sends nothing more, but for events that wait. */
void weir_file_set_stop(struct weir_file_set *s);
bool weir_file_set_idle(const struct weir_file_set *s);
/* Closes its handles; the last positions are written while the loop runs dry. */
void weir_file_set_close(struct weir_file_set *s);
void weir_file_set_destroy(struct weir_file_set *s);

#endif
