/* io/framing.h - how a byte stream is cut into frames, and frames become bytes. Pure.
 *
 *   line     up to the delimiter ('\n'), which is no part of the frame; neither is a '\r' before it
 *   length   a header of `header` bytes with a count of `size` bytes at `offset` says how many bytes follow it. The frame is what follows; header
 *            and all when the header holds more than the count (Gnutella's of 23 bytes, say)
 *   raw      whatever came at once
 *
 * Cutting, piece by piece as bytes come, is io/cutter.h's. */
#ifndef WEIR_IO_FRAMING_H
#define WEIR_IO_FRAMING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/strbuf.h"
#include "config/types.h"

struct weir_conf;

enum weir_framing_kind { WEIR_FRAMING_LINE, WEIR_FRAMING_LENGTH, WEIR_FRAMING_RAW };

struct weir_framing {
    enum weir_framing_kind kind;
    size_t max;     /* bytes of a frame */
    char delimiter; /* line */
    size_t header, offset, size; /* length */
    bool little;    /* its count is little-endian */
};

extern const char *const weir_framing_words[];
extern const char *const weir_framing_order_words[];

/* Rows of an option table. Read by weir_framing_from_options. */
#define WEIR_FRAMING_OPTIONS                                                                                  \
    {.name = "framing",                                                                                      \
     .type = WEIR_OPTION_ENUM,                                                                               \
     .fallback = "line",                                                                                     \
     .words = weir_framing_words,                                                                            \
     .text = "how the bytes are cut: line, length or raw"},                                                  \
        {.name = "max_frame",                                                                                \
         .type = WEIR_OPTION_SIZE,                                                                           \
         .fallback = "64KiB",                                                                                \
         .min = 1,                                                                                           \
         .max = 64 << 20,                                                                                    \
         .text = "bytes of a frame at most"},                                                                \
        {.name = "delimiter",                                                                                \
         .type = WEIR_OPTION_STRING,                                                                         \
         .fallback = "\n",                                                                                  \
         .min = 1,                                                                                           \
         .max = 1,                                                                                           \
         .text = "what ends a line: one byte"},                                                              \
        {.name = "length_header",                                                                            \
         .type = WEIR_OPTION_SIZE,                                                                           \
         .min = 1,                                                                                           \
         .max = 4096,                                                                                        \
         .text = "framing: length: bytes before the body; default: those of the count and its offset"},      \
        {.name = "length_offset",                                                                            \
         .type = WEIR_OPTION_SIZE,                                                                           \
         .fallback = "0",                                                                                    \
         .max = 4095,                                                                                        \
         .text = "framing: length: where the count begins in the header"},                                   \
        {.name = "length_size",                                                                              \
         .type = WEIR_OPTION_SIZE,                                                                           \
         .fallback = "4",                                                                                    \
         .min = 1,                                                                                           \
         .max = 8,                                                                                           \
         .text = "framing: length: bytes of the count, 1, 2, 4 or 8"},                                       \
    {                                                                                                        \
        .name = "length_order", .type = WEIR_OPTION_ENUM, .fallback = "big", .words = weir_framing_order_words, \
        .text = "framing: length: byte order of the count, big or little"                                    \
    }

/* From the checked options of a stage. WEIR_E_CONFIG: they contradict each other, and the text says how. */
int weir_framing_from_options(const struct weir_conf *options, struct weir_framing *ret, struct weir_err *reterr);
/* Appends one frame to `out`. WEIR_E_LIMIT: over `max`, or over what its count can say; WEIR_E_INVAL: a line with a delimiter in it, or a
 * frame without the header that holds more than the count, or with another length in it; WEIR_E_NOMEM. `out` is unchanged then. */
int weir_framing_write(const struct weir_framing *f, const void *data, size_t len, struct weir_strbuf *out);
/* The count in a header of f->header bytes. */
uint64_t weir_framing_count(const struct weir_framing *f, const void *header);

#endif
