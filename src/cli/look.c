/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "internal.h"

/* Commands that look: status, list, log, cat, locks, lease, check, probe. */

/* BACKEND:STATE (EDGE), as far as the problem is about one. */
static void
cli_problem_where(const struct cli *c, const json_t *p)
{
	const char *backend = cli_str(p, "backend"), *state = cli_str(p, "state"), *edge = cli_str(p, "edge");
	bool        named = backend[0] != '\0' || state[0] != '\0';

	if (!named && edge[0] == '\0')
		return;
	fputs(cli_paint(c, "\033[31m"), stdout);
	cli_text(backend);
	if (state[0] != '\0' && backend[0] != '\0')
		putchar(':');
	cli_text(state);
	if (edge[0] != '\0') {
		fputs(named ? " (" : "", stdout);
		cli_text(edge);
		fputs(named ? ")" : "", stdout);
	}
	printf("%s: ", cli_paint(c, "\033[0m"));
}

void
cli_problem(const struct cli *c, const json_t *p)
{
	const char *cause = cli_str(p, "cause"), *next = cli_str(p, "next"), *since = cli_str(p, "since");

	if (cause[0] == '\0')
		cause = cli_str(p, "message");
	if (next[0] == '\0')
		next = cli_str(p, "hint");
	fputs("  ", stdout);
	cli_problem_where(c, p);
	cli_text(cause);
	if (since[0] != '\0')
		printf(", since %s", since);
	putchar('\n');
	if (next[0] != '\0') {
		printf("      next: ");
		cli_text(next);
		putchar('\n');
	}
}

static void
cli_problems(const struct cli *c, const json_t *doc)
{
	json_t *p;
	size_t  i;

	json_array_foreach(json_object_get(doc, "problems"), i, p)
		cli_problem(c, p);
}

void
cli_leases(const struct cli *c, const json_t *doc, const char *indent)
{
	json_t *l;
	size_t  i;
	char    left[TIME_TEXT_MAX];

	(void)c;
	json_array_foreach(json_object_get(doc, "leases"), i, l) {
		const char *standing = cli_str(l, "standing");

		printf("%slease of ", indent);
		cli_text(cli_str(l, "edge"));
		printf(" at ");
		cli_text(cli_str(l, "backend"));
		printf(": ");
		if (cli_has(l, "holder")) {
			printf("held by ");
			cli_text(cli_str(l, "name"));
			printf("%s since %s", strcmp(standing, "ours") == 0 ? ", this agent," : "", cli_has(l, "since") ? cli_str(l, "since") : "?");
		} else {
			printf("%s", strcmp(standing, "unread") == 0 ? "not known whose" : "nobody's");
		}
		printf(", epoch %.0f, %.0f transitions", cli_num(l, "epoch"), cli_num(l, "transitions"));
		if (cli_has(l, "expires_seconds"))
			printf(", free in %s unless renewed", duration_format((int64_t)(cli_num(l, "expires_seconds") * 1000), left));
		if (strcmp(standing, "released") == 0 || strcmp(standing, "yielded") == 0)
			printf(", %s here", standing);
		putchar('\n');
	}
}

static void
cli_status_text(const struct cli *c, const json_t *doc)
{
	const json_t *r = json_object_get(doc, "replicas"), *agent = json_object_get(doc, "agent");
	const char   *verdict = cli_str(doc, "verdict");
	bool          ok = strcmp(verdict, "ok") == 0;
	double        lag = cli_num(doc, "oldest_lag_seconds"), uncovered = cli_num(doc, "uncovered");
	bool          none = uncovered > 0 && uncovered >= cli_num(doc, "states");
	char          age[TIME_TEXT_MAX];

	printf("%s", cli_paint(c, ok ? "\033[32m" : "\033[33m"));
	if (none)
		printf("0 of %.0f states covered%s", uncovered, strcmp(verdict, "failing") == 0 ? ", failing" : "");
	else
		printf("%.0f states, %s", cli_num(doc, "states") - uncovered, ok && cli_num(doc, "states") == 0 ? "none was found" :
		    ok ? "all replicated" : verdict);
	printf("%s", cli_paint(c, "\033[0m"));
	if (!ok && !none)
		printf(": %.0f replicas current, %.0f behind, %.0f held, %.0f failed", cli_num(r, "current"), cli_num(r, "behind"),
		    cli_num(r, "held"), cli_num(r, "failed"));
	if (uncovered > 0 && !none)
		printf(", %.0f more uncovered", uncovered);
	if (lag > 0)
		printf(", oldest lag %s", duration_format((int64_t)(lag * 1000), age));
	printf(", agent %s\n", cli_bool(agent, "running") ? "running" : "not running");
	cli_problems(c, doc);
	if (cli_bool(agent, "running")) /* else nobody has read their records */
		cli_leases(c, doc, "  ");
}

