#include "io/file_state.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"

static const char first_line[] = "weir file positions 1\n";
enum { SIZE_MOST = 64 << 20 }; /* of a state file: some 100 000 files */

/* ---- writing ---- */

void weir_file_state_begin(struct weir_strbuf *out)
{
    weir_strbuf_clear(out);
    weir_strbuf_adds(out, first_line);
}

void weir_file_state_add(struct weir_strbuf *out, const struct weir_file_position *p)
{
    weir_strbuf_addf(out, "%" PRIu64 " %" PRIu64 " %" PRIu64 " ", p->dev, p->ino, p->offset);
    for (size_t i = 0; i < p->head.len; i++) {
        static const char digits[] = "0123456789abcdef";
        weir_strbuf_addc(out, digits[p->head.bytes[i] >> 4]);
        weir_strbuf_addc(out, digits[p->head.bytes[i] & 15]);
    }
    weir_strbuf_adds(out, p->head.len == 0 ? "- " : " ");
    for (const char *s = p->path; *s != '\0'; s++) {
        if (*s == '\\' || *s == '\n')
            weir_strbuf_addc(out, '\\');
        weir_strbuf_addc(out, *s == '\n' ? 'n' : *s);
    }
    weir_strbuf_addc(out, '\n');
}

static int write_synced(int fd, const char *text, size_t len)
{
    int rc = weir_fd_write_all(fd, text, len);
    return rc == 0 && fsync(fd) != 0 ? -errno : rc;
}

/* So that the new name is on the disk, too. Not all file systems can: what is lost then is the newest
 * position only. */
static void sync_folder(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *folder =
        slash == NULL ? weir_strdup(".") : weir_strndup(path, slash == path ? 1 : (size_t)(slash - path));
    int fd = folder != NULL ? open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (fd >= 0) {
        (void)fsync(fd);
        close(fd);
    }
    weir_free(folder);
}

int weir_file_state_write(const char *path, const char *text, size_t len)
{
    char *fresh = weir_asprintf("%s.new", path);
    if (fresh == NULL)
        return -ENOMEM;
    int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640),
        rc = fd < 0 ? -errno : write_synced(fd, text, len);
    if (fd >= 0 && close(fd) != 0 && rc == 0)
        rc = -errno;
    if (rc == 0 && rename(fresh, path) != 0)
        rc = -errno;
    if (rc == 0)
        sync_folder(path);
    else if (fd >= 0)
        unlink(fresh);
    weir_free(fresh);
    return rc;
}

/* ---- reading ---- */

static int digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static const char *read_number(const char *s, uint64_t *ret)
{
    uint64_t n = 0;
    const char *from = s;
    for (; *s >= '0' && *s <= '9'; s++) {
        if (n > (UINT64_MAX - 9) / 10)
            return NULL;
        n = n * 10 + (uint64_t)(*s - '0');
    }
    *ret = n;
    return s > from && *s == ' ' ? s + 1 : NULL;
}

static const char *read_head(const char *s, struct weir_file_head *ret)
{
    ret->len = 0;
    if (s[0] == '-' && s[1] == ' ')
        return s + 2;
    for (; digit(s[0]) >= 0 && digit(s[1]) >= 0; s += 2) {
        if (ret->len == WEIR_FILE_HEAD_MAX)
            return NULL;
        ret->bytes[ret->len++] = (unsigned char)(digit(s[0]) << 4 | digit(s[1]));
    }
    return ret->len > 0 && *s == ' ' ? s + 1 : NULL;
}

static char *read_path(const char *s)
{
    char *path = weir_strdup(s), *to = path;
    for (; path != NULL && *s != '\0'; s++) {
        bool escaped = s[0] == '\\' && s[1] != '\0';
        s += escaped;
        *to++ = escaped && *s == 'n' ? '\n' : *s;
    }
    if (path != NULL)
        *to = '\0';
    return path;
}

static int read_line(struct weir_file_state *state, const char *s)
{
    struct weir_file_position p = {.path = NULL};
    if ((s = read_number(s, &p.dev)) == NULL || (s = read_number(s, &p.ino)) == NULL ||
        (s = read_number(s, &p.offset)) == NULL || (s = read_head(s, &p.head)) == NULL || *s == '\0')
        return WEIR_E_CONFIG;
    if (state->count == state->room) {
        size_t room = state->room == 0 ? 16 : state->room * 2;
        struct weir_file_position *grown = weir_realloc(state->positions, room * sizeof *grown);
        if (grown == NULL)
            return WEIR_E_NOMEM;
        state->positions = grown;
        state->room = room;
    }
    p.path = read_path(s);
    if (p.path == NULL)
        return WEIR_E_NOMEM;
    state->positions[state->count++] = p;
    return WEIR_OK;
}

static int parse(const char *path, char *text, struct weir_file_state *state, struct weir_err *reterr)
{
    size_t number = 1;
    int rc = strncmp(text, first_line, sizeof first_line - 1) == 0 ? WEIR_OK : WEIR_E_CONFIG;
    char *line = rc == WEIR_OK ? text + sizeof first_line - 1 : text;
    for (char *end; rc == WEIR_OK && *line != '\0'; line = end) {
        end = strchr(line, '\n');
        number++;
        if (end == NULL) {
            rc = WEIR_E_CONFIG;
            break;
        }
        *end++ = '\0';
        rc = read_line(state, line);
    }
    if (rc == WEIR_E_NOMEM)
        return weir_err_set(reterr, rc, "%s: out of memory", path);
    if (rc < 0)
        return weir_err_set(reterr, rc, "%s:%zu: this is no list of file positions; remove it to begin anew",
                            path, number);
    return WEIR_OK;
}

static int read_text(int fd, struct weir_strbuf *text)
{
    ssize_t n = 1;
    while (n > 0) {
        if (text->len > SIZE_MOST)
            return -EFBIG;
        if (!weir_strbuf_reserve(text, 65536))
            return -ENOMEM;
        n = read(fd, text->data + text->len, 65536);
        if (n > 0)
            text->len += (size_t)n;
    }
    text->data[text->len] = '\0';
    return n < 0 ? -errno : 0;
}

int weir_file_state_read(const char *path, struct weir_file_state *ret, struct weir_err *reterr)
{
    *ret = (struct weir_file_state){.positions = NULL};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return weir_err_set(reterr, WEIR_E_NOTFOUND, "%s: it is not there yet", path);
    if (fd < 0)
        return weir_err_set(reterr, WEIR_E_IO, "%s: %s", path, strerror(errno));
    struct weir_strbuf text = WEIR_STRBUF_INIT;
    int rc = read_text(fd, &text);
    close(fd);
    if (rc < 0)
        rc = weir_err_set(reterr, rc == -ENOMEM ? WEIR_E_NOMEM : WEIR_E_IO, "%s: %s", path, strerror(-rc));
    else
        rc = parse(path, text.data, ret, reterr);
    weir_strbuf_fini(&text);
    return rc;
}

void weir_file_state_fini(struct weir_file_state *state)
{
    for (size_t i = 0; i < state->count; i++)
        weir_free(state->positions[i].path);
    weir_free(state->positions);
    *state = (struct weir_file_state){.positions = NULL};
}
