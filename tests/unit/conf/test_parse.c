/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "base/mem.h"
#include "conf/conf.h"
#include "../../lib/test.h"

static const char *
fake_env(void *arg, const char *name)
{
	(void)arg;
	if (strcmp(name, "SET") == 0)
		return "from env";
	if (strcmp(name, "EMPTY") == 0)
		return "";
	return strcmp(name, "LATIN1") == 0 ? "\xe9" : NULL;
}

static enum err_code
fake_file(void *arg, const char *path, struct buf *ret, struct err *reterr)
{
	(void)arg;
	if (strcmp(path, "/dir/key") == 0 || strcmp(path, "/etc/stateferry/legacy.password") == 0)
		return buf_add(ret, "s3cret\n\n", 8, reterr);
	if (strcmp(path, "/dir/crlf") == 0)
		return buf_add(ret, "s3cret\r\n", 8, reterr);
	if (strcmp(path, "/bin") == 0)
		return buf_add(ret, "\0\1", 2, reterr);
	return err_set(reterr, ERR_CONFIG, 0, "%s: there is no such file", path);
}

static const struct conf_source fakes = { .env = fake_env, .file = fake_file };

static struct conf *last;

static struct conf_block *
parse(const char *text, bool json)
{
	struct err e;

	conf_free(last);
	last = NULL;
	CHECK_OK(conf_parse("f", "/dir", span_str(text), json, &fakes, &last, &e), e);
	return conf_root(last);
}

/* The message of the error that text gives, "" when there is none. */
static const char *
wrong_span(struct span text, bool json)
{
	static struct err e;
	struct conf      *c;

	err_clear(&e);
	if (conf_parse("f", "/dir", text, json, &fakes, &c, &e) == ERR_OK) {
		conf_free(c);
		return "";
	}
	CHECK_U64(e.code, ERR_CONFIG);
	return e.msg;
}

static const char *
wrong(const char *text)
{
	return wrong_span(span_str(text), false);
}

static struct conf_value *
value(struct conf_block *b, const char *name)
{
	struct conf_attr *a = conf_attr(b, name);

	CHECK(a != NULL);
	return &a->value;
}

/* A table of text and expected error. */
static void
check_errors(const char *const (*rows)[2])
{
	for (; (*rows)[0] != NULL; rows++) {
		const char *msg = wrong((*rows)[0]);

		if (strcmp(msg, (*rows)[1]) != 0)
			test_fail(__FILE__, __LINE__, "%s\n#   gives   %s\n#   not     %s", (*rows)[0], msg, (*rows)[1]);
	}
}

/* A table of a value in HCL and the string it means. */
static void
check_values(const char *const (*rows)[2])
{
	for (; (*rows)[0] != NULL; rows++) {
		char             *text = xasprintf("a = %s\n", (*rows)[0]);
		struct conf_value *v = value(parse(text, false), "a");

		CHECK_U64(v->kind, CONF_TEXT);
		if (strcmp(v->text, (*rows)[1]) != 0)
			test_fail(__FILE__, __LINE__, "%s\n#   gives   [%s]\n#   not     [%s]", (*rows)[0], v->text, (*rows)[1]);
		free(text);
	}
}

static void
blocks(void)
{
	struct conf_block *r = parse("backend \"s3\" dr-1 { # why\n"
	    "  bucket = \"b\"\n"
	    "\n"
	    "  state \"x\" { alias = \"y\" }\n"
	    "  keep {}\n"
	    "}\n"
	    "a-b_c = 1 // end", false), *b;

	CHECK_STR(r->type, "");
	CHECK_U64(r->nblocks, 1);
	CHECK_U64(r->nattrs, 1);
	CHECK_STR(r->attrs[0].name, "a-b_c");
	b = &r->blocks[0];
	CHECK(b->parent == r);
	CHECK_STR(b->type, "backend");
	CHECK_U64(b->nlabels, 2);
	CHECK_STR(b->labels[0], "s3");
	CHECK_STR(b->labels[1], "dr-1");
	CHECK_U64(b->nblocks, 2);
	CHECK(b->blocks[1].parent == b);
	CHECK_STR(b->blocks[0].labels[0], "x");
	CHECK_STR(value(&b->blocks[0], "alias")->text, "y");
	CHECK_U64(b->blocks[0].pos.line, 4);
	CHECK_U64(b->blocks[0].pos.column, 3);
	CHECK_STR(b->blocks[0].pos.file, "f");
	CHECK(conf_attr(b, "none") == NULL);
}

