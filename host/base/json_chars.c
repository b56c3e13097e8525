#include "base/json_chars.h"

#include <stdbool.h>

static bool is_tail(unsigned char c)
{
    return (c & 0xc0) == 0x80;
}

size_t weir_json_chars_utf8(const unsigned char *s, size_t len)
{
    if (len >= 1 && s[0] < 0x80)
        return 1;
    if (len >= 2 && s[0] >= 0xc2 && s[0] < 0xe0 && is_tail(s[1]))
        return 2;
    if (len >= 3 && (s[0] & 0xf0) == 0xe0 && is_tail(s[1]) && is_tail(s[2]))
        return (s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ? 0 : 3; /* overlong; surrogates */
    if (len >= 4 && s[0] >= 0xf0 && s[0] < 0xf5 && is_tail(s[1]) && is_tail(s[2]) && is_tail(s[3]))
        return (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f) ? 0 : 4; /* overlong; above U+10FFFF */
    return 0;
}
