/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../lib/fake_azure.h"
#include "../../lib/fake_gcs.h"
#include "../../lib/fake_gitlab.h"
#include "../../lib/fake_harness.h"
#include "../../lib/fake_s3.h"
#include "../../lib/fake_tfe.h"
#include "../../lib/state_server.h"
#include "../../lib/test.h"
#include "conformance.h"
#include "net/url.h"
#include "provider/mem.h"

/* One line per provider below; a new one adds its place to write behind its back, and its names. */
static const char *const any_name[] = { "a b.tfstate", "\xc3\xbc.tfstate", "a#b?c.tfstate", "100%25.tfstate", "a+b&c=d.tfstate",
	"deep/er/x.tfstate", "a//b.tfstate", NULL };
static const char *const file_name[] = { "a b.tfstate", "\xc3\xbc.tfstate", "a#b?c.tfstate", "100%25.tfstate", "a+b&c=d.tfstate",
	"deep/er/x.tfstate", NULL };

/* --- mem --- */

static struct mem_world *world;

static const char *
mem_block(void)
{
	return "backend \"mem\" \"b\" {}\n";
}

static void
mem_begin(struct provider_rig *r)
{
	world = mem_world_new();
	mem_attach(r->b, world);
}

static void
mem_end(struct provider_rig *r)
{
	mem_attach(r->b, NULL);
	mem_world_free(world);
}

static void
mem_other(struct provider_rig *r, const char *name, struct span body)
{
	(void)r;
	mem_world_put(world, name, body);
}

static void
mem(void)
{
	conformance_run(&(struct conformance){ .block = mem_block, .begin = mem_begin, .end = mem_end, .other = mem_other,
	    .first = "one.tfstate", .second = "two.tfstate", .odd = any_name });
}

/* --- local --- */

static char folder[512];

static void
local_folder(void)
{
	static unsigned n;

	snprintf(folder, sizeof(folder), "%s/place-%u", test_tmpdir(), n++);
	CHECK(mkdir(folder, 0700) == 0);
}

static const char *
local_block(const char *argument, const char *tail)
{
	static char text[1200];

	local_folder();
	snprintf(text, sizeof(text), "backend \"local\" \"b\" {\n  %s = \"%s%s\"\n}\n", argument, folder, tail);
	return text;
}

static const char *
dir_block(void)
{
	return local_block("dir", "");
}

static const char *
path_block(void)
{
	return local_block("path", "/main.tfstate");
}

static void
local_other(struct provider_rig *r, const char *name, struct span body)
{
	char  path[1200];
	FILE *f;

	(void)r;
	snprintf(path, sizeof(path), "%s/%s", folder, name);
	f = fopen(path, "w");
	CHECK(f != NULL);
	CHECK_U64(fwrite(body.p, 1, body.n, f), body.n);
	CHECK(fclose(f) == 0);
}

static void
local_dir(void)
{
	conformance_run(&(struct conformance){ .real = true, .block = dir_block, .other = local_other, .first = "one.tfstate",
	    .second = "two.tfstate", .odd = file_name });
}

static void
local_path(void)
{
	conformance_run(&(struct conformance){ .real = true, .block = path_block, .other = local_other, .first = "main.tfstate",
	    .second = "terraform.tfstate.d/ws/terraform.tfstate" });
}

/* --- http --- */

static struct state_server *server;

static const char *
http_block(void)
{
	return "backend \"http\" \"b\" {\n  address = \"https://h.example/s/{name}?k=v\"\n"
	    "  lock_address = \"https://h.example/s/{name}\"\n  unlock_address = \"https://h.example/s/{name}\"\n"
	    "  states = [\"one.tfstate\", \"two.tfstate\"]\n}\n";
}

static void
http_begin(struct provider_rig *r)
{
	server = state_server_new(r->http);
}

static void
http_end(struct provider_rig *r)
{
	(void)r;
	state_server_free(server);
}

