/* cli/top_draw.h - a frame of `weir top`: the document of /v1/stats as lines of text. Pure; any thread. */
#ifndef WEIR_CLI_TOP_DRAW_H
#define WEIR_CLI_TOP_DRAW_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/strbuf.h"

enum { WEIR_TOP_NARROW = 80 }; /* the least that everything but the bars has room in */

struct weir_top_view {
    char sort;          /* 'g': as in the graph; 'n'ame, 'r'ate, 'f'ill, 'w'ait, 'e'rrors: the largest first */
    bool reverse;
    const char *filter; /* only stages whose name has this in it; "": all */
    size_t width, height; /* of the terminal; height 0: no end */
    const json_t *history; /* the document of /v1/queue/history: a wide terminal shows bars of it. NULL: none */
};

/* Appends at most `height` lines of at most `width` characters, each with a line break. */
void weir_top_draw(const json_t *stats, const struct weir_top_view *v, struct weir_strbuf *out);

#endif
