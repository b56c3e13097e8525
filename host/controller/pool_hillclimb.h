/* controller/pool_hillclimb.h - the size of a pool by what more workers bring. Pure; any thread. */
#ifndef WEIR_CONTROLLER_POOL_HILLCLIMB_H
#define WEIR_CONTROLLER_POOL_HILLCLIMB_H

#include "controller/controller.h"

extern const struct weir_controller_type weir_pool_hillclimb_type;

#endif
