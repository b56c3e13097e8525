/* A closed loop of HTTP clients: each connects, asks for one thing after the other with a pause to think after each answer, closes, and begins
 * anew; what a server is slow with it is asked less for. One thread, epoll. The response time of a connection's first request counts from connect().
 *
 *   closed_loop PORT SECONDS CLIENTS [requests=5] [think_ms=20] [dirs=N] [path=/P] [warm=S] [think_poisson] [quantiles=FILE]
 *
 * With `dirs` what is asked for is a file of a set like SPECweb99's (http://www.spec.org/osg/web99/docs/whitepaper.html): /dirDDDDD/classC_F, directories
 * by Zipf's law, 35 %, 50 %, 14 %, 1 % of classes 0 to 3, and a fixed popularity of the nine files of a class. Prints one line of JSON: answered, its rate
 * per second and that of bytes, response times in ms (mean, p50, p90, p99, max), jain: the index of fairness of what clients were answered (1: all the
 * same), little: clients x time over answered x (response + pause), 1 when all are accounted for; unfinished (asked, and no answer within 5 s
 * after the end), refused (503), other (statuses), failed (no connection, or cut). What began before `warm` seconds is not counted; what began before the end is, but for rate and
 * fairness, whenever it is answered. `quantiles`: a file
 * of lines of share and response time, ms. */
#include <arpa/inet.h>
#include <errno.h>
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

enum { EVENTS = 512, HEAD = 1024, FILES = 9, CLASSES = 4, PATIENCE_S = 5, DIRS_MAX = 100000 };

enum state { THINKING, CONNECTING, ASKING };

struct client {
    enum state state;
    int fd; /* -1: none */
    int asked;       /* on this connection */
    double thinks_s, wake_s; /* THINKING: since when, until when */
    double began_s;  /* of the request, or of its connection */
    char head[HEAD];
    size_t len;
    long body_left; /* -1: the head is not whole yet */
    int status;
    bool closes;
    size_t answered; /* that count */
};

static struct {
    uint16_t port;
    double seconds, warm_s, think_s;
    int requests;
    size_t clients, dirs;
    const char *path, *quantiles;
    bool poisson;
} o = {.requests = 5, .think_s = 0.02, .path = "/"};

static struct client *clients;
static float *times_ms;
static size_t time_count, time_room, refused, other, failed;
static size_t think_count;
static double bytes, think_sum;
static double *zipf; /* cumulative, by directory */
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

/* ---- what is asked for ---- */

static int pick(const double *shares, int n)
{
    double x = uniform();
    for (int i = 0; i < n - 1; i++) {
        if (x < shares[i])
            return i;
        x -= shares[i];
    }
    return n - 1;
}

static size_t pick_dir(void)
{
    double x = uniform() * zipf[o.dirs - 1];
    size_t low = 0, high = o.dirs - 1;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (zipf[middle] < x)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void make_zipf(void)
{
    zipf = calloc(o.dirs, sizeof *zipf);
    if (zipf == NULL)
        fail("calloc");
    for (size_t i = 0; i < o.dirs; i++)
        zipf[i] = (i > 0 ? zipf[i - 1] : 0) + 1.0 / (double)(i + 1);
}

static void write_path(char *text, size_t size)
{
    static const double classes[CLASSES] = {0.35, 0.50, 0.14, 0.01};
    static const double files[FILES] = {0.039, 0.059, 0.088, 0.177, 0.353, 0.118, 0.071, 0.050, 0.045};
    if (o.dirs == 0)
        snprintf(text, size, "%s", o.path);
    else
        snprintf(text, size, "/dir%05zu/class%d_%d", pick_dir(), pick(classes, CLASSES), pick(files, FILES));
}

/* ---- clients ---- */

/* What began after the end is not asked for any more; what was begun before counts whenever it is answered. */
static bool counts(const struct client *c)
{
    return c->began_s >= o.warm_s && c->began_s <= o.seconds;
}

static void think(struct client *c)
{
    c->state = THINKING;
    c->thinks_s = now_s();
    c->wake_s = c->thinks_s + (o.poisson ? -log(1 - uniform()) * o.think_s : o.think_s);
}

static void hang_up(struct client *c)
{
    struct linger hard = {.l_onoff = 1}; /* no port waits in TIME_WAIT for it */
    if (c->fd >= 0) {
        setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
        close(c->fd);
    }
    c->fd = -1;
    c->asked = 0;
}

static void lose(struct client *c)
{
    failed += counts(c);
    hang_up(c);
    think(c);
}

static void watch(struct client *c, uint32_t events, int op)
{
    struct epoll_event ev = {.events = events, .data.u64 = (uint64_t)(c - clients)};
    if (epoll_ctl(ep, op, c->fd, &ev) != 0)
        fail("epoll_ctl");
}

static void ask(struct client *c)
{
    char path[128], text[512];
    write_path(path, sizeof path);
    int n = snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: a\r\n%s\r\n", path, c->asked + 1 == o.requests ? "Connection: close\r\n" : "");
    c->state = ASKING;
    c->len = 0;
    c->body_left = -1;
    c->asked++;
    if (send(c->fd, text, (size_t)n, MSG_NOSIGNAL) != n)
        lose(c);
}

static void dial(struct client *c)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(o.port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int on = 1;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0)
        fail("socket");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    c->state = CONNECTING;
    if (connect(c->fd, (struct sockaddr *)&to, sizeof to) != 0 && errno != EINPROGRESS) {
        lose(c);
        return;
    }
    watch(c, EPOLLOUT, EPOLL_CTL_ADD);
}

