#include "io/http_front.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "config/conf.h"
#include "core/graph.h"
#include "core/seat.h"
#include "core/stage.h"
#include "core/watch.h"
#include "core/worker.h"
#include "io/class_rule.h"
#include "io/http_conn.h"
#include "io/http_page.h"
#include "io/http_syntax.h"

enum { WHY_MAX = 1024 };

/* ---- rules ---- */

void weir_http_front_check_options(const struct weir_conf *options, struct weir_problems *problems)
{
    weir_class_check_options(options, problems);
    weir_key_check_options(options, problems);
    weir_http_page_check_options(options, problems);
}

/* The script of `option`, if there is one. Its errors begin with file and line. */
static int load(const struct weir_stage *stage, const struct weir_conf *options, const char *option,
                struct weir_source_script_maker *ret, struct weir_err *reterr)
{
    const char *file = weir_conf_option_string(weir_conf_option_map(options, option), "script");
    if (file == NULL)
        return WEIR_OK;
    const struct weir_script_loader *loader = stage->graph->scripts;
    if (loader == NULL || loader->load == NULL)
        return weir_err_set(reterr, WEIR_E_CONFIG, "stage '%s': %s: this program has no scripts", stage->name,
                            option);
    return loader->load(file, stage->graph->folder, ret, reterr);
}

int weir_http_rules_open(struct weir_stage *stage, const struct weir_conf *options,
                         struct weir_http_rules *ret, struct weir_err *reterr)
{
    struct weir_http_rules k = {.stage = stage, .key = weir_key_rule_read(options)};
    struct weir_err why;
    int rc = weir_class_rule_open(options, &k.class, &why);
    if (rc == WEIR_OK)
        rc = weir_http_page_open(options, &k.page, &why);
    if (rc < 0)
        weir_err_set(reterr, rc, "stage '%s': %s", stage->name, why.text);
    if (rc == WEIR_OK)
        rc = load(stage, options, "class", &k.classify, reterr);
    if (rc == WEIR_OK)
        rc = load(stage, options, "on_reject", &k.answer, reterr);
    if (rc < 0)
        weir_http_rules_close(&k);
    else
        *ret = k;
    return rc;
}

void weir_http_rules_close(struct weir_http_rules *k)
{
    weir_class_rule_close(k->class);
    weir_http_page_close(k->page);
    if (k->classify.destroy != NULL)
        k->classify.destroy(k->classify.self);
    if (k->answer.destroy != NULL)
        k->answer.destroy(k->answer.self);
    *k = (struct weir_http_rules){.stage = NULL};
}

/* ---- desks ---- */

static int make(const struct weir_source_script_maker *maker, struct weir_seat *seat,
                struct weir_source_script **ret, struct weir_err *reterr)
{
    return maker->make != NULL ? maker->make(maker->self, seat, ret, reterr) : WEIR_OK;
}

int weir_http_desk_open(struct weir_http_desk *d, const struct weir_http_rules *rules, struct weir_seat *seat,
                        struct weir_err *reterr)
{
    *d = (struct weir_http_desk){.rules = rules};
    int rc = make(&rules->classify, seat, &d->classify, reterr);
    if (rc == WEIR_OK)
        rc = make(&rules->answer, seat, &d->answer, reterr);
    if (rc < 0)
        weir_http_desk_close(d);
    return rc;
}

void weir_http_desk_close(struct weir_http_desk *d)
{
    if (d->classify != NULL)
        d->classify->ops->close(d->classify);
    if (d->answer != NULL)
        d->answer->ops->close(d->answer);
    d->classify = d->answer = NULL;
}

static void __attribute__((format(printf, 4, 5)))
warn(const struct weir_http_desk *d, struct weir_http_seldom *seldom, uint64_t now, const char *fmt, ...)
{
    char where[128], text[WHY_MAX + 128], fields[48];
    va_list ap;
    if (seldom->last_ns != 0 && now - seldom->last_ns < WEIR_NS_PER_S) {
        seldom->left_out++;
        return;
    }
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    snprintf(where, sizeof where, "stage %s", d->rules->stage->name);
    snprintf(fields, sizeof fields, "{\"left_out\":%llu}", (unsigned long long)seldom->left_out);
    weir_log(WEIR_LOG_WARN, where, fields, "%s", text);
    *seldom = (struct weir_http_seldom){.last_ns = now};
}

/* ---- classes ---- */

