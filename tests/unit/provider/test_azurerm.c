/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "../../lib/fake_azure.h"
#include "../../lib/provider_rig.h"
#include "../../lib/test.h"
#include "base/encode.h"

/* What the suite of all providers does not ask of Azure Blob Storage. */

#define STATE   "{\"version\":4,\"serial\":1,\"lineage\":\"l\",\"outputs\":{},\"resources\":[]}"
#define NAME    "x.tfstate"
#define OTHERS  "9c1f4f0e-52ab-7d10-a3c4-5b1d2c3e4f50"
#define STRANGE "11111111-52ab-7d10-a3c4-5b1d2c3e4f50"

static struct provider_rig r;
static struct fake_azure  *fake;
static struct state_ref    ref = { NAME };

static const char *
block(const char *more)
{
	static char text[1000];

	snprintf(text, sizeof(text), "backend \"azurerm\" \"b\" {\n  storage_account_name = \"" FAKE_AZURE_ACCOUNT "\"\n  container_name = \""
	    FAKE_AZURE_CONTAINER "\"\n%s}\n", more);
	return text;
}

static void
begin(const char *more)
{
	char text[400];

	snprintf(text, sizeof(text), "  access_key = \"" FAKE_AZURE_KEY "\"\n%s", more);
	provider_rig_open(&r, false, block(text));
	fake = fake_azure_behind(r.http);
}

static void
end(void)
{
	fake_azure_free(fake);
	provider_rig_close(&r);
}

static enum err_code
put(const char *text, enum put_if when, const char *etag, const struct lock_info *lock, char ret[ETAG_MAX])
{
	struct snapshot      s = { 0 };
	struct body         *body = body_copy(span_str(text));
	struct put_condition c = { .when = when, .etag = etag, .lock = lock };
	enum err_code        code;

	CHECK(snapshot_of(&s, body, NULL) == ERR_OK);
	code = provider_rig_run(&r, provider_put(r.b, &ref, &s, &c, ret));
	snapshot_free(&s);
	body_unref(body);
	return code;
}

static enum err_code
get(struct snapshot *ret)
{
	memset(ret, 0, sizeof(*ret));
	return provider_rig_run(&r, provider_get(r.b, &ref, NULL, ret));
}

static enum err_code
lock(struct lock_info *l)
{
	struct lock_info holder;

	provider_lock_new(r.b, &ref, "", l);
	return provider_rig_run(&r, provider_lock(r.b, &ref, l, &holder));
}

static enum err_code
unlock(const struct lock_info *l)
{
	return provider_rig_run(&r, provider_unlock(r.b, &ref, l));
}

/* One request fails; it may be one of these. */
static void
unlock_at_last(const struct lock_info *l)
{
	if (unlock(l) != ERR_OK)
		CHECK_U64(unlock(l), ERR_OK);
}

static enum err_code
peek(struct lock_info *ret)
{
	return provider_rig_run(&r, provider_lock_peek(r.b, &ref, ret));
}

/* As terraform writes it. */
static void
words_of(const char *id)
{
	struct lock_info l = { .operation = "OperationTypeApply", .who = "ann@desk", .version = "1.11.4", .created = "2026-11-22T00:44:48.9Z" };
	struct buf       body, text;

	snprintf(l.id, sizeof(l.id), "%s", id);
	buf_init(&body, 0);
	buf_init(&text, 0);
	lock_info_body(&l, &body);
	base64_encode(buf_span(&body), &text);
	fake_azure_set_meta(fake, NAME, "terraformlockid", buf_str(&text));
	buf_free(&body);
	buf_free(&text);
}

