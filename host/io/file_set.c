#include "io/file_set.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "core/graph.h"
#include "core/stage.h"
#include "io/file_set_inner.h"
#include "io/source_value.h"

enum { READS_MAX = 2 /* at once: libuv has four threads for all */ };

static struct weir_file_set *set_of(const struct weir_tail *t)
{
    return t->owner;
}

void weir_file_set_say(enum weir_log_level level, const struct weir_file_set *s, const char *path,
                       const char *what)
{
    weir_log(level, "file", NULL, "stage '%s': %s: %s", s->seat->stage->name, path, what);
}

static void count(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

static void publish_open(struct weir_file_set *s)
{
    atomic_store_explicit(&s->totals->open, s->open, memory_order_relaxed);
}

/* ---- the tails ---- */

static struct weir_list *bucket_of(struct weir_file_set *s, uint64_t ino)
{
    return &s->buckets[ino % WEIR_FILE_SET_BUCKETS];
}

/* One that has ended is another file, should its number be given anew. */
struct weir_tail *weir_file_set_find(struct weir_file_set *s, uint64_t dev, uint64_t ino)
{
    struct weir_list *bucket = bucket_of(s, ino);
    WEIR_LIST_EACH(node, following, bucket)
    {
        struct weir_tail *t = WEIR_LIST_ENTRY(node, struct weir_tail, hash);
        if (t->ino == ino && t->dev == dev && t->state != WEIR_TAIL_ENDED)
            return t;
    }
    return NULL;
}

/* The newest of those that have, or had, that name. */
struct weir_tail *weir_file_set_find_named(struct weir_file_set *s, const char *path)
{
    struct weir_tail *found = NULL;
    WEIR_LIST_EACH(node, following, &s->tails)
    {
        struct weir_tail *t = WEIR_LIST_ENTRY(node, struct weir_tail, node);
        if (t->state != WEIR_TAIL_ENDED && strcmp(t->path, path) == 0)
            found = t;
    }
    return found;
}

static void on_flush(struct weir_timer *timer);
static const struct weir_intake_ops intake_ops;

struct weir_tail *weir_file_set_add(struct weir_file_set *s, const struct weir_file_seen *seen,
                                    uint64_t offset)
{
    struct weir_tail *t = weir_tail_create(seen, offset, &intake_ops, &s->totals->intake, s->seat,
                                           &s->settings->framing, s->saver != NULL);
    if (t == NULL) {
        weir_file_set_say(WEIR_LOG_ERROR, s, seen->path, "no memory to read it; it is tried again");
        return NULL;
    }
    t->owner = s;
    t->seen = s->look_number;
    t->flush.fire = on_flush;
    weir_list_append(&s->tails, &t->node);
    weir_list_append(bucket_of(s, t->ino), &t->hash);
    count(&s->totals->files, 1);
    s->unsaved = true;
    return t;
}

void weir_file_set_remove(struct weir_file_set *s, struct weir_tail *t)
{
    weir_intake_stop(&t->intake);
    weir_timer_unset(weir_file_set_worker(s), &t->flush);
    s->open -= t->fd >= 0;
    publish_open(s);
    atomic_fetch_sub_explicit(&s->totals->files, 1, memory_order_relaxed);
    s->unsaved = true;
    weir_tail_destroy(t);
}

static void close_file(struct weir_file_set *s, struct weir_tail *t)
{
    if (t->fd < 0)
        return;
    close(t->fd); /* of a file that was only read: nothing that waits for a disk */
    t->fd = -1;
    s->open--;
    publish_open(s);
}

/* ---- whose turn it is ---- */

void weir_file_set_make_ready(struct weir_tail *t)
{
    struct weir_file_set *s = set_of(t);
    weir_timer_unset(weir_file_set_worker(s), &t->flush);
    t->state = WEIR_TAIL_READY;
    weir_list_append(&s->ready, &t->ready);
}

/* There may be more to read of it. */
void weir_file_set_wake(struct weir_tail *t)
{
    if (t->state == WEIR_TAIL_IDLE)
        weir_file_set_make_ready(t);
    else if (t->state == WEIR_TAIL_READING || t->state == WEIR_TAIL_SENDING)
        t->again = true;
}

void weir_file_set_hold(struct weir_tail *t, struct weir_tail *before, bool stream)
{
    if (stream)
        t->intake.feed.source = before->intake.feed.source;
    t->state = WEIR_TAIL_HELD;
    before->next = t;
}

/* Makes room for one more open file: of those at their end, the one that was read longest ago is closed. */
static bool may_open(struct weir_file_set *s)
{
    struct weir_tail *oldest = NULL;
    if (s->open < s->settings->max_open)
        return true;
    WEIR_LIST_EACH(node, following, &s->tails)
    {
        struct weir_tail *t = WEIR_LIST_ENTRY(node, struct weir_tail, node);
        if (t->state == WEIR_TAIL_IDLE && t->fd >= 0 && !t->gone &&
            (oldest == NULL || t->read_ns < oldest->read_ns))
            oldest = t;
    }
    if (oldest != NULL)
        close_file(s, oldest);
    return oldest != NULL;
}

static struct weir_tail *next_ready(struct weir_file_set *s)
{
    bool asked = false, room = false;
    WEIR_LIST_EACH(node, following, &s->ready)
    {
        struct weir_tail *t = WEIR_LIST_ENTRY(node, struct weir_tail, ready);
        if (t->fd < 0 && !asked) {
            room = may_open(s);
            asked = true;
        }
        if (t->fd >= 0 || room)
            return t;
    }
    return NULL;
}

static void on_read(struct weir_tail *t);

void weir_file_set_schedule(struct weir_file_set *s)
{
    while (s->reads < READS_MAX && !s->stopped) {
        struct weir_tail *t = next_ready(s);
        if (t == NULL)
            return;
        bool opens = t->fd < 0;
        weir_list_remove(&t->ready);
        if (weir_tail_read(t, on_read) < 0) {
            t->state = WEIR_TAIL_IDLE; /* the next look wakes it */
            t->size = UINT64_MAX;
            return;
        }
        s->reads++;
        s->open += opens;
        publish_open(s);
    }
}

/* ---- what became of a read ---- */

static void release(struct weir_tail *t)
{
    struct weir_tail *next = t->next;
    t->next = NULL;
    if (next != NULL && next->state == WEIR_TAIL_HELD)
        weir_file_set_make_ready(next);
}

static void check_done(struct weir_file_set *s)
{
    if (!s->settings->whole || s->done || s->stopped)
        return;
    WEIR_LIST_EACH(node, following, &s->tails)
    {
        if (WEIR_LIST_ENTRY(node, struct weir_tail, node)->state != WEIR_TAIL_ENDED)
            return;
    }
    s->done = true;
    if (s->settings->stop_when_done)
        weir_graph_end(s->seat->stage->graph);
}

/* All of it is sent. It is kept while its position matters; it may be freed when this returns. */
static void end(struct weir_tail *t)
{
    struct weir_file_set *s = set_of(t);
    t->state = WEIR_TAIL_ENDED;
    weir_timer_unset(weir_file_set_worker(s), &t->flush);
    close_file(s, t);
    release(t);
    weir_intake_rest(&t->intake);
    if (s->saver == NULL && !s->settings->whole)
        weir_file_set_remove(s, t);
    check_done(s);
}

static void rest(struct weir_tail *t)
{
    struct weir_file_set *s = set_of(t);
    uint64_t flush = s->settings->flush_after_ns;
    t->state = WEIR_TAIL_IDLE;
    weir_intake_rest(&t->intake);
    if (flush > 0 && weir_intake_pending(&t->intake) > 0)
        (void)weir_timer_set(weir_file_set_worker(s), &t->flush,
                             t->grown_ns + flush); /* no memory: the line waits for its end */
}

/* It has been read to its end, and what was read is sent. */
static void at_end(struct weir_tail *t)
{
    struct weir_file_set *s = set_of(t);
    bool left = t->gone || t->next != NULL;
    if (s->settings->whole) {
        weir_intake_end(&t->intake);
    } else if (left && !t->checked) {
        weir_file_set_make_ready(t); /* something may have been added before it was moved */
    } else if (t->gone && weir_file_set_worker(s)->now_ns - t->gone_ns >= s->settings->rotate_wait_ns) {
        weir_intake_end(&t->intake);
    } else {
        if (left)
            release(t);
        rest(t);
    }
}

static void on_hungry(struct weir_intake *in)
{
    struct weir_tail *t = weir_tail_of(in);
    struct weir_file_set *s = set_of(t);
    if (in->last) {
        end(t);
    } else if (t->truncated) {
        weir_tail_restart(t);
        weir_file_set_make_ready(t);
    } else if (!t->chunk.at_end || t->again) {
        weir_file_set_make_ready(t);
    } else {
        at_end(t);
    }
    weir_file_set_schedule(s);
}

static void on_error(struct weir_file_set *s, struct weir_tail *t)
{
    int error = t->chunk.error;
    bool lost = error == ENOENT && t->fd < 0;
    if (t->error != error && !(lost && t->gone)) {
        count(&s->totals->errors, 1);
        weir_file_set_say(WEIR_LOG_WARN, s, t->path, strerror(error));
    }
    t->error = error;
    t->state = WEIR_TAIL_IDLE;
    t->size = UINT64_MAX; /* the next look tries again */
    if ((lost && t->gone) || s->settings->whole) {
        t->state = WEIR_TAIL_SENDING;
        weir_intake_end(&t->intake);
    }
}

static void on_read(struct weir_tail *t)
{
    struct weir_file_set *s = set_of(t);
    struct weir_file_chunk *c = &t->chunk;
    s->reads--;
    if (t->fd < 0)
        s->open--;
    publish_open(s);
    if (s->closed) {
        t->state = WEIR_TAIL_IDLE;
        return;
    }
    if (s->stopped) { /* what was read stays unsent: it is read again, if positions are kept */
        t->state = WEIR_TAIL_IDLE;
        return;
    }
    if (c->error != 0) {
        on_error(s, t);
    } else if (c->truncated) {
        weir_file_set_say(WEIR_LOG_INFO, s, t->path, "it was written anew: reading it from its beginning");
        count(&s->totals->truncated, 1);
        t->truncated = true;
        t->state = WEIR_TAIL_SENDING;
        weir_intake_flush(&t->intake);
    } else {
        t->error = 0;
        if (c->len > 0)
            t->grown_ns = weir_file_set_worker(s)->now_ns;
        t->state = WEIR_TAIL_SENDING;
        weir_intake_filled(&t->intake, c->len);
    }
    weir_file_set_schedule(s);
}

static void on_flush(struct weir_timer *timer)
{
    struct weir_tail *t = WEIR_LIST_ENTRY(timer, struct weir_tail, flush);
    if (t->state != WEIR_TAIL_IDLE || set_of(t)->stopped)
        return;
    t->state = WEIR_TAIL_SENDING;
    weir_intake_flush(&t->intake);
}

static bool make_value(struct weir_intake *in, const struct weir_cut_frame *frame, uint64_t offset,
                       struct weir_value *ret)
{
    const struct weir_tail *t = weir_tail_of(in);
    if (set_of(t)->settings->with_path)
        return weir_source_value_line(t->path, frame->data, frame->len, offset, ret);
    return weir_source_value_string(frame->data, frame->len, ret);
}

/* When the host does not finish what is in flight, events are dropped: they have ended, but were not handled.
 */
bool weir_file_set_is_frozen(void *arg)
{
    const struct weir_file_set *s = arg;
    const struct weir_port *port = &s->seat->stage->ports[0];
    return port->edge_count > 0 &&
           atomic_load_explicit(&port->edges[0].target->queue.closed, memory_order_relaxed);
}

static void on_sent(struct weir_intake *in, struct weir_value value, uint64_t end)
{
    struct weir_tail *t = weir_tail_of(in);
    weir_tail_sweep(t, weir_file_set_is_frozen, t->owner);
    weir_tail_note_sent(t, value, end);
}

static const struct weir_intake_ops intake_ops = {.make = make_value, .sent = on_sent, .hungry = on_hungry};

/* ---- beginning and end ---- */

int weir_file_set_create(const struct weir_file_settings *settings, struct weir_file_totals *totals,
                         struct weir_seat *seat, struct weir_file_set **ret, struct weir_err *reterr)
{
    struct weir_file_set *s = weir_calloc(1, sizeof *s);
    if (s == NULL)
        return weir_err_set(reterr, WEIR_E_NOMEM, "stage '%s': out of memory", seat->stage->name);
    s->settings = settings;
    s->totals = totals;
    s->seat = seat;
    s->look_timer.fire = weir_file_set_on_look_timer;
    s->save_timer.fire = weir_file_set_on_save_timer;
    weir_list_init(&s->tails);
    weir_list_init(&s->ready);
    for (size_t i = 0; i < WEIR_FILE_SET_BUCKETS; i++)
        weir_list_init(&s->buckets[i]);
    s->watch = settings->whole ? NULL : weir_file_watch_create(seat->worker, weir_file_set_on_change, s);
    s->saver = settings->state == NULL
                   ? NULL
                   : weir_file_saver_create(settings->state, seat->stage->name, weir_file_set_on_saved, s);
    if ((s->watch == NULL && !settings->whole) || (s->saver == NULL && settings->state != NULL)) {
        weir_file_set_destroy(s);
        return weir_err_set(reterr, WEIR_E_NOMEM, "stage '%s': out of memory", seat->stage->name);
    }
    *ret = s;
    return WEIR_OK;
}

static const struct weir_file_position *kept_for(const struct weir_file_state *kept,
                                                 const struct weir_file_seen *seen)
{
    for (size_t i = 0; i < kept->count; i++)
        if (kept->positions[i].ino == seen->ino && kept->positions[i].dev == seen->dev)
            return &kept->positions[i];
    return NULL;
}

/* Files that were read when the host ran last and have lost their names since: what is left of them comes
 * first. */
static bool begin_lost(struct weir_file_set *s, const struct weir_file_list *found,
                       const struct weir_file_state *kept)
{
    for (size_t i = 0; i < kept->count; i++) {
        const struct weir_file_position *p = &kept->positions[i];
        bool there = false;
        for (size_t k = 0; k < found->count && !there; k++)
            there = found->files[k].ino == p->ino && found->files[k].dev == p->dev;
        if (there)
            continue;
        struct weir_tail *t = weir_file_set_add(
            s, &(struct weir_file_seen){.path = p->path, .dev = p->dev, .ino = p->ino}, p->offset);
        if (t == NULL)
            return false;
        t->head = p->head;
        t->gone = true;
        t->gone_ns = weir_file_set_worker(s)->now_ns;
        weir_file_set_make_ready(t);
    }
    return true;
}

static bool begin_found(struct weir_file_set *s, const struct weir_file_seen *seen,
                        const struct weir_file_state *kept, bool had_state)
{
    const struct weir_file_position *p = kept_for(kept, seen);
    struct weir_tail *before = s->settings->whole ? NULL : weir_file_set_find_named(s, seen->path);
    struct weir_tail *last =
        weir_list_empty(&s->tails) ? NULL : WEIR_LIST_ENTRY(s->tails.prev, struct weir_tail, node);
    if (weir_file_set_find(s, seen->dev, seen->ino) != NULL)
        return true; /* a second name of it */
    uint64_t offset = p != NULL                                                    ? p->offset
                      : s->settings->from_end && !had_state && !s->settings->whole ? seen->size
                                                                                   : 0;
    struct weir_tail *t = weir_file_set_add(s, seen, offset);
    if (t == NULL)
        return false;
    if (p != NULL)
        t->head = p->head;
    if (s->settings->whole)
        before = last; /* one after the other */
    else
        weir_file_watch_folder_of(s->watch, t->path);
    if (before == NULL) {
        weir_file_set_make_ready(t);
        return true;
    }
    weir_file_set_hold(t, before, !s->settings->whole);
    return true;
}

int weir_file_set_start(struct weir_file_set *s, const struct weir_file_list *found,
                        const struct weir_file_state *kept, bool had_state, struct weir_err *reterr)
{
    uint64_t now = weir_worker_now(weir_file_set_worker(s));
    bool ok = s->settings->whole || begin_lost(s, found, kept);
    for (size_t i = 0; i < found->count && ok; i++)
        ok = begin_found(s, &found->files[i], kept, had_state);
    for (size_t i = 0; i < s->settings->pattern_count && !s->settings->whole; i++)
        weir_file_watch_folder_of(s->watch, s->settings->patterns[i]);
    if (ok && s->saver != NULL)
        ok = weir_timer_set(weir_file_set_worker(s), &s->save_timer,
                            now + (uint64_t)WEIR_FILE_SET_SAVE_MS * WEIR_NS_PER_MS) == WEIR_OK;
    if (!ok)
        return weir_err_set(reterr, WEIR_E_NOMEM, "stage '%s': out of memory", s->seat->stage->name);
    if (!s->settings->whole)
        weir_file_set_look(s); /* something may have changed since the first look, when nobody watched */
    weir_file_set_schedule(s);
    check_done(s);
    return WEIR_OK;
}

void weir_file_set_stop(struct weir_file_set *s)
{
    if (s->stopped)
        return;
    s->stopped = true;
    weir_timer_unset(weir_file_set_worker(s), &s->look_timer);
    WEIR_LIST_EACH(node, following, &s->tails)
    {
        struct weir_tail *t = WEIR_LIST_ENTRY(node, struct weir_tail, node);
        weir_intake_stop(&t->intake);
        weir_timer_unset(weir_file_set_worker(s), &t->flush);
    }
}

bool weir_file_set_idle(const struct weir_file_set *s)
{
    if (!s->stopped)
        return false;
    WEIR_LIST_EACH(node, following, &s->tails)
    {
        if (weir_feed_waiting(&WEIR_LIST_ENTRY(node, struct weir_tail, node)->intake.feed))
            return false;
    }
    return true;
}

void weir_file_set_close(struct weir_file_set *s)
{
    if (s->closed)
        return;
    weir_file_set_stop(s);
    s->closed = true;
    weir_timer_unset(weir_file_set_worker(s), &s->save_timer);
    weir_file_watch_close(s->watch);
    if (s->saver == NULL)
        return;
    s->unsaved = true; /* a write that is under way may not have the last of it */
    weir_file_set_save(s);
}

void weir_file_set_destroy(struct weir_file_set *s)
{
    if (s == NULL)
        return;
    struct weir_list *node;
    while ((node = s->tails.next) != &s->tails)
        weir_tail_destroy(WEIR_LIST_ENTRY(node, struct weir_tail, node));
    weir_file_watch_destroy(s->watch);
    weir_file_saver_destroy(s->saver);
    weir_file_list_fini(&s->list);
    weir_free(s);
}
