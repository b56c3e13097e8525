/* string.find, match, gmatch and gsub on pattern.h. A function given to gsub is called without a
 * continuation, as by the stock gsub: it can't wait. */
#include <ctype.h>
#include <lauxlib.h>
#include <string.h>

#include "lua/lib.h"
#include "lua/pattern.h"

/* --- plain text --- */

enum {
    PLAIN_FEW = 16,          /* places where the first byte fits, before memmem is worth its preparation */
    PLAIN_PIECE = 4 << 20,   /* bytes searched between looks at the limits */
    PLAIN_PREFIX = 64 << 10, /* of a longer text this much is searched in such pieces, the rest compared */
};

/* memmem is linear in both, but for the rest of a needle longer than PLAIN_PREFIX in a subject of several
 * pieces; what comparing that takes is counted. */
WEIR_L_RAISES static const char *find_in_pieces(struct weir_matcher *m, const char *s, const char *needle,
                                                size_t len)
{
    size_t prefix = len < PLAIN_PREFIX || m->subject_end - s <= PLAIN_PIECE ? len : PLAIN_PREFIX;
    while ((size_t)(m->subject_end - s) >= len) {
        size_t room = (size_t)(m->subject_end - s), piece = room < PLAIN_PIECE ? room : PLAIN_PIECE;
        const char *found = memmem(s, piece, needle, prefix);
        if (found == NULL && piece == room)
            return NULL;
        if (found == NULL) {
            s += piece - prefix + 1;
            weir_lib_look(m->L);
            continue;
        }
        if ((size_t)(m->subject_end - found) < len)
            return NULL;
        if (len == prefix || memcmp(found + prefix, needle + prefix, len - prefix) == 0)
            return found;
        weir_matcher_spend(m, (ptrdiff_t)((len - prefix) / 8));
        s = found + 1;
    }
    return NULL;
}

WEIR_L_RAISES static const char *find_plain(struct weir_matcher *m, const char *s, const char *needle,
                                            size_t len)
{
    if (len == 0)
        return s;
    const char *last = m->subject_end - len; /* where it may begin */
    for (int i = 0; i < PLAIN_FEW; i++) {
        if (s > last)
            return NULL;
        s = memchr(s, *needle, (size_t)(last - s) + 1);
        if (s == NULL)
            return NULL;
        if (len <= PLAIN_PREFIX && memcmp(s, needle, len) == 0)
            return s;
        if (len > PLAIN_PREFIX)
            break;
        s++;
    }
    return find_in_pieces(m, s, needle, len);
}

static bool has_specials(const char *p, size_t len)
{
    const char *end = p + len;
    do {
        if (strpbrk(p, "^$*+?.([%-") != NULL)
            return true;
        p += strlen(p) + 1; /* past a NUL in it */
    } while (p <= end);
    return false;
}

/* --- find, match --- */

/* The index from 0 that argument `idx` means in a text of `len` bytes; `len` + 1 or more: after its end. */
WEIR_L_RAISES static size_t start_index(lua_State *L, int idx, size_t len)
{
    lua_Integer i = luaL_optinteger(L, idx, 1);
    if (i > 0)
        return (size_t)i - 1;
    if (i == 0 || i < -(lua_Integer)len)
        return 0;
    return len - (size_t)(-i);
}

WEIR_L_RAISES static int push_nothing(lua_State *L)
{
    lua_pushnil(L);
    return 1;
}

WEIR_L_RAISES static int l_find(lua_State *L)
{
    size_t len, pattern_len;
    const char *s = luaL_checklstring(L, 1, &len), *p = luaL_checklstring(L, 2, &pattern_len), *e;
    size_t from = start_index(L, 3, len);
    struct weir_matcher m;
    if (from > len)
        return push_nothing(L);
    bool plain = lua_toboolean(L, 4) || !has_specials(p, pattern_len), anchored = !plain && *p == '^';
    p += anchored;
    pattern_len -= anchored;
    weir_matcher_begin(&m, L, "string.find", s, len, p, pattern_len);
    const char *found =
        plain ? find_plain(&m, s + from, p, pattern_len) : weir_matcher_search(&m, s + from, p, anchored, &e);
    if (found == NULL)
        return push_nothing(L);
    if (plain)
        e = found + pattern_len;
    lua_pushinteger(L, found - s + 1);
    lua_pushinteger(L, e - s);
    return 2 + (plain ? 0 : weir_matcher_push_all(&m, NULL, NULL));
}

