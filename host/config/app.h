/* config/app.h - an application as its weir.yaml says it: plain structures, defaults filled in, everything
 * checked that can be checked without loading a script. Owner: the caller of weir_app_load; read-only after
 * it. Threads: any, once loaded. */
#ifndef WEIR_CONFIG_APP_H
#define WEIR_CONFIG_APP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/strbuf.h"
#include "config/mark.h"
#include "core/policy.h"

struct weir_conf; /* config/conf.h: a YAML subtree, for `config:` given to handlers */

/* What moves a knob: a type and its checked settings. */
struct weir_app_controller {
    const char *name; /* NULL: nothing moves it */
    const char *script; /* the application's own: a file, relative to the folder; `name` is its name then. NULL: it is one of the host's */
    const struct weir_conf *config; /* `config:`, for a script; NULL: none */
    const struct weir_conf *options; /* of that type, complete (config/types.h) */
    struct weir_app_mark at;
};

struct weir_app_pool {
    const char *name;
    unsigned min, max; /* equal for a fixed size */
    bool blocking;
    struct weir_app_controller controller; /* of a range */
    struct weir_app_mark at;
};

/* What happens at a full queue; `stage` only with WEIR_OVERFLOW_ROUTE. */
struct weir_app_overflow {
    enum weir_overflow policy;
    const char *stage;
    struct weir_app_mark at;
    size_t target; /* index of `stage` in weir_app.stages, with WEIR_OVERFLOW_ROUTE */
};

struct weir_app_edge {
    const char *stage; /* the target's name; checked to exist */
    size_t target;     /* its index in weir_app.stages */
    bool overrides;    /* the edge has an overflow of its own */
    struct weir_app_overflow overflow;
    struct weir_app_mark at;
};

struct weir_app_port {
    const char *name;
    struct weir_app_edge *edges; /* more than one: fan-out */
    size_t edge_count;
    struct weir_app_mark at;
};

enum weir_app_kind { WEIR_APP_SOURCE, WEIR_APP_HANDLER, WEIR_APP_PLUGIN, WEIR_APP_SINK };

struct weir_app_stage {
    const char *name;
    enum weir_app_kind kind;
    const char *what; /* source or sink type, handler file, plugin name, as written */
    struct weir_app_mark at, what_at;
    const char *pool;
    size_t pool_index;
    struct weir_app_mark pool_at; /* where the pool is named; nowhere when it is main by default */
    struct weir_app_port *ports;
    size_t port_count;
    size_t capacity, bytes; /* queue bounds */
    uint64_t max_age_ns;    /* 0: none */
    struct weir_app_overflow overflow;
    enum weir_order order;
    const char *order_by; /* NULL or "none": none; "key", "source", else the name of a field */
    const char *fair_by;  /* NULL: nothing; else as order_by, which is none then */
    unsigned batch_min, batch_max;
    struct weir_app_controller batch; /* of a range that the file gives */
    struct weir_app_controller *admission; /* of its gate, in the file's order; none: it has no gate */
    size_t admission_count;
    unsigned concurrency;
    uint64_t slice_ns, stall_ns, cpu_ns, wall_ns;
    size_t memory;     /* per VM */
    const char **libs; /* names; {"safe"} or {"all"} or a list */
    size_t lib_count;
    const struct weir_conf *config; /* the handler's `config:`; NULL: none */
    /* Sources and sinks: every option of the type, defaults filled in, read by weir_conf_option_…
     * (config/conf.h). */
    const struct weir_conf *options; /* NULL for all other stages */
    uint64_t deadline_ns;            /* of the events a source makes; 0: none */
    struct weir_app_edge on_error;   /* gets failed events; never waits; stage NULL: none */
    bool keep_state;                 /* `state: keep`, the default, over a reload */
    unsigned written;                /* host/config's own: which limits the file sets */
    bool script_unknown; /* only after WEIR_E_CONFIG: the script or its libraries could not be read from the
                            file, which has been told; not to be loaded */
};

