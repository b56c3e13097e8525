#include "io/cutter.h"

#include <string.h>

void weir_cutter_init(struct weir_cutter *c, const struct weir_framing *framing)
{
    *c = (struct weir_cutter){.framing = *framing};
}

void weir_cutter_reset(struct weir_cutter *c)
{
    c->scanned = 0;
    c->skipping = false;
    c->skip = 0;
}

static enum weir_cut frame(const char *data, size_t len, size_t all, size_t *used, struct weir_cut_frame *ret)
{
    *used = all;
    *ret = (struct weir_cut_frame){.data = data, .len = len};
    return WEIR_CUT_FRAME;
}

/* ---- lines ---- */

static enum weir_cut whole_line(struct weir_cutter *c, const char *data, size_t len, size_t all, size_t *used,
                                struct weir_cut_frame *ret)
{
    bool skipped = c->skipping;
    c->skipping = false;
    c->scanned = 0;
    if (c->framing.delimiter == '\n' && len > 0 && data[len - 1] == '\r')
        len--;
    if (skipped) { /* the rest of a line that was counted when it got too long */
        *used = all;
        return WEIR_CUT_MORE;
    }
    if (len > c->framing.max) {
        *used = all;
        return WEIR_CUT_OVERLONG;
    }
    return frame(data, len, all, used, ret);
}

static enum weir_cut next_line(struct weir_cutter *c, const char *data, size_t len, bool last, size_t *used,
                               struct weir_cut_frame *ret)
{
    const char *end =
        len > c->scanned ? memchr(data + c->scanned, c->framing.delimiter, len - c->scanned) : NULL;
    if (end != NULL)
        return whole_line(c, data, (size_t)(end - data), (size_t)(end - data) + 1, used, ret);
    if (last && (len > 0 || c->skipping))
        return whole_line(c, data, len, len, used, ret);
    c->scanned = len;
    if (c->skipping || len > c->framing.max + 1) { /* one more for a '\r' */
        enum weir_cut cut = c->skipping ? WEIR_CUT_MORE : WEIR_CUT_OVERLONG;
        c->skipping = true;
        c->scanned = 0;
        *used = len;
        return cut;
    }
    return WEIR_CUT_MORE;
}

/* ---- lengths ---- */

static enum weir_cut next_length(struct weir_cutter *c, const char *data, size_t len, bool last, size_t *used,
                                 struct weir_cut_frame *ret)
{
    const struct weir_framing *f = &c->framing;
    if (c->skip > 0) {
        *used = len < c->skip ? len : (size_t)c->skip;
        c->skip -= *used;
        return WEIR_CUT_MORE;
    }
    if (len < f->header) {
        *used = last ? len : 0;
        return last && len > 0 ? WEIR_CUT_OVERLONG : WEIR_CUT_MORE;
    }
    uint64_t body = weir_framing_count(f, data);
    bool keeps_header = f->header > f->size;
    if (body > f->max || (keeps_header && body + f->header > f->max)) {
        *used = f->header;
        c->skip = body;
        return WEIR_CUT_OVERLONG;
    }
    size_t all = f->header + (size_t)body;
    if (len < all) {
        *used = last ? len : 0;
        return last ? WEIR_CUT_OVERLONG : WEIR_CUT_MORE;
    }
    return keeps_header ? frame(data, all, all, used, ret)
                        : frame(data + f->header, (size_t)body, all, used, ret);
}

enum weir_cut weir_cutter_next(struct weir_cutter *c, const char *data, size_t len, bool last, size_t *used,
                               struct weir_cut_frame *ret)
{
    *used = 0;
    switch (c->framing.kind) {
    case WEIR_FRAMING_LINE:
        return next_line(c, data, len, last, used, ret);
    case WEIR_FRAMING_LENGTH:
        return next_length(c, data, len, last, used, ret);
    case WEIR_FRAMING_RAW:
        break;
    }
    size_t n = len < c->framing.max ? len : c->framing.max;
    return n > 0 ? frame(data, n, n, used, ret) : WEIR_CUT_MORE;
}
