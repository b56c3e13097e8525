#include "lua/pattern.h"

#include <ctype.h>
#include <lauxlib.h>
#include <string.h>

#include "lua/lib.h"

enum {
    ESCAPE = '%',
    DEPTH_MAX = 200,
    LOOK_STEPS = 1 << 17, /* steps between looks at the limits: well under a millisecond */
    RUN_MAX = 1 << 15,    /* characters of a repetition that are counted at once */
};

/* --- steps --- */

void weir_matcher_refill(struct weir_matcher *m)
{
    if (m->later + m->left < 0)
        luaL_error(m->L,
                   "%s: the pattern took too many steps (limit %I); make it less ambiguous (fewer of * + - "
                   "that can match the "
                   "same text) or match less text at once",
                   m->name, (LUAI_UACINT)m->limit);
    weir_lib_look(m->L);
    m->later += m->left;
    m->left = m->later < LOOK_STEPS ? m->later : LOOK_STEPS;
    m->later -= m->left;
}

/* --- one character --- */

/* The end of the item at `p`, before its * + - ? if it has one. */
WEIR_L_RAISES static const char *item_end(struct weir_matcher *m, const char *p)
{
    char first = *p++;
    if (first == ESCAPE) {
        if (p == m->pattern_end)
            luaL_error(m->L, "malformed pattern (ends with '%%')");
        return p + 1;
    }
    if (first != '[')
        return p;
    if (*p == '^')
        p++;
    do { /* a ']' that comes first is one of the set */
        if (p == m->pattern_end)
            luaL_error(m->L, "malformed pattern (missing ']')");
        bool escaped = *p++ == ESCAPE;
        if (escaped && p < m->pattern_end)
            p++;
    } while (*p != ']');
    return p + 1;
}

static inline bool class_has(int class, int c)
{
    bool in;
    switch (class | 0x20) { /* letters in lower case; what becomes one that is none goes to default below */
    case 'a':
        in = isalpha(c);
        break;
    case 'c':
        in = iscntrl(c);
        break;
    case 'd':
        in = isdigit(c);
        break;
    case 'g':
        in = isgraph(c);
        break;
    case 'l':
        in = islower(c);
        break;
    case 'p':
        in = ispunct(c);
        break;
    case 's':
        in = isspace(c);
        break;
    case 'u':
        in = isupper(c);
        break;
    case 'w':
        in = isalnum(c);
        break;
    case 'x':
        in = isxdigit(c);
        break;
    case 'z': /* of Lua 5.1, and still there */
        in = c == 0;
        break;
    default:
        return class == c;
    }
    return (class & 0x20) != 0 ? in : !in;
}

/* `p` is at the '[', `last` at the ']'. */
static bool set_has(const char *p, const char *last, int c)
{
    bool found = true;
    if (p[1] == '^') {
        found = false;
        p++;
    }
    while (++p < last) {
        int from = (unsigned char)*p;
        if (from == ESCAPE) {
            p++;
            if (class_has((unsigned char)*p, c))
                return found;
        } else if (p[1] == '-' && p + 2 < last) {
            p += 2;
            if (from <= c && c <= (unsigned char)*p)
                return found;
        } else if (from == c) {
            return found;
        }
    }
    return !found;
}

static inline bool item_has(const char *p, const char *after, int c)
{
    switch (*p) {
    case '.':
        return true;
    case ESCAPE:
        return class_has((unsigned char)p[1], c);
    case '[':
        return set_has(p, after - 1, c);
    default:
        return (unsigned char)*p == c;
    }
}

/* --- repetitions --- */

/* How many of up to `max` characters at `s` are of the class. A loop for each, since the choice made once is
 * most of what a character costs otherwise. */
