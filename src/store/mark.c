/* SPDX-License-Identifier: MIT */
/* Small values that other layers keep under a name of theirs: batch_meta() and store_meta(). */
#include "store/batch.h"

bool
store_meta(struct store_txn *t, const char *key, struct span *ret)
{
	struct key k = key_mark(t->s, key);

	return rec_get_bytes(t, DB_MARKS, &k, ret);
}

bool
mark_put(struct store_txn *t, struct batch *b, struct batch_op *op)
{
	struct key k = key_mark(t->s, op->u.meta.key);

	(void)b;
	return op->u.meta.del ? rec_del(t, DB_MARKS, &k) : rec_put_bytes(t, DB_MARKS, &k, op->u.meta.value);
}
