/* Most pairs differ in kind or length or have the same bytes. Only tables whose bytes differ are parsed: the
 * same map is written in another order by another VM. Maps are compared with their keys sorted, so a large
 * one costs n log n, not n². */
#include "core/value_equal.h"

#include <math.h>
#include <msgpack.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"

static int compare_bytes(const void *a, size_t a_len, const void *b, size_t b_len)
{
    int order = memcmp(a, b, a_len < b_len ? a_len : b_len);
    return order != 0 ? order : (a_len > b_len) - (a_len < b_len);
}

/* The type, with what is one type in Lua made one. */
static msgpack_object_type type_of(const msgpack_object *o)
{
    if (o->type == MSGPACK_OBJECT_FLOAT32)
        return MSGPACK_OBJECT_FLOAT64;
    return o->type;
}

static int compare_floats(double a, double b)
{
    if (isnan(a) || isnan(b))
        return isnan(a) - isnan(b);
    return (a > b) - (a < b);
}

/* An order of scalars, for sorting; tables, which are no keys, are all one. */
static int compare_scalars(const msgpack_object *a, const msgpack_object *b)
{
    msgpack_object_type type = type_of(a);
    if (type != type_of(b))
        return type < type_of(b) ? -1 : 1;
    switch (type) {
    case MSGPACK_OBJECT_BOOLEAN:
        return (int)a->via.boolean - (int)b->via.boolean;
    case MSGPACK_OBJECT_POSITIVE_INTEGER:
        return (a->via.u64 > b->via.u64) - (a->via.u64 < b->via.u64);
    case MSGPACK_OBJECT_NEGATIVE_INTEGER:
        return (a->via.i64 > b->via.i64) - (a->via.i64 < b->via.i64);
    case MSGPACK_OBJECT_FLOAT64:
        return compare_floats(a->via.f64, b->via.f64);
    case MSGPACK_OBJECT_STR:
        return compare_bytes(a->via.str.ptr, a->via.str.size, b->via.str.ptr, b->via.str.size);
    case MSGPACK_OBJECT_BIN:
        return compare_bytes(a->via.bin.ptr, a->via.bin.size, b->via.bin.ptr, b->via.bin.size);
    default:
        return 0;
    }
}

static int by_key(const void *a, const void *b)
{
    return compare_scalars(&((const msgpack_object_kv *)a)->key, &((const msgpack_object_kv *)b)->key);
}

static bool equal_objects(msgpack_object *a, msgpack_object *b);

static bool equal_maps(msgpack_object_map *a, msgpack_object_map *b)
{
    qsort(a->ptr, a->size, sizeof *a->ptr, by_key); /* our own parse: nobody else sees its order */
    qsort(b->ptr, b->size, sizeof *b->ptr, by_key);
    for (uint32_t i = 0; i < a->size; i++)
        if (!equal_objects(&a->ptr[i].key, &b->ptr[i].key) || !equal_objects(&a->ptr[i].val, &b->ptr[i].val))
            return false;
    return true;
}

/* Goes as deep as values do: WEIR_VALUE_MAX_DEPTH. */
static bool equal_objects(msgpack_object *a, msgpack_object *b)
{
    if (type_of(a) != type_of(b))
        return false;
    if (a->type == MSGPACK_OBJECT_EXT)
        return false;
    if (a->type == MSGPACK_OBJECT_MAP)
        return a->via.map.size == b->via.map.size && equal_maps(&a->via.map, &b->via.map);
    if (a->type != MSGPACK_OBJECT_ARRAY)
        return compare_scalars(a, b) == 0;
    if (a->via.array.size != b->via.array.size)
        return false;
    for (uint32_t i = 0; i < a->via.array.size; i++)
        if (!equal_objects(&a->via.array.ptr[i], &b->via.array.ptr[i]))
            return false;
    return true;
}

static bool is_table(const struct weir_blob *blob)
{
    unsigned char type = blob->len > 0 ? blob->data[0] : 0xc0;
    return (type >= 0x80 && type < 0xa0) || (type >= 0xdc && type <= 0xdf);
}

static int parse(msgpack_unpacked *ret, const struct weir_blob *blob)
{
    size_t used = 0;
    msgpack_unpacked_init(ret);
    msgpack_unpack_return rc = msgpack_unpack_next(ret, (const char *)blob->data, blob->len, &used);
    return rc == MSGPACK_UNPACK_SUCCESS ? 1 : rc == MSGPACK_UNPACK_NOMEM_ERROR ? WEIR_E_NOMEM : 0;
}

static int equal_blobs(const struct weir_blob *a, const struct weir_blob *b)
{
    if (a == b || (a->len == b->len && memcmp(a->data, b->data, a->len) == 0))
        return 1;
    if (!is_table(a) || !is_table(b))
        return 0; /* our writers have one form for each string */
    msgpack_unpacked left, right;
    int rc = parse(&left, a);
    if (rc == 1) {
        rc = parse(&right, b);
        if (rc == 1)
            rc = equal_objects(&left.data, &right.data);
        msgpack_unpacked_destroy(&right);
    }
    msgpack_unpacked_destroy(&left);
    return rc;
}

int weir_value_equal(struct weir_value a, struct weir_value b)
{
    if (a.kind != b.kind)
        return 0;
    switch (a.kind) {
    case WEIR_VALUE_NIL:
        return 1;
    case WEIR_VALUE_BOOL:
        return a.boolean == b.boolean;
    case WEIR_VALUE_INT:
        return a.integer == b.integer;
    case WEIR_VALUE_FLOAT:
        return compare_floats(a.number, b.number) == 0;
    case WEIR_VALUE_BYTES:
        return equal_blobs(a.blob, b.blob);
    case WEIR_VALUE_REQUEST:
        break;
    }
    return 0;
}
