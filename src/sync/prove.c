/* SPDX-License-Identifier: MIT */
#include <assert.h>
#include <stdlib.h>

#include "core.h"

/*
 * What a backend enforces: found out by a probe, kept in the store under its label together with what the label pointed to,
 * and asked before the first write to a target that has nothing but its preconditions. A mark "probe/LABEL":
 *
 *	1 YES|NO TIME          what probe_conditions among the checks amount to, and when (wall ms)
 *	WHERE                  what was probed: the answer is of no use once the label points elsewhere
 *	+NAME DETAIL           each check: + it is as it should be, - it is not, ! it is a lock that excludes nobody
 */
#define PROVE_NO_MS   ((int64_t)24 * 3600 * 1000) /* a NO holds so long: then the next write asks again, for servers are updated */
#define PROVE_KEY     "probe"

#define PROVE_WHERE_MAX 120 /* of a place, in a sentence */

enum prove_state { START, JOURNALLED, PROBED, SETTLED, NOTED, INVENTORY };

static const char *const prove_states[] = { "start", "journalled", "probed", "settled", "noted", "inventory" };

struct prove {
	struct op     op;
	struct place *place;
	struct ground *g;         /* of it, that is probed */
	bool          inventory;  /* there is one, and it is asked, too */
	bool          asked;      /* by a person: again, although the answer is known */
	bool          conditions; /* they are needed whatever lock there is */
	probe_fn     *fn;         /* NULL: nobody listens */
	void         *arg;
	struct proof *ret;        /* may be NULL */
	bool          running;    /* g->proving is ours */
	struct buf    lines;      /* of the record: what the checks said */
	struct buf    state;      /* whose own lock is tried; empty: of none */
	struct buf    there;      /* its name in g */
	struct probe_locks locks; /* of it */
	uint64_t      intents[2]; /* 0: none is open */
	struct err    outcome;    /* of the probe */
};

static void
prove_free(struct op *op)
{
	struct prove *p = container_of(op, struct prove, op);

	if (p->running)
		p->g->proving = false;
	for (size_t i = 0; i < ARRAY_LEN(p->intents); i++)
		if (p->intents[i] != 0)
			engine_live(p->place->engine, p->intents[i], NULL);
	buf_free(&p->lines);
	buf_free(&p->state);
	buf_free(&p->there);
	free(p);
}

/* --- where --- */

static void
prove_add_ground(struct place *p, struct backend *b, const struct buf *only)
{
	p->grounds = xreallocarray(p->grounds, p->ngrounds + 1, sizeof(*p->grounds));
	p->grounds[p->ngrounds++] = (struct ground){ .backend = b, .only = only->len > 0 ? xstrdup(buf_str(only)) : NULL };
}

void
prove_init(struct place *p)
{
	const struct provider *kind = p->backend->provider;
	struct backend        *b;
	struct buf             only;

	buf_init(&only, 0);
	if (kind->storage == NULL)
		prove_add_ground(p, p->backend, &only);
	while (kind->storage != NULL && (b = kind->storage(p->backend, p->ngrounds, &only)) != NULL) {
		prove_add_ground(p, b, &only);
		buf_reset(&only);
	}
	buf_free(&only);
}

void
prove_free_grounds(struct place *p)
{
	for (size_t i = 0; i < p->ngrounds; i++)
		free(p->grounds[i].only);
	free(p->grounds);
}

/* Where a name lies, and what it is called there; the first where that has to be found yet. NULL: nowhere that can be written. */
static struct ground *
place_ground(const struct place *p, const char *name, struct buf *there)
{
	const struct backend *b = p->backend;

	if (b->provider->behind != NULL)
		b = b->provider->behind(b, name, there);
	else
		buf_puts(there, name);
	for (size_t i = 0; i < p->ngrounds; i++)
		if (p->grounds[i].backend == b)
			return &p->grounds[i];
	return p->ngrounds > 0 ? &p->grounds[0] : NULL;
}

