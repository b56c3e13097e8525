#include "lua/script.h"

#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/strbuf.h"
#include "io/tls_cache.h"
#include "lua/lib.h"

enum { SOURCE_MAX = 8 << 20 }; /* bytes of one Lua file */

/* The part of a script that VMs change, under its lock. */
struct shared_modules {
    struct weir_mutex mu;
    struct weir_list list;
};

static int fill(int fd, char *text, size_t len, const char *path, struct weir_err *reterr)
{
    size_t got = 0;
    while (got < len) {
        ssize_t n = read(fd, text + got, len - got);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return weir_err_set(reterr, WEIR_E_IO, "%s: %s", path,
                                n == 0 ? "it shrank while it was read" : strerror(errno));
        got += (size_t)n;
    }
    return WEIR_OK;
}

static int read_open_file(int fd, const char *path, char **ret, size_t *ret_len, struct weir_err *reterr)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return weir_err_set(reterr, WEIR_E_IO, "%s: %s", path, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return weir_err_set(reterr, WEIR_E_SCRIPT, "%s: it is %s, not a file", path,
                            S_ISDIR(st.st_mode) ? "a folder" : "something special");
    if (st.st_size > SOURCE_MAX)
        return weir_err_set(reterr, WEIR_E_LIMIT, "%s: larger than %d bytes", path, SOURCE_MAX);
    size_t len = (size_t)st.st_size;
    char *text = weir_malloc(len + 1);
    if (text == NULL)
        return weir_err_set(reterr, WEIR_E_NOMEM, "%s: out of memory", path);
    int rc = fill(fd, text, len, path, reterr);
    if (rc != WEIR_OK) {
        weir_free(text);
        return rc;
    }
    text[len] = '\0';
    *ret = text;
    *ret_len = len;
    return WEIR_OK;
}

static int read_source(const char *path, char **ret, size_t *ret_len, struct weir_err *reterr)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO must not hold us */
    if (fd < 0)
        return weir_err_set(reterr, errno == ENOENT || errno == ENOTDIR ? WEIR_E_NOTFOUND : WEIR_E_IO,
                            "%s: %s", path, strerror(errno));
    int rc = read_open_file(fd, path, ret, ret_len, reterr);
    close(fd);
    return rc;
}

static bool copy_options(struct weir_lua_script *s, const struct weir_lua_options *o)
{
    s->file = weir_strdup(o->file);
    s->folder = weir_strdup(o->folder != NULL ? o->folder : ".");
    s->memory = o->memory;
    s->limits = o->limits;
    s->config = o->config;
    s->of_source = o->of_source;
    s->of_controller = o->of_controller;
    s->app = o->app;
    s->libs = weir_calloc(o->lib_count + 1, sizeof *s->libs);
    s->tls = weir_tls_cache_create();
    if (s->file == NULL || s->folder == NULL || s->libs == NULL || s->tls == NULL)
        return false;
    for (; s->lib_count < o->lib_count; s->lib_count++) {
        s->libs[s->lib_count] = weir_strdup(o->libs[s->lib_count]);
        if (s->libs[s->lib_count] == NULL)
            return false;
    }
    return true;
}

static bool make_modules(struct weir_lua_script *s)
{
    struct shared_modules *m = weir_calloc(1, sizeof *m);
    if (m == NULL)
        return false;
    weir_mutex_init(&m->mu, WEIR_RANK_GRAPH, "lua modules");
    weir_list_init(&m->list);
    s->mu = &m->mu;
    s->modules = &m->list;
    return true;
}

int weir_script_open(const struct weir_lua_options *options, struct weir_lua_script **ret,
                     struct weir_err *reterr)
{
    struct weir_lua_script *s = weir_calloc(1, sizeof *s);
    if (s == NULL || !copy_options(s, options) || !make_modules(s)) {
        weir_script_close(s);
        return weir_err_set(reterr, WEIR_E_NOMEM, "%s: out of memory", options->file);
    }
    int rc = read_source(s->file, &s->text, &s->text_len, reterr);
    if (rc != WEIR_OK) {
        weir_script_close(s);
        return rc;
    }
    *ret = s;
    return WEIR_OK;
}

static void free_module(struct weir_lua_module *m)
{
    if (m == NULL)
        return;
    weir_free(m->path);
    weir_free(m->text);
    weir_free(m);
}

void weir_script_close(struct weir_lua_script *s)
{
    if (s == NULL)
        return;
    while (s->modules != NULL && !weir_list_empty(s->modules))
        free_module(WEIR_LIST_ENTRY(weir_list_take_first(s->modules), struct weir_lua_module, node));
    if (s->mu != NULL) {
        weir_mutex_fini(s->mu);
        weir_free(WEIR_LIST_ENTRY(s->mu, struct shared_modules, mu));
    }
    for (size_t i = 0; i < s->lib_count; i++)
        weir_free(s->libs[i]);
    weir_free(s->libs);
    weir_tls_cache_unref(s->tls);
    weir_free(s->file);
    weir_free(s->folder);
    weir_free(s->text);
    weir_free(s->code);
    weir_free(s);
}

bool weir_script_is_open(const struct weir_lua_script *s)
{
    for (size_t i = 0; i < s->lib_count; i++)
        if (strcmp(s->libs[i], "all") == 0)
            return true;
    return false;
}

/* --- compiling --- */

/* Skips a byte order mark and a first line that begins with '#', but not its end, so that lines keep their
 * numbers. */
static const char *skip_first_line(const char *text, size_t *len)
{
    const char *at = text, *end = text + *len;
    if (*len >= 3 && memcmp(at, "\xef\xbb\xbf", 3) == 0)
        at += 3;
    if (at < end && *at == '#')
        while (at < end && *at != '\n')
            at++;
    *len = (size_t)(end - at);
    return at;
}

