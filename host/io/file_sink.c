#include "io/file_sink.h"

#include "config/conf.h"
#include "config/types.h"
#include "core/stage.h"
#include "io/datepath.h"
#include "io/sink.h"
#include "io/write_sink.h"
#include "io/writer.h"

enum { CLOSE_WAIT_MS = 1000 };

static const char *const sync_words[] = {"never", "interval", "always", NULL};

static const struct weir_option options_of_file[] = {
    {.name = "path",
     .type = WEIR_OPTION_PATH,
     .required = true,
     .min = 1,
     .text = "the file; %Y %m %d %H %M %S %j %F are the date (UTC), %% is a '%'"},
    {.name = "append",
     .type = WEIR_OPTION_BOOL,
     .fallback = "true",
     .text = "false: what is in the file at the start is lost"},
    {.name = "mkdir",
     .type = WEIR_OPTION_BOOL,
     .fallback = "false",
     .text = "makes folders of the path that are missing"},
    {.name = "buffer",
     .type = WEIR_OPTION_SIZE,
     .fallback = "64KiB",
     .min = 1,
     .max = 64 << 20,
     .text = "bytes, per worker, that are written at once"},
    {.name = "flush_after",
     .type = WEIR_OPTION_DURATION,
     .fallback = "100ms",
     .max = 3600000000000,
     .text = "how long an event may wait for others to be written with; 0: it does not"},
    {.name = "sync",
     .type = WEIR_OPTION_ENUM,
     .fallback = "never",
     .words = sync_words,
     .text = "when the disk is told to keep it: never, each `sync_interval`, or before an event counts as "
             "handled"},
    {.name = "sync_interval",
     .type = WEIR_OPTION_DURATION,
     .fallback = "1s",
     .min = 1000000,
     .text = "with sync: interval"},
    WEIR_SINK_ENCODE_OPTION,
    WEIR_FRAMING_OPTIONS,
};

const struct weir_app_type weir_file_sink_type = {
    .name = "file",
    .kind = WEIR_APP_SINK,
    .text = "appends each event to a file",
    .options = options_of_file,
    .option_count = sizeof options_of_file / sizeof *options_of_file,
    .check = weir_datepath_check_options,
};

static void release(struct weir_writer *w)
{
    weir_writer_close(w, CLOSE_WAIT_MS);
}

int weir_file_sink_open(struct weir_stage *stage, const struct weir_conf *options,
                        struct weir_handler_maker *ret, struct weir_err *reterr)
{
    const char *path = weir_conf_option_string(options, "path");
    const struct weir_writer_settings settings = {
        .path = path,
        .truncate = !weir_conf_option_bool(options, "append"),
        .mkdir = weir_conf_option_bool(options, "mkdir"),
        .sync = (enum weir_writer_sync)weir_conf_option_enum(options, "sync"),
        .sync_every_ns = weir_conf_option_duration(options, "sync_interval"),
    };
    const struct weir_write_sink_settings sink = {
        .name = path,
        .buffer = weir_conf_option_size(options, "buffer"),
        .flush_after_ns = weir_conf_option_duration(options, "flush_after"),
    };
    struct weir_writer *writer;
    struct weir_err why;
    int rc = weir_writer_open(&settings, &writer, &why);
    if (rc < 0)
        return weir_err_set(reterr, rc, "stage '%s': %s", stage->name, why.text);
    rc = weir_write_sink_open(stage, options, &sink, writer, release, ret, reterr);
    if (rc < 0)
        release(writer);
    return rc;
}