static void
many_blocks(void)
{
	struct conf_block *r;
	struct buf         b;

	buf_init(&b, 0);
	for (int i = 0; i < 1000; i++)
		buf_printf(&b, "b%d {\n  c {\n    d = [%d]\n  }\n}\na%d = {}\n", i, i, i);
	r = parse(buf_str(&b), false);
	CHECK_U64(r->nblocks, 1000);
	CHECK_U64(r->nattrs, 1000);
	for (size_t i = 0; i < 1000; i++) {
		CHECK(r->blocks[i].blocks[0].parent == &r->blocks[i]);
		CHECK_U64(atoi(value(&r->blocks[i].blocks[0], "d")->items[0].text), i);
		CHECK_U64(r->blocks[i].pos.line, 6 * i + 1);
	}
	buf_free(&b);
}

static void
values(void)
{
	struct conf_block *r = parse("\xef\xbb\xbfs = \"x\"\r\n"
	    "n = -1.50e3\n"
	    "t = true\n"
	    "f = false /* c\n */\n"
	    "u = null\n"
	    "l = [\n 1, # one\n\n \"b\",\n [ ]\n , { a = 1 },\n]\n"
	    "o = { a = 1, \"b c\" : [2]\n d-e=\"x\"\n\n null = null, }\n"
	    "e = {}\n"
	    "g = {\n}\n", false);
	struct conf_value *v = value(r, "l");

	CHECK_STR(value(r, "s")->text, "x");
	CHECK_U64(value(r, "s")->pos.column, 5);
	CHECK_U64(value(r, "n")->kind, CONF_NUM);
	CHECK_STR(value(r, "n")->text, "-1.50e3");
	CHECK(value(r, "t")->kind == CONF_BOOLEAN && value(r, "t")->boolean);
	CHECK(value(r, "f")->kind == CONF_BOOLEAN && !value(r, "f")->boolean);
	CHECK_U64(value(r, "u")->kind, CONF_NULL);
	CHECK_U64(v->kind, CONF_ARRAY);
	CHECK_U64(v->nitems, 4);
	CHECK_U64(v->items[2].nitems, 0);
	CHECK_U64(v->items[3].kind, CONF_OBJECT);
	CHECK_U64(v->items[1].pos.line, 10);
	CHECK_U64(v->items[1].pos.column, 2);
	v = value(r, "o");
	CHECK_U64(v->nitems, 4);
	CHECK_STR(v->keys[1], "b c");
	CHECK_STR(v->items[1].items[0].text, "2");
	CHECK_STR(v->keys[2], "d-e");
	CHECK_U64(v->items[3].kind, CONF_NULL);
	CHECK_U64(value(r, "e")->nitems, 0);
}

static void
strings(void)
{
	check_values((const char *const[][2]){
	    { "\"\"", "" },
	    { "\"a\\n\\r\\t\\\"\\\\b\"", "a\n\r\t\"\\b" },
	    { "\"\\u00e9\\U0001F600\\u0041\\u07ff\\uffff\\u20ac\"", "\xc3\xa9\xf0\x9f\x98\x80" "A\xdf\xbf\xef\xbf\xbf\xe2\x82\xac" },
	    { "\"\xc3\xa9\"", "\xc3\xa9" },
	    { "\"$\"", "$" },
	    { "\"$$ %% $% a$\"", "$$ %% $% a$" },
	    { "\"$${x} %%{y}\"", "${x} %{y}" },
	    { "\"$$${x} $$$${y} %%%{z}\"", "$${x} $$${y} %%{z}" },
	    { "\"$\\\"{\"", "$\"{" },
	    { "\"# // /* x\"", "# // /* x" },
	    { NULL, NULL },
	});
}

