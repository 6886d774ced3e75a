/* SPDX-License-Identifier: MIT */
#include "pkcs12.h"

#include <stdlib.h>

#include "base/crypt.h"
#include "base/mem.h"
#include "base/pbe.h"
#include "base/utf8.h"
#include "der.h"
#include "net/cert.h"
#include "rc2.h"

/*
 * PFX ::= SEQUENCE { 3, ContentInfo of the safes, MacData OPTIONAL }. The safes are a list of ContentInfo, plain or encrypted, and
 * each of them a list of bags: keys, keys encrypted once more, certificates.
 */
#define OID(...)       { sizeof((const uint8_t[]){ __VA_ARGS__ }), { __VA_ARGS__ } }
#define PKCS12_DAMAGED "the archive (PKCS #12) is damaged"

static const struct pkcs12_oid {
	size_t  n;
	uint8_t b[12];
} oid_data = OID(0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01),
  oid_encrypted_data = OID(0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x06),
  oid_key_bag = OID(0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x0a, 0x01, 0x01),
  oid_shrouded_key_bag = OID(0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x0a, 0x01, 0x02),
  oid_cert_bag = OID(0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x0a, 0x01, 0x03),
  oid_x509 = OID(0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x16, 0x01),
  oid_pbes2 = OID(0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05, 0x0d),
  oid_pbkdf2 = OID(0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05, 0x0c),
  oid_pbe_3des = OID(0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x01, 0x03),
  oid_pbe_rc2_128 = OID(0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x01, 0x05),
  oid_pbe_rc2_40 = OID(0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x01, 0x06);

/* Hashes, by themselves and inside HMAC. */
static const struct {
	struct pkcs12_oid hash, hmac;
	enum pbe_hash     kind;
} pkcs12_hashes[] = {
	{ OID(0x2b, 0x0e, 0x03, 0x02, 0x1a), OID(0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x02, 0x07), PBE_SHA1 },
	{ OID(0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01), OID(0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x02, 0x09), PBE_SHA256 },
	{ OID(0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x03), OID(0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x02, 0x0b), PBE_SHA512 },
};

static const struct {
	struct pkcs12_oid oid;
	enum crypt_cbc    kind;
	size_t            key;
} pkcs12_ciphers[] = {
	{ OID(0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01, 0x02), CRYPT_CBC_AES, 16 },
	{ OID(0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01, 0x16), CRYPT_CBC_AES, 24 },
	{ OID(0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01, 0x2a), CRYPT_CBC_AES, 32 },
	{ OID(0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x03, 0x07), CRYPT_CBC_3DES, 24 },
};

static bool
pkcs12_oid_is(struct span oid, const struct pkcs12_oid *want)
{
	return span_eq(oid, span_of(want->b, want->n));
}

struct pkcs12_reader {
	struct span    password;       /* UTF-8 */
	struct buf     wide;           /* UTF-16 with its NUL, for the older ways */
	uint32_t       hashes;         /* of the password so far, all keys together */
	struct pkcs12 *ret;
};

/* --- passwords ----------------------------------------------------------------------------------------------------------- */

/* No password at all is nothing, an empty one is its NUL; which of the two a writer meant only the MAC tells. */
static void
pkcs12_widen(struct span text, struct buf *ret)
{
	size_t   n;
	uint32_t c;

	buf_reserve(ret, 2 * text.n + 2, NULL);
	for (; text.n > 0; text = span_of(text.p + n, text.n - n)) {
		n = utf8_next(text.p, text.n, &c);
		if (c > 0xffff) {
			c -= 0x10000;
			buf_putc(ret, (char)(0xd8 | c >> 18));
			buf_putc(ret, (char)(c >> 10));
			c = 0xdc00 | (c & 0x3ff);
		}
		buf_putc(ret, (char)(c >> 8));
		buf_putc(ret, (char)c);
	}
	buf_put(ret, "\0", 2);
}

static bool
pkcs12_hash(struct span oid, bool hmac, enum pbe_hash *ret)
{
	for (size_t i = 0; i < ARRAY_LEN(pkcs12_hashes); i++)
		if (pkcs12_oid_is(oid, hmac ? &pkcs12_hashes[i].hmac : &pkcs12_hashes[i].hash)) {
			*ret = pkcs12_hashes[i].kind;
			return true;
		}
	return false;
}

