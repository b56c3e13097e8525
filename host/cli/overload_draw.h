/* cli/overload_draw.h - what /v1/stats says of overload, as text. Pure; any thread. */
#ifndef WEIR_CLI_OVERLOAD_DRAW_H
#define WEIR_CLI_OVERLOAD_DRAW_H

#include <jansson.h>
#include <stdbool.h>

#include "base/strbuf.h"

/* While anything is done about it: appends "overload  memory 91%, descriptors 3%: shrink 2, close, shed 1", without a line break. Returns
 * whether it has. */
bool weir_overload_draw(const json_t *stats, struct weir_strbuf *out);

#endif
