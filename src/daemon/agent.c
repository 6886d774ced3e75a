/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/crypt.h"
#include "base/log.h"
#include "base/mem.h"
#include "internal.h"
#include "net/http_server.h"

#define AGENT_HURRY_MS      3000  /* of the grace period: kept for the release of locks */
#define AGENT_OWNER_POLL_MS 200   /* between two looks whether the owner went */

/* ---------------------------------------------------------------- one operation */

struct agent_wait {
	struct op *op;
	struct err err;
	bool       done;
	int        signal;
	struct engine *engine;  /* whose writes op waits for; NULL: none */
	struct timer   hurry;   /* since the signal */
};

static void
agent_wait_done(struct op *op, void *arg)
{
	struct agent_wait *w = arg;

	w->err = op->err;
	w->done = true;
	op_free(op);
}

static void
agent_wait_signal(int signo, void *arg)
{
	struct agent_wait *w = arg;

	if (w->signal == 0 && w->engine != NULL && !w->done)
		timer_set(&w->hurry, AGENT_GRACE_MS - AGENT_HURRY_MS);
	w->signal = signo;
	if (!w->done)
		op_cancel(w->op);
}

static void
agent_wait_hurry(void *arg)
{
	struct agent_wait *w = arg;

	engine_hurry(w->engine);
}

static void
agent_poll_done(struct op *op, void *arg)
{
	struct agent_poll *p = arg;

	if (op->err.code == ERR_OK && !p->over)
		p->answered(p);
	op_free(op);
	p->op = NULL;
	if (!p->over)
		timer_set(&p->timer, p->every_ms);
}

static void
agent_poll_due(void *arg)
{
	struct agent_poll *p = arg;

	p->op = p->ask(p);
	op_start(p->op, agent_poll_done, p);
}

static void
agent_poll_begin(struct agent_poll *p, struct loop *l)
{
	timer_init(&p->timer, l, agent_poll_due, p);
	timer_set(&p->timer, p->every_ms);
}

static void
agent_poll_end(struct agent_poll *p, struct loop *l)
{
	p->over = true;
	timer_stop(&p->timer);
	op_cancel(p->op);
	while (p->op != NULL)
		loop_turn(l, true);
}

void
agent_await_beside(struct loop *l, struct op *op, struct engine *e, struct agent_poll *poll, struct err *ret, int *ret_signal)
{
	struct agent_wait    w = { .op = op, .engine = e };
	struct signal_watch *i = signal_watch_new(l, SIGINT, agent_wait_signal, &w);
	struct signal_watch *t = signal_watch_new(l, SIGTERM, agent_wait_signal, &w);

	timer_init(&w.hurry, l, agent_wait_hurry, &w);
	op_start(op, agent_wait_done, &w);
	if (poll != NULL)
		agent_poll_begin(poll, l);
	while (!w.done)
		loop_turn(l, true);
	if (poll != NULL)
		agent_poll_end(poll, l);
	timer_stop(&w.hurry);
	signal_watch_free(i);
	signal_watch_free(t);
	*ret = w.err;
	if (ret_signal != NULL)
		*ret_signal = w.signal;
}

void
agent_await(struct loop *l, struct op *op, struct err *ret, int *ret_signal)
{
	agent_await_beside(l, op, NULL, NULL, ret, ret_signal);
}

/* ---------------------------------------------------------------- assembly */

void
agent_log_setup(const struct agent *a, const struct settings *s)
{
	enum log_level level = a->o.log_level >= 0 ? (enum log_level)a->o.log_level : s->log;

	log_setup(level, a->o.log_json >= 0 ? a->o.log_json != 0 : s->log_json, NULL);
}

enum err_code
agent_read_plan(struct agent *a, struct plan **ret, struct err *reterr)
{
	struct plan *p;

	if (plan_read(a->config, NULL, &p, reterr) != ERR_OK)
		return reterr->code;
	if (plan_open(p, &a->env, reterr) != ERR_OK) {
		plan_free(p);
		return reterr->code;
	}
	*ret = p;
	return ERR_OK;
}

/* *ret NULL: none is configured. */
static enum err_code
agent_read_key(const struct settings *s, struct crypt_key **ret, struct err *reterr)
{
	uint8_t raw[CRYPT_KEY_LEN];

	*ret = NULL;
	if (s->encryption_key == NULL)
		return ERR_OK;
	if (crypt_key_parse(span_of(secret_str(s->encryption_key), secret_len(s->encryption_key)), raw, reterr) != ERR_OK)
		return err_prefix(reterr, "encryption_key");
	*ret = crypt_key_new(raw);
	mem_wipe(raw, sizeof(raw));
	return ERR_OK;
}

