/* SPDX-License-Identifier: MIT */
#include "base/digest.h"
#include "state_rig.h"

static struct digest
of_span(struct span body)
{
	struct digest d;
	struct err    e = { 0 };

	CHECK_OK(state_semantic_digest(body, &d, &e), e);
	return d;
}

static struct span
json(const char *text)
{
	return span_str(scan_json(text));
}

static struct digest
of(const char *text)
{
	return of_span(json(text));
}

static struct digest
of_file(const char *name)
{
	char        file[256];
	size_t      n;
	const char *body;

	snprintf(file, sizeof(file), "%s.tfstate", name);
	body = golden_state(file, &n);
	return of_span(span_of(body, n));
}

static void
check_equal(const char *a, const char *b)
{
	struct digest x = of(a), y = of(b);

	if (!digest_eq(&x, &y))
		test_fail(__FILE__, __LINE__, "not equal: %s and %s", a, b);
}

static void
check_differ(const char *a, const char *b)
{
	struct digest x = of(a), y = of(b);

	if (digest_eq(&x, &y))
		test_fail(__FILE__, __LINE__, "equal: %s and %s", a, b);
}

static bool
same_files(const char *a, const char *b)
{
	struct digest x = of_file(a), y = of_file(b);

	return digest_eq(&x, &y);
}

static void
compares_golden_states(void)
{
	static const char *const different[] = {
		"count", "deposed", "empty-new", "foreach", "fork-a", "fork-b", "identity", "lineage-a", "lineage-b", "modules",
		"moved-before", "moved-after", "outputs", "seq/001", "seq/002", "seq/003", "seq/004", "seq/005", "seq/006", "tainted",
	};
	char file[64];

	CHECK(same_files("checks-a", "checks-b"));
	CHECK(same_files("count", "synthetic/tofu-compact"));
	CHECK(same_files("seq/004", "synthetic/seq-004-reordered"));
	CHECK(same_files("seq/004", "synthetic/no-lineage"));
	CHECK(same_files("empty-new", "empty-destroyed"));
	for (size_t i = 0; i < sizeof(different) / sizeof(different[0]); i++)
		for (size_t k = 0; k < i; k++) {
			snprintf(file, sizeof(file), "%s%s", strcmp(different[i], "identity") == 0 ? "synthetic/" : "", different[i]);
			if (strcmp(different[k], "identity") != 0)
				CHECK(!same_files(file, different[k]));
		}
}

/*
 * The digest is kept in stores, so it must not change: these were computed by an independent program (Python,
 * json and hashlib) from the definition in docs/protocol/state.md.
 */
static void
is_what_it_was(void)
{
	static const struct {
		const char *file, *hex;
	} rows[] = {
		{ "empty-new", "8d25d356a25facb3135da3569e9f9317162b3685b0a2f28a9854a8df00be9876" },
		{ "outputs", "c92707ac83a7181a0f19296b3bf9823046d00cee025ddcbca7a01527775d4950" },
		{ "count", "017b3d3aa69be557fd72901dfbc7b8a7870037342efcb67fbe0c806e600edd6c" },
		{ "foreach", "8081bc8adb0be5a446cc4f0c745a53cdfa1a9cf6e415068e7154cec10edd3a4d" },
		{ "checks-a", "45589f8f3d3cd40824f509b3d218cf82b8b29d04e827117352ade0bd4e8d0ed4" },
		{ "large", "058a59a9971cd6d23dbc3583aabba93e07e547359356dc61720cc802fdb8e9e4" },
		{ "synthetic/identity", "71d9867afde8d5d5a02a954071c5e52ce8791a712c870943a89c2d536a102faa" },
		{ "synthetic/v4-0.12-flatmap", "10c5a7cf34e2469aa19cad594cd2b90402173ea04d13eb4a0fcd59c45e28ef52" },
		{ "bad/invalid-utf8", "d2ca53965109f01e6d4b2c1d4ef536477355f7a158b4d6afb2f56a2cf1e34532" },
	};
	char hex[DIGEST_HEX];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct digest d = of_file(rows[i].file);

		CHECK_STR(digest_hex(&d, hex), rows[i].hex);
	}
}

