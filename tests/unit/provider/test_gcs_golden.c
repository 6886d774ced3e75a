/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <strings.h>

#include "../../lib/golden.h"
#include "../../lib/provider_rig.h"
#include "../../lib/test.h"
#include "base/crc32c.h"
#include "provider/gcs/gcs.h"

/*
 * Recordings of terraform (tests/golden/gcs): what we send for the same thing names the same objects with the same conditions and keys,
 * and the recorded answers mean the same to us. Terraform reads content by another path and writes in two parts; that is not compared.
 */
static struct {
	struct provider_rig r;
	struct golden       golden;
	char                lock[2000], generation[128]; /* that we made: terraform does not read its own */
	uint64_t            got;                         /* bytes of an upload in pieces */
} g;

/* "list env/prod/", "content NAME", "metadata NAME", "upload NAME", "delete NAME". Owned. */
static char *
meaning(const struct scripted_request *rq)
{
	const char *o = strstr(rq->at.path, "/o/"), *way = "content";
	char       *alt = scripted_query(rq, "alt"), *name = scripted_query(rq, "name"), *prefix = scripted_query(rq, "prefix"), *ret;
	struct buf  object;

	buf_init(&object, 0);
	if (strncmp(rq->at.path, "/upload/", 8) == 0) {
		ret = xasprintf("upload %s", name);
	} else if (o == NULL && strncmp(rq->at.path, "/storage/v1/b/", 14) == 0) {
		ret = xasprintf("list %s", prefix);
	} else {
		if (o == NULL) /* "/BUCKET/NAME", with its slashes */
			o = strchr(rq->at.path + 1, '/') - 2;
		else if (strcmp(rq->method, "DELETE") == 0)
			way = "delete";
		else if (alt == NULL || strcmp(alt, "media") != 0)
			way = "metadata";
		CHECK(url_unescape(span_str(o + 3), false, &object));
		ret = xasprintf("%s %s", way, buf_str(&object));
	}
	buf_free(&object);
	free(alt);
	free(name);
	free(prefix);
	return ret;
}

static bool
same_meaning(const struct scripted_request *ours, const struct scripted_request *theirs)
{
	char *a = meaning(ours), *b = meaning(theirs);
	bool  same = strcmp(a, b) == 0;

	free(a);
	free(b);
	return same;
}

static bool
is_key(const struct scripted_request *rq, const struct http_header *h)
{
	(void)rq;
	return strncasecmp(h->name, "x-goog-encryption-", strlen("x-goog-encryption-")) == 0;
}

static void
same_text(const char *what, const char *ours, const char *theirs)
{
	if ((ours == NULL) != (theirs == NULL) || (ours != NULL && strcmp(ours, theirs) != 0))
		test_fail(__FILE__, __LINE__, "%s: %s is %s, not %s", g.golden.name, what, ours != NULL ? ours : "absent",
		    theirs != NULL ? theirs : "absent");
}

/* Our writes of states have a condition, terraform's have none. */
static void
compare(const struct scripted_request *ours, const struct scripted_request *theirs)
{
	static const char *const queries[] = { "kmsKeyName", "ifGenerationMatch", "pageToken" };

	golden_headers(ours, theirs, is_key);
	golden_headers(theirs, ours, is_key);
	for (size_t i = 0; i < ARRAY_LEN(queries); i++) {
		char *a = scripted_query(ours, queries[i]), *b = scripted_query(theirs, queries[i]);

		if (b != NULL && b[0] == '\0') { /* an empty pageToken */
			free(b);
			b = NULL;
		}
		if (b != NULL || strcmp(queries[i], "ifGenerationMatch") != 0)
			same_text(queries[i], a, b);
		free(a);
		free(b);
	}
}

static void
answer(void *arg, const struct scripted_request *rq, struct scripted_answer *a)
{
	char *ours = meaning(rq);
	bool  lock = span_ends(span_str(ours), ".tflock");

	(void)arg;
	if (lock && strncmp(ours, "content", 7) == 0 && g.generation[0] != '\0') {
		a->status = 200;
		scripted_add_header(a, "X-Goog-Generation", "%s", g.generation);
		scripted_set_body(a, span_str(g.lock));
	} else {
		golden_handle(&g.golden, rq, a);
	}
	if (lock && strncmp(ours, "upload", 6) == 0)
		snprintf(g.lock, sizeof(g.lock), "%.*s", (int)rq->body.n, (const char *)rq->body.p);
	free(ours);
}

