/* SPDX-License-Identifier: MIT */
#ifndef NET_SIGV4_H
#define NET_SIGV4_H

#include "base/buf.h"
#include "base/digest.h"
#include "base/secret.h"
#include "net/http_client.h"

/*
 * AWS Signature Version 4 (AWS General Reference, "Signing AWS API requests"; docs/protocol/s3.md,
 * "Signatures"). Every header given is signed, so give only those that no proxy rewrites; host is added.
 */
/* The signing key that date, region and service lead to: deriving it is half the work of a signature. Whoever signs often keeps
 * one for each secret key, zeroed at first and wiped when that key goes. */
struct sigv4_day {
	char    scope[96];
	uint8_t key[DIGEST_LEN];
};

struct sigv4_key {
	const char          *access_key;
	const struct secret *secret_key;
	const struct secret *session_token; /* NULL: none; sent and signed as x-amz-security-token */
	struct sigv4_day    *day;           /* borrowed, filled by sigv4_sign(); NULL: nothing is kept */
};

struct sigv4_request {
	const char *method;
	const char *host;              /* as in the Host header */
	const char *path;              /* exactly as sent, already escaped */
	const char *query;             /* as sent: name=value pairs, escaped; NULL: none */
	const struct http_header *headers;
	size_t      nheaders;
	const char *payload_hash;      /* hex SHA-256 or UNSIGNED-PAYLOAD */
	const char *region, *service;  /* "s3": path is signed as sent; others: escaped once more */
	int64_t     wall_ms;           /* corrected by the clock offset of the peer */
	bool        content_sha256;    /* send and sign x-amz-content-sha256 (S3 demands it) */
};

/* The headers to send beside r's own (authorization, x-amz-date, x-amz-content-sha256, x-amz-security-token):
 * ret[0 .. *ret_n - 1], each "name" static, each "value" freed by the caller. ret has room for SIGV4_HEADERS_MAX. */
#define SIGV4_HEADERS_MAX 4
void sigv4_sign(const struct sigv4_key *key, const struct sigv4_request *r, struct http_header *ret, size_t *ret_n);
/* For tests: the canonical request and the list of signed headers. */
void sigv4_canonical(const struct sigv4_request *r, const struct sigv4_key *key, struct buf *ret,
    struct buf *ret_signed_headers);

#endif
