/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "../../lib/agent_rig.h"
#include "../../lib/test.h"
#include "base/mem.h"

/* What a state is called after it has moved: the same workspace of the same place, in the words of the other kind of backend. */
static const char text[] =
    "backend \"s3\" \"s3\" {\n  bucket = \"one\"\n  region = \"r\"\n}\n"
    "backend \"s3\" \"deep\" {\n  bucket = \"two\"\n  region = \"r\"\n  prefix = \"deep/\"\n}\n"
    "backend \"s3\" \"key\" {\n  bucket = \"three\"\n  region = \"r\"\n  key = \"net/app.tfstate\"\n}\n"
    "backend \"s3\" \"spaces\" {\n  bucket = \"four\"\n  region = \"r\"\n  workspace_key_prefix = \"ws\"\n}\n"
    "backend \"gcs\" \"gcs\" {\n  bucket = \"one\"\n  access_token = \"t\"\n}\n"
    "backend \"gcs\" \"net\" {\n  bucket = \"two\"\n  prefix = \"net\"\n  access_token = \"t\"\n}\n"
    "backend \"azurerm\" \"az\" {\n  storage_account_name = \"acme\"\n  container_name = \"one\"\n  access_key = \"YQ==\"\n}\n"
    "backend \"azurerm\" \"blob\" {\n  storage_account_name = \"acme\"\n  container_name = \"two\"\n  key = \"k\"\n  access_key = \"YQ==\"\n}\n"
    "backend \"local\" \"dir\" {\n  dir = \"/nowhere\"\n}\n"
    "backend \"local\" \"file\" {\n  path = \"/elsewhere/app.tfstate\"\n}\n"
    "backend \"http\" \"http\" {\n  address = \"http://127.0.0.1:1/{name}\"\n}\n"
    "backend \"http\" \"one\" {\n  address = \"http://127.0.0.1:1/x\"\n}\n";

static const struct {
	const char *from, *name, *to, *expected;
	bool        back; /* and it comes back under its own name */
} cases[] = {
	/* many places, each with workspaces */
	{ "s3", "a/net.tfstate", "gcs", "a/net/default.tfstate", true },
	{ "s3", "env:/W/a/net.tfstate", "gcs", "a/net/W.tfstate", true },
	{ "s3", "env:/W/a/net.tfstate", "az", "a/net.tfstateenv:W", true },
	{ "s3", "env:/W/a/net.tfstate", "dir", "a/net.tfstate.d/W/terraform.tfstate", true },
	{ "s3", "env:/W/a/net.tfstate", "deep", "env:/W/deep/a/net.tfstate", true },
	{ "s3", "a/net.tfstate", "deep", "a/net.tfstate", true },
	{ "s3", "env:/W/a/net.tfstate", "spaces", "ws/W/a/net.tfstate", true },
	{ "s3", "env:/W/a/net.tfstate", "http", "a/net-W", false },
	{ "s3", "a/net.tfstate", "http", "a/net", true },
	{ "dir", "terraform.tfstate", "s3", "terraform.tfstate", true },
	{ "dir", "a/terraform.tfstate.d/W/terraform.tfstate", "s3", "env:/W/a/terraform.tfstate", true },
	{ "dir", "a/terraform.tfstate.d/W/terraform.tfstate", "gcs", "a/terraform/W.tfstate", true },
	{ "dir", "x.tfstate.d/terraform.tfstate", "s3", "x.tfstate.d/terraform.tfstate", true },
	{ "dir", ".tfstate.d/W/terraform.tfstate", "s3", ".tfstate.d/W/terraform.tfstate", true },
	{ "az", "a/net.tfstateenv:W", "gcs", "a/net/W.tfstate", true },
	{ "gcs", "a/net/W.tfstate", "az", "a/net.tfstateenv:W", true },
	{ "deep", "env:/W/a/net.tfstate", "gcs", "a/net/W.tfstate", false }, /* a copy, as an edge names it */
	/* gcs without a folder: one place, which it does not name */
	{ "gcs", "default.tfstate", "s3", "terraform.tfstate", false },
	{ "gcs", "W.tfstate", "s3", "env:/W/terraform.tfstate", false },
	{ "net", "W.tfstate", "az", "terraform.tfstateenv:W", false },
	{ "net", "W.tfstate", "http", "W", false },
	/* one place and its workspaces, on either side */
	{ "key", "net/app.tfstate", "net", "default.tfstate", true },
	{ "key", "env:/W/net/app.tfstate", "net", "W.tfstate", true },
	{ "key", "env:/W/net/app.tfstate", "blob", "kenv:W", true },
	{ "key", "env:/W/net/app.tfstate", "file", "terraform.tfstate.d/W/terraform.tfstate", true },
	{ "blob", "k", "file", "app.tfstate", true },
	{ "blob", "kenv:W", "s3", "env:/W/terraform.tfstate", false },
	{ "s3", "env:/W/a/net.tfstate", "blob", "kenv:W", false },
	{ "file", "app.tfstate", "one", "default", true },
	{ "one", "default", "net", "default.tfstate", true },
};

