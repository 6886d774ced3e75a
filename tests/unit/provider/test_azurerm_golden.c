/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <strings.h>

#include "../../lib/fake_azure.h"
#include "../../lib/golden.h"
#include "../../lib/provider_rig.h"
#include "../../lib/test.h"
#include "base/encode.h"
#include "base/json.h"

/*
 * Recordings of terraform (tests/golden/azure/protocol): our requests for the same thing have the same path, headers and body, but for
 * conditions that make them safer, and the recorded answers mean the same to us.
 */
#define GOLDEN "tests/golden/azure/protocol/"
#define NAME   "prod/net.tfstate"
#define DEV    NAME "env:dev"
#define ODD    "team a/\xc3\xbc+(1)/net~.tfstate"

static struct provider_rig r;
static struct golden       g;

static void
begin(const char *args)
{
	char *block = xasprintf("backend \"azurerm\" \"b\" {\n  storage_account_name = \"" FAKE_AZURE_ACCOUNT "\"\n  container_name = \""
	    FAKE_AZURE_CONTAINER "\"\n  access_key = \"" FAKE_AZURE_KEY "\"\n%s}\n", args);

	provider_rig_open(&r, false, block);
	free(block);
}

static void
end(void)
{
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

/* ---------------------------------------------------------------- lives */

static const char *
words_of(const struct scripted_request *rq)
{
	return scripted_header(rq, "x-ms-meta-terraformlockid");
}

static bool
same_text(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static bool
same_query(const struct scripted_request *a, const struct scripted_request *b, const char *name)
{
	char *x = scripted_query(a, name), *y = scripted_query(b, name);
	bool  same = same_text(x, y);

	free(x);
	free(y);
	return same;
}

/* The spelling of a path is not compared: Azure unescapes it. A listing of ours shows the key itself, too. */
static bool
same_call(const struct scripted_request *ours, const struct scripted_request *theirs)
{
	struct buf x, y;
	bool       same;

	buf_init(&x, 0);
	buf_init(&y, 0);
	CHECK(url_unescape(span_str(ours->at.path), false, &x) && url_unescape(span_str(theirs->at.path), false, &y));
	same = strcmp(ours->method, theirs->method) == 0 && strcmp(buf_str(&x), buf_str(&y)) == 0 && same_query(ours, theirs, "comp") &&
	    same_text(scripted_header(ours, "x-ms-lease-action"), scripted_header(theirs, "x-ms-lease-action")) &&
	    same_text(scripted_header(ours, "x-ms-lease-id"), scripted_header(theirs, "x-ms-lease-id")) &&
	    (words_of(ours) == NULL) == (words_of(theirs) == NULL);
	buf_free(&x);
	buf_free(&y);
	return same;
}

static bool
matters(const struct scripted_request *rq, const struct http_header *h)
{
	static const char *const not[] = { "user-agent", "authorization", "x-ms-date", "content-length", "if-match", "if-none-match", "content-md5" };

	for (size_t i = 0; i < ARRAY_LEN(not); i++)
		if (strcasecmp(not[i], h->name) == 0)
			return false;
	return strcmp(rq->method, "GET") != 0 || strcasecmp(h->name, "content-type") != 0; /* terraform's listings send one */
}

static void
compare(const struct scripted_request *ours, const struct scripted_request *theirs)
{
	golden_headers(ours, theirs, matters);
	golden_headers(theirs, ours, matters);
	if (!span_is(ours->body, (const char *)theirs->body.p))
		test_fail(__FILE__, __LINE__, "%s %s: another body", ours->method, ours->url);
}

static bool
has_words(const struct scripted_request *theirs)
{
	return words_of(theirs) != NULL;
}

static bool
is_write(const struct scripted_request *theirs)
{
	return strcmp(theirs->method, "PUT") == 0 && theirs->body.n > 0;
}

/* What terraform does not ask, or not there. */
struct extra {
	const char *method, *url;
	int         status;
	const char *headers;
};
#define ABSENT_BLOB { "PUT", "comp=lease", 404, "x-ms-error-code: BlobNotFound" }
#define UNLOCKED_BLOB(etag, md5) \
	{ "HEAD", NAME, 200, "ETag: \"" etag "\"\nContent-MD5: " md5 "\nx-ms-blob-type: BlockBlob\nContent-Length: 853" }

struct step {
	enum { STEP_END, LIST, GET, PEEK, LOCK, LOCK_MINE, PUT, PUT_BARE, UNLOCK, DEL } what;
	enum err_code want;
	const char   *says;      /* a listing: names; a failure: a part of its sentence or hint; a lock that is held: its ID */
	struct extra  first;
};

struct life {
	const char *recording, *args, *name;
	struct step steps[12];
};

static void
seen_name(void *arg, const struct state_seen *s)
{
	buf_printf(arg, "%s ", s->name);
}

static enum err_code
step_list(const struct step *t)
{
	struct buf    names;
	enum err_code rc;

	buf_init(&names, 0);
	rc = provider_rig_run(&r, provider_list(r.b, seen_name, &names));
	CHECK_STR(buf_str(&names), t->says);
	buf_free(&names);
	return rc;
}

/* Its own words, in which its ID is that of the lease. */
static void
recorded_lock(struct lock_info *ret)
{
	const struct scripted_request *theirs = golden_find(&g, has_words);
	struct buf                     body;
	struct err                     e;

	buf_init(&body, 0);
	CHECK(theirs != NULL && base64_decode(span_str(words_of(theirs)), &body));
	CHECK_OK(lock_info_parse(buf_span(&body), ret, &e), e);
	buf_free(&body);
}

static enum err_code
step_put(const struct state_ref *ref, const struct put_condition *when, char etag[ETAG_MAX])
{
	const struct scripted_request *theirs = golden_find(&g, is_write);

	return provider_rig_put(&r, ref, theirs != NULL ? theirs->body : SPAN_LIT("{\"version\":4}"), when, etag);
}

static enum err_code
step_run(const struct life *life, const struct step *t, struct lock_info *lock, char etag[ETAG_MAX])
{
	struct state_ref ref = { life->name };
	struct lock_info holder = { .id = "" };
	struct snapshot  s = { .body = NULL };
	enum err_code    rc = ERR_OK;

	switch (t->what) {
	case LIST:
		return step_list(t);
	case GET:
		rc = provider_rig_run(&r, provider_get(r.b, &ref, NULL, &s));
		snprintf(etag, ETAG_MAX, "%s", s.etag);
		snapshot_free(&s);
		return rc;
	case PEEK:
		return provider_rig_run(&r, provider_lock_peek(r.b, &ref, &holder));
	case LOCK:
		recorded_lock(lock);
		return provider_rig_run(&r, provider_lock(r.b, &ref, lock, &holder));
	case LOCK_MINE:
		provider_lock_new(r.b, &ref, "", lock);
		rc = provider_rig_run(&r, provider_lock(r.b, &ref, lock, &holder));
		CHECK_STR(holder.id, t->says);
		*lock = holder;
		return rc;
	case PUT:
		return step_put(&ref, &(struct put_condition){ .when = etag[0] != '\0' ? PUT_MATCH : PUT_ABSENT, .etag = etag, .lock = lock }, etag);
	case PUT_BARE:
		return step_put(&ref, &(struct put_condition){ .when = PUT_MATCH, .etag = etag }, etag);
	case UNLOCK:
		return provider_rig_run(&r, provider_unlock(r.b, &ref, lock));
	case DEL:
		return provider_rig_run(&r, provider_del(r.b, &ref, etag[0] != '\0' ? etag : NULL));
	case STEP_END:
		break;
	}
	return rc;
}

#define OK(step)                { .what = step }
#define OK_AFTER(step, ...)     { .what = step, .first = __VA_ARGS__ }
#define SHOWS(names)            { .what = LIST, .says = names }
#define FAILS(step, code, text) { .what = step, .want = code, .says = text }
#define KEY                     "  key = \"" NAME "\"\n"

static const struct life lives[] = {
	{ "init_and_apply", KEY, NAME, { SHOWS(""), FAILS(GET, ERR_NOT_FOUND, NULL), OK_AFTER(LOCK, ABSENT_BLOB), OK(PUT), OK(UNLOCK), OK(GET),
	    OK(LOCK), OK(PUT), OK(UNLOCK) } },
	{ "special_characters_key", "  key = \"" ODD "\"\n", ODD, { SHOWS(""), FAILS(GET, ERR_NOT_FOUND, NULL),
	    FAILS(PEEK, ERR_NOT_FOUND, "is not locked") } },
	{ "workspace_new_and_list", KEY, DEV, { SHOWS(""), FAILS(GET, ERR_NOT_FOUND, NULL), OK_AFTER(LOCK, ABSENT_BLOB), OK(PUT), OK(UNLOCK),
	    SHOWS(DEV " ") } },
	/* terraform deletes whatever is there by then, we what we have read */
	{ "workspace_delete_force", KEY, DEV, { SHOWS(DEV " "), OK(LOCK), OK(GET), OK(UNLOCK),
	    OK_AFTER(DEL, UNLOCKED_BLOB("0x25E43246B87B5E0", "bNi4ePHz2eqOCJD6bgOORw==")) } },
	{ "workspace_delete_snapshots_present", KEY, NAME "env:snapws", { { .what = DEL, .want = ERR_UNSUPPORTED, .says = "has snapshots",
	    .first = UNLOCKED_BLOB("0x1", "bNi4ePHz2eqOCJD6bgOORw==") }, SHOWS(NAME "env:snapws ") } },
	{ "apply_with_snapshot", "  snapshot = true\n", NAME, { OK(LOCK), OK(GET), OK(PUT), OK(UNLOCK) } },
	/* a person unlocks what is shown as held */
	{ "lock_conflict_and_force_unlock", "", NAME, { { .what = LOCK_MINE, .want = ERR_LOCKED, .says = "fe2778c6-942e-47fe-8cf5-beb55de6168d",
	    .first = { "PUT", "comp=lease", 409, "x-ms-error-code: LeaseAlreadyPresent" } }, OK(UNLOCK) } },
	/* terraform looks before it writes, we before we unlock what was lost */
	{ "lease_broken_mid_apply", "", NAME, { OK(GET), OK(LOCK), { .what = PUT, .want = ERR_CONFLICT, .says = "our lock on",
	    .first = { "PUT", NAME, 412, "x-ms-error-code: LeaseNotPresentWithBlobOperation" } }, OK(UNLOCK) } },
	{ "write_without_lease_rejected", "", NAME, { OK(GET), FAILS(PUT_BARE, ERR_LOCKED, "LeaseIdMissing") } },
};

static void
lives_like_terraform(void)
{
	for (size_t i = 0; i < ARRAY_LEN(lives); i++) {
		const struct life *life = &lives[i];
		struct lock_info   lock = { .id = "" };
		char               etag[ETAG_MAX] = "";

		begin(life->args);
		golden_open(&g, "azure/protocol", life->recording);
		g.same = same_call;
		g.compare = compare;
		scripted_handle(r.http, golden_handle, &g);
		for (const struct step *t = life->steps; t->what != STEP_END; t++) {
			enum err_code rc;

			if (t->first.method != NULL)
				scripted_expect(r.http, t->first.method, t->first.url, t->first.status, t->first.headers, NULL);
			rc = step_run(life, t, &lock, etag);
			if (rc != t->want)
				test_fail(__FILE__, __LINE__, "%s, step %td: %d, not %d: %s\n%s", life->recording, t - life->steps, rc, t->want,
				    r.err.msg, scripted_http_trace(r.http));
			if (rc != ERR_OK && t->says != NULL && t->what != LOCK_MINE)
				CHECK(strstr(r.err.msg, t->says) != NULL || strstr(r.err.hint, t->says) != NULL);
		}
		scripted_http_check(r.http);
		golden_close(&g);
		end();
	}
}

/* Terraform's words, taken apart and put together again, are the same bytes. */
static void
words_are_byte_equal(void)
{
	json_t           *golden = golden_load("azure/protocol", "lock_metadata");
	struct fake_azure *fake;
	struct state_ref   ref = { NAME };
	struct buf         raw, body, text;
	struct lock_info   l;

	buf_init(&raw, 0);
	buf_init(&body, 0);
	buf_init(&text, 0);
	CHECK(base64_decode(span_str(golden_text(golden, "base64")), &raw));
	CHECK_STR(buf_str(&raw), golden_text(golden, "decoded"));
	CHECK(lock_info_parse(buf_span(&raw), &l, NULL) == ERR_OK);
	CHECK_STR(l.id, golden_text(golden, "lease_id"));
	lock_info_body(&l, &body);
	base64_encode(buf_span(&body), &text);
	CHECK_STR(buf_str(&text), golden_text(golden, "base64"));
	begin("");
	fake = fake_azure_behind(r.http);
	fake_azure_put(fake, NAME, span_str("{}"));
	fake_azure_set_meta(fake, NAME, "Terraformlockid", golden_text(golden, "base64")); /* as terraform spells it */
	fake_azure_set_lease(fake, NAME, l.id);
	CHECK_U64(provider_rig_run(&r, provider_lock_peek(r.b, &ref, &l)), ERR_OK);
	CHECK_STR(l.who, "root@vm");
	CHECK_U64(provider_rig_run(&r, provider_unlock(r.b, &ref, &l)), ERR_OK);
	CHECK_STR(fake_azure_meta(fake, NAME, "terraformlockid"), "");
	CHECK_STR(fake_azure_lease(fake, NAME), "");
	fake_azure_free(fake);
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

	begin("");
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
	struct state_ref     ref = { NAME };

	begin("");
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
	return test_main(argc, argv, (struct test[]){ { "lives like terraform", lives_like_terraform },
	    { "words are byte equal", words_are_byte_equal }, { "a page is read", a_page_is_read },
	    { "refusals are read", refusals_are_read }, { NULL, NULL } });
}
