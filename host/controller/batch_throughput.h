/* controller/batch_throughput.h - the size of a stage's batches by the throughput they bring. Pure; any
 * thread. */
#ifndef WEIR_CONTROLLER_BATCH_THROUGHPUT_H
#define WEIR_CONTROLLER_BATCH_THROUGHPUT_H

#include "controller/controller.h"

extern const struct weir_controller_type weir_batch_throughput_type;

#endif
