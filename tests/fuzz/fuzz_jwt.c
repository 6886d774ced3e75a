/* SPDX-License-Identifier: MIT */
/* Keys in PEM: any bytes. What is taken as a key signs, twice the same; what is refused has a reason that shows none of it. */
#include <string.h>

#include "../lib/fuzz.h"
#include "base/digest.h"
#include "base/mem.h"
#include "net/jwt.h"

/* No run of base64 digits of the input stands in the message. */
static void
check_message(struct span in, const char *msg)
{
	for (size_t i = 0; i + 12 <= in.n; i++) {
		char piece[13];

		memcpy(piece, in.p + i, 12);
		piece[12] = '\0';
		if (strpbrk(piece, " -\n:,()") == NULL && strlen(piece) == 12)
			FUZZ_CHECK(strstr(msg, piece) == NULL);
	}
}

static void
check_key(struct jwt_key *k)
{
	struct buf one, two;
	struct err e;

	buf_init(&one, 0);
	buf_init(&two, 0);
	FUZZ_CHECK(jwt_sign(k, &(struct jwt_header){ .kid = "k" }, SPAN_LIT("{}"), &one, &e) ==
	    jwt_sign(k, &(struct jwt_header){ .kid = "k" }, SPAN_LIT("{}"), &two, &e));
	FUZZ_CHECK(one.len == two.len && memcmp(one.data, two.data, one.len) == 0);
	buf_free(&one);
	buf_free(&two);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct jwt_key *k = NULL;
	struct err      e = { .msg = "" };

	if (crypto_init(&e) != ERR_OK)
		abort();
	if (jwt_key_new(span_of(data, n), &k, &e) == ERR_OK) {
		check_key(k);
	} else {
		FUZZ_CHECK(e.code == ERR_CONFIG && e.msg[0] != '\0' && k == NULL);
		check_message(span_of(data, n), e.msg);
	}
	jwt_key_free(k);
	return 0;
}
