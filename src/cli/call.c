/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "internal.h"
#include "progress.h"

/* How a command reaches the engine, and how it says what came of it. */

#define CLI_OWNER_WAIT_MS 5000   /* for another short command to end */
#define CLI_OWNER_POLL_MS 100
#define CLI_PIECE         ((size_t)64 << 10)

/* ---------------------------------------------------------------- errors */

void
cli_put(FILE *f, const char *s)
{
	struct buf text;

	buf_init(&text, 0);
	utf8_visible(&text, span_str(s), false);
	fputs(buf_str(&text), f); /* no NUL is visible */
	buf_free(&text);
}

void
cli_text(const char *s)
{
	cli_put(stdout, s);
}

void
cli_say(const char *where, const char *message, const char *hint)
{
	fputs("stateferry: ", stderr);
	cli_put(stderr, where);
	fputs(where[0] != '\0' ? ": " : "", stderr);
	cli_put(stderr, message);
	fputs(hint[0] != '\0' ? "; " : "", stderr);
	cli_put(stderr, hint);
	fputc('\n', stderr);
}

int
cli_error(const struct cli *c, const struct err *e, const char *where)
{
	struct buf doc;

	cli_say(where, e->msg, e->hint);
	if (c->json) {
		buf_init(&doc, 0);
		api_error_json(e, where, &doc);
		printf("%s\n", buf_str(&doc));
		buf_free(&doc);
	}
	return err_exit(e->code);
}

int
cli_usage(const struct cli *c, const char *fmt, ...)
{
	struct err e;
	va_list    ap;

	va_start(ap, fmt);
	err_vset(&e, ERR_USAGE, 0, fmt, ap);
	va_end(ap);
	err_hint(&e, "see \"stateferry help%s%s\"", c->command != NULL && c->command->run != NULL ? " " : "",
	    c->command != NULL && c->command->run != NULL ? c->command->name : "");
	return cli_error(c, &e, "usage");
}

/* ---------------------------------------------------------------- the engine */

void
cli_arg(struct cli_request *r, const char *name, const char *value)
{
	if (value != NULL && r->n < ARRAY_LEN(r->args))
		r->args[r->n++] = (struct api_arg){ name, value };
}

/* One try: as owner, else by asking. ERR_LOCKED: neither could be. */
static enum err_code
cli_try(const struct cli *c, const struct cli_request *r, const struct agent_watch *watch, struct api_reply *ret,
    struct err *reterr)
{
	struct api_request   req = { r->method, r->route, r->args, r->n };
	struct agent_options o;
	struct agent        *a;
	struct err           asked;
	char                *path;

	cli_agent_options(c, r->flags, &o);
	if (agent_open(&o, &a, reterr) == ERR_OK) {
		agent_call(a, &req, watch, ret, reterr);
		agent_close(a);
		return reterr->code;
	}
	path = a != NULL ? xstrdup(agent_settings(a)->socket) : NULL;
	agent_close(a);
	if (reterr->code == ERR_LOCKED && path != NULL && agent_ask(path, &req, watch, ret, &asked) != ERR_NOT_FOUND)
		*reterr = asked;
	free(path);
	return reterr->code;
}

enum err_code
cli_ask(const struct cli *c, const struct cli_request *r, struct api_reply *ret, struct err *reterr)
{
	struct progress           p;
	const struct agent_watch *watch = progress_begin(&p, c, r->progress);

	memset(ret, 0, sizeof(*ret));
	for (int64_t waited = 0;; waited += CLI_OWNER_POLL_MS) {
		err_clear(reterr);
		if (cli_try(c, r, watch, ret, reterr) == ERR_OK || reterr->code != ERR_LOCKED || waited >= CLI_OWNER_WAIT_MS)
			break;
		usleep(CLI_OWNER_POLL_MS * 1000);
	}
	progress_end(&p);
	return reterr->code;
}

int
cli_reach(const struct cli *c, const struct cli_request *r, struct api_reply *ret)
{
	struct err e;

	if (cli_ask(c, r, ret, &e) == ERR_OK)
		return -1;
	if (e.code == ERR_NOT_FOUND && e.hint[0] == '\0')
		err_hint(&e, "is this the right configuration (-c)? \"stateferry sync\" or \"run\" makes the store");
	return cli_error(c, &e, c->command->name);
}

