/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "../../lib/s3_rig.h"
#include "../../lib/test.h"

/* The block: terraform's arguments, what is refused and how, names and workspaces. */
#define BASE "bare bucket = \"acme\"\n"

static void
takes_a_block_as_terraform_has_it(void)
{
	struct s3_rig r = { 0 };

	s3_rig_open(&r, "bare bucket = \"acme\"\nkey = \"network/terraform.tfstate\"\nregion = \"eu-west-3\"\nencrypt = true\n"
	    "use_lockfile = true\nworkspace_key_prefix = \"ws\"\nskip_credentials_validation = true\nskip_region_validation = true\n"
	    "skip_requesting_account_id = true\nskip_metadata_api_check = \"true\"\nskip_s3_checksum = true\nmax_retries = 3\n"
	    "retry_mode = \"adaptive\"\nsts_region = \"eu-west-3\"\nendpoints = { sts = \"https://sts.example\", iam = \"https://i.example\" }\n"
	    "no_proxy = \"a\"\nhttp_proxy = \"http://p:1\"\nhttps_proxy = \"http://p:1\"\ncustom_ca_bundle = \"ca.pem\"\n"
	    "ec2_metadata_service_endpoint = \"http://169.254.169.254\"\nec2_metadata_service_endpoint_mode = \"IPv4\"\n"
	    "access_key = \"a\"\nsecret_key = \"b\"\ntoken = \"c\"\ninsecure = false\nprofile = \"\"\nprefix = \"\"\nread_only = false");
	CHECK_U64(provider_caps(r.b), PROVIDER_LIST | PROVIDER_IF_MATCH | PROVIDER_CAS | PROVIDER_HISTORY | PROVIDER_LOCK |
	    PROVIDER_LOCK_ID);
	CHECK_STR(r.b->where, "s3://acme/network/terraform.tfstate");
	s3_rig_close(&r);
}

static const struct {
	const char *args, *want;
} mistakes[] = {
	{ "bare region = \"r\"", "\"bucket\"" },
	{ BASE, "AWS_REGION" },
	{ "bare bucket = \"a/b\"\nregion = \"r\"", "bucket" },
	{ BASE "region = \"eu west\"", "region" },
	{ BASE "region = \"r\"\nkey = \"/a\"", "key neither begins nor ends" },
	{ BASE "region = \"r\"\nkey = \"a/\"", "key neither begins nor ends" },
	{ BASE "region = \"r\"\nkey = \"a/../b\"", "key: " },
	{ BASE "region = \"r\"\nworkspace_key_prefix = \"a/\"", "workspace_key_prefix" },
	{ BASE "region = \"r\"\nkey = \"a\"\nprefix = \"b/\"", "not both" },
	{ BASE "region = \"r\"\naccess_key = \"a\"", "access_key without secret_key" },
	{ BASE "region = \"r\"\nsecret_key = \"geheim\"", "secret_key without access_key" },
	{ BASE "region = \"r\"\nbuket = \"a\"", "did you mean \"bucket\"" },
	{ BASE "region = \"r\"\nendpoints = { s4 = \"http://x\" }", "did you mean \"s3\"" },
	{ BASE "region = \"r\"\nendpoints {\n}", "expected endpoints = {" },
	{ BASE "region = \"r\"\nendpoints = { s3 = \"store.example\" }", "endpoint of s3" },
	{ BASE "region = \"r\"\nendpoints = { s3 = \"https://u:geheim@store.example\" }", "endpoint of s3" },
	{ BASE "region = \"r\"\nendpoints = { s3 = \"https://a.example\" }\nendpoint = \"https://b.example\"", "not both" },
	{ BASE "region = \"r\"\nsse_customer_key = \"geheim\"\nencrypt = true", "sse_customer_key: expected 32 bytes" },
	{ BASE "region = \"r\"\nsse_customer_key = \"geheim\"\nkms_key_id = \"k\"", "not both" },
	{ BASE "region = \"r\"\nretry_mode = \"standart\"", "did you mean \"standard\"" },
	{ BASE "region = \"r\"\nmax_retries = -1", "max_retries" },
	{ BASE "region = \"r\"\nprofile = \"nobody\"", "there is no profile \"nobody\"" },
};

