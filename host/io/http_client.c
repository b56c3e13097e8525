#include "io/http_client.h"

#include <curl/curl.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <strings.h>
#include <uv.h>

#include "base/list.h"
#include "base/mem.h"
#include "core/service.h"
#include "core/worker.h"
#include "io/http_client_easy.h"
#include "io/http_client_error.h"

enum { SPARE_MAX = 256 };

struct client {
    struct weir_service service; /* of the worker */
    struct weir_worker *worker;
    CURLM *multi;
    uv_timer_t timer;
    struct weir_list fetches; /* all of them */
    struct weir_list touched; /* those with news to tell */
    size_t handles;           /* of the loop, not closed yet */
    unsigned per_host, kept;  /* its limits */
    CURL *spare[SPARE_MAX];   /* handles to be used again: making one costs as much as a small answer */
    size_t spares;
    bool telling, closing;
};

struct fetch {
    struct weir_http_fetch f; /* first */
    struct client *client;
    struct weir_list node, touched;
    CURL *easy;
    struct curl_slist *headers;
    struct weir_strbuf out; /* of a streamed request body, not sent yet */
    size_t out_pos;
    size_t max_body;
    struct weir_holder *holder; /* answers for `copied` and the buffers */
    size_t copied;              /* bytes of a request body that libcurl has */
    bool streamed, out_ended, paused_in, paused_out;
    bool too_large, no_memory;
    bool head_done;  /* what comes in lines now is a trailer */
    bool redirected; /* the head that is read leads elsewhere */
    bool follows;    /* … and that is done */
    bool plain;      /* nothing was set that the next request does not set anew */
    char error[CURL_ERROR_SIZE];
};

/* A socket of libcurl's in the loop. */
struct watch {
    uv_poll_t poll;
    struct client *client;
    curl_socket_t fd;
};

static struct fetch *fetch_of(struct weir_http_fetch *f)
{
    return (struct fetch *)(void *)f; /* its first member */
}

static void touch(struct fetch *f, unsigned news)
{
    f->f.news |= news;
    if (weir_list_empty(&f->touched))
        weir_list_append(&f->client->touched, &f->touched);
}

/* --- news --- */

/* Outside of libcurl's callbacks, since what is told may open and close fetches. */
static void tell(struct client *c)
{
    struct weir_list *node;
    if (c->telling)
        return;
    c->telling = true;
    while ((node = weir_list_take_first(&c->touched)) != NULL) {
        struct fetch *f = WEIR_LIST_ENTRY(node, struct fetch, touched);
        f->f.progress(&f->f, f->f.news);
    }
    c->telling = false;
}

static void finish(struct fetch *f, CURLcode result)
{
    if (f->too_large)
        weir_http_client_failed(&f->f, "TOO_LARGE", "the answer is larger than max_body");
    else if (f->no_memory)
        weir_http_client_failed(&f->f, "ENOMEM", "out of memory");
    else if (result == CURLE_OK && !f->head_done)
        weir_http_client_failed(&f->f, "TRUNCATED", "the server ended in the middle of its answer's head");
    else if (result != CURLE_OK)
        weir_http_client_explain(&f->f, f->easy, result, f->error);
    touch(f, WEIR_HTTP_FETCH_END);
}

static void take_results(struct client *c)
{
    CURLMsg *m;
    int left;
    while ((m = curl_multi_info_read(c->multi, &left)) != NULL) {
        struct fetch *f;
        if (m->msg != CURLMSG_DONE)
            continue;
        CURLcode result = m->data.result;
        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&f);
        curl_multi_remove_handle(c->multi, f->easy);
        finish(f, result);
    }
    tell(c);
}

/* --- libcurl and the loop --- */

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct watch *watch = (struct watch *)(void *)poll; /* its first member */
    struct client *c = watch->client;
    int running, flags = status < 0 ? CURL_CSELECT_ERR : 0;
    flags |= events & UV_READABLE ? CURL_CSELECT_IN : 0;
    flags |= events & UV_WRITABLE ? CURL_CSELECT_OUT : 0;
    weir_worker_now(c->worker);
    curl_multi_socket_action(c->multi, watch->fd, flags, &running);
    take_results(c);
}

