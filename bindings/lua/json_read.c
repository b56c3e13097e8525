/* Values go onto the Lua stack as they are read. Those of a table stay there until there are BATCH of them or its end comes, so that most
 * tables are made in their right size. The text's NUL ends every loop: it is in no token. */
#include <lauxlib.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_chars.h"
#include "lua/json.h"
#include "lua/lib.h"

enum {
    BATCH = 16,         /* entries of a table that wait on the stack */
    SHORT = 40,         /* bytes up to which equal strings are one object in Lua, at one address (lstring.c) */
    POLL_EVERY = 4096,  /* values between two looks at the limits */
    EXACT_DIGITS = 15,  /* of a mantissa that a double holds exactly */
    EXACT_POWER = 22,   /* the greatest power of ten that it holds exactly */
    INTEGER_DIGITS = 18 /* that never overflow 64 bits */
};

struct reader {
    lua_State *L;
    struct weir_vm *vm;
    const unsigned char *begin, *at, *end;
    const char *why;   /* what is wrong at `at`, once a function has returned false */
    bool too_deep;
    int depth;
    unsigned until_poll;
};

static bool fail(struct reader *r, const unsigned char *at, const char *why)
{
    r->at = at;
    r->why = why;
    return false;
}

static inline void skip_space(struct reader *r)
{
    while (*r->at <= ' ' && (*r->at == ' ' || *r->at == '\n' || *r->at == '\r' || *r->at == '\t'))
        r->at++;
}

/* --- strings --- */

WEIR_L_RAISES static void append(struct reader *r, const void *bytes, size_t len)
{
    struct weir_vm_buffer *out = &r->vm->buffer;
    if (out->cap - out->len < len)
        weir_vm_buffer_grow(r->L, len);
    if (len > 0)
        memcpy(out->data + out->len, bytes, len);
    out->len += len;
}

WEIR_L_RAISES static void append_character(struct reader *r, unsigned c)
{
    unsigned char b[4];
    if (c < 0x80) {
        b[0] = (unsigned char)c;
        append(r, b, 1);
    } else if (c < 0x800) {
        b[0] = (unsigned char)(0xc0 | c >> 6);
        b[1] = (unsigned char)(0x80 | (c & 0x3f));
        append(r, b, 2);
    } else if (c < 0x10000) {
        b[0] = (unsigned char)(0xe0 | c >> 12);
        b[1] = (unsigned char)(0x80 | (c >> 6 & 0x3f));
        b[2] = (unsigned char)(0x80 | (c & 0x3f));
        append(r, b, 3);
    } else {
        b[0] = (unsigned char)(0xf0 | c >> 18);
        b[1] = (unsigned char)(0x80 | (c >> 12 & 0x3f));
        b[2] = (unsigned char)(0x80 | (c >> 6 & 0x3f));
        b[3] = (unsigned char)(0x80 | (c & 0x3f));
        append(r, b, 4);
    }
}

/* The four hexadecimal digits at `s`; -1: they are none. */
static int hex4(const unsigned char *s)
{
    int value = 0;
    for (int i = 0; i < 4; i++) {
        int c = s[i], digit = c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
        if (digit < 0)
            return -1;
        value = value << 4 | digit;
    }
    return value;
}

/* Decodes the "\u…" at `at`, a pair of them for what is above U+FFFF. Returns what follows; NULL: malformed. */
WEIR_L_RAISES static const unsigned char *read_unicode(struct reader *r, const unsigned char *at)
{
    int c = hex4(at + 2);
    if (c >= 0xd800 && c < 0xdc00 && at[6] == '\\' && at[7] == 'u') {
        int low = hex4(at + 8);
        if (low >= 0xdc00 && low < 0xe000) {
            append_character(r, 0x10000u + ((unsigned)(c - 0xd800) << 10) + (unsigned)(low - 0xdc00));
            return at + 12;
        }
    }
    if (c < 0 || (c >= 0xd800 && c < 0xe000)) {
        fail(r, at, c < 0 ? "four hexadecimal digits must follow \\u" : "half of a surrogate pair is no character");
        return NULL;
    }
    append_character(r, (unsigned)c);
    return at + 6;
}

