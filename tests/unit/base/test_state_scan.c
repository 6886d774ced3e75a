/* SPDX-License-Identifier: MIT */
#include <jansson.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/state_scan.h"
#include "../../lib/test.h"

/* ---- what a scan tells, collected ---- */

struct objects {
	struct state_object *o;      /* address and deposed are copies */
	size_t               n, cap;
};

static struct span
copy(struct span s)
{
	return span_of(span_dup(s), s.n);
}

static void
objects_add(void *arg, const struct state_object *o)
{
	struct objects *all = arg;

	if (all->n == all->cap) {
		all->cap = all->cap == 0 ? 64 : 2 * all->cap;
		all->o = xreallocarray(all->o, all->cap, sizeof(*all->o));
	}
	all->o[all->n] = *o;
	all->o[all->n].address = copy(o->address);
	all->o[all->n++].deposed = copy(o->deposed);
}

static void
objects_free(struct objects *all)
{
	for (size_t i = 0; i < all->n; i++) {
		free((void *)all->o[i].address.p);
		free((void *)all->o[i].deposed.p);
	}
	free(all->o);
	memset(all, 0, sizeof(*all));
}

/* Pieces of size bytes; 0: all in one. Each in memory of its own, so that sanitizers see every step outside. */
static void
scan_pieces(const char *body, size_t n, size_t size, struct objects *all, struct state_info *ret)
{
	struct state_scan *s = state_scan_new(all == NULL ? NULL : objects_add, all);

	if (size == 0)
		size = n + 1;
	for (size_t at = 0; at < n; at += size) {
		size_t take = n - at < size ? n - at : size;
		void  *piece = xmemdup(body + at, take);

		state_scan_feed(s, piece, take);
		free(piece);
	}
	state_scan_end(s, ret);
	state_scan_free(s);
}

/* Text as written in this file, with ' for ". Valid until the next call but one. */
static const char *
json(const char *text)
{
	static char bodies[2][2048], *body;
	size_t      n = strlen(text);

	CHECK(n < sizeof(bodies[0]));
	body = body == bodies[0] ? bodies[1] : bodies[0];
	for (size_t i = 0; i <= n; i++)
		body[i] = text[i] == '\'' ? '"' : text[i];
	return body;
}

static struct state_info
scan(const char *text)
{
	struct state_info info;

	state_scan_all(span_str(json(text)), &info);
	return info;
}

static void
check_kind(const char *text, enum state_kind kind, const char *why)
{
	struct state_info info = scan(text);

	if (info.kind != kind || strcmp(info.why, why) != 0)
		test_fail(__FILE__, __LINE__, "%s: kind %d, \"%s\", not %d, \"%s\"", text, info.kind, info.why, kind, why);
}

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

/* ---- golden files ---- */

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

