/* SPDX-License-Identifier: MIT */
#include "base/rand.h"

#include "../../lib/test.h"

static void
reference_numbers(void)
{
	/* xoshiro256** from the state { 1, 2, 3, 4 }, as its other implementations print them. */
	static const uint64_t want[] = { 11520, 0, UINT64_C(1509978240), UINT64_C(1215971899390074240),
		UINT64_C(1216172134540287360),
		UINT64_C(607988272756665600), UINT64_C(16172922978634559625), UINT64_C(8476171486693032832),
		UINT64_C(10595114339597558777), UINT64_C(2904607092377533576) };
	struct rand r;

	rand_seeded(&r, 0);
	/* SplitMix64 from 0. */
	CHECK_U64(r.s[0], UINT64_C(16294208416658607535));
	CHECK_U64(r.s[1], UINT64_C(7960286522194355700));
	CHECK_U64(r.s[2], UINT64_C(487617019471545679));
	CHECK_U64(r.s[3], UINT64_C(17909611376780542444));
	for (int i = 0; i < 4; i++)
		r.s[i] = (uint64_t)i + 1;
	for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++)
		CHECK_U64(rand_u64(&r), want[i]);
}

static void
seed_replays(void)
{
	struct rand a, b, c;
	uint8_t     x[100], y[100], z[100];

	rand_seeded(&a, 9), rand_seeded(&b, 9), rand_seeded(&c, 10);
	for (size_t n = 0; n <= sizeof(x); n++) {
		rand_bytes(&a, x, n), rand_bytes(&b, y, n), rand_bytes(&c, z, n);
		CHECK(memcmp(x, y, n) == 0);
		CHECK(n < 8 || memcmp(x, z, n) != 0);
	}
}

static void
system_differs(void)
{
	struct rand r;
	uint8_t     x[5000] = { 0 }, y[5000] = { 0 };
	size_t      same = 0;

	rand_system(&r);
	rand_bytes(&r, x, sizeof(x));
	rand_bytes(&r, y, sizeof(y));
	for (size_t i = 0; i < sizeof(x); i++)
		same += x[i] == y[i];
	CHECK(same < 100); /* 20 on average; 100 never happens */
	rand_bytes(&r, x, 0);
}

/* Every value comes, nearly equally often: chi-squared below its value for p = 10^-6. */
static void
property_below_is_even(void)
{
	struct rand r;
	double      chi2;

	rand_seeded(&r, 11);
	for (uint64_t n = 1; n <= 64; n++) {
		unsigned count[64] = { 0 };
		double   expect = 1000;

		for (uint64_t i = 0; i < 1000 * n; i++) {
			uint64_t v = rand_below(&r, n);

			CHECK(v < n);
			count[v]++;
		}
		chi2 = 0;
		for (uint64_t i = 0; i < n; i++)
			chi2 += (count[i] - expect) * (count[i] - expect) / expect;
		CHECK(chi2 < (double)n + 60 + 5 * (double)n / 8);
	}
	for (int i = 0; i < 1000; i++) {
		CHECK(rand_below(&r, UINT64_MAX) < UINT64_MAX);
		CHECK(rand_below(&r, (UINT64_C(1) << 63) + 1) <= UINT64_C(1) << 63);
	}
}

static void
property_jitter_stays_in_range(void)
{
	struct rand r;
	int64_t     v, low = 1000, high = 1000;

	rand_seeded(&r, 12);
	for (int i = 0; i < 10000; i++) {
		v = rand_jitter(&r, 1000, 10);
		CHECK(v >= 900 && v <= 1100);
		low = v < low ? v : low;
		high = v > high ? v : high;
		CHECK(rand_jitter(&r, 1, 300) >= 1);
		CHECK(rand_jitter(&r, 2, 100) >= 1 && rand_jitter(&r, 2, 100) <= 4);
		v = rand_jitter(&r, INT64_MAX / 4, 100);
		CHECK(v >= 1 && v <= INT64_MAX / 2);
	}
	CHECK(low < 905 && high > 1095);
	CHECK_U64(rand_jitter(&r, 0, 50), 0);
	CHECK(rand_jitter(&r, -3, 50) == -3);
	CHECK_U64(rand_jitter(&r, 1000, 0), 1000);
	CHECK_U64(rand_jitter(&r, 5, 10), 5);
}

static void
backoff(void)
{
	struct rand r;

	rand_seeded(&r, 12);
	for (int i = 0; i < 1000; i++) {
		int64_t first = rand_backoff_ms(&r, 0, 100, 20000), third = rand_backoff_ms(&r, 2, 100, 20000);

		CHECK(first >= 50 && first <= 100);
		CHECK(third >= 200 && third <= 400);
		CHECK(rand_backoff_ms(&r, 15, 100, 20000) <= 20000 && rand_backoff_ms(&r, UINT32_MAX, 100, 20000) >= 10000);
	}
}

static void
uuids(void)
{
	struct rand r;
	char        a[37], b[37];

	rand_seeded(&r, 13);
	CHECK(rand_uuid(&r, a) == a);
	rand_uuid(&r, b);
	CHECK(strcmp(a, b) != 0);
	CHECK_U64(strlen(a), 36);
	for (int i = 0; i < 36; i++)
		CHECK(i == 8 || i == 13 || i == 18 || i == 23 ? a[i] == '-' : strchr("0123456789abcdef", a[i]) != NULL);
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv,
	    (struct test[]){
		{ "reference numbers", reference_numbers },
		{ "a seed replays", seed_replays },
		{ "the system differs", system_differs },
		{ "property: below is even", property_below_is_even },
		{ "backoff", backoff },
		{ "property: jitter stays in range", property_jitter_stays_in_range },
		{ "UUIDs", uuids },
		{ NULL, NULL },
	    });
}
