/* bench/sleepers.c - opens connections, sends one request on each, all at once, and waits for all answers.
 * Twice or more: the first time the server is cold. Prints for each time: "all-sent-ms first-answer-ms
 * median-ms last-answer-ms answers". usage: sleepers PORT COUNT TIMES */
#include <errno.h>
#include <netinet/in.h>
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

static const char request[] = "GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n";

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static int connect_to(uint16_t port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in at = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (fd < 0 || connect(fd, (struct sockaddr *)&at, sizeof at) < 0)
        fail("connect");
    return fd;
}

/* One read has all of the short answer. Its status must be 200. */
static void take_answer(int fd)
{
    char answer[4096];
    ssize_t got = read(fd, answer, sizeof answer - 1);
    if (got < 12)
        fail("read");
    answer[got] = '\0';
    if (strncmp(answer, "HTTP/1.1 200", 12) != 0) {
        fprintf(stderr, "not 200: %s\n", answer);
        exit(1);
    }
}

static void measure(int poll_fd, const int *fds, long count, double *times)
{
    double began = now_ms();
    for (long i = 0; i < count; i++)
        if (write(fds[i], request, sizeof request - 1) != (ssize_t)(sizeof request - 1))
            fail("write");
    double sent = now_ms() - began;
    for (long have = 0; have < count;) {
        struct epoll_event ready[256];
        int n = epoll_wait(poll_fd, ready, 256, -1);
        if (n < 0 && errno != EINTR)
            fail("epoll_wait");
        for (int i = 0; i < n; i++) {
            take_answer(ready[i].data.fd);
            times[have++] = now_ms() - began;
        }
    }
    printf("%.1f %.1f %.1f %.1f %ld\n", sent, times[0], times[count / 2], times[count - 1], count);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    long port = argc == 4 ? strtol(argv[1], NULL, 10) : 0, count = argc == 4 ? strtol(argv[2], NULL, 10) : 0;
    long rounds = argc == 4 ? strtol(argv[3], NULL, 10) : 0;
    if (port < 1 || port > 65535 || count < 1 || rounds < 1) {
        fputs("usage: sleepers PORT COUNT TIMES\n", stderr);
        return 64;
    }
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &files) < 0)
            fail("setrlimit");
    }
    int poll_fd = epoll_create1(EPOLL_CLOEXEC), *fds = calloc((size_t)count, sizeof *fds);
    double *times = calloc((size_t)count, sizeof *times);
    if (poll_fd < 0 || fds == NULL || times == NULL)
        fail("sleepers");
    for (long i = 0; i < count; i++) {
        fds[i] = connect_to((uint16_t)port);
        struct epoll_event ev = {.events = EPOLLIN, .data.fd = fds[i]};
        if (epoll_ctl(poll_fd, EPOLL_CTL_ADD, fds[i], &ev) < 0)
            fail("epoll_ctl");
    }
    for (long i = 0; i < rounds; i++)
        measure(poll_fd, fds, count, times);
    return 0;
}
