/* admin/json_out.h - writes JSON into a strbuf, commas and quotes included. The order of calls is the
 * document; that brackets match is the caller's part. A lack of memory shows as out->failed. Owner: the
 * caller; one thread. */
#ifndef WEIR_ADMIN_JSON_OUT_H
#define WEIR_ADMIN_JSON_OUT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/strbuf.h"

struct weir_json_out {
    struct weir_strbuf *out;
    bool more; /* something stands before in the same brackets */
};

/* `key` is NULL in a list and at the top. */
void weir_json_open(struct weir_json_out *j, const char *key, char bracket);        /* '{' or '[' */
void weir_json_close(struct weir_json_out *j, char bracket);                        /* '}' or ']' */
void weir_json_string(struct weir_json_out *j, const char *key, const char *value); /* NULL: null */
void weir_json_int(struct weir_json_out *j, const char *key, int64_t value);
void weir_json_uint(struct weir_json_out *j, const char *key, uint64_t value);
void weir_json_real(struct weir_json_out *j, const char *key, double value);
/* With all its digits: who reads it gets the same number. */
void weir_json_number(struct weir_json_out *j, const char *key, double value);
void weir_json_bool(struct weir_json_out *j, const char *key, bool value);
/* `text` is JSON already. */
void weir_json_raw(struct weir_json_out *j, const char *key, const char *text, size_t len);

#endif