static enum err_code
pkcs12_unknown(const char *what, struct err *reterr)
{
	err_set(reterr, ERR_CONFIG, 0, "the archive (PKCS #12) is written with %s, which is not understood here", what);
	return err_hint(reterr, "turn it into PEM: openssl pkcs12 -legacy -in FILE -nodes -out FILE.pem");
}

static enum err_code
pkcs12_iterations(struct pkcs12_reader *r, uint32_t n, struct err *reterr)
{
	if (n >= 1 && n <= CERT_ITERATIONS_MAX - r->hashes) {
		r->hashes += n;
		return ERR_OK;
	}
	return err_set(reterr, ERR_CONFIG, 0, "the archive (PKCS #12) hashes its password %s than %d times", n < 1 ? "less" : "more",
	    n < 1 ? 1 : CERT_ITERATIONS_MAX);
}

/* --- the MAC ------------------------------------------------------------------------------------------------------------- */

static bool
pkcs12_mac_fits(const struct pkcs12_reader *r, enum pbe_hash kind, struct span salt, uint32_t iterations, struct span data,
    struct span want)
{
	uint8_t key[PBE_HASH_MAX], mac[PBE_HASH_MAX];
	size_t  len = pbe_hash_len(kind);
	bool    ok;

	pbe_pkcs12(kind, 3, buf_span(&r->wide), salt, iterations, key, len);
	pbe_hmac(kind, span_of(key, len), data, mac);
	ok = want.n == len && mem_equal_ct(want.p, mac, len);
	mem_wipe(key, sizeof(key));
	return ok;
}

/* MacData ::= SEQUENCE { SEQUENCE { SEQUENCE { hash, ... }, digest }, salt, iterations DEFAULT 1 } */
static enum err_code
pkcs12_mac(struct pkcs12_reader *r, struct span mac, struct span data, struct err *reterr)
{
	struct span   info, algorithm, oid, digest, salt;
	uint32_t      iterations = 1;
	enum pbe_hash kind;

	if (!der_take(&mac, DER_SEQUENCE, &info) || !der_take(&info, DER_SEQUENCE, &algorithm) || !der_take(&algorithm, DER_OID, &oid) ||
	    !der_take(&info, DER_OCTETS, &digest) || !der_take(&mac, DER_OCTETS, &salt) ||
	    (mac.n > 0 && !der_take_small(&mac, &iterations)))
		return err_set(reterr, ERR_CONFIG, 0, PKCS12_DAMAGED);
	if (!pkcs12_hash(oid, false, &kind))
		return pkcs12_unknown("a checksum", reterr);
	if (pkcs12_iterations(r, iterations, reterr) != ERR_OK)
		return ERR_CONFIG;
	if (pkcs12_mac_fits(r, kind, salt, iterations, data, digest))
		return ERR_OK;
	if (r->password.n == 0) {
		buf_reset(&r->wide);
		if (pkcs12_mac_fits(r, kind, salt, iterations, data, digest))
			return ERR_OK;
	}
	return err_set(reterr, ERR_CONFIG, 0, "the password of the archive (PKCS #12) is %s, or the archive is damaged",
	    r->password.n > 0 ? "wrong" : "missing");
}

/* --- decryption ---------------------------------------------------------------------------------------------------------- */

