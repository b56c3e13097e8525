/* io/file_source.h - the source type `file`: lines, or other frames, of files, which are followed as they
 * grow, over rotation and restarts, or read once. One stream for each file, all on one worker. */
#ifndef WEIR_IO_FILE_SOURCE_H
#define WEIR_IO_FILE_SOURCE_H

#include <stddef.h>

#include "base/err.h"
#include "core/source.h"

struct weir_app_type;
struct weir_conf;
struct weir_stage;

extern const struct weir_app_type weir_file_source_type;

/* As weir_source_type.open. Control thread; looks for the files and reads the state file. */
int weir_file_source_open(struct weir_stage *stage, const struct weir_conf *options,
                          struct weir_source_maker *ret, char *bound, size_t size, struct weir_err *reterr);

#endif
