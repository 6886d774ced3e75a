/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "../../lib/fake_harness.h"
#include "../../lib/provider_rig.h"
#include "../../lib/test.h"

/* Harness IaCM, call by call (docs/protocol/harness.md). */
#define ACCOUNT FAKE_HARNESS_ACCOUNT
#define STATE_OF(ws) FAKE_HARNESS_BASE "/workspaces/" ws "/terraform-backend"
#define IDS "  account_id = \"" ACCOUNT "\"\n  org_id = \"acme\"\n  project_id = \"net\"\n"
#define BLOCK(more) "backend \"harness\" \"b\" {\n" IDS "  api_key = \"" FAKE_HARNESS_KEY "\"\n" more "}\n"
#define PASTED(more) \
	"backend \"harness\" \"b\" {\n  address = \"" STATE_OF("vpc") "?accountIdentifier=" ACCOUNT "\"\n" \
	"  lock_address = \"" STATE_OF("vpc") "/lock?accountIdentifier=" ACCOUNT "\"\n  lock_method = \"POST\"\n" \
	"  unlock_address = \"" STATE_OF("vpc") "/lock?accountIdentifier=" ACCOUNT "\"\n  unlock_method = \"DELETE\"\n" \
	"  username = \"harness\"\n" more "}\n"

static const char           body[] = "{\"version\":4,\"serial\":3,\"lineage\":\"l\",\"outputs\":{},\"resources\":[]}\n";
static struct provider_rig  r;
static struct fake_harness *v;
static struct fake_workspace *vpc;
static struct state_ref     ref = { "vpc" };
static struct snapshot      snap;
static struct lock_info     mine, holder;

static void
begin(const char *block)
{
	provider_rig_open(&r, false, block);
	v = fake_harness_behind(r.http);
	vpc = fake_harness_add(v, "vpc");
	provider_lock_new(r.b, &ref, "test", &mine);
}

static void
end(void)
{
	snapshot_free(&snap);
	CHECK_U64(v->wrong, 0);
	CHECK(strstr(r.err.msg, "CANARY") == NULL && strstr(scripted_http_trace(r.http), "CANARY") == NULL);
	scripted_http_check(r.http);
	fake_harness_free(v);
	provider_rig_close(&r);
}

static enum err_code
get(const char *unless)
{
	snapshot_free(&snap);
	return provider_rig_run(&r, provider_get(r.b, &ref, unless, &snap));
}

/* Named, but not there, or there and empty, or not to be seen: a state is missing only where the workspace is known. */
static void
tells_a_missing_workspace_from_an_empty_one(void)
{
	begin(BLOCK("  workspaces = [\"vpc\", \"gone\"]\n"));
	CHECK(get(NULL) == ERR_NOT_FOUND);
	CHECK(provider_rig_run(&r, provider_get(r.b, &(struct state_ref){ "gone" }, NULL, &snap)) == ERR_CONFIG);
	CHECK(strstr(r.err.msg, "no workspace gone") != NULL && strstr(r.err.hint, "make the workspace in Harness") != NULL);
	scripted_expect(r.http, "GET", "/workspaces/vpc/terraform-backend", 404, NULL, "{}");
	scripted_expect(r.http, "GET", "/workspaces/vpc?accountIdentifier", 403, NULL, "{\"message\":\"no\"}");
	CHECK(get(NULL) == ERR_NOT_FOUND);
	end();
}

static enum err_code
put(void)
{
	char etag[ETAG_MAX];

	return provider_rig_put(&r, &ref, span_str(body), &(struct put_condition){ PUT_UNDER_LOCK, NULL, &mine }, etag);
}

static enum err_code
lock(void)
{
	return provider_rig_run(&r, provider_lock(r.b, &ref, &mine, &holder));
}

static enum err_code
unlock(const struct lock_info *l)
{
	return provider_rig_run(&r, provider_unlock(r.b, &ref, l));
}

static enum err_code
peek(void)
{
	return provider_rig_run(&r, provider_lock_peek(r.b, &ref, &holder));
}

static void
refuses(const char *block, const char *word)
{
	const char *said = provider_rig_refuses(block);

	if (said == NULL || strstr(said, word) == NULL)
		test_fail(__FILE__, __LINE__, "%s: %s, not \"%s\"", block, said != NULL ? said : "taken", word);
	CHECK(said == NULL || strstr(said, "CANARY") == NULL);
}

