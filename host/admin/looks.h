/* admin/looks.h - what is under way between the admin interface and the workers: questions that wait for their answers, stages
 * that are paused, taps. Owner: the admin interface. Threads: all functions on the control thread. */
#ifndef WEIR_ADMIN_LOOKS_H
#define WEIR_ADMIN_LOOKS_H

#include <stdbool.h>
#include <uv.h>

#include "base/err.h"
#include "base/list.h"
#include "core/queue_look.h"

struct weir_graph;
struct weir_http_request;
struct weir_looks;
struct weir_route_answer;

/* Something that wants to be looked after while it lasts. Embedded by its owner. */
struct weir_looks_chore {
    struct weir_list node;
    /* Every 50 ms. false: it has ended, and is the caller's no more. */
    bool (*tick)(struct weir_looks_chore *c, uint64_t now_ns);
    /* The admin interface closes: ends it at once. */
    void (*close)(struct weir_looks_chore *c);
};

int weir_looks_create(struct weir_graph *graph, uv_loop_t *loop, struct weir_looks **ret, struct weir_err *reterr);
/* Answers what waits, ends taps and closes the handles; the loop must run until they are gone. Takes NULL. */
void weir_looks_close(struct weir_looks *l);
/* After close and the last worker. Takes NULL. */
void weir_looks_destroy(struct weir_looks *l);

/* Asks the workers, and answers `r`, which it takes, by what `answer` makes of what they said: when all have answered, or after a second
 * (weir_look_missing tells who has not). */
void weir_looks_ask(struct weir_looks *l, const struct weir_look_options *o, struct weir_http_request *r,
                    void (*answer)(struct weir_look *look, struct weir_stage *stage, struct weir_route_answer *ret));
/* Looks after `c` from now on. */
void weir_looks_add(struct weir_looks *l, struct weir_looks_chore *c);
/* A stage was paused: what waits there must be looked after, since nobody takes it. */
void weir_looks_note_pause(struct weir_looks *l);

#endif
