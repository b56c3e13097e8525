/* How far the files have been read: kept in a state file, see io/file_tail.h for what a position is. */
#include "base/clock.h"
#include "io/file_set_inner.h"

static bool is_worth_keeping(const struct weir_file_set *s, const struct weir_tail *t)
{
    return s->settings->whole || t->state != WEIR_TAIL_ENDED || t->sent_count > 0;
}

/* Sweeps all; whether any position has moved. Tails whose events have all ended are removed with their last
 * one. */
static bool move_positions(struct weir_file_set *s)
{
    bool moved = s->unsaved;
    WEIR_LIST_EACH(node, following, &s->tails)
    {
        struct weir_tail *t = WEIR_LIST_ENTRY(node, struct weir_tail, node);
        weir_tail_sweep(t, weir_file_set_is_frozen, s);
        moved = moved || weir_tail_position(t) != t->saved;
        if (!is_worth_keeping(s, t)) {
            weir_file_set_remove(s, t);
            moved = true;
        }
    }
    return moved;
}

void weir_file_set_save(struct weir_file_set *s)
{
    struct weir_strbuf *text = weir_file_saver_begin(s->saver);
    if (text == NULL || !move_positions(s)) /* NULL: it writes still */
        return;
    weir_file_state_begin(text);
    WEIR_LIST_EACH(node, following, &s->tails)
    {
        struct weir_tail *t = WEIR_LIST_ENTRY(node, struct weir_tail, node);
        t->saved = weir_tail_position(t);
        weir_file_state_add(
            text, &(struct weir_file_position){
                      .path = t->path, .dev = t->dev, .ino = t->ino, .offset = t->saved, .head = t->head});
    }
    s->unsaved = text->failed;
    weir_file_saver_write(s->saver, weir_file_set_worker(s));
}

void weir_file_set_on_save_timer(struct weir_timer *t)
{
    struct weir_file_set *s = WEIR_LIST_ENTRY(t, struct weir_file_set, save_timer);
    weir_file_set_save(s);
    (void)weir_timer_set(weir_file_set_worker(s), t,
                         weir_file_set_worker(s)->now_ns +
                             (uint64_t)WEIR_FILE_SET_SAVE_MS *
                                 WEIR_NS_PER_MS); /* its slot in the heap was just given free */
}

/* A write has ended. The one that was under way at the close is followed by the last. */
void weir_file_set_on_saved(void *arg, int error)
{
    struct weir_file_set *s = arg;
    if (error != 0)
        s->unsaved = true;
    if (s->closed && s->unsaved && error == 0)
        weir_file_set_save(s);
}
