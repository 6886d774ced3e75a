/* SPDX-License-Identifier: MIT */
#include "net/http_curl_error.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "base/mem.h"
#include "base/time.h"

#define HTTP_REASON_MAX 160

/* What needs no second look. */
static const struct {
	CURLcode      curl;
	enum err_code code;
	const char   *text, *hint;
} http_curl_causes[] = {
	{ CURLE_UNSUPPORTED_PROTOCOL, ERR_NETWORK, "the answer is not HTTP", "is this the right port?" },
	{ CURLE_URL_MALFORMAT, ERR_CONFIG, "the URL cannot be read", NULL },
	{ CURLE_COULDNT_RESOLVE_PROXY, ERR_NETWORK, "the name of the proxy cannot be resolved",
	    "see the environment variables http_proxy, https_proxy and no_proxy" },
	{ CURLE_COULDNT_RESOLVE_HOST, ERR_NETWORK, "the name cannot be resolved",
	    "check the spelling, and that this machine has a name server" },
	{ CURLE_WEIRD_SERVER_REPLY, ERR_NETWORK, "the answer is not HTTP", "is this the right port?" },
	{ CURLE_GOT_NOTHING, ERR_NETWORK, "the connection was closed without an answer", NULL },
	{ CURLE_SEND_FAIL_REWIND, ERR_NETWORK, "the connection was closed without an answer", NULL },
	{ CURLE_OUT_OF_MEMORY, ERR_IO, "out of memory", NULL },
	{ CURLE_SSL_CACERT_BADFILE, ERR_CONFIG, "the trusted certificates cannot be read",
	    "see the CA file of this backend, SSL_CERT_FILE and CURL_CA_BUNDLE: each must be a PEM file" },
	{ CURLE_SSL_CERTPROBLEM, ERR_CONFIG, "the client certificate or its key cannot be used",
	    "both must be PEM, unencrypted, and belong together" },
};

/* The last part of libcurl's and OpenSSL's chains ("error:0A00010B:SSL routines::wrong version number"), as one
 * clause. */
static void
http_curl_reason(const char *text, char ret[HTTP_REASON_MAX])
{
	const char *routines = strstr(text, "SSL routines:"), *end;
	size_t      n;

	if (routines != NULL)
		text = strrchr(routines, ':') + 1;
	else if (strrchr(text, ':') != NULL && strrchr(text, ':')[1] == ' ')
		text = strrchr(text, ':') + 2;
	end = strstr(text, " in connection to ");
	n = end != NULL ? (size_t)(end - text) : strcspn(text, ",");
	snprintf(ret, HTTP_REASON_MAX, "%.*s", (int)n, text);
	if (isupper((unsigned char)ret[0]) && islower((unsigned char)ret[1]))
		ret[0] = (char)tolower((unsigned char)ret[0]);
}

static void
http_curl_os_reason(CURL *easy, const char *text, char ret[HTTP_REASON_MAX])
{
	long errnum = 0;

	curl_easy_getinfo(easy, CURLINFO_OS_ERRNO, &errnum);
	http_curl_reason(errnum != 0 ? strerror((int)errnum) : text, ret);
}

/* "Failed to connect to HOST port N after ...": a proxy is named when it is not the host that was asked for. */
static void
http_curl_connect(CURL *easy, const char *text, const struct http_exchange *x, struct err *ret)
{
	static const char prefix[] = "Failed to connect to ";
	char              reason[HTTP_REASON_MAX], host[256] = "";

	http_curl_os_reason(easy, text, reason);
	if (strncmp(text, prefix, sizeof(prefix) - 1) == 0)
		sscanf(text + sizeof(prefix) - 1, "%255s port ", host);
	if (host[0] != '\0' && x->req.unix_socket == NULL && strcasecmp(host, x->host) != 0) {
		err_set(ret, ERR_NETWORK, CURLE_COULDNT_CONNECT, "the proxy %s: %s", host, reason);
		err_hint(ret, "see the environment variables http_proxy, https_proxy and no_proxy");
		return;
	}
	err_set(ret, ERR_NETWORK, CURLE_COULDNT_CONNECT, "%s", reason[0] != '\0' ? reason : "cannot connect");
	err_hint(ret, "is the server running there, and may this machine reach it?");
}

static void
http_curl_timeout(const char *text, enum http_phase phase, const struct http_exchange *x, struct err *ret)
{
	int64_t whole = http_exchange_timeout_ms(x), connect = x->req.connect_timeout_ms;
	char    span[TIME_TEXT_MAX];

	if (connect == 0)
		connect = HTTP_CONNECT_TIMEOUT_MS;
	duration_format(phase == HTTP_PHASE_REQUEST || whole < connect ? whole : connect, span);
	if (phase == HTTP_PHASE_LOOKUP)
		err_set(ret, ERR_TIMEOUT, CURLE_OPERATION_TIMEDOUT, "the name was not resolved within %s", span);
	else if (phase == HTTP_PHASE_CONNECT)
		err_set(ret, ERR_TIMEOUT, CURLE_OPERATION_TIMEDOUT, "no connection within %s", span);
	else if (strstr(text, "too slow") != NULL)
		err_set(ret, ERR_TIMEOUT, CURLE_OPERATION_TIMEDOUT, "nothing was received or sent for %d s",
		    HTTP_STALL_S);
	else
		err_set(ret, ERR_TIMEOUT, CURLE_OPERATION_TIMEDOUT, "no complete answer within %s", span);
}

