/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "internal.h"

/* Commands that change something a person decided: restore, unlock, quarantine, resolve, adopt. */

/* What was decided, in one line: a decision that had nothing to do says so, too. */
static void
change_decision(const json_t *doc)
{
	json_t *change, *changes = json_object_get(doc, "changes");
	size_t  i;

	cli_text(cli_str(doc, "released"));
	cli_text(cli_str(doc, "dropped"));
	cli_text(cli_str(doc, "resolved"));
	if (json_object_get(doc, "released") != NULL && json_is_number(json_object_get(doc, "head")))
		printf(": version %.0f is the head\n", cli_num(doc, "head"));
	else if (json_object_get(doc, "released") != NULL)
		printf(" is released\n");
	else if (json_object_get(doc, "dropped") != NULL)
		printf("@%.0f is removed\n", cli_num(doc, "version"));
	else if (json_object_get(doc, "resolved") != NULL)
		printf(" is written by %s\n", cli_str(doc, "edge"));
	else if (json_array_size(changes) == 0)
		printf("nothing was to do\n");
	json_array_foreach(changes, i, change) {
		cli_text(json_string_value(change));
		putchar('\n');
	}
}

/* One restored state, or what would become of it. Where nothing was, or no state, nothing can be counted. */
static void
change_restored(const json_t *v, FILE *out)
{
	char before[CLI_DIGITS_MAX], after[CLI_DIGITS_MAX];

	if (cli_has(v, "writes"))
		cli_put(out, cli_str(v, "state"));
	else
		fprintf(out, "version %.0f", cli_num(v, "from"));
	fputs(" -> ", out);
	cli_put(out, cli_str(v, "to"));
	cli_digits(v, "serial_after", after);
	if (cli_has(v, "path")) {
		fprintf(out, ": serial %s, %.0f bytes\n", after, cli_num(v, "bytes"));
		return;
	}
	if (cli_has(v, "serial_before"))
		fprintf(out, ": serial %s -> %s", cli_digits(v, "serial_before", before), after);
	else
		fprintf(out, ": no state was there, serial %s", after);
	if (json_is_number(json_object_get(v, "changed_resources")))
		fprintf(out, ", %.0f resources change", cli_num(v, "changed_resources"));
	if (cli_has(v, "writes") && !cli_bool(v, "writes"))
		fputs("; it is there already", out);
	if (cli_has(v, "source_locked") && !cli_bool(v, "source_locked"))
		fputs("; the source cannot be locked", out);
	fprintf(out, "%s\n", cli_bool(v, "probe") ? "; the backend would be probed first" : "");
}

void
cli_print_restores(const json_t *list, FILE *out)
{
	json_t *v, *error;
	size_t  i;

	json_array_foreach(list, i, v) {
		if (json_is_object(error = json_object_get(v, "error"))) {
			cli_say(cli_str(v, "state"), cli_str(error, "message"), cli_str(error, "hint"));
			continue;
		}
		change_restored(v, out);
	}
}

static void
change_text(const struct cli *c, const json_t *doc)
{
	const json_t *list = json_object_get(doc, "result");

	(void)c;
	if (list == NULL)
		list = json_object_get(doc, "plan");
	cli_print_restores(list, stdout);
	if (list == NULL)
		change_decision(doc);
}

/* ---------------------------------------------------------------- restore */

static int
restore_file_error(const struct cli *c, const char *path)
{
	struct err e;

	err_errno(&e, errno, "%s", path);
	if (errno == EEXIST)
		err_hint(&e, "name a file that does not exist yet");
	return cli_error(c, &e, "restore");
}

/* A file that is there is never overwritten. */
static int
restore_save(const struct cli *c, struct body *bytes, const char *path)
{
	int   rc, fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	FILE *f = fd < 0 ? NULL : fdopen(fd, "wb");

	if (f == NULL)
		return restore_file_error(c, path);
	rc = cli_print_body(c, bytes, f, path);
	if (rc == 0 && fsync(fd) != 0)
		rc = restore_file_error(c, path);
	if (fclose(f) != 0 && rc == 0)
		rc = restore_file_error(c, path);
	if (rc != 0)
		unlink(path);
	return rc;
}

/* The exact bytes of the version that facts tell: by its number, whatever the head is by now. */
static int
restore_bytes(const struct cli *c, const json_t *facts, const char *path)
{
	struct cli_request r = { .method = "GET", .route = "cat" };
	struct api_reply   reply;
	json_t            *doc;
	char              *state = xasprintf("%s@%.0f", cli_str(facts, "state"), cli_num(facts, "version"));
	int                rc;

	cli_arg(&r, "state", state);
	if ((rc = cli_reach(c, &r, &reply)) == -1) {
		if (reply.status == 200) {
			rc = restore_save(c, reply.body, path);
		} else {
			rc = cli_reply_exit(c, &reply, &doc);
			json_decref(doc);
		}
		api_reply_free(&reply);
	}
	free(state);
	return rc;
}