/* Expected values were printed by terraform 1.11. */
static void
heredocs(void)
{
	check_values((const char *const[][2]){
	    { "<<E\nx\nE\n", "x\n" },
	    { "<<E\nE\n", "" },
	    { "<<E\n\nE\n", "\n" },
	    { "<<E-1_x\n E\n\tE-1_x \n", " E\n" },
	    { "<<E\nx\n\xc2\xa0" "E\n", "x\n" },
	    { "<<E\r\nx\r\n  y\r\nE\r\n", "x\r\n  y\r\n" },
	    { "<<E\n\\n $ % \" $$ $${x} %%{y}\nE\n", "\\n $ % \" $$ ${x} %{y}\n" },
	    { "<<-E\n    x\n  y\n\n   z\n  E\n", "  x\ny\n\n z\n" },
	    { "<<-E\n    x\n  \n   z\n  E\n", " x\n  \nz\n" },
	    { "<<-E\n\t\tx\n\t y\nE\n", "x\ny\n" },
	    { "<<-E\n\xc2\xa0\xc2\xa0x\n\xc2\xa0 y\nE\n", "x\ny\n" },
	    { "<<-E\n\xe2\x80\xa8x\n  y\nE\n", "x\n y\n" },
	    { "<<-E\n  $${x}\n    y\nE\n", "${x}\n  y\n" },
	    { "<<-E\n  \r\n    x\r\n  y\r\nE\n", "  \r\n  x\r\ny\r\n" },
	    { "<<-E\n      \n   x\nE\n", "      \nx\n" },
	    { "<<-E\n\n\nE\n", "\n\n" },
	    { NULL, NULL },
	});
	CHECK_U64(value(parse("a = [<<E\nx\nE\n, 2]\nb = {\n c = <<E\nx\nE\n d = 1\n}\n", false), "a")->nitems, 2);
}

static void
references(void)
{
	struct conf_block *r = parse("a = env(\"SET\")\n"
	    "b = env (\"NONE\", \"d\\\"\")\n"
	    "c = file(\"key\")\n"
	    "d = [env(\n\"EMPTY\",\n7,\n), { x = file(\"crlf\") }]\n"
	    "e = env(\"NONE\", null)\n"
	    "f = env(\"NONE\", env(\"NONE\", env(\"SET\", \"x\")))\n"
	    "g = env(\"NONE\", -7)\n"
	    "h = \"env(\"\n", false);

	CHECK_STR(value(r, "a")->text, "from env");
	CHECK(value(r, "a")->from_ref);
	CHECK_STR(value(r, "a")->ref, "env(\"SET\")");
	CHECK_STR(value(r, "b")->text, "d\"");
	CHECK_STR(value(r, "b")->ref, "env(\"NONE\", \"d\\\"\")");
	CHECK_STR(value(r, "b")->ref_masked, "env(\"NONE\", \"(sensitive)\")");
	CHECK_STR(value(r, "c")->text, "s3cret\n");
	CHECK_STR(value(r, "c")->ref, "file(\"key\")");
	CHECK_STR(value(r, "d")->items[0].text, "");
	CHECK_STR(value(r, "d")->items[1].items[0].text, "s3cret");
	CHECK_U64(value(r, "e")->kind, CONF_NULL);
	CHECK_STR(value(r, "f")->text, "from env");
	CHECK_STR(value(r, "f")->ref_masked, "env(\"NONE\", env(\"NONE\", env(\"SET\", \"(sensitive)\")))");
	CHECK_U64(value(r, "g")->kind, CONF_NUM);
	CHECK_STR(value(r, "g")->text, "-7");
	CHECK(!value(r, "h")->from_ref);
	check_errors((const char *const[][2]){
	    { "a = env(\"NONE\")", "f:1:5: environment variable NONE is not set; expected it, or a default in env()" },
	    { "a = [\n  env(\"NONE\")]", "f:2:3: environment variable NONE is not set; expected it, or a default in env()" },
	    { "a = env(\"LATIN1\")", "f:1:5: environment variable LATIN1: expected UTF-8 of at most 1048576 bytes" },
	    { "a = env(x)", "f:1:9: expected the name of a variable in quotes, found a word" },
	    { "a = env(\"\")", "f:1:9: expected the name of a variable" },
	    { "a = env(\"A=B\")", "f:1:9: expected the name of a variable" },
	    { "a = env(\"A\" \"B\")", "f:1:13: expected ) or a comma and a default, found a string" },
	    { "a = env(\"A\", \"B\", \"C\")", "f:1:19: expected ) or a comma and a default, found a string" },
	    { "a = env(\"A\", [])", "f:1:14: expected a string, number or bool as the default, found [" },
	    { "a = env()", "f:1:9: expected the name of a variable in quotes, found )" },
	    { "a = file(\"key\", 1)", "f:1:17: expected ) after the path, found a number" },
	    { "a = file(\"no\")", "f:1:10: /dir/no: there is no such file" },
	    { "a = file(\"/bin\")", "f:1:10: /bin: expected text in UTF-8" },
	    { "a = env(\"SET\"", "f:1:14: expected ) or a comma and a default, found the end of the file" },
	    { NULL, NULL },
	});
}

