/* SPDX-License-Identifier: MIT */
/* What Google sends, and files of credentials: any bytes. What a reader takes is whole; what it refuses leaves nothing behind. */
#include "../lib/fuzz.h"

#include "base/digest.h"
#include "provider/gcs/gcs.h"

static void
check_account(const struct gcs_account *a)
{
	FUZZ_CHECK(a->nhops < GCS_HOPS); /* one more is the block's own */
	for (size_t i = 0; i < a->nhops; i++)
		FUZZ_CHECK(a->hops[i].url != NULL && a->hops[i].seconds > 0 && a->hops[i].ndelegates <= GCS_DELEGATES);
	FUZZ_CHECK(a->token_url != NULL && a->nheaders <= GCS_SOURCE_HEADERS);
	switch (a->kind) {
	case GCS_SERVICE:
		FUZZ_CHECK(a->key != NULL && a->email != NULL);
		return;
	case GCS_USER:
		FUZZ_CHECK(a->client_id != NULL && a->client_secret != NULL && a->refresh_token != NULL);
		return;
	case GCS_FEDERATED_FILE:
	case GCS_FEDERATED_URL:
		FUZZ_CHECK(a->source != NULL && a->member != NULL);
		break;
	case GCS_FEDERATED_AWS:
		FUZZ_CHECK(a->verify_url != NULL);
		break;
	case GCS_MACHINE:
	case GCS_TOKEN:
		FUZZ_CHECK(false);
	}
	FUZZ_CHECK(a->audience != NULL && a->subject_type != NULL);
}

static void
account(struct span text)
{
	struct gcs_account a = { .kind = GCS_TOKEN };
	struct err         e = { .msg = "" };

	if (gcs_account_parse(text, &a, &e) == ERR_OK) {
		check_account(&a);
		gcs_account_free(&a);
		return;
	}
	FUZZ_CHECK(e.code == ERR_CONFIG && e.msg[0] != '\0' && a.kind == GCS_TOKEN && a.email == NULL);
}

static void
token(struct span text, const char *member)
{
	struct bearer b = { NULL, 0 };
	struct err    e;

	if (bearer_parse(text, member, 1000, 0, &b, &e) != ERR_OK) {
		FUZZ_CHECK(b.text == NULL);
		return;
	}
	for (const char *p = secret_str(b.text); *p != '\0'; p++)
		FUZZ_CHECK(*p > ' ' && *p < 0x7f);
	bearer_wipe(&b);
}

static void
answer(struct span text, int status)
{
	struct send_answer a = { .http = { .status = status, .body = body_copy(text) } };
	char               value[16];

	gcs_answer_parse(&a);
	FUZZ_CHECK(strlen(a.code) < sizeof(a.code) && strlen(a.message) < sizeof(a.message));
	FUZZ_CHECK(!gcs_no_such_object(&a) || gcs_no_such_bucket(&a));
	if (gcs_member(&a, "generation", value, sizeof(value)))
		FUZZ_CHECK(strlen(value) < sizeof(value));
	send_answer_free(&a);
}

/* In two pieces, cut anywhere, as it comes from the network. */
static void
page(struct span text)
{
	struct gcs_page p;
	struct err      e;
	size_t          cut = text.n > 0 ? text.p[0] % text.n : 0;

	gcs_page_init(&p);
	gcs_page_begin(&p);
	if (gcs_page_feed(&p, text.p, cut, &e) == ERR_OK && gcs_page_feed(&p, text.p + cut, text.n - cut, &e) == ERR_OK)
		gcs_page_end(&p);
	for (size_t i = 0; i < p.page.nentries; i++)
		FUZZ_CHECK(p.page.entries[i].name > 0 && p.page.entries[i].name < p.page.text.len && p.page.entries[i].etag < p.page.text.len);
	FUZZ_CHECK(strlen(p.token) < sizeof(p.token));
	gcs_page_begin(&p);
	FUZZ_CHECK(p.page.nentries == 0 && p.token[0] == '\0');
	gcs_page_free(&p);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static bool  begun;
	struct span  text = span_of(data, size);
	struct err   e;

	FUZZ_CHECK(begun || crypto_init(&e) == ERR_OK);
	begun = true;
	account(text);
	token(text, NULL);
	token(text, "");
	token(text, "id_token");
	page(text);
	answer(text, 200);
	answer(text, 404);
	return 0;
}
