/* SPDX-License-Identifier: MIT */
#include "net/jwt.h"

#include <stdlib.h>

#include "../../lib/test.h"
#include "../../lib/test_key.h"
#include "base/digest.h"
#include "base/mem.h"

/* Made by openssl: printf HEADER.CLAIMS | openssl dgst -sha256 -sign KEY. */
static const char signed_kid[] =
    "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6ImsxIn0.eyJpc3MiOiJhQGIiLCJleHAiOjF9.pkgP8l3DiPXkGbIMCWBzvtykld-m6"
    "CO6HOphMV8aWTWynsxr77LmyR2jb8njeOX9deO5i2aq1gqzAFMz8cXDVxD1HnXQIPJpxZnOueMmGANbe7WZpA6R7Z-0wj8viKb_vYEqwHWkit8"
    "iutbAL12rhsbUGyJkvBNpl3Dh4RYH3x-FLl09soqtgKSLC0vDLL2v1PGVtw9WGFFQIw-2p-3U_LajeXYpq_cPQBFdH0nNuM4aMLQ5Qv2uuVDAd"
    "LBtTntayKdsDJkhNI7HFyIou9N28Kduun3SnrYkH9W6q4s16K38k6WBP9UvIQY8swx-eMIu1dFf3nnrXK6slZE57QHu6Q";
static const char signed_x5t[] =
    "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCIsIng1dCI6IlQxIiwieDV0I1MyNTYiOiJUMiJ9.e30.ax18Cr-evPFCHAaw35WD82lyHaa0o6HwY"
    "elxPztVhyOWA78PevZwWmbEFiLnfLKRrynCKPYCZJlV6a6upK34vgAG9B5l6nXHNWf_TGNwxYPwJ4XfLWg13XZeZ1H62VRR5_1Fdu3qdrExZ7D"
    "3RvMaqfPaacdLA8wxcM5TgG-bz6ig32plHXMUW634ArvGJ-KTKkpOp4Vnn-VpOt5V1Yym_U-2rFroxY_rZDOGMTRRA1-zY8NVPKGODkt5QytxE"
    "Kll3X8r-Zxz9FYHN98N2ady21vgiKN77UxeoXxS0j39QEgGQJet10lAtNLeFtz-FZkAUFW-FUJRqhn3PSEYQ4yIRQ";

static struct err e;

static struct jwt_key *
key(const char *pem)
{
	struct jwt_key *k;

	CHECK_OK(crypto_init(&e), e);
	CHECK_OK(jwt_key_new(span_str(pem), &k, &e), e);
	return k;
}

static void
check_signed(const char *pem, const struct jwt_header *h, const char *claims, const char *want)
{
	struct jwt_key *k = key(pem);
	struct buf      b;

	buf_init(&b, 0);
	CHECK_OK(jwt_sign(k, h, span_str(claims), &b, &e), e);
	CHECK_STR(buf_str(&b), want);
	buf_free(&b);
	jwt_key_free(k);
}

static void
signs_as_openssl_does(void)
{
	check_signed(TEST_KEY_PKCS8, &(struct jwt_header){ .kid = "k1" }, "{\"iss\":\"a@b\",\"exp\":1}", signed_kid);
	check_signed(TEST_KEY_PKCS1, &(struct jwt_header){ .kid = "k1" }, "{\"iss\":\"a@b\",\"exp\":1}", signed_kid);
	check_signed(TEST_KEY_PKCS8, &(struct jwt_header){ .x5t = "T1", .x5t_s256 = "T2" }, "{}", signed_x5t);
}

/* A certificate before it, blanks and line ends of any kind: the key is what counts. */
static void
finds_the_key_in_a_bundle(void)
{
	struct buf b;

	buf_init(&b, 0);
	buf_puts(&b, "Bag Attributes\r\n-----BEGIN CERTIFICATE-----\r\nAAAA\r\n-----END CERTIFICATE-----\r\n");
	for (const char *p = TEST_KEY_PKCS8; *p != '\0'; p++)
		if (*p == '\n')
			buf_puts(&b, "\r\n");
		else
			buf_putc(&b, *p);
	check_signed(buf_str(&b), &(struct jwt_header){ .kid = "k1" }, "{\"iss\":\"a@b\",\"exp\":1}", signed_kid);
	buf_free(&b);
}

static void
signs_on_the_pool(void)
{
	struct loop    *l = loop_new_virtual(1, 0);
	struct work    *w = work_new(l);
	struct jwt_key *k = key(TEST_KEY_PKCS8);
	struct buf      b;

	buf_init(&b, 0);
	op_start(jwt_sign_run(l, w, k, &(struct jwt_header){ .kid = "k1" }, SPAN_LIT("{\"iss\":\"a@b\",\"exp\":1}"), &b), NULL, NULL);
	while (loop_turn(l, false))
		continue;
	CHECK_STR(buf_str(&b), signed_kid);
	buf_free(&b);
	jwt_key_free(k);
	work_free(w);
	loop_free(l);
}

