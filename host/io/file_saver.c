#include "io/file_saver.h"

#include <string.h>
#include <uv.h>

#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "core/worker.h"
#include "io/file_state.h"
#include "io/file_threads.h"
#include "io/handover.h"

struct weir_file_saver {
    const char *path, *stage; /* [const] the creator's */
    void (*saved)(void *arg, int error);
    void *arg;
    struct weir_strbuf text; /* the thread's while it writes */
    uv_work_t work;
    struct weir_handover handover; /* of `text` and `error` */
    int error;                     /* of the last write */
    bool writing, told;
};

struct weir_file_saver *weir_file_saver_create(const char *path, const char *stage,
                                               void (*saved)(void *arg, int error), void *arg)
{
    struct weir_file_saver *s = weir_calloc(1, sizeof *s);
    if (s == NULL)
        return NULL;
    s->path = path;
    s->stage = stage;
    s->saved = saved;
    s->arg = arg;
    weir_strbuf_init(&s->text);
    return s;
}

struct weir_strbuf *weir_file_saver_begin(struct weir_file_saver *s)
{
    return s->writing ? NULL : &s->text;
}

static void on_work(uv_work_t *work)
{
    struct weir_file_saver *s = WEIR_LIST_ENTRY(work, struct weir_file_saver, work);
    weir_handover_take(&s->handover);
    s->error = -weir_file_state_write(s->path, s->text.data, s->text.len);
    weir_handover_give(&s->handover);
}

static void on_done(uv_work_t *work, int status)
{
    struct weir_file_saver *s = WEIR_LIST_ENTRY(work, struct weir_file_saver, work);
    weir_handover_take(&s->handover);
    (void)status; /* it is never cancelled */
    weir_file_threads_end();
    s->writing = false;
    if (s->error != 0 && !s->told)
        weir_log(WEIR_LOG_ERROR, "file", NULL,
                 "stage '%s': the positions can't be written to %s: %s; it is tried again", s->stage, s->path,
                 strerror(s->error));
    s->told = s->error != 0;
    s->saved(s->arg, s->error);
}

void weir_file_saver_write(struct weir_file_saver *s, struct weir_worker *w)
{
    if (s->text.failed)
        return;
    s->writing = true;
    weir_handover_give(&s->handover);
    weir_file_threads_begin();
    uv_queue_work(&w->loop, &s->work, on_work, on_done); /* fails only without a function */
}

void weir_file_saver_destroy(struct weir_file_saver *s)
{
    if (s == NULL)
        return;
    weir_strbuf_fini(&s->text);
    weir_free(s);
}
