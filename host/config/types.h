/* config/types.h - what sources and sinks there are, and which options each takes. The runtime hands the
 * table to weir_app_load; the options that come back (weir_app_stage.options) are checked against it and
 * complete. A type is one constant:
 *
 *     static const struct weir_option tick_options[] = {
 *         {.name = "every", .type = WEIR_OPTION_DURATION, .required = true, .min = 1000000, .text = "time
 * between events"},
 *         {.name = "jitter", .type = WEIR_OPTION_DURATION, .fallback = "0", .text = "how much each one may be
 * late"},
 *     };
 *     const struct weir_app_type weir_tick_type = {.name = "tick", .kind = WEIR_APP_SOURCE, .text = "makes an
 * event …", .options = tick_options, .option_count = 2};
 *
 * and is read with weir_conf_option_duration(stage->options, "every") (config/conf.h). Threads: constants,
 * any. */
#ifndef WEIR_CONFIG_TYPES_H
#define WEIR_CONFIG_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config/app.h"

enum weir_option_type {
    WEIR_OPTION_STRING, /* min, max: its length in bytes */
    WEIR_OPTION_BOOL,
    WEIR_OPTION_INT,
    WEIR_OPTION_NUMBER, /* with a fraction; min and max both 0: any */
    WEIR_OPTION_DURATION, /* min, max in ns */
    WEIR_OPTION_SIZE,     /* min, max in bytes */
    WEIR_OPTION_ENUM,     /* one of `words` */
    WEIR_OPTION_STRINGS,  /* a list of strings, or one string; min, max: how many */
    WEIR_OPTION_ADDRESS,  /* a string: host:port, :port, [v6]:port or unix:PATH (config/address.h) */
    WEIR_OPTION_PATH,     /* a string: a file's path, relative to the folder of weir.yaml. What comes back
                             has that folder before it */
    WEIR_OPTION_PATHS,    /* as STRINGS, each a PATH; read as STRINGS */
    WEIR_OPTION_MAP,      /* a map with `options` of its own; read with weir_conf_option_map, then as
                             options */
    WEIR_OPTION_MAPS,     /* a list of such maps, or one; min, max: how many */
    WEIR_OPTION_CLASS,    /* one of the application's `classes:`; read with weir_conf_option_int: its index */
    WEIR_OPTION_NETWORKS, /* a list of networks, or one (config/network.h); read as STRINGS */
    WEIR_OPTION_NETWORK_CLASSES, /* a map of networks to classes; min, max: how many. Read as MAPS of {network, class} */
    WEIR_OPTION_ANY,      /* any YAML value, as it is; read with weir_conf_option_any. No fallback */
};

struct weir_option {
    const char *name;
    enum weir_option_type type;
    bool required;
    const char *fallback; /* the default, written as in YAML (STRINGS: one string); NULL: none, the option is
                             absent */
    int64_t min, max;     /* max 0: no upper bound */
    const char *const *words; /* ENUM: NULL-terminated */
    const struct weir_option *options; /* MAP, MAPS */
    size_t option_count;
    bool or_true;             /* MAP: `true` stands for an empty one, `false` for none */
    const char *or_option;    /* MAP: what is no map stands for one with just this option. NULL: it is a mistake */
    const char *text;         /* one line for the manual */
};

struct weir_problems;

struct weir_app_type {
    const char *name;
    enum weir_app_kind kind; /* WEIR_APP_SOURCE or WEIR_APP_SINK */
    bool makes_requests;     /* a source whose events hold requests: each can go to one stage only */
    bool makes_streams;      /* a source whose events have an order: stages behind it keep it (order_by: source) unless they say otherwise */
    const char *text;        /* one line for the manual */
    const struct weir_option *options;
    size_t option_count;
    /* What one option alone can't tell: files that it names, how they go together. Called with checked
     * options, when they had no errors, by `weir check` and before a start; reports with config/problems.h
     * at weir_conf_mark of what is wrong. NULL: none. */
    void (*check)(const struct weir_conf *options, struct weir_problems *problems);
};

/* A controller that `controller:` or `admission:` may name. */
struct weir_app_controller_type {
    const char *name;
    enum weir_knob knob;
    const char *text; /* one line for the manual */
    const struct weir_option *options;
    size_t option_count;
};

struct weir_app_types {
    const struct weir_app_type *const *types;
    size_t count;
    const struct weir_app_controller_type *controllers;
    size_t controller_count;
    const struct weir_app_controller_type *script; /* what {script: FILE} takes beside `config`; NULL: there are no scripts */
};

/* The type of that kind and name; NULL: none. `types` may be NULL. */
const struct weir_app_type *weir_app_types_find(const struct weir_app_types *types, enum weir_app_kind kind,
                                                const char *name);

#endif