/* Decodes the escape at `at`. Returns what follows; NULL: malformed. */
WEIR_L_RAISES static const unsigned char *read_escape(struct reader *r, const unsigned char *at)
{
    static const char meanings[][2] = {{'"', '"'},  {'\\', '\\'}, {'/', '/'},  {'b', '\b'},
                                       {'f', '\f'}, {'n', '\n'},  {'r', '\r'}, {'t', '\t'}};
    if (at[1] == 'u')
        return read_unicode(r, at);
    for (size_t i = 0; i < sizeof meanings / sizeof meanings[0]; i++) {
        if (at[1] == (unsigned char)meanings[i][0]) {
            append(r, &meanings[i][1], 1);
            return at + 2;
        }
    }
    fail(r, at, "there is no such escape in JSON");
    return NULL;
}

/* A string with escapes or characters beyond ASCII, the first of them at `at`: it is put together in the VM's buffer if it has escapes. */
WEIR_L_RAISES static const char *read_odd_string(struct reader *r, const unsigned char *from, const unsigned char *at)
{
    struct weir_vm_buffer *out = &r->vm->buffer;
    const unsigned char *run = from; /* what is not in the buffer yet */
    size_t start = out->len;
    while (*at != '"') {
        size_t n = *at >= 0x80 ? weir_json_chars_utf8(at, (size_t)(r->end - at)) : 0;
        if (n == 0 && *at != '\\') {
            fail(r, at, *at >= 0x80 ? "bytes that are not UTF-8"
                        : at == r->end ? "the text ends inside a string"
                                       : "a control character in a string must be escaped");
            out->len = start;
            return NULL;
        }
        if (n == 0) {
            append(r, run, (size_t)(at - run));
            run = read_escape(r, at);
            if (run == NULL) {
                out->len = start;
                return NULL;
            }
            at = run;
        } else {
            at += n;
        }
        at += weir_json_chars_plain(at, (size_t)(r->end - at));
    }
    r->at = at + 1;
    if (run == from)
        return lua_pushlstring(r->L, (const char *)from, (size_t)(at - from));
    append(r, run, (size_t)(at - run));
    size_t len = out->len - start;
    out->len = start; /* nobody writes there before it is copied */
    return lua_pushlstring(r->L, (const char *)out->data + start, len);
}

/* Pushes the string whose quote is at r->at, and returns its bytes; NULL: malformed. */
WEIR_L_RAISES static inline const char *read_string(struct reader *r)
{
    const unsigned char *from = r->at + 1, *at = from + weir_json_chars_plain(from, (size_t)(r->end - from));
    if (*at != '"')
        return read_odd_string(r, from, at);
    r->at = at + 1;
    return lua_pushlstring(r->L, (const char *)from, (size_t)(at - from));
}

/* --- numbers --- */

static inline bool is_digit(unsigned char c)
{
    return c >= '0' && c <= '9';
}

/* An integer of more digits than always fit. */
static bool push_long_integer(struct reader *r, const unsigned char *from, const unsigned char *digits, const unsigned char *end)
{
    bool minus = *from == '-';
    uint64_t limit = (uint64_t)INT64_MAX + minus, u = 0;
    for (const unsigned char *s = digits; s < end; s++) {
        uint64_t digit = (uint64_t)(*s - '0');
        if (u > (limit - digit) / 10)
            return fail(r, from, "an integer that does not fit into 64 bits (with a point or an exponent it is a float)");
        u = u * 10 + digit;
    }
    lua_pushinteger(r->L, (lua_Integer)(minus ? 0 - u : u));
    return true;
}

/* A number with a point or an exponent; `u` are its digits if there are at most EXACT_DIGITS, and `power` is that of ten that they are
 * multiplied by. Both being exact, one operation rounds as the text does. Else the library does it. */
static bool push_float(struct reader *r, const unsigned char *from, uint64_t u, size_t digits, int power)
{
    static const double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                    1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    double d;
    if (digits <= EXACT_DIGITS && power >= -EXACT_POWER && power <= EXACT_POWER) {
        d = power < 0 ? (double)u / powers[-power] : (double)u * powers[power];
        d = *from == '-' ? -d : d;
    } else {
        d = strtod((const char *)from, NULL); /* what follows the number is in no number */
    }
    if (isinf(d))
        return fail(r, from, "a number that is larger than any double");
    lua_pushnumber(r->L, d);
    return true;
}

