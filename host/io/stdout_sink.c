#include "io/stdout_sink.h"

#include <unistd.h>

#include "config/conf.h"
#include "config/types.h"
#include "core/stage.h"
#include "io/sink.h"
#include "io/write_sink.h"
#include "io/writer.h"

enum { CLOSE_WAIT_MS = 1000 };

static const struct weir_option options_of_stdout[] = {
    WEIR_SINK_ENCODE_OPTION,
    WEIR_FRAMING_OPTIONS,
};

const struct weir_app_type weir_stdout_sink_type = {
    .name = "stdout",
    .kind = WEIR_APP_SINK,
    .text = "writes each event to the standard output",
    .options = options_of_stdout,
    .option_count = sizeof options_of_stdout / sizeof *options_of_stdout,
};

/* The process has one standard output. [owner: control] */
static struct weir_writer *shared;
static unsigned users;

static void release(struct weir_writer *w)
{
    if (--users > 0)
        return;
    weir_writer_close(w, CLOSE_WAIT_MS);
    shared = NULL;
}

int weir_stdout_sink_open(struct weir_stage *stage, const struct weir_conf *options,
                          struct weir_handler_maker *ret, struct weir_err *reterr)
{
    const struct weir_writer_settings settings = {.fd = STDOUT_FILENO};
    const struct weir_write_sink_settings sink = {.name = "stdout"};
    struct weir_err why;
    int rc = users > 0 ? WEIR_OK : weir_writer_open(&settings, &shared, &why);
    if (rc < 0)
        return weir_err_set(reterr, rc, "stage '%s': %s", stage->name, why.text);
    users++;
    rc = weir_write_sink_open(stage, options, &sink, shared, release, ret, reterr);
    if (rc < 0)
        release(shared);
    return rc;
}
