/* cli/spark.h - a list of numbers as a line of small bars. Pure; any thread. */
#ifndef WEIR_CLI_SPARK_H
#define WEIR_CLI_SPARK_H

#include <jansson.h>
#include <stddef.h>

#include "base/strbuf.h"

/* The largest of them; 0 without any. */
double weir_spark_most(const json_t *numbers);
/* Appends `width` characters at most, the newest to the right, each the largest of its part; `most` is a full bar. */
void weir_spark_draw(const json_t *numbers, double most, size_t width, struct weir_strbuf *out);

#endif
