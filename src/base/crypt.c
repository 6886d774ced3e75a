/* SPDX-License-Identifier: MIT */
#include "base/crypt.h"

#include <mbedtls/version.h>
#include <psa/crypto.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "base/encode.h"
#include "base/mem.h"
#include "base/secret.h"

#define CRYPT_NONCE ((size_t)12)
#define CRYPT_TAG   ((size_t)16)

struct crypt_key {
	struct secret *bytes; /* CRYPT_KEY_LEN */
};

/* Before mbedTLS 3.6, and in builds without its threading, PSA's table of keys belongs to one thread at a time. */
#if defined(MBEDTLS_THREADING_C) && MBEDTLS_VERSION_NUMBER >= 0x03060000
static void crypt_enter(void) { }
static void crypt_leave(void) { }
#else
static pthread_mutex_t crypt_mutex = PTHREAD_MUTEX_INITIALIZER;

static void
crypt_enter(void)
{
	pthread_mutex_lock(&crypt_mutex);
}

static void
crypt_leave(void)
{
	pthread_mutex_unlock(&crypt_mutex);
}
#endif

struct crypt_key *
crypt_key_new(const uint8_t key[CRYPT_KEY_LEN])
{
	struct crypt_key *k = xcalloc(1, sizeof(*k));

	k->bytes = secret_new(span_of(key, CRYPT_KEY_LEN));
	return k;
}

void
crypt_key_free(struct crypt_key *k)
{
	if (k == NULL)
		return;
	secret_free(k->bytes);
	free(k);
}

/* PSA's copy of a key lies on the heap: for one message only, then wiped. Between crypt_enter() and crypt_leave(). */
static psa_key_id_t
crypt_import(const struct crypt_key *k, psa_key_usage_t usage)
{
	psa_key_attributes_t a = psa_key_attributes_init();
	psa_key_id_t         id;

	psa_set_key_type(&a, PSA_KEY_TYPE_AES);
	psa_set_key_bits(&a, 8 * CRYPT_KEY_LEN);
	psa_set_key_algorithm(&a, PSA_ALG_GCM);
	psa_set_key_usage_flags(&a, usage);
	if (psa_import_key(&a, (const uint8_t *)secret_str(k->bytes), CRYPT_KEY_LEN, &id) != PSA_SUCCESS)
		abort(); /* without crypto_init() or without memory */
	return id;
}

static struct span
crypt_trim(struct span s)
{
	while (s.n > 0 && strchr(" \t\r\n", s.p[0]) != NULL && s.p[0] != '\0') {
		s.p++;
		s.n--;
	}
	while (s.n > 0 && s.p[s.n - 1] != '\0' && strchr(" \t\r\n", s.p[s.n - 1]) != NULL)
		s.n--;
	return s;
}

enum err_code
crypt_key_parse(struct span text, uint8_t ret[CRYPT_KEY_LEN], struct err *reterr)
{
	struct buf raw;
	bool       ok;

	text = crypt_trim(text);
	if (hex_decode(text, ret, CRYPT_KEY_LEN))
		return ERR_OK;
	buf_init(&raw, CRYPT_KEY_LEN);
	ok = base64_decode(text, &raw) && raw.len == CRYPT_KEY_LEN;
	if (ok)
		memcpy(ret, raw.data, CRYPT_KEY_LEN);
	buf_wipe_free(&raw);
	return ok ? ERR_OK : err_set(reterr, ERR_CONFIG, 0, "a key is 32 bytes, as 64 hex digits or as base64");
}

enum err_code
crypt_seal(const struct crypt_key *k, struct rand *r, struct span aad, struct span plain, struct buf *ret,
    struct err *reterr)
{
	enum err_code full = buf_reserve(ret, CRYPT_OVERHEAD + plain.n, reterr);
	uint8_t      *out;
	size_t        n;
	psa_status_t  rc;
	psa_key_id_t  id;

