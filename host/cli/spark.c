#include "cli/spark.h"

static double largest(const json_t *numbers, size_t from, size_t to)
{
    double most = 0;
    for (size_t i = from; i < to; i++) {
        double n = json_number_value(json_array_get(numbers, i));
        most = n > most ? n : most;
    }
    return most;
}

double weir_spark_most(const json_t *numbers)
{
    return largest(numbers, 0, json_array_size(numbers));
}

void weir_spark_draw(const json_t *numbers, double most, size_t width, struct weir_strbuf *out)
{
    static const char *const bars[] = {"_", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    enum { TOP = sizeof bars / sizeof bars[0] - 1 };
    size_t n = json_array_size(numbers);
    size_t shown = n < width ? n : width;
    for (size_t i = 0; i < shown; i++) {
        double value = largest(numbers, n * i / shown, n * (i + 1) / shown);
        size_t bar = most > 0 ? (size_t)(value / most * TOP) : 0;
        if (value > 0 && bar == 0)
            bar = 1; /* a little is not nothing */
        weir_strbuf_adds(out, bars[bar < TOP ? bar : TOP]);
    }
}
