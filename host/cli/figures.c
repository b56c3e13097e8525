#include "cli/figures.h"

#include <inttypes.h>
#include <stdio.h>

const char *weir_figure_us(char out[WEIR_FIGURE_MAX], int64_t us)
{
    double n = (double)us;
    if (us < 1000)
        (void)snprintf(out, WEIR_FIGURE_MAX, "%" PRId64 "us", us); /* all of these fit */
    else if (n < 1e6)
        (void)snprintf(out, WEIR_FIGURE_MAX, n < 9950 ? "%.1fms" : "%.0fms", n / 1e3);
    else
        (void)snprintf(out, WEIR_FIGURE_MAX, n < 9.95e6 ? "%.1fs" : "%.0fs", n / 1e6);
    return out;
}

const char *weir_figure_seconds(char out[WEIR_FIGURE_MAX], double s)
{
    uint64_t n = s > 0 ? (uint64_t)s : 0;
    if (n < 60)
        (void)snprintf(out, WEIR_FIGURE_MAX, "%" PRIu64 "s", n); /* all of these fit */
    else if (n < 3600)
        (void)snprintf(out, WEIR_FIGURE_MAX, "%" PRIu64 "m%02us", n / 60, (unsigned)(n % 60));
    else if (n < 86400)
        (void)snprintf(out, WEIR_FIGURE_MAX, "%" PRIu64 "h%02um", n / 3600, (unsigned)(n / 60 % 60));
    else
        (void)snprintf(out, WEIR_FIGURE_MAX, "%" PRIu64 "d%02uh", n / 86400, (unsigned)(n / 3600 % 24));
    return out;
}

const char *weir_figure_bytes(char out[WEIR_FIGURE_MAX], uint64_t n)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double value = (double)n;
    size_t unit = 0;
    while (value >= 1024 && unit + 1 < sizeof units / sizeof units[0]) {
        value /= 1024;
        unit++;
    }
    const char *format =
        unit == 0 || value == (double)(uint64_t)value || value >= 99.95 ? "%.0f%s" : "%.1f%s";
    (void)snprintf(out, WEIR_FIGURE_MAX, format, value, units[unit]); /* it fits */
    return out;
}
