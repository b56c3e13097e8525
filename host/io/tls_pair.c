/* A certificate and its key out of their files, with messages that say which of them is wrong and how. */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "io/tls_context.h"

/* OpenSSL's own messages do not name the file. */
static int open_file(const char *path, BIO **ret, struct stat *ret_info, struct weir_err *reterr)
{
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return weir_err_set(reterr, WEIR_E_CONFIG, "%s: %s", path,
                            errno == ENOENT || errno == ENOTDIR ? "there is no such file" : strerror(errno));
    const char *why = NULL;
    if (fstat(fileno(f), ret_info) < 0)
        why = strerror(errno);
    else if (!S_ISREG(ret_info->st_mode))
        why = S_ISDIR(ret_info->st_mode) ? "that is a folder" : "that is not a regular file";
    BIO *bio = why == NULL ? BIO_new_fp(f, BIO_CLOSE) : NULL;
    if (bio != NULL) {
        *ret = bio;
        return WEIR_OK;
    }
    (void)fclose(f); /* nothing was written */
    return weir_err_set(reterr, why != NULL ? WEIR_E_CONFIG : WEIR_E_NOMEM, "%s: %s", path,
                        why != NULL ? why : "out of memory");
}

static bool at_end_of_pem(void)
{
    unsigned long error = ERR_peek_last_error();
    return ERR_GET_LIB(error) == ERR_LIB_PEM && ERR_GET_REASON(error) == PEM_R_NO_START_LINE;
}

/* ---- the certificate ---- */

static int load_chain(SSL_CTX *context, BIO *bio, const char *path, struct weir_err *reterr)
{
    X509 *x;
    if (SSL_CTX_clear_chain_certs(context) != 1)
        return weir_tls_fail(reterr, WEIR_E_CONFIG, path);
    while ((x = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL) {
        if (SSL_CTX_add0_chain_cert(context, x) != 1) {
            X509_free(x);
            return weir_tls_fail(reterr, WEIR_E_CONFIG, path);
        }
    }
    if (!at_end_of_pem())
        return weir_tls_fail(reterr, WEIR_E_CONFIG, path);
    ERR_clear_error();
    return WEIR_OK;
}

static int load_certificate(SSL_CTX *context, const char *path, X509 **ret, struct weir_err *reterr)
{
    BIO *bio;
    struct stat info;
    int rc = open_file(path, &bio, &info, reterr);
    if (rc < 0)
        return rc;
    ERR_clear_error();
    X509 *x = PEM_read_bio_X509_AUX(bio, NULL, NULL, NULL);
    if (x == NULL && at_end_of_pem())
        rc = weir_err_set(reterr, WEIR_E_CONFIG, "%s: there is no certificate in PEM format in it", path);
    else if (x == NULL || SSL_CTX_use_certificate(context, x) != 1)
        rc = weir_tls_fail(reterr, WEIR_E_CONFIG, path);
    else
        rc = load_chain(context, bio, path, reterr);
    BIO_free(bio);
    ERR_clear_error();
    if (rc < 0)
        X509_free(x);
    else
        *ret = x;
    return rc;
}

/* ---- the key ---- */

static int no_password(char *buf, int size, int writing, void *arg)
{
    bool *asked = arg;
    (void)buf, (void)size, (void)writing;
    *asked = true;
    return -1;
}

static int read_key(const char *path, EVP_PKEY **ret, struct stat *info, struct weir_err *reterr)
{
    BIO *bio;
    bool asked = false;
    int rc = open_file(path, &bio, info, reterr);
    if (rc < 0)
        return rc;
    ERR_clear_error();
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, no_password, &asked);
    BIO_free(bio);
    if (key != NULL) {
        *ret = key;
        return WEIR_OK;
    }
    if (asked)
        rc = weir_err_set(reterr, WEIR_E_CONFIG,
                          "%s: the key is encrypted, and there is nobody to ask for its passphrase; "
                          "'openssl pkey -in FILE -out NEW' writes it without one",
                          path);
    else if (at_end_of_pem() || ERR_GET_LIB(ERR_peek_last_error()) == ERR_LIB_OSSL_DECODER)
        rc = weir_err_set(reterr, WEIR_E_CONFIG, "%s: there is no private key in PEM format in it", path);
    else
        rc = weir_tls_fail(reterr, WEIR_E_CONFIG, path);
    ERR_clear_error();
    return rc;
}

