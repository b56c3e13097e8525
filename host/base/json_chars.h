/* base/json_chars.h - the characters of JSON strings (RFC 8259), for those who read them and those who write them. Pure functions; any
 * thread. */
#ifndef WEIR_BASE_JSON_CHARS_H
#define WEIR_BASE_JSON_CHARS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Bytes of the UTF-8 character at `s` (RFC 3629), 0 when the `len` bytes do not begin with a whole one. */
size_t weir_json_chars_utf8(const unsigned char *s, size_t len);

/* The high bit of each byte of `w` that is zero; above the first such byte it may be set in others too. */
static inline uint64_t weir_json_chars_zero_bytes(uint64_t w)
{
    return (w - 0x0101010101010101ULL) & ~w & 0x8080808080808080ULL;
}

/* How many of the first bytes stand for themselves in a string: ASCII but for control characters, '"' and '\\'. Eight bytes are looked at
 * at once. */
static inline size_t weir_json_chars_plain(const unsigned char *s, size_t len)
{
    const uint64_t ones = 0x0101010101010101ULL, high = 0x8080808080808080ULL;
    size_t n = 0;
    for (; len - n >= 8; n += 8) {
        uint64_t w;
        memcpy(&w, s + n, sizeof w);
        uint64_t control = (w - 0x20 * ones) & ~w & high; /* borrows come from bytes that stop the loop themselves */
        if (((w & high) | control | weir_json_chars_zero_bytes(w ^ '"' * ones) | weir_json_chars_zero_bytes(w ^ '\\' * ones)) != 0)
            break;
    }
    while (n < len && s[n] >= 0x20 && s[n] < 0x80 && s[n] != '"' && s[n] != '\\')
        n++;
    return n;
}

#endif
