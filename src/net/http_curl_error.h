/* SPDX-License-Identifier: MIT */
#ifndef NET_HTTP_CURL_ERROR_H
#define NET_HTTP_CURL_ERROR_H

#include <curl/curl.h>

#include "net/http_impl.h"

/* How far a transfer came. */
enum http_phase { HTTP_PHASE_LOOKUP, HTTP_PHASE_CONNECT, HTTP_PHASE_REQUEST };

/* What libcurl's failure means, without the host in front: one clause for a person, and a hint where there is an
 * obvious next step. text is its error buffer. */
void http_curl_error(CURL *easy, CURLcode code, const char *text, enum http_phase phase, const struct http_exchange *x,
                     struct err *ret);

#endif