static bool
nothing_locked(void)
{
	return fake_azure_leases(fake) == 0 && fake_azure_meta(fake, NAME, "terraformlockid")[0] == '\0';
}

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
		{ "  access_key = \"YQ==\"\n  key = \"a?b\"\n", "key" },
		{ "  access_key = \"YQ==\"\n  key = \"a%zz\"\n", "key" },
		{ "  access_key = \"YQ==\"\n  key = \"a/../b\"\n", "key" },
		{ "  access_key = \"YQ==\"\n  key = \"a\"\n  prefix = \"b/\"\n", "not both" },
		{ "  access_key = \"YQ==\"\n  environment = \"moon\"\n", "environment" },
		{ "  access_key = \"YQ==\"\n  blob_endpoint = \"https://u:canary@h/\"\n", "blob_endpoint" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const char *says = provider_rig_refuses(block(rows[i].text));

		if (says == NULL || strstr(says, rows[i].says) == NULL)
			test_fail(__FILE__, __LINE__, "row %zu: %s", i, says != NULL ? says : "taken");
		CHECK(says == NULL || strstr(says, "canary") == NULL);
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
		begin(rows[i][0]);
		CHECK_STR(r.b->where, rows[i][1]);
		CHECK(((provider_caps(r.b) & PROVIDER_LOCK_UNPROVEN) != 0) == (i == 2));
		end();
	}
}

static void
knows_workspaces(void)
{
	static const char *const rows[][3] = { { "", "a.tfstate", "default" }, { "", "a.tfstateenv:dev", "dev" },
		{ "", "a.tfstateenv:b/c.tfstate", "default" }, { "  key = \"k\"\n", "k", "default" }, { "  key = \"k\"\n", "kenv:w", "w" } };
	struct buf text;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		begin(rows[i][0]);
		buf_init(&text, 0);
		provider_workspace(r.b, rows[i][1], &text);
		CHECK_STR(buf_str(&text), rows[i][2]);
		buf_reset(&text);
		if (provider_fixed(r.b, rows[i][2], &text))
			CHECK_STR(buf_str(&text), rows[i][1]);
		buf_free(&text);
		end();
	}
}

/* A replica of a workspace's state keeps its name. */
static void
completes_names(void)
{
	static const char *const rows[][2] = { { "a", "a.tfstate" }, { "a.tfstate", "a.tfstate" }, { "a.tfstateenv:dev", "a.tfstateenv:dev" },
		{ "a.tfstateenv:", "a.tfstateenv:.tfstate" }, { "aenv:dev", "aenv:dev.tfstate" } };
	struct buf text;

	begin("");
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		buf_init(&text, 0);
		buf_puts(&text, rows[i][0]);
		provider_complete(r.b, r.b, &text);
		CHECK_STR(buf_str(&text), rows[i][1]);
		buf_free(&text);
	}
	end();
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

	begin("  key = \"k\"\n");
	for (size_t i = 0; i < ARRAY_LEN(blobs); i++)
		fake_azure_put(fake, blobs[i], span_str(STATE));
	fake_azure_put(fake, "kenv:empty", span_str(""));
	fake_azure_set_lease(fake, "kenv:b", OTHERS);
	fake->page = 2;
	buf_init(&names, 0);
	CHECK_U64(provider_rig_run(&r, provider_list(r.b, saw_name, &names)), ERR_OK);
	CHECK_STR(buf_str(&names), "k kenv:a kenv:b* ");
	buf_free(&names);
	end();
}

static void
names_that_are_not_safe_are_refused(void)
{
	static const char *const names[] = { "a\\b.tfstate", "a./b.tfstate", "b.tfstate." };
	char                     etag[ETAG_MAX];
	struct lock_info         l;

	begin("");
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		ref.name = names[i];
		CHECK_U64(put(STATE, PUT_ABSENT, NULL, NULL, etag), ERR_UNSUPPORTED);
		CHECK_U64(lock(&l), ERR_UNSUPPORTED);
	}
	ref.name = NAME;
	CHECK_U64(scripted_http_count(r.http), 0);
	end();
}

/* --- the place holder, and the metadata that is others' --- */

