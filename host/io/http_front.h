/* io/http_front.h - what an HTTP source decides about a request before any queue has it, and after none
 * would: of which class it is, what it is answered when it was refused.
 *
 *   rules: of the source [const], any thread         desk: of one worker, its thread
 *     address, header ──────────────────────────────> classify(request) ──> its class
 *     script ──> a small VM for each desk                 └─ inside other logic: the request waits for the
 * worker's next turn page                                              refuse(request) ──> the script's
 * answer, the page, or 503 */
#ifndef WEIR_IO_HTTP_FRONT_H
#define WEIR_IO_HTTP_FRONT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "core/source_script.h"
#include "core/value.h"
#include "io/key_rule.h"

struct weir_class_rule;
struct weir_conf;
struct weir_http_page;
struct weir_http_request;
struct weir_http_server;
struct weir_problems;
struct weir_seat;
struct weir_stage;

struct weir_http_rules {
    struct weir_stage *stage;
    struct weir_class_rule *class;                    /* NULL: header and address don't matter */
    struct weir_key_rule key;
    struct weir_source_script_maker classify, answer; /* make NULL: there is no such script */
    struct weir_http_page *page;                      /* NULL: the built-in one */
};

/* A line in the log at most once a second. */
struct weir_http_seldom {
    uint64_t last_ns, left_out;
};

struct weir_http_desk {
    const struct weir_http_rules *rules;
    struct weir_source_script *classify, *answer; /* NULL: none */
    struct weir_http_seldom headers, classes, answers;
};

/* For weir_app_type.check. */
void weir_http_front_check_options(const struct weir_conf *options, struct weir_problems *problems);
/* Control thread. On failure nothing is left to close. */
int weir_http_rules_open(struct weir_stage *stage, const struct weir_conf *options,
                         struct weir_http_rules *ret, struct weir_err *reterr);
/* All desks are closed. All zero: nothing. */
void weir_http_rules_close(struct weir_http_rules *rules);

/* Control thread. On failure nothing is left to close. */
int weir_http_desk_open(struct weir_http_desk *d, const struct weir_http_rules *rules, struct weir_seat *seat,
                        struct weir_err *reterr);
/* Its scripts end; it goes on without them. Worker thread, or the one that opened it when the worker was
 * never started. Again: nothing. */
void weir_http_desk_close(struct weir_http_desk *d);
/* Whether classify would run logic inside other logic: ask in a turn of its own. Worker thread. */
bool weir_http_desk_must_wait(const struct weir_http_desk *d);
/* The class of `r`. Worker thread. */
uint8_t weir_http_desk_classify(struct weir_http_desk *d, struct weir_http_request *r);
/* The key of its event, the caller's reference; nil: none. Worker thread. */
struct weir_value weir_http_desk_key(const struct weir_http_desk *d, struct weir_http_request *r);
/* Answers `r`, which was refused or dropped; for weir_http_options.on_reject. */
void weir_http_desk_refuse(struct weir_http_desk *d, struct weir_http_request *r);

#endif
