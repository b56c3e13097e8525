/* config/network.h - networks as users write them ("10.0.0.0/8", "::1", "unix": clients of unix sockets), and
 * whether an address is in one. IPv4 addresses mapped into IPv6 are IPv4 ones. Pure; any thread. */
#ifndef WEIR_CONFIG_NETWORK_H
#define WEIR_CONFIG_NETWORK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct sockaddr_storage;

enum weir_network_kind { WEIR_NETWORK_UNIX, WEIR_NETWORK_V4, WEIR_NETWORK_V6 };

struct weir_network {
    uint8_t kind;              /* enum weir_network_kind */
    uint8_t bits;              /* of the address that count; all of them: one address */
    unsigned char address[16]; /* 4 of them for IPv4 */
};

/* An address or a network. INVAL: the text says what was expected and what is wrong. */
int weir_network_parse(const char *text, struct weir_network *ret, struct weir_err *reterr);
/* The one address that a peer has, from its text ("127.0.0.1", "::1"; anything else: a unix socket's) or as
 * the system gave it. */
void weir_network_of_text(const char *text, struct weir_network *ret);
void weir_network_of_peer(const struct sockaddr_storage *peer, struct weir_network *ret);
/* Whether the address `one` is in `n`. */
bool weir_network_holds(const struct weir_network *n, const struct weir_network *one);

#endif
