/* SPDX-License-Identifier: MIT */
#include <jansson.h>
#include <stdlib.h>
#include <strings.h>

#include "../../lib/provider_rig.h"
#include "../../lib/test.h"
#include "../../lib/test_key.h"
#include "base/crc32c.h"
#include "base/encode.h"
#include "base/json.h"
#include "provider/gcs/gcs.h"

/*
 * Recordings of terraform (tests/golden/gcs): what we send for the same thing names the same objects with the same conditions and keys,
 * and the recorded answers mean the same to us. Terraform reads content by another path and writes in two parts; that is not compared.
 */
static struct {
	struct provider_rig r;
	json_t             *root, *list;
	bool                used[64];
	char                lock[2000], generation[128]; /* that we made: terraform does not read its own */
	struct buf          token;                      /* what the store was sent */
} g;

static const char *
text_of(json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s != NULL ? s : "";
}

static json_t *
load(const char *name)
{
	char    path[300];
	json_t *root;

	snprintf(path, sizeof(path), "golden/gcs/%s.json", name);
	root = json_load_file(test_path(path), 0, NULL);
	CHECK(root != NULL);
	return root;
}

static const char *
recorded_header(json_t *request, const char *name)
{
	size_t  i;
	json_t *h;

	json_array_foreach(json_object_get(request, "headers"), i, h)
		if (strcasecmp(json_string_value(json_array_get(h, 0)), name) == 0)
			return json_string_value(json_array_get(h, 1));
	return NULL;
}

static void
replay(struct scripted_answer *a, json_t *response)
{
	size_t  i;
	json_t *h;

	a->status = (int)json_integer_value(json_object_get(response, "status"));
	json_array_foreach(json_object_get(response, "headers"), i, h) {
		const char *name = json_string_value(json_array_get(h, 0));

		if (strcasecmp(name, "content-length") != 0)
			scripted_add_header(a, name, "%s", json_string_value(json_array_get(h, 1)));
	}
	scripted_set_body(a, span_str(text_of(response, "body")));
}

/* "list env/prod/", "content NAME", "metadata NAME", "upload NAME", "delete NAME", or "" for what is none of these. Owned. */
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

static void
same_text(const char *what, const char *ours, const char *theirs)
{
	if ((ours == NULL) != (theirs == NULL) || (ours != NULL && strcmp(ours, theirs) != 0))
		test_fail(__FILE__, __LINE__, "%s is %s, not %s", what, ours != NULL ? ours : "absent", theirs != NULL ? theirs : "absent");
}

/* Our writes of states have a condition, terraform's have none. */
static void
same(const struct scripted_request *rq, const struct scripted_request *was, json_t *request)
{
	static const char *const headers[] = { "x-goog-encryption-algorithm", "x-goog-encryption-key", "x-goog-encryption-key-sha256" };
	static const char *const queries[] = { "kmsKeyName", "ifGenerationMatch", "pageToken" };

	for (size_t i = 0; i < ARRAY_LEN(headers); i++)
		same_text(headers[i], scripted_header(rq, headers[i]), recorded_header(request, headers[i]));
	for (size_t i = 0; i < ARRAY_LEN(queries); i++) {
		char *ours = scripted_query(rq, queries[i]), *theirs = scripted_query(was, queries[i]);

		if (theirs != NULL && theirs[0] == '\0') { /* an empty pageToken */
			free(theirs);
			theirs = NULL;
		}
		if (theirs != NULL || strcmp(queries[i], "ifGenerationMatch") != 0)
			same_text(queries[i], ours, theirs);
		free(ours);
		free(theirs);
	}
}

static void
answer(void *arg, const struct scripted_request *rq, struct scripted_answer *a)
{
	char   *ours = meaning(rq);
	size_t  i;
	json_t *e;
	bool    found = false;

	(void)arg;
	json_array_foreach(g.list, i, e) {
		json_t *request = json_object_get(e, "request");
		char   *url = xasprintf("%s://%s%s", text_of(request, "scheme"), text_of(request, "host"), text_of(request, "target"));
		struct scripted_request was = { .method = text_of(request, "method"), .url = url };
		char   *theirs;

		CHECK_OK(url_parse(url, &was.at, &g.r.err), g.r.err);
		theirs = meaning(&was);
		if (!found && !g.used[i] && strcmp(ours, theirs) == 0) {
			same(rq, &was, request);
			replay(a, json_object_get(e, "response"));
			found = g.used[i] = true;
		}
		free(theirs);
		url_free(&was.at);
		free(url);
	}
	if (span_ends(span_str(ours), ".tflock") && strncmp(ours, "upload", 6) == 0)
		snprintf(g.lock, sizeof(g.lock), "%.*s", (int)rq->body.n, (const char *)rq->body.p);
	if (!found && span_ends(span_str(ours), ".tflock") && strncmp(ours, "content", 7) == 0) {
		a->status = 200;
		scripted_add_header(a, "X-Goog-Generation", "%s", g.generation);
		scripted_set_body(a, span_str(g.lock));
		found = true;
	}
	if (!found)
		test_fail(__FILE__, __LINE__, "not recorded: %s", ours);
	free(ours);
}

