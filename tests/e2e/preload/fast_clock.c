/* SPDX-License-Identifier: MIT */
/* Preloaded: the clocks that measure how long something takes run FAST_CLOCK times as fast. The wall clock is left alone. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define NS 1000000000LL

int
clock_gettime(clockid_t id, struct timespec *ts)
{
	const char *s = getenv("FAST_CLOCK");
	long long   ns;
	int         r = (int)syscall(SYS_clock_gettime, id, ts);

	if (r != 0 || !s || (id != CLOCK_MONOTONIC && id != CLOCK_BOOTTIME))
		return r;
	ns = (ts->tv_sec * NS + ts->tv_nsec) * strtol(s, NULL, 10);
	ts->tv_sec = (time_t)(ns / NS);
	ts->tv_nsec = (long)(ns % NS);
	return 0;
}
