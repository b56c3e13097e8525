/* weir run: the control thread of a host. Its loop has the signals, the runtime's timers and the admin
 * interface. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include <uv.h>

#include "admin/admin.h"
#include "base/log.h"
#include "base/strbuf.h"
#include "cli/app_arg.h"
#include "cli/command.h"
#include "config/app.h"
#include "runtime/runtime.h"

enum { ADMIN, SET, WATCH, LOG_LEVEL, LOG_FORMAT, LISTEN };

static const struct weir_cli_option options[] = {
    [ADMIN] =
        {"admin", "SOCK",
         "path of the admin socket, or 'none' (default: APP.sock in $XDG_RUNTIME_DIR/weir or /tmp/weir-UID)"},
    [SET] = {"set", "PATH=VALUE", "sets a value of weir.yaml, as in stages.page.batch=8; may be repeated"},
    [WATCH] = {"watch", NULL, "reload what changes (not in this version)"},
    [LOG_LEVEL] = {"log-level", "LEVEL", "debug, info (default), warn or error"},
    [LOG_FORMAT] = {"log-format", "FORMAT", "text (default) or json"},
    [LISTEN] = {"listen", "ADDRESS", "with one Lua file: where to listen (default 127.0.0.1:8080)"},
    {NULL, NULL, NULL},
};

/* What was asked for. */
struct request {
    struct weir_app_arg app;
    const char *admin;
    enum weir_log_level level;
    bool json;
};

enum { TERM, INT, HUP, USR1, SIGNALS };
static const int signal_numbers[SIGNALS] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1};

struct host {
    uv_loop_t loop;
    uv_signal_t signals[SIGNALS];
    size_t signal_count; /* handles made */
    struct weir_runtime *rt;
    struct weir_admin *admin;
    bool stopping;
};

static int read_option(struct request *r, int option, const char *value)
{
    switch (option) {
    case ADMIN:
        r->admin = value;
        break;
    case SET:
        return weir_app_arg_set(&r->app, &weir_cmd_run, value);
    case WATCH:
        return weir_cli_usage(&weir_cmd_run,
                              "--watch is not supported by this version: it comes with reload");
    case LOG_LEVEL:
        if (weir_log_level_named(value) < 0)
            return weir_cli_usage(&weir_cmd_run, "--log-level is debug, info, warn or error, not '%s'",
                                  value);
        r->level = (enum weir_log_level)weir_log_level_named(value);
        break;
    case LOG_FORMAT:
        r->json = strcmp(value, "json") == 0;
        if (!r->json && strcmp(value, "text") != 0)
            return weir_cli_usage(&weir_cmd_run, "--log-format is text or json, not '%s'", value);
        break;
    case LISTEN:
        r->app.listen = value;
        break;
    }
    return WEIR_EXIT_DONE;
}

/* Every connection is a descriptor, and the usual soft limit of 1024 is there for programs that use select().
 */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        weir_log(WEIR_LOG_WARN, "host", NULL, "the limit of open files stays as it is");
}

static void on_stopped(void *arg)
{
    struct host *h = arg;
    uv_stop(&h->loop);
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct host *h = handle->data;
    switch (number) {
    case SIGHUP:
        weir_log(WEIR_LOG_INFO, "host", NULL, "SIGHUP: reading certificates anew; scripts and weir.yaml stay as they are in this version");
        weir_runtime_reload_files(h->rt);
        break;
    case SIGUSR1:
        weir_log(WEIR_LOG_INFO, "host", NULL, "SIGUSR1: opening log files anew");
        weir_runtime_reopen(h->rt);
        break;
    default:
        weir_log(WEIR_LOG_INFO, "host", NULL, "%s: %s", number == SIGTERM ? "SIGTERM" : "SIGINT",
                 h->stopping ? "stopping at once" : "finishing what is under way; again to stop at once");
        h->stopping = true;
        weir_runtime_stop(h->rt, on_stopped, h);
        break;
    }
}

static void on_sources_ended(void *arg)
{
    struct host *h = arg;
    if (h->stopping)
        return;
    weir_log(WEIR_LOG_INFO, "host", NULL, "the sources have come to their ends: finishing what is under way");
    weir_runtime_finish(h->rt, on_stopped, h);
}

