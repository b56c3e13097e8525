#include "io/file_set.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "core/graph.h"
#include "core/seat.h"
#include "core/stage.h"
#include "io/file_saver.h"
#include "io/file_tail.h"
#include "io/file_watch.h"
#include "io/source_value.h"

enum {
    BUCKETS = 1024,
    READS_MAX = 2, /* at once: libuv has four threads for all */
};
static const uint64_t soon_ns = 5 * WEIR_NS_PER_MS, save_ns = WEIR_NS_PER_S;

/* All fields belong to the worker once it runs, but `list` while a look is under way. */
struct weir_file_set {
    const struct weir_file_settings *settings; /* [const] */
    struct weir_file_totals *totals;           /* [const] */
    struct weir_seat *seat;                    /* [const] */
    struct weir_list tails;                    /* oldest first */
    struct weir_list buckets[BUCKETS];
    struct weir_list ready;
    size_t reads, open;
    uint64_t look_number;
    uv_work_t look;
    struct weir_file_list list;
    int look_error;
    bool looking, look_again;
    struct weir_timer look_timer, save_timer;
    struct weir_file_watch *watch;
    struct weir_file_saver *saver; /* NULL: no state is kept */
    size_t saved_count;            /* of tails, when the state was written last */
    bool unsaved;                  /* something was added or removed since */
    bool stopped, closed, done;
};

static struct weir_file_set *set_of(const struct weir_tail *t)
{
    return t->owner;
}

static struct weir_worker *worker_of(const struct weir_file_set *s)
{
    return s->seat->worker;
}

static void say(enum weir_log_level level, const struct weir_file_set *s, const char *path, const char *what)
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
    return &s->buckets[ino % BUCKETS];
}

/* One that has ended is another file, should its number be given anew. */
static struct weir_tail *find(struct weir_file_set *s, uint64_t dev, uint64_t ino)
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
static struct weir_tail *find_named(struct weir_file_set *s, const char *path)
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