static void
http_other(struct provider_rig *r, const char *name, struct span body)
{
	struct buf path;

	(void)r;
	buf_init(&path, 0);
	buf_puts(&path, "/s/");
	url_escape(URL_SEGMENT, span_str(name), &path);
	state_server_put(server, buf_str(&path), body);
	buf_free(&path);
}

static void
http(void)
{
	conformance_run(&(struct conformance){ .block = http_block, .begin = http_begin, .end = http_end, .other = http_other,
	    .first = "one.tfstate", .second = "two.tfstate", .odd = any_name });
}

/* --- http, GitLab --- */

static struct fake_gitlab *gitlab_server;

#define GITLAB_NAME FAKE_GITLAB_STATE("acme%2Fnet") "{name}"

static const char *
gitlab_block(void)
{
	return "backend \"http\" \"b\" {\n  address = \"" GITLAB_NAME "\"\n  lock_address = \"" GITLAB_NAME "/lock\"\n"
	    "  lock_method = \"POST\"\n  unlock_address = \"" GITLAB_NAME "/lock\"\n  unlock_method = \"DELETE\"\n"
	    "  username = \"ann\"\n  password = \"" FAKE_GITLAB_TOKEN "\"\n}\n";
}

static void
gitlab_begin(struct provider_rig *r)
{
	gitlab_server = fake_gitlab_behind(r->http);
	gitlab_server->any_serial = true;
	gitlab_server->page = 3;
}

static void
gitlab_end(struct provider_rig *r)
{
	(void)r;
	CHECK_U64(fake_gitlab_locks(gitlab_server), 0);
	fake_gitlab_free(gitlab_server);
}

static void
gitlab_other(struct provider_rig *r, const char *name, struct span body)
{
	(void)r;
	fake_gitlab_put(gitlab_server, name, body);
}

static void
gitlab(void)
{
	static const char *const odd[] = { "a b.tfstate", "\xc3\xbc", "a#b?c", "100%25", "a+b&c=d", NULL };

	conformance_run(&(struct conformance){ .block = gitlab_block, .begin = gitlab_begin, .end = gitlab_end, .other = gitlab_other,
	    .first = "one", .second = "two", .odd = odd, .no_delete = true });
}

/* --- harness --- */

static struct fake_harness *project;

static const char *
harness_block(void)
{
	return "backend \"harness\" \"b\" {\n  account_id = \"" FAKE_HARNESS_ACCOUNT "\"\n  org_id = \"acme\"\n"
	    "  project_id = \"net\"\n  api_key = \"" FAKE_HARNESS_KEY "\"\n}\n";
}

static void
harness_begin(struct provider_rig *r)
{
	project = fake_harness_behind(r->http);
}

static void
harness_end(struct provider_rig *r)
{
	(void)r;
	CHECK_U64(project->wrong + fake_harness_locks(project), 0);
	fake_harness_free(project);
}

static void
harness_other(struct provider_rig *r, const char *name, struct span body)
{
	(void)r;
	fake_harness_put(project, name, body);
}

/* Its workspaces are there before their states. */
static void
harness_begin_two(struct provider_rig *r)
{
	harness_begin(r);
	fake_harness_add(project, "one");
	fake_harness_add(project, "two");
}

static void
harness(void)
{
	conformance_run(&(struct conformance){ .block = harness_block, .begin = harness_begin_two, .end = harness_end,
	    .other = harness_other, .first = "one", .second = "two", .no_delete = true, .mute_locks = true });
}

/* --- s3 --- */

static struct fake_s3 *bucket;

#define S3_BLOCK(more) \
	"backend \"s3\" \"b\" {\n  bucket = \"acme\"\n  region = \"us-east-1\"\n  endpoints = { s3 = \"http://" FAKE_S3_HOST "\" }\n" \
	"  use_path_style = true\n  use_lockfile = true\n  access_key = \"" FAKE_S3_ACCESS "\"\n  secret_key = \"" FAKE_S3_SECRET \
	"\"\n" more "}\n"

