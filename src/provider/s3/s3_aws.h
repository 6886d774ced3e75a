/* SPDX-License-Identifier: MIT */
#ifndef SRC_PROVIDER_S3_AWS_H
#define SRC_PROVIDER_S3_AWS_H

#include <jansson.h>

#include "provider/send.h"

/* One request to a service of AWS beside S3: DynamoDB, STS, SSO. Small, in JSON or as a form, answered in JSON or XML. */

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
	const char           *what;             /* "DynamoDB": for messages */
	const char           *service, *region; /* of the signature; service NULL: none */
	struct s3_cred       *cred;             /* who signs; NULL: keys do */
	const struct s3_keys *keys;
	char                 *base;             /* owned: "https://host:port", perhaps with a path */
	struct send_request   send;             /* its path NULL: "/" */
};

struct aws_answer {
	struct send_answer send;
	json_t            *json; /* NULL: the body is none */
};

/* Both for the memory of the op that sends: the contents are freed, the structs usable again. */
void       aws_request_free(struct aws_request *r);
void       aws_answer_free(struct aws_answer *a);
/* Takes the bytes. */
void       aws_request_body(struct aws_request *r, const char *type, struct buf *owned);
/* As send.h says; any answer below 500 is the caller's but for those that say "not now". A wrong clock and credentials that expired are
 * learned, once each. */
struct op *aws_send(struct aws_net *n, struct aws_request *r, struct aws_answer *ret);
bool       aws_answer_is(const struct aws_answer *a, const char *code);
bool       aws_keys_refused(const struct aws_answer *a);
/* What an answer means that is no success, in one sentence beginning with where. NULL cred: no hint at whose credentials. */
enum err_code aws_refused(const struct aws_request *r, const struct aws_answer *a, const char *where, struct err *reterr);

#endif
