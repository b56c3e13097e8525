#include "admin/process.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static uint64_t count_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    if (dir == NULL)
        return 0;
    uint64_t n = 0;
    for (struct dirent *e = readdir(dir); e != NULL; e = readdir(dir))
        n += e->d_name[0] != '.';
    (void)closedir(dir);      /* nothing was written */
    return n > 0 ? n - 1 : 0; /* without the one that lists them */
}

/* Seconds since 1970 when the machine started. */
static double boot_time(void)
{
    FILE *f = fopen("/proc/stat", "re");
    if (f == NULL)
        return 0;
    char line[256];
    uint64_t seconds = 0;
    while (fgets(line, sizeof line, f) != NULL && sscanf(line, "btime %" SCNu64, &seconds) != 1)
        ;
    (void)fclose(f); /* nothing was written */
    return (double)seconds;
}

/* The fields of /proc/self/stat after the name, which may hold anything: 3 is the state. */
static void read_stat(struct weir_process *p)
{
    char text[1024];
    FILE *f = fopen("/proc/self/stat", "re");
    if (f == NULL)
        return;
    size_t len = fread(text, 1, sizeof text - 1, f);
    (void)fclose(f); /* nothing was written */
    text[len] = '\0';
    const char *rest = strrchr(text, ')');
    uint64_t threads, start, bytes;
    int64_t pages;
    if (rest == NULL || sscanf(rest + 1,
                               " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %" SCNu64
                               " %*d %" SCNu64 " %" SCNu64 " %" SCNd64,
                               &threads, &start, &bytes, &pages) != 4)
        return;
    p->threads = threads;
    p->virtual_bytes = bytes;
    p->resident_bytes = (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
    p->start_s = boot_time() + (double)start / (double)sysconf(_SC_CLK_TCK);
}

static double seconds(struct timeval t)
{
    return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

void weir_process_read(struct weir_process *ret)
{
    memset(ret, 0, sizeof *ret);
    struct rusage used;
    if (getrusage(RUSAGE_SELF, &used) == 0)
        ret->cpu_s = seconds(used.ru_utime) + seconds(used.ru_stime);
    struct rlimit fds;
    if (getrlimit(RLIMIT_NOFILE, &fds) == 0)
        ret->max_fds = fds.rlim_cur;
    ret->open_fds = count_fds();
    read_stat(ret);
}