static const char *
s3_prefix_block(void)
{
	return S3_BLOCK("  prefix = \"states/\"\n");
}

static const char *
s3_key_block(void)
{
	return S3_BLOCK("  key = \"net/main.tfstate\"\n");
}

#define S3_TABLE "  dynamodb_table = \"" FAKE_DYNAMO_TABLE "\"\n  dynamodb_endpoint = \"http://" FAKE_DYNAMO_HOST "\"\n"

static const char *
s3_table_block(void)
{
	return "backend \"s3\" \"b\" {\n  bucket = \"acme\"\n  region = \"us-east-1\"\n  endpoints = { s3 = \"http://" FAKE_S3_HOST "\" }\n"
	    "  use_path_style = true\n  access_key = \"" FAKE_S3_ACCESS "\"\n  secret_key = \"" FAKE_S3_SECRET "\"\n" S3_TABLE "}\n";
}

static const char *
s3_both_block(void)
{
	return S3_BLOCK("  key = \"net/main.tfstate\"\n" S3_TABLE);
}

static void
s3_begin(struct provider_rig *r)
{
	bucket = fake_s3_behind(r->http, r->loop);
}

static void
s3_end(struct provider_rig *r)
{
	(void)r;
	CHECK_U64(bucket->wrong, 0);
	for (void *at = json_object_iter(bucket->dynamo->items); at != NULL; at = json_object_iter_next(bucket->dynamo->items, at))
		test_fail(__FILE__, __LINE__, "the row %s is left", json_object_iter_key(at));
	fake_s3_free(bucket);
}

static void
s3_other(struct provider_rig *r, const char *name, struct span body)
{
	char *key = xasprintf("%s%s", r->b->common.prefix, name), *text = span_dup(body);

	fake_s3_put(bucket, key, text);
	free(key);
	free(text);
}

static void
s3_prefix(void)
{
	conformance_run(&(struct conformance){ .block = s3_prefix_block, .begin = s3_begin, .end = s3_end, .other = s3_other,
	    .first = "one.tfstate", .second = "two.tfstate", .odd = any_name });
}

static void
s3_key(void)
{
	conformance_run(&(struct conformance){ .block = s3_key_block, .begin = s3_begin, .end = s3_end, .other = s3_other,
	    .first = "net/main.tfstate", .second = "env:/dev/net/main.tfstate" });
}

static void
s3_table(void)
{
	conformance_run(&(struct conformance){ .block = s3_table_block, .begin = s3_begin, .end = s3_end, .other = s3_other,
	    .first = "one.tfstate", .second = "two.tfstate", .odd = any_name });
}

static void
s3_both(void)
{
	conformance_run(&(struct conformance){ .block = s3_both_block, .begin = s3_begin, .end = s3_end, .other = s3_other,
	    .first = "net/main.tfstate", .second = "env:/dev/net/main.tfstate" });
}

/* --- gcs --- */

static struct fake_gcs *gcs_bucket;

static const char *
gcs_block(void)
{
	return "backend \"gcs\" \"b\" {\n  bucket = \"" FAKE_GCS_BUCKET "\"\n  prefix = \"/env//prod\"\n  access_token = \"" FAKE_GCS_TOKEN
	    "\"\n  storage_custom_endpoint = \"" FAKE_GCS_BASE "storage/v1/\"\n}\n";
}

static void
gcs_begin(struct provider_rig *r)
{
	gcs_bucket = fake_gcs_behind(r->http);
	gcs_bucket->page = 3;
}

static void
gcs_end(struct provider_rig *r)
{
	(void)r;
	fake_gcs_free(gcs_bucket);
}

static void
gcs_other(struct provider_rig *r, const char *name, struct span body)
{
	char *object = xasprintf("env/prod/%s", name);

	(void)r;
	fake_gcs_put(gcs_bucket, object, body);
	free(object);
}

static void
gcs(void)
{
	conformance_run(&(struct conformance){ .block = gcs_block, .begin = gcs_begin, .end = gcs_end, .other = gcs_other,
	    .first = "one.tfstate", .second = "two.tfstate", .odd = any_name });
}