/* PBES2-params ::= SEQUENCE { SEQUENCE { PBKDF2, SEQUENCE { salt, iterations, [length], [SEQUENCE { prf }] } }, SEQUENCE { cipher, iv } } */
static enum err_code
pkcs12_pbes2(struct pkcs12_reader *r, struct span params, struct span sealed, struct buf *ret, struct err *reterr)
{
	struct span   all, kdf, oid, how, salt, prf, scheme, cipher, iv;
	uint32_t      iterations, length;
	uint8_t       key[32];
	enum pbe_hash kind = PBE_SHA1;
	enum err_code rc;

	if (!der_take(&params, DER_SEQUENCE, &all) || !der_take(&all, DER_SEQUENCE, &kdf) || !der_take(&kdf, DER_OID, &oid) ||
	    !der_take(&all, DER_SEQUENCE, &scheme) || !der_take(&scheme, DER_OID, &cipher))
		return err_set(reterr, ERR_CONFIG, 0, PKCS12_DAMAGED);
	if (!pkcs12_oid_is(oid, &oid_pbkdf2))
		return pkcs12_unknown("a way to make keys of passwords", reterr);
	if (!der_take(&kdf, DER_SEQUENCE, &how) || !der_take(&how, DER_OCTETS, &salt) || !der_take_small(&how, &iterations) ||
	    !der_take(&scheme, DER_OCTETS, &iv))
		return err_set(reterr, ERR_CONFIG, 0, PKCS12_DAMAGED);
	der_take_small(&how, &length);
	if (der_take(&how, DER_SEQUENCE, &prf) && (!der_take(&prf, DER_OID, &oid) || !pkcs12_hash(oid, true, &kind)))
		return pkcs12_unknown("a hash of the password", reterr);
	if (pkcs12_iterations(r, iterations, reterr) != ERR_OK)
		return ERR_CONFIG;
	for (size_t i = 0; i < ARRAY_LEN(pkcs12_ciphers); i++) {
		if (!pkcs12_oid_is(cipher, &pkcs12_ciphers[i].oid))
			continue;
		pbe_pbkdf2(kind, r->password, salt, iterations, key, pkcs12_ciphers[i].key);
		rc = crypt_cbc_open(pkcs12_ciphers[i].kind, span_of(key, pkcs12_ciphers[i].key), iv, sealed, ret, reterr);
		mem_wipe(key, sizeof(key));
		return rc;
	}
	return pkcs12_unknown("a cipher", reterr);
}

/* The older ways: SEQUENCE { salt, iterations }. rc2: bytes of its key; 0: triple DES. */
static enum err_code
pkcs12_older(struct pkcs12_reader *r, size_t rc2, struct span params, struct span sealed, struct buf *ret, struct err *reterr)
{
	size_t        n = rc2 > 0 ? rc2 : 24;
	struct span   all, salt;
	uint32_t      iterations;
	uint8_t       key[24], iv[8];
	enum err_code rc;

	if (!der_take(&params, DER_SEQUENCE, &all) || !der_take(&all, DER_OCTETS, &salt) || !der_take_small(&all, &iterations))
		return err_set(reterr, ERR_CONFIG, 0, PKCS12_DAMAGED);
	if (pkcs12_iterations(r, iterations, reterr) != ERR_OK)
		return ERR_CONFIG;
	pbe_pkcs12(PBE_SHA1, 1, buf_span(&r->wide), salt, iterations, key, n);
	pbe_pkcs12(PBE_SHA1, 2, buf_span(&r->wide), salt, iterations, iv, sizeof(iv));
	if (rc2 > 0)
		rc = rc2_cbc_open(span_of(key, n), iv, sealed, ret, reterr);
	else
		rc = crypt_cbc_open(CRYPT_CBC_3DES, span_of(key, n), span_of(iv, sizeof(iv)), sealed, ret, reterr);
	mem_wipe(key, sizeof(key));
	return rc;
}

/* algorithm: the inside of an AlgorithmIdentifier. */
static enum err_code
pkcs12_decrypt(struct pkcs12_reader *r, struct span algorithm, struct span sealed, struct buf *ret, struct err *reterr)
{
	struct span   oid;
	enum err_code rc;

	if (!der_take(&algorithm, DER_OID, &oid))
		return err_set(reterr, ERR_CONFIG, 0, PKCS12_DAMAGED);
	if (pkcs12_oid_is(oid, &oid_pbes2))
		rc = pkcs12_pbes2(r, algorithm, sealed, ret, reterr);
	else if (pkcs12_oid_is(oid, &oid_pbe_3des))
		rc = pkcs12_older(r, 0, algorithm, sealed, ret, reterr);
	else if (pkcs12_oid_is(oid, &oid_pbe_rc2_40))
		rc = pkcs12_older(r, 5, algorithm, sealed, ret, reterr);
	else if (pkcs12_oid_is(oid, &oid_pbe_rc2_128))
		rc = pkcs12_older(r, 16, algorithm, sealed, ret, reterr);
	else
		return pkcs12_unknown("a cipher", reterr);
	if (rc == ERR_CORRUPT || rc == ERR_UNSUPPORTED) {
		reterr->code = ERR_CONFIG;
		return err_prefix(reterr, "the archive (PKCS #12)");
	}
	return rc;
}

