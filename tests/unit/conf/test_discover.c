/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "conf/discover.h"
#include "../../lib/test.h"

#define S3(key) "terraform {\n  backend \"s3\" {\n    bucket = \"b\"\n    key = \"" key "\"\n  }\n}\n"
#define NOBODY 65534
#define RECORD(type) "{\"version\":3,\"backend\":{\"type\":\"" type "\",\"config\":{}}}"

static unsigned    trees;
static char        tree[256];
static const char *variables[2][2];

/* A fresh tree for each test. */
static void
begin(void)
{
	memset(variables, 0, sizeof(variables));
	snprintf(tree, sizeof(tree), "%s/%u", test_tmpdir(), trees++);
	CHECK(mkdir(tree, 0700) == 0);
}

/* With the folders above it. */
static char *
at(const char *path)
{
	char *full = xasprintf("%s/%s", tree, path);

	for (char *p = full + strlen(tree) + 1; (p = strchr(p, '/')) != NULL; *p++ = '/') {
		*p = '\0';
		CHECK(mkdir(full, 0700) == 0 || errno == EEXIST);
	}
	return full;
}

static void
put(const char *path, const char *text)
{
	char *full = at(path);
	FILE *f = fopen(full, "w");

	CHECK(f != NULL && fputs(text, f) >= 0 && fclose(f) == 0);
	free(full);
}

static const char *
env(void *arg, const char *name)
{
	(void)arg;
	for (size_t i = 0; i < ARRAY_LEN(variables); i++)
		if (variables[i][0] != NULL && strcmp(variables[i][0], name) == 0)
			return variables[i][1];
	return NULL;
}

/* "TYPE FOLDER FILE:LINE", what else is known of it; and "! FILE:LINE: message" of each thing that was not read. */
static const char *
found(void)
{
	static struct buf  out;
	struct conf_source src = { .env = env };
	struct discovery  *d;
	struct err         e;
	size_t             n = strlen(tree) + 1;

	buf_free(&out);
	buf_init(&out, 0);
	CHECK_OK(discover(tree, &src, &d, &e), e);
	CHECK_STR(d->dir, tree);
	for (size_t i = 0; i < d->nfound; i++) {
		const struct discover_found *f = &d->found[i];

		buf_printf(&out, "%s %s %s:%u", f->type, strlen(f->dir) > n ? f->dir + n : ".", strncmp(f->pos.file, tree, n - 1) == 0 ?
		    f->pos.file + n : f->pos.file, f->pos.line);
		if (f->args != NULL)
			buf_printf(&out, " with %s", f->args + n);
		if (f->whole)
			buf_puts(&out, " of terragrunt");
		if (f->workspace != NULL)
			buf_printf(&out, " in %s", f->workspace);
		buf_putc(&out, '\n');
		CHECK_STR(f->block->labels[0], f->type);
	}
	for (size_t i = 0; i < d->nunread; i++)
		buf_printf(&out, "! %s:%u: %s\n", strlen(d->unread[i].path) > n ? d->unread[i].path + n : ".", d->unread[i].line,
		    d->unread[i].message);
	discovery_free(d);
	return buf_str(&out);
}

static void
blocks(void)
{
	begin();
	put("a/main.tf", "locals {\n  x = [for s in var.y : upper(s) if s != \"${backend}\"]\n}\n" S3("a"));
	put("b/x.tofu", "terraform { backend \"gcs\" {\n } }\n");
	put("c/x.tf.json", "{\"terraform\": [{\"backend\": {\"azurerm\": {}}}]}");
	put("d/cloud.tf", "terraform {\n  cloud {\n    organization = \"o\"\n  }\n}\n");
	put("e/cloud.tf.json", "{\"terraform\": {\"cloud\": {\"organization\": \"o\"}}}");
	put("f/none.tf", "# backend \"s3\" {}\nvariable \"backend\" {}\n");
	put("g/.hidden.tf", S3("g"));
	put("h/notes.txt", S3("h"));
	CHECK_STR(found(), "s3 a a/main.tf:5\ngcs b b/x.tofu:1\nazurerm c c/x.tf.json:1\ncloud d d/cloud.tf:2\ncloud e e/cloud.tf.json:1\n");
}