static ptrdiff_t class_run(int class, const char *text, ptrdiff_t max)
{
    const unsigned char *s = (const unsigned char *)text;
    ptrdiff_t n = 0;
    switch (class) {
    case 'a':
        while (n < max && isalpha(s[n]))
            n++;
        return n;
    case 'd':
        while (n < max && isdigit(s[n]))
            n++;
        return n;
    case 's':
        while (n < max && isspace(s[n]))
            n++;
        return n;
    case 'S':
        while (n < max && !isspace(s[n]))
            n++;
        return n;
    case 'w':
        while (n < max && isalnum(s[n]))
            n++;
        return n;
    default:
        while (n < max && class_has(class, s[n]))
            n++;
        return n;
    }
}

/* The same of a set. After some, its 256 answers are worked out. */
static ptrdiff_t set_run(const char *p, const char *last, const char *s, ptrdiff_t max)
{
    enum { ENOUGH = 256 };
    ptrdiff_t n = 0;
    while (n < max && n < ENOUGH && set_has(p, last, (unsigned char)s[n]))
        n++;
    if (n < ENOUGH || n == max)
        return n;
    bool has[256];
    for (int c = 0; c < 256; c++)
        has[c] = set_has(p, last, c);
    while (n < max && has[(unsigned char)s[n]])
        n++;
    return n;
}

static ptrdiff_t item_run(const char *p, const char *after, const char *s, ptrdiff_t max)
{
    ptrdiff_t n = 0;
    switch (*p) {
    case ESCAPE:
        return class_run((unsigned char)p[1], s, max);
    case '[':
        return set_run(p, after - 1, s, max);
    default:
        while (n < max && s[n] == *p)
            n++;
        return n;
    }
}

/* How many characters from `s` on are of the item. */
WEIR_L_RAISES static ptrdiff_t run_length(struct weir_matcher *m, const char *s, const char *p,
                                          const char *after)
{
    ptrdiff_t all = m->subject_end - s, n = 0;
    if (*p == '.')
        return all;
    for (;;) {
        ptrdiff_t max = all - n < RUN_MAX ? all - n : RUN_MAX, more = item_run(p, after, s + n, max);
        n += more;
        weir_matcher_spend(m, more + (after - p) / 8);
        if (more < max || n == all)
            return n;
    }
}

/* The character that what follows at `p` has to begin with; -1: it is not so simple. */
static int literal(const struct weir_matcher *m, const char *p)
{
    static const bool special[256] = {['^'] = true, ['$'] = true, ['*'] = true, ['+'] = true, ['?'] = true,
                                      ['.'] = true, ['('] = true, ['['] = true, [')'] = true, ['-'] = true};
    if (p >= m->pattern_end || special[(unsigned char)*p])
        return -1;
    if (*p == ESCAPE && (++p >= m->pattern_end || isalnum((unsigned char)*p)))
        return -1;
    return p[1] == '*' || p[1] == '?' || p[1] == '-' ? -1
                                                     : (unsigned char)*p; /* at the end p[1] is the NUL */
}

/* Skips going down one level where it would fail at once, but not its error. */
WEIR_L_RAISES static void check_depth(struct weir_matcher *m)
{
    if (m->depth == 0)
        luaL_error(m->L, "pattern too complex");
}

/* The rest of the pattern at the end of the longest run from `s` on that lets it match. */
WEIR_L_RAISES static const char *match_longest(struct weir_matcher *m, const char *s, const char *p,
                                               const char *after)
{
    const char *at = s + run_length(m, s, p, after), *rest = after + 1;
    int next = at - s > 2 ? literal(m, rest) : -1;
    if (next < 0) {
        for (; at >= s; at--) {
            const char *e = weir_matcher_match(m, at, rest);
            if (e != NULL)
                return e;
        }
        return NULL;
    }
    check_depth(m);
    if (at < m->subject_end)
        at++; /* the end of what is looked through: the character after the run may be the next one */
    for (;;) {
        const char *found = memrchr(s, next, (size_t)(at - s));
        weir_matcher_spend(m, (at - (found != NULL ? found : s)) / 16);
        const char *e = found != NULL ? weir_matcher_match(m, found, rest) : NULL;
        if (found == NULL || e != NULL)
            return e;
        at = found;
    }
}

