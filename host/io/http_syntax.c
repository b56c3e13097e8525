#include "io/http_syntax.h"

#include <string.h>
#include <strings.h>

enum { TOKEN = 1, TARGET = 2, REG_NAME = 4 };

/* What each ASCII character may be part of; all others: of nothing. */
static const unsigned char classes[128] = {
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 7, 2, 1, 7, 7, 7, 7, 6, 6, 7, 7, 6, 7, 7, 2, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 2, 6, 2, 6, 2, 2,
    2, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 2, 2, 2, 3, 7,
    3, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 2, 3, 2, 7, 0,
};

static bool all_are(const char *s, size_t len, int class)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)s[i];
        if (c >= sizeof classes || !(classes[c] & class))
            return false;
    }
    return true;
}

bool weir_http_is_token(const char *s, size_t len)
{
    return len > 0 && all_are(s, len, TOKEN);
}

bool weir_http_is_value(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)s[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return false;
    }
    return true;
}

bool weir_http_text_is(struct weir_http_text t, const char *lower)
{
    return strlen(lower) == t.len && strncasecmp(t.data, lower, t.len) == 0;
}

static bool is_port(const char *s, size_t len)
{
    unsigned long port = 0;
    for (size_t i = 0; i < len; i++) {
        if (s[i] < '0' || s[i] > '9' || len > 5)
            return false;
        port = port * 10 + (unsigned long)(s[i] - '0');
    }
    return port <= 65535;
}

static bool is_bracketed(const char *s, size_t len)
{
    /* an address is only checked for its characters: nothing here depends on its value */
    for (size_t i = 0; i < len; i++) {
        if (s[i] == '\0' || strchr("0123456789abcdefABCDEF:.", s[i]) == NULL)
            return false;
    }
    return len >= 2;
}

bool weir_http_is_host(struct weir_http_text t, bool may_be_empty)
{
    if (t.len == 0)
        return may_be_empty;
    const char *end = t.data + t.len, *colon;
    if (t.data[0] == '[') {
        const char *close = memchr(t.data, ']', t.len);
        if (close == NULL || !is_bracketed(t.data + 1, (size_t)(close - t.data) - 1))
            return false;
        colon = close + 1;
        if (colon == end)
            return true;
        return *colon == ':' && is_port(colon + 1, (size_t)(end - colon) - 1);
    }
    colon = memchr(t.data, ':', t.len);
    size_t name = colon != NULL ? (size_t)(colon - t.data) : t.len;
    if (name == 0 || !all_are(t.data, name, REG_NAME))
        return false;
    return colon == NULL || is_port(colon + 1, (size_t)(end - colon) - 1);
}

static void split_query(const char *s, size_t len, struct weir_http_text *ret_path,
                        struct weir_http_text *ret_query)
{
    const char *mark = memchr(s, '?', len);
    size_t path = mark != NULL ? (size_t)(mark - s) : len;
    *ret_path = (struct weir_http_text){s, path};
    *ret_query = mark != NULL ? (struct weir_http_text){mark + 1, len - path - 1}
                              : (struct weir_http_text){s + len, 0};
}

static int split_absolute(struct weir_http_text t, struct weir_http_text *ret_path,
                          struct weir_http_text *ret_query, struct weir_http_text *ret_host)
{
    size_t scheme = t.len >= 8 && strncasecmp(t.data, "https://", 8) == 0 ? 8 : 7;
    if (t.len < scheme || (scheme == 7 && strncasecmp(t.data, "http://", 7) != 0))
        return 400;
    const char *host = t.data + scheme, *end = t.data + t.len, *p = host;
    while (p < end && *p != '/' && *p != '?')
        p++;
    *ret_host = (struct weir_http_text){host, (size_t)(p - host)};
    if (!weir_http_is_host(*ret_host, false))
        return 400;
    split_query(p, (size_t)(end - p), ret_path, ret_query);
    if (ret_path->len == 0)
        *ret_path = (struct weir_http_text){"/", 1};
    return 0;
}

int weir_http_split_target(struct weir_http_text method, struct weir_http_text target,
                           struct weir_http_text *ret_path, struct weir_http_text *ret_query,
                           struct weir_http_text *ret_host)
{
    *ret_host = (struct weir_http_text){"", 0};
    if (target.len == 0 || !all_are(target.data, target.len, TARGET))
        return 400;
    if (method.len == 7 && memcmp(method.data, "CONNECT", 7) == 0)
        return 405;
    if (target.data[0] == '/') {
        split_query(target.data, target.len, ret_path, ret_query);
        return 0;
    }
    if (target.len == 1 && target.data[0] == '*') {
        *ret_path = target;
        *ret_query = (struct weir_http_text){"", 0};
        return method.len == 7 && memcmp(method.data, "OPTIONS", 7) == 0 ? 0 : 400;
    }
    return split_absolute(target, ret_path, ret_query, ret_host);
}

struct weir_http_text weir_http_trim(struct weir_http_text t)
{
    while (t.len > 0 && (t.data[0] == ' ' || t.data[0] == '\t')) {
        t.data++;
        t.len--;
    }
    while (t.len > 0 && (t.data[t.len - 1] == ' ' || t.data[t.len - 1] == '\t'))
        t.len--;
    return t;
}

bool weir_http_list_next(struct weir_http_text *list, struct weir_http_text *ret)
{
    if (list->data == NULL)
        return false;
    const char *comma = list->len > 0 ? memchr(list->data, ',', list->len) : NULL;
    size_t len = comma != NULL ? (size_t)(comma - list->data) : list->len;
    *ret = weir_http_trim((struct weir_http_text){list->data, len});
    if (comma != NULL)
        *list = (struct weir_http_text){comma + 1, list->len - len - 1};
    else
        *list = (struct weir_http_text){NULL, 0};
    return true;
}

bool weir_http_list_has(struct weir_http_text list, const char *lower)
{
    struct weir_http_text item;
    while (weir_http_list_next(&list, &item)) {
        if (weir_http_text_is(item, lower))
            return true;
    }
    return false;
}

int weir_http_check_transfer(struct weir_http_text value)
{
    if (weir_http_text_is(value, "chunked"))
        return 0;
    struct weir_http_text item;
    size_t items = 0, chunked_at = 0, chunked = 0;
    while (weir_http_list_next(&value, &item)) {
        items++;
        if (!weir_http_is_token(item.data, item.len))
            return 400;
        if (weir_http_text_is(item, "chunked")) {
            chunked++;
            chunked_at = items;
        }
    }
    bool clear_end = chunked == 0 || (chunked == 1 && chunked_at == items);
    return clear_end ? 501 : 400;
}
