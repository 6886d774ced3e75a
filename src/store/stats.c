/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "store/internal.h"

static void
stats_of_file(struct store *s, struct store_stats *ret)
{
	MDB_envinfo info;
	MDB_stat    st;

	if (mdb_env_info(s->env, &info) != 0 || mdb_env_stat(s->env, &st) != 0)
		return;
	ret->map_bytes = info.me_mapsize;
	ret->file_bytes = (info.me_last_pgno + 1) * st.ms_psize;
}

void
store_stats(struct store *s, struct store_stats *ret)
{
	struct store_txn t;
	struct counters  n;

	memset(ret, 0, sizeof(*ret));
	pthread_mutex_lock(&s->writer.lock);
	ret->commits = s->writer.commits;
	ret->batches = s->writer.batches;
	pthread_mutex_unlock(&s->writer.lock);
	if (txn_begin(s, TXN_LOOP, &t, NULL) != ERR_OK)
		return;
	ret->states = rec_count(&t, DB_STATES);
	ret->versions = rec_count(&t, DB_VERSIONS);
	ret->blobs = rec_count(&t, DB_BLOBS);
	if (txn_read_counters(&t, &n)) {
		ret->raw_bytes = n.raw_bytes;
		ret->blob_bytes = n.blob_bytes;
	}
	stats_of_file(s, ret);
	txn_abort(&t);
}
