/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "../../lib/azure_rig.h"
#include "../../lib/test.h"

/* What the suite of all providers does not ask of Azure Blob Storage. */

/* --- configuration and names --- */

static void
refuses(void)
{
	static const struct {
		const char *text, *says;
	} rows[] = {
		{ "", "access_key" },
		{ "  access_key = \"canary!\"\n", "access_key" },
		{ "  sas_token = \"canary\"\n", "sas_token" },
		{ "  access_key = \"YQ==\"\n  key = \"a?b\"\n", "%3F for" },
		{ "  access_key = \"YQ==\"\n  key = \"a%zz\"\n", "%25 for" },
		{ "  access_key = \"YQ==\"\n  key = \"a/../b\"\n", "key" },
		{ "  access_key = \"YQ==\"\n  key = \"a\"\n  prefix = \"b/\"\n", "not both" },
		{ "  access_key = \"YQ==\"\n  environment = \"moon\"\n", "environment" },
		{ "  access_key = \"YQ==\"\n  blob_endpoint = \"https://u:canary@h/\"\n", "blob_endpoint" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const char *says = provider_rig_refuses(azure_block(rows[i].text));

		if (says == NULL || strstr(says, rows[i].says) == NULL)
			test_fail(__FILE__, __LINE__, "row %zu: %s", i, says != NULL ? says : "taken");
		CHECK(says == NULL || strstr(says, "canary") == NULL);
	}
}

/* OpenTofu's name for what is timeout here. */
static void
knows_timeouts(void)
{
	static const struct {
		const char *text;
		int64_t     ms;
	} rows[] = { { "", 30000 }, { "  timeout_seconds = 300\n", 300000 }, { "  timeout_seconds = 300\n  timeout = \"5s\"\n", 5000 } };

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char *text = xasprintf("  access_key = \"YQ==\"\n%s", rows[i].text);

		provider_rig_open(&azure.r, false, azure_block(text));
		CHECK_U64((uint64_t)azure.r.b->common.timeout_ms, (uint64_t)rows[i].ms);
		provider_rig_close(&azure.r);
		free(text);
	}
}

static void
knows_where_it_is(void)
{
	static const char *const rows[][2] = { { "", "https://acmestates.blob.core.windows.net/tfstate" },
		{ "  environment = \"china\"\n  prefix = \"a/\"\n", "https://acmestates.blob.core.chinacloudapi.cn/tfstate/a/" },
		{ "  blob_endpoint = \"http://127.0.0.1:10000/acmestates/\"\n  key = \"dir/a%20b\"\n",
		    "http://127.0.0.1:10000/acmestates/tfstate/dir/a b" } };

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		azure_begin(rows[i][0]);
		CHECK_STR(azure.r.b->where, rows[i][1]);
		CHECK(((provider_caps(azure.r.b) & PROVIDER_LOCK_UNPROVEN) != 0) == (i == 2));
		azure_end();
	}
}

static void
knows_workspaces(void)
{
	static const char *const rows[][3] = { { "", "a.tfstate", "default" }, { "", "a.tfstateenv:dev", "dev" },
		{ "", "a.tfstateenv:b/c.tfstate", "default" }, { "  key = \"k\"\n", "k", "default" }, { "  key = \"k\"\n", "kenv:w", "w" } };
	struct buf text;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		azure_begin(rows[i][0]);
		buf_init(&text, 0);
		provider_workspace(azure.r.b, rows[i][1], &text);
		CHECK_STR(buf_str(&text), rows[i][2]);
		buf_reset(&text);
		if (provider_fixed(azure.r.b, rows[i][2], &text))
			CHECK_STR(buf_str(&text), rows[i][1]);
		buf_free(&text);
		azure_end();
	}
}

/* A replica of a workspace's state keeps its name. */
static void
completes_names(void)
{
	static const char *const rows[][2] = { { "a", "a.tfstate" }, { "a.tfstate", "a.tfstate" }, { "a.tfstateenv:dev", "a.tfstateenv:dev" },
		{ "a.tfstateenv:", "a.tfstateenv:.tfstate" }, { "aenv:dev", "aenv:dev.tfstate" } };
	struct buf text;

	azure_begin("");
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		buf_init(&text, 0);
		buf_puts(&text, rows[i][0]);
		provider_complete(azure.r.b, azure.r.b, &text);
		CHECK_STR(buf_str(&text), rows[i][1]);
		buf_free(&text);
	}
	azure_end();
}

