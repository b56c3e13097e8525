#include "admin/answer_stream.h"

#include <string.h>

#include "admin/routes.h"
#include "base/list.h"
#include "base/strbuf.h"

static void on_written(struct weir_http_wait *wait, int rc, const void *data, size_t len)
{
    struct weir_answer_stream *s = WEIR_LIST_ENTRY(wait, struct weir_answer_stream, wait);
    (void)data, (void)len; /* of reads */
    s->blocked = false;
    s->cut = s->cut || rc != WEIR_OK;
}

bool weir_answer_stream_start(struct weir_answer_stream *s, struct weir_route_ask *ask, const char *type, struct weir_route_answer *ret)
{
    const struct weir_http_header headers[] = {
        {{"Content-Type", 12}, {type, strlen(type)}},
        {{"Cache-Control", 13}, {"no-store", 8}},
    };
    struct weir_http_request *r = weir_route_take(ask, ret);
    *s = (struct weir_answer_stream){.wait.done = on_written};
    if (r != NULL)
        s->stream = weir_http_start(r, NULL, 200, headers, sizeof headers / sizeof headers[0]);
    return s->stream != NULL;
}

void weir_answer_stream_write(struct weir_answer_stream *s, const struct weir_strbuf *out)
{
    int rc = out->failed ? WEIR_E_NOMEM : weir_http_stream_write(s->stream, out->data, out->len, &s->wait);
    s->blocked = rc == WEIR_E_FULL;
    s->cut = rc != WEIR_OK && rc != WEIR_E_FULL;
}

void weir_answer_stream_close(struct weir_answer_stream *s)
{
    weir_http_stream_close(s->stream, !s->cut);
}
