/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <strings.h>

#include "base/json.h"
#include "net/url.h"
#include "remote.h"
#include "remote_cli.h"

/*
 * Where the API of a host is: api_base, the `host` block of the CLI's configuration, or the host's own document
 * (developer.hashicorp.com/terraform/internals/remote-service-discovery).
 */
#define REMOTE_DOCUMENT     "/.well-known/terraform.json"
#define REMOTE_DOCUMENT_MAX ((uint64_t)1 << 20)
#define REMOTE_FIND_MS      11000 /* for all of it */
#define REMOTE_HOPS_MAX     3
#define REMOTE_FIND_TRIES   3
#define REMOTE_HOST_MAX     253
#define REMOTE_BASE_HINT    "if it has an API all the same, say where: api_base = \"https://%s/api/v2/\""

/* ---------------------------------------------------------------- hosts */

static bool
remote_host_is_name(struct span s)
{
	uint8_t before = '.';

	for (size_t i = 0; i < s.n; before = s.p[i++]) {
		bool alnum = (s.p[i] >= 'a' && s.p[i] <= 'z') || (s.p[i] >= 'A' && s.p[i] <= 'Z') || (s.p[i] >= '0' && s.p[i] <= '9');

		if (!alnum && (strchr("-._", s.p[i]) == NULL || s.p[i] == '\0' || (s.p[i] == '.' && before == '.')))
			return false;
	}
	return s.n > 0 && s.n <= REMOTE_HOST_MAX && before != '.';
}

enum err_code
remote_host(const char *text, struct buf *ret, struct err *reterr)
{
	const char   *colon = strchr(text, ':');
	struct span   name = span_of(text, colon != NULL ? (size_t)(colon - text) : strlen(text));
	char         *end = NULL;
	unsigned long port = colon != NULL && colon[1] >= '0' && colon[1] <= '9' ? strtoul(colon + 1, &end, 10) : 443;

	if (strstr(text, "://") != NULL)
		return err_set(reterr, ERR_CONFIG, 0, "expected the name of a host, not a URL: \"app.terraform.io\"");
	for (size_t i = 0; i < name.n; i++)
		if (name.p[i] >= 0x80)
			return err_set(reterr, ERR_CONFIG, 0, "a host with letters beyond ASCII is written in its xn-- form, as \"idn2 NAME\" prints it");
	if (!remote_host_is_name(name) || (colon != NULL && (end == NULL || *end != '\0' || port == 0 || port > 65535)))
		return err_set(reterr, ERR_CONFIG, 0, "expected the name of a host, and perhaps a port: \"tfe.example.com:8443\"");
	if (name.n == strlen("localterraform.com") && strncasecmp(text, "localterraform.com", name.n) == 0)
		return err_set(reterr, ERR_CONFIG, 0, "localterraform.com is no host but an alias in modules for the one that is configured: "
		    "write that one's name");
	for (size_t i = 0; i < name.n; i++)
		buf_putc(ret, (char)(name.p[i] >= 'A' && name.p[i] <= 'Z' ? name.p[i] + ('a' - 'A') : name.p[i]));
	if (port != 443)
		buf_printf(ret, ":%lu", port);
	return ERR_OK;
}

/* ---------------------------------------------------------------- the document */

struct remote_finder {
	struct op             op;
	struct remote        *r;
	const struct secret  *token;
	const char           *source;
	char                **ret_base;
	struct remote_cli     cli;
	char                 *url;      /* of the document */
	struct http_response  answer;
	int64_t               until;
	unsigned              tries, hops;
};

/* The best service so far. */
struct remote_services {
	int   key, best;  /* ranks; -1: none */
	char *url;
};

static enum json_want
remote_services_event(void *arg, const struct json_token *t)
{
	struct remote_services *s = arg;

	if (t->event == JSON_EV_KEY && t->depth == 1)
		s->key = remote_service_rank(t->text);
	if (t->event == JSON_EV_STRING && t->depth == 1 && !t->cut && s->key >= 0 && (s->best < 0 || s->key < s->best)) {
		s->best = s->key;
		free(s->url);
		s->url = span_dup(t->text);
	}
	return JSON_WANT;
}

/* ref as it stands in the document at url, with "/" at its end; owned. NULL: it is no address. */
static char *
remote_service_at(const char *url, const char *ref)
{
	const char *host = strstr(url, "://") + 3, *end;
	char       *all;
	struct url  u;

	if (strstr(ref, "://") != NULL)
		end = url;
	else
		end = ref[0] == '/' ? host + strcspn(host, "/?") : strrchr(url, '/') + 1;
	all = xasprintf("%.*s%s%s", (int)(end - url), url, ref, ref[0] != '\0' && ref[strlen(ref) - 1] == '/' ? "" : "/");
	if (url_parse(all, &u, NULL) != ERR_OK) {
		free(all);
		return NULL;
	}
	url_free(&u);
	return all;
}

