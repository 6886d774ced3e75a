/* SPDX-License-Identifier: MIT */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"
#include "push.h"

/*
 * Bringing a version back: push.c does the guarded write; here the serial is raised above everything terraform has seen, so
 * that plan and apply go on. The only bytes that change are the digits of the top-level serial (docs/protocol/state.md).
 */
struct restore {
	struct op              op;
	struct engine         *e;
	struct restore_result *ret;
	struct push           *push;      /* owned by op once awaited */
	struct push_result     result;
	struct err             refused;
	bool                   keep_serial, dry, here; /* here: back to where it came from */
	uint64_t               version, high_serial;
	uint64_t               serial;    /* that what is written gets */
	struct push           *writing;   /* of the job that gives it */
	struct digest          old;       /* of the version as kept */
	struct digest          head;
	uint64_t               head_number;
	bool                   has_head;
};

static struct restore *
restore_of(struct push *p)
{
	return p->arg;
}

/* --- the serial --- */

#define RESTORE_DIGITS 24        /* a serial and its NUL */
#define RESTORE_PIECE  (1 << 20) /* of a large state, copied at a time */

static struct body *
restore_patch_memory(const struct snapshot *old, const char *digits)
{
	struct span s = body_span(old->body);
	struct buf  out;

	buf_init(&out, s.n + RESTORE_DIGITS);
	buf_put(&out, s.p, (size_t)old->info.serial_start);
	buf_puts(&out, digits);
	buf_put(&out, s.p + old->info.serial_end, s.n - (size_t)old->info.serial_end);
	return body_new(&out);
}

/* Appends to the file what old holds from one offset to another. */
static enum err_code
restore_copy(int fd, uint64_t *size, const struct body *old, uint64_t from, uint64_t to, struct err *reterr)
{
	uint8_t      *piece = xmalloc(RESTORE_PIECE);
	size_t        n = 1;
	enum err_code rc = ERR_OK;

	while (rc == ERR_OK && from < to && n > 0) {
		rc = body_read(old, from, piece, to - from < RESTORE_PIECE ? (size_t)(to - from) : RESTORE_PIECE, &n, reterr);
		if (rc == ERR_OK)
			rc = body_file_add(fd, size, span_of(piece, n), reterr);
		from += n;
	}
	mem_wipe(piece, RESTORE_PIECE);
	free(piece);
	return rc;
}

static struct body *
restore_patch_file(struct store *s, const struct snapshot *old, const char *digits, struct err *reterr)
{
	uint64_t size = 0;
	int      fd = store_spool_open(s, reterr);

	if (fd < 0)
		return NULL;
	if (restore_copy(fd, &size, old->body, 0, old->info.serial_start, reterr) != ERR_OK ||
	    body_file_add(fd, &size, span_str(digits), reterr) != ERR_OK ||
	    restore_copy(fd, &size, old->body, old->info.serial_end, body_size(old->body), reterr) != ERR_OK) {
		close(fd);
		return NULL;
	}
	return body_from_fd(fd, size);
}

/* The digits of the serial, between bytes that stay as they are. */
static enum err_code
restore_patch_job(struct work_job *job, void *arg, struct err *reterr)
{
	struct restore *r = arg;
	struct push    *p = r->writing;
	struct snapshot patched;
	struct body    *body;
	char            digits[RESTORE_DIGITS];
	enum err_code   rc;

	(void)job;
	snprintf(digits, sizeof(digits), "%" PRIu64, r->serial);
	body = body_in_memory(p->next.body) ? restore_patch_memory(&p->next, digits) :
	                                      restore_patch_file(r->e->store, &p->next, digits, reterr);
	if (body == NULL)
		return reterr->code;
	body_free_on(body, r->e->work);
	if ((rc = snapshot_of(&patched, body, reterr)) == ERR_OK) {
		snapshot_free(&p->next);
		p->next = patched;
		p->want = p->next.digest;
	}
	body_unref(body);
	return rc;
}

static struct op *
restore_change(struct push *p)
{
	struct restore *r = restore_of(p);

	r->writing = p;
	return p->next.info.serial == r->serial ? NULL : work_by_size(r->e->work, body_size(p->next.body), restore_patch_job, r);
}

static uint64_t
restore_floor(const struct push *p)
{
	const struct restore *r = p->arg;
	uint64_t              floor = r->here ? r->high_serial : 0;

	if (!p->absent && p->cur.info.serial > floor)
		floor = p->cur.info.serial;
	if (p->next.info.serial > floor)
		floor = p->next.info.serial;
	return floor;
}