static void
ignores_form(void)
{
	check_equal("{'version':4,'outputs':{'b':{'value':1},'a':{'value':[1,{}]}}}",
	    " {\r\n\t'outputs' : { 'a' : { 'value' : [ 1 , { } ] } , 'b' : { 'value' : 1 } } , 'version' : 4 } \n");
	check_equal("{'version':4,'x':'\\u00e9\\/\\u0041\\u000a\\u0008\\u001f\\ud83d\\ude00\\'\\\\'}",
	    "{'version':4,'x':'\xc3\xa9/A\\n\\b\\u001F\xf0\x9f\x98\x80\\u0022\\u005c'}");
	/* As terraform reads them. */
	check_equal("{'version':4,'x':'\xff'}", "{'version':4,'x':'\\ufffd'}");
	check_equal("{'version':4,'x':'\\ud800'}", "{'version':4,'x':'\\udc00'}");
	check_equal("{'version':4,'x':1,'x':2}", "{'version':4,'x':2}");
	check_equal("{'version':4,'\\u0078':1,'x':2}", "{'version':4,'x':2}");
	check_equal("{'version':4,'\\u00e9':1,'z':2,'\xe6\x97\xa5':3,'\\ud83d\\ude00':4}",
	    "{'\xf0\x9f\x98\x80':4,'\\u65e5':3,'z':2,'\xc3\xa9':1,'version':4}");
}

static void
sees_differences(void)
{
	check_differ("{'version':4,'x':1}", "{'version':4,'x':2}");
	check_differ("{'version':4,'x':1}", "{'version':4,'x':1.0}");
	check_differ("{'version':4,'x':1e2}", "{'version':4,'x':100}");
	check_differ("{'version':4,'x':9007199254740993}", "{'version':4,'x':9007199254740992}");
	check_differ("{'version':4,'x':1}", "{'version':4,'x':'1'}");
	check_differ("{'version':4,'x':null}", "{'version':4}");
	check_differ("{'version':4,'x':[]}", "{'version':4,'x':{}}");
	check_differ("{'version':4,'x':[1,2]}", "{'version':4,'x':[2,1]}");
	check_differ("{'version':4,'x':[[1],2]}", "{'version':4,'x':[[1,2]]}");
	check_differ("{'version':4,'x':'a','y':'b'}", "{'version':4,'x':'b','y':'a'}");
	check_differ("{'version':4,'x':'\\u0000'}", "{'version':4,'x':''}");
	check_differ("{'version':4,'x':'\\\\n'}", "{'version':4,'x':'\\n'}");
}

#define STATE(top, resource, instance) \
	"{'version':4," top "'resources':[{'mode':'managed','type':'t','name':'n'," resource \
	"'instances':[{" instance "'attributes':{'id':'1'}}]}]}"

static void
drops_what_writers_change(void)
{
	const char *plain = STATE("", "", "");

	check_equal(plain, STATE("'serial':7,'lineage':'x','terraform_version':'1.2.3',", "", ""));
	check_equal(plain, STATE("'check_results':null,", "", ""));
	check_equal(plain, STATE("'check_results':[1],'check_results':null,", "", ""));
	check_equal(plain, STATE("", "'each':'list',", ""));
	check_equal(plain, STATE("", "", "'sensitive_attributes':[],'identity_schema_version':0,"));
	check_equal(plain, STATE("", "", "'sensitive_\\u0061ttributes':[ ],"));

	check_differ(plain, STATE("'check_results':[],", "", ""));
	check_differ(plain, STATE("", "", "'sensitive_attributes':[[]],"));
	check_differ(plain, STATE("", "", "'sensitive_attributes':null,"));
	check_differ(plain, STATE("", "", "'identity_schema_version':1,"));
	check_differ(plain, STATE("", "", "'status':'tainted',"));
	check_differ(plain, STATE("", "", "'private':'eA==',"));
	/* Only where the format has them: the same names elsewhere are data. */
	check_differ(plain, STATE("'each':1,", "", ""));
	check_differ(plain, STATE("", "'serial':1,", ""));
	check_differ(plain, STATE("", "", "'each':'list',"));
	check_differ(plain, STATE("", "'sensitive_attributes':[],", ""));
	check_differ("{'version':4,'outputs':{'serial':{}}}", "{'version':4,'outputs':{}}");
	check_differ("{'version':4,'outputs':{'x':{'check_results':null}}}", "{'version':4,'outputs':{'x':{}}}");
}