static void
settings(void)
{
	refuses("backend \"harness\" \"b\" {\n  org_id = \"acme\"\n  project_id = \"net\"\n  api_key = \"k\"\n}\n", "account_id is missing");
	refuses("backend \"harness\" \"b\" {\n  account_id = \"a\"\n  project_id = \"net\"\n  api_key = \"k\"\n}\n", "org_id is missing");
	refuses("backend \"harness\" \"b\" {\n" IDS "}\n", "no API key");
	refuses("backend \"harness\" \"b\" {\n" IDS "  password = \"CANARY\"\n}\n", "no API key"); /* of some other backend */
	refuses("backend \"harness\" \"b\" {\n  account_id = \"a\"\n  org_id = \"My Org\"\n  project_id = \"p\"\n  api_key = \"k\"\n}\n",
	    "org_id is an identifier");
	refuses(BLOCK("  workspaces = [\"prod/vpc\"]\n"), "identifiers");
	refuses(BLOCK("  prefix = \"x/\"\n"), "prefix");
	refuses(BLOCK("  create = true\n"), "create");
	refuses(BLOCK("  lock_method = \"POST\"\n"), "lock_method goes with address");
	refuses(BLOCK("  retry_max = 101\n"), "retry_max");
	refuses(PASTED("  password = \"p\"\n  org_id = \"acme\"\n"), "org_id is what address says");
	refuses("backend \"harness\" \"b\" {\n  address = \"https://state.example.com/prod\"\n  api_key = \"k\"\n}\n", "not that of a Harness");
	refuses("backend \"harness\" \"b\" {\n  address = \"" STATE_OF("vpc") "?accountIdentifier=" ACCOUNT "&x=1\"\n  api_key = \"k\"\n}\n",
	    "not that of a Harness");
	refuses("backend \"harness\" \"b\" {\n  address = \"" STATE_OF("vpc") "?accountIdentifier=" ACCOUNT "\"\n  api_key = \"k\"\n"
	    "  lock_address = \"" STATE_OF("web") "/lock?accountIdentifier=" ACCOUNT "\"\n}\n", "lock_address is not the one");
	refuses("backend \"harness\" \"b\" {\n  address = \"" STATE_OF("vpc") "?accountIdentifier=" ACCOUNT "\"\n  api_key = \"k\"\n"
	    "  unlock_method = \"UNLOCK\"\n}\n", "unlock_method is not the one");
}

static unsigned        seen;
static char            names[256];
static struct map     *told;

static void
saw(void *arg, const struct state_seen *s)
{
	(void)arg;
	seen++;
	CHECK_STR(s->etag, "");
	CHECK(map_put(told, span_str(s->name), told) == NULL); /* once each */
	snprintf(names + strlen(names), sizeof(names) - strlen(names), " %s%s", s->name, s->problem != NULL ? "!" : "");
}

static enum err_code
list(void)
{
	enum err_code rc;

	seen = 0;
	names[0] = '\0';
	told = map_new();
	rc = provider_rig_run(&r, provider_list(r.b, saw, NULL));
	map_free(told);
	return rc;
}

static void
move_last_to_front(struct fake_harness *h)
{
	fake_harness_put(h, "vpc", span_str(body));
}

static void
lists(void)
{
	begin(BLOCK(""));
	CHECK_U64(list(), ERR_OK);
	CHECK_STR(names, " vpc");
	CHECK_U64(scripted_http_count(r.http), 1);
	for (int i = 0; i < 6; i++) {
		char name[8];

		snprintf(name, sizeof(name), "w%d", i);
		fake_harness_add(v, name);
	}
	v->page = 3;
	v->lists = 0;
	CHECK_U64(list(), ERR_OK);
	CHECK_U64(seen, 7);
	CHECK_U64(v->lists, 4);          /* three pages, and the first again */
	v->between = move_last_to_front; /* the oldest is on the last page, until it changes while the first was read */
	CHECK_U64(list(), ERR_OK);
	CHECK_U64(seen, 7);
	fake_harness_add(v, "not/one");
	v->page = 100;
	CHECK_U64(list(), ERR_OK);
	CHECK(strstr(names, " not/one!") != NULL);
	end();

	begin(BLOCK("  workspaces = [\"vpc\", \"web\"]\n")); /* nothing has to be asked */
	CHECK_U64(list(), ERR_OK);
	CHECK_STR(names, " vpc web");
	CHECK_U64(scripted_http_count(r.http), 0);
	end();
}

