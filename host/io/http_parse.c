#include "io/http_parse.h"

#include <string.h>

#include "base/mem.h"
#include "io/http_server.h"
#include "io/http_syntax.h"

enum {
    EXTENSIONS_MAX = 16 << 10, /* bytes of chunk extensions in a body */
    CHUNK_LINE = 24,           /* what the frame of a chunk may cost: 16 digits, line ends, and some */
    FRAMING_MAX = 16 << 10,    /* and what a body may have beyond that */
};

static int fail(struct weir_http_parser *p, int status, const char *reason)
{
    p->phase = WEIR_HTTP_FAILED;
    p->status = status;
    p->reason = reason;
    p->keep_alive = false;
    return HPE_USER;
}

/* The byte `back` places before `at`, which is inside the current piece; 0 before the beginning. */
static char byte_before(const struct weir_http_parser *p, const char *at, size_t back)
{
    size_t here = (size_t)(at - p->piece);
    if (back <= here)
        return at[-(ptrdiff_t)back];
    back -= here;
    return back <= sizeof p->tail ? p->tail[sizeof p->tail - back] : '\0';
}

static void remember_tail(struct weir_http_parser *p, const char *data, size_t len)
{
    if (len >= sizeof p->tail) {
        memcpy(p->tail, data + len - sizeof p->tail, sizeof p->tail);
        return;
    }
    memmove(p->tail, p->tail + len, sizeof p->tail - len);
    memcpy(p->tail + sizeof p->tail - len, data, len);
}

/* ---- room ---- */

static void rebase(struct weir_http_text *t, const char *from, size_t len, const char *to)
{
    if (t->data >= from && t->data <= from + len)
        t->data = to + (t->data - from);
}

static bool grow_text(struct weir_http_parser *p, size_t more)
{
    size_t cap = p->room.text_cap * 2;
    while (cap < p->text_len + more)
        cap *= 2;
    char *text = weir_malloc(cap);
    if (text == NULL)
        return false;
    const char *old = p->room.text;
    memcpy(text, old, p->text_len);
    struct weir_http_request *r = p->r;
    struct weir_http_text *own[] = {&r->method, &r->target, &r->path, &r->query, &r->remote};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        rebase(own[i], old, p->text_len, text);
    for (size_t i = 0; i < r->header_count; i++) {
        rebase(&p->room.headers[i].name, old, p->text_len, text);
        rebase(&p->room.headers[i].value, old, p->text_len, text);
    }
    if (p->room.text != p->lent.text)
        weir_free(p->room.text);
    p->room.text = text;
    p->room.text_cap = cap;
    return true;
}

static bool grow_headers(struct weir_http_parser *p)
{
    size_t cap = p->room.header_cap * 2;
    struct weir_http_header *headers = weir_malloc(cap * sizeof *headers);
    if (headers == NULL)
        return false;
    memcpy(headers, p->room.headers, p->r->header_count * sizeof *headers);
    if (p->room.headers != p->lent.headers)
        weir_free(p->room.headers);
    p->room.headers = headers;
    p->room.header_cap = cap;
    p->r->headers = headers;
    return true;
}

static bool reserve_text(struct weir_http_parser *p, size_t more)
{
    return p->text_len + more <= p->room.text_cap || grow_text(p, more);
}

static bool append(struct weir_http_parser *p, struct weir_http_text *to, const char *at, size_t len)
{
    if (!reserve_text(p, len))
        return false;
    memcpy(p->room.text + p->text_len, at, len);
    p->text_len += len;
    to->len += len;
    return true;
}

struct weir_http_text weir_http_parser_keep(struct weir_http_parser *p, const char *data, size_t len)
{
    if (!reserve_text(p, len))
        return (struct weir_http_text){NULL, 0};
    struct weir_http_text t = {p->room.text + p->text_len, 0};
    append(p, &t, data, len);
    return t;
}

/* ---- what llhttp finds ---- */

static int on_url(llhttp_t *ll, const char *at, size_t len)
{
    struct weir_http_parser *p = ll->data;
    struct weir_http_text *t = &p->r->target;
    if (t->len == 0) {
        if (byte_before(p, at, 1) != ' ' || byte_before(p, at, 2) == ' ')
            return fail(p, 400, "more than one blank before the target");
        t->data = p->room.text + p->text_len;
    }
    if (t->len + len > p->limits->max_uri)
        return fail(p, 414, "the target is too long");
    return append(p, t, at, len) ? 0 : fail(p, 503, "out of memory");
}