static void
sorts_checks(void)
{
	check_equal("{'version':4,'check_results':[{'a':1,'objects':[{'x':1},{'x':2}]},{'a':0,'objects':null},{'b':[]}]}",
	    "{'version':4,'check_results':[{'b':[]},{'a':0,'objects':null},{'objects':[{'x':2},{'x':1}],'a':1}]}");
	check_equal("{'version':4,'check_results':['ab','a',1,[2,1]]}", "{'version':4,'check_results':[[2,1],1,'a','ab']}");
	check_differ("{'version':4,'check_results':[1,1,2]}", "{'version':4,'check_results':[1,2,2]}");
	/* Messages have an order. */
	check_differ("{'version':4,'check_results':[{'objects':[{'failure_messages':['a','b']}]}]}",
	    "{'version':4,'check_results':[{'objects':[{'failure_messages':['b','a']}]}]}");
	check_differ("{'version':4,'x':[{'objects':[1,2]}]}", "{'version':4,'x':[{'objects':[2,1]}]}");
}

/* Larger than what is collected before it is hashed, within sorted arrays too. */
static void
reads_long_texts(void)
{
	struct buf    a, b;
	struct digest x, y;

	buf_init(&a, 0);
	buf_init(&b, 0);
	buf_puts(&a, "{\"version\":4,\"check_results\":[");
	buf_puts(&b, "{\"check_results\":[ ");
	for (int i = 0; i < 3000; i++) {
		buf_printf(&a, "%s{\"config_addr\":\"%d\",\"text\":\"\\u00e9\xff%060d\"}", i == 0 ? "" : ",", i, i);
		buf_printf(&b, "%s{\"text\":\"\xc3\xa9\\ufffd%060d\",\"config_addr\":\"%d\"}", i == 0 ? "" : ",", 2999 - i, 2999 - i);
	}
	buf_puts(&a, "],\"x\":\"");
	buf_puts(&b, "],\"x\":\"");
	for (int i = 0; i < 200000; i++) {
		buf_puts(&a, "a");
		buf_puts(&b, i % 2 == 0 ? "a" : "\\u0061");
	}
	buf_puts(&a, "\"}");
	buf_puts(&b, "\",\"version\":4}");
	x = of_span(buf_span(&a));
	y = of_span(buf_span(&b));
	CHECK(digest_eq(&x, &y));
	a.data[a.len - 3] = 'b';
	x = of_span(buf_span(&a));
	CHECK(!digest_eq(&x, &y));
	buf_free(&a);
	buf_free(&b);
}

static void
refuses_other_formats(void)
{
	static const char *const others[] = { "", "x", "{}", "[]", "{'version':3,'modules':[]}", "{'version':5}",
		"{'version':4,'serial':-1}", "{'encrypted_data':'AA==','encryption_version':'v0'}" };
	struct digest            d;
	struct err               e;

	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		CHECK_U64(state_semantic_digest(json(others[i]), &d, &e), ERR_UNSUPPORTED);
	CHECK_U64(state_semantic_digest(json("{'version':4,'serial':-1}"), &d, &e), ERR_UNSUPPORTED);
	CHECK_STR(e.msg, "no state of version 4: serial is negative");
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){
	    { "compares golden states", compares_golden_states },
	    { "is what it was", is_what_it_was },
	    { "ignores form", ignores_form },
	    { "sees differences", sees_differences },
	    { "drops what writers change", drops_what_writers_change },
	    { "sorts checks", sorts_checks },
	    { "reads long texts", reads_long_texts },
	    { "refuses other formats", refuses_other_formats },
	    { NULL, NULL },
	});
}