static bool read_number(struct reader *r)
{
    const unsigned char *from = r->at, *s = from + (*from == '-'), *digits = s;
    uint64_t u = 0;
    int places = 0, exponent = 0;
    if (!is_digit(*s))
        return fail(r, from, "a digit must follow the minus");
    while (is_digit(*s))
        u = u * 10 + (uint64_t)(*s++ - '0'); /* nonsense when there are too many, and not used then */
    size_t count = (size_t)(s - digits);
    if (*digits == '0' && count > 1)
        return fail(r, from, "a number must not begin with 0");
    if (*s != '.' && (*s | 32) != 'e') {
        r->at = s;
        if (count > INTEGER_DIGITS)
            return push_long_integer(r, from, digits, s);
        lua_pushinteger(r->L, *from == '-' ? -(lua_Integer)u : (lua_Integer)u);
        return true;
    }
    if (*s == '.') {
        const unsigned char *fraction = ++s;
        while (is_digit(*s))
            u = u * 10 + (uint64_t)(*s++ - '0');
        if (s == fraction)
            return fail(r, s, "a digit must follow the point");
        count += (size_t)(s - fraction);
        places = s - fraction <= EXACT_DIGITS ? (int)(s - fraction) : 0;
    }
    if ((*s | 32) == 'e') {
        s++;
        bool minus = *s == '-';
        s += *s == '-' || *s == '+';
        if (!is_digit(*s))
            return fail(r, s, "a digit must follow the exponent's sign");
        for (; is_digit(*s); s++)
            exponent = exponent < 10000 ? exponent * 10 + (*s - '0') : exponent;
        exponent = minus ? -exponent : exponent;
    }
    r->at = s;
    return push_float(r, from, u, count, exponent - places);
}

/* --- tables --- */

WEIR_L_RAISES static bool read_value(struct reader *r);

/* An object under way: its place on the stack is `t`, and above it the entries that wait. */
struct object {
    int t;
    bool made; /* the table is there; else nil keeps its place */
    size_t waiting;
    const char *keys[BATCH]; /* of those */
};

/* Whether the key at the top of the stack, whose bytes are at `key`, was there before. */
static bool is_duplicate(struct reader *r, const struct object *o, const char *key)
{
    lua_State *L = r->L;
    for (size_t i = 0; i < o->waiting; i++)
        if (o->keys[i] == key)
            return true;
    if (lua_rawlen(L, -1) > SHORT)
        for (size_t i = 0; i < o->waiting; i++)
            if (lua_rawequal(L, o->t + 1 + 2 * (int)i, -1))
                return true;
    if (!o->made)
        return false;
    lua_pushvalue(L, -1);
    bool there = lua_rawget(L, o->t) != LUA_TNIL;
    lua_pop(L, 1);
    return there;
}

WEIR_L_RAISES static void settle_object(struct reader *r, struct object *o, bool more)
{
    lua_State *L = r->L;
    if (!o->made) {
        lua_createtable(L, 0, more ? 2 * BATCH : (int)o->waiting);
        lua_replace(L, o->t);
        o->made = true;
    }
    for (; o->waiting > 0; o->waiting--)
        lua_rawset(L, o->t);
}

WEIR_L_RAISES static bool read_entry(struct reader *r, struct object *o)
{
    skip_space(r);
    const unsigned char *from = r->at;
    if (*from != '"')
        return fail(r, from, *from == '}' ? "a key must follow the comma" : "a key must be a string in quotes");
    const char *key = read_string(r);
    if (key == NULL)
        return false;
    if (strlen(key) != lua_rawlen(r->L, -1))
        return fail(r, from, "a key can't have a NUL in it");
    if (is_duplicate(r, o, key))
        return fail(r, from, "a key that was there already in this object");
    o->keys[o->waiting] = key;
    skip_space(r);
    if (*r->at != ':')
        return fail(r, r->at, "':' must follow the key");
    r->at++;
    if (!read_value(r))
        return false;
    o->waiting++;
    return true;
}

WEIR_L_RAISES static bool read_object(struct reader *r)
{
    lua_State *L = r->L;
    struct object o;
    o.waiting = 0; /* the keys need not be cleared */
    o.made = false;
    lua_pushnil(L);
    o.t = lua_gettop(L);
    r->at++;
    skip_space(r);
    bool more = *r->at != '}';
    while (more) {
        if (o.waiting == BATCH)
            settle_object(r, &o, true);
        if (!read_entry(r, &o))
            return false;
        skip_space(r);
        more = *r->at == ',';
        if (!more && *r->at != '}')
            return fail(r, r->at, "',' or '}' must follow an object's entry");
        r->at += more;
    }
    r->at++;
    settle_object(r, &o, false);
    return true;
}

