/* SPDX-License-Identifier: MIT */
#include "core.h"

/* When a write that failed is tried again, and whose failure it was. */

#define RETRY_DOUBLINGS 10

int64_t
retry_wait_ms(struct engine *e, uint64_t attempt, const struct err *err)
{
	int64_t wait = RETRY_MIN_MS << (attempt > RETRY_DOUBLINGS ? RETRY_DOUBLINGS : attempt);

	if (wait > RETRY_MAX_MS)
		wait = RETRY_MAX_MS;
	if (wait < (int64_t)err->retry_after_ms)
		wait = err->retry_after_ms;
	return rand_jitter(loop_rand(e->loop), wait, 20);
}

int64_t
retry_lock_wait_ms(struct engine *e, int64_t waited_ms)
{
	int64_t wait = (waited_ms < 0 ? 0 : waited_ms) + 1000; /* the clock was set back */

	return rand_jitter(loop_rand(e->loop), wait > RETRY_LOCK_WAIT_MAX_MS ? RETRY_LOCK_WAIT_MAX_MS : wait, 20);
}

/* A bucket that is missing and one name that the target cannot take read alike: a listing that fails for the same reason tells. */
bool
retry_target_down(const struct place *to, enum err_code code)
{
	switch (code) {
	case ERR_NETWORK:
	case ERR_TIMEOUT:
	case ERR_AUTH:
	case ERR_BUSY:
	case ERR_CONFIG:
		return true;
	case ERR_NOT_FOUND:
	case ERR_UNSUPPORTED:
		return to->failing && to->why.code == code;
	default:
		return false;
	}
}
