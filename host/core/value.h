/* core/value.h - what an event carries: an immutable value. Scalars stand in place; strings and tables are MessagePack bytes
 * (https://github.com/msgpack/msgpack/blob/master/spec.md) in a counted blob that any thread may read and share.
 * A request handle inside a table is the extension type WEIR_VALUE_EXT_REQUEST with no bytes: the handle itself rides in the event.
 * Owner: whoever holds the struct weir_value holds one reference to its blob. */
#ifndef WEIR_CORE_VALUE_H
#define WEIR_CORE_VALUE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/strbuf.h"

enum weir_value_kind {
    WEIR_VALUE_NIL,
    WEIR_VALUE_BOOL,
    WEIR_VALUE_INT,
    WEIR_VALUE_FLOAT,
    WEIR_VALUE_REQUEST, /* the event's request handle itself, nothing around it */
    WEIR_VALUE_BYTES,   /* one MessagePack object: a string (str), an array, a map */
};

enum {
    WEIR_VALUE_EXT_REQUEST = 1,    /* MessagePack extension type */
    WEIR_VALUE_MAX_DEPTH = 30,     /* levels of tables; msgpack-c's parser stops at 32 */
    WEIR_VALUE_MAX_BYTES = 16 << 20, /* of one value */
};

struct weir_blob {
    _Atomic uint32_t refs; /* [atomic acq/rel] the last unref frees */
    uint32_t len;          /* [const] */
    unsigned char data[];  /* [const] once shared */
};

struct weir_value {
    enum weir_value_kind kind;
    union {
        bool boolean;
        int64_t integer;
        double number;
        struct weir_blob *blob;
    };
};

#define WEIR_VALUE_NOTHING ((struct weir_value){.kind = WEIR_VALUE_NIL, .integer = 0})

/* A blob of `len` bytes to be filled, with one reference; NULL when there is no memory. */
struct weir_blob *weir_blob_create(size_t len);
void weir_blob_unref(struct weir_blob *blob);

static inline struct weir_value weir_value_ref(struct weir_value v)
{
    if (v.kind == WEIR_VALUE_BYTES)
        atomic_fetch_add_explicit(&v.blob->refs, 1, memory_order_relaxed); /* the holder's own reference keeps it alive */
    return v;
}

static inline void weir_value_unref(struct weir_value v)
{
    if (v.kind == WEIR_VALUE_BYTES)
        weir_blob_unref(v.blob);
}

/* The bytes that the value counts for in a queue, beside the event. */
static inline size_t weir_value_size(struct weir_value v)
{
    return v.kind == WEIR_VALUE_BYTES ? v.blob->len : 0;
}

/* Whether `data` is exactly one well-formed MessagePack object within depth and size. For bytes from outside. */
bool weir_value_check(const unsigned char *data, size_t len);
/* A hash of the value of `field` in a map, or of the value itself when `field` is NULL; 0 when it has no such field or is a table, which is
 * no key. Equal values have equal hashes. */
uint64_t weir_value_hash(struct weir_value v, const char *field);
/* Appends the value as one MessagePack object, request handles as the string "<request>". false: it is nested deeper than
 * `depth_max`, or malformed; what was appended is of no use then. A lack of memory shows as out->failed. */
bool weir_value_pack(struct weir_value v, size_t depth_max, struct weir_strbuf *out);
/* Appends a string, an integer, the head of a map of `n` < 16 members. */
void weir_value_pack_string(struct weir_strbuf *out, const char *s, size_t len);
void weir_value_pack_int(struct weir_strbuf *out, int64_t i);
void weir_value_pack_map(struct weir_strbuf *out, unsigned n);
/* Appends the value as JSON text (core/value_json.h). */
void weir_value_print(struct weir_value v, struct weir_strbuf *out);

#endif
