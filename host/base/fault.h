/* base/fault.h - named failures for tests: a place that can fail for a reason a test can't bring about asks
 * WEIR_FAULT(NAME) first. In builds without WEIR_TESTING that is the constant false. Threads: any. */
#ifndef WEIR_BASE_FAULT_H
#define WEIR_BASE_FAULT_H

#include <stdbool.h>

#include "base/fault_list.h"

enum weir_fault {
#define X(name, text) WEIR_FAULT_##name,
    WEIR_FAULT_LIST(X)
#undef X
    WEIR_FAULT_COUNT
};

/* The next `times` passes of the named place fail. Test builds; nothing elsewhere. */
void weir_fault_arm(enum weir_fault fault, int times);
/* Arms from the environment: WEIR_FAULTS="ACCEPT_EMFILE=3,…". Unknown names are ignored. Test builds; nothing elsewhere. */
void weir_fault_arm_from_env(void);
/* Whether this pass fails; uses up one of the armed times. */
bool weir_fault_fires(enum weir_fault fault);

#ifdef WEIR_TESTING
#define WEIR_FAULT(name) weir_fault_fires(WEIR_FAULT_##name)
#else
#define WEIR_FAULT(name) false
#endif

#endif
