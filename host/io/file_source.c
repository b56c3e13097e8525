#include "io/file_source.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/strbuf.h"
#include "config/conf.h"
#include "config/problems.h"
#include "config/types.h"
#include "core/graph.h"
#include "core/seat.h"
#include "core/source.h"
#include "core/stage.h"
#include "core/worker.h"
#include "io/class_rule.h"
#include "io/file_set.h"
#include "io/sole.h"

enum { TAIL, WHOLE };
static const char *const mode_words[] = {"tail", "whole", NULL};
enum { START, END };
static const char *const from_words[] = {"start", "end", NULL};

static const struct weir_option options_of_file[] = {
    WEIR_CLASS_OPTION,
    {.name = "path", .type = WEIR_OPTION_PATH, .text = "the file, or a pattern with * ? [...]"},
    {.name = "paths", .type = WEIR_OPTION_PATHS, .min = 1, .max = 1000, .text = "several of them"},
    {.name = "mode",
     .type = WEIR_OPTION_ENUM,
     .fallback = "tail",
     .words = mode_words,
     .text = "tail: files are followed as they grow; whole: each is read once, one after the other"},
    {.name = "from",
     .type = WEIR_OPTION_ENUM,
     .fallback = "end",
     .words = from_words,
     .text = "tail: start or end: where files begin that are there when it starts for the first time; later "
             "ones are read from their start"},
    WEIR_FRAMING_OPTIONS,
    {.name = "with_path",
     .type = WEIR_OPTION_BOOL,
     .fallback = "false",
     .text = "the events are {path, line, offset} instead of the line alone"},
    {.name = "poll",
     .type = WEIR_OPTION_DURATION,
     .fallback = "1s",
     .min = 10 * WEIR_NS_PER_MS,
     .text = "tail: how often it looks for itself, beside what the system (inotify) tells"},
    {.name = "rotate_wait",
     .type = WEIR_OPTION_DURATION,
     .fallback = "5s",
     .min = 0,
     .text = "tail: how long a file that was moved or deleted is followed still"},
    {.name = "flush_after",
     .type = WEIR_OPTION_DURATION,
     .min = WEIR_NS_PER_MS,
     .text = "tail, lines: a last line without its end is an event when nothing was added for so long; never "
             "unless given"},
    {.name = "max_open",
     .type = WEIR_OPTION_INT,
     .fallback = "512",
     .min = 1,
     .max = 1000000,
     .text = "files open at once; others wait their turn"},
    {.name = "state",
     .type = WEIR_OPTION_PATH,
     .text = "a file in which positions are kept over restarts; none unless given"},
    {.name = "stop_when_done",
     .type = WEIR_OPTION_BOOL,
     .fallback = "true",
     .text = "whole: after the last file the host finishes what is in flight and ends"},
};