/* ---------------------------------------------------------------- replies */

/* Pieces, because a state may lie in a file. What stdout did not take is said once, at the end of the process. */
int
cli_print_body(const struct cli *c, struct body *b, FILE *out, const char *name)
{
	char      *piece = xmalloc(CLI_PIECE);
	uint64_t   at = 0;
	size_t     n = 0;
	struct err e = { .code = ERR_OK };

	do {
		if (body_read(b, at, piece, CLI_PIECE, &n, &e) != ERR_OK)
			break;
		if (n > 0 && fwrite(piece, 1, n, out) != n)
			err_errno(&e, errno, "%s", name);
		at += n;
	} while (n > 0 && e.code == ERR_OK);
	if (e.code == ERR_OK && fflush(out) != 0)
		err_errno(&e, errno, "%s", name);
	mem_wipe(piece, CLI_PIECE);
	free(piece);
	if (out == stdout && ferror(stdout) != 0)
		return 1;
	return e.code == ERR_OK ? 0 : cli_error(c, &e, c->command->name);
}

static void
cli_print_json(const struct cli *c, const struct api_reply *r)
{
	cli_print_body(c, r->body, stdout, "stdout");
	putchar('\n');
}

/* Errors of the command are said here. *ret_doc NULL: no document. */
int
cli_reply_exit(const struct cli *c, const struct api_reply *r, json_t **ret_doc)
{
	struct err e;
	json_t    *doc = r->type != NULL && strcmp(r->type, "application/json") == 0 ? cli_load(r) : NULL;
	json_t    *error = json_object_get(doc, "error");

	*ret_doc = doc;
	if (error != NULL) {
		cli_say(cli_str(error, "where"), cli_str(error, "message"), cli_str(error, "hint"));
		if (c->json)
			cli_print_json(c, r);
		return (int)cli_num(error, "code");
	}
	if (doc == NULL && r->type != NULL && strcmp(r->type, "application/json") == 0) {
		err_set(&e, ERR_CORRUPT, 0, "the answer is no document");
		return cli_error(c, &e, c->command->name);
	}
	return r->exit;
}

json_t *
cli_document(const struct cli *c, const struct cli_request *r, int *ret_exit)
{
	struct api_reply reply;
	json_t          *doc = NULL;

	if ((*ret_exit = cli_reach(c, r, &reply)) != -1)
		return NULL;
	*ret_exit = cli_reply_exit(c, &reply, &doc);
	api_reply_free(&reply);
	if (json_object_get(doc, "error") == NULL)
		return doc;
	json_decref(doc);
	return NULL;
}

void
cli_print_document(const struct cli *c, const struct api_reply *r, const json_t *doc,
    void (*text)(const struct cli *c, const json_t *doc))
{
	if (!c->json) {
		text(c, doc);
		return;
	}
	cli_print_json(c, r);
}

int
cli_call(const struct cli *c, const struct cli_request *r, void (*text)(const struct cli *c, const json_t *doc))
{
	struct api_reply reply;
	json_t          *doc;
	int              rc;

	if ((rc = cli_reach(c, r, &reply)) != -1)
		return rc;
	rc = cli_reply_exit(c, &reply, &doc);
	if (doc != NULL && json_object_get(doc, "error") == NULL)
		cli_print_document(c, &reply, doc, text);
	json_decref(doc);
	api_reply_free(&reply);
	return rc;
}

bool
cli_may_ask(const struct cli *c)
{
	return cli_value(c, "yes") != NULL || (isatty(STDIN_FILENO) == 1 && isatty(STDERR_FILENO) == 1);
}

int
cli_confirm(const struct cli *c, const char *word)
{
	char line[1300];

	if (cli_value(c, "yes") != NULL)
		return -1;
	if (!cli_may_ask(c))
		return cli_usage(c, "%s asks first, and this is no terminal; nothing was done, give --yes", c->command->name);
	fprintf(stderr, "Type \"%s\" to go on: ", word);
	if (fgets(line, sizeof(line), stdin) != NULL) {
		line[strcspn(line, "\n")] = '\0';
		if (strcmp(line, word) == 0)
			return -1;
	}
	return cli_usage(c, "that is not \"%s\"; nothing was done", word);
}

const char *
cli_paint(const struct cli *c, const char *code)
{
	return c->color ? code : "";
}
