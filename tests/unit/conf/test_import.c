/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "base/rand.h"
#include "conf/conf.h"
#include "../../lib/test.h"

struct all {
	const char      *bucket, *key, *region, *path;
	struct secret   *secret;
	bool             lock;
	int64_t          n;
	struct conf_strs list, from_file;
	struct conf_map  map;
	struct conf_value *role;
};

#define AT(member) offsetof(struct all, member)

static const struct conf_field fields[] = {
	{ .name = "bucket", .type = CONF_STR, .offset = AT(bucket), .env = "BUCKET" },
	{ .name = "key", .type = CONF_STR, .offset = AT(key), .env = "KEY", .def = "none" },
	{ .name = "region", .type = CONF_STR, .offset = AT(region), .env = "REGION", .def = "nowhere" },
	{ .name = "path", .type = CONF_PATH, .offset = AT(path) },
	{ .name = "secret", .type = CONF_SECRET, .offset = AT(secret) },
	{ .name = "lock", .type = CONF_BOOL, .offset = AT(lock), .def = "false" },
	{ .name = "n", .type = CONF_INT, .offset = AT(n), .def = "7" },
	{ .name = "list", .type = CONF_STRS, .offset = AT(list) },
	{ .name = "map", .type = CONF_MAP, .offset = AT(map) },
	{ .name = "role", .type = CONF_INNER, .offset = AT(role) },
	{ .name = NULL },
};
static const struct conf_field common[] = { { .name = CONF_IMPORT, .type = CONF_STRS, .offset = AT(from_file) }, { .name = NULL } };
static const struct conf_field *const tables[] = { fields, NULL }, *const both[] = { fields, common, NULL };
static const char *const blocks[] = { "role", "workspaces", NULL };

/* --- files that are nowhere ------------------------------------------------------------------------------------------ */

#define FILES_MAX 4
static struct {
	const char *path, *text;
} files[FILES_MAX];

static void
file(size_t i, const char *path, const char *text)
{
	files[i].path = path;
	files[i].text = text;
}

static enum err_code
read_file(void *arg, const char *path, struct buf *ret, struct err *reterr)
{
	(void)arg;
	for (size_t i = 0; i < FILES_MAX; i++)
		if (files[i].path != NULL && strcmp(files[i].path, path) == 0)
			return buf_add(ret, files[i].text, strlen(files[i].text), reterr);
	return err_set(reterr, ERR_CONFIG, 0, "%s: there is no such file", path);
}

static const char *
read_env(void *arg, const char *name)
{
	(void)arg;
	return strcmp(name, "REGION") == 0 ? "from-env" : strcmp(name, "KEY") == 0 ? "key-env" : NULL;
}

static const struct conf_source source = { .env = read_env, .file = read_file };

static enum err_code
import(const char *text, struct conf **ret, struct all *all, struct err *reterr)
{
	struct conf_block *b;
	enum err_code      code;

	memset(all, 0, sizeof(*all));
	CHECK_OK(conf_parse("our.hcl", "/etc/sf", span_str(text), false, &source, ret, reterr), *reterr);
	b = &conf_root(*ret)->blocks[0];
	code = conf_import(*ret, b, "s3", tables, blocks, reterr);
	if (code == ERR_OK)
		code = conf_fields(*ret, b, fields, all, reterr);
	if (code == ERR_OK)
		code = conf_fields(*ret, b, common, all, reterr);
	return code == ERR_OK ? conf_finish(*ret, b, both, blocks, reterr) : code;
}

/* What is wrong with the text of a file that a block of ours names. */
static const char *
refused(const char *path, const char *text)
{
	static char  said[2 * ERR_MSG_MAX + 8];
	struct err   e;
	struct conf *c;
	struct all   all;
	char        *own = xasprintf("backend \"s3\" \"x\" {\n  from_file = \"%s\"\n}\n", path);

	err_clear(&e);
	file(0, path, text);
	CHECK(import(own, &c, &all, &e) == ERR_CONFIG);
	conf_free(c);
	free(own);
	snprintf(said, sizeof(said), "%s%s%s", e.msg, e.hint[0] != '\0' ? " | " : "", e.hint);
	return said;
}

/* --- what is found --------------------------------------------------------------------------------------------------- */

