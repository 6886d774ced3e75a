/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "../../lib/test.h"
#include "serve/document.h"

/* What the document is as jansson writes it; "none": it is no document. Static. */
static const char *
loaded(const char *text)
{
	static char out[256];
	json_t     *doc = document_load(text, strlen(text));
	char       *s = doc == NULL ? NULL : json_dumps(doc, JSON_COMPACT);

	snprintf(out, sizeof(out), "%s", s != NULL ? s : "none");
	free(s);
	json_decref(doc);
	return out;
}

static void
numbers_that_fit(void)
{
	CHECK_STR(loaded("{\"a\": 9223372036854775807, \"b\": -9223372036854775808, \"c\": [0.5, -1]}"),
	    "{\"a\":9223372036854775807,\"b\":-9223372036854775808,\"c\":[0.5,-1]}");
}

static void
numbers_that_do_not(void)
{
	CHECK_STR(loaded("{\"a\":9223372036854775808,\"b\":7}"), "{\"a\":\"9223372036854775808\",\"b\":7}");
	CHECK_STR(loaded("[18446744073709551615,-9223372036854775809,1e999,1]"),
	    "[\"18446744073709551615\",\"-9223372036854775809\",\"1e999\",1]");
}

static void
texts_stay(void)
{
	CHECK_STR(loaded("[99999999999999999999,\"\\\"99999999999999999999\\\\\",\"\\\\\",3]"),
	    "[\"99999999999999999999\",\"\\\"99999999999999999999\\\\\",\"\\\\\",3]");
}

static void
what_is_none(void)
{
	CHECK_STR(loaded(""), "none");
	CHECK_STR(loaded("[99999999999999999999"), "none");
	CHECK_STR(loaded("[1,\"abc"), "none");
	CHECK_STR(loaded("[1,\"abc\\"), "none");
	CHECK_STR(loaded("[-]"), "none");
	CHECK_STR(loaded("[1-2]"), "none");
}

int
main(int argc, char **argv)
{
	static const struct test tests[] = {
		{ "numbers_that_fit", numbers_that_fit },
		{ "numbers_that_do_not", numbers_that_do_not },
		{ "texts_stay", texts_stay },
		{ "what_is_none", what_is_none },
		{ NULL, NULL },
	};

	return test_main(argc, argv, tests);
}
