/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "net/url.h"
#include "../../lib/test.h"

static struct err e;

static void
check_parse(const char *text, const char *scheme, const char *host, unsigned port, const char *path, const char *query)
{
	struct url u;

	CHECK_OK(url_parse(text, &u, &e), e);
	CHECK_STR(u.scheme, scheme);
	CHECK_STR(u.host, host);
	CHECK_U64(u.port, port);
	CHECK_STR(u.path, path);
	CHECK_STR(u.query, query);
	url_free(&u);
	CHECK(u.host == NULL);
}

static void
parts(void)
{
	check_parse("https://S3.Example.com", "https", "s3.example.com", 0, "/", NULL);
	check_parse("HTTP://a:80/x", "http", "a", 0, "/x", NULL);
	check_parse("https://a:443/", "https", "a", 0, "/", NULL);
	check_parse("https://a:80/", "https", "a", 80, "/", NULL);
	check_parse("http://[::1]:9000/b/k?versions", "http", "::1", 9000, "/b/k", "versions");
	check_parse("http://[FE80::A]/", "http", "fe80::a", 0, "/", NULL);
	check_parse("https://h?a=b", "https", "h", 0, "/", "a=b");
	check_parse("https://h/?", "https", "h", 0, "/", "");
	check_parse("https://h/a/../b//c%2f+", "https", "h", 0, "/a/../b//c%2f+", NULL);
	check_parse("https://h/a?b?c/d@e:f", "https", "h", 0, "/a", "b?c/d@e:f");
	check_parse("https://h_1.-x.:65535/", "https", "h_1.-x.", 65535, "/", NULL);
}

static void
user_info(void)
{
	struct url u;
	struct buf b;

	CHECK_OK(url_parse("https://us%40er:p%3Aa%2Fss@host:8443/p?q=1", &u, &e), e);
	CHECK_STR(u.user, "us@er");
	CHECK_STR(u.password, "p:a/ss");
	CHECK_STR(u.host, "host");
	buf_init(&b, 0);
	url_print(&u, &b);
	CHECK_STR(buf_str(&b), "https://host:8443/p?q=1");
	buf_free(&b);
	url_free(&u);

	CHECK_OK(url_parse("https://only@host/", &u, &e), e);
	CHECK_STR(u.user, "only");
	CHECK(u.password == NULL);
	url_free(&u);

	CHECK_OK(url_parse("https://a@b:c@host/", &u, &e), e); /* the last "@" separates */
	CHECK_STR(u.user, "a@b");
	CHECK_STR(u.host, "host");
	url_free(&u);
}

static void
refused(void)
{
	static const char *const bad[] = {
		"", "example.com", "ftp://a/", "https:/a", "https://", "https:///p", "https://?q", "https://:80/",
		"https://a:/",
		"https://a:0/", "https://a:65536/", "https://a:99999999999999999999/", "https://a:8x/", "https://a b/",
		"https://a/\x01", "https://a/\x7f", "https://a/#f", "https://a/b#", "https://a\\b/", "https://[::1/",
		"https://[::g]/",
		"https://[::1%25eth0]/", "https://[]/", "https://[::1]x/", "https://a%2fb/", "https://u%zz@h/",
		"https://u%00@h/",
		"https://h\xc3\xbc/", "https://h/\xc3\xbc", "https://a,b/", "https://@/", " https://a/", "https://a/ ",
	};
	char       long_one[URL_MAX + 2] = "https://a/";
	char       name[300] = "https://";
	struct url u;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (url_parse(bad[i], &u, &e) != ERR_CONFIG)
			test_fail(__FILE__, __LINE__, "\"%s\" was accepted", bad[i]);
	CHECK(url_parse(NULL, &u, &e) == ERR_CONFIG);
	CHECK(url_parse("https://user:canary@h:x/", &u, &e) == ERR_CONFIG);
	CHECK(strstr(e.msg, "canary") == NULL);
	memset(long_one + 10, 'x', URL_MAX - 10);
	CHECK_OK(url_parse(long_one, &u, &e), e);
	url_free(&u);
	long_one[URL_MAX] = 'x';
	CHECK(url_parse(long_one, &u, &e) == ERR_CONFIG);
	memset(name + 8, 'h', 253);
	CHECK_OK(url_parse(name, &u, &e), e);
	url_free(&u);
	name[8 + 253] = 'h';
	CHECK(url_parse(name, &u, &e) == ERR_CONFIG);
}

