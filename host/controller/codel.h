/* controller/codel.h - admission by queueing delay: Controlled Delay for request queues. */
#ifndef WEIR_CONTROLLER_CODEL_H
#define WEIR_CONTROLLER_CODEL_H

#include "controller/controller.h"

extern const struct weir_controller_type weir_codel_type;

#endif
