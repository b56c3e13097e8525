/* weir top: the running host, live. The terminal is put back as it was however this ends, but for SIGKILL. */
#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "admin/client.h"
#include "admin/place.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/strbuf.h"
#include "cli/command.h"
#include "cli/top_draw.h"

enum { ONCE, SORT, FILTER, JSON, ADMIN };

static const struct weir_cli_option options[] = {
    [ONCE] = {"once", NULL, "prints one frame and ends; for scripts"},
    [SORT] = {"sort", "BY", "name, rate, fill, wait, errors or graph (default: as in the graph)"},
    [FILTER] = {"filter", "TEXT", "only stages whose name has TEXT in it"},
    [JSON] = {"json", NULL, "with --once: for programs, what the host answers to /v1/stats"},
    [ADMIN] = {"admin", "SOCK", "the running host (default: $WEIR_ADMIN, else the only one)"},
    {NULL, NULL, NULL},
};

enum { REFRESH_MS = 1000, FILTER_MAX = 32, ONCE_WIDTH = 80, KEY_ESCAPE = 27, KEY_DELETE = 127 };

static volatile sig_atomic_t stopped; /* by SIGINT or SIGTERM */

struct top {
    char *path; /* of the admin socket */
    struct weir_top_view view;
    char filter[FILTER_MAX + 1];
    bool typing; /* the filter */
    bool once, json, ended;
    struct termios before;
};

static void on_signal(int number)
{
    if (number != SIGWINCH) /* that one only ends the wait */
        stopped = 1;
}

/* ---- asking ---- */

/* The document of `target`; NULL: `reterr` says why not. */
static json_t *fetch(const struct top *t, const char *target, struct weir_err *reterr)
{
    const struct weir_client_question q = {.path = t->path, .target = target, .stop = &stopped};
    struct weir_client_answer answer = {0, WEIR_STRBUF_INIT};
    json_error_t why;
    json_t *doc = NULL;
    int rc = weir_client_ask(&q, &answer, reterr);
    if (rc == WEIR_OK && answer.status != 200)
        (void)weir_err_set(reterr, WEIR_E_IO, "the host refused %s (%d)", target, answer.status);
    else if (rc == WEIR_OK && (doc = json_loadb(answer.body.data, answer.body.len, 0, &why)) == NULL)
        (void)weir_err_set(reterr, WEIR_E_IO, "the host's answer is not JSON: %s", why.text);
    weir_strbuf_fini(&answer.body);
    return doc;
}

/* ---- a frame ---- */

static void set_size(struct top *t)
{
    struct winsize size;
    bool known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 && size.ws_row > 0;
    t->view.width = known ? size.ws_col : ONCE_WIDTH;
    t->view.height = known ? (size_t)size.ws_row - 1 : 23; /* a line is for the keys */
}

/* Each line over what stood there, the rest cleared. */
static void paint(const struct top *t, const struct weir_strbuf *frame)
{
    const char *at = frame->data != NULL ? frame->data : "";
    printf("\033[H");
    while (*at != '\0') {
        size_t len = strcspn(at, "\n");
        printf("%.*s\033[K\r\n", (int)len, at);
        at += len + (at[len] == '\n');
    }
    printf("\033[J");
    if (t->typing)
        printf("filter: %s_", t->filter);
    else
        printf("%.*s", (int)t->view.width, "q quit  sort: g n r f w e, again to reverse  / filter");
    printf("\033[K");
    (void)fflush(stdout); /* a terminal that is gone ends the reading of keys */
}

