/* SPDX-License-Identifier: MIT */
#ifndef NET_URL_H
#define NET_URL_H

#include <stdbool.h>

#include "base/buf.h"

/* RFC 3986, the parts that storage protocols need. */
struct url {
	char    *scheme, *host;  /* lower case; host without [] */
	unsigned port;           /* 0: the scheme's default */
	char    *path;           /* as sent, at least "/" */
	char    *query;          /* without "?"; NULL: none */
	char    *user, *password;/* decoded; NULL: none. Never part of url_print() */
};

/* http and https only, at most URL_MAX bytes of ASCII, no fragment, no control characters or blanks; a host of letters,
 * digits, "-", "_", "." or an address. ERR_CONFIG; the message never quotes the text, which may hold a password. */
#define URL_MAX 4096
enum err_code url_parse(const char *text, struct url *ret, struct err *reterr);
void          url_free(struct url *u);                     /* contents */
void          url_print(const struct url *u, struct buf *ret);
/* "host", or "host:port" when the port is not the scheme's default: the Host header. */
void          url_host_header(const struct url *u, struct buf *ret);
/* Same scheme, host and port. */
bool          url_same_origin(const struct url *a, const struct url *b);
bool          url_is_loopback(const struct url *u);

/* Which bytes stay as they are beside A-Z a-z 0-9: S3 keys keep "-._~/", query values and single path segments "-._~".
 * Upper-case hex. A form (application/x-www-form-urlencoded) keeps "-._*" and writes a blank as "+". */
enum url_escape { URL_S3_PATH, URL_QUERY, URL_SEGMENT, URL_FORM };
void          url_escape(enum url_escape how, struct span in, struct buf *ret);
/* %XX; plus: "+" is a blank (form style, as S3's encoding-type=url). false: a broken escape. */
bool          url_unescape(struct span in, bool plus, struct buf *ret);
/* Appends name=value, both escaped, to a query: nothing of what is there changes its spelling or order. */
void          url_query_add(struct buf *query, const char *name, const char *value);
/* The same for the body of a form; it may hold secrets, which the caller wipes. */
#define URL_FORM_TYPE "application/x-www-form-urlencoded"
void          url_form_add(struct buf *form, const char *name, const char *value);

#endif
