/* controller/climb.h - looks for the smallest size, of a pool or a batch, that is worth it: it tries a
 * neighbour of the size that it is at, compares the throughputs, stays or goes back. Pure; it belongs to a
 * controller's state. Any thread.
 *
 *   home ──wait──> try a quarter more (or fewer) ──1..3 samples──> did it pay? ──yes──> home, and on the same
 * way ^                                                                └──no──> back; next time the other
 * way, ever later
 */
#ifndef WEIR_CONTROLLER_CLIMB_H
#define WEIR_CONTROLLER_CLIMB_H

#include <stdbool.h>

/* What a larger size is called in decisions; static strings. */
struct weir_climb_words {
    const char *try_more, *try_fewer, *more_paid, *fewer_paid, *more_failed, *fewer_failed, *thrashing;
};

struct weir_climb_rules {
    double cost; /* gain of throughput over growth of size (10 % more of 25 % more: 0.4) that a larger size
                    must bring */
    double keep; /* share of the best throughput seen of late that a smaller size must have */
    double low, high; /* sizes that may be tried */
    const struct weir_climb_words *words;
};

/* All zero: it knows nothing yet. */
struct weir_climb {
    double home, rate;     /* where it stands; the throughput there, smoothed; 0: not known */
    double best;           /* highest throughput of late */
    double tried, sum;     /* size that is being tried, 0: none; the sum of its samples */
    unsigned looks;        /* … and how many */
    unsigned odd;          /* samples in a row that don't fit to `rate` */
    double wait, pause;    /* usual samples until the next try; how long the last wait was */
    unsigned paid, failed; /* tries in a row that did, that did not pay */
    bool down;             /* the way of the next try */
};

/* One more sample, of the throughput at *size, where work waited all the time; it took as long as `samples`
 * usual ones. The rule that changed *size, NULL: none did. Numbers that are none change nothing. */
const char *weir_climb_step(struct weir_climb *c, const struct weir_climb_rules *r, double rate,
                            double samples, double *size);
/* The throughput said nothing about the size, as little waited: forgets what it knew, and begins anew from
 * wherever it is then. */
void weir_climb_rest(struct weir_climb *c);

#endif