static int draw_frame(struct top *t, struct weir_err *reterr)
{
    struct weir_strbuf frame = WEIR_STRBUF_INIT;
    struct weir_err ignored;
    json_t *stats = fetch(t, "/v1/stats", reterr);
    if (stats == NULL)
        return reterr->code;
    if (!t->once)
        set_size(t);
    json_t *history = t->view.width > WEIR_TOP_NARROW ? fetch(t, "/v1/queue/history", &ignored) : NULL; /* without it: no bars */
    t->view.history = history;
    weir_top_draw(stats, &t->view, &frame);
    json_decref(stats);
    json_decref(history);
    t->view.history = NULL;
    int rc = frame.failed ? weir_err_set(reterr, WEIR_E_NOMEM, "out of memory") : WEIR_OK;
    if (rc == WEIR_OK && t->once)
        (void)fwrite(frame.data, 1, frame.len, stdout); /* checked by weir_cli_finish */
    else if (rc == WEIR_OK)
        paint(t, &frame);
    weir_strbuf_fini(&frame);
    return rc;
}

/* ---- keys ---- */

static void type_filter(struct top *t, char key)
{
    size_t len = strlen(t->filter);
    if (key == '\r' || key == '\n') {
        t->typing = false;
    } else if (key == KEY_ESCAPE) {
        t->typing = false;
        t->filter[0] = '\0';
    } else if ((key == KEY_DELETE || key == '\b') && len > 0) {
        t->filter[len - 1] = '\0';
    } else if (key > ' ' && key < KEY_DELETE && len < FILTER_MAX) {
        t->filter[len] = key;
        t->filter[len + 1] = '\0';
    }
}

static void take_key(struct top *t, char key)
{
    if (t->typing) {
        type_filter(t, key);
    } else if (key == 'q' || key == 'Q') {
        t->ended = true;
    } else if (key == '/') {
        t->typing = true;
    } else if (key == KEY_ESCAPE) {
        t->filter[0] = '\0';
    } else if (key != '\0' && strchr("gnrfwe", key) != NULL) {
        t->view.reverse = t->view.sort == key && !t->view.reverse;
        t->view.sort = key;
    }
}

/* Waits for a key or the next frame. */
static void wait_for_key(struct top *t, uint64_t until_ns)
{
    uint64_t now = weir_clock_ns();
    struct pollfd keys = {.fd = STDIN_FILENO, .events = POLLIN};
    char typed[64];
    int left = now < until_ns ? (int)((until_ns - now) / WEIR_NS_PER_MS) + 1 : 0;
    if (poll(&keys, 1, left) <= 0)
        return;
    ssize_t n = read(STDIN_FILENO, typed, sizeof typed);
    if (n <= 0) {
        t->ended = n == 0 || errno != EINTR;
        return;
    }
    if (n > 1 && typed[0] == KEY_ESCAPE)
        return; /* an arrow, or another key that sends several */
    for (ssize_t i = 0; i < n && !t->ended; i++)
        take_key(t, typed[i]);
}

static int run_live(struct top *t, struct weir_err *reterr)
{
    uint64_t next_ns = 0;
    while (!t->ended && !stopped) {
        int rc = draw_frame(t, reterr); /* after a key, too: its effect is seen at once */
        if (rc < 0)
            return stopped ? WEIR_OK : rc;
        uint64_t now = weir_clock_ns();
        if (now >= next_ns)
            next_ns = now + REFRESH_MS * WEIR_NS_PER_MS;
        wait_for_key(t, next_ns);
    }
    return WEIR_OK;
}

/* ---- the terminal ---- */

static int take_terminal(struct top *t)
{
    if (!isatty(STDOUT_FILENO) || tcgetattr(STDIN_FILENO, &t->before) != 0)
        return weir_cli_usage(&weir_cmd_top, "this is no terminal; --once prints one frame");
    struct termios raw = t->before;
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    if (tcsetattr(STDIN_FILENO, TCSANOW, &raw) != 0)
        return weir_cli_fail(WEIR_EXIT_FAILED, "the terminal: %s", strerror(errno));
    struct sigaction action = {.sa_handler = on_signal}; /* no SA_RESTART: it is to end waiting */
    (void)sigaction(SIGINT, &action, NULL);              /* can't fail for valid signals */
    (void)sigaction(SIGTERM, &action, NULL);
    (void)sigaction(SIGHUP, &action, NULL);
    (void)sigaction(SIGWINCH, &action, NULL);
    printf("\033[?1049h\033[?25l\033[2J"); /* the other screen, no cursor */
    return WEIR_EXIT_DONE;
}

