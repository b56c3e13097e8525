/* base/strbuf.h - a growing byte buffer. An append that finds no memory sets `failed` and changes nothing more, so that a
 * text is built without a check at each step and asked once at its end. Owner: whoever embeds it; one thread. */
#ifndef WEIR_BASE_STRBUF_H
#define WEIR_BASE_STRBUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdarg.h>

struct weir_strbuf {
    char *data; /* NUL-terminated once anything was appended; NULL before */
    size_t len, cap;
    bool failed;
};

#define WEIR_STRBUF_INIT {NULL, 0, 0, false}

void weir_strbuf_init(struct weir_strbuf *b);
void weir_strbuf_fini(struct weir_strbuf *b);
/* Empties it, keeps the memory, forgets a failure. */
void weir_strbuf_clear(struct weir_strbuf *b);
/* Room for `more` bytes after len (and the NUL). false: no memory, `failed` set. */
bool weir_strbuf_reserve(struct weir_strbuf *b, size_t more);
/* Takes exactly `cap` bytes for it, more than len. false: no memory, `failed` set. */
bool weir_strbuf_resize(struct weir_strbuf *b, size_t cap);
void weir_strbuf_add(struct weir_strbuf *b, const void *bytes, size_t len);
void weir_strbuf_adds(struct weir_strbuf *b, const char *s);
void weir_strbuf_addc(struct weir_strbuf *b, char c);
void weir_strbuf_addf(struct weir_strbuf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void weir_strbuf_vaddf(struct weir_strbuf *b, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));
/* As a JSON string, quotes included; bytes that are not UTF-8 become U+FFFD. */
void weir_strbuf_add_json(struct weir_strbuf *b, const char *s, size_t len);
/* Removes the first `len` bytes. */
void weir_strbuf_consume(struct weir_strbuf *b, size_t len);
/* Hands the memory to the caller (weir_free), NULL if it failed or nothing was appended; the buffer is empty then. */
char *weir_strbuf_take(struct weir_strbuf *b);

#endif
