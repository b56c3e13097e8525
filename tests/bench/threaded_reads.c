/* A server with a thread for each task (SEDA's Figure 2): THREADS threads, made before, that each read 8 KiB of one cached file, again and again.
 *
 *   threaded_reads FILE SECONDS THREADS
 *
 * Prints one line of JSON: tasks per second, what a task took from the end of the one before it (so with the wait for a CPU), mean and most, ms. */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { SIZE = 8192, STACK = 65536 };

struct task {
    pthread_t thread;
    size_t count;
    double most_s;
};

static int file;
static pthread_barrier_t all_there;
static _Atomic bool stop;

static double now_s(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void *work(void *arg)
{
    struct task *t = arg;
    char data[SIZE];
    pthread_barrier_wait(&all_there);
    double last = now_s();
    while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
        if (pread(file, data, sizeof data, 0) != SIZE)
            abort();
        double now = now_s();
        if (now - last > t->most_s)
            t->most_s = now - last;
        last = now;
        t->count++;
    }
    return NULL;
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: threaded_reads FILE SECONDS THREADS\n");
        return 64;
    }
    double seconds = strtod(argv[2], NULL), most = 0;
    size_t n = strtoul(argv[3], NULL, 10), count = 0;
    struct task *tasks = calloc(n, sizeof *tasks);
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK);
    file = open(argv[1], O_RDONLY | O_CLOEXEC);
    if (tasks == NULL || file < 0) {
        perror(argv[1]);
        return 1;
    }
    pthread_barrier_init(&all_there, NULL, (unsigned)n + 1);
    for (size_t i = 0; i < n; i++) {
        if (pthread_create(&tasks[i].thread, &attr, work, &tasks[i]) != 0) {
            perror("pthread_create");
            return 1;
        }
    }
    (void)setpriority(PRIO_PROCESS, 0, -10); /* this thread: so that it wakes among so many */
    double began = now_s();
    pthread_barrier_wait(&all_there);
    while (now_s() - began < seconds)
        usleep(1000);
    atomic_store(&stop, true);
    double ended = now_s();
    for (size_t i = 0; i < n; i++) {
        pthread_join(tasks[i].thread, NULL);
        count += tasks[i].count;
        most = tasks[i].most_s > most ? tasks[i].most_s : most;
    }
    double rate = (double)count / (ended - began);
    printf("{\"threads\": %zu, \"rate\": %.0f, \"mean_ms\": %.5f, \"max_ms\": %.3f}\n", n, rate, rate > 0 ? (double)n / rate * 1e3 : 0, most * 1e3);
    return 0;
}
