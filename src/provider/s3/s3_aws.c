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
#define AWS_PAUSE_MAX   20000

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
	for (size_t i = 0; i < r->nheaders; i++) {
		mem_wipe(r->headers[i].value, strlen(r->headers[i].value));
		free(r->headers[i].value);
	}
	free(r->base);
	free(r->path);
	free(r->query);
	body_unref(r->body);
	memset(r, 0, sizeof(*r));
}

void
aws_answer_free(struct aws_answer *a)
{
	http_response_free(&a->http);
	json_decref(a->json);
	memset(a, 0, sizeof(*a));
}

void
aws_request_header(struct aws_request *r, const char *name, const char *value)
{
	assert(r->nheaders < AWS_REQUEST_HEADERS);
	r->headers[r->nheaders++] = (struct http_header){ name, xstrdup(value) };
}

void
aws_request_body(struct aws_request *r, const char *type, struct buf *owned)
{
	sha256_of(owned->data, owned->len, &r->digest);
	r->body = body_new(owned);
	aws_request_header(r, "content-type", type);
}

static void
aws_text(char *to, size_t size, struct span text)
{
	size_t n = text.n < size ? text.n : size - 1;

	for (size_t i = 0; i < n; i++)
		to[i] = text.p[i] < ' ' || text.p[i] == 0x7f ? ' ' : (char)text.p[i];
	to[n] = '\0';
}

/* "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException", "UnauthorizedException:http://..." */
static void
aws_code(struct aws_answer *a, const char *text)
{
	const char *hash = strchr(text, '#');

	text = hash != NULL ? hash + 1 : text;
	aws_text(a->code, sizeof(a->code), span_of(text, strcspn(text, ":")));
}

static enum err_code
aws_error_element(void *arg, const char *path, struct span text, struct err *reterr)
{
	struct aws_answer *a = arg;

	(void)reterr;
	if (strcmp(path, "ErrorResponse/Error/Code") == 0)
		aws_text(a->code, sizeof(a->code), text);
	else if (strcmp(path, "ErrorResponse/Error/Message") == 0)
		aws_text(a->message, sizeof(a->message), text);
	return ERR_OK;
}

static void
aws_answer_parse(struct aws_answer *a)
{
	const char        *type = http_header_get(&a->http, "x-amzn-errortype"), *text;
	struct span        body = { NULL, 0 };
	struct xml_reader *x;

	if (a->http.body != NULL)
		body = body_span(a->http.body);
	a->json = body.n > 0 ? json_loadb((const char *)body.p, body.n, JSON_REJECT_DUPLICATES, NULL) : NULL;
	if (a->http.status < 300)
		return;
	if (type != NULL)
		aws_code(a, type);
	if (a->json == NULL) {
		x = xml_reader_new(aws_error_element, a);
		xml_feed(x, body.p, body.n, NULL);
		xml_reader_free(x);
		return;
	}
	text = json_string_value(json_object_get(a->json, "__type"));
	if (text != NULL)
		aws_code(a, text);
	text = json_string_value(json_object_get(a->json, "message"));
	if (text == NULL)
		text = json_string_value(json_object_get(a->json, "Message"));
	if (text != NULL)
		aws_text(a->message, sizeof(a->message), span_str(text));
}

bool
aws_answer_is(const struct aws_answer *a, const char *code)
{
	return strcmp(a->code, code) == 0;
}

static bool
aws_code_in(const struct aws_answer *a, const char *const *list)
{
	for (; *list != NULL; list++)
		if (strcmp(a->code, *list) == 0)
			return true;
	return false;
}

static bool
aws_throttled(const struct aws_answer *a)
{
	static const char *const codes[] = { "ProvisionedThroughputExceededException", "ThrottlingException", "Throttling",
		"RequestLimitExceeded", "RequestThrottled", "TooManyRequestsException", "IDPCommunicationError",
		"IDPCommunicationErrorException", NULL };

	return a->http.status == 429 || aws_code_in(a, codes);
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
	struct op           op;
	struct aws_net     *n;
	struct aws_request *r;
	struct aws_answer  *ret;
	bool                clock_learned, renewed;
	unsigned            tries, generation;
	int64_t             begun, offset;
};

enum aws_state { AWS_START, AWS_KEYED, AWS_ANSWERED };

static const char *const aws_states[] = { "start", "credentials", "answered" };

static void
aws_sign(struct aws_sending *x, const char *host, const char *path, struct http_header *ret, size_t *ret_n)
{
	const struct aws_request *r = x->r;
	struct sigv4_key          key = { 0 };
	struct digest             empty;
	char                      hex[DIGEST_HEX];

	if (r->cred != NULL) {
		s3_cred_key(r->cred, &key);
		key.day = NULL; /* of S3's signatures */
		x->generation = s3_cred_generation(r->cred);
	} else {
		key = (struct sigv4_key){ r->keys->access_key, r->keys->secret_key, r->keys->token, NULL };
	}
	x->offset = x->n->clock_offset_ms;
	sha256_of("", 0, &empty);
	sigv4_sign(&key, &(struct sigv4_request){ .method = r->method, .host = host, .path = path, .query = r->query,
	    .headers = r->headers, .nheaders = r->nheaders, .payload_hash = digest_hex(r->body != NULL ? &r->digest : &empty, hex),
	    .region = r->region, .service = r->service, .wall_ms = loop_wall(x->op.loop) + x->offset }, ret, ret_n);
}

