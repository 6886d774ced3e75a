/* SPDX-License-Identifier: MIT */
#include <curl/curl.h>
#include <event2/event.h>
#include <expat.h>
#include <lmdb.h>
#include <mbedtls/version.h>
#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "internal.h"
#include "provider/provider.h"

/* config check, config show, version and help: they need no store. */

/* ---------------------------------------------------------------- config check --probe */

static void
cli_probed_one(void *arg, const struct probe_check *k)
{
	json_array_append_new(arg, json_pack("{s:s, s:b, s:o}", "name", k->name, "ok", k->ok, "detail", cli_string(k->detail)));
}

int
cli_probe_all(struct agent *a, json_t **checks, struct err *outcomes)
{
	const struct plan *plan = agent_plan(a);
	struct op        **ops = xcalloc(plan->nbackends + 1, sizeof(*ops));
	struct err         e;
	int                signal = 0;

	for (size_t i = 0; i < plan->nbackends; i++) {
		checks[i] = json_array();
		ops[i] = provider_reach(plan->backends[i], cli_probed_one, checks[i]);
	}
	agent_await(agent_loop(a), op_all(agent_loop(a), ops, plan->nbackends, 0, outcomes), &e, &signal);
	free(ops);
	return signal != 0 ? err_exit(ERR_CANCELLED) : 0;
}

bool
cli_comes(const struct backend *b, const struct err *e)
{
	return e->code == ERR_NOT_FOUND && b->common.create;
}

static json_t *
cli_probed_doc(const struct backend *b, json_t *checks, const struct err *e)
{
	json_t *doc = json_pack("{s:s, s:s, s:b, s:o}", "backend", b->label, "provider", b->provider->name, "ok",
	    e->code == ERR_OK || cli_comes(b, e), "checks", checks);

	if (e->code == ERR_OK)
		json_object_set_new(doc, "error", json_null());
	else
		json_object_set_new(doc, "error", json_pack("{s:i, s:s, s:s, s:o, s:o}", "code", err_exit(e->code), "kind",
		    err_kind(e->code), "where", b->label, "message", cli_string(e->msg), "hint", cli_string(e->hint)));
	return doc;
}

static int
cli_config_probe(const struct cli *c, struct agent *a, json_t *advice)
{
	const struct plan *plan = agent_plan(a);
	json_t           **checks = xcalloc(plan->nbackends + 1, sizeof(json_t *));
	struct err        *outcomes = xcalloc(plan->nbackends + 1, sizeof(*outcomes));
	struct exit_tally  tally = { .done = 0 };
	int                stopped = cli_probe_all(a, checks, outcomes), code;
	json_t            *doc;

	for (size_t i = 0; i < plan->nbackends; i++)
		exit_tally_add(&tally, cli_comes(plan->backends[i], &outcomes[i]) ? 0 : err_exit(outcomes[i].code));
	code = exit_tally_code(&tally);
	doc = json_pack("{s:s, s:b, s:o, s:o, s:[]}", "format_version", "1.0", "ok", code == 0, "path", cli_string(plan->path), "advice",
	    advice, "backends");
	for (size_t i = 0; i < plan->nbackends; i++) {
		const struct backend *b = plan->backends[i];

		if (outcomes[i].code != ERR_OK)
			cli_say("", outcomes[i].msg, outcomes[i].hint);
		if (!c->json)
			printf("%s (%s)\n", b->label, b->where);
		if (!c->json)
			cli_print_checks(c, checks[i], "  ");
		json_array_append_new(json_object_get(doc, "backends"), cli_probed_doc(b, checks[i], &outcomes[i]));
	}
	if (c->json) {
		json_dumpf(doc, stdout, 0);
		putchar('\n');
	}
	json_decref(doc);
	free(checks);
	free(outcomes);
	agent_close(a);
	return stopped != 0 ? stopped : code;
}

static void
cli_advice(void *arg, const struct err *advice)
{
	json_array_append_new(arg, json_pack("{s:o, s:o}", "message", cli_string(advice->msg), "hint", cli_string(advice->hint)));
	cli_say("", advice->msg, advice->hint);
}

/* What is wrong, each by itself; in JSON the first one is the error, and all are in errors. */
static void
cli_config_wrong(const struct cli *c, const struct err *first, const struct conf_errors *all)
{
	static const char where[] = "configuration";
	json_t           *doc, *list = json_array();
	struct buf        text;
	struct err        more;

	for (size_t i = 0; i < (all != NULL && all->n > 0 ? all->n : 1); i++) {
		const struct err *e = all != NULL && all->n > 0 ? &all->items[i] : first;

		cli_say(where, e->msg, e->hint);
		json_array_append_new(list, json_pack("{s:o, s:o}", "message", cli_string(e->msg), "hint", cli_string(e->hint)));
	}
	if (all != NULL && all->more > 0) {
		err_set(&more, ERR_CONFIG, 0, "%zu more that are not shown (CONF_ERRORS_MAX)", all->more);
		cli_say(where, more.msg, "");
	}
	buf_init(&text, 0);
	api_error_json(all != NULL && all->n > 0 ? &all->items[0] : first, where, &text);
	doc = json_loads(buf_str(&text), 0, NULL);
	json_object_set_new(doc, "errors", list);
	if (c->json) {
		json_dumpf(doc, stdout, 0);
		putchar('\n');
	}
	json_decref(doc);
	buf_free(&text);
}

