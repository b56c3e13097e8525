/* admin/routes_control.h - /v1/set, /v1/freeze, /v1/unfreeze, and /v1/events. Control thread. */
#ifndef WEIR_ADMIN_ROUTES_CONTROL_H
#define WEIR_ADMIN_ROUTES_CONTROL_H

struct weir_route_answer;
struct weir_route_ask;

void weir_route_set(struct weir_route_ask *ask, struct weir_route_answer *ret);      /* {"path":, "value":} */
void weir_route_freeze(struct weir_route_ask *ask, struct weir_route_answer *ret);   /* {"path":} */
void weir_route_unfreeze(struct weir_route_ask *ask, struct weir_route_answer *ret); /* {"path":} */
void weir_route_events(struct weir_route_ask *ask, struct weir_route_answer *ret);   /* event_stream.c */

#endif
