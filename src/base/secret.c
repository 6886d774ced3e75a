/* SPDX-License-Identifier: MIT */
#include "base/secret.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/mem.h"

/*
 * Secrets are few and small: each gets whole pages of its own, so that locking, keeping out of core files and
 * wiping need no allocator.
 */
struct secret {
	size_t n, size; /* of the text; of the mapping */
	char  *text;
};

static char *
secret_map(size_t size)
{
	char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return NULL;
	(void)mlock(p, size); /* best effort: RLIMIT_MEMLOCK may be small */
	madvise(p, size, MADV_DONTDUMP);
	madvise(p, size, MADV_WIPEONFORK);
	return p;
}

struct secret *
secret_new(struct span text)
{
	struct secret *s = xcalloc(1, sizeof(*s));
	size_t         page = (size_t)sysconf(_SC_PAGESIZE);

	s->n = text.n;
	s->size = (text.n + 1 + page - 1) / page * page;
	s->text = secret_map(s->size);
	if (s->text == NULL)
		abort();
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
	mem_wipe(s->text, s->size);
	munmap(s->text, s->size);
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
