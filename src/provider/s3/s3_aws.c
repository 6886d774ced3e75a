/* SPDX-License-Identifier: MIT */
#include "s3_aws.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "base/log.h"
#include "net/xml.h"
#include "s3.h"

#define AWS_ANSWER_MAX  ((uint64_t)1 << 20)
#define AWS_SKEW_MS     ((int64_t)4 * 60 * 1000) /* these services take 5 minutes */
#define AWS_PAUSE_MS    100

/* ---------------------------------------------------------------- where requests go */

static const struct {
	const char *region, *suffix, *dual;
} aws_partitions[] = { { "cn-", "amazonaws.com.cn", "api.amazonwebservices.com.cn" }, { "us-isob-", "sc2s.sgov.gov", NULL },
	{ "us-iso-", "c2s.ic.gov", NULL }, { "us-isof-", "csp.hci.ic.gov", NULL }, { "eu-isoe-", "cloud.adc-e.uk", NULL },
	{ "eusc-", "amazonaws.eu", NULL }, { "", "amazonaws.com", "api.aws" } };

char *
aws_host(const struct s3_conf *conf, const char *service, const char *region)
{
	const char *fips = conf->use_fips_endpoint ? "-fips" : "", *suffix;
	size_t      i = 0;

	while (strncmp(region, aws_partitions[i].region, strlen(aws_partitions[i].region)) != 0)
		i++;
	suffix = aws_partitions[i].suffix;
	if (strcmp(service, "s3") == 0)
		return xasprintf("s3%s%s.%s.%s", fips, conf->use_dualstack_endpoint ? ".dualstack" : "", region, suffix);
	if (conf->use_dualstack_endpoint && aws_partitions[i].dual != NULL)
		suffix = aws_partitions[i].dual;
	return xasprintf("%s%s.%s.%s", service, fips, region, suffix);
}

/* Does the host or one of its parents stand in no_proxy? */
bool
aws_direct(const struct s3_conf *conf, const char *host)
{
	const char *list = conf->no_proxy;
	size_t      h = strcspn(host, ":");

	while (list != NULL && *list != '\0') {
		size_t      n = strcspn(list, ", "), skip = n > 0 && list[0] == '.';
		const char *item = list + skip;
		size_t      len = n - skip;

		if (n == 1 && *list == '*')
			return true;
		if (len > 0 && len <= h && strncasecmp(host + h - len, item, len) == 0 && (len == h || host[h - len - 1] == '.'))
			return true;
		list += n;
		list += strspn(list, ", ");
	}
	return false;
}

const char *
aws_proxy(const struct s3_conf *conf, bool tls)
{
	const char *proxy = tls && conf->https_proxy != NULL ? conf->https_proxy : conf->http_proxy;

	return proxy != NULL && proxy[0] != '\0' ? proxy : NULL;
}

void
aws_net_init(struct aws_net *n, const struct provider_env *env, const struct s3_conf *conf, int64_t timeout_ms)
{
	const char *ca = conf->custom_ca_bundle;

	*n = (struct aws_net){ .env = env, .conf = conf, .timeout_ms = timeout_ms };
	n->tls.ca_file = ca != NULL && ca[0] != '\0' ? ca : NULL;
	n->tls.insecure = conf->insecure;
}

/* ---------------------------------------------------------------- requests and answers */

void
aws_request_free(struct aws_request *r)
{
	send_request_free(&r->send);
	free(r->base);
	memset(r, 0, sizeof(*r));
}

void
aws_answer_free(struct aws_answer *a)
{
	send_answer_free(&a->send);
	json_decref(a->json);
	memset(a, 0, sizeof(*a));
}

void
aws_request_body(struct aws_request *r, const char *type, struct buf *owned)
{
	sha256_of(owned->data, owned->len, &r->send.digest);
	r->send.body = body_new(owned);
	send_header(&r->send, "content-type", "%s", type);
}

