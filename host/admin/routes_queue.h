/* admin/routes_queue.h - the routes under /v1/queue, and /v1/tap. Control thread. */
#ifndef WEIR_ADMIN_ROUTES_QUEUE_H
#define WEIR_ADMIN_ROUTES_QUEUE_H

struct weir_route_answer;
struct weir_route_ask;

void weir_route_queue_list(struct weir_route_ask *ask, struct weir_route_answer *ret);
void weir_route_queue_peek(struct weir_route_ask *ask, struct weir_route_answer *ret);
void weir_route_queue_history(struct weir_route_ask *ask, struct weir_route_answer *ret);
void weir_route_queue_drop(struct weir_route_ask *ask, struct weir_route_answer *ret);
void weir_route_queue_pause(struct weir_route_ask *ask, struct weir_route_answer *ret);
void weir_route_queue_resume(struct weir_route_ask *ask, struct weir_route_answer *ret);
void weir_route_tap(struct weir_route_ask *ask, struct weir_route_answer *ret); /* tap_stream.c */

#endif
