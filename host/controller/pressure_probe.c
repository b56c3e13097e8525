#include "controller/pressure_probe.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"

enum { TEXT_MAX = 64 << 10, LEVELS_MAX = 16, COUNT_PAUSE = 50 };

struct weir_probe {
    int statm;
    int used, max, stat; /* of the cgroup: -1 each when there is no limit */
    bool v2;
    DIR *fds;
    bool size_counts;        /* the folder's size is how many descriptors there are (Linux 6.2 and later) */
    uint64_t counted, count_again_ns; /* without that: counting many takes long, so not at every reading */
    uint64_t page, physical;
    char *text;              /* TEXT_MAX bytes */
};

/* ---- parsers ---- */

bool weir_probe_parse_statm(const char *text, uint64_t *ret_size, uint64_t *ret_resident)
{
    return sscanf(text, "%" SCNu64 " %" SCNu64, ret_size, ret_resident) == 2;
}

static bool copy(const char *from, size_t len, char *to, size_t size)
{
    if (len >= size)
        return false;
    memcpy(to, from, len);
    to[len] = '\0';
    return true;
}

/* Whether `word` is one of the words of `list`, which commas part. */
static bool has_word(const char *list, size_t len, const char *word)
{
    size_t want = strlen(word);
    for (size_t at = 0; at < len;) {
        const char *comma = memchr(list + at, ',', len - at);
        size_t end = comma != NULL ? (size_t)(comma - list) : len;
        if (end - at == want && memcmp(list + at, word, want) == 0)
            return true;
        at = end + 1;
    }
    return false;
}

/* Lines are ID:CONTROLLERS:PATH, in v2 0::PATH. */
bool weir_probe_parse_cgroup(const char *text, bool v2, char *path, size_t size)
{
    for (const char *line = text; *line != '\0';) {
        size_t len = strcspn(line, "\n");
        const char *first = memchr(line, ':', len), *second = NULL;
        if (first != NULL)
            second = memchr(first + 1, ':', len - (size_t)(first + 1 - line));
        if (second != NULL) {
            size_t list = (size_t)(second - first - 1);
            if (v2 ? list == 0 : has_word(first + 1, list, "memory"))
                return copy(second + 1, len - (size_t)(second + 1 - line), path, size);
        }
        line += len + (line[len] == '\n');
    }
    return false;
}

/* The `n`-th word of a line, from 0; its length. */
static const char *word_at(const char *line, size_t len, size_t n, size_t *ret_len)
{
    size_t at = 0;
    while (n-- > 0) {
        const char *space = memchr(line + at, ' ', len - at);
        if (space == NULL)
            return NULL;
        at = (size_t)(space - line) + 1;
    }
    const char *end = memchr(line + at, ' ', len - at);
    *ret_len = end != NULL ? (size_t)(end - line) - at : len - at;
    return line + at;
}

/* Spaces, tabs, line breaks and backslashes in names are \ooo. */
static void unescape(char *s)
{
    char *to = s;
    for (const char *from = s; *from != '\0'; to++) {
        bool octal = from[0] == '\\' && strspn(from + 1, "01234567") >= 3;
        int code = octal ? (from[1] - '0') << 6 | (from[2] - '0') << 3 | (from[3] - '0') : *from;
        *to = (char)code;
        from += octal ? 4 : 1;
    }
    *to = '\0';
}

/* Fields: id parent dev ROOT POINT options … - TYPE source SUPEROPTIONS (proc_pid_mountinfo(5)). */
bool weir_probe_parse_mount(const char *text, bool v2, char *root, char *point, size_t size)
{
    for (const char *line = text; *line != '\0';) {
        size_t len = strcspn(line, "\n"), root_len, point_len, type_len, super_len;
        const char *dash = memmem(line, len, " - ", 3);
        const char *at_root = word_at(line, len, 3, &root_len), *at_point = word_at(line, len, 4, &point_len);
        if (dash != NULL && at_root != NULL && at_point != NULL && at_point < dash) {
            size_t rest = len - (size_t)(dash + 3 - line);
            const char *type = word_at(dash + 3, rest, 0, &type_len), *super = word_at(dash + 3, rest, 2, &super_len);
            bool is_v2 = type_len == 7 && memcmp(type, "cgroup2", 7) == 0;
            bool is_v1 = type_len == 6 && memcmp(type, "cgroup", 6) == 0 && super != NULL && has_word(super, super_len, "memory");
            if (v2 ? is_v2 : is_v1) {
                if (!copy(at_root, root_len, root, size) || !copy(at_point, point_len, point, size))
                    return false;
                unescape(root);
                unescape(point);
                return true;
            }
        }
        line += len + (line[len] == '\n');
    }
    return false;
}

