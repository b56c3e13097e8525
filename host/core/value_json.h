/* core/value_json.h - a value as JSON text (RFC 8259), straight from its MessagePack bytes: no tree in
 * between.
 * - integers are exact, floats the shortest text that gives the same double, always with a point or an
 * exponent
 *   ("1.0"), so that they stay floats; NaN and the infinities, for which JSON has no word, are null
 * - bytes of a string that are not UTF-8 become U+FFFD each, so the text is always valid; line ends are
 * escaped, so it is always one line
 * - keys that are no strings become the strings of their JSON text; a request handle is "<request>"
 * Threads: any. */
#ifndef WEIR_CORE_VALUE_JSON_H
#define WEIR_CORE_VALUE_JSON_H

#include <stdbool.h>
#include <stddef.h>

#include "base/strbuf.h"
#include "core/value.h"

/* Appends `v`. A lack of memory shows as out->failed. */
void weir_value_json(struct weir_value v, struct weir_strbuf *out);
/* The same for one MessagePack object of `len` bytes. What is malformed (bytes that were never checked)
 * becomes null. */
void weir_value_json_bytes(const unsigned char *data, size_t len, struct weir_strbuf *out);
/* The bytes of a string value, borrowed. false: it is none. */
bool weir_value_string(struct weir_value v, const char **ret, size_t *ret_len);

#endif
