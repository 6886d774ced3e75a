/* SPDX-License-Identifier: MIT */
/*
 * Records in databases: a format byte, then the members, or what AES-256-GCM made of them. The associated data is
 * database, format byte and key, so that no sealed value can be moved to another place.
 */
#include <assert.h>
#include <string.h>

#include "base/mem.h"
#include "store/internal.h"

#define REC_AAD_MAX (2 + sizeof(((struct key *)NULL)->b))

static MDB_val
rec_val(struct span s)
{
	return (MDB_val){ s.n, (void *)(uintptr_t)s.p };
}

static struct span
rec_span(MDB_val v)
{
	return span_of(v.mv_data, v.mv_size);
}

static struct span
key_span(const struct key *k)
{
	return span_of(k->b, k->n);
}

static struct span
rec_aad(enum db db, unsigned format, struct span key, uint8_t buf[REC_AAD_MAX])
{
	assert(key.n + 2 <= REC_AAD_MAX);
	buf[0] = (uint8_t)db;
	buf[1] = (uint8_t)format;
	memcpy(buf + 2, key.p, key.n);
	return span_of(buf, key.n + 2);
}

static struct arena *
rec_arena(struct store_txn *t)
{
	if (t->arena == NULL)
		t->arena = arena_new();
	return t->arena;
}

static struct span
rec_keep(struct store_txn *t, struct span data)
{
	char *copy = arena_alloc(rec_arena(t), data.n + 1);

	if (data.n > 0)
		memcpy(copy, data.p, data.n);
	return span_of(copy, data.n);
}

static bool
rec_unreadable(struct store_txn *t, enum db db, const char *why)
{
	txn_fail(t, ERR_CORRUPT, 0, "store: a record of %s %s", store_db_names[db], why);
	err_hint(&t->err, "run \"stateferry check\"");
	return false;
}

/* The payload behind the format byte, opened. In a plain store it lies in the map: a write must not rely on that,
 * because its own puts move pages. */
static bool
rec_payload(struct store_txn *t, enum db db, struct span key, struct span value, struct span *ret)
{
	uint8_t    aad[REC_AAD_MAX];
	struct err e = { 0 };

	if (value.n < 1)
		return rec_unreadable(t, db, "is empty");
	if (key.n + 2 > REC_AAD_MAX)
		return rec_unreadable(t, db, "has a key that is too long");
	if (t->s->key == NULL) {
		*ret = span_of(value.p + 1, value.n - 1);
		if (t->place == TXN_WRITE)
			*ret = rec_keep(t, *ret);
		return true;
	}
	buf_reset(&t->scratch);
	if (crypt_open(t->s->key, rec_aad(db, value.p[0], key, aad), span_of(value.p + 1, value.n - 1),
	    &t->scratch, &e) != ERR_OK)
		return rec_unreadable(t, db, "does not open with the store's key: it was changed");
	*ret = rec_keep(t, buf_span(&t->scratch));
	mem_wipe(t->scratch.data, t->scratch.len);
	return true;
}

bool
rec_open(struct store_txn *t, enum db db, struct span key, struct span value, const struct rec_type *type, void *ret)
{
	struct span payload;

	if (!rec_payload(t, db, key, value, &payload))
		return false;
	if (!rec_decode(type, value.p[0], payload, ret))
		return rec_unreadable(t, db, value.p[0] > type->format
		    ? "has a format that is newer than this program" : "is damaged");
	return true;
}

bool
rec_open_bytes(struct store_txn *t, enum db db, struct span key, struct span value, struct span *ret)
{
	if (!rec_payload(t, db, key, value, ret))
		return false;
	return value.p[0] == rec_bytes.format || rec_unreadable(t, db, "has an unknown format");
}

static bool
rec_find(struct store_txn *t, enum db db, const struct key *k, struct span *ret)
{
	MDB_val key = rec_val(key_span(k)), value;
	int     rc = mdb_get(t->txn, t->s->dbi[db], &key, &value);

	if (rc == MDB_NOTFOUND)
		return false;
	if (rc != 0)
		return txn_fail_lmdb(t, rc, db, "read of");
	*ret = rec_span(value);
	return true;
}

