#include "io/source_value.h"

#include <inttypes.h>
#include <msgpack.h>
#include <stdio.h>
#include <string.h>

#include "config/conf.h"
#include "config/problems.h"

static const char mark[] = "{n}";
enum { MARK_LEN = sizeof mark - 1, HEAD_MAX = 5, NUMBER_MAX = 9 };

/* The head of a MessagePack string of `len` bytes; returns its size, HEAD_MAX at most. */
static size_t put_string_head(unsigned char *out, size_t len)
{
    unsigned size = len < 32 ? 0 : len < 256 ? 1 : len < 65536 ? 2 : 4;
    out[0] = size == 0 ? (unsigned char)(0xa0 | len) : size == 1 ? 0xd9 : size == 2 ? 0xda : 0xdb;
    for (unsigned i = size; i > 0; i--, len >>= 8)
        out[i] = (unsigned char)len;
    return size + 1;
}

static size_t put_uint64(unsigned char *out, uint64_t n)
{
    out[0] = 0xcf;
    for (int i = 8; i > 0; i--, n >>= 8)
        out[i] = (unsigned char)n;
    return NUMBER_MAX;
}

static size_t put(unsigned char *out, const void *bytes, size_t len)
{
    if (len > 0)
        memcpy(out, bytes, len);
    return len;
}

static bool give(struct weir_blob *blob, struct weir_value *ret)
{
    if (blob == NULL)
        return false;
    *ret = (struct weir_value){.kind = WEIR_VALUE_BYTES, .blob = blob};
    return true;
}

bool weir_source_value_string(const void *data, size_t len, struct weir_value *ret)
{
    unsigned char head[HEAD_MAX];
    size_t head_len = put_string_head(head, len);
    struct weir_blob *blob = weir_blob_create(head_len + len);
    if (blob != NULL)
        put(blob->data + put(blob->data, head, head_len), data, len);
    return give(blob, ret);
}

bool weir_source_value_line(const char *path, const void *line, size_t len, uint64_t offset, struct weir_value *ret)
{
    static const char path_key[] = "\x83\xa4path", line_key[] = "\xa4line", offset_key[] = "\xa6offset";
    unsigned char path_head[HEAD_MAX], line_head[HEAD_MAX];
    size_t path_len = strlen(path), path_head_len = put_string_head(path_head, path_len), line_head_len = put_string_head(line_head, len);
    struct weir_blob *blob = weir_blob_create(sizeof path_key - 1 + path_head_len + path_len + sizeof line_key - 1 + line_head_len + len +
                                              sizeof offset_key - 1 + NUMBER_MAX);
    if (blob == NULL)
        return false;
    unsigned char *at = blob->data;
    at += put(at, path_key, sizeof path_key - 1);
    at += put(at, path_head, path_head_len);
    at += put(at, path, path_len);
    at += put(at, line_key, sizeof line_key - 1);
    at += put(at, line_head, line_head_len);
    at += put(at, line, len);
    at += put(at, offset_key, sizeof offset_key - 1);
    put_uint64(at, offset);
    return give(blob, ret);
}

static size_t put_text(unsigned char *at, const char *text)
{
    size_t len = strlen(text), n = put_string_head(at, len);
    return n + put(at + n, text, len);
}

static size_t put_pair(unsigned char *at, const char *key, const char *text)
{
    size_t n = put_text(at, key);
    return n + put_text(at + n, text);
}

bool weir_source_value_news(const struct weir_conn_news *news, struct weir_value *ret)
{
    enum { KEYS_MAX = 6, FIXED = 1 + (2 * KEYS_MAX * HEAD_MAX) + sizeof "eventconnremotereasonlinelast" + NUMBER_MAX };
    const char *reason = news->reason != NULL ? news->reason : "";
    struct weir_blob *blob =
        weir_blob_create(FIXED + strlen(news->event) + strlen(news->remote) + strlen(reason) + news->line_len);
    if (blob == NULL)
        return false;
    unsigned char *at = blob->data;
    *at++ = (unsigned char)(0x80 + 3 + (news->reason != NULL) + 2 * (news->line != NULL));
    at += put_pair(at, "event", news->event);
    at += put_pair(at, "remote", news->remote);
    if (news->reason != NULL)
        at += put_pair(at, "reason", news->reason);
    if (news->line != NULL) {
        at += put_text(at, "line");
        at += put_string_head(at, news->line_len);
        at += put(at, news->line, news->line_len);
        at += put_text(at, "last");
        *at++ = news->last ? 0xc3 : 0xc2;
    }
    at += put_text(at, "conn");
    at += put_uint64(at, news->conn);
    blob->len = (uint32_t)(at - blob->data);
    return give(blob, ret);
}

/* ---- configured values ---- */

static int write_bytes(void *out, const char *bytes, size_t len)
{
    weir_strbuf_add(out, bytes, len);
    return 0;
}

static size_t count_marks(const char *s, size_t len)
{
    size_t n = 0;
    for (const char *at = s; (at = memmem(at, len - (size_t)(at - s), mark, MARK_LEN)) != NULL; at += MARK_LEN)
        n++;
    return n;
}

static bool is_mark(const char *s, size_t len)
{
    return len == MARK_LEN && memcmp(s, mark, MARK_LEN) == 0;
}

