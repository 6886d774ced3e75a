/* SPDX-License-Identifier: MIT */
#include "net/jwt.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/crypt.h"
#include "base/digest.h"
#include "base/encode.h"
#include "base/json.h"
#include "base/mem.h"
#include "der.h"

struct jwt_key {
	struct crypt_rsa *rsa;
};

/* --- keys --------------------------------------------------------------------------------------------------------------- */

/* PrivateKeyInfo ::= SEQUENCE { version, SEQUENCE { algorithm OID, ... }, OCTET STRING }: the string is the PKCS #1 key. */
static enum err_code
jwt_pkcs8(struct span der, struct span *ret, struct err *reterr)
{
	static const uint8_t rsa[] = { 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01 };
	struct span          info, version, algorithm, oid;

	if (!der_take(&der, DER_SEQUENCE, &info) || !der_take(&info, DER_INTEGER, &version) ||
	    !der_take(&info, DER_SEQUENCE, &algorithm) || !der_take(&algorithm, DER_OID, &oid) || !der_take(&info, DER_OCTETS, ret))
		return err_set(reterr, ERR_CONFIG, 0, "the private key is damaged");
	if (!span_eq(oid, span_of(rsa, sizeof(rsa))))
		return err_set(reterr, ERR_CONFIG, 0, "the private key is no RSA key");
	return ERR_OK;
}

static enum err_code
jwt_key_decode(struct span label, struct span text, struct crypt_rsa **ret, struct err *reterr)
{
	struct buf    der;
	struct span   pkcs1;
	enum err_code rc = ERR_OK;

	buf_init(&der, JWT_PEM_MAX);
	if (!pem_decode(text, &der))
		rc = err_set(reterr, ERR_CONFIG, 0, "the private key is damaged: it is no base64");
	pkcs1 = buf_span(&der);
	if (rc == ERR_OK && span_is(label, "PRIVATE KEY"))
		rc = jwt_pkcs8(buf_span(&der), &pkcs1, reterr);
	if (rc == ERR_OK)
		rc = crypt_rsa_new(pkcs1, ret, reterr);
	buf_wipe_free(&der);
	return rc;
}

static struct jwt_key *
jwt_key_take(struct crypt_rsa *rsa)
{
	struct jwt_key *k = xcalloc(1, sizeof(*k));

	k->rsa = rsa;
	return k;
}

enum err_code
jwt_key_of(struct span pkcs8, struct jwt_key **ret, struct err *reterr)
{
	struct crypt_rsa *rsa;
	struct span       pkcs1 = { NULL, 0 };

	if (jwt_pkcs8(pkcs8, &pkcs1, reterr) != ERR_OK || crypt_rsa_new(pkcs1, &rsa, reterr) != ERR_OK)
		return ERR_CONFIG;
	*ret = jwt_key_take(rsa);
	return ERR_OK;
}

enum err_code
jwt_key_new(struct span pem, struct jwt_key **ret, struct err *reterr)
{
	struct span       label, text;
	struct crypt_rsa *rsa;
	enum err_code     rc;

	if (pem.n > JWT_PEM_MAX)
		return err_set(reterr, ERR_CONFIG, 0, "the PEM text is longer than %d bytes", JWT_PEM_MAX);
	while (pem_next(&pem, &label, &text)) {
		bool sealed = text.n > 0 && memmem(text.p, text.n, "ENCRYPTED", 9) != NULL;

		if (span_is(label, "ENCRYPTED PRIVATE KEY") || (span_ends(label, "PRIVATE KEY") && sealed))
			return err_set(reterr, ERR_CONFIG, 0, "the private key is encrypted: give it without a password");
		if (span_is(label, "EC PRIVATE KEY"))
			return err_set(reterr, ERR_CONFIG, 0, "the private key is no RSA key");
		if (!span_is(label, "PRIVATE KEY") && !span_is(label, "RSA PRIVATE KEY"))
			continue;
		rc = jwt_key_decode(label, text, &rsa, reterr);
		if (rc != ERR_OK)
			return rc;
		*ret = jwt_key_take(rsa);
		return ERR_OK;
	}
	return err_set(reterr, ERR_CONFIG, 0, "there is no private key in PEM form (-----BEGIN PRIVATE KEY-----)");
}