/* By what they make of the same words: the same key may be written in two ways. */
static bool
agent_is_key(const struct crypt_key *a, const struct crypt_key *b)
{
	static const char words[] = "is this the key of the store?";
	uint8_t           mac_a[32], mac_b[32];

	if (a == NULL || b == NULL)
		return a == b;
	crypt_mac(a, "compare", SPAN_LIT(words), mac_a);
	crypt_mac(b, "compare", SPAN_LIT(words), mac_b);
	return memcmp(mac_a, mac_b, sizeof(mac_a)) == 0;
}

enum err_code
agent_keeps_key(const struct agent *a, const struct settings *s, struct err *reterr)
{
	struct crypt_key *key;
	bool              same;

	if (agent_read_key(s, &key, reterr) != ERR_OK)
		return reterr->code;
	same = agent_is_key(a->key, key);
	crypt_key_free(key);
	if (same)
		return ERR_OK;
	err_set(reterr, ERR_CONFIG, 0, "encryption_key is not the one that the store was opened with");
	return err_hint(reterr, "the key of a store stays: put the old one back");
}

/* An owner that goes within wait_ms is waited for, and named once. */
static enum err_code
agent_own(struct agent *a, struct err *reterr)
{
	const struct settings *s = &a->plan->settings;
	struct store_conf      c = { .dir = s->store, .agent_name = s->name_given ? s->name : NULL, .key = a->key,
		.must_exist = a->o.must_exist };
	int64_t                until = loop_clock(a->loop)->mono_ms(loop_clock(a->loop)) + a->o.wait_ms;
	bool                   said = false;

	for (;;) {
		enum err_code rc = store_open(a->loop, a->work, &c, &a->store, reterr);

		if (rc != ERR_LOCKED || loop_clock(a->loop)->mono_ms(loop_clock(a->loop)) >= until)
			return rc;
		if (!said && a->o.serve_socket)
			log_at(LOG_WARN, "store", "in use by process %d: waiting for it to end", reterr->detail);
		said = true;
		usleep(AGENT_OWNER_POLL_MS * 1000);
	}
}

static enum err_code
agent_listen(struct agent *a, struct err *reterr)
{
	const struct settings *s = &engine_plan(a->engine)->settings;
	int                    fd;

	if (http_listen_unix(s->socket, &fd, reterr) != ERR_OK ||
	    api_server_new(a->engine, fd, &a->server, reterr) != ERR_OK)
		return reterr->code;
	a->socket = xstrdup(s->socket);
	return ERR_OK;
}

/* Providers keep large bodies beside the store. */
static int
agent_spool(void *arg, struct err *reterr)
{
	return store_spool_open(arg, reterr);
}

static enum err_code
agent_build(struct agent *a, struct err *reterr)
{
	const struct settings *s = &a->plan->settings;
	struct plan           *p = a->plan;

	if (!a->o.no_store && (agent_read_key(s, &a->key, reterr) != ERR_OK || agent_own(a, reterr) != ERR_OK))
		return reterr->code;
	if (http_client_curl(a->loop, a->work, a->store != NULL ? s->store : NULL, &a->http, reterr) != ERR_OK)
		return reterr->code;
	a->env.http = a->http;
	a->env.agent_id = a->store != NULL ? store_agent_id(a->store) : NULL;
	a->env.spool = a->store != NULL ? agent_spool : NULL;
	a->env.spool_arg = a->store;
	if (plan_open(p, &a->env, reterr) != ERR_OK)
		return reterr->code;
	if (a->o.no_store)
		return ERR_OK;
	a->plan = NULL;
	a->engine = engine_new(&(struct engine_conf){ a->loop, a->work, a->store, p });
	return a->o.serve_socket ? agent_listen(a, reterr) : ERR_OK;
}

/* Before there are threads: it changes the environment. A manager that cannot be told is no reason not to work. */
static void
agent_find_manager(struct agent *a)
{
	struct err e;

	if (notify_open(&a->notify, &e) != ERR_OK)
		log_at(LOG_WARN, NULL, "%s", e.msg);
}

