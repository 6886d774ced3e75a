/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "../../lib/remote_access_rig.h"
#include "../../lib/test.h"

/* Where the API of a host is found, and who sees the token on the way. */

static struct remote_access_rig rig;

#define HOST "tfe.example"
#define DOC  "https://" HOST "/.well-known/terraform.json"
#define JSON "Content-Type: application/json; charset=utf-8"

static void
begin(void)
{
	remote_access_rig_open(&rig, HOST);
}

static void
end(void)
{
	remote_access_rig_close(&rig);
}

static void
expect(const char *base)
{
	if (remote_access_rig_discover(&rig, "CANARY") != ERR_OK)
		test_fail(__FILE__, __LINE__, "%s; %s", rig.err.msg, rig.err.hint);
	CHECK_STR(rig.base, base);
}

static void
expect_error(enum err_code code, const char *says, const char *hint)
{
	remote_access_rig_discover(&rig, "CANARY");
	if (rig.err.code != code || strstr(rig.err.msg, says) == NULL || strstr(rig.err.hint, hint) == NULL)
		test_fail(__FILE__, __LINE__, "%d: %s; %s", rig.err.code, rig.err.msg, rig.err.hint);
}

static void
makes_names_of_hosts_comparable(void)
{
	static const char *const rows[][2] = { { "app.terraform.io", "app.terraform.io" }, { "App.Terraform.IO:443", "app.terraform.io" },
		{ "localhost:8443", "localhost:8443" }, { "127.0.0.1:80", "127.0.0.1:80" }, { "xn--bcher-kva.example", "xn--bcher-kva.example" },
		{ "a_b.example", "a_b.example" } };
	static const char *const bad[][2] = { { "", "expected the name of a host" }, { "https://app.terraform.io", "not a URL" },
		{ "a..b", "expected" }, { ".a", "expected" }, { "a.", "expected" }, { "a:", "expected" }, { "a:0", "expected" }, { "a:65536", "expected" },
		{ "a:8x", "expected" }, { "a:+8", "expected" }, { "a b", "expected" }, { "a/b", "expected" }, { "u@a", "expected" }, { "::1", "expected" },
		{ "b\xc3\xbc" "cher.example", "xn-- form" }, { "localterraform.com", "alias" }, { "LocalTerraform.com:443", "alias" } };
	struct buf host;
	struct err e;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		buf_init(&host, 0);
		CHECK_OK(remote_host(rows[i][0], &host, &e), e);
		CHECK_STR(buf_str(&host), rows[i][1]);
		buf_free(&host);
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		buf_init(&host, 0);
		if (remote_host(bad[i][0], &host, &e) != ERR_CONFIG || strstr(e.msg, bad[i][1]) == NULL || host.len != 0)
			test_fail(__FILE__, __LINE__, "%s: %s", bad[i][0], e.msg);
		buf_free(&host);
	}
}

static void
takes_the_best_service(void)
{
	static const char *const rows[][2] = { { "{\"tfe.v2\":\"/api/v2/\"}", "https://" HOST "/api/v2/" },
		{ "{\"modules.v1\":\"/x/\",\"tfe.v2.1\":\"/b\",\"tfe.v2\":\"/a\",\"tfe.v2.2\":\"/c\",\"state.v2\":\"/d\"}", "https://" HOST "/a/" },
		{ "{\"tfe.v2.1\":\"/b\",\"tfe.v2.2\":\"/c/\",\"state.v2\":\"/d\"}", "https://" HOST "/c/" },
		{ "{\"login.v1\":{\"tfe.v2\":\"/no\"},\"state.v2\":\"/d/\"}", "https://" HOST "/d/" },
		{ "{\"tfe.v2\":\"https://api.example:8443/x\"}", "https://api.example:8443/x/" },
		{ "{\"tfe.v2\":\"api/v2\"}", "https://" HOST "/.well-known/api/v2/" } };

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		begin();
		scripted_expect(rig.http, "GET", DOC, 200, JSON, rows[i][0]);
		expect(rows[i][1]);
		end();
	}
	begin();
	rig.conf.api_base = "http://proxy.example/tfe/api/v2";
	expect("http://proxy.example/tfe/api/v2/");
	end();
}

struct seen {
	unsigned n;
	char     auth[4][64], url[4][128];
};

/* Three redirects: within the host, to another port, and back; each tells what it saw. */
static void
redirecting(void *arg, const struct scripted_request *rq, struct scripted_answer *ret)
{
	static const char *const to[] = { "/moved/terraform.json", "https://" HOST ":444/d.json?x=1", DOC "2" };
	struct seen             *s = arg;
	const char              *auth = scripted_header(rq, "Authorization");

	CHECK(s->n < 4);
	snprintf(s->auth[s->n], sizeof(s->auth[0]), "%s", auth != NULL ? auth : "");
	snprintf(s->url[s->n], sizeof(s->url[0]), "%s", rq->url);
	ret->status = s->n < ARRAY_LEN(to) ? 302 : 200;
	if (ret->status == 302)
		scripted_add_header(ret, "Location", "%s", to[s->n]);
	else
		scripted_set_body(ret, SPAN_LIT("{\"tfe.v2\":\"/api/v2\"}"));
	scripted_add_header(ret, "Content-Type", "application/json");
	s->n++;
}