/* --- azurerm --- */

static struct fake_azure *container;

#define AZURERM_BLOCK(more) \
	"backend \"azurerm\" \"b\" {\n  storage_account_name = \"" FAKE_AZURE_ACCOUNT "\"\n  container_name = \"" FAKE_AZURE_CONTAINER \
	"\"\n  access_key = \"" FAKE_AZURE_KEY "\"\n" more "}\n"

static const char *
azurerm_prefix_block(void)
{
	return AZURERM_BLOCK("  prefix = \"states/\"\n");
}

static const char *
azurerm_key_block(void)
{
	return AZURERM_BLOCK("  key = \"net/main.tfstate\"\n  snapshot = true\n");
}

static void
azurerm_begin(struct provider_rig *r)
{
	container = fake_azure_behind(r->http);
	container->page = 3;
}

static void
azurerm_end(struct provider_rig *r)
{
	(void)r;
	CHECK_U64(fake_azure_leases(container), 0);
	fake_azure_free(container);
}

static void
azurerm_other(struct provider_rig *r, const char *name, struct span body)
{
	char *blob = xasprintf("%s%s", r->b->common.prefix, name);

	fake_azure_put(container, blob, body);
	free(blob);
}

static void
azurerm_prefix(void)
{
	conformance_run(&(struct conformance){ .block = azurerm_prefix_block, .begin = azurerm_begin, .end = azurerm_end,
	    .other = azurerm_other, .first = "one.tfstate", .second = "two.tfstateenv:dev", .odd = any_name });
}

static void
azurerm_key(void)
{
	conformance_run(&(struct conformance){ .block = azurerm_key_block, .begin = azurerm_begin, .end = azurerm_end,
	    .other = azurerm_other, .first = "net/main.tfstate", .second = "net/main.tfstateenv:dev" });
}

/* --- brainboard: what is behind it has to be as good through it --- */

#define ARCH_ONE "9b2e0c1a-6f0e-4c8e-9d5b-0a8f3c1d2e4f"
#define ARCH_TWO "0f0e0d0c-0b0a-4908-8706-050403020100"

static const char *
brainboard_s3_block(void)
{
	return "backend \"brainboard\" \"b\" {\n  key = \"{uuid}/terraform.tfstate\"\n  storage \"s3\" {\n    bucket = \"acme\"\n"
	    "    region = \"us-east-1\"\n    endpoints = { s3 = \"http://" FAKE_S3_HOST "\" }\n    use_path_style = true\n" S3_TABLE
	    "    access_key = \"" FAKE_S3_ACCESS "\"\n    secret_key = \"" FAKE_S3_SECRET "\"\n  }\n}\n";
}

static void
brainboard_s3_other(struct provider_rig *r, const char *name, struct span body)
{
	char *key = xasprintf("%s/terraform.tfstate", name), *text = span_dup(body);

	(void)r;
	fake_s3_put(bucket, key, text);
	free(key);
	free(text);
}

static void
brainboard_s3(void)
{
	conformance_run(&(struct conformance){ .block = brainboard_s3_block, .begin = s3_begin, .end = s3_end, .other = brainboard_s3_other,
	    .first = ARCH_ONE, .second = ARCH_TWO });
}

static const char *
brainboard_azurerm_block(void)
{
	return "backend \"brainboard\" \"b\" {\n  key = \"{uuid}\"\n  storage \"azurerm\" {\n    storage_account_name = \"" FAKE_AZURE_ACCOUNT
	    "\"\n    container_name = \"" FAKE_AZURE_CONTAINER "\"\n    access_key = \"" FAKE_AZURE_KEY "\"\n  }\n}\n";
}

static void
brainboard_azurerm_other(struct provider_rig *r, const char *name, struct span body)
{
	(void)r;
	fake_azure_put(container, name, body);
}

