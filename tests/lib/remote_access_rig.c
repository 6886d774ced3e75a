/* SPDX-License-Identifier: MIT */
#include "remote_access_rig.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crypt.h"
#include "run_op.h"
#include "test.h"

#define RIG_WALL ((int64_t)1795000000000)

extern char **environ;

/* Whatever this machine says is none of the test's business. */
static void
rig_clean(const char *home)
{
	static const char *const names[] = { "TF_CLI_CONFIG_FILE", "TERRAFORM_CONFIG", "XDG_CONFIG_HOME" };
	char                     name[256];

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		unsetenv(names[i]);
	for (char **e = environ; *e != NULL; e++) {
		if (strncmp(*e, "TF_TOKEN_", 9) != 0)
			continue;
		snprintf(name, sizeof(name), "%.*s", (int)strcspn(*e, "="), *e);
		unsetenv(name);
		e = environ - 1;
	}
	setenv("HOME", home, 1);
}

void
remote_access_rig_open(struct remote_access_rig *g, const char *host)
{
	static unsigned count;

	memset(g, 0, sizeof(*g));
	CHECK_OK(crypto_init(&g->err), g->err);
	g->home = xasprintf("%s/home-%u", test_tmpdir(), ++count);
	CHECK(mkdir(g->home, 0700) == 0);
	rig_clean(g->home);
	g->loop = loop_new_virtual(1, RIG_WALL);
	g->work = work_new(g->loop);
	g->http = scripted_http_new(g->loop);
	g->env = (struct provider_env){ .loop = g->loop, .work = g->work, .http = scripted_http_client(g->http), .agent_name = "rig" };
	g->r.env = g->r.b.env = &g->env;
	g->r.conf = &g->conf;
	g->r.host = xstrdup(host);
}

static void
rig_forget(struct remote_access_rig *g)
{
	secret_free(g->token);
	free(g->source);
	free(g->base);
	g->token = NULL;
	g->source = g->base = NULL;
}

void
remote_access_rig_close(struct remote_access_rig *g)
{
	scripted_http_check(g->http);
	rig_forget(g);
	scripted_http_free(g->http);
	work_free(g->work);
	loop_free(g->loop);
	free(g->r.host);
	free(g->home);
}

const char *
remote_access_rig_file(struct remote_access_rig *g, const char *path, unsigned mode, const char *text)
{
	static char whole[512];
	FILE       *f;

	snprintf(whole, sizeof(whole), "%s/%s", g->home, path);
	for (char *slash = whole + strlen(g->home) + 1; (slash = strchr(slash, '/')) != NULL; *slash++ = '/') {
		*slash = '\0';
		mkdir(whole, 0700);
	}
	f = fopen(whole, "w");
	CHECK(f != NULL);
	fputs(text, f);
	CHECK(fclose(f) == 0 && chmod(whole, mode) == 0);
	return whole;
}

enum err_code
remote_access_rig_sign_in(struct remote_access_rig *g)
{
	rig_forget(g);
	g->err = run_op(g->loop, remote_sign_in(&g->r, &g->token, &g->source), 60000);
	CHECK((g->err.code == ERR_OK) == (g->token != NULL));
	return g->err.code;
}

enum err_code
remote_access_rig_discover(struct remote_access_rig *g, const char *token)
{
	struct secret *s = token != NULL ? secret_new(span_str(token)) : NULL;
	struct op     *op;

	rig_forget(g);
	err_clear(&g->err);
	op = remote_discover(&g->r, s, "somewhere", &g->base);
	if (op != NULL)
		g->err = run_op(g->loop, op, 60000);
	secret_free(s);
	CHECK((g->err.code == ERR_OK) == (g->base != NULL));
	return g->err.code;
}
