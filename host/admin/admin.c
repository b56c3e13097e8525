/* Who may ask: on the unix socket whoever the system says is this user (mode 0600 in a folder of mode 0700,
 * and the peer's credentials are checked); on TCP whoever knows the token. Without a token TCP is loopback
 * only (config sees to that), and then a request must be addressed to this machine by number or as localhost:
 * else any web page could reach us through a name of its own. */
#include "admin/admin.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "admin/client.h"
#include "admin/looks.h"
#include "admin/place.h"
#include "admin/routes.h"
#include "admin/view.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/strbuf.h"
#include "config/app.h"
#include "io/http_request.h"
#include "io/http_server.h"
#include "io/listener.h"
#include "runtime/runtime.h"

enum { TOKEN_MAX = 4096, TOKEN_MIN = 16, CLIENTS = 64, BACKLOG = 64 };

/* One socket and its server. */
struct door {
    struct weir_admin *admin;
    bool tcp;
    char *text; /* path of the unix socket; "http://…" of TCP */
    struct weir_listener *listener;
    struct weir_http_server *server;
};

struct weir_admin {
    struct weir_view view;
    struct weir_looks *looks; /* the view's */
    uv_loop_t *loop;
    const char *socket; /* as asked for */
    char *token;        /* NULL: none is asked for */
    struct door local, remote;
};

/* Takes as long whatever of `given` is right. */
static bool same_token(const char *token, const char *given, size_t len)
{
    size_t want = strlen(token);
    unsigned char differs = want != len;
    for (size_t i = 0; i < len; i++)
        differs |= (unsigned char)given[i] ^ (unsigned char)token[i % want];
    return differs == 0;
}

static bool has_token(const struct weir_http_request *r, const char *token)
{
    const struct weir_http_text *given =
        weir_http_request_header(r, "authorization", strlen("authorization"));
    static const char scheme[] = "bearer ";
    size_t skip = sizeof scheme - 1;
    if (given == NULL || given->len < skip || strncasecmp(given->data, scheme, skip) != 0)
        return false;
    while (skip < given->len && given->data[skip] == ' ')
        skip++;
    return same_token(token, given->data + skip, given->len - skip);
}

/* Host is a number ("127.0.0.1:9901", "[::1]:9901") or localhost. */
static bool names_this_machine(const struct weir_http_request *r)
{
    const struct weir_http_text *host = weir_http_request_header(r, "host", strlen("host"));
    if (host == NULL || host->len == 0)
        return r->version_minor == 0;
    if (host->data[0] == '[')
        return true;
    size_t len = 0;
    bool number = true;
    for (; len < host->len && host->data[len] != ':'; len++)
        number = number && (isdigit((unsigned char)host->data[len]) || host->data[len] == '.');
    return number || (len == strlen("localhost") && strncasecmp(host->data, "localhost", len) == 0);
}

/* A page of the web can make a browser post here, but not as JSON: that it would have to ask for first. */
static bool is_json(const struct weir_http_request *r)
{
    static const char type[] = "application/json";
    const struct weir_http_text *given = weir_http_request_header(r, "content-type", strlen("content-type"));
    size_t len = sizeof type - 1;
    return given != NULL && given->len >= len && strncasecmp(given->data, type, len) == 0 &&
           (given->len == len || given->data[len] == ';' || given->data[len] == ' ');
}

static bool is_post(const struct weir_http_request *r)
{
    return r->method.len == 4 && memcmp(r->method.data, "POST", 4) == 0;
}

static void on_request(struct weir_http_server *s, struct weir_http_request *r, void *arg)
{
    (void)s; /* the door knows it */
    const struct door *door = arg;
    const struct weir_admin *a = door->admin;
    struct weir_route_answer out = {.body = WEIR_STRBUF_INIT};
    struct weir_route_ask ask = {&a->view, r->method, r->path, r->query, r->body, r};
    if (door->tcp && a->token == NULL && !names_this_machine(r))
        weir_route_error(&out, 403,
                         "ask for 127.0.0.1 or localhost: without a token no other name is served");
    else if (door->tcp && a->token != NULL && !weir_route_is_public(r->path) && !has_token(r, a->token))
        weir_route_error(&out, 401, "send 'Authorization: Bearer TOKEN' with the token of admin.token_file");
    else if (door->tcp && is_post(r) && !is_json(r))
        weir_route_error(&out, 415, "send 'Content-Type: application/json'");
    else
        weir_route(&ask, &out);
    if (ask.request != NULL)
        weir_route_reply(ask.request, &out);
    weir_strbuf_fini(&out.body);
}

