/* cli/app_arg.h - the APP of the command line: a folder, a YAML file, or one Lua file, read into an
 * application. One thread. */
#ifndef WEIR_CLI_APP_ARG_H
#define WEIR_CLI_APP_ARG_H

#include <stdbool.h>
#include <stddef.h>

struct weir_app;
struct weir_app_override;
struct weir_cli_command;
struct weir_err;
struct weir_registry;

/* What the options gather. */
struct weir_app_arg {
    const char *path;               /* NULL: "." */
    const char *listen;             /* --listen; NULL: not given */
    struct weir_app_override *sets; /* --set */
    size_t set_count;
    char **texts; /* the paths of `sets` */
    bool scripts; /* when weir.yaml has mistakes, those of the scripts are told with them */
};

/* Adds `--set PATH=VALUE`. An exit code; not WEIR_EXIT_DONE: what is wrong has been said. */
int weir_app_arg_set(struct weir_app_arg *a, const struct weir_cli_command *c, const char *text);
/* Loads the application; warnings and problems, all of them, go to stderr. An exit code as above. */
int weir_app_arg_load(const struct weir_app_arg *a, const struct weir_cli_command *c,
                      const struct weir_registry *registry, struct weir_app **ret);
/* Loads every script that can be, each under its stage's limits: one that loops while it loads is a problem,
 * too. *problems: how many have one, which goes to stderr. WEIR_OK, WEIR_E_*: nothing was checked. */
int weir_app_arg_check_scripts(const struct weir_app *app, const struct weir_registry *registry,
                               size_t *problems, struct weir_err *reterr);
/* Frees what was gathered; an application loaded with it may live on. */
void weir_app_arg_fini(struct weir_app_arg *a);

#endif
