#include "io/datepath.h"

#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "config/conf.h"
#include "config/problems.h"

static const char known[] = "YmdHMSjF%";

int weir_datepath_check(const char *pattern, struct weir_err *reterr)
{
    for (const char *at = strchr(pattern, '%'); at != NULL; at = strchr(at + 2, '%')) {
        if (at[1] == '\0')
            return weir_err_set(reterr, WEIR_E_CONFIG, "'%s' ends in a '%%'; write '%%%%' for the character",
                                pattern);
        if (strchr(known, at[1]) == NULL)
            return weir_err_set(
                reterr, WEIR_E_CONFIG,
                "'%%%c' in '%s' is no date; expected %%Y %%m %%d %%H %%M %%S %%j %%F, or %%%% for a '%%'",
                at[1], pattern);
    }
    return WEIR_OK;
}

void weir_datepath_check_options(const struct weir_conf *options, struct weir_problems *problems)
{
    struct weir_err why;
    if (weir_datepath_check(weir_conf_option_string(options, "path"), &why) < 0)
        weir_problems_error(problems, weir_conf_mark(weir_conf_get(options, "path")), "%s", why.text);
}

bool weir_datepath_varies(const char *pattern)
{
    for (const char *at = strchr(pattern, '%'); at != NULL && at[1] != '\0'; at = strchr(at + 2, '%'))
        if (at[1] != '%')
            return true;
    return false;
}

int weir_datepath_expand(const char *pattern, uint64_t wall_ns, char *out, size_t size)
{
    time_t seconds = (time_t)(wall_ns / WEIR_NS_PER_S);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    size_t len = 0;
    for (const char *at = pattern; *at != '\0'; at++) {
        char text[16] = {*at, '\0'};
        size_t n = 1;
        if (*at == '%' && at[1] == '%') {
            at++;
        } else if (*at == '%') {
            char format[3] = {'%', *++at, '\0'};
            n = strftime(text, sizeof text, format, &tm);
        }
        if (len + n >= size)
            return WEIR_E_LIMIT;
        memcpy(out + len, text, n);
        len += n;
    }
    out[len] = '\0';
    return WEIR_OK;
}