#define NOT " not supported; expected a plain value, env(\"NAME\") or file(\"PATH\")"

/* Each construct of HCL that is left out is called by its name. */
static void
refused(void)
{
	check_errors((const char *const[][2]){
	    { "a = \"x${var.y}\"", "f:1:7: interpolation ${...} is not supported; expected plain text ($${ is a literal ${)" },
	    { "a = \"%{if x}\"", "f:1:6: template directives %{...} are not supported; expected plain text (%%{ is a literal %{)" },
	    { "a = <<E\n\xc3\xa9 x ${y}\nE\n", "f:2:5: interpolation ${...} is not supported; expected plain text ($${ is a literal ${)" },
	    { "a = <<-E\n    ok\n    %{ if x }\nE\n",
	        "f:3:5: template directives %{...} are not supported; expected plain text (%%{ is a literal %{)" },
	    { "a = 1 + 2", "f:1:7: an expression with the operator + is" NOT },
	    { "a = 1-2", "f:1:6: an expression with the operator - is" NOT },
	    { "a = \"x\" == \"y\"", "f:1:9: an expression with the operator == is" NOT },
	    { "a = [1 && 2]", "f:1:8: an expression with the operator && is" NOT },
	    { "a = { b = 1 < 2 }", "f:1:13: an expression with the operator < is" NOT },
	    { "a = !true", "f:1:5: an expression with the operator ! is" NOT },
	    { "a = -env(\"SET\")", "f:1:5: an expression with the operator - is" NOT },
	    { "a = --1", "f:1:5: an expression with the operator - is" NOT },
	    { "a = true ? 1 : 2", "f:1:10: a conditional expression with ? is" NOT },
	    { "a = (1)", "f:1:5: an expression in parentheses is" NOT },
	    { "a = { (b) = 1 }", "f:1:7: an expression as a key is" NOT },
	    { "a = [for x in y : x]", "f:1:6: a for expression is" NOT },
	    { "a = [\n\n for x in y : x]", "f:3:2: a for expression is" NOT },
	    { "a = {for k, v in y : k => v}", "f:1:6: a for expression (or a key for without quotes) is" NOT },
	    { "a = env(\"SET\")[0]", "f:1:15: an index or attribute of a value is" NOT },
	    { "a = env(\"SET\").x", "f:1:15: an index or attribute of a value is" NOT },
	    { "a = [1][*]", "f:1:8: a splat expression is" NOT },
	    { "a = [1].*.x", "f:1:8: a splat expression is" NOT },
	    { "a = env(\"SET\"...)", "f:1:14: an expansion with ... is" NOT },
	    { "a = var.x", "f:1:5: a reference to var.* is" NOT },
	    { "a = local.x.y", "f:1:5: a reference to local.* is" NOT },
	    { "a = info", "f:1:5: a word without quotes is a reference to a variable, which is" NOT },
	    { "a = hunter2.x", "f:1:5: a word without quotes is a reference to a variable, which is" NOT },
	    { "a = base64decode(\"x\")", "f:1:5: the function base64decode is" NOT },
	    { "a = provider::x::y(1)", "f:1:5: the function provider is" NOT },
	    { NULL, NULL },
	});
}