static const char *
golden(const char *name, size_t *ret_n)
{
	char path[256];

	snprintf(path, sizeof(path), "golden/state/%s", name);
	return test_read(path, ret_n);
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
	const char       *body = golden(file, &n);
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
		const char *body = golden(file, &n);

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
		const char *body = golden(name, &n);
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
		const char *body = golden(file, &n);

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

/* ---- the header ---- */

static void
reads_headers(void)
{
	struct state_info i = scan(" {'serial': 42 ,'version':4,'lineage':'a\\u0062','terraform_version':'1.2\\n3'}");

	CHECK_U64(i.kind, STATE_V4);
	CHECK_U64(i.serial, 42);
	CHECK(i.has_serial);
	CHECK_U64(i.serial_start, 12);
	CHECK_U64(i.serial_end, 14);
	CHECK_STR(i.lineage, "ab");
	CHECK_U64(i.lineage_end - i.lineage_start, 9);
	CHECK_STR(i.writer, "1.23");

	i = scan("{'version':4}");
	CHECK_U64(i.kind, STATE_V4);
	CHECK(!i.has_serial && i.serial == 0 && i.serial_start == i.serial_end && i.lineage_start == i.lineage_end);
	CHECK_STR(i.lineage, "");
	CHECK_U64(i.resources + i.instances + i.deposed + i.outputs, 0);

	/* As in Go: without regard to case, the last one counts, null is nothing. */
	i = scan("{'VERSION':3,'Serial':1,'serial':7,'version':4,'serial':null,'lineage':'a','lineage':'bb'}");
	CHECK_U64(i.kind, STATE_V4);
	CHECK_U64(i.serial, 7);
	CHECK_U64(i.serial_end - i.serial_start, 1);
	CHECK_STR(i.lineage, "bb");

	/* Only the top level counts. */
	i = scan("{'outputs':{'serial':{'serial':5},'x':{'outputs':{}}},'version':4,'serial':6,'resources':"
	    "[{'mode':'data','type':'t','name':'n','serial':8,'instances':[{'serial':9,'version':1}]}]}");
	CHECK_U64(i.kind, STATE_V4);
	CHECK_U64(i.serial, 6);
	CHECK_U64(i.outputs, 2);
}

static void
judges_headers(void)
{
	char        long_lineage[STATE_LINEAGE_MAX + 64];
	struct buf  b;

	check_kind("", STATE_EMPTY, "zero bytes");
	check_kind(" \r\n\t", STATE_EMPTY, "nothing but blanks");
	check_kind("{}", STATE_DAMAGED, "JSON without version");
	check_kind("'x'", STATE_DAMAGED, "JSON, but no object");
	check_kind("[{'version':4}]", STATE_DAMAGED, "JSON, but an array instead of an object");
	check_kind("{'version':null}", STATE_DAMAGED, "JSON without version");
	check_kind("{'version':4,'version':null}", STATE_DAMAGED, "JSON without version");
	check_kind("{'version':4.0}", STATE_DAMAGED, "version is not a positive whole number");
	check_kind("{'version':-4}", STATE_DAMAGED, "version is not a positive whole number");
	check_kind("{'version':{'version':4}}", STATE_DAMAGED, "version is not a number");
	check_kind("{'version':0}", STATE_UNREADABLE, "format version 0 is not known");
	check_kind("{'version':18446744073709551615}", STATE_UNREADABLE, "format version 4294967295 is not known");
	check_kind("{'version':4,'serial':18446744073709551615}", STATE_V4, "");
	check_kind("{'version':4,'serial':18446744073709551616}", STATE_DAMAGED, "serial is greater than 2^64-1");
	check_kind("{'version':4,'serial':99999999999999999999999}", STATE_DAMAGED, "serial is greater than 2^64-1");
	check_kind("{'version':4,'serial':1e3}", STATE_DAMAGED, "serial is not a whole number");
	check_kind("{'version':4,'serial':-0}", STATE_DAMAGED, "serial is negative");
	check_kind("{'version':4,'serial':'4'}", STATE_DAMAGED, "serial is not a number");
	check_kind("{'version':4,'serial':{'serial':4}}", STATE_DAMAGED, "serial is not a number");
	check_kind("{'version':4,'serial':1,'lineage':7}", STATE_DAMAGED, "lineage is not a string");
	check_kind("{'version':4,'terraform_version':1.2}", STATE_DAMAGED, "terraform_version is not a string");
	check_kind("{'version':4,'outputs':{'a':{'value':1},'b':1}}", STATE_DAMAGED, "an output is not an object");
	check_kind("{'version':4,'check_results':{}}", STATE_DAMAGED, "check_results is not an array");
	check_kind("{'version':4,'check_results':[{'status':'pass'}]}", STATE_V4, "");
	check_kind("{'version':4,'outputs':[]}", STATE_DAMAGED, "outputs is not an object");
	check_kind("{'version':4,'resources':{}}", STATE_DAMAGED, "resources is not an array");
	check_kind("{'version':4,'outputs':null,'resources':null,'lineage':null}", STATE_V4, "");
	check_kind("{'version':4,'lineage':'a\\u0000b'}", STATE_UNREADABLE,
	    "lineage has a NUL or is longer than STATE_LINEAGE_MAX");

	memset(long_lineage, 'l', sizeof(long_lineage));
	for (size_t n = STATE_LINEAGE_MAX - 1; n <= STATE_LINEAGE_MAX; n++) {
		buf_init(&b, 0);
		buf_printf(&b, "{'version':4,'lineage':'%.*s'}", (int)n, long_lineage);
		check_kind(buf_str(&b), n < STATE_LINEAGE_MAX ? STATE_V4 : STATE_UNREADABLE,
		    n < STATE_LINEAGE_MAX ? "" : "lineage has a NUL or is longer than STATE_LINEAGE_MAX");
		buf_free(&b);
	}
}

static void
explains_other_bytes(void)
{
	struct state_info info;

	check_kind("\r\n<!DOCTYPE html>", STATE_DAMAGED, "HTML page");
	check_kind("<HTML><head>", STATE_DAMAGED, "HTML page");
	check_kind("<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", STATE_DAMAGED,
	    "XML (looks like an error answer)");
	check_kind("{'error':{'code':404}}", STATE_DAMAGED, "JSON without version (looks like an error answer)");
	check_kind("{'Message':'denied'}", STATE_DAMAGED, "JSON without version (looks like an error answer)");
	check_kind("404 page not found\n", STATE_DAMAGED, "not JSON: byte 4: more bytes behind the value");
	check_kind("Not Found", STATE_DAMAGED, "not JSON: byte 0: expected a value");
	check_kind("\x1f\x8b\x08", STATE_DAMAGED, "gzip data");
	check_kind("\x28\xb5\x2f\xfd\x04", STATE_DAMAGED, "zstd data");
	check_kind("PK\x03\x04 plan", STATE_DAMAGED, "a zip file (a plan is one)");
	check_kind("\xff\xfe{", STATE_DAMAGED, "UTF-16 text");
	check_kind("version https://git-lfs.github.com/spec/v1\n", STATE_DAMAGED, "a Git LFS pointer");
	state_scan_all(SPAN_LIT("\0\0\0\0\0\0\0\0"), &info);
	CHECK_STR(info.why, "NUL bytes");
	CHECK_U64(info.kind, STATE_DAMAGED);
}

static void
knows_envelopes(void)
{
	struct state_info i = scan("{'serial':3,'lineage':'l','meta':{'k':'e30='},'encrypted_data':'AA==',"
	    "'encryption_version':'v0'}");

	CHECK_U64(i.kind, STATE_ENCRYPTED);
	CHECK_U64(i.version, 0);
	CHECK_U64(i.serial, 3);
	CHECK_STR(i.lineage, "l");
	check_kind("{'encrypted_data':'AA==','encryption_version':'v0'}", STATE_ENCRYPTED, "");
	check_kind("{'encrypted_data':'AA==','encryption_version':'v1'}", STATE_UNREADABLE,
	    "an OpenTofu envelope of an encryption_version that is not known");
	check_kind("{'serial':3,'encryption_version':'v0'}", STATE_DAMAGED, "an OpenTofu envelope without encrypted_data");
	check_kind("{'encrypted_data':'AA==','encryption_version':''}", STATE_DAMAGED, "JSON without version");
	check_kind("{'encrypted_data':'AA==','encryption_version':0}", STATE_DAMAGED, "encryption_version is not a string");
	check_kind("{'encrypted_data':'AA==','encryption_version':'v0','serial':-1}", STATE_DAMAGED, "serial is negative");
	/* With a version it is a state that has an unknown key. */
	check_kind("{'version':4,'encrypted_data':'AA==','encryption_version':'v0'}", STATE_V4, "");
}

/* ---- objects ---- */

#define V4(resources) "{'version':4,'serial':1,'lineage':'l','resources':[" resources "]}"
#define RESOURCE(more) "{'mode':'managed','type':'t','name':'n'" more "}"

/* The addresses of all objects as they come, a line each, deposed keys behind a blank, tainted behind a "!". */
static void
check_told(const char *text, const char *expected)
{
	const char       *body = json(text);
	struct objects    all = { 0 };
	struct state_info info;
	struct buf        b;

	scan_pieces(body, strlen(body), 0, &all, &info);
	CHECK_STR(info.why, "");
	buf_init(&b, 0);
	for (size_t i = 0; i < all.n; i++) {
		buf_put(&b, all.o[i].address.p, all.o[i].address.n);
		if (all.o[i].deposed.n > 0)
			buf_putc(&b, ' ');
		buf_put(&b, all.o[i].deposed.p, all.o[i].deposed.n);
		buf_puts(&b, all.o[i].tainted ? "!\n" : "\n");
	}
	CHECK_STR(buf_str(&b), json(expected));
	buf_free(&b);
	objects_free(&all);
}

static void
tells_objects(void)
{
	check_told(V4(RESOURCE(",'instances':[{},{'deposed':'0000000a','status':'tainted'},{'index_key':0},{'index_key':-3},"
	    "{'index_key':''},{'index_key':'a','status':'tainted'}]")),
	    "t.n\nt.n 0000000a!\nt.n[0]\nt.n[-3]\nt.n['']\nt.n['a']!\n");
	check_told(V4("{'module':'module.m[\\'x\\'].module.k','mode':'data','type':'t','name':'n','instances':[{}]}"),
	    "module.m['x'].module.k.data.t.n\n");
	/* Keys in any order; the last one of each counts. */
	check_told(V4("{'instances':[{'index_key':1}],'instances':[{'index_key':2,'index_key':3}],'name':'x','name':'n',"
	    "'type':'t','mode':'data','mode':'managed','module':'module.m'}"), "module.m.t.n[3]\n");
	check_told(V4(RESOURCE(",'instances':[{'index_key':'a','index_key':null,'deposed':'','status':''}]")), "t.n\n");
	check_told(V4(RESOURCE(",'instances':[{'index_key':2.0},{'index_key':1e1},{'index_key':-1.5}]")),
	    "t.n[2]\nt.n[10]\nt.n[-1]\n");
	check_told(V4("{'mode':'data','instances':[{}]}"), "data..\n");
	check_told(V4(RESOURCE(",'instances':null")), "");
	check_told(V4(RESOURCE("")), "");
}

static void
counts_the_last_resources(void)
{
	struct state_info i = scan("{'version':4,'outputs':{'a':{},'b':{}},'outputs':{'c':{}},'resources':[" RESOURCE(
	    ",'instances':[{}]") "],'resources':[" RESOURCE(",'instances':[{'index_key':0},{'index_key':1},{'index_key':1,"
	    "'deposed':'00000001'}]") "," RESOURCE("") "]}");

	CHECK_U64(i.kind, STATE_V4);
	CHECK_U64(i.outputs, 1);
	CHECK_U64(i.resources, 2);
	CHECK_U64(i.instances, 2);
	CHECK_U64(i.deposed, 1);
}

static void
quotes_keys(void)
{
	static const struct {
		const char *json, *quoted;
	} rows[] = {
		{ "", "" },
		{ "plain é 日本 😀 <&>", "plain é 日本 😀 <&>" },
		{ "\\n\\r\\t\\\"\\\\\\/", "\\n\\r\\t\\\"\\\\/" },
		{ "${a} %{b} $a %b $ { $$ %% ${", "$${a} %%{b} $a %b $ { $$ %% $${" },
		{ "$${x}%%{y}", "$$${x}%%%{y}" },
		{ "\\u0000\\u0001\\u001f\\u007f\\u0080\\u00a0\\u00ad", "\\u0000\\u0001\\u001f\\u007f\\u0080\\u00a0\\u00ad" },
		{ "\\u1680\\u180e\\u2000\\u200b\\u200f\\u2028\\u202f\\u2060\\u3000",
		    "\\u1680\\u180e\\u2000\\u200b\\u200f\\u2028\\u202f\\u2060\\u3000" },
		{ "\\u2010\\u2027\\u2030\\u205e\\u2070\\u3001", "\u2010\u2027\u2030\u205e\u2070\u3001" },
		{ "\\ue000\\uf8ff\\ufeff\\ufff9\\ufffe\\uffff\\ufdd0", "\\ue000\\uf8ff\\ufeff\\ufff9\\ufffe\\uffff\\ufdd0" },
		{ "\\uf900\\ufffc\\ufffd", "\uf900\ufffc\ufffd" },
		{ "\\udb40\\udc01\\udbff\\udffd\\ud83f\\udffe", "\\U000e0001\\U0010fffd\\U0001fffe" },
		{ "\\ud800x\xff\xc3", "\xef\xbf\xbdx\xef\xbf\xbd\xef\xbf\xbd" },
	};
	char body[512], expected[256];

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		snprintf(body, sizeof(body), V4(RESOURCE(",'instances':[{'index_key':'%s'}]")), rows[i].json);
		snprintf(expected, sizeof(expected), "t.n['%s']\n", rows[i].quoted);
		check_told(body, expected);
	}
}

