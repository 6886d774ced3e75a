/* SPDX-License-Identifier: MIT */
#include "etcd.h"

#include <stdlib.h>
#include <string.h>

#include "base/encode.h"
#include "net/url.h"
#include "provider/outside.h"

/*
 * Leases in etcd: a key for each, swapped by a transaction that compares its mod_revision, read linearizably. No lease of etcd's own is
 * used: those end by the clock of etcd's leader, while here only the agent that watches measures time, by a clock of its own.
 */
#define ETCD_ENDPOINTS_MAX 16
#define ETCD_PEM_MAX       ((size_t)256 << 10)

struct etcd_conf {
	struct conf_strs endpoints;
	const char      *username, *ca_file, *cert_file, *key_file, *prefix;
	struct secret   *password;
};

#define AT(member) offsetof(struct etcd_conf, member)

static const struct conf_field etcd_fields[] = {
	{ .name = "endpoints", .type = CONF_STRS, .offset = AT(endpoints), .required = true,
	    .help = "URLs of the members, as https://HOST:2379; the next one is asked where one does not answer" },
	{ .name = "username", .type = CONF_STR, .offset = AT(username), .help = "where etcd has users" },
	{ .name = "password", .type = CONF_SECRET, .offset = AT(password), .help = "better env() or file()" },
	{ .name = "ca_file", .type = CONF_PATH, .offset = AT(ca_file), .help = "PEM file that replaces the system's roots" },
	{ .name = "cert_file", .type = CONF_PATH, .offset = AT(cert_file), .help = "client certificate, a PEM file" },
	{ .name = "key_file", .type = CONF_PATH, .offset = AT(key_file), .help = "its key" },
	{ .name = "prefix", .type = CONF_STR, .offset = AT(prefix), .def = RECORD_PREFIX, .help = "of the keys; another one for each fleet" },
	{ .name = NULL },
};

#undef AT

static struct etcd *
etcd_of(struct records *r)
{
	return container_of(r, struct etcd, r);
}

/* ---------------------------------------------------------------- one key, read or swapped */

struct etcd_op {
	struct op           op;
	struct etcd        *e;
	char               *key;          /* with prefix */
	json_t             *body;         /* until it is sent */
	struct send_request req;
	struct etcd_answer  ans;
	struct record      *ret;          /* a read's; NULL: a swap */
	char               *ret_revision;
};

enum etcd_state { START, ANSWERED };

static const char *const etcd_states[] = { "start", "answered" };

static struct op *
etcd_op_send(struct etcd_op *o)
{
	json_t *body = o->body;
	bool    swap = o->ret == NULL;

	o->body = NULL;
	return etcd_send(o->e, &o->req, swap ? "/v3/kv/txn" : "/v3/kv/range", body, swap, &o->ans);
}

static enum op_turn
etcd_answered(struct etcd_op *o)
{
	struct op *op = &o->op;
	char      *doing = xasprintf("%s %.80s", o->ret != NULL ? "reading" : "writing", o->key);

	if (op_failed(op)) {
		if (op->res.hint[0] == '\0' && (op->res.code == ERR_BUSY || op->res.code == ERR_UNCERTAIN) && o->ans.send.http.status >= 500)
			err_hint(&op->res, "\"etcdctl endpoint status --cluster\" shows which members are up, and who leads");
	} else if (o->ans.send.http.status != 200) {
		etcd_refused(o->e, &o->ans, doing, &op->res);
	} else if ((o->ret != NULL ? etcd_range_of(o->ans.json, o->ret, &op->res) : etcd_txn_of(o->ans.json, o->ret_revision, &op->res)) != ERR_OK) {
		err_prefix(&op->res, "etcd: %s", doing);
		if (op->res.code == ERR_CORRUPT)
			err_hint(&op->res, "delete the key if nothing else needs it, or choose another prefix");
	}
	free(doing);
	return op_finish(op);
}