static void
brainboard_azurerm(void)
{
	conformance_run(&(struct conformance){ .block = brainboard_azurerm_block, .begin = azurerm_begin, .end = azurerm_end,
	    .other = brainboard_azurerm_other, .first = ARCH_ONE, .second = ARCH_TWO });
}

static const char *
brainboard_http_block(void)
{
	return "backend \"brainboard\" \"b\" {\n  architectures = [\"" ARCH_ONE "\", \"0F0E0D0C-0B0A-4908-8706-050403020100\"]\n"
	    "  storage \"http\" {\n    address = \"https://h.example/s/{uuid}\"\n    lock_address = \"https://h.example/s/{uuid}\"\n"
	    "    unlock_address = \"https://h.example/s/{uuid}\"\n  }\n}\n";
}

static void
brainboard_http(void)
{
	conformance_run(&(struct conformance){ .block = brainboard_http_block, .begin = http_begin, .end = http_end, .other = http_other,
	    .first = ARCH_ONE, .second = ARCH_TWO });
}

/* --- remote and cloud --- */

static const char *const workspace_name[] = { "a-b_C9", "-", "workspace", NULL };
static struct fake_tfe  *tfe;

#define TFE_BLOCK(type, select) \
	"backend \"" type "\" \"b\" {\n  organization = \"acme\"\n  token = \"" FAKE_TFE_TOKEN "\"\n  api_base = \"" FAKE_TFE_BASE \
	"\"\n  create = true\n" select "}\n"

static const char *
remote_block(void)
{
	return TFE_BLOCK("remote", "  workspaces {\n    prefix = \"app-\"\n  }\n");
}

static const char *
cloud_block(void)
{
	return TFE_BLOCK("cloud", "");
}

static void
tfe_begin(struct provider_rig *r)
{
	tfe = fake_tfe_behind(r->http);
	tfe->page = 3;
}

static void
clone_begin(struct provider_rig *r)
{
	tfe_begin(r);
	tfe->one_step = tfe->silent = tfe->lax = tfe->no_totals = true;
}

static void
tfe_end(struct provider_rig *r)
{
	(void)r;
	CHECK_U64(tfe->forced, 0);
	fake_tfe_free(tfe);
}

static void
tfe_other(struct provider_rig *r, const char *name, struct span body)
{
	char *full = xasprintf("%s%s", r->b->provider == &provider_remote ? "app-" : "", name);

	fake_tfe_put(tfe, full, body);
	free(full);
}

static void
remote(void)
{
	conformance_run(&(struct conformance){ .block = remote_block, .begin = tfe_begin, .end = tfe_end, .other = tfe_other,
	    .first = "one", .second = "two", .odd = workspace_name, .no_delete = true, .guarded = true });
}

static void
cloud(void)
{
	conformance_run(&(struct conformance){ .block = cloud_block, .begin = tfe_begin, .end = tfe_end, .other = tfe_other,
	    .first = "one", .second = "two", .odd = workspace_name, .no_delete = true, .guarded = true });
}

static void
remote_clone(void)
{
	conformance_run(&(struct conformance){ .block = remote_block, .begin = clone_begin, .end = tfe_end, .other = tfe_other,
	    .first = "one", .second = "two", .odd = workspace_name, .no_delete = true, .guarded = true });
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){ { "mem", mem }, { "local dir", local_dir }, { "local path", local_path },
	    { "http", http }, { "gitlab", gitlab }, { "harness", harness }, { "s3 prefix", s3_prefix }, { "s3 key", s3_key }, { "s3 lock table", s3_table }, { "s3 both locks", s3_both },
	    { "gcs", gcs }, { "azurerm prefix", azurerm_prefix }, { "azurerm key", azurerm_key }, { "brainboard on s3", brainboard_s3 },
	    { "brainboard on azurerm", brainboard_azurerm }, { "brainboard on http", brainboard_http }, { "remote", remote },
	    { "cloud", cloud }, { "remote clone", remote_clone }, { NULL, NULL } });
}