int
cli_config(struct cli *c)
{
	struct agent_options o;
	struct agent        *a;
	struct err           e = { .code = ERR_OK };
	struct conf_errors   errors = { .n = 0 };
	struct buf           text;
	json_t              *advice;
	bool                 show = strcmp(c->words[0], "show") == 0;

	if (!show && strcmp(c->words[0], "check") != 0)
		return cli_usage(c, "config takes check or show, not \"%s\"", c->words[0]);
	if (show && cli_value(c, "probe") != NULL)
		return cli_usage(c, "--probe is for config check");
	cli_agent_options(c, CLI_MAKES_STORE, &o);
	o.no_store = true;
	o.errors = show ? NULL : &errors;
	if (agent_open(&o, &a, &e) != ERR_OK) {
		agent_close(a);
		cli_config_wrong(c, &e, o.errors);
		return err_exit(ERR_CONFIG);
	}
	advice = json_array();
	if (!show)
		plan_advise(agent_plan(a), cli_advice, advice);
	if (cli_value(c, "probe") != NULL)
		return cli_config_probe(c, a, advice);
	buf_init(&text, 0);
	if (show)
		plan_print(agent_plan(a), &text);
	if (c->json) {
		json_t *doc = json_pack("{s:s, s:b, s:o}", "format_version", "1.0", "ok", 1, "path", cli_string(agent_plan(a)->path));

		if (show)
			json_object_set_new(doc, "configuration", cli_string(buf_str(&text)));
		else
			json_object_set(doc, "advice", advice);
		json_dumpf(doc, stdout, 0);
		putchar('\n');
		json_decref(doc);
	} else if (show) {
		printf("%s", buf_str(&text));
	} else {
		printf("%s: ok, %zu backends, %zu edges\n", agent_plan(a)->path, agent_plan(a)->nbackends, agent_plan(a)->nedges);
	}
	buf_free(&text);
	json_decref(advice);
	agent_close(a);
	return 0;
}

int
cli_version(struct cli *c)
{
	json_t *doc = json_pack("{s:s, s:s, s:{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s}, s:[]}", "format_version", "1.0", "version", SF_VERSION,
	    "libraries", "curl", curl_version(), "lmdb", mdb_version(NULL, NULL, NULL), "zstd", ZSTD_versionString(), "jansson",
	    JANSSON_VERSION, "libevent", event_get_version(), "libmicrohttpd", MHD_get_version(), "expat", XML_ExpatVersion(), "mbedtls",
	    MBEDTLS_VERSION_STRING, "providers");

	for (size_t i = 0; provider_all[i] != NULL; i++)
		json_array_append_new(json_object_get(doc, "providers"), json_string(provider_all[i]->name));
	if (c->json) {
		json_dumpf(doc, stdout, 0);
		putchar('\n');
	} else {
		json_t     *v;
		const char *k;

		printf("stateferry %s\n", SF_VERSION);
		json_object_foreach(json_object_get(doc, "libraries"), k, v)
			printf("  %s: %s\n", k, json_string_value(v));
		for (size_t i = 0; provider_all[i] != NULL; i++)
			printf("  provider %s: %s\n", provider_all[i]->name, provider_all[i]->summary);
	}
	json_decref(doc);
	return 0;
}

static void
cli_help_options(const struct cli_command *k)
{
	for (const struct cli_option *o = k->options; o != NULL && o->name != NULL; o++)
		printf("  --%s%s%s\n      %s\n", o->name, o->value != NULL ? " " : "", o->value != NULL ? o->value : "", o->help);
}

int
cli_help(struct cli *c)
{
	const char *topic = c->command != NULL && c->command->run != cli_help ? c->command->name : c->nwords > 0 ? c->words[0] : NULL;

	for (const struct cli_command *k = cli_commands; topic != NULL && k->name != NULL; k++)
		if (strcmp(k->name, topic) == 0 && k->run != NULL) {
			printf("stateferry %s%s%s\n%s\n", k->name, k->args[0] != '\0' ? " " : "", k->args, k->summary);
			cli_help_options(k);
			return 0;
		}
	if (topic != NULL) {
		c->command = NULL; /* the hint is the list of commands, not help about help */
		return cli_usage(c, "there is no command \"%s\"", topic);
	}
	printf("stateferry [-c FILE|DIR] [--json] [-q | -v] [--color=auto|always|never] COMMAND [OPTIONS] [ARGS]\n\n");
	for (const struct cli_command *k = cli_commands; k->name != NULL; k++)
		if (k->run != NULL)
			printf("  %-12s %s\n", k->name, k->summary);
	printf("\nstateferry help COMMAND says more.\n");
	return 0;
}
