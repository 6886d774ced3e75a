/* SPDX-License-Identifier: MIT */
/* What platforms say beside the state protocol: pages of workspaces, and refusals. Any bytes. */
#include "../lib/fuzz.h"

#include "provider/harness/harness.h"

static void
seen(void *arg, const struct harness_workspace *w)
{
	unsigned *n = arg;

	++*n;
	FUZZ_CHECK(strlen(w->identifier) <= HARNESS_NAME_MAX && strlen(w->status) < sizeof(w->status));
	FUZZ_CHECK(strlen(w->checksum) < sizeof(w->checksum));
	FUZZ_CHECK(w->odd || (w->identifier[0] != '\0' && hb_harness.fits(w->identifier)));
}

/* In two pieces, cut anywhere. */
static void
page(struct span text)
{
	unsigned            n = 0;
	struct harness_page p = { .json = NULL, .seen = seen, .arg = &n };
	struct err          e;
	size_t              cut = text.n > 0 ? text.p[0] % text.n : 0;

	harness_page_begin(&p);
	if (harness_page_feed(&p, text.p, cut, &e) == ERR_OK && harness_page_feed(&p, text.p + cut, text.n - cut, &e) == ERR_OK) {
		FUZZ_CHECK(p.n == n);
		FUZZ_CHECK(harness_page_end(&p, false, &e) != ERR_OK || harness_page_end(&p, true, &e) != ERR_OK);
	}
	FUZZ_CHECK(e.code == ERR_OK || e.hint[0] != '\0');
	harness_page_free(&p);
}

static void
refusal(struct span text, const struct hb_dialect *d)
{
	struct hb_conf       conf = { .address = "" };
	struct hb            h = { .conf = &conf, .dialect = d };
	struct http_response r = { .status = 403, .body = body_copy(text) };
	struct err           e;

	err_set(&e, ERR_AUTH, 403, "refused");
	hb_explain(&h, &r, &e);
	FUZZ_CHECK(strncmp(e.msg, "refused", 7) == 0 && strlen(e.msg) < sizeof(e.msg));
	for (const char *s = e.msg; *s != '\0'; s++)
		FUZZ_CHECK((unsigned char)*s >= ' ' && *s != 0x7f);
	http_response_free(&r);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span text = span_of(data, size);

	page(text);
	refusal(text, &hb_harness);
	refusal(text, &hb_gitlab);
	return 0;
}
