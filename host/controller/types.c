/* Every controller there is. */
#include "controller/batch_throughput.h"
#include "controller/codel.h"
#include "controller/controller.h"
#include "controller/gradient.h"
#include "controller/pool_hillclimb.h"
#include "controller/pool_queue.h"
#include "controller/response_time.h"
#include "controller/token_bucket.h"

const struct weir_controller_type *const weir_controller_types[] = {
    &weir_pool_queue_type,
    &weir_pool_hillclimb_type,
    &weir_batch_throughput_type,
    &weir_response_time_type,
    &weir_codel_type,
    &weir_gradient_type,
    &weir_token_bucket_type,
};
const size_t weir_controller_type_count = sizeof weir_controller_types / sizeof weir_controller_types[0];

static const struct weir_option script_options[] = {
    [WEIR_SCRIPT_INTERVAL] = {.name = "interval",
                              .type = WEIR_OPTION_DURATION,
                              .fallback = "100ms",
                              .min = 20000000,
                              .max = 3600000000000,
                              .text = "between two steps"},
    {.name = "percentile", .type = WEIR_OPTION_NUMBER, .fallback = "90", .min = 1, .max = 100, .text = "of the sample's times"},
};

const struct weir_app_controller_type weir_controller_script = {
    .name = "script",
    .text = "a script of the application",
    .options = script_options,
    .option_count = sizeof script_options / sizeof script_options[0],
};
