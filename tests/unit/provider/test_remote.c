/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <unistd.h>

#include "remote_tests.h"

/* What the suite of all providers does not ask of Terraform Cloud and Enterprise: the block, names, listing and reading, refusals. */

/* --- configuration and names --- */

static void
refuses(void)
{
	static const struct {
		const char *text, *says;
	} rows[] = {
		{ "backend \"remote\" \"b\" {\n  token = \"t\"\n}\n", "organization" },
		{ "backend \"remote\" \"b\" {\n  organization = \"\"\n}\n", "organization" },
		{ HEAD("remote") "  workspaces {\n    name = \"a\"\n    prefix = \"b\"\n  }\n}\n", "either name or prefix" },
		{ HEAD("cloud") "  workspaces {\n    name = \"a\"\n    tags = [\"b\"]\n  }\n}\n", "either name or tags" },
		{ HEAD("cloud") "  workspaces {\n    prefix = \"b\"\n  }\n}\n", "prefix" },
		{ HEAD("remote") "  workspaces {\n    tags = [\"b\"]\n  }\n}\n", "tags" },
		{ HEAD("remote") "  workspaces {\n    name = \"a/b\"\n  }\n}\n", "letters" },
		{ HEAD("remote") "  workspaces {\n  }\n  workspaces {\n  }\n}\n", "one block" },
		{ HEAD("remote") "  prefix = \"a-\"\n  workspaces {\n    prefix = \"b-\"\n  }\n}\n", "not both" },
		{ HEAD("remote") "  prefix = \"a-\"\n  workspaces {\n    name = \"b\"\n  }\n}\n", "not both" },
		{ "backend \"remote\" \"b\" {\n  organization = \"acme\"\n  api_base = \"ftp://h/\"\n}\n", "api_base" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const char *says = provider_rig_refuses(rows[i].text);

		if (says == NULL || strstr(says, rows[i].says) == NULL || strstr(says, "canary") != NULL)
			test_fail(__FILE__, __LINE__, "row %zu: %s", i, says != NULL ? says : "taken");
	}
}

static void
tells_names_that_no_workspace_has(void)
{
	static const struct {
		const char *name;
		bool        fits;
	} rows[] = { { "prod", true }, { "a-b_C9", true }, { "prod/vpc", false }, { "prod.tfstate", false }, { "\xc3\xbc", false },
		{ "stateferry-probe", false },
		{ "123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890", true },
		{ "1234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901", false } };
	struct err e;

	begin("");
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if ((provider_holds_name(r.b, rows[i].name, &e) == ERR_OK) != rows[i].fits)
			test_fail(__FILE__, __LINE__, "%s: %s", rows[i].name, rows[i].fits ? e.msg : "taken");
	CHECK(provider_holds_name(r.b, "prod/vpc.tfstate", &e) == ERR_UNSUPPORTED && strstr(e.msg, "{alias}") != NULL);
	end();
}

/* Each workspace of an organization is the default one of a configuration; those of a prefix are the workspaces of one. */
#define API_NOTE "    # terraform has no api_base: if app.terraform.io does not tell where its API is, host \"app.terraform.io\" in " \
	"~/.terraformrc says it\n"

static void
names_as_terraform_does(void)
{
	static const struct {
		const char *block, *path, *workspace, *name;
	} rows[] = { { HEAD("cloud") "}\n", "app", "default", "app" }, { HEAD("cloud") "}\n", "app", "dev", "app-dev" },
		{ HEAD("remote") "  workspaces {\n    prefix = \"x-\"\n  }\n}\n", "app", "dev", "dev" },
		{ HEAD("remote") "  workspaces {\n    prefix = \"x-\"\n  }\n}\n", "app", "default", "app" } };
	struct buf b;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		provider_rig_open(&r, false, rows[i].block);
		buf_init(&b, 0);
		r.b->provider->named(r.b, rows[i].path, rows[i].workspace, &b);
		CHECK_STR(buf_str(&b), rows[i].name);
		buf_reset(&b);
		provider_workspace(r.b, "dev", &b);
		CHECK_STR(buf_str(&b), i < 2 ? "default" : "dev");
		buf_reset(&b);
		r.b->provider->path(r.b, "dev", &b);
		CHECK_STR(buf_str(&b), i < 2 ? "dev" : "");
		buf_reset(&b);
		provider_block(r.b, "dev", &b);
		CHECK_STR(buf_str(&b), i >= 2 ? "terraform {\n  backend \"remote\" {\n    organization = \"acme\"\n"
		    "    # token: terraform login app.terraform.io\n" API_NOTE "\n    workspaces {\n      prefix = \"x-\"\n    }\n  }\n}\n" :
		    "terraform {\n  cloud {\n    organization = \"acme\"\n    # token: terraform login app.terraform.io\n" API_NOTE "\n"
		    "    workspaces {\n      name = \"dev\"\n    }\n  }\n}\n");
		buf_free(&b);
		provider_rig_close(&r);
	}
}