static void
says_what_is_wrong_with_a_block(void)
{
	for (size_t i = 0; i < ARRAY_LEN(mistakes); i++) {
		struct s3_rig r = { 0 };

		if (s3_rig_try(&r, mistakes[i].args) != ERR_CONFIG || strstr(r.err.msg, mistakes[i].want) == NULL ||
		    strstr(r.err.msg, "geheim") != NULL || strncmp(r.err.msg, "t.hcl:", 6) != 0)
			test_fail(__FILE__, __LINE__, "%s: %s", mistakes[i].args, r.err.msg);
		s3_rig_close(&r);
	}
}

static void
reads_the_environment_of_terraform(void)
{
	struct s3_rig r;

	s3_rig_init(&r);
	s3_rig_var(&r, "AWS_DEFAULT_REGION", "eu-west-9");
	s3_rig_var(&r, "AWS_USE_DUALSTACK_ENDPOINT", "true");
	s3_rig_var(&r, "AWS_ACCESS_KEY_ID", FAKE_S3_ACCESS);
	s3_rig_var(&r, "AWS_SECRET_ACCESS_KEY", FAKE_S3_SECRET);
	s3_rig_open(&r, BASE);
	fake_s3_rule(r.fake, &(struct fake_s3_rule){ .how = FAKE_ANSWER, .status = 404, .body = "<Error><Code>NoSuchKey</Code></Error>" });
	CHECK_U64(s3_rig_get(&r, "a", &(struct snapshot){ 0 }), ERR_NOT_FOUND);
	CHECK_U64(fake_s3_seen(r.fake, "https://acme.s3.dualstack.eu-west-9.amazonaws.com/a"), 1);
	s3_rig_close(&r);
}

static const char *
workspace(struct s3_rig *r, const char *name)
{
	static char text[256];
	struct buf  b;

	buf_init(&b, 0);
	provider_workspace(r->b, name, &b);
	snprintf(text, sizeof(text), "%s", buf_str(&b));
	buf_free(&b);
	return text;
}

static const char *
fixed(struct s3_rig *r, const char *ws)
{
	static char text[256];
	struct buf  b;
	bool        is;

	buf_init(&b, 0);
	is = provider_fixed(r->b, ws, &b);
	snprintf(text, sizeof(text), "%s", buf_str(&b));
	buf_free(&b);
	return is ? text : NULL;
}

static void
knows_workspaces(void)
{
	struct s3_rig r = { 0 };

	s3_rig_open(&r, "key = \"a/b.tfstate\"");
	CHECK_STR(fixed(&r, "default"), "a/b.tfstate");
	CHECK_STR(fixed(&r, "dev"), "env:/dev/a/b.tfstate");
	CHECK_STR(workspace(&r, "a/b.tfstate"), "default");
	CHECK_STR(workspace(&r, "env:/dev/a/b.tfstate"), "dev");
	s3_rig_close(&r);
	s3_rig_open(&r, "key = \"a//b.tfstate\"\nworkspace_key_prefix = \"w/x\"");
	CHECK_STR(fixed(&r, "default"), "a//b.tfstate");
	CHECK_STR(fixed(&r, "dev"), "w/x/dev/a/b.tfstate");
	CHECK_STR(workspace(&r, "w/x/dev/a/b.tfstate"), "dev");
	s3_rig_close(&r);
	s3_rig_open(&r, "key = \"b.tfstate\"\nworkspace_key_prefix = \"\"");
	CHECK_STR(fixed(&r, "dev"), &"/dev/b.tfstate"[1]);
	CHECK_STR(workspace(&r, "dev/b.tfstate"), "dev");
	CHECK_STR(workspace(&r, "history/x/b.tfstate"), "default");
	s3_rig_close(&r);
	s3_rig_open(&r, "prefix = \"copy/\"");
	CHECK(fixed(&r, "default") == NULL);
	CHECK_STR(workspace(&r, "env:/dev/a/b.tfstate"), "dev");
	CHECK_STR(workspace(&r, "a/b.tfstate"), "default");
	CHECK_STR(workspace(&r, "env:/b.tfstate"), "default");
	s3_rig_close(&r);
}