static void
one_block(void)
{
	begin();
	put("override/a.tf", S3("a"));
	put("override/b_override.tf", "terraform { backend \"gcs\" {} }\n");
	put("override/override.tf.json", "{\"terraform\": {\"backend\": {\"http\": {}}}}");
	put("tofu/x.tf", S3("a"));
	put("tofu/x.tofu", "terraform { backend \"gcs\" {} }\n");
	put("twice/a.tf", S3("a"));
	put("twice/b.tf", S3("b"));
	put("within/a.tf", S3("a") S3("b"));
	CHECK_STR(found(), "http override override/override.tf.json:1\ngcs tofu tofu/x.tofu:1\ns3 twice twice/a.tf:2\n"
	    "! twice/b.tf:2: expected one backend block in the folder; line 2 of a.tf has another\n"
	    "! within/a.tf:2: expected one backend block in the folder, found 2 in this file\n");
}

static void
skipped(void)
{
	begin();
	put("a/.git/x.tf", S3("a"));
	put("a/node_modules/x.tf", S3("a"));
	put("a/.terraform/modules/m/x.tf", S3("a"));
	put("a/terraform.tfstate.d/x/x.tf", S3("a"));
	CHECK_STR(found(), "");
}

/* What init recorded is where terraform goes. */
static void
recorded(void)
{
	begin();
	put("both/x.tf", S3("a"));
	put("both/.terraform/terraform.tfstate", RECORD("s3"));
	put("moved/x.tf", "\n" S3("a"));
	put("moved/.terraform/terraform.tfstate", RECORD("gcs"));
	put("none/x.tf", S3("a"));
	put("none/.terraform/terraform.tfstate", "{\"version\":3}");
	put("only/.terraform/terraform.tfstate", RECORD("http"));
	CHECK_STR(found(), "s3 both both/.terraform/terraform.tfstate:1\ngcs moved moved/.terraform/terraform.tfstate:1\ns3 none none/x.tf:2\n"
	    "http only only/.terraform/terraform.tfstate:1\n! moved/x.tf:3: is backend \"s3\", but terraform init has recorded \"gcs\", which "
	    "was taken\n");
}

static void
data_dir(void)
{
	char *elsewhere;

	begin();
	put("a/.tfdata/terraform.tfstate", RECORD("s3"));
	put("a/.terraform/terraform.tfstate", RECORD("gcs"));
	variables[0][0] = "TF_DATA_DIR";
	variables[0][1] = ".tfdata";
	CHECK_STR(found(), "s3 a a/.tfdata/terraform.tfstate:1\n");
	elsewhere = xasprintf("%s/a/.tfdata", tree);
	variables[0][1] = elsewhere;
	CHECK_STR(found(), "s3 . a/.tfdata/terraform.tfstate:1\n");
	variables[0][1] = "";
	CHECK_STR(found(), "gcs a a/.terraform/terraform.tfstate:1\n");
	free(elsewhere);
}

static void
workspaces(void)
{
	begin();
	put("a/.terraform/terraform.tfstate", RECORD("s3"));
	put("a/.terraform/environment", "blue");
	put("b/.terraform/terraform.tfstate", RECORD("s3"));
	put("b/.terraform/environment", "default");
	CHECK_STR(found(), "s3 a a/.terraform/terraform.tfstate:1 in blue\ns3 b b/.terraform/terraform.tfstate:1\n");
	variables[0][0] = "TF_WORKSPACE";
	variables[0][1] = "green";
	CHECK_STR(found(), "s3 a a/.terraform/terraform.tfstate:1 in green\ns3 b b/.terraform/terraform.tfstate:1 in green\n");
}

/* Each file of arguments is a state of its own. */
static void
arguments(void)
{
	begin();
	put("a/x.tf", "terraform { backend \"s3\" {} }");
	put("a/dev.tfbackend", "");
	put("a/env/prod.s3.tfbackend", "");
	put("a/env/x/y/late.tfbackend", "");
	put("b/x.tf", "terraform { backend \"s3\" {} }");
	put("b/backend-prod.hcl", "");
	put("b/.terraform/terraform.tfstate", RECORD("s3"));
	put("c/lonely.tfbackend", "");
	CHECK_STR(found(), "s3 a a/x.tf:1 with a/dev.tfbackend\ns3 a a/x.tf:1 with a/env/prod.s3.tfbackend\n"
	    "s3 b b/.terraform/terraform.tfstate:1\ns3 b b/x.tf:1 with b/backend-prod.hcl\n");
}

