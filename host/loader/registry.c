#include "loader/registry.h"

#include <string.h>

const struct weir_source_type *weir_registry_source(const struct weir_registry *r, const char *name)
{
    for (size_t i = 0; i < r->source_count; i++)
        if (strcmp(r->sources[i].type->name, name) == 0)
            return &r->sources[i];
    return NULL;
}

const struct weir_sink_type *weir_registry_sink(const struct weir_registry *r, const char *name)
{
    for (size_t i = 0; i < r->sink_count; i++)
        if (strcmp(r->sinks[i].type->name, name) == 0)
            return &r->sinks[i];
    return NULL;
}
