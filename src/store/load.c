/* SPDX-License-Identifier: MIT */
/* Bodies out of the store: small ones at once, the rest on the work pool, large ones into a file. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"
#include "store/batch.h"

bool
store_has_body(struct store_txn *t, const struct digest *d)
{
	struct key k = key_digest(t->s, d);

	return rec_has(t, DB_DIGESTS, &k);
}

uint64_t
store_body_size(struct store_txn *t, const struct digest *d)
{
	struct blob b;

	return blob_find(t, d, &b) ? b.raw : 0;
}

static enum err_code
load_find(struct store_txn *t, const struct digest *d, struct blob *ret, struct err *reterr)
{
	char hex[DIGEST_HEX];

	if (blob_find(t, d, ret))
		return ERR_OK;
	if (txn_failed(t))
		return store_txn_error(t, reterr);
	return err_set(reterr, ERR_NOT_FOUND, 0, "store: no bytes with digest %.12s", digest_hex(d, hex));
}

enum err_code
store_body(struct store_txn *t, const struct digest *d, struct buf *ret, struct err *reterr)
{
	struct blob   b;
	enum err_code code = load_find(t, d, &b, reterr);

	return code == ERR_OK ? blob_decode(t, &b, ret, reterr) : code;
}

/* ---------------------------------------------------------------- on the work pool */

struct load {
	struct op        op;
	struct store    *s;
	struct digest    digest;
	struct body    **ret;
	/* the job's */
	struct work_job *job;
	struct buf       bytes;
	int              fd;
	uint64_t         size;   /* written to fd */
};

static bool
load_write(void *arg, struct span part, struct err *reterr)
{
	struct load *l = arg;

	return body_file_add(l->fd, &l->size, part, reterr) == ERR_OK;
}

/* Nothing may pin old pages for long: another transaction goes on, for pieces do not change while their blob is
 * there. */
static bool
load_renew(void *arg, struct store_txn *t, struct err *reterr)
{
	struct load *l = arg;

	if (work_cancelled(l->job)) {
		err_set(reterr, ERR_CANCELLED, 0, "store: reading was stopped");
		return false;
	}
	return txn_renew(t, reterr) == ERR_OK;
}

static enum err_code
load_to_file(struct load *l, struct store_txn *t, const struct blob *b, struct err *reterr)
{
	struct blob_sink sink = { load_write, load_renew, l };

	l->fd = store_spool_open(l->s, reterr);
	return l->fd < 0 ? ERR_IO : blob_stream(t, b, &sink, reterr);
}

static enum err_code
load_job(struct work_job *job, void *arg, struct err *reterr)
{
	struct load     *l = arg;
	struct store_txn t;
	struct blob      b;
	enum err_code    code;

	l->job = job;
	if ((code = txn_begin(l->s, TXN_POOL, &t, reterr)) != ERR_OK)
		return code;
	code = load_find(&t, &l->digest, &b, reterr);
	if (code == ERR_OK) {
		if (b.raw > BODY_SPOOL_ABOVE)
			code = load_to_file(l, &t, &b, reterr);
		else
			code = blob_decode(&t, &b, &l->bytes, reterr);
	}
	txn_abort(&t);
	return code;
}

enum load_state { LOAD_START, LOAD_DONE, LOAD_STATES };
static const char *const load_states[LOAD_STATES] = { "start", "loaded" };

static enum op_turn
load_step(struct op *op)
{
	struct load *l = container_of(op, struct load, op);

	switch ((enum load_state)op->state) {
	case LOAD_START:
		return op_await(op, LOAD_DONE, work_run(l->s->work, load_job, l));
	case LOAD_DONE:
		if (op_failed(op))
			return op_fail(op);
		if (l->fd >= 0)
			*l->ret = body_from_fd(l->fd, l->size);
		else
			*l->ret = body_new(&l->bytes);
		body_free_on(*l->ret, l->s->work);
		l->fd = -1;
		return op_finish(op);
	case LOAD_STATES:
		break;
	}
	return OP_DONE;
}

static void
load_free(struct op *op)
{
	struct load *l = container_of(op, struct load, op);

	if (l->fd >= 0)
		close(l->fd);
	buf_wipe_free(&l->bytes);
	free(l);
}

static const struct op_class load_class = {
	.name = "load",
	.step = load_step,
	.free = load_free,
	.states = load_states,
	.nstates = LOAD_STATES,
};

struct op *
store_body_load(struct store *s, const struct digest *d, struct body **ret)
{
	struct load *l = xcalloc(1, sizeof(*l));

	op_init(&l->op, &load_class, s->loop);
	l->s = s;
	l->digest = *d;
	l->ret = ret;
	l->fd = -1;
	buf_init(&l->bytes, (size_t)BODY_SPOOL_ABOVE + 1);
	return &l->op;
}
