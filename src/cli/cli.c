/* SPDX-License-Identifier: MIT */
#include "internal.h"

#include <assert.h>
#include <errno.h>
#include <jansson.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/name.h"

#define CLI_NAMES_MAX 64 /* of commands, and of one command's options */

static const struct cli_option sync_options[] = {
	{ "dry-run", NULL, "say what would be written; change nothing" },
	{ "max-age", "DURATION", "exit 14 if a verified replica is older than its head by more" },
	{ NULL, NULL, NULL },
};
static const struct cli_option raw_options[] = {
	{ "state", "NAME", "a name taken as it is" },
	{ NULL, NULL, NULL },
};
static const struct cli_option show_options[] = {
	{ "state", "NAME", "a name taken as it is" },
	{ "reveal", NULL, "sensitive values too" },
	{ NULL, NULL, NULL },
};
static const struct cli_option restore_options[] = {
	{ "state", "NAME", "a name taken as it is" },
	{ "at", "TIME", "the version that was the head then: RFC 3339, or an age" },
	{ "all", NULL, "every state, with --at" },
	{ "to", "BACKEND:NAME", "put it there instead" },
	{ "out", "FILE", "write the exact bytes to a new file" },
	{ "keep-serial", NULL, "for an empty target: the serial stays" },
	{ "dry-run", NULL, "say what would happen" },
	{ "yes", NULL, "do not ask" },
	{ NULL, NULL, NULL },
};
static const struct cli_option migrate_options[] = {
	{ "dry-run", NULL, "say what would happen" },
	{ "yes", NULL, "do not ask; also from a source that cannot be locked" },
	{ NULL, NULL, NULL },
};
static const struct cli_option yes_options[] = {
	{ "yes", NULL, "do not ask" },
	{ "state", "NAME", "a name taken as it is" },
	{ NULL, NULL, NULL },
};
static const struct cli_option lease_options[] = {
	{ "back", NULL, "with release: it may be taken again" },
	{ NULL, NULL, NULL },
};
static const struct cli_option resolve_options[] = {
	{ "overwrite", NULL, "the target's bytes are kept as a version, then overwritten" },
	{ "target", "BACKEND", "only this target" },
	{ "yes", NULL, "do not ask" },
	{ NULL, NULL, NULL },
};
static const struct cli_option adopt_options[] = {
	{ "yes", NULL, "do not ask" },
	{ NULL, NULL, NULL },
};
static const struct cli_option config_options[] = {
	{ "probe", NULL, "reach every backend too, without writing" },
	{ NULL, NULL, NULL },
};

const struct cli_command cli_commands[] = {
	{ "run", "", "the agent: watches, keeps and replicates until SIGTERM", NULL, cli_run, 0, 0 },
	{ "sync", "[EDGE...]", "one pass over all or the named edges", sync_options, cli_sync, 0, -1 },
	{ "status", "", "one verdict, and what is wrong", NULL, cli_status, 0, 0 },
	{ "list", "[BACKEND]", "states and their replicas", NULL, cli_list, 0, 1 },
	{ "log", "STATE", "versions of a state, newest first", raw_options, cli_log, 0, 1 },
	{ "runs", "[STATE]", "who had the lock of a state, and which versions came of it", raw_options, cli_runs, 0, 1 },
	{ "cat", "STATE[@V]", "the exact bytes of a version", raw_options, cli_cat, 0, 1 },
	{ "show", "STATE[@V] [ADDRESS]", "resources and outputs of a version", show_options, cli_show, 0, 2 },
	{ "restore", "STATE@V", "puts a version back", restore_options, cli_restore, 0, 1 },
	{ "migrate", "FROM TO", "moves a state, or all of a backend, to another one", migrate_options, cli_migrate, 2, 2 },
	{ "locks", "[BACKEND]", "locks held now", NULL, cli_locks, 0, 1 },
	{ "unlock", "STATE [ID]", "breaks a lock; one of this agent needs no ID", yes_options, cli_unlock, 0, 2 },
	{ "lease", "ls | release EDGE", "who writes to each target of a shared edge; hands it over", lease_options, cli_lease, 1, 2 },
	{ "quarantine", "ls | release STATE[@V] | drop STATE@V", "what is held back", yes_options, cli_quarantine, 1, 2 },
	{ "resolve", "EDGE STATE --overwrite", "ends a held replica", resolve_options, cli_resolve, 2, 2 },
	{ "adopt", "", "makes a copied store, or moved labels, active again", adopt_options, cli_adopt, 0, 0 },
	{ "check", "", "verifies the whole local store", NULL, cli_check, 0, 0 },
	{ "probe", "BACKEND", "proves what a backend enforces, by real requests", NULL, cli_probe, 1, 1 },
	{ "doctor", "", "what is wrong, from the configuration to the replicas, and what to do", NULL, cli_doctor, 0, 0 },
	{ "config", "check | show", "the configuration: is it right, what does it amount to", config_options, cli_config, 1, 1 },
	{ "init", "[DIR]", "looks for terraform's backends below DIR and prints a configuration", NULL, cli_init, 0, 1 },
	{ "version", "", "version, libraries, providers", NULL, cli_version, 0, 0 },
	{ "help", "[COMMAND]", "this, or about one command", NULL, cli_help, 0, 1 },
	{ "diff", NULL, NULL, NULL, NULL, 0, -1 },
	{ "pin", NULL, NULL, NULL, NULL, 0, -1 },
	{ "unpin", NULL, NULL, NULL, NULL, 0, -1 },
	{ "verify", NULL, NULL, NULL, NULL, 0, -1 },
	{ "drill", NULL, NULL, NULL, NULL, 0, -1 },
	{ "prune", NULL, NULL, NULL, NULL, 0, -1 },
	{ "export", NULL, NULL, NULL, NULL, 0, -1 },
	{ "import", NULL, NULL, NULL, NULL, 0, -1 },
	{ NULL, NULL, NULL, NULL, NULL, 0, 0 },
};

