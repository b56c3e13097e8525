/* Which certificate a client gets: by the name it asks for, exact names before wildcards, the first
 * certificate when none fits. */
#include <openssl/x509v3.h>
#include <ctype.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "io/tls_context.h"

enum { NAME_MAX_LEN = 255 };

struct name {
    char *text; /* lower case; a wildcard's begins with "*." */
    size_t index;
};

struct weir_tls_names {
    SSL_CTX **contexts; /* [0] is the owner and not counted here */
    size_t count;
    struct name *names; /* sorted */
    size_t name_count;
};

static void destroy(struct weir_tls_names *l)
{
    for (size_t i = 0; i < l->name_count; i++)
        weir_free(l->names[i].text);
    for (size_t i = 1; i < l->count; i++)
        SSL_CTX_free(l->contexts[i]);
    weir_free(l->names);
    weir_free(l->contexts);
    weir_free(l);
}

static void on_free(void *parent, void *ptr, CRYPTO_EX_DATA *data, int index, long number, void *arg)
{
    (void)parent, (void)data, (void)index, (void)number, (void)arg;
    if (ptr != NULL)
        destroy(ptr);
}

static int list_index(void)
{
    static _Atomic int index = -1;
    return weir_tls_index(&index, on_free);
}

/* ---- the list ---- */

static int compare(const void *a, const void *b)
{
    const struct name *x = a, *y = b;
    int order = strcmp(x->text, y->text);
    return order != 0 ? order : (x->index > y->index) - (x->index < y->index);
}

static bool add(struct weir_tls_names *l, const unsigned char *text, size_t len, size_t index)
{
    if (len == 0 || len > NAME_MAX_LEN || memchr(text, 0, len) != NULL)
        return true; /* no name that a client could ask for */
    struct name *grown = weir_realloc(l->names, (l->name_count + 1) * sizeof *grown);
    if (grown == NULL)
        return false;
    l->names = grown;
    char *copy = weir_strndup((const char *)text, len);
    if (copy == NULL)
        return false;
    for (size_t i = 0; i < len; i++)
        copy[i] = (char)tolower((unsigned char)copy[i]);
    l->names[l->name_count++] = (struct name){copy, index};
    return true;
}

/* The names of a certificate: its alternative names; only without any, its common name. */
static bool add_certificate(struct weir_tls_names *l, X509 *x, size_t index)
{
    bool ok = true;
    GENERAL_NAMES *list = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
    for (int i = 0; ok && i < sk_GENERAL_NAME_num(list); i++) {
        const GENERAL_NAME *one = sk_GENERAL_NAME_value(list, i);
        if (one->type == GEN_DNS)
            ok = add(l, ASN1_STRING_get0_data(one->d.dNSName), (size_t)ASN1_STRING_length(one->d.dNSName),
                     index);
    }
    if (list == NULL) {
        X509_NAME *subject = X509_get_subject_name(x);
        int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
        const ASN1_STRING *cn = at >= 0 ? X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)) : NULL;
        if (cn != NULL)
            ok = add(l, ASN1_STRING_get0_data(cn), (size_t)ASN1_STRING_length(cn), index);
    }
    GENERAL_NAMES_free(list);
    return ok;
}

static SSL_CTX *look_up(const struct weir_tls_names *l, const char *text)
{
    size_t low = 0, high = l->name_count; /* the first of equal ones: the pair that was given first */
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(l->names[middle].text, text) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    bool found = low < l->name_count && strcmp(l->names[low].text, text) == 0;
    return found ? l->contexts[l->names[low].index] : NULL;
}

SSL_CTX *weir_tls_names_find(SSL_CTX *first, const char *name)
{
    const struct weir_tls_names *l = SSL_CTX_get_ex_data(first, list_index());
    char wildcard[NAME_MAX_LEN + 2];
    size_t len = strlen(name);
    if (l == NULL || len > NAME_MAX_LEN)
        return NULL;
    SSL_CTX *found = look_up(l, name);
    const char *dot = strchr(name, '.');
    if (found != NULL || dot == NULL || dot == name)
        return found;
    wildcard[0] = '*';
    memcpy(wildcard + 1, dot, strlen(dot) + 1);
    return look_up(l, wildcard);
}

static int on_name(SSL *ssl, int *alert, void *arg)
{
    const char *asked = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    char name[NAME_MAX_LEN + 1];
    size_t len = asked != NULL ? strlen(asked) : 0;
    (void)alert;
    if (len == 0 || len > NAME_MAX_LEN)
        return SSL_TLSEXT_ERR_NOACK;
    for (size_t i = 0; i <= len; i++)
        name[i] = (char)tolower((unsigned char)asked[i]);
    if (name[len - 1] == '.')
        name[len - 1] = '\0';
    SSL_CTX *first = arg, *found = weir_tls_names_find(first, name);
    if (found != NULL && found != first && SSL_set_SSL_CTX(ssl, found) == NULL)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    return SSL_TLSEXT_ERR_OK;
}

int weir_tls_names_set(SSL_CTX *const *contexts, size_t count, struct weir_err *reterr)
{
    struct weir_tls_names *l = weir_calloc(1, sizeof *l);
    bool ok = l != NULL && (l->contexts = weir_calloc(count, sizeof(SSL_CTX *))) != NULL;
    for (size_t i = 0; ok && i < count; i++) {
        l->contexts[i] = contexts[i];
        ok = add_certificate(l, SSL_CTX_get0_certificate(contexts[i]), i);
    }
    int index = list_index();
    if (!ok || index < 0 || SSL_CTX_set_ex_data(contexts[0], index, l) != 1) {
        if (l != NULL)
            destroy(l); /* count is 0 yet: it has taken no context */
        return weir_err_set(reterr, WEIR_E_NOMEM, "tls: out of memory");
    }
    l->count = count;
    if (l->name_count > 0)
        qsort(l->names, l->name_count, sizeof *l->names, compare);
    SSL_CTX_set_tlsext_servername_callback(contexts[0], on_name);
    SSL_CTX_set_tlsext_servername_arg(contexts[0], contexts[0]); /* it lives as long as any connection */
    return WEIR_OK;
}