/* The admin API on TCP: `admin: {listen: 127.0.0.1:9901, token_file: …}`. */
struct weir_app_admin {
    const char *listen;     /* NULL: not asked for */
    const char *token_file; /* relative to the folder; NULL: none, and `listen` is loopback then */
    struct weir_app_mark at;
};

/* A table that all workers share: `shared: {sessions: {bytes: 64MiB, ttl: 10m}}`. */
struct weir_app_shared {
    const char *name;
    size_t bytes;
    uint64_t ttl_ns; /* of entries that are given none; 0: they never expire */
    struct weir_app_mark at;
};

/* `overload:`, what the process may use and what is done about it (controller/overload.h). */
struct weir_app_overload {
    bool off;
    double limit[WEIR_RESOURCE_COUNT]; /* bytes, descriptors, seconds; 0: what the system allows */
    double at[WEIR_RESOURCE_COUNT][WEIR_RELIEF_COUNT]; /* share of the limit from which on something is done; INFINITY: never */
    double hysteresis;
    uint64_t every_ns, hold_ns;
};

struct weir_app {
    const char *name;
    const char *file;   /* path of the YAML file, for messages */
    const char *folder; /* what handler files are relative to */
    const char **classes;
    size_t class_count;
    const char *default_class_name; /* 'normal' if it is among them, else the middle one */
    size_t default_class;
    struct weir_app_pool *pools; /* [0] is 'main' */
    size_t pool_count;
    struct weir_app_stage *stages; /* in the order of the file */
    size_t stage_count;
    uint64_t drain_ns; /* how long a stop may take: `drain: 30s` */
    struct weir_app_admin admin;
    struct weir_app_overload overload;
    struct weir_app_shared *shared; /* in the order of the file */
    size_t shared_count;
    struct weir_app_shared shared_any; /* `"*"`: what every other name gets; name NULL: there are no others */
    const struct weir_sources *sources; /* the texts that marks point into, for weir_app_report */
    struct weir_arena *arena;           /* everything above lives in it */
};

/* A `--set` of the command line: path ("stages.page.batch") and value, as YAML text. */
struct weir_app_override {
    const char *path, *value;
};

/* What the file may name: registered source and sink types with the options they take (config/types.h). */
struct weir_app_types;
struct weir_sources;
struct weir_arena;

/* Loads `path`, a YAML file or a folder with a weir.yaml. On failure the problems, all of them, each with its
 * caret lines, are appended to `report` (also warnings on success), and reterr holds a summary. *ret is to be
 * freed whatever came of it: after WEIR_E_CONFIG it may be the application as far as it goes, good only for
 * looking for more mistakes (its stages, their scripts); after any other error it is NULL. Errors: CONFIG,
 * NOTFOUND and IO (both are in the report too), NOMEM. `types` and `sets` are not kept. Reads the environment
 * for ${NAME}. */
int weir_app_load(const char *path, const struct weir_app_override *sets, size_t set_count,
                  const struct weir_app_types *types, struct weir_strbuf *report, struct weir_app **ret,
                  struct weir_err *reterr);
/* The same from memory, `name` standing for the file in messages and `folder` being what files are relative
 * to. */
int weir_app_parse(const char *text, size_t len, const char *name, const char *folder,
                   const struct weir_app_override *sets, size_t set_count, const struct weir_app_types *types,
                   struct weir_strbuf *report, struct weir_app **ret, struct weir_err *reterr);
/* Takes NULL. */
void weir_app_free(struct weir_app *app);

/* Appends "file:line:col: error: text" with the source line and a caret to `report`, for problems found after
 * loading. */
void weir_app_report(const struct weir_app *app, struct weir_app_mark at, struct weir_strbuf *report,
                     const char *fmt, ...) __attribute__((format(printf, 4, 5)));

#endif