static const struct cli_option global_options[] = {
	{ "config", "FILE|DIR", "the configuration (-c)" },
	{ "json", NULL, "one JSON document; with run: log lines as JSON" },
	{ "quiet", NULL, "only errors (-q)" },
	{ "verbose", NULL, "every request too (-v)" },
	{ "color", "auto|always|never", "NO_COLOR is honoured" },
	{ "help", NULL, "help (-h)" },
	{ NULL, NULL, NULL },
};

/* ---------------------------------------------------------------- "did you mean" */

static const char *
cli_near_option(const struct cli_command *cmd, const char *typed)
{
	const struct cli_option *tables[] = { cmd != NULL ? cmd->options : NULL, global_options };
	const char              *names[CLI_NAMES_MAX + 1] = { NULL };
	size_t                   n = 0;

	for (size_t t = 0; t < ARRAY_LEN(tables); t++)
		for (const struct cli_option *o = tables[t]; o != NULL && o->name != NULL && n < CLI_NAMES_MAX; o++)
			names[n++] = o->name;
	return name_closest(typed, names);
}

static const char *
cli_near_command(const char *typed)
{
	const char *names[CLI_NAMES_MAX + 1] = { NULL };

	for (size_t n = 0; cli_commands[n].name != NULL && n < CLI_NAMES_MAX; n++)
		names[n] = cli_commands[n].name;
	return name_closest(typed, names);
}

/* ---------------------------------------------------------------- the command line */

static const struct cli_option *
cli_find_option(const struct cli_command *cmd, const char *name, size_t len, bool *ret_global)
{
	const struct cli_option *tables[2] = { cmd != NULL ? cmd->options : NULL, global_options };

	for (int t = 0; t < 2; t++)
		for (const struct cli_option *o = tables[t]; o != NULL && o->name != NULL; o++)
			if (strlen(o->name) == len && memcmp(o->name, name, len) == 0) {
				*ret_global = t == 1;
				return o;
			}
	return NULL;
}

static int
cli_set_global(struct cli *c, const char *name, const char *value)
{
	if (strcmp(name, "config") == 0)
		c->config = value;
	else if (strcmp(name, "json") == 0)
		c->json = true;
	else if (strcmp(name, "quiet") == 0)
		c->quiet = true;
	else if (strcmp(name, "verbose") == 0)
		c->verbose = true;
	else if (strcmp(name, "color") == 0 && strcmp(value, "always") == 0)
		c->color = true;
	else if (strcmp(name, "color") == 0 && strcmp(value, "never") == 0)
		c->color = false;
	else if (strcmp(name, "color") == 0 && strcmp(value, "auto") != 0)
		return cli_usage(c, "--color is auto, always or never, not \"%s\"", value);
	else if (strcmp(name, "help") == 0)
		return -2;
	return -1;
}

/* One option; *i moves on when its value is the next word. -1: goes on; -2: help is wanted; else the exit code. */
static int
cli_take_option(struct cli *c, int argc, char **argv, int *i)
{
	static const char        letters[] = "cqvh";
	static const char *const names[] = { "config", "quiet", "verbose", "help" };
	const char              *text = argv[*i], *name = text + 2, *eq = strchr(text, '='), *near, *value = "1", *p;
	size_t                   len;
	bool                     global;
	const struct cli_option *o;

	if (text[1] != '-') {
		p = strchr(letters, text[1]);
		if (p == NULL || text[2] != '\0')
			return cli_usage(c, "there is no option \"%s\"", text);
		name = names[p - letters];
		eq = NULL;
	}
	len = eq != NULL ? (size_t)(eq - name) : strlen(name);
	if ((o = cli_find_option(c->command, name, len, &global)) == NULL) {
		near = cli_near_option(c->command, name);
		return cli_usage(c, near != NULL ? "there is no option \"%s\"; did you mean \"--%s\"?" : "there is no option \"%s\"", text,
		    near);
	}
	if (o->value == NULL && eq != NULL)
		return cli_usage(c, "--%s takes no value", o->name);
	if (o->value != NULL && (value = eq != NULL ? eq + 1 : ++*i < argc ? argv[*i] : NULL) == NULL)
		return cli_usage(c, "--%s needs a value: %s", o->name, o->value);
	if (global)
		return cli_set_global(c, o->name, value);
	if (c->nvalues == CLI_VALUES_MAX)
		return cli_usage(c, "more than %d options", CLI_VALUES_MAX);
	c->values[c->nvalues++] = (struct api_arg){ o->name, value };
	return -1;
}

