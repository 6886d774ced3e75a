/* SPDX-License-Identifier: MIT */
#include "base/digest.h"

#include <assert.h>
#include <psa/crypto.h>
#include <stdlib.h>
#include <string.h>

#ifdef SF_DIGEST_OPENSSL
#include <openssl/evp.h>
#endif

#include "base/encode.h"
#include "base/mem.h"

/* What cannot fail once the library is up, unless memory is gone. */
static void
digest_must(bool ok)
{
	if (!ok)
		mem_exhausted(0);
}

enum err_code
crypto_init(struct err *reterr)
{
	psa_status_t rc = psa_crypto_init();

	if (rc != PSA_SUCCESS)
		return err_set(reterr, ERR_IO, (int)rc, "the cryptography library does not start (%d)", (int)rc);
	return ERR_OK;
}

#ifdef SF_DIGEST_OPENSSL

struct sha256 {
	EVP_MD_CTX *ctx;
};

struct sha256 *
sha256_new(void)
{
	struct sha256 *h = xcalloc(1, sizeof(*h));

	h->ctx = EVP_MD_CTX_new();
	digest_must(h->ctx != NULL && EVP_DigestInit_ex(h->ctx, EVP_sha256(), NULL) == 1);
	return h;
}

void
sha256_free(struct sha256 *h)
{
	if (h == NULL)
		return;
	EVP_MD_CTX_free(h->ctx);
	free(h);
}

void
sha256_add(struct sha256 *h, const void *p, size_t n)
{
	digest_must(EVP_DigestUpdate(h->ctx, p, n) == 1);
}

void
sha256_peek(const struct sha256 *h, struct digest *ret)
{
	EVP_MD_CTX *copy = EVP_MD_CTX_new();

	digest_must(copy != NULL && EVP_MD_CTX_copy_ex(copy, h->ctx) == 1 &&
	    EVP_DigestFinal_ex(copy, ret->b, NULL) == 1);
	EVP_MD_CTX_free(copy);
}

void
sha256_of(const void *p, size_t n, struct digest *ret)
{
	digest_must(EVP_Digest(p, n, ret->b, NULL, EVP_sha256(), NULL) == 1);
}

#else

struct sha256 {
	psa_hash_operation_t op;
};

struct sha256 *
sha256_new(void)
{
	struct sha256 *h = xcalloc(1, sizeof(*h));

	h->op = psa_hash_operation_init();
	digest_must(psa_hash_setup(&h->op, PSA_ALG_SHA_256) == PSA_SUCCESS);
	return h;
}

void
sha256_free(struct sha256 *h)
{
	if (h == NULL)
		return;
	psa_hash_abort(&h->op);
	free(h);
}

void
sha256_add(struct sha256 *h, const void *p, size_t n)
{
	digest_must(psa_hash_update(&h->op, p, n) == PSA_SUCCESS);
}

void
sha256_peek(const struct sha256 *h, struct digest *ret)
{
	psa_hash_operation_t copy = psa_hash_operation_init();
	size_t               n;

	digest_must(psa_hash_clone(&h->op, &copy) == PSA_SUCCESS &&
	    psa_hash_finish(&copy, ret->b, DIGEST_LEN, &n) == PSA_SUCCESS && n == DIGEST_LEN);
}

void
sha256_of(const void *p, size_t n, struct digest *ret)
{
	size_t got;

	digest_must(psa_hash_compute(PSA_ALG_SHA_256, p, n, ret->b, DIGEST_LEN, &got) == PSA_SUCCESS && got == DIGEST_LEN);
}

#endif

/* --- HMAC (RFC 2104) over the hash above: no key has to be imported anywhere --- */

#define HMAC_BLOCK 64

static void
hmac_half(const uint8_t key[HMAC_BLOCK], uint8_t pad, struct span data, struct digest *ret)
{
	uint8_t        block[HMAC_BLOCK];
	struct sha256 *h = sha256_new();

	for (size_t i = 0; i < HMAC_BLOCK; i++)
		block[i] = key[i] ^ pad;
	sha256_add(h, block, HMAC_BLOCK);
	sha256_add(h, data.p, data.n);
	sha256_peek(h, ret);
	sha256_free(h);
	mem_wipe(block, sizeof(block));
}

void
hmac_sha256(struct span key, struct span data, uint8_t ret[DIGEST_LEN])
{
	uint8_t       block[HMAC_BLOCK] = { 0 };
	struct digest d;

	if (key.n > HMAC_BLOCK) {
		sha256_of(key.p, key.n, &d);
		memcpy(block, d.b, DIGEST_LEN);
	} else if (key.n > 0) {
		memcpy(block, key.p, key.n);
	}
	hmac_half(block, 0x36, data, &d);
	hmac_half(block, 0x5c, span_of(d.b, DIGEST_LEN), &d);
	memcpy(ret, d.b, DIGEST_LEN);
	mem_wipe(block, sizeof(block));
	mem_wipe(&d, sizeof(d));
}

/* --- MD5: where a protocol wants it as a checksum --- */

struct md5 {
	psa_hash_operation_t op;
};

struct md5 *
md5_new(void)
{
	struct md5 *h = xcalloc(1, sizeof(*h));

	h->op = psa_hash_operation_init();
	digest_must(psa_hash_setup(&h->op, PSA_ALG_MD5) == PSA_SUCCESS);
	return h;
}

void
md5_add(struct md5 *h, const void *p, size_t n)
{
	digest_must(psa_hash_update(&h->op, p, n) == PSA_SUCCESS);
}

void
md5_end(struct md5 *h, uint8_t ret[MD5_LEN])
{
	size_t n;

	digest_must(psa_hash_finish(&h->op, ret, MD5_LEN, &n) == PSA_SUCCESS && n == MD5_LEN);
	free(h);
}

void
md5_of(const void *p, size_t n, uint8_t ret[MD5_LEN])
{
	struct md5 *h = md5_new();

	md5_add(h, p, n);
	md5_end(h, ret);
}

void
sha1_of(const void *p, size_t n, uint8_t ret[SHA1_LEN])
{
	size_t len;

	digest_must(psa_hash_compute(PSA_ALG_SHA_1, p, n, ret, SHA1_LEN, &len) == PSA_SUCCESS && len == SHA1_LEN);
}

/* --- digests as values --- */

bool
digest_eq(const struct digest *a, const struct digest *b)
{
	return memcmp(a->b, b->b, DIGEST_LEN) == 0;
}

bool
digest_is_zero(const struct digest *d)
{
	static const struct digest zero;

	return digest_eq(d, &zero);
}

char *
digest_hex(const struct digest *d, char ret[DIGEST_HEX])
{
	return hex_encode(d->b, DIGEST_LEN, ret);
}

bool
digest_parse(const char *hex, struct digest *ret)
{
	return hex_decode(span_str(hex), ret->b, DIGEST_LEN);
}