void
jwt_key_free(struct jwt_key *k)
{
	if (k == NULL)
		return;
	crypt_rsa_free(k->rsa);
	free(k);
}

/* RSAPrivateKey ::= SEQUENCE { version, modulus, ... }, RSAPublicKey ::= SEQUENCE { modulus, exponent } */
bool
jwt_key_is_of(const struct jwt_key *k, struct span public_der)
{
	struct span own = crypt_rsa_der(k->rsa), a, b, version, ours, theirs;

	return der_take(&own, DER_SEQUENCE, &a) && der_take(&a, DER_INTEGER, &version) && der_take(&a, DER_INTEGER, &ours) &&
	    der_take(&public_der, DER_SEQUENCE, &b) && der_take(&b, DER_INTEGER, &theirs) && span_eq(ours, theirs);
}

/* --- signing ------------------------------------------------------------------------------------------------------------ */

static void
jwt_header_put(const struct jwt_header *h, struct buf *ret)
{
	struct json_writer w;

	json_begin(&w, ret);
	json_obj(&w);
	json_kv_str(&w, "alg", "RS256");
	json_kv_str(&w, "typ", "JWT");
	if (h->kid != NULL)
		json_kv_str(&w, "kid", h->kid);
	if (h->x5t != NULL)
		json_kv_str(&w, "x5t", h->x5t);
	if (h->x5t_s256 != NULL)
		json_kv_str(&w, "x5t#S256", h->x5t_s256);
	json_obj_end(&w);
}

enum err_code
jwt_sign(const struct jwt_key *k, const struct jwt_header *h, struct span claims, struct buf *ret, struct err *reterr)
{
	uint8_t       signature[CRYPT_RSA_MAX];
	struct digest d;
	struct buf    header;
	size_t        n, start = ret->len;
	enum err_code rc;

	assert(claims.n <= JWT_CLAIMS_MAX);
	buf_init(&header, 0);
	jwt_header_put(h, &header);
	base64url_encode(buf_span(&header), ret);
	buf_free(&header);
	buf_putc(ret, '.');
	base64url_encode(claims, ret);
	sha256_of(ret->data + start, ret->len - start, &d);
	rc = crypt_rsa_sign(k->rsa, d.b, signature, &n, reterr);
	if (rc != ERR_OK)
		return rc;
	buf_putc(ret, '.');
	base64url_encode(span_of(signature, n), ret);
	return ERR_OK;
}

struct jwt_job {
	struct op                op;
	struct work             *work;
	const struct jwt_key    *key;
	const struct jwt_header *header;
	struct span              claims;
	struct buf              *ret;
};

enum jwt_state { JWT_START, JWT_SIGNED };

static const char *const jwt_states[] = { "start", "signed" };

static enum err_code
jwt_work(struct work_job *job, void *arg, struct err *reterr)
{
	struct jwt_job *j = arg;

	(void)job;
	return jwt_sign(j->key, j->header, j->claims, j->ret, reterr);
}

static enum op_turn
jwt_step(struct op *op)
{
	struct jwt_job *j = container_of(op, struct jwt_job, op);

	switch ((enum jwt_state)op->state) {
	case JWT_START:
		return op_await(op, JWT_SIGNED, work_run(j->work, jwt_work, j));
	case JWT_SIGNED:
		return op_finish(op);
	}
	return OP_DONE;
}

static void
jwt_free(struct op *op)
{
	free(container_of(op, struct jwt_job, op));
}

static const struct op_class jwt_class = { "sign a token", jwt_step, NULL, jwt_free, jwt_states, ARRAY_LEN(jwt_states) };

struct op *
jwt_sign_run(struct loop *l, struct work *w, const struct jwt_key *k, const struct jwt_header *h, struct span claims,
    struct buf *ret)
{
	struct jwt_job *j = xcalloc(1, sizeof(*j));

	op_init(&j->op, &jwt_class, l);
	j->work = w;
	j->key = k;
	j->header = h;
	j->claims = claims;
	j->ret = ret;
	return &j->op;
}
