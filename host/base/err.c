#include "base/err.h"

#include <stdio.h>

int weir_err_vset(struct weir_err *err, int code, const char *fmt, va_list ap)
{
    if (err != NULL) {
        err->code = code;
        vsnprintf(err->text, sizeof err->text, fmt, ap);
    }
    return code;
}

int weir_err_set(struct weir_err *err, int code, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    weir_err_vset(err, code, fmt, ap);
    va_end(ap);
    return code;
}

const char *weir_err_name(int code)
{
    switch (code) {
#define X(name, text)                                                                                        \
    case WEIR_E_##name:                                                                                      \
        return #name;
        WEIR_ERR_MAP(X)
#undef X
    default:
        return code == WEIR_OK ? "OK" : "UNKNOWN";
    }
}

const char *weir_err_text(int code)
{
    switch (code) {
#define X(name, text)                                                                                        \
    case WEIR_E_##name:                                                                                      \
        return text;
        WEIR_ERR_MAP(X)
#undef X
    default:
        return code == WEIR_OK ? "done" : "unknown error";
    }
}
