/* SPDX-License-Identifier: MIT */
#include "base/pbe.h"

#include "../../lib/test.h"
#include "base/digest.h"
#include "base/encode.h"
#include "base/mem.h"

/* Values of openssl and of Python's hashlib. */
static void
check_hex(const uint8_t *p, size_t n, const char *want)
{
	char hex[2 * 128 + 1];

	CHECK_STR(hex_encode(p, n, hex), want);
}

static void
hmac_vectors(void)
{
	uint8_t ret[PBE_HASH_MAX], key[200];

	memset(key, 'k', sizeof(key));
	pbe_hmac(PBE_SHA1, SPAN_LIT("key"), SPAN_LIT(""), ret);
	check_hex(ret, pbe_hash_len(PBE_SHA1), "f42bb0eeb018ebbd4597ae7213711ec60760843f");
	pbe_hmac(PBE_SHA512, span_of(key, sizeof(key)), SPAN_LIT("Hi There"), ret); /* a key that is longer than a block */
	check_hex(ret, pbe_hash_len(PBE_SHA512), "01016beda65e59202e5168eb68e94cbb8c17d304bd8694bdfe1ef60beeb0daeb20c459e9487a221c59ff6786856b3275"
	    "71b8763e9124a7c0c339ae9149f15cb4");
}

static void
pbkdf2_vectors(void)
{
	static const struct {
		enum pbe_hash h;
		const char   *password, *salt;
		uint32_t      iterations;
		size_t        n;
		const char   *want;
	} rows[] = {
		{ PBE_SHA1, "password", "salt", 1, 20, "0c60c80f961f0e71f3a9b524af6012062fe037a6" }, /* RFC 6070 */
		{ PBE_SHA1, "password", "salt", 2, 20, "ea6c014dc72d6f8ccd1ed92ace1d41f0d8de8957" },
		{ PBE_SHA256, "passwordPASSWORDpassword", "saltSALTsaltSALTsaltSALTsaltSALTsalt", 4096, 40,
		    "348c89dbcbd32b2f32d814b8116e84cf2b17347ebc1800181c4e2a1fb8dd53e1c635518c7dac47e9" },
		{ PBE_SHA512, "passwordPASSWORDpassword", "saltSALTsaltSALTsaltSALTsaltSALTsalt", 4096, 64,
		    "8c0511f4c6e597c6ac6315d8f0362e225f3c501495ba23b868c005174dc4ee71115b59f9e60cd9532fa33e0f75aefe30225c583a186cd82bd4daea9724a3d3b8" },
	};
	uint8_t ret[64];

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		pbe_pbkdf2(rows[i].h, span_str(rows[i].password), span_str(rows[i].salt), rows[i].iterations, ret, rows[i].n);
		check_hex(ret, rows[i].n, rows[i].want);
	}
}

/* More than one block of it, so that the carries of appendix B count. */
static void
pkcs12_vectors(void)
{
	static const uint8_t password[] = { 0, 's', 0, 'm', 0, 'e', 0, 'g', 0, 0 };
	static const uint8_t salt[] = { 0x0a, 0x58, 0xcf, 0x64, 0x53, 0x0d, 0x82, 0x3f };
	static const struct {
		enum pbe_hash h;
		uint8_t       id;
		uint32_t      iterations;
		size_t        n;
		const char   *want;
	} rows[] = {
		{ PBE_SHA1, 1, 3, 50,
		    "8906f16c7a1ee9a8be112effbeb4c8ccbe6664286205d4834cd04cfa078fc1c2c69522192f8b148a74ef1122da0c9bfc3849" },
		{ PBE_SHA1, 2, 3, 50,
		    "1608fe14fe18d633f8f502dd898cd298c3170c97ce0b790197b5dfd01d83cf278384bf5afeb4a369cfd717dde1c00c4162c2" },
		{ PBE_SHA1, 3, 3, 50,
		    "bcdbb9582b4e21cd30f8a9025acfa7dc75e0ea3e236753814c65d49329b2a3e815f879006bc259445ed1344f7213fb716837" },
		{ PBE_SHA512, 1, 2, 70,
		    "21bfafd361ae56e2cc37cf6e4ba576cc72cefc1b12e3df355dca1a7e0597d9dc5f1dbfdfed6bab57bafb973835f7c39670b5753b4f0965ce4ec5111221fcf3"
		    "bfd3afe2b14939" },
	};
	uint8_t ret[70];

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		pbe_pkcs12(rows[i].h, rows[i].id, span_of(password, sizeof(password)), span_of(salt, sizeof(salt)), rows[i].iterations, ret,
		    rows[i].n);
		check_hex(ret, rows[i].n, rows[i].want);
	}
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){
	    { "hmac_vectors", hmac_vectors },
	    { "pbkdf2_vectors", pbkdf2_vectors },
	    { "pkcs12_vectors", pkcs12_vectors },
	    { NULL, NULL } });
}
