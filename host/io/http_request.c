#include "io/http_request.h"

#include <string.h>
#include <strings.h>

#include "base/strbuf.h"
#include "io/http_conn.h"
#include "io/http_syntax.h"

const struct weir_http_text *weir_http_request_header(const struct weir_http_request *r, const char *name,
                                                      size_t len)
{
    for (size_t i = 0; i < r->header_count; i++) {
        const struct weir_http_text *t = &r->headers[i].name;
        if (t->len == len && memcmp(t->data, name, len) == 0)
            return &r->headers[i].value;
    }
    return NULL;
}

static void add_member(struct weir_strbuf *out, const char *key, struct weir_http_text text)
{
    weir_strbuf_addf(out, ",\"%s\":", key);
    weir_strbuf_add_json(out, text.data, text.len);
}

void weir_http_request_describe(const struct weir_http_request *r, struct weir_strbuf *out)
{
    enum { BODY_MAX = 64 << 10 };
    weir_strbuf_adds(out, "{\"method\":");
    weir_strbuf_add_json(out, r->method.data, r->method.len);
    add_member(out, "target", r->target);
    weir_strbuf_addf(out, ",\"version\":\"1.%d\"", r->version_minor);
    add_member(out, "remote", r->remote);
    weir_strbuf_adds(out, ",\"headers\":{");
    for (size_t i = 0; i < r->header_count; i++) {
        weir_strbuf_adds(out, i == 0 ? "" : ",");
        weir_strbuf_add_json(out, r->headers[i].name.data, r->headers[i].name.len);
        weir_strbuf_addc(out, ':');
        weir_strbuf_add_json(out, r->headers[i].value.data, r->headers[i].value.len);
    }
    weir_strbuf_addc(out, '}');
    if (r->body_streamed || r->body.len > BODY_MAX)
        weir_strbuf_addf(out, ",\"body_bytes\":%zu", r->body.len);
    else if (r->body.len > 0)
        add_member(out, "body", r->body);
    weir_strbuf_addc(out, '}');
}

static bool is_the_hosts(struct weir_http_text name)
{
    static const char *const ours[] = {"content-length", "transfer-encoding", "connection",
                                       "date",           "keep-alive",        "upgrade"};
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++) {
        if (weir_http_text_is(name, ours[i]))
            return true;
    }
    return false;
}

int weir_http_check_headers(const struct weir_http_header *headers, size_t count, struct weir_err *reterr)
{
    for (size_t i = 0; i < count; i++) {
        const struct weir_http_header *h = &headers[i];
        int shown = h->name.len < 60 ? (int)h->name.len : 60;
        if (!weir_http_is_token(h->name.data, h->name.len))
            return weir_err_set(
                reterr, WEIR_E_INVAL,
                "header '%.*s': the name is not one: letters, digits and !#$%%&'*+-.^_`|~ only", shown,
                h->name.data);
        if (is_the_hosts(h->name))
            return weir_err_set(reterr, WEIR_E_INVAL, "header '%.*s': it is set by the host", shown,
                                h->name.data);
        if (!weir_http_is_value(h->value.data, h->value.len))
            return weir_err_set(reterr, WEIR_E_INVAL,
                                "header '%.*s': its value has a line break or another control character",
                                shown, h->name.data);
    }
    return WEIR_OK;
}

void weir_http_reply(struct weir_http_request *r, struct weir_worker *w, int status,
                     const struct weir_http_header *headers, size_t count, const void *body, size_t len)
{
    struct weir_http_exchange *ex = weir_http_exchange_of(r);
    bool has_body = weir_http_has_body(ex, status);
    enum weir_http_framing framing =
        status == 204 || status == 304 ? WEIR_HTTP_FRAMING_NONE : WEIR_HTTP_FRAMING_LENGTH;
    if (has_body)
        weir_strbuf_reserve(&ex->out, len + 512); /* once, for head and body */
    weir_http_response_head(ex, w, status, headers, count, framing, len);
    if (has_body)
        weir_strbuf_add(&ex->out, body, len);
    weir_http_exchange_answer(ex, w);
}