static void
a_place_holder_is_no_state(void)
{
	struct lock_info l;
	struct snapshot  s;
	struct state_tag tag;
	char             etag[ETAG_MAX];

	begin("");
	CHECK_U64(lock(&l), ERR_OK);
	CHECK_U64(get(&s), ERR_NOT_FOUND);
	CHECK_U64(provider_rig_run(&r, provider_head(r.b, &ref, &tag)), ERR_NOT_FOUND);
	CHECK_U64(put(STATE, PUT_MATCH, "1B2M2Y8AsgTpgAmY7PhCfg==", &l, etag), ERR_CONFLICT);
	CHECK_U64(put(STATE, PUT_ABSENT, NULL, NULL, etag), ERR_LOCKED);
	CHECK_U64(put(STATE, PUT_ABSENT, NULL, &l, etag), ERR_OK);
	CHECK_U64(unlock(&l), ERR_OK);
	CHECK_U64(get(&s), ERR_OK);
	CHECK_STR(s.etag, etag); /* the lock's coming and going is no change */
	snapshot_free(&s);
	end();
}

static void
a_write_keeps_the_metadata_and_the_words_of_the_lock(void)
{
	struct lock_info l;
	char             etag[ETAG_MAX], words[8192];

	begin("");
	fake_azure_put(fake, NAME, span_str(STATE));
	fake_azure_set_meta(fake, NAME, "owner", "ann");
	CHECK_U64(lock(&l), ERR_OK);
	CHECK_STR(fake_azure_meta(fake, NAME, "owner"), "ann");
	snprintf(words, sizeof(words), "%s", fake_azure_meta(fake, NAME, "terraformlockid"));
	CHECK(words[0] != '\0');
	CHECK_U64(put(STATE " ", PUT_UNDER_LOCK, NULL, &l, etag), ERR_OK);
	CHECK_STR(fake_azure_meta(fake, NAME, "owner"), "ann");
	CHECK_STR(fake_azure_meta(fake, NAME, "terraformlockid"), words);
	CHECK_U64(unlock(&l), ERR_OK);
	CHECK_STR(fake_azure_meta(fake, NAME, "owner"), "ann");
	CHECK(nothing_locked());
	end();
}

static void
a_blob_without_md5_goes_by_its_etag(void)
{
	struct snapshot s;
	char            etag[ETAG_MAX];

	begin("");
	fake->without_md5 = true;
	fake_azure_put(fake, NAME, span_str(STATE));
	CHECK_U64(get(&s), ERR_OK);
	CHECK(strncmp(s.etag, "0x", 2) == 0);
	CHECK_U64(put(STATE " ", PUT_MATCH, s.etag, NULL, etag), ERR_OK);
	snapshot_free(&s);
	end();
}

static void
bytes_that_do_not_fit_their_md5_are_refused(void)
{
	struct snapshot s;

	begin("");
	for (int i = 0; i < 3; i++)
		scripted_expect(r.http, "GET", NAME, 200, "ETag: \"0x1\"\nx-ms-blob-type: BlockBlob\nContent-MD5: AAAAAAAAAAAAAAAAAAAAAA==", STATE);
	CHECK_U64(get(&s), ERR_CORRUPT);
	CHECK(s.body == NULL);
	scripted_expect(r.http, "GET", NAME, 200, "Content-Type: text/html", "<html>sign in</html>");
	CHECK_U64(get(&s), ERR_UNSUPPORTED);
	scripted_expect(r.http, "GET", NAME, 404, "Content-Type: text/html", "<html>not here</html>");
	CHECK(get(&s) != ERR_NOT_FOUND);
	end();
}

/* As terraform: of what is replaced, and under the lock. */
static void
snapshots_are_made_of_what_is_replaced(void)
{
	struct lock_info l;
	char             etag[ETAG_MAX];

	begin("  snapshot = true\n");
	CHECK_U64(lock(&l), ERR_OK);
	CHECK_U64(put(STATE, PUT_ABSENT, NULL, &l, etag), ERR_OK);
	CHECK_U64(fake->snapshots, 0);
	CHECK_U64(put(STATE " ", PUT_MATCH, etag, &l, etag), ERR_OK);
	CHECK_U64(fake->snapshots, 1);
	CHECK_U64(unlock(&l), ERR_OK);
	end();
}