#define MODULE \
	"# backend \"gcs\" {\n/* terraform { backend \"gcs\" {} } */\nvariable \"x\" {\n  default = \"}${\"}\"}{\"\n}\nterraform {\n" \
	"  required_version = \">= 1.5\"\n  required_providers {\n    a = { source = \"b\" }\n  }\n  backend \"s3\" {\n" \
	"    bucket = \"acme\" # here\n    key = \"a/b\"\n    lock = \"true\"\n    n = \"12\"\n    list = [\"x\", \"y\"]\n" \
	"    map = {\n      s3 = \"u\"\n    }\n  }\n}\n" \
	"resource \"a\" \"b\" {\n  c = <<-EOT\n    backend \"s3\" {\n    \"\n    EOT\n  d = foo(var.a[*], \"}\") ? { for k in z : k => 1 } : -1\n}\n"

static void
module(void)
{
	struct conf *c;
	struct all   a;
	struct err   e;

	file(0, "/etc/sf/infra/main.tf", MODULE);
	CHECK_OK(import("backend \"s3\" \"x\" {\n  from_file = \"infra/main.tf\"\n}\n", &c, &a, &e), e);
	CHECK_STR(a.bucket, "acme");
	CHECK_STR(a.key, "a/b");
	CHECK_STR(a.region, "from-env");
	CHECK(a.lock && a.n == 12 && a.list.n == 2 && a.map.n == 1);
	CHECK_STR(conf_root(c)->blocks[0].terraform_dir, "/etc/sf/infra");
	conf_free(c);
}

/* Our own argument, then the later file, the earlier file, the environment, the default. */
static void
precedence(void)
{
	struct conf *c;
	struct all   a;
	struct err   e;

	file(0, "/one.tf", "terraform {\n  backend \"s3\" {\n    bucket = \"b1\"\n    key = \"k1\"\n    region = \"r1\"\n    role {\n      a = 1\n    }\n  }\n}\n");
	file(1, "/two.tfbackend", "bucket = \"b2\"\nkey = \"k2\"\nrole = { a = 2 }\n");
	CHECK_OK(import("backend \"s3\" \"x\" {\n  from_file = [\"/one.tf\", \"/two.tfbackend\", \"n=3\"]\n  bucket = \"b3\"\n  key = null\n}\n",
	    &c, &a, &e), e);
	CHECK_STR(a.bucket, "b3");
	CHECK_STR(a.key, "k2");
	CHECK_STR(a.region, "r1");
	CHECK(a.n == 3 && !a.lock && conf_root(c)->blocks[0].nblocks == 0);
	CHECK_U64(conf_attr(&conf_root(c)->blocks[0], "role")->value.nitems, 1);
	conf_free(c);
	CHECK_OK(import("backend \"s3\" \"x\" {\n  from_file = [\"/two.tfbackend\", \"/one.tf\"]\n}\n", &c, &a, &e), e);
	CHECK_STR(a.bucket, "b1");
	CHECK_U64(conf_root(c)->blocks[0].nblocks, 1);
	CHECK(conf_attr(&conf_root(c)->blocks[0], "role") == NULL);
	CHECK(conf_root(c)->blocks[0].blocks[0].parent == &conf_root(c)->blocks[0]);
	conf_free(c);
	file(0, "/one.tf", "backend \"s3\" {}\n");
	CHECK_OK(import("backend \"s3\" \"x\" {\n  from_file = \"/one.tf\"\n}\n", &c, &a, &e), e);
	CHECK(a.bucket == NULL);
	CHECK_STR(a.key, "key-env");
	conf_free(c);
}

#define RESOLVED(type) \
	"{\n  \"version\": 3,\n  \"backend\": {\n    \"type\": \"" type "\",\n    \"config\": {\n      \"bucket\": \"${file(\\\"x\\\")}\",\n" \
	"      \"key\": null,\n      \"map\": { \"a\": null, \"s3\": \"%{u}\" },\n      \"lock\": true,\n      \"path\": \"x.tfstate\"\n" \
	"    },\n    \"hash\": 4093125566\n  }\n}\n"