int
cli_status(struct cli *c)
{
	return cli_call(c, &(struct cli_request){ .method = "GET", .route = "status" }, cli_status_text);
}

static void
cli_list_text(const struct cli *c, const json_t *doc)
{
	json_t *s, *r;
	size_t  i, j;
	char    serial[CLI_DIGITS_MAX];

	if (json_array_size(json_object_get(doc, "states")) == 0)
		printf("no state is known%s\n", c->nwords > 0 ? " there; what is replicated is listed with its source" : "");
	json_array_foreach(json_object_get(doc, "states"), i, s) {
		cli_text(cli_str(s, "backend"));
		putchar(':');
		cli_text(cli_str(s, "name"));
		if (cli_has(s, "alias")) {
			printf(" (");
			cli_text(cli_str(s, "alias"));
			putchar(')');
		}
		printf("  serial %s, %.0f versions, %.0f resources", cli_digits(s, "serial", serial), cli_num(s, "versions"),
		    cli_num(s, "resources"));
		json_array_foreach(json_object_get(s, "flags"), j, r)
			printf(", %s", json_string_value(r));
		if (cli_has(s, "problem")) {
			printf(": ");
			cli_text(cli_str(s, "problem"));
		}
		putchar('\n');
		json_array_foreach(json_object_get(s, "replicas"), j, r) {
			printf("  -> ");
			cli_text(cli_str(r, "backend"));
			putchar(':');
			cli_text(cli_str(r, "name"));
			printf("  %s", cli_str(r, "status"));
			if (json_is_string(json_object_get(r, "error"))) {
				printf(": ");
				cli_text(cli_str(r, "error"));
			}
			putchar('\n');
		}
	}
}

int
cli_list(struct cli *c)
{
	struct cli_request r = { .method = "GET", .route = "list" };

	cli_arg(&r, "backend", c->nwords > 0 ? c->words[0] : NULL);
	return cli_call(c, &r, cli_list_text);
}

/* The address is the first word, or a raw name by --state. -1: it is there. */
static int
cli_take_state(struct cli *c, struct cli_request *r)
{
	const char *raw = cli_value(c, "state");

	if ((raw == NULL) == (c->nwords == 0))
		return cli_usage(c, "%s takes %s, or --state NAME", c->command->name, c->command->args);
	cli_arg(r, raw != NULL ? "name" : "state", raw != NULL ? raw : c->words[0]);
	return -1;
}

/* BACKEND:NAME, its lock, and whose it is. */
static void
cli_lock_text(const json_t *l)
{
	cli_text(cli_str(l, "backend"));
	putchar(':');
	cli_text(cli_str(l, "name"));
	printf("  ");
	cli_text(cli_str(l, "id"));
	if (cli_str(l, "operation")[0] != '\0') {
		printf("  ");
		cli_text(cli_str(l, "operation"));
	}
	if (cli_str(l, "who")[0] != '\0') {
		printf("  by ");
		cli_text(cli_str(l, "who"));
	}
}

static void
cli_log_text(const struct cli *c, const json_t *doc)
{
	json_t *v;
	size_t  i;
	char    serial[CLI_DIGITS_MAX];

	(void)c;
	if (json_array_size(json_object_get(doc, "versions")) == 0) {
		printf("no version of it is kept%s", cli_has(doc, "problem") ? ": " : ": none was seen yet");
		cli_text(cli_str(doc, "problem"));
		putchar('\n');
	}
	json_array_foreach(json_object_get(doc, "versions"), i, v) {
		printf("%s%.0f  serial %s  %s  %s  %.0f bytes  %.12s", cli_bool(v, "head") ? "* " : "  ", cli_num(v, "version"),
		    cli_digits(v, "serial", serial), cli_str(v, "seen"), cli_str(v, "verdict"), cli_num(v, "size"), cli_str(v, "sha256"));
		if (json_is_number(json_object_get(v, "added")))
			printf("  +%.0f ~%.0f -%.0f", cli_num(v, "added"), cli_num(v, "changed"), cli_num(v, "removed"));
		if (cli_str(v, "who")[0] != '\0') {
			printf("  by ");
			cli_text(cli_str(v, "who"));
		}
		if (cli_str(v, "operation")[0] != '\0') {
			printf(" (");
			cli_text(cli_str(v, "operation"));
			putchar(')');
		}
		if (strncmp(cli_str(v, "origin"), "target ", 7) == 0) {
			printf("  held by ");
			cli_text(cli_str(v, "origin"));
		}
		putchar('\n');
	}
}

int
cli_log(struct cli *c)
{
	struct cli_request r = { .method = "GET", .route = "log" };
	int                rc = cli_take_state(c, &r);

	return rc != -1 ? rc : cli_call(c, &r, cli_log_text);
}

