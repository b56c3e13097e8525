/* bench/epoll_hello.c - what answering costs when there is nothing but the kernel: one thread, one epoll, a fixed answer for
 * whatever comes, no parser. The other servers are measured against it. usage: epoll_hello PORT */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS = 512, BUFFER = 16384 };

#define ANSWER(more)                                                                                         \
    "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Type: text/plain\r\nContent-Length: 9\r\n" more \
    "\r\nhello /x\n"

static const char answer[] = ANSWER("");
static const char last_answer[] = ANSWER("Connection: close\r\n");

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static int open_listener(uint16_t port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int one = 1;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) < 0 ||
        bind(fd, (struct sockaddr *)&at, sizeof at) < 0 || listen(fd, 4096) < 0)
        fail("listen");
    return fd;
}

static void watch(int poll, int fd)
{
    struct epoll_event ev = {.events = EPOLLIN, .data.fd = fd};
    if (epoll_ctl(poll, EPOLL_CTL_ADD, fd, &ev) < 0)
        fail("epoll_ctl");
}

static void accept_all(int poll, int listener)
{
    int fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        int one = 1;
        if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) < 0)
            fail("TCP_NODELAY");
        watch(poll, fd);
    }
}

/* The generator sends a request in one piece and waits for its answer, so each read is one request. */
static void serve(int fd)
{
    static char buffer[BUFFER];
    ssize_t got = read(fd, buffer, sizeof buffer);
    if (got < 0 && errno == EAGAIN)
        return;
    int last = got <= 0;
    if (!last) {
        last = memmem(buffer, (size_t)got, "\r\nConnection: close", 19) != NULL;
        size_t size = last ? sizeof last_answer - 1 : sizeof answer - 1;
        if (write(fd, last ? last_answer : answer, size) != (ssize_t)size)
            last = 1;
    }
    if (last)
        close(fd);
}

int main(int argc, char **argv)
{
    long port = argc == 2 ? strtol(argv[1], NULL, 10) : 0;
    if (port < 1 || port > 65535) {
        fputs("usage: epoll_hello PORT\n", stderr);
        return 64;
    }
    signal(SIGPIPE, SIG_IGN);
    int listener = open_listener((uint16_t)port);
    int poll = epoll_create1(EPOLL_CLOEXEC);
    watch(poll, listener);
    for (;;) {
        struct epoll_event events[EVENTS];
        int count = epoll_wait(poll, events, EVENTS, -1);
        for (int i = 0; i < count; i++) {
            if (events[i].data.fd == listener)
                accept_all(poll, listener);
            else
                serve(events[i].data.fd);
        }
    }
}