static void
refuses_structure(void)
{
	check_kind(V4("7"), STATE_DAMAGED, "a resource is not an object");
	check_kind(V4("null"), STATE_DAMAGED, "a resource is not an object");
	check_kind(V4("{'type':'t','name':'n'}"), STATE_DAMAGED, "a resource's mode is neither managed nor data");
	check_kind(V4("{'mode':['data'],'type':'t'}"), STATE_DAMAGED, "a resource's mode is not a string");
	check_kind(V4(RESOURCE(",'instances':{'a':[]}")), STATE_DAMAGED, "a resource's instances are not an array");
	check_kind(V4(RESOURCE(",'instances':[[]]")), STATE_DAMAGED, "an instance is not an object");
	check_kind(V4(RESOURCE(",'instances':[{'index_key':{'index_key':1}}]")), STATE_DAMAGED,
	    "an index_key is neither a string nor a number");
	check_kind(V4(RESOURCE(",'instances':[{'index_key':1e400}]")), STATE_DAMAGED, "an index_key is a number out of range");
	check_kind(V4(RESOURCE(",'instances':[{'index_key':9223372036854775808}]")), STATE_DAMAGED,
	    "an index_key is a number out of range");
	check_kind(V4(RESOURCE(",'instances':[{'status':'odd'}]")), STATE_DAMAGED, "an instance's status is unknown");
	check_kind(V4(RESOURCE(",'instances':[{'deposed':'short'}]")), STATE_DAMAGED,
	    "a deposed key does not have 8 characters");
	check_kind(V4(RESOURCE(",'instances':[{},{}]")), STATE_DAMAGED, "an instance of t.n is there twice");
	check_kind(V4(RESOURCE(",'instances':[{'index_key':'a'},{'index_key':'b'},{'index_key':'a'}]")), STATE_DAMAGED,
	    "an instance of t.n is there twice");
	check_kind(V4(RESOURCE(",'instances':[{'deposed':'00000001'},{'deposed':'00000001'}]")), STATE_DAMAGED,
	    "an instance of t.n is there twice");
	check_kind(V4(RESOURCE(",'instances':[{'index_key':2},{'index_key':2.5}]")), STATE_DAMAGED,
	    "an instance of t.n is there twice");
	/* Not only within one block: two states that somebody merged. */
	check_kind(V4(RESOURCE(",'instances':[{'index_key':1}]") ","
	    RESOURCE(",'instances':[{'index_key':2},{'index_key':1}]")), STATE_DAMAGED, "an instance of t.n is there twice");
	check_kind(V4(RESOURCE(",'instances':[{'index_key':1}]") ","
	    RESOURCE(",'instances':[{'index_key':2}]")), STATE_V4, "");
	check_kind(V4("{'mode':'data','type':'t','name':'n','instances':[{}]}," RESOURCE(",'instances':[{}]") ","
	    RESOURCE(",'module':'module.a','instances':[{}]")), STATE_V4, "");
	/* These are different ones. */
	check_kind(V4(RESOURCE(",'instances':[{},{'deposed':'00000001'},{'deposed':'00000002'},{'index_key':1},"
	    "{'index_key':'1'},{'index_key':''}]")), STATE_V4, "");
	/* A fault of one version does not matter in another. */
	check_kind("{'version':3,'serial':1,'modules':[],'resources':7}", STATE_V3, "");
	check_kind("{'version':4,'serial':1,'modules':7}", STATE_V4, "");
}

