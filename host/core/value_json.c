#include "core/value_json.h"

#include <math.h>
#include <string.h>

#include "base/number.h"

/* Where the walk is. Once something is malformed all that is still to come is null. */
struct walk {
    const unsigned char *at, *end;
    struct weir_strbuf *out;
};

static void add_uint(struct weir_strbuf *out, uint64_t u)
{
    char text[WEIR_NUMBER_MAX];
    weir_strbuf_add(out, text, weir_number_put_uint(text, u));
}

static void add_int(struct weir_strbuf *out, int64_t i)
{
    char text[WEIR_NUMBER_MAX];
    weir_strbuf_add(out, text, weir_number_put_int(text, i));
}

static void add_float(struct weir_strbuf *out, double d)
{
    char text[WEIR_NUMBER_MAX];
    if (isfinite(d))
        weir_strbuf_add(out, text, weir_number_put_float(text, d));
    else
        weir_strbuf_adds(out, "null");
}

/* Reads a big-endian number of `bytes` bytes. false: there are not so many left. */
static bool take_uint(struct walk *w, size_t bytes, uint64_t *ret)
{
    if ((size_t)(w->end - w->at) < bytes)
        return false;
    uint64_t u = 0;
    for (size_t i = 0; i < bytes; i++)
        u = u << 8 | *w->at++;
    *ret = u;
    return true;
}

static bool take_bytes(struct walk *w, uint64_t len, const unsigned char **ret)
{
    if ((uint64_t)(w->end - w->at) < len)
        return false;
    *ret = w->at;
    w->at += len;
    return true;
}

static bool add_object(struct walk *w, int depth);

static bool add_string(struct walk *w, uint64_t len)
{
    const unsigned char *s;
    if (!take_bytes(w, len, &s))
        return false;
    weir_strbuf_add_json(w->out, (const char *)s, (size_t)len);
    return true;
}

static bool is_string(unsigned char type)
{
    return (type >= 0xa0 && type < 0xc0) || (type >= 0xc4 && type <= 0xc6) || (type >= 0xd9 && type <= 0xdb);
}

static bool add_key(struct walk *w, int depth)
{
    if (w->at < w->end && is_string(*w->at))
        return add_object(w, depth);
    struct weir_strbuf text = WEIR_STRBUF_INIT, *out = w->out;
    w->out = &text;
    bool ok = add_object(w, depth);
    w->out = out;
    if (text.failed)
        out->failed = true;
    else if (ok)
        weir_strbuf_add_json(out, text.data != NULL ? text.data : "", text.len);
    weir_strbuf_fini(&text);
    return ok;
}

static bool add_array(struct walk *w, uint64_t count, int depth)
{
    weir_strbuf_addc(w->out, '[');
    for (uint64_t i = 0; i < count && !w->out->failed; i++) {
        if (i > 0)
            weir_strbuf_addc(w->out, ',');
        if (!add_object(w, depth + 1))
            return false;
    }
    weir_strbuf_addc(w->out, ']');
    return true;
}

static bool add_map(struct walk *w, uint64_t count, int depth)
{
    weir_strbuf_addc(w->out, '{');
    for (uint64_t i = 0; i < count && !w->out->failed; i++) {
        if (i > 0)
            weir_strbuf_addc(w->out, ',');
        if (!add_key(w, depth + 1))
            return false;
        weir_strbuf_addc(w->out, ':');
        if (!add_object(w, depth + 1))
            return false;
    }
    weir_strbuf_addc(w->out, '}');
    return true;
}

static bool add_real(struct walk *w, size_t bytes)
{
    uint64_t bits;
    if (!take_uint(w, bytes, &bits))
        return false;
    double d;
    if (bytes == 4) {
        uint32_t half = (uint32_t)bits;
        float f;
        memcpy(&f, &half, sizeof f);
        d = (double)f;
    } else {
        memcpy(&d, &bits, sizeof d);
    }
    add_float(w->out, d);
    return true;
}

static bool add_signed(struct walk *w, size_t bytes)
{
    uint64_t u;
    if (!take_uint(w, bytes, &u))
        return false;
    unsigned unused = (unsigned)(64 - 8 * bytes); /* moved up and down again the sign fills them */
    add_int(w->out, (int64_t)(u << unused) >> unused);
    return true;
}

static bool add_extension(struct walk *w, uint64_t len)
{
    const unsigned char *ignored;
    if (!take_bytes(w, len + 1, &ignored)) /* its type, too */
        return false;
    weir_strbuf_adds(w->out, "\"<request>\"");
    return true;
}

