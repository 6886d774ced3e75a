/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "../../lib/provider_rig.h"
#include "../../lib/test.h"

/* Every argument of the http backend and its variable (docs/protocol/http-state.md): from the environment, and that the block wins. */
#define ENV_ADDRESS "https://h.example/state"
#define ENV_LOCK    "https://h.example/lock"
#define ENV_UNLOCK  "https://h.example/unlock"
#define BASIC       "Basic Ym9iOmVudi1wYXNz" /* bob:env-pass */
#define BASIC_BLOCK "Basic YW5uOmJsb2NrLXBhc3M=" /* ann:block-pass */

static const char *const variables[][2] = {
	{ "TF_HTTP_ADDRESS", ENV_ADDRESS }, { "TF_HTTP_UPDATE_METHOD", "PUT" }, { "TF_HTTP_LOCK_ADDRESS", ENV_LOCK },
	{ "TF_HTTP_LOCK_METHOD", "ACQUIRE" }, { "TF_HTTP_UNLOCK_ADDRESS", ENV_UNLOCK }, { "TF_HTTP_UNLOCK_METHOD", "DELETE" },
	{ "TF_HTTP_USERNAME", "bob" }, { "TF_HTTP_PASSWORD", "env-pass" }, { "TF_HTTP_CLIENT_CA_CERTIFICATE_PEM", "env-ca" },
	{ "TF_HTTP_CLIENT_CERTIFICATE_PEM", "env-cert" }, { "TF_HTTP_CLIENT_PRIVATE_KEY_PEM", "env-key" },
	{ "TF_HTTP_RETRY_MAX", "1" }, { "TF_HTTP_RETRY_WAIT_MIN", "3" }, { "TF_HTTP_RETRY_WAIT_MAX", "4" },
};

static const char          body[] = "{\"version\":4,\"serial\":3,\"lineage\":\"l\",\"outputs\":{},\"resources\":[]}\n";
static struct provider_rig r;
static struct state_ref    ref = { "default" };
static struct lock_info    mine, holder;
static unsigned            step;

/* What each request of a write under a lock must be. */
struct wanted {
	const char *method[3], *url[3];
	const char *basic, *ca, *cert, *key;
	bool        insecure;
};

static void
environment(bool set)
{
	for (size_t i = 0; i < ARRAY_LEN(variables); i++)
		if (set)
			setenv(variables[i][0], variables[i][1], 1);
		else
			unsetenv(variables[i][0]);
}

static void
check_text(const char *got, const char *want)
{
	CHECK((got == NULL) == (want == NULL));
	if (want != NULL)
		CHECK_STR(got, want);
}

static void
answer(void *arg, const struct scripted_request *rq, struct scripted_answer *ret)
{
	const struct wanted *w = arg;
	char                *whole;

	CHECK(step < 3);
	whole = xasprintf("%s%s", w->url[step], step == 1 ? "?ID=" : "");
	CHECK_STR(rq->method, w->method[step]);
	CHECK(step == 1 ? strncmp(rq->url, whole, strlen(whole)) == 0 : strcmp(rq->url, whole) == 0);
	check_text(scripted_header(rq, "Authorization"), w->basic);
	check_text(rq->tls->ca_pem, w->ca);
	check_text(rq->tls->cert_pem, w->cert);
	check_text(rq->tls->key_pem != NULL ? secret_str(rq->tls->key_pem) : NULL, w->key);
	CHECK(rq->tls->insecure == w->insecure);
	free(whole);
	step++;
	ret->status = 200;
}

/* Lock, write, unlock. */
static void
check_write(const char *block, const struct wanted *w)
{
	struct snapshot s;
	struct body    *bytes = body_copy(span_str(body));
	char            etag[ETAG_MAX];

	provider_rig_open(&r, false, block);
	provider_lock_new(r.b, &ref, "test", &mine);
	scripted_handle(r.http, answer, (void *)(uintptr_t)w);
	step = 0;
	snapshot_of(&s, bytes, NULL);
	CHECK_U64(provider_rig_run(&r, provider_lock(r.b, &ref, &mine, &holder)), ERR_OK);
	CHECK_U64(provider_rig_run(&r, provider_put(r.b, &ref, &s, &(struct put_condition){ PUT_UNDER_LOCK, NULL, &mine }, etag)), ERR_OK);
	CHECK_U64(provider_rig_run(&r, provider_unlock(r.b, &ref, &mine)), ERR_OK);
	CHECK_U64(step, 3);
	snapshot_free(&s);
	body_unref(bytes);
	provider_rig_close(&r);
}

/* How often a read of a server in trouble is sent, and for how many seconds. */
static void
check_retries(const char *block, unsigned sent, uint64_t seconds)
{
	struct snapshot got = { .body = NULL };
	int64_t         begun;

	provider_rig_open(&r, false, block);
	begun = loop_now(r.loop);
	for (unsigned i = 0; i < sent; i++)
		scripted_expect(r.http, "GET", "h.example", 500, NULL, NULL);
	CHECK_U64(provider_rig_run(&r, provider_get(r.b, &ref, NULL, &got)), ERR_BUSY);
	CHECK_U64((uint64_t)(loop_now(r.loop) - begun) / 1000, seconds);
	scripted_http_check(r.http);
	provider_rig_close(&r);
}