static enum err_code
restore_weigh(struct push *p, struct err *reterr)
{
	struct restore *r = restore_of(p);
	bool            empty = p->absent || p->cur.info.kind == STATE_EMPTY;

	p->cmp.action = COMPARE_WRITE;
	snprintf(p->cmp.reason, sizeof(p->cmp.reason), "replaced by the restore of version %" PRIu64, r->version);
	r->ret->changed_resources = push_changes(p);
	r->ret->had_before = !empty;
	r->ret->serial_before = empty ? 0 : p->cur.info.serial;
	if (!empty && digest_eq(&p->cur.digest, &r->old)) {
		p->cmp.action = COMPARE_CURRENT;
		r->ret->serial_after = p->cur.info.serial;
		r->ret->digest = p->cur.digest;
		return ERR_OK;
	}
	if (r->keep_serial && !empty) {
		err_set(reterr, ERR_CONFLICT, 0, "%s is not empty, so the serial has to be raised", p->name);
		return err_hint(reterr, "leave out --keep-serial");
	}
	r->serial = p->next.info.serial;
	if (!r->keep_serial && !(empty && !r->here) && p->next.info.kind != STATE_ENCRYPTED) {
		if (restore_floor(p) == UINT64_MAX)
			return err_set(reterr, ERR_UNSUPPORTED, 0, "%s has been at serial %" PRIu64 ", and there is none above it", p->name, UINT64_MAX);
		r->serial = restore_floor(p) + 1;
	}
	if (r->serial != p->next.info.serial && p->next.info.serial_start == p->next.info.serial_end)
		return err_set(reterr, ERR_UNSUPPORTED, 0, "version %" PRIu64 " has no serial that could be raised", r->version);
	return ERR_OK;
}

/* --- settling --- */

/* What was written is the head at once, by a person's decision, whatever it would be judged as. */
static void
restore_new_head(struct push *p, struct batch *b)
{
	struct restore    *r = restore_of(p);
	struct state_info *i = &p->next.info;
	char               reason[64];
	struct version_rec v = { .digest = p->next.digest, .serial = i->serial, .size = i->size, .instances = i->instances,
		.resources = i->resources, .lineage = i->lineage, .writer = i->writer, .kind = i->kind,
		.verdict = r->has_head ? VERDICT_ADVANCE : VERDICT_FIRST, .seen = loop_wall(p->e->loop), .run = p->lock.id,
		.who = p->lock.who, .operation = p->lock.operation, .origin = "restore", .added = -1, .changed = -1, .removed = -1,
		.parent = r->head_number };
	struct sighting    s = { .etag = p->cur.etag, .digest = &p->next.digest, .read = loop_wall(p->e->loop), .problem = "" };

	snprintf(reason, sizeof(reason), "restored from version %" PRIu64, r->version);
	v.reason = reason;
	if (r->has_head && digest_eq(&p->before, &r->head)) { /* what was replaced is the head before: then it was compared */
		v.added = p->meaning.added;
		v.changed = p->meaning.changed;
		v.removed = p->meaning.removed;
	}
	batch_body(b, p->next.body, &p->next.digest, &r->old);
	batch_version(b, p->backend, p->source, &v);
	batch_head(b, p->backend, p->source, r->has_head ? &r->head : NULL, &p->next.digest);
	batch_release(b, p->backend, p->source, &p->next.digest);
	batch_high_serial(b, p->backend, p->source, i->serial);
	batch_seen(b, p->backend, p->source, &s);
	engine_enqueue(p->e, b, p->dst, p->name);
}

static void
restore_settle(struct push *p, struct batch *b)
{
	struct restore *r = restore_of(p);
	char            op[ERR_MSG_MAX];

	push_lock_hint(p);
	p->ret->err = p->op.err;
	if (p->cmp.action == COMPARE_WRITE) {
		r->ret->serial_after = p->next.info.serial;
		r->ret->digest = p->next.digest;
	}
	r->ret->probe = p->dry && p->op.err.code == ERR_OK && p->cmp.action == COMPARE_WRITE &&
	    place_asks_probe(engine_place(p->e, p->dst), p->name);
	if (b == NULL || !p->wrote)
		return;
	if (r->here && !digest_eq(&p->next.digest, &r->head))
		restore_new_head(p, b);
	engine_event(b, p->e, "restored", p->backend, p->source, "", "version %" PRIu64 " to %s:%s as serial %" PRIu64, r->version,
	    p->dst->label, p->name, p->next.info.serial);
	snprintf(op, sizeof(op), "restore %s:%s", p->dst->label, p->name);
	log_event(LOG_INFO, op, "written", { "version", log_u64(r->version) }, { "serial", log_u64(p->next.info.serial) });
}

static const struct push_kind restore_kind = { INTENT_RESTORE, "restore", restore_weigh, push_can_count,
	restore_change, restore_settle, NULL };

/* --- the operation around it --- */

enum restore_state { START, WRITTEN };

