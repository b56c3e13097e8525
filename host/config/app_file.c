/* Finding and reading the file of an application. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "config/app.h"
#include "config/yaml_doc.h"

static const char file_name[] = "weir.yaml";

/* Puts "PATH: error: text" where the problems go, and the text into reterr. */
static int fail(struct weir_strbuf *report, struct weir_err *reterr, int code, const char *path,
                const char *text)
{
    weir_strbuf_addf(report, "%s: error: %s\n", path, text);
    return weir_err_set(reterr, code, "%s: %s", path, text);
}

static int fail_errno(struct weir_strbuf *report, struct weir_err *reterr, const char *path, int error)
{
    if (error == ENOENT || error == ENOTDIR)
        return fail(report, reterr, WEIR_E_NOTFOUND, path, "there is no such file");
    return fail(report, reterr, WEIR_E_IO, path, strerror(error));
}

/* The YAML file that `path` means: itself, or weir.yaml in the folder that it is. To be freed. */
static char *find_file(const char *path, bool *ret_in_folder)
{
    struct stat info;
    size_t len = strlen(path);
    *ret_in_folder = stat(path, &info) == 0 && S_ISDIR(info.st_mode);
    if (!*ret_in_folder)
        return weir_strdup(path);
    while (len > 1 && path[len - 1] == '/')
        len--;
    if (len == 1 && path[0] == '.')
        return weir_strdup(file_name);
    return weir_asprintf("%.*s%s%s", (int)len, path, path[len - 1] == '/' ? "" : "/", file_name);
}

static char *folder_of(const char *file)
{
    const char *slash = strrchr(file, '/');
    if (slash == NULL)
        return weir_strdup(".");
    return weir_strndup(file, slash == file ? 1 : (size_t)(slash - file));
}

/* Reads to the end, but one byte over the limit at most. 0, or an errno. */
static int read_all(int fd, char *into, size_t room, size_t *ret_len)
{
    size_t len = 0;
    while (len < room) {
        ssize_t n = read(fd, into + len, room - len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno;
        if (n == 0)
            break;
        len += (size_t)n;
    }
    *ret_len = len;
    return 0;
}

/* Refuses what is no file of a sensible size before a byte of it is read. */
static int check_file(int fd, const char *file, struct weir_strbuf *report, struct weir_err *reterr)
{
    struct stat info;
    char text[128];
    if (fstat(fd, &info) < 0)
        return fail_errno(report, reterr, file, errno);
    if (!S_ISREG(info.st_mode))
        return fail(report, reterr, WEIR_E_IO, file,
                    S_ISDIR(info.st_mode) ? "that is a folder" : "that is not a regular file");
    if ((uint64_t)info.st_size <= WEIR_YAML_MAX_BYTES)
        return WEIR_OK;
    snprintf(text, sizeof text, "the file has %lld bytes, and may have 1 MiB at most",
             (long long)info.st_size);
    return fail(report, reterr, WEIR_E_CONFIG, file, text);
}

/* The text of `file`, to be freed. */
static int read_file(const char *file, struct weir_strbuf *report, char **ret, size_t *ret_len,
                     struct weir_err *reterr)
{
    int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY); /* a FIFO would wait for a writer */
    if (fd < 0)
        return fail_errno(report, reterr, file, errno);
    int rc = check_file(fd, file, report, reterr);
    char *text =
        rc == WEIR_OK ? weir_malloc(WEIR_YAML_MAX_BYTES + 1) : NULL; /* one more, to see that it grew */
    if (rc == WEIR_OK && text == NULL)
        rc = weir_err_set(reterr, WEIR_E_NOMEM, "%s: out of memory", file);
    if (text != NULL) {
        int error = read_all(fd, text, WEIR_YAML_MAX_BYTES + 1, ret_len);
        if (error != 0)
            rc = fail_errno(report, reterr, file, error);
    }
    close(fd);
    if (rc < 0)
        weir_free(text);
    else
        *ret = text;
    return rc;
}

int weir_app_load(const char *path, const struct weir_app_override *sets, size_t set_count,
                  const struct weir_app_types *types, struct weir_strbuf *report, struct weir_app **ret,
                  struct weir_err *reterr)
{
    bool in_folder;
    char *file = find_file(path, &in_folder), *folder = file != NULL ? folder_of(file) : NULL, *text = NULL;
    size_t len = 0;
    int rc;
    *ret = NULL;
    if (folder == NULL)
        rc = weir_err_set(reterr, WEIR_E_NOMEM, "%s: out of memory", path);
    else if (in_folder && access(file, F_OK) < 0 && errno == ENOENT)
        rc = fail(report, reterr, WEIR_E_NOTFOUND, path, "there is no weir.yaml in this folder");
    else
        rc = read_file(file, report, &text, &len, reterr);
    if (rc == WEIR_OK)
        rc = weir_app_parse(text, len, file, folder, sets, set_count, types, report, ret, reterr);
    weir_free(text);
    weir_free(folder);
    weir_free(file);
    return rc;
}
