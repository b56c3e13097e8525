#include "io/class_rule.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "config/conf.h"
#include "config/problems.h"
#include "io/http_syntax.h"

enum { NETWORKS_MAX = 1024 };

const struct weir_option weir_class_options[WEIR_CLASS_OPTIONS_OF_HTTP] = {
    {.name = "class", .type = WEIR_OPTION_CLASS, .text = "of those that the rest leaves"},
    {.name = "address",
     .type = WEIR_OPTION_NETWORK_CLASSES,
     .min = 1,
     .max = NETWORKS_MAX,
     .text = "networks to classes; the narrowest counts"},
    {.name = "header",
     .type = WEIR_OPTION_STRING,
     .min = 1,
     .max = 100,
     .text = "a header whose value is the class"},
    {.name = "from",
     .type = WEIR_OPTION_NETWORKS,
     .min = 1,
     .max = NETWORKS_MAX,
     .text = "networks whose header counts; everybody's unless given"},
    {.name = "script",
     .type = WEIR_OPTION_PATH,
     .text = "a Lua file that returns a function of the request, which returns the class"},
};

static struct weir_app_mark mark_of(const struct weir_conf *map, const char *name)
{
    return weir_conf_mark(weir_conf_get(map, name));
}

static void check_file(const struct weir_conf *map, struct weir_problems *problems)
{
    const char *path = weir_conf_option_string(map, "script");
    if (path != NULL && access(path, R_OK) != 0)
        weir_problems_error(problems, mark_of(map, "script"), "'script': %.300s: %s", path, strerror(errno));
}

void weir_class_check_options(const struct weir_conf *options, struct weir_problems *problems)
{
    const struct weir_conf *map = weir_conf_option_map(options, "class");
    if (map == NULL)
        return;
    const char *header = weir_conf_option_string(map, "header");
    bool script = weir_conf_option_given(map, "script"), address = weir_conf_option_given(map, "address");
    if (weir_conf_size(map) == 0)
        weir_problems_error(problems, weir_conf_mark(map),
                            "'class' is empty: it needs a class, 'address', 'header' or 'script'");
    if (script && (header != NULL || address))
        weir_problems_error(problems, mark_of(map, "script"),
                            "'class': a 'script' sees header and address itself: it can't stand beside '%s'",
                            header != NULL ? "header" : "address");
    if (header == NULL && weir_conf_option_given(map, "from"))
        weir_problems_error(problems, mark_of(map, "from"),
                            "'class': 'from' says whose header counts, and there is no 'header'");
    if (header != NULL && !weir_http_is_token(header, strlen(header)))
        weir_problems_error(problems, mark_of(map, "header"), "'header': '%.60s' is no header's name",
                            header);
    check_file(map, problems);
}

static int narrower(const void *a, const void *b)
{
    const struct weir_network_class *x = a, *y = b;
    return (int)y->network.bits - (int)x->network.bits;
}

/* The texts have been checked. false: no memory. */
static bool read_rule(const struct weir_conf *map, struct weir_class_rule *k)
{
    const char *header = weir_conf_option_string(map, "header");
    size_t networks = weir_conf_option_maps_size(map, "address"),
           trusted = weir_conf_option_list_size(map, "from");
    struct weir_err unused;
    k->networks = weir_calloc(networks + 1, sizeof *k->networks);
    k->trusted = weir_calloc(trusted + 1, sizeof *k->trusted);
    k->header = header != NULL ? weir_strdup(header) : NULL;
    if (k->networks == NULL || k->trusted == NULL || (header != NULL && k->header == NULL))
        return false;
    for (char *at = k->header; at != NULL && *at != '\0'; at++)
        *at = (char)(*at >= 'A' && *at <= 'Z' ? *at + 32 : *at);
    k->header_len = header != NULL ? strlen(header) : 0;
    for (size_t i = 0; i < networks; i++) {
        const struct weir_conf *one = weir_conf_option_maps_at(map, "address", i);
        k->networks[i].class_index = (uint8_t)weir_conf_option_int(one, "class");
        if (weir_network_parse(weir_conf_option_string(one, "network"), &k->networks[i].network, &unused) ==
            WEIR_OK)
            k->network_count = i + 1;
    }
    for (size_t i = 0; i < trusted; i++)
        if (weir_network_parse(weir_conf_option_list_at(map, "from", i), &k->trusted[i], &unused) == WEIR_OK)
            k->trusted_count = i + 1;
    qsort(k->networks, k->network_count, sizeof *k->networks, narrower);
    return true;
}

int weir_class_rule_open(const struct weir_conf *options, struct weir_class_rule **ret,
                         struct weir_err *reterr)
{
    const struct weir_conf *map = weir_conf_option_map(options, "class");
    *ret = NULL;
    if (map == NULL || (!weir_conf_option_given(map, "header") && !weir_conf_option_given(map, "address")))
        return WEIR_OK;
    struct weir_class_rule *k = weir_calloc(1, sizeof *k);
    if (k == NULL || !read_rule(map, k)) {
        weir_class_rule_close(k);
        return weir_err_set(reterr, WEIR_E_NOMEM, "class: out of memory");
    }
    *ret = k;
    return WEIR_OK;
}

void weir_class_rule_close(struct weir_class_rule *k)
{
    if (k == NULL)
        return;
    weir_free(k->header);
    weir_free(k->trusted);
    weir_free(k->networks);
    weir_free(k);
}

bool weir_class_rule_trusts(const struct weir_class_rule *k, const struct weir_network *peer)
{
    for (size_t i = 0; i < k->trusted_count; i++)
        if (weir_network_holds(&k->trusted[i], peer))
            return true;
    return k->trusted_count == 0;
}

int weir_class_rule_of_peer(const struct weir_class_rule *k, const struct weir_network *peer)
{
    for (size_t i = 0; k != NULL && i < k->network_count; i++)
        if (weir_network_holds(&k->networks[i].network, peer))
            return k->networks[i].class_index;
    return -1;
}