static void
fingerprints_bytes(void)
{
	struct objects    a = { 0 }, b = { 0 };
	struct state_info info;
	size_t            n, same = 0, other = 0;
	const char       *body = golden("seq/003.tfstate", &n);

	scan_pieces(body, n, 0, &a, &info);
	body = golden("seq/004.tfstate", &n);
	scan_pieces(body, n, 7, &b, &info);
	CHECK_U64(a.n, 5);
	CHECK_U64(b.n, 5);
	for (size_t i = 0; i < a.n; i++) {
		CHECK(span_eq(a.o[i].address, b.o[i].address));
		same += a.o[i].fingerprint == b.o[i].fingerprint;
		other += a.o[i].fingerprint != b.o[i].fingerprint;
		for (size_t k = 0; k < i; k++)
			CHECK(a.o[i].fingerprint != a.o[k].fingerprint);
	}
	/* The two databases stay, the three web servers change. */
	CHECK_U64(same, 2);
	CHECK_U64(other, 3);
	objects_free(&a);
	objects_free(&b);
}

/* One byte more or less, or another one, anywhere: another fingerprint. */
static void
fingerprints_every_byte(void)
{
	static const char head[] =
	    "{\"version\":4,\"resources\":[{\"mode\":\"data\",\"type\":\"t\",\"name\":\"n\",\"instances\":[{\"x\":\"";
	struct objects    all = { 0 };
	struct state_info info;
	char              body[256];

	for (size_t n = 0; n < 40; n++)
		for (size_t at = 0; at <= n; at++) {
			int len = snprintf(body, sizeof(body), "%s%.*s\"}]}]}", head, (int)n, "........................................");

			if (at < n)
				body[sizeof(head) - 1 + at] = 'a';
			scan_pieces(body, (size_t)len, 0, &all, &info);
			CHECK_U64(info.kind, STATE_V4);
		}
	CHECK_U64(all.n, 40 * 41 / 2);
	for (size_t i = 0; i < all.n; i++)
		for (size_t k = 0; k < i; k++)
			CHECK(all.o[i].fingerprint != all.o[k].fingerprint);
	objects_free(&all);
}