static void
says_where_it_is(void)
{
	struct s3_rig    r = { 0 };
	struct lock_info l;
	struct buf       hint;

	s3_rig_open(&r, "prefix = \"states/\"");
	CHECK_STR(r.b->where, "s3://acme/states/ at http://" FAKE_S3_HOST "/");
	CHECK_U64(provider_caps(r.b), PROVIDER_LIST | PROVIDER_IF_MATCH | PROVIDER_CAS | PROVIDER_HISTORY | PROVIDER_UNPROVEN);
	provider_lock_new(r.b, &(struct state_ref){ "a.tfstate" }, "", &l);
	CHECK_STR(l.path, "acme/states/a.tfstate");
	buf_init(&hint, 0);
	snprintf(l.id, sizeof(l.id), "ID");
	provider_unlock_hint(r.b, "a.tfstate", &l, &hint);
	CHECK_STR(buf_str(&hint), "terraform force-unlock ID, or stateferry unlock dr:a.tfstate ID");
	buf_reset(&hint);
	snprintf(l.id, sizeof(l.id), "-x;$(touch y)"); /* of whoever may write there */
	provider_unlock_hint(r.b, "a b.tfstate", &l, &hint);
	CHECK_STR(buf_str(&hint), "terraform force-unlock -- '-x;$(touch y)', or stateferry unlock -- 'dr:a b.tfstate' '-x;$(touch y)'");
	buf_free(&hint);
	s3_rig_close(&r);
	s3_rig_open(&r, "bare bucket = \"acme\"\nregion = \"r\"\nendpoint = \"https://bucket.vpce-1.s3.us-east-1.vpce.amazonaws.com\"");
	CHECK((provider_caps(r.b) & PROVIDER_UNPROVEN) == 0);
	s3_rig_close(&r);
}

/* Opens every backend of a configuration; how many. */
static unsigned
open_all(struct s3_rig *r, struct span text)
{
	struct conf       *c;
	struct conf_block *root;
	struct backend    *b;
	unsigned           opened = 0;

	CHECK_OK(conf_parse("s3.hcl", "/", text, false, &r->source, &c, &r->err), r->err);
	root = conf_root(c);
	for (size_t i = 0; i < root->nblocks; i++) {
		if (strcmp(root->blocks[i].type, "backend") != 0)
			continue;
		CHECK_OK(provider_open(&r->env, c, &root->blocks[i], &b, &r->err), r->err);
		provider_close(b);
		opened++;
	}
	conf_free(c);
	return opened;
}

/* The commented example opens as it stands, and with each argument in it that is a comment. */
static void
opens_the_example(void)
{
	struct s3_rig r;
	size_t        n, arguments = 0;
	const char   *text = test_read("../conf/examples/s3.hcl", &n);
	char         *copy = xstrndup(text, n);

	s3_rig_init(&r);
	s3_rig_file(&r, "/etc/stateferry/aws-credentials", "[default]\n");
	s3_rig_file(&r, "/home/u/.aws/credentials", "[default]\n");
	CHECK_U64(open_all(&r, span_of(text, n)), 2);
	for (char *at = copy; (at = strstr(at, "\n  # ")) != NULL; at += 5) {
		if (strncmp(at + 5, "secret_key", 10) == 0) /* goes with access_key */
			continue;
		memcpy(at + 1, "    ", 4);
		arguments++;
		if (strncmp(at + 5, "access_key", 10) == 0)
			memcpy(strstr(at, "  # secret_key"), "    ", 4);
		if (open_all(&r, span_str(copy)) != 2)
			test_fail(__FILE__, __LINE__, "%.40s", at + 5);
		memcpy(copy, text, n);
	}
	CHECK(arguments >= 17);
	free(copy);
	s3_rig_close(&r);
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){
	    { "takes_a_block_as_terraform_has_it", takes_a_block_as_terraform_has_it },
	    { "says_what_is_wrong_with_a_block", says_what_is_wrong_with_a_block },
	    { "reads_the_environment_of_terraform", reads_the_environment_of_terraform },
	    { "knows_workspaces", knows_workspaces },
	    { "says_where_it_is", says_where_it_is },
	    { "opens_the_example", opens_the_example },
	    { NULL, NULL } });
}