bool weir_probe_parse_bytes(const char *text, uint64_t *ret)
{
    uint64_t value;
    if (strncmp(text, "max", 3) == 0) {
        *ret = 0;
        return true;
    }
    if (*text < '0' || *text > '9' || sscanf(text, "%" SCNu64, &value) != 1)
        return false;
    *ret = value >= (uint64_t)INT64_MAX / 2 ? 0 : value; /* v1 writes the largest multiple of a page */
    return true;
}

uint64_t weir_probe_parse_stat(const char *text, const char *key)
{
    size_t len = strlen(key);
    for (const char *line = text; *line != '\0';) {
        uint64_t value;
        if (strncmp(line, key, len) == 0 && line[len] == ' ' && weir_probe_parse_bytes(line + len + 1, &value))
            return value;
        line += strcspn(line, "\n");
        line += *line == '\n';
    }
    return 0;
}

/* ---- reading ---- */

static bool read_text(struct weir_probe *p, int fd)
{
    size_t len = 0;
    ssize_t n = 0;
    while (len < TEXT_MAX - 1 && (n = pread(fd, p->text + len, TEXT_MAX - 1 - len, (off_t)len)) > 0)
        len += (size_t)n;
    p->text[len] = '\0';
    return n >= 0 && len > 0;
}

static int open_file(const char *root, const char *folder, const char *name)
{
    char path[PATH_MAX];
    int n = snprintf(path, sizeof path, "%s%s/%s", root, folder, name);
    return n < 0 || (size_t)n >= sizeof path ? -1 : open(path, O_RDONLY | O_CLOEXEC);
}

static bool read_file(struct weir_probe *p, const char *root, const char *folder, const char *name)
{
    int fd = open_file(root, folder, name);
    bool read = fd >= 0 && read_text(p, fd);
    if (fd >= 0)
        close(fd);
    return read;
}

static uint64_t read_bytes(struct weir_probe *p, int fd)
{
    uint64_t value;
    return fd >= 0 && read_text(p, fd) && weir_probe_parse_bytes(p->text, &value) ? value : 0;
}

/* ---- the cgroup ---- */

static const char *name_of(const struct weir_probe *p, int file)
{
    static const char *const names[2][3] = {{"memory.usage_in_bytes", "memory.limit_in_bytes", "memory.stat"},
                                            {"memory.current", "memory.max", "memory.stat"}};
    return names[p->v2][file];
}

/* The folder of the process's cgroup, as far as it can be seen from here: in a container the path may be one of the host's. */
static bool find_folder(struct weir_probe *p, const char *root, char *folder, char *top, size_t size)
{
    char path[PATH_MAX], mounted[PATH_MAX];
    if (!read_file(p, root, "/proc/self", "cgroup") || !weir_probe_parse_cgroup(p->text, p->v2, path, sizeof path))
        return false;
    if (!read_file(p, root, "/proc/self", "mountinfo") || !weir_probe_parse_mount(p->text, p->v2, mounted, top, size))
        return false;
    size_t skip = strcmp(mounted, "/") == 0 ? 0 : strlen(mounted);
    bool below = strncmp(path, mounted, skip) == 0 && (path[skip] == '/' || path[skip] == '\0') && strstr(path, "/..") == NULL;
    int n = snprintf(folder, size, "%s%s", top, below ? path + skip : "");
    for (size_t len = strlen(folder); len > 1 && folder[len - 1] == '/'; len--)
        folder[len - 1] = '\0';
    return n >= 0 && (size_t)n < size;
}

static void close_cgroup(struct weir_probe *p)
{
    int *const fds[] = {&p->used, &p->max, &p->stat};
    for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++) {
        if (*fds[i] >= 0)
            close(*fds[i]);
        *fds[i] = -1;
    }
}

/* Of all cgroups around the process the one with the least limit: that one is full first, as far as it can be told beforehand. */
static void open_cgroup(struct weir_probe *p, const char *root)
{
    char folder[PATH_MAX], top[PATH_MAX], best[PATH_MAX] = "";
    uint64_t least = 0, limit;
    if (!find_folder(p, root, folder, top, sizeof folder))
        return;
    for (int level = 0; level < LEVELS_MAX && strlen(folder) >= strlen(top); level++) {
        if (read_file(p, root, folder, name_of(p, 1)) && weir_probe_parse_bytes(p->text, &limit) && limit > 0 &&
            (least == 0 || limit < least)) {
            least = limit;
            memcpy(best, folder, sizeof best);
        }
        char *slash = strrchr(folder, '/');
        if (slash == NULL || slash == folder)
            break;
        *slash = '\0';
    }
    if (least == 0)
        return;
    p->used = open_file(root, best, name_of(p, 0));
    p->max = open_file(root, best, name_of(p, 1));
    p->stat = open_file(root, best, name_of(p, 2));
}

