/* Answers with a file: opened, looked at and read in libuv's threads, 64 KiB at a time, the next piece when
 * the last has been sent. A file that fits into one piece costs one trip there. */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "io/beneath.h"
#include "io/file_threads.h"
#include "io/http_conn.h"
#include "io/http_syntax.h"
#include "io/http_validate.h"
#include "io/mime.h"

enum { PIECE = 64 << 10, EXTRA_HEADERS = 5 };

/* [owner: loop], but while `working`: a thread of libuv's */
struct weir_http_file {
    uv_work_t work;
    struct weir_http_exchange *ex;
    bool working, dead;
    _Atomic unsigned handed; /* [atomic acq/rel] libuv orders loop and thread itself; this says so to
                              * ThreadSanitizer, which can't see into it */
    int status;              /* asked for, then what becomes of it */
    int error;               /* an errno, or 0 */
    int fd;
    uint64_t offset, left, length; /* length: of the whole answer */
    struct weir_strbuf piece;      /* read, not sent yet: the exchange's own buffer is the loop's alone */
    const char *root, *path;       /* in `text`, as the headers */
    size_t header_count;
    struct weir_http_header *headers; /* room for EXTRA_HEADERS more */
    char etag[48], modified[WEIR_HTTP_DATE_LEN + 1], range[72];
    char text[];
};

static void free_file(struct weir_http_file *f)
{
    if (f->fd >= 0)
        close(f->fd);
    weir_strbuf_fini(&f->piece);
    weir_free(f->headers);
    weir_free(f);
}

/* ---- in libuv's threads ---- */

static bool has_header(const struct weir_http_file *f, const char *name)
{
    for (size_t i = 0; i < f->header_count; i++) {
        if (weir_http_text_is(f->headers[i].name, name))
            return true;
    }
    return false;
}

static void add_header(struct weir_http_file *f, const char *name, const char *value)
{
    if (!has_header(f, name))
        f->headers[f->header_count++] =
            (struct weir_http_header){{name, strlen(name)}, {value, strlen(value)}};
}

static void read_piece(struct weir_http_file *f)
{
    size_t want = f->left < PIECE ? (size_t)f->left : PIECE, got = 0;
    weir_strbuf_clear(&f->piece);
    if (!weir_strbuf_reserve(&f->piece, want)) {
        f->error = ENOMEM;
        return;
    }
    while (got < want) {
        ssize_t n = pread(f->fd, f->piece.data + got, want - got, (off_t)(f->offset + got));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) { /* 0: somebody cut it shorter meanwhile */
            f->error = n < 0 ? errno : EIO;
            return;
        }
        got += (size_t)n;
    }
    f->piece.len = got;
    f->offset += got;
    f->left -= got;
}

/* To be said on either side before a file goes to the other thread, and after it has come from there. */
static void hand_file(struct weir_http_file *f)
{
    atomic_fetch_add_explicit(&f->handed, 1, memory_order_release);
}

static struct weir_http_file *take_file(uv_work_t *work)
{
    struct weir_http_file *f = WEIR_LIST_ENTRY(work, struct weir_http_file, work);
    (void)atomic_load_explicit(&f->handed, memory_order_acquire); /* for its order, not its value */
    return f;
}

static void work_read(uv_work_t *work)
{
    struct weir_http_file *f = take_file(work);
    read_piece(f);
    hand_file(f);
}

/* What of the file is asked for, and under which status. */
static int choose(struct weir_http_file *f, const struct stat *st)
{
    snprintf(f->etag, sizeof f->etag, "\"%llx-%llx\"",
             (unsigned long long)st->st_mtim.tv_sec * 1000000000ULL + (unsigned long long)st->st_mtim.tv_nsec,
             (unsigned long long)st->st_size);
    weir_http_date_print(st->st_mtim.tv_sec, f->modified);
    f->left = (uint64_t)st->st_size;
    if (f->status != 200)
        return f->status;
    struct weir_http_validators v = {.etag = {f->etag, strlen(f->etag)}, .modified = st->st_mtim.tv_sec};
    struct weir_http_range range;
    int status = weir_http_evaluate(&f->ex->r, &v);
    if (status == 200)
        status = weir_http_range(&f->ex->r, &v, f->left, &range);
    if (status == 206) {
        snprintf(f->range, sizeof f->range, "bytes %llu-%llu/%llu", (unsigned long long)range.first,
                 (unsigned long long)(range.first + range.len - 1), (unsigned long long)f->left);
        f->offset = range.first;
        f->left = range.len;
    } else if (status == 416) {
        snprintf(f->range, sizeof f->range, "bytes */%llu", (unsigned long long)f->left);
    }
    return status;
}

static bool is_bodiless(int status)
{
    return status == 304 || status == 412 || status == 416;
}

static void open_file(struct weir_http_file *f)
{
    struct stat st;
    int fd = weir_beneath_open(f->root, f->path, &st);
    if (fd < 0) {
        f->error = -fd;
        return;
    }
    f->fd = fd;
    f->status = choose(f, &st);
    f->length = is_bodiless(f->status) ? 0 : f->left;
    if (is_bodiless(f->status) || !weir_http_has_body(f->ex, f->status))
        f->left = 0;
    if (f->left > 0)
        read_piece(f);
}

static void work_open(uv_work_t *work)
{
    struct weir_http_file *f = take_file(work);
    open_file(f);
    hand_file(f);
}

/* ---- on the loop ---- */