/* "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException", "UnauthorizedException:http://..." */
static void
aws_code(struct send_answer *a, const char *text)
{
	const char *hash = strchr(text, '#');

	text = hash != NULL ? hash + 1 : text;
	span_text(a->code, sizeof(a->code), span_of(text, strcspn(text, ":")));
}

static enum err_code
aws_error_element(void *arg, const char *path, struct span text, struct err *reterr)
{
	struct send_answer *a = arg;

	(void)reterr;
	if (strcmp(path, "ErrorResponse/Error/Code") == 0)
		span_text(a->code, sizeof(a->code), text);
	else if (strcmp(path, "ErrorResponse/Error/Message") == 0)
		span_text(a->message, sizeof(a->message), text);
	return ERR_OK;
}

static void
aws_answer_parse(struct aws_answer *ans)
{
	struct send_answer *a = &ans->send;
	const char        *type = http_header_get(&a->http, "x-amzn-errortype"), *text;
	struct span        body = { NULL, 0 };
	struct xml_reader *x;

	if (a->http.body != NULL)
		body = body_span(a->http.body);
	json_decref(ans->json);
	ans->json = body.n > 0 ? json_loadb((const char *)body.p, body.n, JSON_REJECT_DUPLICATES, NULL) : NULL;
	if (a->http.status < 300)
		return;
	if (type != NULL)
		aws_code(a, type);
	if (ans->json == NULL) {
		x = xml_reader_new(aws_error_element, a);
		xml_feed(x, body.p, body.n, NULL);
		xml_reader_free(x);
		return;
	}
	text = json_string_value(json_object_get(ans->json, "__type"));
	if (text != NULL)
		aws_code(a, text);
	text = json_string_value(json_object_get(ans->json, "message"));
	if (text == NULL)
		text = json_string_value(json_object_get(ans->json, "Message"));
	if (text != NULL)
		span_text(a->message, sizeof(a->message), span_str(text));
}

bool
aws_answer_is(const struct aws_answer *a, const char *code)
{
	return strcmp(a->send.code, code) == 0;
}

static bool
aws_code_in(const struct aws_answer *a, const char *const *list)
{
	for (; *list != NULL; list++)
		if (strcmp(a->send.code, *list) == 0)
			return true;
	return false;
}

static bool
aws_throttled(const struct aws_answer *a)
{
	static const char *const codes[] = { "ProvisionedThroughputExceededException", "ThrottlingException", "Throttling",
		"RequestLimitExceeded", "RequestThrottled", "TooManyRequestsException", "IDPCommunicationError",
		"IDPCommunicationErrorException", NULL };

	return a->send.http.status == 429 || aws_code_in(a, codes);
}

static bool
aws_expired(const struct aws_answer *a)
{
	static const char *const codes[] = { "ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", NULL };

	return aws_code_in(a, codes);
}

bool
aws_keys_refused(const struct aws_answer *a)
{
	static const char *const codes[] = { "UnrecognizedClientException", "InvalidClientTokenId", "InvalidSignatureException",
		"SignatureDoesNotMatch", "IncompleteSignature", "IncompleteSignatureException", "MissingAuthenticationToken",
		"MissingAuthenticationTokenException", "InvalidAccessKeyId", NULL };

	return aws_expired(a) || aws_code_in(a, codes);
}

/* ---------------------------------------------------------------- sending */

struct aws_sending {
	struct send     send;
	struct aws_net *n;
	bool            clock_learned;
	int64_t         offset; /* signed with */
};

static struct aws_sending *
aws_sending_of(struct send *x)
{
	return container_of(x, struct aws_sending, send);
}

static struct aws_request *
aws_request_of(const struct send *x)
{
	return container_of(x->r, struct aws_request, send);
}

static struct op *
aws_ready(struct send *x)
{
	struct s3_cred *cred = aws_request_of(x)->cred;

	return cred != NULL ? s3_cred_ready(cred, loop_wall(x->op.loop) + aws_sending_of(x)->n->clock_offset_ms) : NULL;
}

