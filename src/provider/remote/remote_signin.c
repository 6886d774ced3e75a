/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "provider/bearer.h"
#include "provider/outside.h"
#include "provider/process.h"
#include "remote.h"
#include "remote_cli.h"

/* Who we are for a host: what the block says, a variable, the CLI's files, or its helper (developer.hashicorp.com/terraform/cli/config/
 * config-file, "Credentials"; developer.hashicorp.com/terraform/internals/credentials-helpers). */
#define REMOTE_TOKEN_VAR "TF_TOKEN_"

#if defined(__x86_64__)
#define REMOTE_PLUGINS "linux_amd64"
#elif defined(__aarch64__)
#define REMOTE_PLUGINS "linux_arm64"
#elif defined(__i386__)
#define REMOTE_PLUGINS "linux_386"
#else
#define REMOTE_PLUGINS "linux_arm"
#endif

extern char **environ;

struct remote_sign_in {
	struct op        op;
	struct remote   *r;
	struct secret  **ret, *token;
	char           **ret_source, *source;
	int64_t          wall_ms;
};

/* ---------------------------------------------------------------- variables */

bool
remote_token_host(struct span name, struct buf *ret)
{
	struct buf text;
	bool       ok;

	if (!span_starts(name, REMOTE_TOKEN_VAR))
		return false;
	buf_init(&text, 0);
	for (size_t i = strlen(REMOTE_TOKEN_VAR); i < name.n; i++) {
		bool two = name.p[i] == '_' && i + 1 < name.n && name.p[i + 1] == '_';

		buf_putc(&text, two ? '-' : name.p[i] == '_' ? '.' : (char)name.p[i]);
		i += two;
	}
	ok = remote_host(buf_str(&text), ret, NULL) == ERR_OK;
	buf_free(&text);
	return ok;
}

/* As people would call the variable of a host; a port cannot be said. */
static void
remote_token_name(const char *host, struct buf *ret)
{
	buf_puts(ret, REMOTE_TOKEN_VAR);
	for (; *host != '\0' && *host != ':'; host++)
		buf_puts(ret, *host == '.' ? "_" : *host == '-' ? "__" : (char[]){ *host, '\0' });
}

/* The last of those that mean this host. */
static bool
remote_sign_in_var(struct remote_sign_in *x)
{
	char      *found = NULL;
	struct buf host;

	buf_init(&host, 0);
	for (char **e = environ; e != NULL && *e != NULL; e++) {
		struct span name = span_of(*e, strcspn(*e, "="));

		buf_reset(&host);
		if (!remote_token_host(name, &host) || strcmp(buf_str(&host), x->r->host) != 0)
			continue;
		free(found);
		found = span_dup(name);
	}
	buf_free(&host);
	if (found == NULL || outside_env(x->r->env, found) == NULL) {
		free(found);
		return false;
	}
	x->token = secret_new(span_str(outside_env(x->r->env, found)));
	x->source = found;
	return true;
}

/* where: it was looked for in vain. */
static enum err_code
remote_sign_in_none(const struct remote_sign_in *x, const char *where, struct err *reterr)
{
	const char *host = x->r->host;
	struct buf  name;

	buf_init(&name, 0);
	remote_token_name(host, &name);
	err_set(reterr, ERR_AUTH, 0, "there is no token for %s, %s", host, where);
	if (strchr(host, ':') != NULL)
		err_hint(reterr, "run \"terraform login %s\" as the agent's user, or give token in the block", host);
	else
		err_hint(reterr, "set %s, or run \"terraform login %s\" as the agent's user", buf_str(&name), host);
	buf_free(&name);
	return ERR_AUTH;
}

/* ---------------------------------------------------------------- a helper */

static bool
remote_helper_is_safe(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && (st.st_mode & (S_IWGRP | S_IWOTH)) == 0 && (st.st_uid == 0 || st.st_uid == geteuid());
}

/* Where terraform looks for it; NULL: it is not there. */
static char *
remote_helper_path(const struct provider_env *env, const char *name)
{
	static const char *const dirs[] = { ".terraform.d/plugins", ".terraform.d/plugins/" REMOTE_PLUGINS };
	const char              *home = outside_env(env, "HOME");

	for (size_t i = 0; home != NULL && i < ARRAY_LEN(dirs); i++) {
		char *path = xasprintf("%s/%s/terraform-credentials-%s", home, dirs[i], name);

		if (access(path, X_OK) == 0)
			return path;
		free(path);
	}
	return NULL;
}