static int on_version(llhttp_t *ll, const char *at, size_t len)
{
    (void)len;
    struct weir_http_parser *p = ll->data;
    if (p->version_seen)
        return 0;
    p->version_seen = true;
    for (size_t i = 1; i <= 5; i++) {
        if (byte_before(p, at, i) != "/PTTH"[i - 1])
            return fail(p, 400, "not HTTP");
    }
    if (byte_before(p, at, 6) != ' ' || byte_before(p, at, 7) == ' ')
        return fail(p, 400, "more than one blank before the version");
    if (ll->method == HTTP_PRI)
        return fail(p, 505, "only HTTP/1.0 and HTTP/1.1 are spoken here");
    return 0;
}

/* Trailers are counted and checked, and not kept: no handler could tell them from headers that came in time.
 */
static int count_trailer(struct weir_http_parser *p, const char *at, size_t len, bool name)
{
    if (name && !p->in_value && p->trailer_len == 0)
        p->trailers = 0;
    p->trailer_len += len;
    if (p->trailer_len > p->limits->max_header_bytes || p->trailers > p->limits->max_headers)
        return fail(p, 431, "the trailers are too large");
    if (!name && len > 0 && byte_before(p, at, 1) == '\n')
        return fail(p, 400, "a folded trailer line");
    return 0;
}

static int begin_header(struct weir_http_parser *p)
{
    struct weir_http_request *r = p->r;
    if (r->header_count >= p->limits->max_headers)
        return fail(p, 431, "too many headers");
    if (r->header_count >= p->room.header_cap && !grow_headers(p))
        return fail(p, 503, "out of memory");
    struct weir_http_header *h = &p->room.headers[r->header_count++];
    h->name = h->value = (struct weir_http_text){p->room.text + p->text_len, 0};
    p->in_value = false;
    return 0;
}

static int on_field(llhttp_t *ll, const char *at, size_t len)
{
    struct weir_http_parser *p = ll->data;
    if (ll->flags & F_TRAILING)
        return count_trailer(p, at, len, true);
    if ((p->r->header_count == 0 || p->in_value) && begin_header(p) != 0)
        return HPE_USER;
    struct weir_http_text *name = &p->room.headers[p->r->header_count - 1].name;
    if (!append(p, name, at, len))
        return fail(p, 503, "out of memory");
    char *lower = p->room.text + p->text_len - len;
    for (size_t i = 0; i < len; i++) {
        if (lower[i] >= 'A' && lower[i] <= 'Z')
            lower[i] = (char)(lower[i] + ('a' - 'A'));
    }
    return 0;
}

static int on_field_complete(llhttp_t *ll)
{
    struct weir_http_parser *p = ll->data;
    if (ll->flags & F_TRAILING) {
        p->trailers++;
        return 0;
    }
    if (p->r->header_count == 0 || p->in_value || p->room.headers[p->r->header_count - 1].name.len == 0)
        return fail(p, 400, "a header without a name");
    p->in_value = true;
    p->room.headers[p->r->header_count - 1].value.data = p->room.text + p->text_len;
    return 0;
}

static int on_value(llhttp_t *ll, const char *at, size_t len)
{
    struct weir_http_parser *p = ll->data;
    if (ll->flags & F_TRAILING)
        return count_trailer(p, at, len, false);
    struct weir_http_text *value = &p->room.headers[p->r->header_count - 1].value;
    return append(p, value, at, len) ? 0 : fail(p, 503, "out of memory");
}

static int on_extension(llhttp_t *ll, const char *at, size_t len)
{
    (void)at;
    struct weir_http_parser *p = ll->data;
    p->extension_len += len;
    return p->extension_len <= EXTENSIONS_MAX ? 0 : fail(p, 413, "the chunk extensions are too long");
}

static int on_chunk(llhttp_t *ll)
{
    struct weir_http_parser *p = ll->data;
    p->chunks++;
    uint64_t size = ll->content_length;
    if (size > p->limits->max_body || p->body_len > p->limits->max_body - size)
        return fail(p, 413, "the body is too large");
    return 0;
}

