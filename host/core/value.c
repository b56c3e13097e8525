#include "core/value.h"

#include <msgpack.h>
#include <pthread.h>
#include <sodium.h>
#include <string.h>
#include <sys/random.h>

#include "base/mem.h"
#include "core/value_json.h"

struct weir_blob *weir_blob_create(size_t len)
{
    if (len > UINT32_MAX)
        return NULL;
    struct weir_blob *blob = weir_malloc(sizeof *blob + len);
    if (blob == NULL)
        return NULL;
    atomic_init(&blob->refs, 1);
    blob->len = (uint32_t)len;
    return blob;
}

void weir_blob_unref(struct weir_blob *blob)
{
    /* acq_rel: what other holders read happened before the last one frees. A sole holder need not pay for a locked subtraction. */
    if (atomic_load_explicit(&blob->refs, memory_order_acquire) == 1 ||
        atomic_fetch_sub_explicit(&blob->refs, 1, memory_order_acq_rel) == 1)
        weir_free(blob);
}

static bool parse(const unsigned char *data, size_t len, msgpack_unpacked *ret)
{
    size_t used = 0;
    msgpack_unpacked_init(ret);
    return msgpack_unpack_next(ret, (const char *)data, len, &used) == MSGPACK_UNPACK_SUCCESS && used == len;
}

/* What follows a type byte: bytes that say a length, bytes of the object itself beside it, and how a said length counts. */
struct shape {
    unsigned char length_bytes, fixed;
    enum { NO_LENGTH, OF_BYTES, OF_ARRAY, OF_MAP } counts;
};

static const struct shape shapes[] = {
    /* 0xc0 nil */ {0, 0, NO_LENGTH},    /* never used */ {0, 0, NO_LENGTH},
    /* false, true */ {0, 0, NO_LENGTH}, {0, 0, NO_LENGTH},
    /* bin */ {1, 0, OF_BYTES},          {2, 0, OF_BYTES},  {4, 0, OF_BYTES},
    /* ext */ {1, 1, OF_BYTES},          {2, 1, OF_BYTES},  {4, 1, OF_BYTES},
    /* float */ {0, 4, NO_LENGTH},       {0, 8, NO_LENGTH},
    /* uint */ {0, 1, NO_LENGTH},        {0, 2, NO_LENGTH}, {0, 4, NO_LENGTH}, {0, 8, NO_LENGTH},
    /* int */ {0, 1, NO_LENGTH},         {0, 2, NO_LENGTH}, {0, 4, NO_LENGTH}, {0, 8, NO_LENGTH},
    /* fixext */ {0, 2, NO_LENGTH},      {0, 3, NO_LENGTH}, {0, 5, NO_LENGTH}, {0, 9, NO_LENGTH}, {0, 17, NO_LENGTH},
    /* str */ {1, 0, OF_BYTES},          {2, 0, OF_BYTES},  {4, 0, OF_BYTES},
    /* array */ {2, 0, OF_ARRAY},        {4, 0, OF_ARRAY},
    /* map */ {2, 0, OF_MAP},            {4, 0, OF_MAP},
};

/* Moves `*at` past one object, but not past its members: `*members` says how many follow, -1 when it is no table. */
static bool skip_head(const unsigned char *data, size_t len, size_t *at, int64_t *members)
{
    unsigned char type = data[(*at)++];
    struct shape s = {0, 0, NO_LENGTH};
    uint64_t said = 0;
    if (type >= 0x80 && type < 0xc0) {
        s.counts = type < 0x90 ? OF_MAP : type < 0xa0 ? OF_ARRAY : OF_BYTES;
        said = type & (s.counts == OF_BYTES ? 0x1f : 0x0f);
    } else if (type >= 0xc0 && type < 0xe0) {
        s = shapes[type - 0xc0];
    }
    if (type == 0xc1 || len - *at < s.length_bytes)
        return false;
    for (unsigned i = 0; i < s.length_bytes; i++)
        said = said << 8 | data[(*at)++];
    uint64_t bytes = s.fixed + (s.counts == OF_BYTES ? said : 0);
    *members = s.counts == OF_MAP ? (int64_t)said * 2 : s.counts == OF_ARRAY ? (int64_t)said : -1;
    if (bytes > len - *at || *members > (int64_t)(len - *at)) /* a member has at least one byte */
        return false;
    *at += (size_t)bytes;
    return true;
}