static void
syntax_errors(void)
{
	check_errors((const char *const[][2]){
	    { "a", "f:1:2: expected = and a value, or { and a block, found the end of the file" },
	    { "a\n= 1", "f:1:2: expected = and a value, or { and a block, found the end of the line" },
	    { "a =\n1", "f:1:4: expected a value after = on the same line, found the end of the line" },
	    { "a = # 1\n", "f:1:8: expected a value after = on the same line, found the end of the line" },
	    { "a == 1", "f:1:3: expected = and a value, or { and a block, found ==" },
	    { "a => 1", "f:1:3: expected = and a value, or { and a block, found =>" },
	    { "a : 1", "f:1:3: expected = and a value, or { and a block, found :" },
	    { "a.b = 1", "f:1:2: expected = and a value, or { and a block, found ." },
	    { "\"a\" = 1", "f:1:1: expected an argument or a block, whose name has no quotes; found a string" },
	    { "a = 1 b = 2", "f:1:7: expected a newline after the value, found a word" },
	    { "a = 1; b = 2", "f:1:6: expected a newline after the value, found ;" },
	    { "a = \"x\" \"y\"", "f:1:9: expected a newline after the value, found a string" },
	    { "a = 1\nb = 2\na = 3", "f:3:1: argument \"a\" is already set on line 1; expected it once" },
	    { "b \"x\"\n{\n}", "f:1:6: expected { or a label on the line of the block, found the end of the line" },
	    { "b 1 {\n}", "f:1:3: expected = and a value, or { and a block, found a number" },
	    { "b {\n  c = 1 }", "f:2:9: expected a newline after the value, found }" },
	    { "b {\n  c {\n  } }", "f:3:5: expected a newline after }, found }" },
	    { "b {} c {}", "f:1:6: expected a newline after }, found a word" },
	    { "b { c = 1\n}", "f:1:10: expected } (a block on one line holds one argument), found the end of the line" },
	    { "b { c = 1, d = 2 }", "f:1:10: expected } (a block on one line holds one argument), found ," },
	    { "b { c {} }", "f:1:7: expected = (a block on one line holds one argument and no block), found {" },
	    { "b { 1 }", "f:1:5: expected an argument, a newline or } after {, found a number" },
	    { "\n b \"\xc3\xa9\" \"y\" {\n", "f:2:2: b \"\xc3\xa9\" \"y\" is never closed; expected } before the end of the file" },
	    { "b {", "f:1:1: b is never closed; expected } before the end of the file" },
	    { "}", "f:1:1: expected an argument or a block, found }" },
	    { "b 1a {}", "f:1:3: expected a number such as 30, -1.5 or 1e3, or a string in quotes" },
	    { "b v w x y z {}", "f:1:11: expected at most 4 labels (CONF_LABELS_MAX)" },
	    { "a = [1 2]", "f:1:8: expected , or ] after an item of a list, found a number" },
	    { "a = [,]", "f:1:6: expected a value, found ," },
	    { "a = [1,,2]", "f:1:8: expected a value, found ," },
	    { "a = [1\n", "f:2:1: expected , or ] after an item of a list, found the end of the file" },
	    { "a = {,}", "f:1:6: expected a key, or } at the end of the object, found ," },
	    { "a = { b = 1\n , c = 2 }", "f:2:2: expected a key, or } at the end of the object, found ," },
	    { "a = { b = 1 c = 2 }", "f:1:13: expected a comma, a newline or } after a value in an object, found a word" },
	    { "a = { b 1 }", "f:1:9: expected = or : after a key, found a number" },
	    { "a = { b\n= 1 }", "f:1:8: expected = or : after a key, found the end of the line" },
	    { "a = { b =\n1 }", "f:1:10: expected a value, found the end of the line" },
	    { "a = { b :: 1 }", "f:1:9: expected = or : after a key, found ::" },
	    { "a = { b = 1, \"b\" = 2 }", "f:1:14: key \"b\" is already in this object; expected it once" },
	    { "a = { b = 1", "f:1:12: expected a comma, a newline or } after a value in an object, found the end of the file" },
	    { "a = 'x'", "f:1:5: expected a value in double quotes, found '" },
	    { "a = \xe2\x80\x9cx\xe2\x80\x9d", "f:1:5: expected a value, found \xe2\x80\x9c" },
	    { "\xc3\xa9 = 1", "f:1:1: expected an argument or a block, found \xc3\xa9" },
	    { "a = 1.", "f:1:5: expected a number such as 30, -1.5 or 1e3, or a string in quotes" },
	    { "a = 30s", "f:1:5: expected a number such as 30, -1.5 or 1e3, or a string in quotes" },
	    { "a = 1e999", "f:1:5: expected a number of at most 64 digits and an exponent up to 99 (CONF_NUMBER_MAX)" },
	    { "a = .5", "f:1:5: expected a value, found ." },
	    { NULL, NULL },
	});
}

