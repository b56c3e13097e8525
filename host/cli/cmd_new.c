/* weir new: the files of a small application, or of a stage, that run and whose specs pass. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/strbuf.h"
#include "cli/command.h"
#include "cli/new_files.h"

enum { NAME_MAX_LEN = 60 };

static const struct weir_cli_option options[] = {{NULL, NULL, NULL}};

static const struct kind {
    const char *name;
    const struct weir_new_file *files;
    const char *next; /* what to type then */
} kinds[] = {
    {"app", weir_new_app_files, "weir test NAME, then weir run NAME"},
    {"stage", weir_new_stage_files, "weir test spec/NAME_spec.lua"},
};

/* As weir.yaml has it: what is a name there is one here. */
static bool is_name(const char *name)
{
    size_t len = strlen(name);
    if (len == 0 || len > NAME_MAX_LEN || name[0] < 'a' || name[0] > 'z')
        return false;
    return strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-") == len;
}

/* `text` with `name` for each NAME; NULL: no memory. */
static char *fill_in(const char *text, const char *name)
{
    struct weir_strbuf out = WEIR_STRBUF_INIT;
    const char *at;
    weir_strbuf_adds(&out, "");
    while ((at = strstr(text, "NAME")) != NULL) {
        weir_strbuf_add(&out, text, (size_t)(at - text));
        weir_strbuf_adds(&out, name);
        text = at + strlen("NAME");
    }
    weir_strbuf_adds(&out, text);
    return weir_strbuf_take(&out);
}

static int fail_errno(const char *path, int error)
{
    return weir_cli_fail(WEIR_EXIT_FAILED, "%s: %s", path, strerror(error));
}

/* Makes the folders that `path` is in. */
static int make_folders(char *path)
{
    for (char *slash = strchr(path, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        int failed = mkdir(path, 0777) != 0 && errno != EEXIST ? errno : 0;
        int code = failed != 0 ? fail_errno(path, failed) : WEIR_EXIT_DONE;
        *slash = '/';
        if (code != WEIR_EXIT_DONE)
            return code;
    }
    return WEIR_EXIT_DONE;
}

/* O_EXCL: what came into being meanwhile is not overwritten either. */
static int write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0)
        return fail_errno(path, errno);
    int error = -weir_fd_write_all(fd, text, strlen(text));
    if (close(fd) != 0 && error == 0)
        error = errno;
    return error != 0 ? fail_errno(path, error) : WEIR_EXIT_DONE;
}

static int make_file(const struct weir_new_file *file, const char *name)
{
    char *path = fill_in(file->path, name), *text = fill_in(file->text, name);
    int code = WEIR_EXIT_DONE;
    if (path == NULL || text == NULL)
        code = weir_cli_fail(WEIR_EXIT_FAILED, "out of memory");
    if (code == WEIR_EXIT_DONE)
        code = make_folders(path);
    if (code == WEIR_EXIT_DONE)
        code = write_file(path, text);
    if (code == WEIR_EXIT_DONE)
        (void)printf("%s\n", path); /* checked by weir_cli_finish */
    weir_free(path);
    weir_free(text);
    return code;
}

/* Nothing is written when one of the files is there already. */
static int check_free(const struct weir_new_file *files, const char *name)
{
    int code = WEIR_EXIT_DONE;
    for (const struct weir_new_file *f = files; f->path != NULL && code == WEIR_EXIT_DONE; f++) {
        struct stat st;
        char *path = fill_in(f->path, name);
        if (path == NULL)
            code = weir_cli_fail(WEIR_EXIT_FAILED, "out of memory");
        else if (lstat(path, &st) == 0)
            code = weir_cli_fail(WEIR_EXIT_FAILED, "%s exists already; nothing was written", path);
        weir_free(path);
    }
    return code;
}

static int make_all(const struct kind *kind, const char *name)
{
    int code = check_free(kind->files, name);
    for (const struct weir_new_file *f = kind->files; f->path != NULL && code == WEIR_EXIT_DONE; f++)
        code = make_file(f, name);
    char *next = code == WEIR_EXIT_DONE ? fill_in(kind->next, name) : NULL;
    if (next != NULL)
        (void)printf("next: %s\n", next);
    weir_free(next);
    return weir_cli_finish(code);
}

static int run(const struct weir_registry *registry, int argc, char **argv)
{
    struct weir_cli_words words;
    const char *value;
    (void)registry; /* it writes text */
    weir_cli_words_init(&words, &weir_cmd_new, argc, argv);
    if (weir_cli_next(&words, &value) == WEIR_CLI_STOP)
        return words.exit;
    const char *what = weir_cli_word(&words, 0), *name = weir_cli_word(&words, 1);
    if (what == NULL || name == NULL)
        return weir_cli_usage(&weir_cmd_new, "what, and its name? weir new app NAME, or weir new stage NAME");
    const struct kind *kind = NULL;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (strcmp(kinds[i].name, what) == 0)
            kind = &kinds[i];
    if (kind == NULL)
        return weir_cli_usage(&weir_cmd_new, "there is no '%s' to make; there are app and stage", what);
    if (!is_name(name))
        return weir_cli_usage(&weir_cmd_new,
                              "'%s' is no name: up to 60 of a-z, 0-9, _ and -, the first one a letter", name);
    return make_all(kind, name);
}

const struct weir_cli_command weir_cmd_new = {
    .name = "new",
    .words = "app|stage NAME",
    .summary = "makes the files of an application, or of a stage",
    .details = "app: the folder NAME with a weir.yaml, a handler, a spec and a README.md. stage: NAME.lua and spec/NAME_spec.lua, "
               "here. Both\n"
               "run as they are, and their specs pass (weir test). Nothing that exists is touched.\n\n"
               "exit status: 0 done; 1 a file exists, or can't be written; 64 usage\n",
    .options = options,
    .words_max = 2,
    .run = run,
};