/* "LABEL", or which of its several. */
static const char *
ground_name(const struct place *p, const struct ground *g, char ret[ERR_MSG_MAX])
{
	snprintf(ret, ERR_MSG_MAX, "%s%s%.*s%s", p->backend->label, p->ngrounds > 1 ? " (" : "", p->ngrounds > 1 ? PROVE_WHERE_MAX : 0,
	    g->backend->where, p->ngrounds > 1 ? ")" : "");
	return ret;
}

/* All of them as one: what any of them lacks, it lacks. */
static void
prove_sum(struct place *p)
{
	struct proof *all = &p->proof;

	*all = (struct proof){ .known = p->ngrounds > 0, .holds = p->ngrounds > 0 };
	for (size_t i = 0; i < p->ngrounds; i++) {
		const struct proof *f = &p->grounds[i].proof;

		all->known &= f->known;
		all->holds &= f->holds;
		all->no_lock |= f->no_lock;
		all->when = i == 0 || f->when < all->when ? f->when : all->when;
		if (all->why[0] == '\0')
			memcpy(all->why, f->why, sizeof(all->why));
	}
}

/* --- the record --- */

/* A detail may quote a server. */
static void
prove_put_line(struct buf *b, const char *text)
{
	for (; *text != '\0'; text++)
		buf_printf(b, "%c", (unsigned char)*text < ' ' ? ' ' : *text);
	buf_puts(b, "\n");
}

/* For people, with what speaks against it. */
static void
prove_say(const struct ground *g, char ret[2 * ERR_MSG_MAX])
{
	bool lock = (provider_caps(g->backend) & PROVIDER_LOCK_UNPROVEN) != 0;

	if (g->proof.holds || (lock && !g->proof.no_lock))
		snprintf(ret, 2 * ERR_MSG_MAX, "%s", lock ? "nothing speaks against its lock" : "it enforces preconditions");
	else
		snprintf(ret, 2 * ERR_MSG_MAX, "%s: %s", g->proof.no_lock ? "its lock excludes nobody" : "it does not enforce preconditions",
		    g->proof.why);
}

/* Each has a record of its own; that of the first has the place's name alone. */
static void
prove_key(const struct place *p, const struct ground *g, char ret[32])
{
	size_t i = (size_t)(g - p->grounds);

	snprintf(ret, 32, i == 0 ? PROVE_KEY : PROVE_KEY "-%zu", i);
}

static struct op *
prove_note(struct prove *p)
{
	struct engine      *e = p->place->engine;
	const struct proof *found = &p->g->proof;
	struct batch       *b;
	struct buf          key, value;
	char                said[2 * ERR_MSG_MAX], what[32];

	if (!engine_acts(e))
		return NULL;
	prove_say(p->g, said);
	prove_key(p->place, p->g, what);
	buf_init(&value, 0);
	buf_printf(&value, "1 %s %lld\n", found->holds ? "YES" : "NO", (long long)found->when);
	prove_put_line(&value, p->g->backend->where);
	buf_puts(&value, buf_str(&p->lines));
	place_key(p->place, what, &key);
	b = batch_new(e->store);
	batch_meta(b, buf_str(&key), buf_span(&value));
	engine_event(b, e, "probed", p->place->backend->label, "", "", "%s", said);
	buf_free(&key);
	buf_free(&value);
	return store_apply(e->store, b);
}

/* The line of a check; NULL: it was not told. */
static const char *
prove_find(const char *lines, const char *check)
{
	size_t n = strlen(check);

	for (const char *line = lines, *end; (end = strchr(line, '\n')) != NULL; line = end + 1)
		if (strncmp(line + 1, check, n) == 0 && line[1 + n] == ' ')
			return line;
	return NULL;
}

static bool
prove_is_good(const char *lines, const char *check)
{
	const char *line = prove_find(lines, check);

	return line != NULL && line[0] == '+';
}

static void
prove_why(const char *line, const char *name, struct proof *ret)
{
	size_t n = strlen(name);

	if (line != NULL && ret->why[0] == '\0')
		snprintf(ret->why, sizeof(ret->why), "%s:%.*s", name, (int)strcspn(line + 1 + n, "\n"), line + 1 + n);
}

/* What the lines of checks amount to, just told or read from the store. why: the first that fails of those that matter, as
 * "NAME: DETAIL". A lock that is an object created only if absent falls with that precondition. */