static int on_body(llhttp_t *ll, const char *at, size_t len)
{
    struct weir_http_parser *p = ll->data;
    if (p->body_len + len > p->limits->max_body)
        return fail(p, 413, "the body is too large");
    p->body_len += len;
    weir_strbuf_add(p->body, at, len);
    return p->body->failed ? fail(p, 503, "out of memory") : 0;
}

/* ---- the end of the header ---- */

/* Joins the values of headers of the same name into the first of them: each byte is copied once at most. */
static bool join_values(struct weir_http_parser *p, size_t first)
{
    struct weir_http_request *r = p->r;
    struct weir_http_text name = p->room.headers[first].name;
    bool cookie = name.len == 6 && memcmp(name.data, "cookie", 6) == 0;
    struct weir_http_text joined = {NULL, 0};
    size_t kept = first + 1;
    for (size_t i = first + 1, n = r->header_count; i < n; i++) {
        struct weir_http_header *h = &p->room.headers[i];
        if (h->name.len != name.len || memcmp(h->name.data, name.data, name.len) != 0) {
            p->room.headers[kept++] = *h;
            continue;
        }
        /* the room may move while it grows: texts in it are looked at only after that */
        if (!reserve_text(p, h->value.len + 2 + (joined.data == NULL ? p->room.headers[first].value.len : 0)))
            return false;
        if (joined.data == NULL) {
            struct weir_http_text start = p->room.headers[first].value;
            joined = weir_http_parser_keep(p, start.data, start.len);
        }
        append(p, &joined, cookie ? "; " : ", ", 2);
        append(p, &joined, p->room.headers[i].value.data, p->room.headers[i].value.len);
        joined.data = p->room.text + p->text_len - joined.len;
        name = p->room.headers[first].name;
    }
    if (joined.data != NULL)
        p->room.headers[first].value = joined;
    r->header_count = kept;
    return true;
}

struct special {
    struct weir_http_text host, transfer, expect;
    unsigned hosts, lengths, transfers, expects;
};

static void note_special(struct special *s, const struct weir_http_header *h)
{
    switch (h->name.len) {
    case 4:
        if (memcmp(h->name.data, "host", 4) == 0) {
            s->host = h->value;
            s->hosts++;
        }
        break;
    case 6:
        if (memcmp(h->name.data, "expect", 6) == 0) {
            s->expect = h->value;
            s->expects++;
        }
        break;
    case 14:
        s->lengths += memcmp(h->name.data, "content-length", 14) == 0;
        break;
    case 17:
        if (memcmp(h->name.data, "transfer-encoding", 17) == 0) {
            s->transfer = h->value;
            s->transfers++;
        }
        break;
    default:
        break;
    }
}

/* Trims the values and notes what matters to the framing. Returns whether names may be there more than once:
 * each name sets one of 64 bits. */
static bool finish_headers(struct weir_http_parser *p, struct special *s)
{
    uint64_t seen = 0, twice = 0;
    for (size_t i = 0; i < p->r->header_count; i++) {
        struct weir_http_header *h = &p->room.headers[i];
        const unsigned char *name = (const unsigned char *)h->name.data;
        h->value = weir_http_trim(h->value);
        note_special(s, h);
        uint64_t bit = 1ULL << ((h->name.len * 7 + name[0] * 3U + name[h->name.len - 1]) & 63U);
        twice |= seen & bit;
        seen |= bit;
    }
    return twice != 0;
}

static int join_headers(struct weir_http_parser *p)
{
    for (size_t i = 0; i < p->r->header_count; i++) {
        if (!join_values(p, i))
            return fail(p, 503, "out of memory");
    }
    return 0;
}

static int check_framing(struct weir_http_parser *p, const struct special *s)
{
    if (s->hosts > 1 || s->lengths > 1 || s->transfers > 1)
        return fail(p, 400, "Host, Content-Length or Transfer-Encoding more than once");
    if (s->transfers > 0) {
        if (p->r->version_minor == 0)
            return fail(p, 400, "Transfer-Encoding in HTTP/1.0");
        if (s->lengths > 0)
            return fail(p, 400, "both Content-Length and Transfer-Encoding");
        int status = weir_http_check_transfer(s->transfer);
        if (status != 0)
            return fail(p, status,
                        status == 501 ? "unknown transfer coding"
                                      : "a Transfer-Encoding without a clear end");
    }
    p->chunked = (p->ll.flags & F_CHUNKED) != 0;
    p->has_length = (p->ll.flags & F_CONTENT_LENGTH) != 0 && p->ll.content_length > 0;
    p->content_length = p->has_length ? p->ll.content_length : 0;
    if ((s->transfers > 0) != p->chunked || (s->lengths > 0) != ((p->ll.flags & F_CONTENT_LENGTH) != 0))
        return fail(p, 400, "ambiguous framing");
    if (p->content_length > p->limits->max_body)
        return fail(p, 413, "the body is too large");
    return 0;
}