static void
no_listing(void)
{
	static const struct { int status; const char *headers, *answer; enum err_code want; const char *word; } rows[] = {
		{ 200, NULL, "<html>sign in</html>", ERR_UNSUPPORTED, "not one of Harness" },
		{ 200, NULL, "", ERR_UNSUPPORTED, "not one of Harness" },
		{ 200, NULL, "{\"identifier\":\"vpc\"}", ERR_UNSUPPORTED, "not one of Harness" },
		{ 200, NULL, "[1,2]", ERR_UNSUPPORTED, "not one of Harness" },
		{ 200, NULL, "[{\"identifier\":\"vpc\"", ERR_UNSUPPORTED, "not one of Harness" },
		{ 401, NULL, NULL, ERR_AUTH, "401" },
		{ 403, NULL, "{\"name\":\"forbidden\",\"id\":\"x1\",\"message\":\"account identifier mismatch\"}", ERR_AUTH,
		    "account identifier mismatch, incident x1" },
		{ 404, NULL, "{\"message\":\"no project\"}", ERR_NOT_FOUND, "no project" },
		{ 403, NULL, "{\"message\":\"token " FAKE_HARNESS_KEY " is bad\"}", ERR_AUTH, "403" }, /* the test's end looks for the key */
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		begin(BLOCK(""));
		scripted_expect(r.http, "GET", "/workspaces?", rows[i].status, rows[i].headers, rows[i].answer);
		CHECK_U64(list(), rows[i].want);
		if (strstr(r.err.msg, rows[i].word) == NULL)
			test_fail(__FILE__, __LINE__, "row %zu: %s", i, r.err.msg);
		CHECK(r.err.hint[0] != '\0');
		end();
	}
}

static void
reads_by_checksum(void)
{
	char tag[ETAG_MAX];

	begin(BLOCK(""));
	CHECK_U64(get(NULL), ERR_NOT_FOUND);
	fake_harness_put(v, "vpc", span_str(body));
	CHECK_U64(get(NULL), ERR_OK);
	CHECK(span_eq(body_span(snap.body), span_str(body)));
	snprintf(tag, sizeof(tag), "%s", snap.etag);
	CHECK_U64(strlen(tag), 64);
	v->reads = 0;
	CHECK_U64(get(tag), ERR_UNCHANGED);
	CHECK_U64(v->reads, 0);
	for (unsigned turn = 1; turn < 30; turn++) { /* stopped anywhere, it is stopped or done */
		enum err_code rc;

		snapshot_free(&snap);
		rc = provider_rig_run_cancelled(&r, provider_get(r.b, &ref, turn % 2 == 0 ? tag : "other", &snap), turn);
		CHECK(rc == ERR_CANCELLED || rc == (turn % 2 == 0 ? ERR_UNCHANGED : ERR_OK));
	}
	fake_harness_put(v, "vpc", span_str("{\"version\":4,\"serial\":4,\"lineage\":\"l\"}\n"));
	CHECK_U64(get(tag), ERR_OK);
	CHECK_U64(snap.info.serial, 4);
	v->hides_docs = true; /* who may not ask may still read */
	snprintf(tag, sizeof(tag), "%s", snap.etag);
	v->reads = 0;
	CHECK_U64(get(tag), ERR_UNCHANGED);
	CHECK_U64(v->reads, 1);
	end();

	begin(BLOCK("")); /* a checksum of something else is found out, and asked no more */
	fake_harness_put(v, "vpc", span_str(body));
	vpc->odd_sum = true;
	CHECK_U64(get(NULL), ERR_OK);
	snprintf(tag, sizeof(tag), "%s", snap.etag);
	for (unsigned i = 0; i < 5; i++)
		CHECK_U64(get(tag), ERR_UNCHANGED);
	CHECK_U64(v->docs, 3);
	CHECK_U64(v->reads, 6);
	end();
}

