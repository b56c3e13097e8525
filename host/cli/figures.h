/* cli/figures.h - numbers as people read them. Pure; any thread. */
#ifndef WEIR_CLI_FIGURES_H
#define WEIR_CLI_FIGURES_H

#include <stdint.h>

enum { WEIR_FIGURE_MAX = 32 };

/* Each writes into `out` and returns it. */
const char *weir_figure_us(char out[WEIR_FIGURE_MAX], int64_t us);    /* 850us 1.2ms 34ms 4.5s */
const char *weir_figure_seconds(char out[WEIR_FIGURE_MAX], double s); /* 12s 3m05s 2h07m 4d03h */
const char *weir_figure_bytes(char out[WEIR_FIGURE_MAX], uint64_t n); /* 512B 1.5KiB 64MiB */

#endif
