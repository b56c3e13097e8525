#include "cli/ask.h"

#include <jansson.h>

#include "admin/client.h"
#include "admin/place.h"
#include "base/mem.h"
#include "cli/command.h"

static int exit_code(int rc)
{
    return rc == WEIR_E_NOHOST ? WEIR_EXIT_NOHOST : rc == WEIR_E_INVAL ? WEIR_EXIT_USAGE : WEIR_EXIT_FAILED;
}

int weir_ask(const char *admin, const char *target, struct weir_strbuf *body, int *ret_status)
{
    struct weir_err err;
    char *path;
    *ret_status = 0;
    int rc = weir_place_find(admin, &path, &err);
    if (rc < 0)
        return weir_cli_fail(exit_code(rc), "%s", err.text);
    struct weir_client_answer answer = {0, *body};
    rc = weir_client_get(path, target, &answer, &err);
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
    int code = weir_cli_fail(WEIR_EXIT_FAILED, "the host refused (%d): %s", status,
                             why != NULL ? why : "it does not say why");
    json_decref(doc);
    return code;
}
