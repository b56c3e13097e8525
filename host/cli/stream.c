#include "cli/stream.h"

#include <signal.h>

#include "admin/client.h"
#include "cli/ask.h"
#include "cli/command.h"

static volatile sig_atomic_t stopped; /* by SIGINT or SIGTERM */

struct reading {
    const struct weir_stream *s;
    struct weir_strbuf line; /* that has no end yet */
};

static void on_signal(int number)
{
    (void)number;
    stopped = 1;
}

/* Ends the wait for more; what came so far stands. */
static void catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal}; /* no SA_RESTART: it is to end the reading */
    (void)sigaction(SIGINT, &action, NULL);              /* can't fail for valid signals */
    (void)sigaction(SIGTERM, &action, NULL);
}

static bool on_piece(void *arg, const char *data, size_t len)
{
    struct reading *r = arg;
    size_t from = 0;
    weir_strbuf_add(&r->line, data, len);
    if (r->line.failed)
        return false;
    for (size_t at = 0; at < r->line.len; at++) {
        if (r->line.data[at] != '\n')
            continue;
        if (!r->s->line(r->s->arg, r->line.data + from, at - from))
            return false;
        from = at + 1;
    }
    weir_strbuf_consume(&r->line, from);
    return (r->s->flush == NULL || r->s->flush(r->s->arg)) && !stopped;
}

int weir_stream_run(const struct weir_stream *s, struct weir_strbuf *body, int *ret_status)
{
    struct reading r = {.s = s, .line = WEIR_STRBUF_INIT};
    struct weir_client_question q = {.target = s->target, .piece = on_piece, .arg = &r, .stop = &stopped};
    catch_signals();
    int code = weir_ask_question(s->admin, &q, body, ret_status);
    if (code == WEIR_EXIT_FAILED && stopped && *ret_status == 0)
        code = WEIR_EXIT_DONE; /* the signal ended it before the answer's head had come */
    if (r.line.failed)
        code = weir_cli_fail(WEIR_EXIT_FAILED, "out of memory");
    weir_strbuf_fini(&r.line);
    return code;
}
