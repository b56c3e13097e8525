#include "io/framing.h"

#include <string.h>

#include "config/conf.h"

const char *const weir_framing_words[] = {"line", "length", "raw", NULL};
const char *const weir_framing_order_words[] = {"big", "little", NULL};

static bool is_power_of_two(size_t n)
{
    return (n & (n - 1)) == 0;
}

int weir_framing_from_options(const struct weir_conf *options, struct weir_framing *ret, struct weir_err *reterr)
{
    struct weir_framing f = {.kind = (enum weir_framing_kind)weir_conf_option_enum(options, "framing"),
                             .max = weir_conf_option_size(options, "max_frame"),
                             .delimiter = weir_conf_option_string(options, "delimiter")[0],
                             .offset = weir_conf_option_size(options, "length_offset"),
                             .size = weir_conf_option_size(options, "length_size"),
                             .little = weir_conf_option_enum(options, "length_order") == 1};
    f.header = weir_conf_option_given(options, "length_header") ? weir_conf_option_size(options, "length_header") : f.offset + f.size;
    if (!is_power_of_two(f.size))
        return weir_err_set(reterr, WEIR_E_CONFIG, "'length_size' is %zu; expected 1, 2, 4 or 8", f.size);
    if (f.offset + f.size > f.header)
        return weir_err_set(reterr, WEIR_E_CONFIG, "the count (%zu bytes at 'length_offset' %zu) does not fit into 'length_header' %zu",
                            f.size, f.offset, f.header);
    if (f.kind == WEIR_FRAMING_LENGTH && f.header > f.max)
        return weir_err_set(reterr, WEIR_E_CONFIG, "'max_frame' %zu is less than 'length_header' %zu", f.max, f.header);
    *ret = f;
    return WEIR_OK;
}

uint64_t weir_framing_count(const struct weir_framing *f, const void *header)
{
    const unsigned char *at = (const unsigned char *)header + f->offset;
    uint64_t count = 0;
    for (size_t i = 0; i < f->size; i++)
        count = count << 8 | at[f->little ? f->size - 1 - i : i];
    return count;
}

static int write_line(const struct weir_framing *f, const char *data, size_t len, struct weir_strbuf *out)
{
    if (memchr(data, f->delimiter, len) != NULL)
        return WEIR_E_INVAL;
    if (!weir_strbuf_reserve(out, len + 1))
        return WEIR_E_NOMEM;
    weir_strbuf_add(out, data, len);
    weir_strbuf_addc(out, f->delimiter);
    return WEIR_OK;
}

static int write_count(const struct weir_framing *f, const char *data, size_t len, struct weir_strbuf *out)
{
    if (f->size < 8 && (uint64_t)len >> (8 * f->size) != 0)
        return WEIR_E_LIMIT;
    if (!weir_strbuf_reserve(out, f->size + len))
        return WEIR_E_NOMEM;
    for (size_t i = 0; i < f->size; i++)
        weir_strbuf_addc(out, (char)(len >> (8 * (f->little ? i : f->size - 1 - i))));
    weir_strbuf_add(out, data, len);
    return WEIR_OK;
}

/* The frame has its header, count included. */
static int write_whole(const struct weir_framing *f, const char *data, size_t len, struct weir_strbuf *out)
{
    if (len < f->header || weir_framing_count(f, data) != len - f->header)
        return WEIR_E_INVAL;
    if (!weir_strbuf_reserve(out, len))
        return WEIR_E_NOMEM;
    weir_strbuf_add(out, data, len);
    return WEIR_OK;
}

int weir_framing_write(const struct weir_framing *f, const void *data, size_t len, struct weir_strbuf *out)
{
    if (len > f->max)
        return WEIR_E_LIMIT;
    if (len == 0)
        data = "";
    switch (f->kind) {
    case WEIR_FRAMING_LINE:
        return write_line(f, data, len, out);
    case WEIR_FRAMING_LENGTH:
        return f->header == f->size ? write_count(f, data, len, out) : write_whole(f, data, len, out);
    case WEIR_FRAMING_RAW:
        if (!weir_strbuf_reserve(out, len))
            return WEIR_E_NOMEM;
        weir_strbuf_add(out, data, len);
        return WEIR_OK;
    }
    return WEIR_E_INVAL;
}