/* ---- versions 1 to 3 ---- */

static void
reads_version_3(void)
{
	struct objects    all = { 0 };
	struct state_info info;
	size_t            n, deposed = 0;
	const char       *body = golden("synthetic/v3-legacy.tfstate", &n);

	scan_pieces(body, n, 0, &all, &info);
	CHECK_U64(info.kind, STATE_V3);
	CHECK_U64(info.resources, 5);
	CHECK_U64(info.instances, 5);
	CHECK_U64(info.deposed, 1);
	CHECK_U64(info.outputs, 2);
	for (size_t i = 0; i < all.n; i++) {
		bool second = span_is(all.o[i].address, "null_resource.web[1]");

		CHECK(all.o[i].tainted == (second && all.o[i].deposed.n == 0));
		if (all.o[i].deposed.n == 0)
			continue;
		deposed++;
		CHECK(second && span_is(all.o[i].deposed, "00000001"));
	}
	CHECK_U64(deposed, 1);
	objects_free(&all);

#define V3(modules) "{'version':3,'serial':1,'modules':[" modules "]}"
	check_told(V3("{'resources':{'data.a.b.3':{'deposed':[{},{}],'primary':{'tainted':true}},'a.b':{'primary':null},"
	    "'odd':{'primary':{}},'a.b.c1':{'primary':{}},'a.b.-1':{'primary':{}},"
	    "'a.7':{'primary':{}}},'path':['root','x','y']}"),
	    "module.x.module.y.data.a.b[3] 00000001\nmodule.x.module.y.data.a.b[3] 00000002\nmodule.x.module.y.data.a.b[3]!\n"
	    "module.x.module.y.odd\nmodule.x.module.y.a.b.c1\nmodule.x.module.y.a.b[-1]\nmodule.x.module.y.a.7\n");
	check_kind("{'version':1,'modules':[]}", STATE_V3, "");
	check_kind("{'version':2,'modules':null}", STATE_DAMAGED,
	    "no modules: the backend pointer of a .terraform folder, not a state");
	check_kind(V3("7"), STATE_DAMAGED, "a module is not an object");
	check_kind(V3("{'path':[7]}"), STATE_DAMAGED, "a step of a module path is not a string");
	check_kind(V3("{'resources':[]}"), STATE_DAMAGED, "a module's resources are not an object");
	check_kind(V3("{'resources':{'a.b':7}}"), STATE_DAMAGED, "a resource is not an object");
	check_kind(V3("{'resources':{'a.b':{'primary':[]}}}"), STATE_DAMAGED, "a resource's primary is not an object");
	check_kind(V3("{'resources':{'a.b':{'primary':{'tainted':'no'}}}}"), STATE_DAMAGED,
	    "a resource's tainted is not a boolean");
}

