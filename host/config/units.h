/* config/units.h - durations (250us 10ms 1.5s 2m 1h 1d) and sizes (512 64KiB 10MB 1GiB) as text. Pure; any
 * thread. A refusal's text is a whole sentence: "expected a duration such as …, found '5': the unit is
 * missing". */
#ifndef WEIR_CONFIG_UNITS_H
#define WEIR_CONFIG_UNITS_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define WEIR_UNITS_TEXT 32

/* Needs a unit, but for plain 0. At most nine digits after the point. */
int weir_duration_parse(const char *text, uint64_t *ret_ns, struct weir_err *reterr);
/* No unit: bytes. K, M, G, T by 1000 with B, by 1024 with iB. */
int weir_size_parse(const char *text, uint64_t *ret_bytes, struct weir_err *reterr);

/* The shortest text that says the same number exactly, e.g. "1500ms", "64KiB". Returns `out`. */
const char *weir_duration_format(uint64_t ns, char out[WEIR_UNITS_TEXT]);
const char *weir_size_format(uint64_t bytes, char out[WEIR_UNITS_TEXT]);

#endif
