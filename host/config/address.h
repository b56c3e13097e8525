/* config/address.h - addresses as users write them: ":8080", "127.0.0.1:80", "[::1]:8080", "name:80",
 * "unix:/run/x.sock". Only the form is checked; names are not looked up. Pure; any thread. */
#ifndef WEIR_CONFIG_ADDRESS_H
#define WEIR_CONFIG_ADDRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define WEIR_ADDRESS_HOST 256

struct weir_address {
    bool is_unix;                 /* `host` is a path then */
    char host[WEIR_ADDRESS_HOST]; /* without brackets; "" for ":8080": every interface */
    uint16_t port;                /* 0: the system chooses */
    bool loopback;                /* only this machine reaches it: unix, 127.x.x.x, ::1, localhost */
};

/* INVAL: the text says what was expected and what is wrong. */
int weir_address_parse(const char *text, struct weir_address *ret, struct weir_err *reterr);

#endif
