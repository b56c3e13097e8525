/* Sendings from many workers to connections of each of them. */
#include "tcp_fixture.h"

#include <pthread.h>

enum { WORKERS = 4, PEERS = 8, EACH = 3000, TALKERS = WORKERS };

/* Of a worker: sends numbered lines to all peers, a few in each of its turns, as long as there is room. */
struct talker {
    struct rig_task task;
    struct weir_timer again;
    struct weir_worker *w;
    int index, outstanding;
    int next[PEERS]; /* the number of the line that is to be sent */
    struct weir_tcp_sending *waiting[PEERS];
    bool recalls;
    unsigned turn;
    _Atomic bool over;
};

static _Atomic uint64_t ids[PEERS];
static _Atomic int known;
static struct tcp_host host;
static struct talker talkers[TALKERS];

/* Each peer says its number first. */
static enum weir_reason note(struct rig_handler *h, struct weir_event *ev)
{
    struct weir_strbuf text = WEIR_STRBUF_INIT;
    int peer;
    (void)h;
    weir_value_json(ev->value, &text);
    assert_int_equal(sscanf(text.data, "\"peer %d\"", &peer), 1);
    atomic_store(&ids[peer], ev->source);
    atomic_fetch_add(&known, 1);
    weir_strbuf_fini(&text);
    return WEIR_REASON_NONE;
}

static void on_told(struct weir_tcp_sending *s, int rc)
{
    struct talker *k = s->arg;
    for (int p = 0; p < PEERS; p++) {
        if (k->waiting[p] != s)
            continue;
        k->waiting[p] = NULL;
        k->next[p] += rc == WEIR_OK;
        if (rc != WEIR_OK)
            k->next[p] = EACH; /* it has ended */
    }
    k->outstanding--;
    weir_tcp_sending_unref(s);
}

static void talk_to(struct talker *k, int p)
{
    char line[64];
    struct weir_tcp_conn *c = weir_tcp_conn_find(atomic_load(&ids[p]));
    for (int i = 0; i < 20 && k->next[p] < EACH && k->waiting[p] == NULL; i++) {
        int n = snprintf(line, sizeof line, "%d %d", k->index, k->next[p]);
        const struct weir_tcp_send send = {.data = line, .len = (size_t)n, .done = on_told, .arg = k};
        int rc = c != NULL ? weir_tcp_conn_send(c, k->w, &send, &k->waiting[p]) : WEIR_E_CLOSED;
        k->outstanding += rc == WEIR_E_FULL;
        k->next[p] += rc == WEIR_OK;
        if (rc == WEIR_E_CLOSED)
            k->next[p] = EACH;
    }
    if (k->recalls && k->waiting[p] != NULL &&
        k->turn % 3 == 0) { /* sent again, or twice if it was too late */
        weir_tcp_sending_recall(k->waiting[p]);
        k->waiting[p] = NULL;
        k->outstanding--;
    }
    weir_tcp_conn_unref(c);
}

static void talk(struct weir_timer *m)
{
    struct talker *k = WEIR_LIST_ENTRY(m, struct talker, again);
    bool more = false;
    k->turn++;
    for (int p = 0; p < PEERS; p++) {
        talk_to(k, p);
        more |= k->next[p] < EACH;
    }
    if (more || k->outstanding > 0)
        assert_int_equal(weir_timer_set(k->w, &k->again, k->w->now_ns + WEIR_NS_PER_MS), WEIR_OK);
    else
        atomic_store(&k->over, true);
}

static void begin_to_talk(struct rig_task *t, struct weir_worker *w)
{
    struct talker *k = WEIR_LIST_ENTRY(t, struct talker, task);
    k->w = w;
    k->again.fire = talk;
    assert_int_equal(weir_timer_set(w, &k->again, w->now_ns + WEIR_NS_PER_MS), WEIR_OK);
}

struct listening {
    pthread_t thread;
    int fd, index, lines[TALKERS], last[TALKERS];
    bool ends_early, twice;
    const char *wrong;
};