static int make_signals(struct host *h, struct weir_err *reterr)
{
    for (; h->signal_count < SIGNALS; h->signal_count++) {
        int rc = uv_signal_init(&h->loop, &h->signals[h->signal_count]);
        if (rc < 0)
            return weir_err_set(reterr, WEIR_E_IO, "signals: %s", uv_strerror(rc));
        h->signals[h->signal_count].data = h;
    }
    return WEIR_OK;
}

static bool catch_signals(struct host *h)
{
    for (int i = 0; i < SIGNALS; i++) {
        int rc = uv_signal_start(&h->signals[i], on_signal, signal_numbers[i]);
        if (rc < 0) {
            weir_log(WEIR_LOG_ERROR, "host", NULL, "signal %d can't be caught: %s", signal_numbers[i],
                     uv_strerror(rc));
            return false;
        }
    }
    return true;
}

/* One line, whole, straight to stderr: whoever started us waits for it, whatever the log's level and format.
 */
static void say_ready(const struct host *h)
{
    struct weir_strbuf line = WEIR_STRBUF_INIT;
    weir_strbuf_adds(&line, "ready");
    for (size_t i = 0; i < weir_runtime_app(h->rt)->stage_count; i++)
        if (weir_runtime_address(h->rt, i) != NULL)
            weir_strbuf_addf(&line, " %s", weir_runtime_address(h->rt, i));
    weir_strbuf_addc(&line, '\n');
    if (line.failed || write(STDERR_FILENO, line.data, line.len) < 0)
        weir_log(WEIR_LOG_WARN, "host", NULL, "the 'ready' line could not be written");
    weir_strbuf_fini(&line);
}

static void log_admin(const struct host *h)
{
    if (weir_admin_socket(h->admin) != NULL)
        weir_log(WEIR_LOG_INFO, "admin", NULL, "listening on %s", weir_admin_socket(h->admin));
    if (weir_admin_address(h->admin) != NULL)
        weir_log(WEIR_LOG_INFO, "admin", NULL, "listening on %s", weir_admin_address(h->admin));
}

static int start(struct host *h, const struct request *r, const struct weir_app *app,
                 const struct weir_registry *registry, struct weir_strbuf *report, struct weir_err *reterr)
{
    int rc = make_signals(h, reterr);
    if (rc == WEIR_OK)
        rc = weir_runtime_create(app, registry, &h->loop, report, &h->rt, reterr);
    if (rc < 0)
        return rc;
    weir_runtime_on_end(h->rt, on_sources_ended, h);
    const struct weir_admin_options admin = {.rt = h->rt, .loop = &h->loop, .socket = r->admin};
    rc = weir_admin_create(&admin, &h->admin, reterr);
    if (rc == WEIR_OK)
        rc = weir_admin_listen(h->admin, reterr);
    if (rc == WEIR_OK)
        rc = weir_runtime_start(h->rt, reterr);
    return rc;
}

/* Closes everything, in any state of a start. The admin interface goes first: it reads what the runtime
 * frees. */
static void finish(struct host *h)
{
    weir_admin_close(h->admin);
    for (size_t i = 0; i < h->signal_count; i++)
        uv_close((uv_handle_t *)&h->signals[i], NULL);
    (void)uv_run(&h->loop,
                 UV_RUN_DEFAULT); /* until they are closed; whether handles are left is asked below */
    weir_admin_destroy(h->admin);
    weir_runtime_destroy(h->rt);
    (void)uv_run(&h->loop, UV_RUN_DEFAULT);
    if (uv_loop_close(&h->loop) != 0)
        weir_log(WEIR_LOG_ERROR, "host", NULL, "handles are left in the control thread's loop");
}

/* Ends the process around a thread that can't be ended: nothing may be freed under it. The admin socket's
 * file goes. */
static void leave_stuck(struct host *h)
{
    weir_log(WEIR_LOG_ERROR, "host", NULL, "a handler does not come back; ending without it");
    weir_admin_close(h->admin);
    weir_log_stop();
    _exit(WEIR_EXIT_FAILED);
}

/* Serves until it is told to stop. Signals are caught only now: a script that does not come back while it is
 * loaded can be ended like any program. */