	if (full != ERR_OK)
		return full;
	out = ret->data + ret->len;
	rand_bytes(r, out, CRYPT_NONCE);
	crypt_enter();
	id = crypt_import(k, PSA_KEY_USAGE_ENCRYPT);
	rc = psa_aead_encrypt(id, PSA_ALG_GCM, out, CRYPT_NONCE, aad.p, aad.n, plain.p, plain.n, out + CRYPT_NONCE,
	    plain.n + CRYPT_TAG, &n);
	psa_destroy_key(id);
	crypt_leave();
	if (rc != PSA_SUCCESS)
		return err_set(reterr, ERR_IO, (int)rc, "encryption failed (%d)", (int)rc);
	ret->len += CRYPT_NONCE + n;
	ret->data[ret->len] = '\0';
	return ERR_OK;
}

enum err_code
crypt_open(const struct crypt_key *k, struct span aad, struct span sealed, struct buf *ret, struct err *reterr)
{
	enum err_code full;
	size_t        n, room;
	psa_status_t  rc;
	psa_key_id_t  id;

	if (sealed.n < CRYPT_OVERHEAD)
		return err_set(reterr, ERR_CORRUPT, 0, "an encrypted record is too short");
	room = sealed.n - CRYPT_OVERHEAD;
	full = buf_reserve(ret, room, reterr);
	if (full != ERR_OK)
		return full;
	crypt_enter();
	id = crypt_import(k, PSA_KEY_USAGE_DECRYPT);
	rc = psa_aead_decrypt(id, PSA_ALG_GCM, sealed.p, CRYPT_NONCE, aad.p, aad.n, sealed.p + CRYPT_NONCE,
	    room + CRYPT_TAG, ret->data + ret->len, room, &n);
	psa_destroy_key(id);
	crypt_leave();
	if (rc != PSA_SUCCESS) {
		ret->data[ret->len] = '\0';
		return err_set(reterr, ERR_CORRUPT, (int)rc,
		    "an encrypted record does not open: damaged, or another key");
	}
	ret->len += n;
	ret->data[ret->len] = '\0';
	return ERR_OK;
}

void
crypt_mac(const struct crypt_key *k, const char *label, struct span data, uint8_t ret[32])
{
	uint8_t derived[DIGEST_LEN];

	hmac_sha256(span_of(secret_str(k->bytes), CRYPT_KEY_LEN), span_str(label), derived);
	hmac_sha256(span_of(derived, sizeof(derived)), data, ret);
	mem_wipe(derived, sizeof(derived));
}

/* --- CBC ---------------------------------------------------------------------------------------------------------------- */

/* Between crypt_enter() and crypt_leave(). */
static psa_status_t
crypt_cbc(psa_key_type_t type, struct span key, struct span in, struct buf *ret)
{
	psa_key_attributes_t a = psa_key_attributes_init();
	psa_key_id_t         id;
	psa_status_t         rc;
	size_t               n;

	psa_set_key_type(&a, type);
	psa_set_key_bits(&a, 8 * key.n);
	psa_set_key_algorithm(&a, PSA_ALG_CBC_PKCS7);
	psa_set_key_usage_flags(&a, PSA_KEY_USAGE_DECRYPT);
	rc = psa_import_key(&a, key.p, key.n, &id);
	if (rc != PSA_SUCCESS)
		return rc;
	rc = psa_cipher_decrypt(id, PSA_ALG_CBC_PKCS7, in.p, in.n, ret->data + ret->len, in.n, &n);
	psa_destroy_key(id);
	if (rc == PSA_SUCCESS)
		ret->len += n;
	ret->data[ret->len] = '\0';
	return rc;
}

