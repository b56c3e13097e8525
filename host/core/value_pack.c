/* Values put together by the host, from others and from its own texts and numbers. */
#include <msgpack.h>
#include <string.h>

#include "core/value.h"

static int write_bytes(void *out, const char *bytes, size_t len)
{
    weir_strbuf_add(out, bytes, len);
    return 0;
}

static msgpack_packer packer_for(struct weir_strbuf *out)
{
    msgpack_packer p;
    msgpack_packer_init(&p, out, write_bytes);
    return p;
}

void weir_value_pack_string(struct weir_strbuf *out, const char *s, size_t len)
{
    msgpack_packer p = packer_for(out);
    msgpack_pack_str(&p, len);
    msgpack_pack_str_body(&p, s, len);
}

void weir_value_pack_int(struct weir_strbuf *out, int64_t i)
{
    msgpack_packer p = packer_for(out);
    msgpack_pack_int64(&p, i);
}

void weir_value_pack_map(struct weir_strbuf *out, unsigned n)
{
    msgpack_packer p = packer_for(out);
    msgpack_pack_map(&p, n);
}

static void pack_request(struct weir_strbuf *out)
{
    static const char text[] = "<request>";
    weir_value_pack_string(out, text, sizeof text - 1);
}

static bool pack_object(const msgpack_object *o, size_t depth_left, struct weir_strbuf *out)
{
    msgpack_packer p = packer_for(out);
    bool is_table = o->type == MSGPACK_OBJECT_MAP || o->type == MSGPACK_OBJECT_ARRAY;
    if (is_table && depth_left == 0)
        return false;
    switch (o->type) {
    case MSGPACK_OBJECT_MAP:
        msgpack_pack_map(&p, o->via.map.size);
        for (uint32_t i = 0; i < o->via.map.size; i++)
            if (!pack_object(&o->via.map.ptr[i].key, depth_left - 1, out) ||
                !pack_object(&o->via.map.ptr[i].val, depth_left - 1, out))
                return false;
        return true;
    case MSGPACK_OBJECT_ARRAY:
        msgpack_pack_array(&p, o->via.array.size);
        for (uint32_t i = 0; i < o->via.array.size; i++)
            if (!pack_object(&o->via.array.ptr[i], depth_left - 1, out))
                return false;
        return true;
    case MSGPACK_OBJECT_EXT:
        pack_request(out); /* the only extension there is */
        return true;
    default:
        msgpack_pack_object(&p, *o);
        return true;
    }
}

static bool pack_blob(const struct weir_blob *blob, size_t depth_max, struct weir_strbuf *out)
{
    msgpack_unpacked parsed;
    size_t used = 0;
    msgpack_unpacked_init(&parsed);
    bool ok = msgpack_unpack_next(&parsed, (const char *)blob->data, blob->len, &used) == MSGPACK_UNPACK_SUCCESS && used == blob->len &&
              pack_object(&parsed.data, depth_max, out);
    msgpack_unpacked_destroy(&parsed);
    return ok;
}

bool weir_value_pack(struct weir_value v, size_t depth_max, struct weir_strbuf *out)
{
    msgpack_packer p = packer_for(out);
    switch (v.kind) {
    case WEIR_VALUE_NIL:
        msgpack_pack_nil(&p);
        return true;
    case WEIR_VALUE_BOOL:
        v.boolean ? msgpack_pack_true(&p) : msgpack_pack_false(&p);
        return true;
    case WEIR_VALUE_INT:
        msgpack_pack_int64(&p, v.integer);
        return true;
    case WEIR_VALUE_FLOAT:
        msgpack_pack_double(&p, v.number);
        return true;
    case WEIR_VALUE_REQUEST:
        pack_request(out);
        return true;
    case WEIR_VALUE_BYTES:
        return pack_blob(v.blob, depth_max, out);
    }
    return false;
}
