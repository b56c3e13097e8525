#include "config/address.h"

#include <arpa/inet.h>
#include <string.h>
#include <strings.h>
#include <sys/un.h>

#define FORM "expected an address such as :8080, 127.0.0.1:8080, [::1]:8080 or unix:/run/x.sock"

static int refuse(struct weir_err *reterr, const char *text, const char *why)
{
    return weir_err_set(reterr, WEIR_E_INVAL, FORM ", found '%.60s': %s", text, why);
}

static bool copy_host(struct weir_address *a, const char *s, size_t len)
{
    if (len >= sizeof a->host)
        return false;
    memcpy(a->host, s, len);
    a->host[len] = '\0';
    return true;
}

static const char *parse_port(const char *s, uint16_t *ret)
{
    uint32_t port = 0;
    if (*s == '\0')
        return "the port is missing";
    for (; *s != '\0'; s++) {
        if (*s < '0' || *s > '9')
            return "the port is not a number";
        port = port * 10 + (uint32_t)(*s - '0');
        if (port > 65535)
            return "the port is over 65535";
    }
    *ret = (uint16_t)port;
    return NULL;
}

static const char *parse_unix(const char *path, struct weir_address *a)
{
    a->is_unix = a->loopback = true;
    if (*path == '\0')
        return "the path is missing";
    if (strlen(path) >= sizeof((struct sockaddr_un *)0)->sun_path)
        return "the path is longer than a unix socket's may be (107 bytes)";
    return copy_host(a, path, strlen(path)) ? NULL : "the path is too long";
}

static const char *parse_v6(const char *text, struct weir_address *a)
{
    const char *close = strchr(text, ']');
    struct in6_addr v6;
    if (close == NULL)
        return "the ']' is missing";
    if (!copy_host(a, text + 1, (size_t)(close - text - 1)) || inet_pton(AF_INET6, a->host, &v6) != 1)
        return "what is in [ ] is not an IPv6 address";
    a->loopback = memcmp(&v6, &in6addr_loopback, sizeof v6) == 0;
    return close[1] == ':' ? parse_port(close + 2, &a->port) : "the port is missing";
}

static bool is_host(const char *s)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_";
    return s[strspn(s, letters)] == '\0';
}

static const char *parse_host(const char *text, struct weir_address *a)
{
    const char *colon = strrchr(text, ':');
    struct in_addr v4;
    if (colon == NULL)
        return "the port is missing";
    if (memchr(text, ':', (size_t)(colon - text)) != NULL)
        return "an IPv6 address is written in [ ]";
    if (!copy_host(a, text, (size_t)(colon - text)))
        return "the host is too long";
    if (!is_host(a->host))
        return "the host is not a name or an address";
    if (inet_pton(AF_INET, a->host, &v4) == 1)
        a->loopback = ntohl(v4.s_addr) >> 24 == 127;
    else
        a->loopback = strcasecmp(a->host, "localhost") == 0;
    return parse_port(colon + 1, &a->port);
}

int weir_address_parse(const char *text, struct weir_address *ret, struct weir_err *reterr)
{
    struct weir_address a;
    memset(&a, 0, sizeof a);
    const char *wrong = strncmp(text, "unix:", 5) == 0 ? parse_unix(text + 5, &a)
                        : text[0] == '['               ? parse_v6(text, &a)
                                                       : parse_host(text, &a);
    if (wrong != NULL)
        return refuse(reterr, text, wrong);
    *ret = a;
    return WEIR_OK;
}
