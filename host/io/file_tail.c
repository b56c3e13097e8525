#include "io/file_tail.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "core/seat.h"
#include "io/file_threads.h"

enum { CHUNK = 128 << 10 };

static struct weir_worker *worker_of(const struct weir_tail *t)
{
    return t->intake.feed.seat->worker;
}

struct weir_tail *weir_tail_create(const struct weir_file_seen *seen, uint64_t offset,
                                   const struct weir_intake_ops *ops, struct weir_intake_counts *counts,
                                   struct weir_seat *seat, const struct weir_framing *framing, bool tracks)
{
    struct weir_tail *t = weir_calloc(1, sizeof *t);
    if (t == NULL)
        return NULL;
    t->path = weir_strdup(seen->path);
    if (t->path == NULL) {
        weir_free(t);
        return NULL;
    }
    weir_list_init(&t->node);
    weir_list_init(&t->hash);
    weir_list_init(&t->ready);
    t->dev = seen->dev;
    t->ino = seen->ino;
    t->size = seen->size;
    t->changed_ns = seen->changed_ns;
    t->fd = -1;
    t->state = WEIR_TAIL_IDLE;
    t->tracks = tracks;
    t->ended_to = offset;
    weir_intake_init(&t->intake, ops, counts, seat, framing);
    t->intake.offset = offset;
    return t;
}

static void forget_sent(struct weir_tail *t)
{
    for (; t->sent_count > 0; t->sent_count--) {
        weir_blob_unref(t->sent[t->sent_first].blob);
        t->sent_first = (t->sent_first + 1) % t->sent_room;
    }
}

void weir_tail_destroy(struct weir_tail *t)
{
    assert(t->state != WEIR_TAIL_READING);
    weir_list_remove(&t->node);
    weir_list_remove(&t->hash);
    weir_list_remove(&t->ready);
    forget_sent(t);
    weir_free(t->sent);
    weir_intake_fini(&t->intake);
    if (t->fd >= 0)
        close(t->fd);
    weir_free(t->path);
    weir_free(t);
}

/* ---- reading ---- */

static void read_chunk(const struct weir_tail *t, struct weir_file_chunk *c)
{
    if (c->fd < 0) {
        int fd = weir_file_open(t->job_path, t->dev, t->ino);
        if (fd < 0) {
            c->len = 0;
            c->at_end = c->truncated = false;
            c->error = -fd;
            return;
        }
        c->fd = fd;
    }
    weir_file_read(c);
}

/* In one of libuv's threads. */
static void on_work(uv_work_t *work)
{
    struct weir_tail *t = WEIR_LIST_ENTRY(work, struct weir_tail, work);
    weir_handover_take(&t->handover);
    read_chunk(t, &t->chunk);
    weir_handover_give(&t->handover);
}

static void on_done(uv_work_t *work, int status)
{
    struct weir_tail *t = WEIR_LIST_ENTRY(work, struct weir_tail, work);
    (void)status; /* it is never cancelled */
    weir_file_threads_end();
    weir_handover_take(&t->handover);
    weir_free(t->job_path);
    t->job_path = NULL;
    t->fd = t->chunk.fd;
    t->head = t->chunk.error == 0 && !t->chunk.truncated ? t->chunk.head : t->head;
    t->read_ns = weir_worker_now(worker_of(t));
    t->done(t);
}

int weir_tail_read(struct weir_tail *t, void (*done)(struct weir_tail *t))
{
    char *room = weir_intake_room(&t->intake, CHUNK), *path = t->fd < 0 ? weir_strdup(t->path) : NULL;
    if (room == NULL || (t->fd < 0 && path == NULL)) {
        weir_free(path);
        return WEIR_E_NOMEM;
    }
    t->job_path = path;
    t->done = done;
    t->chunk = (struct weir_file_chunk){.fd = t->fd,
                                        .offset = t->intake.offset + weir_intake_pending(&t->intake),
                                        .data = room,
                                        .room = CHUNK,
                                        .head = t->head};
    t->state = WEIR_TAIL_READING;
    t->again = false;
    t->checked = t->gone || t->next != NULL;
    weir_handover_give(&t->handover);
    weir_file_threads_begin();
    uv_queue_work(&worker_of(t)->loop, &t->work, on_work, on_done); /* fails only without a function */
    return WEIR_OK;
}

/* ---- the position ---- */

static bool grow_ring(struct weir_tail *t)
{
    size_t room = t->sent_room == 0 ? 64 : t->sent_room * 2;
    struct weir_tail_sent *grown = weir_malloc(room * sizeof *grown);
    if (grown == NULL)
        return false;
    for (size_t i = 0; i < t->sent_count; i++)
        grown[i] = t->sent[(t->sent_first + i) % t->sent_room];
    weir_free(t->sent);
    t->sent = grown;
    t->sent_first = 0;
    t->sent_room = room;
    return true;
}

void weir_tail_note_sent(struct weir_tail *t, struct weir_value value, uint64_t end)
{
    if (!t->tracks || t->lost_track)
        return;
    if (t->sent_count == t->sent_room && !grow_ring(t)) {
        t->lost_track = true;
        return;
    }
    t->sent[(t->sent_first + t->sent_count++) % t->sent_room] =
        (struct weir_tail_sent){.blob = weir_value_ref(value).blob, .end = end};
}

void weir_tail_sweep(struct weir_tail *t, bool (*frozen)(void *arg), void *arg)
{
    while (t->sent_count > 0) {
        struct weir_tail_sent *s = &t->sent[t->sent_first];
        if (atomic_load_explicit(&s->blob->refs, memory_order_acquire) > 1 ||
            frozen(arg)) /* in this order: a drop is seen with its cause */
            return;
        t->ended_to = s->end;
        weir_blob_unref(s->blob);
        t->sent_first = (t->sent_first + 1) % t->sent_room;
        t->sent_count--;
    }
}

uint64_t weir_tail_position(const struct weir_tail *t)
{
    bool all = t->sent_count == 0 && !t->lost_track && !weir_feed_waiting(&t->intake.feed);
    return all ? t->intake.offset : t->ended_to;
}

void weir_tail_restart(struct weir_tail *t)
{
    forget_sent(t);
    weir_intake_reset(&t->intake, 0);
    t->head.len = 0;
    t->ended_to = 0;
    t->truncated = false;
    t->lost_track = false;
}
