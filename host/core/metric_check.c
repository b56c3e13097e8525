/* What a metric may be called: Prometheus's rules, and the names that are taken. */
#include <ctype.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "core/metric.h"

static bool is_word(const char *s)
{
    if (*s == '\0' || isdigit((unsigned char)*s))
        return false;
    for (; *s != '\0'; s++)
        if (!(isalnum((unsigned char)*s) && (unsigned char)*s < 0x80) && *s != '_')
            return false;
    return true;
}

static bool ends_in(const char *s, const char *end)
{
    size_t len = strlen(s), end_len = strlen(end);
    return len >= end_len && strcmp(s + len - end_len, end) == 0;
}

const char *weir_metric_type_text(enum weir_metric_type type)
{
    static const char *const texts[] = {"counter", "gauge", "histogram"};
    return texts[type];
}

static int check_name(const struct weir_metric_spec *spec, struct weir_err *reterr)
{
    static const char *const reserved[] = {"_bucket", "_count", "_sum"};
    const char *type = weir_metric_type_text(spec->type), *name = spec->name;
    if (!is_word(name) || strlen(name) > WEIR_METRIC_NAME_MAX)
        return weir_err_set(reterr, WEIR_E_INVAL,
                            "%s '%.80s': a name has letters, digits (not first) and _, at most %d of them",
                            type, name, WEIR_METRIC_NAME_MAX);
    if (strncmp(name, "weir_", 5) == 0 || strncmp(name, "process_", 8) == 0)
        return weir_err_set(reterr, WEIR_E_INVAL,
                            "%s '%s': names that begin with weir_ or process_ are the host's", type, name);
    for (size_t i = 0; i < sizeof reserved / sizeof reserved[0]; i++)
        if (ends_in(name, reserved[i]))
            return weir_err_set(reterr, WEIR_E_INVAL,
                                "%s '%s': names that end in %s are those of a histogram's parts", type, name,
                                reserved[i]);
    if (spec->type != WEIR_METRIC_COUNTER && ends_in(name, "_total"))
        return weir_err_set(reterr, WEIR_E_INVAL, "%s '%s': only counters' names end in _total", type, name);
    return WEIR_OK;
}

static int check_labels(const struct weir_metric_spec *spec, struct weir_err *reterr)
{
    const char *type = weir_metric_type_text(spec->type);
    if (spec->label_count > WEIR_METRIC_LABELS_MAX)
        return weir_err_set(reterr, WEIR_E_INVAL, "%s '%s': %zu labels, at most %d are allowed", type,
                            spec->name, spec->label_count, WEIR_METRIC_LABELS_MAX);
    for (size_t i = 0; i < spec->label_count; i++) {
        const char *label = spec->labels[i].name;
        if (!is_word(label) || strncmp(label, "__", 2) == 0 || strlen(label) > WEIR_METRIC_NAME_MAX)
            return weir_err_set(reterr, WEIR_E_INVAL,
                                "%s '%s': label '%.80s': a name has letters, digits (not first) and _, but "
                                "no __ at its start",
                                type, spec->name, label);
        if (strcmp(label, "le") == 0 || strcmp(label, "quantile") == 0)
            return weir_err_set(reterr, WEIR_E_INVAL, "%s '%s': the label '%s' belongs to Prometheus", type,
                                spec->name, label);
    }
    return WEIR_OK;
}

static int check_bounds(const struct weir_metric_spec *spec, struct weir_err *reterr)
{
    if (spec->bounds == NULL)
        return WEIR_OK;
    if (spec->bound_count == 0 || spec->bound_count > WEIR_METRIC_BOUNDS_MAX)
        return weir_err_set(reterr, WEIR_E_INVAL, "histogram '%s': it has 1 to %d buckets, not %zu",
                            spec->name, WEIR_METRIC_BOUNDS_MAX, spec->bound_count);
    for (size_t i = 0; i < spec->bound_count; i++)
        if (!isfinite(spec->bounds[i]) || (i > 0 && spec->bounds[i] <= spec->bounds[i - 1]))
            return weir_err_set(
                reterr, WEIR_E_INVAL,
                "histogram '%s': the bounds of its buckets must be ascending numbers; number %zu is not",
                spec->name, i + 1);
    return WEIR_OK;
}

int weir_metric_check(const struct weir_metric_spec *spec, struct weir_err *reterr)
{
    int rc = check_name(spec, reterr);
    if (rc == WEIR_OK)
        rc = check_labels(spec, reterr);
    return rc == WEIR_OK ? check_bounds(spec, reterr) : rc;
}
