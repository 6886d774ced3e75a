/* SPDX-License-Identifier: MIT */
#include "net/http_check.h"

#include <strings.h>

#include "base/encode.h"
#include "base/mem.h"

#define HTTP_LENGTH_DIGITS_MAX 18 /* fits an int64_t whatever the digits are */

struct http_check {
	struct http_head *head;
	bool              http10, no_body; /* no_body: GET and HEAD */
	unsigned          fields, hosts, lengths, encodings;
};

/* Always false: "return http_refuse(...)" ends a check. */
static bool
http_refuse(struct http_check *c, int status, const char *reason)
{
	c->head->status = status;
	c->head->reason = reason;
	return false;
}

static struct span
http_cut(struct span s, size_t from, size_t to)
{
	return span_of(s.p + from, to - from);
}

static size_t
http_find(struct span s, uint8_t c)
{
	const uint8_t *at = s.n > 0 ? memchr(s.p, c, s.n) : NULL;

	return at != NULL ? (size_t)(at - s.p) : s.n;
}

static bool
http_is_digit(uint8_t c)
{
	return c >= '0' && c <= '9';
}

static bool
http_is_alnum(uint8_t c)
{
	return http_is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool
http_is_one_of(uint8_t c, const char *set)
{
	return c != '\0' && strchr(set, c) != NULL;
}

/* RFC 9110 section 5.6.2 */
static bool
http_is_token(struct span s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!http_is_alnum(s.p[i]) && !http_is_one_of(s.p[i], "!#$%&'*+-.^_`|~"))
			return false;
	return s.n > 0;
}

static bool
http_is_word(struct span s, const char *word)
{
	return s.n == strlen(word) && strncasecmp((const char *)s.p, word, s.n) == 0;
}

/* --- the request line --- */

/* One character of the target at *i, which moves past it; -1: a broken escape. */
static int
http_decode(struct span s, size_t *i, bool *ret_escaped)
{
	int hi, lo;

	*ret_escaped = s.p[*i] == '%';
	if (!*ret_escaped)
		return s.p[(*i)++];
	if (s.n - *i < 3)
		return -1;
	hi = hex_digit(s.p[*i + 1]);
	lo = hex_digit(s.p[*i + 2]);
	*i += 3;
	return hi < 0 || lo < 0 ? -1 : hi << 4 | lo;
}

/* dots: how many, if the segment has nothing else. */
static bool
http_is_dots(size_t length, size_t dots)
{
	return length == dots && (dots == 1 || dots == 2);
}

/* What two parties could take apart in two ways is refused: an escaped "/", and the segments "." and "..". */
static bool
http_check_path(struct http_check *c, struct span path)
{
	size_t length = 0, dots = 0, i = 0;

	while (i < path.n) {
		bool escaped;
		int  ch = http_decode(path, &i, &escaped);

		if (ch == '/' && escaped)
			return http_refuse(c, 400, "an escaped slash in the path");
		if (ch == '/' && http_is_dots(length, dots))
			break;
		length = ch == '/' ? 0 : length + 1;
		dots = ch == '/' ? 0 : dots + (ch == '.');
	}
	if (http_is_dots(length, dots))
		return http_refuse(c, 400, "a path segment that is . or ..");
	return true;
}

/* Each costs memory in the parser behind us, which does not answer when it has none left there. */
static bool
http_check_query(struct http_check *c, struct span query)
{
	size_t n = 1;

	for (size_t i = 0; i < query.n; i++)
		n += query.p[i] == '&';
	return n <= HTTP_ARGS_MAX || http_refuse(c, 400, "more than 64 arguments");
}

