/* SPDX-License-Identifier: MIT */
#ifndef SRC_PROVIDER_ETCD_H
#define SRC_PROVIDER_ETCD_H

#include <jansson.h>

#include "provider/records.h"
#include "provider/send.h"
#include "provider/token.h"

/*
 * etcd by the JSON gateway of its version 3 API (docs/protocol/coordinators.md): etcd.c configuration, reads and swaps; etcd_send.c one
 * request, to whichever member answers, and signing in; etcd_answer.c what answers mean.
 */
struct etcd {
	struct records  r;
	char          **endpoints;  /* nendpoints, without "/" at their end; a fetch of a token may outlive the configuration */
	size_t          nendpoints, at; /* the one that is asked next */
	char           *prefix, *user;  /* user NULL: nobody signs in */
	struct secret  *password, *key_pem;
	char           *ca_file, *cert_pem;
	struct http_tls tls;
	struct token   *token;      /* of the user; NULL: none */
};

struct etcd_answer {
	struct send_answer send;    /* code: "no leader"; message: the same as a sentence */
	json_t            *json;    /* NULL: the body is none */
	int                grpc;    /* code of a refusal; 0: none */
};

/* The codes of gRPC that matter here. */
enum { GRPC_INVALID = 3, GRPC_DENIED = 7, GRPC_EXHAUSTED = 8, GRPC_PRECONDITION = 9, GRPC_UNAVAILABLE = 14, GRPC_UNAUTHENTICATED = 16 };

void       etcd_free(void *arg);        /* struct etcd *: all of it */

/* etcd_send.c: POST path with that body, which is taken. As send.h says; any answer below 500 is the caller's but "not now". */
struct op *etcd_send(struct etcd *e, struct send_request *req, const char *path, json_t *body, bool changing, struct etcd_answer *ret);
void       etcd_answer_free(struct etcd_answer *a); /* contents */
extern const struct token_class etcd_token_class;   /* its arg: struct etcd *, its value: struct bearer */

/* etcd_answer.c */
void          etcd_answer_read(struct etcd_answer *a);   /* json, grpc, code and message of an answer that came */
bool          etcd_wants_token(const struct etcd_answer *a); /* ours does not count any more */
/* Of 200: the value and its revision; ERR_NOT_FOUND, ERR_CORRUPT. */
enum err_code etcd_range_of(json_t *answer, struct record *ret, struct err *reterr);
/* Of 200: the revision of what was written; ERR_CONFLICT: the comparison failed. */
enum err_code etcd_txn_of(json_t *answer, char ret_revision[ETAG_MAX], struct err *reterr);
/* What a refusal means, in one sentence, and what to do. doing: "reading KEY". */
enum err_code etcd_refused(const struct etcd *e, const struct etcd_answer *a, const char *doing, struct err *reterr);

#endif