static void
resolved(void)
{
	struct conf *c;
	struct all   a;
	struct err   e;

	file(0, "/w/.terraform/terraform.tfstate", RESOLVED("s3"));
	CHECK_OK(import("backend \"s3\" \"x\" {\n  from_file = \"/w/.terraform/terraform.tfstate\"\n}\n", &c, &a, &e), e);
	CHECK_STR(a.bucket, "${file(\"x\")}");
	CHECK_STR(a.key, "key-env");
	CHECK(a.lock && a.map.n == 1);
	CHECK_STR(a.map.values[0], "%{u}");
	CHECK_STR(a.path, "/w/x.tfstate");
	conf_free(c);
	file(0, "/w/.terraform/terraform.tfstate", "{\"backend\": {\"type\": \"s3\", \"config\": {\"workspaces\": {\"name\": \"n\"}}}}");
	CHECK_OK(import("backend \"s3\" \"x\" {\n  from_file = \"/w/.terraform/terraform.tfstate\"\n}\n", &c, &a, &e), e);
	CHECK_STR(conf_attr(&conf_root(c)->blocks[0].blocks[0], "name")->value.text, "n");
	conf_free(c);
	CHECK_STR(refused("/w/terraform.tfstate", RESOLVED("gcs")),
	    "/w/terraform.tfstate:4:13: this is backend \"gcs\"; expected backend \"s3\", which our.hcl:1 wants to fill");
	CHECK_STR(refused("/w/terraform.tfstate", "{\"version\": 4, \"resources\": []}"), "/w/terraform.tfstate:1:1: expected what \"terraform "
	    "init\" writes to .terraform/terraform.tfstate, found no backend in it | run terraform init where the backend block is, or name "
	    "the .tf file");
	CHECK_STR(refused("/w/terraform.tfstate", "{\"backend\": {\"type\": \"s3\", \"config\": 1}}"),
	    "/w/terraform.tfstate:1:38: expected an object with arguments");
	CHECK(strstr(refused("/w/terraform.tfstate", ""), "/w/terraform.tfstate:1:") != NULL);
}

/* Where terraform runs: the folder of the block; of files without one, their own. */
static void
paths(void)
{
	struct conf *c;
	struct all   a;
	struct err   e;

	file(0, "/w/a.tf", "terraform {\n  backend \"s3\" {}\n}\n");
	file(1, "/w/env/dev.conf", "path = \"x\"\n");
	CHECK_OK(import("backend \"s3\" \"x\" {\n  from_file = [\"/w/a.tf\", \"/w/env/dev.conf\"]\n}\n", &c, &a, &e), e);
	CHECK_STR(a.path, "/w/x");
	conf_free(c);
	CHECK_OK(import("backend \"s3\" \"x\" {\n  from_file = \"/w/env/dev.conf\"\n}\n", &c, &a, &e), e);
	CHECK_STR(a.path, "/w/env/x");
	conf_free(c);
	CHECK_OK(import("backend \"s3\" \"x\" {\n  from_file = \"path=y\"\n}\n", &c, &a, &e), e);
	CHECK_STR(a.path, "/etc/sf/y");
	conf_free(c);
	CHECK_OK(import("backend \"s3\" \"x\" {\n  from_file = [\"/w/a.tf\", \"path=/y\"]\n}\n", &c, &a, &e), e);
	CHECK_STR(a.path, "/y");
	conf_free(c);
}

static void
json(void)
{
	struct conf *c;
	struct all   a;
	struct err   e;

	file(0, "/a.tf.json", "{\"terraform\": [{\"backend\": {\"s3\": [{\"bucket\": \"b\", \"n\": 2}]}}], \"resource\": {\"a\": \"${var.x}\"}}");
	CHECK_OK(import("backend \"s3\" \"x\" {\n  from_file = \"/a.tf.json\"\n}\n", &c, &a, &e), e);
	CHECK(strcmp(a.bucket, "b") == 0 && a.n == 2);
	conf_free(c);
	file(0, "/a.json", "{\"bucket\": \"c\", \"list\": [\"z\"]}");
	CHECK_OK(import("backend \"s3\" \"x\" {\n  from_file = \"/a.json\"\n}\n", &c, &a, &e), e);
	CHECK(strcmp(a.bucket, "c") == 0 && a.list.n == 1);
	conf_free(c);
	CHECK_STR(refused("/a.tf.json", "{\"terraform\": {\"backend\": {\"gcs\": {}}}}"),
	    "/a.tf.json:1:35: this is backend \"gcs\"; expected backend \"s3\", which our.hcl:1 wants to fill");
	CHECK_STR(refused("/a.tf.json", "{\"terraform\": {\"backend\": {\"gcs\": {}, \"s3\": {}}}}"),
	    "/a.tf.json:1:1: expected one backend block in the file, found 2");
	CHECK_STR(refused("/a.tf.json", "{}"), "/a.tf.json:1:1: expected a backend block in a terraform block, found none");
	CHECK(strstr(refused("/a.json", "{\"list\": [\"${var.x}\"]}"), "/a.json:1:11: interpolation is not supported; expected plain text | ") !=
	    NULL);
	CHECK_STR(refused("/a.json", "[]"), "/a.json:1:1: expected an object with arguments");
}

