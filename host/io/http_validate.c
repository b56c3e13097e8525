#include "io/http_validate.h"

#include <stdio.h>
#include <string.h>

#include "io/http_syntax.h"

static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                   "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

void weir_http_date_print(time_t seconds, char out[WEIR_HTTP_DATE_LEN + 1])
{
    struct tm tm;
    if (gmtime_r(&seconds, &tm) == NULL ||
        strftime(out, WEIR_HTTP_DATE_LEN + 1, "%a, %d %b %Y %H:%M:%S GMT", &tm) == 0)
        memcpy(out, "Thu, 01 Jan 1970 00:00:00 GMT", WEIR_HTTP_DATE_LEN + 1);
}

static int month_of(const char *name)
{
    for (int i = 0; i < 12; i++) {
        if (strcmp(months[i], name) == 0)
            return i;
    }
    return -1;
}

bool weir_http_date_parse(struct weir_http_text t, time_t *ret)
{
    char s[64], month[4] = "", zone[4] = "";
    struct tm tm = {.tm_isdst = 0};
    int used = 0, year = 0;
    if (t.len >= sizeof s)
        return false;
    memcpy(s, t.data, t.len);
    s[t.len] = '\0';
    bool imf = sscanf(s, "%*3[A-Za-z], %2d %3s %4d %2d:%2d:%2d %3s%n", &tm.tm_mday, month, &year, &tm.tm_hour,
                      &tm.tm_min, &tm.tm_sec, zone, &used) == 7;
    bool rfc850 = false, asctime = false;
    if (!imf) {
        rfc850 = sscanf(s, "%*9[A-Za-z], %2d-%3[A-Za-z]-%2d %2d:%2d:%2d %3s%n", &tm.tm_mday, month, &year,
                        &tm.tm_hour, &tm.tm_min, &tm.tm_sec, zone, &used) == 7;
        year += year < 70 ? 2000 : 1900;
    }
    if (!imf && !rfc850) {
        asctime = sscanf(s, "%*3[A-Za-z] %3s %2d %2d:%2d:%2d %4d%n", month, &tm.tm_mday, &tm.tm_hour,
                         &tm.tm_min, &tm.tm_sec, &year, &used) == 6;
        memcpy(zone, "GMT", 4);
    }
    tm.tm_mon = month_of(month);
    tm.tm_year = year - 1900;
    bool sane = tm.tm_mon >= 0 && year >= 1900 && tm.tm_mday >= 1 && tm.tm_mday <= 31 && tm.tm_hour >= 0 &&
                tm.tm_hour <= 23 && tm.tm_min >= 0 && tm.tm_min <= 59 && tm.tm_sec >= 0 && tm.tm_sec <= 60;
    if (!(imf || rfc850 || asctime) || !sane || strcmp(zone, "GMT") != 0 || (size_t)used != t.len)
        return false;
    *ret = timegm(&tm);
    return true;
}

/* Whether a list of entity tags holds ours. `weak`: a weak tag is as good. */
static bool matches(struct weir_http_text list, struct weir_http_text etag, bool weak)
{
    struct weir_http_text item;
    if (list.len == 1 && list.data[0] == '*')
        return true;
    while (weir_http_list_next(&list, &item)) {
        if (weak && item.len > 2 && item.data[0] == 'W' && item.data[1] == '/')
            item = (struct weir_http_text){item.data + 2, item.len - 2};
        if (item.len == etag.len && memcmp(item.data, etag.data, etag.len) == 0)
            return true;
    }
    return false;
}

static const struct weir_http_text *header(const struct weir_http_request *r, const char *name)
{
    return weir_http_request_header(r, name, strlen(name));
}

static bool is_get_or_head(const struct weir_http_request *r)
{
    return weir_http_text_is(r->method, "get") || weir_http_text_is(r->method, "head");
}

int weir_http_evaluate(const struct weir_http_request *r, const struct weir_http_validators *v)
{
    const struct weir_http_text *h;
    time_t when;
    if ((h = header(r, "if-match")) != NULL) {
        if (!matches(*h, v->etag, false))
            return 412;
    } else if ((h = header(r, "if-unmodified-since")) != NULL && weir_http_date_parse(*h, &when) &&
               v->modified > when) {
        return 412;
    }
    if ((h = header(r, "if-none-match")) != NULL) {
        if (matches(*h, v->etag, true))
            return is_get_or_head(r) ? 304 : 412;
    } else if (is_get_or_head(r) && (h = header(r, "if-modified-since")) != NULL &&
               weir_http_date_parse(*h, &when) && v->modified <= when) {
        return 304;
    }
    return 200;
}

/* Digits to a number; false: none, another character, or more than fits. */
static bool read_number(struct weir_http_text t, uint64_t *ret)
{
    uint64_t n = 0;
    if (t.len == 0 || t.len > 18)
        return false;
    for (size_t i = 0; i < t.len; i++) {
        if (t.data[i] < '0' || t.data[i] > '9')
            return false;
        n = n * 10 + (uint64_t)(t.data[i] - '0');
    }
    *ret = n;
    return true;
}

static int parse_range(struct weir_http_text t, uint64_t size, struct weir_http_range *ret)
{
    const char *dash = memchr(t.data, '-', t.len);
    if (dash == NULL)
        return 200;
    struct weir_http_text from = weir_http_trim((struct weir_http_text){t.data, (size_t)(dash - t.data)});
    struct weir_http_text to =
        weir_http_trim((struct weir_http_text){dash + 1, t.len - (size_t)(dash - t.data) - 1});
    uint64_t first, last;
    if (from.len == 0) { /* the last N bytes */
        if (!read_number(to, &last))
            return 200;
        if (last == 0 || size == 0)
            return 416;
        *ret = (struct weir_http_range){last < size ? size - last : 0, last < size ? last : size};
        return 206;
    }
    if (!read_number(from, &first) || (to.len > 0 && (!read_number(to, &last) || last < first)))
        return 200;
    if (first >= size)
        return 416;
    if (to.len == 0 || last >= size)
        last = size - 1;
    *ret = (struct weir_http_range){first, last - first + 1};
    return 206;
}

int weir_http_range(const struct weir_http_request *r, const struct weir_http_validators *v, uint64_t size,
                    struct weir_http_range *ret)
{
    const struct weir_http_text *range = header(r, "range"), *condition = header(r, "if-range");
    time_t when;
    if (range == NULL || !weir_http_text_is(r->method, "get"))
        return 200;
    if (condition != NULL) {
        bool same = condition->len > 0 && condition->data[0] == '"'
                        ? matches(*condition, v->etag, false)
                        : weir_http_date_parse(*condition, &when) && when == v->modified;
        if (!same)
            return 200;
    }
    if (range->len < 6 || !weir_http_text_is((struct weir_http_text){range->data, 6}, "bytes=") ||
        memchr(range->data, ',', range->len) != NULL)
        return 200;
    return parse_range((struct weir_http_text){range->data + 6, range->len - 6}, size, ret);
}
