/* Fuzz target: an HTTP connection's bytes. Each input is parsed whole and in pieces (cut where its own bytes
 * say); both ways must agree on everything. "#oom N\n" at its beginning lets the allocation after the N-th
 * fail (test builds). */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "io/http_parse.h"
#include "io/http_server.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { HEADERS = 4, TEXT = 96, REQUESTS = 16 };

struct outcome {
    size_t took;
    size_t requests;
    int status;
    uint64_t hash;
};

static void mix(struct outcome *o, const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++)
        o->hash = (o->hash ^ (unsigned char)s[i]) * 1099511628211U;
    o->hash = (o->hash ^ len) * 1099511628211U;
}

static void mix_request(struct outcome *o, const struct weir_http_request *r, const struct weir_strbuf *body)
{
    const struct weir_http_text texts[] = {r->method, r->target, r->path, r->query, r->remote};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        mix(o, texts[i].data, texts[i].len);
    for (size_t i = 0; i < r->header_count; i++) {
        mix(o, r->headers[i].name.data, r->headers[i].name.len);
        mix(o, r->headers[i].value.data, r->headers[i].value.len);
        for (size_t k = 0; k < r->headers[i].value.len; k++)
            if (r->headers[i].value.data[k] == '\n' || r->headers[i].value.data[k] == '\0')
                abort(); /* a value that could be taken for more than one */
    }
    if (body->len > 0)
        mix(o, body->data, body->len);
}

static size_t next_cut(const uint8_t *data, size_t size, size_t at, bool whole)
{
    size_t n = whole ? size - at : 1 + data[(at * 31 + size) % size] % 9U;
    return n < size - at ? n : size - at;
}

static void parse_one(const uint8_t *data, size_t size, bool whole, struct outcome *o)
{
    struct weir_http_settings limits;
    struct weir_http_request r = {.header_count = 0};
    struct weir_http_parser p;
    struct weir_http_header headers[HEADERS];
    char text[TEXT];
    struct weir_strbuf body = WEIR_STRBUF_INIT;
    weir_http_settings_default(&limits);
    limits.max_header_bytes = 2048;
    limits.max_uri = 256;
    limits.max_body = 4096;
    limits.max_headers = 32;
    weir_http_parser_init(&p, &r, &limits, (struct weir_http_room){headers, HEADERS, text, TEXT}, &body);
    r.remote = weir_http_parser_keep(&p, "192.0.2.1", 9);
    while (o->took < size && p.phase != WEIR_HTTP_DONE && p.phase != WEIR_HTTP_FAILED) {
        size_t n = next_cut(data, size, o->took, whole);
        char *piece = malloc(n); /* of its exact size, for the sanitizer */
        if (piece == NULL)
            abort();
        memcpy(piece, data + o->took, n);
        size_t took = weir_http_parser_feed(&p, piece, n);
        free(piece);
        if (took > n || (took == 0 && p.phase != WEIR_HTTP_FAILED))
            abort();
        o->took += took;
    }
    if (p.phase == WEIR_HTTP_DONE) {
        mix_request(o, &r, &body);
        o->requests++;
    }
    o->status = p.phase == WEIR_HTTP_FAILED ? p.status : p.phase == WEIR_HTTP_DONE ? 0 : -1;
    if (p.phase == WEIR_HTTP_FAILED && (p.status < 400 || p.status > 505 || p.reason == NULL))
        abort();
    weir_http_parser_fini(&p);
    weir_strbuf_fini(&body);
}

static struct outcome parse_all(const uint8_t *data, size_t size, bool whole)
{
    struct outcome o = {.hash = 14695981039346656037U};
    while (o.took < size && o.status == 0 && o.requests < REQUESTS)
        parse_one(data, size, whole, &o);
    return o;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *newline = memchr(data, '\n', size);
    long fail_after = -1;
    if (size > 5 && memcmp(data, "#oom ", 5) == 0 && newline != NULL) {
        fail_after = 0;
        for (const uint8_t *digit = data + 5;
             digit < newline && *digit >= '0' && *digit <= '9' && fail_after < 1000; digit++)
            fail_after = fail_after * 10 + (*digit - '0');
        size -= (size_t)(newline + 1 - data);
        data = newline + 1;
    }
    weir_mem_fail_after(fail_after);
    struct outcome whole = parse_all(data, size, true);
    weir_mem_fail_after(fail_after);
    struct outcome pieces = parse_all(data, size, false);
    weir_mem_fail_after(-1);
    /* which fault of several is found first may differ, whether there is one may not */
    bool same = whole.requests == pieces.requests && (whole.status > 0) == (pieces.status > 0) &&
                (whole.status < 0) == (pieces.status < 0) && whole.hash == pieces.hash;
    if (fail_after < 0 && !same)
        abort();
    if (weir_mem_live() != 0)
        abort();
    return 0;
}