static bool
aws_renew(struct send *x)
{
	struct s3_cred *cred = aws_request_of(x)->cred;

	return cred != NULL && s3_cred_reject(cred, x->generation);
}

static void
aws_sign(struct aws_sending *x, const char *host, const char *path, struct http_header *ret, size_t *ret_n)
{
	const struct aws_request *r = aws_request_of(&x->send);
	struct sigv4_key          key = { 0 };
	struct digest             empty;
	char                      hex[DIGEST_HEX];

	if (r->cred != NULL) {
		s3_cred_key(r->cred, &key);
		key.day = NULL; /* of S3's signatures */
		x->send.generation = s3_cred_generation(r->cred);
	} else {
		key = (struct sigv4_key){ r->keys->access_key, r->keys->secret_key, r->keys->token, NULL };
	}
	x->offset = x->n->clock_offset_ms;
	sha256_of("", 0, &empty);
	sigv4_sign(&key, &(struct sigv4_request){ .method = r->send.method, .host = host, .path = path, .query = r->send.query,
	    .headers = r->send.headers, .nheaders = r->send.nheaders, .payload_hash = digest_hex(r->send.body != NULL ? &r->send.digest : &empty, hex),
	    .region = r->region, .service = r->service, .wall_ms = loop_wall(x->send.op.loop) + x->offset }, ret, ret_n);
}

/* The path of the endpoint, and behind it that of the request. */
static void
aws_path(const struct aws_request *r, const struct url *u, struct buf *ret)
{
	size_t n = u->path != NULL ? strlen(u->path) : 0;

	while (n > 0 && u->path[n - 1] == '/')
		n--;
	buf_put(ret, u->path, n);
	buf_puts(ret, r->send.path != NULL ? r->send.path : "/");
}

/* base was checked when it was configured. */
static struct op *
aws_attempt(struct send *send, const struct send_request *r, struct send_answer *ret)
{
	struct aws_sending       *x = aws_sending_of(send);
	const struct aws_request *aws = aws_request_of(send);
	const struct s3_conf     *conf = x->n->conf;
	struct http_header        own[SIGV4_HEADERS_MAX];
	struct http_request       h = { .headers = own, .tls = &x->n->tls };
	struct buf                host, path, url;
	struct url                u;
	struct err                err;
	struct op                *op;

	if (url_parse(aws->base, &u, &err) != ERR_OK)
		return op_result(send->op.loop, &err);
	buf_init(&host, 0);
	buf_init(&path, 0);
	buf_init(&url, 0);
	url_host_header(&u, &host);
	aws_path(aws, &u, &path);
	buf_printf(&url, "%s://%s%s%s%s", u.scheme, buf_str(&host), buf_str(&path), r->query != NULL ? "?" : "",
	    r->query != NULL ? r->query : "");
	if (aws->service != NULL)
		aws_sign(x, buf_str(&host), buf_str(&path), own, &h.nheaders);
	h.url = buf_str(&url);
	h.no_proxy = aws_direct(conf, buf_str(&host));
	h.proxy = aws_proxy(conf, strcmp(u.scheme, "https") == 0);
	op = send_attempt(send, r, &h, ret);
	buf_free(&host);
	buf_free(&path);
	buf_free(&url);
	url_free(&u);
	return op;
}

static bool
aws_learn_clock(struct aws_sending *x, const struct aws_answer *a)
{
	const struct aws_request *r = aws_request_of(&x->send);
	int64_t                   there = a->send.http.date_ms, offset = there - loop_wall(x->send.op.loop), wrong = offset - x->offset;
	char                      text[TIME_TEXT_MAX];

	if (there == 0 || r->service == NULL || x->clock_learned || !aws_keys_refused(a) || (wrong < AWS_SKEW_MS && wrong > -AWS_SKEW_MS))
		return false;
	x->clock_learned = true;
	x->n->clock_offset_ms = offset;
	log_at(LOG_WARN, r->what, "the clock here is %s %s: requests are signed with the server's time",
	    duration_format(offset < 0 ? -offset : offset, text), offset < 0 ? "fast" : "slow");
	return true;
}

