/* SPDX-License-Identifier: MIT */
#ifndef NET_SHAREDKEY_H
#define NET_SHAREDKEY_H

#include "base/buf.h"
#include "net/http_client.h"

/*
 * Azure Storage's Shared Key, of version 2015-02-21 and later (docs/protocol/azurerm.md, "Signatures"). x-ms-date is
 * among the headers, so that no Date is signed. Header names in any case; no name twice in the query.
 */
struct sharedkey_request {
	const char *method;
	const char *path;              /* exactly as sent, already escaped */
	const char *query;             /* as sent: name=value pairs, escaped; NULL: none */
	const struct http_header *headers;
	size_t      nheaders;
	uint64_t    content_length;
};

/* Appends what is signed. */
void sharedkey_text(const char *account, const struct sharedkey_request *r, struct buf *ret);
/* Appends the value of Authorization; key: decoded. */
void sharedkey_sign(const char *account, struct span key, const struct sharedkey_request *r, struct buf *ret);

#endif
