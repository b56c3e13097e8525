/* io/key_rule.h - `key:` of a source: what its events' keys are made of, for the queues that tell events
 * apart by key (fair_by, order_by): the client's address, or a header of requests. Owner: the source's maker;
 * [const] once made. Threads: any. */
#ifndef WEIR_IO_KEY_RULE_H
#define WEIR_IO_KEY_RULE_H

#include <stdbool.h>
#include <stddef.h>

#include "config/network.h"
#include "config/types.h"
#include "core/value.h"

struct weir_conf;
struct weir_problems;

enum { WEIR_KEY_HEADER_MAX = 100 };

struct weir_key_rule {
    bool client;                          /* the address: of who has no such header, when there is one */
    char header[WEIR_KEY_HEADER_MAX + 1]; /* in lower case; "": none */
    size_t header_len;
};

enum { WEIR_KEY_OPTIONS_OF_PEER = 1, WEIR_KEY_OPTIONS_OF_HTTP = 2 };
extern const struct weir_option weir_key_options[WEIR_KEY_OPTIONS_OF_HTTP];

#define WEIR_KEY_PEER_OPTION                                                                                 \
    {                                                                                                        \
        .name = "key", .type = WEIR_OPTION_MAP, .options = weir_key_options,                                 \
        .option_count = WEIR_KEY_OPTIONS_OF_PEER, .or_option = "key",                                        \
        .text = "of the events it makes: `client`, the address of who sent them; none unless given"          \
    }
#define WEIR_KEY_HTTP_OPTION                                                                                 \
    {                                                                                                        \
        .name = "key", .type = WEIR_OPTION_MAP, .options = weir_key_options,                                 \
        .option_count = WEIR_KEY_OPTIONS_OF_HTTP, .or_option = "key",                                        \
        .text = "of the events it makes: `client`, the client's address, or {header: NAME}, the header's "   \
                "value, with the address for requests that have none; none unless given"                     \
    }

/* For weir_app_type.check: what of `key:` does not go together. */
void weir_key_check_options(const struct weir_conf *options, struct weir_problems *problems);
/* Of checked options. */
struct weir_key_rule weir_key_rule_read(const struct weir_conf *options);

/* A key, the caller's reference; nil when there is no memory. */
struct weir_value weir_key_of_text(const char *text, size_t len);
struct weir_value weir_key_of_peer(const struct weir_network *peer);

#endif
