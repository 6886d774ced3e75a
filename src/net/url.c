/* SPDX-License-Identifier: MIT */
#include "net/url.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <strings.h>

#include "base/encode.h"
#include "base/mem.h"

#define URL_HOST_MAX 253 /* RFC 1035: 255 octets on the wire */
#define URL_PORT_MAX 65535

static const char url_hex[] = "0123456789ABCDEF";

static bool
url_is_alnum(uint8_t c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static struct span
url_cut(struct span s, size_t from, size_t to)
{
	return span_of(s.p + from, to - from);
}

/* Index of the first byte that is in set; s.n when there is none. */
static size_t
url_find(struct span s, const char *set)
{
	size_t i = 0;

	while (i < s.n && strchr(set, s.p[i]) == NULL)
		i++;
	return i;
}

static unsigned
url_default_port(const char *scheme)
{
	return strcmp(scheme, "https") == 0 ? 443 : 80;
}

static char *
url_lower(struct span s)
{
	char *text = span_dup(s);

	for (size_t i = 0; i < s.n; i++)
		if (text[i] >= 'A' && text[i] <= 'Z')
			text[i] = (char)(text[i] + ('a' - 'A'));
	return text;
}

/* --- parsing --- */

static enum err_code
url_bad(struct err *reterr, const char *what)
{
	return err_set(reterr, ERR_CONFIG, 0, "URL: %s", what);
}

static enum err_code
url_check_bytes(struct span s, struct err *reterr)
{
	if (s.n > URL_MAX)
		return err_set(reterr, ERR_CONFIG, 0, "URL: longer than %d bytes", URL_MAX);
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] <= ' ' || s.p[i] == 0x7f)
			return url_bad(reterr, "a blank or control character inside");
		if (s.p[i] >= 0x80)
			return url_bad(reterr,
			    "a character that is not ASCII; write it as %XX, and a host name in its xn-- form");
		if (s.p[i] == '#')
			return url_bad(reterr,
			    "a fragment (\"#\") makes no sense here; write a \"#\" of a name as %23");
		if (s.p[i] == '\\')
			return url_bad(reterr, "a backslash inside");
	}
	return ERR_OK;
}

static enum err_code
url_parse_scheme(struct span *rest, struct url *u, struct err *reterr)
{
	static const char *const known[] = { "https", "http" };

	for (size_t i = 0; i < ARRAY_LEN(known); i++) {
		size_t n = strlen(known[i]);

		if (rest->n < n + 3 || strncasecmp((const char *)rest->p, known[i], n) != 0 ||
		    memcmp(rest->p + n, "://", 3) != 0)
			continue;
		u->scheme = xstrdup(known[i]);
		*rest = url_cut(*rest, n + 3, rest->n);
		return ERR_OK;
	}
	return url_bad(reterr, "it does not begin with https:// or http://");
}

static enum err_code
url_parse_userinfo(struct span info, struct url *u, struct err *reterr)
{
	struct buf user, password;
	size_t     colon = url_find(info, ":");
	bool       ok, two = colon < info.n;

	buf_init(&user, URL_MAX);
	buf_init(&password, URL_MAX);
	ok = url_unescape(url_cut(info, 0, colon), false, &user) &&
	    (!two || url_unescape(url_cut(info, colon + 1, info.n), false, &password));
	ok = ok && strlen(buf_str(&user)) == user.len && strlen(buf_str(&password)) == password.len;
	if (ok) {
		u->user = buf_take(&user);
		u->password = two ? buf_take(&password) : NULL;
	}
	buf_wipe_free(&user);
	buf_wipe_free(&password);
	return ok ? ERR_OK : url_bad(reterr, "the part before \"@\" has a broken %XX escape");
}