static void
cli_run_serials(const json_t *r)
{
	char first[CLI_DIGITS_MAX], last[CLI_DIGITS_MAX];

	if (!cli_has(r, "first_serial"))
		return;
	cli_digits(r, "first_serial", first);
	cli_digits(r, "last_serial", last);
	if (strcmp(first, last) == 0)
		printf("  serial %s", first);
	else
		printf("  serials %s to %s", first, last);
}

static void
cli_runs_text(const struct cli *c, const json_t *doc)
{
	json_t *r;
	size_t  i;

	(void)c;
	json_array_foreach(json_object_get(doc, "runs"), i, r) {
		cli_lock_text(r);
		printf("  %s to %s", cli_str(r, "begun"), cli_has(r, "ended") ? cli_str(r, "ended") : "now");
		cli_run_serials(r);
		putchar('\n');
	}
	if (json_array_size(json_object_get(doc, "runs")) == 0)
		printf("no run was seen\n");
}

int
cli_runs(struct cli *c)
{
	struct cli_request r = { .method = "GET", .route = "runs" };
	int                rc = c->nwords > 0 || cli_value(c, "state") != NULL ? cli_take_state(c, &r) : -1;

	return rc != -1 ? rc : cli_call(c, &r, cli_runs_text);
}

int
cli_cat(struct cli *c)
{
	struct cli_request r = { .method = "GET", .route = "cat" };
	struct api_reply   reply;
	json_t            *doc;
	int                rc = cli_take_state(c, &r);

	if (rc != -1 || (rc = cli_reach(c, &r, &reply)) != -1)
		return rc;
	if (reply.status == 200)
		rc = cli_print_body(c, reply.body, stdout, "stdout");
	else {
		rc = cli_reply_exit(c, &reply, &doc);
		json_decref(doc);
	}
	api_reply_free(&reply);
	return rc;
}

static void
cli_locks_text(const struct cli *c, const json_t *doc)
{
	json_t *l;
	size_t  i;
	char    age[TIME_TEXT_MAX];

	json_array_foreach(json_object_get(doc, "locks"), i, l) {
		struct buf command;

		cli_lock_text(l);
		if (!json_is_null(json_object_get(l, "age_seconds")))
			printf("  %s old", duration_format((int64_t)(cli_num(l, "age_seconds") * 1000), age));
		printf("%s", cli_bool(l, "ours") ? ", this agent's" : "");
		if (cli_str(l, "as_of")[0] != '\0')
			printf(", last seen %s", cli_str(l, "as_of"));
		putchar('\n');
		if (cli_bool(l, "suspect")) {
			printf("      ");
			cli_text(cli_str(l, "diagnosis"));
			printf("; if it is gone: ");
			buf_init(&command, 0);
			lock_info_unlock_by(cli_str(l, "backend"), cli_str(l, "name"), cli_str(l, "id"), &command);
			cli_text(buf_str(&command));
			putchar('\n');
			buf_free(&command);
		}
	}
	if (json_array_size(json_object_get(doc, "locks")) == 0)
		printf(json_array_size(json_object_get(doc, "problems")) == 0 && json_array_size(json_object_get(doc, "unseen")) == 0 ?
		    "no locks\n" : "no locks that could be seen\n");
	json_array_foreach(json_object_get(doc, "unseen"), i, l) {
		printf("  ");
		cli_text(json_string_value(l));
		printf(": its protocol does not show locks, one is known from a refusal alone\n");
	}
	cli_leases(c, doc, "");
	cli_problems(c, doc);
}

int
cli_locks(struct cli *c)
{
	struct cli_request r = { .method = "GET", .route = "locks", .flags = CLI_MAKES_STORE };

	cli_arg(&r, "backend", c->nwords > 0 ? c->words[0] : NULL);
	return cli_call(c, &r, cli_locks_text);
}

static void
cli_lease_text(const struct cli *c, const json_t *doc)
{
	if (json_array_size(json_object_get(doc, "leases")) == 0)
		printf("no edge has a lease block\n");
	cli_leases(c, doc, "");
	cli_problems(c, doc);
}

int
cli_lease(struct cli *c)
{
	struct cli_request r = { .method = "GET", .route = "lease", .flags = CLI_MAKES_STORE };
	const char        *verb = c->words[0], *back = cli_value(c, "back");

	if (strcmp(verb, "ls") == 0 && c->nwords == 1 && back == NULL)
		return cli_call(c, &r, cli_lease_text);
	if (strcmp(verb, "release") != 0 || c->nwords != 2)
		return cli_usage(c, "lease takes %s", c->command->args);
	r.method = "POST";
	cli_arg(&r, "edge", c->words[1]);
	cli_arg(&r, "back", back);
	return cli_call(c, &r, cli_lease_text);
}

