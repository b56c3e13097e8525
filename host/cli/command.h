/* cli/command.h - what a command of the program is, and how its words are read. A command is one constant in
 * a file of its own (cmd_NAME.c); main.c has the table. Results go to stdout, diagnostics to stderr. One
 * thread. */
#ifndef WEIR_CLI_COMMAND_H
#define WEIR_CLI_COMMAND_H

#include <stdbool.h>
#include <stddef.h>

struct weir_registry;

enum weir_cli_exit {
    WEIR_EXIT_DONE = 0,
    WEIR_EXIT_FAILED = 1,
    WEIR_EXIT_USAGE = 64,
    WEIR_EXIT_NOHOST = 69,
    WEIR_EXIT_CONFIG = 78,
};

struct weir_cli_option {
    const char *name;  /* without the dashes; "number" may be written as -n */
    const char *value; /* what its value is called in the help; NULL: it takes none */
    const char *help;
};

enum { WEIR_CLI_OPTIONS_MAX = 15 };

struct weir_cli_command {
    const char *name;
    const char *words;   /* after the name in the usage line: "[APP] [options]" */
    const char *summary; /* one line */
    const char *details; /* more of the help, NULL: none; ends in a line break */
    const struct weir_cli_option
        *options;     /* up to one without a name; --help is there without being written */
    size_t words_max; /* how many words besides options it takes */
    /* `argv[0]` is the command's name. Returns the exit code. */
    int (*run)(const struct weir_registry *registry, int argc, char **argv);
};

/* The words of a command while they are read. */
struct weir_cli_words {
    const struct weir_cli_command *command;
    int argc;
    char **argv;
    int exit; /* what to end with after WEIR_CLI_STOP */
};

enum { WEIR_CLI_END = -1, WEIR_CLI_STOP = -2 };

void weir_cli_words_init(struct weir_cli_words *w, const struct weir_cli_command *c, int argc, char **argv);
/* The next option: its index in the command's options, and its value. END: no more, the rest is
 * weir_cli_word's. STOP: --help has been answered, or what is wrong has been said: end with `w->exit`.
 * Options may stand before or after other words. */
int weir_cli_next(struct weir_cli_words *w, const char **ret_value);
/* After END: the i-th word besides options; NULL: there are not so many. */
const char *weir_cli_word(const struct weir_cli_words *w, size_t i);

/* "weir run: text (see 'weir run --help')" on stderr. Returns WEIR_EXIT_USAGE. */
int weir_cli_usage(const struct weir_cli_command *c, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* "weir: text" on stderr. Returns `code`. */
int weir_cli_fail(int code, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The help of a command on stdout. */
void weir_cli_help(const struct weir_cli_command *c);
/* Writes out stdout and says so if that failed (a full disk); the exit code then, else `code`. */
int weir_cli_finish(int code);

extern const struct weir_cli_command weir_cmd_run, weir_cmd_check, weir_cmd_graph, weir_cmd_stats, weir_cmd_explain, weir_cmd_failures,
    weir_cmd_version, weir_cmd_test, weir_cmd_new, weir_cmd_queue, weir_cmd_tap, weir_cmd_top, weir_cmd_set, weir_cmd_freeze,
    weir_cmd_unfreeze, weir_cmd_events;

#endif