bool
rec_get(struct store_txn *t, enum db db, const struct key *k, const struct rec_type *type, void *ret)
{
	struct span value;

	return rec_find(t, db, k, &value) && rec_open(t, db, key_span(k), value, type, ret);
}

bool
rec_get_bytes(struct store_txn *t, enum db db, const struct key *k, struct span *ret)
{
	struct span value;

	return rec_find(t, db, k, &value) && rec_open_bytes(t, db, key_span(k), value, ret);
}

bool
rec_append_bytes(struct store_txn *t, enum db db, const struct key *k, struct buf *out)
{
	uint8_t     aad[REC_AAD_MAX];
	struct err  e = { 0 };
	struct span value;

	if (!rec_find(t, db, k, &value))
		return false;
	if (value.n < 1 || value.p[0] != rec_bytes.format)
		return rec_unreadable(t, db, "has an unknown format");
	if (t->s->key == NULL) {
		if (buf_add(out, value.p + 1, value.n - 1, &e) != ERR_OK)
			return txn_fail_err(t, &e);
		return true;
	}
	if (crypt_open(t->s->key, rec_aad(db, value.p[0], key_span(k), aad), span_of(value.p + 1, value.n - 1),
	    out, &e) != ERR_OK)
		return rec_unreadable(t, db, "does not open with the store's key: it was changed");
	return true;
}

bool
rec_has(struct store_txn *t, enum db db, const struct key *k)
{
	struct span value;

	return rec_find(t, db, k, &value);
}

static bool
rec_store(struct store_txn *t, enum db db, struct span key, struct span value)
{
	MDB_val k = rec_val(key), v = rec_val(value);
	int     rc;

	assert(t->place == TXN_WRITE);
	if (txn_failed(t))
		return false;
	rc = mdb_put(t->txn, t->s->dbi[db], &k, &v, 0);
	if (rc != 0)
		return txn_fail_lmdb(t, rc, db, "write to");
	t->dirty = true;
	return true;
}

static bool
rec_seal(struct store_txn *t, enum db db, struct span key, unsigned format, struct span payload)
{
	struct store *s = t->s;
	uint8_t       aad[REC_AAD_MAX];
	struct err    e = { 0 };
	struct buf    sealed;
	bool          ok;

	buf_init(&sealed, payload.n + CRYPT_OVERHEAD + 1);
	buf_putc(&sealed, (char)format);
	if (crypt_seal(s->key, s->writer.rand, rec_aad(db, format, key, aad), payload, &sealed, &e) != ERR_OK)
		ok = txn_fail_err(t, &e);
	else
		ok = rec_store(t, db, key, buf_span(&sealed));
	buf_free(&sealed);
	return ok;
}

bool
rec_put(struct store_txn *t, enum db db, const struct key *k, const struct rec_type *type, const void *rec)
{
	bool ok;

	if (txn_failed(t))
		return false;
	buf_reset(&t->scratch);
	if (t->s->key == NULL) {
		buf_putc(&t->scratch, (char)type->format);
		rec_encode(type, rec, &t->scratch);
		return rec_store(t, db, key_span(k), buf_span(&t->scratch));
	}
	rec_encode(type, rec, &t->scratch);
	ok = rec_seal(t, db, key_span(k), type->format, buf_span(&t->scratch));
	mem_wipe(t->scratch.data, t->scratch.len);
	return ok;
}

/* Without a second copy: the value's place in the page is written directly. */
static bool
rec_store_bytes(struct store_txn *t, enum db db, const struct key *k, struct span payload)
{
	MDB_val  key = rec_val(key_span(k)), v = { payload.n + 1, NULL };
	uint8_t *p;
	int      rc = mdb_put(t->txn, t->s->dbi[db], &key, &v, MDB_RESERVE);

	if (rc != 0)
		return txn_fail_lmdb(t, rc, db, "write to");
	p = v.mv_data;
	p[0] = (uint8_t)rec_bytes.format;
	if (payload.n > 0)
		memcpy(p + 1, payload.p, payload.n);
	t->dirty = true;
	return true;
}

bool
rec_put_bytes(struct store_txn *t, enum db db, const struct key *k, struct span value)
{
	assert(t->place == TXN_WRITE);
	if (txn_failed(t))
		return false;
	if (t->s->key != NULL)
		return rec_seal(t, db, key_span(k), rec_bytes.format, value);
	return rec_store_bytes(t, db, k, value);
}