static void
prove_weigh(const struct backend *b, const char *lines, struct proof *ret)
{
	const char *lock = prove_find(lines, "lock");

	ret->no_lock = lock != NULL && lock[0] == '!';
	if (ret->no_lock && (provider_caps(b) & PROVIDER_LOCK_UNPROVEN) != 0)
		prove_why(lock, "lock", ret);
	ret->holds = true;
	for (size_t i = 0; i < PROBE_CONDITIONS; i++) {
		if (prove_is_good(lines, probe_conditions[i]))
			continue;
		ret->holds = false;
		prove_why(prove_find(lines, probe_conditions[i]), probe_conditions[i], ret);
	}
	if (!ret->holds && ret->why[0] == '\0')
		snprintf(ret->why, sizeof(ret->why), "it was not tried");
	if ((provider_caps(b) & PROVIDER_UNPROVEN) != 0)
		ret->no_lock |= !prove_is_good(lines, "create_only") && !prove_is_good(lines, "lock");
}

static void
prove_recall_ground(const struct place *p, struct ground *g, struct store_txn *t)
{
	struct span value;
	char       *text, word[4], *where, what[32];
	long long   when = 0;
	int         used = 0;

	prove_key(p, g, what);
	if (place_noted(p, t, what, &value)) {
		text = span_dup(value);
		/* NOLINTNEXTLINE(cert-err34-c): we wrote this number */
		where = sscanf(text, "1 %3s %lld%n", word, &when, &used) == 2 && text[used] == '\n' ? text + used + 1 : text;
		used = (int)strcspn(where, "\n");
		if (where != text && where[used] == '\n' && span_is(span_of(where, (size_t)used), g->backend->where)) {
			g->proof = (struct proof){ .known = true, .when = when };
			prove_weigh(g->backend, where + used + 1, &g->proof);
			g->proof.holds = strcmp(word, "YES") == 0;
		}
		free(text);
	}
}

void
prove_recall(struct place *p, struct store_txn *t)
{
	for (size_t i = 0; i < p->ngrounds; i++)
		prove_recall_ground(p, &p->grounds[i], t);
	prove_sum(p);
}

/* --- when it is asked --- */

/* Has that target nothing but what is only promised? A lock beside preconditions is trusted until a probe has shown that it is none. */
static bool
prove_is_due(const struct ground *g)
{
	const struct backend *b = g->backend;

	if (b->common.exclusive)
		return false;
	if ((provider_caps(b) & PROVIDER_LOCK) == 0)
		return (provider_caps(b) & PROVIDER_UNPROVEN) != 0;
	return g->proof.known ? g->proof.no_lock : (provider_caps(b) & PROVIDER_LOCK_UNPROVEN) != 0;
}

/* Was it found wanting, and is that not too long ago? A time that is yet to come was told by a wrong clock. */
static bool
prove_is_no(const struct place *p, const struct ground *g)
{
	int64_t age = loop_wall(p->engine->loop) - g->proof.when;

	return g->proof.known && !g->proof.holds && age >= 0 && age < PROVE_NO_MS;
}

static bool
prove_is_yes(const struct ground *g)
{
	return g->proof.known && g->proof.holds;
}

/* The same for what needs preconditions beside any lock. */
static bool
prove_conditions_are_due(const struct ground *g)
{
	return !g->backend->common.exclusive && (provider_caps(g->backend) & PROVIDER_UNPROVEN) != 0;
}

static bool
prove_needs(const struct prove *p)
{
	return p->conditions ? prove_conditions_are_due(p->g) : prove_is_due(p->g);
}

static enum err_code
prove_refuse(const struct place *p, const struct ground *g, struct err *reterr)
{
	bool locks = (provider_caps(g->backend) & PROVIDER_LOCK) != 0;
	char name[ERR_MSG_MAX];

	err_set(reterr, ERR_CONFLICT, 0, "%s has %s and does not enforce preconditions (%s)", ground_name(p, g, name),
	    locks ? "a lock that excludes nobody" : "no lock", g->proof.why);
	return err_hint(reterr, PROVIDER_UNWRITABLE_HINT, p->backend->label);
}

