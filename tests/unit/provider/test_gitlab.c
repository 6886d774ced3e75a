/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "../../lib/fake_gitlab.h"
#include "../../lib/provider_rig.h"
#include "../../lib/test.h"
#include "provider/http/http.h"

/* States that GitLab manages, and other dialects of the HTTP protocol (docs/protocol/http-state.md, "Dialects"). */
#define AT(project, name) FAKE_GITLAB_STATE(project) name
#define LOCKS(project, name) "  address = \"" AT(project, name) "\"\n  lock_address = \"" AT(project, name) "/lock\"\n  lock_method = \"POST\"\n" \
	"  unlock_address = \"" AT(project, name) "/lock\"\n  unlock_method = \"DELETE\"\n"
#define BLOCK(project, name, more) "backend \"http\" \"b\" {\n" LOCKS(project, name) more "}\n"
#define TOKEN "  username = \"ann\"\n  password = \"" FAKE_GITLAB_TOKEN "\"\n"

static const char          body[] = "{\"version\":4,\"serial\":3,\"lineage\":\"l\",\"outputs\":{},\"resources\":[]}\n";
static const char          newer[] = "{\"version\":4,\"serial\":4,\"lineage\":\"l\",\"outputs\":{},\"resources\":[]}\n";
static struct provider_rig r;
static struct fake_gitlab *v;
static struct state_ref    ref = { "vpc" };
static struct snapshot     snap;
static struct lock_info    mine, holder;

static void
begin(const char *block)
{
	provider_rig_open(&r, false, block);
	v = fake_gitlab_behind(r.http);
	provider_lock_new(r.b, &ref, "test", &mine);
}

static void
end(void)
{
	snapshot_free(&snap);
	CHECK(strstr(r.err.msg, "CANARY") == NULL && strstr(scripted_http_trace(r.http), "CANARY") == NULL);
	scripted_http_check(r.http);
	fake_gitlab_free(v);
	provider_rig_close(&r);
}

static enum err_code
get(const char *unless)
{
	snapshot_free(&snap);
	return provider_rig_run(&r, provider_get(r.b, &ref, unless, &snap));
}

static enum err_code
put(const char *text)
{
	char etag[ETAG_MAX];

	return provider_rig_put(&r, &ref, span_str(text), &(struct put_condition){ PUT_UNDER_LOCK, NULL, &mine }, etag);
}

static enum err_code
lock(void)
{
	return provider_rig_run(&r, provider_lock(r.b, &ref, &mine, &holder));
}

static enum err_code
unlock(void)
{
	return provider_rig_run(&r, provider_unlock(r.b, &ref, &mine));
}

static unsigned seen, locked;
static char     tag[ETAG_MAX];

static void
saw(void *arg, const struct state_seen *s)
{
	(void)arg;
	seen++;
	locked += s->locked;
	snprintf(tag, sizeof(tag), "%s", s->etag);
}

static enum err_code
list(void)
{
	seen = locked = 0;
	return provider_rig_run(&r, provider_list(r.b, saw, NULL));
}

static void
lists(void)
{
	static const char *const blocks[] = { BLOCK("acme%2Fnet", "{name}", TOKEN), BLOCK("7", "{name}", TOKEN) };
	char                     name[16];

	for (size_t i = 0; i < ARRAY_LEN(blocks); i++) {
		begin(blocks[i]);
		CHECK((provider_caps(r.b) & PROVIDER_LIST) != 0 && provider_findable(r.b, NULL) == ERR_OK);
		CHECK_U64(list(), ERR_OK);
		CHECK_U64(seen, 0);
		v->page = 3;
		for (unsigned n = 0; n < 8; n++) {
			snprintf(name, sizeof(name), "s%u", n);
			fake_gitlab_put(v, name, span_str(body));
		}
		snprintf(fake_gitlab_at(v, "s2")->lock, 8, "x");
		snprintf(fake_gitlab_at(v, "only-locked")->lock, 8, "x");
		v->asked = 0;
		CHECK_U64(list(), ERR_OK);
		CHECK(seen == 8 && locked == 1);
		CHECK_U64(v->asked, 3);
		CHECK_U64(v->reads, 0);
		end();
	}
}