/* OpenSSL's names of what a peer says about our certificate, or about the lack of one. */
static bool
http_curl_refuses_us(const char *text)
{
	static const char *const alerts[] = {
		"alert certificate required", "alert bad certificate", "alert unknown ca", "alert certificate expired",
		"alert certificate revoked", "alert certificate unknown", "alert unsupported certificate",
		"alert access denied",
	};

	for (size_t i = 0; i < ARRAY_LEN(alerts); i++)
		if (strstr(text, alerts[i]) != NULL)
			return true;
	return false;
}

static void
http_curl_tls(CURLcode code, const char *text, struct err *ret)
{
	char reason[HTTP_REASON_MAX];

	http_curl_reason(text, reason);
	if (http_curl_refuses_us(text)) {
		err_set(ret, ERR_AUTH, (int)code, "the server does not accept our client certificate (%s)", reason);
		err_hint(ret, "this backend needs a client certificate and key that the server trusts");
		return;
	}
	err_set(ret, ERR_NETWORK, (int)code, "the TLS handshake failed: %s", reason);
	if (strstr(text, "wrong version number") != NULL || strstr(text, "packet length too long") != NULL)
		err_hint(ret, "the server speaks no TLS on this port: should the address begin with http://?");
}

static void
http_curl_certificate(const char *text, const struct http_exchange *x, struct err *ret)
{
	static const char prefix[] = "SSL certificate problem: ";

	/* "SSL: no alternative certificate subject name matches ..." */
	if (strncmp(text, prefix, sizeof(prefix) - 1) != 0) {
		err_set(ret, ERR_AUTH, CURLE_PEER_FAILED_VERIFICATION, "the certificate is for another name than %s",
		    x->host);
		err_hint(ret, "use a name that stands in the certificate, or is this another server?");
		return;
	}
	text += sizeof(prefix) - 1;
	err_set(ret, ERR_AUTH, CURLE_PEER_FAILED_VERIFICATION, "%s", text);
	if (strstr(text, "expired") != NULL || strstr(text, "not yet valid") != NULL)
		err_hint(ret, "if the certificate is fine, the clock of this machine is not");
	else
		err_hint(ret, "for a private CA name its PEM file in this block, or in SSL_CERT_FILE");
}

/* Reading or writing broke off: in the tunnel of a proxy, by a TLS alert, or in the open. */
static void
http_curl_broken(CURL *easy, CURLcode code, const char *text, struct err *ret)
{
	char reason[HTTP_REASON_MAX];
	long tunnel = 0;

	curl_easy_getinfo(easy, CURLINFO_HTTP_CONNECTCODE, &tunnel);
	if (tunnel >= 300) {
		err_set(ret, tunnel == 407 ? ERR_AUTH : ERR_NETWORK, (int)tunnel,
		    "the proxy refused the connection (%ld)", tunnel);
		return;
	}
	if (http_curl_refuses_us(text)) {
		http_curl_tls(code, text, ret);
		return;
	}
	http_curl_os_reason(easy, text, reason);
	err_set(ret, ERR_NETWORK, (int)code, "the connection broke off%s%s", reason[0] != '\0' ? ": " : "", reason);
}

static void
http_curl_cut(const struct http_exchange *x, struct err *ret)
{
	if (x->length == HTTP_LENGTH_UNKNOWN || x->ret->body_size >= x->length)
		err_set(ret, ERR_NETWORK, CURLE_PARTIAL_FILE, "the answer was cut off");
	else
		err_set(ret, ERR_NETWORK, CURLE_PARTIAL_FILE, "the answer was cut off after %llu of %llu bytes",
		    (unsigned long long)x->ret->body_size, (unsigned long long)x->length);
}

static void
http_curl_other(CURLcode code, struct err *ret)
{
	for (size_t i = 0; i < ARRAY_LEN(http_curl_causes); i++) {
		if (http_curl_causes[i].curl != code)
			continue;
		err_set(ret, http_curl_causes[i].code, (int)code, "%s", http_curl_causes[i].text);
		if (http_curl_causes[i].hint != NULL)
			err_hint(ret, "%s", http_curl_causes[i].hint);
		return;
	}
	err_set(ret, ERR_NETWORK, (int)code, "%s", curl_easy_strerror(code));
}

static void
http_curl_ca_file(const struct http_exchange *x, struct err *ret)
{
	if (x->req.tls == NULL || x->req.tls->ca_file == NULL) {
		http_curl_other(CURLE_SSL_CACERT_BADFILE, ret);
		return;
	}
	err_set(ret, ERR_CONFIG, CURLE_SSL_CACERT_BADFILE, "the trusted certificates in %.150s cannot be read", x->req.tls->ca_file);
	err_hint(ret, "it must be a PEM file that this user can read");
}

void
http_curl_error(CURL *easy, CURLcode code, const char *text, enum http_phase phase, const struct http_exchange *x,
    struct err *ret)
{
	switch (code) {
	case CURLE_COULDNT_CONNECT:
		http_curl_connect(easy, text, x, ret);
		break;
	case CURLE_OPERATION_TIMEDOUT:
		http_curl_timeout(text, phase, x, ret);
		break;
	case CURLE_SSL_CONNECT_ERROR:
		http_curl_tls(code, text, ret);
		break;
	case CURLE_PEER_FAILED_VERIFICATION:
		http_curl_certificate(text, x, ret);
		break;
	case CURLE_SEND_ERROR:
	case CURLE_RECV_ERROR:
	case CURLE_PROXY:
		http_curl_broken(easy, code, text, ret);
		break;
	case CURLE_SSL_CACERT_BADFILE:
		http_curl_ca_file(x, ret);
		break;
	case CURLE_PARTIAL_FILE:
		http_curl_cut(x, ret);
		break;
	default:
		http_curl_other(code, ret);
	}
}