static void
shows_the_token_to_the_host_alone(void)
{
	struct seen s = { 0 };

	begin();
	scripted_handle(rig.http, redirecting, &s);
	expect("https://" HOST "/api/v2/");
	CHECK_U64(s.n, 4);
	CHECK_STR(s.url[0], DOC);
	CHECK_STR(s.url[1], "https://" HOST "/moved/terraform.json");
	CHECK_STR(s.url[2], "https://" HOST ":444/d.json?x=1");
	CHECK_STR(s.auth[0], "Bearer CANARY");
	CHECK_STR(s.auth[1], "Bearer CANARY");
	CHECK_STR(s.auth[2], "");
	CHECK_STR(s.auth[3], "Bearer CANARY");
	end();
}

static void
says_what_it_met(void)
{
	static const struct {
		int           status;
		const char   *headers, *body;
		enum err_code code;
		const char   *says, *hint;
	} rows[] = { { 404, NULL, "", ERR_UNSUPPORTED, "offers no services", "api_base = \"https://" HOST "/api/v2/\"" },
		{ 401, NULL, "", ERR_AUTH, "refuses the token (401)", "a new one where it is from, somewhere" },
		{ 200, "Content-Type: text/html", "<html>", ERR_UNSUPPORTED, "no JSON", "login page" },
		{ 200, JSON, "{\"tfe.v2\":", ERR_UNSUPPORTED, "no JSON", "api_base" },
		{ 200, JSON, "{\"modules.v1\":\"/x/\"}", ERR_UNSUPPORTED, "no usable address of tfe.v2", "api_base" },
		{ 200, JSON, "{\"tfe.v2\":\"http://" HOST "/api\"}", ERR_UNSUPPORTED, "not https", "api_base" },
		{ 200, JSON, "{\"tfe.v2\":\"https:// \"}", ERR_UNSUPPORTED, "no usable address", "api_base" },
		{ 302, "Location: http://" HOST "/x", "", ERR_UNSUPPORTED, "to no https address", "api_base" },
		{ 302, NULL, "", ERR_UNSUPPORTED, "to no https address", "api_base" },
		{ 418, NULL, "", ERR_UNSUPPORTED, "answers 418", "api_base" } };

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		begin();
		scripted_expect(rig.http, "GET", DOC, rows[i].status, rows[i].headers, rows[i].body);
		expect_error(rows[i].code, rows[i].says, rows[i].hint);
		end();
	}
	begin();
	for (size_t i = 0; i < 4; i++)
		scripted_expect(rig.http, "GET", DOC, 302, "Location: " DOC, "");
	expect_error(ERR_UNSUPPORTED, "redirects too often", "api_base");
	end();
}

static void
asks_again(void)
{
	begin();
	scripted_expect(rig.http, "GET", DOC, 502, NULL, "");
	scripted_expect(rig.http, "GET", DOC, 200, JSON, "{\"tfe.v2\":\"/api/v2/\"}")->fault = SCRIPTED_LOST_ANSWER;
	scripted_expect(rig.http, "GET", DOC, 200, JSON, "{\"tfe.v2\":\"/api/v2/\"}");
	expect("https://" HOST "/api/v2/");
	end();
	begin();
	for (size_t i = 0; i < 3; i++)
		scripted_expect(rig.http, "GET", DOC, 503, NULL, "");
	expect_error(ERR_BUSY, "answers 503", "");
	end();
	begin(); /* eleven seconds for all of it */
	scripted_expect(rig.http, "GET", DOC, 200, JSON, "{}")->fault = SCRIPTED_TIMEOUT;
	expect_error(ERR_TIMEOUT, "", "");
	CHECK(loop_now(rig.loop) < 12000);
	end();
}

/* The configuration of the CLI stands in for the document, also in the plain; nobody is asked. */
static void
takes_what_the_cli_was_told(void)
{
	begin();
	remote_access_rig_file(&rig, ".terraformrc", 0600, "host \"other.example\" {\n  services = {\n    \"tfe.v2\" = \"https://no.example/\"\n  }\n}\n"
	    "host \"TFE.example\" {\n  services = {\n    \"tfe.v2.1\" = \"http://no.example/\"\n"
	    "    \"tfe.v2\" = \"http://127.0.0.1:8080/api/v2\"\n  }\n}\n");
	expect("http://127.0.0.1:8080/api/v2/");
	remote_access_rig_file(&rig, ".terraform.d/x.tfrc.json", 0600, "{\"host\":{\"" HOST "\":{\"services\":{\"state.v2\":\"/rel\"}}}}");
	expect("https://" HOST "/rel/");
	remote_access_rig_file(&rig, ".terraform.d/x.tfrc.json", 0666, "{\"host\":{\"" HOST "\":{\"services\":{\"state.v2\":\"/rel\"}}}}");
	expect_error(ERR_AUTH, "says where the token of " HOST " is sent, and others", "chmod go-w");
	remote_access_rig_file(&rig, ".terraform.d/x.tfrc.json", 0600, "{\"host\":{\"" HOST "\":{\"services\":{\"tfe.v2\":\"http:// x\"}}}}");
	expect_error(ERR_CONFIG, "no usable address", "");
	end();
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){
		{ "names of hosts", makes_names_of_hosts_comparable },
		{ "the best service", takes_the_best_service },
		{ "who sees the token", shows_the_token_to_the_host_alone },
		{ "what it met", says_what_it_met },
		{ "asked again", asks_again },
		{ "what the CLI was told", takes_what_the_cli_was_told },
		{ NULL, NULL },
	});
}
