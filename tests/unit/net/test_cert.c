/* SPDX-License-Identifier: MIT */
#include "net/cert.h"

#include <stdlib.h>

#include "../../lib/test.h"
#include "../../lib/test_key.h"
#include "base/digest.h"
#include "base/mem.h"

/* Archives that openssl wrote, of one certificate with the key of tests/lib/test_key.h (tests/golden/pfx/README.md). */
#define PASSWORD "CANARY-pfx-\xc3\xbc"
#define X5T      "MuhOz6VQeoDhY7w--ToNOEmaxiU"
#define X5T_S256 "2Ua69faTcvdp_2UokUQ2F_2rU7NkV1gcbeMq1z6eL88"

static struct err e;

static enum err_code
try(struct span bytes, const char *password, struct cert **ret)
{
	struct secret *p = password != NULL ? secret_new(span_str(password)) : NULL;
	enum err_code  rc = cert_new(bytes, p, ret, &e);

	secret_free(p);
	if (rc != ERR_OK)
		CHECK(strstr(e.msg, "CANARY") == NULL && strstr(e.hint, "CANARY") == NULL);
	return rc;
}

static struct span
golden(const char *name)
{
	char       *path = xasprintf("golden/pfx/%s", name);
	size_t      n;
	const char *p = test_read(path, &n);

	free(path);
	return span_of(p, n);
}

/* Its key signs as the key in PEM does. */
static void
check_key(const struct cert *c)
{
	struct jwt_key *k;
	struct buf      a, b;

	CHECK_OK(jwt_key_new(span_str(TEST_KEY_PKCS8), &k, &e), e);
	buf_init(&a, 0);
	buf_init(&b, 0);
	CHECK_OK(jwt_sign(k, &(struct jwt_header){ .x5t = X5T }, SPAN_LIT("{}"), &a, &e), e);
	CHECK_OK(jwt_sign(cert_key(c), &(struct jwt_header){ .x5t = X5T }, SPAN_LIT("{}"), &b, &e), e);
	CHECK_STR(buf_str(&a), buf_str(&b));
	buf_free(&a);
	buf_free(&b);
	jwt_key_free(k);
}

static void
reads_what_others_write(void)
{
	static const struct {
		const char *file, *password;
	} rows[] = { { "aes.pfx", PASSWORD }, { "3des.pfx", PASSWORD }, { "rc2.pfx", PASSWORD }, { "rc2-128.pfx", PASSWORD },
		{ "empty.pfx", "" }, { "empty.pfx", NULL }, { "plain.pfx", NULL },
		{ "plain.pfx", "whatever" }, { "bundle.pem", NULL } };

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct cert *c;

		if (try(golden(rows[i].file), rows[i].password, &c) != ERR_OK)
			test_fail(__FILE__, __LINE__, "%s: %s", rows[i].file, e.msg);
		CHECK_STR(cert_x5t(c), X5T);
		CHECK_STR(cert_x5t_s256(c), X5T_S256);
		check_key(c);
		cert_free(c);
	}
}

static void
says_what_is_wrong(void)
{
	static const struct {
		const char *file, *password, *says, *hint;
	} rows[] = {
		{ "aes.pfx", "CANARY-other", "is wrong", "" },
		{ "aes.pfx", NULL, "is missing", "" },
		{ "3des.pfx", "CANARY-pfx-u", "is wrong", "" },
		{ "empty.pfx", "x", "is wrong", "" },
		{ "rc2.pfx", "CANARY-other", "is wrong", "" },
		{ "rc4.pfx", PASSWORD, "a cipher, which is not understood", "openssl pkcs12 -legacy" },
		{ "nocert.pfx", "", "a private key, but no certificate", "" },
		{ "nokey.pfx", "", "no private key", "" },
		{ "README.md", NULL, "neither an archive", "" },
	};
	struct cert *c = NULL;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (try(golden(rows[i].file), rows[i].password, &c) != ERR_CONFIG || strstr(e.msg, rows[i].says) == NULL ||
		    strstr(e.hint, rows[i].hint) == NULL)
			test_fail(__FILE__, __LINE__, "%s: %s; %s", rows[i].file, e.msg, e.hint);
	CHECK_U64(try(span_str(TEST_KEY_PKCS8), NULL, &c), ERR_CONFIG);
	CHECK(strstr(e.msg, "but no certificate") != NULL);
	CHECK_U64(try(SPAN_LIT(""), NULL, &c), ERR_CONFIG);
	CHECK(c == NULL);
}

/* The certificates of others do not count, nor do those before the right one. */
static void
wants_the_certificate_of_the_key(void)
{
	struct span  all = golden("bundle.pem");
	const char  *text = (const char *)all.p, *ca = strstr(text, "-----BEGIN CERTIFICATE-----"), *own = strstr(ca + 1, "-----BEGIN CERT");
	struct cert *c = NULL;

	CHECK_U64(try(span_of(text, (size_t)(own - text)), NULL, &c), ERR_CONFIG);
	CHECK_STR(e.msg, "none of the 1 certificates in there is that of its private key");
}

/* Each byte in turn: never a crash, and a certificate only with the right thumbprint. */
static void
damage_is_found(void)
{
	struct span  good = golden("empty.pfx");
	uint8_t     *copy = xmemdup(good.p, good.n);
	struct cert *c;
	size_t       taken = 0;

	for (size_t i = 0; i < good.n; i += 3) {
		copy[i] ^= 0x55;
		c = NULL;
		if (try(span_of(copy, good.n), "", &c) == ERR_OK) {
			CHECK_STR(cert_x5t(c), X5T);
			taken++;
		}
		cert_free(c);
		copy[i] ^= 0x55;
		if (try(span_of(copy, i), "", &c) == ERR_OK)
			test_fail(__FILE__, __LINE__, "cut at %zu", i);
	}
	CHECK(taken < 8); /* names that nobody reads */
	free(copy);
}

/* What a few bytes may cost is bounded. */
static void
bounds_the_hashing(void)
{
	static const uint8_t count[] = { 0x02, 0x02, 0x08, 0x00 }; /* 2048 */
	struct span  good = golden("aes.pfx");
	uint8_t     *copy = xmemdup(good.p, good.n), *at = memmem(copy, good.n, count, sizeof(count));
	struct cert *c;

	CHECK(at != NULL); /* a larger number of as many bytes: the MAC comes first, and it is the last one */
	for (uint8_t *next = at; next != NULL; next = memmem(at + 1, good.n - (size_t)(at + 1 - copy), count, sizeof(count)))
		at = next;
	at[2] = 0x7f;
	CHECK_U64(try(span_of(copy, good.n), PASSWORD, &c), ERR_CONFIG);
	CHECK(strstr(e.msg, "is wrong, or the archive is damaged") != NULL);
	at[2] = 0;
	CHECK_U64(try(span_of(copy, good.n), PASSWORD, &c), ERR_CONFIG);
	CHECK(strstr(e.msg, "less than 1 times") != NULL);
	free(copy);
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){
	    { "reads_what_others_write", reads_what_others_write },
	    { "says_what_is_wrong", says_what_is_wrong },
	    { "wants_the_certificate_of_the_key", wants_the_certificate_of_the_key },
	    { "damage_is_found", damage_is_found },
	    { "bounds_the_hashing", bounds_the_hashing },
	    { NULL, NULL } });
}
