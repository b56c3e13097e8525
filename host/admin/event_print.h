/* admin/event_print.h - an event as one line of JSON, as `weir queue peek` and `weir tap` show it. Pure; any thread. */
#ifndef WEIR_ADMIN_EVENT_PRINT_H
#define WEIR_ADMIN_EVENT_PRINT_H

#include <stddef.h>
#include <stdint.h>

#include "core/value.h"

struct weir_graph;
struct weir_json_out;

/* Writes `key` and the value. Longer than `max` bytes of JSON: "KEY_cut": the first of them as text, "KEY_bytes": how many there were. */
void weir_event_print_value(struct weir_json_out *j, const char *key, struct weir_value v, size_t max);

#endif
