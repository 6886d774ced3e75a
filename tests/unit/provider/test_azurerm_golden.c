/* SPDX-License-Identifier: MIT */
#include <jansson.h>
#include <stdlib.h>
#include <strings.h>

#include "../../lib/fake_azure.h"
#include "../../lib/provider_rig.h"
#include "../../lib/test.h"
#include "base/encode.h"

/*
 * Recordings of terraform (tests/golden/azure/protocol): our requests for the same thing have the same path and headers, but for those
 * that make them safer, and the recorded answers mean the same to us.
 */
#define GOLDEN "tests/golden/azure/protocol/"
#define NAME   "prod/net.tfstate"

static struct provider_rig r;
static struct fake_azure  *fake;
static struct state_ref    ref = { NAME };
static json_t             *recording;
static unsigned            compared;

static void
begin(void)
{
	provider_rig_open(&r, false, "backend \"azurerm\" \"b\" {\n  storage_account_name = \"" FAKE_AZURE_ACCOUNT "\"\n  container_name = \""
	    FAKE_AZURE_CONTAINER "\"\n  access_key = \"" FAKE_AZURE_KEY "\"\n}\n");
	fake = fake_azure_behind(r.http);
}

static void
end(void)
{
	fake_azure_free(fake);
	provider_rig_close(&r);
}

static char *
file_text(const char *path)
{
	FILE  *f = fopen(path, "r");
	char  *text = xcalloc(1, 65536);
	size_t n;

	CHECK(f != NULL);
	n = fread(text, 1, 65535, f);
	CHECK(n > 0);
	fclose(f);
	return text;
}

static const char *
text_of(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s != NULL ? s : "";
}

/* Of a recorded list of pairs; NULL: not there. */
static const char *
recorded_header(const json_t *request, const char *name)
{
	size_t  i;
	json_t *pair;

	json_array_foreach(json_object_get(request, "headers"), i, pair)
		if (strcasecmp(json_string_value(json_array_get(pair, 0)), name) == 0)
			return json_string_value(json_array_get(pair, 1));
	return NULL;
}

/* The same method and target, the same lease action; with words of a lock or without. */
static const json_t *
counterpart(const struct scripted_request *rq)
{
	const char *action = scripted_header(rq, "x-ms-lease-action");
	bool        words = scripted_header(rq, "x-ms-meta-terraformlockid") != NULL, empty = rq->body.n == 0;
	size_t      i;
	json_t     *exchange;

	json_array_foreach(json_object_get(recording, "exchanges"), i, exchange) {
		const json_t *one = json_object_get(exchange, "request");
		const char   *target = text_of(one, "target"), *theirs = recorded_header(one, "x-ms-lease-action");
		size_t        n = strcspn(target, "?");

		if (strcmp(text_of(one, "method"), rq->method) == 0 && strlen(rq->at.path) == n && strncmp(rq->at.path, target, n) == 0 &&
		    strcmp(target[n] == '?' ? target + n + 1 : "", rq->at.query != NULL ? rq->at.query : "") == 0 &&
		    (action == NULL ? theirs == NULL : theirs != NULL && strcmp(action, theirs) == 0) &&
		    words == (recorded_header(one, "x-ms-meta-terraformlockid") != NULL) && empty == (text_of(one, "body")[0] == '\0') &&
		    (scripted_header(rq, "x-ms-lease-id") != NULL) == (recorded_header(one, "x-ms-lease-id") != NULL))
			return one;
	}
	return NULL;
}

/* What differs from run to run: compared by its presence alone. */
static bool
varies(const char *name)
{
	static const char *const names[] = { "authorization", "x-ms-date", "x-ms-lease-id", "x-ms-proposed-lease-id", "x-ms-meta-terraformlockid" };

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (strcasecmp(names[i], name) == 0)
			return true;
	return false;
}

static bool
is_ours_alone(const char *name)
{
	return strcasecmp(name, "if-match") == 0 || strcasecmp(name, "if-none-match") == 0 || strcasecmp(name, "content-md5") == 0;
}

static enum scripted_fault
compare(void *arg, const struct scripted_request *rq)
{
	const json_t *theirs = counterpart(rq);
	size_t        i;
	json_t       *pair;

	(void)arg;
	if (theirs == NULL) {
		test_fail(__FILE__, __LINE__, "terraform sends no %s %s", rq->method, rq->url);
		return SCRIPTED_OK;
	}
	json_array_foreach(json_object_get(theirs, "headers"), i, pair) {
		const char *name = json_string_value(json_array_get(pair, 0)), *value = json_string_value(json_array_get(pair, 1));
		const char *ours = scripted_header(rq, name);

		if (strcasecmp(name, "User-Agent") == 0 || strcasecmp(name, "Content-Length") == 0)
			continue;
		if (ours == NULL || (!varies(name) && strcmp(ours, value) != 0))
			test_fail(__FILE__, __LINE__, "%s %s: terraform sends %s: %s", rq->method, rq->url, name, value);
	}
	for (i = 0; i < rq->nheaders; i++)
		if (!is_ours_alone(rq->headers[i].name) && recorded_header(theirs, rq->headers[i].name) == NULL)
			test_fail(__FILE__, __LINE__, "%s %s: terraform sends no %s", rq->method, rq->url, rq->headers[i].name);
	compared++;
	return SCRIPTED_OK;
}