/* What the listing says has not changed is asked about now and then; and always, once a change did not show there. */
static void
quiet(void)
{
	char    tag[ETAG_MAX];
	int64_t was;

	begin(BLOCK(""));
	fake_harness_put(v, "vpc", span_str(body));
	CHECK_U64(list(), ERR_OK);
	CHECK_U64(get(NULL), ERR_OK);
	snprintf(tag, sizeof(tag), "%s", snap.etag);
	for (unsigned i = 0; i < 3; i++)
		CHECK_U64(get(tag), ERR_UNCHANGED);
	CHECK_U64(v->docs, 1);
	vpc->updated = ++v->now; /* a setting */
	CHECK_U64(list(), ERR_OK);
	CHECK_U64(get(tag), ERR_UNCHANGED);
	CHECK_U64(get(tag), ERR_UNCHANGED);
	CHECK_U64(v->docs, 2);
	fake_harness_put(v, "vpc", span_str("{\"version\":4,\"serial\":4,\"lineage\":\"l\"}\n"));
	CHECK_U64(list(), ERR_OK);
	scripted_fail(r.http, scripted_http_count(r.http) + 2, SCRIPTED_CUT); /* seen, and not read */
	scripted_fail(r.http, scripted_http_count(r.http) + 3, SCRIPTED_CUT);
	scripted_fail(r.http, scripted_http_count(r.http) + 4, SCRIPTED_CUT);
	CHECK_U64(get(tag), ERR_NETWORK);
	CHECK_U64(get(tag), ERR_OK);
	CHECK_U64(get(tag), ERR_OK); /* as if what was read had not been kept */
	snprintf(tag, sizeof(tag), "%s", snap.etag);
	was = vpc->updated; /* and a push that the listing does not show */
	fake_harness_put(v, "vpc", span_str(body));
	vpc->updated = was;
	CHECK_U64(list(), ERR_OK);
	CHECK_U64(get(tag), ERR_UNCHANGED);
	CHECK_U64(provider_rig_run(&r, op_sleep(r.loop, 11 * 60 * 1000)), ERR_OK);
	CHECK_U64(get(tag), ERR_OK);
	CHECK_U64(snap.info.serial, 3);
	snprintf(tag, sizeof(tag), "%s", snap.etag);
	v->docs = 0;
	for (unsigned i = 0; i < 3; i++)
		CHECK_U64(get(tag), ERR_UNCHANGED);
	CHECK_U64(v->docs, 3);
	end();
}

static void
writes(void)
{
	begin(BLOCK(""));
	CHECK_U64(lock(), ERR_OK);
	CHECK_STR(vpc->lock, mine.id);
	CHECK_U64(put(), ERR_OK);
	CHECK(span_eq(body_span(vpc->body), span_str(body)));
	CHECK_U64(unlock(&mine), ERR_OK);
	CHECK_STR(vpc->lock, "");
	CHECK_U64(unlock(&mine), ERR_OK); /* twice */
	CHECK(provider_remark(r.b, "vpc") == NULL);
	vpc->prunes = true;
	CHECK_U64(lock(), ERR_OK);
	CHECK(strstr(provider_remark(r.b, "vpc"), "prune_sensitive_data") != NULL);
	CHECK_U64(unlock(&mine), ERR_OK);
	scripted_expect(r.http, "POST", "terraform-backend?ID=" , 423, NULL, "{\"id\":\"x\"}");
	CHECK_U64(put(), ERR_LOCKED);
	CHECK(provider_rig_run(&r, provider_del(r.b, &ref, NULL)) == ERR_UNSUPPORTED);
	CHECK(provider_rig_run(&r, provider_create(r.b)) == ERR_UNSUPPORTED);
	end();
}

