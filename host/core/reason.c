#include "core/reason.h"

static const struct {
    const char *outcome, *text;
} reasons[] = {
#define X(name, outcome, text) {#outcome, text},
    WEIR_REASON_MAP(X)
#undef X
    {"handled", "none"},
};

const char *weir_reason_text(enum weir_reason reason)
{
    return reasons[reason].text;
}

const char *weir_reason_outcome(enum weir_reason reason)
{
    return reasons[reason].outcome;
}

bool weir_reason_is_expired(enum weir_reason reason)
{
    return reason == WEIR_REASON_DEADLINE || reason == WEIR_REASON_MAX_AGE || reason == WEIR_REASON_GONE;
}