static void
no_listing(void)
{
	static const struct { int status; const char *answer; enum err_code want; const char *word; } rows[] = {
		{ 200, "<html>sign in</html>", ERR_UNSUPPORTED, "none of its API" },
		{ 200, "{\"errors\":[{\"message\":\"x\"}]}", ERR_UNSUPPORTED, "none of its API" },
		{ 200, "{\"data\":{\"project\":null}}", ERR_AUTH, "no such project" },
		{ 200, "{\"data\":{\"project\":{}}}", ERR_UNSUPPORTED, "does not list" },
		{ 200, "{\"data\":{\"project\":{\"terraformStates\":{\"nodes\":[]}}}}", ERR_UNSUPPORTED, "does not list" },
		{ 401, "{\"message\":\"Invalid " FAKE_GITLAB_TOKEN "\"}", ERR_AUTH, "401" },
		{ 403, "{\"error\":\"insufficient_scope\"}", ERR_AUTH, "insufficient_scope" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		begin(BLOCK("acme%2Fnet", "{name}", TOKEN));
		scripted_expect(r.http, "POST", "/api/graphql", rows[i].status, NULL, rows[i].answer);
		CHECK_U64(list(), rows[i].want);
		if (strstr(r.err.msg, rows[i].word) == NULL)
			test_fail(__FILE__, __LINE__, "row %zu: %s", i, r.err.msg);
		CHECK(r.err.hint[0] != '\0');
		end();
	}
	begin(BLOCK("acme%2Fnet", "{name}", "  states = [\"vpc\"]\n" TOKEN)); /* names that are given ask nothing */
	CHECK((provider_caps(r.b) & PROVIDER_LIST) == 0);
	CHECK_U64(list(), ERR_OK);
	CHECK(seen == 1 && v->asked == 0);
	end();
	begin(BLOCK("acme%2Fnet", "{name}", "  username = \"gitlab-ci-token\"\n  password = \"j\"\n"));
	CHECK_U64(list(), ERR_AUTH); /* the job's token is not offered to the API as one of a person */
	end();
}

/* The listing's tag is that of a read, and a read whose tag is known reads nothing. */
static void
tags(void)
{
	char was[ETAG_MAX];

	begin(BLOCK("acme%2Fnet", "{name}", TOKEN));
	CHECK_U64(get(NULL), ERR_NOT_FOUND);
	fake_gitlab_put(v, "vpc", span_str(body));
	CHECK_U64(list(), ERR_OK);
	CHECK_U64(get(NULL), ERR_OK);
	CHECK_STR(snap.etag, tag);
	v->reads = 0;
	CHECK_U64(get(tag), ERR_UNCHANGED);
	CHECK_U64(v->reads, 0);
	snprintf(was, sizeof(was), "%s", tag);
	fake_gitlab_put(v, "vpc", span_str(body)); /* removed and uploaded again: the same serial at another time */
	CHECK_U64(get(was), ERR_OK);
	CHECK(strcmp(snap.etag, was) != 0);
	scripted_expect(r.http, "POST", "/api/graphql", 200, NULL, /* a version that is gone by the time of the read */
	    "{\"data\":{\"project\":{\"terraformState\":{\"name\":\"vpc\",\"latestVersion\":{\"serial\":2,\"createdAt\":\"t\"}}}}}");
	CHECK_U64(get(was), ERR_OK);
	CHECK_STR(snap.etag, "");
	v->hides = true; /* and without the API there is none */
	CHECK_U64(get(was), ERR_OK);
	CHECK_STR(snap.etag, "");
	end();
}

static void
writes(void)
{
	begin(BLOCK("acme%2Fnet", "{name}", TOKEN));
	CHECK_U64(lock(), ERR_OK);
	CHECK_U64(get(NULL), ERR_NOT_FOUND); /* 204: the lock has made a row */
	CHECK_U64(put(newer), ERR_OK);
	CHECK_U64(put(newer), ERR_CONFLICT); /* 422: to be read back */
	CHECK(strstr(r.err.msg, "already been taken") != NULL);
	CHECK_U64(put(body), ERR_OK);        /* taken, and never shown */
	CHECK_U64(get(NULL), ERR_OK);
	CHECK_U64(snap.info.serial, 4);
	CHECK(strstr(provider_remark(r.b, "vpc"), "highest serial") != NULL);
	CHECK_U64(unlock(), ERR_OK);
	CHECK_U64(put(newer), ERR_CONFLICT); /* the ID of a lock that is gone */
	ref.name = "net/vpc";
	CHECK_U64(lock(), ERR_UNSUPPORTED);
	CHECK(strstr(r.err.msg, "no \"/\"") != NULL);
	ref.name = "vpc";
	end();
}

static void
locks(void)
{
	begin(BLOCK("acme%2Fnet", "vpc", TOKEN));
	ref.name = "default";
	snprintf(fake_gitlab_at(v, "vpc")->lock, 8, "other");
	CHECK_U64(lock(), ERR_LOCKED);
	CHECK_STR(holder.id, "other");
	CHECK(strstr(r.err.msg, "ann") != NULL && strstr(r.err.msg, "stateferry") == NULL);
	CHECK(!lock_info_is_ours(&holder) && holder.info[0] == '\0'); /* GitLab says there what we sent */
	CHECK_U64(unlock(), ERR_OK); /* ours is not there */
	CHECK_STR(fake_gitlab_at(v, "vpc")->lock, "other");
	fake_gitlab_at(v, "vpc")->lock[0] = '\0';
	scripted_fail(r.http, scripted_http_count(r.http) + 1, SCRIPTED_LOST_ANSWER);
	CHECK_U64(lock(), ERR_OK);   /* 409 with our own ID */
	scripted_fail(r.http, scripted_http_count(r.http) + 1, SCRIPTED_LOST_ANSWER);
	CHECK_U64(unlock(), ERR_OK); /* 409: it is not locked any more */
	CHECK_U64(fake_gitlab_locks(v), 0);
	end();

	begin(BLOCK("acme%2Fnet", "vpc", TOKEN)); /* a person's: 409 is another lock, or none */
	snprintf(mine.id, sizeof(mine.id), "wrong");
	CHECK_U64(provider_rig_run(&r, provider_lock_break(r.b, &ref, &mine, &holder)), ERR_NOT_FOUND);
	snprintf(fake_gitlab_at(v, "vpc")->lock, 8, "other");
	CHECK_U64(provider_rig_run(&r, provider_lock_break(r.b, &ref, &mine, &holder)), ERR_CONFLICT);
	CHECK(strstr(r.err.msg, "by ann since") != NULL);
	v->hides = true;
	CHECK_U64(provider_rig_run(&r, provider_lock_break(r.b, &ref, &mine, &holder)), ERR_CONFLICT);
	v->hides = false;
	snprintf(mine.id, sizeof(mine.id), "other");
	CHECK_U64(provider_rig_run(&r, provider_lock_break(r.b, &ref, &mine, &holder)), ERR_OK);
	CHECK_U64(fake_gitlab_locks(v), 0);
	end();
	ref.name = "vpc";
}

/* The token of a job is for the server that gave it. */
static void
job(void)
{
	static const struct { const char *url, *more, *want; } rows[] = {
		{ "https://gitlab.example.com/api/v4", "", "Basic Z2l0bGFiLWNpLXRva2VuOmpvYg==" },
		{ "https://gitlab.other.example/api/v4", "", NULL },
		{ "https://gitlab.example.com/api/v4", "  headers = { PRIVATE-TOKEN = \"p\" }\n", NULL },
		{ "https://gitlab.example.com/api/v4", "  username = \"a\"\n  password = \"b\"\n", "Basic YTpi" } };

	setenv("CI_JOB_TOKEN", "job", 1);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char *block = xasprintf("backend \"http\" \"b\" {\n" LOCKS("7", "vpc") "%s}\n", rows[i].more);

		setenv("CI_API_V4_URL", rows[i].url, 1);
		begin(block);
		CHECK((hb_of(r.b)->basic != NULL) == (rows[i].want != NULL));
		CHECK(rows[i].want == NULL || strcmp(secret_str(hb_of(r.b)->basic), rows[i].want) == 0);
		end();
		free(block);
	}
	unsetenv("CI_JOB_TOKEN");
	unsetenv("CI_API_V4_URL");
}

