/* SPDX-License-Identifier: MIT */
/* Any bytes as a file that from_file names, in each form: what is accepted is printed, and parsed again with the same outcome. */
#include <string.h>

#include "../lib/fuzz.h"
#include "../lib/fuzz_conf.h"
#include "conf/conf.h"

struct all {
	const char        *str, *path;
	struct secret     *secret;
	struct conf_strs   strs, from_file;
	struct conf_map    map;
	struct conf_value *inner;
};

#define AT(member) offsetof(struct all, member)

static const struct conf_field fields[] = {
	{ .name = "bucket", .type = CONF_STR, .offset = AT(str) },
	{ .name = "path", .type = CONF_PATH, .offset = AT(path) },
	{ .name = "secret", .type = CONF_SECRET, .offset = AT(secret) },
	{ .name = "strs", .type = CONF_STRS, .offset = AT(strs) },
	{ .name = "endpoints", .type = CONF_MAP, .offset = AT(map) },
	{ .name = "role", .type = CONF_INNER, .offset = AT(inner) },
	{ .name = NULL },
}, own[] = { { .name = CONF_IMPORT, .type = CONF_STRS, .offset = AT(from_file) }, { .name = NULL } };

static const char *const blocks[] = { "role", "workspaces", NULL };

static void
fuzz_form(const char *text)
{
	static const struct conf_field *const tables[] = { fields, NULL }, *const both[] = { fields, own, NULL };
	struct conf       *c, *again;
	struct conf_block *b;
	struct all         all;
	struct buf         out;
	struct err         e = { .code = ERR_OK };

	memset(&all, 0, sizeof(all));
	FUZZ_CHECK(conf_parse("our", "/d", span_str(text), false, &source, &c, &e) == ERR_OK);
	b = &conf_root(c)->blocks[0];
	if (conf_import(c, b, "s3", tables, blocks, &e) == ERR_OK && conf_fields(c, b, fields, &all, &e) == ERR_OK &&
	    conf_fields(c, b, own, &all, &e) == ERR_OK) {
		FUZZ_CHECK(conf_finish(c, b, both, blocks, &e) == ERR_OK);
		for (size_t i = 0; i < b->nblocks; i++)
			FUZZ_CHECK(b->blocks[i].parent == b);
		buf_init(&out, 0);
		conf_print(b, both, 0, &out);
		FUZZ_CHECK(conf_parse("again", "/d", buf_span(&out), false, &source, &again, &e) == ERR_OK);
		conf_free(again);
		buf_free(&out);
	} else {
		FUZZ_CHECK(e.code == ERR_CONFIG && (strncmp(e.msg, "/d/x", 4) == 0 || strncmp(e.msg, "our:", 4) == 0));
	}
	conf_free(c);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static const char *const forms[] = { "x.tf", "x.tfbackend", "x.json", "x.tf.json", "x/terraform.tfstate" };
	char                     text[64];

	if (n > (size_t)1 << 16) /* what is printed stays below CONF_FILE_MAX */
		return 0;
	given = span_of(data, n);
	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		snprintf(text, sizeof(text), "backend \"s3\" \"x\" {\n  from_file = \"%s\"\n}\n", forms[i]);
		fuzz_form(text);
	}
	return 0;
}