static int load_key(SSL_CTX *context, const struct weir_tls_pair *pair, X509 *x, struct weir_tls_facts *ret,
                    struct weir_err *reterr)
{
    const char *path = pair->key != NULL ? pair->key : pair->certificate;
    EVP_PKEY *key = NULL; /* for gcc under TSan, which does not see that an error leaves first */
    struct stat info;
    int rc = read_key(path, &key, &info, reterr);
    if (rc < 0)
        return rc;
    ret->key_is_open = (info.st_mode & (S_IROTH | S_IWOTH)) != 0;
    if (X509_check_private_key(x, key) != 1)
        rc = weir_err_set(reterr, WEIR_E_CONFIG, "%s: this key does not belong to the certificate in %s",
                          path, pair->certificate);
    else if (SSL_CTX_use_PrivateKey(context, key) != 1)
        rc = weir_tls_fail(reterr, WEIR_E_CONFIG, path);
    ERR_clear_error();
    EVP_PKEY_free(key);
    return rc;
}

/* ---- what it says ---- */

static void write_day(const ASN1_TIME *t, char *out, size_t size)
{
    struct tm day = {0};
    if (ASN1_TIME_to_tm(t, &day) != 1 || strftime(out, size, "%Y-%m-%d", &day) == 0)
        snprintf(out, size, "?");
}

static void write_name(X509 *x, char *out, size_t size)
{
    GENERAL_NAMES *list = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
    out[0] = '\0';
    for (int i = 0; out[0] == '\0' && i < sk_GENERAL_NAME_num(list); i++) {
        const GENERAL_NAME *one = sk_GENERAL_NAME_value(list, i);
        if (one->type == GEN_DNS)
            snprintf(out, size, "%.*s", ASN1_STRING_length(one->d.dNSName),
                     (const char *)ASN1_STRING_get0_data(one->d.dNSName));
    }
    GENERAL_NAMES_free(list);
    if (out[0] == '\0' &&
        X509_NAME_get_text_by_NID(X509_get_subject_name(x), NID_commonName, out, (int)size) <= 0)
        snprintf(out, size, "no name");
    for (char *c = out; *c != '\0'; c++) {
        if ((unsigned char)*c < ' ' || *c == 127)
            *c = '?';
    }
}

int weir_tls_pair_load(SSL_CTX *context, const struct weir_tls_pair *pair, struct weir_tls_facts *ret,
                       enum weir_tls_part *ret_part, struct weir_err *reterr)
{
    X509 *x;
    int rc = load_certificate(context, pair->certificate, &x, reterr);
    *ret_part = WEIR_TLS_PART_CERTIFICATE;
    if (rc < 0)
        return rc;
    memset(ret, 0, sizeof *ret);
    write_name(x, ret->name, sizeof ret->name);
    write_day(X509_get0_notBefore(x), ret->from, sizeof ret->from);
    write_day(X509_get0_notAfter(x), ret->until, sizeof ret->until);
    ret->has_expired = X509_cmp_current_time(X509_get0_notAfter(x)) < 0;
    ret->is_early = X509_cmp_current_time(X509_get0_notBefore(x)) > 0;
    rc = load_key(context, pair, x, ret, reterr);
    *ret_part = rc < 0 ? WEIR_TLS_PART_KEY : WEIR_TLS_PART_NONE;
    X509_free(x);
    return rc;
}

const char *weir_tls_pair_warning(const struct weir_tls_pair *pair, const struct weir_tls_facts *facts,
                                  enum weir_tls_part part, char *out, size_t size)
{
    if (part == WEIR_TLS_PART_KEY) {
        if (!facts->key_is_open)
            return NULL;
        snprintf(out, size,
                 "%s: everybody on this machine may read or write the private key (chmod 600 or 640)",
                 pair->key != NULL ? pair->key : pair->certificate);
        return out;
    }
    if (facts->has_expired)
        snprintf(out, size, "%s: the certificate for %s expired on %s", pair->certificate, facts->name,
                 facts->until);
    else if (facts->is_early)
        snprintf(out, size, "%s: the certificate for %s is not valid before %s", pair->certificate,
                 facts->name, facts->from);
    else
        return NULL;
    return out;
}