static int read_token(const char *path, struct weir_admin *a, struct weir_err *reterr)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    struct stat st;
    if (fd < 0)
        return weir_err_set(reterr, WEIR_E_CONFIG, "%s: %s (it is admin.token_file)", path, strerror(errno));
    char text[TOKEN_MAX];
    ssize_t len = read(fd, text, sizeof text);
    if (len >= 0 && fstat(fd, &st) == 0 && (st.st_mode & 077) != 0)
        weir_log(WEIR_LOG_WARN, "admin", NULL, "%s: others may read the token (mode %03o; chmod 600)", path,
                 (unsigned)(st.st_mode & 0777));
    int failed = errno;
    (void)close(fd); /* nothing was written */
    if (len < 0)
        return weir_err_set(reterr, WEIR_E_CONFIG, "%s: %s", path, strerror(failed));
    while (len > 0 && isspace((unsigned char)text[len - 1]))
        len--;
    for (ssize_t i = 0; i < len; i++)
        if (!isgraph((unsigned char)text[i]))
            return weir_err_set(reterr, WEIR_E_CONFIG, "%s: a token is one line of visible ASCII characters",
                                path);
    if (len < TOKEN_MIN || len == TOKEN_MAX)
        return weir_err_set(reterr, WEIR_E_CONFIG, "%s: a token has %d to %d characters, this one %zd%s",
                            path, TOKEN_MIN, TOKEN_MAX - 1, len, len == TOKEN_MAX ? " or more" : "");
    a->token = weir_strndup(text, (size_t)len);
    return a->token != NULL ? WEIR_OK : weir_err_set(reterr, WEIR_E_NOMEM, "admin: out of memory");
}

static int open_door(struct weir_admin *a, struct door *door, const char *address, struct weir_err *reterr)
{
    struct weir_http_settings settings;
    weir_http_settings_default(&settings);
    settings.max_connections = CLIENTS;
    settings.max_body = 64 * 1024;
    settings.stream_body = false;
    settings.same_user_only = !door->tcp;
    settings.idle_ns = 60 * WEIR_NS_PER_S;
    const struct weir_http_options options = {
        .loop = a->loop, .settings = &settings, .on_request = on_request, .arg = door};
    const struct weir_listener_options listen = {
        .address = address, .backlog = BACKLOG, .mode = door->tcp ? 0 : 0600};
    door->admin = a;
    int rc = weir_listener_open(&listen, &door->listener, reterr);
    if (rc == WEIR_OK)
        rc = weir_http_server_create(&options, &door->server, reterr);
    if (rc == WEIR_OK)
        rc = weir_http_server_listen(door->server, weir_listener_fd(door->listener, 0), reterr);
    if (rc != WEIR_OK)
        return rc;
    const char *text = weir_listener_text(door->listener);
    door->text = door->tcp ? weir_asprintf("http://%s", text)
                           : weir_strdup(strncmp(text, "unix:", 5) == 0 ? text + 5 : text);
    return door->text != NULL ? WEIR_OK : weir_err_set(reterr, WEIR_E_NOMEM, "admin: out of memory");
}

/* "unix:FOLDER/NAME.sock"; with the process's number when another host of that name runs. */
static char *default_socket(const char *folder, const char *name)
{
    char *path = weir_asprintf("unix:%s/%s.sock", folder, name);
    if (path != NULL && weir_client_probe(path + strlen("unix:"))) {
        weir_free(path);
        path = weir_asprintf("unix:%s/%s-%ld.sock", folder, name, (long)getpid());
    }
    return path;
}

