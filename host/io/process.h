/* io/process.h - a program that a handler runs (weir.spawn): its input, output and end by a worker's loop.
 *
 *   start ──> runs ──> has ended ──> done ──> close
 *              └── timeout, too much output, close: TERM to its process group, KILL after a grace ──^
 *
 * Standard input is a pipe (or /dev/null), output and errors are pipes; it inherits no other descriptor, no signal mask and no ignored
 * signal. What it wrote itself is read to the end; what programs that it leaves behind write later is not.
 * Owner: its opener, from start to close. A closed one ends it, and frees itself when it is gone. Threads: the worker's. */
#ifndef WEIR_IO_PROCESS_H
#define WEIR_IO_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/strbuf.h"
#include "io/holder.h"

struct weir_process;
struct weir_worker;

struct weir_process_options {
    char *const *argv; /* NULL-terminated; the first is looked up in PATH */
    char *const *env;  /* NULL-terminated NAME=value; NULL: the host's */
    const char *cwd;   /* NULL: the host's */
    const void *input; /* copied; NULL: /dev/null */
    size_t input_len;
    size_t max_output;   /* bytes of output and errors together; more: TOO_LARGE */
    struct weir_holder *holder; /* answers for input, output and errors until it is closed; NULL: nobody */
    uint64_t timeout_ns; /* 0: none */
};

/* What the opener looks at. */
struct weir_process {
    void (*done)(struct weir_process *p); /* it has ended. Worker thread, never inside a function of this header */
    void *arg;                            /* the opener's */
    int status, signal;                   /* its exit status, or the signal that ended it (0: none) */
    struct weir_strbuf output, errors;
    const char *code; /* why it was ended: "TIMEOUT", "TOO_LARGE", "ENOMEM" (or its holder refused); NULL: it was not */
};

/* WEIR_E_IO: it can't be started; `ret_code` is a name such as "ENOENT" then (set on every failure). WEIR_E_LIMIT: its holder refuses the
 * input. */
int weir_process_start(struct weir_worker *w, const struct weir_process_options *o, void (*done)(struct weir_process *p), void *arg,
                       struct weir_process **ret, const char **ret_code, struct weir_err *reterr);
/* Nobody waits for it any more: what it has read and is to read is freed. Takes NULL. */
void weir_process_close(struct weir_process *p);

#endif
