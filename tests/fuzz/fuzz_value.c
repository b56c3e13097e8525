/* Fuzz target: MessagePack bytes from outside. What the check lets pass, the library must parse whole, and
 * hashing and printing it must work and always say the same. */
#include <msgpack.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/value.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool true_thing)
{
    if (!true_thing)
        abort();
}

static void parse_with_the_library(const uint8_t *data, size_t size)
{
    msgpack_unpacked parsed;
    size_t used = 0;
    msgpack_unpacked_init(&parsed);
    must(msgpack_unpack_next(&parsed, (const char *)data, size, &used) == MSGPACK_UNPACK_SUCCESS);
    must(used == size);
    msgpack_unpacked_destroy(&parsed);
}

static void print_and_hash(struct weir_value v)
{
    struct weir_strbuf first = WEIR_STRBUF_INIT, second = WEIR_STRBUF_INIT;
    weir_value_print(v, &first);
    weir_value_print(v, &second);
    must(first.len > 0 && first.len == second.len && memcmp(first.data, second.data, first.len) == 0);
    must(weir_value_hash(v, NULL) == weir_value_hash(v, NULL));
    must(weir_value_hash(v, "a") == weir_value_hash(v, "a"));
    weir_strbuf_fini(&first);
    weir_strbuf_fini(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!weir_value_check(data, size))
        return 0;
    parse_with_the_library(data, size);
    struct weir_value v = {.kind = WEIR_VALUE_BYTES, .blob = weir_blob_create(size)};
    must(v.blob != NULL);
    memcpy(v.blob->data, data, size);
    print_and_hash(v);
    weir_value_unref(v);
    return 0;
}