static void write_head(struct weir_http_file *f)
{
    struct weir_http_exchange *ex = f->ex;
    if (!is_bodiless(f->status))
        add_header(f, "Content-Type", weir_mime_type(f->path));
    add_header(f, "ETag", f->etag);
    add_header(f, "Last-Modified", f->modified);
    add_header(f, "Accept-Ranges", "bytes");
    if (f->range[0] != '\0')
        add_header(f, "Content-Range", f->range);
    weir_http_response_head(
        ex, ex->server->worker, f->status, f->headers, f->header_count,
        f->status == 304 || f->status == 204 ? WEIR_HTTP_FRAMING_NONE : WEIR_HTTP_FRAMING_LENGTH, f->length);
}

/* The job is over; the exchange goes on without it, or ends when its client has gone. */
static void end_file(struct weir_http_file *f)
{
    struct weir_http_exchange *ex = f->ex;
    ex->producer = NULL;
    ex->file = NULL;
    free_file(f);
    if (ex->conn == NULL)
        weir_http_exchange_end(ex);
}

static void after_read(uv_work_t *work, int status)
{
    struct weir_http_file *f = take_file(work);
    struct weir_http_exchange *ex = f->ex;
    (void)status; /* never cancelled */
    weir_file_threads_end();
    f->working = false;
    if (f->dead) {
        end_file(f);
        return;
    }
    weir_http_server_now(ex->server);
    if (f->error != 0) {
        weir_http_conn_close(ex->conn,
                             WEIR_E_IO); /* the length was promised: only cutting tells the client */
        return;
    }
    struct weir_strbuf sent = ex->out; /* more() was asked since it is empty */
    ex->out = f->piece;
    f->piece = sent;
    if (f->left == 0)
        end_file(f);
    weir_http_conn_write(ex->conn);
}

static void more(struct weir_http_exchange *ex)
{
    struct weir_http_file *f = ex->file;
    if (f->working)
        return;
    f->working = true;
    hand_file(f);
    weir_file_threads_begin();
    uv_queue_work(ex->server->loop, &f->work, work_read, after_read);
}

static void cut(struct weir_http_exchange *ex, int rc)
{
    (void)rc;
    if (ex->file->working)
        ex->file->dead = true; /* whoever comes back from libuv's thread ends it */
    else
        end_file(ex->file);
}

static const struct weir_http_producer file_producer = {.more = more, .cut = cut};

static void after_open(uv_work_t *work, int status)
{
    struct weir_http_file *f = take_file(work);
    struct weir_http_exchange *ex = f->ex;
    (void)status; /* never cancelled */
    weir_file_threads_end();
    int error = f->error;
    f->working = false;
    if (f->dead) {
        end_file(f);
        return;
    }
    weir_http_server_now(ex->server);
    if (error == 0) {
        write_head(f);
        weir_strbuf_add(&ex->out, f->piece.data, f->piece.len);
    }
    if (error != 0 || f->left == 0)
        end_file(f);
    if (error != 0)
        weir_http_response_plain(ex, ex->server->worker, error == ENOENT ? 404 : error == EACCES ? 403 : 503);
    weir_http_conn_answer(ex);
}

static void begin(struct weir_http_exchange *ex)
{
    struct weir_http_file *f = ex->file;
    if (!weir_http_conn_hold(ex, &file_producer)) {
        end_file(f);
        return;
    }
    f->working = true;
    hand_file(f);
    weir_file_threads_begin();
    uv_queue_work(ex->server->loop, &f->work, work_open, after_open);
}

static void deliver_begin(struct weir_message *m)
{
    struct weir_http_exchange *ex = WEIR_LIST_ENTRY(m, struct weir_http_exchange, message);
    weir_http_server_now(ex->server);
    begin(ex);
}

/* ---- the holder's part ---- */

static char *keep(char *at, const char *s, size_t len)
{
    memcpy(at, s, len);
    at[len] = '\0';
    return at + len + 1;
}

static struct weir_http_file *make_file(struct weir_http_exchange *ex, const struct weir_http_header *headers,
                                        size_t count, const char *root, const char *path)
{
    size_t text = strlen(root) + strlen(path) + 2;
    for (size_t i = 0; i < count; i++)
        text += headers[i].name.len + headers[i].value.len + 2;
    struct weir_http_file *f = weir_calloc(1, sizeof *f + text);
    if (f == NULL)
        return NULL;
    f->headers = weir_calloc(count + EXTRA_HEADERS, sizeof *f->headers);
    if (f->headers == NULL) {
        weir_free(f);
        return NULL;
    }
    f->ex = ex;
    f->fd = -1;
    f->header_count = count;
    f->root = f->text;
    char *at = keep(f->text, root, strlen(root));
    f->path = at;
    at = keep(at, path, strlen(path));
    for (size_t i = 0; i < count; i++) {
        f->headers[i].name = (struct weir_http_text){at, headers[i].name.len};
        at = keep(at, headers[i].name.data, headers[i].name.len);
        f->headers[i].value = (struct weir_http_text){at, headers[i].value.len};
        at = keep(at, headers[i].value.len > 0 ? headers[i].value.data : "", headers[i].value.len);
    }
    return f;
}

void weir_http_reply_file(struct weir_http_request *r, struct weir_worker *w, int status,
                          const struct weir_http_header *headers, size_t count, const char *root,
                          const char *path)
{
    struct weir_http_exchange *ex = weir_http_exchange_of(r);
    struct weir_http_file *f = make_file(ex, headers, count, root, path);
    if (f == NULL) {
        ex->out.failed = true;
        weir_http_exchange_answer(ex, w);
        return;
    }
    f->status = status;
    ex->file = f;
    if (weir_http_exchange_is_local(ex, w)) {
        begin(ex);
        return;
    }
    ex->message.deliver = deliver_begin;
    weir_http_exchange_post(ex, &ex->message);
}
