#include "admin/client.h"

#include <errno.h>
#include <llhttp.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

enum { WAIT_S = 10, ANSWER_MAX = 256 << 20 };

static int connect_to(const char *path, int *ret, struct weir_err *reterr)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    size_t len = strlen(path);
    if (len >= sizeof to.sun_path)
        return weir_err_set(reterr, WEIR_E_INVAL, "%s: longer than the %zu bytes of a unix socket's path",
                            path, sizeof to.sun_path - 1);
    memcpy(to.sun_path, path, len + 1);
    if (len > 0 && path[0] == '@') /* the abstract namespace, written as everywhere */
        to.sun_path[0] = '\0';
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return weir_err_set(reterr, WEIR_E_IO, "socket: %s", strerror(errno));
    const struct timeval wait = {.tv_sec = WAIT_S};
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + (path[0] == '@' ? 0 : 1));
    int rc = WEIR_OK;
    if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait) != 0)
        rc = weir_err_set(reterr, WEIR_E_IO, "%s: %s", path, strerror(errno));
    else if (connect(fd, (const struct sockaddr *)&to, size) != 0)
        rc = weir_err_set(reterr, errno == ENOENT || errno == ECONNREFUSED ? WEIR_E_NOHOST : WEIR_E_IO,
                          "%s: %s", path, errno == ECONNREFUSED ? "nobody listens on it" : strerror(errno));
    if (rc != WEIR_OK) {
        (void)close(fd); /* nothing was written */
        return rc;
    }
    *ret = fd;
    return WEIR_OK;
}

bool weir_client_probe(const char *path)
{
    int fd;
    if (connect_to(path, &fd, NULL) != WEIR_OK)
        return false;
    (void)close(fd); /* nothing was written */
    return true;
}

static int send_all(int fd, const struct weir_strbuf *text, const char *path, struct weir_err *reterr)
{
    for (size_t sent = 0; sent < text->len;) {
        ssize_t n = send(fd, text->data + sent, text->len - sent, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return weir_err_set(reterr, errno == EAGAIN ? WEIR_E_TIMEOUT : WEIR_E_IO, "%s: sending: %s", path,
                                errno == EAGAIN ? "the host takes nothing" : strerror(errno));
        sent += (size_t)n;
    }
    return WEIR_OK;
}

/* An answer that is being read; llhttp's data pointer leads here. */
struct reading {
    const struct weir_client_question *question;
    struct weir_client_answer *answer;
    bool complete; /* or enough of it */
};

static int on_body(llhttp_t *p, const char *at, size_t len)
{
    struct reading *r = p->data;
    if (r->question->piece != NULL && p->status_code == 200) {
        r->complete = !r->question->piece(r->question->arg, at, len);
        return r->complete ? HPE_PAUSED : 0;
    }
    if (r->answer->body.len + len > ANSWER_MAX)
        return -1;
    weir_strbuf_add(&r->answer->body, at, len);
    return r->answer->body.failed ? -1 : 0;
}

static int on_complete(llhttp_t *p)
{
    struct reading *r = p->data;
    r->complete = true;
    return HPE_PAUSED; /* whatever follows is no answer of ours */
}

static int receive(int fd, struct reading *r, const char *path, struct weir_err *reterr)
{
    llhttp_settings_t settings;
    llhttp_settings_init(&settings);
    settings.on_body = on_body;
    settings.on_message_complete = on_complete;
    llhttp_t parser;
    llhttp_init(&parser, HTTP_RESPONSE, &settings);
    parser.data = r;
    char piece[16384];
    while (!r->complete) {
        ssize_t n = recv(fd, piece, sizeof piece, 0);
        bool stopped = n < 0 && errno == EINTR && r->question->stop != NULL && *r->question->stop != 0;
        if (stopped)
            break;
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return weir_err_set(reterr, errno == EAGAIN ? WEIR_E_TIMEOUT : WEIR_E_IO, "%s: %s", path,
                                errno == EAGAIN ? "the host does not answer" : strerror(errno));
        enum llhttp_errno e = n == 0 ? llhttp_finish(&parser) : llhttp_execute(&parser, piece, (size_t)n);
        if (r->complete)
            break;
        if (r->answer->body.failed)
            return weir_err_set(reterr, WEIR_E_NOMEM, "%s: out of memory", path);
        if (e != HPE_OK)
            return weir_err_set(reterr, WEIR_E_IO, "%s: not an answer of HTTP: %s", path,
                                llhttp_get_error_reason(&parser));
        if (n == 0)
            return weir_err_set(reterr, WEIR_E_IO, "%s: the host closed the connection without an answer",
                                path);
    }
    r->answer->status = parser.status_code;
    return WEIR_OK;
}

static void add_request(struct weir_strbuf *out, const struct weir_client_question *q)
{
    weir_strbuf_addf(out, "%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n", q->json != NULL ? "POST" : "GET", q->target);
    if (q->json != NULL)
        weir_strbuf_addf(out, "Content-Type: application/json\r\nContent-Length: %zu\r\n", strlen(q->json));
    weir_strbuf_addf(out, "\r\n%s", q->json != NULL ? q->json : "");
}

int weir_client_ask(const struct weir_client_question *q, struct weir_client_answer *ret, struct weir_err *reterr)
{
    const char *path = q->path;
    int fd;
    int rc = connect_to(path, &fd, reterr);
    if (rc != WEIR_OK)
        return rc;
    struct weir_strbuf request = WEIR_STRBUF_INIT;
    add_request(&request, q);
    struct reading reading = {.question = q, .answer = ret};
    if (request.failed)
        rc = weir_err_set(reterr, WEIR_E_NOMEM, "%s: out of memory", path);
    else
        rc = send_all(fd, &request, path, reterr);
    if (rc == WEIR_OK)
        rc = receive(fd, &reading, path, reterr);
    weir_strbuf_fini(&request);
    (void)close(fd); /* all that was sent has been answered, or it failed */
    return rc;
}