/* Types 0xc0 … 0xdf, by https://github.com/msgpack/msgpack/blob/master/spec.md#formats. */
static bool add_typed(struct walk *w, unsigned char type, int depth)
{
    uint64_t n = 0;
    switch (type) {
    case 0xc0:
        weir_strbuf_adds(w->out, "null");
        return true;
    case 0xc2:
    case 0xc3:
        weir_strbuf_adds(w->out, type == 0xc3 ? "true" : "false");
        return true;
    case 0xc4:
    case 0xc5:
    case 0xc6:
        return take_uint(w, (size_t)1 << (type - 0xc4), &n) && add_string(w, n);
    case 0xc7:
    case 0xc8:
    case 0xc9:
        return take_uint(w, (size_t)1 << (type - 0xc7), &n) && add_extension(w, n);
    case 0xca:
    case 0xcb:
        return add_real(w, type == 0xca ? 4 : 8);
    case 0xcc:
    case 0xcd:
    case 0xce:
    case 0xcf:
        if (!take_uint(w, (size_t)1 << (type - 0xcc), &n))
            return false;
        add_uint(w->out, n);
        return true;
    case 0xd0:
    case 0xd1:
    case 0xd2:
    case 0xd3:
        return add_signed(w, (size_t)1 << (type - 0xd0));
    case 0xd4:
    case 0xd5:
    case 0xd6:
    case 0xd7:
    case 0xd8:
        return add_extension(w, 1ULL << (type - 0xd4));
    case 0xd9:
    case 0xda:
    case 0xdb:
        return take_uint(w, (size_t)1 << (type - 0xd9), &n) && add_string(w, n);
    case 0xdc:
    case 0xdd:
        return take_uint(w, type == 0xdc ? 2 : 4, &n) && add_array(w, n, depth);
    case 0xde:
    case 0xdf:
        return take_uint(w, type == 0xde ? 2 : 4, &n) && add_map(w, n, depth);
    default:
        return false;
    }
}

/* false: malformed; nothing of what follows can be read. */
static bool add_object(struct walk *w, int depth)
{
    if (w->at == w->end || depth > WEIR_VALUE_MAX_DEPTH + 1)
        return false;
    unsigned char type = *w->at++;
    if (type < 0x80)
        add_uint(w->out, type);
    else if (type >= 0xe0)
        add_int(w->out, (int64_t)type - 256);
    else if (type < 0x90)
        return add_map(w, type & 0x0f, depth);
    else if (type < 0xa0)
        return add_array(w, type & 0x0f, depth);
    else if (type < 0xc0)
        return add_string(w, type & 0x1f);
    else
        return add_typed(w, type, depth);
    return true;
}

void weir_value_json_bytes(const unsigned char *data, size_t len, struct weir_strbuf *out)
{
    struct walk w = {.at = data, .end = data + len, .out = out};
    size_t before = out->len;
    if (add_object(&w, 0) && w.at == w.end)
        return;
    if (!out->failed) {
        out->len = before; /* half of it would be no JSON */
        weir_strbuf_adds(out, "null");
    }
}

void weir_value_json(struct weir_value v, struct weir_strbuf *out)
{
    switch (v.kind) {
    case WEIR_VALUE_NIL:
        weir_strbuf_adds(out, "null");
        break;
    case WEIR_VALUE_BOOL:
        weir_strbuf_adds(out, v.boolean ? "true" : "false");
        break;
    case WEIR_VALUE_INT:
        add_int(out, v.integer);
        break;
    case WEIR_VALUE_FLOAT:
        add_float(out, v.number);
        break;
    case WEIR_VALUE_REQUEST:
        weir_strbuf_adds(out, "\"<request>\"");
        break;
    case WEIR_VALUE_BYTES:
        weir_value_json_bytes(v.blob->data, v.blob->len, out);
        break;
    }
}

bool weir_value_string(struct weir_value v, const char **ret, size_t *ret_len)
{
    if (v.kind != WEIR_VALUE_BYTES || v.blob->len == 0)
        return false;
    struct walk w = {.at = v.blob->data, .end = v.blob->data + v.blob->len};
    unsigned char type = *w.at++;
    uint64_t len = type & 0x1f;
    bool ok = type >= 0xa0 && type < 0xc0;
    if (type >= 0xd9 && type <= 0xdb)
        ok = take_uint(&w, (size_t)1 << (type - 0xd9), &len);
    else if (type >= 0xc4 && type <= 0xc6)
        ok = take_uint(&w, (size_t)1 << (type - 0xc4), &len);
    const unsigned char *s;
    if (!ok || !take_bytes(&w, len, &s))
        return false;
    *ret = (const char *)s;
    *ret_len = (size_t)len;
    return true;
}