static void
does_not_lock(void)
{
	begin(BLOCK(""));
	ref.name = "nowhere"; /* never made from here */
	CHECK_U64(lock(), ERR_CONFIG);
	CHECK(strstr(r.err.msg, "no workspace nowhere") != NULL && strstr(r.err.hint, "never done from here") != NULL);
	ref.name = "prod/vpc.tfstate";
	CHECK_U64(lock(), ERR_UNSUPPORTED);
	CHECK(strstr(r.err.hint, "alias") != NULL);
	ref.name = "vpc";
	snprintf(vpc->status, sizeof(vpc->status), "provisioning");
	CHECK_U64(lock(), ERR_LOCKED);
	CHECK(strstr(r.err.msg, "provisioning") != NULL);
	snprintf(vpc->status, sizeof(vpc->status), "failed");
	v->hides_docs = true; /* whether a run is at it cannot be seen */
	CHECK_U64(lock(), ERR_AUTH);
	CHECK(strstr(r.err.hint, "View") != NULL);
	v->hides_docs = false;
	snprintf(vpc->lock, sizeof(vpc->lock), "somebody-1");
	CHECK_U64(lock(), ERR_LOCKED);
	CHECK(strstr(r.err.msg, "incident " FAKE_HARNESS_INCIDENT) != NULL && strstr(r.err.hint, "Force Unlock") != NULL);
	CHECK(holder.unnamed && strcmp(holder.id, FAKE_HARNESS_INCIDENT) != 0);
	CHECK_U64(unlock(&mine), ERR_OK); /* ours is not there, and the other stays */
	CHECK_STR(vpc->lock, "somebody-1");
	end();
}

/* The answer to a lock is lost: a refusal of the next one does not say whose it is. */
static void
lock_doubt(void)
{
	begin(BLOCK("")); /* ours it was: unlocked, and taken again */
	scripted_fail(r.http, 2, SCRIPTED_LOST_ANSWER);
	CHECK_U64(lock(), ERR_OK);
	CHECK_STR(vpc->lock, mine.id);
	CHECK(mine.late);
	CHECK_U64(scripted_http_count(r.http), 5); /* workspace, lock, lock, unlock, lock */
	CHECK_U64(unlock(&mine), ERR_OK);
	end();

	begin(BLOCK("")); /* delivered twice: the second answer refuses us for the sake of the first */
	scripted_fail(r.http, 2, SCRIPTED_TWICE);
	CHECK_U64(lock(), ERR_OK);
	CHECK_STR(vpc->lock, mine.id);
	CHECK_U64(unlock(&mine), ERR_OK);
	CHECK_STR(vpc->lock, "");
	end();

	begin(BLOCK("")); /* another's, and it stays */
	snprintf(vpc->lock, sizeof(vpc->lock), "somebody-1");
	scripted_fail(r.http, 2, SCRIPTED_LOST_ANSWER);
	CHECK_U64(lock(), ERR_LOCKED);
	CHECK_STR(vpc->lock, "somebody-1");
	CHECK(mine.late);
	end();

	begin(BLOCK("")); /* no answer to that either */
	scripted_fail(r.http, 2, SCRIPTED_LOST_ANSWER);
	for (unsigned i = 4; i <= 6; i++)
		scripted_fail(r.http, i, SCRIPTED_LOST_REQUEST);
	CHECK_U64(lock(), ERR_UNCERTAIN);
	CHECK_STR(vpc->lock, mine.id);
	end();
}

static void
looks_at_locks(void)
{
	begin(BLOCK(""));
	CHECK_U64(peek(), ERR_NOT_FOUND);
	snprintf(vpc->lock, sizeof(vpc->lock), "somebody-1");
	CHECK_U64(peek(), ERR_OK);
	CHECK(holder.unnamed && holder.id[0] != '\0');
	CHECK_U64(unlock(&holder), ERR_OK); /* a person's word */
	CHECK_STR(vpc->lock, "");
	end();
}

/* The block that Harness makes for a workspace; the token as terraform has it. */
static void
pasted(void)
{
	struct buf name;

	begin(PASTED("  password = \"" FAKE_HARNESS_KEY "\"\n"));
	buf_init(&name, 0);
	CHECK(provider_fixed(r.b, "default", &name));
	CHECK_STR(buf_str(&name), "vpc");
	CHECK(!provider_fixed(r.b, "dev", &name));
	buf_free(&name);
	CHECK_U64(list(), ERR_OK);
	CHECK_STR(names, " vpc");
	CHECK_U64(lock(), ERR_OK);
	CHECK_U64(put(), ERR_OK);
	CHECK_U64(get(NULL), ERR_OK);
	CHECK_U64(unlock(&mine), ERR_OK);
	CHECK(strstr(r.b->where, "CANARY") == NULL && strstr(r.b->where, ACCOUNT) != NULL);
	end();
	begin(PASTED("  api_key = \"" FAKE_HARNESS_KEY "\"\n  workspaces = [\"web\", \"vpc\"]\n")); /* and others of the project */
	CHECK_U64(list(), ERR_OK);
	CHECK_STR(names, " web vpc");
	CHECK_U64(get(NULL), ERR_NOT_FOUND);
	end();
}

