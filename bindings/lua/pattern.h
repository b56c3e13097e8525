/* bindings/lua/pattern.h - Lua's patterns, matched as the stock library does, with a bound on the work: a
 * hostile pattern costs an error instead of the worker, since no hook can end a C function.
 *
 * Work is counted in steps (about one for each pattern item tried, and each character that a repetition runs
 * over). Every so many steps it asks whether the call is over its limits (preempt.h). Recursion is bounded as
 * in the stock library: one level for each capture and repetition that is open, at most 200, then "pattern
 * too complex". Threads: the VM's. Owner: the caller, on its stack. Subject and pattern are Lua strings,
 * which end in a NUL that may be read. */
#ifndef WEIR_LUA_PATTERN_H
#define WEIR_LUA_PATTERN_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lua/vm.h"

enum {
    WEIR_PATTERN_CAPTURES = 32,
    WEIR_PATTERN_STEPS = 4000000,    /* of one call, whatever its subject … */
    WEIR_PATTERN_STEPS_PER_BYTE = 4, /* … and these for each byte of that */
};

/* `len` of a capture that is not a length. */
enum { WEIR_CAPTURE_OPEN = -1, WEIR_CAPTURE_POSITION = -2 };

struct weir_matcher {
    lua_State *L;
    const char *name; /* of the function, for messages */
    const char *subject, *subject_end, *pattern_end;
    int64_t left;  /* steps until the next look at the limits */
    int64_t later; /* steps after that */
    int64_t limit;
    int depth;  /* levels of recursion left */
    int lead;   /* the byte that every match begins with; -1: not known */
    int level;  /* captures, ended or not */
    int misses; /* places where it did not match */
    bool knows_first;
    struct {
        const char *at;
        ptrdiff_t len;
    } captures[WEIR_PATTERN_CAPTURES];
    bool first[256]; /* the bytes that a match can begin with, if it is known */
};

/* `pattern` is what is matched, without the `^` of an anchor. */
void weir_matcher_begin(struct weir_matcher *m, lua_State *L, const char *name, const char *subject,
                        size_t subject_len, const char *pattern, size_t pattern_len);
/* The same subject and pattern, with all of the limit again; also after an error. */
void weir_matcher_again(struct weir_matcher *m, lua_State *L);
/* Matches `p` at `s` alone: the end of the match, or NULL. Raises for a malformed pattern, and over the
 * limit. */
WEIR_L_RAISES const char *weir_matcher_match(struct weir_matcher *m, const char *s, const char *p);
/* The first match from `s` on (at `s` alone, if it is anchored) and its end; NULL: there is none. */
WEIR_L_RAISES const char *weir_matcher_search(struct weir_matcher *m, const char *s, const char *p,
                                              bool anchored, const char **ret_end);
/* Pushes capture `i` (from 0; capture 0 of a pattern without captures is the match, from `s` to `e`). */
WEIR_L_RAISES void weir_matcher_push(struct weir_matcher *m, int i, const char *s, const char *e);
/* Its bytes; NULL: it is a position, which has been pushed. */
WEIR_L_RAISES const char *weir_matcher_capture(struct weir_matcher *m, int i, const char *s, const char *e,
                                               size_t *ret_len);
/* Pushes all of them and returns how many; `s` NULL: not the whole match. */
WEIR_L_RAISES int weir_matcher_push_all(struct weir_matcher *m, const char *s, const char *e);
/* Raises when the steps are used up or the call is to end. */
WEIR_L_RAISES void weir_matcher_refill(struct weir_matcher *m);

/* Counts work. */
WEIR_L_RAISES static inline void weir_matcher_spend(struct weir_matcher *m, ptrdiff_t steps)
{
    m->left -= steps;
    if (__builtin_expect(m->left < 0, 0))
        weir_matcher_refill(m);
}

#endif