static int
cli_take_word(struct cli *c, const char *word)
{
	const char *near;

	if (c->command != NULL) {
		if (c->nwords == CLI_VALUES_MAX)
			return cli_usage(c, "more than %d arguments", CLI_VALUES_MAX);
		c->words[c->nwords++] = word;
		return -1;
	}
	for (const struct cli_command *k = cli_commands; k->name != NULL; k++)
		if (strcmp(k->name, word) == 0)
			c->command = k;
	if (c->command == NULL) {
		near = cli_near_command(word);
		return cli_usage(c, near != NULL ? "there is no command \"%s\"; did you mean \"%s\"?" : "there is no command \"%s\"", word,
		    near);
	}
	if (c->command->run == NULL)
		return cli_usage(c, "%s: this version does not have that command", word);
	return -1;
}

static int
cli_parse(struct cli *c, int argc, char **argv)
{
	bool plain = false, help = false;
	int  rc = -1;

	/* Errors on the way are documents too when that is asked for anywhere. */
	for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
		c->json = c->json || strcmp(argv[i], "--json") == 0;
	for (int i = 1; i < argc && rc == -1; i++) {
		if (!plain && strcmp(argv[i], "--") == 0)
			plain = true;
		else if (!plain && argv[i][0] == '-' && argv[i][1] != '\0')
			rc = cli_take_option(c, argc, argv, &i);
		else
			rc = cli_take_word(c, argv[i]);
		help = help || rc == -2;
		rc = rc == -2 ? -1 : rc;
	}
	if (rc != -1)
		return rc;
	if (help)
		return cli_help(c);
	if (c->command == NULL)
		return cli_usage(c, "a command is missing");
	if (c->nwords < c->command->min || (c->command->max >= 0 && c->nwords > c->command->max))
		return cli_usage(c, "%s takes %s", c->command->name, c->command->args[0] != '\0' ? c->command->args : "no arguments");
	if (c->quiet && c->verbose)
		return cli_usage(c, "-q and -v exclude each other");
	return -1;
}

const char *
cli_value(const struct cli *c, const char *option)
{
	for (size_t i = c->nvalues; i-- > 0;)
		if (strcmp(c->values[i].name, option) == 0)
			return c->values[i].value;
	return NULL;
}

void
cli_agent_options(const struct cli *c, int flags, struct agent_options *ret)
{
	bool serves = (flags & CLI_SERVES) != 0;

	*ret = (struct agent_options){ .config = c->config, .log_level = serves ? -1 : LOG_WARN, .log_json = -1,
		.must_exist = (flags & CLI_MAKES_STORE) == 0, .serve_socket = serves };
	if (c->quiet)
		ret->log_level = LOG_ERROR;
	if (c->verbose)
		ret->log_level = LOG_DEBUG;
}

/* ---------------------------------------------------------------- the process */

static int cli_store_lost_exit; /* a handler calls nothing that could tell it */

/* The store is a map of its file. Where that is shorter than it says (a copy that was cut off), or its disk fails, reading it is a
 * signal, and nothing of it can be saved from within. */
static void
cli_store_lost(int sig)
{
	static const char text[] = "stateferry: store: its file is cut off, or its disk cannot be read; bring it back from a backup, "
		"or move it away: a new store begins with what the backends hold now\n";

	(void)sig;
	if (write(STDERR_FILENO, text, sizeof(text) - 1) < 0)
		_exit(1);
	_exit(cli_store_lost_exit);
}

/* States are secrets: no core, no debugger, no file that others can read; a closed pipe, and a file that grows too large, are
 * errors like others. */
static void
cli_harden(void)
{
	umask(077);
	setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
	prctl(PR_SET_DUMPABLE, 0);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	cli_store_lost_exit = err_exit(ERR_CORRUPT);
	signal(SIGBUS, cli_store_lost);
}

static bool
cli_wants_color(void)
{
	const char *no = getenv("NO_COLOR");

	return isatty(STDOUT_FILENO) == 1 && (no == NULL || no[0] == '\0');
}

int
cli_main(int argc, char **argv)
{
	struct cli c = { .color = cli_wants_color() };
	int        rc;

	cli_harden();
	json_set_alloc_funcs(xmalloc, mem_forget); /* a lock that jansson has no memory to read is not another's; answers hold tokens */
	rc = cli_parse(&c, argc, argv);
	assert(rc != -1 || c.command != NULL);
	if (rc == -1)
		rc = c.command->run(&c);
	if (fflush(stdout) != 0 || ferror(stdout) != 0) {
		fprintf(stderr, "stateferry: stdout: %s; what was printed is incomplete\n", strerror(errno));
		return rc == 0 ? 1 : rc;
	}
	return rc;
}