static void
local_states(void)
{
	begin();
	put("code/x.tf", "");
	put("code/terraform.tfstate", "{}");
	put("empty/x.tf", "");
	put("empty/terraform.tfstate", "");
	put("copy/terraform.tfstate", "{}"); /* of nobody's code */
	put("blue/x.tf", "");
	put("blue/terraform.tfstate.d/blue/terraform.tfstate", "{}");
	put("elsewhere/x.tf", S3("a"));
	put("elsewhere/terraform.tfstate", "{}");
	put("back/x.tf", "");
	put("back/.terraform/terraform.tfstate", "{\"version\":3}");
	put("back/terraform.tfstate", "{}");
	CHECK_STR(found(), "local back back/terraform.tfstate:0\nlocal blue blue/terraform.tfstate.d/blue/terraform.tfstate:0\n"
	    "local code code/terraform.tfstate:0\ns3 elsewhere elsewhere/x.tf:2\n");
}

static void
managed(void)
{
	begin();
	put("a/main.tf", "");
	put("a/backend.tf", "# This architecture uses Brainboard managed storage\n");
	put("a/terraform.tfstate", "{}");
	put("b/backend.tf", "# Brainboard managed storage is not what this uses\n" S3("b"));
	CHECK_STR(found(), "s3 b b/backend.tf:3\n! a/backend.tf:0: says that Brainboard manages the state, which cannot be read from outside\n");
}

static void
terragrunt(void)
{
	begin();
	put("lit/terragrunt.hcl", "terraform { source = \"x\" }\nremote_state {\n  backend = \"s3\"\n  config = {\n    bucket = \"b\"\n    key = \"k\"\n  }\n}\n");
	put("expr/root.hcl", "\nremote_state {\n  backend = \"s3\"\n  config = {\n    key = \"${path_relative_to_include()}/x\"\n  }\n}\n");
	put("local/root.hcl", "\nremote_state {\n  backend = \"s3\"\n  config = {\n    bucket = local.b\n    key = \"${path_relative_to_include()}/x\"\n  }\n}\n");
	put("run/root.hcl", "remote_state {\n  backend = local.b\n}\n");
	put("run/unit/terragrunt.hcl", "include \"root\" {\n  path = find_in_parent_folders()\n}\n");
	put("run/unit/backend.tf", "# Generated by Terragrunt. Sig: nIlQXj57tbuaRZEa\n" S3("unit"));
	put("gen/terragrunt.hcl", "generate \"backend\" {\n  path = \"backend.tf\"\n  contents = <<EOF\n" S3("x") "EOF\n}\n");
	CHECK_STR(found(), "s3 expr expr/root.hcl:2 of terragrunt\ns3 lit lit/terragrunt.hcl:2\ns3 run/unit run/unit/backend.tf:3\n"
	    "! gen/terragrunt.hcl:0: terragrunt makes a backend of this when it runs, which is not evaluated here\n"
	    "! local/root.hcl:2: terragrunt makes a backend of this when it runs, which is not evaluated here\n");
}

static void
caches(void)
{
	struct timespec old[2] = { { .tv_sec = 1000 }, { .tv_sec = 1000 } };
	char           *path;

	begin();
	put("u/terragrunt.hcl", "");
	put("u/.terragrunt-cache/a/b/x.tf", S3("x"));
	put("u/.terragrunt-cache/a/b/.terraform/terraform.tfstate", RECORD("s3"));
	put("u/.terragrunt-cache/c/d/mod/.terraform/terraform.tfstate", RECORD("s3"));
	put("u/.terragrunt-cache/e/f/x.tf", S3("never run"));
	put("u/.terragrunt-cache/e/f/terragrunt.hcl", "remote_state {\n}\n");
	put("v/.terragrunt-cache/a/b/.terraform/terraform.tfstate", RECORD("gcs"));
	path = at("u/.terragrunt-cache/c/d/mod/.terraform/terraform.tfstate");
	CHECK(utimensat(AT_FDCWD, path, old, 0) == 0);
	CHECK_STR(found(), "s3 u/.terragrunt-cache/a/b u/.terragrunt-cache/a/b/.terraform/terraform.tfstate:1\n"
	    "gcs v/.terragrunt-cache/a/b v/.terragrunt-cache/a/b/.terraform/terraform.tfstate:1\n");
	free(path);
	path = at("u/.terragrunt-cache/a/b/.terraform/terraform.tfstate");
	old[0].tv_sec = old[1].tv_sec = 900;
	CHECK(utimensat(AT_FDCWD, path, old, 0) == 0);
	CHECK_STR(found(), "s3 u/.terragrunt-cache/c/d/mod u/.terragrunt-cache/c/d/mod/.terraform/terraform.tfstate:1\n"
	    "gcs v/.terragrunt-cache/a/b v/.terragrunt-cache/a/b/.terraform/terraform.tfstate:1\n");
	free(path);
}