/* Not by the library's parser: that one makes 24 bytes of objects for each byte of a hostile array, and believes the length that it says. */
bool weir_value_check(const unsigned char *data, size_t len)
{
    int64_t missing[WEIR_VALUE_MAX_DEPTH + 1] = {1}; /* by depth: members of the table there that are still to come */
    size_t depth = 0, at = 0;
    if (len > WEIR_VALUE_MAX_BYTES)
        return false;
    while (missing[depth] > 0) {
        int64_t members;
        if (at == len || !skip_head(data, len, &at, &members))
            return false;
        missing[depth]--;
        if (members >= 0 && depth == WEIR_VALUE_MAX_DEPTH)
            return false;
        if (members > 0)
            missing[++depth] = members;
        while (depth > 0 && missing[depth] == 0)
            depth--;
    }
    return at == len;
}

static unsigned char secret[crypto_shorthash_KEYBYTES]; /* [const] once made: of this process */

static void make_secret(void)
{
    (void)getrandom(secret, sizeof secret, 0); /* so few bytes it always gives */
}

/* SipHash-2-4 (Aumasson and Bernstein, INDOCRYPT 2012) with a secret: nobody can choose keys that share a partition or a place. */
static uint64_t hash_bytes(const void *bytes, size_t len)
{
    static pthread_once_t made = PTHREAD_ONCE_INIT;
    unsigned char out[crypto_shorthash_BYTES];
    uint64_t h;
    pthread_once(&made, make_secret);
    crypto_shorthash(out, bytes, len, secret);
    memcpy(&h, out, sizeof h);
    return h == 0 ? 1 : h; /* 0 says: no key */
}

static uint64_t hash_int(int64_t i)
{
    return hash_bytes(&i, sizeof i);
}

/* Numbers that are equal in Lua have one hash, 1.0 and 1 as well as 0.0 and -0.0. */
static uint64_t hash_float(double d)
{
    if (d >= -0x1p63 && d < 0x1p63 && (double)(int64_t)d == d)
        return hash_int((int64_t)d);
    return hash_bytes(&d, sizeof d);
}

static uint64_t hash_object(const msgpack_object *o)
{
    switch (o->type) {
    case MSGPACK_OBJECT_POSITIVE_INTEGER:
    case MSGPACK_OBJECT_NEGATIVE_INTEGER:
        return hash_int(o->via.i64);
    case MSGPACK_OBJECT_BOOLEAN:
        return hash_int(o->via.boolean ? 2 : 3);
    case MSGPACK_OBJECT_FLOAT32:
    case MSGPACK_OBJECT_FLOAT64:
        return hash_float(o->via.f64);
    case MSGPACK_OBJECT_STR:
        return hash_bytes(o->via.str.ptr, o->via.str.size);
    default:
        return 0; /* a table is no key */
    }
}

static uint64_t hash_field(const msgpack_object *map, const char *field)
{
    size_t len = strlen(field);
    for (uint32_t i = 0; map->type == MSGPACK_OBJECT_MAP && i < map->via.map.size; i++) {
        const msgpack_object_kv *kv = &map->via.map.ptr[i];
        if (kv->key.type == MSGPACK_OBJECT_STR && kv->key.via.str.size == len &&
            memcmp(kv->key.via.str.ptr, field, len) == 0)
            return hash_object(&kv->val);
    }
    return 0;
}

static uint64_t hash_blob(const struct weir_blob *blob, const char *field)
{
    msgpack_unpacked parsed;
    uint64_t h = 0;
    if (parse(blob->data, blob->len, &parsed))
        h = field != NULL ? hash_field(&parsed.data, field) : hash_object(&parsed.data);
    msgpack_unpacked_destroy(&parsed);
    return h;
}

uint64_t weir_value_hash(struct weir_value v, const char *field)
{
    switch (v.kind) {
    case WEIR_VALUE_BYTES:
        return hash_blob(v.blob, field);
    case WEIR_VALUE_INT:
        return field == NULL ? hash_int(v.integer) : 0;
    case WEIR_VALUE_FLOAT:
        return field == NULL ? hash_float(v.number) : 0;
    case WEIR_VALUE_BOOL:
        return field == NULL ? hash_int(v.boolean ? 2 : 3) : 0;
    default:
        return 0;
    }
}

void weir_value_print(struct weir_value v, struct weir_strbuf *out)
{
    weir_value_json(v, out);
}