/* One block for all workspaces that terraform would find by it; what only our block knows is said beside. */
static void
prints_what_terraform_takes(void)
{
	static const struct {
		const char *block, *name, *inside;
	} rows[] = { { HEAD("cloud") "  workspaces {\n    tags = [\"app\", \"x\"]\n  }\n}\n", "dev", "      tags = [\"app\", \"x\"]\n" },
		{ HEAD("cloud") "  workspaces {\n    tags = { a = \"b\", c = \"\" }\n    project = \"shop \\\"1\\\"\"\n  }\n}\n", "dev",
		    "      tags    = { \"a\" = \"b\", \"c\" = \"\" }\n      project = \"shop \\\"1\\\"\"\n" },
		{ HEAD("cloud") "  workspaces {\n    project = \"shop\"\n  }\n}\n", "dev", "      name = \"dev\"\n" },
		{ HEAD("cloud") "  prefix = \"x-\"\n  workspaces {\n    tags = [\"a\"]\n  }\n}\n", "dev", "      name = \"x-dev\"\n" },
		{ HEAD("cloud") "  ca_file = \"ca.pem\"\n  workspaces {\n    name = \"dev\"\n  }\n}\n", "dev", "      name = \"dev\"\n" } };
	struct buf b;
	struct err e;
	char      *whole;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		provider_rig_open(&r, false, rows[i].block);
		buf_init(&b, 0);
		provider_block(r.b, rows[i].name, &b);
		whole = xasprintf("terraform {\n  cloud {\n    organization = \"acme\"\n    # token: terraform login app.terraform.io\n"
		    API_NOTE "%s\n    workspaces {\n%s    }\n  }\n}\n",
		    strstr(rows[i].block, "ca_file") != NULL ? "    # terraform has no ca_file: export SSL_CERT_FILE, or let the system know the authority\n" : "",
		    rows[i].inside);
		CHECK_STR(buf_str(&b), whole);
		buf_reset(&b);
		provider_workspace(r.b, "dev", &b);
		CHECK_STR(buf_str(&b), strstr(rows[i].inside, "tags") != NULL ? "dev" : "default");
		CHECK(provider_holds_name(r.b, "dev", &e) == ERR_OK);
		CHECK((provider_holds_name(r.b, "default", &e) == ERR_OK) == (strstr(rows[i].inside, "tags") == NULL));
		buf_free(&b);
		free(whole);
		provider_rig_close(&r);
	}
}

/* The variables of the cloud block do for what it does not say. */
static void
reads_variables(void)
{
	static const struct {
		const char *block, *where;
	} rows[] = {
		{ "backend \"cloud\" \"b\" {\n}\n", "tfe.test/env/prod" },
		{ "backend \"cloud\" \"b\" {\n  organization = \"acme\"\n  workspaces {\n    name = \"x\"\n  }\n}\n", "tfe.test/acme/x" },
		{ "backend \"cloud\" \"b\" {\n  hostname = \"h.test\"\n  workspaces {\n    tags = { a = \"b\" }\n  }\n}\n", "h.test/env" },
		{ "backend \"remote\" \"b\" {\n  organization = \"acme\"\n}\n", "app.terraform.io/acme" },
	};

	setenv("TF_CLOUD_HOSTNAME", "TFE.test:443", 1);
	setenv("TF_CLOUD_ORGANIZATION", "env", 1);
	setenv("TF_WORKSPACE", "prod", 1);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		provider_rig_open(&r, false, rows[i].block);
		CHECK_STR(r.b->where, rows[i].where);
		provider_rig_close(&r);
	}
	unsetenv("TF_CLOUD_HOSTNAME");
	unsetenv("TF_CLOUD_ORGANIZATION");
	unsetenv("TF_WORKSPACE");
}