static void wake(struct client *c)
{
    c->began_s = now_s();
    if (counts(c) && c->thinks_s > 0) {
        think_sum += c->began_s - c->thinks_s;
        think_count++;
    }
    if (c->fd >= 0)
        ask(c);
    else
        dial(c);
}

static void note(struct client *c)
{
    double now = now_s();
    if (!counts(c))
        return;
    if (c->status != 200) {
        *(c->status == 503 ? &refused : &other) += 1;
        return;
    }
    if (time_count == time_room) {
        time_room = time_room * 2 + 65536;
        times_ms = realloc(times_ms, time_room * sizeof *times_ms);
        if (times_ms == NULL)
            fail("realloc");
    }
    times_ms[time_count++] = (float)((now - c->began_s) * 1e3);
    c->answered += now <= o.seconds;
}

static const char *find_header(const char *head, const char *name)
{
    size_t len = strlen(name);
    for (const char *at = strstr(head, "\r\n"); at != NULL; at = strstr(at + 2, "\r\n"))
        if (strncasecmp(at + 2, name, len) == 0)
            return at + 2 + len;
    return NULL;
}

static void take(struct client *c, const char *data, size_t n)
{
    if (now_s() >= o.warm_s && now_s() <= o.seconds)
        bytes += (double)n;
    if (c->body_left < 0) {
        size_t room = HEAD - 1 - c->len, part = n < room ? n : room;
        memcpy(c->head + c->len, data, part);
        c->head[c->len + part] = '\0';
        const char *stop = strstr(c->head, "\r\n\r\n");
        if (stop == NULL) {
            c->len += part;
            if (part == room)
                lose(c);
            return;
        }
        const char *length = find_header(c->head, "content-length:");
        c->status = (int)strtol(c->head + 9, NULL, 10);
        c->closes = find_header(c->head, "connection: close") != NULL;
        c->body_left = length != NULL ? strtol(length, NULL, 10) : 0;
        n -= (size_t)(stop + 4 - c->head) - c->len;
    }
    c->body_left -= (long)n;
    if (c->body_left > 0)
        return;
    note(c);
    if (c->asked == o.requests || c->closes || now_s() > o.seconds)
        hang_up(c);
    think(c);
}

static void on_event(struct client *c, uint32_t events)
{
    static char data[262144];
    int error = 0;
    socklen_t len = sizeof error;
    if (c->fd < 0)
        return;
    if (c->state == THINKING) { /* a kept connection was closed by the server */
        hang_up(c);
        return;
    }
    if (c->state == CONNECTING) {
        getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len);
        if (error != 0 || (events & EPOLLERR)) {
            lose(c);
            return;
        }
        watch(c, EPOLLIN, EPOLL_CTL_MOD);
        ask(c);
        return;
    }
    ssize_t n = recv(c->fd, data, sizeof data, 0);
    if (n > 0)
        take(c, data, (size_t)n);
    else if (n == 0 || errno != EAGAIN)
        lose(c);
}

/* ---- the run ---- */

static void poll_for(double s)
{
    struct epoll_event evs[EVENTS];
    int n = epoll_wait(ep, evs, EVENTS, s > 0.001 ? (int)(s * 1e3) : 0);
    for (int i = 0; i < n; i++)
        on_event(&clients[evs[i].data.u64], evs[i].events);
}

static size_t count_busy(void)
{
    size_t n = 0;
    for (size_t i = 0; i < o.clients; i++)
        n += clients[i].state != THINKING;
    return n;
}

static void run(void)
{
    double next = 0;
    while (now_s() < o.seconds) {
        double now = now_s();
        if (now >= next) { /* pauses end to the millisecond */
            next = now + 0.001;
            for (size_t i = 0; i < o.clients; i++)
                if (clients[i].state == THINKING && clients[i].wake_s <= now)
                    wake(&clients[i]);
        }
        poll_for(next - now_s());
    }
    for (size_t i = 0; i < o.clients; i++)
        if (clients[i].state == THINKING) /* it asks for nothing more: others may want its place */
            hang_up(&clients[i]);
    while (count_busy() > 0 && now_s() < o.seconds + PATIENCE_S)
        poll_for(0.01);
}