static int check_expect(struct weir_http_parser *p, const struct special *s)
{
    if (s->expects == 0 || p->r->version_minor == 0)
        return 0;
    if (s->expects > 1 || !weir_http_text_is(s->expect, "100-continue"))
        return fail(p, 417, "unknown expectation");
    p->wants_continue = p->chunked || p->has_length;
    return 0;
}

static int check_target(struct weir_http_parser *p, const struct special *s)
{
    struct weir_http_request *r = p->r;
    struct weir_http_text host;
    int status = weir_http_split_target(r->method, r->target, &r->path, &r->query, &host);
    if (status != 0)
        return fail(p, status, status == 405 ? "CONNECT is not offered" : "a malformed target");
    if (s->hosts == 0 && r->version_minor > 0)
        return fail(p, 400, "no Host");
    if (s->hosts > 0 && !weir_http_is_host(s->host, host.len == 0))
        return fail(p, 400, "a malformed Host");
    return 0;
}

static int on_headers_complete(llhttp_t *ll)
{
    struct weir_http_parser *p = ll->data;
    struct weir_http_request *r = p->r;
    struct special s = {.hosts = 0};
    if (!p->version_seen)
        return fail(p, 400, "no version");
    if (ll->http_major != 1 || ll->http_minor > 1)
        return fail(p, 505, "only HTTP/1.0 and HTTP/1.1 are spoken here");
    const char *method = llhttp_method_name((llhttp_method_t)ll->method);
    r->method = (struct weir_http_text){method, strlen(method)};
    r->version_minor = ll->http_minor;
    bool twice = finish_headers(p, &s);
    if (check_framing(p, &s) != 0 || check_target(p, &s) != 0 || check_expect(p, &s) != 0)
        return HPE_USER;
    /* last, since it may move the room, and what was noted with it */
    if (twice && join_headers(p) != 0)
        return HPE_USER;
    ll->upgrade = 0; /* we switch to no other protocol, so an Upgrade is only a wish */
    p->keep_alive = llhttp_should_keep_alive(ll) != 0;
    p->phase = WEIR_HTTP_BODY;
    return 0;
}

static int on_message_complete(llhttp_t *ll)
{
    struct weir_http_parser *p = ll->data;
    p->phase = WEIR_HTTP_DONE;
    return HPE_PAUSED;
}

static const llhttp_settings_t callbacks = {
    .on_url = on_url,
    .on_version = on_version,
    .on_header_field = on_field,
    .on_header_field_complete = on_field_complete,
    .on_header_value = on_value,
    .on_chunk_extension_name = on_extension,
    .on_chunk_extension_value = on_extension,
    .on_chunk_header = on_chunk,
    .on_headers_complete = on_headers_complete,
    .on_body = on_body,
    .on_message_complete = on_message_complete,
};

/* ---- feeding ---- */

void weir_http_parser_init(struct weir_http_parser *p, struct weir_http_request *r,
                           const struct weir_http_settings *limits, struct weir_http_room room,
                           struct weir_strbuf *body)
{
    memset(p, 0, sizeof *p);
    llhttp_init(&p->ll, HTTP_REQUEST, &callbacks);
    p->ll.data = p;
    p->r = r;
    p->limits = limits;
    p->room = p->lent = room;
    p->body = body;
    r->headers = room.headers;
    r->header_count = 0;
    r->target = (struct weir_http_text){NULL, 0};
}

void weir_http_parser_fini(struct weir_http_parser *p)
{
    if (p->room.text != p->lent.text)
        weir_free(p->room.text);
    if (p->room.headers != p->lent.headers)
        weir_free(p->room.headers);
    p->room = p->lent;
}

/* Looks at the lines of a header before llhttp does. Returns how many bytes of `data` belong to it; sets
 * head_scanned at the empty line, or fails. */