/* ---- limits ---- */

static void
feed(struct state_scan *s, const char *text)
{
	state_scan_feed(s, text, strlen(text));
}

/* Instances of one resource, keys 0 to n-1 and then again those from again on. */
static void
feed_instances(struct state_scan *s, unsigned n, unsigned again)
{
	char text[64];

	feed(s, "\"instances\":[");
	for (unsigned i = 0; i < n; i++) {
		snprintf(text, sizeof(text), "%s{\"index_key\":%u}", i == 0 ? "" : ",", i);
		feed(s, text);
	}
	for (unsigned i = again; i < n; i++) {
		snprintf(text, sizeof(text), ",{\"index_key\":%u}", i);
		feed(s, text);
	}
	feed(s, "]");
}

struct tally {
	uint64_t n;
	char     first[64], last[64];
};

static void
tally_object(void *arg, const struct state_object *o)
{
	struct tally *t = arg;

	if (t->n++ == 0)
		snprintf(t->first, sizeof(t->first), "%.*s", (int)o->address.n, (const char *)o->address.p);
	snprintf(t->last, sizeof(t->last), "%.*s", (int)o->address.n, (const char *)o->address.p);
}

#define MANY 200000u /* more than fit STATE_WAITING_MAX */

static void
reads_many_instances(void)
{
	struct tally       t = { 0 };
	struct state_info  info;
	struct state_scan *s = state_scan_new(tally_object, &t);

	feed(s, "{\"version\":4,\"resources\":[{\"mode\":\"managed\",\"type\":\"t\",\"name\":\"n\",");
	feed_instances(s, MANY, MANY);
	feed(s, "}]}");
	state_scan_end(s, &info);
	state_scan_free(s);
	CHECK_STR(info.why, "");
	CHECK_U64(info.instances, MANY);
	CHECK_U64(t.n, MANY);
	CHECK_STR(t.first, "t.n[0]");
	CHECK_STR(t.last, "t.n[199999]");

	/* A repetition next to its twin is found, however many there are. */
	s = state_scan_new(NULL, NULL);
	feed(s, "{\"version\":4,\"resources\":[{\"mode\":\"managed\",\"type\":\"t\",\"name\":\"n\",");
	feed_instances(s, MANY, MANY - 1);
	feed(s, "}]}");
	state_scan_end(s, &info);
	state_scan_free(s);
	CHECK_STR(info.why, "an instance of t.n is there twice");
}