static void pack_filled(msgpack_packer *p, const char *s, size_t len, int64_t number)
{
    char digits[24];
    int width = snprintf(digits, sizeof digits, "%" PRId64, number);
    msgpack_pack_str(p, len + count_marks(s, len) * ((size_t)width - MARK_LEN));
    for (const char *at; (at = memmem(s, len, mark, MARK_LEN)) != NULL;) {
        size_t before = (size_t)(at - s);
        msgpack_pack_str_body(p, s, before);
        msgpack_pack_str_body(p, digits, (size_t)width);
        s += before + MARK_LEN;
        len -= before + MARK_LEN;
    }
    msgpack_pack_str_body(p, s, len);
}

static void pack_string(msgpack_packer *p, const char *s, size_t len, const int64_t *number)
{
    if (number != NULL && is_mark(s, len)) {
        msgpack_pack_int64(p, *number);
    } else if (number != NULL) {
        pack_filled(p, s, len, *number);
    } else {
        msgpack_pack_str(p, len);
        msgpack_pack_str_body(p, s, len);
    }
}

static void pack(msgpack_packer *p, const struct weir_conf *c, const int64_t *number)
{
    size_t len = 0, n = weir_conf_size(c);
    switch (weir_conf_kind(c)) {
    case WEIR_CONF_NIL:
        msgpack_pack_nil(p);
        break;
    case WEIR_CONF_BOOL:
        weir_conf_bool(c) ? msgpack_pack_true(p) : msgpack_pack_false(p);
        break;
    case WEIR_CONF_INT:
        msgpack_pack_int64(p, weir_conf_int(c));
        break;
    case WEIR_CONF_FLOAT:
        msgpack_pack_double(p, weir_conf_float(c));
        break;
    case WEIR_CONF_STRING: {
        const char *s = weir_conf_string(c, &len);
        pack_string(p, s, len, number);
        break;
    }
    case WEIR_CONF_LIST:
        msgpack_pack_array(p, n);
        for (size_t i = 0; i < n; i++)
            pack(p, weir_conf_at(c, i), number);
        break;
    case WEIR_CONF_MAP:
        msgpack_pack_map(p, n);
        for (size_t i = 0; i < n; i++) {
            pack_string(p, weir_conf_key(c, i), strlen(weir_conf_key(c, i)), NULL);
            pack(p, weir_conf_at(c, i), number);
        }
        break;
    }
}

/* Scalars stand in place. */
static bool read_scalar(const struct weir_conf *c, const int64_t *number, struct weir_value *ret)
{
    size_t len = 0;
    const char *s = weir_conf_string(c, &len);
    switch (weir_conf_kind(c)) {
    case WEIR_CONF_NIL:
        *ret = WEIR_VALUE_NOTHING;
        return true;
    case WEIR_CONF_BOOL:
        *ret = (struct weir_value){.kind = WEIR_VALUE_BOOL, .boolean = weir_conf_bool(c)};
        return true;
    case WEIR_CONF_INT:
        *ret = (struct weir_value){.kind = WEIR_VALUE_INT, .integer = weir_conf_int(c)};
        return true;
    case WEIR_CONF_FLOAT:
        *ret = (struct weir_value){.kind = WEIR_VALUE_FLOAT, .number = weir_conf_float(c)};
        return true;
    case WEIR_CONF_STRING:
        if (number == NULL || !is_mark(s, len))
            return false;
        *ret = (struct weir_value){.kind = WEIR_VALUE_INT, .integer = *number};
        return true;
    case WEIR_CONF_LIST:
    case WEIR_CONF_MAP:
        break;
    }
    return false;
}

bool weir_source_value_conf(const struct weir_conf *c, const int64_t *number, struct weir_strbuf *scratch, struct weir_value *ret)
{
    if (read_scalar(c, number, ret))
        return true;
    msgpack_packer p;
    weir_strbuf_clear(scratch);
    msgpack_packer_init(&p, scratch, write_bytes);
    pack(&p, c, number);
    struct weir_blob *blob = scratch->failed ? NULL : weir_blob_create(scratch->len);
    if (blob != NULL)
        memcpy(blob->data, scratch->data, scratch->len);
    return give(blob, ret);
}

bool weir_source_value_numbered(const struct weir_conf *c)
{
    size_t len;
    const char *s = weir_conf_string(c, &len);
    if (s != NULL)
        return count_marks(s, len) > 0;
    for (size_t i = 0; i < weir_conf_size(c); i++)
        if (weir_source_value_numbered(weir_conf_at(c, i)))
            return true;
    return false;
}

static size_t depth_of(const struct weir_conf *c)
{
    enum weir_conf_kind kind = weir_conf_kind(c);
    size_t deepest = 0;
    for (size_t i = 0; i < weir_conf_size(c); i++) {
        size_t d = depth_of(weir_conf_at(c, i));
        if (d > deepest)
            deepest = d;
    }
    return kind == WEIR_CONF_LIST || kind == WEIR_CONF_MAP ? deepest + 1 : 0;
}

void weir_source_value_check(const struct weir_conf *c, const char *option, struct weir_problems *problems)
{
    if (depth_of(c) > WEIR_VALUE_MAX_DEPTH)
        weir_problems_error(problems, weir_conf_mark(c), "'%s' is nested deeper than %d levels: events can't hold it", option,
                            (int)WEIR_VALUE_MAX_DEPTH);
}
