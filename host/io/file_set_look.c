/* Which files there are: compared with what was known, and what rotation has done found out. */
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "io/file_set_inner.h"
#include "io/file_threads.h"

static const uint64_t soon_ns = 5 * WEIR_NS_PER_MS;

static struct weir_file_set *set_of(const struct weir_tail *t)
{
    return t->owner;
}

static void mark_gone(struct weir_file_set *s, struct weir_tail *t)
{
    if (t->gone)
        return;
    t->gone = true;
    t->gone_ns = weir_file_set_worker(s)->now_ns;
    atomic_fetch_add_explicit(&s->totals->rotated, 1, memory_order_relaxed);
    weir_file_set_wake(t);
}

/* A file that was not there before. Under the name of another it is that one's successor. */
static void meet(struct weir_file_set *s, const struct weir_file_seen *seen)
{
    struct weir_tail *before = weir_file_set_find_named(s, seen->path), *t = weir_file_set_add(s, seen, 0);
    if (t == NULL)
        return;
    weir_file_watch_folder_of(s->watch, t->path);
    if (before == NULL) {
        weir_file_set_make_ready(t);
        return;
    }
    weir_file_set_hold(t, before, true); /* its order is kept */
    weir_file_set_wake(before);
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
        weir_file_set_wake(t);
    t->size = seen->size;
    t->changed_ns = seen->changed_ns;
}

static void compare(struct weir_file_set *s, const struct weir_file_list *list)
{
    s->look_number++;
    for (size_t i = 0; i < list->count; i++) /* new ones first, while the others have their old names */
        if (weir_file_set_find(s, list->files[i].dev, list->files[i].ino) == NULL)
            meet(s, &list->files[i]);
    for (size_t i = 0; i < list->count; i++) {
        const struct weir_file_seen *seen = &list->files[i];
        struct weir_tail *t = weir_file_set_find(s, seen->dev, seen->ino);
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
        weir_file_set_wake(t);
    }
    weir_file_set_schedule(s);
}

static void on_look_work(uv_work_t *work)
{
    struct weir_file_set *s = WEIR_LIST_ENTRY(work, struct weir_file_set, look);
    weir_handover_take(&s->handover);
    s->look_error = weir_file_list_fill(&s->list, s->settings->patterns, s->settings->pattern_count);
    weir_handover_give(&s->handover);
}

static void look_at(struct weir_file_set *s, uint64_t due_ns)
{
    if (!s->stopped && weir_timer_set(weir_file_set_worker(s), &s->look_timer, due_ns) < 0)
        weir_file_set_say(WEIR_LOG_ERROR, s, s->settings->patterns[0],
                          "no memory for a timer: changes of its folder are not looked for");
}

static void on_look_done(uv_work_t *work, int status)
{
    struct weir_file_set *s = WEIR_LIST_ENTRY(work, struct weir_file_set, look);
    weir_handover_take(&s->handover);
    (void)status; /* it is never cancelled */
    weir_file_threads_end();
    uint64_t now = weir_worker_now(weir_file_set_worker(s));
    s->looking = false;
    if (!s->stopped && s->look_error == WEIR_OK) /* no memory: as if it had not been looked */
        compare(s, &s->list);
    weir_file_list_fini(&s->list);
    look_at(s, s->look_again ? now + soon_ns : now + s->settings->poll_ns);
    s->look_again = false;
}

void weir_file_set_look(struct weir_file_set *s)
{
    if (s->looking) {
        s->look_again = true;
        return;
    }
    s->looking = true;
    weir_handover_give(&s->handover);
    weir_file_threads_begin();
    uv_queue_work(&weir_file_set_worker(s)->loop, &s->look, on_look_work,
                  on_look_done); /* fails only without a function */
}

void weir_file_set_on_look_timer(struct weir_timer *t)
{
    weir_file_set_look(WEIR_LIST_ENTRY(t, struct weir_file_set, look_timer));
}

/* inotify's word: `path` has changed; NULL: names have. */
void weir_file_set_on_change(void *arg, const char *path)
{
    struct weir_file_set *s = arg;
    if (s->stopped)
        return;
    uint64_t now = weir_worker_now(weir_file_set_worker(s));
    if (path == NULL) {
        if (s->looking)
            s->look_again = true;
        else if (s->look_timer.slot == 0 || s->look_timer.due_ns > now + soon_ns)
            look_at(s, now + soon_ns);
        return;
    }
    struct weir_tail *t = weir_file_set_find_named(s, path);
    if (t == NULL)
        return;
    weir_file_set_wake(t);
    weir_file_set_schedule(s);
}
