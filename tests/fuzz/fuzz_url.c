/* SPDX-License-Identifier: MIT */
#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/fuzz.h"
#include "base/mem.h"
#include "net/url.h"

/*
 * What we accept, libcurl reads the same way: it is the one who connects. And
 * printing and escaping can be undone.
 */
static void
same_part(CURLU *c, CURLUPart part, const char *ours)
{
	char     *theirs = NULL;
	CURLUcode code = curl_url_get(c, part, &theirs, 0);

	if (ours == NULL || *ours == '\0')
		FUZZ_CHECK(code != CURLUE_OK || *theirs == '\0');
	else
		FUZZ_CHECK(code == CURLUE_OK && strcmp(ours, theirs) == 0);
	curl_free(theirs);
}

/* libcurl writes addresses its own way (0x7f.1, ::0001): only names are compared. */
static bool
is_name(const char *host)
{
	return strchr(host, ':') == NULL && host[strcspn(host, "ghijklmnopqrstuvwyz")] != '\0';
}

static void
differential(const char *text, const struct url *u)
{
	CURLU *c = curl_url();
	char   port[16] = "";

	FUZZ_CHECK(curl_url_set(c, CURLUPART_URL, text, CURLU_PATH_AS_IS) == CURLUE_OK);
	same_part(c, CURLUPART_SCHEME, u->scheme);
	same_part(c, CURLUPART_PATH, u->path);
	same_part(c, CURLUPART_QUERY, u->query);
	if (is_name(u->host)) {
		char *theirs = NULL;

		FUZZ_CHECK(curl_url_get(c, CURLUPART_HOST, &theirs, 0) == CURLUE_OK &&
		    strcasecmp(theirs, u->host) == 0);
		curl_free(theirs);
	}
	if (u->port != 0) {
		snprintf(port, sizeof(port), "%u", u->port);
		same_part(c, CURLUPART_PORT, port);
	}
	curl_url_cleanup(c);
}

/* Without user and password, which never go to libcurl in a URL. */
static void
again(const struct url *u)
{
	struct buf b;
	struct url v;
	struct err e;

	buf_init(&b, 0);
	url_print(u, &b);
	if (url_parse(buf_str(&b), &v, &e) != ERR_OK) {
		FUZZ_CHECK(b.len > URL_MAX); /* "/" was added */
	} else {
		FUZZ_CHECK(url_same_origin(u, &v) && strcmp(u->path, v.path) == 0 && v.user == NULL);
		FUZZ_CHECK((u->query == NULL) == (v.query == NULL) &&
		    (u->query == NULL || strcmp(u->query, v.query) == 0));
		differential(buf_str(&b), &v);
		url_free(&v);
	}
	buf_free(&b);
}

static void
escape_and_back(enum url_escape how, struct span in)
{
	struct buf out, back;

	buf_init(&out, 0);
	buf_init(&back, 0);
	url_escape(how, in, &out);
	FUZZ_CHECK(out.len <= 3 * in.n && url_unescape(buf_span(&out), true, &back) && span_eq(buf_span(&back), in));
	for (size_t i = 0; i < out.len; i++)
		FUZZ_CHECK(out.data[i] > ' ' && out.data[i] < 0x7f && strchr("?#&=+\\\"<>", out.data[i]) == NULL);
	buf_reset(&back);
	url_unescape(in, false, &back);
	FUZZ_CHECK(back.len <= in.n);
	buf_free(&out);
	buf_free(&back);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	char      *text = xstrndup((const char *)data, n);
	struct url u;
	struct err e;

	if (url_parse(text, &u, &e) == ERR_OK) {
		again(&u);
		url_is_loopback(&u);
		url_free(&u);
	} else {
		FUZZ_CHECK(e.code == ERR_CONFIG && e.msg[0] != '\0');
	}
	for (enum url_escape how = URL_S3_PATH; how <= URL_SEGMENT; how++)
		escape_and_back(how, span_of(data, n));
	free(text);
	return 0;
}
