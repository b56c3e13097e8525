#include "config/network.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define FORM "expected a network such as 10.0.0.0/8, 192.0.2.7, fd00::/8 or unix"

static int refuse(struct weir_err *reterr, const char *text, const char *why)
{
    return weir_err_set(reterr, WEIR_E_INVAL, FORM ", found '%.60s': %s", text, why);
}

static unsigned size_of(const struct weir_network *n)
{
    return n->kind == WEIR_NETWORK_V4 ? 32 : n->kind == WEIR_NETWORK_V6 ? 128 : 0;
}

static bool parse_host(const char *host, struct weir_network *ret)
{
    *ret = (struct weir_network){.kind = WEIR_NETWORK_V4, .bits = 32};
    if (inet_pton(AF_INET, host, ret->address) == 1)
        return true;
    *ret = (struct weir_network){.kind = WEIR_NETWORK_V6, .bits = 128};
    return inet_pton(AF_INET6, host, ret->address) == 1;
}

static bool parse_bits(const char *s, unsigned max, uint8_t *ret)
{
    unsigned bits = 0;
    if (*s == '\0')
        return false;
    for (; *s != '\0'; s++) {
        if (*s < '0' || *s > '9')
            return false;
        bits = bits * 10 + (unsigned)(*s - '0');
        if (bits > max)
            return false;
    }
    *ret = (uint8_t)bits;
    return true;
}

/* Clears what is behind the network's bits; whether there was anything. */
static bool mask(struct weir_network *n)
{
    bool changed = false;
    for (unsigned i = 0; i < sizeof n->address; i++) {
        unsigned kept = n->bits <= i * 8 ? 0 : n->bits - i * 8;
        unsigned char bits = (unsigned char)(0xff00u >> (kept < 8 ? kept : 8));
        changed |= (n->address[i] & ~bits) != 0;
        n->address[i] &= bits;
    }
    return changed;
}

static int refuse_host_bits(struct weir_err *reterr, const char *text, const struct weir_network *n)
{
    char host[INET6_ADDRSTRLEN] = "";
    inet_ntop(n->kind == WEIR_NETWORK_V4 ? AF_INET : AF_INET6, n->address, host, sizeof host);
    return weir_err_set(reterr, WEIR_E_INVAL,
                        "'%.60s': the address has bits behind the first %u; is %s/%u meant?", text, n->bits,
                        host, n->bits);
}

int weir_network_parse(const char *text, struct weir_network *ret, struct weir_err *reterr)
{
    struct weir_network n;
    char host[64];
    const char *slash = strchr(text, '/');
    size_t len = slash != NULL ? (size_t)(slash - text) : strlen(text);
    if (strcmp(text, "unix") == 0) {
        *ret = (struct weir_network){.kind = WEIR_NETWORK_UNIX};
        return WEIR_OK;
    }
    if (len >= sizeof host)
        return refuse(reterr, text, "that is too long");
    memcpy(host, text, len);
    host[len] = '\0';
    if (!parse_host(host, &n))
        return refuse(reterr, text, "the address is neither of IPv4 nor of IPv6");
    if (slash != NULL && !parse_bits(slash + 1, size_of(&n), &n.bits))
        return refuse(reterr, text,
                      n.kind == WEIR_NETWORK_V4 ? "behind the '/' stands a number from 0 to 32"
                                                : "behind the '/' stands a number from 0 to 128");
    if (mask(&n))
        return refuse_host_bits(reterr, text, &n);
    *ret = n;
    return WEIR_OK;
}

static void unmap(struct weir_network *n)
{
    static const unsigned char mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    if (n->kind != WEIR_NETWORK_V6 || memcmp(n->address, mapped, sizeof mapped) != 0)
        return;
    struct weir_network v4 = {.kind = WEIR_NETWORK_V4, .bits = 32};
    memcpy(v4.address, n->address + sizeof mapped, 4);
    *n = v4;
}

void weir_network_of_text(const char *text, struct weir_network *ret)
{
    if (parse_host(text, ret))
        unmap(ret);
    else
        *ret = (struct weir_network){.kind = WEIR_NETWORK_UNIX};
}

void weir_network_of_peer(const struct sockaddr_storage *peer, struct weir_network *ret)
{
    *ret = (struct weir_network){.kind = WEIR_NETWORK_UNIX};
    if (peer->ss_family == AF_INET) {
        *ret = (struct weir_network){.kind = WEIR_NETWORK_V4, .bits = 32};
        memcpy(ret->address, &((const struct sockaddr_in *)(const void *)peer)->sin_addr, 4);
    } else if (peer->ss_family == AF_INET6) {
        *ret = (struct weir_network){.kind = WEIR_NETWORK_V6, .bits = 128};
        memcpy(ret->address, &((const struct sockaddr_in6 *)(const void *)peer)->sin6_addr, 16);
        unmap(ret);
    }
}

bool weir_network_holds(const struct weir_network *n, const struct weir_network *one)
{
    if (n->kind != one->kind)
        return false;
    struct weir_network cut = *one;
    cut.bits = n->bits;
    mask(&cut);
    return memcmp(cut.address, n->address, sizeof cut.address) == 0;
}