/* … of the shortest. */
WEIR_L_RAISES static const char *match_shortest(struct weir_matcher *m, const char *s, const char *p,
                                                const char *after)
{
    const char *rest = after + 1;
    int next = literal(m, rest);
    if (next >= 0)
        check_depth(m);
    for (;;) {
        if (next < 0 || (s < m->subject_end && (unsigned char)*s == next)) {
            const char *e = weir_matcher_match(m, s, rest);
            if (e != NULL)
                return e;
        }
        weir_matcher_spend(m, 1 + (after - p) / 8);
        if (s >= m->subject_end || !item_has(p, after, (unsigned char)*s))
            return NULL;
        s++;
    }
}

/* --- captures --- */

WEIR_L_RAISES static const char *begin_capture(struct weir_matcher *m, const char *s, const char *p,
                                               ptrdiff_t len)
{
    if (m->level >= WEIR_PATTERN_CAPTURES)
        luaL_error(m->L, "too many captures");
    m->captures[m->level].at = s;
    m->captures[m->level].len = len;
    m->level++;
    const char *e = weir_matcher_match(m, s, p);
    if (e == NULL)
        m->level--;
    return e;
}

WEIR_L_RAISES static const char *end_capture(struct weir_matcher *m, const char *s, const char *p)
{
    int i = m->level - 1;
    while (i >= 0 && m->captures[i].len != WEIR_CAPTURE_OPEN)
        i--;
    if (i < 0)
        luaL_error(m->L, "invalid pattern capture");
    m->captures[i].len = s - m->captures[i].at;
    const char *e = weir_matcher_match(m, s, p);
    if (e == NULL)
        m->captures[i].len = WEIR_CAPTURE_OPEN;
    return e;
}

/* %1 … %9 */
WEIR_L_RAISES static const char *match_same(struct weir_matcher *m, const char *s, int digit)
{
    int i = digit - '1';
    if (i < 0 || i >= m->level || m->captures[i].len == WEIR_CAPTURE_OPEN)
        luaL_error(m->L, "invalid capture index %%%d", i + 1);
    ptrdiff_t len = m->captures[i].len;
    if (len == WEIR_CAPTURE_POSITION || m->subject_end - s < len)
        return NULL;
    weir_matcher_spend(m, len / 16);
    return memcmp(m->captures[i].at, s, (size_t)len) == 0 ? s + len : NULL;
}

/* %bxy; `p` is at the x. */
WEIR_L_RAISES static const char *match_balanced(struct weir_matcher *m, const char *s, const char *p)
{
    if (p + 1 >= m->pattern_end)
        luaL_error(m->L, "malformed pattern (missing arguments to '%%b')");
    if (s >= m->subject_end || *s != p[0])
        return NULL;
    const char open = p[0], close = p[1];
    ptrdiff_t depth = 1;
    for (s++; s < m->subject_end;) {
        const char *from = s, *to = m->subject_end - s < RUN_MAX ? m->subject_end : s + RUN_MAX;
        for (; s < to; s++) {
            if (*s == close) {
                if (--depth == 0)
                    return s + 1;
            } else if (*s == open) {
                depth++;
            }
        }
        weir_matcher_spend(m, s - from);
    }
    return NULL;
}

/* %f[set]; `p` is at the set. Returns what follows it, NULL: no frontier here. */
WEIR_L_RAISES static const char *match_frontier(struct weir_matcher *m, const char *s, const char *p)
{
    if (*p != '[')
        luaL_error(m->L, "missing '[' after '%%f' in pattern");
    const char *after = item_end(m, p);
    int before = s == m->subject ? 0 : (unsigned char)s[-1]; /* at the end, *s is the NUL */
    weir_matcher_spend(m, (after - p) / 4);
    return !set_has(p, after - 1, before) && set_has(p, after - 1, (unsigned char)*s) ? after : NULL;
}