WEIR_L_RAISES static void settle_array(struct reader *r, int t, size_t n, bool more)
{
    lua_State *L = r->L;
    lua_createtable(L, more ? 2 * BATCH : (int)n, 0);
    lua_replace(L, t);
    for (; n > 0; n--)
        lua_rawseti(L, t, (lua_Integer)n);
}

WEIR_L_RAISES static bool read_array(struct reader *r)
{
    lua_State *L = r->L;
    size_t n = 0;
    lua_pushnil(L);
    int t = lua_gettop(L);
    r->at++;
    skip_space(r);
    bool more = *r->at != ']';
    while (more) {
        if (n == BATCH)
            settle_array(r, t, n, true);
        if (!read_value(r))
            return false;
        if (++n > BATCH)
            lua_rawseti(L, t, (lua_Integer)n);
        skip_space(r);
        more = *r->at == ',';
        if (!more && *r->at != ']')
            return fail(r, r->at, "',' or ']' must follow an array's item");
        r->at += more;
    }
    r->at++;
    if (n <= BATCH)
        settle_array(r, t, n, false);
    lua_rawgeti(L, LUA_REGISTRYINDEX, r->vm->array_ref);
    lua_setmetatable(L, t);
    return true;
}

WEIR_L_RAISES static bool read_table(struct reader *r)
{
    if (r->depth == WEIR_JSON_DEPTH_MAX) {
        r->too_deep = true;
        return false;
    }
    luaL_checkstack(r->L, 2 * BATCH + 8, "weir.json.decode");
    r->depth++;
    bool ok = *r->at == '{' ? read_object(r) : read_array(r);
    r->depth--;
    return ok;
}

/* --- values --- */

static bool take_word(struct reader *r, const char *word, size_t len)
{
    if (memcmp(r->at, word, len < (size_t)(r->end - r->at) ? len : (size_t)(r->end - r->at) + 1) != 0)
        return fail(r, r->at, "a value must be a string, a number, an object, an array, true, false or null");
    r->at += len;
    return true;
}

static bool read_word(struct reader *r)
{
    if (*r->at == 't' && take_word(r, "true", 4)) {
        lua_pushboolean(r->L, 1);
        return true;
    }
    if (*r->at == 'f' && take_word(r, "false", 5)) {
        lua_pushboolean(r->L, 0);
        return true;
    }
    if (*r->at == 'n' && take_word(r, "null", 4)) {
        lua_pushlightuserdata(r->L, weir_json_null());
        return true;
    }
    if (r->at == r->end)
        return fail(r, r->at, "the text ends where a value must be");
    return fail(r, r->at, "a value must be a string, a number, an object, an array, true, false or null");
}

WEIR_L_RAISES static bool read_value(struct reader *r)
{
    if (--r->until_poll == 0) {
        r->until_poll = POLL_EVERY;
        weir_lib_look(r->L);
    }
    skip_space(r);
    switch (*r->at) {
    case '"':
        return read_string(r) != NULL;
    case '{':
    case '[':
        return read_table(r);
    case '-':
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
        return read_number(r);
    default:
        return read_word(r);
    }
}

WEIR_L_RAISES static void push_message(const struct reader *r)
{
    int line = 1, column = 1;
    for (const unsigned char *s = r->begin; s < r->at; s++) {
        column += (*s & 0xc0) != 0x80; /* the tails of a character are none */
        if (*s == '\n') {
            line++;
            column = 1;
        }
    }
    if (r->too_deep)
        lua_pushfstring(r->L, "nested deeper than %d levels (line %d column %d)", WEIR_JSON_DEPTH_MAX, line, column);
    else
        lua_pushfstring(r->L, "line %d column %d: %s", line, column, r->why);
}

WEIR_L_RAISES bool weir_json_read(lua_State *L, const char *text, size_t len)
{
    struct reader r = {.L = L,
                       .vm = weir_vm_of(L),
                       .begin = (const unsigned char *)text,
                       .at = (const unsigned char *)text,
                       .end = (const unsigned char *)text + len,
                       .until_poll = POLL_EVERY};
    int top = lua_gettop(L);
    bool ok = read_value(&r);
    if (ok) {
        skip_space(&r);
        ok = r.at == r.end || fail(&r, r.at, "the text goes on behind its value");
    }
    if (ok)
        return true;
    lua_settop(L, top);
    push_message(&r);
    return false;
}
