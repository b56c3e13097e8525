/* base/clock.h - time. Monotonic time orders and measures; wall time is only for people and protocols. Threads: any. */
#ifndef WEIR_BASE_CLOCK_H
#define WEIR_BASE_CLOCK_H

#include <stdint.h>

#define WEIR_NS_PER_US 1000ULL
#define WEIR_NS_PER_MS 1000000ULL
#define WEIR_NS_PER_S  1000000000ULL

/* CLOCK_MONOTONIC in ns, or the virtual time set by a test. About 30 ns a call: read once per event, then hand it on. */
uint64_t weir_clock_ns(void);
/* CLOCK_REALTIME in ns since 1970. */
uint64_t weir_clock_wall_ns(void);
/* From now on weir_clock_ns returns `now_ns`, in all threads; 0 goes back to real time. For tests. */
void weir_clock_set_virtual(uint64_t now_ns);
/* While the clock is virtual, wall time is its time and `offset_ns`; 0: wall time is real. For tests. */
void weir_clock_set_virtual_wall(uint64_t offset_ns);

#endif
