/* SPDX-License-Identifier: MIT */
/* Any bytes as a configuration, in both syntaxes: what is accepted is printed, what is printed is accepted again. */
#include <string.h>

#include "../lib/fuzz.h"
#include "conf/conf.h"

struct all {
	const char      *str, *path;
	struct secret   *secret;
	bool             yes;
	int64_t          i, ms, seconds, percent;
	uint64_t         size;
	struct conf_strs strs;
	struct conf_map  map;
	int              mode;
};

static const char *const modes[] = { "keep", "archive", NULL };

static const struct conf_field fields[] = {
	{ "str", CONF_STR, offsetof(struct all, str), NULL, "", "STR SET", NULL, false, NULL },
	{ "path", CONF_PATH, offsetof(struct all, path), NULL, "", NULL, NULL, false, NULL },
	{ "secret", CONF_SECRET, offsetof(struct all, secret), NULL, "", NULL, NULL, false, NULL },
	{ "yes", CONF_BOOL, offsetof(struct all, yes), "true", "", NULL, NULL, false, NULL },
	{ "i", CONF_INT, offsetof(struct all, i), "5", "", NULL, NULL, false, NULL },
	{ "ms", CONF_MS, offsetof(struct all, ms), "30s", "", NULL, NULL, false, NULL },
	{ "seconds", CONF_SECONDS, offsetof(struct all, seconds), "1", "", NULL, NULL, false, NULL },
	{ "percent", CONF_PERCENT, offsetof(struct all, percent), "50%", "", NULL, NULL, false, NULL },
	{ "size", CONF_SIZE, offsetof(struct all, size), "1MiB", "", NULL, NULL, false, NULL },
	{ "strs", CONF_STRS, offsetof(struct all, strs), "[\"**\"]", "", "LIST", NULL, false, NULL },
	{ "map", CONF_MAP, offsetof(struct all, map), NULL, "", NULL, NULL, false, NULL },
	{ "mode", CONF_ENUM, offsetof(struct all, mode), "keep", "", NULL, modes, false, NULL },
	{ "later", CONF_STR, offsetof(struct all, str), NULL, "", NULL, NULL, false, "soon" },
	{ NULL, CONF_STR, 0, NULL, NULL, NULL, NULL, false, NULL },
};

static const char *
fuzz_env(void *arg, const char *name)
{
	(void)arg;
	return strcmp(name, "SET") == 0 ? "${x}\n" : strcmp(name, "LIST") == 0 ? "a, ,b" : NULL;
}

static enum err_code
fuzz_file(void *arg, const char *path, struct buf *ret, struct err *reterr)
{
	(void)arg;
	if (strcmp(path, "/d/x") != 0)
		return err_set(reterr, ERR_CONFIG, 0, "%s: there is no such file", path);
	return buf_add(ret, "x\r\n", 3, reterr);
}

static const struct conf_source source = { .env = fuzz_env, .file = fuzz_file };

static void
fuzz_block(struct conf *c, struct conf_block *b)
{
	static const struct conf_field *const tables[] = { fields, NULL };
	static const char *const              types[] = { "backend", "state", NULL };
	struct all                            all;
	struct err                            e;

	memset(&all, 0, sizeof(all));
	if (conf_fields(c, b, fields, &all, &e) == ERR_OK)
		FUZZ_CHECK(all.ms >= 0 && all.percent >= 0 && all.percent <= 100 && all.str != NULL && all.strs.items != NULL);
	else
		FUZZ_CHECK(e.msg[0] == 'f');
	if (conf_finish(c, b, tables, types, &e) != ERR_OK)
		FUZZ_CHECK(e.msg[0] == 'f');
	for (size_t i = 0; i < b->nblocks; i++) {
		FUZZ_CHECK(b->blocks[i].parent == b);
		fuzz_block(c, &b->blocks[i]);
	}
}

static void
fuzz_print(struct conf *c)
{
	struct buf   first, second;
	struct conf *again;
	struct err   e;

	buf_init(&first, 0);
	buf_init(&second, 0);
	conf_print(conf_root(c), NULL, 0, &first);
	FUZZ_CHECK(conf_parse("f", "/d", buf_span(&first), false, &source, &again, &e) == ERR_OK);
	conf_print(conf_root(again), NULL, 0, &second);
	FUZZ_CHECK(strcmp(buf_str(&first), buf_str(&second)) == 0);
	conf_free(again);
	buf_reset(&first);
	fuzz_block(c, conf_root(c));
	conf_print(conf_root(c), NULL, 2, &first);
	buf_free(&first);
	buf_free(&second);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct conf *c;
	struct err   e;

	if (n > (size_t)1 << 16) /* what is printed stays below CONF_FILE_MAX */
		return 0;
	for (int json = 0; json < 2; json++) {
		if (conf_parse("f", "/d", span_of(data, n), json == 1, &source, &c, &e) == ERR_OK) {
			fuzz_print(c);
			conf_free(c);
		} else {
			FUZZ_CHECK(e.code == ERR_CONFIG && strncmp(e.msg, "f:", 2) == 0);
		}
	}
	return 0;
}
