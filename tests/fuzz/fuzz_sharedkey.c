/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "../lib/fuzz.h"
#include "base/mem.h"
#include "net/sharedkey.h"

/* The input is a query, then a line that is the value of a header: whatever they hold, what is signed ends with the resource, holds a
 * line for each fixed header, and is the same when the value comes with blanks around it. */
static char *
signed_text(const char *query, char *value)
{
	struct http_header h = { "x-ms-meta-a", value };
	struct buf         text;

	buf_init(&text, 0);
	sharedkey_text("acct", &(struct sharedkey_request){ "GET", "/c", query, &h, 1, 0 }, &text);
	FUZZ_CHECK(text.len > 12 && memcmp(text.data, "GET\n\n\n\n\n\n\n\n\n\n\n\n", 15) == 0);
	return buf_take(&text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	char  *text = xstrndup((const char *)data, n), *value = strchr(text, '\n'), *padded, *a, *b;

	if (value != NULL)
		*value++ = '\0';
	padded = xasprintf(" \t%s ", value != NULL ? value : "");
	a = signed_text(text, value != NULL ? value : padded + strlen(padded));
	b = signed_text(text, padded);
	FUZZ_CHECK(strcmp(a, b) == 0);
	free(a);
	free(b);
	free(padded);
	free(text);
	return 0;
}
