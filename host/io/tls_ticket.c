/* The keys of session tickets. A key seals new tickets for an hour and opens old ones for one more; after
 * that who has it can't read what was said before. All workers share one set, else a client could resume only
 * on the worker it met. OpenSSL's own key would last as long as the process. */
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <stdatomic.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/sync.h"
#include "io/tls_context.h"

enum { NAME_SIZE = 16, KEY_SIZE = 32, LIFE_S = 3600 };

struct key {
    unsigned char name[NAME_SIZE], cipher[KEY_SIZE], mac[KEY_SIZE];
    uint64_t made_ns; /* 0: no key */
};

struct weir_tls_tickets {
    _Atomic unsigned refs; /* [atomic acq/rel] */
    EVP_CIPHER *cipher;    /* [const] */
    struct weir_mutex mu;  /* rank WEIR_RANK_INBOX: nothing is taken under it */
    struct key keys[2];    /* [mu] the newest first */
};

static void on_free(void *parent, void *ptr, CRYPTO_EX_DATA *data, int index, long number, void *arg)
{
    (void)parent, (void)data, (void)index, (void)number, (void)arg;
    weir_tls_tickets_unref(ptr);
}

static int keys_index(void)
{
    static _Atomic int index = -1;
    return weir_tls_index(&index, on_free);
}

struct weir_tls_tickets *weir_tls_tickets_create(void)
{
    struct weir_tls_tickets *k = weir_calloc(1, sizeof *k);
    if (k == NULL)
        return NULL;
    k->cipher = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL);
    if (k->cipher == NULL) {
        weir_free(k);
        return NULL;
    }
    atomic_init(&k->refs, 1);
    weir_mutex_init(&k->mu, WEIR_RANK_INBOX, "tls tickets");
    return k;
}

struct weir_tls_tickets *weir_tls_tickets_ref(struct weir_tls_tickets *k)
{
    atomic_fetch_add_explicit(&k->refs, 1, memory_order_relaxed);
    return k;
}

void weir_tls_tickets_unref(struct weir_tls_tickets *k)
{
    if (k == NULL || atomic_fetch_sub_explicit(&k->refs, 1, memory_order_acq_rel) != 1)
        return;
    EVP_CIPHER_free(k->cipher);
    weir_mutex_fini(&k->mu);
    OPENSSL_cleanse(k->keys, sizeof k->keys);
    weir_free(k);
}

void weir_tls_tickets_forget(struct weir_tls_tickets *k)
{
    weir_mutex_lock(&k->mu);
    OPENSSL_cleanse(k->keys, sizeof k->keys);
    weir_mutex_unlock(&k->mu);
}

static bool is_fresh(const struct key *key, uint64_t now, uint64_t lives)
{
    return key->made_ns != 0 && now - key->made_ns < lives * LIFE_S * WEIR_NS_PER_S;
}

/* The key for a new ticket. */
static bool take_newest(struct weir_tls_tickets *k, struct key *ret)
{
    uint64_t now = weir_clock_ns();
    bool ok = true;
    weir_mutex_lock(&k->mu);
    if (!is_fresh(&k->keys[0], now, 1)) {
        struct key made = {.made_ns = now != 0 ? now : 1};
        ok = RAND_bytes(made.name, sizeof made.name) == 1 &&
             RAND_priv_bytes(made.cipher, sizeof made.cipher) == 1 &&
             RAND_priv_bytes(made.mac, sizeof made.mac) == 1;
        if (ok) {
            k->keys[1] = k->keys[0];
            k->keys[0] = made;
        }
        OPENSSL_cleanse(&made, sizeof made);
    }
    *ret = k->keys[0];
    weir_mutex_unlock(&k->mu);
    return ok;
}

/* The key named in a ticket. 0: none, 1: the newest, 2: an older one, so that a new ticket is due. */
static int take_named(struct weir_tls_tickets *k, const unsigned char *name, struct key *ret)
{
    uint64_t now = weir_clock_ns();
    int found = 0;
    weir_mutex_lock(&k->mu);
    for (int i = 0; i < 2 && found == 0; i++) {
        if (!is_fresh(&k->keys[i], now, 2) || memcmp(k->keys[i].name, name, NAME_SIZE) != 0)
            continue;
        *ret = k->keys[i];
        found = is_fresh(&k->keys[i], now, 1) ? 1 : 2;
    }
    weir_mutex_unlock(&k->mu);
    return found;
}

static bool set_mac(EVP_MAC_CTX *mac, struct key *key)
{
    char digest[] = "SHA256";
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, key->mac, sizeof key->mac),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end(),
    };
    return EVP_MAC_CTX_set_params(mac, params) == 1;
}

/* -1: failed, 0: no such key (a whole handshake follows), 1: go on, 2: go on, and give a new ticket. */
static int on_ticket(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                     EVP_MAC_CTX *mac, int seal)
{
    struct weir_tls_tickets *k = SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), keys_index());
    struct key key;
    int found = 1;
    bool ok;
    if (seal == 1) {
        ok = take_newest(k, &key) && RAND_bytes(iv, EVP_CIPHER_get_iv_length(k->cipher)) == 1 &&
             EVP_EncryptInit_ex2(cipher, k->cipher, key.cipher, iv, NULL) == 1 && set_mac(mac, &key);
        memcpy(name, key.name, NAME_SIZE);
    } else {
        found = take_named(k, name, &key);
        if (found == 0)
            return 0;
        ok = EVP_DecryptInit_ex2(cipher, k->cipher, key.cipher, iv, NULL) == 1 && set_mac(mac, &key);
    }
    OPENSSL_cleanse(&key, sizeof key);
    return ok ? found : -1;
}

int weir_tls_tickets_use(struct weir_tls_tickets *k, SSL_CTX *context)
{
    int index = keys_index();
    if (index < 0 || SSL_CTX_set_ex_data(context, index, k) != 1)
        return WEIR_E_NOMEM;
    weir_tls_tickets_ref(k);
    if (SSL_CTX_set_tlsext_ticket_key_evp_cb(context, on_ticket) != 1)
        return WEIR_E_NOMEM;
    SSL_CTX_set_timeout(context, LIFE_S);
    return WEIR_OK;
}
