/* An open-loop HTTP client: requests come when they are due, whether or not earlier ones were answered, so that a server that is too slow
 * can't slow its clients down. One thread, epoll. Latency counts from when a request was due.
 *
 *   open_loop PORT SECONDS RATE[,AT:RATE…] [poisson] [pooled=N] [path=/P] [class=NAME:SHARE]… [good_ms=200] [warm=S] [series=FILE]
 *
 * RATE is per second; ",2:1400" goes on with 1400/s from second 2 on. A new connection for each request, unless `pooled` keeps N of them, for which
 * requests wait. Prints
 * one line of JSON for all and one for each class: sent, good (200 within good_ms), late (200 after), refused (503), other, failed (no
 * connection, or cut), unfinished; latencies in ms of 200s and of 503s, and of all good ones their rate per second. What was due before
 * `warm` seconds is not counted. `series`: lines of "second offered good refused p90_ms", one for each 50 ms, by when requests were due; p90 is -1
 * when none of them was answered with 200. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CLASSES_MAX = 8, STEPS_MAX = 16, EVENTS = 256, HEAD = 512, SLOT_MS = 50, PATIENCE_S = 5 };

enum outcome { SENT, GOOD, LATE, REFUSED, OTHER, FAILED, UNFINISHED, OUTCOMES };
static const char *const outcome_names[OUTCOMES] = {"sent", "good", "late", "refused", "other", "failed", "unfinished"};

struct record {
    double due_s;
    float latency_ms; /* negative: it has none */
    uint8_t outcome, class_index;
};

struct conn {
    int fd; /* -1: free */
    size_t record;
    char head[HEAD];
    size_t len;
    long body_left; /* -1: the head is not whole yet */
    bool busy, connecting, close;
    int status;
};

static struct {
    uint16_t port;
    double seconds, warm_s, good_ms;
    bool poisson;
    size_t pooled;
    const char *path, *series;
    struct { double at_s, rate; } steps[STEPS_MAX];
    size_t step_count;
    struct { const char *name; double share; } classes[CLASSES_MAX];
    size_t class_count;
} o = {.good_ms = 200, .path = "/"};

static struct record *records;
static size_t record_count, record_room;
static struct conn *conns;
static size_t conn_count, *free_conns, free_count;
static size_t *waiting, waiting_head, waiting_count, waiting_room; /* pooled: records without a connection yet, oldest first */
static int ep;
static uint64_t seed = 0x9e3779b97f4a7c15ULL;
static struct timespec began;

static double now_s(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)(ts.tv_sec - began.tv_sec) + (double)(ts.tv_nsec - began.tv_nsec) / 1e9;
}

static double uniform(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (double)(seed >> 11) / 9007199254740992.0;
}

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static double rate_at(double s)
{
    double rate = o.steps[0].rate;
    for (size_t i = 0; i < o.step_count; i++)
        if (s >= o.steps[i].at_s)
            rate = o.steps[i].rate;
    return rate;
}

static size_t pick_class(void)
{
    double x = uniform();
    for (size_t i = 0; i + 1 < o.class_count; i++) {
        if (x < o.classes[i].share)
            return i;
        x -= o.classes[i].share;
    }
    return o.class_count > 0 ? o.class_count - 1 : 0;
}

static void *grow(void *array, size_t *room, size_t count, size_t size)
{
    if (count < *room)
        return array;
    *room = *room * 2 + 4096;
    array = realloc(array, *room * size);
    if (array == NULL)
        fail("realloc");
    return array;
}

/* --- connections --- */

static void ask(size_t record);

static void watch(struct conn *c, uint32_t events, int op)
{
    struct epoll_event ev = {.events = events, .data.u64 = (uint64_t)(c - conns)};
    if (epoll_ctl(ep, op, c->fd, &ev) != 0)
        fail("epoll_ctl");
}