static enum err_code
url_parse_port(struct span digits, struct url *u, struct err *reterr)
{
	unsigned port = 0;

	for (size_t i = 0; i < digits.n; i++) {
		if (digits.p[i] < '0' || digits.p[i] > '9' || port > URL_PORT_MAX)
			return url_bad(reterr, "the port is not a number from 1 to 65535");
		port = port * 10 + (unsigned)(digits.p[i] - '0');
	}
	if (port < 1 || port > URL_PORT_MAX)
		return url_bad(reterr, "the port is not a number from 1 to 65535");
	u->port = port == url_default_port(u->scheme) ? 0 : port;
	return ERR_OK;
}

/* What follows "[", up to and with "]"; ret_n: how long. */
static enum err_code
url_parse_ipv6(struct span s, struct url *u, size_t *ret_n, struct err *reterr)
{
	struct in6_addr addr;
	size_t          end = url_find(s, "]");

	if (end < s.n)
		u->host = url_lower(url_cut(s, 0, end));
	if (end == s.n || inet_pton(AF_INET6, u->host, &addr) != 1)
		return url_bad(reterr, "what stands in [] is no IPv6 address");
	*ret_n = end + 1;
	return ERR_OK;
}

/* Letters, digits, "-", "_", ".": less than RFC 3986 allows, and nothing that two parsers could read in two ways. */
static enum err_code
url_parse_name(struct span s, struct url *u, size_t *ret_n, struct err *reterr)
{
	size_t n = url_find(s, ":");

	for (size_t i = 0; i < n; i++)
		if (!url_is_alnum(s.p[i]) && strchr("-_.", s.p[i]) == NULL)
			return url_bad(reterr,
			    "the host name has a character other than letters, digits, \"-\", \"_\" and \".\"");
	if (n == 0)
		return url_bad(reterr, "the host is missing");
	if (n > URL_HOST_MAX)
		return url_bad(reterr, "the host name is longer than 253 bytes");
	u->host = url_lower(url_cut(s, 0, n));
	*ret_n = n;
	return ERR_OK;
}

static enum err_code
url_parse_authority(struct span s, struct url *u, struct err *reterr)
{
	size_t        at = s.n, n = 0;
	enum err_code code = ERR_OK;

	while (at > 0 && s.p[at - 1] != '@')
		at--;
	if (at > 0)
		code = url_parse_userinfo(url_cut(s, 0, at - 1), u, reterr);
	s = url_cut(s, at, s.n);
	if (code != ERR_OK)
		return code;
	if (s.n > 0 && s.p[0] == '[') {
		s = url_cut(s, 1, s.n);
		code = url_parse_ipv6(s, u, &n, reterr);
	} else {
		code = url_parse_name(s, u, &n, reterr);
	}
	if (code != ERR_OK || n == s.n)
		return code;
	if (s.p[n] != ':')
		return url_bad(reterr, "something other than a port follows the address in []");
	return url_parse_port(url_cut(s, n + 1, s.n), u, reterr);
}

static enum err_code
url_parse_into(struct span s, struct url *u, struct err *reterr)
{
	enum err_code code = url_check_bytes(s, reterr);
	size_t        path, query;

	if (code == ERR_OK)
		code = url_parse_scheme(&s, u, reterr);
	if (code != ERR_OK)
		return code;
	path = url_find(s, "/?");
	code = url_parse_authority(url_cut(s, 0, path), u, reterr);
	if (code != ERR_OK)
		return code;
	query = path + url_find(url_cut(s, path, s.n), "?");
	u->path = path == query ? xstrdup("/") : span_dup(url_cut(s, path, query));
	u->query = query < s.n ? span_dup(url_cut(s, query + 1, s.n)) : NULL;
	return ERR_OK;
}

enum err_code
url_parse(const char *text, struct url *ret, struct err *reterr)
{
	struct url    u = { 0 };
	enum err_code code = url_parse_into(span_str(text), &u, reterr);

	if (code == ERR_OK)
		*ret = u;
	else
		url_free(&u);
	return code;
}

