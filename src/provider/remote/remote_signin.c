/* SPDX-License-Identifier: MIT */
#include <dirent.h>
#include <stdio.h>
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
#define REMOTE_HELPER    "terraform-credentials-"

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
	struct remote_cli cli;
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

#define REMOTE_LOGIN_FILE "credentials.tfrc.json" /* where "terraform login" writes */

enum err_code
remote_token_hint(const struct remote *r, const char *source, struct err *reterr)
{
	if (span_ends(span_str(source), "/" REMOTE_LOGIN_FILE))
		return err_hint(reterr, "it is wrong, expired or revoked: \"terraform login %s\" makes a new one", r->host);
	return err_hint(reterr, "it is wrong, expired or revoked: put a new one where it is from, %s", source);
}

/* Where one could be put, and would be found. What login writes is not read when a variable names another file. */
static void
remote_sign_in_where(const struct remote_sign_in *x, const struct remote_cli *c, struct buf *ret)
{
	const char *host = x->r->host;

	if (c->trouble != NULL)
		buf_printf(ret, "repair %s; or ", c->trouble);
	if (strchr(host, ':') == NULL) { /* a port cannot be said */
		buf_puts(ret, "set ");
		remote_token_name(host, ret);
		buf_puts(ret, ", or ");
	}
	if (c->only != NULL)
		buf_printf(ret, "write credentials \"%s\" { token = ... } into %s, which %s names", host, c->only_file, c->only);
	else
		buf_printf(ret, "run \"terraform login %s\" as the agent's user", host);
	if (strchr(host, ':') != NULL)
		buf_puts(ret, ", or give token in the block");
}

/* where: it was looked for in vain. */
static enum err_code
remote_sign_in_none(const struct remote_sign_in *x, const struct remote_cli *c, const char *where, struct err *reterr)
{
	struct buf how;

	buf_init(&how, 0);
	remote_sign_in_where(x, c, &how);
	err_set(reterr, ERR_AUTH, 0, "there is no token for %s, %s", x->r->host, where);
	err_hint(reterr, "%s", buf_str(&how));
	buf_free(&how);
	return ERR_AUTH;
}

/* ---------------------------------------------------------------- a helper */

static bool
remote_helper_is_safe(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && (st.st_mode & (S_IWGRP | S_IWOTH)) == 0 && (st.st_uid == 0 || st.st_uid == geteuid());
}

/* The newest of what is seen. */
struct remote_program {
	char    *path;
	unsigned version[3];
	char     before[32];   /* "rc1" of "-rc1": before the version itself, which has "" */
};

/* "" or "_v1.2.3-rc1_x4" of its file's name: as terraform's plug-ins are called. false: it is another's. */
static bool
remote_program_version(const char *text, struct remote_program *ret)
{
	char *end;

	if (text[0] == '\0')
		return true;
	if (strncasecmp(text, "_v", 2) != 0 || text[2] < '0' || text[2] > '9')
		return false;
	end = (char *)(uintptr_t)text + 1;
	for (size_t i = 0; i < ARRAY_LEN(ret->version) && (i == 0 || *end == '.'); i++)
		ret->version[i] = (unsigned)strtoul(end + 1, &end, 10);
	if (*end == '-')
		snprintf(ret->before, sizeof(ret->before), "%.*s", (int)strcspn(end + 1, "_"), end + 1);
	return *end == '\0' || *end == '-' || *end == '+' || strncasecmp(end, "_x", 2) == 0;
}

static bool
remote_program_is_newer(const struct remote_program *a, const struct remote_program *b)
{
	for (size_t i = 0; i < ARRAY_LEN(a->version); i++)
		if (a->version[i] != b->version[i])
			return a->version[i] > b->version[i];
	if (a->before[0] == '\0' || b->before[0] == '\0')
		return a->before[0] == '\0' && b->before[0] != '\0';
	return strcmp(a->before, b->before) > 0;
}

/* Those of one folder. */
static void
remote_helper_look(const char *folder, const char *name, struct remote_program *best)
{
	DIR                 *d = opendir(folder);
	const struct dirent *e;
	size_t               n = strlen(REMOTE_HELPER), len = strlen(name);

	while (d != NULL && (e = readdir(d)) != NULL) {
		struct remote_program one = { .path = NULL };
		struct stat           st;

		if (strncmp(e->d_name, REMOTE_HELPER, n) != 0 || strncasecmp(e->d_name + n, name, len) != 0 ||
		    !remote_program_version(e->d_name + n + len, &one) || (best->path != NULL && !remote_program_is_newer(&one, best)))
			continue;
		one.path = xasprintf("%s/%s", folder, e->d_name);
		if (stat(one.path, &st) != 0 || !S_ISREG(st.st_mode)) {
			free(one.path);
			continue;
		}
		free(best->path);
		*best = one;
	}
	if (d != NULL)
		closedir(d);
}

/* Where terraform looks for it, and of several the newest, as terraform takes it; NULL: it is not there. */
static char *
remote_helper_path(const struct provider_env *env, const char *name)
{
	static const char *const dirs[] = { ".terraform.d/plugins", ".terraform.d/plugins/" REMOTE_PLUGINS };
	const char              *home = outside_env(env, "HOME");
	struct remote_program    best = { .path = NULL };

	for (size_t i = 0; home != NULL && i < ARRAY_LEN(dirs); i++) {
		char *folder = xasprintf("%s/%s", home, dirs[i]);

		remote_helper_look(folder, name, &best);
		free(folder);
	}
	return best.path;
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
		rc = remote_sign_in_none(x, c, "as the credentials helper says", reterr);
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
	struct remote_cli     *c = &x->cli;

	remote_cli_read(x->r->env, x->r->host, c);
	if (c->token == NULL && c->helper != NULL)
		return remote_helper(x, c, job, reterr);
	if (c->token == NULL)
		return remote_sign_in_none(x, c, c->gone ? "not in the environment, and terraform's configuration file is not there" :
		    "neither in the environment nor in terraform's configuration", reterr);
	x->token = c->token;
	x->source = c->token_file;
	c->token = NULL;
	c->token_file = NULL;
	return ERR_OK;
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
		remote_cli_warn(x->r, &x->cli);
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
	remote_cli_free(&x->cli);
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
