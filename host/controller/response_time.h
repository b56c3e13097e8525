/* controller/response_time.h - admission by response time, with classes: SEDA's adaptive overload control. */
#ifndef WEIR_CONTROLLER_RESPONSE_TIME_H
#define WEIR_CONTROLLER_RESPONSE_TIME_H

#include "controller/controller.h"

extern const struct weir_controller_type weir_response_time_type;

#endif