/* ---- figures ---- */

static int by_value(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return x < y ? -1 : x > y;
}

static double quantile(double q)
{
    return time_count == 0 ? 0 : (double)times_ms[(size_t)((double)(time_count - 1) * q)];
}

static void print(void)
{
    double sum = 0, squares = 0, ms = 0, span = o.seconds - o.warm_s;
    for (size_t i = 0; i < o.clients; i++) {
        sum += (double)clients[i].answered;
        squares += (double)clients[i].answered * (double)clients[i].answered;
    }
    for (size_t i = 0; i < time_count; i++)
        ms += (double)times_ms[i];
    double mean = time_count > 0 ? ms / (double)time_count : 0;
    double pause_s = think_count > 0 ? think_sum / (double)think_count : o.think_s;
    double cycle_s = mean / 1e3 + pause_s, rate = sum / span;
    qsort(times_ms, time_count, sizeof *times_ms, by_value);
    printf("{\"clients\": %zu, \"answered\": %zu, \"rate\": %.2f, \"bytes_rate\": %.0f, \"mean_ms\": %.3f, \"p50_ms\": %.3f, \"p90_ms\": %.3f, ",
           o.clients, time_count, rate, bytes / span, mean, quantile(0.5), quantile(0.9));
    printf("\"p99_ms\": %.3f, \"max_ms\": %.3f, \"jain\": %.5f, \"little\": %.4f, ", quantile(0.99), quantile(1),
           squares > 0 ? sum * sum / ((double)o.clients * squares) : 0, (double)o.clients > 0 ? rate * cycle_s / (double)o.clients : 0);
    printf("\"unfinished\": %zu, \"refused\": %zu, \"other\": %zu, \"failed\": %zu}\n", count_busy(), refused, other, failed);
}

static void write_quantiles(void)
{
    FILE *f = fopen(o.quantiles, "w");
    if (f == NULL)
        fail(o.quantiles);
    for (int i = 0; i <= 200; i++)
        fprintf(f, "%.3f\t%.4f\n", i / 200.0, quantile(i / 200.0));
    fclose(f);
}

/* ---- the command line ---- */

static void read_word(char *word)
{
    char *value = strchr(word, '=');
    size_t len = value != NULL ? (size_t)(value - word) : strlen(word);
    value = value != NULL ? value + 1 : word;
    if (strcmp(word, "think_poisson") == 0)
        o.poisson = true;
    else if (strncmp(word, "requests", len) == 0)
        o.requests = (int)strtol(value, NULL, 10);
    else if (strncmp(word, "think_ms", len) == 0)
        o.think_s = strtod(value, NULL) / 1e3;
    else if (strncmp(word, "dirs", len) == 0)
        o.dirs = strtoul(value, NULL, 10);
    else if (strncmp(word, "path", len) == 0)
        o.path = value;
    else if (strncmp(word, "warm", len) == 0)
        o.warm_s = strtod(value, NULL);
    else if (strncmp(word, "quantiles", len) == 0)
        o.quantiles = value;
    else {
        fprintf(stderr, "closed_loop: what is '%s'?\n", word);
        exit(64);
    }
}

static void read_command(int argc, char **argv)
{
    if (argc < 4) {
        fprintf(stderr, "usage: closed_loop PORT SECONDS CLIENTS [requests=5] [think_ms=20] [dirs=N] [path=/P] [warm=S] [think_poisson] "
                        "[quantiles=FILE]\n");
        exit(64);
    }
    o.port = (uint16_t)strtoul(argv[1], NULL, 10);
    o.seconds = strtod(argv[2], NULL);
    o.clients = strtoul(argv[3], NULL, 10);
    for (int i = 4; i < argc; i++)
        read_word(argv[i]);
    if (o.clients == 0 || o.requests < 1 || o.dirs > DIRS_MAX) {
        fprintf(stderr, "closed_loop: needs a client, a request on each connection, and %d directories at most\n", DIRS_MAX);
        exit(64);
    }
}

int main(int argc, char **argv)
{
    struct rlimit files;
    read_command(argc, argv);
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    if (o.dirs > 0)
        make_zipf();
    ep = epoll_create1(EPOLL_CLOEXEC);
    clients = calloc(o.clients, sizeof *clients);
    if (ep < 0 || clients == NULL)
        fail("setting up");
    clock_gettime(CLOCK_MONOTONIC, &began);
    for (size_t i = 0; i < o.clients; i++)
        clients[i] = (struct client){.fd = -1, .wake_s = uniform() * o.think_s};
    run();
    print();
    if (o.quantiles != NULL)
        write_quantiles();
    return 0;
}
