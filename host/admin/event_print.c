#include "admin/event_print.h"

#include <stdio.h>

#include "admin/json_out.h"
#include "base/strbuf.h"
#include "core/graph.h"

/* Not in the middle of a character. */
static size_t cut_length(const char *text, size_t max)
{
    while (max > 0 && ((unsigned char)text[max] & 0xc0) == 0x80)
        max--;
    return max;
}

static void print_cut(struct weir_json_out *j, const char *key, struct weir_strbuf *text, size_t max)
{
    char name[64];
    size_t whole = text->len;
    text->data[cut_length(text->data, max)] = '\0';
    (void)snprintf(name, sizeof name, "%s_cut", key); /* keys are ours, and short */
    weir_json_string(j, name, text->data);
    (void)snprintf(name, sizeof name, "%s_bytes", key);
    weir_json_uint(j, name, whole);
}

void weir_event_print_value(struct weir_json_out *j, const char *key, struct weir_value v, size_t max)
{
    struct weir_strbuf text = WEIR_STRBUF_INIT;
    weir_value_print(v, &text);
    if (text.failed)
        j->out->failed = true;
    else if (text.len > max)
        print_cut(j, key, &text, max);
    else
        weir_json_raw(j, key, text.data, text.len);
    weir_strbuf_fini(&text);
}