static enum err_code
prove_refuse_lease(const struct place *p, const struct ground *g, struct err *reterr)
{
	err_set(reterr, ERR_CONFLICT, 0, "%s cannot carry a lease: it does not enforce preconditions (%s)", p->backend->label, g->proof.why);
	return err_hint(reterr, "\"stateferry probe %s\" shows what it enforces; agents can share only what does", p->backend->label);
}

static enum err_code
ground_writable(const struct place *p, const struct ground *g, struct err *reterr)
{
	if (provider_writable_in(p->backend, g->backend, reterr) != ERR_OK)
		return reterr->code;
	return prove_is_due(g) && prove_is_no(p, g) ? prove_refuse(p, g, reterr) : ERR_OK;
}

/* NULL: any of them will do. ret_found: that name is known to lie there. */
static const struct ground *
place_ground_or_good(const struct place *p, const char *name, bool *ret_found)
{
	const struct ground *g = NULL;
	struct buf           there;
	struct err           e;

	buf_init(&there, 0);
	if (name != NULL)
		g = place_ground(p, name, &there);
	*ret_found = name == NULL || there.len > 0;
	for (size_t i = 0; name == NULL && i < p->ngrounds && (g == NULL || ground_writable(p, g, &e) != ERR_OK); i++)
		g = &p->grounds[i];
	buf_free(&there);
	return g;
}

enum err_code
place_writable(const struct place *p, const char *name, struct err *reterr)
{
	bool                 found;
	const struct ground *g = place_ground_or_good(p, name, &found);

	if (provider_writable_in(p->backend, g != NULL && found ? g->backend : p->backend, reterr) != ERR_OK)
		return reterr->code;
	return g != NULL && prove_is_due(g) && prove_is_no(p, g) ? prove_refuse(p, g, reterr) : ERR_OK;
}

enum err_code
engine_writable(struct engine *e, const char *backend, bool *ret_locks, struct err *reterr)
{
	const struct backend *b = plan_backend(e->plan, backend);
	const struct place   *p = b != NULL ? engine_place(e, b) : NULL;

	*ret_locks = p != NULL && p->ngrounds > 0 && !p->proof.no_lock;
	for (size_t i = 0; p != NULL && i < p->ngrounds; i++) {
		*ret_locks &= (provider_caps(p->grounds[i].backend) & PROVIDER_LOCK) != 0;
		if (ground_writable(p, &p->grounds[i], reterr) != ERR_OK)
			return reterr->code;
	}
	return p != NULL && p->ngrounds == 0 ? provider_writable(b, reterr) : ERR_OK;
}

bool
place_asks_probe(const struct place *p, const char *name)
{
	bool                 found;
	const struct ground *g = place_ground_or_good(p, name, &found);

	return g != NULL && prove_is_due(g) && !prove_is_yes(g) && !prove_is_no(p, g);
}

/* --- the operation --- */

static void
prove_seen(void *arg, const struct probe_check *c)
{
	struct prove *p = arg;
	char          detail[2 * ERR_MSG_MAX];

	buf_printf(&p->lines, "%c%s ", c->ok ? '+' : c->useless ? '!' : '-', c->name);
	prove_put_line(&p->lines, c->detail);
	snprintf(detail, sizeof(detail), "%s: %s", p->g->backend->where, c->detail);
	if (p->fn != NULL)
		p->fn(p->arg, p->place->ngrounds == 1 ? c : &(struct probe_check){ c->name, c->ok, detail, c->useless });
}

static void
prove_intent(struct prove *p, size_t i, bool uncertain, struct batch *b)
{
	lock_intend(b, p->place->engine, p->intents[i], p->place->backend, buf_str(&p->state), &p->locks.lock[i], uncertain);
}