static void
a_token_signs_every_url(void)
{
	struct lock_info l;
	char             etag[ETAG_MAX];

	provider_rig_open(&r, false, block("  sas_token = \"?sv=2023-11-03&sig=a%2Bb\"\n"));
	fake = fake_azure_behind(r.http);
	fake->signs_by_sas = true;
	CHECK_U64(lock(&l), ERR_OK);
	CHECK_U64(put(STATE, PUT_ABSENT, NULL, &l, etag), ERR_OK);
	CHECK_U64(unlock(&l), ERR_OK);
	CHECK(strstr(r.b->where, "sig=") == NULL);
	end();
}

static void
a_missing_container_is_made(void)
{
	struct snapshot s;

	begin("  create = true\n");
	fake->missing = true;
	CHECK_U64(get(&s), ERR_CONFIG);
	CHECK(strstr(r.err.hint, "create = true") != NULL);
	CHECK_U64(provider_rig_run(&r, provider_create(r.b)), ERR_OK);
	CHECK_U64(provider_rig_run(&r, provider_create(r.b)), ERR_OK);
	CHECK_U64(get(&s), ERR_NOT_FOUND);
	end();
}

/* --- the lock, whatever becomes of a request --- */

/* What was answered is so: held, in doubt and then released, or not held at all. */
static void
a_lock_is_ours_or_nobodys(void)
{
	struct lock_info l;

	for (int there = 0; there < 2; there++)
		for (unsigned n = 1; n <= 7; n++)
			for (enum scripted_fault f = SCRIPTED_LOST_BEFORE; f < SCRIPTED_FAULTS; f++) {
				enum err_code rc;

				begin("");
				if (there)
					fake_azure_put(fake, NAME, span_str(STATE));
				scripted_late(r.http, 100);
				scripted_fail(r.http, n, f);
				rc = lock(&l);
				if (rc == ERR_OK) {
					CHECK_STR(fake_azure_lease(fake, NAME), l.id);
					CHECK(fake_azure_meta(fake, NAME, "terraformlockid")[0] != '\0');
				} else if (rc != ERR_UNCERTAIN && fake_azure_leases(fake) != 0) {
					test_fail(__FILE__, __LINE__, "%s at request %u: %s, and it is held", scripted_fault_name(f), n, r.err.msg);
				}
				if (rc == ERR_OK || rc == ERR_UNCERTAIN)
					unlock_at_last(&l);
				if (!nothing_locked())
					test_fail(__FILE__, __LINE__, "%s at request %u: a lock is left", scripted_fault_name(f), n);
				end();
			}
}

static void
an_unlock_is_done_or_repeated(void)
{
	struct lock_info l;

	for (unsigned n = 1; n <= 4; n++)
		for (enum scripted_fault f = SCRIPTED_LOST_BEFORE; f < SCRIPTED_FAULTS; f++) {
			begin("");
			fake_azure_put(fake, NAME, span_str(STATE));
			CHECK_U64(lock(&l), ERR_OK);
			scripted_late(r.http, 100);
			scripted_fail(r.http, scripted_http_count(r.http) + n, f);
			if (unlock(&l) == ERR_OK && !nothing_locked())
				test_fail(__FILE__, __LINE__, "%s at request %u: said to be released", scripted_fault_name(f), n);
			unlock_at_last(&l);
			CHECK(nothing_locked());
			end();
		}
}

/* And told to be late, when the request may still arrive. */
static void
a_lease_whose_answer_is_lost_is_asked_for_again(void)
{
	struct lock_info l;

	begin("");
	fake_azure_put(fake, NAME, span_str(STATE));
	scripted_fail(r.http, 1, SCRIPTED_LOST_ANSWER);
	CHECK_U64(lock(&l), ERR_OK);
	CHECK(l.late);
	CHECK_STR(fake_azure_lease(fake, NAME), l.id);
	CHECK_U64(unlock(&l), ERR_OK);
	end();
}