static int serve(struct host *h)
{
    int code = WEIR_EXIT_DONE;
    if (!catch_signals(h)) {
        code = WEIR_EXIT_FAILED;
        weir_runtime_stop(h->rt, on_stopped, h);
    } else {
        log_admin(h);
        say_ready(h);
    }
    (void)uv_run(&h->loop, UV_RUN_DEFAULT); /* until on_stopped */
    if (weir_runtime_is_stuck(h->rt))
        leave_stuck(h);
    if (weir_runtime_was_cut(h->rt)) {
        weir_log(WEIR_LOG_WARN, "host", NULL, "stopped before everything was finished");
        code = WEIR_EXIT_FAILED;
    }
    return code;
}

/* Says why it did not start. Places in scripts stand at the beginnings of lines, as compilers write them. */
static int say_why(int rc, const struct weir_strbuf *report, const struct weir_err *err)
{
    bool bad = report->len > 0 || rc == WEIR_E_CONFIG || rc == WEIR_E_SCRIPT || rc == WEIR_E_NOTFOUND;
    if (report->len > 0)
        (void)fputs(report->data, stderr); /* where would a failure of stderr be told? */
    if (rc == WEIR_E_SCRIPT && report->len == 0)
        (void)fprintf(stderr, "%s\n", err->text);
    else
        (void)weir_cli_fail(0, "%s", err->text);
    return bad ? WEIR_EXIT_CONFIG : WEIR_EXIT_FAILED;
}

static int host_app(const struct request *r, const struct weir_app *app, const struct weir_registry *registry)
{
    struct host h = {.rt = NULL};
    struct weir_err err;
    struct weir_strbuf report = WEIR_STRBUF_INIT;
    if (uv_loop_init(&h.loop) != 0)
        return weir_cli_fail(WEIR_EXIT_FAILED, "the control thread's loop can't be made");
    int code = WEIR_EXIT_DONE, rc = start(&h, r, app, registry, &report, &err);
    if (rc == WEIR_OK)
        code = serve(&h);
    finish(&h);
    weir_log_stop();
    if (rc < 0)
        code = say_why(rc, &report, &err);
    weir_strbuf_fini(&report);
    return code;
}

static int run_app(const struct request *r, const struct weir_registry *registry)
{
    struct weir_app *app;
    struct weir_err err;
    int code = weir_app_arg_load(&r->app, &weir_cmd_run, registry, &app);
    if (code != WEIR_EXIT_DONE)
        return code;
    if (weir_log_start(r->level, r->json, &err) < 0) {
        code = weir_cli_fail(WEIR_EXIT_FAILED, "%s", err.text);
    } else {
        raise_descriptor_limit();
        code = host_app(r, app, registry);
    }
    weir_app_free(app);
    return code;
}

static int run(const struct weir_registry *registry, int argc, char **argv)
{
    struct request r = {.app = {.scripts = true}, .level = WEIR_LOG_INFO};
    struct weir_cli_words words;
    const char *value;
    int option, code = WEIR_EXIT_DONE;
    weir_cli_words_init(&words, &weir_cmd_run, argc, argv);
    while (code == WEIR_EXIT_DONE && (option = weir_cli_next(&words, &value)) != WEIR_CLI_END) {
        if (option == WEIR_CLI_STOP) {
            weir_app_arg_fini(&r.app);
            return words.exit;
        }
        code = read_option(&r, option, value);
    }
    if (code == WEIR_EXIT_DONE) {
        r.app.path = weir_cli_word(&words, 0);
        code = run_app(&r, registry);
    }
    weir_app_arg_fini(&r.app);
    return code;
}

const struct weir_cli_command weir_cmd_run = {
    .name = "run",
    .words = "[APP] [OPTION]...",
    .summary = "runs an application",
    .details = "APP is a folder with a weir.yaml, a YAML file, or one Lua file, which is served over HTTP "
               "(default: .).\n"
               "When all sources listen, a line 'ready ADDRESS...' is written to stderr. SIGTERM and SIGINT "
               "finish what is\n"
               "under way, then end it; a second one ends it at once. SIGUSR1 opens log files anew,\n"
               "SIGHUP reads certificates anew.\n\n"
               "exit status: 0 stopped, all finished; 1 failed, or events had to be dropped; 64 usage; 78 "
               "bad configuration or script\n",
    .options = options,
    .words_max = 1,
    .run = run,
};