static void
string_errors(void)
{
	check_errors((const char *const[][2]){
	    { "a = \"x", "f:1:5: this string is never closed; expected \" before the end of the line" },
	    { "a = [\"\xc3\xa9\", \"x\ny\"]", "f:1:11: this string is never closed; expected \" before the end of the line" },
	    { "a = \"x\r\n\"", "f:1:5: this string is never closed; expected \" before the end of the line" },
	    { "a = \"x\\\n\"", "f:1:7: expected one of \\n \\r \\t \\\" \\\\ \\uNNNN \\UNNNNNNNN after the backslash" },
	    { "a = \"\\${x}\"", "f:1:6: expected one of \\n \\r \\t \\\" \\\\ \\uNNNN \\UNNNNNNNN after the backslash" },
	    { "a = \"\\", "f:1:6: expected one of \\n \\r \\t \\\" \\\\ \\uNNNN \\UNNNNNNNN after the backslash" },
	    { "a = \"\\u12g4\"", "f:1:6: expected 4 hexadecimal digits after \\u" },
	    { "a = \"\\u12", "f:1:6: expected 4 hexadecimal digits after \\u" },
	    { "a = \"\\U0000\"", "f:1:6: expected 8 hexadecimal digits after \\U" },
	    { "a = \"\\ud800\"", "f:1:6: expected the number of a character after \\u, which D800 is not" },
	    { "a = \"\\u0000\"", "f:1:6: expected the number of a character after \\u, which 0 is not" },
	    { "a = \"\\U00110000\"", "f:1:6: expected the number of a character after \\U, which 110000 is not" },
	    { "a = <<E\nx\n", "f:1:5: this heredoc is never closed; expected a line with E alone, ended by a newline" },
	    { "a = <<E\nx\nE", "f:1:5: this heredoc is never closed; expected a line with E alone, ended by a newline" },
	    { "a = <<E\nx\nE x\n", "f:1:5: this heredoc is never closed; expected a line with E alone, ended by a newline" },
	    { "a = <<E \nx\nE\n", "f:1:8: expected a newline after the opening word of a heredoc" },
	    { "a = << E\nx\nE\n", "f:1:7: expected a word after << of a heredoc" },
	    { "a = <<--E\nx\nE\n", "f:1:8: expected a word after << of a heredoc" },
	    { "a = 1 /* x\n", "f:1:7: this comment is never closed; expected */" },
	    { "a = \"\x01\"", "f:1:6: expected text in UTF-8, found a control character" },
	    { "# \x7f", "f:1:3: expected text in UTF-8, found a control character" },
	    { "a = 1\rb = 2", "f:1:6: expected text in UTF-8, found a carriage return without a newline" },
	    { "\xc3\xa9\n \"\xff\"", "f:2:3: expected text in UTF-8, found bytes that are not UTF-8" },
	    { "\xc3", "f:1:1: expected text in UTF-8, found bytes that are not UTF-8" },
	    { "\xed\xa0\x80", "f:1:1: expected text in UTF-8, found bytes that are not UTF-8" },
	    { NULL, NULL },
	});
	CHECK_STR(wrong_span(SPAN_LIT("a = \"\0\""), false), "f:1:6: expected text in UTF-8, found a control character");
}

/* What could be a secret that lost its quotes never stands in a message. */
static void
errors_hide_secrets(void)
{
	static const char *const texts[] = { "a = hunter2", "a = 12345hunter2", "a = \"hunter2", "a = [\"hunter2\" 1]", "a = { hunter2 }",
		"a = hunter2.hunter2", "a = 1 hunter2", "\"hunter2\" = 1", "a = \"\\u00zz hunter2\"", "a = <<E\nhunter2\n" };

	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		const char *msg = wrong(texts[i]);

		CHECK(msg[0] != '\0');
		CHECK(strstr(msg, "hunter2") == NULL);
	}
	CHECK(strstr(wrong_span(SPAN_LIT("{\"a\": \"hunter2\" \"hunter2\"}"), true), "hunter2") == NULL);
}

static char *
repeat(const char *head, const char *s, int n)
{
	struct buf b;

	buf_init(&b, 0);
	buf_puts(&b, head);
	while (n-- > 0)
		buf_puts(&b, s);
	return buf_take(&b);
}