/* The lock of a state may keep terraform waiting: both that are tried are on the disk before they are on the wire. */
static struct op *
prove_journal(struct prove *p)
{
	struct engine   *e = p->place->engine;
	struct batch    *b;
	struct state_ref ref;

	p->running = p->g->proving = true;
	if (!engine_acts(e) || p->place->backend->common.read_only ||
	    (p->state.len == 0 && !provider_probe_state(p->g->backend, &p->there)))
		return NULL;
	if (p->state.len == 0)
		buf_puts(&p->state, p->g->only != NULL ? p->g->only : buf_str(&p->there));
	ref.name = p->locks.name = buf_str(&p->there);
	b = batch_new(e->store);
	for (size_t i = 0; i < ARRAY_LEN(p->intents); i++) {
		provider_lock_new(p->g->backend, &ref, "probe", &p->locks.lock[i]);
		p->intents[i] = intent_new_id(e->store);
		engine_live_alone(e, p->intents[i]);
		prove_intent(p, i, true, b);
	}
	return store_apply(e->store, b);
}

static struct op *
prove_begin(struct prove *p)
{
	return provider_probe_locking(p->g->backend, p->intents[0] != 0 ? &p->locks : NULL, prove_seen, p);
}

/* What is locked, or may be because a request is still under way, is for recovery. */
static struct op *
prove_settle(struct prove *p)
{
	struct engine *e = p->place->engine;
	enum err_code  rc = p->outcome.code;
	struct batch  *b;

	if (p->intents[0] == 0)
		return NULL;
	op_shield(&p->op);
	b = batch_new(e->store);
	for (size_t i = 0; i < ARRAY_LEN(p->intents); i++) {
		bool late = p->locks.lock[i].late || rc == ERR_UNCERTAIN;

		engine_live(e, p->intents[i], NULL);
		if (p->locks.sent && (rc != ERR_OK || late)) {
			prove_intent(p, i, late, b);
			engine_recover_soon(e);
		} else {
			batch_settle(b, p->intents[i]);
		}
		p->intents[i] = 0;
	}
	return store_apply(e->store, b);
}

/* Is there an answer, although the probe may have ended badly? Who may write but not delete cannot be helped by another try. */
static bool
prove_is_answer(const struct prove *p)
{
	enum err_code rc = p->op.res.code;

	return rc == ERR_OK || (rc == ERR_AUTH && prove_is_good(buf_str(&p->lines), "create_only"));
}

static enum op_turn
prove_probed(struct prove *p)
{
	struct op    *op = &p->op;
	struct proof *found = &p->g->proof;
	char          said[2 * ERR_MSG_MAX], name[ERR_MSG_MAX];

	p->running = p->g->proving = false;
	if (op->res.code == ERR_CANCELLED || !prove_is_answer(p)) {
		if (op->cancelled && !p->asked) /* nothing happened to any state */
			err_set(&op->res, ERR_CANCELLED, 0, "cancelled");
		if (op->res.hint[0] == '\0')
			err_hint(&op->res, "\"stateferry probe %s\" shows how far it comes", p->place->backend->label);
		return op_fail(op);
	}
	*found = (struct proof){ .known = true, .when = loop_wall(op->loop) };
	prove_weigh(p->g->backend, buf_str(&p->lines), found);
	prove_sum(p->place);
	prove_say(p->g, said);
	log_at(prove_needs(p) && !found->holds ? LOG_WARN : LOG_INFO, ground_name(p->place, p->g, name), "probed: %s", said);
	if (op_failed(op)) /* it may have left something behind */
		log_at(LOG_WARN, p->place->backend->label, "%s", op->res.msg);
	if (p->asked) /* the person hears of that, too */
		op->err = op->res;
	return op_await(op, NOTED, prove_note(p));
}

/* A person asks for all of them. */
static enum op_turn
prove_noted(struct prove *p)
{
	struct op *op = &p->op, *ask;

	if (p->asked && (size_t)(p->g - p->place->grounds) + 1 < p->place->ngrounds) {
		p->g++;
		buf_reset(&p->lines);
		buf_reset(&p->state);
		buf_reset(&p->there);
		memset(&p->locks, 0, sizeof(p->locks));
		return op_go(op, START);
	}
	if (p->ret != NULL)
		*p->ret = p->place->proof;
	if (p->asked) {
		ask = provider_ask(p->place->backend, "");
		p->inventory = ask != NULL;
		return op_await(op, INVENTORY, ask);
	}
	if (prove_needs(p) && !prove_is_yes(p->g)) {
		if (p->conditions)
			prove_refuse_lease(p->place, p->g, &op->res);
		else
			prove_refuse(p->place, p->g, &op->res);
		return op_fail(op);
	}
	return op_finish(op);
}