static bool
http_check_target(struct http_check *c, struct span target)
{
	size_t i = 0;

	if (target.n > HTTP_TARGET_MAX)
		return http_refuse(c, 400, "the target is longer than 4096 bytes");
	if (target.n == 0 || target.p[0] != '/')
		return http_refuse(c, 400, "the target does not begin with a slash");
	while (i < target.n) {
		bool escaped;
		int  ch = http_decode(target, &i, &escaped);

		if (ch < 0)
			return http_refuse(c, 400, "a broken escape in the target");
		if (ch < ' ' || ch == 0x7f)
			return http_refuse(c, 400, "a control character in the target");
		if (!escaped && (ch <= ' ' || ch >= 0x80 || ch == '#' || ch == '\\'))
			return http_refuse(c, 400, "a character in the target that must be escaped");
	}
	i = http_find(target, '?');
	return http_check_path(c, http_cut(target, 0, i)) && http_check_query(c, http_cut(target, i, target.n));
}

static bool
http_check_version(struct http_check *c, struct span version)
{
	if (span_is(version, "HTTP/1.1"))
		return true;
	c->http10 = span_is(version, "HTTP/1.0");
	if (c->http10)
		return true;
	if (version.n == 8 && span_starts(version, "HTTP/"))
		return http_refuse(c, 505, "not HTTP/1.1");
	return http_refuse(c, 400, "the request line does not end with HTTP/1.1");
}

/* Exactly one blank between each two of method, target and version. */
static bool
http_check_line(struct http_check *c, struct span line)
{
	size_t      blank = http_find(line, ' '), end;
	struct span method = http_cut(line, 0, blank), rest;

	if (method.n > HTTP_METHOD_MAX || !http_is_token(method) || blank == line.n)
		return http_refuse(c, 400, "the request line does not begin with a method");
	c->head->is_head = span_is(method, "HEAD");
	c->no_body = c->head->is_head || span_is(method, "GET");
	rest = http_cut(line, blank + 1, line.n);
	end = http_find(rest, ' ');
	if (!http_check_target(c, http_cut(rest, 0, end)))
		return false;
	return http_check_version(c, end < rest.n ? http_cut(rest, end + 1, rest.n) : SPAN_LIT(""));
}

/* --- fields --- */

static bool
http_field_host(struct http_check *c, struct span value)
{
	if (c->hosts++ > 0)
		return http_refuse(c, 400, "more than one Host");
	for (size_t i = 0; i < value.n; i++)
		if (!http_is_alnum(value.p[i]) && !http_is_one_of(value.p[i], "-._~%:[]"))
			return http_refuse(c, 400, "a Host that is none");
	return true;
}

static bool
http_field_length(struct http_check *c, struct span value)
{
	if (c->lengths++ > 0)
		return http_refuse(c, 400, "more than one Content-Length");
	for (size_t i = 0; i < value.n; i++) {
		if (!http_is_digit(value.p[i]))
			return http_refuse(c, 400, "a Content-Length that is not digits");
		if (i == HTTP_LENGTH_DIGITS_MAX)
			return http_refuse(c, 413, "the body is too large");
		c->head->length = c->head->length * 10 + (uint64_t)(value.p[i] - '0');
	}
	return value.n > 0 || http_refuse(c, 400, "a Content-Length that is empty");
}

static bool
http_field_encoding(struct http_check *c, struct span value)
{
	if (c->encodings++ > 0)
		return http_refuse(c, 400, "more than one Transfer-Encoding");
	if (!http_is_word(value, "chunked"))
		return http_refuse(c, 501, "a Transfer-Encoding other than chunked");
	c->head->chunked = true;
	return true;
}

static bool
http_field_expect(struct http_check *c, struct span value)
{
	return http_is_word(value, "100-continue") || http_refuse(c, 417, "an Expect other than 100-continue");
}

static const struct http_field_check {
	const char *name;
	bool      (*fn)(struct http_check *c, struct span value);
} http_fields[] = {
	{ "Host", http_field_host },
	{ "Content-Length", http_field_length },
	{ "Transfer-Encoding", http_field_encoding },
	{ "Expect", http_field_expect },
};

/* Blanks before the value belong to nobody. Those after it stay: the parser behind us does not remove them, so that a
 * length or an encoding with one would mean something else there. */
