#include "config/scalar.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/strbuf.h"
#include "config/utf8.h"

/* --- Environment --- */

enum { NAME_MAX_BYTES = 128 };

static bool is_name(const char *s, size_t len)
{
    if (len == 0 || (s[0] >= '0' && s[0] <= '9'))
        return false;
    for (size_t i = 0; i < len; i++)
        if (!((s[i] >= 'a' && s[i] <= 'z') || (s[i] >= 'A' && s[i] <= 'Z') || (s[i] >= '0' && s[i] <= '9') ||
              s[i] == '_'))
            return false;
    return true;
}

static bool is_utf8(const char *s, size_t len)
{
    for (size_t n; len != 0; s += n, len -= n) {
        n = weir_utf8_length(s, len);
        if (n == 0)
            return false;
    }
    return true;
}

/* What stands between the braces of a ${…}: appends its value. */
static int expand_one(const char *inner, size_t len, struct weir_strbuf *out, size_t *budget,
                      struct weir_err *reterr)
{
    const char *dash = memmem(inner, len, ":-", 2);
    size_t name_len = dash != NULL ? (size_t)(dash - inner) : len;
    if (!is_name(inner, name_len) || name_len >= NAME_MAX_BYTES)
        return weir_err_set(
            reterr, WEIR_E_INVAL,
            "expected ${NAME} or ${NAME:-default}, found '${%.*s}' ($${ stands for a plain ${)",
            (int)(len < 40 ? len : 40), inner);
    char name[NAME_MAX_BYTES];
    memcpy(name, inner, name_len);
    name[name_len] = '\0';
    const char *value = getenv(name);
    size_t value_len = value != NULL ? strlen(value) : 0;
    if (dash != NULL && value_len == 0) {
        value = dash + 2;
        value_len = len - name_len - 2;
    }
    if (value == NULL)
        return weir_err_set(reterr, WEIR_E_INVAL,
                            "the environment variable '%s' is not set (${%s:-default} gives it a default)",
                            name, name);
    if (value_len > *budget)
        return weir_err_set(reterr, WEIR_E_LIMIT, "the environment makes the file too large");
    if (!is_utf8(value, value_len))
        return weir_err_set(reterr, WEIR_E_INVAL, "the environment variable '%s' is not valid UTF-8", name);
    *budget -= value_len;
    weir_strbuf_add(out, value, value_len);
    return WEIR_OK;
}

static int expand_all(const char *s, size_t len, struct weir_strbuf *out, size_t *budget,
                      struct weir_err *reterr)
{
    const char *end = s + len, *open;
    while ((open = memmem(s, (size_t)(end - s), "${", 2)) != NULL) {
        if (open > s && open[-1] == '$') { /* $${ */
            weir_strbuf_add(out, s, (size_t)(open - 1 - s));
            weir_strbuf_adds(out, "${");
            s = open + 2;
            continue;
        }
        const char *close = memchr(open, '}', (size_t)(end - open));
        if (close == NULL)
            return weir_err_set(reterr, WEIR_E_INVAL, "'${' without its '}' ($${ stands for a plain ${)");
        weir_strbuf_add(out, s, (size_t)(open - s));
        int rc = expand_one(open + 2, (size_t)(close - open - 2), out, budget, reterr);
        if (rc < 0)
            return rc;
        s = close + 1;
    }
    weir_strbuf_add(out, s, (size_t)(end - s));
    return WEIR_OK;
}

int weir_scalar_expand(struct weir_arena *a, const char **text, size_t *len, size_t *budget,
                       struct weir_err *reterr)
{
    if (memmem(*text, *len, "${", 2) == NULL)
        return WEIR_OK;
    struct weir_strbuf out = WEIR_STRBUF_INIT;
    int rc = expand_all(*text, *len, &out, budget, reterr);
    const char *copy = rc == WEIR_OK && !out.failed ? weir_arena_strndup(a, out.data, out.len) : NULL;
    if (copy != NULL) {
        *text = copy;
        *len = out.len;
    } else if (rc == WEIR_OK) {
        a->failed = true;
        rc = weir_err_set(reterr, WEIR_E_NOMEM, "out of memory");
    }
    weir_strbuf_fini(&out);
    return rc;
}