static enum send_verdict
aws_judge(struct send *x)
{
	struct aws_answer *a = container_of(x->ret, struct aws_answer, send);

	aws_answer_parse(a);
	if (x->ret->http.status >= 400 && aws_learn_clock(aws_sending_of(x), a))
		return SEND_AGAIN;
	if (x->ret->http.status >= 400 && aws_keys_refused(a))
		return SEND_RENEW;
	if (aws_throttled(a))
		return SEND_LATER;
	return x->ret->http.status >= 500 ? SEND_DOWN : SEND_DONE;
}

static const struct send_driver aws_driver = { .pause_ms = AWS_PAUSE_MS, .ready = aws_ready, .attempt = aws_attempt, .judge = aws_judge,
	.renew = aws_renew };

static const struct op_class aws_class = { "aws", SEND_OP_CLASS };

struct op *
aws_send(struct aws_net *n, struct aws_request *r, struct aws_answer *ret)
{
	struct aws_sending *x = xcalloc(1, sizeof(*x));

	x->n = n;
	x->send = (struct send){ .driver = &aws_driver, .b = n->b, .env = n->env, .timeout_ms = n->timeout_ms, .where = xstrdup(r->what),
		.most = n->conf->max_retries };
	r->send.max_body = AWS_ANSWER_MAX;
	return send_init(&x->send, &aws_class, &r->send, &ret->send);
}

/* ---------------------------------------------------------------- refusals */

static enum err_code
aws_refused_keys(const struct aws_request *r, const struct aws_answer *ans, const char *where, struct err *reterr)
{
	const struct send_answer *a = &ans->send;

	err_set(reterr, ERR_AUTH, a->http.status, "%s: the credentials%s%s are refused (%d %s)", where, r->cred != NULL ? " from " : "",
	    r->cred != NULL ? s3_cred_source(r->cred) : "", a->http.status, a->code);
	if (aws_expired(ans))
		return err_hint(reterr, "they have expired: renew them");
	if (strncmp(a->message, "Signature expired", 17) == 0 || strncmp(a->message, "Signature not yet current", 25) == 0)
		return err_hint(reterr, "the clock here is too far off: set it, e.g. by NTP");
	if (strstr(a->code, "Signature") != NULL)
		return err_hint(reterr, "check secret_key, and that no proxy on the way changes requests");
	return err_hint(reterr, "%s does not know this access key: check access_key and the endpoint", r->what);
}

enum err_code
aws_refused(const struct aws_request *r, const struct aws_answer *ans, const char *where, struct err *reterr)
{
	const struct send_answer *a = &ans->send;
	int                       status = a->http.status;

	if (aws_keys_refused(ans))
		return aws_refused_keys(r, ans, where, reterr);
	if (status == 407) {
		err_set(reterr, ERR_AUTH, status, "%s: the proxy on the way wants credentials (407)", where);
		return err_hint(reterr, PROVIDER_PROXY_HINT);
	}
	if (status == 401 || status == 403 || strncmp(a->code, "AccessDenied", 12) == 0)
		return err_set(reterr, ERR_AUTH, status, "%s is not allowed (%d%s%s)", where, status, SEND_CODE(a));
	if (a->code[0] == '\0') {
		err_set(reterr, ERR_UNSUPPORTED, status, "%s: the answer %d is none of %s", where, status, r->what);
		return err_hint(reterr, "check endpoints and proxy: something other than %s may listen there", r->what);
	}
	return err_set(reterr, ERR_UNSUPPORTED, status, "%s: %d %s: %.80s", where, status, a->code, a->message);
}
