#include "base/strbuf.h"

#include <stdio.h>
#include <string.h>

#include "base/json_chars.h"
#include "base/mem.h"

void weir_strbuf_init(struct weir_strbuf *b)
{
    *b = (struct weir_strbuf)WEIR_STRBUF_INIT;
}

void weir_strbuf_fini(struct weir_strbuf *b)
{
    weir_free(b->data);
    weir_strbuf_init(b);
}

void weir_strbuf_clear(struct weir_strbuf *b)
{
    b->len = 0;
    b->failed = false;
    if (b->data != NULL)
        b->data[0] = '\0';
}

bool weir_strbuf_resize(struct weir_strbuf *b, size_t cap)
{
    char *data = b->failed ? NULL : weir_realloc(b->data, cap);
    if (data == NULL) {
        b->failed = true;
        return false;
    }
    b->data = data;
    b->cap = cap;
    b->data[b->len] = '\0';
    return true;
}

bool weir_strbuf_reserve(struct weir_strbuf *b, size_t more)
{
    if (b->failed)
        return false;
    if (b->cap - b->len > more) /* cap 0 fails here too: one byte is for the NUL */
        return true;
    size_t cap = b->cap < 64 ? 64 : b->cap;
    while (cap - b->len <= more)
        cap *= 2;
    return weir_strbuf_resize(b, cap);
}

void weir_strbuf_add(struct weir_strbuf *b, const void *bytes, size_t len)
{
    if (!weir_strbuf_reserve(b, len))
        return;
    if (len != 0)
        memcpy(b->data + b->len, bytes, len);
    b->len += len;
    b->data[b->len] = '\0';
}

void weir_strbuf_adds(struct weir_strbuf *b, const char *s)
{
    weir_strbuf_add(b, s, strlen(s));
}

void weir_strbuf_addc(struct weir_strbuf *b, char c)
{
    weir_strbuf_add(b, &c, 1);
}

void weir_strbuf_vaddf(struct weir_strbuf *b, const char *fmt, va_list ap)
{
    va_list again;
    va_copy(again, ap);
    int need = vsnprintf(NULL, 0, fmt, again);
    va_end(again);
    if (need < 0 || !weir_strbuf_reserve(b, (size_t)need))
        return;
    vsnprintf(b->data + b->len, (size_t)need + 1, fmt, ap);
    b->len += (size_t)need;
}

void weir_strbuf_addf(struct weir_strbuf *b, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    weir_strbuf_vaddf(b, fmt, ap);
    va_end(ap);
}

static void add_json_char(struct weir_strbuf *b, unsigned char c)
{
    static const char escapes[][3] = {['\b'] = "\\b", ['\t'] = "\\t", ['\n'] = "\\n", ['\f'] = "\\f", ['\r'] = "\\r",
                                      ['"'] = "\\\"", ['\\'] = "\\\\"};
    if (c < sizeof escapes / sizeof escapes[0] && escapes[c][0] != '\0')
        weir_strbuf_adds(b, escapes[c]);
    else if (c < 0x20 || c == 0x7f)
        weir_strbuf_addf(b, "\\u%04x", c);
    else
        weir_strbuf_addc(b, (char)c);
}

static bool is_plain(unsigned char c)
{
    return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

void weir_strbuf_add_json(struct weir_strbuf *b, const char *s, size_t len)
{
    const unsigned char *at = (const unsigned char *)s, *end = at + len;
    weir_strbuf_addc(b, '"');
    while (at < end && !b->failed) {
        const unsigned char *from = at;
        while (at < end && is_plain(*at))
            at++;
        if (at > from)
            weir_strbuf_add(b, from, (size_t)(at - from));
        if (at == end)
            break;
        size_t n = weir_json_chars_utf8(at, (size_t)(end - at));
        if (n == 1)
            add_json_char(b, *at);
        else if (n == 0)
            weir_strbuf_adds(b, "\xef\xbf\xbd");
        else
            weir_strbuf_add(b, at, n);
        at += n == 0 ? 1 : n;
    }
    weir_strbuf_addc(b, '"');
}

void weir_strbuf_consume(struct weir_strbuf *b, size_t len)
{
    b->len -= len;
    if (b->data != NULL) {
        memmove(b->data, b->data + len, b->len);
        b->data[b->len] = '\0';
    }
}

char *weir_strbuf_take(struct weir_strbuf *b)
{
    char *data = b->failed ? NULL : b->data;
    if (b->failed)
        weir_free(b->data);
    weir_strbuf_init(b);
    return data;
}
