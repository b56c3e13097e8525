#include "cli/command.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "config/nearest.h"

enum { HELP = 'h', BASE = 256 }; /* what getopt_long returns: a letter, or BASE and an option's index */

static size_t count_options(const struct weir_cli_command *c)
{
    size_t n = 0;
    while (c->options != NULL && c->options[n].name != NULL)
        n++;
    return n;
}

int weir_cli_fail(int code, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    (void)fputs("weir: ", stderr); /* where would a failure of stderr be told? */
    (void)vfprintf(stderr, fmt, ap);
    (void)fputc('\n', stderr);
    va_end(ap);
    return code;
}

int weir_cli_usage(const struct weir_cli_command *c, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    (void)fprintf(stderr, "weir %s: ", c->name); /* where would a failure of stderr be told? */
    (void)vfprintf(stderr, fmt, ap);
    (void)fprintf(stderr, " (see 'weir %s --help')\n", c->name);
    va_end(ap);
    return WEIR_EXIT_USAGE;
}

/* The option that is written as -n, too; -1: the command has none. */
static int short_option(const struct weir_cli_command *c)
{
    for (size_t i = 0; i < count_options(c); i++)
        if (strcmp(c->options[i].name, "number") == 0)
            return (int)i;
    return -1;
}

static void print_option(const struct weir_cli_option *o)
{
    char left[64];
    (void)snprintf(left, sizeof left, "--%s%s%s", o->name, o->value != NULL ? " " : "",
                   o->value != NULL ? o->value : "");
    printf("  %-24s %s\n", left, o->help);
}

void weir_cli_help(const struct weir_cli_command *c)
{
    printf("usage: weir %s%s%s\n%s\n\n", c->name, c->words[0] != '\0' ? " " : "", c->words, c->summary);
    if (c->details != NULL)
        printf("%s\n", c->details);
    printf("options:\n");
    for (size_t i = 0; i < count_options(c); i++)
        print_option(&c->options[i]);
    print_option(&(struct weir_cli_option){"help", NULL, "this text"});
}

int weir_cli_finish(int code)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return code;
    return weir_cli_fail(WEIR_EXIT_FAILED, "writing to stdout: %s", strerror(errno));
}

void weir_cli_words_init(struct weir_cli_words *w, const struct weir_cli_command *c, int argc, char **argv)
{
    *w = (struct weir_cli_words){.command = c, .argc = argc, .argv = argv};
    optind = 0; /* glibc: begin anew */
    opterr = 0; /* what is wrong is said here */
}

/* What getopt_long has refused: it stands before optind. */
static int refuse(struct weir_cli_words *w, int why)
{
    const char *word = w->argv[optind - 1];
    const struct weir_cli_command *c = w->command;
    struct weir_nearest near;
    char name[WEIR_NEAREST_MAX + 1];
    w->exit = WEIR_EXIT_USAGE;
    if (why == '?' && optopt > 0 && optopt < BASE) { /* it may stand in the middle of its word */
        (void)weir_cli_usage(c, "there is no option '-%c'", optopt);
        return WEIR_CLI_STOP;
    }
    if (why == ':') {
        (void)weir_cli_usage(c, "%s needs a value", word);
        return WEIR_CLI_STOP;
    }
    size_t len = strcspn(word, "=");
    if (strncmp(word, "--", 2) != 0 || len - 2 > WEIR_NEAREST_MAX) {
        (void)weir_cli_usage(c, "there is no option '%s'", word);
        return WEIR_CLI_STOP;
    }
    (void)snprintf(name, sizeof name, "%.*s", (int)(len - 2), word + 2);
    weir_nearest_init(&near, name);
    for (size_t i = 0; i < count_options(c); i++) {
        if (strcmp(name, c->options[i].name) == 0) {
            (void)weir_cli_usage(c, "--%s takes no value", name);
            return WEIR_CLI_STOP;
        }
        weir_nearest_offer(&near, c->options[i].name);
    }
    const char *best = weir_nearest_best(&near);
    if (best != NULL)
        (void)weir_cli_usage(c, "there is no option '--%s'; did you mean '--%s'?", name, best);
    else
        (void)weir_cli_usage(c, "there is no option '--%s'", name);
    return WEIR_CLI_STOP;
}

static int end_of_options(struct weir_cli_words *w)
{
    size_t words = (size_t)(w->argc - optind);
    if (words <= w->command->words_max)
        return WEIR_CLI_END;
    const char *extra = w->argv[optind + (int)w->command->words_max];
    if (w->command->words_max == 0)
        w->exit = weir_cli_usage(w->command, "what is '%s'? There is nothing to name here", extra);
    else
        w->exit = weir_cli_usage(w->command, "what is '%s'? It takes '%s'", extra, w->command->words);
    return WEIR_CLI_STOP;
}

int weir_cli_next(struct weir_cli_words *w, const char **ret_value)
{
    struct option options[WEIR_CLI_OPTIONS_MAX + 2] = {{NULL, 0, NULL, 0}};
    size_t n = count_options(w->command);
    for (size_t i = 0; i < n && i < WEIR_CLI_OPTIONS_MAX; i++)
        options[i] = (struct option){w->command->options[i].name,
                                     w->command->options[i].value != NULL ? required_argument : no_argument,
                                     NULL, BASE + (int)i};
    options[n] = (struct option){"help", no_argument, NULL, HELP};
    int counts = short_option(w->command);
    int found = getopt_long(w->argc, w->argv, counts >= 0 ? ":hn:" : ":h", options, NULL);
    if (found == 'n')
        found = BASE + counts;
    if (found == -1)
        return end_of_options(w);
    if (found == HELP) {
        weir_cli_help(w->command);
        w->exit = weir_cli_finish(WEIR_EXIT_DONE);
        return WEIR_CLI_STOP;
    }
    if (found == '?' || found == ':')
        return refuse(w, found);
    *ret_value = optarg;
    return found - BASE;
}

const char *weir_cli_word(const struct weir_cli_words *w, size_t i)
{
    return optind + (int)i < w->argc ? w->argv[optind + (int)i] : NULL;
}
