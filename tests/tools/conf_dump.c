/* SPDX-License-Identifier: MIT */
/*
 * conf_dump FILE...: what src/conf makes of each file, one line of JSON per file, for tests in other languages:
 * {"error":"..."} or {"tree":...,"printed":"..."}. env("SET") is "from env", other variables are not set; file("x") is "from file".
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf/conf.h"

static const char *
dump_env(void *arg, const char *name)
{
	(void)arg;
	return strcmp(name, "SET") == 0 ? "from env" : NULL;
}

static enum err_code
dump_file(void *arg, const char *path, struct buf *ret, struct err *reterr)
{
	(void)arg;
	if (strcmp(path, "x") != 0)
		return err_set(reterr, ERR_CONFIG, 0, "%s: there is no such file", path);
	return buf_add(ret, "from file\n", 10, reterr);
}

static json_t *
dump_value(const struct conf_value *v)
{
	json_t *all;

	switch (v->kind) {
	case CONF_NULL:    return json_null();
	case CONF_BOOLEAN: return json_boolean(v->boolean);
	case CONF_TEXT:    return json_string(v->text);
	case CONF_NUM:     return json_pack("{ss}", "number", v->text);
	case CONF_ARRAY:
		all = json_array();
		for (size_t i = 0; i < v->nitems; i++)
			json_array_append_new(all, dump_value(&v->items[i]));
		return all;
	case CONF_OBJECT:
		all = json_object();
		for (size_t i = 0; i < v->nitems; i++)
			json_object_set_new(all, v->keys[i], dump_value(&v->items[i]));
		return all;
	}
	return NULL;
}

static json_t *
dump_block(const struct conf_block *b)
{
	json_t *labels = json_array(), *attrs = json_object(), *blocks = json_array();

	for (size_t i = 0; i < b->nlabels; i++)
		json_array_append_new(labels, json_string(b->labels[i]));
	for (size_t i = 0; i < b->nattrs; i++)
		json_object_set_new(attrs, b->attrs[i].name, dump_value(&b->attrs[i].value));
	for (size_t i = 0; i < b->nblocks; i++)
		json_array_append_new(blocks, dump_block(&b->blocks[i]));
	return json_pack("{ss so so so}", "type", b->type, "labels", labels, "attrs", attrs, "blocks", blocks);
}

/* The tree, and how conf_print() writes it. */
static json_t *
dump_tree(struct conf *c)
{
	struct buf printed;
	json_t    *all;

	buf_init(&printed, 0);
	conf_print(conf_root(c), NULL, 0, &printed);
	all = json_pack("{so ss}", "tree", dump_block(conf_root(c)), "printed", buf_str(&printed));
	buf_free(&printed);
	return all;
}

static void
dump_text(const char *name, struct span text)
{
	struct conf_source src = { .env = dump_env, .file = dump_file };
	struct conf       *c;
	struct err         e;
	json_t            *all;

	if (conf_parse(name, NULL, text, span_ends(span_str(name), ".json"), &src, &c, &e) == ERR_OK) {
		all = dump_tree(c);
		conf_free(c);
	} else {
		all = json_pack("{ss}", "error", e.msg);
	}
	json_dumpf(all, stdout, JSON_COMPACT);
	putchar('\n');
	json_decref(all);
}

int
main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		FILE  *f = fopen(argv[i], "rb");
		char  *text = malloc(CONF_FILE_MAX + 2);
		size_t n;

		if (f == NULL || text == NULL) {
			perror(argv[i]);
			return 1;
		}
		n = fread(text, 1, CONF_FILE_MAX + 2, f);
		fclose(f);
		dump_text(argv[i], span_of(text, n));
		free(text);
	}
	return 0;
}