static void
begin(const char *recording, const char *args)
{
	char *block = xasprintf("backend \"gcs\" \"b\" {\n  bucket = \"tf-bucket\"\n%s}\n", args);

	memset(&g, 0, sizeof(g));
	golden_open(&g.golden, "gcs", recording);
	g.golden.same = same_meaning;
	g.golden.compare = compare;
	provider_rig_open(&g.r, false, block);
	scripted_handle(g.r.http, answer, NULL);
	free(block);
}

static void
end(void)
{
	provider_rig_close(&g.r);
	golden_close(&g.golden);
}

/* ---------------------------------------------------------------- lives */

struct step {
	enum { STEP_END, LIST, GET, PUT, DEL, LOCK, PEEK, FOREIGN, UNLOCK } what;
	enum err_code want;
	const char   *says; /* a listing: names; a lock: its generation */
};
#define OK(step)                { .what = step }
#define SAYS(step, text)        { .what = step, .says = text }
#define FAILS(step, code, text) { .what = step, .want = code, .says = text }
#define INIT(generation)        { SAYS(LIST, ""), FAILS(GET, ERR_NOT_FOUND, NULL), SAYS(LOCK, generation), OK(PUT), OK(UNLOCK), OK(GET) }
#define PROD                    "  prefix = \"env/prod\"\n"
#define TOKEN                   "  access_token = \"ya29.static-token\"\n"

struct life {
	const char *recording, *args, *name;
	struct step steps[8];
};

static const struct life lives[] = {
	{ "init_and_apply", PROD, "default.tfstate", INIT("1795309319874") },
	{ "csek_init", "  prefix = \"env/csek\"\n  encryption_key = \"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\"\n", "default.tfstate",
	    INIT("1795309319883") },
	{ "kms_init", "  prefix = \"env/kms\"\n  kms_encryption_key = \"projects/p/locations/global/keyRings/r/cryptoKeys/k\"\n",
	    "default.tfstate", INIT("1795309319886") },
	{ "special_characters_prefix", "  prefix = \"team a/ü+(1)%x~\"\n", "default.tfstate", INIT("1795309321934") },
	{ "workspace_list_paging", PROD, "", { SAYS(LIST, "p1.tfstate p2.tfstate ") } },
	{ "lock_conflict", PROD, "default.tfstate", { FAILS(LOCK, ERR_LOCKED, "1795309321936") } },
	{ "force_unlock", PROD, "default.tfstate", { OK(FOREIGN), SAYS(PEEK, "1795309319878"), OK(UNLOCK) } },
	/* another lock by then: terraform is refused by the condition, and we by what we read */
	{ "force_unlock_wrong_generation", PROD, "default.tfstate", { OK(GET), OK(UNLOCK), OK(GET) } },
	/* deleted by terraform unconditionally, by us as we have read it; the testbench lists an old generation, too */
	{ "workspace_delete", PROD, "dev.tfstate", { SAYS(LIST, "default.tfstate default.tfstate dev.tfstate "), OK(GET), SAYS(LOCK, "1795309319882"), OK(GET),
	    OK(UNLOCK), OK(DEL) } },
	/* 503, then 412 by one's own lock: terraform gave up there, and left it */
	{ "lock_ambiguous_503", PROD, "default.tfstate", { FAILS(LOCK, ERR_LOCKED, "1795309321948") } },
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
	rc = provider_rig_run(&g.r, provider_list(g.r.b, seen_name, &names));
	CHECK_STR(buf_str(&names), t->says);
	buf_free(&names);
	return rc;
}

static enum err_code
step_get(const struct state_ref *ref, char etag[ETAG_MAX])
{
	struct snapshot s = { .body = NULL };
	enum err_code   rc = provider_rig_run(&g.r, provider_get(g.r.b, ref, NULL, &s));

	if (rc == ERR_OK && etag[0] != '\0')
		CHECK_STR(s.etag, etag); /* and the bytes fit their recorded sum */
	snprintf(etag, ETAG_MAX, "%s", s.etag);
	snapshot_free(&s);
	return rc;
}