/* Pushes the compiled text or, on failure, the message. Names the file as Lua's messages are to show it:
 * relative to the application's folder where Lua would cut its name short. */
static int load_text(lua_State *L, const char *folder, const char *path, const char *text, size_t len)
{
    char name[LUA_IDSIZE + 2];
    size_t prefix = strlen(folder);
    if (strlen(path) >= LUA_IDSIZE - 1 && strncmp(path, folder, prefix) == 0 && path[prefix] == '/')
        path += prefix + 1;
    const char *from = skip_first_line(text, &len);
    if (snprintf(name, sizeof name, "@%s", path) < (int)sizeof name)
        return weir_lib_load_text(L, from, len, name);
    lua_pushfstring(L, "@%s", path);
    int status = weir_lib_load_text(L, from, len, lua_tostring(L, -1));
    lua_remove(L, -2);
    return status;
}

WEIR_L_RAISES bool weir_script_push_main(lua_State *L, const struct weir_lua_script *s,
                                         struct weir_err *reterr)
{
    if (s->code == NULL && s->text[0] == LUA_SIGNATURE[0]) {
        weir_err_set(reterr, WEIR_E_SCRIPT, "%s:1: it is bytecode; only text can be loaded", s->file);
        return false;
    }
    int status = s->code != NULL ? luaL_loadbufferx(L, s->code, s->code_len, "=", "b")
                                 : load_text(L, s->folder, s->file, s->text, s->text_len);
    if (status == LUA_OK)
        return true;
    weir_err_set(reterr, status == LUA_ERRMEM ? WEIR_E_NOMEM : WEIR_E_SCRIPT, "%s",
                 weir_vm_error_text(L, status));
    return false;
}

/* Receives bytecode in pieces. Never raises. */
static int write_code(lua_State *L, const void *piece, size_t len, void *out)
{
    struct weir_strbuf *b = out;
    (void)L; /* the signature of a lua_Writer */
    weir_strbuf_add(b, piece, len);
    return b->failed ? 1 : 0;
}

struct dump {
    struct weir_lua_script *script;
    struct weir_err err;
};

WEIR_L_RAISES static int l_dump(lua_State *L)
{
    struct dump *d = lua_touserdata(L, 1);
    if (!weir_script_push_main(L, d->script, &d->err))
        return 0;
    struct weir_strbuf code = WEIR_STRBUF_INIT;
    int failed = lua_dump(L, write_code, &code, 0); /* allocates nothing in the VM, so it does not raise */
    d->script->code_len = code.len;
    d->script->code = weir_strbuf_take(&code);
    if (failed != 0 || d->script->code == NULL)
        weir_err_set(&d->err, WEIR_E_NOMEM, "%s: out of memory", d->script->file);
    return 0;
}

int weir_script_compile(struct weir_lua_script *s, struct weir_err *reterr)
{
    struct weir_vm *vm = NULL;
    int rc = weir_vm_create(s, NULL, &vm, reterr);
    if (rc != WEIR_OK)
        return rc;
    struct dump d = {.script = s, .err = {.code = WEIR_OK}};
    s->takes_batches = vm->takes_batches;
    rc = weir_vm_call(vm, l_dump, &d, reterr);
    if (rc == WEIR_OK && d.err.code != WEIR_OK)
        rc = weir_err_set(reterr, d.err.code, "%s", d.err.text);
    weir_vm_destroy(vm);
    if (rc == WEIR_OK) {
        weir_free(s->text);
        s->text = NULL;
    }
    return rc;
}

/* --- modules --- */

static const struct weir_lua_module *find(const struct weir_lua_script *s, const char *path)
{
    WEIR_LIST_EACH(node, following, s->modules)
    {
        struct weir_lua_module *m = WEIR_LIST_ENTRY(node, struct weir_lua_module, node);
        if (strcmp(m->path, path) == 0)
            return m;
    }
    return NULL;
}

/* Adds `m`, unless another worker was first; returns the one in the list. */
static const struct weir_lua_module *add(const struct weir_lua_script *s, struct weir_lua_module *m)
{
    weir_mutex_lock(s->mu);
    const struct weir_lua_module *there = find(s, m->path);
    if (there == NULL)
        weir_list_append(s->modules, &m->node);
    weir_mutex_unlock(s->mu);
    if (there == NULL)
        return m;
    free_module(m);
    return there;
}

const struct weir_lua_module *weir_script_module(const struct weir_lua_script *s, const char *path,
                                                 struct weir_err *reterr)
{
    char *full = weir_asprintf("%s/%s", s->folder, path);
    if (full == NULL) {
        weir_err_set(reterr, WEIR_E_NOMEM, "%s: out of memory", path);
        return NULL;
    }
    weir_mutex_lock(s->mu);
    const struct weir_lua_module *there = find(s, full);
    weir_mutex_unlock(s->mu);
    if (there != NULL) {
        weir_free(full);
        return there;
    }
    struct weir_lua_module *m = weir_calloc(1, sizeof *m);
    int rc = m != NULL ? read_source(full, &m->text, &m->len, reterr)
                       : weir_err_set(reterr, WEIR_E_NOMEM, "%s: out of memory", path);
    if (rc != WEIR_OK) {
        weir_free(full);
        weir_free(m);
        return NULL;
    }
    m->path = full;
    return add(s, m);
}

WEIR_L_RAISES int weir_script_load_module(lua_State *L, const struct weir_lua_script *s,
                                          const struct weir_lua_module *m)
{
    return load_text(L, s->folder, m->path, m->text, m->len);
}
