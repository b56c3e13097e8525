#include "io/file_watch.h"

#include <string.h>
#include <uv.h>

#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "core/worker.h"
#include "io/file_look.h"

enum { FOLDERS_MAX = 256 };

struct folder {
    struct weir_list node;
    struct weir_file_watch *watch;
    uv_fs_event_t handle;
    char *path; /* "": the current one, of paths without a slash */
};

struct weir_file_watch {
    struct weir_worker *worker;
    void (*changed)(void *arg, const char *path);
    void *arg;
    struct weir_list folders;
    size_t count;
    bool full; /* was told */
};

struct weir_file_watch *weir_file_watch_create(struct weir_worker *w,
                                               void (*changed)(void *arg, const char *path), void *arg)
{
    struct weir_file_watch *fw = weir_calloc(1, sizeof *fw);
    if (fw == NULL)
        return NULL;
    fw->worker = w;
    fw->changed = changed;
    fw->arg = arg;
    weir_list_init(&fw->folders);
    return fw;
}

static void on_event(uv_fs_event_t *handle, const char *name, int events, int status)
{
    struct folder *f = handle->data;
    struct weir_file_watch *fw = f->watch;
    if (status < 0 || name == NULL || (events & UV_RENAME) != 0) {
        fw->changed(fw->arg, NULL);
        return;
    }
    char *path = f->path[0] == '\0'
                     ? weir_strdup(name)
                     : weir_asprintf("%s%s%s", f->path, strcmp(f->path, "/") == 0 ? "" : "/", name);
    fw->changed(fw->arg, path); /* NULL: no memory: looking finds it, too */
    weir_free(path);
}

static bool is_watched(const struct weir_file_watch *fw, const char *path)
{
    WEIR_LIST_EACH(node, following, &fw->folders)
    {
        if (strcmp(WEIR_LIST_ENTRY(node, struct folder, node)->path, path) == 0)
            return true;
    }
    return false;
}

static void free_folder(uv_handle_t *handle)
{
    struct folder *f = handle->data;
    weir_free(f->path);
    weir_free(f);
}

/* Takes `path`. */
static void add(struct weir_file_watch *fw, char *path)
{
    struct folder *f = weir_calloc(1, sizeof *f);
    if (f == NULL) {
        weir_free(path);
        return;
    }
    f->watch = fw;
    f->path = path;
    f->handle.data = f;
    uv_fs_event_init(&fw->worker->loop, &f->handle);
    int rc = uv_fs_event_start(&f->handle, on_event, path[0] == '\0' ? "." : path, 0);
    if (rc < 0) {
        weir_log(WEIR_LOG_DEBUG, "file", NULL, "%s: can't be watched (%s): it is looked at instead", path,
                 uv_strerror(rc));
        uv_close((uv_handle_t *)&f->handle, free_folder);
        return;
    }
    weir_list_append(&fw->folders, &f->node);
    fw->count++;
}

void weir_file_watch_folder_of(struct weir_file_watch *fw, const char *path)
{
    const char *slash = strrchr(path, '/');
    char *folder =
        slash == NULL ? weir_strdup("") : weir_strndup(path, slash == path ? 1 : (size_t)(slash - path));
    if (folder == NULL || weir_file_is_pattern(folder) || is_watched(fw, folder)) {
        weir_free(folder);
    } else if (fw->count == FOLDERS_MAX) {
        if (!fw->full)
            weir_log(WEIR_LOG_INFO, "file", NULL,
                     "%d folders are watched; others are looked at from time to time", FOLDERS_MAX);
        fw->full = true;
        weir_free(folder);
    } else {
        add(fw, folder);
    }
}

void weir_file_watch_close(struct weir_file_watch *fw)
{
    struct weir_list *node;
    while (fw != NULL && (node = weir_list_take_first(&fw->folders)) != NULL)
        uv_close((uv_handle_t *)&WEIR_LIST_ENTRY(node, struct folder, node)->handle, free_folder);
}

void weir_file_watch_destroy(struct weir_file_watch *fw)
{
    weir_free(fw);
}
