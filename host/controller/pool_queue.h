/* controller/pool_queue.h - the size of a pool by the length of its queues. Pure; any thread. */
#ifndef WEIR_CONTROLLER_POOL_QUEUE_H
#define WEIR_CONTROLLER_POOL_QUEUE_H

#include "controller/controller.h"

extern const struct weir_controller_type weir_pool_queue_type;

#endif