static int
restore_out(const struct cli *c, struct cli_request *r, const char *path)
{
	struct api_reply reply;
	json_t          *doc;
	int              rc;

	r->method = "GET";
	cli_arg(r, "path", path);
	if ((rc = cli_reach(c, r, &reply)) != -1)
		return rc;
	if ((rc = cli_reply_exit(c, &reply, &doc)) == 0 &&
	    (rc = restore_bytes(c, json_array_get(json_object_get(doc, "result"), 0), path)) == 0)
		cli_print_document(c, &reply, doc, change_text);
	json_decref(doc);
	api_reply_free(&reply);
	return rc;
}

#define RESTORE_SOME 3 /* exit code: some of them could be done */

int
cli_preview_restores(const struct cli *c, const struct cli_request *r)
{
	struct cli_request dry = *r;
	json_t            *doc;
	int                rc;

	if (cli_value(c, "yes") != NULL || !cli_may_ask(c))
		return -1;
	cli_arg(&dry, "dry_run", "1");
	if ((doc = cli_document(c, &dry, &rc)) == NULL)
		return rc;
	cli_print_restores(json_object_get(doc, "plan"), stderr);
	json_decref(doc);
	return rc == 0 || rc == RESTORE_SOME ? -1 : rc;
}

int
cli_restore(struct cli *c)
{
	struct cli_request r = { .method = "POST", .route = "restore", .progress = PROGRESS_RESTORE };
	const char        *raw = cli_value(c, "state"), *out = cli_value(c, "out"), *at = cli_value(c, "at");
	bool               all = cli_value(c, "all") != NULL;
	int                rc;

	if ((c->nwords > 0) + (raw != NULL) + all != 1)
		return cli_usage(c, "restore takes one of STATE@V, --state NAME, or --all with --at TIME");
	if (all && at == NULL)
		return cli_usage(c, "--all needs --at TIME");
	if (out != NULL && (all || at != NULL || cli_value(c, "to") != NULL || cli_value(c, "dry-run") != NULL))
		return cli_usage(c, "--out goes with STATE@V alone");
	cli_arg(&r, raw != NULL ? "name" : "state", raw != NULL ? raw : c->nwords > 0 ? c->words[0] : NULL);
	if (out != NULL)
		return restore_out(c, &r, out);
	cli_arg(&r, "at", at);
	cli_arg(&r, "all", cli_value(c, "all"));
	cli_arg(&r, "to", cli_value(c, "to"));
	cli_arg(&r, "keep_serial", cli_value(c, "keep-serial"));
	cli_arg(&r, "dry_run", cli_value(c, "dry-run"));
	if (cli_value(c, "dry-run") == NULL && ((rc = cli_preview_restores(c, &r)) != -1 ||
	    (rc = cli_confirm(c, all ? "all" : raw != NULL ? raw : c->words[0])) != -1))
		return rc;
	return cli_call(c, &r, change_text);
}

/* ---------------------------------------------------------------- the others */

/* The lock of an answer, in one line. */
static void
unlock_print(const json_t *doc, FILE *out)
{
	const json_t    *l = json_object_get(doc, "lock");
	struct lock_info lock;
	struct buf       text;

	memset(&lock, 0, sizeof(lock));
	snprintf(lock.id, sizeof(lock.id), "%s", cli_str(l, "id"));
	snprintf(lock.who, sizeof(lock.who), "%s", cli_str(l, "who"));
	snprintf(lock.operation, sizeof(lock.operation), "%s", cli_str(l, "operation"));
	snprintf(lock.created, sizeof(lock.created), "%s", cli_str(l, "created"));
	buf_init(&text, 0);
	lock_info_print(&lock, &text);
	fprintf(out, "locked by %s", buf_str(&text));
	if (cli_str(l, "as_of")[0] != '\0')
		fprintf(out, "; last seen %s", cli_str(l, "as_of"));
	buf_free(&text);
}

static void
unlock_text(const struct cli *c, const json_t *doc)
{
	const json_t *kept = json_object_get(doc, "kept");
	char          version[CLI_DIGITS_MAX];

	(void)c;
	cli_text(cli_str(doc, "unlocked"));
	printf(" is unlocked; it was ");
	unlock_print(doc, stdout);
	putchar('\n');
	if (json_is_object(kept)) {
		printf("what it held is kept as ");
		cli_text(cli_str(kept, "state"));
		printf("@%s\n", cli_digits(kept, "version", version));
	}
}

/* What is about to be broken, before anybody is asked. */
static int
unlock_show(const struct cli *c, const struct cli_request *r)
{
	int     rc;
	json_t *doc = cli_document(c, r, &rc);

	if (doc == NULL)
		return rc;
	fprintf(stderr, "%s is ", cli_str(doc, "state"));
	if (json_is_object(json_object_get(doc, "lock")))
		unlock_print(doc, stderr);
	else
		fprintf(stderr, "locked by nobody that is known: this protocol cannot show a lock");
	fputc('\n', stderr);
	json_decref(doc);
	return -1;
}