/* What "terraform init" leaves behind. */
static void
takes_what_init_left(void)
{
	char here[400], text[600];

	CHECK(getcwd(here, sizeof(here)) != NULL);
	snprintf(text, sizeof(text), "backend \"cloud\" \"b\" {\n  from_file = \"%s/tests/golden/remote/cloud.terraform.tfstate\"\n}\n", here);
	provider_rig_open(&r, false, text);
	CHECK_STR(r.b->where, "tfc.example.test/acme/prod");
	provider_rig_close(&r);
	snprintf(text, sizeof(text), "backend \"remote\" \"b\" {\n  from_file = \"%s/tests/golden/remote/remote.terraform.tfstate\"\n}\n", here);
	provider_rig_open(&r, false, text);
	CHECK_STR(r.b->where, "tfc.example.test/acme/app-*");
	provider_rig_close(&r);
}

/* --- listing --- */

static void
lists_what_the_block_selects(void)
{
	char text[400];

	begin("  workspaces {\n    project = \"net\"\n    tags = [\"a\", \"b\"]\n  }\n  create = true\n");
	fake_tfe_put(fake, "x", span_str(STATE(1)));
	fake_tfe_workspace(fake, "empty");
	fake_tfe_workspace(fake, "x")->locked = true;
	IS(list(text, sizeof(text)), ERR_OK);
	CHECK_STR(text, "x=sv-00000002! ");
	CHECK_STR(fake->tags, "a,b");
	CHECK_STR(fake->project, "prj-2"); /* not that whose name only begins so */
	IS(lock("new", &(struct lock_info){ .id = "" }, NULL), ERR_OK);
	CHECK(strstr(fake->created, "\"execution-mode\":\"local\"") != NULL && strstr(fake->created, "\"prj-2\"") != NULL &&
	    strstr(fake->created, "{\"type\":\"tags\",\"attributes\":{\"name\":\"b\"}}") != NULL);
	end();
	begin("  workspaces {\n    name = \"y\"\n  }\n");
	IS(list(text, sizeof(text)), ERR_NOT_FOUND); /* and no empty source */
	fake_tfe_put(fake, "x", span_str(STATE(1)));
	fake_tfe_put(fake, "y", span_str(STATE(1)));
	IS(list(text, sizeof(text)), ERR_OK);
	CHECK(strncmp(text, "y=sv-", 5) == 0 && strchr(text, ' ')[1] == '\0');
	end();
}

/* The last one moves to the front while pages are read: it was on none of those that were read after it moved. */
static void
reads_all_again_when_it_changes_meanwhile(void)
{
	char   text[800], name[8];
	size_t n = 0;

	begin("");
	fake->page = 2;
	for (unsigned i = 0; i < 7; i++) {
		snprintf(name, sizeof(name), "w%u", i);
		fake_tfe_put(fake, name, span_str(STATE(1)));
	}
	fake->touched = "w0";
	fake->touch_at = 1;
	IS(list(text, sizeof(text)), ERR_OK);
	for (const char *p = text; (p = strchr(p, '=')) != NULL; p++)
		n++;
	CHECK_U64(n, 7);
	CHECK_U64(fake->listings, 8);
	CHECK(strstr(text, "w0=") != NULL);
	end();
}

/* --- reading --- */

static void
follows_links(void)
{
	static const struct {
		const char *from, *to, *is;
	} rows[] = {
		{ "https://h/api/v2/", "https://b:8443/x?s=1", "https://b:8443/x?s=1" },
		{ "https://h/api/v2/", "/api/v2/state-versions/sv-1/download", "https://h/api/v2/state-versions/sv-1/download" },
		{ "https://h:8443/a/b?q=/", "c?d", "https://h:8443/a/c?d" },
		{ "https://h", "x", "https://h/x" },
		{ "https://h/a", "//b/x", "https://b/x" },
		{ "https://h/a", "http://h/x", NULL },
		{ "http://h/a", "http://b/x", "http://b/x" },
		{ "https://h/a", "https://u:p@b/x", NULL },
		{ "https://h/a", "ftp://b/x", NULL },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char *got = remote_link(rows[i].from, rows[i].to);

		if (got == NULL ? rows[i].is != NULL : rows[i].is == NULL || strcmp(got, rows[i].is) != 0)
			test_fail(__FILE__, __LINE__, "row %zu: %s", i, got != NULL ? got : "none");
		free(got);
	}
}

#define VERSION(more) "{\"data\":{\"id\":\"sv-1\",\"attributes\":{\"serial\":1,\"hosted-state-download-url\":\"https://b.test/x?canary\"" more "}}}"
#define VERSION_WITHOUT(more) "{\"data\":{\"id\":\"sv-1\",\"attributes\":{\"serial\":1" more "}}}"

