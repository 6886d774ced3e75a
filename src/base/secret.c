/* SPDX-License-Identifier: MIT */
#include "base/secret.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/mem.h"

/*
 * Locked pages are scarce (RLIMIT_MEMLOCK is 64 KB in places), so small secrets share regions, in cells; what is known
 * about them lies outside, on the heap. A secret larger than a region gets one of its own, which goes with it.
 */
#define SECRET_REGION ((size_t)32 << 10)
#define SECRET_CELL   ((size_t)32)

struct region {
	struct region *next;
	char          *mem;
	size_t         size;
	bool           locked;
	uint8_t        used[]; /* per cell */
};

struct secret {
	struct region *home;
	char          *text;
	size_t         n, cells;
};

static struct {
	pthread_mutex_t mutex;
	struct region  *regions;
} secrets = { PTHREAD_MUTEX_INITIALIZER, NULL };

static struct region *
secret_region_new(size_t size)
{
	struct region *r = xcalloc(1, sizeof(*r) + size / SECRET_CELL);

	r->size = size;
	r->mem = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (r->mem == MAP_FAILED) {
		fprintf(stderr, "stateferry: out of memory (%zu bytes for secrets wanted)\n", size);
		abort();
	}
	r->locked = mlock(r->mem, size) == 0; /* best effort, like the advice: old kernels and low limits refuse */
	(void)madvise(r->mem, size, MADV_DONTDUMP);
	(void)madvise(r->mem, size, MADV_WIPEONFORK);
	r->next = secrets.regions;
	secrets.regions = r;
	return r;
}

static void
secret_region_free(struct region *r)
{
	struct region **at = &secrets.regions;

	while (*at != r)
		at = &(*at)->next;
	*at = r->next;
	munmap(r->mem, r->size);
	free(r);
}

/* The first of n free cells in a row; SIZE_MAX: none, or the region belongs to one secret and goes with it. */
static size_t
secret_fit(const struct region *r, size_t n)
{
	size_t run = 0;

	if (r->size > SECRET_REGION)
		return SIZE_MAX;
	for (size_t i = 0; i < r->size / SECRET_CELL; i++) {
		run = r->used[i] ? 0 : run + 1;
		if (run == n)
			return i + 1 - n;
	}
	return SIZE_MAX;
}

static void
secret_place(struct secret *s)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), need = s->cells * SECRET_CELL, at = SIZE_MAX;

	for (s->home = secrets.regions; s->home != NULL; s->home = s->home->next)
		if ((at = secret_fit(s->home, s->cells)) != SIZE_MAX)
			break;
	if (s->home == NULL) {
		s->home = secret_region_new(need > SECRET_REGION ? (need + page - 1) / page * page : SECRET_REGION);
		at = 0;
	}
	memset(s->home->used + at, 1, s->cells);
	s->text = s->home->mem + at * SECRET_CELL;
}

struct secret *
secret_new(struct span text)
{
	struct secret *s = xcalloc(1, sizeof(*s));

	s->n = text.n;
	s->cells = text.n / SECRET_CELL + 1; /* room for the NUL */
	pthread_mutex_lock(&secrets.mutex);
	secret_place(s);
	pthread_mutex_unlock(&secrets.mutex);
	if (text.n > 0)
		memcpy(s->text, text.p, text.n);
	s->text[text.n] = '\0';
	return s;
}

void
secret_free(struct secret *s)
{
	if (s == NULL)
		return;
	mem_wipe(s->text, s->cells * SECRET_CELL);
	pthread_mutex_lock(&secrets.mutex);
	memset(s->home->used + (size_t)(s->text - s->home->mem) / SECRET_CELL, 0, s->cells);
	if (s->home->size > SECRET_REGION)
		secret_region_free(s->home);
	pthread_mutex_unlock(&secrets.mutex);
	free(s);
}

const char *
secret_str(const struct secret *s)
{
	return s == NULL ? NULL : s->text;
}

size_t
secret_len(const struct secret *s)
{
	return s == NULL ? 0 : s->n;
}

bool
secret_all_locked(void)
{
	bool all = true;

	pthread_mutex_lock(&secrets.mutex);
	for (const struct region *r = secrets.regions; r != NULL; r = r->next)
		all = all && r->locked;
	pthread_mutex_unlock(&secrets.mutex);
	return all;
}