enum err_code
crypt_cbc_open(enum crypt_cbc how, struct span key, struct span iv, struct span sealed, struct buf *ret, struct err *reterr)
{
	size_t       block = how == CRYPT_CBC_AES ? 16 : 8;
	struct buf   in; /* iv, then what is sealed */
	psa_status_t rc;

	if (iv.n != block || sealed.n == 0 || sealed.n % block != 0)
		return err_set(reterr, ERR_CORRUPT, 0, "what is encrypted has no whole blocks");
	if (buf_reserve(ret, block + sealed.n, reterr) != ERR_OK)
		return reterr != NULL ? reterr->code : ERR_UNSUPPORTED;
	buf_init(&in, block + sealed.n);
	buf_put(&in, iv.p, iv.n);
	buf_put(&in, sealed.p, sealed.n);
	crypt_enter();
	rc = crypt_cbc(how == CRYPT_CBC_AES ? PSA_KEY_TYPE_AES : PSA_KEY_TYPE_DES, key, buf_span(&in), ret);
	crypt_leave();
	buf_free(&in);
	if (rc == PSA_ERROR_NOT_SUPPORTED)
		return err_set(reterr, ERR_UNSUPPORTED, (int)rc, "the cryptography library has no %s", how == CRYPT_CBC_AES ? "AES" : "triple DES");
	if (rc != PSA_SUCCESS)
		return err_set(reterr, ERR_CORRUPT, (int)rc, "it does not decrypt: damaged, or another password (%d)", (int)rc);
	return ERR_OK;
}

/* --- RSA ---------------------------------------------------------------------------------------------------------------- */

struct crypt_rsa {
	struct secret *der;
};

/* As crypt_import(): for one signature only. */
static psa_status_t
crypt_rsa_import(struct span der, psa_key_id_t *ret)
{
	psa_key_attributes_t a = psa_key_attributes_init();

	psa_set_key_type(&a, PSA_KEY_TYPE_RSA_KEY_PAIR);
	psa_set_key_algorithm(&a, PSA_ALG_RSA_PKCS1V15_SIGN(PSA_ALG_SHA_256));
	psa_set_key_usage_flags(&a, PSA_KEY_USAGE_SIGN_HASH);
	return psa_import_key(&a, der.p, der.n, ret);
}

static size_t
crypt_rsa_bits(psa_key_id_t id)
{
	psa_key_attributes_t a = psa_key_attributes_init();
	size_t               bits = psa_get_key_attributes(id, &a) == PSA_SUCCESS ? psa_get_key_bits(&a) : 0;

	psa_reset_key_attributes(&a);
	return bits;
}

enum err_code
crypt_rsa_new(struct span der, struct crypt_rsa **ret, struct err *reterr)
{
	size_t       bits = 0;
	psa_key_id_t id;
	psa_status_t rc;

	crypt_enter();
	rc = crypt_rsa_import(der, &id);
	if (rc == PSA_SUCCESS) {
		bits = crypt_rsa_bits(id);
		psa_destroy_key(id);
	}
	crypt_leave();
	if (rc != PSA_SUCCESS)
		return err_set(reterr, ERR_CONFIG, (int)rc, "the private key is damaged, or no RSA key (%d)", (int)rc);
	if (bits < CRYPT_RSA_MIN_BITS || bits > CRYPT_RSA_MAX_BITS)
		return err_set(reterr, ERR_CONFIG, 0, "the private key has %zu bits, and %d to %d are allowed", bits, CRYPT_RSA_MIN_BITS,
		    CRYPT_RSA_MAX_BITS);
	*ret = xcalloc(1, sizeof(**ret));
	(*ret)->der = secret_new(der);
	return ERR_OK;
}

void
crypt_rsa_free(struct crypt_rsa *k)
{
	if (k == NULL)
		return;
	secret_free(k->der);
	free(k);
}

struct span
crypt_rsa_der(const struct crypt_rsa *k)
{
	return span_of(secret_str(k->der), secret_len(k->der));
}

enum err_code
crypt_rsa_sign(const struct crypt_rsa *k, const uint8_t sha256[32], uint8_t ret[CRYPT_RSA_MAX], size_t *ret_n, struct err *reterr)
{
	psa_key_id_t id;
	psa_status_t rc;

	crypt_enter();
	rc = crypt_rsa_import(crypt_rsa_der(k), &id);
	if (rc == PSA_SUCCESS) {
		rc = psa_sign_hash(id, PSA_ALG_RSA_PKCS1V15_SIGN(PSA_ALG_SHA_256), sha256, 32, ret, CRYPT_RSA_MAX, ret_n);
		psa_destroy_key(id);
	}
	crypt_leave();
	return rc == PSA_SUCCESS ? ERR_OK : err_set(reterr, ERR_IO, (int)rc, "the private key does not sign (%d)", (int)rc);
}
