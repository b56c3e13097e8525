/* admin/build_info.h - what this program is made of. Static strings; any thread. */
#ifndef WEIR_ADMIN_BUILD_INFO_H
#define WEIR_ADMIN_BUILD_INFO_H

#include <stdbool.h>
#include <stddef.h>

struct weir_build_library {
    const char *name, *version;
};

const char *weir_build_version(void);
/* "Debug", "RelWithDebInfo"; "none" when nothing was said. */
const char *weir_build_type(void);
/* "address,undefined"; "" without. */
const char *weir_build_sanitizers(void);
/* Whether it counts allocations and can inject faults. */
bool weir_build_testing(void);
/* "gcc 12.2.0". */
const char *weir_build_compiler(void);
/* The i-th library it is built with, from 0; false: no more. */
bool weir_build_library(size_t i, struct weir_build_library *ret);

#endif