int
cli_unlock(struct cli *c)
{
	struct cli_request r = { .method = "GET", .route = "unlock", .flags = CLI_MAKES_STORE };
	const char        *raw = cli_value(c, "state"), *id;
	int                rc, first = raw == NULL;

	if (c->nwords < first || c->nwords > first + 1)
		return cli_usage(c, "unlock takes STATE [ID], or --state NAME [ID]");
	id = c->nwords > first ? c->words[first] : NULL;
	cli_arg(&r, raw != NULL ? "name" : "state", raw != NULL ? raw : c->words[0]);
	cli_arg(&r, "id", id);
	if (id != NULL && cli_may_ask(c) && (rc = unlock_show(c, &r)) != -1)
		return rc;
	if (id != NULL && (rc = cli_confirm(c, id)) != -1)
		return rc;
	r.method = "POST";
	return cli_call(c, &r, unlock_text);
}

static void
quarantine_text(const struct cli *c, const json_t *doc)
{
	json_t *q;
	size_t  i;
	char    serial[CLI_DIGITS_MAX];

	(void)c;
	json_array_foreach(json_object_get(doc, "quarantine"), i, q) {
		cli_text(cli_str(q, "backend"));
		putchar(':');
		cli_text(cli_str(q, "name"));
		printf("@%.0f  serial %s  %s: ", cli_num(q, "version"), cli_digits(q, "serial", serial), cli_str(q, "verdict"));
		cli_text(cli_str(q, "reason"));
		printf(", since %s\n      next: ", cli_str(q, "seen"));
		cli_text(cli_str(q, "hint"));
		putchar('\n');
	}
	if (json_array_size(json_object_get(doc, "quarantine")) == 0)
		printf("no version of a source is held back; replicas that are, stateferry status shows\n");
}

int
cli_quarantine(struct cli *c)
{
	struct cli_request r = { .method = "GET", .route = "quarantine" };
	const char        *verb = c->words[0], *raw = cli_value(c, "state");
	int                rc;

	if (strcmp(verb, "ls") == 0 && c->nwords == 1 && raw == NULL)
		return cli_call(c, &r, quarantine_text);
	if (strcmp(verb, "drop") == 0 && raw != NULL)
		return cli_usage(c, "--state goes with release: drop needs a version, STATE@V");
	if ((strcmp(verb, "release") != 0 && strcmp(verb, "drop") != 0) || c->nwords != (raw != NULL ? 1 : 2))
		return cli_usage(c, "quarantine takes %s", c->command->args);
	if (strcmp(verb, "drop") == 0 && strchr(c->words[1], '@') == NULL)
		return cli_usage(c, "drop needs a version, %s@V: \"stateferry quarantine ls\" names them", c->words[1]);
	r.method = "POST";
	r.route = verb;
	cli_arg(&r, raw != NULL ? "name" : "state", raw != NULL ? raw : c->words[1]);
	if (strcmp(verb, "drop") == 0 && (rc = cli_confirm(c, c->words[1])) != -1)
		return rc;
	return cli_call(c, &r, change_text);
}

/* What would happen, before it is asked for; only where somebody can read and answer. */
static int
change_preview(const struct cli *c, const struct cli_request *r, const char *list)
{
	json_t *doc, *v;
	size_t  i;
	int     rc;

	if (cli_value(c, "yes") != NULL || isatty(STDIN_FILENO) != 1)
		return -1;
	if ((doc = cli_document(c, r, &rc)) == NULL)
		return rc;
	json_array_foreach(json_object_get(doc, list), i, v) {
		cli_put(stderr, json_is_string(v) ? json_string_value(v) : cli_str(v, "backend"));
		fputs(json_is_string(v) ? "" : ":", stderr);
		cli_put(stderr, cli_str(v, "name"));
		fputs(json_is_string(v) ? "" : ": ", stderr);
		cli_put(stderr, cli_str(v, "reason"));
		fputc('\n', stderr);
	}
	json_decref(doc);
	return -1;
}

int
cli_resolve(struct cli *c)
{
	struct cli_request r = { .method = "GET", .route = "resolve" };
	int                rc;

	if (cli_value(c, "overwrite") == NULL)
		return cli_usage(c, "resolve needs --overwrite: the target's bytes are kept as a version, then overwritten");
	cli_arg(&r, "edge", c->words[0]);
	cli_arg(&r, "state", c->words[1]);
	if ((rc = change_preview(c, &r, "held")) != -1 || (rc = cli_confirm(c, c->words[1])) != -1)
		return rc;
	r.method = "POST";
	cli_arg(&r, "target", cli_value(c, "target"));
	return cli_call(c, &r, change_text);
}

int
cli_adopt(struct cli *c)
{
	struct cli_request r = { .method = "GET", .route = "adopt" };
	int                rc;

	if ((rc = change_preview(c, &r, "changes")) != -1 || (rc = cli_confirm(c, "adopt")) != -1)
		return rc;
	r.method = "POST";
	return cli_call(c, &r, change_text);
}