static void on_timer(uv_timer_t *timer)
{
    struct client *c = timer->data;
    int running;
    weir_worker_now(c->worker);
    curl_multi_socket_action(c->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    take_results(c);
}

static void on_closed(uv_handle_t *handle)
{
    struct client *c = handle->data;
    if (handle != (uv_handle_t *)&c->timer)
        weir_free(handle);
    if (--c->handles == 0)
        weir_free(c);
}

static void unwatch(struct client *c, struct watch *watch)
{
    curl_multi_assign(c->multi, watch->fd, NULL);
    uv_poll_stop(&watch->poll);
    uv_close((uv_handle_t *)&watch->poll, on_closed);
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *assigned)
{
    (void)easy; /* sockets outlive requests */
    struct client *c = arg;
    struct watch *watch = assigned;
    if (what == CURL_POLL_REMOVE) {
        if (watch != NULL)
            unwatch(c, watch);
        return 0;
    }
    if (watch == NULL) {
        watch = weir_calloc(1, sizeof *watch);
        if (watch == NULL || uv_poll_init(&c->worker->loop, &watch->poll, fd) != 0) {
            weir_free(watch);
            return -1;
        }
        watch->client = c;
        watch->fd = fd;
        watch->poll.data = c;
        c->handles++;
        curl_multi_assign(c->multi, fd, watch);
    }
    int events = what & CURL_POLL_IN ? UV_READABLE : 0;
    uv_poll_start(&watch->poll, events | (what & CURL_POLL_OUT ? UV_WRITABLE : 0), on_poll);
    return 0;
}

static int on_timeout(CURLM *multi, long ms, void *arg)
{
    (void)multi;
    struct client *c = arg;
    if (c->closing)
        return 0;
    if (ms < 0)
        uv_timer_stop(&c->timer);
    else
        uv_timer_start(&c->timer, on_timer, (uint64_t)ms, 0);
    return 0;
}

/* --- the client --- */

static const char client_key;

/* With the worker's loop. */
static void close_client(struct weir_service *service)
{
    struct client *c = WEIR_LIST_ENTRY(service, struct client, service);
    c->closing = true;
    while (!weir_list_empty(&c->fetches))
        weir_http_fetch_close(&WEIR_LIST_ENTRY(c->fetches.next, struct fetch, node)->f);
    while (c->spares > 0)
        curl_easy_cleanup(c->spare[--c->spares]);
    curl_multi_cleanup(c->multi);
    uv_close((uv_handle_t *)&c->timer, on_closed);
}

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void init_curl(void)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

static void set_client_limits(struct client *c, unsigned per_host, unsigned kept)
{
    if (per_host != 0 && per_host != c->per_host)
        curl_multi_setopt(c->multi, CURLMOPT_MAX_HOST_CONNECTIONS, (long)per_host);
    if (kept != 0 && kept != c->kept)
        curl_multi_setopt(c->multi, CURLMOPT_MAXCONNECTS, (long)kept);
    c->per_host = per_host != 0 ? per_host : c->per_host;
    c->kept = kept != 0 ? kept : c->kept;
}

static struct client *make_client(struct weir_worker *w)
{
    struct client *c = weir_calloc(1, sizeof *c);
    if (c == NULL)
        return NULL;
    pthread_once(&once, init_curl);
    c->multi = curl_multi_init();
    if (c->multi == NULL) {
        weir_free(c);
        return NULL;
    }
    c->worker = w;
    weir_list_init(&c->fetches);
    weir_list_init(&c->touched);
    uv_timer_init(&w->loop, &c->timer);
    c->timer.data = c;
    c->handles = 1;
    curl_multi_setopt(c->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(c->multi, CURLMOPT_SOCKETDATA, c);
    curl_multi_setopt(c->multi, CURLMOPT_TIMERFUNCTION, on_timeout);
    curl_multi_setopt(c->multi, CURLMOPT_TIMERDATA, c);
    set_client_limits(c, WEIR_HTTP_FETCH_PER_HOST, WEIR_HTTP_FETCH_KEPT);
    c->service = (struct weir_service){.key = &client_key, .close = close_client};
    weir_service_add(w, &c->service);
    return c;
}

static struct client *find_client(struct weir_worker *w)
{
    struct weir_service *s = weir_service_find(w, &client_key);
    return s != NULL ? WEIR_LIST_ENTRY(s, struct client, service) : make_client(w);
}

/* --- a fetch: what libcurl asks and gives --- */

/* Room in `b`, one of the fetch's buffers; false: there is none, or not for this one. */
static bool reserve(struct fetch *f, struct weir_strbuf *b, size_t more)
{
    size_t others = f->copied + f->f.headers.cap + f->f.body.cap + f->out.cap - b->cap;
    return weir_holder_reserve(f->holder, b, more, others);
}

/* Nobody will have it: it makes way for others before its opener is told. */
static void drop_body(struct fetch *f)
{
    weir_strbuf_fini(&f->f.body);
    (void)weir_holder_hold(f->holder, f->copied + f->f.headers.cap + f->out.cap); /* less is never refused */
}

/* `out` has room for the line and three bytes more. */
static void add_header(struct weir_strbuf *out, const char *line, size_t len)
{
    const char *colon = memchr(line, ':', len);
    size_t name = colon != NULL ? (size_t)(colon - line) : 0, at = name + 1;
    if (name == 0)
        return;
    while (at < len && (line[at] == ' ' || line[at] == '\t'))
        at++;
    char *to = out->data + out->len;
    for (size_t i = 0; i < name; i++)
        to[i] = (char)(line[i] >= 'A' && line[i] <= 'Z' ? line[i] + 32 : line[i]);
    memcpy(to + name, ": ", 2);
    memcpy(to + name + 2, line + at, len - at);
    out->len += name + 2 + len - at;
    out->data[out->len++] = '\n';
    out->data[out->len] = '\0';
}

static void end_of_head(struct fetch *f)
{
    long status = 0;
    curl_easy_getinfo(f->easy, CURLINFO_RESPONSE_CODE, &status);
    f->f.status = (int)status;
    if (status < 200)
        return; /* another one follows */
    if (f->follows && f->redirected && status >= 300 && status < 400) {
        if (status == 303) /* whatever was asked for, the answer is to be got */
            curl_easy_setopt(f->easy, CURLOPT_CUSTOMREQUEST, NULL);
        return;
    }
    f->head_done = true;
    if (f->streamed)
        touch(f, WEIR_HTTP_FETCH_HEAD);
}

/* One line of the head, its end included; the status line begins a head anew (after a redirect, or 100). */
static size_t on_header(char *line, size_t size, size_t count, void *arg)
{
    struct fetch *f = arg;
    size_t whole = size * count, len = whole;
    while (len > 0 && (line[len - 1] == '\n' || line[len - 1] == '\r'))
        len--;
    if (f->head_done)
        return whole; /* trailers are nobody's */
    if (len >= 5 && memcmp(line, "HTTP/", 5) == 0) {
        weir_strbuf_clear(&f->f.headers);
        f->redirected = false;
        return whole;
    }
    if (len > 0) {
        f->no_memory |= !reserve(f, &f->f.headers, len + 3); /* ": " and the line's end at most */
        if (!f->no_memory)
            add_header(&f->f.headers, line, len);
        f->redirected |= len > 9 && strncasecmp(line, "location:", 9) == 0;
        f->too_large |= f->f.headers.len > WEIR_HTTP_FETCH_HEADERS_MAX;
        return f->too_large || f->no_memory ? 0 : whole;
    }
    end_of_head(f);
    return whole;
}

static size_t on_data(char *data, size_t size, size_t count, void *arg)
{
    struct fetch *f = arg;
    size_t len = size * count;
    if (f->streamed) {
        if (f->f.body.len > 0 && f->f.body.len + len > WEIR_HTTP_FETCH_AHEAD_MAX) {
            f->paused_in = true;
            return CURL_WRITEFUNC_PAUSE;
        }
        touch(f, WEIR_HTTP_FETCH_BODY);
    } else if (f->f.body.len + len > f->max_body) {
        f->too_large = true;
        return 0;
    }
    f->no_memory |= !reserve(f, &f->f.body, len);
    if (f->no_memory && !f->streamed)
        drop_body(f);
    if (f->no_memory)
        return 0;
    weir_strbuf_add(&f->f.body, data, len);
    return len;
}

static size_t on_read(char *buffer, size_t size, size_t count, void *arg)
{
    struct fetch *f = arg;
    size_t room = size * count, left = f->out.len - f->out_pos;
    if (left == 0 && f->out_ended)
        return 0;
    if (left == 0) {
        weir_strbuf_clear(&f->out);
        f->out_pos = 0;
        f->paused_out = true;
        touch(f, WEIR_HTTP_FETCH_ROOM);
        return CURL_READFUNC_PAUSE;
    }
    size_t n = left < room ? left : room;
    memcpy(buffer, f->out.data + f->out_pos, n);
    f->out_pos += n;
    return n;
}

static void unpause(struct fetch *f)
{
    int bits = (f->paused_in ? CURLPAUSE_RECV : 0) | (f->paused_out ? CURLPAUSE_SEND : 0);
    curl_easy_pause(f->easy, bits); /* may call on_data and on_read at once */
    on_timeout(f->client->multi, 0, f->client); /* … and has libcurl look for more, outside of whoever calls */
}

int weir_http_fetch_write(struct weir_http_fetch *base, const void *data, size_t len, bool end)
{
    struct fetch *f = fetch_of(base);
    if (!reserve(f, &f->out, len))
        return f->out.failed ? WEIR_E_NOMEM : WEIR_E_LIMIT;
    weir_strbuf_add(&f->out, data, len);
    f->out_ended |= end;
    base->news &= ~(unsigned)WEIR_HTTP_FETCH_ROOM;
    if (f->paused_out && !(base->news & WEIR_HTTP_FETCH_END)) {
        f->paused_out = false;
        unpause(f);
    }
    return WEIR_OK;
}

void weir_http_fetch_consume(struct weir_http_fetch *base)
{
    struct fetch *f = fetch_of(base);
    weir_strbuf_clear(&base->body);
    base->news &= ~(unsigned)WEIR_HTTP_FETCH_BODY;
    if (f->paused_in && !(base->news & WEIR_HTTP_FETCH_END)) {
        f->paused_in = false;
        unpause(f);
    }
}

/* --- making one --- */

static const struct weir_http_easy_hooks hooks = {on_header, on_data, on_read};

int weir_http_fetch_open(struct weir_worker *w, const struct weir_http_fetch_options *o,
                         void (*progress)(struct weir_http_fetch *f, unsigned news), void *arg, struct weir_http_fetch **ret,
                         struct weir_err *reterr)
{
    if (!weir_holder_hold(o->holder, o->len))
        return weir_err_set(reterr, WEIR_E_LIMIT, "there is no room for the body");
    struct client *c = find_client(w);
    struct fetch *f = c != NULL ? weir_calloc(1, sizeof *f) : NULL;
    if (f == NULL)
        return weir_err_set(reterr, WEIR_E_NOMEM, "out of memory");
    set_client_limits(c, o->per_host, o->kept);
    f->f.progress = progress;
    f->f.arg = arg;
    f->client = c;
    f->max_body = o->max_body;
    f->holder = o->holder;
    f->copied = o->len;
    f->streamed = o->answer_streamed;
    f->follows = o->redirects > 0;
    f->plain = weir_http_easy_is_plain(o);
    weir_list_init(&f->touched);
    weir_list_append(&c->fetches, &f->node);
    f->easy = c->spares > 0 ? c->spare[--c->spares] : weir_http_easy_create(&hooks);
    if (f->easy == NULL || !weir_http_easy_set(f->easy, o, f, f->error, &f->headers) || curl_multi_add_handle(c->multi, f->easy) != CURLM_OK) {
        weir_http_fetch_close(&f->f);
        return weir_err_set(reterr, WEIR_E_NOMEM, "out of memory");
    }
    *ret = &f->f;
    return WEIR_OK;
}

/* It is not in the multi handle any more. Cookies and sessions are the multi handle's or off: nothing of one request is seen by the next. */
static void give_back(struct client *c, CURL *easy, bool plain)
{
    if (easy == NULL || c->closing || c->spares == SPARE_MAX) {
        curl_easy_cleanup(easy);
        return;
    }
    easy = weir_http_easy_clear(easy, &hooks, plain);
    if (easy != NULL)
        c->spare[c->spares++] = easy;
}

void weir_http_fetch_close(struct weir_http_fetch *base)
{
    if (base == NULL)
        return;
    struct fetch *f = fetch_of(base);
    if (f->easy != NULL && !(base->news & WEIR_HTTP_FETCH_END))
        curl_multi_remove_handle(f->client->multi, f->easy);
    give_back(f->client, f->easy, f->plain);
    curl_slist_free_all(f->headers);
    weir_list_remove(&f->node);
    weir_list_remove(&f->touched);
    weir_strbuf_fini(&f->out);
    weir_strbuf_fini(&base->headers);
    weir_strbuf_fini(&base->body);
    weir_free(f);
}