static void
names(void)
{
	struct agent_rig r = { .http = NULL };
	struct plan     *p;

	agent_rig_open(&r, 1, NULL, text);
	p = engine_plan(r.engine);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct backend *from = plan_backend(p, cases[i].from), *to = plan_backend(p, cases[i].to);
		struct buf      there, back;

		buf_init(&there, 0);
		buf_init(&back, 0);
		provider_rename(from, cases[i].name, to, &there);
		CHECK_STR(buf_str(&there), cases[i].expected);
		provider_rename(to, buf_str(&there), from, &back);
		if (cases[i].back)
			CHECK_STR(buf_str(&back), cases[i].name);
		buf_free(&there);
		buf_free(&back);
	}
	agent_rig_close(&r);
}

/* --- the block --- */

#define CANARY "s3cr3t-canary"

static const struct {
	const char *conf, *name, *block;
} blocks[] = {
	{ "backend \"s3\" \"b\" {\n  bucket = \"one\"\n  region = env(\"HOME_REGION\")\n  use_lockfile = true\n  prefix = \"deep/\"\n"
	  "  access_key = \"" CANARY "\"\n  secret_key = env(\"SECRET\")\n  poll = \"5s\"\n  encrypt = false\n"
	  "  endpoints = { s3 = \"http://user:" CANARY "@127.0.0.1:1\" }\n  state \"x\" {\n    alias = \"y\"\n  }\n}\n",
	    NULL, NULL },
	{ "backend \"s3\" \"b\" {\n  bucket = \"one\"\n  region = env(\"HOME_REGION\")\n  use_lockfile = true\n  prefix = \"deep/\"\n"
	  "  access_key = \"" CANARY "\"\n  secret_key = env(\"SECRET\")\n  poll = \"5s\"\n  state \"x\" {\n    alias = \"y\"\n  }\n"
	  "  assume_role = { role_arn = \"arn:aws:iam::1:role/r\", external_id = \"e\" }\n}\n",
	    "env:/W/deep/a/net.tfstate",
	    "    key                  = \"deep/a/net.tfstate\"\n    workspace_key_prefix = \"deep/env:\"\n    bucket               = \"one\"\n"
	    "    region               = \"eu-9\"\n    use_lockfile         = true\n"
	    "    assume_role          = { role_arn = \"arn:aws:iam::1:role/r\", external_id = \"e\" }\n"
	    "    # access_key: export AWS_ACCESS_KEY_ID\n    # secret_key: the value of env(\"SECRET\"); export AWS_SECRET_ACCESS_KEY\n" },
	{ "backend \"s3\" \"b\" {\n  bucket = \"one\"\n  region = \"r\"\n  key = \"net/app\"\n  workspace_key_prefix = \"ws\"\n"
	  "  profile = \"p\"\n  assume_role_with_web_identity {\n    role_arn = \"arn:aws:iam::1:role/r\"\n"
	  "    web_identity_token = \"" CANARY "\"\n  }\n}\n",
	    "ws/W/net/app",
	    "    key                           = \"net/app\"\n    bucket                        = \"one\"\n"
	    "    region                        = \"r\"\n    workspace_key_prefix          = \"ws\"\n"
	    "    profile                       = \"p\"\n"
	    "    assume_role_with_web_identity = { role_arn = \"arn:aws:iam::1:role/r\" }\n"
	    "    # web_identity_token: terraform init -backend-config=\"web_identity_token=...\"\n" },
	{ "backend \"gcs\" \"b\" {\n  bucket = \"one\"\n  prefix = \"/deep//x/\"\n  access_token = \"" CANARY "\"\n  project = \"p\"\n}\n",
	    "a/net/W.tfstate",
	    "    prefix = \"deep/x/a/net\"\n    bucket = \"one\"\n    # access_token: export GOOGLE_OAUTH_ACCESS_TOKEN\n" },
	{ "backend \"gcs\" \"b\" {\n  bucket = \"one\"\n  credentials = \"/nowhere/" CANARY "\"\n  access_token = \"t\"\n}\n", "default.tfstate",
	    "    bucket = \"one\"\n    # credentials: export GOOGLE_BACKEND_CREDENTIALS\n    # access_token: export GOOGLE_OAUTH_ACCESS_TOKEN\n" },
	{ "backend \"azurerm\" \"b\" {\n  storage_account_name = \"acme\"\n  container_name = \"one\"\n  prefix = \"p/\"\n"
	  "  blob_endpoint = \"http://127.0.0.1:1/acme\"\n  access_key = \"YQ==\"\n}\n",
	    "a/net.tfstateenv:W",
	    "    key                  = \"p/a/net.tfstate\"\n    storage_account_name = \"acme\"\n    container_name       = \"one\"\n"
	    "    # access_key: export ARM_ACCESS_KEY\n"
	    "    # terraform has no blob_endpoint: it looks for the account at the address that environment implies\n" },
	{ "backend \"azurerm\" \"b\" {\n  storage_account_name = \"acme\"\n  container_name = \"one\"\n  environment = \"china\"\n"
	  "  metadata_host = \"stack.example\"\n  access_key = \"YQ==\"\n}\n",
	    "a.tfstate",
	    "    key                  = \"a.tfstate\"\n    storage_account_name = \"acme\"\n    container_name       = \"one\"\n"
	    "    environment          = \"china\"\n    metadata_host        = \"stack.example\"\n    # access_key: export ARM_ACCESS_KEY\n" },
	{ "backend \"s3\" \"b\" {\n  bucket = \"one\"\n  region = \"garage\"\n  endpoints = { s3 = \"http://127.0.0.1:1\" }\n"
	  "  skip_region_validation = false\n}\n",
	    "a.tfstate",
	    "    key                         = \"a.tfstate\"\n    use_path_style              = true\n    skip_credentials_validation = true\n"
	    "    skip_requesting_account_id  = true\n    bucket                      = \"one\"\n    region                      = \"garage\"\n"
	    "    endpoints                   = { s3 = \"http://127.0.0.1:1\" }\n    skip_region_validation      = false\n" },
	{ "backend \"local\" \"b\" {\n  dir = \"/nowhere\"\n  prefix = \"p/\"\n}\n", "a/net.tfstate.d/W/terraform.tfstate",
	    "    path          = \"/nowhere/p/a/net.tfstate\"\n    workspace_dir = \"/nowhere/p/a/net.tfstate.d\"\n" },
	{ "backend \"local\" \"b\" {\n  path = \"/nowhere/x/net.tfstate\"\n}\n", "net.tfstate",
	    "    path          = \"/nowhere/x/net.tfstate\"\n    workspace_dir = \"/nowhere/x/terraform.tfstate.d\"\n" },
	{ "backend \"http\" \"b\" {\n  address = \"http://127.0.0.1:1/{name}\"\n  username = \"ann\"\n  password = \"" CANARY "\"\n"
	  "  headers = { X-Token = \"" CANARY "\" }\n  retry_max = 4\n}\n",
	    "a/net",
	    "    address   = \"http://127.0.0.1:1/a%2Fnet\"\n    username  = \"ann\"\n    retry_max = 4\n"
	    "    # password: export TF_HTTP_PASSWORD\n" },
	{ "backend \"harness\" \"b\" {\n  endpoint = \"http://127.0.0.1:1\"\n  account_id = \"A\"\n  org_id = \"O\"\n  project_id = \"P\"\n"
	  "  api_key = \"" CANARY "\"\n}\n",
	    "w",
	    "    address        = \"http://127.0.0.1:1/iacm/api/orgs/O/projects/P/workspaces/w/terraform-backend?accountIdentifier=A\"\n"
	    "    lock_address   = \"http://127.0.0.1:1/iacm/api/orgs/O/projects/P/workspaces/w/terraform-backend/lock?accountIdentifier=A\"\n"
	    "    unlock_address = \"http://127.0.0.1:1/iacm/api/orgs/O/projects/P/workspaces/w/terraform-backend/lock?accountIdentifier=A\"\n"
	    "    update_method  = \"POST\"\n    lock_method    = \"POST\"\n    unlock_method  = \"DELETE\"\n    username       = \"harness\"\n"
	    "    # api_key: export TF_HTTP_PASSWORD\n" },
	{ "backend \"http\" \"b\" {\n  address = \"http://127.0.0.1:1/x?token=" CANARY "\"\n  lock_address = \"http://u:" CANARY "@127.0.0.1:1/l\"\n}\n",
	    "default",
	    "    # address: export TF_HTTP_ADDRESS\n    # lock_address: export TF_HTTP_LOCK_ADDRESS\n" },
};