/* --- what is refused ------------------------------------------------------------------------------------------------- */

#define INIT " | \"terraform init\" writes what it made of it to .terraform/terraform.tfstate, which from_file reads too"

static void
evaluated(void)
{
	CHECK_STR(refused("/a.tf", "terraform {\n  backend \"s3\" {\n    bucket = var.b\n  }\n}\n"),
	    "/a.tf:3:14: a reference to var.* is not supported; expected a plain value" INIT);
	CHECK_STR(refused("/a.tf", "terraform {\n  backend \"s3\" {\n    bucket = env(\"X\")\n  }\n}\n"),
	    "/a.tf:3:14: the function env is not supported; expected a plain value" INIT);
	CHECK_STR(refused("/a.tfbackend", "bucket = file(\"/etc/shadow\")\n"),
	    "/a.tfbackend:1:10: the function file is not supported; expected a plain value" INIT);
	CHECK_STR(refused("/a.tfbackend", "bucket = \"a-${x}\"\n"),
	    "/a.tfbackend:1:13: interpolation ${...} is not supported; expected plain text ($${ is a literal ${)" INIT);
	CHECK_STR(refused("/a.tfbackend", "bucket=acme\n"),
	    "/a.tfbackend:1:8: a word without quotes is a reference to a variable, which is not supported; expected a plain value" INIT);
}

static void
unknown(void)
{
	CHECK_STR(refused("/a.tfbackend", "buckett = \"x\"\n"),
	    "/a.tfbackend:1:1: unknown argument \"buckett\" in backend \"s3\" \"x\", did you mean \"bucket\"?");
	CHECK(strstr(refused("/a.tfbackend", "poll = \"1s\"\n"), "/a.tfbackend:1:1: unknown argument \"poll\" in backend") != NULL);
	CHECK(strstr(refused("/a.tfbackend", "from_file = \"/a.tfbackend\"\n"), "unknown argument \"from_file\"") != NULL);
	CHECK(strstr(refused("/a.tfbackend", "rolle {\n}\n"), "/a.tfbackend:1:1: unknown block \"rolle\"") != NULL);
	CHECK(strstr(refused("secrett=hunter2", ""), "our.hcl:2:15: unknown argument \"secrett\"") != NULL);
	CHECK(strstr(refused("secrett=hunter2", ""), "hunter2") == NULL);
}

static void
wrong_file(void)
{
	struct conf *c;
	struct all   a;
	struct err   e;

	CHECK_STR(refused("/a.tf", "terraform {\n  backend \"http\" {\n  }\n}\n"),
	    "/a.tf:2:3: this is backend \"http\"; expected backend \"s3\", which our.hcl:1 wants to fill");
	CHECK_STR(refused("/a.tf", "terraform {\n  cloud {\n  }\n}\n"),
	    "/a.tf:2:3: this is backend \"cloud\"; expected backend \"s3\", which our.hcl:1 wants to fill");
	CHECK_STR(refused("/a.tf", "terraform {\n  backend \"s3\" {\n  }\n}\nterraform {\n  backend \"s3\" {\n  }\n}\n"),
	    "/a.tf:2:3: expected one backend block in the file, found 2");
	CHECK_STR(refused("/a.tf", "module \"backend\" {\n}\n"), "/a.tf:1:1: expected a backend block in a terraform block, found none");
	CHECK_STR(refused("/a.tf", "terraform {\n  backend \"s3\" {\n    bucket = \"x\"\n"),
	    "/a.tf:2:3: backend \"s3\" is never closed; expected } before the end of the file");
	CHECK_STR(refused("/a.tf", "backend {\n}\n"), "/a.tf:1:1: expected one label after backend, its type");
	file(0, NULL, NULL);
	CHECK(import("backend \"s3\" \"x\" {\n  from_file = \"b.tf\"\n}\n", &c, &a, &e) == ERR_CONFIG);
	CHECK_STR(e.msg, "our.hcl:2:15: /etc/sf/b.tf: there is no such file");
	conf_free(c);
	CHECK(import("backend \"s3\" \"x\" {\n  from_file = [1]\n}\n", &c, &a, &e) == ERR_CONFIG);
	CHECK_STR(e.msg, "our.hcl:2:16: argument \"from_file\": expected the path of a file, or \"KEY=VALUE\"");
	conf_free(c);
	file(0, "/x=y/a.tf", "backend \"s3\" {\n  bucket = \"b\"\n}\n"); /* a path, whatever is in it after "/" */
	CHECK_OK(import("backend \"s3\" \"x\" {\n  from_file = [\"/x=y/a.tf\", \"key=a/b=c\"]\n}\n", &c, &a, &e), e);
	CHECK_STR(a.bucket, "b");
	CHECK_STR(a.key, "a/b=c");
	conf_free(c);
}

