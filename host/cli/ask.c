#include "cli/ask.h"

#include <jansson.h>
#include <string.h>

#include "admin/client.h"
#include "admin/place.h"
#include "base/mem.h"
#include "cli/command.h"
#include "config/nearest.h"

static int exit_code(int rc)
{
    return rc == WEIR_E_NOHOST ? WEIR_EXIT_NOHOST : rc == WEIR_E_INVAL ? WEIR_EXIT_USAGE : WEIR_EXIT_FAILED;
}

int weir_ask(const char *admin, const char *target, struct weir_strbuf *body, int *ret_status)
{
    return weir_ask_post(admin, target, NULL, body, ret_status);
}

int weir_ask_post(const char *admin, const char *target, const char *json, struct weir_strbuf *body, int *ret_status)
{
    struct weir_client_question q = {.target = target, .json = json};
    return weir_ask_question(admin, &q, body, ret_status);
}

int weir_ask_question(const char *admin, struct weir_client_question *q, struct weir_strbuf *body, int *ret_status)
{
    struct weir_err err;
    char *path;
    *ret_status = 0;
    int rc = weir_place_find(admin, &path, &err);
    if (rc < 0)
        return weir_cli_fail(exit_code(rc), "%s", err.text);
    struct weir_client_answer answer = {0, *body};
    q->path = path;
    rc = weir_client_ask(q, &answer, &err);
    *body = answer.body;
    weir_free(path);
    if (rc == WEIR_E_NOHOST)
        return weir_cli_fail(WEIR_EXIT_NOHOST, "no running host: %s", err.text);
    if (rc < 0)
        return weir_cli_fail(exit_code(rc), "%s", err.text);
    *ret_status = answer.status;
    return answer.status == 200 ? WEIR_EXIT_DONE : WEIR_EXIT_FAILED;
}

int weir_ask_refused(const struct weir_strbuf *body, int status)
{
    json_t *doc = json_loadb(body->data != NULL ? body->data : "", body->len, 0, NULL);
    const char *why = json_string_value(json_object_get(doc, "error"));
    int code = why != NULL ? weir_cli_fail(WEIR_EXIT_FAILED, "%s", why) /* a sentence of ours, as if said here */
                           : weir_cli_fail(WEIR_EXIT_FAILED, "the host refused (%d) and does not say why", status);
    json_decref(doc);
    return code;
}

/* Every byte that is not plainly a letter of a path is escaped. */
void weir_ask_add_query(struct weir_strbuf *target, const char *key, const char *value)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.";
    weir_strbuf_addf(target, "%s=", key);
    for (; *value != '\0'; value++) {
        if (strchr(plain, *value) != NULL)
            weir_strbuf_addc(target, *value);
        else
            weir_strbuf_addf(target, "%%%02X", (unsigned char)*value);
    }
    weir_strbuf_addc(target, '&');
}

static int name_nearest(const json_t *stats, const char *wanted)
{
    struct weir_strbuf names = WEIR_STRBUF_INIT;
    struct weir_nearest near;
    const char *name;
    json_t *stage;
    weir_nearest_init(&near, wanted);
    json_object_foreach(json_object_get(stats, "stages"), name, stage)
    {
        weir_nearest_offer(&near, name);
        weir_strbuf_addf(&names, "%s%s", names.len > 0 ? ", " : "", name);
    }
    const char *best = weir_nearest_best(&near);
    int code = weir_cli_fail(WEIR_EXIT_FAILED, "there is no stage '%s'%s%s%s; there are: %s", wanted,
                             best != NULL ? " (did you mean '" : "", best != NULL ? best : "", best != NULL ? "'?)" : "",
                             names.data != NULL ? names.data : "none");
    weir_strbuf_fini(&names);
    return code;
}

int weir_ask_unknown_stage(const char *admin, const char *stage)
{
    struct weir_strbuf body = WEIR_STRBUF_INIT;
    int status, code = weir_ask(admin, "/v1/stats", &body, &status);
    if (code == WEIR_EXIT_DONE) {
        json_error_t why;
        json_t *doc = json_loadb(body.data != NULL ? body.data : "", body.len, 0, &why);
        code = doc != NULL ? name_nearest(doc, stage) : weir_cli_fail(WEIR_EXIT_FAILED, "the host's answer is not JSON: %s", why.text);
        json_decref(doc);
    } else if (status != 0 && status != 200) {
        code = weir_ask_refused(&body, status);
    }
    weir_strbuf_fini(&body);
    return code;
}
