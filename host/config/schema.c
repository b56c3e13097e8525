#include "config/schema.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "config/nearest.h"
#include "config/units.h"

/* "'text'", or "a map" and the like where there is no text to show. */
static const char *describe(const struct weir_conf *c, char out[64])
{
    const char *text = weir_conf_text(c);
    if (text == NULL && weir_conf_kind(c) != WEIR_CONF_NIL && weir_conf_size(c) == 0)
        return weir_conf_kind(c) == WEIR_CONF_MAP ? "an empty map" : "an empty list";
    if (text == NULL || *text == '\0')
        return weir_conf_kind(c) == WEIR_CONF_STRING ? "an empty string" : weir_conf_kind_text(c);
    snprintf(out, 64, "'%.40s%s'", text, strlen(text) > 40 ? "..." : "");
    return out;
}

void weir_schema_expected(struct weir_schema *s, const struct weir_conf *c, const char *label,
                          const char *what)
{
    char found[64];
    if (c == NULL || !c->bad)
        weir_problems_error(s->problems, weir_conf_mark(c), "'%s': expected %s, found %s", label, what,
                            describe(c, found));
}

bool weir_schema_int(struct weir_schema *s, const struct weir_conf *c, const char *label, int64_t min,
                     int64_t max, int64_t *ret)
{
    if (weir_conf_kind(c) == WEIR_CONF_INT && c->u.integer >= min && c->u.integer <= max) {
        *ret = c->u.integer;
        return true;
    }
    char what[96];
    if (max == INT64_MAX)
        snprintf(what, sizeof what, "a whole number from %" PRId64, min);
    else
        snprintf(what, sizeof what, "a whole number from %" PRId64 " to %" PRId64, min, max);
    weir_schema_expected(s, c, label, what);
    return false;
}

bool weir_schema_unsigned(struct weir_schema *s, const struct weir_conf *c, const char *label, unsigned min,
                          unsigned max, unsigned *ret)
{
    int64_t value;
    if (!weir_schema_int(s, c, label, min, max, &value))
        return false;
    *ret = (unsigned)value; /* between two unsigned ones */
    return true;
}

bool weir_schema_count(struct weir_schema *s, const struct weir_conf *c, const char *label, size_t min,
                       size_t max, size_t *ret)
{
    int64_t value;
    if (!weir_schema_int(s, c, label, (int64_t)min, (int64_t)max, &value))
        return false;
    *ret = (size_t)value;
    return true;
}

bool weir_schema_number(struct weir_schema *s, const struct weir_conf *c, const char *label, double min,
                        double max, double *ret)
{
    double value = weir_conf_float(c);
    bool number = weir_conf_kind(c) == WEIR_CONF_INT || weir_conf_kind(c) == WEIR_CONF_FLOAT;
    if (number && value >= min && value <= max) {
        *ret = value;
        return true;
    }
    char what[96];
    snprintf(what, sizeof what, "a number from %g to %g", min, max);
    weir_schema_expected(s, c, label, what);
    return false;
}

bool weir_schema_bool(struct weir_schema *s, const struct weir_conf *c, const char *label, bool *ret)
{
    if (weir_conf_kind(c) != WEIR_CONF_BOOL) {
        weir_schema_expected(s, c, label, "true or false");
        return false;
    }
    *ret = c->u.boolean;
    return true;
}

/* What durations and sizes have in common: the text of a scalar (a nil has none) and a range. */
static bool read_quantity(struct weir_schema *s, const struct weir_conf *c, const char *label, uint64_t min,
                          uint64_t max, bool duration, uint64_t *ret)
{
    const char *text = weir_conf_text(c);
    struct weir_err err;
    uint64_t value;
    if (text == NULL || c->kind == WEIR_CONF_NIL || c->bad || strlen(text) != c->len) {
        weir_schema_expected(s, c, label, duration ? "a duration such as 10ms" : "a size such as 64KiB");
        return false;
    }
    if ((duration ? weir_duration_parse : weir_size_parse)(text, &value, &err) < 0) {
        weir_problems_error(s->problems, c->at, "'%s': %s", label, err.text);
        return false;
    }
    if (value >= min && value <= max) {
        *ret = value;
        return true;
    }
    char low[WEIR_UNITS_TEXT], high[WEIR_UNITS_TEXT], what[96];
    const char *(*format)(uint64_t, char[WEIR_UNITS_TEXT]) =
        duration ? weir_duration_format : weir_size_format;
    snprintf(what, sizeof what, max >= INT64_MAX ? "a %s from %s" : "a %s from %s to %s",
             duration ? "duration" : "size", format(min, low), format(max, high));
    weir_schema_expected(s, c, label, what);
    return false;
}

bool weir_schema_duration(struct weir_schema *s, const struct weir_conf *c, const char *label,
                          uint64_t min_ns, uint64_t max_ns, uint64_t *ret)
{
    return read_quantity(s, c, label, min_ns, max_ns, true, ret);
}

