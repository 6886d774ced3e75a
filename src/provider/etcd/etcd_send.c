/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "etcd.h"
#include "provider/bearer.h"

/* One request to a cluster: the members are asked in turn until one answers, and that one again the next time. */
#define ETCD_TIMEOUT_MS ((int64_t)10 * 1000)
#define ETCD_CONNECT_MS 2000
#define ETCD_PAUSE_MS   20   /* before another member is asked */
#define ETCD_ROUNDS     2    /* so often each */
#define ETCD_ANSWER_MAX ((uint64_t)1 << 20)
#define ETCD_LOGIN      "/v3/auth/authenticate"

struct etcd_sending {
	struct send  send;
	struct etcd *e;
	size_t       at;    /* the member that was asked */
};

static struct etcd_sending *
etcd_sending_of(const struct send *x)
{
	return container_of((struct send *)(uintptr_t)x, struct etcd_sending, send);
}

void
etcd_answer_free(struct etcd_answer *a)
{
	send_answer_free(&a->send);
	json_decref(a->json);
	memset(a, 0, sizeof(*a));
}

static struct op *
etcd_ready(struct send *x)
{
	struct etcd *e = etcd_sending_of(x)->e;

	return e->token != NULL ? token_ready(e->token, loop_wall(x->op.loop)) : NULL;
}

/* Until it has answered, the next one is the better choice, for other requests too. */
static struct op *
etcd_attempt(struct send *send, const struct send_request *r, struct send_answer *ret)
{
	struct etcd_sending *x = etcd_sending_of(send);
	struct etcd         *e = x->e;
	struct http_header   own[1];
	struct http_request  h = { .headers = own, .tls = &e->tls, .connect_timeout_ms = ETCD_CONNECT_MS };
	struct bearer       *token = e->token != NULL && send->driver->ready != NULL ? token_value(e->token) : NULL;
	struct op           *op;
	char                *url;

	x->at = e->at;
	e->at = (e->at + 1) % e->nendpoints;
	url = xasprintf("%s%s", e->endpoints[x->at], r->path);
	if (token != NULL) {
		own[h.nheaders++] = (struct http_header){ "authorization", xstrdup(secret_str(token->text)) };
		send->generation = token_generation(e->token);
	}
	h.url = url;
	op = send_attempt(send, r, &h, ret);
	free(url);
	return op;
}

static enum send_verdict
etcd_judge(struct send *x)
{
	struct etcd_answer  *a = container_of(x->ret, struct etcd_answer, send);
	struct etcd_sending *s = etcd_sending_of(x);

	etcd_answer_read(a);
	if (a->send.http.status >= 500)
		return SEND_DOWN;
	s->e->at = s->at;
	if (a->send.http.status >= 400 && etcd_wants_token(a))
		return SEND_RENEW;
	return a->grpc == GRPC_EXHAUSTED && strstr(a->send.message, "too many requests") != NULL ? SEND_LATER : SEND_DONE;
}

static bool
etcd_renew(struct send *x)
{
	struct etcd *e = etcd_sending_of(x)->e;

	if (e->token != NULL)
		token_reject(e->token, x->generation);
	return e->token != NULL;
}

static bool
etcd_renew_none(struct send *x)
{
	(void)x;
	return false;
}

static const struct send_driver etcd_driver = { .pause_ms = ETCD_PAUSE_MS, .elsewhere = true, .ready = etcd_ready, .attempt = etcd_attempt,
	.judge = etcd_judge, .renew = etcd_renew };
/* Signing in itself. */
static const struct send_driver etcd_login_driver = { .pause_ms = ETCD_PAUSE_MS, .elsewhere = true, .attempt = etcd_attempt,
	.judge = etcd_judge, .renew = etcd_renew_none };

static const struct op_class etcd_class = { "etcd", SEND_OP_CLASS };

static struct op *
etcd_send_by(struct etcd *e, const struct send_driver *driver, struct send_request *req, const char *path, json_t *body, bool changing,
    struct etcd_answer *ret)
{
	struct etcd_sending *x = xcalloc(1, sizeof(*x));
	char                *text = json_dumps(body, JSON_COMPACT);
	struct buf           bytes;

	json_decref(body);
	buf_init(&bytes, 0);
	buf_puts(&bytes, text);
	mem_free_secret(text);
	req->method = "POST";
	req->path = xstrdup(path);
	req->body = body_new(&bytes);
	req->changing = changing;
	req->max_body = ETCD_ANSWER_MAX;
	send_header(req, "content-type", "application/json");
	x->e = e;
	x->send = (struct send){ .driver = driver, .env = e->r.env, .timeout_ms = ETCD_TIMEOUT_MS, .where = xstrdup("etcd"),
		.most = (int64_t)e->nendpoints * ETCD_ROUNDS };
	return send_init(&x->send, &etcd_class, req, &ret->send);
}

struct op *
etcd_send(struct etcd *e, struct send_request *req, const char *path, json_t *body, bool changing, struct etcd_answer *ret)
{
	return etcd_send_by(e, &etcd_driver, req, path, body, changing, ret);
}

/* --- signing in --- */

struct etcd_login {
	struct op           op;
	struct etcd        *e;       /* outlives it: token.h */
	struct send_request req;
	struct etcd_answer  ans;
	struct bearer      *ret;
};

enum etcd_login_state { LOGIN_START, LOGIN_ANSWERED };

static const char *const etcd_login_states[] = { "start", "answered" };

static enum op_turn
etcd_login_step(struct op *op)
{
	struct etcd_login *l = container_of(op, struct etcd_login, op);
	struct etcd       *e = l->e;
	json_t            *token;

	switch ((enum etcd_login_state)op->state) {
	case LOGIN_START:
		return op_await(op, LOGIN_ANSWERED, etcd_send_by(e, &etcd_login_driver, &l->req, ETCD_LOGIN, json_pack("{s:s, s:s}", "name", e->user,
		    "password", secret_str(e->password)), false, &l->ans));
	case LOGIN_ANSWERED:
		token = json_object_get(l->ans.json, "token");
		if (!op_failed(op) && l->ans.send.http.status != 200)
			etcd_refused(e, &l->ans, "signing in", &op->res);
		else if (!op_failed(op) && json_string_length(token) == 0)
			err_set(&op->res, ERR_CORRUPT, 200, "etcd: signing in: the answer holds no token");
		if (op_failed(op))
			return op_fail(op);
		/* How long it lasts is not said: until it is refused. */
		l->ret->text = secret_new(span_of(json_string_value(token), json_string_length(token)));
		return op_ok(op);
	}
	return OP_DONE;
}

static void
etcd_login_free(struct op *op)
{
	struct etcd_login *l = container_of(op, struct etcd_login, op);

	send_request_free(&l->req);
	etcd_answer_free(&l->ans);
	free(l);
}

static const struct op_class etcd_login_class = { "etcd login", etcd_login_step, NULL, etcd_login_free, etcd_login_states,
	ARRAY_LEN(etcd_login_states) };

static struct op *
etcd_login(void *arg, void *ret)
{
	struct etcd_login *l = xcalloc(1, sizeof(*l));

	l->e = arg;
	l->ret = ret;
	op_init(&l->op, &etcd_login_class, l->e->r.env->loop);
	return &l->op;
}

const struct token_class etcd_token_class = { "the token", sizeof(struct bearer), etcd_login, bearer_ends, bearer_wipe, etcd_free };
