/* SPDX-License-Identifier: MIT */
#include "base/digest.h"

#include <stdlib.h>

#include "base/encode.h"
#include "base/mem.h"
#include "base/rand.h"
#include "../../lib/test.h"

static const char *
sha256_text(struct span data)
{
	static char   hex[DIGEST_HEX];
	struct digest d;

	sha256_of(data.p, data.n, &d);
	return digest_hex(&d, hex);
}

/* FIPS 180-4, the examples of NIST's Cryptographic Standards and Guidelines. */
static void
sha256_vectors(void)
{
	struct sha256 *h = sha256_new();
	struct digest  d;
	char           thousand[1000], hex[DIGEST_HEX];

	CHECK_STR(sha256_text(span_of(NULL, 0)), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	CHECK_STR(sha256_text(SPAN_LIT("abc")), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	CHECK_STR(sha256_text(SPAN_LIT("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq")),
	    "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
	CHECK_STR(sha256_text(SPAN_LIT("abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmn"
				       "hijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu")),
	    "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1");
	memset(thousand, 'a', sizeof(thousand));
	for (int i = 0; i < 1000; i++)
		sha256_add(h, thousand, sizeof(thousand));
	sha256_peek(h, &d);
	CHECK_STR(digest_hex(&d, hex), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
	sha256_free(h);
	sha256_free(NULL);
}

/* Cut anywhere, looked at in between: what was added so far, in one piece. */
static void
property_pieces_are_one_message(void)
{
	static uint8_t data[3000];
	struct rand    r;
	struct digest  part, whole;
	size_t         n, k;

	rand_seeded(&r, 14);
	rand_bytes(&r, data, sizeof(data));
	for (int i = 0; i < 300; i++) {
		struct sha256 *h = sha256_new();

		for (n = 0; n < sizeof(data); n += k) {
			k = (size_t)rand_below(&r, 200);
			k = k < sizeof(data) - n ? k : sizeof(data) - n;
			sha256_add(h, data + n, k);
			if (rand_below(&r, 4) != 0)
				continue;
			sha256_peek(h, &part);
			sha256_of(data, n + k, &whole);
			CHECK(digest_eq(&part, &whole));
		}
		sha256_add(h, NULL, 0);
		sha256_peek(h, &part);
		sha256_of(data, n, &whole);
		CHECK(digest_eq(&part, &whole));
		sha256_free(h);
	}
}

static const char *
hmac_text(struct span key, struct span data)
{
	static char hex[DIGEST_HEX];
	uint8_t     mac[DIGEST_LEN];

	hmac_sha256(key, data, mac);
	return hex_encode(mac, sizeof(mac), hex);
}

/* RFC 4231, section 4. */
static void
hmac_vectors(void)
{
	uint8_t key[131], data[50];

	memset(key, 0x0b, sizeof(key));
	CHECK_STR(hmac_text(span_of(key, 20), SPAN_LIT("Hi There")),
	    "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
	CHECK_STR(hmac_text(SPAN_LIT("Jefe"), SPAN_LIT("what do ya want for nothing?")),
	    "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
	memset(key, 0xaa, sizeof(key));
	memset(data, 0xdd, sizeof(data));
	CHECK_STR(hmac_text(span_of(key, 20), span_of(data, 50)),
	    "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe");
	for (size_t i = 0; i < 25; i++)
		key[i] = (uint8_t)(i + 1);
	memset(data, 0xcd, sizeof(data));
	CHECK_STR(hmac_text(span_of(key, 25), span_of(data, 50)),
	    "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b");
	memset(key, 0xaa, sizeof(key));
	CHECK_STR(hmac_text(span_of(key, 131), SPAN_LIT("Test Using Larger Than Block-Size Key - Hash Key First")),
	    "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
	CHECK_STR(hmac_text(span_of(key, 131),
	    SPAN_LIT("This is a test using a larger than block-size key and a larger than block-size data. "
	    "The key needs to be hashed before being used by the HMAC algorithm.")),
	    "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2");
	CHECK_STR(hmac_text(span_of(NULL, 0), span_of(NULL, 0)),
	    "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}

/* RFC 1321, appendix A.5. */
static void
md5_vectors(void)
{
	static const struct {
		const char *text, *md5;
	} rows[] = { { "", "d41d8cd98f00b204e9800998ecf8427e" }, { "a", "0cc175b9c0f1b6a831c399e269772661" },
		{ "abc", "900150983cd24fb0d6963f7d28e17f72" }, { "message digest", "f96b697d7cb7938d525a2f31aaf161d0" },
		{ "abcdefghijklmnopqrstuvwxyz", "c3fcd3d76192e4007dfb496cca67e13b" },
		{ "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
		"d174ab98d277d9f5a5611c2c9f419d9f" },
		{ "12345678901234567890123456789012345678901234567890123456789012345678901234567890",
		"57edf4a22be3c955ac49da2e2107b67a" } };
	uint8_t md5[MD5_LEN];
	char    hex[2 * MD5_LEN + 1];

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct md5 *h = md5_new();

		md5_of(rows[i].text, strlen(rows[i].text), md5);
		CHECK_STR(hex_encode(md5, MD5_LEN, hex), rows[i].md5);
		for (const char *p = rows[i].text; *p != '\0'; p++)
			md5_add(h, p, 1);
		md5_add(h, NULL, 0);
		md5_end(h, md5);
		CHECK_STR(hex_encode(md5, MD5_LEN, hex), rows[i].md5);
	}
}

static void
digests_as_values(void)
{
	struct digest a, b = { { 0 } };
	char          hex[DIGEST_HEX];

	sha256_of("x", 1, &a);
	CHECK(digest_is_zero(&b) && !digest_is_zero(&a) && !digest_eq(&a, &b));
	CHECK(digest_parse(digest_hex(&a, hex), &b) && digest_eq(&a, &b));
	for (char *p = hex; *p != '\0'; p++)
		*p = (char)(*p >= 'a' ? *p - 32 : *p);
	memset(&b, 0, sizeof(b));
	CHECK(digest_parse(hex, &b) && digest_eq(&a, &b));
	hex[63] = '\0';
	memset(&b, 0, sizeof(b));
	CHECK(!digest_parse(hex, &b) && digest_is_zero(&b));
	CHECK(!digest_parse("", &b) && !digest_parse(NULL, &b));
	hex[63] = 'g';
	CHECK(!digest_parse(hex, &b) && digest_is_zero(&b));
	a.b[31] ^= 1;
	digest_parse(digest_hex(&a, hex), &b);
	a.b[31] ^= 1;
	CHECK(!digest_eq(&a, &b));
}

int
main(int argc, char **argv)
{
	struct err e;

	if (crypto_init(&e) != ERR_OK || crypto_init(&e) != ERR_OK) {
		printf("# %s\n", e.msg);
		return 1;
	}
	return test_main(argc, argv,
	    (struct test[]){
		{ "SHA-256: vectors of NIST", sha256_vectors },
		{ "property: pieces are one message", property_pieces_are_one_message },
		{ "HMAC-SHA-256: vectors of RFC 4231", hmac_vectors },
		{ "MD5: vectors of RFC 1321", md5_vectors },
		{ "digests as values", digests_as_values },
		{ NULL, NULL },
	    });
}