static struct weir_tail *add(struct weir_file_set *s, const struct weir_file_seen *seen, uint64_t offset)
{
    struct weir_tail *t = weir_tail_create(seen, offset, &intake_ops, &s->totals->intake, s->seat, &s->settings->framing, s->saver != NULL);
    if (t == NULL) {
        say(WEIR_LOG_ERROR, s, seen->path, "no memory to read it; it is tried again");
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

static void remove_tail(struct weir_file_set *s, struct weir_tail *t)
{
    weir_intake_stop(&t->intake);
    weir_timer_unset(worker_of(s), &t->flush);
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

static void make_ready(struct weir_tail *t)
{
    struct weir_file_set *s = set_of(t);
    weir_timer_unset(worker_of(s), &t->flush);
    t->state = WEIR_TAIL_READY;
    weir_list_append(&s->ready, &t->ready);
}

/* There may be more to read of it. */
static void wake(struct weir_tail *t)
{
    if (t->state == WEIR_TAIL_IDLE)
        make_ready(t);
    else if (t->state == WEIR_TAIL_READING || t->state == WEIR_TAIL_SENDING)
        t->again = true;
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
        if (t->state == WEIR_TAIL_IDLE && t->fd >= 0 && !t->gone && (oldest == NULL || t->read_ns < oldest->read_ns))
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

static void schedule(struct weir_file_set *s)
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
        make_ready(next);
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
    weir_timer_unset(worker_of(s), &t->flush);
    close_file(s, t);
    release(t);
    weir_intake_rest(&t->intake);
    if (s->saver == NULL && !s->settings->whole)
        remove_tail(s, t);
    check_done(s);
}

static void rest(struct weir_tail *t)
{
    struct weir_file_set *s = set_of(t);
    uint64_t flush = s->settings->flush_after_ns;
    t->state = WEIR_TAIL_IDLE;
    weir_intake_rest(&t->intake);
    if (flush > 0 && weir_intake_pending(&t->intake) > 0)
        (void)weir_timer_set(worker_of(s), &t->flush, t->grown_ns + flush); /* no memory: the line waits for its end */
}

/* It has been read to its end, and what was read is sent. */
static void at_end(struct weir_tail *t)
{
    struct weir_file_set *s = set_of(t);
    bool left = t->gone || t->next != NULL;
    if (s->settings->whole) {
        weir_intake_end(&t->intake);
    } else if (left && !t->checked) {
        make_ready(t); /* something may have been added before it was moved */
    } else if (t->gone && worker_of(s)->now_ns - t->gone_ns >= s->settings->rotate_wait_ns) {
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
        make_ready(t);
    } else if (!t->chunk.at_end || t->again) {
        make_ready(t);
    } else {
        at_end(t);
    }
    schedule(s);
}

static void on_error(struct weir_file_set *s, struct weir_tail *t)
{
    int error = t->chunk.error;
    bool lost = error == ENOENT && t->fd < 0;
    if (t->error != error && !(lost && t->gone)) {
        count(&s->totals->errors, 1);
        say(WEIR_LOG_WARN, s, t->path, strerror(error));
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
        say(WEIR_LOG_INFO, s, t->path, "it was written anew: reading it from its beginning");
        count(&s->totals->truncated, 1);
        t->truncated = true;
        t->state = WEIR_TAIL_SENDING;
        weir_intake_flush(&t->intake);
    } else {
        t->error = 0;
        if (c->len > 0)
            t->grown_ns = worker_of(s)->now_ns;
        t->state = WEIR_TAIL_SENDING;
        weir_intake_filled(&t->intake, c->len);
    }
    schedule(s);
}

static void on_flush(struct weir_timer *timer)
{
    struct weir_tail *t = WEIR_LIST_ENTRY(timer, struct weir_tail, flush);
    if (t->state != WEIR_TAIL_IDLE || set_of(t)->stopped)
        return;
    t->state = WEIR_TAIL_SENDING;
    weir_intake_flush(&t->intake);
}

static bool make_value(struct weir_intake *in, const struct weir_cut_frame *frame, uint64_t offset, struct weir_value *ret)
{
    const struct weir_tail *t = weir_tail_of(in);
    if (set_of(t)->settings->with_path)
        return weir_source_value_line(t->path, frame->data, frame->len, offset, ret);
    return weir_source_value_string(frame->data, frame->len, ret);
}

/* When the host does not finish what is in flight, events are dropped: they have ended, but were not handled. */
static bool is_frozen(void *arg)
{
    const struct weir_file_set *s = arg;
    const struct weir_port *port = &s->seat->stage->ports[0];
    return port->edge_count > 0 && atomic_load_explicit(&port->edges[0].target->queue.closed, memory_order_relaxed);
}

static void on_sent(struct weir_intake *in, struct weir_value value, uint64_t end)
{
    struct weir_tail *t = weir_tail_of(in);
    weir_tail_sweep(t, is_frozen, t->owner);
    weir_tail_note_sent(t, value, end);
}

static const struct weir_intake_ops intake_ops = {.make = make_value, .sent = on_sent, .hungry = on_hungry};

/* ---- looking ---- */

static void mark_gone(struct weir_file_set *s, struct weir_tail *t)
{
    if (t->gone)
        return;
    t->gone = true;
    t->gone_ns = worker_of(s)->now_ns;
    count(&s->totals->rotated, 1);
    wake(t);
}

/* A file that was not there before. Under the name of another it is that one's successor. */
static void meet(struct weir_file_set *s, const struct weir_file_seen *seen)
{
    struct weir_tail *before = find_named(s, seen->path), *t = add(s, seen, 0);
    if (t == NULL)
        return;
    weir_file_watch_folder_of(s->watch, t->path);
    if (before == NULL) {
        make_ready(t);
        return;
    }
    t->intake.feed.source = before->intake.feed.source; /* one stream to those behind: its order is kept */
    t->state = WEIR_TAIL_HELD;
    before->next = t;
    wake(before);
}

static void rename_tail(struct weir_tail *t, const char *path)
{
    char *copy = weir_strdup(path);
    if (copy == NULL)
        return; /* the next look tries again */
    weir_free(t->path);
    t->path = copy;
    set_of(t)->unsaved = true;
}

static void note_size(struct weir_tail *t, const struct weir_file_seen *seen)
{
    if (t->size != seen->size || t->changed_ns != seen->changed_ns)
        wake(t);
    t->size = seen->size;
    t->changed_ns = seen->changed_ns;
}

static void compare(struct weir_file_set *s, const struct weir_file_list *list)
{
    s->look_number++;
    for (size_t i = 0; i < list->count; i++) /* new ones first, while the others have their old names */
        if (find(s, list->files[i].dev, list->files[i].ino) == NULL)
            meet(s, &list->files[i]);
    for (size_t i = 0; i < list->count; i++) {
        const struct weir_file_seen *seen = &list->files[i];
        struct weir_tail *t = find(s, seen->dev, seen->ino);
        if (t == NULL || (t->seen == s->look_number && strcmp(t->path, seen->path) != 0))
            continue; /* a second name of it */
        t->seen = s->look_number;
        t->gone = false;
        if (strcmp(t->path, seen->path) != 0)
            rename_tail(t, seen->path);
        note_size(t, seen);
    }
    WEIR_LIST_EACH(node, following, &s->tails)
    {
        struct weir_tail *t = WEIR_LIST_ENTRY(node, struct weir_tail, node);
        if (t->state == WEIR_TAIL_ENDED || t->seen == s->look_number)
            continue;
        mark_gone(s, t);
        wake(t);
    }
    schedule(s);
}

static void on_look_work(uv_work_t *work)
{
    struct weir_file_set *s = work->data;
    s->look_error = weir_file_list_fill(&s->list, s->settings->patterns, s->settings->pattern_count);
}

static void look(struct weir_file_set *s);

static void look_at(struct weir_file_set *s, uint64_t due_ns)
{
    if (!s->stopped && weir_timer_set(worker_of(s), &s->look_timer, due_ns) < 0)
        say(WEIR_LOG_ERROR, s, s->settings->patterns[0], "no memory for a timer: changes of its folder are not looked for");
}

static void on_look_done(uv_work_t *work, int status)
{
    struct weir_file_set *s = work->data;
    (void)status; /* it is never cancelled */
    uint64_t now = weir_worker_now(worker_of(s));
    s->looking = false;
    if (!s->stopped && s->look_error == WEIR_OK) /* no memory: as if it had not been looked */
        compare(s, &s->list);
    weir_file_list_fini(&s->list);
    look_at(s, s->look_again ? now + soon_ns : now + s->settings->poll_ns);
    s->look_again = false;
}

static void look(struct weir_file_set *s)
{
    if (s->looking) {
        s->look_again = true;
        return;
    }
    s->looking = true;
    s->look.data = s;
    uv_queue_work(&worker_of(s)->loop, &s->look, on_look_work, on_look_done); /* fails only without a function */
}

static void on_look_timer(struct weir_timer *t)
{
    look(WEIR_LIST_ENTRY(t, struct weir_file_set, look_timer));
}

/* inotify's word: `path` has changed; NULL: names have. */
static void on_change(void *arg, const char *path)
{
    struct weir_file_set *s = arg;
    if (s->stopped)
        return;
    uint64_t now = weir_worker_now(worker_of(s));
    if (path == NULL) {
        if (s->looking)
            s->look_again = true;
        else if (s->look_timer.slot == 0 || s->look_timer.due_ns > now + soon_ns)
            look_at(s, now + soon_ns);
        return;
    }
    struct weir_tail *t = find_named(s, path);
    if (t == NULL)
        return;
    wake(t);
    schedule(s);
}

/* ---- positions ---- */

static bool is_worth_keeping(const struct weir_file_set *s, const struct weir_tail *t)
{
    return s->settings->whole || t->state != WEIR_TAIL_ENDED || t->sent_count > 0;
}

/* Sweeps all; whether any position has moved. Tails whose events have all ended are removed with their last one. */
static bool move_positions(struct weir_file_set *s)
{
    bool moved = s->unsaved;
    WEIR_LIST_EACH(node, following, &s->tails)
    {
        struct weir_tail *t = WEIR_LIST_ENTRY(node, struct weir_tail, node);
        weir_tail_sweep(t, is_frozen, s);
        moved = moved || weir_tail_position(t) != t->saved;
        if (!is_worth_keeping(s, t)) {
            remove_tail(s, t);
            moved = true;
        }
    }
    return moved;
}

static void save(struct weir_file_set *s)
{
    struct weir_strbuf *text = weir_file_saver_begin(s->saver);
    if (text == NULL || !move_positions(s)) /* NULL: it writes still */
        return;
    weir_file_state_begin(text);
    WEIR_LIST_EACH(node, following, &s->tails)
    {
        struct weir_tail *t = WEIR_LIST_ENTRY(node, struct weir_tail, node);
        t->saved = weir_tail_position(t);
        weir_file_state_add(text, &(struct weir_file_position){
                                      .path = t->path, .dev = t->dev, .ino = t->ino, .offset = t->saved, .head = t->head});
    }
    s->unsaved = text->failed;
    weir_file_saver_write(s->saver, worker_of(s));
}

static void on_save_timer(struct weir_timer *t)
{
    struct weir_file_set *s = WEIR_LIST_ENTRY(t, struct weir_file_set, save_timer);
    save(s);
    (void)weir_timer_set(worker_of(s), t, worker_of(s)->now_ns + save_ns); /* its slot in the heap was just given free */
}

/* A write has ended. The one that was under way at the close is followed by the last. */
static void on_saved(void *arg, int error)
{
    struct weir_file_set *s = arg;
    if (error != 0)
        s->unsaved = true;
    if (s->closed && s->unsaved && error == 0)
        save(s);
}

/* ---- beginning and end ---- */

int weir_file_set_create(const struct weir_file_settings *settings, struct weir_file_totals *totals, struct weir_seat *seat,
                         struct weir_file_set **ret, struct weir_err *reterr)
{
    struct weir_file_set *s = weir_calloc(1, sizeof *s);
    if (s == NULL)
        return weir_err_set(reterr, WEIR_E_NOMEM, "stage '%s': out of memory", seat->stage->name);
    s->settings = settings;
    s->totals = totals;
    s->seat = seat;
    s->look_timer.fire = on_look_timer;
    s->save_timer.fire = on_save_timer;
    weir_list_init(&s->tails);
    weir_list_init(&s->ready);
    for (size_t i = 0; i < BUCKETS; i++)
        weir_list_init(&s->buckets[i]);
    s->watch = settings->whole ? NULL : weir_file_watch_create(seat->worker, on_change, s);
    s->saver = settings->state == NULL ? NULL : weir_file_saver_create(settings->state, seat->stage->name, on_saved, s);
    if ((s->watch == NULL && !settings->whole) || (s->saver == NULL && settings->state != NULL)) {
        weir_file_set_destroy(s);
        return weir_err_set(reterr, WEIR_E_NOMEM, "stage '%s': out of memory", seat->stage->name);
    }
    *ret = s;
    return WEIR_OK;
}

static const struct weir_file_position *kept_for(const struct weir_file_state *kept, const struct weir_file_seen *seen)
{
    for (size_t i = 0; i < kept->count; i++)
        if (kept->positions[i].ino == seen->ino && kept->positions[i].dev == seen->dev)
            return &kept->positions[i];
    return NULL;
}

/* Files that were read when the host ran last and have lost their names since: what is left of them comes first. */
static bool begin_lost(struct weir_file_set *s, const struct weir_file_list *found, const struct weir_file_state *kept)
{
    for (size_t i = 0; i < kept->count; i++) {
        const struct weir_file_position *p = &kept->positions[i];
        bool there = false;
        for (size_t k = 0; k < found->count && !there; k++)
            there = found->files[k].ino == p->ino && found->files[k].dev == p->dev;
        if (there)
            continue;
        struct weir_tail *t = add(s, &(struct weir_file_seen){.path = p->path, .dev = p->dev, .ino = p->ino}, p->offset);
        if (t == NULL)
            return false;
        t->head = p->head;
        t->gone = true;
        t->gone_ns = worker_of(s)->now_ns;
        make_ready(t);
    }
    return true;
}

static bool begin_found(struct weir_file_set *s, const struct weir_file_seen *seen, const struct weir_file_state *kept, bool had_state)
{
    const struct weir_file_position *p = kept_for(kept, seen);
    struct weir_tail *before = s->settings->whole ? NULL : find_named(s, seen->path);
    struct weir_tail *last = weir_list_empty(&s->tails) ? NULL : WEIR_LIST_ENTRY(s->tails.prev, struct weir_tail, node);
    if (find(s, seen->dev, seen->ino) != NULL)
        return true; /* a second name of it */
    uint64_t offset = p != NULL ? p->offset : s->settings->from_end && !had_state && !s->settings->whole ? seen->size : 0;
    struct weir_tail *t = add(s, seen, offset);
    if (t == NULL)
        return false;
    if (p != NULL)
        t->head = p->head;
    if (s->settings->whole)
        before = last; /* one after the other */
    else
        weir_file_watch_folder_of(s->watch, t->path);
    if (before == NULL) {
        make_ready(t);
        return true;
    }
    if (!s->settings->whole)
        t->intake.feed.source = before->intake.feed.source;
    t->state = WEIR_TAIL_HELD;
    before->next = t;
    return true;
}

int weir_file_set_start(struct weir_file_set *s, const struct weir_file_list *found, const struct weir_file_state *kept, bool had_state,
                        struct weir_err *reterr)
{
    uint64_t now = weir_worker_now(worker_of(s));
    bool ok = s->settings->whole || begin_lost(s, found, kept);
    for (size_t i = 0; i < found->count && ok; i++)
        ok = begin_found(s, &found->files[i], kept, had_state);
    for (size_t i = 0; i < s->settings->pattern_count && !s->settings->whole; i++)
        weir_file_watch_folder_of(s->watch, s->settings->patterns[i]);
    if (ok && s->saver != NULL)
        ok = weir_timer_set(worker_of(s), &s->save_timer, now + save_ns) == WEIR_OK;
    if (!ok)
        return weir_err_set(reterr, WEIR_E_NOMEM, "stage '%s': out of memory", s->seat->stage->name);
    if (!s->settings->whole)
        look(s); /* something may have changed since the first look, when nobody watched */
    schedule(s);
    check_done(s);
    return WEIR_OK;
}

void weir_file_set_stop(struct weir_file_set *s)
{
    if (s->stopped)
        return;
    s->stopped = true;
    weir_timer_unset(worker_of(s), &s->look_timer);
    WEIR_LIST_EACH(node, following, &s->tails)
    {
        struct weir_tail *t = WEIR_LIST_ENTRY(node, struct weir_tail, node);
        weir_intake_stop(&t->intake);
        weir_timer_unset(worker_of(s), &t->flush);
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
    weir_timer_unset(worker_of(s), &s->save_timer);
    weir_file_watch_close(s->watch);
    if (s->saver == NULL)
        return;
    s->unsaved = true; /* a write that is under way may not have the last of it */
    save(s);
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
