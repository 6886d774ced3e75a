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

struct jwt_key {
	struct crypt_rsa *rsa;
};

/* --- PEM (RFC 7468) ----------------------------------------------------------------------------------------------------- */

#define JWT_DASHES "-----"

static bool
jwt_find(struct span in, const char *what, size_t *ret)
{
	const uint8_t *at = in.n == 0 ? NULL : memmem(in.p, in.n, what, strlen(what));

	if (at != NULL)
		*ret = (size_t)(at - in.p);
	return at != NULL;
}

static struct span
jwt_after(struct span s, size_t n)
{
	return span_of(s.p + n, s.n - n);
}

/* The next block from *pem on: its label and what stands between its lines. */
static bool
jwt_pem_next(struct span *pem, struct span *label, struct span *text)
{
	struct span rest = *pem;
	size_t      at;

	if (!jwt_find(rest, JWT_DASHES "BEGIN ", &at))
		return false;
	rest = jwt_after(rest, at + sizeof(JWT_DASHES "BEGIN ") - 1);
	if (!jwt_find(rest, JWT_DASHES, &at))
		return false;
	*label = span_of(rest.p, at);
	rest = jwt_after(rest, at + sizeof(JWT_DASHES) - 1);
	if (!jwt_find(rest, JWT_DASHES "END ", &at))
		return false;
	*text = span_of(rest.p, at);
	*pem = jwt_after(rest, at + sizeof(JWT_DASHES "END ") - 1);
	return true;
}

/* Base64 with blanks and line ends anywhere. */
static bool
jwt_pem_decode(struct span text, struct buf *ret)
{
	struct buf digits;
	bool       ok;

	buf_init(&digits, JWT_PEM_MAX);
	buf_reserve(&digits, text.n, NULL);
	for (size_t i = 0; i < text.n; i++)
		if (text.p[i] == '\0' || strchr(" \t\r\n", text.p[i]) == NULL)
			buf_putc(&digits, (char)text.p[i]);
	ok = digits.len > 0 && base64_decode(buf_span(&digits), ret);
	buf_wipe_free(&digits);
	return ok;
}

/* --- DER (X.690), as far as PKCS #8 needs it --------------------------------------------------------------------------- */

enum { DER_INTEGER = 0x02, DER_OCTETS = 0x04, DER_OID = 0x06, DER_SEQUENCE = 0x30 };

/* Takes one element of that tag from the front of *in. */
static bool
jwt_der(struct span *in, uint8_t tag, struct span *ret)
{
	size_t n, head = 2;

	if (in->n < 2 || in->p[0] != tag)
		return false;
	n = in->p[1];
	if (n >= 0x80) {
		size_t bytes = n & 0x7f;

		if (bytes == 0 || bytes > 3 || in->n < 2 + bytes)
			return false;
		for (n = 0, head = 2; head < 2 + bytes; head++)
			n = n << 8 | in->p[head];
	}
	if (n > in->n - head)
		return false;
	*ret = span_of(in->p + head, n);
	*in = jwt_after(*in, head + n);
	return true;
}

/* PrivateKeyInfo ::= SEQUENCE { version, SEQUENCE { algorithm OID, ... }, OCTET STRING }: the string is the PKCS #1 key. */
static enum err_code
jwt_pkcs8(struct span der, struct span *ret, struct err *reterr)
{
	static const uint8_t rsa[] = { 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01 };
	struct span          info, version, algorithm, oid;

	if (!jwt_der(&der, DER_SEQUENCE, &info) || !jwt_der(&info, DER_INTEGER, &version) ||
	    !jwt_der(&info, DER_SEQUENCE, &algorithm) || !jwt_der(&algorithm, DER_OID, &oid) || !jwt_der(&info, DER_OCTETS, ret))
		return err_set(reterr, ERR_CONFIG, 0, "the private key is damaged");
	if (!span_eq(oid, span_of(rsa, sizeof(rsa))))
		return err_set(reterr, ERR_CONFIG, 0, "the private key is no RSA key");
	return ERR_OK;
}

/* --- keys --------------------------------------------------------------------------------------------------------------- */

static enum err_code
jwt_key_decode(struct span label, struct span text, struct crypt_rsa **ret, struct err *reterr)
{
	struct buf    der;
	struct span   pkcs1;
	enum err_code rc = ERR_OK;

	buf_init(&der, JWT_PEM_MAX);
	if (!jwt_pem_decode(text, &der))
		rc = err_set(reterr, ERR_CONFIG, 0, "the private key is damaged: it is no base64");
	pkcs1 = buf_span(&der);
	if (rc == ERR_OK && span_is(label, "PRIVATE KEY"))
		rc = jwt_pkcs8(buf_span(&der), &pkcs1, reterr);
	if (rc == ERR_OK)
		rc = crypt_rsa_new(pkcs1, ret, reterr);
	buf_wipe_free(&der);
	return rc;
}

enum err_code
jwt_key_new(struct span pem, struct jwt_key **ret, struct err *reterr)
{
	struct span       label, text;
	struct crypt_rsa *rsa;
	size_t            at;
	enum err_code     rc;

	if (pem.n > JWT_PEM_MAX)
		return err_set(reterr, ERR_CONFIG, 0, "the PEM text is longer than %d bytes", JWT_PEM_MAX);
	while (jwt_pem_next(&pem, &label, &text)) {
		if (span_is(label, "ENCRYPTED PRIVATE KEY") || (span_ends(label, "PRIVATE KEY") && jwt_find(text, "ENCRYPTED", &at)))
			return err_set(reterr, ERR_CONFIG, 0, "the private key is encrypted: give it without a password");
		if (span_is(label, "EC PRIVATE KEY"))
			return err_set(reterr, ERR_CONFIG, 0, "the private key is no RSA key");
		if (!span_is(label, "PRIVATE KEY") && !span_is(label, "RSA PRIVATE KEY"))
			continue;
		rc = jwt_key_decode(label, text, &rsa, reterr);
		if (rc != ERR_OK)
			return rc;
		*ret = xcalloc(1, sizeof(**ret));
		(*ret)->rsa = rsa;
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
