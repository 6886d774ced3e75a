/* SPDX-License-Identifier: MIT */
#include "page_trail.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum err_code
page_trail_go_on(struct page_trail *t, const char *what, const char *name, const char *marker, struct err *reterr)
{
	if (t->mark != NULL && strcmp(t->mark, marker) == 0)
		return err_set(reterr, ERR_CORRUPT, 200, "%s %s: the listing goes round in a circle", what, name);
	if (++t->pages == PAGE_TRAIL_MAX)
		return err_set(reterr, ERR_CORRUPT, 200, "%s %s: the listing has no end after %d pages", what, name, PAGE_TRAIL_MAX);
	if ((t->pages & (t->pages - 1)) == 0) {
		free(t->mark);
		t->mark = xstrdup(marker);
	}
	return ERR_OK;
}

void
page_trail_free(struct page_trail *t)
{
	free(t->mark);
}