static enum op_turn
etcd_step(struct op *op)
{
	struct etcd_op *o = container_of(op, struct etcd_op, op);

	switch ((enum etcd_state)op->state) {
	case START:
		return op_await(op, ANSWERED, etcd_op_send(o));
	case ANSWERED:
		return etcd_answered(o);
	}
	return OP_DONE;
}

static void
etcd_op_free(struct op *op)
{
	struct etcd_op *o = container_of(op, struct etcd_op, op);

	send_request_free(&o->req);
	etcd_answer_free(&o->ans);
	json_decref(o->body);
	free(o->key);
	free(o);
}

static const struct op_class etcd_op_class = { "etcd record", etcd_step, NULL, etcd_op_free, etcd_states, ARRAY_LEN(etcd_states) };

static struct etcd_op *
etcd_op_new(struct records *r, const char *key)
{
	struct etcd_op *o = xcalloc(1, sizeof(*o));

	o->e = etcd_of(r);
	op_init(&o->op, &etcd_op_class, r->env->loop);
	o->op.about = o->key = xasprintf("%s%s", o->e->prefix, key);
	return o;
}

static char *
etcd_bytes(struct span s)
{
	struct buf text;

	buf_init(&text, 0);
	base64_encode(s, &text);
	return buf_take(&text);
}

static struct op *
etcd_read(struct records *r, const char *key, struct record *ret)
{
	struct etcd_op *o = etcd_op_new(r, key);
	char           *name = etcd_bytes(span_str(o->key));

	o->ret = ret;
	o->body = json_pack("{s:s}", "key", name);
	free(name);
	return &o->op;
}

/* A key that does not exist has the mod_revision 0. */
static struct op *
etcd_swap(struct records *r, const char *key, struct span text, const char *revision, char ret_revision[ETAG_MAX])
{
	struct etcd_op *o = etcd_op_new(r, key);
	char           *name = etcd_bytes(span_str(o->key)), *value = etcd_bytes(text);

	o->ret_revision = ret_revision;
	o->body = json_pack("{s:[{s:s, s:s, s:s, s:s}], s:[{s:{s:s, s:s}}]}", "compare", "key", name, "target", "MOD", "result", "EQUAL",
	    "mod_revision", revision[0] != '\0' ? revision : "0", "success", "request_put", "key", name, "value", value);
	free(name);
	free(value);
	return &o->op;
}

/* ---------------------------------------------------------------- opening and closing */

void
etcd_free(void *arg)
{
	struct etcd *e = arg;

	for (size_t i = 0; i < e->nendpoints; i++)
		free(e->endpoints[i]);
	free(e->endpoints);
	free(e->r.where);
	free(e->prefix);
	free(e->user);
	free(e->ca_file);
	free(e->cert_pem);
	secret_free(e->password);
	secret_free(e->key_pem);
	free(e);
}

static void
etcd_close(struct records *r)
{
	struct etcd *e = etcd_of(r);

	if (e->token != NULL)
		token_free(e->token);
	else
		etcd_free(e);
}

static enum err_code
etcd_endpoint(struct etcd *e, struct conf_pos pos, const char *text, struct err *reterr)
{
	struct url u = { .scheme = NULL };
	struct err why;
	size_t     n = strlen(text);
	bool       ok = url_parse(text, &u, &why) == ERR_OK, plain = ok && u.user == NULL && u.query == NULL;

	url_free(&u);
	if (!ok || !plain) {
		conf_error(reterr, pos, "endpoints: %s", ok ? "expected scheme, host and port, nothing else" : why.msg);
		return err_hint(reterr, "for example endpoints = [\"https://etcd-1:2379\", \"https://etcd-2:2379\"]");
	}
	while (n > 0 && text[n - 1] == '/')
		n--;
	e->endpoints[e->nendpoints++] = xstrndup(text, n);
	return ERR_OK;
}