static const struct {
	const char *pem, *says;
} refused[] = {
	{ "", "no private key in PEM form" },
	{ "-----BEGIN PRIVATE KEY-----", "no private key in PEM form" },
	{ "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "no private key in PEM form" },
	{ "-----BEGIN PRIVATE KEY-----\nAA*A\n-----END PRIVATE KEY-----\n", "no base64" },
	{ "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n", "no base64" },
	{ "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n", "damaged" },
	{ "-----BEGIN RSA PRIVATE KEY-----\nMIIB\n-----END RSA PRIVATE KEY-----\n", "damaged" },
	{ /* 1024 bits */
	    "-----BEGIN PRIVATE KEY-----\n"
	    "MIICdgIBADANBgkqhkiG9w0BAQEFAASCAmAwggJcAgEAAoGBALiVyO0N97hhkfGK\n"
	    "Xhy776WD5UAc5858Lo4J0wip6rQn3lbt++8Gwbvql4NrXoCG9oPgzvimIXN8BGMu\n"
	    "Iqa0P/ypqRSTULVucPnxDXNpaIaJtMn+3F5nwrAr5323ZgVdarO7YR7ZoMHLsPAj\n"
	    "xLLjamdyIldV26wpRyxTNYuX6ih/AgMBAAECgYBMws1595MK9Fhy8C3PGUDBviX6\n"
	    "EYs8zVu26dL/CVp3bRUDZZidgFvUv+weVOpJ3NZrZXPs53mFww84B5mVZeQtgu1Y\n"
	    "bscf5uipaoI6fV20a2p6cWJoRV2riuCI18vur+XZLa5lnA6AcGd0Ho+JaO+a/EE7\n"
	    "vNqVCIiBMuNontpjQQJBAO7odfNOOtBmca7+8dHcNGzdAodbrBnTrUUGwFPyw/Gk\n"
	    "eb7imJOCm8MU6wVXWXK6uP/bXWwGe7O3twcKer5uPo8CQQDFymnMB60m6Y8yrJBv\n"
	    "2dqCTISlPT0GK7hL7aYIuWYX44XeSjr0pA1b2i3A2yyJYXAAlLa22Au9jbat6EQ/\n"
	    "CG8RAkAPTLnJBBiGIhljsJYB740374tq6bcCzGiLRBxrA+ACiJr3W4GT6Mha3OsU\n"
	    "I3zp+QVB9WVtNpkTcE97VvN3YI4HAkAfRcO4iLYt4tvLTVGA/db4pxSJ88bERQFc\n"
	    "r/SCiJ3FxSmTXfU4XP/nt/Vn+r9t8UP+M4U4H6yric6KbKDtvm2hAkEAsMAJKeag\n"
	    "5VRwx9CvFeqet0coY6gPTcSCrg1FxzRIcQjGehZOZKCB8XJnhuiuNCFtYztSMY+K\n"
	    "4q5TY6rctudTPw==\n"
	    "-----END PRIVATE KEY-----\n",
	    "1024 bits" },
	{ /* P-256 */
	    "-----BEGIN PRIVATE KEY-----\n"
	    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgen3/NLOd8X1SmpJq\n"
	    "f7r/Vx3d8zUFsq9UlHqA2hiI50mhRANCAAS55vYusVOlgIAHl9UM6MPyIP6cH6LI\n"
	    "8qKIXa8V72QvmJ7VE9bJ+U/50RJ0wbZberj3wh24Ed+T49LKUouDFONc\n"
	    "-----END PRIVATE KEY-----\n",
	    "no RSA key" },
	{ /* Ed25519 */
	    "-----BEGIN PRIVATE KEY-----\n"
	    "MC4CAQAwBQYDK2VwBCIEIGZvJ/ieOk9iQuIF7P7R8LsOnun7TGpbcCjEXUIBg4c1\n"
	    "-----END PRIVATE KEY-----\n",
	    "no RSA key" },
	{ "-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n", "no RSA key" },
	{ "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n", "encrypted" },
	{ "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n",
	    "encrypted" },
};

static void
refuses_what_is_no_key(void)
{
	struct jwt_key *k = NULL;

	CHECK_OK(crypto_init(&e), e);
	for (size_t i = 0; i < ARRAY_LEN(refused); i++)
		if (jwt_key_new(span_str(refused[i].pem), &k, &e) != ERR_CONFIG || strstr(e.msg, refused[i].says) == NULL)
			test_fail(__FILE__, __LINE__, "%zu: %s", i, e.msg);
	CHECK(k == NULL);
	jwt_key_free(NULL);
}

/* Cut anywhere, it is an error, and never read beyond. */
static void
refuses_a_key_that_is_cut(void)
{
	static const char pem[] = TEST_KEY_PKCS8;
	size_t            n = strlen(pem);

	CHECK_OK(crypto_init(&e), e);
	for (size_t i = 0; i < n - sizeof("PRIVATE KEY-----"); i += 7) {
		struct jwt_key *k;
		uint8_t        *copy = xmemdup(pem, i);

		CHECK_U64(jwt_key_new(span_of(copy, i), &k, &e), ERR_CONFIG);
		free(copy);
	}
}

static void
refuses_a_text_that_is_too_long(void)
{
	struct jwt_key *k;
	char           *text = xcalloc(1, JWT_PEM_MAX + 1);

	CHECK_U64(jwt_key_new(span_of(text, JWT_PEM_MAX + 1), &k, &e), ERR_CONFIG);
	CHECK(strstr(e.msg, "longer than 65536") != NULL);
	free(text);
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){
	    { "signs_as_openssl_does", signs_as_openssl_does },
	    { "finds_the_key_in_a_bundle", finds_the_key_in_a_bundle },
	    { "signs_on_the_pool", signs_on_the_pool },
	    { "refuses_what_is_no_key", refuses_what_is_no_key },
	    { "refuses_a_key_that_is_cut", refuses_a_key_that_is_cut },
	    { "refuses_a_text_that_is_too_long", refuses_a_text_that_is_too_long },
	    { NULL, NULL } });
}