static bool
remote_is_tls(const char *url)
{
	return strncasecmp(url, "https://", 8) == 0;
}

static enum err_code
remote_find_service(struct remote_finder *x, struct err *reterr)
{
	const char            *type = http_header_get(&x->answer, "content-type");
	struct span            text = x->answer.body != NULL ? body_span(x->answer.body) : (struct span){ NULL, 0 };
	struct remote_services s = { -1, -1, NULL };
	struct json_reader    *json = json_reader_new(remote_services_event, &s);
	bool                   good = type != NULL && strncasecmp(type, "application/json", 16) == 0 &&
	    json_feed(json, text.p, text.n, NULL) == ERR_OK && json_end(json, NULL) == ERR_OK;
	char                  *base = good && s.url != NULL ? remote_service_at(x->url, s.url) : NULL;

	json_reader_free(json);
	if (!good)
		err_set(reterr, ERR_UNSUPPORTED, 0, "%s: what it answers to the question for its services is no JSON", x->r->host);
	else if (base == NULL)
		err_set(reterr, ERR_UNSUPPORTED, 0, "%s: among its services is no usable address of tfe.v2", x->r->host);
	else if (!remote_is_tls(base))
		err_set(reterr, ERR_UNSUPPORTED, 0, "%s: it names an address of its API that is not https, where the token would be readable", x->r->host);
	free(s.url);
	if (base == NULL || !remote_is_tls(base)) {
		free(base);
		err_hint(reterr, good ? REMOTE_BASE_HINT : "is hostname right, and does no proxy or login page answer in its place? " REMOTE_BASE_HINT,
		    x->r->host);
		return ERR_UNSUPPORTED;
	}
	*x->ret_base = base;
	return ERR_OK;
}

/* ---------------------------------------------------------------- asking for it */