/* Pages of files can be had back without a kill, but for those of shared memory, which these counts leave out. */
static uint64_t reclaimable(struct weir_probe *p)
{
    if (p->stat < 0 || !read_text(p, p->stat))
        return 0;
    if (p->v2)
        return weir_probe_parse_stat(p->text, "inactive_file") + weir_probe_parse_stat(p->text, "active_file") +
               weir_probe_parse_stat(p->text, "slab_reclaimable");
    return weir_probe_parse_stat(p->text, "total_inactive_file") + weir_probe_parse_stat(p->text, "total_active_file");
}

static void read_cgroup(struct weir_probe *p, struct weir_probe_reading *ret)
{
    ret->cgroup_max = read_bytes(p, p->max);
    ret->cgroup_used = ret->cgroup_max > 0 ? read_bytes(p, p->used) : 0;
    if (ret->cgroup_used < ret->cgroup_max / 2)
        return; /* all is well anyhow: the long text is not read */
    uint64_t back = reclaimable(p);
    ret->cgroup_used -= back < ret->cgroup_used ? back : ret->cgroup_used;
}

/* ---- descriptors ---- */

static uint64_t count_entries(DIR *dir)
{
    uint64_t n = 0;
    rewinddir(dir);
    for (struct dirent *e = readdir(dir); e != NULL; e = readdir(dir))
        n += e->d_name[0] != '.';
    return n;
}

static uint64_t folder_size(const struct weir_probe *p)
{
    struct stat st;
    return fstat(dirfd(p->fds), &st) == 0 && st.st_size > 0 ? (uint64_t)st.st_size : 0;
}

static void open_fds(struct weir_probe *p, const char *root)
{
    char path[PATH_MAX];
    int n = snprintf(path, sizeof path, "%s/proc/self/fd", root);
    p->fds = n > 0 && (size_t)n < sizeof path ? opendir(path) : NULL;
    if (p->fds != NULL)
        p->size_counts = folder_size(p) == count_entries(p->fds); /* else other threads open and close just now, or it does not count */
}

static uint64_t count_fds(struct weir_probe *p)
{
    if (p->fds == NULL)
        return 0;
    if (p->size_counts)
        return folder_size(p);
    uint64_t began = weir_clock_ns();
    if (began < p->count_again_ns)
        return p->counted;
    p->counted = count_entries(p->fds);
    uint64_t now = weir_clock_ns();
    p->count_again_ns = now + (now - began) * COUNT_PAUSE;
    return p->counted;
}

/* ---- all ---- */

int weir_probe_open(const char *root, struct weir_probe **ret, struct weir_err *reterr)
{
    struct weir_probe *p = weir_calloc(1, sizeof *p);
    char *text = p != NULL ? weir_malloc(TEXT_MAX) : NULL;
    if (text == NULL) {
        weir_free(p);
        return weir_err_set(reterr, WEIR_E_NOMEM, "overload: out of memory");
    }
    long page = sysconf(_SC_PAGESIZE), pages = sysconf(_SC_PHYS_PAGES);
    *p = (struct weir_probe){.statm = open_file(root, "/proc/self", "statm"), .used = -1, .max = -1, .stat = -1, .text = text};
    p->page = page > 0 ? (uint64_t)page : 4096;
    p->physical = pages > 0 ? (uint64_t)pages * p->page : 0;
    p->v2 = true;
    open_cgroup(p, root);
    if (p->used < 0) { /* both may be there, and one of them has the memory controller */
        close_cgroup(p);
        p->v2 = false;
        open_cgroup(p, root);
    }
    if (p->used < 0)
        close_cgroup(p);
    open_fds(p, root);
    *ret = p;
    return WEIR_OK;
}

void weir_probe_close(struct weir_probe *p)
{
    if (p == NULL)
        return;
    close_cgroup(p);
    if (p->statm >= 0)
        close(p->statm);
    if (p->fds != NULL)
        (void)closedir(p->fds); /* nothing was written */
    weir_free(p->text);
    weir_free(p);
}

static uint64_t limit_of(__rlimit_resource_t resource)
{
    struct rlimit r;
    return getrlimit(resource, &r) == 0 && r.rlim_cur != RLIM_INFINITY ? r.rlim_cur : 0;
}

void weir_probe_read(struct weir_probe *p, struct weir_probe_reading *ret)
{
    uint64_t size, resident;
    *ret = (struct weir_probe_reading){.physical = p->physical};
    if (p->statm >= 0 && read_text(p, p->statm) && weir_probe_parse_statm(p->text, &size, &resident)) {
        ret->address_space = size * p->page;
        ret->resident = resident * p->page;
    }
    ret->address_space_max = limit_of(RLIMIT_AS);
    read_cgroup(p, ret);
    ret->descriptors = count_fds(p);
    ret->descriptors_max = limit_of(RLIMIT_NOFILE);
}
