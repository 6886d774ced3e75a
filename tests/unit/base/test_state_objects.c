/* SPDX-License-Identifier: MIT */
#include "state_rig.h"

/* What a scan tells of resources: addresses, deposed and tainted objects, fingerprints, in each version. */

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
	struct state_info i = scan_text("{'version':4,'outputs':{'a':{},'b':{}},'outputs':{'c':{}},'resources':[" RESOURCE(
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
	const char       *body = golden_state("seq/003.tfstate", &n);

	scan_pieces(body, n, 0, &a, &info);
	body = golden_state("seq/004.tfstate", &n);
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

/* --- versions 1 to 3 --- */

static void
reads_version_3(void)
{
	struct objects    all = { 0 };
	struct state_info info;
	size_t            n, deposed = 0;
	const char       *body = golden_state("synthetic/v3-legacy.tfstate", &n);

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

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){
	    { "tells objects", tells_objects },
	    { "counts the last resources", counts_the_last_resources },
	    { "quotes keys", quotes_keys },
	    { "refuses structure", refuses_structure },
	    { "fingerprints bytes", fingerprints_bytes },
	    { "fingerprints every byte", fingerprints_every_byte },
	    { "reads version 3", reads_version_3 },
	    { "reads long keys", reads_long_keys },
	    { NULL, NULL },
	});
}