static enum err_code
step_put(const struct state_ref *ref, char etag[ETAG_MAX])
{
	struct body    *body = body_copy(SPAN_LIT("{\"version\":4}"));
	struct snapshot s;
	enum err_code   rc;

	CHECK(snapshot_of(&s, body, NULL) == ERR_OK);
	rc = provider_rig_run(&g.r, provider_put(g.r.b, ref, &s, &(struct put_condition){ .when = PUT_ABSENT }, etag));
	snapshot_free(&s);
	body_unref(body);
	return rc;
}

static enum err_code
step_lock(const struct state_ref *ref, const struct step *t, struct lock_info *lock)
{
	struct lock_info holder = { .id = "" };
	enum err_code    rc;

	provider_lock_new(g.r.b, ref, "", lock);
	rc = provider_rig_run(&g.r, provider_lock(g.r.b, ref, lock, &holder));
	CHECK_STR(rc == ERR_OK ? lock->generation : holder.id, t->says);
	if (rc == ERR_OK)
		snprintf(g.generation, sizeof(g.generation), "%s", lock->generation);
	return rc;
}

static enum err_code
step_run(const struct state_ref *ref, const struct step *t, struct lock_info *lock, char etag[ETAG_MAX])
{
	enum err_code rc = ERR_OK;
	char          text[200];

	switch (t->what) {
	case LIST:
		return step_list(t);
	case GET:
		return step_get(ref, etag);
	case PUT:
		return step_put(ref, etag);
	case DEL: /* ours looks before: some servers ignore the condition */
		snprintf(text, sizeof(text), "{\"generation\":\"%s\"}", etag);
		scripted_expect(g.r.http, "GET", "fields=generation", 200, "Content-Type: application/json", text);
		return provider_rig_run(&g.r, provider_del(g.r.b, ref, etag));
	case LOCK:
		return step_lock(ref, t, lock);
	case PEEK:
		rc = provider_rig_run(&g.r, provider_lock_peek(g.r.b, ref, lock));
		CHECK_STR(lock->id, t->says);
		return rc;
	case FOREIGN: /* terraform knows its generation and does not read it */
		snprintf(g.lock, sizeof(g.lock), "{\"ID\":\"0c0ffee0-0000-4000-8000-000000000001\",\"Operation\":\"OperationTypeApply\"}");
		snprintf(g.generation, sizeof(g.generation), "1795309319878");
		return ERR_OK;
	case UNLOCK:
		rc = provider_rig_run(&g.r, provider_unlock(g.r.b, ref, lock));
		g.generation[0] = '\0';
		return rc;
	case STEP_END:
		break;
	}
	return rc;
}

static void
lives_like_terraform(void)
{
	for (size_t i = 0; i < ARRAY_LEN(lives); i++) {
		const struct life *life = &lives[i];
		struct state_ref   ref = { life->name };
		struct lock_info   lock = { .id = "123", .generation = "123" };
		char              *args = xasprintf("%s" TOKEN, life->args), etag[ETAG_MAX] = "";

		begin(life->recording, args);
		for (const struct step *t = life->steps; t->what != STEP_END; t++) {
			enum err_code rc = step_run(&ref, t, &lock, etag);

			if (rc != t->want)
				test_fail(__FILE__, __LINE__, "%s, step %td: %d, not %d: %s\n%s", life->recording, t - life->steps, rc, t->want,
				    g.r.err.msg, scripted_http_trace(g.r.http));
		}
		CHECK(strstr(scripted_http_trace(g.r.http), "DELETE") == NULL || strcmp(life->recording, "force_unlock_wrong_generation") != 0);
		end();
		free(args);
	}
}

/* The lost answer again, but the lock that is found is ours. */
static void
finds_its_own_lock(void)
{
	struct state_ref ref = { "default.tfstate" };
	struct lock_info l, holder;

	begin("lock_ambiguous_503", PROD TOKEN);
	snprintf(g.generation, sizeof(g.generation), "7");
	provider_lock_new(g.r.b, &ref, "", &l);
	CHECK_U64(provider_rig_run(&g.r, provider_lock(g.r.b, &ref, &l, &holder)), ERR_OK);
	CHECK_STR(l.generation, "7");
	CHECK_U64(g.golden.replayed, 2);
	end();
}

