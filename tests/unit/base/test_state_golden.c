/* SPDX-License-Identifier: MIT */
#include <jansson.h>

#include "state_rig.h"

/* Real states, whole and in pieces, against what terraform itself said of them (golden/state/manifest.json). */

static void
check_same(const struct state_info *a, const struct state_info *b)
{
	CHECK_U64(a->kind, b->kind);
	CHECK_STR(a->why, b->why);
	CHECK_U64(a->version, b->version);
	CHECK_U64(a->serial, b->serial);
	CHECK_U64(a->has_serial, b->has_serial);
	CHECK_STR(a->lineage, b->lineage);
	CHECK_STR(a->writer, b->writer);
	CHECK_U64(a->resources, b->resources);
	CHECK_U64(a->instances, b->instances);
	CHECK_U64(a->deposed, b->deposed);
	CHECK_U64(a->outputs, b->outputs);
	CHECK_U64(a->size, b->size);
	CHECK_U64(a->serial_start, b->serial_start);
	CHECK_U64(a->serial_end, b->serial_end);
	CHECK_U64(a->lineage_start, b->lineage_start);
	CHECK_U64(a->lineage_end, b->lineage_end);
}

static void
check_same_objects(const struct objects *a, const struct objects *b)
{
	CHECK_U64(a->n, b->n);
	for (size_t i = 0; i < a->n; i++) {
		CHECK(span_eq(a->o[i].address, b->o[i].address) && span_eq(a->o[i].deposed, b->o[i].deposed));
		CHECK(a->o[i].tainted == b->o[i].tainted && a->o[i].fingerprint == b->o[i].fingerprint);
	}
}

static json_t *the_manifest;

/* Numbers as reals: jansson has no integers beyond 2^63-1, and one serial is. */
static json_t *
manifest(void)
{
	size_t n;

	if (the_manifest == NULL) {
		const char *text = test_read("golden/state/manifest.json", &n);
		json_error_t e;

		the_manifest = json_loadb(text, n, JSON_DECODE_INT_AS_REAL, &e);
		if (the_manifest == NULL)
			test_fail(__FILE__, __LINE__, "manifest.json: %s", e.text);
	}
	return the_manifest;
}

