#include "config/units.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

struct unit {
    const char *name;
    uint64_t factor;
};

/* Smallest first: formatting looks for the largest that divides. */
static const struct unit durations[] = {
    {"us", 1000},         {"ms", 1000000},       {"s", 1000000000}, {"m", 60000000000},
    {"h", 3600000000000}, {"d", 86400000000000}, {NULL, 0},
};

static const struct unit sizes[] = {
    {"", 1},
    {"B", 1},
    {"kB", 1000},
    {"KB", 1000},
    {"KiB", UINT64_C(1) << 10},
    {"MB", 1000000},
    {"MiB", UINT64_C(1) << 20},
    {"GB", 1000000000},
    {"GiB", UINT64_C(1) << 30},
    {"TB", 1000000000000},
    {"TiB", UINT64_C(1) << 40},
    {NULL, 0},
};

/* A decimal number: whole + fraction / scale. */
struct number {
    uint64_t whole, fraction, scale;
};

#define DURATION_FORM "a duration such as 250us, 10ms, 1.5s, 2m or 1h"
#define SIZE_FORM     "a size such as 512, 64KiB, 10MB or 1GiB"
#define TOO_LARGE     "the number is too large"

/* Reads the number at *text and moves past it. Returns what is wrong, NULL when nothing. */
static const char *take_number(const char **text, struct number *ret)
{
    const char *at = *text;
    struct number n = {0, 0, 1};
    if (*at == '-')
        return "it can't be negative";
    if (*at < '0' || *at > '9')
        return *at == '\0' ? "it is empty" : "it does not begin with a digit";
    for (; *at >= '0' && *at <= '9'; at++)
        if (__builtin_mul_overflow(n.whole, (uint64_t)10, &n.whole) ||
            __builtin_add_overflow(n.whole, (uint64_t)(*at - '0'), &n.whole))
            return TOO_LARGE;
    if (*at == '.') {
        const char *first = ++at;
        for (; *at >= '0' && *at <= '9'; at++) {
            if (at - first == 9)
                return "it has more than nine digits after the point";
            n.fraction = n.fraction * 10 + (uint64_t)(*at - '0');
            n.scale *= 10;
        }
        if (at == first)
            return "digits are missing after the point";
    }
    *text = at;
    *ret = n;
    return NULL;
}

/* whole * factor + fraction * factor / scale, in 64 bits: the factor is split so that no product overflows
 * unseen. */
static const char *multiply(const struct number *n, uint64_t factor, uint64_t *ret)
{
    uint64_t value;
    uint64_t part = factor / n->scale * n->fraction + factor % n->scale * n->fraction / n->scale;
    if (__builtin_mul_overflow(n->whole, factor, &value) || __builtin_add_overflow(value, part, &value))
        return TOO_LARGE;
    if (value == 0 && (n->whole != 0 || n->fraction != 0))
        return "the number is too small";
    *ret = value;
    return NULL;
}

static const struct unit *find_unit(const struct unit *units, const char *name)
{
    for (; units->name != NULL; units++)
        if (strcmp(units->name, name) == 0)
            return units;
    return NULL;
}

static const char *parse(const char *text, const struct unit *units, bool duration, uint64_t *ret)
{
    struct number n;
    const char *wrong = take_number(&text, &n);
    if (wrong != NULL)
        return wrong;
    if (duration && *text == '\0' && n.whole == 0 && n.fraction == 0) {
        *ret = 0; /* nothing is nothing in any unit */
        return NULL;
    }
    const struct unit *unit = find_unit(units, text);
    if (unit == NULL && *text == '\0')
        return "the unit is missing";
    if (unit == NULL)
        return duration ? "there is no such unit (us, ms, s, m, h, d)"
                        : "there is no such unit (B, KB, KiB, MB, MiB, GB, GiB, TB, TiB)";
    return multiply(&n, unit->factor, ret);
}

int weir_duration_parse(const char *text, uint64_t *ret_ns, struct weir_err *reterr)
{
    const char *wrong = parse(text, durations, true, ret_ns);
    if (wrong != NULL)
        return weir_err_set(reterr, WEIR_E_INVAL, "expected " DURATION_FORM ", found '%.40s': %s", text,
                            wrong);
    return WEIR_OK;
}

int weir_size_parse(const char *text, uint64_t *ret_bytes, struct weir_err *reterr)
{
    const char *wrong = parse(text, sizes, false, ret_bytes);
    if (wrong != NULL)
        return weir_err_set(reterr, WEIR_E_INVAL, "expected " SIZE_FORM ", found '%.40s': %s", text, wrong);
    return WEIR_OK;
}

const char *weir_duration_format(uint64_t ns, char out[WEIR_UNITS_TEXT])
{
    const struct unit *best = NULL;
    for (const struct unit *u = durations; u->name != NULL; u++)
        if (ns % u->factor == 0)
            best = u;
    if (ns == 0)
        snprintf(out, WEIR_UNITS_TEXT, "0");
    else if (best == NULL)
        snprintf(out, WEIR_UNITS_TEXT, "%" PRIu64 ".%03dus", ns / 1000, (int)(ns % 1000));
    else
        snprintf(out, WEIR_UNITS_TEXT, "%" PRIu64 "%s", ns / best->factor, best->name);
    return out;
}

const char *weir_size_format(uint64_t bytes, char out[WEIR_UNITS_TEXT])
{
    const struct unit *best = &sizes[0];
    for (const struct unit *u = sizes; u->name != NULL; u++)
        if (u->factor > best->factor && bytes != 0 && bytes % u->factor == 0)
            best = u;
    snprintf(out, WEIR_UNITS_TEXT, "%" PRIu64 "%s", bytes / best->factor, best->name);
    return out;
}
