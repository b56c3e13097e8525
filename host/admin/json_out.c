#include "admin/json_out.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

static void start(struct weir_json_out *j, const char *key)
{
    if (j->more)
        weir_strbuf_addc(j->out, ',');
    j->more = true;
    if (key != NULL) {
        weir_strbuf_add_json(j->out, key, strlen(key));
        weir_strbuf_addc(j->out, ':');
    }
}

void weir_json_open(struct weir_json_out *j, const char *key, char bracket)
{
    start(j, key);
    weir_strbuf_addc(j->out, bracket);
    j->more = false;
}

void weir_json_close(struct weir_json_out *j, char bracket)
{
    weir_strbuf_addc(j->out, bracket);
    j->more = true;
}

void weir_json_string(struct weir_json_out *j, const char *key, const char *value)
{
    start(j, key);
    if (value != NULL)
        weir_strbuf_add_json(j->out, value, strlen(value));
    else
        weir_strbuf_adds(j->out, "null");
}

void weir_json_int(struct weir_json_out *j, const char *key, int64_t value)
{
    start(j, key);
    weir_strbuf_addf(j->out, "%" PRId64, value);
}

void weir_json_uint(struct weir_json_out *j, const char *key, uint64_t value)
{
    start(j, key);
    weir_strbuf_addf(j->out, "%" PRIu64, value);
}

void weir_json_real(struct weir_json_out *j, const char *key, double value)
{
    start(j, key);
    if (isfinite(value))
        weir_strbuf_addf(j->out, "%.3f", value);
    else
        weir_strbuf_adds(j->out, "null"); /* JSON has no word for it */
}

void weir_json_number(struct weir_json_out *j, const char *key, double value)
{
    start(j, key);
    if (isfinite(value))
        weir_strbuf_addf(j->out, "%.17g", value);
    else
        weir_strbuf_adds(j->out, "null");
}

void weir_json_bool(struct weir_json_out *j, const char *key, bool value)
{
    start(j, key);
    weir_strbuf_adds(j->out, value ? "true" : "false");
}

void weir_json_raw(struct weir_json_out *j, const char *key, const char *text, size_t len)
{
    start(j, key);
    weir_strbuf_add(j->out, text, len);
}
