/* bench/idle_clients.c - opens connections, has one request answered on each, then holds them idle until its input ends.
 * Prints "open N" when all are there. usage: idle_clients PORT COUNT */
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

static const char request[] = "GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n";

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static int connect_to(uint16_t port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (fd < 0 || connect(fd, (struct sockaddr *)&at, sizeof at) < 0)
        fail("connect");
    return fd;
}

/* The answer is short: its body has come when the line break that ends it has. */
static void ask(int fd)
{
    char answer[4096];
    size_t have = 0;
    if (write(fd, request, sizeof request - 1) != (ssize_t)(sizeof request - 1))
        fail("write");
    do {
        ssize_t got = read(fd, answer + have, sizeof answer - 1 - have);
        if (got <= 0)
            fail("read");
        have += (size_t)got;
        answer[have] = '\0';
    } while (strstr(answer, "\r\n\r\n") == NULL || answer[have - 1] != '\n' || strstr(answer, "hello") == NULL);
}

int main(int argc, char **argv)
{
    long port = argc == 3 ? strtol(argv[1], NULL, 10) : 0, count = argc == 3 ? strtol(argv[2], NULL, 10) : 0;
    if (port < 1 || port > 65535 || count < 1) {
        fputs("usage: idle_clients PORT COUNT\n", stderr);
        return 64;
    }
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &files) < 0)
            fail("setrlimit");
    }
    for (long i = 0; i < count; i++)
        ask(connect_to((uint16_t)port));
    printf("open %ld\n", count);
    fflush(stdout);
    char byte;
    while (read(STDIN_FILENO, &byte, 1) > 0)
        continue;
    return 0;
}