/* The same block as it is, of type http: the dialect is known by its address. */
static void
as_http(void)
{
	static const char block[] = "backend \"http\" \"b\" {\n  address = \"" STATE_OF("vpc") "?accountIdentifier=" ACCOUNT "\"\n"
	    "  lock_address = \"" STATE_OF("vpc") "/lock?accountIdentifier=" ACCOUNT "\"\n  lock_method = \"POST\"\n"
	    "  unlock_address = \"" STATE_OF("vpc") "/lock?accountIdentifier=" ACCOUNT "\"\n  unlock_method = \"DELETE\"\n"
	    "  username = \"harness\"\n  password = \"" FAKE_HARNESS_KEY "\"\n}\n";

	ref.name = "default";
	begin(block);
	CHECK_U64(lock(), ERR_OK);
	CHECK_U64(put(), ERR_OK);
	CHECK_U64(get(NULL), ERR_OK);
	CHECK_U64(unlock(&mine), ERR_OK);
	snprintf(vpc->lock, sizeof(vpc->lock), "somebody-1");
	CHECK_U64(lock(), ERR_LOCKED);
	CHECK_STR(holder.id, ""); /* an incident is no lock */
	end();
	ref.name = "vpc";
}

/* --- older states --- */

static bool
note(void *arg, const struct version_seen *x)
{
	buf_printf(arg, "%s%s/%lld ", x->id, x->latest ? "*" : "", (long long)x->modified);
	return true;
}

/* Among plans and whatever else there is: of the current state's kind, if the workspace tells which that is. */
static void
older_states(void)
{
	static const struct {
		const char *workspace, *says;
	} rows[] = {
		{ "{\"identifier\":\"vpc\",\"terraform_state\":\"d3\"}", "d3*/3000 d1/1000 " },
		{ "{\"identifier\":\"vpc\",\"terraform_state\":\"gone\"}", "d3/3000 d2/2000 d1/1000 " },
		{ "{\"identifier\":\"vpc\"}", "d3/3000 d2/2000 d1/1000 " },
	};
	struct buf line;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		begin(BLOCK(""));
		buf_init(&line, 0);
		scripted_expect(r.http, "GET", "/workspaces/vpc?", 200, "", rows[i].workspace);
		scripted_expect(r.http, "GET", "/workspaces/vpc/data?accountIdentifier=" ACCOUNT "&limit=1000&page=1", 200, "x-total-pages: 2",
		    "[{\"id\":\"d1\",\"data_type\":\"s\",\"created\":1000},{\"id\":\"d2\",\"data_type\":\"plan\",\"created\":2000}]");
		scripted_expect(r.http, "GET", "page=2", 200, "x-total-pages: 2", "[{\"id\":\"d3\",\"data_type\":\"s\",\"created\":3000}]");
		CHECK_OK(provider_rig_run(&r, provider_history(r.b, &ref, note, &line)), r.err);
		CHECK_STR(buf_str(&line), rows[i].says);
		buf_free(&line);
		end();
	}
	begin(BLOCK(""));
	scripted_expect(r.http, "GET", "/workspaces/vpc/data/d1?accountIdentifier=" ACCOUNT, 200, "", body);
	CHECK_OK(provider_rig_run(&r, provider_get_version(r.b, &ref, "d1", &snap)), r.err);
	CHECK(span_is(body_span(snap.body), body));
	snapshot_free(&snap);
	scripted_expect(r.http, "GET", "/workspaces/vpc/data/d2?", 200, "", "PK a plan");
	CHECK_U64(provider_rig_run(&r, provider_get_version(r.b, &ref, "d2", &snap)), ERR_NOT_FOUND);
	end();
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){ { "settings", settings }, { "lists", lists }, { "no listing", no_listing },
	    { "tells a missing workspace from an empty one", tells_a_missing_workspace_from_an_empty_one },
	    { "reads by checksum", reads_by_checksum }, { "quiet", quiet }, { "writes", writes }, { "does not lock", does_not_lock },
	    { "lock doubt", lock_doubt }, { "looks at locks", looks_at_locks }, { "pasted", pasted }, { "as http", as_http },
	    { "older states", older_states }, { NULL, NULL } });
}
