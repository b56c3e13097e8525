/* controller/gradient.h - admission by a limit on events in hand, found from how response times grow. */
#ifndef WEIR_CONTROLLER_GRADIENT_H
#define WEIR_CONTROLLER_GRADIENT_H

#include "controller/controller.h"

extern const struct weir_controller_type weir_gradient_type;

#endif