static const char *const restore_states[] = { "start", "written" };

static enum op_turn
restore_step(struct op *op)
{
	struct restore *r = container_of(op, struct restore, op);
	struct push    *p = r->push;

	switch ((enum restore_state)op->state) {
	case START:
		op->res = r->refused;
		if (op_failed(op))
			return op_fail(op);
		r->push = NULL;
		return op_await(op, WRITTEN, &p->op);
	case WRITTEN:
		if (!op_failed(op) && r->here)
			engine_kick(r->e, NULL);
		return op_finish(op);
	}
	return OP_DONE;
}

static void
restore_free(struct op *op)
{
	struct restore *r = container_of(op, struct restore, op);

	if (r->push != NULL)
		op_free(&r->push->op);
	free(r);
}

static const struct op_class restore_class = { "restore", restore_step, NULL, restore_free, restore_states,
	ARRAY_LEN(restore_states) };

static enum err_code
restore_find(struct restore *r, struct store_txn *t, const struct restore_options *o, struct err *reterr)
{
	struct state_rec   s;
	struct version_rec v;
	struct state_info  good;

	if (!store_state(t, o->backend, o->name, &s))
		return err_set(reterr, ERR_NOT_FOUND, 0, "%s:%s is not known", o->backend, o->name);
	if (!store_version(t, s.id, o->version, &v) || v.dropped) {
		err_set(reterr, ERR_NOT_FOUND, 0, "%s:%s has no version %" PRIu64, o->backend, o->name, o->version);
		return err_hint(reterr, "choose one from \"stateferry log %s:%s\"", o->backend, o->name);
	}
	good.kind = v.kind;
	if (!state_is_good(&good)) {
		err_set(reterr, ERR_CONFLICT, 0, "version %" PRIu64 " of %s:%s is no state (%s)", v.number, o->backend, o->name, v.reason);
		return err_hint(reterr, "choose another one from \"stateferry log %s:%s\"", o->backend, o->name);
	}
	r->version = v.number;
	r->old = v.digest;
	r->high_serial = s.high_serial;
	r->has_head = s.head != 0;
	r->head = s.head_digest;
	r->head_number = s.head;
	r->push->state = s.id;
	r->push->want = v.digest;
	r->push->want_version = v.number;
	return ERR_OK;
}

static enum err_code
restore_prepare(struct restore *r, const struct restore_options *o, struct err *reterr)
{
	const char       *label = o->to_backend != NULL ? o->to_backend : o->backend;
	const char       *name = o->to_name != NULL ? o->to_name : o->name;
	struct backend   *dst = plan_backend(r->e->plan, label);
	struct store_txn *t;
	enum err_code     rc;

	if (dst == NULL)
		return err_set(reterr, ERR_USAGE, 0, "no backend is called \"%s\"", label);
	if (name_check(span_str(name), reterr) != ERR_OK || provider_holds_name(dst, name, reterr) != ERR_OK)
		return reterr->code;
	r->here = strcmp(label, o->backend) == 0 && strcmp(name, o->name) == 0;
	r->push = push_new(r->e, &restore_kind, dst, name);
	r->push->backend = xstrdup(o->backend);
	r->push->source = xstrdup(o->name);
	r->push->dry = r->push->prelook = o->dry_run;
	r->push->ret = &r->result;
	r->push->arg = r;
	snprintf(r->ret->to, sizeof(r->ret->to), "%s:%s", label, name);
	if (!engine_acts(r->e) && !o->dry_run) {
		err_set(reterr, ERR_CONFIG, 0, "this store is not active on this host");
		return err_hint(reterr, "stateferry adopt");
	}
	if (!place_may_act(engine_place(r->e, dst), reterr) || store_read(r->e->store, &t, reterr) != ERR_OK)
		return reterr->code;
	rc = restore_find(r, t, o, reterr);
	store_end(t);
	r->ret->from = r->version;
	return rc == ERR_OK && !o->dry_run ? provider_writable(dst, reterr) : rc;
}

struct op *
engine_restore(struct engine *e, const struct restore_options *o, struct restore_result *ret)
{
	struct restore *r = xcalloc(1, sizeof(*r));

	op_init(&r->op, &restore_class, e->loop);
	r->e = e;
	r->ret = ret;
	r->keep_serial = o->keep_serial;
	memset(ret, 0, sizeof(*ret));
	if (restore_prepare(r, o, &r->refused) == ERR_OK)
		err_clear(&r->refused);
	return hold_op(e, &r->op);
}

const char *
engine_restore_doing(const struct op *op)
{
	const struct op *restore = op->child; /* op is the hold_op() around it */

	return restore != NULL && restore->state == WRITTEN && restore->child != NULL ? push_doing(restore->child) : "starting";
}