static void
limits(void)
{
	char *deep = repeat("a = ", "[", CONF_DEPTH_MAX + 1), *blocks = repeat("", "a {\n", CONF_DEPTH_MAX + 1);
	char *calls = repeat("a = ", "env(\"NONE\", ", 1000), *fits = repeat("a = ", "[", CONF_DEPTH_MAX);
	char *keys = repeat("a = { ", "k\n", 2), *big = repeat("", "#", (int)CONF_FILE_MAX + 1), *json = repeat("{\"a\":", "[", 17);
	char *close = repeat(fits, "]", CONF_DEPTH_MAX);

	CHECK_STR(wrong(deep), "f:1:21: expected at most 16 levels of nesting (CONF_DEPTH_MAX)");
	CHECK_STR(wrong(blocks), "f:17:1: expected at most 16 levels of nesting (CONF_DEPTH_MAX)");
	CHECK(strstr(wrong(calls), "(CONF_DEPTH_MAX)") != NULL);
	CHECK_STR(wrong(close), "");
	CHECK(strstr(wrong(keys), "after a key") != NULL);
	CHECK_STR(wrong(big), "f:1:1: expected at most 1048576 bytes (CONF_FILE_MAX), found 1048577");
	CHECK(strstr(wrong_span(span_str(json), true), "expected JSON") != NULL);
	free(deep), free(blocks), free(calls), free(fits), free(keys), free(big), free(json), free(close);
}

static void
too_many(void)
{
	struct buf b;

	buf_init(&b, 0);
	for (int i = 0; i < 1025; i++)
		buf_printf(&b, "a%d = 1\n", i);
	CHECK_STR(wrong(buf_str(&b)), "f:1025:1: expected at most 1024 arguments in a block (CONF_ITEMS_MAX)");
	buf_reset(&b);
	buf_puts(&b, "a = {\n");
	for (int i = 0; i < 1025; i++)
		buf_printf(&b, "a%d = 1\n", i);
	CHECK_STR(wrong(buf_str(&b)), "f:1026:1: expected at most 1024 keys in an object (CONF_ITEMS_MAX)");
	buf_free(&b);
}

/* A long path keeps its end, so that the position and what was expected stay in the message. */
static void
long_names(void)
{
	char        name[400];
	struct err  e;
	struct conf *c;

	memset(name, 'd', sizeof(name));
	memcpy(name + sizeof(name) - 7, "/x.hcl", 7);
	CHECK(conf_parse(name, "/", span_str("a = "), false, NULL, &c, &e) == ERR_CONFIG);
	CHECK(strstr(e.msg, "/x.hcl:1:5: expected a value after =") != NULL);
	CHECK(strncmp(e.msg, "...dd", 5) == 0);
}

static void
json(void)
{
	struct conf_block *r = parse("{\n"
	    "  \"//\": {\"a\": [\"]\", \"}\"]},\n"
	    "  \"agent\": {\"store\": \"/s\", \"n\": -1.5e1, \"t\": true, \"u\": null},\n"
	    "  \"backend\": {\n"
	    "    \"s3\": {\"a\": {\"key\": \"\\u00e9$${x}\"}, \"b\": [{\"o\": {\"k\": [1, {}]}}]},\n"
	    "    \"local\": [{\"c\": {\"dir\": \"${env(\\\"SET\\\")}\"}}]\n"
	    "  },\n"
	    "  \"replicate\": [{\"e\": {\"to\": [\"a\", \"${file(\\\"key\\\")}\"]}}, {\"f\": {\"lease\": {}}}]\n"
	    "}", true), *b;

	CHECK_U64(r->nattrs, 0);
	CHECK_U64(r->nblocks, 6);
	CHECK_STR(r->blocks[0].type, "agent");
	CHECK_STR(value(&r->blocks[0], "n")->text, "-1.5e1");
	CHECK(value(&r->blocks[0], "t")->boolean);
	CHECK_U64(value(&r->blocks[0], "u")->kind, CONF_NULL);
	b = &r->blocks[1];
	CHECK_STR(b->labels[0], "s3");
	CHECK_STR(b->labels[1], "a");
	CHECK_STR(value(b, "key")->text, "\xc3\xa9${x}");
	CHECK_U64(value(b, "key")->pos.line, 5);
	CHECK_U64(value(b, "key")->pos.column, 25);
	CHECK_U64(conf_attr(b, "key")->pos.column, 18);
	CHECK_U64(b->pos.column, 12);
	CHECK_U64(value(&r->blocks[2], "o")->items[0].nitems, 2);
	CHECK_STR(value(&r->blocks[3], "dir")->text, "from env");
	CHECK_STR(value(&r->blocks[3], "dir")->ref, "env(\"SET\")");
	CHECK_STR(value(&r->blocks[4], "to")->items[1].text, "s3cret\n");
	CHECK_STR(r->blocks[5].blocks[0].type, "lease");
	CHECK(r->blocks[5].blocks[0].parent == &r->blocks[5]);
}