enum err_code
agent_open(const struct agent_options *o, struct agent **ret, struct err *reterr)
{
	struct agent      *a = xcalloc(1, sizeof(*a));
	struct conf_source source = { .errors = o->errors };

	*ret = NULL;
	a->o = *o;
	if (crypto_init(reterr) != ERR_OK || plan_read(o->config, &source, &a->plan, reterr) != ERR_OK ||
	    (a->loop = loop_new(reterr)) == NULL) {
		plan_free(a->plan);
		free(a);
		return reterr->code;
	}
	a->config = realpath(a->plan->path, NULL);
	if (a->config == NULL)
		a->config = xstrdup(a->plan->path);
	agent_find_manager(a);
	a->work = work_new(a->loop);
	a->name = xstrdup(a->plan->settings.name);
	a->env = (struct provider_env){ .loop = a->loop, .work = a->work, .agent_name = a->name };
	agent_log_setup(a, &a->plan->settings);
	*ret = a;
	return agent_build(a, reterr);
}

/* ---------------------------------------------------------------- the end */

static bool
agent_is_idle(void *arg)
{
	struct agent *a = arg;

	if (a->server != NULL && !api_server_idle(a->server))
		return false;
	return (a->engine == NULL || engine_idle(a->engine)) && op_count(a->loop) == 0;
}

/* One grace period, however often the end is asked for. */
static bool
agent_ends_by(struct agent *a, int64_t ms)
{
	int64_t left = a->ending + ms - loop_now(a->loop);

	return agent_is_idle(a) || (left > 0 && loop_run_until(a->loop, agent_is_idle, a, left));
}

bool
agent_end(struct agent *a)
{
	if (a->server != NULL)
		api_server_quiesce(a->server);
	if (a->engine != NULL)
		engine_stop(a->engine);
	op_cancel_all(a->loop);
	if (a->ending == 0)
		a->ending = loop_now(a->loop);
	if (agent_ends_by(a, AGENT_GRACE_MS - AGENT_HURRY_MS))
		return true;
	if (a->engine != NULL)
		engine_hurry(a->engine);
	return agent_ends_by(a, AGENT_GRACE_MS);
}

void
agent_close(struct agent *a)
{
	if (a == NULL)
		return;
	/* What does not end within the grace period is an intent in the store; memory that an operation still uses stays. */
	if (!agent_end(a)) {
		log_at(LOG_WARN, NULL, "%zu operations did not end in time; the next start looks after them", op_count(a->loop));
		return;
	}
	if (a->server != NULL)
		api_server_free(a->server);
	if (a->socket != NULL)
		unlink(a->socket);
	if (a->engine != NULL)
		engine_free(a->engine);
	plan_free(a->plan);
	if (a->http != NULL)
		http_client_free(a->http);
	if (a->store != NULL)
		store_close(a->store);
	crypt_key_free(a->key);
	work_free(a->work);
	loop_free(a->loop);
	notify_close(a->notify);
	free(a->socket);
	free(a->name);
	free(a->config);
	free(a);
}

/* ---------------------------------------------------------------- looking, calling */

struct engine *
agent_engine(struct agent *a)
{
	return a->engine;
}

struct loop *
agent_loop(struct agent *a)
{
	return a->loop;
}

const struct plan *
agent_plan(const struct agent *a)
{
	return a->engine != NULL ? engine_plan(a->engine) : a->plan;
}

const struct settings *
agent_settings(const struct agent *a)
{
	return &agent_plan(a)->settings;
}

struct agent_look {
	struct agent_poll         poll;
	struct agent             *a;
	const struct agent_watch *watch;
	struct api_reply          reply;
};

static struct op *
agent_look_ask(struct agent_poll *p)
{
	struct agent_look *x = container_of(p, struct agent_look, poll);

	api_reply_free(&x->reply);
	return api_call(x->a->engine, &x->watch->req, &x->reply);
}

static void
agent_look_answered(struct agent_poll *p)
{
	struct agent_look *x = container_of(p, struct agent_look, poll);

	x->watch->seen(x->watch->arg, &x->reply);
}

enum err_code
agent_call(struct agent *a, const struct api_request *req, const struct agent_watch *watch, struct api_reply *ret,
    struct err *reterr)
{
	struct agent_look x = { .poll = { .every_ms = watch != NULL ? watch->every_ms : 0, .ask = agent_look_ask,
	    .answered = agent_look_answered }, .a = a, .watch = watch };
	int               signo;

	memset(ret, 0, sizeof(*ret));
	agent_await_beside(a->loop, api_call(a->engine, req, ret), a->engine, watch != NULL ? &x.poll : NULL, reterr, &signo);
	api_reply_free(&x.reply);
	if (signo != 0) {
		api_reply_free(ret);
		memset(ret, 0, sizeof(*ret));
		return err_set(reterr, ERR_CANCELLED, signo, "interrupted");
	}
	return reterr->code;
}