static void
begin(const char *recording, const char *args)
{
	char *block = xasprintf("backend \"gcs\" \"b\" {\n  bucket = \"tf-bucket\"\n  access_token = \"ya29.static-token\"\n%s}\n", args);

	memset(&g, 0, sizeof(g));
	g.root = load(recording);
	g.list = json_object_get(g.root, "exchanges");
	CHECK(json_array_size(g.list) <= ARRAY_LEN(g.used));
	provider_rig_open(&g.r, false, block);
	scripted_handle(g.r.http, answer, NULL);
	free(block);
}

static void
end(void)
{
	provider_rig_close(&g.r);
	json_decref(g.root);
}

static const struct state_ref state = { "default.tfstate" };

static enum err_code
get(struct snapshot *ret)
{
	memset(ret, 0, sizeof(*ret));
	return provider_rig_run(&g.r, provider_get(g.r.b, &state, NULL, ret));
}

static void
count(void *arg, const struct state_seen *s)
{
	(void)s;
	++*(size_t *)arg;
}

/* What "terraform init" does with an empty prefix: list, read, lock, write, unlock, read. */
static void
lives_through_an_init(const char *recording, const char *args, const char *lock_generation)
{
	struct snapshot      s;
	struct lock_info     l, holder;
	struct body         *body = body_copy(SPAN_LIT("{\"version\":4}"));
	struct put_condition absent = { .when = PUT_ABSENT };
	size_t               n = 0;
	char                 etag[ETAG_MAX];

	begin(recording, args);
	CHECK_U64(provider_rig_run(&g.r, provider_list(g.r.b, count, &n)), ERR_OK);
	CHECK_U64(n, 0);
	CHECK_U64(get(&s), ERR_NOT_FOUND);
	provider_lock_new(g.r.b, &state, "", &l);
	CHECK_U64(provider_rig_run(&g.r, provider_lock(g.r.b, &state, &l, &holder)), ERR_OK);
	CHECK_STR(l.generation, lock_generation);
	snprintf(g.generation, sizeof(g.generation), "%s", l.generation);
	CHECK(snapshot_of(&s, body, NULL) == ERR_OK);
	CHECK_U64(provider_rig_run(&g.r, provider_put(g.r.b, &state, &s, &absent, etag)), ERR_OK);
	snapshot_free(&s);
	body_unref(body);
	CHECK_U64(provider_rig_run(&g.r, provider_unlock(g.r.b, &state, &l)), ERR_OK);
	if (strcmp(recording, "init_and_apply") != 0)
		g.used[1] = g.used[3] = true; /* terraform reads it twice before */
	while (get(&s) == ERR_NOT_FOUND)
		continue;
	CHECK_OK(g.r.err.code, g.r.err);
	CHECK_STR(s.etag, etag); /* and the bytes fit their recorded sum */
	snapshot_free(&s);
	end();
}

static void
replays_inits(void)
{
	lives_through_an_init("init_and_apply", "  prefix = \"env/prod\"\n", "1795309319874");
	lives_through_an_init("csek_init", "  prefix = \"env/csek\"\n  encryption_key = \"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\"\n",
	    "1795309319883");
	lives_through_an_init("kms_init", "  prefix = \"env/kms\"\n  kms_encryption_key = \"projects/p/locations/global/keyRings/r/cryptoKeys/k\"\n",
	    "1795309319886");
	lives_through_an_init("special_characters_prefix", "  prefix = \"team a/ü+(1)%x~\"\n", "1795309321934");
}

static void
replays_a_foreign_lock(void)
{
	struct lock_info l, holder;

	begin("lock_conflict", "  prefix = \"env/prod\"\n");
	provider_lock_new(g.r.b, &state, "", &l);
	CHECK_U64(provider_rig_run(&g.r, provider_lock(g.r.b, &state, &l, &holder)), ERR_LOCKED);
	CHECK_STR(holder.id, "1795309321936");
	CHECK_STR(holder.operation, "OperationTypeApply");
	end();
	begin("force_unlock", "  prefix = \"env/prod\"\n");
	g.used[6] = true; /* it is gone at the end there */
	snprintf(g.lock, sizeof(g.lock), "{\"ID\":\"0c0ffee0-0000-4000-8000-000000000001\",\"Operation\":\"OperationTypeApply\"}");
	snprintf(g.generation, sizeof(g.generation), "1795309319878");
	CHECK_U64(provider_rig_run(&g.r, provider_lock_peek(g.r.b, &state, &holder)), ERR_OK);
	CHECK_U64(provider_rig_run(&g.r, provider_unlock(g.r.b, &state, &holder)), ERR_OK);
	CHECK(g.used[2]); /* DELETE, by that generation */
	end();
}

