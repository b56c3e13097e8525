#include "cli/overload_draw.h"

#include <string.h>

/* "memory 91%, descriptors 3%" */
static void draw_pressures(const json_t *overload, struct weir_strbuf *out)
{
    const char *name;
    json_t *one;
    bool more = false;
    json_object_foreach(json_object_get(overload, "pressure"), name, one)
    {
        double share = json_number_value(json_object_get(one, "pressure"));
        weir_strbuf_addf(out, "%s%s %.0f%%", more ? ", " : "", name, 100 * share);
        more = true;
    }
}

bool weir_overload_draw(const json_t *stats, struct weir_strbuf *out)
{
    const json_t *overload = json_object_get(stats, "overload");
    const char *name;
    json_t *level;
    bool any = false;
    json_object_foreach(json_object_get(overload, "actions"), name, level)
    {
        long long n = (long long)json_integer_value(level);
        bool scaled = strcmp(name, "shrink") == 0 || strcmp(name, "shed") == 0;
        if (n == 0)
            continue;
        if (!any) {
            weir_strbuf_adds(out, "overload  ");
            draw_pressures(overload, out);
        }
        weir_strbuf_addf(out, "%s%s", any ? ", " : ": ", name);
        if (scaled)
            weir_strbuf_addf(out, " %lld", n);
        any = true;
    }
    return any;
}
