/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "../../lib/provider_rig.h"
#include "../../lib/test.h"
#include "provider/list_page.h"

/* Listings that would never end. */

/* after pages without a circle, one of so many; how many were read until it was found. */
static unsigned
pages_until_found(unsigned before, unsigned circle)
{
	struct list_page  t = { .mark = NULL };
	struct err        e;
	char              marker[16];
	unsigned          n = 0, i;

	do {
		i = n < before ? n : before + (n - before) % circle;
		snprintf(marker, sizeof(marker), "m%u", i);
		n++;
	} while (list_page_go_on(&t, "bucket", "b", marker, &e) == ERR_OK);
	CHECK_STR(e.msg, "bucket b: the listing goes round in a circle");
	list_page_free(&t);
	return n;
}

static void
finds_circles(void)
{
	for (unsigned before = 0; before < 20; before++)
		for (unsigned circle = 1; circle < 20; circle++)
			CHECK(pages_until_found(before, circle) <= 3 * (before + circle) + 2);
}

static void
ends_what_has_no_end(void)
{
	struct list_page  t = { .mark = NULL };
	struct err        e;
	char              marker[16];
	unsigned          n = 0;

	do
		snprintf(marker, sizeof(marker), "m%u", n++);
	while (list_page_go_on(&t, "bucket", "b", marker, &e) == ERR_OK);
	CHECK_U64(n, LIST_PAGES_MAX);
	CHECK_STR(e.msg, "bucket b: the listing has no end after 100000 pages");
	list_page_free(&t);
}

static const struct {
	const char *block, *before, *after; /* of a page the text around the marker of the next one */
} stores[] = {
	{ "backend \"s3\" \"b\" {\n  bucket = \"bbb\"\n  region = \"us-east-1\"\n  access_key = \"a\"\n  secret_key = \"s\"\n}\n",
	    "<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>", "</NextContinuationToken></ListBucketResult>" },
	{ "backend \"gcs\" \"b\" {\n  bucket = \"bbb\"\n  access_token = \"t\"\n}\n", "{\"nextPageToken\":\"", "\"}" },
	{ "backend \"azurerm\" \"b\" {\n  storage_account_name = \"acct\"\n  container_name = \"bbb\"\n  access_key = \"a2V5\"\n}\n",
	    "<EnumerationResults><Blobs/><NextMarker>", "</NextMarker></EnumerationResults>" },
};

static void
answer(void *arg, const struct scripted_request *rq, struct scripted_answer *a)
{
	size_t i = *(size_t *)arg;
	char  *text = xasprintf("%s%c%s", stores[i].before, "AB"[rq->number % 2], stores[i].after);

	CHECK(rq->number < 10);
	a->status = 200;
	scripted_set_body(a, span_str(text));
	free(text);
}

static void
seen(void *arg, const struct state_seen *s)
{
	(void)arg;
	test_fail(__FILE__, __LINE__, "nobody has %s", s->name);
}

static void
every_store_refuses_markers_that_alternate(void)
{
	struct provider_rig r;

	for (size_t i = 0; i < ARRAY_LEN(stores); i++) {
		provider_rig_open(&r, false, stores[i].block);
		scripted_handle(r.http, answer, &i);
		CHECK_U64(provider_rig_run(&r, provider_list(r.b, seen, NULL)), ERR_CORRUPT);
		CHECK(strstr(r.err.msg, "the listing goes round in a circle") != NULL);
		provider_rig_close(&r);
	}
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){ { "finds circles", finds_circles }, { "ends what has no end", ends_what_has_no_end },
	    { "every store refuses markers that alternate", every_store_refuses_markers_that_alternate }, { NULL, NULL } });
}