static int open_default(struct weir_admin *a, struct weir_err *reterr)
{
    char *folder = weir_place_folder();
    char *address = folder != NULL ? default_socket(folder, a->view.app->name) : NULL;
    struct weir_err why;
    int rc =
        address == NULL ? weir_err_set(&why, WEIR_E_NOMEM, "out of memory") : weir_place_make(folder, &why);
    if (rc == WEIR_OK)
        rc = open_door(a, &a->local, address, &why);
    if (rc != WEIR_OK)
        (void)weir_err_set(reterr, rc,
                           "admin socket: %s (--admin SOCK for another place, --admin none for no socket)",
                           why.text);
    weir_free(address);
    weir_free(folder);
    return rc;
}

static int open_local(struct weir_admin *a, struct weir_err *reterr)
{
    const char *socket = a->socket;
    if (socket == NULL)
        return open_default(a, reterr);
    if (strcmp(socket, "none") == 0)
        return WEIR_OK;
    char *address = strncmp(socket, "unix:", 5) == 0 ? weir_strdup(socket) : weir_asprintf("unix:%s", socket);
    if (address == NULL)
        return weir_err_set(reterr, WEIR_E_NOMEM, "admin: out of memory");
    struct weir_err why;
    int rc = open_door(a, &a->local, address, &why);
    if (rc != WEIR_OK)
        (void)weir_err_set(reterr, rc, "admin socket: %s", why.text);
    weir_free(address);
    return rc;
}

static int open_remote(struct weir_admin *a, struct weir_err *reterr)
{
    const struct weir_app *app = a->view.app;
    if (app->admin.listen == NULL)
        return WEIR_OK;
    int rc = WEIR_OK;
    if (app->admin.token_file != NULL) {
        bool absolute = app->admin.token_file[0] == '/';
        char *path =
            weir_asprintf("%s%s%s", absolute ? "" : app->folder, absolute ? "" : "/", app->admin.token_file);
        rc = path == NULL ? weir_err_set(reterr, WEIR_E_NOMEM, "admin: out of memory")
                          : read_token(path, a, reterr);
        weir_free(path);
    }
    if (rc != WEIR_OK)
        return rc;
    struct weir_err why;
    a->remote.tcp = strncmp(app->admin.listen, "unix:", 5) != 0;
    rc = open_door(a, &a->remote, app->admin.listen, &why);
    if (rc != WEIR_OK)
        (void)weir_err_set(reterr, rc, "admin.listen: %s", why.text);
    return rc;
}

int weir_admin_create(const struct weir_admin_options *o, struct weir_admin **ret, struct weir_err *reterr)
{
    struct weir_admin *a = weir_calloc(1, sizeof *a);
    if (a == NULL)
        return weir_err_set(reterr, WEIR_E_NOMEM, "admin: out of memory");
    int rc = weir_looks_create(weir_runtime_graph(o->rt), o->loop, &a->looks, reterr);
    if (rc != WEIR_OK) {
        weir_free(a);
        return rc;
    }
    a->view = (struct weir_view){weir_runtime_app(o->rt), weir_runtime_graph(o->rt), o->rt, a->looks};
    a->loop = o->loop;
    a->socket = o->socket;
    *ret = a;
    return WEIR_OK;
}

int weir_admin_listen(struct weir_admin *a, struct weir_err *reterr)
{
    int rc = open_local(a, reterr);
    return rc == WEIR_OK ? open_remote(a, reterr) : rc;
}

const char *weir_admin_socket(const struct weir_admin *a)
{
    return a->local.text;
}

const char *weir_admin_address(const struct weir_admin *a)
{
    return a->remote.text;
}

static void close_door(struct door *door)
{
    if (door->server != NULL)
        weir_http_server_close(door->server);
    weir_listener_close(door->listener);
    door->listener = NULL;
}

void weir_admin_close(struct weir_admin *a)
{
    if (a == NULL)
        return;
    weir_looks_close(a->looks);
    close_door(&a->local);
    close_door(&a->remote);
}

void weir_admin_destroy(struct weir_admin *a)
{
    if (a == NULL)
        return;
    weir_http_server_destroy(a->local.server);
    weir_http_server_destroy(a->remote.server);
    weir_looks_destroy(a->looks);
    weir_free(a->local.text);
    weir_free(a->remote.text);
    weir_free(a->token);
    weir_free(a);
}
