/* SPDX-License-Identifier: MIT */
/* Any bytes as every file that the finder reads: what it finds can be imported or is refused, what is printed of it is a configuration. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../lib/fuzz.h"
#include "../lib/fuzz_conf.h"
#include "conf/discover.h"

struct all {
	const char        *str, *path;
	struct secret     *secret;
	struct conf_strs   from_file;
	struct conf_map    map;
	struct conf_value *inner;
};

#define AT(member) offsetof(struct all, member)

static const struct conf_field fields[] = {
	{ .name = "bucket", .type = CONF_STR, .offset = AT(str) },
	{ .name = "path", .type = CONF_PATH, .offset = AT(path) },
	{ .name = "secret", .type = CONF_SECRET, .offset = AT(secret) },
	{ .name = "endpoints", .type = CONF_MAP, .offset = AT(map) },
	{ .name = "role", .type = CONF_INNER, .offset = AT(inner) },
	{ .name = NULL },
}, own[] = { { .name = CONF_IMPORT, .type = CONF_STRS, .offset = AT(from_file) }, { .name = NULL } };

static const char *const files[] = { "a/x.tf", "b/x.tf.json", "b/x_override.tf", "c/.terraform/terraform.tfstate", "c/.terraform/environment",
	"d/terragrunt.hcl", "e/backend.tf", "e/dev.tfbackend", "e/s/prod.tfbackend.json", "f/x.tofu", "f/x.tf", "f/y.tf" };
static char        tree[] = "/tmp/fuzz-discover-XXXXXX";

static void
fuzz_end(void)
{
	char path[128];

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", tree, files[i]);
		unlink(path);
		for (char *slash; (slash = strrchr(path, '/')) != path + strlen("/tmp"); rmdir(path))
			*slash = '\0';
	}
}

static void
fuzz_begin(void)
{
	char path[128];

	if (strchr(tree, 'X') == NULL || mkdtemp(tree) == NULL)
		return;
	atexit(fuzz_end);
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", tree, files[i]);
		for (char *p = path + strlen(tree) + 1; (p = strchr(p, '/')) != NULL; *p++ = '/') {
			*p = '\0';
			mkdir(path, 0700);
		}
		fclose(fopen(path, "w"));
	}
}

static void
fuzz_found(struct discovery *d, const struct discover_found *f)
{
	static const struct conf_field *const tables[] = { fields, NULL }, *const both[] = { fields, own, NULL };
	static const char *const blocks[] = { "role", "workspaces", NULL };
	struct conf *again;
	struct all   all;
	struct buf   out;
	struct err   e = { .code = ERR_OK };

	memset(&all, 0, sizeof(all));
	FUZZ_CHECK(f->block->nattrs == 1 && strncmp(f->dir, tree, strlen(tree)) == 0 && strncmp(f->pos.file, tree, strlen(tree)) == 0);
	if (conf_import(d->conf, f->block, f->type, tables, blocks, &e) != ERR_OK || conf_fields(d->conf, f->block, fields, &all, &e) != ERR_OK ||
	    conf_fields(d->conf, f->block, own, &all, &e) != ERR_OK) {
		FUZZ_CHECK(e.code == ERR_CONFIG);
		discover_not(d, f->pos.file, f->pos.line, &e);
		return;
	}
	buf_init(&out, 0);
	f->block->labels[0] = "s3"; /* the type may be anything, a number of bytes too */
	conf_print_written(f->block, both, &out);
	FUZZ_CHECK(conf_parse("again", "/d", buf_span(&out), false, &source, &again, &e) == ERR_OK);
	conf_free(again);
	buf_free(&out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct discovery *d;
	struct err        e;

	if (n > (size_t)1 << 16) /* what is printed stays below CONF_FILE_MAX */
		return 0;
	fuzz_begin();
	given = span_of(data, n);
	FUZZ_CHECK(discover(tree, &source, &d, &e) == ERR_OK);
	for (size_t i = 0; i < d->nfound; i++)
		fuzz_found(d, &d->found[i]);
	for (size_t i = 0; i < d->nunread; i++)
		FUZZ_CHECK(d->unread[i].message[0] != '\0' && strncmp(d->unread[i].path, tree, strlen(tree)) == 0);
	discovery_free(d);
	return 0;
}