/* The path of the endpoint, and behind it that of the request. */
static void
aws_path(const struct aws_request *r, const struct url *u, struct buf *ret)
{
	size_t n = u->path != NULL ? strlen(u->path) : 0;

	while (n > 0 && u->path[n - 1] == '/')
		n--;
	buf_put(ret, u->path, n);
	buf_puts(ret, r->path != NULL ? r->path : "/");
}

/* One time on the wire. base was checked when it was configured. */
static struct op *
aws_attempt(struct aws_sending *x)
{
	const struct aws_request *r = x->r;
	struct aws_net           *n = x->n;
	struct http_header        headers[AWS_REQUEST_HEADERS + SIGV4_HEADERS_MAX];
	size_t                    nsigned = 0;
	struct buf                host, path, url;
	struct url                u;
	struct op                *op;

	if (url_parse(r->base, &u, &x->op.res) != ERR_OK)
		return op_result(x->op.loop, &x->op.res);
	buf_init(&host, 0);
	buf_init(&path, 0);
	buf_init(&url, 0);
	url_host_header(&u, &host);
	aws_path(r, &u, &path);
	buf_printf(&url, "%s://%s%s%s%s", u.scheme, buf_str(&host), buf_str(&path), r->query != NULL ? "?" : "",
	    r->query != NULL ? r->query : "");
	if (r->service != NULL)
		aws_sign(x, buf_str(&host), buf_str(&path), headers, &nsigned);
	memcpy(headers + nsigned, r->headers, r->nheaders * sizeof(*headers));
	aws_answer_free(x->ret);
	op = http_request(n->env->http, &(struct http_request){ .method = r->method, .url = buf_str(&url), .headers = headers,
	    .nheaders = nsigned + r->nheaders, .body = r->body, .changing = r->changing, .max_body = AWS_ANSWER_MAX,
	    .timeout_ms = n->timeout_ms, .tls = &n->tls, .no_proxy = aws_direct(n->conf, buf_str(&host)),
	    .proxy = aws_proxy(n->conf, strcmp(u.scheme, "https") == 0) }, &x->ret->http);
	if (n->b != NULL)
		provider_sent(n->b);
	for (size_t i = 0; i < nsigned; i++) {
		mem_wipe(headers[i].value, strlen(headers[i].value));
		free(headers[i].value);
	}
	buf_free(&host);
	buf_free(&path);
	buf_free(&url);
	url_free(&u);
	return op;
}

static bool
aws_learn_clock(struct aws_sending *x)
{
	const struct aws_answer *a = x->ret;
	int64_t                  offset = a->http.date_ms - loop_wall(x->op.loop), wrong = offset - x->offset;
	char                     text[TIME_TEXT_MAX];

	if (a->http.date_ms == 0 || x->r->service == NULL || x->clock_learned || !aws_keys_refused(a) ||
	    (wrong < AWS_SKEW_MS && wrong > -AWS_SKEW_MS))
		return false;
	x->clock_learned = true;
	x->n->clock_offset_ms = offset;
	log_at(LOG_WARN, x->r->what, "the clock here is %s %s: requests are signed with the server's time",
	    duration_format(offset < 0 ? -offset : offset, text), offset < 0 ? "fast" : "slow");
	return true;
}

static bool
aws_learn_keys(struct aws_sending *x)
{
	if (x->r->cred == NULL || x->renewed || !aws_keys_refused(x->ret))
		return false;
	x->renewed = true;
	return s3_cred_reject(x->r->cred, x->generation);
}

static bool
aws_may_repeat(struct aws_sending *x, bool refused, int64_t *ret_wait)
{
	int64_t  left = x->begun + x->n->timeout_ms - loop_now(x->op.loop);
	int64_t  asked = op_failed(&x->op) ? 0 : x->ret->http.retry_after_ms, ms = AWS_PAUSE_MAX;
	unsigned n = x->tries - 1;

	if (n < 8)
		ms = (int64_t)AWS_PAUSE_MS << n;
	*ret_wait = ms / 2 + (int64_t)rand_below(loop_rand(x->op.loop), (uint64_t)(ms / 2 + 1));
	if (asked > *ret_wait)
		*ret_wait = asked;
	return (refused || !x->r->changing) && !op_stopped(&x->op) && (int64_t)x->tries < x->n->conf->max_retries &&
	    *ret_wait <= left;
}