static void
saw_name(void *arg, const struct state_seen *s)
{
	struct buf *names = arg;

	buf_printf(names, "%s%s ", s->name, s->locked ? "*" : "");
}

/* Neither others that begin alike, nor place holders, nor what has no workspace's name. */
static void
lists_a_key_and_its_workspaces(void)
{
	static const char *const blobs[] = { "k", "kenv:a", "kenv:b", "kenv:", "kenv:a/b", "key", "k.tfstate" };
	struct buf               names;

	azure_begin("  key = \"k\"\n");
	for (size_t i = 0; i < ARRAY_LEN(blobs); i++)
		fake_azure_put(azure.fake, blobs[i], span_str(AZURE_STATE));
	fake_azure_put(azure.fake, "kenv:empty", span_str(""));
	fake_azure_set_lease(azure.fake, "kenv:b", OTHERS);
	azure.fake->page = 2;
	buf_init(&names, 0);
	CHECK_U64(provider_rig_run(&azure.r, provider_list(azure.r.b, saw_name, &names)), ERR_OK);
	CHECK_STR(buf_str(&names), "k kenv:a kenv:b* ");
	buf_free(&names);
	azure_end();
}

static void
names_that_are_not_safe_are_refused(void)
{
	static const char *const names[] = { "a\\b.tfstate", "a./b.tfstate", "b.tfstate." };
	char                     etag[ETAG_MAX];
	struct lock_info         l;

	azure_begin("");
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		azure_ref.name = names[i];
		CHECK_U64(azure_put(AZURE_STATE, PUT_ABSENT, NULL, NULL, etag), ERR_UNSUPPORTED);
		CHECK_U64(azure_lock(&l), ERR_UNSUPPORTED);
	}
	azure_ref.name = AZURE_NAME;
	CHECK_U64(scripted_http_count(azure.r.http), 0);
	azure_end();
}

/* --- the place holder, and the metadata that is others' --- */

static void
a_place_holder_is_no_state(void)
{
	struct lock_info l;
	struct snapshot  s;
	struct state_tag tag;
	char             etag[ETAG_MAX];

	azure_begin("");
	CHECK_U64(azure_lock(&l), ERR_OK);
	CHECK_U64(azure_get(&s), ERR_NOT_FOUND);
	CHECK_U64(provider_rig_run(&azure.r, provider_head(azure.r.b, &azure_ref, &tag)), ERR_NOT_FOUND);
	CHECK_U64(azure_put(AZURE_STATE, PUT_MATCH, "1B2M2Y8AsgTpgAmY7PhCfg==", &l, etag), ERR_CONFLICT);
	CHECK_U64(azure_put(AZURE_STATE, PUT_ABSENT, NULL, NULL, etag), ERR_LOCKED);
	CHECK_U64(azure_put(AZURE_STATE, PUT_ABSENT, NULL, &l, etag), ERR_OK);
	CHECK_U64(azure_unlock(&l), ERR_OK);
	CHECK_U64(azure_get(&s), ERR_OK);
	CHECK_STR(s.etag, etag); /* the lock's coming and going is no change */
	snapshot_free(&s);
	azure_end();
}

static void
a_write_keeps_the_metadata_and_the_words_of_the_lock(void)
{
	struct lock_info l;
	char             etag[ETAG_MAX], words[8192], key[16];

	azure_begin("");
	fake_azure_put(azure.fake, AZURE_NAME, span_str(AZURE_STATE));
	fake_azure_set_meta(azure.fake, AZURE_NAME, "owner", "ann");
	for (int i = 0; i < 30; i++) {
		snprintf(key, sizeof(key), "m%d", i);
		fake_azure_set_meta(azure.fake, AZURE_NAME, key, key);
	}
	CHECK_U64(azure_lock(&l), ERR_OK);
	CHECK_STR(fake_azure_meta(azure.fake, AZURE_NAME, "owner"), "ann");
	snprintf(words, sizeof(words), "%s", fake_azure_meta(azure.fake, AZURE_NAME, "terraformlockid"));
	CHECK(words[0] != '\0');
	CHECK_U64(azure_put(AZURE_STATE " ", PUT_UNDER_LOCK, NULL, &l, etag), ERR_OK);
	CHECK_STR(fake_azure_meta(azure.fake, AZURE_NAME, "owner"), "ann");
	CHECK_STR(fake_azure_meta(azure.fake, AZURE_NAME, "terraformlockid"), words);
	CHECK_U64(azure_unlock(&l), ERR_OK);
	CHECK_STR(fake_azure_meta(azure.fake, AZURE_NAME, "owner"), "ann");
	CHECK_STR(fake_azure_meta(azure.fake, AZURE_NAME, "m29"), "m29");
	CHECK(azure_nothing_locked());
	azure_end();
}