/* 503, then 412 by one's own lock: terraform gave up there, and left it. Ours is found in the lock. */
static void
replays_a_lock_whose_answer_was_lost(void)
{
	struct lock_info l, holder;

	begin("lock_ambiguous_503", "  prefix = \"env/prod\"\n");
	provider_lock_new(g.r.b, &state, "", &l);
	g.used[4] = true; /* terraform's own */
	snprintf(g.generation, sizeof(g.generation), "7");
	CHECK_U64(provider_rig_run(&g.r, provider_lock(g.r.b, &state, &l, &holder)), ERR_OK);
	CHECK_STR(l.generation, "7");
	CHECK(g.used[2] && g.used[3]);
	end();
	begin("lock_ambiguous_503", "  prefix = \"env/prod\"\n"); /* and this one is not ours */
	provider_lock_new(g.r.b, &state, "", &l);
	CHECK_U64(provider_rig_run(&g.r, provider_lock(g.r.b, &state, &l, &holder)), ERR_LOCKED);
	CHECK_STR(holder.operation, "OperationTypePlan");
	end();
}

static void
replays_pages(void)
{
	size_t n = 0;

	begin("workspace_list_paging", "  prefix = \"env/prod\"\n");
	CHECK_U64(provider_rig_run(&g.r, provider_list(g.r.b, count, &n)), ERR_OK);
	CHECK(n >= 2);
	CHECK(g.used[0] && g.used[1]);
	end();
}

/* ---------------------------------------------------------------- values */

static void
knows_the_values(void)
{
	json_t *root = load("hash_vectors"), *row;
	size_t  i;

	json_array_foreach(json_object_get(root, "rows"), i, row) {
		const char *text = text_of(row, "text");
		char       *sum = gcs_sum_text(crc32c_add(0, text, strlen(text)));

		CHECK_STR(sum + strlen("crc32c="), text_of(row, "crc32c_base64"));
		free(sum);
	}
	json_decref(root);
}

/* ---------------------------------------------------------------- signing in */

/* A form as sorted lines without what differs on purpose: the signature, and how much is asked for. */
static void
check_form(struct span ours, const char *theirs)
{
	static const char *const apart[] = { "assertion=", "scope=" };
	char                    *a = span_dup(ours), *b = xstrdup(theirs), *sa = NULL, *sb = NULL;
	char                    *p = strtok_r(a, "&", &sa), *q = strtok_r(b, "&", &sb);

	for (; p != NULL && q != NULL; p = strtok_r(NULL, "&", &sa), q = strtok_r(NULL, "&", &sb)) {
		bool skip = false;

		for (size_t i = 0; i < ARRAY_LEN(apart); i++)
			skip = skip || (strncmp(p, apart[i], strlen(apart[i])) == 0 && strncmp(q, apart[i], strlen(apart[i])) == 0);
		if (!skip)
			CHECK_STR(p, q);
	}
	CHECK(p == NULL && q == NULL);
	free(a);
	free(b);
}

static void
signed_in(void *arg, const struct scripted_request *rq, struct scripted_answer *a)
{
	size_t  i, *next = arg;
	json_t *e, *request = NULL;

	if (strncmp(rq->at.host, "storage.", 8) == 0) {
		buf_reset(&g.token);
		buf_puts(&g.token, scripted_header(rq, "authorization"));
		scripted_add_header(a, "X-Goog-Generation", "1");
		a->status = 200;
		scripted_set_body(a, SPAN_LIT("{}"));
		return;
	}
	for (i = *next; (e = json_array_get(g.list, i)) != NULL; i++) {
		request = json_object_get(e, "request");
		if (strstr(text_of(request, "target"), "/project/project-id") == NULL) /* terraform asks whether it is Google's machine */
			break;
	}
	CHECK(e != NULL);
	*next = i + 1;
	CHECK_STR(rq->method, text_of(request, "method"));
	CHECK_STR(rq->at.host, text_of(request, "host"));
	CHECK(strncmp(strstr(rq->url, rq->at.host) + strlen(rq->at.host), text_of(request, "target"), strcspn(text_of(request, "target"), "?")) == 0);
	same_text("authorization", scripted_header(rq, "authorization"), recorded_header(request, "authorization"));
	same_text("content-type", scripted_header(rq, "content-type"), recorded_header(request, "content-type"));
	same_text("metadata-flavor", scripted_header(rq, "metadata-flavor"), recorded_header(request, "metadata-flavor"));
	if (strstr(text_of(request, "body"), "&") != NULL)
		check_form(rq->body, text_of(request, "body"));
	else if (rq->body.n > 0)
		CHECK(strncmp((const char *)rq->body.p, text_of(request, "body"), strlen("{\"lifetime\":\"3600s\",\"scope\":[")) == 0);
	replay(a, json_object_get(e, "response"));
}

