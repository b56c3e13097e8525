/* base/number.h - numbers as text that reads back as the same number. Pure functions; any thread. */
#ifndef WEIR_BASE_NUMBER_H
#define WEIR_BASE_NUMBER_H

#include <stddef.h>
#include <stdint.h>

enum { WEIR_NUMBER_MAX = 40 }; /* bytes that either needs at most */

/* Writes the decimal digits, without a NUL. Returns how many bytes. */
size_t weir_number_put_uint(char *out, uint64_t u);
size_t weir_number_put_int(char *out, int64_t i);
/* The shortest decimal text that gives the same double, always with a point or an exponent ("1.0"); `d` is finite. Without a NUL. */
size_t weir_number_put_float(char *out, double d);

#endif