static void
json_errors(void)
{
	static const char *const rows[][2] = {
		{ "", "f:1:1: expected JSON: '[' or '{' expected" },
		{ "[]", "f:1:1: expected an object with the blocks of a configuration, found an array" },
		{ "{\"a\": 1,\n}", "f:2:1: expected JSON: string or '}' expected" },
		{ "{\"a\": 1, \"a\": 2}", "f:1:12: expected JSON: duplicate object key" },
		{ "{\"a\": {\"x\": 1}, \"b\": {\n\"y\": \"${x}\"}}",
		    "f:2:6: interpolation is not supported; expected plain text ($${ is a literal ${) or one call, \"${env(\\\"NAME\\\")}\"" },
		{ "{\"a\": \"${env(\\\"NONE\\\")}\"}",
		    "f:1:10: environment variable NONE is not set; expected it, or a default in env()" },
		{ "{\"a\": \"${env(\\\"SET\\\")} ${env(\\\"SET\\\")}\"}", "f:1:20: expected the end of the value, found }" },
		{ "{\"a\": \"${env(\\\"SET\\\") + f()}\"}", "f:1:21: an expression with the operator + is" NOT },
		{ "{\"a\": \"${env(\\u000d\\\"SET\\\")}\"}",
		    "f:1:14: expected text in UTF-8, found a carriage return without a newline" },
		{ "{\"a b\": 1}", "f:1:2: expected the name of an argument or block: letters, digits, _ and -" },
		{ "{\"backend\": {\"s3\": {\"x\": 1}}}", "f:1:21: expected an object with the arguments of backend \"s3\" \"x\"" },
		{ "{\"backend\": {\"s3\": 1}}", "f:1:14: expected an object named by label of backend \"s3\"" },
		{ "{\"lease\": [{}, [{}]]}", "f:1:16: expected an object for each lease, found an array" },
		{ "{\"a\": 1e999}", "f:1:11: expected JSON: real number overflow" },
		{ "{\"a\": 1e200}", "f:1:7: expected a number of at most 64 digits and an exponent up to 99 (CONF_NUMBER_MAX)" },
		{ "{\"a\": [[[[[[[[[[[[[[[[ [1]]]]]]]]]]]]]]]]]}", "f:1:24: expected at most 16 levels of nesting (CONF_DEPTH_MAX)" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const char *msg = wrong_span(span_str(rows[i][0]), true);

		if (strcmp(msg, rows[i][1]) != 0)
			test_fail(__FILE__, __LINE__, "%s\n#   gives   %s\n#   not     %s", rows[i][0], msg, rows[i][1]);
	}
}

/* The example in conf/, and its blocks that are comments. */
static void
example(void)
{
	size_t      n;
	char       *text = xstrdup(test_read("../conf/stateferry.hcl", &n)), *out, *o;
	bool        inside = false;
	struct conf_block *r = parse(text, false);

	CHECK_U64(r->nblocks, 4);
	CHECK_STR(r->blocks[2].labels[1], "copy");
	CHECK_STR(value(&r->blocks[2], "dir")->text, "/mnt/backup/terraform");
	o = out = xmalloc(n + 1);
	for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n")) {
		inside = inside || strncmp(line, "# backend", 9) == 0 || strncmp(line, "# snapshot", 10) == 0;
		if (inside || line[0] == '}' || line[0] == ' ' || strstr(line, " {") != NULL)
			o += sprintf(o, "%s\n", inside ? line + 2 : line);
		inside = inside && strcmp(line, "# }") != 0;
	}
	r = parse(out, false);
	CHECK_U64(r->nblocks, 8);
	free(out);
	free(text);
}

int
main(int argc, char **argv)
{
	int failed = test_main(argc, argv, (struct test[]){
	    { "blocks", blocks },
	    { "many blocks", many_blocks },
	    { "values", values },
	    { "strings", strings },
	    { "heredocs", heredocs },
	    { "references", references },
	    { "refused", refused },
	    { "syntax errors", syntax_errors },
	    { "string errors", string_errors },
	    { "errors hide secrets", errors_hide_secrets },
	    { "limits", limits },
	    { "too many", too_many },
	    { "long names", long_names },
	    { "json", json },
	    { "json errors", json_errors },
	    { "example", example },
	    { NULL, NULL },
	});

	conf_free(last);
	return failed;
}