void
url_free(struct url *u)
{
	char *const secret[] = { u->user, u->password, u->query }; /* a query may be a signature */

	for (size_t i = 0; i < ARRAY_LEN(secret); i++)
		if (secret[i] != NULL)
			mem_wipe(secret[i], strlen(secret[i]));
	free(u->scheme);
	free(u->host);
	free(u->path);
	free(u->query);
	free(u->user);
	free(u->password);
	*u = (struct url){ 0 };
}

/* --- looking --- */

void
url_host_header(const struct url *u, struct buf *ret)
{
	bool v6 = strchr(u->host, ':') != NULL;

	buf_printf(ret, v6 ? "[%s]" : "%s", u->host);
	if (u->port != 0 && u->port != url_default_port(u->scheme))
		buf_printf(ret, ":%u", u->port);
}

void
url_print(const struct url *u, struct buf *ret)
{
	buf_printf(ret, "%s://", u->scheme);
	url_host_header(u, ret);
	buf_puts(ret, u->path);
	if (u->query != NULL)
		buf_printf(ret, "?%s", u->query);
}

static unsigned
url_port(const struct url *u)
{
	return u->port != 0 ? u->port : url_default_port(u->scheme);
}

bool
url_same_origin(const struct url *a, const struct url *b)
{
	return strcmp(a->scheme, b->scheme) == 0 && strcmp(a->host, b->host) == 0 && url_port(a) == url_port(b);
}

bool
url_is_loopback(const struct url *u)
{
	struct in_addr  v4;
	struct in6_addr v6;

	if (strcmp(u->host, "localhost") == 0)
		return true;
	if (inet_pton(AF_INET, u->host, &v4) == 1)
		return ntohl(v4.s_addr) >> 24 == 127;
	if (inet_pton(AF_INET6, u->host, &v6) != 1)
		return false;
	return IN6_IS_ADDR_LOOPBACK(&v6) || (IN6_IS_ADDR_V4MAPPED(&v6) && v6.s6_addr[12] == 127);
}

/* --- escapes --- */

void
url_escape(enum url_escape how, struct span in, struct buf *ret)
{
	const char *keep = how == URL_S3_PATH ? "-._~/" : how == URL_FORM ? "-._*" : "-._~";

	for (size_t i = 0; i < in.n; i++) {
		uint8_t c = in.p[i];

		if (url_is_alnum(c) || (c != '\0' && strchr(keep, c) != NULL)) {
			buf_putc(ret, (char)c);
			continue;
		}
		if (how == URL_FORM && c == ' ') {
			buf_putc(ret, '+');
			continue;
		}
		buf_put(ret, (char[]){ '%', url_hex[c >> 4], url_hex[c & 15] }, 3);
	}
}

bool
url_unescape(struct span in, bool plus, struct buf *ret)
{
	for (size_t i = 0, plain = 0;; i++) {
		int hi, lo;

		if (i < in.n && in.p[i] != '%' && !(plus && in.p[i] == '+'))
			continue;
		if (i > plain)
			buf_put(ret, in.p + plain, i - plain);
		if (i == in.n)
			return true;
		plain = i + 1;
		if (in.p[i] == '+') {
			buf_putc(ret, ' ');
			continue;
		}
		if (in.n - i < 3)
			return false;
		hi = hex_digit(in.p[i + 1]);
		lo = hex_digit(in.p[i + 2]);
		if (hi < 0 || lo < 0)
			return false;
		buf_putc(ret, (char)(hi << 4 | lo));
		i += 2;
		plain = i + 1;
	}
}

static void
url_pair_add(enum url_escape how, struct buf *to, const char *name, const char *value)
{
	if (to->len > 0)
		buf_putc(to, '&');
	url_escape(how, span_str(name), to);
	buf_putc(to, '=');
	url_escape(how, span_str(value), to);
}

void
url_query_add(struct buf *query, const char *name, const char *value)
{
	url_pair_add(URL_QUERY, query, name, value);
}

void
url_form_add(struct buf *form, const char *name, const char *value)
{
	url_pair_add(URL_FORM, form, name, value);
}