static void check_tail_only(const struct weir_conf *options, struct weir_problems *problems)
{
    static const char *const names[] = {"from", "poll", "rotate_wait", "flush_after"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (weir_conf_option_given(options, names[i]))
            weir_problems_error(problems, weir_conf_mark(weir_conf_get(options, names[i])),
                                "'%s' has no meaning with 'mode: whole', which reads each file once",
                                names[i]);
}

static void check(const struct weir_conf *options, struct weir_problems *problems)
{
    struct weir_framing framing;
    struct weir_err err;
    bool one = weir_conf_option_given(options, "path"), several = weir_conf_option_given(options, "paths");
    if (one == several)
        weir_problems_error(problems, weir_conf_mark(several ? weir_conf_get(options, "paths") : options),
                            one ? "there is both 'path' and 'paths'; put them all into 'paths'"
                                : "source 'file' needs 'path' (a file or a pattern) or 'paths'");
    if (weir_framing_from_options(options, &framing, &err) < 0)
        weir_problems_error(problems, weir_conf_mark(options), "%s", err.text);
    else if (framing.kind != WEIR_FRAMING_LINE && weir_conf_option_given(options, "flush_after"))
        weir_problems_error(problems, weir_conf_mark(weir_conf_get(options, "flush_after")),
                            "'flush_after' is for lines only");
    if (weir_conf_option_enum(options, "mode") == WHOLE)
        check_tail_only(options, problems);
    else if (weir_conf_option_given(options, "stop_when_done"))
        weir_problems_error(problems, weir_conf_mark(weir_conf_get(options, "stop_when_done")),
                            "'stop_when_done' is for 'mode: whole': files that are followed have no end");
}

const struct weir_app_type weir_file_source_type = {
    .name = "file",
    .kind = WEIR_APP_SOURCE,
    .makes_streams = true,
    .text = "makes an event of each line, or other frame, of files",
    .options = options_of_file,
    .option_count = sizeof options_of_file / sizeof *options_of_file,
    .check = check,
};

struct maker {
    struct weir_stage *stage;           /* [const] */
    struct weir_file_settings settings; /* [const] */
    const char **patterns;              /* [const] */
    struct weir_file_totals totals;
    struct weir_file_list found; /* [const] by the first look */
    struct weir_file_state kept; /* [const] */
    bool had_state;              /* [const] */
};

struct instance {
    struct weir_source base; /* first */
    struct maker *maker;     /* [const] */
    struct weir_file_set *set;
};

static struct instance *instance_of(const struct weir_source *s)
{
    return (struct instance *)(uintptr_t)s; /* the source is its first member */
}

static int start(struct weir_source *s, struct weir_err *reterr)
{
    struct instance *in = instance_of(s);
    struct maker *k = in->maker;
    return weir_file_set_start(in->set, &k->found, &k->kept, k->had_state, reterr);
}

static void stop(struct weir_source *s)
{
    assert(weir_sole_ends(s->seat));
    weir_file_set_stop(instance_of(s)->set);
}

static bool idle(const struct weir_source *s)
{
    return weir_file_set_idle(instance_of(s)->set);
}

static void close_source(struct weir_source *s)
{
    weir_file_set_close(instance_of(s)->set);
}

static void destroy(struct weir_source *s)
{
    struct instance *in = instance_of(s);
    weir_file_set_destroy(in->set);
    weir_free(in);
}

static const struct weir_source_ops ops = {
    .start = start, .stop = stop, .idle = idle, .close = close_source, .destroy = destroy};

static int make(void *self, struct weir_seat *seat, struct weir_source **ret, struct weir_err *reterr)
{
    struct maker *k = self;
    struct weir_source *made = NULL;
    int rc = weir_sole_make(seat, sizeof(struct instance), &ops, &made, reterr);
    if (made == NULL)
        return rc;
    struct instance *in = instance_of(made);
    in->maker = k;
    rc = weir_file_set_create(&k->settings, &k->totals, seat, &in->set, reterr);
    if (rc < 0) {
        weir_free(in);
        return rc;
    }
    *ret = made;
    return WEIR_OK;
}

static void stats(void *self, struct weir_strbuf *out)
{
    struct maker *k = self;
    struct weir_file_totals *t = &k->totals;
    const struct {
        const char *name;
        _Atomic uint64_t *count;
    } counts[] = {{"files", &t->files},
                  {"open", &t->open},
                  {"rotated", &t->rotated},
                  {"truncated", &t->truncated},
                  {"errors", &t->errors}};
    weir_intake_counts_print(&t->intake, out);
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        weir_strbuf_addf(out, ",\"%s\":%" PRIu64, counts[i].name,
                         atomic_load_explicit(counts[i].count, memory_order_relaxed));
}

static void destroy_maker(void *self)
{
    struct maker *k = self;
    weir_file_list_fini(&k->found);
    weir_file_state_fini(&k->kept);
    weir_free(k->patterns);
    weir_free(k);
}

/* ---- opening ---- */

static int read_options(struct maker *k, const struct weir_conf *options, struct weir_err *reterr)
{
    struct weir_file_settings *s = &k->settings;
    bool one = weir_conf_option_given(options, "path");
    s->pattern_count = one ? 1 : weir_conf_option_list_size(options, "paths");
    k->patterns = weir_calloc(s->pattern_count, sizeof *k->patterns);
    if (k->patterns == NULL)
        return weir_err_set(reterr, WEIR_E_NOMEM, "stage '%s': out of memory", k->stage->name);
    for (size_t i = 0; i < s->pattern_count; i++)
        k->patterns[i] =
            one ? weir_conf_option_string(options, "path") : weir_conf_option_list_at(options, "paths", i);
    s->patterns = k->patterns;
    s->whole = weir_conf_option_enum(options, "mode") == WHOLE;
    s->from_end = weir_conf_option_enum(options, "from") == END;
    s->with_path = weir_conf_option_bool(options, "with_path");
    s->stop_when_done = s->whole && weir_conf_option_bool(options, "stop_when_done");
    s->poll_ns = weir_conf_option_duration(options, "poll");
    s->rotate_wait_ns = weir_conf_option_duration(options, "rotate_wait");
    s->flush_after_ns = weir_conf_option_duration(options, "flush_after");
    s->max_open = (size_t)weir_conf_option_int(options, "max_open");
    s->state = weir_conf_option_string(options, "state");
    return weir_framing_from_options(options, &s->framing, reterr);
}

/* A file that is to be read once has to be there; one that is followed may come later. */
static int check_there(const struct maker *k, struct weir_err *reterr)
{
    for (size_t i = 0; i < k->settings.pattern_count; i++) {
        const char *path = k->patterns[i];
        if (k->settings.whole && !weir_file_is_pattern(path) && access(path, R_OK) != 0)
            return weir_err_set(reterr, WEIR_E_IO, "stage '%s': %s: %s", k->stage->name, path,
                                strerror(errno));
    }
    if (k->found.count == 0)
        weir_log(WEIR_LOG_INFO, "file", NULL, "stage '%s': there is no file yet: %s%s", k->stage->name,
                 k->patterns[0], k->settings.pattern_count > 1 ? " …" : "");
    return WEIR_OK;
}

/* Reads the positions, and writes them right away: a place that can't be written to is a mistake to be told
 * at the start. */
static int open_state(struct maker *k, struct weir_err *reterr)
{
    struct weir_err why;
    int rc = weir_file_state_read(k->settings.state, &k->kept, &why);
    k->had_state = rc == WEIR_OK;
    if (rc < 0 && rc != WEIR_E_NOTFOUND)
        return weir_err_set(reterr, rc, "stage '%s': %s", k->stage->name, why.text);
    struct weir_strbuf text = WEIR_STRBUF_INIT;
    weir_file_state_begin(&text);
    for (size_t i = 0; i < k->kept.count; i++)
        weir_file_state_add(&text, &k->kept.positions[i]);
    rc = text.failed ? -ENOMEM : weir_file_state_write(k->settings.state, text.data, text.len);
    weir_strbuf_fini(&text);
    if (rc < 0)
        return weir_err_set(reterr, WEIR_E_IO, "stage '%s': the positions can't be written to %s: %s",
                            k->stage->name, k->settings.state, strerror(-rc));
    return WEIR_OK;
}

int weir_file_source_open(struct weir_stage *stage, const struct weir_conf *options,
                          struct weir_source_maker *ret, char *bound, size_t size, struct weir_err *reterr)
{
    (void)bound; /* it has no address */
    (void)size;
    struct maker *k = weir_calloc(1, sizeof *k);
    if (k == NULL)
        return weir_err_set(reterr, WEIR_E_NOMEM, "stage '%s': out of memory", stage->name);
    k->stage = stage;
    int rc = read_options(k, options, reterr);
    if (rc == WEIR_OK && weir_file_list_fill(&k->found, k->patterns, k->settings.pattern_count) < 0)
        rc = weir_err_set(reterr, WEIR_E_NOMEM, "stage '%s': out of memory", stage->name);
    if (rc == WEIR_OK)
        rc = check_there(k, reterr);
    if (rc == WEIR_OK && k->settings.state != NULL)
        rc = open_state(k, reterr);
    if (rc < 0) {
        destroy_maker(k);
        return rc;
    }
    if (k->settings.stop_when_done)
        weir_graph_expect_end(stage->graph);
    *ret = (struct weir_source_maker){.make = make, .stats = stats, .destroy = destroy_maker, .self = k};
    return WEIR_OK;
}