static void end(struct conn *c, enum outcome outcome)
{
    struct record *r = &records[c->record];
    double ms = (now_s() - r->due_s) * 1e3;
    if (outcome == GOOD && ms > o.good_ms)
        outcome = LATE;
    r->outcome = (uint8_t)outcome;
    r->latency_ms = (float)ms;
    c->busy = false;
    if (o.pooled == 0 || c->close || outcome == FAILED) {
        struct linger hard = {.l_onoff = 1}; /* no port waits in TIME_WAIT for it */
        setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
        close(c->fd);
        c->fd = -1;
    }
    free_conns[free_count++] = (size_t)(c - conns);
    if (waiting_head < waiting_count)
        ask(waiting[waiting_head++]);
}

static void say(struct conn *c)
{
    char text[HEAD];
    const struct record *r = &records[c->record];
    int n = snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: a\r\n%s%s%s%s\r\n", o.path, o.class_count > 0 ? "X-Class: " : "",
                     o.class_count > 0 ? o.classes[r->class_index].name : "", o.class_count > 0 ? "\r\n" : "",
                     o.pooled == 0 ? "Connection: close\r\n" : "");
    if (send(c->fd, text, (size_t)n, MSG_NOSIGNAL) != n)
        end(c, FAILED);
}

static bool open_conn(struct conn *c)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(o.port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int on = 1;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0)
        return false;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(c->fd, (struct sockaddr *)&to, sizeof to) != 0 && errno != EINPROGRESS) {
        close(c->fd);
        c->fd = -1;
        return false;
    }
    c->connecting = true;
    watch(c, EPOLLOUT, EPOLL_CTL_ADD);
    return true;
}

static void begin(double due_s)
{
    records = grow(records, &record_room, record_count, sizeof *records);
    struct record *r = &records[record_count++];
    *r = (struct record){.due_s = due_s, .latency_ms = -1, .outcome = UNFINISHED, .class_index = (uint8_t)pick_class()};
    if (free_count > 0) {
        ask(record_count - 1);
    } else if (o.pooled > 0) { /* it waits for one of them; its latency counts from when it was due */
        waiting = grow(waiting, &waiting_room, waiting_count, sizeof *waiting);
        waiting[waiting_count++] = record_count - 1;
    } else {
        r->outcome = FAILED; /* as many are open as there may be */
    }
}

/* Sends it on a free connection. */
static void ask(size_t record)
{
    struct conn *c = &conns[free_conns[--free_count]];
    c->record = record;
    c->len = 0;
    c->body_left = -1;
    c->busy = true;
    c->close = false;
    if (c->fd >= 0) {
        say(c);
    } else if (!open_conn(c)) {
        records[record].outcome = FAILED;
        c->busy = false;
        free_conns[free_count++] = (size_t)(c - conns);
    }
}

static const char *find_header(const char *head, const char *name)
{
    size_t len = strlen(name);
    for (const char *at = strstr(head, "\r\n"); at != NULL; at = strstr(at + 2, "\r\n"))
        if (strncasecmp(at + 2, name, len) == 0)
            return at + 2 + len;
    return NULL;
}

/* What came of an answer: its head is kept, its body counted. */
static void take(struct conn *c, char *data, size_t n)
{
    if (c->body_left < 0) {
        size_t room = HEAD - 1 - c->len, part = n < room ? n : room;
        memcpy(c->head + c->len, data, part);
        c->head[c->len + part] = '\0';
        char *stop = strstr(c->head, "\r\n\r\n");
        if (stop == NULL) {
            c->len += part;
            if (part == room)
                end(c, OTHER);
            return;
        }
        size_t head = (size_t)(stop + 4 - c->head) - c->len;
        const char *length = find_header(c->head, "content-length:"), *closes = find_header(c->head, "connection: close");
        c->status = (int)strtol(c->head + 9, NULL, 10);
        c->close = closes != NULL;
        c->body_left = length != NULL ? strtol(length, NULL, 10) : 0;
        n -= head;
    }
    c->body_left -= (long)n;
    if (c->body_left <= 0)
        end(c, c->status == 200 ? GOOD : c->status == 503 ? REFUSED : OTHER);
}