static void
our_requests_are_terraforms(void)
{
	struct lock_info     l, holder;
	struct snapshot      s = { 0 };
	struct body         *body = body_copy(span_str("{\"version\":4,\"serial\":1,\"lineage\":\"l\"}"));
	struct put_condition when = { .when = PUT_ABSENT, .lock = &l };
	char                 etag[ETAG_MAX];

	recording = json_load_file(GOLDEN "init_and_apply.json", 0, NULL);
	CHECK(recording != NULL);
	begin();
	scripted_decide(r.http, compare, NULL);
	CHECK(snapshot_of(&s, body, NULL) == ERR_OK);
	provider_lock_new(r.b, &ref, "", &l);
	CHECK_U64(provider_rig_run(&r, provider_lock(r.b, &ref, &l, &holder)), ERR_OK);
	CHECK_U64(provider_rig_run(&r, provider_put(r.b, &ref, &s, &when, etag)), ERR_OK);
	CHECK_U64(provider_rig_run(&r, provider_unlock(r.b, &ref, &l)), ERR_OK);
	CHECK_U64(provider_rig_run(&r, provider_lock_peek(r.b, &ref, &holder)), ERR_NOT_FOUND);
	CHECK(compared >= 10);
	snapshot_free(&s);
	body_unref(body);
	end();
	json_decref(recording);
}

/* Terraform's words, taken apart and put together again, are the same bytes. */
static void
words_are_byte_equal(void)
{
	json_t          *golden = json_load_file(GOLDEN "lock_metadata.json", 0, NULL);
	struct buf       raw, body, text;
	struct lock_info l;

	CHECK(golden != NULL);
	buf_init(&raw, 0);
	buf_init(&body, 0);
	buf_init(&text, 0);
	CHECK(base64_decode(span_str(text_of(golden, "base64")), &raw));
	CHECK_STR(buf_str(&raw), text_of(golden, "decoded"));
	CHECK(lock_info_parse(buf_span(&raw), &l, NULL) == ERR_OK);
	CHECK_STR(l.id, text_of(golden, "lease_id"));
	lock_info_body(&l, &body);
	base64_encode(buf_span(&body), &text);
	CHECK_STR(buf_str(&text), text_of(golden, "base64"));
	begin();
	fake_azure_put(fake, NAME, span_str("{}"));
	fake_azure_set_meta(fake, NAME, "Terraformlockid", text_of(golden, "base64")); /* as terraform spells it */
	fake_azure_set_lease(fake, NAME, l.id);
	CHECK_U64(provider_rig_run(&r, provider_lock_peek(r.b, &ref, &l)), ERR_OK);
	CHECK_STR(l.who, "root@vm");
	CHECK_U64(provider_rig_run(&r, provider_unlock(r.b, &ref, &l)), ERR_OK);
	CHECK_STR(fake_azure_meta(fake, NAME, "terraformlockid"), "");
	CHECK_STR(fake_azure_lease(fake, NAME), "");
	end();
	buf_free(&raw);
	buf_free(&body);
	buf_free(&text);
	json_decref(golden);
}

static void
saw(void *arg, const struct state_seen *s)
{
	buf_printf(arg, "%s %s %llu\n", s->name, s->etag, (unsigned long long)s->size);
}

static void
a_page_is_read(void)
{
	char      *page = file_text(GOLDEN "list_page.xml");
	struct buf seen;

	begin();
	buf_init(&seen, 0);
	scripted_expect(r.http, "GET", "comp=list&maxresults=5000", 200, "Content-Type: application/xml", page);
	scripted_expect(r.http, "GET", "marker=page%2Fk.tfstateenv%3Aw1", 200, "Content-Type: application/xml",
	    "<?xml version=\"1.0\"?><EnumerationResults><Blobs/><NextMarker/></EnumerationResults>");
	CHECK_U64(provider_rig_run(&r, provider_list(r.b, saw, &seen)), ERR_OK);
	CHECK_STR(buf_str(&seen), "page/k.tfstateenv:w0 mZFLkyvTelC5g8XnyQrpOw== 2\npage/k.tfstateenv:w1 mZFLkyvTelC5g8XnyQrpOw== 2\n");
	scripted_http_check(r.http);
	buf_free(&seen);
	free(page);
	end();
}

/* The code is in the body, too. */
static void
refusals_are_read(void)
{
	char                *body = file_text(GOLDEN "error_412_lease_id_missing.xml"), etag[ETAG_MAX];
	struct snapshot      s = { 0 };
	struct body         *bytes = body_copy(span_str("{\"version\":4}"));
	struct put_condition when = { .when = PUT_ABSENT };
	struct lock_info     l, holder;

	begin();
	CHECK(snapshot_of(&s, bytes, NULL) == ERR_OK);
	scripted_expect(r.http, "HEAD", NAME, 404, "x-ms-error-code: BlobNotFound", NULL);
	scripted_expect(r.http, "PUT", NAME, 412, "Content-Type: application/xml", body);
	CHECK_U64(provider_rig_run(&r, provider_put(r.b, &ref, &s, &when, etag)), ERR_LOCKED);
	free(body);
	body = file_text(GOLDEN "error_409_lease_already_present.xml");
	scripted_expect(r.http, "PUT", "comp=lease", 409, "Content-Type: application/xml", body);
	scripted_expect(r.http, "HEAD", NAME, 200, "ETag: \"0x1\"\nx-ms-blob-type: BlockBlob\nx-ms-lease-status: locked", NULL);
	provider_lock_new(r.b, &ref, "", &l);
	CHECK_U64(provider_rig_run(&r, provider_lock(r.b, &ref, &l, &holder)), ERR_LOCKED);
	CHECK_STR(holder.id, "0x1");
	scripted_http_check(r.http);
	snapshot_free(&s);
	body_unref(bytes);
	free(body);
	end();
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){ { "our requests are terraform's", our_requests_are_terraforms },
	    { "words are byte equal", words_are_byte_equal }, { "a page is read", a_page_is_read },
	    { "refusals are read", refusals_are_read }, { NULL, NULL } });
}