static enum err_code
remote_helper_ask(struct remote_sign_in *x, const struct remote_cli *c, const char *path, struct work_job *job, struct err *reterr)
{
	const char   *words[REMOTE_CLI_WORDS_MAX + 4] = { path };
	size_t        n = 1;
	struct buf    text;
	struct bearer b = { 0 };
	enum err_code rc;

	for (char *const *w = c->words; *w != NULL; w++)
		words[n++] = *w;
	words[n++] = "get";
	words[n++] = x->r->host;
	x->source = xasprintf("credentials helper %s", c->helper);
	buf_init(&text, PROCESS_OUTPUT_MAX);
	buf_reserve(&text, PROCESS_OUTPUT_MAX, NULL);
	rc = process_run(x->source, words, job, &text, reterr);
	if (rc == ERR_OK && bearer_parse(buf_span(&text), "token", x->wall_ms, 0, &b, reterr) != ERR_OK)
		rc = remote_sign_in_none(x, "as the credentials helper says", reterr);
	x->token = b.text;
	buf_wipe_free(&text);
	return rc;
}

static enum err_code
remote_helper(struct remote_sign_in *x, const struct remote_cli *c, struct work_job *job, struct err *reterr)
{
	char         *path = remote_helper_path(x->r->env, c->helper);
	enum err_code rc;

	if (path == NULL) {
		rc = err_set(reterr, ERR_AUTH, 0, "%s: there is no program terraform-credentials-%s", c->helper_file, c->helper);
		err_hint(reterr, "it belongs in .terraform.d/plugins of the agent's user");
	} else if (c->helper_loose || !remote_helper_is_safe(path)) {
		rc = err_set(reterr, ERR_AUTH, 0, "%s: the credentials helper is not run, for others than root and the agent's user may write this",
		    c->helper_loose ? c->helper_file : path);
		err_hint(reterr, "chmod go-w, and chown to the agent's user");
	} else {
		rc = remote_helper_ask(x, c, path, job, reterr);
	}
	free(path);
	return rc;
}

/* ---------------------------------------------------------------- all of it */

static enum err_code
remote_sign_in_files(struct work_job *job, void *arg, struct err *reterr)
{
	struct remote_sign_in *x = arg;
	struct remote_cli      c = { 0 };
	enum err_code          rc = remote_cli_read(x->r->env, x->r->host, &c, reterr);

	if (rc == ERR_OK && c.token != NULL) {
		x->token = c.token;
		x->source = c.token_file;
		c.token = NULL;
		c.token_file = NULL;
	} else if (rc == ERR_OK) {
		rc = c.helper != NULL ? remote_helper(x, &c, job, reterr) :
		    remote_sign_in_none(x, c.gone ? "not in the environment, and the file that TF_CLI_CONFIG_FILE names is not there" :
		    c.only ? "neither in the environment nor where TF_CLI_CONFIG_FILE points" :
		    "neither in the environment nor in terraform's configuration", reterr);
	}
	remote_cli_free(&c);
	return rc;
}

enum remote_sign_in_state { SIGN_IN_START, SIGN_IN_READ };

static const char *const remote_sign_in_states[] = { "start", "read" };

static bool
remote_sign_in_block(struct remote_sign_in *x)
{
	if (x->r->conf->token == NULL || secret_len(x->r->conf->token) == 0)
		return false;
	x->token = secret_new(span_str(secret_str(x->r->conf->token)));
	x->source = xstrdup("token of the block");
	return true;
}

static enum op_turn
remote_sign_in_step(struct op *op)
{
	struct remote_sign_in *x = container_of(op, struct remote_sign_in, op);

	switch ((enum remote_sign_in_state)op->state) {
	case SIGN_IN_START:
		x->wall_ms = loop_wall(op->loop);
		return op_await(op, SIGN_IN_READ, remote_sign_in_block(x) || remote_sign_in_var(x) ? NULL :
		    work_run(x->r->env->work, remote_sign_in_files, x));
	case SIGN_IN_READ:
		if (op_failed(op))
			return op_fail(op);
		*x->ret = x->token;
		*x->ret_source = x->source;
		x->token = NULL;
		x->source = NULL;
		return op_ok(op);
	}
	return OP_DONE;
}

static void
remote_sign_in_free(struct op *op)
{
	struct remote_sign_in *x = container_of(op, struct remote_sign_in, op);

	secret_free(x->token);
	free(x->source);
	free(x);
}

static const struct op_class remote_sign_in_class = { "remote sign in", remote_sign_in_step, NULL, remote_sign_in_free,
	remote_sign_in_states, ARRAY_LEN(remote_sign_in_states) };

struct op *
remote_sign_in(struct remote *r, struct secret **ret, char **ret_source)
{
	struct remote_sign_in *x = xcalloc(1, sizeof(*x));

	op_init(&x->op, &remote_sign_in_class, r->env->loop);
	x->r = r;
	x->ret = ret;
	x->ret_source = ret_source;
	return &x->op;
}