static const struct weir_network *peer_of(struct weir_http_conn *c)
{
    if (!c->peer_known)
        weir_network_of_text(c->remote, &c->peer);
    c->peer_known = true;
    return &c->peer;
}

/* -1: there is none, or it does not count. */
static int by_header(struct weir_http_desk *d, const struct weir_http_request *r,
                     struct weir_http_exchange *ex, uint8_t fallback)
{
    const struct weir_class_rule *k = d->rules->class;
    const struct weir_http_text *value =
        k->header != NULL ? weir_http_request_header(r, k->header, k->header_len) : NULL;
    if (value == NULL)
        return -1;
    bool trusted = weir_class_rule_trusts(k, peer_of(ex->conn));
    struct weir_http_text name = weir_http_trim(*value);
    int class = trusted ? weir_graph_class(d->rules->stage->graph, name.data, name.len) : -1;
    if (class >= 0)
        return class;
    weir_http_count(&ex->server->counts.class_ignored, 1);
    if (trusted)
        warn(d, &d->headers, r->arrival_ns, "a request's '%s' names no class: '%.*s'; it gets '%s'",
             k->header, value->len < 60 ? (int)value->len : 60, value->data,
             weir_graph_class_name(d->rules->stage->graph, fallback));
    return -1;
}

static int by_script(struct weir_http_desk *d, struct weir_http_request *r, struct weir_http_exchange *ex,
                     uint8_t fallback)
{
    char why[WHY_MAX] = "";
    int class = d->classify->ops->classify(d->classify, &r->base, why, sizeof why);
    if (why[0] == '\0')
        return class;
    weir_http_count(&ex->server->counts.classifier_failed, 1);
    warn(d, &d->classes, r->arrival_ns, "class: a request gets '%s': %s", weir_graph_class_name(d->rules->stage->graph, fallback),
         why);
    return class;
}

bool weir_http_desk_must_wait(const struct weir_http_desk *d)
{
    const struct weir_watch *watch = d->classify != NULL ? weir_watch_current() : NULL;
    return watch != NULL && weir_watch_runs(watch);
}

uint8_t weir_http_desk_classify(struct weir_http_desk *d, struct weir_http_request *r)
{
    const struct weir_stage *stage = d->rules->stage;
    struct weir_http_exchange *ex = weir_http_exchange_of(r);
    uint8_t fallback = stage->has_class ? stage->class_index : stage->graph->default_class;
    int class = -1;
    r->class_index = fallback;
    if (d->classify != NULL)
        class = by_script(d, r, ex, fallback);
    else if (d->rules->class != NULL && ex->conn != NULL)
        class = by_header(d, r, ex, fallback);
    if (class < 0 && d->rules->class != NULL && ex->conn != NULL)
        class = weir_class_rule_of_peer(d->rules->class, peer_of(ex->conn));
    return class >= 0 ? (uint8_t) class : fallback;
}

/* ---- keys ---- */

struct weir_value weir_http_desk_key(const struct weir_http_desk *d, struct weir_http_request *r)
{
    const struct weir_key_rule *k = &d->rules->key;
    struct weir_http_exchange *ex = weir_http_exchange_of(r);
    const struct weir_http_text *value = k->header_len > 0 ? weir_http_request_header(r, k->header, k->header_len) : NULL;
    if (value != NULL) {
        struct weir_http_text text = weir_http_trim(*value);
        return weir_key_of_text(text.data, text.len);
    }
    return k->client && ex->conn != NULL ? weir_key_of_peer(peer_of(ex->conn)) : WEIR_VALUE_NOTHING;
}

/* ---- refusing ---- */

void weir_http_desk_refuse(struct weir_http_desk *d, struct weir_http_request *r)
{
    char why[WHY_MAX] = "";
    struct weir_http_exchange *ex = weir_http_exchange_of(r);
    struct weir_http_server *s = ex->server;
    uint64_t now = s->now_ns;
    bool answered = false;
    if (d->answer != NULL && ex->conn != NULL) {
        answered = d->answer->ops->answer(d->answer, &r->base, why, sizeof why);
        if (!answered && why[0] == '\0')
            snprintf(why, sizeof why, "the function returned without an answer");
    }
    if (why[0] != '\0') {
        weir_http_count(&s->counts.reject_failed, 1);
        warn(d, &d->answers, now, "on_reject: %s%s", why, answered ? "" : "; the request is answered 503");
    }
    if (!answered)
        weir_http_exchange_respond(ex, s->worker);
}
