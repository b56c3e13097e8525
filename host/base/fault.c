#include "base/fault.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static _Atomic int armed[WEIR_FAULT_COUNT]; /* [atomic relaxed] passes left to fail */

static const char *const names[] = {
#define X(name, text) #name,
    WEIR_FAULT_LIST(X)
#undef X
};

void weir_fault_arm(enum weir_fault fault, int times)
{
    atomic_store_explicit(&armed[fault], times, memory_order_relaxed);
}

void weir_fault_arm_from_env(void)
{
    const char *spec = getenv("WEIR_FAULTS");
    for (int i = 0; spec != NULL && i < WEIR_FAULT_COUNT; i++) {
        const char *at = strstr(spec, names[i]);
        if (at != NULL && at[strlen(names[i])] == '=')
            weir_fault_arm((enum weir_fault)i, (int)strtol(at + strlen(names[i]) + 1, NULL, 10));
    }
}

bool weir_fault_fires(enum weir_fault fault)
{
    int left = atomic_load_explicit(&armed[fault], memory_order_relaxed);
    while (left > 0) {
        if (atomic_compare_exchange_weak_explicit(&armed[fault], &left, left - 1, memory_order_relaxed,
                                                  memory_order_relaxed))
            return true;
    }
    return false;
}
