/* SPDX-License-Identifier: MIT */
#ifndef SRC_CLI_INTERNAL_H
#define SRC_CLI_INTERNAL_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "cli/cli.h"
#include "daemon/agent.h"

#define CLI_VALUES_MAX 64   /* options given on one command line */
#define CLI_ARGS_MAX   16   /* arguments of one API call beside the words */

struct cli_option {
	const char *name, *value, *help; /* value NULL: a flag */
};

struct cli;

struct cli_command {
	const char *name, *args, *summary;
	const struct cli_option *options;  /* NULL: none; ends with a NULL name */
	int (*run)(struct cli *c);         /* NULL: not in this version */
	int  min, max;                     /* words after the name; max -1: any number */
};
extern const struct cli_command cli_commands[];

struct cli {
	const struct cli_command *command;
	const char *config;
	bool        json, quiet, verbose, color;
	const char *words[CLI_VALUES_MAX];
	int         nwords;
	struct api_arg values[CLI_VALUES_MAX];
	size_t      nvalues;
};

enum { CLI_MAKES_STORE = 1, CLI_SERVES = 2 };

int cli_run(struct cli *c), cli_sync(struct cli *c), cli_status(struct cli *c), cli_list(struct cli *c), cli_log(struct cli *c),
    cli_runs(struct cli *c), cli_cat(struct cli *c), cli_help(struct cli *c), cli_version(struct cli *c), cli_config(struct cli *c),
    cli_show(struct cli *c), cli_restore(struct cli *c), cli_locks(struct cli *c), cli_lease(struct cli *c), cli_unlock(struct cli *c),
    cli_quarantine(struct cli *c), cli_resolve(struct cli *c), cli_adopt(struct cli *c), cli_check(struct cli *c),
    cli_probe(struct cli *c), cli_doctor(struct cli *c), cli_init(struct cli *c), cli_migrate(struct cli *c);

const char *cli_value(const struct cli *c, const char *option);     /* NULL: not given; a flag gives "1" */
void        cli_agent_options(const struct cli *c, int flags, struct agent_options *ret);

/* Says the error in the form of the interface, as document too with --json; returns its exit code. */
int cli_error(const struct cli *c, const struct err *e, const char *where);
/* The sentence alone, on stderr. where, hint: "" for none. */
void cli_say(const char *where, const char *message, const char *hint);
int cli_usage(const struct cli *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* --- calls --- */
enum progress_of { PROGRESS_NONE, PROGRESS_PASS, PROGRESS_RESTORE, PROGRESS_MIGRATE };
struct cli_request {
	const char    *method, *route;
	struct api_arg args[CLI_ARGS_MAX + CLI_VALUES_MAX];
	size_t         n;
	int            flags;
	enum progress_of progress; /* what is shown on a terminal meanwhile */
};
void cli_arg(struct cli_request *r, const char *name, const char *value);   /* value NULL: left out */
/* Reaches every backend at once: checks (new arrays) and outcomes in the order of the plan. Exit code of a signal, else 0. */
int  cli_probe_all(struct agent *a, json_t **checks, struct err *outcomes);
/* Is an outcome nothing but that the place is not there yet, and create = true makes it? */
bool cli_comes(const struct backend *b, const struct err *e);
/* The owner of the store is asked, or this process is it. -1: there is a reply; else the exit code, the error was said. */
int  cli_reach(const struct cli *c, const struct cli_request *r, struct api_reply *ret);
/* The same without a word. */
enum err_code cli_ask(const struct cli *c, const struct cli_request *r, struct api_reply *ret, struct err *reterr);
/* The same, as document, errors of the command said. NULL: *ret_exit. */
json_t *cli_document(const struct cli *c, const struct cli_request *r, int *ret_exit);
/* The whole of most commands: --json prints the document, else text() does. */
int  cli_call(const struct cli *c, const struct cli_request *r, void (*text)(const struct cli *c, const json_t *doc));
/* A document that is no error: as it came, or what text() makes of it. */
void cli_print_document(const struct cli *c, const struct api_reply *r, const json_t *doc,
    void (*text)(const struct cli *c, const json_t *doc));
/* The document of an answer; NULL: it is none. A number too large for jansson is a string there. */
json_t *cli_load(const struct api_reply *r);
int  cli_reply_exit(const struct cli *c, const struct api_reply *r, json_t **ret_doc);
int  cli_print_body(const struct cli *c, struct body *b, FILE *out, const char *name);
/* A line for each of the document's leases. */
void cli_leases(const struct cli *c, const json_t *doc, const char *indent);
/* Somebody is there to answer, or has said --yes. */
bool cli_may_ask(const struct cli *c);
/* -1: go on. Else the exit code: nobody could be asked, or the answer was no. word: what has to be typed. */
int  cli_confirm(const struct cli *c, const char *word);

/* The plan of a restore or a migration, where somebody can read and answer. -1: go on; else nothing of it could be done, and that was
 * said. */
int  cli_preview_restores(const struct cli *c, const struct cli_request *r);
void cli_print_restores(const json_t *list, FILE *out);

/* For a document of our own: bytes that are no UTF-8, as a path or a server's words may hold, are U+FFFD, as in those of the API. */
json_t *cli_string(const char *text);

/* --- members of documents; absent and null give "", 0 --- */
const char *cli_str(const json_t *o, const char *key);
double      cli_num(const json_t *o, const char *key);
bool        cli_bool(const json_t *o, const char *key);
/* A serial: a double would not have all its digits. */
#define CLI_DIGITS_MAX 24
const char *cli_digits(const json_t *o, const char *key, char ret[CLI_DIGITS_MAX]);
bool        cli_has(const json_t *o, const char *key); /* there, and not null */
/* What others wrote, a remote's answer or a state, so that no control character reaches the terminal; cli_text() on stdout. */
void        cli_put(FILE *f, const char *s);
void        cli_text(const char *s);
void        cli_print_checks(const struct cli *c, const json_t *checks, const char *indent);
void        cli_problem(const struct cli *c, const json_t *p);
const char *cli_paint(const struct cli *c, const char *code);    /* "" without colour */

#endif
