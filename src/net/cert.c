/* SPDX-License-Identifier: MIT */
#include "net/cert.h"

#include <stdlib.h>

#include "base/digest.h"
#include "base/encode.h"
#include "base/mem.h"
#include "der.h"
#include "pkcs12.h"

struct cert {
	struct jwt_key *key;
	char           *x5t, *x5t_s256;
};

void
cert_free(struct cert *c)
{
	if (c == NULL)
		return;
	jwt_key_free(c->key);
	free(c->x5t);
	free(c->x5t_s256);
	free(c);
}

const struct jwt_key *
cert_key(const struct cert *c)
{
	return c->key;
}

const char *
cert_x5t(const struct cert *c)
{
	return c->x5t;
}

const char *
cert_x5t_s256(const struct cert *c)
{
	return c->x5t_s256;
}

/*
 * Certificate ::= SEQUENCE { SEQUENCE { [0] version OPTIONAL, serial, signature, issuer, validity, subject, SEQUENCE { SEQUENCE { algorithm },
 * BIT STRING of the public key }, ... }, ... } (RFC 5280). Is it that of the key?
 */
static bool
cert_is_of(struct span der, const struct jwt_key *k)
{
	struct span cert, body, version, info, algorithm, bits;

	if (!der_take(&der, DER_SEQUENCE, &cert) || !der_take(&cert, DER_SEQUENCE, &body))
		return false;
	der_take(&body, DER_CONTEXT_0, &version);
	for (int i = 0; i < 5; i++)
		if (!der_skip(&body))
			return false;
	if (!der_take(&body, DER_SEQUENCE, &info) || !der_take(&info, DER_SEQUENCE, &algorithm) || !der_take(&info, DER_BITS, &bits) ||
	    bits.n < 1 || bits.p[0] != 0)
		return false;
	return jwt_key_is_of(k, span_of(bits.p + 1, bits.n - 1));
}

static char *
cert_thumbprint(const void *p, size_t n)
{
	struct buf text;

	buf_init(&text, 0);
	base64url_encode(span_of(p, n), &text);
	return buf_take(&text);
}

static void
cert_set(struct cert *c, struct span der)
{
	uint8_t       sha1[SHA1_LEN];
	struct digest sha256;

	sha1_of(der.p, der.n, sha1);
	sha256_of(der.p, der.n, &sha256);
	c->x5t = cert_thumbprint(sha1, sizeof(sha1));
	c->x5t_s256 = cert_thumbprint(sha256.b, sizeof(sha256.b));
}

static enum err_code
cert_missing(size_t others, struct err *reterr)
{
	if (others > 0)
		return err_set(reterr, ERR_CONFIG, 0, "none of the %zu certificates in there is that of its private key", others);
	return err_set(reterr, ERR_CONFIG, 0, "there is a private key, but no certificate");
}

static enum err_code
cert_of_archive(struct cert *c, struct span der, const struct secret *password, struct err *reterr)
{
	struct pkcs12 p;
	enum err_code rc = pkcs12_read(der, password, &p, reterr);

	if (rc != ERR_OK)
		return rc;
	rc = jwt_key_of(buf_span(&p.key), &c->key, reterr);
	for (size_t i = 0; rc == ERR_OK && c->x5t == NULL && i < p.ncerts; i++)
		if (cert_is_of(buf_span(&p.certs[i]), c->key))
			cert_set(c, buf_span(&p.certs[i]));
	if (rc == ERR_OK && c->x5t == NULL)
		rc = cert_missing(p.ncerts, reterr);
	pkcs12_wipe(&p);
	return rc;
}

static enum err_code
cert_of_pem(struct cert *c, struct span pem, struct err *reterr)
{
	struct span   label, text;
	struct buf    der;
	size_t        others = 0;
	enum err_code rc = jwt_key_new(pem, &c->key, reterr);

	buf_init(&der, PEM_MAX);
	while (rc == ERR_OK && c->x5t == NULL && pem_next(&pem, &label, &text)) {
		buf_reset(&der);
		if (!span_is(label, "CERTIFICATE") || !pem_decode(text, &der))
			continue;
		others++;
		if (cert_is_of(buf_span(&der), c->key))
			cert_set(c, buf_span(&der));
	}
	buf_free(&der);
	if (rc == ERR_OK && c->x5t == NULL)
		rc = cert_missing(others, reterr);
	return rc;
}

enum err_code
cert_new(struct span bytes, const struct secret *password, struct cert **ret, struct err *reterr)
{
	struct cert  *c;
	enum err_code rc;

	if (bytes.n > CERT_MAX)
		return err_set(reterr, ERR_CONFIG, 0, "the certificate is longer than %d bytes", CERT_MAX);
	c = xcalloc(1, sizeof(*c));
	if (pkcs12_is(bytes))
		rc = cert_of_archive(c, bytes, password, reterr);
	else if (bytes.n > 0 && memmem(bytes.p, bytes.n, "-----BEGIN ", 11) != NULL)
		rc = cert_of_pem(c, bytes, reterr);
	else
		rc = err_set(reterr, ERR_CONFIG, 0, "it is neither an archive (PKCS #12, PFX) nor PEM");
	if (rc == ERR_OK)
		*ret = c;
	else
		cert_free(c);
	return rc;
}
