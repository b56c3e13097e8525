#include "base/number.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    PLACES_MAX = 9,    /* digits behind the point that are tried without a library */
    DIGITS_LEAST = 15, /* what every decimal fraction of as many survives */
    DIGITS_FULL = 17,  /* what every double survives */
};

static const double powers[PLACES_MAX + 1] = {1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9};

size_t weir_number_put_uint(char *out, uint64_t u)
{
    char text[20];
    size_t i = sizeof text;
    do
        text[--i] = (char)('0' + u % 10);
    while ((u /= 10) != 0);
    memcpy(out, text + i, sizeof text - i);
    return sizeof text - i;
}

size_t weir_number_put_int(char *out, int64_t i)
{
    if (i >= 0)
        return weir_number_put_uint(out, (uint64_t)i);
    out[0] = '-';
    return 1 + weir_number_put_uint(out + 1, 0 - (uint64_t)i);
}

/* `m` / 10^`places`, at least one digit on both sides of the point. */
static size_t put_fixed(char *out, uint64_t m, unsigned places)
{
    uint64_t unit = (uint64_t)powers[places];
    size_t n = weir_number_put_uint(out, m / unit);
    out[n++] = '.';
    uint64_t rest = m % unit;
    for (size_t i = places; i > 0; i--, rest /= 10)
        out[n + i - 1] = (char)('0' + rest % 10);
    if (places == 0)
        out[n] = '0';
    return n + (places > 0 ? places : 1);
}

/* Numbers with few digits, as people write them: the first count of places for which the division, which rounds correctly, gives the
 * number back. m has 15 digits at most and so is exact. 0: it is none of them. */
static size_t put_short(char *out, double d)
{
    for (unsigned places = 0; places <= PLACES_MAX; places++) {
        double scaled = d * powers[places] + 0.5;
        if (!(scaled < 1e15))
            return 0;
        uint64_t m = (uint64_t)scaled;
        if ((double)m / powers[places] == d)
            return put_fixed(out, m, places);
    }
    return 0;
}

size_t weir_number_put_float(char *out, double d)
{
    char text[WEIR_NUMBER_MAX];
    double size = fabs(d);
    if (size >= 1e-4 || (size == 0.0 && !signbit(d))) {
        bool minus = d < 0.0;
        size_t n = put_short(out + minus, size);
        if (n > 0) {
            if (minus)
                out[0] = '-';
            return n + minus;
        }
    }
    for (int digits = DIGITS_LEAST; digits <= DIGITS_FULL; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, d);
        if (strtod(text, NULL) == d)
            break;
    }
    size_t len = strlen(text);
    memcpy(out, text, len);
    if (strpbrk(text, ".e") != NULL)
        return len;
    out[len] = '.';
    out[len + 1] = '0';
    return len + 2;
}
