/* SPDX-License-Identifier: MIT */
/* Transactions: short reads on the loop, reads of the work pool, and the one write of the store thread. */
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "store/internal.h"

static void
txn_enter(struct store *s, enum txn_place place)
{
	if (place == TXN_LOOP)
		gate_loop_enter(s);
	else if (place == TXN_POOL)
		gate_pool_enter(s);
}

static void
txn_leave(struct store *s, enum txn_place place)
{
	if (place == TXN_LOOP)
		gate_loop_leave(s);
	else if (place == TXN_POOL)
		gate_pool_leave(s);
}

bool
txn_read_counters(struct store_txn *t, struct counters *ret)
{
	struct key k = key_text("counters");

	*ret = (struct counters){ 0 };
	return rec_get(t, DB_META, &k, &rec_counters, ret) || !txn_failed(t);
}

static void
txn_release(struct store_txn *t)
{
	arena_free(t->arena);
	buf_wipe_free(&t->scratch);
	txn_leave(t->s, t->place);
	t->txn = NULL;
}

void
txn_abort(struct store_txn *t)
{
	if (t->place == TXN_ENDED)
		return;
	mdb_txn_abort(t->txn);
	txn_release(t);
}

enum err_code
txn_begin(struct store *s, enum txn_place place, struct store_txn *t, struct err *reterr)
{
	int rc;

	*t = (struct store_txn){ .s = s, .place = place };
	txn_enter(s, place);
	if (s->env == NULL) {
		txn_leave(s, place);
		return err_set(reterr, ERR_IO, 0, "store: %s could not be opened again after a failure", s->dir);
	}
	rc = mdb_txn_begin(s->env, NULL, place == TXN_WRITE ? 0 : MDB_RDONLY, &t->txn);
	if (rc != 0) {
		txn_leave(s, place);
		return store_lmdb_err(reterr, rc, place == TXN_WRITE ? "write" : "read");
	}
	buf_init(&t->scratch, 0);
	if (place == TXN_WRITE && !txn_read_counters(t, &t->n)) {
		if (reterr != NULL)
			*reterr = t->err;
		txn_abort(t);
		return ERR_CORRUPT;
	}
	return ERR_OK;
}

enum err_code
txn_renew(struct store_txn *t, struct err *reterr)
{
	struct store  *s = t->s;
	enum txn_place place = t->place;
	enum err_code  code;

	txn_abort(t);
	code = txn_begin(s, place, t, reterr);
	if (code != ERR_OK)
		t->place = TXN_ENDED;
	return code;
}

uint64_t
store_commits(struct store_txn *t)
{
	struct counters n;

	return txn_read_counters(t, &n) ? n.commits : 0;
}

int
txn_commit(struct store_txn *t)
{
	struct key k = key_text("counters");
	int        rc;

	assert(t->place == TXN_WRITE);
	t->n.commits++;
	if (!rec_put(t, DB_META, &k, &rec_counters, &t->n)) {
		rc = t->rc != 0 ? t->rc : MDB_BAD_TXN;
		txn_abort(t);
		return rc;
	}
	rc = mdb_txn_commit(t->txn);
	txn_release(t);
	return rc;
}

void
txn_note(struct store_txn *t, enum err_code code, int rc, const char *fmt, ...)
{
	va_list ap;

	if (txn_failed(t))
		return;
	t->rc = rc;
	va_start(ap, fmt);
	err_vset(&t->err, code, rc, fmt, ap);
	va_end(ap);
}

void
txn_note_err(struct store_txn *t, const struct err *e)
{
	if (!txn_failed(t))
		t->err = *e;
}

void
txn_note_lmdb(struct store_txn *t, int rc, enum db db, const char *what)
{
	char where[64];

	if (txn_failed(t))
		return;
	snprintf(where, sizeof(where), "%s %s", what, store_db_names[db]);
	store_lmdb_err(&t->err, rc, where);
	t->rc = rc;
}

void
txn_pardon(struct store_txn *t)
{
	err_clear(&t->err);
	t->rc = 0;
}

/* ---------------------------------------------------------------- the loop's reads */

enum err_code
store_read(struct store *s, struct store_txn **ret, struct err *reterr)
{
	struct store_txn *t = xcalloc(1, sizeof(*t));
	enum err_code     code = txn_begin(s, TXN_LOOP, t, reterr);

	if (code != ERR_OK) {
		free(t);
		return code;
	}
	*ret = t;
	return ERR_OK;
}

void
store_end(struct store_txn *t)
{
	if (t == NULL)
		return;
	if (txn_failed(t))
		log_event(LOG_ERROR, "store", "a record cannot be read", { "reason", log_str(t->err.msg) });
	txn_abort(t);
	free(t);
}

enum err_code
store_txn_error(const struct store_txn *t, struct err *reterr)
{
	if (txn_failed(t) && reterr != NULL)
		*reterr = t->err;
	return t->err.code;
}
