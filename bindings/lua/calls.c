/* Reads just so much of Lua that what stands in a comment or a string is not taken for a call. */
#include "lua/calls.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>

enum kind { END, NAME, STRING, OTHER };

struct token {
    enum kind kind;
    const char *text; /* STRING: without its quotes */
    size_t len;
    int line;
    bool plain; /* STRING: it says just what is written */
};

struct reader {
    const char *at, *end;
    int line;
};

static bool is_name(char c)
{
    return isalnum((unsigned char)c) || c == '_';
}

static char peek(const struct reader *r, size_t i)
{
    return i < (size_t)(r->end - r->at) ? r->at[i] : '\0';
}

static void step(struct reader *r)
{
    r->line += *r->at == '\n';
    r->at++;
}

/* Of "[[" or "[==[" at the reader: the number of signs from 1; 0: it is none. */
static size_t long_bracket(const struct reader *r)
{
    size_t n = 1;
    if (peek(r, 0) != '[')
        return 0;
    while (peek(r, n) == '=')
        n++;
    return peek(r, n) == '[' ? n : 0;
}

static void pass_long(struct reader *r, size_t level)
{
    for (; r->at < r->end; step(r)) {
        size_t n = 1;
        if (*r->at != ']')
            continue;
        while (peek(r, n) == '=')
            n++;
        if (n == level && peek(r, n) == ']') {
            r->at += n + 1;
            return;
        }
    }
}

/* White space and comments. */
static void pass_space(struct reader *r)
{
    while (r->at < r->end) {
        if (isspace((unsigned char)*r->at)) {
            step(r);
        } else if (peek(r, 0) == '-' && peek(r, 1) == '-') {
            r->at += 2;
            size_t level = long_bracket(r);
            if (level > 0)
                pass_long(r, level);
            while (level == 0 && r->at < r->end && *r->at != '\n')
                r->at++;
        } else {
            return;
        }
    }
}

static struct token read_string(struct reader *r)
{
    char quote = *r->at++;
    struct token t = {.kind = STRING, .text = r->at, .line = r->line, .plain = true};
    while (r->at < r->end && *r->at != quote && *r->at != '\n') {
        if (*r->at == '\\') {
            t.plain = false;
            step(r);
        }
        if (r->at < r->end)
            step(r);
    }
    t.len = (size_t)(r->at - t.text);
    if (r->at < r->end)
        step(r);
    return t;
}

static struct token next(struct reader *r)
{
    pass_space(r);
    struct token t = {.kind = OTHER, .text = r->at, .len = 1, .line = r->line};
    size_t level = long_bracket(r);
    if (r->at == r->end) {
        t.kind = END;
    } else if (level > 0) {
        t.kind = STRING;
        pass_long(r, level);
    } else if (*r->at == '"' || *r->at == '\'') {
        return read_string(r);
    } else if (is_name(*r->at)) {
        t.kind = NAME; /* or a number, which is nobody's name */
        while (r->at < r->end && is_name(*r->at))
            r->at++;
        t.len = (size_t)(r->at - t.text);
    } else {
        r->at++;
    }
    return t;
}

static bool is(const struct token *t, enum kind kind, const char *text)
{
    return t->kind == kind && t->len == strlen(text) && memcmp(t->text, text, t->len) == 0;
}

void weir_lua_find_calls(const char *text, size_t len,
                         void (*found)(void *arg, const char *port, size_t port_len, int line), void *arg)
{
    static const char *const words[] = {"weir", ".", "call"};
    enum { WORDS = 3 };
    struct reader r = {text, text + len, 1};
    size_t seen = 0;
    for (struct token t = next(&r); t.kind != END; t = next(&r)) {
        if (seen < WORDS) {
            seen = is(&t, seen == 1 ? OTHER : NAME, words[seen]) ? seen + 1 : is(&t, NAME, words[0]);
            continue;
        }
        seen = 0;
        bool bracket = is(&t, OTHER, "(");
        if (bracket)
            t = next(&r);
        struct reader ahead = r;
        struct token after = next(&ahead);
        if (t.kind == STRING && t.plain && (!bracket || is(&after, OTHER, ",") || is(&after, OTHER, ")")))
            found(arg, t.text, t.len, t.line);
        if (t.kind == END)
            return;
    }
}
