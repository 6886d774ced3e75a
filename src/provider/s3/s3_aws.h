/* SPDX-License-Identifier: MIT */
#ifndef SRC_PROVIDER_S3_AWS_H
#define SRC_PROVIDER_S3_AWS_H

#include <jansson.h>

#include "net/http_client.h"
#include "provider/provider.h"

/* One request to a service of AWS beside S3: DynamoDB, STS, SSO. Small, in JSON or as a form, answered in JSON or XML. */
#define AWS_REQUEST_HEADERS 4
#define AWS_CODE_MAX        80

struct s3_conf;
struct s3_cred;
struct s3_keys;

/* How requests leave: one for all that share a clock and a way. */
struct aws_net {
	const struct provider_env *env;
	const struct s3_conf      *conf;
	struct backend            *b;               /* whose requests they are; NULL: nobody counts them */
	int64_t                    timeout_ms;
	struct http_tls            tls;
	int64_t                    clock_offset_ms; /* the server's clock minus ours, once it refused ours */
};

void        aws_net_init(struct aws_net *n, const struct provider_env *env, const struct s3_conf *conf, int64_t timeout_ms);
/* By the block's arguments; NULL: the environment's proxy. */
const char *aws_proxy(const struct s3_conf *conf, bool tls);
bool        aws_direct(const struct s3_conf *conf, const char *host);
/* "SERVICE.REGION.amazonaws.com", or what the partition calls it; fips and dualstack as the block says. Owned. */
char       *aws_host(const struct s3_conf *conf, const char *service, const char *region);

struct aws_request {
	const char           *what;     /* "DynamoDB": for messages */
	const char           *service, *region; /* of the signature; service NULL: none */
	struct s3_cred       *cred;     /* who signs; NULL: keys do */
	const struct s3_keys *keys;
	const char           *method;
	char                 *base;     /* owned: "https://host:port", perhaps with a path */
	char                 *path;     /* owned, escaped, with "/" in front; NULL: "/" */
	char                 *query;    /* owned, escaped; NULL: none */
	struct http_header    headers[AWS_REQUEST_HEADERS]; /* names static, values owned and wiped; signed */
	size_t                nheaders;
	struct body          *body;     /* owned */
	struct digest         digest;
	bool                  changing; /* a lost answer leaves its outcome unknown; it is not repeated then */
};

struct aws_answer {
	struct http_response http;
	json_t              *json;      /* NULL: the body is none */
	char                 code[AWS_CODE_MAX], message[160]; /* of an error */
};

/* Both for the memory of the op that sends: the contents are freed, the structs usable again. */
void       aws_request_free(struct aws_request *r);
void       aws_answer_free(struct aws_answer *a);
void       aws_request_header(struct aws_request *r, const char *name, const char *value);
/* Takes the bytes. */
void       aws_request_body(struct aws_request *r, const char *type, struct buf *owned);
/*
 * r and ret outlive the op. Ends OK with any answer that the caller can judge: 2xx to 4xx. Refusals for the load are repeated, reads
 * also after 5xx and no answer, within the time of one request; then ERR_BUSY, ERR_NETWORK, ERR_TIMEOUT; a change ends with
 * ERR_UNCERTAIN instead of being repeated. A wrong clock and credentials that expired are learned, once each.
 */
struct op *aws_send(struct aws_net *n, struct aws_request *r, struct aws_answer *ret);
bool       aws_answer_is(const struct aws_answer *a, const char *code);
bool       aws_keys_refused(const struct aws_answer *a);
/* What an answer means that is no success, in one sentence beginning with where. NULL cred: no hint at whose credentials. */
enum err_code aws_refused(const struct aws_request *r, const struct aws_answer *a, const char *where, struct err *reterr);

#endif