bool weir_schema_size(struct weir_schema *s, const struct weir_conf *c, const char *label, uint64_t min,
                      uint64_t max, size_t *ret)
{
    uint64_t value;
    if (!read_quantity(s, c, label, min, max, false, &value))
        return false;
    *ret = (size_t)value;
    return true;
}

bool weir_schema_string(struct weir_schema *s, const struct weir_conf *c, const char *label, const char **ret)
{
    enum weir_conf_kind kind = weir_conf_kind(c);
    bool is_text = kind == WEIR_CONF_STRING || kind == WEIR_CONF_INT || kind == WEIR_CONF_FLOAT;
    if (!is_text || c->bad || c->len == 0 || strlen(c->text) != c->len) {
        weir_schema_expected(s, c, label, "a string");
        return false;
    }
    *ret = c->text;
    return true;
}

bool weir_schema_reference(struct weir_schema *s, const struct weir_conf *c, const char *label,
                           const char **ret)
{
    const char *text = weir_conf_text(c);
    if (text == NULL || c->bad || c->len == 0 || strcmp(text, "~") == 0 || strlen(text) != c->len) {
        weir_schema_expected(s, c, label, "a name");
        return false;
    }
    *ret = text;
    return true;
}

/* "a, b or c" for a list of words, cut when there are very many. */
static void list_words(const char *const *words, const char *last_joint, char *out, size_t size)
{
    size_t len = 0;
    out[0] = '\0';
    for (size_t i = 0; words[i] != NULL && len < size; i++) {
        const char *joint = i == 0 ? "" : words[i + 1] == NULL ? last_joint : ", ";
        int n = snprintf(out + len, size - len, "%s%s", joint, words[i]);
        len += n > 0 ? (size_t)n : 0;
    }
}

bool weir_schema_word(struct weir_schema *s, const struct weir_conf *c, const char *label,
                      const char *const *words, size_t *ret)
{
    const char *text = weir_conf_text(c);
    for (size_t i = 0; text != NULL && words[i] != NULL; i++) {
        if (strcmp(words[i], text) == 0 && !c->bad) {
            *ret = i;
            return true;
        }
    }
    char list[256], found[64];
    const char *near = text != NULL && !c->bad ? weir_nearest_of(text, words) : NULL;
    list_words(words, " or ", list, sizeof list);
    if (near != NULL)
        weir_problems_error(s->problems, c->at, "'%s': expected %s, found %s (did you mean '%s'?)", label,
                            list, describe(c, found), near);
    else
        weir_schema_expected(s, c, label, list);
    return false;
}

void weir_schema_unknown(struct weir_schema *s, struct weir_app_mark at, const char *key, const char *where,
                         const char *const *known)
{
    char list[384];
    if (weir_problems_many(s->problems)) {
        weir_problems_error(s->problems, at, "unknown key '%.80s' in %s", key, where);
        return;
    }
    const char *near = weir_nearest_of(key, known);
    list_words(known, ", ", list, sizeof list);
    if (near != NULL)
        weir_problems_error(s->problems, at, "unknown key '%.80s' in %s (did you mean '%s'?)", key, where,
                            near);
    else
        weir_problems_error(s->problems, at, "unknown key '%.80s' in %s (known: %s)", key, where, list);
}

bool weir_schema_map(struct weir_schema *s, const struct weir_conf *c, const char *label,
                     const char *const *known)
{
    if (weir_conf_kind(c) != WEIR_CONF_MAP) {
        weir_schema_expected(s, c, label, "a map");
        return false;
    }
    char where[WEIR_SCHEMA_NAME_MAX + 8];
    snprintf(where, sizeof where, "'%s'", label);
    for (size_t i = 0; i < weir_conf_size(c); i++) {
        const char *key = weir_conf_key(c, i);
        size_t k = 0;
        while (known[k] != NULL && strcmp(known[k], key) != 0)
            k++;
        if (known[k] == NULL)
            weir_schema_unknown(s, weir_conf_key_mark(c, i), key, where, known);
    }
    return true;
}

bool weir_schema_check_name(struct weir_schema *s, struct weir_app_mark at, const char *what,
                            const char *name)
{
    static const char rest[] = "abcdefghijklmnopqrstuvwxyz0123456789_-";
    size_t len = strlen(name);
    const char *why = NULL;
    if (len == 0)
        why = "is empty";
    else if (len > WEIR_SCHEMA_NAME_MAX)
        why = "is longer than 64 characters";
    else if ((name[0] < 'a' || name[0] > 'z') && name[0] != '_')
        why = "must begin with a-z or _";
    else if (strspn(name, rest) != len)
        why = "may hold a-z, 0-9, _ and - only";
    if (why != NULL)
        weir_problems_error(s->problems, at, "the %s name '%.80s' %s", what, name, why);
    return why == NULL;
}