/* What is said of a version, its bytes, and what that means. */
static void
judges_what_it_reads(void)
{
	static const struct {
		const char   *version, *bytes; /* bytes NULL: nobody may ask for them */
		enum err_code code;
		const char   *says;
	} rows[] = {
		{ VERSION(""), STATE(1), ERR_OK, "" },
		{ VERSION(",\"size\":66"), STATE(1), ERR_OK, "" },
		{ VERSION(",\"size\":1000"), STATE(1), ERR_CORRUPT, "of a version of 1000" },
		{ VERSION(""), STATE(2), ERR_CORRUPT, "serial 2" },
		{ VERSION(""), "", ERR_NOT_FOUND, "empty" },
		{ VERSION_WITHOUT(",\"status\":\"pending\""), NULL, ERR_BUSY, "on their way" },
		{ VERSION(",\"status\":\"backing_data_soft_deleted\""), NULL, ERR_UNSUPPORTED, "deleted" },
		{ VERSION_WITHOUT(",\"status\":\"finalized\",\"encrypted-state-download-url\":\"https://b/y\""), NULL, ERR_UNSUPPORTED,
		    "key that only its owner holds" },
		{ VERSION_WITHOUT(",\"status\":\"finalized\",\"encrypted-state-download-url\":null"), NULL, ERR_AUTH, "not permitted" },
		{ "{\"data\":{}}", NULL, ERR_UNSUPPORTED, "no state version" },
		{ "<html>", NULL, ERR_UNSUPPORTED, "none of this API" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct snapshot s = { 0 };

		begin("");
		scripted_expect(r.http, "GET", "/organizations/acme/workspaces/x", 200, NULL, "{\"data\":{\"id\":\"ws-1\",\"attributes\":{}}}");
		scripted_expect(r.http, "GET", "/workspaces/ws-1/current-state-version", 200, NULL, rows[i].version);
		for (int k = 0; rows[i].bytes != NULL && k < (rows[i].code == ERR_CORRUPT ? 3 : 1); k++)
			scripted_expect(r.http, "GET", "https://b.test/x?canary", 200, NULL, rows[i].bytes);
		if (get("x", NULL, &s) != rows[i].code || strstr(r.err.msg, rows[i].says) == NULL)
			test_fail(__FILE__, __LINE__, "row %zu: %s: %s", i, err_kind(r.err.code), r.err.msg);
		scripted_http_check(r.http);
		snapshot_free(&s);
		end();
	}
}

/* A redirect loses the token on any change of place, a look without news costs one request, and what was renamed is looked for again. */
static void
reads_what_is_current(void)
{
	struct snapshot s = { 0 };
	char            etag[ETAG_MAX];
	unsigned        n;

	begin("");
	fake_tfe_put(fake, "x", span_str(STATE(1)))->run = "run-CZcmD7eagjhyX0vN";
	IS(get("x", NULL, &s), ERR_OK);
	CHECK(span_is(body_span(s.body), STATE(1)));
	CHECK_STR(s.run, "run-CZcmD7eagjhyX0vN");
	snprintf(etag, sizeof(etag), "%s", s.etag);
	snapshot_free(&s);
	n = scripted_http_count(r.http);
	IS(get("x", etag, &s), ERR_UNCHANGED);
	CHECK_U64(scripted_http_count(r.http), n + 1);
	fake_tfe_drop(fake, "x");
	IS(get("x", NULL, &s), ERR_NOT_FOUND);
	end();
}

/* --- refusals, and the rate --- */

static void
tells_refusals(void)
{
	static const struct {
		int           status;
		const char   *headers, *body;
		unsigned      times;
		enum err_code code;
		const char   *says;
	} rows[] = {
		{ 401, NULL, "{\"errors\":[{\"status\":\"401\",\"title\":\"unauthorized\"}]}", 2, ERR_AUTH, "token is refused" },
		{ 403, NULL, "", 1, ERR_AUTH, "not permitted" },
		{ 404, NULL, "{\"errors\":[{\"status\":404,\"title\":\"not found\"}]}", 1, ERR_AUTH, "not permitted" },
		{ 407, NULL, "", 1, ERR_AUTH, "proxy" },
		{ 400, NULL, "{\"errors\":[\"some text\"]}", 1, ERR_UNSUPPORTED, "some text" },
		{ 200, NULL, "<html>", 1, ERR_UNSUPPORTED, "none of this API" },
		{ 200, NULL, "{}", 1, ERR_UNSUPPORTED, "none of this API" },
		{ 302, "Location: https://sso.test/", "", 1, ERR_UNSUPPORTED, "302" },
	};
	char text[100];

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		begin("");
		for (unsigned n = 0; n < rows[i].times; n++)
			scripted_expect(r.http, "GET", "/organizations/acme/workspaces", rows[i].status, rows[i].headers, rows[i].body);
		if (list(text, sizeof(text)) != rows[i].code || strstr(r.err.msg, rows[i].says) == NULL)
			test_fail(__FILE__, __LINE__, "row %zu: %s: %s", i, err_kind(r.err.code), r.err.msg);
		scripted_http_check(r.http);
		end();
	}
}

