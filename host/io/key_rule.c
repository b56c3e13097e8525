#include "io/key_rule.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <string.h>

#include "base/strbuf.h"
#include "config/conf.h"
#include "config/problems.h"
#include "io/http_syntax.h"

enum { KEY_MAX = 256 /* bytes of a header that count */ };

static const char *const of_words[] = {"client", NULL};

const struct weir_option weir_key_options[WEIR_KEY_OPTIONS_OF_HTTP] = {
    {.name = "key", .type = WEIR_OPTION_ENUM, .words = of_words, .text = "what it is"},
    {.name = "header",
     .type = WEIR_OPTION_STRING,
     .min = 1,
     .max = WEIR_KEY_HEADER_MAX,
     .text = "a header whose value it is"},
};

void weir_key_check_options(const struct weir_conf *options, struct weir_problems *problems)
{
    const struct weir_conf *map = weir_conf_option_map(options, "key");
    if (map == NULL)
        return;
    const char *header = weir_conf_option_string(map, "header");
    if (header == NULL && !weir_conf_option_given(map, "key"))
        weir_problems_error(problems, weir_conf_mark(map), "'key' is empty: it needs `client` or a 'header'");
    if (header != NULL && !weir_http_is_token(header, strlen(header)))
        weir_problems_error(problems, weir_conf_mark(weir_conf_get(map, "header")),
                            "'header': '%.60s' is no header's name", header);
}

struct weir_key_rule weir_key_rule_read(const struct weir_conf *options)
{
    const struct weir_conf *map = weir_conf_option_map(options, "key");
    const char *header = map != NULL ? weir_conf_option_string(map, "header") : NULL;
    struct weir_key_rule k = {.client = map != NULL};
    for (; header != NULL && header[k.header_len] != '\0' && k.header_len < WEIR_KEY_HEADER_MAX;
         k.header_len++)
        k.header[k.header_len] = (char)tolower((unsigned char)header[k.header_len]);
    return k;
}

struct weir_value weir_key_of_text(const char *text, size_t len)
{
    struct weir_strbuf packed;
    struct weir_blob *blob = NULL;
    weir_strbuf_init(&packed);
    weir_value_pack_string(&packed, text, len < KEY_MAX ? len : KEY_MAX);
    if (!packed.failed)
        blob = weir_blob_create(packed.len);
    if (blob != NULL)
        memcpy(blob->data, packed.data, packed.len);
    weir_strbuf_fini(&packed);
    return blob != NULL ? (struct weir_value){.kind = WEIR_VALUE_BYTES, .blob = blob} : WEIR_VALUE_NOTHING;
}

struct weir_value weir_key_of_peer(const struct weir_network *peer)
{
    char text[INET6_ADDRSTRLEN] = "unix";
    if (peer->kind != WEIR_NETWORK_UNIX)
        (void)inet_ntop(peer->kind == WEIR_NETWORK_V4 ? AF_INET : AF_INET6, peer->address, text, sizeof text);
    return weir_key_of_text(text, strlen(text));
}
