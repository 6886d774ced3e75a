/* SPDX-License-Identifier: MIT */
#include "base/crypt.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/digest.h"
#include "base/encode.h"
#include "base/mem.h"
#include "../../lib/test.h"

static struct err e;

/* Hands out the nonce of a vector. */
struct fixed {
	struct rand r;
	uint8_t     nonce[12];
};

static void
fixed_fill(struct rand *r, void *p, size_t n)
{
	memcpy(p, container_of(r, struct fixed, r)->nonce, n);
}

/* AES-256 in the specification of GCM (McGrew and Viega, submitted to NIST), appendix B, cases 13 to 16. */
static const struct {
	const char *key, *nonce, *aad, *plain, *sealed;
} vectors[] = {
	{ "0000000000000000000000000000000000000000000000000000000000000000", "000000000000000000000000", "", "",
	    "530f8afbc74536b9a963b4f1c4cb738b" },
	{ "0000000000000000000000000000000000000000000000000000000000000000", "000000000000000000000000", "",
	    "00000000000000000000000000000000", "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919" },
	{ "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308", "cafebabefacedbaddecaf888", "",
	    "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525"
	    "b16aedf5aa0de657ba637b391aafd255",
	    "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838"
	    "c5f61e6393ba7a0abcc9f662898015ad"
	    "b094dac5d93471bdec1a502270e3cc6c" },
	{ "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308", "cafebabefacedbaddecaf888",
	    "feedfacedeadbeeffeedfacedeadbeefabaddad2",
	    "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525"
	    "b16aedf5aa0de657ba637b39",
	    "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838"
	    "c5f61e6393ba7a0abcc9f662"
	    "76fc6ece0f4e1768cddf8853bb2d551b" },
};

static struct span
unhex(const char *text, uint8_t room[128])
{
	size_t n = strlen(text) / 2;

	CHECK(n <= 128 && hex_decode(span_str(text), room, n));
	return span_of(room, n);
}

static void
gcm_vectors(void)
{
	uint8_t      key[128], aad_room[128], plain_room[128], sealed_room[128];
	struct fixed f = { .r.fill = fixed_fill };
	struct buf   b;

	for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
		struct span aad = unhex(vectors[i].aad, aad_room), plain = unhex(vectors[i].plain, plain_room);
		struct span sealed = unhex(vectors[i].sealed, sealed_room);

		unhex(vectors[i].key, key);
		CHECK(hex_decode(span_str(vectors[i].nonce), f.nonce, sizeof(f.nonce)));
		struct crypt_key *k = crypt_key_new(key);

		buf_init(&b, 0);
		buf_puts(&b, "before");
		CHECK_OK(crypt_seal(k, &f.r, aad, plain, &b, &e), e);
		CHECK_U64(b.len, 6 + CRYPT_OVERHEAD + plain.n);
		CHECK(memcmp(b.data, "before", 6) == 0 && memcmp(b.data + 6, f.nonce, 12) == 0);
		CHECK(span_eq(span_of(b.data + 18, b.len - 18), sealed));
		struct span message = span_of(xmemdup(b.data + 6, b.len - 6), b.len - 6);

		CHECK_OK(crypt_open(k, aad, message, &b, &e), e);
		CHECK(span_eq(span_of(b.data + 6 + message.n, b.len - 6 - message.n), plain));
		free((void *)(uintptr_t)message.p);
		buf_free(&b);
		crypt_key_free(k);
	}
	crypt_key_free(NULL);
}

static struct crypt_key *
test_key(uint8_t first)
{
	uint8_t key[CRYPT_KEY_LEN];

	for (size_t i = 0; i < sizeof(key); i++)
		key[i] = (uint8_t)(first + i);
	return crypt_key_new(key);
}