/* --- the pattern --- */

/* Matches the special item at `*p` and goes past it. false: it is none, but a character. `*s` NULL: no match.
 */
WEIR_L_RAISES static bool match_escape(struct weir_matcher *m, const char **s, const char **p)
{
    const char *after;
    switch ((*p)[1]) {
    case 'b':
        *s = match_balanced(m, *s, *p + 2);
        *p += 4;
        return true;
    case 'f':
        after = match_frontier(m, *s, *p + 2);
        if (after == NULL)
            *s = NULL;
        *p = after;
        return true;
    case '0':
    case '1':
    case '2':
    case '3':
    case '4':
    case '5':
    case '6':
    case '7':
    case '8':
    case '9':
        *s = match_same(m, *s, (*p)[1]);
        *p += 2;
        return true;
    default:
        return false;
    }
}

/* Matches the character item at `*p`, with its repetition. true: go on after it at `*s`; false: `*s` is what
 * the whole came to. */
WEIR_L_RAISES static inline bool match_item(struct weir_matcher *m, const char **s, const char **p)
{
    const char *after = item_end(m, *p), *e;
    if (after - *p > 8)
        weir_matcher_spend(m, (after - *p) / 4);
    bool one = *s < m->subject_end && item_has(*p, after, (unsigned char)**s);
    switch (*after) { /* the NUL at the pattern's end is none of these */
    case '?':
        e = one ? weir_matcher_match(m, *s + 1, after + 1) : NULL;
        if (e != NULL) {
            *s = e;
            return false;
        }
        *p = after + 1;
        return true;
    case '*':
    case '-':
        if (!one) {
            *p = after + 1;
            return true;
        }
        *s = *after == '*' ? match_longest(m, *s, *p, after) : match_shortest(m, *s, *p, after);
        return false;
    case '+':
        *s = one ? match_longest(m, *s + 1, *p, after) : NULL;
        return false;
    default:
        *s = one ? *s + 1 : NULL;
        *p = after;
        return one;
    }
}

WEIR_L_RAISES static const char *match_here(struct weir_matcher *m, const char *s, const char *p)
{
    while (p != m->pattern_end) {
        weir_matcher_spend(m, 1);
        switch (*p) {
        case '(':
            return p[1] == ')' ? begin_capture(m, s, p + 2, WEIR_CAPTURE_POSITION)
                               : begin_capture(m, s, p + 1, WEIR_CAPTURE_OPEN);
        case ')':
            return end_capture(m, s, p + 1);
        case '$':
            if (p + 1 == m->pattern_end)
                return s == m->subject_end ? s : NULL;
            break;
        case ESCAPE:
            if (match_escape(m, &s, &p)) {
                if (s == NULL)
                    return NULL;
                continue;
            }
            break;
        default:
            break;
        }
        if (!match_item(m, &s, &p))
            return s;
    }
    return s;
}

const char *weir_matcher_match(struct weir_matcher *m, const char *s, const char *p)
{
    check_depth(m);
    weir_matcher_spend(m, 2);
    m->depth--;
    s = match_here(m, s, p);
    m->depth++;
    return s;
}

void weir_matcher_again(struct weir_matcher *m, lua_State *L)
{
    m->L = L;
    m->left = LOOK_STEPS;
    m->later = m->limit - LOOK_STEPS;
    m->depth = DEPTH_MAX;
    m->level = 0;
}