/* Terragrunt's keys of its own are not terraform's. */
static void
remote_state(void)
{
	struct conf *c;
	struct all   a;
	struct err   e;

	file(0, "/u/terragrunt.hcl", "terraform {\n  source = \"x\"\n}\nremote_state {\n  backend = \"s3\"\n  generate = { path = \"b.tf\" }\n"
	    "  config = {\n    bucket = \"b\"\n    path = \"p\"\n    skip_bucket_versioning = true\n    role = { a = 1 }\n  }\n}\n");
	CHECK_OK(import("backend \"s3\" \"x\" {\n  from_file = \"/u/terragrunt.hcl\"\n}\n", &c, &a, &e), e);
	CHECK_STR(a.bucket, "b");
	CHECK_STR(a.path, "/u/p");
	conf_free(c);
	file(0, "/u/root.hcl", "remote_state {\n  backend = \"s3\"\n  config = {\n    bucket = \"b\"\n    \"key\" = \"${path_relative_to_include()}/x\"\n"
	    "    prefix = get_env(\"X\")\n  }\n}\n"); /* of each unit: not of the bucket */
	CHECK_OK(import("backend \"s3\" \"x\" {\n  from_file = \"/u/root.hcl\"\n}\n", &c, &a, &e), e);
	CHECK_STR(a.bucket, "b");
	CHECK(conf_attr(&conf_root(c)->blocks[0], "key") == NULL);
	conf_free(c);
	CHECK_STR(refused("/root.hcl", "remote_state {\n  backend = \"s3\"\n  config = {\n    key = \"${f()}\"\n    bucket = f()\n  }\n}\n"),
	    "/root.hcl:5:14: the function f is not supported; expected a plain value | \"terraform init\" writes what it made of it to "
	    ".terraform/terraform.tfstate, which from_file reads too");
	CHECK_STR(refused("/terragrunt.hcl", "remote_state {\n  config = {}\n}\n"),
	    "/terragrunt.hcl:1:1: expected the argument backend in remote_state, its type");
	CHECK_STR(refused("/terragrunt.hcl", "remote_state {\n  backend = \"gcs\"\n}\n"),
	    "/terragrunt.hcl:1:1: this is backend \"gcs\"; expected backend \"s3\", which our.hcl:1 wants to fill");
	CHECK_STR(refused("/terragrunt.hcl", "remote_state {\n  backend = \"s3\"\n  config = \"x\"\n}\n"),
	    "/terragrunt.hcl:3:12: expected an object with arguments");
}

/* A file that others could change may make us run their programs. */
static void
guarded(void)
{
	char        *path = xasprintf("%s/a.tf", test_tmpdir()), *text;
	FILE        *f = fopen(path, "w");
	struct conf *c;
	struct err   e;

	CHECK(f != NULL && fputs("backend \"s3\" {}\n", f) >= 0 && fclose(f) == 0 && chmod(path, 0664) == 0);
	text = xasprintf("backend \"s3\" \"x\" {\n  from_file = \"%s\"\n}\n", path);
	CHECK_OK(conf_parse("our.hcl", "/", span_str(text), false, NULL, &c, &e), e);
	CHECK(conf_import(c, &conf_root(c)->blocks[0], "s3", tables, blocks, &e) == ERR_CONFIG);
	CHECK(strstr(e.msg, "/a.tf: is writable by its group or by everybody (mode 0664)") != NULL && strstr(e.hint, "chmod go-w") != NULL);
	CHECK(chmod(path, 0644) == 0);
	CHECK_OK(conf_import(c, &conf_root(c)->blocks[0], "s3", tables, blocks, &e), e);
	conf_free(c);
	free(path), free(text);
}

