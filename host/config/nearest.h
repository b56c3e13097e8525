/* config/nearest.h - 'did you mean': the known name nearest to one that is not known. Pure; any thread. */
#ifndef WEIR_CONFIG_NEAREST_H
#define WEIR_CONFIG_NEAREST_H

#include <stddef.h>

/* Names longer than this are neither corrected nor offered. */
#define WEIR_NEAREST_MAX 64

/* A search: init with the unknown word, offer each known one (they must outlive the search), then ask. */
struct weir_nearest {
    const char *word, *best;
    size_t distance;
};

void weir_nearest_init(struct weir_nearest *n, const char *word);
void weir_nearest_offer(struct weir_nearest *n, const char *known);
/* NULL when nothing offered is near enough to be meant. The first of equally near ones. */
const char *weir_nearest_best(const struct weir_nearest *n);
/* The same for a NULL-terminated list. */
const char *weir_nearest_of(const char *word, const char *const *known);

/* Damerau-Levenshtein distance (insert, delete, replace, swap neighbours), in bytes. Both at most
 * WEIR_NEAREST_MAX long. */
size_t weir_nearest_distance(const char *a, const char *b);

#endif
