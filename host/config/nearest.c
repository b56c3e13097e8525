#include "config/nearest.h"

#include <string.h>

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

size_t weir_nearest_distance(const char *a, const char *b)
{
    /* Three rows of the usual table: the one being filled, the one above, and the one above that for swaps.
     */
    size_t rows[3][WEIR_NEAREST_MAX + 1];
    size_t alen = strnlen(a, WEIR_NEAREST_MAX), blen = strnlen(b, WEIR_NEAREST_MAX);
    for (size_t j = 0; j <= blen; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= alen; i++) {
        size_t *row = rows[i % 3], *above = rows[(i - 1) % 3], *two_above = rows[(i + 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= blen; j++) {
            size_t replace = above[j - 1] + (a[i - 1] != b[j - 1]);
            row[j] = least(replace, least(above[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = least(row[j], two_above[j - 2] + 1);
        }
    }
    return rows[alen % 3][blen];
}

void weir_nearest_init(struct weir_nearest *n, const char *word)
{
    *n = (struct weir_nearest){.word = word};
}

void weir_nearest_offer(struct weir_nearest *n, const char *known)
{
    size_t wlen = strlen(n->word), klen = strlen(known);
    if (wlen > WEIR_NEAREST_MAX || klen > WEIR_NEAREST_MAX)
        return;
    size_t longer = wlen > klen ? wlen : klen, shorter = wlen + klen - longer;
    size_t limit = least(1 + longer / 4, longer / 2); /* a word half of which is different is another word */
    if (longer - shorter > limit)
        return;
    size_t distance = weir_nearest_distance(n->word, known);
    if (distance <= limit && (n->best == NULL || distance < n->distance)) {
        n->best = known;
        n->distance = distance;
    }
}

const char *weir_nearest_best(const struct weir_nearest *n)
{
    return n->best;
}

const char *weir_nearest_of(const char *word, const char *const *known)
{
    struct weir_nearest n;
    weir_nearest_init(&n, word);
    for (; *known != NULL; known++)
        weir_nearest_offer(&n, *known);
    return weir_nearest_best(&n);
}