static const char *
block_env(void *arg, const char *name)
{
	(void)arg;
	return strcmp(name, "HOME_REGION") == 0 ? "eu-9" : strcmp(name, "SECRET") == 0 ? CANARY : NULL;
}

static void
blocks_to_paste(void)
{
	const struct conf_source env = { .env = block_env };
	struct agent_rig         r = { .http = NULL };

	agent_rig_open(&r, 1, NULL, "");
	for (size_t i = 0; i < ARRAY_LEN(blocks); i++) {
		struct conf    *c;
		struct backend *b;
		struct buf      ret;
		struct err      e;
		char           *type, *whole;

		CHECK_OK(conf_parse("stateferry.hcl", "/etc", span_str(blocks[i].conf), false, &env, &c, &e), e);
		r.env.source = &env;
		if (blocks[i].block == NULL) { /* refused as ever: a URL with a password */
			CHECK(provider_open(&r.env, c, &conf_root(c)->blocks[0], &b, &e) == ERR_CONFIG);
			conf_free(c);
			continue;
		}
		CHECK_OK(provider_open(&r.env, c, &conf_root(c)->blocks[0], &b, &e), e);
		buf_init(&ret, 0);
		provider_block(b, blocks[i].name, &ret);
		type = xstrdup(b->provider->terraform != NULL ? b->provider->terraform : b->provider->name);
		whole = xasprintf("terraform {\n  backend \"%s\" {\n%s  }\n}\n", type, blocks[i].block);
		CHECK_STR(buf_str(&ret), whole);
		CHECK(strstr(buf_str(&ret), CANARY) == NULL);
		buf_free(&ret);
		free(type);
		free(whole);
		provider_close(b);
		conf_free(c);
	}
	agent_rig_close(&r);
}