static size_t scan_head(struct weir_http_parser *p, const char *data, size_t len)
{
    const char *at = data, *end = data + len;
    while (at < end && !p->head_scanned) {
        bool starts = p->line_len == 0;
        if (starts && p->line_seen && (*at == ' ' || *at == '\t')) {
            fail(p, 400, "a folded header line");
            break;
        }
        const char *feed = memchr(at, '\n', (size_t)(end - at));
        if (feed == NULL) {
            p->line_len += (size_t)(end - at);
            p->last = end[-1];
            at = end;
            break;
        }
        char before = feed > at ? feed[-1] : p->last;
        if (before != '\r' || (starts && feed == at)) {
            fail(p, 400, "a line that ends without a carriage return");
            break;
        }
        size_t line = p->line_len + (size_t)(feed - at) - 1; /* without its end */
        p->head_scanned = line == 0 && p->line_seen;
        p->line_seen = p->line_seen || line > 0;
        p->line_len = 0;
        p->last = '\n';
        at = feed + 1;
    }
    return (size_t)(at - data);
}

static int status_of(enum llhttp_errno e, char at)
{
    switch (e) {
    case HPE_INVALID_METHOD:
        return (at >= 'A' && at <= 'Z') || (at >= 'a' && at <= 'z') ? 501 : 400;
    case HPE_INVALID_VERSION:
        return at >= '0' && at <= '9' ? 505 : 400;
    case HPE_PAUSED_H2_UPGRADE:
        return 505;
    default:
        return 400;
    }
}

/* Runs llhttp over a piece; returns what it took of it. */
static size_t execute(struct weir_http_parser *p, const char *data, size_t len)
{
    p->piece = data;
    llhttp_errno_t e = llhttp_execute(&p->ll, data, len);
    if (e == HPE_OK) {
        remember_tail(p, data, len);
        return len;
    }
    const char *stop = llhttp_get_error_pos(&p->ll);
    size_t took = stop >= data && stop <= data + len ? (size_t)(stop - data) : len;
    if (p->phase == WEIR_HTTP_DONE) {
        if (p->chunked && byte_before(p, data + took, 2) != '\r')
            fail(p, 400, "a line that ends without a carriage return");
        return took;
    }
    if (p->phase != WEIR_HTTP_FAILED) {
        /* llhttp stops at the version's last digit, or behind it */
        char at = took < len ? data[took] : (len > 0 ? data[len - 1] : '\0');
        if (e == HPE_INVALID_VERSION && took > 0 && at == '\r')
            at = data[took - 1];
        const char *why = llhttp_get_error_reason(&p->ll);
        fail(p, status_of(e, at), why != NULL ? why : "malformed");
    }
    return took;
}

static size_t feed_head(struct weir_http_parser *p, const char *data, size_t len)
{
    size_t head = scan_head(p, data, len);
    if (p->phase == WEIR_HTTP_FAILED)
        return head;
    p->head_len += head;
    size_t took = execute(p, data, head);
    if (p->phase == WEIR_HTTP_FAILED)
        return took;
    /* two readers of the same bytes must agree where the header ends */
    if (took != head || p->head_scanned != (p->phase != WEIR_HTTP_HEAD))
        fail(p, 400, "the header's end is ambiguous");
    else if (p->head_len > p->r->target.len + p->limits->max_header_bytes)
        fail(p, p->r->header_count == 0 && !p->version_seen ? 414 : 431, "the header is too large");
    return took;
}

static size_t feed_body(struct weir_http_parser *p, const char *data, size_t len)
{
    uint64_t body_before = p->body_len;
    size_t took = execute(p, data, len);
    p->framing_len += took - (p->body_len - body_before);
    if (p->framing_len >
            FRAMING_MAX + EXTENSIONS_MAX + p->limits->max_header_bytes + CHUNK_LINE * p->chunks &&
        p->phase != WEIR_HTTP_FAILED)
        fail(p, 400, "too much framing for its body");
    return took;
}

size_t weir_http_parser_feed(struct weir_http_parser *p, const char *data, size_t len)
{
    if (len == 0)
        return 0;
    switch (p->phase) {
    case WEIR_HTTP_HEAD:
        return feed_head(p, data, len);
    case WEIR_HTTP_BODY:
        return feed_body(p, data, len);
    case WEIR_HTTP_DONE:
    case WEIR_HTTP_FAILED:
        break;
    }
    return 0;
}