static void
an_empty_block_takes_all_from_the_environment(void)
{
	static const struct wanted w = { { "ACQUIRE", "PUT", "DELETE" }, { ENV_LOCK, ENV_ADDRESS, ENV_UNLOCK }, BASIC, "env-ca",
		"env-cert", "env-key", false };

	environment(true);
	check_write("backend \"http\" \"b\" {\n}\n", &w);
	check_retries("backend \"http\" \"b\" {\n}\n", 2, 3); /* one more, after retry_wait_min */
	setenv("TF_HTTP_RETRY_MAX", "2", 1);
	check_retries("backend \"http\" \"b\" {\n}\n", 3, 7); /* 3, then 6 cut to retry_wait_max */
	environment(false);
}

#define FULL \
	"backend \"http\" \"b\" {\n  address = \"https://h.example/own\"\n  update_method = \"PATCH\"\n" \
	"  lock_address = \"https://h.example/own-lock\"\n  lock_method = \"TAKE\"\n  unlock_address = \"https://h.example/own-unlock\"\n" \
	"  unlock_method = \"GIVE\"\n  username = \"ann\"\n  password = \"block-pass\"\n  client_ca_certificate_pem = \"own-ca\"\n" \
	"  client_certificate_pem = \"own-cert\"\n  client_private_key_pem = \"own-key\"\n  skip_cert_verification = true\n" \
	"  retry_max = 3\n  retry_wait_min = 2\n  retry_wait_max = 5\n}\n"

static void
a_value_in_the_block_wins(void)
{
	static const struct wanted w = { { "TAKE", "PATCH", "GIVE" },
		{ "https://h.example/own-lock", "https://h.example/own", "https://h.example/own-unlock" }, BASIC_BLOCK, "own-ca", "own-cert",
		"own-key", true };

	environment(true);
	check_write(FULL, &w);
	check_retries(FULL, 4, 11); /* 2, 4, and 8 cut to 5 */
	environment(false);
}

static void
defaults_are_terraforms(void)
{
	static const struct wanted w = { { "LOCK", "POST", "UNLOCK" }, { ENV_LOCK, ENV_ADDRESS, ENV_LOCK }, NULL, NULL, NULL, NULL, false };
	static const char          block[] = "backend \"http\" \"b\" {\n  address = \"" ENV_ADDRESS "\"\n  lock_address = \"" ENV_LOCK "\"\n"
	                                     "  unlock_address = \"" ENV_LOCK "\"\n  password = \"unused\"\n}\n"; /* no user: not sent */

	check_write(block, &w);
	check_retries(block, 3, 3);
}

/* An empty variable is none; and what is wrong in one is told by its name, without its value. */
static void
variables_are_checked_as_arguments(void)
{
	static const char *const rows[][3] = {
		{ "TF_HTTP_ADDRESS", "", "TF_HTTP_ADDRESS" }, { "TF_HTTP_ADDRESS", "ftp://c4n4ry/", "address" },
		{ "TF_HTTP_LOCK_METHOD", "A c4n4ry", "lock_method" }, { "TF_HTTP_RETRY_MAX", "c4n4ry", "TF_HTTP_RETRY_MAX" },
		{ "TF_HTTP_RETRY_WAIT_MIN", "-1", "TF_HTTP_RETRY_WAIT_MIN" }, { "TF_HTTP_RETRY_WAIT_MAX", "2", "retry_wait_max" },
		{ "TF_HTTP_CLIENT_PRIVATE_KEY_PEM", "", "go together" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const char *why;

		environment(true);
		setenv(rows[i][0], rows[i][1], 1);
		why = provider_rig_refuses("backend \"http\" \"b\" {\n}\n");
		if (why == NULL || strstr(why, rows[i][2]) == NULL || strstr(why, "c4n4ry") != NULL)
			test_fail(__FILE__, __LINE__, "%s: %s", rows[i][0], why != NULL ? why : "accepted");
	}
	environment(false);
}

/* As OpenTofu has it; Terraform refuses an empty address. */
static void
an_empty_lock_address_is_none(void)
{
	static const char *const rows[][2] = { { "", "" }, { ENV_LOCK, "" }, { "", ENV_UNLOCK } };

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct err e;
		char      *text = xasprintf("backend \"http\" \"b\" {\n  address = \"%s\"\n  lock_address = \"%s\"\n"
		                            "  unlock_address = \"%s\"\n}\n", ENV_ADDRESS, rows[i][0], rows[i][1]);

		provider_rig_open(&r, false, text);
		CHECK((provider_caps(r.b) & PROVIDER_LOCK) == 0);
		CHECK_U64(provider_writable(r.b, &e), ERR_CONFLICT);
		CHECK(strstr(e.hint, "exclusive") != NULL || strstr(e.msg, "exclusive") != NULL);
		provider_rig_close(&r);
		free(text);
	}
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){
	    { "an_empty_block_takes_all_from_the_environment", an_empty_block_takes_all_from_the_environment },
	    { "a_value_in_the_block_wins", a_value_in_the_block_wins },
	    { "defaults_are_terraforms", defaults_are_terraforms },
	    { "an_empty_lock_address_is_none", an_empty_lock_address_is_none },
	    { "variables_are_checked_as_arguments", variables_are_checked_as_arguments },
	    { NULL, NULL },
	});
}