WEIR_L_RAISES static int l_match(lua_State *L)
{
    size_t len, pattern_len;
    const char *s = luaL_checklstring(L, 1, &len), *p = luaL_checklstring(L, 2, &pattern_len), *e;
    size_t from = start_index(L, 3, len);
    struct weir_matcher m;
    if (from > len)
        return push_nothing(L);
    bool anchored = *p == '^';
    weir_matcher_begin(&m, L, "string.match", s, len, p + anchored, pattern_len - anchored);
    const char *found = weir_matcher_search(&m, s + from, p + anchored, anchored, &e);
    return found != NULL ? weir_matcher_push_all(&m, found, e) : push_nothing(L);
}

/* --- gmatch --- */

/* Where a gmatch is; its subject and pattern are the iterator's upvalues 1 and 2, this the third. */
struct walk {
    struct weir_matcher m;
    const char *pattern;
    const char *at;   /* where it looks next; NULL: it has ended */
    const char *last; /* where the last match ended; NULL: none yet */
};

WEIR_L_RAISES static int l_gmatch_next(lua_State *L)
{
    struct walk *w = lua_touserdata(L, lua_upvalueindex(3));
    const char *at = w->at, *e;
    weir_matcher_again(&w->m, L); /* each match has its own limit: between them the script can be stopped */
    while (at != NULL && (at = weir_matcher_search(&w->m, at, w->pattern, false, &e)) != NULL) {
        if (e != w->last) {
            w->at = w->last = e;
            return weir_matcher_push_all(&w->m, at, e);
        }
        if (at++ >= w->m.subject_end)
            break;
    }
    return 0;
}

WEIR_L_RAISES static int l_gmatch(lua_State *L)
{
    size_t len, pattern_len;
    const char *s = luaL_checklstring(L, 1, &len), *p = luaL_checklstring(L, 2, &pattern_len);
    size_t from = start_index(L, 3, len);
    lua_settop(L, 2);
    struct walk *w = lua_newuserdatauv(L, sizeof *w, 0);
    weir_matcher_begin(&w->m, L, "string.gmatch", s, len, p, pattern_len);
    w->pattern = p;
    w->at = from > len ? NULL : s + from;
    w->last = NULL;
    lua_pushcclosure(L, l_gmatch_next, 3);
    return 1;
}

/* --- gsub --- */

enum { SUBJECT = 1, REPLACEMENT = 3 };

struct gsub {
    struct weir_matcher m;
    luaL_Buffer out;
    int type;   /* of the replacement */
    bool fixed; /* a text without % */
};

WEIR_L_RAISES static void add_text(struct gsub *g, const char *s, size_t len)
{
    weir_matcher_spend(&g->m, (ptrdiff_t)(len / 2));
    luaL_addlstring(&g->out, s, len);
}

/* Adds the replacement text, with its %0 … %9. */
WEIR_L_RAISES static void add_template(struct gsub *g, const char *s, const char *e)
{
    lua_State *L = g->m.L;
    size_t len;
    const char *text = lua_tolstring(L, REPLACEMENT, &len), *end = text + len, *mark;
    while ((mark = memchr(text, '%', (size_t)(end - text))) != NULL) {
        size_t capture_len;
        add_text(g, text, (size_t)(mark - text));
        char c = mark[1]; /* at the end the NUL */
        if (c == '%') {
            luaL_addchar(&g->out, '%');
        } else if (c == '0') {
            add_text(g, s, (size_t)(e - s));
        } else if (isdigit((unsigned char)c)) {
            const char *capture = weir_matcher_capture(&g->m, c - '1', s, e, &capture_len);
            if (capture == NULL)
                luaL_addvalue(&g->out);
            else
                add_text(g, capture, capture_len);
        } else {
            luaL_error(L, "invalid use of '%%' in replacement string");
        }
        weir_matcher_spend(&g->m, 1);
        text = mark + 2;
    }
    add_text(g, text, (size_t)(end - text));
}

