/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "internal.h"
#include "progress.h"

#define SYNC_RUN_OWNER_MS 60000   /* run waits so long for an owner to go */
#define SYNC_OWNER_MS     5000    /* sync for a short command */
#define SYNC_POLL_MS      100

int
cli_run(struct cli *c)
{
	struct agent_options o;
	struct agent        *a;
	struct err           e = { .code = ERR_OK };
	int                  rc;

	cli_agent_options(c, CLI_MAKES_STORE | CLI_SERVES, &o);
	o.log_json = c->json ? 1 : -1;
	o.wait_ms = SYNC_RUN_OWNER_MS;
	rc = agent_open(&o, &a, &e) == ERR_OK ? agent_run(a) : cli_error(c, &e, "run");
	agent_close(a);
	return rc;
}

/* Is the owner an agent that may be asked for a pass? */
static bool
sync_beside_run(const char *socket)
{
	struct api_reply r;
	struct err       e;
	bool             running;
	json_t          *doc;

	if (agent_ask(socket, &(struct api_request){ "GET", "agent", NULL, 0 }, NULL, &r, &e) != ERR_OK)
		return false;
	doc = cli_load(&r);
	running = cli_bool(json_object_get(doc, "agent"), "running");
	json_decref(doc);
	api_reply_free(&r);
	return running;
}

static enum err_code
sync_try(const struct cli *c, const struct api_request *req, const struct agent_watch *watch, struct api_reply *ret,
    struct err *reterr)
{
	struct agent_options o;
	struct agent        *a;
	char                *path;

	cli_agent_options(c, CLI_MAKES_STORE | CLI_SERVES, &o);
	if (agent_open(&o, &a, reterr) == ERR_OK) {
		agent_call(a, req, watch, ret, reterr);
		agent_close(a);
		return reterr->code;
	}
	path = a != NULL ? xstrdup(agent_settings(a)->socket) : NULL;
	agent_close(a);
	if (reterr->code == ERR_LOCKED && path != NULL && sync_beside_run(path))
		agent_ask(path, req, watch, ret, reterr);
	free(path);
	return reterr->code;
}

/* A sync that came to nothing is an error like any other: one sentence, where cron and people look for it. One that came to something has
 * warned in the log, but for -q. */
static void
sync_complain(const struct cli *c, const json_t *doc)
{
	const json_t *p = json_array_get(json_object_get(doc, "problems"), 0);
	const char   *state = cli_str(p, "state");
	long long     exit = json_integer_value(json_object_get(doc, "exit_code"));
	char         *where;

	if (p == NULL || exit == 0 || (exit == 3 && !c->quiet))
		return;
	where = xasprintf("%s%s%s", cli_str(p, "edge"), state[0] != '\0' ? " " : "", state);
	cli_say(where, cli_str(p, "message"), cli_str(p, "hint"));
	free(where);
}

static void
sync_edge_text(const json_t *e)
{
	printf("%s: %.0f states, %.0f changed", cli_str(e, "name"), cli_num(e, "seen"), cli_num(e, "changed"));
	if (cli_num(e, "uncovered") > 0)
		printf(", %.0f uncovered", cli_num(e, "uncovered"));
	printf("; %.0f written, %.0f unchanged, %.0f held, %.0f failed; %.0f bytes, %.0f requests, %.2f s\n", cli_num(e, "written"),
	    cli_num(e, "unchanged"), cli_num(e, "held"), cli_num(e, "failed"), cli_num(e, "bytes"), cli_num(e, "requests"),
	    cli_num(e, "seconds"));
}

static void
sync_text(const struct cli *c, const json_t *doc)
{
	json_t *e;
	size_t  i;
	char    serial[CLI_DIGITS_MAX];

	json_array_foreach(json_object_get(doc, "plan"), i, e) {
		bool probe = cli_bool(e, "probe");

		cli_text(cli_str(e, "edge"));
		printf(": would ");
		if (probe) {
			printf("probe ");
			cli_text(cli_str(e, "target"));
			printf(", then, if it enforces preconditions, ");
		}
		printf("write ");
		cli_text(cli_str(e, "state"));
		printf(" to ");
		cli_text(cli_str(e, "target"));
		printf(", serial %s, %.0f bytes\n", cli_digits(e, "serial", serial), cli_num(e, "bytes"));
	}
	json_array_foreach(json_object_get(doc, "edges"), i, e)
		sync_edge_text(e);
	if (json_array_size(json_object_get(doc, "edges")) == 0)
		printf("nothing to do: the configuration has no replicate and no snapshot block\n");
	json_array_foreach(json_object_get(doc, "problems"), i, e)
		cli_problem(c, e);
}

static void
sync_report(const struct cli *c, const json_t *doc)
{
	sync_text(c, doc);
	sync_complain(c, doc);
}

static int
sync_say(const struct cli *c, struct api_reply *r)
{
	json_t *doc;
	int     rc = cli_reply_exit(c, r, &doc);

	if (doc != NULL && json_object_get(doc, "error") == NULL)
		cli_print_document(c, r, doc, sync_report);
	json_decref(doc);
	api_reply_free(r);
	return rc;
}

/* Again and again while the owner is a short command. */
static enum err_code
sync_reach(const struct cli *c, const struct api_request *req, struct api_reply *ret, struct err *reterr)
{
	struct progress           p;
	const struct agent_watch *watch = progress_begin(&p, c, PROGRESS_PASS);

	for (int64_t waited = 0;; waited += SYNC_POLL_MS) {
		err_clear(reterr);
		if (sync_try(c, req, watch, ret, reterr) == ERR_OK || reterr->code != ERR_LOCKED || waited >= SYNC_OWNER_MS)
			break;
		usleep(SYNC_POLL_MS * 1000);
	}
	progress_end(&p);
	return reterr->code;
}

int
cli_sync(struct cli *c)
{
	struct cli_request q = { .method = "POST", .route = "sync" };
	struct api_reply   r = { .status = 0 };
	struct err         e;

	for (int i = 0; i < c->nwords; i++)
		cli_arg(&q, "edge", c->words[i]);
	cli_arg(&q, "dry_run", cli_value(c, "dry-run"));
	cli_arg(&q, "max_age", cli_value(c, "max-age"));
	if (sync_reach(c, &(struct api_request){ q.method, q.route, q.args, q.n }, &r, &e) != ERR_OK)
		return cli_error(c, &e, "sync");
	return sync_say(c, &r);
}