/* What says which names there are has credentials of its own. */
static enum op_turn
prove_asked(struct prove *p)
{
	struct op *op = &p->op;
	bool       ok = !op_failed(op);

	if (op->res.code == ERR_CANCELLED)
		return op_fail(op);
	if (p->inventory && p->fn != NULL)
		p->fn(p->arg, &(struct probe_check){ "inventory", ok, ok ? "it can be read" : op->res.msg, false });
	err_clear(&op->res);
	if (p->place->proof.holds && p->place->engine->started && !p->place->engine->stopping)
		timer_set(&p->place->poll, HINT_WAIT_MS); /* what was held for that reason need not wait for the next poll */
	return op_finish(op);
}

static enum op_turn
prove_step(struct op *op)
{
	struct prove *p = container_of(op, struct prove, op);

	switch ((enum prove_state)op->state) {
	case START:
		if (op_failed(op))
			return op_fail(op);
		if (p->g->proving) /* of another write to the same target */
			return op_await(op, START, op_sleep(op->loop, ENDED_LOOK_MS));
		if (!p->asked && (prove_is_yes(p->g) || prove_is_no(p->place, p->g)))
			return op_go(op, NOTED);
		return op_await(op, JOURNALLED, prove_journal(p));
	case JOURNALLED:
		if (op_failed(op))
			return op_fail(op);
		return op_await(op, PROBED, prove_begin(p));
	case PROBED:
		p->outcome = op->res;
		return op_await(op, SETTLED, prove_settle(p));
	case SETTLED:
		if (p->outcome.code != ERR_OK)
			op->res = p->outcome;
		return prove_probed(p);
	case NOTED:
		if (op_failed(op))
			return op_fail(op);
		return prove_noted(p);
	case INVENTORY:
		return prove_asked(p);
	}
	return OP_DONE;
}

static const struct op_class prove_class = { "prove", prove_step, NULL, prove_free, prove_states, ARRAY_LEN(prove_states) };

static struct prove *
prove_new(struct place *place, struct ground *g)
{
	struct prove *p = xcalloc(1, sizeof(*p));

	op_init(&p->op, &prove_class, place->engine->loop);
	p->place = place;
	p->g = g;
	buf_init(&p->lines, 0);
	buf_init(&p->state, 0);
	buf_init(&p->there, 0);
	return p;
}

struct op *
prove_op(struct place *place, const char *name)
{
	struct prove  *p = NULL;
	struct buf     there;
	struct ground *g;

	buf_init(&there, 0);
	g = place_ground(place, name, &there);
	if (g != NULL && prove_is_due(g) && !prove_is_yes(g)) {
		p = prove_new(place, g);
		if ((provider_caps(g->backend) & PROVIDER_LOCK_UNPROVEN) != 0 && there.len > 0) { /* no other name need be known there */
			buf_puts(&p->state, name);
			buf_puts(&p->there, buf_str(&there));
		}
	}
	buf_free(&there);
	return p != NULL ? &p->op : NULL;
}

struct op *
prove_conditions_op(struct place *place)
{
	struct ground *g = place->ngrounds > 0 ? &place->grounds[0] : NULL;
	struct prove  *p;

	if (g == NULL || !prove_conditions_are_due(g) || prove_is_yes(g))
		return NULL;
	p = prove_new(place, g);
	p->conditions = true;
	return &p->op;
}

struct op *
engine_probe(struct engine *e, const char *backend, probe_fn *fn, void *arg, struct proof *ret)
{
	struct backend *b = plan_backend(e->plan, backend);
	struct place   *place = b != NULL ? engine_place(e, b) : NULL;
	struct prove   *p;
	struct err      err;

	if (b == NULL)
		return op_error(e->loop, ERR_USAGE, 0, "no backend is called \"%s\"", backend);
	if (provider_within_reach(b, &err) != ERR_OK)
		return op_result(e->loop, &err);
	p = prove_new(place, &place->grounds[0]);
	p->asked = true;
	p->fn = fn;
	p->arg = arg;
	p->ret = ret;
	return hold_op(e, &p->op);
}