static void
a_blob_without_md5_goes_by_its_etag(void)
{
	struct snapshot s;
	char            etag[ETAG_MAX];

	azure_begin("");
	azure.fake->without_md5 = true;
	fake_azure_put(azure.fake, AZURE_NAME, span_str(AZURE_STATE));
	CHECK_U64(azure_get(&s), ERR_OK);
	CHECK(strncmp(s.etag, "0x", 2) == 0);
	CHECK_U64(azure_put(AZURE_STATE " ", PUT_MATCH, s.etag, NULL, etag), ERR_OK);
	snapshot_free(&s);
	azure_end();
}

static void
bytes_that_do_not_fit_their_md5_are_refused(void)
{
	struct snapshot s;

	azure_begin("");
	for (int i = 0; i < 3; i++)
		scripted_expect(azure.r.http, "GET", AZURE_NAME, 200, "ETag: \"0x1\"\nx-ms-blob-type: BlockBlob\n"
		    "Content-MD5: AAAAAAAAAAAAAAAAAAAAAA==", AZURE_STATE);
	CHECK_U64(azure_get(&s), ERR_CORRUPT);
	CHECK(s.body == NULL);
	scripted_expect(azure.r.http, "GET", AZURE_NAME, 200, "Content-Type: text/html", "<html>sign in</html>");
	CHECK_U64(azure_get(&s), ERR_UNSUPPORTED);
	scripted_expect(azure.r.http, "GET", AZURE_NAME, 404, "Content-Type: text/html", "<html>not here</html>");
	CHECK(azure_get(&s) != ERR_NOT_FOUND);
	azure_end();
}

/* As terraform: of what is replaced, and under the lock. */
static void
snapshots_are_made_of_what_is_replaced(void)
{
	struct lock_info l;
	char             etag[ETAG_MAX];

	azure_begin("  snapshot = true\n");
	CHECK_U64(azure_lock(&l), ERR_OK);
	CHECK_U64(azure_put(AZURE_STATE, PUT_ABSENT, NULL, &l, etag), ERR_OK);
	CHECK_U64(azure.fake->snapshots, 0);
	CHECK_U64(azure_put(AZURE_STATE " ", PUT_MATCH, etag, &l, etag), ERR_OK);
	CHECK_U64(azure.fake->snapshots, 1);
	CHECK_U64(azure_unlock(&l), ERR_OK);
	azure_end();
}

static void
a_token_signs_every_url(void)
{
	struct lock_info l;
	char             etag[ETAG_MAX];

	provider_rig_open(&azure.r, false, azure_block("  sas_token = \"?sv=2023-11-03&sig=a%2Bb\"\n"));
	azure.fake = fake_azure_behind(azure.r.http);
	azure.fake->signs_by_sas = true;
	CHECK_U64(azure_lock(&l), ERR_OK);
	CHECK_U64(azure_put(AZURE_STATE, PUT_ABSENT, NULL, &l, etag), ERR_OK);
	CHECK_U64(azure_unlock(&l), ERR_OK);
	CHECK(strstr(azure.r.b->where, "sig=") == NULL);
	azure_end();
}

static void
a_missing_container_is_made(void)
{
	struct snapshot s;

	azure_begin("  create = true\n");
	azure.fake->missing = true;
	CHECK_U64(azure_get(&s), ERR_NOT_FOUND);
	CHECK_STR(azure.r.err.hint, "the first write makes it, for create = true is set");
	CHECK_U64(provider_rig_run(&azure.r, provider_create(azure.r.b)), ERR_OK);
	CHECK_U64(provider_rig_run(&azure.r, provider_create(azure.r.b)), ERR_OK);
	CHECK_U64(azure_get(&s), ERR_NOT_FOUND);
	azure_end();
}

static bool useless;

static void
saw_check(void *arg, const struct probe_check *c)
{
	(void)arg;
	useless |= strcmp(c->name, "lock") == 0 && !c->ok && c->useless;
}