static void
waits_as_the_server_asks(void)
{
	char    text[100];
	int64_t then;

	begin("");
	then = loop_now(r.loop);
	scripted_expect(r.http, "GET", "/organizations/acme/workspaces", 429, "X-RateLimit-Limit: 30\nX-RateLimit-Reset: 4.5", "");
	IS(list(text, sizeof(text)), ERR_OK);
	CHECK(loop_now(r.loop) - then >= 4500);
	/* and 20 requests in a second from then on, after a burst */
	fake_tfe_put(fake, "x", span_str(STATE(1)));
	then = loop_now(r.loop);
	for (unsigned i = 0; i < 60; i++)
		IS(list(text, sizeof(text)), ERR_OK);
	CHECK(loop_now(r.loop) - then >= 2000 && loop_now(r.loop) - then < 4000);
	end();
}

/* --- older versions --- */

static bool
saw_version(void *arg, const struct version_seen *v)
{
	buf_printf(arg, "%s%s%s ", v->id, v->latest ? "*" : "", v->deleted ? "-" : "");
	return true;
}

static bool
saw_enough(void *arg, const struct version_seen *v)
{
	buf_printf(arg, "%s ", v->id);
	return false;
}

static void
reads_older_versions(void)
{
	struct snapshot  s = { 0 };
	struct state_ref at = ref("x");
	struct buf       b;
	uint64_t         sent;

	begin("");
	fake->page = 2;
	for (unsigned i = 0; i < 2; i++)
		fake_tfe_put(fake, "x", span_str(STATE(1)));
	fake_tfe_put(fake, "x", span_str(STATE(2)));
	fake_tfe_put(fake, "x", span_str(STATE(3)))->status = "discarded";
	fake_tfe_put(fake, "x", span_str(STATE(3)));
	fake_tfe_workspace(fake, "x")->versions[0].status = "backing_data_soft_deleted";
	buf_init(&b, 0);
	IS(run(provider_history(r.b, &at, saw_version, &b)), ERR_OK);
	CHECK_STR(buf_str(&b), "sv-00000006* sv-00000004 sv-00000003 sv-00000002- ");
	IS(run(provider_get_version(r.b, &at, "sv-00000004", &s)), ERR_OK);
	CHECK(span_is(body_span(s.body), STATE(2)));
	CHECK_STR(s.version, "sv-00000004");
	CHECK_STR(s.run, "");
	snapshot_free(&s);
	IS(run(provider_get_version(r.b, &at, "sv-00000099", &s)), ERR_NOT_FOUND);
	IS(run(provider_get(r.b, &at, NULL, &s)), ERR_OK);
	CHECK_STR(s.version, "sv-00000006");
	snapshot_free(&s);
	buf_reset(&b);
	sent = r.b->requests;
	IS(run(provider_history(r.b, &at, saw_enough, &b)), ERR_OK);
	CHECK_STR(buf_str(&b), "sv-00000006 ");
	CHECK_U64(r.b->requests - sent, 2); /* the workspace, and one page */
	buf_free(&b);
	end();
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){ { "refuses", refuses },
	    { "tells names that no workspace has", tells_names_that_no_workspace_has },
	    { "names as terraform does", names_as_terraform_does },
	    { "prints what terraform takes", prints_what_terraform_takes },
	    { "reads variables", reads_variables },
	    { "takes what init left", takes_what_init_left },
	    { "lists what the block selects", lists_what_the_block_selects },
	    { "reads all again when it changes meanwhile", reads_all_again_when_it_changes_meanwhile },
	    { "follows links", follows_links },
	    { "judges what it reads", judges_what_it_reads },
	    { "reads what is current", reads_what_is_current },
	    { "tells refusals", tells_refusals },
	    { "waits as the server asks", waits_as_the_server_asks },
	    { "reads older versions", reads_older_versions }, { NULL, NULL } });
}