/* --- bags ---------------------------------------------------------------------------------------------------------------- */

/* EncryptedPrivateKeyInfo ::= SEQUENCE { SEQUENCE { algorithm }, OCTET STRING } */
static enum err_code
pkcs12_key(struct pkcs12_reader *r, bool shrouded, struct span bag, struct err *reterr)
{
	struct span all = bag, info, algorithm, sealed;

	if (r->ret->key.len > 0)
		return ERR_OK;
	if (!der_take(&bag, DER_SEQUENCE, &info))
		return err_set(reterr, ERR_CONFIG, 0, PKCS12_DAMAGED);
	if (!shrouded)
		return buf_add(&r->ret->key, all.p, all.n - bag.n, reterr);
	if (!der_take(&info, DER_SEQUENCE, &algorithm) || !der_take(&info, DER_OCTETS, &sealed))
		return err_set(reterr, ERR_CONFIG, 0, PKCS12_DAMAGED);
	return pkcs12_decrypt(r, algorithm, sealed, &r->ret->key, reterr);
}

/* CertBag ::= SEQUENCE { type, [0] { OCTET STRING } } */
static enum err_code
pkcs12_cert(struct pkcs12_reader *r, struct span bag, struct err *reterr)
{
	struct span info, type, value, der;

	if (!der_take(&bag, DER_SEQUENCE, &info) || !der_take(&info, DER_OID, &type) || !der_take(&info, DER_CONTEXT_0, &value) ||
	    !der_take(&value, DER_OCTETS, &der))
		return err_set(reterr, ERR_CONFIG, 0, PKCS12_DAMAGED);
	if (!pkcs12_oid_is(type, &oid_x509))
		return ERR_OK;
	if (r->ret->ncerts == PKCS12_CERTS)
		return err_set(reterr, ERR_CONFIG, 0, "the archive (PKCS #12) holds more than %d certificates", PKCS12_CERTS);
	buf_init(&r->ret->certs[r->ret->ncerts], CERT_MAX);
	return buf_add(&r->ret->certs[r->ret->ncerts++], der.p, der.n, reterr);
}

/* SEQUENCE OF SEQUENCE { type, [0] value, attributes } */
static enum err_code
pkcs12_bags(struct pkcs12_reader *r, struct span contents, struct err *reterr)
{
	struct span   bags, bag, type, value;
	enum err_code rc = ERR_OK;

	if (!der_take(&contents, DER_SEQUENCE, &bags))
		return err_set(reterr, ERR_CONFIG, 0, PKCS12_DAMAGED);
	while (rc == ERR_OK && bags.n > 0) {
		if (!der_take(&bags, DER_SEQUENCE, &bag) || !der_take(&bag, DER_OID, &type) || !der_take(&bag, DER_CONTEXT_0, &value))
			return err_set(reterr, ERR_CONFIG, 0, PKCS12_DAMAGED);
		if (pkcs12_oid_is(type, &oid_key_bag) || pkcs12_oid_is(type, &oid_shrouded_key_bag))
			rc = pkcs12_key(r, pkcs12_oid_is(type, &oid_shrouded_key_bag), value, reterr);
		else if (pkcs12_oid_is(type, &oid_cert_bag))
			rc = pkcs12_cert(r, value, reterr);
	}
	return rc;
}

/* EncryptedData ::= SEQUENCE { version, SEQUENCE { type, SEQUENCE { algorithm }, [0] bytes } } */
static enum err_code
pkcs12_encrypted(struct pkcs12_reader *r, struct span content, struct err *reterr)
{
	struct span   data, version, info, type, algorithm, sealed;
	struct buf    plain;
	enum err_code rc;

	if (!der_take(&content, DER_SEQUENCE, &data) || !der_take(&data, DER_INTEGER, &version) || !der_take(&data, DER_SEQUENCE, &info) ||
	    !der_take(&info, DER_OID, &type) || !der_take(&info, DER_SEQUENCE, &algorithm) ||
	    !der_take(&info, DER_CONTEXT_0_BYTES, &sealed))
		return err_set(reterr, ERR_CONFIG, 0, PKCS12_DAMAGED);
	buf_init(&plain, CERT_MAX);
	rc = pkcs12_decrypt(r, algorithm, sealed, &plain, reterr);
	if (rc == ERR_OK)
		rc = pkcs12_bags(r, buf_span(&plain), reterr);
	buf_wipe_free(&plain);
	return rc;
}

