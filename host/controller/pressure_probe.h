/* controller/pressure_probe.h - what the system says that this process uses, and may use: resident memory, its cgroup's (v1 and v2), open
 * descriptors. Everything that is read again and again stays open, so that it can be read when no descriptor is left.
 * Owner: whoever opened it. One thread; never waits for anything but /proc and the cgroup file system. */
#ifndef WEIR_CONTROLLER_PRESSURE_PROBE_H
#define WEIR_CONTROLLER_PRESSURE_PROBE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct weir_probe;

/* 0: not known, or no limit. */
struct weir_probe_reading {
    uint64_t resident, address_space; /* bytes */
    uint64_t physical;           /* of the machine */
    uint64_t address_space_max;  /* RLIMIT_AS */
    uint64_t cgroup_used;        /* of the cgroup whose limit is nearest: what can't be reclaimed, so without caches of files */
    uint64_t cgroup_max;
    uint64_t descriptors, descriptors_max; /* open; RLIMIT_NOFILE */
};

/* `root` is "" or, in tests, the folder that holds "proc" and what proc/self/mountinfo names. What the system does not have is left out. NOMEM. */
int weir_probe_open(const char *root, struct weir_probe **ret, struct weir_err *reterr);
/* Takes NULL. */
void weir_probe_close(struct weir_probe *p);
void weir_probe_read(struct weir_probe *p, struct weir_probe_reading *ret);

/* ---- parsers, pure; texts end with NUL ---- */

/* /proc/self/statm, in pages. */
bool weir_probe_parse_statm(const char *text, uint64_t *ret_size, uint64_t *ret_resident);
/* The path of the process in /proc/self/cgroup: of v1's memory controller, else (`v2`) of the one hierarchy of v2. false: there is none, or
 * no room. */
bool weir_probe_parse_cgroup(const char *text, bool v2, char *path, size_t size);
/* Where /proc/self/mountinfo says that this hierarchy is mounted, and which of its folders stands there. */
bool weir_probe_parse_mount(const char *text, bool v2, char *root, char *point, size_t size);
/* A limit: "max", or v1's largest number, is none: 0. */
bool weir_probe_parse_bytes(const char *text, uint64_t *ret);
/* The number behind `key` in memory.stat; 0: it is not there. */
uint64_t weir_probe_parse_stat(const char *text, const char *key);

#endif