/* Every bit counts: of the nonce, the text, the tag, the length, what is authenticated beside it, and the key. */
static void
damage_is_found(void)
{
	struct crypt_key *k = test_key(1), *other = test_key(2);
	struct rand       r;
	struct buf        sealed, out;

	rand_seeded(&r, 15);
	buf_init(&sealed, 0), buf_init(&out, 0);
	CHECK_OK(crypt_seal(k, &r, SPAN_LIT("aad"), SPAN_LIT("a state"), &sealed, &e), e);
	buf_puts(&out, "kept");
	for (size_t bit = 0; bit < 8 * sealed.len; bit++) {
		sealed.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
		CHECK(crypt_open(k, SPAN_LIT("aad"), buf_span(&sealed), &out, &e) == ERR_CORRUPT);
		CHECK_STR(buf_str(&out), "kept");
		CHECK_U64(out.len, 4);
		sealed.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	for (size_t n = 0; n < sealed.len; n++)
		CHECK(crypt_open(k, SPAN_LIT("aad"), span_of(sealed.data, n), &out, &e) == ERR_CORRUPT);
	CHECK(crypt_open(k, SPAN_LIT("aae"), buf_span(&sealed), &out, &e) == ERR_CORRUPT);
	CHECK(crypt_open(k, SPAN_LIT(""), buf_span(&sealed), &out, NULL) == ERR_CORRUPT);
	CHECK(crypt_open(other, SPAN_LIT("aad"), buf_span(&sealed), &out, &e) == ERR_CORRUPT);
	CHECK_STR(e.msg, "an encrypted record does not open: damaged, or another key");
	CHECK_OK(crypt_open(k, SPAN_LIT("aad"), buf_span(&sealed), &out, &e), e);
	CHECK_STR(buf_str(&out), "kepta state");
	buf_free(&sealed), buf_free(&out);
	crypt_key_free(k), crypt_key_free(other);
}

static void
keeps_the_limit_of_the_buf(void)
{
	struct crypt_key *k = test_key(1);
	struct rand       r;
	struct buf        sealed, out;

	rand_seeded(&r, 16);
	buf_init(&sealed, CRYPT_OVERHEAD + 4), buf_init(&out, 3);
	CHECK(crypt_seal(k, &r, SPAN_LIT(""), SPAN_LIT("12345"), &sealed, &e) == ERR_UNSUPPORTED && sealed.len == 0);
	CHECK_OK(crypt_seal(k, &r, SPAN_LIT(""), SPAN_LIT("1234"), &sealed, &e), e);
	CHECK(crypt_open(k, SPAN_LIT(""), buf_span(&sealed), &out, &e) == ERR_UNSUPPORTED && out.len == 0);
	buf_free(&sealed), buf_free(&out);
	crypt_key_free(k);
}

static void
property_round_trip(void)
{
	enum { MAX = 5000 };
	static uint8_t    plain[MAX], aad[100];
	struct crypt_key *k = test_key(3);
	struct rand       r;
	struct buf        sealed, out, before;

	rand_seeded(&r, 17);
	buf_init(&sealed, 0), buf_init(&out, 0), buf_init(&before, 0);
	for (int i = 0; i < 500; i++) {
		size_t n = (size_t)rand_below(&r, rand_below(&r, 10) == 0 ? MAX : 80);
		size_t m = (size_t)rand_below(&r, sizeof(aad));

		rand_bytes(&r, plain, n), rand_bytes(&r, aad, m);
		buf_reset(&sealed), buf_reset(&out);
		CHECK_OK(crypt_seal(k, &r, span_of(aad, m), span_of(plain, n), &sealed, &e), e);
		CHECK_OK(crypt_open(k, span_of(aad, m), buf_span(&sealed), &out, &e), e);
		CHECK(span_eq(buf_span(&out), span_of(plain, n)));
		CHECK(before.len == 0 || memcmp(before.data, sealed.data, 12) != 0); /* never a nonce twice */
		buf_reset(&before);
		buf_put(&before, sealed.data, sealed.len);
	}
	buf_free(&sealed), buf_free(&out), buf_free(&before);
	crypt_key_free(k);
}

static void
macs_depend_on_key_label_and_data(void)
{
	struct crypt_key *k = test_key(1), *other = test_key(2);
	uint8_t           a[32], b[32], derived[32], want[32], key[CRYPT_KEY_LEN];

	for (size_t i = 0; i < sizeof(key); i++)
		key[i] = (uint8_t)(1 + i);
	hmac_sha256(span_of(key, sizeof(key)), SPAN_LIT("digest"), derived);
	hmac_sha256(span_of(derived, sizeof(derived)), SPAN_LIT("data"), want);
	crypt_mac(k, "digest", SPAN_LIT("data"), a);
	CHECK(memcmp(a, want, 32) == 0);
	crypt_mac(other, "digest", SPAN_LIT("data"), b);
	CHECK(memcmp(a, b, 32) != 0);
	crypt_mac(k, "other", SPAN_LIT("data"), b);
	CHECK(memcmp(a, b, 32) != 0);
	crypt_mac(k, "digest", SPAN_LIT("datb"), b);
	CHECK(memcmp(a, b, 32) != 0);
	crypt_key_free(k), crypt_key_free(other);
}

static void
parses_keys(void)
{
	static const char *const good[] = { "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
		" \t000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F\r\n",
		"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
		"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n" };
	static const char *const bad[] = { "", " ", "00",
		"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e",
		"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20",
		"0001020304050607 08090a0b0c0d0e0f101112131415161718191a1b1c1d1e1",
		"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8",
		"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHg==", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g",
		"a passphrase is not a key, however long it may be, is it" };
	uint8_t key[CRYPT_KEY_LEN];

	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		memset(key, 0xee, sizeof(key));
		CHECK_OK(crypt_key_parse(span_str(good[i]), key, &e), e);
		for (size_t k = 0; k < sizeof(key); k++)
			CHECK_U64(key[k], k);
	}
	memset(key, 0xee, sizeof(key));
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		CHECK(crypt_key_parse(span_str(bad[i]), key, &e) == ERR_CONFIG);
		CHECK(strlen(bad[i]) < 3 || strstr(e.msg, bad[i]) == NULL);
	}
	CHECK(crypt_key_parse(SPAN_LIT("\0\0\0\0"), key, &e) == ERR_CONFIG);
	for (size_t k = 0; k < sizeof(key); k++)
		CHECK_U64(key[k], 0xee);
}