static enum err_code
pkcs12_safes(struct pkcs12_reader *r, struct span data, struct err *reterr)
{
	struct span   safes, info, type, content, octets;
	enum err_code rc = ERR_OK;

	if (!der_take(&data, DER_SEQUENCE, &safes))
		return err_set(reterr, ERR_CONFIG, 0, PKCS12_DAMAGED);
	while (rc == ERR_OK && safes.n > 0) {
		if (!der_take(&safes, DER_SEQUENCE, &info) || !der_take(&info, DER_OID, &type) || !der_take(&info, DER_CONTEXT_0, &content))
			return err_set(reterr, ERR_CONFIG, 0, PKCS12_DAMAGED);
		if (pkcs12_oid_is(type, &oid_encrypted_data))
			rc = pkcs12_encrypted(r, content, reterr);
		else if (!pkcs12_oid_is(type, &oid_data))
			return pkcs12_unknown("a public key", reterr);
		else if (!der_take(&content, DER_OCTETS, &octets))
			return err_set(reterr, ERR_CONFIG, 0, PKCS12_DAMAGED);
		else
			rc = pkcs12_bags(r, octets, reterr);
	}
	return rc;
}

/* --- the whole ----------------------------------------------------------------------------------------------------------- */

bool
pkcs12_is(struct span bytes)
{
	struct span pfx, safe;
	uint32_t    version;

	return der_take(&bytes, DER_SEQUENCE, &pfx) && der_take_small(&pfx, &version) && version == 3 &&
	    der_take(&pfx, DER_SEQUENCE, &safe);
}

static enum err_code
pkcs12_open(struct pkcs12_reader *r, struct span der, struct err *reterr)
{
	struct span pfx, safe, type, content, data, mac = { NULL, 0 };
	uint32_t    version;

	if (!der_take(&der, DER_SEQUENCE, &pfx) || !der_take_small(&pfx, &version) || version != 3 ||
	    !der_take(&pfx, DER_SEQUENCE, &safe) || !der_take(&safe, DER_OID, &type) || !der_take(&safe, DER_CONTEXT_0, &content) ||
	    !der_take(&content, DER_OCTETS, &data))
		return err_set(reterr, ERR_CONFIG, 0, PKCS12_DAMAGED);
	if (!pkcs12_oid_is(type, &oid_data))
		return pkcs12_unknown("a signature", reterr);
	if (pfx.n > 0 && !der_take(&pfx, DER_SEQUENCE, &mac))
		return err_set(reterr, ERR_CONFIG, 0, PKCS12_DAMAGED);
	if (mac.n > 0 && pkcs12_mac(r, mac, data, reterr) != ERR_OK)
		return ERR_CONFIG;
	return pkcs12_safes(r, data, reterr);
}

void
pkcs12_wipe(struct pkcs12 *p)
{
	buf_wipe_free(&p->key);
	for (size_t i = 0; i < p->ncerts; i++)
		buf_free(&p->certs[i]);
	memset(p, 0, sizeof(*p));
}

enum err_code
pkcs12_read(struct span der, const struct secret *password, struct pkcs12 *ret, struct err *reterr)
{
	struct pkcs12_reader r = { .password = span_of(password != NULL ? secret_str(password) : "", secret_len(password)), .ret = ret };
	enum err_code        rc;

	memset(ret, 0, sizeof(*ret));
	buf_init(&ret->key, CERT_MAX);
	buf_init(&r.wide, 0);
	pkcs12_widen(r.password, &r.wide);
	rc = pkcs12_open(&r, der, reterr);
	buf_wipe_free(&r.wide);
	if (rc == ERR_OK && ret->key.len == 0)
		rc = err_set(reterr, ERR_CONFIG, 0, "the archive (PKCS #12) holds no private key");
	if (rc != ERR_OK)
		pkcs12_wipe(ret);
	return rc;
}