static bool
same(const char *a, const char *b)
{
	struct url x, y;
	bool       is;

	CHECK_OK(url_parse(a, &x, &e), e);
	CHECK_OK(url_parse(b, &y, &e), e);
	is = url_same_origin(&x, &y);
	url_free(&x);
	url_free(&y);
	return is;
}

static bool
loopback(const char *a)
{
	struct url x;
	bool       is;

	CHECK_OK(url_parse(a, &x, &e), e);
	is = url_is_loopback(&x);
	url_free(&x);
	return is;
}

static void
origins(void)
{
	CHECK(same("https://a/x", "HTTPS://A:443/y?z"));
	CHECK(!same("https://a/", "http://a/"));
	CHECK(!same("https://a/", "https://a:444/"));
	CHECK(!same("https://a/", "https://b/"));
	CHECK(!same("https://a:80/", "http://a:80/"));
	CHECK(loopback("http://localhost:1/") && loopback("http://127.0.0.1/") && loopback("http://127.9.8.7/"));
	CHECK(loopback("http://[::1]/") && loopback("http://[0:0::1]/") && loopback("http://[::ffff:127.0.0.1]/"));
	CHECK(!loopback("http://128.0.0.1/") && !loopback("http://[::2]/") && !loopback("http://127.0.0.1.example/"));
	CHECK(!loopback("http://localhost.example/"));
}

static void
check_escape(enum url_escape how, const char *in, const char *out)
{
	struct buf b, back;

	buf_init(&b, 0);
	buf_init(&back, 0);
	url_escape(how, span_str(in), &b);
	CHECK_STR(buf_str(&b), out);
	CHECK(url_unescape(buf_span(&b), false, &back));
	CHECK_STR(buf_str(&back), in);
	buf_free(&b);
	buf_free(&back);
}

static void
escapes(void)
{
	struct buf b;

	check_escape(URL_S3_PATH, "odd dir/a+b=c&d,\xc3\xa9~(1)'!*$@;:/terraform.tfstate",
	    "odd%20dir/a%2Bb%3Dc%26d%2C%C3%A9~%281%29%27%21%2A%24%40%3B%3A/terraform.tfstate");
	check_escape(URL_QUERY, "env:/a-b._~", "env%3A%2Fa-b._~");
	check_escape(URL_SEGMENT, "a/b%", "a%2Fb%25");
	buf_init(&b, 0);
	CHECK(url_unescape(SPAN_LIT("a+b%2b%C3%A9"), true, &b));
	CHECK_STR(buf_str(&b), "a b+\xc3\xa9");
	buf_reset(&b);
	CHECK(url_unescape(SPAN_LIT("a+b"), false, &b));
	CHECK_STR(buf_str(&b), "a+b");
	CHECK(!url_unescape(SPAN_LIT("%"), false, &b));
	CHECK(!url_unescape(SPAN_LIT("a%1"), false, &b));
	CHECK(!url_unescape(SPAN_LIT("%g0"), false, &b));
	CHECK(!url_unescape(SPAN_LIT("%0/"), false, &b));
	buf_reset(&b);
	url_query_add(&b, "list-type", "2");
	url_query_add(&b, "prefix", "env:/ ");
	url_query_add(&b, "versions", "");
	CHECK_STR(buf_str(&b), "list-type=2&prefix=env%3A%2F%20&versions=");
	buf_reset(&b);
	url_form_add(&b, "grant_type", "urn:a b");
	url_form_add(&b, "x", "~*+&=\xc3\xa9-._");
	url_form_add(&b, "empty", NULL);
	CHECK_STR(buf_str(&b), "grant_type=urn%3Aa+b&x=%7E*%2B%26%3D%C3%A9-._&empty=");
	buf_free(&b);
}

int
main(int argc, char **argv)
{
	static const struct test tests[] = {
		{ "parts", parts }, { "user info", user_info }, { "what is refused", refused },
		{ "origins and loopback", origins },
		{ "escapes", escapes }, { NULL, NULL },
	};

	return test_main(argc, argv, tests);
}