/* Adds what a function or table has for the match; true: not the match itself. */
WEIR_L_RAISES static bool add_looked_up(struct gsub *g, const char *s, const char *e)
{
    lua_State *L = g->m.L;
    if (g->type == LUA_TFUNCTION) {
        lua_pushvalue(L, REPLACEMENT);
        lua_call(L, weir_matcher_push_all(&g->m, s, e), 1);
    } else {
        weir_matcher_push(&g->m, 0, s, e);
        lua_gettable(L, REPLACEMENT);
    }
    if (!lua_toboolean(L, -1)) {
        lua_pop(L, 1);
        add_text(g, s, (size_t)(e - s));
        return false;
    }
    if (!lua_isstring(L, -1))
        luaL_error(L, "invalid replacement value (a %s)", luaL_typename(L, -1));
    weir_matcher_spend(&g->m, (ptrdiff_t)(lua_rawlen(L, -1) / 2));
    luaL_addvalue(&g->out);
    return true;
}

WEIR_L_RAISES static bool add_replacement(struct gsub *g, const char *s, const char *e)
{
    if (g->type == LUA_TFUNCTION || g->type == LUA_TTABLE)
        return add_looked_up(g, s, e);
    if (g->fixed) {
        size_t len;
        const char *text = lua_tolstring(g->m.L, REPLACEMENT, &len);
        add_text(g, text, len);
    } else {
        add_template(g, s, e);
    }
    return true;
}

/* Replaces up to `max` matches; returns how many, and whether the result is another text. */
WEIR_L_RAISES static lua_Integer substitute(struct gsub *g, const char *p, bool anchored, lua_Integer max,
                                            bool *ret_changed)
{
    struct weir_matcher *m = &g->m;
    const char *from = m->subject, *at = from, *last = NULL, *e; /* up to `from` all is in the result */
    lua_Integer n = 0;
    while (n < max && (at = weir_matcher_search(m, at, p, anchored, &e)) != NULL) {
        if (e != last) {
            n++;
            add_text(g, from, (size_t)(at - from));
            *ret_changed |= add_replacement(g, at, e);
            from = at = last = e;
        } else if (at < m->subject_end) {
            at++;
        } else {
            break;
        }
        if (anchored)
            break;
    }
    if (*ret_changed)
        add_text(g, from, (size_t)(m->subject_end - from));
    return n;
}

WEIR_L_RAISES static int l_gsub(lua_State *L)
{
    size_t len, pattern_len;
    const char *s = luaL_checklstring(L, SUBJECT, &len), *p = luaL_checklstring(L, 2, &pattern_len);
    struct gsub g = {.type = lua_type(L, REPLACEMENT)};
    lua_Integer max = luaL_optinteger(L, 4, (lua_Integer)len + 1);
    bool changed = false, anchored = *p == '^';
    luaL_argexpected(
        L, g.type == LUA_TNUMBER || g.type == LUA_TSTRING || g.type == LUA_TFUNCTION || g.type == LUA_TTABLE,
        REPLACEMENT, "string/function/table");
    if (g.type == LUA_TNUMBER || g.type == LUA_TSTRING) {
        size_t text_len;
        const char *text = lua_tolstring(L, REPLACEMENT, &text_len);
        g.fixed = memchr(text, '%', text_len) == NULL;
    }
    p += anchored;
    weir_matcher_begin(&g.m, L, "string.gsub", s, len, p, pattern_len - anchored);
    luaL_buffinit(L, &g.out);
    lua_Integer n = substitute(&g, p, anchored, max, &changed);
    if (changed)
        luaL_pushresult(&g.out);
    else
        lua_pushvalue(L, SUBJECT);
    lua_pushinteger(L, n);
    return 2;
}

void weir_lib_match_open(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"find", l_find}, {"match", l_match}, {"gmatch", l_gmatch}, {"gsub", l_gsub}, {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
}