static void give_terminal_back(const struct top *t)
{
    printf("\033[?25h\033[?1049l");
    (void)fflush(stdout);                                   /* there is nothing else to be done about it */
    (void)tcsetattr(STDIN_FILENO, TCSANOW, &t->before);
}

static int print_json(const struct top *t, struct weir_err *reterr)
{
    json_t *stats = fetch(t, "/v1/stats", reterr);
    if (stats == NULL)
        return reterr->code;
    (void)json_dumpf(stats, stdout, JSON_COMPACT); /* checked by weir_cli_finish */
    (void)fputc('\n', stdout);
    json_decref(stats);
    return WEIR_OK;
}

static int show(struct top *t, const char *admin)
{
    struct weir_err err;
    int code = WEIR_EXIT_DONE, rc = weir_place_find(admin, &t->path, &err);
    if (rc == WEIR_OK && !t->once)
        code = take_terminal(t);
    if (rc == WEIR_OK && code == WEIR_EXIT_DONE) {
        rc = t->json ? print_json(t, &err) : t->once ? draw_frame(t, &err) : run_live(t, &err);
        if (!t->once)
            give_terminal_back(t);
    }
    weir_free(t->path);
    if (rc == WEIR_E_NOHOST)
        return weir_cli_fail(WEIR_EXIT_NOHOST, "no running host: %s", err.text);
    if (rc < 0)
        return weir_cli_fail(rc == WEIR_E_INVAL ? WEIR_EXIT_USAGE : WEIR_EXIT_FAILED, "%s", err.text);
    return weir_cli_finish(code);
}

static bool read_sort(struct top *t, const char *value)
{
    static const char *const words[] = {"graph", "name", "rate", "fill", "wait", "errors"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strcmp(words[i], value) == 0) {
            t->view.sort = value[0];
            return true;
        }
    }
    return false;
}

static int run(const struct weir_registry *registry, int argc, char **argv)
{
    (void)registry; /* nothing is loaded */
    struct top t = {.view = {.sort = 'g', .width = ONCE_WIDTH}};
    struct weir_cli_words words;
    const char *value, *admin = NULL;
    int option;
    t.view.filter = t.filter;
    weir_cli_words_init(&words, &weir_cmd_top, argc, argv);
    while ((option = weir_cli_next(&words, &value)) >= 0) {
        if (option == ONCE)
            t.once = true;
        else if (option == JSON)
            t.json = true;
        else if (option == SORT && !read_sort(&t, value))
            return weir_cli_usage(&weir_cmd_top, "--sort is name, rate, fill, wait, errors or graph, not '%s'", value);
        else if (option == FILTER)
            (void)snprintf(t.filter, sizeof t.filter, "%s", value); /* longer than any name's part: nothing has it */
        else if (option == ADMIN)
            admin = value;
    }
    if (option == WEIR_CLI_STOP)
        return words.exit;
    if (t.json && !t.once)
        return weir_cli_usage(&weir_cmd_top, "--json goes with --once");
    return show(&t, admin);
}

const struct weir_cli_command weir_cmd_top = {
    .name = "top",
    .words = "[OPTION]...",
    .summary = "shows the running host live: rates, queues, waits, what blocks a stage",
    .details = "All figures are of the last second. RATE: events handled; FILL: of the queue; P50, P99: time in the queue; THR:\n"
               "threads of the stage's pool; BAT: events per turn; ADM: share of what was offered that was let in; ERR: failed,\n"
               "expired and dropped; GEN: generation; VM: memory of its Lua states; BLOCKED BY: paused, pool (all its threads\n"
               "are busy), concurrency, or the stage that it waits for. A wide terminal shows the queue's length, too.\n"
               "Keys: g n r f w e sort as in the graph, by name, rate, fill, wait, errors, once more reverses; / filters; q quits.\n\n"
               "exit status: 0 done; 1 failed; 64 usage; 69 no running host\n",
    .options = options,
    .words_max = 0,
    .run = run,
};