static bool
remote_find_redirects(int status)
{
	return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

/* The token is for the host itself alone. */
static struct op *
remote_find_ask(struct remote_finder *x)
{
	struct http_header headers[] = { { "Accept", (char[]){ "application/json" } }, { "Authorization", NULL } };
	char              *own = xasprintf("https://%s/", x->r->host);
	bool               signs = x->token != NULL && strncmp(x->url, own, strlen(own)) == 0;
	int64_t            left = x->until - loop_now(x->op.loop);
	struct op         *op;

	headers[1].value = signs ? xasprintf("Bearer %s", secret_str(x->token)) : NULL;
	http_response_free(&x->answer);
	provider_sent(&x->r->b);
	op = http_request(x->r->env->http, &(struct http_request){ .method = "GET", .url = x->url, .headers = headers,
	    .nheaders = signs ? 2 : 1, .timeout_ms = left > 0 ? left : 1, .max_body = REMOTE_DOCUMENT_MAX, .tls = &x->r->tls },
	    &x->answer);
	if (signs)
		mem_wipe(headers[1].value, strlen(headers[1].value));
	free(headers[1].value);
	free(own);
	return op;
}

static enum err_code
remote_find_follow(struct remote_finder *x, struct err *reterr)
{
	const char *to = http_header_get(&x->answer, "location");
	char       *url = NULL;

	if (x->hops++ < REMOTE_HOPS_MAX && to != NULL)
		url = remote_service_at(x->url, to);
	if (url != NULL && !span_ends(span_str(to), "/"))
		url[strlen(url) - 1] = '\0';
	if (url == NULL || !remote_is_tls(url)) {
		free(url);
		err_set(reterr, ERR_UNSUPPORTED, x->answer.status, "%s: asked for its services it redirects %s", x->r->host,
		    x->hops > REMOTE_HOPS_MAX ? "too often" : "to no https address");
		return err_hint(reterr, REMOTE_BASE_HINT, x->r->host);
	}
	free(x->url);
	x->url = url;
	return ERR_OK;
}

static enum err_code
remote_find_refused(const struct remote_finder *x, struct err *reterr)
{
	int status = x->answer.status;

	if (status == 401 || status == 403) {
		err_set(reterr, ERR_AUTH, status, "%s: it refuses the token (%d)", x->r->host, status);
		return remote_token_hint(x->r, x->source, reterr);
	}
	if (status == 404) {
		err_set(reterr, ERR_UNSUPPORTED, status, "%s: this host offers no services to terraform (404 to " REMOTE_DOCUMENT ")", x->r->host);
		return err_hint(reterr, "is hostname right? " REMOTE_BASE_HINT, x->r->host);
	}
	err_set(reterr, status >= 500 || status == 429 ? ERR_BUSY : ERR_UNSUPPORTED, status, "%s: asked for its services it answers %d",
	    x->r->host, status);
	return err_hint(reterr, REMOTE_BASE_HINT, x->r->host);
}

/* Nothing was changed by asking: whoever does not answer is asked again. */
static bool
remote_find_again(struct remote_finder *x)
{
	const struct op *op = &x->op;
	bool             later = op->res.code == ERR_NETWORK || op->res.code == ERR_TIMEOUT ||
	    (op->res.code == ERR_OK && (x->answer.status >= 500 || x->answer.status == 429));

	return later && !op_stopped(op) && ++x->tries < REMOTE_FIND_TRIES && loop_now(op->loop) < x->until - 1000;
}

static enum err_code
remote_find_files(struct work_job *job, void *arg, struct err *reterr)
{
	struct remote_finder *x = arg;

	(void)job;
	(void)reterr;
	remote_cli_read(x->r->env, x->r->host, &x->cli);
	return ERR_OK;
}

/* What the CLI's files say in the host's place; true: that settles it. */
static bool
remote_find_override(struct remote_finder *x, struct err *ret)
{
	if (x->cli.service == NULL)
		return false;
	if (x->cli.service_loose) {
		err_set(ret, ERR_AUTH, 0, "%s: it says where the token of %s is sent, and others than root and the agent's user may write it",
		    x->cli.service_file, x->r->host);
		err_hint(ret, "chmod go-w, and chown to the agent's user");
	} else if ((*x->ret_base = remote_service_at(x->url, x->cli.service)) == NULL) {
		err_set(ret, ERR_CONFIG, 0, "%s: the services of host \"%s\" have no usable address of tfe.v2", x->cli.service_file, x->r->host);
	}
	return true;
}

enum remote_finder_state { FINDER_START, FINDER_READ, FINDER_ASK, FINDER_ANSWERED };

static const char *const remote_finder_states[] = { "start", "read", "ask", "answered" };

static enum op_turn
remote_finder_step(struct op *op)
{
	struct remote_finder *x = container_of(op, struct remote_finder, op);

	switch ((enum remote_finder_state)op->state) {
	case FINDER_START:
		x->until = loop_now(op->loop) + REMOTE_FIND_MS;
		return op_await(op, FINDER_READ, work_run(x->r->env->work, remote_find_files, x));
	case FINDER_READ:
		if (op_failed(op))
			return op_fail(op);
		remote_cli_warn(x->r, &x->cli);
		if (remote_find_override(x, &op->res))
			return op_finish(op);
		return op_go(op, FINDER_ASK);
	case FINDER_ASK:
		if (op_failed(op)) /* cancelled in a pause */
			return op_fail(op);
		return op_await(op, FINDER_ANSWERED, remote_find_ask(x));
	case FINDER_ANSWERED:
		if (remote_find_again(x))
			return op_await(op, FINDER_ASK, op_sleep(op->loop, provider_backoff_ms(&x->r->b, x->tries, 500)));
		if (op_failed(op))
			return op_fail(op);
		if (remote_find_redirects(x->answer.status))
			return remote_find_follow(x, &op->res) == ERR_OK ? op_go(op, FINDER_ASK) : op_fail(op);
		if (x->answer.status == 200)
			remote_find_service(x, &op->res);
		else
			remote_find_refused(x, &op->res);
		return op_finish(op);
	}
	return OP_DONE;
}

static void
remote_finder_free(struct op *op)
{
	struct remote_finder *x = container_of(op, struct remote_finder, op);

	remote_cli_free(&x->cli);
	http_response_free(&x->answer);
	free(x->url);
	free(x);
}

static const struct op_class remote_finder_class = { "service discovery", remote_finder_step, NULL, remote_finder_free, remote_finder_states,
	ARRAY_LEN(remote_finder_states) };

struct op *
remote_discover(struct remote *r, const struct secret *token, const char *source, char **ret_base)
{
	const char           *base = r->conf->api_base;
	struct remote_finder *x;

	if (base != NULL && base[0] != '\0') {
		*ret_base = xasprintf("%s%s", base, base[strlen(base) - 1] == '/' ? "" : "/");
		return NULL;
	}
	x = xcalloc(1, sizeof(*x));
	op_init(&x->op, &remote_finder_class, r->env->loop);
	x->r = r;
	x->token = token;
	x->source = source;
	x->ret_base = ret_base;
	x->url = xasprintf("https://%s" REMOTE_DOCUMENT, r->host);
	return &x->op;
}
