/* controller/token_bucket.h - admission at a fixed rate. */
#ifndef WEIR_CONTROLLER_TOKEN_BUCKET_H
#define WEIR_CONTROLLER_TOKEN_BUCKET_H

#include "controller/controller.h"

extern const struct weir_controller_type weir_token_bucket_type;

#endif