static bool
http_check_field(struct http_check *c, struct span line)
{
	size_t      colon = http_find(line, ':'), i = colon + 1;
	struct span name = http_cut(line, 0, colon), value;

	if (++c->fields > HTTP_FIELDS_MAX)
		return http_refuse(c, 431, "more than 64 header fields");
	if (line.p[0] == ' ' || line.p[0] == '\t')
		return http_refuse(c, 400, "a folded header field");
	if (colon == line.n || !http_is_token(name))
		return http_refuse(c, 400, "a header field without a proper name");
	while (i < line.n && (line.p[i] == ' ' || line.p[i] == '\t'))
		i++;
	value = http_cut(line, i, line.n);
	for (i = 0; i < value.n; i++)
		if ((value.p[i] < ' ' && value.p[i] != '\t') || value.p[i] == 0x7f)
			return http_refuse(c, 400, "a control character in a header field");
	for (i = 0; i < ARRAY_LEN(http_fields); i++)
		if (http_is_word(name, http_fields[i].name))
			return http_fields[i].fn(c, value);
	return true;
}

/* What is known only at the end. */
static bool
http_check_end(struct http_check *c)
{
	if (!c->http10 && c->hosts == 0)
		return http_refuse(c, 400, "no Host");
	if (c->encodings > 0 && c->lengths > 0)
		return http_refuse(c, 400, "Content-Length and Transfer-Encoding together");
	if (c->encodings > 0 && c->http10)
		return http_refuse(c, 400, "a Transfer-Encoding in HTTP/1.0");
	if (c->no_body && (c->head->chunked || c->head->length > 0))
		return http_refuse(c, 400, "a body in a GET or HEAD request");
	return true;
}

/* --- lines --- */

/* The line at the start of *rest, which moves past it. HTTP_MORE: it has no end so far; HTTP_REFUSE: a wrong one. */
static enum http_verdict
http_take_line(struct http_check *c, struct span *rest, struct span *ret)
{
	size_t lf = http_find(*rest, '\n');

	if (lf == rest->n)
		return HTTP_MORE;
	if (lf == 0 || rest->p[lf - 1] != '\r') {
		http_refuse(c, 400, "a line that does not end with CR LF");
		return HTTP_REFUSE;
	}
	*ret = http_cut(*rest, 0, lf - 1);
	*rest = http_cut(*rest, lf + 1, rest->n);
	return HTTP_FINE;
}

static enum http_verdict
http_check_fields(struct http_check *c, struct span *rest)
{
	size_t            n = rest->n;
	struct span       line;
	enum http_verdict v;

	while ((v = http_take_line(c, rest, &line)) == HTTP_FINE) {
		if (n - rest->n > HTTP_FIELDS_BYTES_MAX)
			break;
		if (line.n == 0)
			return http_check_end(c) ? HTTP_FINE : HTTP_REFUSE;
		if (!http_check_field(c, line))
			return HTTP_REFUSE;
	}
	if (v == HTTP_REFUSE)
		return v;
	if (n < HTTP_FIELDS_BYTES_MAX)
		return HTTP_MORE;
	http_refuse(c, 431, "the header fields are longer than 16384 bytes");
	return HTTP_REFUSE;
}

enum http_verdict
http_check(struct span bytes, struct http_head *ret)
{
	struct http_check c = { .head = ret };
	struct span       rest = bytes, line;
	enum http_verdict v;

	*ret = (struct http_head){ 0 };
	v = http_take_line(&c, &rest, &line);
	if (v == HTTP_MORE && bytes.n > HTTP_LINE_MAX + 1) {
		http_refuse(&c, 400, "the request line is too long");
		return HTTP_REFUSE;
	}
	if (v != HTTP_FINE)
		return v;
	if (!http_check_line(&c, line))
		return HTTP_REFUSE;
	v = http_check_fields(&c, &rest);
	ret->size = bytes.n - rest.n;
	return v;
}
