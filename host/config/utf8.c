#include "config/utf8.h"

#include <stdint.h>
#include <string.h>

size_t weir_utf8_length(const char *text, size_t len)
{
    const unsigned char *s = (const unsigned char *)text;
    if (len == 0)
        return 0;
    if (s[0] < 0x80)
        return 1;
    size_t need = s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : s[0] < 0xf5 ? 4 : 0;
    if (need == 0 || need > len)
        return 0;
    uint32_t point = s[0] & (0xffu >> (need + 1));
    for (size_t i = 1; i < need; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
        point = point << 6 | (s[i] & 0x3f);
    }
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    bool surrogate = point >= 0xd800 && point <= 0xdfff;
    return point < least[need] || surrogate || point > 0x10ffff ? 0 : need;
}

size_t weir_utf8_break(const char *s, size_t len)
{
    if (len == 0)
        return 0;
    if (s[0] == '\r')
        return len > 1 && s[1] == '\n' ? 2 : 1;
    if (s[0] == '\n')
        return 1;
    if (len >= 2 && memcmp(s, "\xc2\x85", 2) == 0)
        return 2;
    if (len >= 3 && (memcmp(s, "\xe2\x80\xa8", 3) == 0 || memcmp(s, "\xe2\x80\xa9", 3) == 0))
        return 3;
    return 0;
}

bool weir_utf8_is_control(const char *s, size_t n)
{
    unsigned char c = (unsigned char)s[0];
    if (n == 1)
        return (c < 0x20 && c != '\t' && c != '\n' && c != '\r') || c == 0x7f;
    return n == 2 && c == 0xc2 && (unsigned char)s[1] < 0xa0 && (unsigned char)s[1] != 0x85;
}

void weir_utf8_clean(char *s)
{
    size_t len = strlen(s);
    for (size_t i = 0; i < len;) {
        size_t n = weir_utf8_length(s + i, len - i);
        bool fine = n != 0 && !weir_utf8_is_control(s + i, n) && weir_utf8_break(s + i, len - i) == 0;
        if (n == 0)
            n = 1;
        if (!fine || s[i] == '\t')
            memset(s + i, s[i] == '\t' ? ' ' : '?', n);
        i += n;
    }
}