/* Terraform's own first lock has no condition. */
static void
the_first_lock_wipes_nothing(void)
{
	struct lock_info l;
	struct span      there;

	begin("");
	fake_azure_put(fake, NAME, span_str(STATE)); /* came after the answer below */
	scripted_expect(r.http, "PUT", "comp=lease", 404, "x-ms-error-code: BlobNotFound", NULL);
	CHECK_U64(lock(&l), ERR_OK);
	CHECK(fake_azure_get(fake, NAME, &there) && span_is(there, STATE));
	CHECK_U64(unlock(&l), ERR_OK);
	end();
}

/* The lease is ours, but its words are refused: then rather no lock. */
static void
a_lock_that_nobody_could_read_is_let_go(void)
{
	struct lock_info l;
	struct snapshot  s;
	char             etag[ETAG_MAX];

	begin("");
	fake_azure_put(fake, NAME, span_str(STATE));
	for (int i = 0; i < 10; i++) {
		char key[16];

		snprintf(key, sizeof(key), "m%d", i);
		fake_azure_set_meta(fake, NAME, key, "v");
	}
	CHECK_U64(lock(&l), ERR_UNSUPPORTED);
	CHECK(strstr(r.err.msg, "metadata") != NULL);
	CHECK_U64(fake_azure_leases(fake), 0);
	scripted_fail(r.http, scripted_http_count(r.http) + 1, SCRIPTED_LATE); /* the lease that was let go may come once more */
	CHECK_U64(lock(&l), ERR_UNCERTAIN);
	CHECK(strstr(r.err.msg, "metadata") != NULL);
	unlock_at_last(&l);
	CHECK_U64(put(STATE " ", PUT_UNDER_LOCK, NULL, NULL, etag), ERR_UNSUPPORTED);
	CHECK_U64(get(&s), ERR_OK);
	snapshot_free(&s);
	words_of(OTHERS);
	fake_azure_set_lease(fake, NAME, OTHERS);
	CHECK_U64(peek(&l), ERR_OK);
	CHECK_U64(unlock(&l), ERR_OK);
	CHECK_U64(fake_azure_leases(fake), 0);
	CHECK_STR(fake_azure_meta(fake, NAME, "m9"), "v");
	end();
}

static void
a_lock_that_was_broken_writes_nothing(void)
{
	struct lock_info l;
	struct span      there;
	char             etag[ETAG_MAX];

	begin("");
	fake_azure_put(fake, NAME, span_str(STATE));
	CHECK_U64(lock(&l), ERR_OK);
	fake_azure_set_lease(fake, NAME, "");
	CHECK_U64(put(STATE " ", PUT_UNDER_LOCK, NULL, &l, etag), ERR_CONFLICT);
	fake_azure_set_lease(fake, NAME, OTHERS);
	CHECK_U64(put(STATE " ", PUT_UNDER_LOCK, NULL, &l, etag), ERR_CONFLICT);
	CHECK_U64(unlock(&l), ERR_OK);
	CHECK_STR(fake_azure_lease(fake, NAME), OTHERS);
	CHECK(fake_azure_get(fake, NAME, &there) && span_is(there, STATE));
	end();
}

/* --- others' locks --- */

static void
a_foreign_lock_goes_by_its_id(void)
{
	struct lock_info l, holder, other = { .id = STRANGE };

	begin("");
	fake_azure_put(fake, NAME, span_str(STATE));
	words_of(OTHERS);
	CHECK_U64(peek(&holder), ERR_NOT_FOUND); /* words alone are no lock */
	fake_azure_set_lease(fake, NAME, OTHERS);
	CHECK_U64(peek(&holder), ERR_OK);
	CHECK_STR(holder.id, OTHERS);
	CHECK(!holder.unnamed);
	CHECK_STR(holder.who, "ann@desk");
	CHECK_U64(lock(&l), ERR_LOCKED);
	CHECK(strstr(r.err.msg, "ann@desk") != NULL);
	CHECK_U64(unlock(&other), ERR_OK);
	CHECK_STR(fake_azure_lease(fake, NAME), OTHERS); /* another id: it stays */
	CHECK_U64(unlock(&holder), ERR_OK);
	CHECK(nothing_locked());
	end();
}

