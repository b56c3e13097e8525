/* Every controller there is. */
#include "controller/controller.h"
#include "controller/pool_queue.h"

const struct weir_controller_type *const weir_controller_types[] = {&weir_pool_queue_type};
const size_t weir_controller_type_count = sizeof weir_controller_types / sizeof weir_controller_types[0];
