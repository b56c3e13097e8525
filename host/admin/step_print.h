/* admin/step_print.h - what a controller saw and what it made of that, as JSON: exact numbers, so that the step can be made again from them. What is
 * infinite, or no number, is left out. Any thread. */
#ifndef WEIR_ADMIN_STEP_PRINT_H
#define WEIR_ADMIN_STEP_PRINT_H

#include "controller/journal.h"

struct weir_json_out;

/* "inputs": {…} */
void weir_step_print_inputs(struct weir_json_out *j, const struct weir_sample *s);
/* "settings": {…}, "was": {…}, "at": {…} of a recorded step. */
void weir_step_print_setpoints(struct weir_json_out *j, const struct weir_journal_step *s);

#endif
