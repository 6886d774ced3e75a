/* SPDX-License-Identifier: MIT */
/*
 * mdb_env_set_mapsize() and mdb_env_close() pull the map away under any open transaction without a word, so nobody may
 * be inside: the store thread has ended its own and waits here, the loop has none between turns, and the work pool's
 * are counted.
 */
#include <assert.h>

#include "store/internal.h"

void
gate_init(struct gate *g)
{
	pthread_mutex_init(&g->lock, NULL);
	pthread_cond_init(&g->change, NULL);
}

void
gate_free(struct gate *g)
{
	assert(g->ask == ASK_NOTHING && g->pool_readers == 0 && g->loop_readers == 0);
	pthread_cond_destroy(&g->change);
	pthread_mutex_destroy(&g->lock);
}

/* With nobody inside. */
static void
gate_perform(struct store *s)
{
	struct gate *g = &s->gate;

	err_clear(&g->why);
	if (g->ask == ASK_GROW && s->env != NULL) {
		store_env_grow(s, &g->why);
	} else {
		store_env_close(s);
		store_env_open(s, &g->why);
	}
	g->ok = g->why.code == ERR_OK;
	g->ask = ASK_NOTHING;
	pthread_cond_broadcast(&g->change);
}

/* On the loop: now, unless somebody reads; the last one to leave comes back here. */
static void
gate_on_post(void *arg)
{
	struct store *s = arg;
	struct gate  *g = &s->gate;

	pthread_mutex_lock(&g->lock);
	g->posted = false;
	if (g->ask != ASK_NOTHING && g->loop_readers == 0 && g->pool_readers == 0)
		gate_perform(s);
	pthread_mutex_unlock(&g->lock);
}

/* With the lock held. */
static void
gate_post(struct store *s)
{
	struct gate *g = &s->gate;

	if (g->posted)
		return;
	g->posted = true;
	loop_post(s->loop, &g->post, gate_on_post, s);
}

enum err_code
gate_ask(struct store *s, enum ask what, struct err *reterr)
{
	struct gate *g = &s->gate;
	bool         ok;

	pthread_mutex_lock(&g->lock);
	g->ask = what;
	if (!s->writer.running) {
		assert(g->loop_readers == 0);
		while (g->pool_readers > 0)
			pthread_cond_wait(&g->change, &g->lock);
		gate_perform(s);
	} else {
		gate_post(s);
		while (g->ask != ASK_NOTHING)
			pthread_cond_wait(&g->change, &g->lock);
	}
	ok = g->ok;
	if (!ok && reterr != NULL)
		*reterr = g->why;
	pthread_mutex_unlock(&g->lock);
	return ok ? ERR_OK : ERR_IO;
}

void
gate_loop_enter(struct store *s)
{
	s->gate.loop_readers++;
}

void
gate_loop_leave(struct store *s)
{
	struct gate *g = &s->gate;

	assert(g->loop_readers > 0);
	if (--g->loop_readers > 0 || !s->writer.running)
		return;
	pthread_mutex_lock(&g->lock);
	if (g->ask != ASK_NOTHING)
		gate_post(s);
	pthread_mutex_unlock(&g->lock);
}

void
gate_pool_enter(struct store *s)
{
	struct gate *g = &s->gate;

	pthread_mutex_lock(&g->lock);
	while (g->ask != ASK_NOTHING)
		pthread_cond_wait(&g->change, &g->lock);
	g->pool_readers++;
	pthread_mutex_unlock(&g->lock);
}

void
gate_pool_leave(struct store *s)
{
	struct gate *g = &s->gate;

	pthread_mutex_lock(&g->lock);
	assert(g->pool_readers > 0);
	g->pool_readers--;
	if (g->ask != ASK_NOTHING && g->pool_readers == 0) {
		if (!s->writer.running)
			pthread_cond_broadcast(&g->change);
		else
			gate_post(s);
	}
	pthread_mutex_unlock(&g->lock);
}