static void
a_lease_without_words_goes_by_the_etag(void)
{
	struct lock_info l, holder, old;

	begin("");
	fake_azure_put(fake, NAME, span_str(STATE));
	fake_azure_set_lease(fake, NAME, STRANGE);
	CHECK_U64(lock(&l), ERR_LOCKED);
	CHECK_U64(peek(&old), ERR_OK);
	CHECK(strncmp(old.id, "0x", 2) == 0 && old.unnamed);
	words_of(OTHERS); /* those of a lease that was broken: not this one's */
	CHECK_U64(peek(&holder), ERR_OK);
	CHECK(strncmp(holder.id, "0x", 2) == 0 && strcmp(holder.id, old.id) != 0);
	CHECK_U64(unlock(&old), ERR_OK);
	CHECK_STR(fake_azure_lease(fake, NAME), STRANGE); /* it is not the blob that was seen */
	CHECK_U64(unlock(&holder), ERR_OK);
	CHECK_STR(fake_azure_lease(fake, NAME), "");
	end();
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
		begin("");
		fake->lets_all_in = all != 0;
		useless = false;
		CHECK_U64(provider_rig_run(&r, provider_probe(r.b, saw_check, NULL)), ERR_OK);
		CHECK(useless == (all != 0));
		CHECK_U64(fake_azure_leases(fake), 0);
		end();
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
		begin("");
		snprintf(header, sizeof(header), "x-ms-error-code: %s", rows[i].code);
		scripted_expect(r.http, "GET", NAME, rows[i].status, header, NULL);
		CHECK_U64(get(&s), rows[i].rc);
		if (strstr(r.err.msg, rows[i].says) == NULL && strstr(r.err.hint, rows[i].says) == NULL)
			test_fail(__FILE__, __LINE__, "%s; %s", r.err.msg, r.err.hint);
		CHECK(strstr(r.err.msg, "dGVzdCBr") == NULL);
		end();
	}
	begin(""); /* the clock of the rig says 18 November 2026 */
	scripted_expect(r.http, "GET", NAME, 403, "x-ms-error-code: AuthenticationFailed\nDate: Fri, 20 Nov 2026 10:00:00 GMT", NULL);
	CHECK_U64(get(&s), ERR_AUTH);
	CHECK(strstr(r.err.hint, "behind the server's") != NULL);
	end();
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){ { "refuses", refuses }, { "knows where it is", knows_where_it_is },
	    { "knows workspaces", knows_workspaces }, { "completes names", completes_names },
	    { "lists a key and its workspaces", lists_a_key_and_its_workspaces },
	    { "names that are not safe are refused", names_that_are_not_safe_are_refused },
	    { "a place holder is no state", a_place_holder_is_no_state },
	    { "a write keeps the metadata and the words of the lock", a_write_keeps_the_metadata_and_the_words_of_the_lock },
	    { "a blob without MD5 goes by its ETag", a_blob_without_md5_goes_by_its_etag },
	    { "bytes that do not fit their MD5 are refused", bytes_that_do_not_fit_their_md5_are_refused },
	    { "snapshots are made of what is replaced", snapshots_are_made_of_what_is_replaced },
	    { "a token signs every URL", a_token_signs_every_url }, { "a missing container is made", a_missing_container_is_made },
	    { "a lock is ours or nobody's", a_lock_is_ours_or_nobodys }, { "an unlock is done or repeated", an_unlock_is_done_or_repeated },
	    { "a lease whose answer is lost is asked for again", a_lease_whose_answer_is_lost_is_asked_for_again },
	    { "the first lock wipes nothing", the_first_lock_wipes_nothing },
	    { "a lock that nobody could read is let go", a_lock_that_nobody_could_read_is_let_go },
	    { "a lock that was broken writes nothing", a_lock_that_was_broken_writes_nothing },
	    { "a foreign lock goes by its ID", a_foreign_lock_goes_by_its_id },
	    { "a lease without words goes by the ETag", a_lease_without_words_goes_by_the_etag },
	    { "leases that exclude nobody are found", leases_that_exclude_nobody_are_found },
	    { "refusals say what to do", refusals_say_what_to_do }, { NULL, NULL } });
}