static void on_event(struct conn *c, uint32_t events)
{
    char data[16384];
    if (!c->busy) { /* a kept one was closed by the server */
        close(c->fd);
        c->fd = -1;
        return;
    }
    if (c->connecting) {
        int error = 0;
        socklen_t len = sizeof error;
        getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len);
        c->connecting = false;
        if (error != 0 || (events & EPOLLERR)) {
            end(c, FAILED);
            return;
        }
        watch(c, EPOLLIN, EPOLL_CTL_MOD);
        say(c);
        return;
    }
    ssize_t n = recv(c->fd, data, sizeof data, 0);
    if (n > 0)
        take(c, data, (size_t)n);
    else if (n == 0 || errno != EAGAIN)
        end(c, FAILED);
}

/* --- the run --- */

static void poll_until(double s)
{
    struct epoll_event evs[EVENTS];
    double left = s - now_s();
    int ms = left > 0.002 ? (int)((left - 0.001) * 1e3) : 0;
    int n = epoll_wait(ep, evs, EVENTS, ms);
    for (int i = 0; i < n; i++)
        on_event(&conns[evs[i].data.u64], evs[i].events);
}

static void run(void)
{
    double due = 0;
    while (due < o.seconds) {
        double rate = rate_at(due);
        due += o.poisson ? -log(1 - uniform()) / rate : 1 / rate;
        while (now_s() < due)
            poll_until(due);
        begin(due);
        if (now_s() > due + 0.001) /* behind: answers count, too */
            poll_until(0);
    }
    double until = o.seconds + PATIENCE_S;
    while (now_s() < until) {
        size_t busy = 0;
        for (size_t i = 0; i < conn_count; i++)
            busy += conns[i].busy;
        if (busy == 0)
            break;
        poll_until(now_s() + 0.01);
    }
}

/* --- figures --- */

static int by_value(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return x < y ? -1 : x > y;
}

static double quantile(const float *v, size_t n, double q)
{
    return n == 0 ? 0 : (double)v[(size_t)((double)(n - 1) * q)];
}

/* Latencies of those records, sorted; to be freed. */
static float *latencies(int class_index, bool refused, size_t *ret)
{
    float *v = malloc((record_count + 1) * sizeof *v);
    size_t n = 0;
    if (v == NULL)
        fail("malloc");
    for (size_t i = 0; i < record_count; i++) {
        const struct record *r = &records[i];
        bool wanted = refused ? r->outcome == REFUSED : r->outcome == GOOD || r->outcome == LATE;
        if (wanted && r->due_s >= o.warm_s && (class_index < 0 || r->class_index == class_index))
            v[n++] = r->latency_ms;
    }
    qsort(v, n, sizeof *v, by_value);
    *ret = n;
    return v;
}

static void print(int class_index)
{
    size_t counts[OUTCOMES] = {0}, n, m;
    for (size_t i = 0; i < record_count; i++) {
        const struct record *r = &records[i];
        if (r->due_s < o.warm_s || (class_index >= 0 && r->class_index != class_index))
            continue;
        counts[SENT]++;
        counts[r->outcome]++;
    }
    float *ok = latencies(class_index, false, &n), *refused = latencies(class_index, true, &m);
    printf("{\"class\": \"%s\"", class_index < 0 ? "" : o.classes[class_index].name);
    for (int i = 0; i < OUTCOMES; i++)
        printf(", \"%s\": %zu", outcome_names[i], counts[i]);
    printf(", \"good_rate\": %.2f, \"p50_ms\": %.3f, \"p90_ms\": %.3f, \"p99_ms\": %.3f, \"max_ms\": %.3f", (double)counts[GOOD] / (o.seconds - o.warm_s),
           quantile(ok, n, 0.5), quantile(ok, n, 0.9), quantile(ok, n, 0.99), quantile(ok, n, 1));
    printf(", \"refused_p50_ms\": %.3f, \"refused_p99_ms\": %.3f}\n", quantile(refused, m, 0.5), quantile(refused, m, 0.99));
    free(ok);
    free(refused);
}