/* A file that cannot be read says nothing: a state beside it is not taken for one without a backend. */
static void
wrong(void)
{
	char *big = xmalloc(CONF_FILE_MAX + 2), *path, *target;

	begin();
	memset(big, ' ', CONF_FILE_MAX + 1);
	big[CONF_FILE_MAX + 1] = '\0';
	put("big/x.tf", big);
	put("big/terraform.tfstate", "{}");
	put("binary/x.tf", "backend\x01\xff\xfe{\"");
	put("json/x.tf.json", "{\"backend\": ");
	put("json/terraform.tfstate", "{}");
	put("label/x.tf", "terraform {\n  backend {\n  }\n}\n");
	put("record/.terraform/terraform.tfstate", "{\"backend\": {}}");
	put("open/x.tf", "terraform {\n  backend \"s3\" {\n    bucket = \"b");
	path = at("loop/again");
	target = xasprintf("%s/loop", tree);
	CHECK(symlink(target, path) == 0);
	free(path);
	free(target);
	path = at("link/x.tf");
	target = xasprintf("%s/open/x.tf", tree);
	CHECK(symlink(target, path) == 0);
	CHECK_STR(found(), "s3 link link/x.tf:2\ns3 open open/x.tf:2\n"
	    "! big/x.tf:0: expected at most 1048576 bytes (CONF_FILE_MAX)\n"
	    "! json/x.tf.json:1: expected JSON: unexpected token\n"
	    "! label/x.tf:2: expected one label after backend, its type\n"
	    "! record/.terraform/terraform.tfstate:1: expected what \"terraform init\" writes to .terraform/terraform.tfstate, found no backend in it\n");
	free(path);
	free(target);
	free(big);
}

static void
open_up(const char *path, mode_t mode)
{
	char *full = at(path);

	CHECK(chmod(full, mode) == 0);
	free(full);
}

/* Root reads everything: then somebody else does the walk, who may come as far as the tree. */
static void
unreadable(void)
{
	bool root = geteuid() == 0, may = true;

	begin();
	put("a/x.tf", S3("a"));
	put("b/x.tf", S3("b"));
	open_up("a", 0);
	if (root) {
		open_up(".", 0755);
		open_up("..", 0711);
		open_up("b", 0755);
		open_up("b/x.tf", 0644);
		CHECK(seteuid(NOBODY) == 0);
		may = euidaccess(tree, R_OK | X_OK) == 0;
	}
	if (may)
		CHECK_STR(found(), "s3 b b/x.tf:2\n! a:0: cannot read the folder: Permission denied\n");
	CHECK(!root || seteuid(0) == 0);
	open_up("a", 0700);
	if (!may)
		test_skip("nobody but root comes to the temporary folder");
}

static void
depth(void)
{
	struct buf  path;
	const char *said;

	begin();
	put("e/x.tf", S3("a"));
	buf_init(&path, 0);
	for (int i = 0; i < DISCOVER_DEPTH_MAX; i++)
		buf_puts(&path, "d/");
	buf_puts(&path, "d/x.tf");
	put(buf_str(&path), S3("b"));
	said = found();
	CHECK(strstr(said, "s3 e e/x.tf:2\n! d/d/") == said);
	CHECK(strstr(said, ":0: more than 32 folders below each other (DISCOVER_DEPTH_MAX); not looked at any further\n") != NULL);
	buf_free(&path);
}

static void
no_folder(void)
{
	struct discovery *d;
	struct err        e;

	CHECK(discover("/nowhere", NULL, &d, &e) == ERR_IO);
	CHECK_STR(e.msg, "/nowhere: cannot read the folder: No such file or directory");
	CHECK_STR(e.hint, "name a folder that is there");
	CHECK(discover("/etc/passwd", NULL, &d, &e) == ERR_IO);
	CHECK_STR(e.msg, "/etc/passwd: cannot read the folder: Not a directory");
	CHECK(strstr(e.hint, "name a folder") != NULL);
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){
		{ "blocks in every kind of file", blocks },
		{ "a folder has one block", one_block },
		{ "folders that hold no roots", skipped },
		{ "what init recorded", recorded },
		{ "TF_DATA_DIR", data_dir },
		{ "workspaces", workspaces },
		{ "files of arguments", arguments },
		{ "states without a backend", local_states },
		{ "managed by Brainboard", managed },
		{ "terragrunt", terragrunt },
		{ "caches of terragrunt", caches },
		{ "files that say nothing", wrong },
		{ "folders that cannot be read", unreadable },
		{ "the limit of depth", depth },
		{ "no folder at all", no_folder },
		{ NULL, NULL },
	});
}