static enum op_turn
aws_busy(struct aws_sending *x, bool refused)
{
	const struct aws_answer *a = x->ret;
	bool                     unsure = x->r->changing && !refused;

	err_set(&x->op.res, unsure ? ERR_UNCERTAIN : ERR_BUSY, a->http.status, "%s answers %d%s%s%s", x->r->what, a->http.status,
	    a->code[0] != '\0' ? " " : "", a->code, unsure ? "; the write may have been carried out" : "");
	x->op.res.retry_after_ms = a->http.retry_after_ms;
	return op_fail(&x->op);
}

static enum op_turn
aws_judge(struct aws_sending *x)
{
	struct op *op = &x->op;
	bool       answered = !op_failed(op), refused = answered && aws_throttled(x->ret);
	bool       failing = refused || (answered && x->ret->http.status >= 500);
	int64_t    wait;

	if ((failing || op->res.code == ERR_NETWORK || op->res.code == ERR_TIMEOUT) && aws_may_repeat(x, refused, &wait))
		return op_await(op, AWS_START, op_sleep(op->loop, wait));
	if (failing)
		return aws_busy(x, refused);
	if (!answered && op->res.code != ERR_CANCELLED)
		err_prefix(&op->res, "%s", x->r->what);
	return op_finish(op);
}

static enum op_turn
aws_step(struct op *op)
{
	struct aws_sending *x = container_of(op, struct aws_sending, op);

	switch ((enum aws_state)op->state) {
	case AWS_START:
		if (op_failed(op)) /* cancelled in a pause between two tries */
			return op_fail(op);
		if (x->tries == 0)
			x->begun = loop_now(op->loop);
		if (x->r->cred == NULL)
			return op_go(op, AWS_KEYED);
		return op_await(op, AWS_KEYED, s3_cred_ready(x->r->cred, loop_wall(op->loop) + x->n->clock_offset_ms));
	case AWS_KEYED:
		if (op_failed(op))
			return op_fail(op);
		x->tries++;
		return op_await(op, AWS_ANSWERED, aws_attempt(x));
	case AWS_ANSWERED:
		if (op_failed(op))
			return aws_judge(x);
		aws_answer_parse(x->ret);
		if (x->ret->http.status >= 400 && (aws_learn_clock(x) || aws_learn_keys(x))) /* refused before anything was done */
			return op_go(op, AWS_START);
		return aws_judge(x);
	}
	return OP_DONE;
}

static void
aws_sending_free(struct op *op)
{
	free(container_of(op, struct aws_sending, op));
}

static const struct op_class aws_class = { "aws", aws_step, NULL, aws_sending_free, aws_states, ARRAY_LEN(aws_states) };

struct op *
aws_send(struct aws_net *n, struct aws_request *r, struct aws_answer *ret)
{
	struct aws_sending *x = xcalloc(1, sizeof(*x));

	op_init(&x->op, &aws_class, n->env->loop);
	x->n = n;
	x->r = r;
	x->ret = ret;
	return &x->op;
}

/* ---------------------------------------------------------------- refusals */

static enum err_code
aws_refused_keys(const struct aws_request *r, const struct aws_answer *a, const char *where, struct err *reterr)
{
	err_set(reterr, ERR_AUTH, a->http.status, "%s: the credentials%s%s are refused (%d %s)", where, r->cred != NULL ? " from " : "",
	    r->cred != NULL ? s3_cred_source(r->cred) : "", a->http.status, a->code);
	if (aws_expired(a))
		return err_hint(reterr, "they have expired: renew them");
	if (strncmp(a->message, "Signature expired", 17) == 0 || strncmp(a->message, "Signature not yet current", 25) == 0)
		return err_hint(reterr, "the clock here is too far off: set it, e.g. by NTP");
	if (strstr(a->code, "Signature") != NULL)
		return err_hint(reterr, "check secret_key, and that no proxy on the way changes requests");
	return err_hint(reterr, "%s does not know this access key: check access_key and the endpoint", r->what);
}

enum err_code
aws_refused(const struct aws_request *r, const struct aws_answer *a, const char *where, struct err *reterr)
{
	int status = a->http.status;

	if (aws_keys_refused(a))
		return aws_refused_keys(r, a, where, reterr);
	if (status == 407) {
		err_set(reterr, ERR_AUTH, status, "%s: the proxy on the way wants credentials (407)", where);
		return err_hint(reterr, PROVIDER_PROXY_HINT);
	}
	if (status == 401 || status == 403 || strncmp(a->code, "AccessDenied", 12) == 0)
		return err_set(reterr, ERR_AUTH, status, "%s is not allowed (%d%s%s)", where, status, a->code[0] != '\0' ? " " : "", a->code);
	if (a->code[0] == '\0') {
		err_set(reterr, ERR_UNSUPPORTED, status, "%s: the answer %d is none of %s", where, status, r->what);
		return err_hint(reterr, "check endpoints and proxy: something other than %s may listen there", r->what);
	}
	return err_set(reterr, ERR_UNSUPPORTED, status, "%s: %d %s: %.80s", where, status, a->code, a->message);
}
