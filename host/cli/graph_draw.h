/* cli/graph_draw.h - draws the document of /v1/graph (admin/graph_print.c). What a document lacks is left
 * out, so that one of another version can be drawn. Pure. A lack of memory shows as out->failed. */
#ifndef WEIR_CLI_GRAPH_DRAW_H
#define WEIR_CLI_GRAPH_DRAW_H

#include <jansson.h>

#include "base/strbuf.h"

void weir_graph_draw_text(const json_t *graph, struct weir_strbuf *out);
void weir_graph_draw_dot(const json_t *graph, struct weir_strbuf *out);
void weir_graph_draw_mermaid(const json_t *graph, struct weir_strbuf *out);

#endif
