/* io/class_rule.h - `class:` of a source: which class its events are of. A plain word holds for all of them
 * (weir_stage.class_index); here is what depends on who sends: a header of requests, the peer's address.
 * Owner: the source's maker; [const] once made. Threads: any. */
#ifndef WEIR_IO_CLASS_RULE_H
#define WEIR_IO_CLASS_RULE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "config/network.h"
#include "config/types.h"

struct weir_conf;
struct weir_problems;

struct weir_network_class {
    struct weir_network network;
    uint8_t class_index;
};

struct weir_class_rule {
    char *header; /* in lower case; NULL: none */
    size_t header_len;
    struct weir_network *trusted; /* whose header counts; none: everybody's */
    size_t trusted_count;
    struct weir_network_class *networks; /* the narrowest first */
    size_t network_count;
};

enum { WEIR_CLASS_OPTIONS_OF_PEER = 2, WEIR_CLASS_OPTIONS_OF_HTTP = 5 };
extern const struct weir_option weir_class_options[WEIR_CLASS_OPTIONS_OF_HTTP];

/* For sources whose events come from nobody that could be told apart. */
#define WEIR_CLASS_OPTION                                                                                    \
    {                                                                                                        \
        .name = "class", .type = WEIR_OPTION_CLASS,                                                          \
        .text = "of the events it makes; the application's default one unless given"                         \
    }
/* For those with peers, and for HTTP. */
#define WEIR_CLASS_PEER_OPTION                                                                               \
    {                                                                                                        \
        .name = "class", .type = WEIR_OPTION_MAP, .options = weir_class_options,                             \
        .option_count = WEIR_CLASS_OPTIONS_OF_PEER, .or_option = "class",                                    \
        .text = "of the events it makes: a class, or {address: {NETWORK: CLASS}}"                            \
    }
#define WEIR_CLASS_HTTP_OPTION                                                                               \
    {                                                                                                        \
        .name = "class", .type = WEIR_OPTION_MAP, .options = weir_class_options,                             \
        .option_count = WEIR_CLASS_OPTIONS_OF_HTTP, .or_option = "class",                                    \
        .text = "of the events it makes: a class, or {header:}, {address: {NETWORK: CLASS}}, {script:}"      \
    }

/* For weir_app_type.check: what of `class:` does not go together. */
void weir_class_check_options(const struct weir_conf *options, struct weir_problems *problems);
/* *ret NULL: what peers send and who they are does not matter. */
int weir_class_rule_open(const struct weir_conf *options, struct weir_class_rule **ret,
                         struct weir_err *reterr);
/* Takes NULL. */
void weir_class_rule_close(struct weir_class_rule *k);

/* Whether the header of this peer counts. */
bool weir_class_rule_trusts(const struct weir_class_rule *k, const struct weir_network *peer);
/* The class of this peer's address; -1: it is in none of the networks. `k` may be NULL. */
int weir_class_rule_of_peer(const struct weir_class_rule *k, const struct weir_network *peer);

#endif