/* --- Core schema --- */

static bool is_one_of(const char *s, const char *const *words)
{
    for (; *words != NULL; words++)
        if (strcmp(s, *words) == 0)
            return true;
    return false;
}

static size_t count_digits(const char *s)
{
    return strspn(s, "0123456789");
}

/* [-+]? [0-9]+, 0x[0-9a-fA-F]+ or 0o[0-7]+; `ret_base` and where the digits begin. */
static bool looks_int(const char *s, int *ret_base, const char **ret_digits)
{
    if (s[0] == '0' && (s[1] == 'x' || s[1] == 'o')) {
        *ret_base = s[1] == 'x' ? 16 : 8;
        *ret_digits = s + 2;
        const char *set = s[1] == 'x' ? "0123456789abcdefABCDEF" : "01234567";
        return s[2] != '\0' && s[2 + strspn(s + 2, set)] == '\0';
    }
    *ret_base = 10;
    *ret_digits = s;
    s += *s == '-' || *s == '+';
    return *s != '\0' && s[count_digits(s)] == '\0';
}

/* [-+]? ( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )? */
static bool looks_float(const char *s)
{
    s += *s == '-' || *s == '+';
    size_t whole = count_digits(s), fraction = 0;
    s += whole;
    if (*s == '.') {
        fraction = count_digits(++s);
        s += fraction;
    }
    if (whole == 0 && fraction == 0)
        return false;
    if (*s == 'e' || *s == 'E') {
        s++;
        s += *s == '-' || *s == '+';
        size_t exponent = count_digits(s);
        s += exponent;
        if (exponent == 0)
            return false;
    }
    return *s == '\0';
}

static bool special_float(const char *s, double *ret)
{
    static const char *const inf[] = {".inf", ".Inf", ".INF", NULL};
    static const char *const nan[] = {".nan", ".NaN", ".NAN", NULL};
    if (is_one_of(s, nan)) {
        *ret = (double)NAN;
        return true;
    }
    bool minus = *s == '-';
    *ret = minus ? -(double)INFINITY : (double)INFINITY;
    return is_one_of(s + (minus || *s == '+'), inf);
}

static int resolve_number(struct weir_conf *c, struct weir_err *reterr)
{
    int base;
    const char *digits;
    if (looks_int(c->text, &base, &digits)) {
        errno = 0;
        long long value = strtoll(digits, NULL, base);
        if (errno == ERANGE)
            return weir_err_set(reterr, WEIR_E_INVAL,
                                "the number '%.40s' does not fit into 64 bits (quote it to have it as text)",
                                c->text);
        c->kind = WEIR_CONF_INT;
        c->u.integer = value;
    } else if (looks_float(c->text)) {
        double value = strtod(c->text, NULL);
        if (isinf(value))
            return weir_err_set(reterr, WEIR_E_INVAL,
                                "the number '%.40s' is too large (quote it to have it as text)", c->text);
        c->kind = WEIR_CONF_FLOAT;
        c->u.number = value;
    }
    return WEIR_OK;
}

int weir_scalar_resolve(struct weir_conf *c, struct weir_err *reterr)
{
    static const char *const nils[] = {"", "~", "null", "Null", "NULL", NULL};
    static const char *const yes[] = {"true", "True", "TRUE", NULL};
    static const char *const no[] = {"false", "False", "FALSE", NULL};
    double special;
    c->kind = WEIR_CONF_STRING;
    if (strlen(c->text) != c->len)
        return WEIR_OK; /* a NUL in it: nothing but a string has one */
    if (is_one_of(c->text, nils)) {
        c->kind = WEIR_CONF_NIL;
    } else if (is_one_of(c->text, yes) || is_one_of(c->text, no)) {
        c->kind = WEIR_CONF_BOOL;
        c->u.boolean = is_one_of(c->text, yes);
    } else if (special_float(c->text, &special)) {
        c->kind = WEIR_CONF_FLOAT;
        c->u.number = special;
    } else {
        return resolve_number(c, reterr);
    }
    return WEIR_OK;
}