static void hear(struct listening *l, const char *line)
{
    int talker, n;
    if (sscanf(line, "%d %d", &talker, &n) != 2 || talker < 0 || talker >= TALKERS) {
        l->wrong = "a line is cut";
        return;
    }
    if (n != l->last[talker] + 1 && !(l->twice && n == l->last[talker]))
        l->wrong = "lines of a sender are not in their order";
    l->last[talker] = n;
    l->lines[talker]++;
}

static void *listen_to(void *arg)
{
    struct listening *l = arg;
    struct weir_strbuf in = WEIR_STRBUF_INIT;
    char buffer[2048];
    size_t heard = 0;
    for (;;) {
        ssize_t n = recv(l->fd, buffer, sizeof buffer, 0);
        if (n <= 0)
            break;
        weir_strbuf_add(&in, buffer, (size_t)n);
        char *end;
        while ((end = memchr(in.data, '\n', in.len)) != NULL && l->wrong == NULL) {
            *end = '\0';
            hear(l, in.data);
            weir_strbuf_consume(&in, (size_t)(end + 1 - in.data));
        }
        heard += (size_t)n;
        if (l->ends_early && heard > 5000)
            break;
        bool all = true;
        for (int i = 0; i < TALKERS; i++)
            all &= l->last[i] == EACH - 1;
        if (all)
            break;
    }
    weir_strbuf_fini(&in);
    peer_reset(l->fd);
    return NULL;
}

static bool all_known(void *arg)
{
    (void)arg;
    return atomic_load(&known) == PEERS;
}

static bool all_over(void *arg)
{
    (void)arg;
    for (int i = 0; i < TALKERS; i++)
        if (!atomic_load(&talkers[i].over))
            return false;
    return true;
}

static void run(bool recalls, bool ends_early)
{
    static struct listening listening[PEERS];
    atomic_store(&known, 0);
    tcp_open(&host, "send_buffer: 4KiB", WORKERS, note);
    rig_start(host.rig);
    for (int p = 0; p < PEERS; p++) {
        char text[32];
        listening[p] = (struct listening){
            .fd = peer_connect(&host), .index = p, .twice = recalls, .ends_early = ends_early && p % 2 == 0};
        for (int i = 0; i < TALKERS; i++)
            listening[p].last[i] = -1;
        fcntl(listening[p].fd, F_SETFL, 0);
        snprintf(text, sizeof text, "peer %d\n", p);
        peer_says(listening[p].fd, text);
    }
    rig_wait(host.rig, all_known, NULL);
    for (int p = 0; p < PEERS; p++)
        assert_int_equal(pthread_create(&listening[p].thread, NULL, listen_to, &listening[p]), 0);
    for (int i = 0; i < TALKERS; i++) {
        struct weir_pool *pool = &host.rig->g->pools[0];
        talkers[i] = (struct talker){.index = i, .recalls = recalls, .task.run = begin_to_talk};
        rig_run_on(pool->workers[i], &talkers[i].task);
    }
    rig_wait(host.rig, all_over, NULL);
    for (int p = 0; p < PEERS; p++) {
        pthread_join(listening[p].thread, NULL);
        if (listening[p].wrong != NULL)
            fail_msg("peer %d: %s", p, listening[p].wrong);
        for (int i = 0; i < TALKERS && !listening[p].ends_early; i++)
            assert_int_equal(listening[p].last[i], EACH - 1);
        for (int i = 0; i < TALKERS && !recalls && !listening[p].ends_early; i++)
            assert_int_equal(listening[p].lines[i], EACH);
    }
    rig_drain(host.rig);
    rig_stop(host.rig);
    rig_destroy(host.rig);
    weir_app_free(host.app);
}

static void each_peer_gets_all_lines_of_each_worker_in_order(void **state)
{
    (void)state;
    run(false, false);
}

static void recalling_loses_and_mixes_nothing(void **state)
{
    (void)state;
    run(true, false);
}

static void peers_that_leave_free_everybody_who_waits(void **state)
{
    (void)state;
    run(false, true);
    run(true, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(each_peer_gets_all_lines_of_each_worker_in_order),
        TEST(recalling_loses_and_mixes_nothing),
        TEST(peers_that_leave_free_everybody_who_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