struct found {
	unsigned n, refused;
	char     said[2000];
};

static void
note_found(void *arg, const char *name, const char *to_name, const struct err *why)
{
	struct found *f = arg;
	size_t        n = strlen(f->said);

	f->n++;
	f->refused += why->code != ERR_OK;
	snprintf(f->said + n, sizeof(f->said) - n, "%s > %s%s%s\n", name, to_name != NULL ? to_name : "", why->code != ERR_OK ? ": " : "",
	    why->code != ERR_OK ? why->msg : "");
}

/* Two states that would get one name: neither goes. */
static void
two_for_one_name(void)
{
	struct agent_rig       r = { .http = NULL };
	struct mem_world      *w = mem_world_new();
	struct found           f = { .n = 0 };
	struct migrate_options o = { .name = NULL };

	agent_rig_open(&r, 1, NULL, "backend \"mem\" \"a\" {}\nbackend \"local\" \"b\" {\n  path = \"/nowhere/x.tfstate\"\n}\n");
	agent_rig_world(&r, "a", w);
	mem_world_put(w, "one.tfstate", rig_state(1, "L", 1, "x"));
	mem_world_put(w, "two.tfstate", rig_state(1, "M", 1, "x"));
	o.from = plan_backend(engine_plan(r.engine), "a");
	o.to = plan_backend(engine_plan(r.engine), "b");
	CHECK_OK(agent_rig_run(&r, engine_migrate_look(r.engine, &o, note_found, &f), 60000), r.err);
	CHECK_U64(f.n, 2);
	CHECK_U64(f.refused, 2);
	CHECK(strstr(f.said, "one.tfstate > x.tfstate: one.tfstate would go to b:x.tfstate, and so would two.tfstate") != NULL);
	f = (struct found){ .n = 0 };
	o.name = "one.tfstate";
	CHECK_OK(agent_rig_run(&r, engine_migrate_look(r.engine, &o, note_found, &f), 60000), r.err);
	CHECK_STR(f.said, "one.tfstate > x.tfstate\n");
	agent_rig_close(&r);
	mem_world_free(w);
}

int
main(int argc, char **argv)
{
	static const struct test tests[] = {
		{ "names", names },
		{ "blocks_to_paste", blocks_to_paste },
		{ "two_for_one_name", two_for_one_name },
		{ NULL, NULL },
	};

	return test_main(argc, argv, tests);
}
