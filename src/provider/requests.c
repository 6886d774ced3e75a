/* SPDX-License-Identifier: MIT */
#include "provider/requests.h"

#include <assert.h>
#include <stddef.h>

#include "base/mem.h"

const int64_t request_bounds_ms[REQUEST_BOUNDS] = { 5, 10, 25, 50, 100, 250, 500, 1000, 5000, 30000 };

static const char *const request_kinds[] = { "create", "list", "head", "read", "write", "delete", "lock", "unlock", "seal",
	"lock_peek", "probe", "history", "read_version" };
static const char *const request_results[] = { "ok", "absent", "refused", "failed", "unknown", "cancelled" };

_Static_assert(ARRAY_LEN(request_kinds) == REQUEST_KINDS, "a name for each");
_Static_assert(ARRAY_LEN(request_results) == REQUEST_RESULTS, "a name for each");

const char *
request_kind_name(enum request_kind k)
{
	assert((size_t)k < REQUEST_KINDS);
	return request_kinds[k];
}

const char *
request_result_name(enum request_result r)
{
	assert((size_t)r < REQUEST_RESULTS);
	return request_results[r];
}

enum request_result
request_result_of(enum err_code code)
{
	switch (code) {
	case ERR_OK:
	case ERR_UNCHANGED:
		return REQUEST_OK;
	case ERR_NOT_FOUND:
		return REQUEST_ABSENT;
	case ERR_LOCKED:
	case ERR_CONFLICT:
		return REQUEST_REFUSED;
	case ERR_UNCERTAIN:
		return REQUEST_UNKNOWN;
	case ERR_CANCELLED:
		return REQUEST_CANCELLED;
	default:
		return REQUEST_FAILED;
	}
}

void
request_count(struct request_stats *s, enum err_code code, int64_t took_ms)
{
	size_t i = 0;

	while (i < REQUEST_BOUNDS && took_ms > request_bounds_ms[i])
		i++;
	s->took[i]++;
	s->took_ms += took_ms;
	s->results[request_result_of(code)]++;
}

uint64_t
request_total(const struct request_stats *s)
{
	uint64_t n = 0;

	for (size_t i = 0; i < REQUEST_RESULTS; i++)
		n += s->results[i];
	return n;
}