/* The store thread seals while the loop thread opens and the pool hashes. */
static void *
thread_round(void *arg)
{
	struct crypt_key *k = arg;
	struct rand       r;
	struct buf        sealed, out;
	struct digest     d;
	uintptr_t         wrong = 0;

	rand_system(&r);
	buf_init(&sealed, 0), buf_init(&out, 0);
	for (int i = 0; i < 2000; i++) {
		buf_reset(&sealed), buf_reset(&out);
		sha256_of("abc", 3, &d);
		wrong += d.b[0] != 0xba;
		wrong += crypt_seal(k, &r, SPAN_LIT("a"), SPAN_LIT("some bytes"), &sealed, NULL) != ERR_OK;
		wrong += crypt_open(k, SPAN_LIT("a"), buf_span(&sealed), &out, NULL) != ERR_OK;
		wrong += strcmp(buf_str(&out), "some bytes") != 0;
	}
	buf_free(&sealed), buf_free(&out);
	return (void *)wrong;
}

static void
threads_share_a_key(void)
{
	struct crypt_key *k = test_key(4);
	pthread_t         t[4];
	void             *wrong;

	for (size_t i = 0; i < ARRAY_LEN(t); i++)
		CHECK(pthread_create(&t[i], NULL, thread_round, k) == 0);
	for (size_t i = 0; i < ARRAY_LEN(t); i++) {
		pthread_join(t[i], &wrong);
		CHECK_U64((uintptr_t)wrong, 0);
	}
	crypt_key_free(k);
}

/* mbedTLS 2.28 has 32 places for keys: none may stay taken. */
static void
many_keys_at_once(void)
{
	struct crypt_key *k[100];
	struct rand       r;
	struct buf        b;

	rand_seeded(&r, 18);
	buf_init(&b, 0);
	for (size_t i = 0; i < ARRAY_LEN(k); i++) {
		k[i] = test_key((uint8_t)i);
		CHECK_OK(crypt_seal(k[i], &r, SPAN_LIT(""), SPAN_LIT("x"), &b, &e), e);
	}
	for (size_t i = 0; i < ARRAY_LEN(k); i++)
		crypt_key_free(k[i]);
	buf_free(&b);
}

/* openssl enc -des-ede3-cbc, -aes-192-cbc. */
static void
opens_cbc(void)
{
	static const struct {
		enum crypt_cbc how;
		size_t         block;
		const char    *sealed;
	} rows[] = { { CRYPT_CBC_3DES, 8, "e735fd736fbfc0e4452c8a1ea2d6b338" }, { CRYPT_CBC_AES, 16, "1367c454df8ab8ac241d8930096b350a" } };
	uint8_t    key[24], in[16];
	struct buf b;

	for (size_t i = 0; i < sizeof(key); i++)
		key[i] = (uint8_t)i;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct span iv = span_of(key, rows[i].block);

		buf_init(&b, 0);
		buf_puts(&b, "> ");
		CHECK(hex_decode(span_str(rows[i].sealed), in, sizeof(in)));
		CHECK_OK(crypt_cbc_open(rows[i].how, span_of(key, sizeof(key)), iv, span_of(in, sizeof(in)), &b, &e), e);
		CHECK_STR(buf_str(&b), "> hello padding");
		in[15] ^= 1;
		CHECK_U64(crypt_cbc_open(rows[i].how, span_of(key, sizeof(key)), iv, span_of(in, sizeof(in)), &b, &e), ERR_CORRUPT);
		CHECK_U64(crypt_cbc_open(rows[i].how, span_of(key, sizeof(key)), iv, span_of(in, 15), &b, &e), ERR_CORRUPT);
		CHECK_U64(crypt_cbc_open(rows[i].how, span_of(key, sizeof(key)), iv, span_of(in, 0), &b, &e), ERR_CORRUPT);
		CHECK_U64(crypt_cbc_open(rows[i].how, span_of(key, sizeof(key)), span_of(key, 7), span_of(in, 16), &b, &e), ERR_CORRUPT);
		CHECK_STR(buf_str(&b), "> hello padding");
		buf_free(&b);
	}
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv,
	    (struct test[]){
		{ "AES-256-GCM: vectors of its specification", gcm_vectors },
		{ "damage is found", damage_is_found },
		{ "keeps the limit of the buf", keeps_the_limit_of_the_buf },
		{ "property: round trip", property_round_trip },
		{ "MACs depend on key, label and data", macs_depend_on_key_label_and_data },
		{ "parses keys", parses_keys },
		{ "opens what CBC sealed", opens_cbc },
		{ "threads share a key", threads_share_a_key },
		{ "many keys at once", many_keys_at_once },
		{ NULL, NULL },
	    });
}