/* With the names behind them instances must wait, and there is an end to that: the same with and without a listener. */
static void
limits_waiting(void)
{
	static const struct {
		unsigned        n;
		enum state_kind kind;
	} rows[] = { { 100000, STATE_V4 }, { MANY, STATE_UNREADABLE } };

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		for (int listens = 0; listens < 2; listens++) {
			struct tally       t = { 0 };
			struct state_info  info;
			struct state_scan *s = state_scan_new(listens ? tally_object : NULL, &t);

			feed(s, "{\"version\":4,\"resources\":[{");
			feed_instances(s, rows[i].n, rows[i].n);
			feed(s, ",\"mode\":\"data\",\"name\":\"n\",\"type\":\"t\"}]}");
			state_scan_end(s, &info);
			state_scan_free(s);
			CHECK_U64(info.kind, rows[i].kind);
			CHECK_STR(info.why, rows[i].kind == STATE_V4 ? ""
			    : "instances before their resource's name exceed STATE_WAITING_MAX");
			if (listens && rows[i].kind == STATE_V4)
				CHECK_U64(t.n, rows[i].n);
		}
}

static void
limits_depth(void)
{
	struct state_info info;
	struct buf        b;

	for (unsigned depth = 198; depth <= 200; depth++) {
		buf_init(&b, 0);
		buf_puts(&b, "{\"version\":4,\"outputs\":");
		for (unsigned i = 0; i < depth; i++)
			buf_puts(&b, "{\"a\":");
		buf_puts(&b, "1");
		for (unsigned i = 0; i < depth; i++)
			buf_putc(&b, '}');
		buf_putc(&b, '}');
		state_scan_all(buf_span(&b), &info);
		CHECK_U64(info.kind, depth < 200 ? STATE_V4 : STATE_UNREADABLE);
		CHECK(depth < 200 || strstr(info.why, "JSON_DEPTH_MAX") != NULL);
		buf_free(&b);
	}
}

