/* SPDX-License-Identifier: MIT */
#include "base/crypt.h"
#include "base/encode.h"
#include "base/time.h"
#include "../lib/fuzz.h"

/* The small parsers of values: what they take, they give back, and what they refuse leaves nothing behind. */
static void
check_time(const char *s)
{
	char    text[TIME_TEXT_MAX];
	int64_t ms = 0, again;

	/* A zone may move the ends of the four-digit years out of what the text can say. */
	if (time_parse(s, &ms) && ms >= INT64_C(-62167219200000) && ms <= INT64_C(253402300799999))
		FUZZ_CHECK(time_parse(time_format(ms, text), &again) && again == ms);
	if (time_parse_http(s, &ms) && strncmp(s + 23, "60", 2) != 0) /* a leap second is the next minute */
		FUZZ_CHECK(strncmp(time_format_s(ms, text) + 11, s + 17, 6) == 0);
	if (duration_parse(s, &ms))
		FUZZ_CHECK(ms >= 0 && ms <= INT64_C(100) * 365 * 86400000 && duration_format(ms, text)[0] != '\0');
}

static void
check_base64(struct span in)
{
	struct buf raw, again;

	buf_init(&raw, 0), buf_init(&again, 0);
	if (base64_decode(in, &raw)) {
		base64_encode(buf_span(&raw), &again);
		FUZZ_CHECK(span_eq(buf_span(&again), in));
	} else {
		FUZZ_CHECK(raw.len == 0);
	}
	buf_free(&raw), buf_free(&again);
}

static void
check_key(struct span text)
{
	uint8_t    key[CRYPT_KEY_LEN];
	char       hex[2 * CRYPT_KEY_LEN + 1];
	uint8_t    back[CRYPT_KEY_LEN];
	struct err e;

	if (crypt_key_parse(text, key, &e) != ERR_OK)
		return;
	hex_encode(key, sizeof(key), hex);
	FUZZ_CHECK(crypt_key_parse(span_str(hex), back, &e) == ERR_OK && memcmp(key, back, sizeof(key)) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	char *s = span_dup(span_of(data, n));

	check_time(s);
	check_base64(span_of(data, n));
	check_key(span_of(data, n));
	free(s);
	return 0;
}