/* ---------------------------------------------------------------- in pieces */

#define PIECES ((uint64_t)19927456)

static bool
same_upload(const struct scripted_request *ours, const struct scripted_request *theirs)
{
	char *a = scripted_query(ours, "upload_id"), *b = scripted_query(theirs, "upload_id");
	bool  same = (a == NULL) == (b == NULL) && (a == NULL || strcmp(ours->at.query, theirs->at.query) == 0) &&
	    strcmp(ours->at.path, theirs->at.path) == 0;

	free(a);
	free(b);
	return same;
}

/* Ours are smaller than terraform's: what is recorded answers the one with which one of terraform's is complete, and so do we not ask for 200
 * in the place of 308. The answer to the last one was cut. */
static void
answer_piece(void *arg, const struct scripted_request *rq, struct scripted_answer *a)
{
	const char        *range = scripted_header(rq, "content-range");
	unsigned long long from, to, all;
	char               theirs[80];

	(void)arg;
	if (range == NULL) {
		golden_handle(&g.golden, rq, a);
		return;
	}
	CHECK(sscanf(range, "bytes %llu-%llu/%llu", &from, &to, &all) == 3);
	CHECK(from == g.got && to - from + 1 == rq->body.n && all == PIECES && (rq->body.n % (256 << 10) == 0 || to + 1 == all));
	g.got = to + 1;
	snprintf(theirs, sizeof(theirs), "bytes=0-%llu", to);
	if (to + 1 == (uint64_t)16 << 20 || to + 1 == all) {
		golden_handle(&g.golden, rq, a);
		if (to + 1 == all) {
			scripted_set_body(a, SPAN_LIT("{\"name\":\"env/big/default.tfstate\",\"generation\":\"1795309319891\"}"));
			return;
		}
		CHECK_STR(a->headers[1].value, theirs);
		CHECK_STR(a->headers[2].value, "308");
	} else {
		scripted_add_header(a, "Range", "%s", theirs);
	}
	a->status = 308;
}

static void
no_compare(const struct scripted_request *ours, const struct scripted_request *theirs)
{
	(void)ours;
	(void)theirs;
}

static void
writes_in_pieces(void)
{
	static char          text[PIECES];
	struct state_ref     ref = { "default.tfstate" };
	struct put_condition absent = { .when = PUT_ABSENT };
	struct body         *body;
	struct snapshot      s;
	char                 etag[ETAG_MAX];

	memset(text, ' ', sizeof(text));
	memcpy(text, "{\"version\":4}", strlen("{\"version\":4}"));
	begin("resumable_upload_20mb", "  prefix = \"env/big\"\n" TOKEN);
	g.golden.same = same_upload;
	g.golden.compare = no_compare;
	scripted_handle(g.r.http, answer_piece, NULL);
	body = body_copy(span_of(text, sizeof(text)));
	CHECK(snapshot_of(&s, body, NULL) == ERR_OK);
	CHECK_OK(provider_rig_run(&g.r, provider_put(g.r.b, &ref, &s, &absent, etag)), g.r.err);
	CHECK_STR(etag, "1795309319891");
	CHECK_U64(g.golden.replayed, 3);
	snapshot_free(&s);
	body_unref(body);
	end();
}

/* ---------------------------------------------------------------- values */

static void
knows_the_values(void)
{
	json_t *root = golden_load("gcs", "hash_vectors"), *row;
	size_t  i;

	json_array_foreach(json_object_get(root, "rows"), i, row) {
		const char *text = golden_text(row, "text");
		char       *sum = gcs_sum_text(crc32c_add(0, text, strlen(text)));

		CHECK_STR(sum + strlen("crc32c="), golden_text(row, "crc32c_base64"));
		free(sum);
	}
	json_decref(root);
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){ { "lives_like_terraform", lives_like_terraform },
	    { "finds_its_own_lock", finds_its_own_lock }, { "writes_in_pieces", writes_in_pieces },
	    { "knows_the_values", knows_the_values }, { NULL, NULL } });
}