void weir_matcher_begin(struct weir_matcher *m, lua_State *L, const char *name, const char *subject,
                        size_t subject_len, const char *pattern, size_t pattern_len)
{
    m->name = name;
    m->subject = subject;
    m->subject_end = subject + subject_len;
    m->pattern_end = pattern + pattern_len;
    m->limit = WEIR_PATTERN_STEPS + WEIR_PATTERN_STEPS_PER_BYTE * (int64_t)subject_len;
    weir_matcher_again(m, L);
    m->misses = 0;
    m->knows_first = false;
    m->lead = literal(m, pattern_len > 1 && pattern[0] == '(' && pattern[1] != '(' ? pattern + 1 : pattern);
}

/* Works out what a match can begin with, from the first item of a pattern that has been tried some times. */
WEIR_L_RAISES static void learn_first(struct weir_matcher *m, const char *p)
{
    if (p[0] == '(' && p[1] != ')')
        p++;
    if (p == m->pattern_end || strchr("()$.", *p) != NULL ||
        (*p == ESCAPE && strchr("bf0123456789", p[1]) != NULL))
        return;
    const char *after = item_end(m, p);
    if (*after == '*' || *after == '?' || *after == '-')
        return;
    for (int c = 0; c < 256; c++)
        m->first[c] = item_has(p, after, c);
    weir_matcher_spend(m, 64 * (after - p));
    m->knows_first = true;
}

/* The first place from `s` on where a match may begin; NULL: there is none. */
WEIR_L_RAISES static const char *seek(struct weir_matcher *m, const char *s)
{
    if (m->lead >= 0) {
        const char *found = memchr(s, m->lead, (size_t)(m->subject_end - s));
        weir_matcher_spend(m, ((found != NULL ? found : m->subject_end) - s) / 16);
        return found;
    }
    for (;;) {
        const char *from = s, *to = m->subject_end - s < RUN_MAX ? m->subject_end : s + RUN_MAX;
        while (s < to && !m->first[(unsigned char)*s])
            s++;
        weir_matcher_spend(m, (s - from) / 4);
        if (s < to)
            return s;
        if (s == m->subject_end)
            return NULL;
    }
}

const char *weir_matcher_search(struct weir_matcher *m, const char *s, const char *p, bool anchored,
                                const char **ret_end)
{
    enum { MISSES_TO_LEARN = 100 };
    for (;;) {
        if ((m->lead >= 0 || m->knows_first) && !anchored && (s = seek(m, s)) == NULL)
            return NULL;
        m->level = 0;
        const char *e = weir_matcher_match(m, s, p);
        if (e != NULL) {
            *ret_end = e;
            return s;
        }
        if (s++ >= m->subject_end || anchored)
            return NULL;
        if (m->misses <= MISSES_TO_LEARN && m->misses++ == MISSES_TO_LEARN && m->lead < 0)
            learn_first(m, p);
    }
}

const char *weir_matcher_capture(struct weir_matcher *m, int i, const char *s, const char *e, size_t *ret_len)
{
    if (i >= m->level) {
        if (i != 0)
            luaL_error(m->L, "invalid capture index %%%d", i + 1);
        *ret_len = (size_t)(e - s);
        return s;
    }
    ptrdiff_t len = m->captures[i].len;
    if (len == WEIR_CAPTURE_OPEN)
        luaL_error(m->L, "unfinished capture");
    if (len == WEIR_CAPTURE_POSITION) {
        lua_pushinteger(m->L, m->captures[i].at - m->subject + 1);
        return NULL;
    }
    *ret_len = (size_t)len;
    return m->captures[i].at;
}

void weir_matcher_push(struct weir_matcher *m, int i, const char *s, const char *e)
{
    size_t len;
    const char *text = weir_matcher_capture(m, i, s, e, &len);
    if (text != NULL)
        lua_pushlstring(m->L, text, len);
}

int weir_matcher_push_all(struct weir_matcher *m, const char *s, const char *e)
{
    int count = m->level == 0 && s != NULL ? 1 : m->level;
    luaL_checkstack(m->L, count, "too many captures");
    for (int i = 0; i < count; i++)
        weir_matcher_push(m, i, s, e);
    return count;
}
