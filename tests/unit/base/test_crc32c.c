/* SPDX-License-Identifier: MIT */
#include "base/crc32c.h"

#include <string.h>

#include "../../lib/test.h"

static uint32_t
crc_of(const char *text)
{
	return crc32c_add(0, text, strlen(text));
}

/* RFC 3720, appendix B.4, and the check value of the catalogue of CRCs. */
static void
known_values(void)
{
	uint8_t b[32];

	CHECK_U64(crc_of(""), 0);
	CHECK_U64(crc_of("123456789"), 0xe3069283);
	memset(b, 0, sizeof(b));
	CHECK_U64(crc32c_add(0, b, sizeof(b)), 0x8a9136aa);
	memset(b, 0xff, sizeof(b));
	CHECK_U64(crc32c_add(0, b, sizeof(b)), 0x62a8ab43);
	for (uint8_t i = 0; i < sizeof(b); i++)
		b[i] = i;
	CHECK_U64(crc32c_add(0, b, sizeof(b)), 0x46dd794e);
}

static void
in_pieces(void)
{
	const char *text = "the sum of pieces is the sum of the whole";

	for (size_t cut = 0; cut <= strlen(text); cut++)
		CHECK_U64(crc32c_add(crc32c_add(0, text, cut), text + cut, strlen(text) - cut), crc_of(text));
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){ { "known values", known_values }, { "in pieces", in_pieces }, { NULL, NULL } });
}