/* Credentials stay out of what is printed, in whatever form they came. */
static void
masked(void)
{
	struct conf *c;
	struct all   a;
	struct err   e;
	struct buf   out;

	file(0, "/a.tf", "backend \"s3\" {\n  secret = \"hunter2\"\n  bucket = \"https://u:hunter2@h/x?sig=hunter2\"\n}\n");
	CHECK_OK(import("backend \"s3\" \"x\" {\n  from_file = [\"/a.tf\", \"secret=hunter2\", \"key=k\"]\n}\n", &c, &a, &e), e);
	buf_init(&out, 0);
	conf_print(&conf_root(c)->blocks[0], both, 0, &out);
	CHECK(strstr(buf_str(&out), "hunter2") == NULL);
	CHECK(strstr(buf_str(&out), "\"secret=(sensitive)\", \"key=k\"]") != NULL && strstr(buf_str(&out), "# from /a.tf\n") != NULL);
	buf_free(&out);
	conf_free(c);
}

/* --- whichever way terraform was told, it is the same ---------------------------------------------------------------- */

static char *
odd_text(struct rand *r)
{
	static const char *const pieces[] = { "a", "Z", "/", " ", "\\\"", "\\\\", "}", "{", "#", "//", "/*", "<<EOT", "\\n", "=", "é", "\\t", "[", ")" };
	struct buf               b;

	buf_init(&b, 0);
	for (uint64_t n = rand_below(r, 8); n > 0; n--)
		buf_puts(&b, pieces[rand_below(r, ARRAY_LEN(pieces))]);
	return buf_take(&b);
}

static void
forms(void)
{
	static const char *const paths_of[] = { "/w/main.tf", "/w/x.tfbackend", "/w/x.json", "/w/x.tf.json", "/w/.terraform/terraform.tfstate" };
	struct rand              r;

	rand_seeded(&r, 7);
	for (unsigned round = 0; round < 300; round++) {
		char       *s[3], *hcl, *js, *own, *texts[ARRAY_LEN(paths_of)];
		struct buf  want, got;

		buf_init(&want, 0);
		for (size_t i = 0; i < 3; i++)
			s[i] = odd_text(&r);
		hcl = xasprintf("  bucket = \"%s\"\n  list = [\"%s\"]\n  map = { k = \"%s\" }\n  lock = true\n", s[0], s[1], s[2]);
		js = xasprintf("{\"bucket\": \"%s\", \"list\": [\"%s\"], \"map\": {\"k\": \"%s\"}, \"lock\": true, \"key\": null}", s[0], s[1], s[2]);
		texts[0] = xasprintf("variable \"v\" {\n  default = \"%s\"\n}\nterraform {\n  backend \"s3\" {\n%s  }\n}\n", s[2], hcl);
		texts[1] = xstrdup(hcl);
		texts[2] = xstrdup(js);
		texts[3] = xasprintf("{\"terraform\": {\"backend\": {\"s3\": %s}}}", js);
		texts[4] = xasprintf("{\"backend\": {\"config\": %s, \"type\": \"s3\"}}", js);
		for (size_t i = 0; i < ARRAY_LEN(paths_of); i++) {
			struct conf *c;
			struct all   a;
			struct err   e;

			buf_init(&got, 0);
			file(0, paths_of[i], texts[i]);
			own = xasprintf("backend \"s3\" \"x\" {\n  from_file = \"%s\"\n}\n", paths_of[i]);
			CHECK_OK(import(own, &c, &a, &e), e);
			buf_printf(&got, "%s|%zu|%s|%zu|%s|%s|%s|%d", a.bucket, a.list.n, a.list.items[0], a.map.n, a.map.keys[0], a.map.values[0],
			    a.key, a.lock);
			if (i == 0)
				buf_puts(&want, buf_str(&got));
			CHECK_STR(buf_str(&got), buf_str(&want));
			conf_free(c);
			buf_free(&got);
			free(own);
		}
		for (size_t i = 0; i < ARRAY_LEN(paths_of); i++)
			free(texts[i]);
		free(s[0]), free(s[1]), free(s[2]), free(hcl), free(js);
		buf_free(&want);
	}
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){
	    { "the backend block of a whole module", module },
	    { "our own argument, later file, earlier file, environment, default", precedence },
	    { "what terraform init wrote", resolved },
	    { "relative paths", paths },
	    { "JSON", json },
	    { "what terraform would have to evaluate", evaluated },
	    { "unknown arguments and blocks", unknown },
	    { "the wrong file", wrong_file },
	    { "a file that others can change", guarded },
	    { "credentials are masked", masked },
	    { "every form says the same", forms },
	    { "remote_state of terragrunt", remote_state },
	    { NULL, NULL } });
}
