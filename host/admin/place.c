#include "admin/place.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "admin/client.h"
#include "base/mem.h"
#include "base/strbuf.h"

char *weir_place_folder(void)
{
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    if (runtime != NULL && runtime[0] == '/') /* the specification: anything else is to be ignored */
        return weir_asprintf("%s/weir", runtime);
    return weir_asprintf("/tmp/weir-%lu", (unsigned long)geteuid());
}

/* lstat, not stat: /tmp is everyone's, a link there may lead anywhere. */
static int check_folder(const char *folder, struct weir_err *reterr)
{
    struct stat st;
    if (lstat(folder, &st) != 0)
        return weir_err_set(reterr, errno == ENOENT ? WEIR_E_NOTFOUND : WEIR_E_IO, "%s: %s", folder,
                            strerror(errno));
    if (!S_ISDIR(st.st_mode))
        return weir_err_set(reterr, WEIR_E_IO, "%s: not a folder", folder);
    if (st.st_uid != geteuid())
        return weir_err_set(reterr, WEIR_E_IO, "%s: belongs to another user (%lu)", folder,
                            (unsigned long)st.st_uid);
    if ((st.st_mode & 077) != 0)
        return weir_err_set(reterr, WEIR_E_IO, "%s: others may enter it (mode %03o, expected 700)", folder,
                            (unsigned)(st.st_mode & 0777));
    return WEIR_OK;
}

int weir_place_make(const char *folder, struct weir_err *reterr)
{
    if (mkdir(folder, 0700) != 0 && errno != EEXIST)
        return weir_err_set(reterr, WEIR_E_IO, "%s: %s", folder, strerror(errno));
    return check_folder(folder, reterr);
}

static bool is_socket_name(const char *name)
{
    size_t len = strlen(name);
    return len > 5 && strcmp(name + len - 5, ".sock") == 0;
}

/* What a search has found. */
struct found {
    char *path; /* the last one */
    size_t count;
    struct weir_strbuf list; /* all, one a line */
};

static int look(const char *folder, struct found *found, struct weir_err *reterr)
{
    DIR *dir = opendir(folder);
    if (dir == NULL)
        return weir_err_set(reterr, WEIR_E_IO, "%s: %s", folder, strerror(errno));
    int rc = WEIR_OK;
    for (struct dirent *e = readdir(dir); e != NULL && rc == WEIR_OK; e = readdir(dir)) {
        if (!is_socket_name(e->d_name))
            continue;
        char *path = weir_asprintf("%s/%s", folder, e->d_name);
        if (path == NULL) {
            rc = weir_err_set(reterr, WEIR_E_NOMEM, "%s: out of memory", folder);
        } else if (weir_client_probe(path)) {
            weir_strbuf_addf(&found->list, "\n  --admin %s", path);
            weir_free(found->path);
            found->path = path;
            found->count++;
        } else {
            weir_free(path); /* left over by a host that was killed */
        }
    }
    (void)closedir(dir); /* nothing was written */
    return rc;
}

static int find_only(const char *folder, char **ret, struct weir_err *reterr)
{
    struct weir_err why;
    int rc = check_folder(folder, &why);
    if (rc != WEIR_OK)
        return weir_err_set(reterr, WEIR_E_NOHOST, "no running host: looked in %s (%s)", folder,
                            rc == WEIR_E_NOTFOUND ? "there is no such folder" : why.text);
    struct found found = {NULL, 0, WEIR_STRBUF_INIT};
    rc = look(folder, &found, reterr);
    if (rc == WEIR_OK && found.count == 0)
        rc = weir_err_set(reterr, WEIR_E_NOHOST, "no running host: looked in %s", folder);
    if (rc == WEIR_OK && found.count > 1)
        rc = weir_err_set(reterr, WEIR_E_INVAL, "several hosts are running, say which:%s",
                          found.list.data != NULL ? found.list.data : "");
    weir_strbuf_fini(&found.list);
    if (rc == WEIR_OK)
        *ret = found.path;
    else
        weir_free(found.path);
    return rc;
}

int weir_place_find(const char *given, char **ret, struct weir_err *reterr)
{
    if (given == NULL)
        given = getenv("WEIR_ADMIN");
    if (given != NULL && given[0] != '\0') {
        if (strncmp(given, "unix:", 5) == 0)
            given += 5;
        *ret = weir_strdup(given);
        return *ret != NULL ? WEIR_OK : weir_err_set(reterr, WEIR_E_NOMEM, "%s: out of memory", given);
    }
    char *folder = weir_place_folder();
    if (folder == NULL)
        return weir_err_set(reterr, WEIR_E_NOMEM, "admin folder: out of memory");
    int rc = find_only(folder, ret, reterr);
    weir_free(folder);
    return rc;
}
