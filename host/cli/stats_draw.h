/* cli/stats_draw.h - the document of /v1/stats (admin/stats.c) for people. What a document lacks is left out.
 * Pure. A lack of memory shows as out->failed. */
#ifndef WEIR_CLI_STATS_DRAW_H
#define WEIR_CLI_STATS_DRAW_H

#include <jansson.h>

#include "base/strbuf.h"

/* All stages, a line each. */
void weir_stats_draw(const json_t *stats, struct weir_strbuf *out);
/* Everything about one, a line for each kind of thing. */
void weir_stats_draw_stage(const json_t *stats, const char *stage, struct weir_strbuf *out);

#endif