static void
cli_check_text(const struct cli *c, const json_t *doc)
{
	json_t *p;
	size_t  i;

	(void)c;
	printf("%s: %.0f versions, %.0f blobs, %.0f bytes\n", cli_bool(doc, "ok") ? "the store is sound" : "the store is damaged",
	    cli_num(doc, "versions"), cli_num(doc, "blobs"), cli_num(doc, "bytes"));
	json_array_foreach(json_object_get(doc, "problems"), i, p) {
		printf("  ");
		cli_text(json_is_string(p) ? json_string_value(p) : cli_str(p, "message"));
		putchar('\n');
	}
}

int
cli_check(struct cli *c)
{
	return cli_call(c, &(struct cli_request){ .method = "POST", .route = "check" }, cli_check_text);
}

void
cli_print_checks(const struct cli *c, const json_t *checks, const char *indent)
{
	json_t *k;
	size_t  i;

	json_array_foreach(checks, i, k) {
		printf("%s%s%-6s%s %-16s ", indent, cli_paint(c, cli_bool(k, "ok") ? "\033[32m" : "\033[31m"), cli_bool(k, "ok") ? "ok" : "failed",
		    cli_paint(c, "\033[0m"), cli_str(k, "name"));
		cli_text(cli_str(k, "detail"));
		putchar('\n');
	}
}

/* A probe that could not come to its end shows its checks, too: cli_reply_exit() has said why. */
static void
cli_probe_text(const struct cli *c, const json_t *doc)
{
	cli_print_checks(c, json_object_get(doc, "checks"), "");
	if (json_object_get(doc, "error") != NULL)
		return;
	printf(cli_bool(doc, "writable") ? "a write here " : "a write here is refused: ");
	cli_text(cli_str(doc, "write"));
	printf("\n");
	if (cli_has(doc, "hint")) {
		printf("  next: ");
		cli_text(cli_str(doc, "hint"));
		printf("\n");
	}
}

int
cli_probe(struct cli *c)
{
	struct cli_request r = { .method = "POST", .route = "probe", .flags = CLI_MAKES_STORE };
	struct api_reply   reply;
	json_t            *doc;
	int                rc;

	cli_arg(&r, "backend", c->words[0]);
	if ((rc = cli_reach(c, &r, &reply)) != -1)
		return rc;
	rc = cli_reply_exit(c, &reply, &doc);
	if (!c->json || (doc != NULL && json_object_get(doc, "error") == NULL))
		cli_print_document(c, &reply, doc, cli_probe_text);
	json_decref(doc);
	api_reply_free(&reply);
	return rc;
}

static void
cli_show_value(const char *name, const json_t *value)
{
	char *text = json_is_string(value) ? NULL : json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);

	printf("    ");
	cli_text(name);
	printf(" = ");
	cli_text(text != NULL ? text : json_is_string(value) ? json_string_value(value) : "null");
	printf("\n");
	free(text);
}

static void
cli_show_facts(const json_t *doc)
{
	static const char *const facts[] = { "state", "version", "serial", "lineage", "terraform_version", "size", "sha256" };

	for (size_t i = 0; i < ARRAY_LEN(facts); i++) {
		const json_t *v = json_object_get(doc, facts[i]);

		printf("%-18s ", facts[i]);
		if (json_is_string(v))
			cli_text(json_string_value(v));
		else if (json_is_integer(v))
			printf("%" JSON_INTEGER_FORMAT, json_integer_value(v));
		printf("\n");
	}
}

static void
cli_show_text(const struct cli *c, const json_t *doc)
{
	json_t     *resource, *value, *outputs = json_object_get(doc, "outputs");
	const char *name;
	size_t      i;

	(void)c;
	cli_show_facts(doc);
	json_array_foreach(json_object_get(doc, "resources"), i, resource) {
		printf("\n");
		cli_text(json_string_value(json_object_get(resource, "address")));
		printf("%s\n", json_is_true(json_object_get(resource, "tainted")) ? " (tainted)" : "");
		json_object_foreach(json_object_get(resource, "attributes"), name, value)
			cli_show_value(name, value);
	}
	if (json_object_size(outputs) > 0)
		printf("\noutputs\n");
	json_object_foreach(outputs, name, value)
		cli_show_value(name, json_object_get(value, "value"));
}

int
cli_show(struct cli *c)
{
	struct cli_request r = { .method = "GET", .route = "show" };
	int                rc = cli_take_state(c, &r);

	if (rc != -1)
		return rc;
	cli_arg(&r, "address", c->nwords > 1 ? c->words[1] : NULL);
	cli_arg(&r, "reveal", cli_value(c, "reveal"));
	return cli_call(c, &r, cli_show_text);
}