static enum err_code
etcd_pem(struct etcd *e, struct conf_pos pos, const char *what, const char *path, struct buf *ret, struct err *reterr)
{
	bool       found, loose;
	struct err why = { .code = ERR_OK };

	buf_init(ret, ETCD_PEM_MAX);
	if (outside_read(e->r.env->source, path, ret, &found, &loose, &why) != ERR_OK)
		return conf_error(reterr, pos, "%s: %s", what, why.msg);
	return found ? ERR_OK : conf_error(reterr, pos, "%s: %s does not exist", what, path);
}

static enum err_code
etcd_certificate(struct etcd *e, struct conf_pos pos, const struct etcd_conf *c, struct err *reterr)
{
	struct buf    cert, key = { .data = NULL };
	enum err_code rc;

	if ((c->cert_file != NULL) != (c->key_file != NULL))
		return conf_error(reterr, pos, "cert_file and key_file go together");
	if (c->cert_file == NULL)
		return ERR_OK;
	rc = etcd_pem(e, pos, "cert_file", c->cert_file, &cert, reterr);
	if (rc == ERR_OK)
		rc = etcd_pem(e, pos, "key_file", c->key_file, &key, reterr);
	if (rc == ERR_OK) {
		e->cert_pem = xstrdup(buf_str(&cert));
		e->key_pem = secret_new(buf_span(&key));
	}
	buf_free(&cert);
	buf_wipe_free(&key);
	return rc;
}

static void
etcd_set_where(struct etcd *e)
{
	struct buf where;

	buf_init(&where, 0);
	for (size_t i = 0; i < e->nendpoints; i++)
		buf_printf(&where, "%s ", e->endpoints[i]);
	buf_puts(&where, e->prefix);
	e->r.where = buf_take(&where);
}

static enum err_code
etcd_set_up(struct etcd *e, struct conf_pos pos, const struct etcd_conf *c, struct err *reterr)
{
	bool user = c->username != NULL && c->username[0] != '\0';

	if (c->endpoints.n == 0 || c->endpoints.n > ETCD_ENDPOINTS_MAX)
		return conf_error(reterr, pos, "endpoints: expected 1 to %d URLs", ETCD_ENDPOINTS_MAX);
	if (user != (c->password != NULL && secret_len(c->password) > 0))
		return conf_error(reterr, pos, "username and password go together");
	e->endpoints = xcalloc(c->endpoints.n, sizeof(*e->endpoints));
	for (size_t i = 0; i < c->endpoints.n; i++)
		if (etcd_endpoint(e, pos, c->endpoints.items[i], reterr) != ERR_OK)
			return reterr->code;
	if (etcd_certificate(e, pos, c, reterr) != ERR_OK)
		return reterr->code;
	e->prefix = xstrdup(c->prefix);
	etcd_set_where(e);
	e->ca_file = xstrdup(c->ca_file);
	e->tls = (struct http_tls){ .ca_file = e->ca_file, .cert_pem = e->cert_pem, .key_pem = e->key_pem };
	if (user) {
		e->user = xstrdup(c->username);
		e->password = secret_new(span_of(secret_str(c->password), secret_len(c->password)));
		e->token = token_new(e->r.env->loop, &etcd_token_class, e, "etcd");
	}
	return ERR_OK;
}

static enum err_code
etcd_open(const struct provider_env *env, struct conf *c, struct conf_block *block, struct records **ret, struct err *reterr)
{
	static const char *const       none[] = { NULL };
	const struct conf_field *const tables[] = { etcd_fields, NULL };
	struct etcd_conf               conf = { .username = NULL };
	struct etcd                   *e;

	if (conf_fields(c, block, etcd_fields, &conf, reterr) != ERR_OK || conf_finish(c, block, tables, none, reterr) != ERR_OK)
		return reterr->code;
	e = xcalloc(1, sizeof(*e));
	e->r = (struct records){ &records_etcd, env, NULL };
	if (etcd_set_up(e, block->pos, &conf, reterr) != ERR_OK) {
		etcd_close(&e->r);
		return reterr->code;
	}
	*ret = &e->r;
	return ERR_OK;
}

const struct records_class records_etcd = { "etcd", etcd_open, etcd_close, etcd_read, etcd_swap };
