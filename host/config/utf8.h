/* config/utf8.h - the characters of a text. Pure functions; any thread. */
#ifndef WEIR_CONFIG_UTF8_H
#define WEIR_CONFIG_UTF8_H

#include <stdbool.h>
#include <stddef.h>

/* Bytes of the character at `s` (RFC 3629), 0 when the `len` bytes do not begin with a whole one. */
size_t weir_utf8_length(const char *s, size_t len);
/* Bytes of the line break at `s` as YAML counts lines (CR LF, CR, LF, U+0085, U+2028, U+2029), 0 when there
 * is none. */
size_t weir_utf8_break(const char *s, size_t len);
/* Whether the character of `n` bytes at `s` is a control character that no text has (tab and breaks are
 * fine). */
bool weir_utf8_is_control(const char *s, size_t n);
/* Replaces control characters and bytes that are not UTF-8 by '?', so that a message can't do things to a
 * terminal. */
void weir_utf8_clean(char *s);

#endif