static void write_series(void)
{
    FILE *f = fopen(o.series, "w");
    size_t slots = (size_t)(o.seconds * 1000 / SLOT_MS), at = 0;
    if (f == NULL)
        fail(o.series);
    for (size_t slot = 0; slot < slots; slot++) {
        float v[65536];
        size_t n = 0, offered = 0, good = 0, refused = 0;
        double stop = (double)((slot + 1) * SLOT_MS) / 1000;
        for (; at < record_count && records[at].due_s < stop; at++, offered++) {
            good += records[at].outcome == GOOD;
            refused += records[at].outcome == REFUSED;
            if ((records[at].outcome == GOOD || records[at].outcome == LATE) && n < sizeof v / sizeof v[0])
                v[n++] = records[at].latency_ms;
        }
        qsort(v, n, sizeof *v, by_value);
        fprintf(f, "%.3f\t%zu\t%zu\t%zu\t%.3f\n", stop, offered, good, refused, n == 0 && offered > 0 ? -1 : quantile(v, n, 0.9));
    }
    fclose(f);
}

/* --- the command line --- */

static void read_rates(char *text)
{
    for (char *at = strtok(text, ","); at != NULL && o.step_count < STEPS_MAX; at = strtok(NULL, ",")) {
        char *colon = strchr(at, ':');
        o.steps[o.step_count].at_s = colon != NULL ? strtod(at, NULL) : 0;
        o.steps[o.step_count++].rate = strtod(colon != NULL ? colon + 1 : at, NULL);
    }
}

static void read_word(char *word)
{
    char *value = strchr(word, '=');
    size_t len = value != NULL ? (size_t)(value - word) : strlen(word);
    value = value != NULL ? value + 1 : word;
    if (strcmp(word, "poisson") == 0)
        o.poisson = true;
    else if (strncmp(word, "pooled", len) == 0)
        o.pooled = strtoul(value, NULL, 10);
    else if (strncmp(word, "path", len) == 0)
        o.path = value;
    else if (strncmp(word, "good_ms", len) == 0)
        o.good_ms = strtod(value, NULL);
    else if (strncmp(word, "warm", len) == 0)
        o.warm_s = strtod(value, NULL);
    else if (strncmp(word, "series", len) == 0)
        o.series = value;
    else if (strncmp(word, "class", len) == 0 && strchr(value, ':') != NULL && o.class_count < CLASSES_MAX) {
        char *colon = strchr(value, ':');
        *colon = '\0';
        o.classes[o.class_count].name = value;
        o.classes[o.class_count++].share = strtod(colon + 1, NULL);
    } else {
        fprintf(stderr, "open_loop: what is '%s'?\n", word);
        exit(64);
    }
}

int main(int argc, char **argv)
{
    struct rlimit files;
    if (argc < 4) {
        fprintf(stderr, "usage: open_loop PORT SECONDS RATE[,AT:RATE...] [poisson] [pooled=N] [path=/P] [class=NAME:SHARE]... [good_ms=200] "
                        "[warm=S] [series=FILE]\n");
        return 64;
    }
    o.port = (uint16_t)strtoul(argv[1], NULL, 10);
    o.seconds = strtod(argv[2], NULL);
    read_rates(argv[3]);
    for (int i = 4; i < argc; i++)
        read_word(argv[i]);
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    conn_count = o.pooled > 0 ? o.pooled : files.rlim_cur > 20064 ? 20000 : (size_t)files.rlim_cur - 64;
    conns = calloc(conn_count, sizeof *conns);
    free_conns = calloc(conn_count, sizeof *free_conns);
    ep = epoll_create1(EPOLL_CLOEXEC);
    if (conns == NULL || free_conns == NULL || ep < 0)
        fail("start");
    for (size_t i = 0; i < conn_count; i++) {
        conns[i].fd = -1;
        free_conns[free_count++] = i;
    }
    clock_gettime(CLOCK_MONOTONIC, &began);
    run();
    print(-1);
    for (size_t i = 0; i < o.class_count; i++)
        print((int)i);
    if (o.series != NULL)
        write_series();
    return 0;
}
