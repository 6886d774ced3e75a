/* SPDX-License-Identifier: MIT */
#include "provider/requests.h"

#include "base/mem.h"
#include "../../lib/test.h"

static void
results_by_error(void)
{
	static const struct {
		enum err_code code;
		const char   *result;
	} cases[] = { { ERR_OK, "ok" }, { ERR_UNCHANGED, "ok" }, { ERR_NOT_FOUND, "absent" }, { ERR_LOCKED, "refused" },
		{ ERR_CONFLICT, "refused" }, { ERR_UNCERTAIN, "unknown" }, { ERR_CANCELLED, "cancelled" }, { ERR_AUTH, "failed" },
		{ ERR_BUSY, "failed" }, { ERR_TIMEOUT, "failed" }, { ERR_IO, "failed" } };

	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		CHECK_STR(request_result_name(request_result_of(cases[i].code)), cases[i].result);
}

static void
counted_once_in_its_class(void)
{
	struct request_stats s = { .took_ms = 0 };

	request_count(&s, ERR_OK, 0);
	request_count(&s, ERR_OK, 5);
	request_count(&s, ERR_OK, 6);
	request_count(&s, ERR_UNCERTAIN, 30000);
	request_count(&s, ERR_TIMEOUT, 30001);
	CHECK_U64(s.took[0], 2);
	CHECK_U64(s.took[1], 1);
	CHECK_U64(s.took[REQUEST_BOUNDS - 1], 1);
	CHECK_U64(s.took[REQUEST_BOUNDS], 1);
	CHECK_U64((uint64_t)s.took_ms, 60012);
	CHECK_U64(s.results[REQUEST_OK], 3);
	CHECK_U64(s.results[REQUEST_UNKNOWN], 1);
	CHECK_U64(s.results[REQUEST_FAILED], 1);
	CHECK_U64(request_total(&s), 5);
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){
	    { "results_by_error", results_by_error },
	    { "counted_once_in_its_class", counted_once_in_its_class },
	    { NULL, NULL } });
}