bool
rec_del(struct store_txn *t, enum db db, const struct key *k)
{
	MDB_val key = rec_val(key_span(k));
	int     rc;

	assert(t->place == TXN_WRITE);
	if (txn_failed(t))
		return false;
	rc = mdb_del(t->txn, t->s->dbi[db], &key, NULL);
	if (rc == MDB_NOTFOUND)
		return true;
	if (rc != 0)
		return txn_fail_lmdb(t, rc, db, "deletion in");
	t->dirty = true;
	return true;
}

uint64_t
rec_count(struct store_txn *t, enum db db)
{
	MDB_stat st;
	int      rc = mdb_stat(t->txn, t->s->dbi[db], &st);

	if (rc != 0) {
		txn_fail_lmdb(t, rc, db, "look at");
		return 0;
	}
	return st.ms_entries;
}

bool
meta_get_plain(struct store_txn *t, const char *name, struct span *ret)
{
	struct key k = key_text(name);

	return rec_find(t, DB_META, &k, ret);
}

bool
meta_put_plain(struct store_txn *t, const char *name, struct span value)
{
	struct key k = key_text(name);

	return rec_store(t, DB_META, key_span(&k), value);
}

/* ---------------------------------------------------------------- cursors */

/* The last key that begins with prefix: the one before the first that is greater than all of them. */
static int
walk_to_end(MDB_cursor *c, struct span prefix, MDB_val *key, MDB_val *value)
{
	struct key past = { .n = prefix.n };

	if (prefix.n > 0)
		memcpy(past.b, prefix.p, prefix.n);
	while (past.n > 0 && past.b[past.n - 1] == 0xff)
		past.n--;
	if (past.n == 0)
		return mdb_cursor_get(c, key, value, MDB_LAST);
	past.b[past.n - 1]++;
	*key = rec_val(key_span(&past));
	if (mdb_cursor_get(c, key, value, MDB_SET_RANGE) == MDB_NOTFOUND)
		return mdb_cursor_get(c, key, value, MDB_LAST);
	return mdb_cursor_get(c, key, value, MDB_PREV);
}

static int
walk_start(MDB_cursor *c, const struct walk *w, MDB_val *key, MDB_val *value)
{
	int rc;

	if (w->from == NULL) {
		if (w->down)
			return walk_to_end(c, w->prefix, key, value);
		if (w->prefix.n == 0)
			return mdb_cursor_get(c, key, value, MDB_FIRST);
		*key = rec_val(w->prefix);
		return mdb_cursor_get(c, key, value, MDB_SET_RANGE);
	}
	*key = rec_val(key_span(w->from));
	rc = mdb_cursor_get(c, key, value, MDB_SET_RANGE);
	if (!w->down)
		return rc;
	if (rc == MDB_NOTFOUND)
		return mdb_cursor_get(c, key, value, MDB_LAST);
	if (rc == 0 && !span_eq(rec_span(*key), key_span(w->from)))
		return mdb_cursor_get(c, key, value, MDB_PREV);
	return rc;
}

static bool
walk_inside(const struct walk *w, MDB_val key)
{
	return key.mv_size >= w->prefix.n && (w->prefix.n == 0 || memcmp(key.mv_data, w->prefix.p, w->prefix.n) == 0);
}

void
rec_walk(struct store_txn *t, const struct walk *w)
{
	MDB_cursor *c;
	MDB_val     key, value;
	int         rc = mdb_cursor_open(t->txn, t->s->dbi[w->db], &c);

	if (rc != 0) {
		txn_fail_lmdb(t, rc, w->db, "walk through");
		return;
	}
	for (rc = walk_start(c, w, &key, &value); rc == 0 && walk_inside(w, key);
	     rc = mdb_cursor_get(c, &key, &value, w->down ? MDB_PREV : MDB_NEXT)) {
		if (!w->fn(w->arg, t, rec_span(key), rec_span(value)))
			break;
		if (t->forget) {
			arena_free(t->arena);
			t->arena = NULL;
		}
	}
	mdb_cursor_close(c);
	if (rc != 0 && rc != MDB_NOTFOUND)
		txn_fail_lmdb(t, rc, w->db, "walk through");
}
