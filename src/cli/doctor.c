/* SPDX-License-Identifier: MIT */
#include <curl/curl.h>
#include <errno.h>
#include <lmdb.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/secret.h"
#include "internal.h"
#include "provider/records.h"

/* doctor: from the configuration to the replicas, one line for each thing that has to be right: ok, warn or fail, and what to do. */

#define DOCTOR_DISK_FAIL ((uint64_t)64 << 20) /* bytes free where the store lies: less than one large state */
#define DOCTOR_DISK_WARN ((uint64_t)1 << 30)
#define DOCTOR_WARN_EXIT 3
#define DOCTOR_RECORD      "doctor" /* the key of a record that is never made */
#define DOCTOR_NO_REVISION "1"      /* of none: DynamoDB's are digests, and etcd's first one is that of its empty store */

enum doctor_level { DOCTOR_OK, DOCTOR_WARN, DOCTOR_FAIL };

static const char *const doctor_levels[] = { "ok", "warn", "fail" };

struct doctor {
	const struct cli *c;
	json_t           *checks;
	char             *store;     /* the store's folder; NULL: the configuration does not tell */
	int               code;      /* of the failures; 1: of several kinds; 0: none */
	bool              warned;
};

static void __attribute__((format(printf, 6, 7)))
doctor_say(struct doctor *d, enum doctor_level level, int code, const char *name, const char *hint, const char *fmt, ...)
{
	static const char *const colours[] = { "\033[32m", "\033[33m", "\033[31m" };
	char    text[2 * ERR_MSG_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (level == DOCTOR_FAIL)
		d->code = d->code == 0 || d->code == code ? code : 1;
	d->warned |= level == DOCTOR_WARN;
	json_array_append_new(d->checks, json_pack("{s:o, s:s, s:o, s:o*}", "name", cli_string(name), "status", doctor_levels[level],
	    "message", cli_string(text), "hint", hint[0] != '\0' ? cli_string(hint) : NULL));
	if (d->c->json)
		return;
	printf("%s%-4s%s  ", cli_paint(d->c, colours[level]), doctor_levels[level], cli_paint(d->c, "\033[0m"));
	cli_text(name);
	printf(": ");
	cli_text(text);
	putchar('\n');
	if (hint[0] == '\0')
		return;
	printf("      next: ");
	cli_text(hint);
	putchar('\n');
}

static void
doctor_fail(struct doctor *d, const char *name, const struct err *e)
{
	doctor_say(d, DOCTOR_FAIL, err_exit(e->code), name, e->hint, "%s", e->msg);
}

/* ---------------------------------------------------------------- this machine */

static void
doctor_libraries(struct doctor *d)
{
	const curl_version_info_data *curl = curl_version_info(CURLVERSION_NOW);
	int                           major, minor, patch;

	mdb_version(&major, &minor, &patch);
	if ((curl->features & CURL_VERSION_SSL) == 0)
		doctor_say(d, DOCTOR_FAIL, 1, "libraries", "install a libcurl that was built with TLS", "libcurl %s cannot speak https", curl->version);
	else
		doctor_say(d, DOCTOR_OK, 0, "libraries", "", "libcurl %s with %s, LMDB %d.%d.%d", curl->version, curl->ssl_version, major, minor, patch);
}

static void
doctor_memory(struct doctor *d)
{
	if (secret_all_locked())
		doctor_say(d, DOCTOR_OK, 0, "memory lock", "", "credentials are kept out of swap");
	else
		doctor_say(d, DOCTOR_WARN, 0, "memory lock", "raise RLIMIT_MEMLOCK: LimitMEMLOCK= in the unit, or \"ulimit -l\"",
		    "credentials may be swapped to the disk");
}

static void
doctor_disk(struct doctor *d)
{
	struct statvfs v;
	uint64_t       free_bytes;
	const char    *hint = "make room where the store lies, or give it another place: store = ... in the agent block";

	if (statvfs(d->store, &v) != 0) {
		doctor_say(d, DOCTOR_FAIL, 1, "disk", "", "%s: %s", d->store, strerror(errno));
		return;
	}
	free_bytes = (uint64_t)v.f_bavail * v.f_frsize;
	doctor_say(d, free_bytes < DOCTOR_DISK_FAIL ? DOCTOR_FAIL : free_bytes < DOCTOR_DISK_WARN ? DOCTOR_WARN : DOCTOR_OK, 1, "disk",
	    free_bytes < DOCTOR_DISK_WARN ? hint : "", "%llu MiB free at %s", (unsigned long long)(free_bytes >> 20), d->store);
}

/* false: there is no store to ask. */
static bool
doctor_store_folder(struct doctor *d)
{
	struct stat st;

	if (stat(d->store, &st) != 0 && errno == ENOENT) {
		doctor_say(d, DOCTOR_WARN, 0, "store", "\"stateferry sync\" or \"run\" makes it; or is this another configuration (-c)?",
		    "there is none at %s yet", d->store);
		return false;
	}
	if (stat(d->store, &st) != 0)
		doctor_say(d, DOCTOR_FAIL, 12, "permissions", "run this as the user of the agent", "%s: %s", d->store, strerror(errno));
	else if (!S_ISDIR(st.st_mode))
		doctor_say(d, DOCTOR_FAIL, 1, "permissions", "", "%s is no folder", d->store);
	else if (st.st_uid != geteuid() && geteuid() != 0)
		doctor_say(d, DOCTOR_FAIL, 12, "permissions", "run this as the user of the agent", "%s belongs to user %u", d->store,
		    (unsigned)st.st_uid);
	else if ((st.st_mode & (S_IRWXG | S_IRWXO)) != 0)
		doctor_say(d, DOCTOR_FAIL, 1, "permissions", "states are secrets: chmod 700", "%s is open to others (mode %04o)", d->store,
		    (unsigned)st.st_mode & 07777U);
	else
		doctor_say(d, DOCTOR_OK, 0, "permissions", "", "%s is closed to others", d->store);
	return true;
}

/* ---------------------------------------------------------------- the places */

static const char *
doctor_detail(const json_t *checks, const char *name, bool *ret_ok)
{
	json_t *k;
	size_t  i;

	json_array_foreach(checks, i, k)
		if (strcmp(cli_str(k, "name"), name) == 0) {
			*ret_ok = cli_bool(k, "ok");
			return cli_str(k, "detail");
		}
	return "";
}

static void
doctor_place(struct doctor *d, const struct backend *b, const json_t *checks, const struct err *e)
{
	struct err  why = *e;
	bool        ok = false;
	char       *name = xasprintf("reach %s", b->label), *clock = xasprintf("clock %s", b->label);
	const char *auth = doctor_detail(checks, "auth", &ok), *list = doctor_detail(checks, "list", &ok), *off;

	err_unprefix(&why, b->label);
	if (e->code == ERR_OK)
		doctor_say(d, DOCTOR_OK, 0, name, "", "%s: %s, %s", b->where, auth, list);
	else if (cli_comes(b, e))
		doctor_say(d, DOCTOR_WARN, 0, name, "the first write makes it, for create = true is set", "%s", why.msg);
	else
		doctor_fail(d, name, &why);
	off = doctor_detail(checks, "clock", &ok);
	if (off[0] != '\0')
		doctor_say(d, ok ? DOCTOR_OK : DOCTOR_FAIL, 12, clock, ok ? "" : "set the clock, and let it be kept (NTP)", "%s", off);
	free(name);
	free(clock);
}

static void
doctor_advice(void *arg, const struct err *advice)
{
	doctor_say(arg, DOCTOR_WARN, 0, "names", advice->hint, "%s", advice->msg);
}

/* Exit code of a signal, else 0. */
static int
doctor_places(struct doctor *d, struct agent *a)
{
	const struct plan *plan = agent_plan(a);
	json_t           **checks = xcalloc(plan->nbackends + 1, sizeof(json_t *));
	struct err        *outcomes = xcalloc(plan->nbackends + 1, sizeof(*outcomes));
	int                stopped = cli_probe_all(a, checks, outcomes);

	for (size_t i = 0; i < plan->nbackends; i++) {
		if (stopped == 0)
			doctor_place(d, plan->backends[i], checks[i], &outcomes[i]);
		json_decref(checks[i]);
	}
	free(checks);
	free(outcomes);
	return stopped;
}

/* ---------------------------------------------------------------- where leases are kept */

/* The first edge that keeps its leases there; NULL: that was another one, or its leases are elsewhere. */
static struct records *
doctor_coordinator(const struct plan *plan, size_t edge)
{
	struct records *r = plan->edges[edge].lease.records;

	for (size_t i = 0; r != NULL && i < edge; i++) {
		const struct records *o = plan->edges[i].lease.records;

		if (o != NULL && o->class == r->class && strcmp(o->where, r->where) == 0)
			return NULL;
	}
	return r;
}

static void
doctor_swapped(struct doctor *d, const struct records *r, const struct err *read, const struct err *swap)
{
	char *name = xasprintf("leases %s", r->class->name);

	if (read->code != ERR_OK && read->code != ERR_NOT_FOUND)
		doctor_fail(d, name, read);
	else if (swap->code == ERR_CONFLICT)
		doctor_say(d, DOCTOR_OK, 0, name, "", "%s: records can be read, and written where they are what is expected", r->where);
	else if (swap->code != ERR_OK)
		doctor_fail(d, name, swap);
	else
		doctor_say(d, DOCTOR_FAIL, 12, name, "keep leases elsewhere: two agents could hold one", "%s: a record was written although another one "
		    "was expected", r->where);
	free(name);
}

/* A swap that has to be refused, because no record is what it expects, shows that another would be carried out: it writes nothing.
 * Exit code of a signal, else 0. */
static int
doctor_coordinators(struct doctor *d, struct agent *a)
{
	const struct plan *plan = agent_plan(a);
	size_t             n = 2 * plan->nedges;
	struct op        **ops = xcalloc(n + 1, sizeof(*ops));
	struct err        *outcomes = xcalloc(n + 1, sizeof(*outcomes)), e;
	struct record     *seen = xcalloc(1, sizeof(*seen));
	int                stopped = 0;

	for (size_t i = 0; i < n; i += 2) {
		struct records *r = doctor_coordinator(plan, i / 2);

		if (r == NULL)
			continue;
		ops[i] = r->class->read(r, DOCTOR_RECORD, seen);
		ops[i + 1] = r->class->swap(r, DOCTOR_RECORD, span_str("{}"), DOCTOR_NO_REVISION, seen->revision);
	}
	agent_await(agent_loop(a), op_all(agent_loop(a), ops, n, 0, outcomes), &e, &stopped);
	for (size_t i = 0; i < n && stopped == 0; i += 2)
		if (doctor_coordinator(plan, i / 2) != NULL)
			doctor_swapped(d, doctor_coordinator(plan, i / 2), &outcomes[i], &outcomes[i + 1]);
	free(ops);
	free(outcomes);
	free(seen);
	return stopped != 0 ? err_exit(ERR_CANCELLED) : 0;
}

/* ---------------------------------------------------------------- what the store knows */

static void
doctor_agent(struct doctor *d, const json_t *agent)
{
	if (cli_bool(agent, "running"))
		doctor_say(d, DOCTOR_OK, 0, "agent", "", "runs, process %.0f, since %s", cli_num(agent, "pid"), cli_str(agent, "since"));
	else
		doctor_say(d, DOCTOR_OK, 0, "agent", "", "does not run; what follows is as the last pass left it");
}

/* What a probe has shown of targets of which more than a promise is wanted. */
static void
doctor_proof(struct doctor *d, const json_t *p)
{
	char *name = xasprintf("probe %s", cli_str(p, "backend")), *hint = xasprintf("stateferry probe %s", cli_str(p, "backend"));

	if (cli_bool(p, "enforces"))
		doctor_say(d, DOCTOR_OK, 0, name, "", "enforces what a safe write needs, seen %s", cli_str(p, "probed"));
	else if (cli_has(p, "enforces"))
		doctor_say(d, DOCTOR_WARN, 0, name, hint, "a write is not safe there, seen %s: %s", cli_str(p, "probed"),
		    cli_str(p, "why"));
	else if (cli_bool(p, "unproven"))
		doctor_say(d, DOCTOR_WARN, 0, name, hint, "never probed: what it enforces is only promised");
	free(name);
	free(hint);
}

/* A place or the store in trouble fails; what waits for a person or for the next pass is a warning. */
static void
doctor_problem(struct doctor *d, const json_t *p)
{
	static const char *const failures[] = { "source", "target", "moved", "foreign_store", "store", "loop", "unread" };
	const char              *kind = cli_str(p, "kind"), *backend = cli_str(p, "backend"), *state = cli_str(p, "state");
	enum doctor_level        level = DOCTOR_WARN;
	char                    *name;

	for (size_t i = 0; i < ARRAY_LEN(failures); i++)
		if (strcmp(kind, failures[i]) == 0)
			level = DOCTOR_FAIL;
	name = xasprintf("%s%s%s%s%s", kind, backend[0] != '\0' || state[0] != '\0' ? " " : "", backend,
	    backend[0] != '\0' && state[0] != '\0' ? ":" : "", state);
	doctor_say(d, level, (int)cli_num(p, "code"), name, cli_str(p, "hint"), "%s%s%s", cli_str(p, "message"),
	    cli_has(p, "since") ? ", since " : "", cli_str(p, "since"));
	free(name);
}

static void
doctor_status(struct doctor *d, const json_t *doc)
{
	const json_t *problems = json_object_get(doc, "problems"), *replicas = json_object_get(doc, "replicas");
	double        uncovered = cli_num(doc, "uncovered");
	json_t       *o;
	size_t        i;

	doctor_agent(d, json_object_get(doc, "agent"));
	if (uncovered > 0)
		doctor_say(d, DOCTOR_WARN, 0, "uncovered", "stateferry list says of each why", "%.0f states are known, and out of reach", uncovered);
	json_array_foreach(json_object_get(doc, "places"), i, o)
		if (cli_bool(o, "target"))
			doctor_proof(d, o);
	json_array_foreach(problems, i, o)
		doctor_problem(d, o);
	if (cli_num(doc, "problems_omitted") > 0)
		doctor_say(d, DOCTOR_WARN, 0, "states", "stateferry status", "%.0f more problems", cli_num(doc, "problems_omitted"));
	if (strcmp(cli_str(doc, "verdict"), "ok") == 0)
		doctor_say(d, DOCTOR_OK, 0, "states", "", "%.0f, all replicated", cli_num(doc, "states") - uncovered);
	else if (json_array_size(problems) == 0)
		doctor_say(d, DOCTOR_WARN, 0, "states", "stateferry sync, or a look at \"stateferry list\"", "%.0f replicas current, %.0f behind",
		    cli_num(replicas, "current"), cli_num(replicas, "behind"));
}

static void
doctor_check(struct doctor *d, const json_t *doc)
{
	const json_t *first = json_array_get(json_object_get(doc, "problems"), 0);

	if (cli_bool(doc, "ok"))
		doctor_say(d, DOCTOR_OK, 0, "store", "", "%.0f versions, every one of them can be read", cli_num(doc, "versions"));
	else
		doctor_say(d, DOCTOR_FAIL, 1, "store", "stateferry check tells all of it", "%zu problems, the first: %s",
		    json_array_size(json_object_get(doc, "problems")), json_string_value(first) != NULL ? json_string_value(first) :
		    cli_str(first, "message"));
}

static bool
doctor_ask(struct doctor *d, const char *method, const char *route, void (*tell)(struct doctor *d, const json_t *doc))
{
	struct cli_request r = { .method = method, .route = route };
	struct api_reply   reply;
	struct err         e;
	json_t            *doc, *error;

	if (cli_ask(d->c, &r, &reply, &e) != ERR_OK) {
		if (e.code == ERR_NOT_FOUND)
			doctor_say(d, DOCTOR_WARN, 0, "store", "\"stateferry sync\" or \"run\" makes it", "%s", e.msg);
		else
			doctor_fail(d, "store", &e);
		return false;
	}
	doc = cli_load(&reply);
	api_reply_free(&reply);
	error = json_object_get(doc, "error");
	if (doc == NULL)
		doctor_say(d, DOCTOR_FAIL, 1, "store", "", "the answer is no document");
	else if (error != NULL)
		doctor_say(d, DOCTOR_FAIL, (int)cli_num(error, "code"), "store", cli_str(error, "hint"), "%s", cli_str(error, "message"));
	else
		tell(d, doc);
	json_decref(doc);
	return doc != NULL && error == NULL;
}

/* ---------------------------------------------------------------- the whole */

static int
doctor_configured(struct doctor *d)
{
	struct agent_options o;
	struct agent        *a;
	struct err           e = { .code = ERR_OK };
	int                  stopped = 0;

	cli_agent_options(d->c, CLI_MAKES_STORE, &o);
	o.no_store = true;
	if (agent_open(&o, &a, &e) == ERR_OK) {
		doctor_say(d, DOCTOR_OK, 0, "configuration", "", "%s, %zu backends, %zu edges", agent_plan(a)->path, agent_plan(a)->nbackends,
		    agent_plan(a)->nedges);
		d->store = xstrdup(agent_settings(a)->store);
		plan_advise(agent_plan(a), doctor_advice, d);
		doctor_memory(d);
		stopped = doctor_places(d, a);
		if (stopped == 0)
			stopped = doctor_coordinators(d, a);
	} else {
		doctor_say(d, DOCTOR_FAIL, err_exit(ERR_CONFIG), "configuration", e.hint, "%s", e.msg);
	}
	agent_close(a);
	return stopped;
}

int
cli_doctor(struct cli *c)
{
	struct doctor d = { .c = c, .checks = json_array() };
	int           stopped, code;
	json_t       *doc;

	doctor_libraries(&d);
	stopped = doctor_configured(&d);
	if (stopped == 0 && d.store != NULL && doctor_store_folder(&d)) {
		doctor_disk(&d);
		if (doctor_ask(&d, "GET", "status", doctor_status))
			doctor_ask(&d, "POST", "check", doctor_check);
	}
	code = stopped != 0 ? stopped : d.code != 0 ? d.code : d.warned ? DOCTOR_WARN_EXIT : 0;
	doc = json_pack("{s:s, s:b, s:i, s:o}", "format_version", "1.0", "ok", code == 0, "exit_code", code, "checks", d.checks);
	if (c->json) {
		json_dumpf(doc, stdout, 0);
		putchar('\n');
	}
	json_decref(doc);
	free(d.store);
	return code;
}
