/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "conf/conf.h"
#include "../../lib/test.h"

static char *
at(const char *name)
{
	return xasprintf("%s/%s", test_tmpdir(), name);
}

static void
put(const char *name, const char *text, mode_t mode)
{
	char *path = at(name);
	FILE *f = fopen(path, "w");

	CHECK(f != NULL && fputs(text, f) >= 0 && fclose(f) == 0 && chmod(path, mode) == 0);
	free(path);
}

static void
folder(const char *name, mode_t mode)
{
	char *path = at(name);

	CHECK((mkdir(path, 0700) == 0 || errno == EEXIST) && chmod(path, mode) == 0);
	free(path);
}

static struct conf *
load(const char *name)
{
	char        *path = at(name);
	struct conf *c;
	struct err   e;

	CHECK_OK(conf_load(path, NULL, &c, &e), e);
	free(path);
	return c;
}

/* The error of loading name, without the folder of the test. */
static const char *
refusal(const char *name)
{
	static struct err e;
	char             *path = at(name);
	struct conf      *c;

	CHECK(conf_load(path, NULL, &c, &e) == ERR_CONFIG);
	CHECK(strncmp(e.msg, test_tmpdir(), strlen(test_tmpdir())) == 0);
	free(path);
	return e.msg + strlen(test_tmpdir());
}

static void
file(void)
{
	struct conf *c;

	put("key", "from file\n", 0600);
	put("a.hcl", "a = file(\"key\")\nb = env(\"STATEFERRY_TEST\")\n", 0644);
	setenv("STATEFERRY_TEST", "from env", 1);
	c = load("a.hcl");
	CHECK_STR(conf_attr(conf_root(c), "a")->value.text, "from file");
	CHECK_STR(conf_attr(conf_root(c), "b")->value.text, "from env");
	CHECK_STR(conf_dir(c), test_tmpdir());
	conf_free(c);
	put("a.hcl.json", "{\"a\": \"${file(\\\"key\\\")}\"}", 0400);
	c = load("a.hcl.json");
	CHECK_STR(conf_attr(conf_root(c), "a")->value.text, "from file");
	conf_free(c);
	put("b.hcl", "a = \n", 0600);
	CHECK_STR(refusal("b.hcl"), "/b.hcl:1:5: expected a value after = on the same line, found the end of the line");
}

/* Paths in a configuration are relative to it, wherever the program runs and however it was named. */
static void
relative(void)
{
	char        *back = getcwd(NULL, 0), *real = realpath(test_tmpdir(), NULL), *sub;
	struct conf *c;
	struct err   e;

	CHECK(back != NULL && real != NULL);
	folder("sub", 0755);
	put("sub/key", "near\n", 0600);
	put("sub/a.hcl", "a = file(\"key\")\n", 0644);
	sub = xasprintf("%s/sub", real);
	CHECK(chdir(test_tmpdir()) == 0);
	CHECK_OK(conf_load("sub/a.hcl", NULL, &c, &e), e);
	CHECK_STR(conf_dir(c), sub);
	CHECK_STR(conf_attr(conf_root(c), "a")->pos.file, "sub/a.hcl");
	conf_free(c);
	CHECK_OK(conf_load("sub/", NULL, &c, &e), e);
	CHECK_STR(conf_dir(c), sub);
	CHECK_STR(conf_attr(conf_root(c), "a")->pos.file, "sub/a.hcl");
	conf_free(c);
	CHECK(chdir("sub") == 0);
	CHECK_OK(conf_load("a.hcl", NULL, &c, &e), e);
	CHECK_STR(conf_dir(c), sub);
	CHECK_STR(conf_attr(conf_root(c), "a")->value.text, "near");
	conf_free(c);
	CHECK(chdir(back) == 0);
	free(back), free(real), free(sub);
}

static void
folders(void)
{
	struct conf *c;

	folder("d", 0755);
	folder("d/dir.hcl", 0755);
	CHECK_STR(refusal("d"), "/d: expected a file *.hcl or *.hcl.json in this folder, found none");
	put("d/20.hcl", "b {\n}\n", 0644);
	put("d/10.hcl.json", "{\"a\": 1, \"lease\": {\"x\": 1}}", 0644);
	put("d/30.hcl", "c = 1\nb {\n  d = 1\n}\n", 0644);
	put("d/.hidden.hcl", "broken", 0666);
	put("d/#30.hcl", "broken", 0666);
	put("d/30.hcl~", "broken", 0666);
	put("d/terraform.tfvars", "broken", 0666);
	c = load("d");
	CHECK_U64(conf_root(c)->nattrs, 2);
	CHECK_U64(conf_root(c)->nblocks, 3);
	CHECK_STR(conf_root(c)->blocks[0].type, "lease");
	CHECK(strstr(conf_root(c)->blocks[2].pos.file, "/d/30.hcl") != NULL);
	CHECK(conf_root(c)->blocks[0].parent == conf_root(c));
	CHECK(strstr(conf_dir(c), "/d") != NULL);
	conf_free(c);
	put("d/40.hcl", "\nc = 2\n", 0644);
	CHECK_STR(refusal("d"), "/d/40.hcl:2:1: argument \"c\" is already set on line 1; expected it once");
}

static void
guarded(void)
{
	char *path = at("own.hcl"), *to = at("link.hcl");

	put("group.hcl", "", 0664);
	CHECK_STR(refusal("group.hcl"), "/group.hcl: is writable by its group or by everybody (mode 0664)");
	put("world.hcl", "", 0602);
	CHECK_STR(refusal("world.hcl"), "/world.hcl: is writable by its group or by everybody (mode 0602)");
	CHECK(symlink("world.hcl", to) == 0);
	CHECK_STR(refusal("link.hcl"), "/link.hcl: is writable by its group or by everybody (mode 0602)");
	folder("w", 0775);
	put("w/a.hcl", "", 0600);
	CHECK_STR(refusal("w"), "/w: is writable by its group or by everybody (mode 0775)");
	folder("g", 0755);
	put("g/a.hcl", "", 0620);
	CHECK_STR(refusal("g"), "/g/a.hcl: is writable by its group or by everybody (mode 0620)");
	put("own.hcl", "", 0600);
	if (chown(path, 12345, (gid_t)-1) == 0) {
		CHECK_STR(refusal("own.hcl"), "/own.hcl: belongs to user 12345; expected root or the user who runs this");
	} else {
		free(path), free(to);
		test_skip("only root can give a file away");
	}
	free(path), free(to);
}

static void
unreadable(void)
{
	char       *path = at("big.hcl"), *fifo = at("fifo.hcl");
	struct conf *c;
	struct err  e;

	CHECK_STR(refusal("none.hcl"), "/none.hcl: there is no such file");
	put("big.hcl", "", 0600);
	CHECK(truncate(path, (off_t)CONF_FILE_MAX + 1) == 0);
	CHECK_STR(refusal("big.hcl"), "/big.hcl: expected at most 1048576 bytes (CONF_FILE_MAX)");
	CHECK(mkfifo(fifo, 0600) == 0);
	CHECK_STR(refusal("fifo.hcl"), "/fifo.hcl: expected a regular file");
	CHECK(conf_load("/dev/null", NULL, &c, &e) == ERR_CONFIG);
	put("ref.hcl", "a = file(\"fifo.hcl\")", 0600);
	CHECK(strstr(refusal("ref.hcl"), "/ref.hcl:1:10: ") != NULL);
	free(path), free(fifo);
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){
	    { "file", file },
	    { "relative", relative },
	    { "folders", folders },
	    { "guarded", guarded },
	    { "unreadable", unreadable },
	    { NULL, NULL },
	});
}