/* The last recorded request is to the store: with the token that ours has to have. */
static void
signs_in(const char *recording, const char *args)
{
	char           *block = xasprintf("backend \"gcs\" \"b\" {\n  bucket = \"tf-bucket\"\n%s}\n", args);
	struct snapshot s;
	size_t          next = 0;

	memset(&g, 0, sizeof(g));
	buf_init(&g.token, 0);
	g.root = load(recording);
	g.list = json_object_get(g.root, "exchanges");
	provider_rig_open(&g.r, false, block);
	scripted_handle(g.r.http, signed_in, &next);
	CHECK_OK(get(&s), g.r.err);
	snapshot_free(&s);
	CHECK_STR(buf_str(&g.token), recorded_header(json_object_get(json_array_get(g.list, json_array_size(g.list) - 1), "request"),
	    "authorization"));
	CHECK_U64(next + 1, json_array_size(g.list));
	buf_free(&g.token);
	free(block);
	end();
}

/* Credentials as a file, whose path stands in the block. */
static const char *
credentials(const char *name, const char *json)
{
	static char args[500];
	char        path[300];
	FILE       *f;

	snprintf(path, sizeof(path), "%s/%s.json", test_tmpdir(), name);
	f = fopen(path, "w");
	CHECK(f != NULL && fputs(json, f) >= 0);
	fclose(f);
	snprintf(args, sizeof(args), "  credentials = \"%s\"\n", path);
	return args;
}

static void
replays_sign_ins(void)
{
	static const char  as[] = "  impersonate_service_account = \"target@proj-1.iam.gserviceaccount.com\"\n";
	struct json_writer w;
	struct buf         key;
	char               text[800];

	signs_in("auth_impersonate", "  access_token = \"ya29.static\"\n  impersonate_service_account = \"target@proj-1.iam.gserviceaccount.com\"\n");
	signs_in("auth_authorized_user", credentials("user", "{\"type\":\"authorized_user\",\"client_id\":\"cid.apps.googleusercontent.com\","
	    "\"client_secret\":\"csec\",\"refresh_token\":\"1//rt\"}"));
	buf_init(&key, 0);
	json_begin(&w, &key);
	json_obj(&w);
	json_kv_str(&w, "type", "service_account");
	json_kv_str(&w, "private_key", TEST_KEY_PKCS8);
	json_kv_str(&w, "client_email", "tf-agent@proj-1.iam.gserviceaccount.com");
	json_obj_end(&w);
	signs_in("auth_sa", credentials("key", buf_str(&key)));
	snprintf(text, sizeof(text), "%s%s", credentials("key", buf_str(&key)), as);
	signs_in("auth_impersonate_sa", text);
	buf_free(&key);
	credentials("token", "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln");
	snprintf(text, sizeof(text), "{\"type\":\"external_account\",\"audience\":\"//iam.googleapis.com/projects/123/locations/global/"
	    "workloadIdentityPools/pool/providers/prov\",\"subject_token_type\":\"urn:ietf:params:oauth:token-type:jwt\",\"token_url\":"
	    "\"https://sts.googleapis.com/v1/token\",\"service_account_impersonation_url\":\"https://iamcredentials.googleapis.com/v1/projects/-/"
	    "serviceAccounts/tf-agent@proj-1.iam.gserviceaccount.com:generateAccessToken\",\"credential_source\":{\"file\":\"%s/token.json\"}}",
	    test_tmpdir());
	signs_in("auth_wif", credentials("wif", text));
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){ { "replays_inits", replays_inits }, { "replays_a_foreign_lock", replays_a_foreign_lock },
	    { "replays_a_lock_whose_answer_was_lost", replays_a_lock_whose_answer_was_lost }, { "replays_pages", replays_pages },
	    { "knows_the_values", knows_the_values }, { "replays_sign_ins", replays_sign_ins }, { NULL, NULL } });
}
