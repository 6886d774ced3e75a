/* SPDX-License-Identifier: MIT */
#include "base/encode.h"

#include "base/mem.h"
#include "base/rand.h"
#include "../../lib/test.h"

static void
hex(void)
{
	char    text[9];
	uint8_t out[4] = { 1, 2, 3, 4 };

	CHECK_STR(hex_encode("\x00\x7f\xab\xff", 4, text), "007fabff");
	CHECK_STR(hex_encode(NULL, 0, text), "");
	CHECK(hex_decode(SPAN_LIT("007fABfF"), out, 4) && memcmp(out, "\x00\x7f\xab\xff", 4) == 0);
	CHECK(hex_decode(SPAN_LIT(""), out, 0));
	memset(out, 9, 4);
	CHECK(!hex_decode(SPAN_LIT("007fabf"), out, 4));
	CHECK(!hex_decode(SPAN_LIT("007fabff0"), out, 4));
	CHECK(!hex_decode(SPAN_LIT("007fabff00"), out, 4));
	CHECK(!hex_decode(SPAN_LIT("007fab g"), out, 4));
	CHECK(!hex_decode(SPAN_LIT("0x7fabff"), out, 4));
	CHECK(memcmp(out, "\x09\x09\x09\x09", 4) == 0);
}

/* RFC 4648, section 10. */
static const struct {
	const char *plain, *base64;
} rfc4648[] = { { "", "" }, { "f", "Zg==" }, { "fo", "Zm8=" }, { "foo", "Zm9v" }, { "foob", "Zm9vYg==" },
	{ "fooba", "Zm9vYmE=" }, { "foobar", "Zm9vYmFy" } };

static void
base64_vectors(void)
{
	struct buf b;

	buf_init(&b, 0);
	for (size_t i = 0; i < ARRAY_LEN(rfc4648); i++) {
		buf_reset(&b);
		base64_encode(span_str(rfc4648[i].plain), &b);
		CHECK_STR(buf_str(&b), rfc4648[i].base64);
		buf_reset(&b);
		CHECK(base64_decode(span_str(rfc4648[i].base64), &b));
		CHECK_STR(buf_str(&b), rfc4648[i].plain);
	}
	buf_reset(&b);
	base64_encode(SPAN_LIT("\xfb\xef\xff"), &b);
	CHECK_STR(buf_str(&b), "++//");
	buf_reset(&b);
	base64url_encode(SPAN_LIT("\xfb\xef\xff"), &b);
	base64url_encode(SPAN_LIT("\xfb\xef"), &b);
	base64url_encode(SPAN_LIT("\xfb"), &b);
	base64url_encode(SPAN_LIT(""), &b);
	CHECK_STR(buf_str(&b), "--__" "--8" "-w");
	buf_free(&b);
}

static void
base64_refuses(void)
{
	static const char *const bad[] = { "Z", "Zg", "Zg=", "Zg===", "=", "====", "Z===", "=g==", "Zg=v", "Zg==Zg==",
		"Zm9v\n", " Zm9v",
		"Zm 9", "Zm-_", "Zh==", "Zm9=", "Zm9\xc3", "Zm9vZ" };
	struct buf b;

	buf_init(&b, 0);
	buf_puts(&b, "kept");
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		if (base64_decode(span_str(bad[i]), &b))
			test_fail(__FILE__, __LINE__, "\"%s\" was taken", bad[i]);
		CHECK_STR(buf_str(&b), "kept");
		CHECK_U64(b.len, 4);
	}
	CHECK(!base64_decode(SPAN_LIT("Zm9\0"), &b));
	buf_free(&b);
	buf_init(&b, 3);
	CHECK(base64_decode(SPAN_LIT("Zm9v"), &b));
	CHECK(!base64_decode(SPAN_LIT("Zg=="), &b));
	CHECK_STR(buf_str(&b), "foo");
	buf_free(&b);
	buf_init(&b, 2); /* the padding needs no room */
	CHECK(base64_decode(SPAN_LIT("Zm8="), &b));
	buf_free(&b);
}

/* There and back for any bytes, behind what was there; and what is accepted after a change is exactly what encodes to
 * it. */
static void
property_round_trip(void)
{
	struct rand r;
	struct buf  text, back, again;
	uint8_t     raw[70], out[70];
	char        hexed[141];
	size_t      n, taken = 0;

	rand_seeded(&r, 2);
	buf_init(&text, 0), buf_init(&back, 0), buf_init(&again, 0);
	for (int i = 0; i < 20000; i++) {
		n = (size_t)rand_below(&r, sizeof(raw));
		rand_bytes(&r, raw, n);
		hex_encode(raw, n, hexed);
		CHECK(hex_decode(span_str(hexed), out, n) && memcmp(raw, out, n) == 0);
		buf_reset(&text), buf_reset(&back), buf_reset(&again);
		buf_puts(&text, "x"), buf_puts(&back, "yz");
		base64_encode(span_of(raw, n), &text);
		CHECK_U64(text.len, 1 + (n + 2) / 3 * 4);
		CHECK(base64_decode(span_of(text.data + 1, text.len - 1), &back));
		CHECK(back.len == n + 2 && memcmp(back.data, "yz", 2) == 0 && memcmp(back.data + 2, raw, n) == 0);
		if (n == 0)
			continue;
		text.data[1 + rand_below(&r, text.len - 1)] = (uint8_t)"AZaz09+/=Bx-"[rand_below(&r, 12)];
		buf_reset(&back);
		if (!base64_decode(span_of(text.data + 1, text.len - 1), &back))
			continue;
		base64_encode(buf_span(&back), &again);
		CHECK(span_eq(buf_span(&again), span_of(text.data + 1, text.len - 1)));
		taken++;
	}
	CHECK(taken > 1000);
	buf_free(&text), buf_free(&back), buf_free(&again);
}

static void
big_endian(void)
{
	uint8_t a[8], b[8];

	be64_put(a, UINT64_C(0x0102030405060708));
	CHECK(memcmp(a, "\1\2\3\4\5\6\7\10", 8) == 0);
	CHECK_U64(be64_get(a), UINT64_C(0x0102030405060708));
	be64_put(b, UINT64_MAX);
	CHECK_U64(be64_get(b), UINT64_MAX);
	CHECK(memcmp(a, b, 8) < 0);
	be32_put(a, 0xfffefdfc);
	CHECK(memcmp(a, "\xff\xfe\xfd\xfc", 4) == 0);
	CHECK_U64(be32_get(a), 0xfffefdfc);
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv,
	    (struct test[]){
		{ "hex", hex },
		{ "base64: vectors of the RFC", base64_vectors },
		{ "base64: refuses what is not canonical", base64_refuses },
		{ "property: round trip", property_round_trip },
		{ "big-endian integers", big_endian },
		{ NULL, NULL },
	    });
}