static int
address_cmp(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The list of the manifest holds each address once and in another order. */
static void
check_addresses(const char *file, const struct objects *all, const json_t *expected)
{
	size_t       n = json_array_size(expected), unique = 0;
	const char **want = xcalloc(n + 1, sizeof(*want)), **got = xcalloc(all->n + 1, sizeof(*got));

	for (size_t i = 0; i < n; i++)
		want[i] = json_string_value(json_array_get(expected, i));
	for (size_t i = 0; i < all->n; i++)
		got[i] = (const char *)all->o[i].address.p;
	qsort(want, n, sizeof(*want), address_cmp);
	qsort(got, all->n, sizeof(*got), address_cmp);
	for (size_t i = 0; i < all->n; i++)
		if (i == 0 || strcmp(got[i], got[unique - 1]) != 0)
			got[unique++] = got[i];
	if (unique != n)
		test_fail(__FILE__, __LINE__, "%s: %zu addresses instead of %zu", file, unique, n);
	for (size_t i = 0; i < n; i++)
		CHECK_STR(got[i], want[i]);
	free(want);
	free(got);
}

static uint64_t
number(const json_t *entry, const char *key)
{
	double v = json_number_value(json_object_get(entry, key));

	return v >= 0x1p64 ? UINT64_MAX : (uint64_t)v;
}

static void
check_golden(const char *file, const json_t *entry)
{
	struct objects    all = { 0 };
	struct state_info info;
	size_t            n, tainted = 0;
	const char       *body = golden_state(file, &n);
	const json_t     *version = json_object_get(entry, "version");
	const json_t     *addresses = json_object_get(entry, "addresses");

	scan_pieces(body, n, 0, &all, &info);
	CHECK_STR(info.why, "");
	CHECK_U64(info.size, number(entry, "size"));
	CHECK_U64(info.kind, json_is_null(version) ? STATE_ENCRYPTED : info.version == 3 ? STATE_V3 : STATE_V4);
	CHECK_U64(info.version, number(entry, "version"));
	CHECK_STR(info.lineage, json_string_value(json_object_get(entry, "lineage")));
	CHECK(info.has_serial);
	CHECK_U64(info.serial, number(entry, "serial"));
	CHECK_U64(info.serial, strtoull(body + info.serial_start, NULL, 10));
	CHECK(body[info.lineage_start] == '"' && body[info.lineage_end - 1] == '"');
	CHECK(span_is(span_of(body + info.lineage_start + 1, info.lineage_end - info.lineage_start - 2), info.lineage));
	if (info.kind == STATE_V4) {
		CHECK_STR(info.writer, json_string_value(json_object_get(entry, "terraform_version")));
		CHECK_U64(info.resources, number(entry, "resource_blocks"));
		CHECK_U64(info.instances, number(entry, "current_objects"));
		CHECK_U64(info.deposed, number(entry, "deposed_objects"));
		CHECK_U64(info.outputs, json_array_size(json_object_get(entry, "outputs")));
		for (size_t i = 0; i < all.n; i++)
			tainted += all.o[i].tainted;
		CHECK_U64(tainted, number(entry, "tainted_objects"));
	}
	CHECK_U64(all.n, info.instances + info.deposed);
	if (addresses == NULL)
		addresses = json_object_get(json_object_get(entry, "terraform_1_11_4"), "addresses");
	check_addresses(file, &all, addresses);
	objects_free(&all);
}

static void
reads_golden_states(void)
{
	size_t  i, checked = 0;
	json_t *entry;

	json_array_foreach(manifest(), i, entry) {
		const char *file = json_string_value(json_object_get(entry, "file"));

		if (strncmp(file, "bad/", 4) == 0 || strncmp(file, "workdir/", 8) == 0)
			continue;
		check_golden(file, entry);
		checked++;
	}
	CHECK(checked >= 32);
}

static void
refuses_bad_states(void)
{
	static const struct {
		const char     *file;
		enum state_kind kind;
		const char     *why;
	} rows[] = {
		{ "bad/zero", STATE_EMPTY, "zero bytes" },
		{ "bad/null", STATE_DAMAGED, "JSON, but null instead of an object" },
		{ "bad/array", STATE_DAMAGED, "JSON, but an array instead of an object" },
		{ "bad/json-error", STATE_DAMAGED, "JSON without version (looks like an error answer)" },
		{ "bad/html-error", STATE_DAMAGED, "HTML page" },
		{ "bad/truncated", STATE_DAMAGED, "JSON cut off after 1446 bytes" },
		{ "bad/trailing-garbage", STATE_DAMAGED, "not JSON: byte 2893: more bytes behind the value" },
		{ "bad/bom", STATE_DAMAGED, "a byte order mark in front of it" },
		{ "bad/version-missing", STATE_DAMAGED, "JSON without version" },
		{ "bad/version-string", STATE_DAMAGED, "version is not a number" },
		{ "bad/version-5", STATE_UNREADABLE, "format version 5 is not known" },
		{ "bad/serial-float", STATE_DAMAGED, "serial is not a whole number" },
		{ "bad/serial-negative", STATE_DAMAGED, "serial is negative" },
		{ "bad/mode-unknown", STATE_DAMAGED, "a resource's mode is neither managed nor data" },
		{ "bad/index-bool", STATE_DAMAGED, "an index_key is neither a string nor a number" },
		{ "bad/deposed-key-short", STATE_DAMAGED, "a deposed key does not have 8 characters" },
		{ "bad/duplicate-instance", STATE_DAMAGED, "an instance of terraform_data.web is there twice" },
		{ "bad/invalid-utf8", STATE_V4, "" },
		{ "workdir/http.terraform", STATE_DAMAGED, "no modules: the backend pointer of a .terraform folder, not a state" },
		{ "workdir/back-to-local.terraform", STATE_DAMAGED,
		    "no modules: the backend pointer of a .terraform folder, not a state" },
	};
	struct objects    all = { 0 };
	struct state_info info;
	size_t            i, n, listed = 0, known = 0;
	json_t           *entry;
	char              file[128];

	for (i = 0; i < ARRAY_LEN(rows); i++) {
		snprintf(file, sizeof(file), "%s.tfstate", rows[i].file);
		const char *body = golden_state(file, &n);

		scan_pieces(body, n, 0, NULL, &info);
		CHECK_STR(info.why, rows[i].why);
		CHECK_U64(info.kind, rows[i].kind);
		known += strncmp(file, "bad/", 4) == 0;
	}
	/* None is forgotten, and the one that terraform reads has the addresses that it saw. */
	json_array_foreach(manifest(), i, entry) {
		const char *name = json_string_value(json_object_get(entry, "file"));

		listed += strncmp(name, "bad/", 4) == 0;
		if (strcmp(name, "bad/invalid-utf8.tfstate") != 0)
			continue;
		const char *body = golden_state(name, &n);
		scan_pieces(body, n, 0, &all, &info);
		check_addresses(name, &all, json_object_get(json_object_get(entry, "terraform_1_11_4"), "addresses"));
		objects_free(&all);
	}
	CHECK_U64(known, listed);
}

static void
cuts_change_nothing(void)
{
	struct objects    whole = { 0 }, cut = { 0 };
	struct state_info info, info2;
	size_t            i, n;
	json_t           *entry;
	uint64_t          seed = 88172645463325252u;

	json_array_foreach(manifest(), i, entry) {
		const char *file = json_string_value(json_object_get(entry, "file"));
		const char *body = golden_state(file, &n);

		scan_pieces(body, n, 0, &whole, &info);
		/* Every single cut where that is cheap, then pieces of any size; without a listener too. */
		for (size_t at = 1; at < n && n < 4500; at++) {
			struct state_scan *s = state_scan_new(objects_add, &cut);

			state_scan_feed(s, body, at);
			state_scan_feed(s, NULL, 0);
			state_scan_feed(s, body + at, n - at);
			state_scan_end(s, &info2);
			state_scan_free(s);
			check_same(&info, &info2);
			check_same_objects(&whole, &cut);
			objects_free(&cut);
		}
		for (int round = 0; round < 6; round++) {
			seed = seed * UINT64_C(6364136223846793005) + 1;
			size_t size = round == 0 ? 1 : 2 + (size_t)(seed >> 40) % 300;

			scan_pieces(body, n, size, &cut, &info2);
			check_same(&info, &info2);
			check_same_objects(&whole, &cut);
			objects_free(&cut);
			scan_pieces(body, n, size, NULL, &info2);
			check_same(&info, &info2);
		}
		objects_free(&whole);
	}
}

int
main(int argc, char **argv)
{
	int failed = test_main(argc, argv, (struct test[]){
	    { "reads golden states", reads_golden_states },
	    { "refuses bad states", refuses_bad_states },
	    { "cuts change nothing", cuts_change_nothing },
	    { NULL, NULL },
	});

	json_decref(the_manifest);
	return failed;
}