static void
told(void *arg, const struct probe_check *c)
{
	bool *lock = arg;

	*lock |= c->ok && strcmp(c->name, "lock") == 0;
}

/* A probe locks a made-up state, and leaves no row of it; that of a fixed address is not its to delete. */
static void
probe(void)
{
	bool lock = false;

	begin(BLOCK("7", "{name}", TOKEN));
	for (int i = 0; i < 2; i++) {
		CHECK_OK(provider_rig_run(&r, provider_probe(r.b, told, &lock)), r.err);
		CHECK(lock && v->n == 0);
		lock = false;
	}
	fake_gitlab_put(v, "vpc", span_str(body));
	v->keeps = true;
	CHECK_U64(provider_rig_run(&r, provider_probe(r.b, told, &lock)), ERR_AUTH);
	CHECK(lock && strstr(r.err.msg, ".stateferry-probe") != NULL && strstr(r.err.hint, "by hand") != NULL);
	CHECK(v->n == 2 && fake_gitlab_locks(v) == 0 && fake_gitlab_at(v, "vpc")->body != NULL);
	end();
}

/* Gitea and Forgejo. */
static void
gitea(void)
{
	static const char block[] = "backend \"http\" \"b\" {\n  address = \"https://git.example.com/api/packages/acme/terraform/state/{name}\"\n"
	    "  lock_address = \"https://git.example.com/api/packages/acme/terraform/state/{name}/lock\"\n  lock_method = \"POST\"\n"
	    "  unlock_address = \"https://git.example.com/api/packages/acme/terraform/state/{name}/lock\"\n  unlock_method = \"DELETE\"\n}\n";

	begin(block);
	scripted_expect(r.http, "POST", "/vpc?ID=", 201, NULL, NULL);
	CHECK_U64(put(body), ERR_OK);
	scripted_expect(r.http, "POST", "/vpc?ID=", 409, NULL, NULL); /* the same serial */
	CHECK_U64(put(body), ERR_CONFLICT);
	scripted_expect(r.http, "POST", "/vpc?ID=", 401, NULL, NULL); /* Forgejo: a wrong ID, for the credentials may read */
	scripted_expect(r.http, "GET", "/vpc", 204, NULL, NULL);
	CHECK_U64(put(body), ERR_LOCKED);
	scripted_expect(r.http, "POST", "/vpc?ID=", 401, NULL, NULL);
	scripted_expect(r.http, "GET", "/vpc", 401, NULL, NULL);
	CHECK_U64(put(body), ERR_AUTH);
	CHECK(strstr(r.err.hint, "access token") != NULL);
	scripted_expect(r.http, "GET", "/vpc", 403, NULL, "{\"message\":\"user should have specific permission\"}");
	CHECK_U64(get(NULL), ERR_AUTH);
	CHECK(strstr(r.err.msg, "specific permission") != NULL);
	ref.name = "net/vpc";
	CHECK_U64(lock(), ERR_UNSUPPORTED);
	ref.name = "+";
	CHECK_U64(lock(), ERR_UNSUPPORTED);
	ref.name = "vpc";
	CHECK(provider_findable(r.b, NULL) == ERR_CONFIG);
	end();
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){ { "lists", lists }, { "no listing", no_listing }, { "tags", tags },
	    { "writes", writes }, { "locks", locks }, { "probe", probe }, { "job", job }, { "gitea", gitea }, { NULL, NULL } });
}