static void
leases_that_exclude_nobody_are_found(void)
{
	for (int all = 0; all < 2; all++) {
		azure_begin("");
		azure.fake->lets_all_in = all != 0;
		useless = false;
		CHECK_U64(provider_rig_run(&azure.r, provider_probe(azure.r.b, saw_check, NULL)), ERR_OK);
		CHECK(useless == (all != 0));
		CHECK_U64(fake_azure_leases(azure.fake), 0);
		azure_end();
	}
}

/* --- what others answer --- */

static void
refusals_say_what_to_do(void)
{
	static const struct {
		int           status;
		const char   *code;
		enum err_code rc;
		const char   *says;
	} rows[] = { { 403, "AuthenticationFailed", ERR_AUTH, "rotated" }, { 403, "AuthorizationFailure", ERR_AUTH, "firewall" },
		{ 403, "AuthorizationPermissionMismatch", ERR_AUTH, "Storage Blob Data Contributor" },
		{ 403, "KeyBasedAuthenticationNotPermitted", ERR_AUTH, "Entra ID" }, { 404, "ContainerNotFound", ERR_CONFIG, "container_name" },
		{ 409, "BlobImmutableDueToPolicy", ERR_UNSUPPORTED, "legal hold" } };
	struct snapshot s;
	char            header[100];

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		azure_begin("");
		snprintf(header, sizeof(header), "x-ms-error-code: %s", rows[i].code);
		scripted_expect(azure.r.http, "GET", AZURE_NAME, rows[i].status, header, NULL);
		CHECK_U64(azure_get(&s), rows[i].rc);
		if (strstr(azure.r.err.msg, rows[i].says) == NULL && strstr(azure.r.err.hint, rows[i].says) == NULL)
			test_fail(__FILE__, __LINE__, "%s; %s", azure.r.err.msg, azure.r.err.hint);
		CHECK(strstr(azure.r.err.msg, "dGVzdCBr") == NULL);
		azure_end();
	}
	for (int ours = 0; ours < 2; ours++) {
		azure_begin(ours ? "  tenant_id = \"72F988BF-0000-4000-8000-000000000001\"\n" : "");
		for (int i = 0; i < 2; i++) /* a token is renewed once */
			scripted_expect(azure.r.http, "GET", AZURE_NAME, 401, "x-ms-error-code: InvalidAuthenticationInfo\nWWW-Authenticate: Bearer "
			    "authorization_uri=https://login.microsoftonline.com/72f988bf-0000-4000-8000-000000000001/oauth2/authorize "
			    "resource_id=https://storage.azure.com", NULL);
		CHECK_U64(azure_get(&s), ERR_AUTH);
		CHECK((strstr(azure.r.err.hint, "belongs to tenant 72f988bf-0000-4000-8000-000000000001") != NULL) == (ours == 0));
		azure_end();
	}
	azure_begin(""); /* the clock of the rig says 18 November 2026 */
	scripted_expect(azure.r.http, "GET", AZURE_NAME, 403, "x-ms-error-code: AuthenticationFailed\nDate: Fri, 20 Nov 2026 10:00:00 GMT", NULL);
	CHECK_U64(azure_get(&s), ERR_AUTH);
	CHECK(strstr(azure.r.err.hint, "behind the server's") != NULL);
	azure_end();
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){
	    { "refuses", refuses },
	    { "knows_timeouts", knows_timeouts },
	    { "knows where it is", knows_where_it_is },
	    { "knows workspaces", knows_workspaces },
	    { "completes names", completes_names },
	    { "lists a key and its workspaces", lists_a_key_and_its_workspaces },
	    { "names that are not safe are refused", names_that_are_not_safe_are_refused },
	    { "a place holder is no state", a_place_holder_is_no_state },
	    { "a write keeps the metadata and the words of the lock", a_write_keeps_the_metadata_and_the_words_of_the_lock },
	    { "a blob without MD5 goes by its ETag", a_blob_without_md5_goes_by_its_etag },
	    { "bytes that do not fit their MD5 are refused", bytes_that_do_not_fit_their_md5_are_refused },
	    { "snapshots are made of what is replaced", snapshots_are_made_of_what_is_replaced },
	    { "a token signs every URL", a_token_signs_every_url },
	    { "a missing container is made", a_missing_container_is_made },
	    { "leases that exclude nobody are found", leases_that_exclude_nobody_are_found },
	    { "refusals say what to do", refusals_say_what_to_do },
	    { NULL, NULL } });
}