/* Keys that differ only behind what is kept of them are no twins; their address shows the beginning. */
static void
reads_long_keys(void)
{
	struct objects    all = { 0 };
	struct state_info info;
	struct buf        b;

	buf_init(&b, 0);
	buf_puts(&b, "{\"version\":4,\"resources\":[" "{\"mode\":\"managed\",\"type\":\"t\",\"name\":\"n\",\"instances\":[");
	for (int k = 0; k < 2; k++) {
		buf_puts(&b, k == 0 ? "{\"index_key\":\"" : ",{\"index_key\":\"");
		for (int i = 0; i < 5000; i++)
			buf_putc(&b, 'k');
		buf_puts(&b, k == 0 ? "a\"}" : "b\"}");
	}
	buf_puts(&b, "]}]}");
	scan_pieces(buf_str(&b), b.len, 0, &all, &info);
	CHECK_STR(info.why, "");
	CHECK_U64(all.n, 2);
	CHECK_U64(all.o[0].address.n, strlen("t.n[\"\"]") + 4096);
	CHECK(span_starts(all.o[1].address, "t.n[\"kkk") && span_ends(all.o[1].address, "k\"]"));
	objects_free(&all);
	buf_free(&b);
}

/* Long strings and numbers, many objects: the process does not grow with them. */
static void
stays_small(void)
{
	static char        piece[1 << 20];
	struct rusage      before, after;
	struct state_info  info;
	struct state_scan *s = state_scan_new(NULL, NULL);
	unsigned           n = 0;

	getrusage(RUSAGE_SELF, &before);
	memset(piece, 'x', sizeof(piece));
	feed(s, "{\"version\":4,\"lineage\":\"l\",\"terraform_version\":\"");
	for (int i = 0; i < 128; i++)
		state_scan_feed(s, piece, sizeof(piece));
	feed(s, "\",\"x\":");
	memset(piece, '1', sizeof(piece));
	for (int i = 0; i < 16; i++)
		state_scan_feed(s, piece, sizeof(piece));
	feed(s, ",\"resources\":[");
	while (n < 600000) {
		size_t len = 0;

		while (len + 128 < sizeof(piece) && n++ < 600000)
			len += (size_t)snprintf(piece + len, 128, "%s{\"mode\":\"data\",\"type\":\"t\",\"name\":\"n%u\",\"instances\":[{}]}",
			    n == 1 ? "" : ",", n);
		state_scan_feed(s, piece, len);
	}
	feed(s, "]}");
	state_scan_end(s, &info);
	state_scan_free(s);
	getrusage(RUSAGE_SELF, &after);
	CHECK_STR(info.why, "");
	CHECK_U64(strlen(info.writer), STATE_WRITER_MAX - 1);
	CHECK_U64(info.instances, 600000);
	CHECK(after.ru_maxrss - before.ru_maxrss < 12 * 1024);
}

int
main(int argc, char **argv)
{
	int failed = test_main(argc, argv, (struct test[]){
	    { "reads golden states", reads_golden_states },
	    { "refuses bad states", refuses_bad_states },
	    { "cuts change nothing", cuts_change_nothing },
	    { "reads headers", reads_headers },
	    { "judges headers", judges_headers },
	    { "explains other bytes", explains_other_bytes },
	    { "knows envelopes", knows_envelopes },
	    { "tells objects", tells_objects },
	    { "counts the last resources", counts_the_last_resources },
	    { "quotes keys", quotes_keys },
	    { "refuses structure", refuses_structure },
	    { "fingerprints bytes", fingerprints_bytes },
	    { "fingerprints every byte", fingerprints_every_byte },
	    { "reads version 3", reads_version_3 },
	    { "reads many instances", reads_many_instances },
	    { "limits waiting", limits_waiting },
	    { "limits depth", limits_depth },
	    { "reads long keys", reads_long_keys },
	    { "stays small", stays_small },
	    { NULL, NULL },
	});

	json_decref(the_manifest);
	return failed;
}
