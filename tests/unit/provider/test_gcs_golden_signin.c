/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <strings.h>

#include "../../lib/golden.h"
#include "../../lib/provider_rig.h"
#include "../../lib/test.h"
#include "../../lib/test_key.h"
#include "base/json.h"

/* Recordings of terraform's ways to a token (tests/golden/gcs/auth_*): ours asks the same issuers for the same, and sends what they gave. */
static struct provider_rig r;
static struct golden       golden;
static struct buf          token; /* what the store was sent */

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

static bool
same_host(const struct scripted_request *ours, const struct scripted_request *theirs)
{
	return strcmp(ours->at.host, theirs->at.host) == 0 && strcmp(ours->at.path, theirs->at.path) == 0;
}

static bool
is_of_sign_in(const struct scripted_request *rq, const struct http_header *h)
{
	(void)rq;
	return strcasecmp(h->name, "authorization") == 0 || strcasecmp(h->name, "content-type") == 0 || strcasecmp(h->name, "metadata-flavor") == 0;
}

static void
compare(const struct scripted_request *ours, const struct scripted_request *theirs)
{
	CHECK_STR(ours->method, theirs->method);
	golden_headers(ours, theirs, is_of_sign_in);
	golden_headers(theirs, ours, is_of_sign_in);
	if (memchr(theirs->body.p, '&', theirs->body.n) != NULL)
		check_form(ours->body, (const char *)theirs->body.p);
	else if (ours->body.n > 0)
		CHECK(strncmp((const char *)ours->body.p, (const char *)theirs->body.p, strlen("{\"lifetime\":\"3600s\",\"scope\":[")) == 0);
}

static void
answer(void *arg, const struct scripted_request *rq, struct scripted_answer *a)
{
	(void)arg;
	if (strncmp(rq->at.host, "storage.", 8) != 0) {
		golden_handle(&golden, rq, a);
		return;
	}
	buf_reset(&token);
	buf_puts(&token, scripted_header(rq, "authorization"));
	scripted_add_header(a, "X-Goog-Generation", "1");
	a->status = 200;
	scripted_set_body(a, SPAN_LIT("{}"));
}

/* The last recorded request is to the store: with the token that ours has to have. */
static void
signs_in(const char *recording, const char *args)
{
	char           *block = xasprintf("backend \"gcs\" \"b\" {\n  bucket = \"tf-bucket\"\n%s}\n", args);
	struct snapshot s;

	golden_open(&golden, "gcs", recording);
	golden.same = same_host;
	golden.compare = compare;
	provider_rig_open(&r, false, block);
	buf_init(&token, 0);
	scripted_handle(r.http, answer, NULL);
	CHECK_OK(provider_rig_run(&r, provider_get(r.b, &(struct state_ref){ "default.tfstate" }, NULL, &s)), r.err);
	snapshot_free(&s);
	CHECK_STR(buf_str(&token), scripted_header(&golden.requests[golden.n - 1], "authorization"));
	CHECK_U64(golden.next + 1, golden.n);
	buf_free(&token);
	provider_rig_close(&r);
	golden_close(&golden);
	free(block);
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
	setenv("HOME", test_tmpdir(), 1); /* no login of gcloud is found there */
	setenv("CLOUDSDK_CONFIG", test_tmpdir(), 1);
	signs_in("auth_gce", "");
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){ { "replays_sign_ins", replays_sign_ins }, { NULL, NULL } });
}
