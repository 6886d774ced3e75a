/* SPDX-License-Identifier: MIT */
/* Opening: the folder, the owner, the environment, the format, the key, the host; then what a crash left is swept. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "store/batch.h"

#define STORE_KEY_AAD "stateferry data key"
enum { STORE_PLAIN = 0, STORE_AES_256_GCM = 1 };

/* ---------------------------------------------------------------- the key */

static enum err_code
store_key_wrap(struct store *s, const struct crypt_key *master, const uint8_t data_key[CRYPT_KEY_LEN], struct buf *ret,
    struct err *reterr)
{
	buf_putc(ret, STORE_AES_256_GCM);
	return crypt_seal(master, s->writer.rand, SPAN_LIT(STORE_KEY_AAD), span_of(data_key, CRYPT_KEY_LEN), ret,
	    reterr);
}

/* A new store: a random data key, of which only the wrapped form is written. */
static enum err_code
store_key_make(struct store *s, const struct crypt_key *master, struct buf *ret, struct err *reterr)
{
	uint8_t       data_key[CRYPT_KEY_LEN];
	enum err_code code;

	if (master == NULL) {
		buf_putc(ret, STORE_PLAIN);
		return ERR_OK;
	}
	rand_bytes(s->writer.rand, data_key, sizeof(data_key));
	code = store_key_wrap(s, master, data_key, ret, reterr);
	if (code == ERR_OK)
		s->key = crypt_key_new(data_key);
	mem_wipe(data_key, sizeof(data_key));
	return code;
}

static enum err_code
store_key_unwrap(struct store *s, const struct crypt_key *master, struct span wrapped, struct err *reterr)
{
	struct buf plain;
	struct err e = { 0 };
	bool       ok;

	buf_init(&plain, CRYPT_KEY_LEN + 1);
	ok = crypt_open(master, SPAN_LIT(STORE_KEY_AAD), wrapped, &plain, &e) == ERR_OK && plain.len == CRYPT_KEY_LEN;
	if (ok)
		s->key = crypt_key_new(plain.data);
	buf_wipe_free(&plain);
	if (ok)
		return ERR_OK;
	err_set(reterr, ERR_CONFIG, 0, "%s: the encryption key is not the one that this store was made with", s->dir);
	return err_hint(reterr,
	    "set agent.encryption_key to the key it was created with; without it nobody can read it");
}

static enum err_code
store_key_open(struct store *s, const struct crypt_key *master, struct span crypt, struct err *reterr)
{
	if (crypt.n < 1 || crypt.p[0] > STORE_AES_256_GCM)
		return err_set(reterr, ERR_UNSUPPORTED, 0, "%s: encrypted in a way that this version does not know",
		    s->dir);
	if (crypt.p[0] == STORE_PLAIN && master == NULL)
		return ERR_OK;
	if (crypt.p[0] == STORE_PLAIN) {
		err_set(reterr, ERR_CONFIG, 0, "%s: not encrypted, but an encryption key is configured", s->dir);
		return err_hint(reterr,
		    "a store keeps the choice it was created with: remove agent.encryption_key, or use a new folder");
	}
	if (master == NULL) {
		err_set(reterr, ERR_CONFIG, 0, "%s: encrypted, and no encryption key is configured", s->dir);
		return err_hint(reterr, "set agent.encryption_key to the key it was created with");
	}
	return store_key_unwrap(s, master, span_of(crypt.p + 1, crypt.n - 1), reterr);
}

/* ---------------------------------------------------------------- what the store says of itself */

bool
store_put_agent(struct store_txn *t, const char *agent)
{
	struct key k = key_text("agent");

	return rec_put_bytes(t, DB_META, &k, span_str(agent));
}

struct store_birth {
	struct span crypt;
	const char *agent;
};

static bool
store_fill_birth(void *arg, struct store_txn *t)
{
	const struct store_birth *b = arg;
	uint8_t                   format[4];

	be32_put(format, STORE_FORMAT);
	return meta_put_plain(t, "format", span_of(format, sizeof(format))) && meta_put_plain(t, "crypt", b->crypt) &&
	    store_put_agent(t, b->agent);
}

/* The host file comes first: a store that has a format but no host file was copied without it. */
static enum err_code
store_create(struct store *s, const struct store_conf *conf, struct err *reterr)
{
	struct store_birth birth = { .agent = s->agent_id };
	struct buf         crypt;
	enum err_code      code;

	buf_init(&crypt, 0);
	rand_uuid(loop_rand(s->loop), s->agent_id);
	code = store_key_make(s, conf->key, &crypt, reterr);
	birth.crypt = buf_span(&crypt);
	if (code == ERR_OK)
		code = host_bind(s, reterr);
	if (code == ERR_OK)
		code = writer_commit(s, store_fill_birth, &birth, reterr);
	buf_free(&crypt);
	return code;
}

static enum err_code
store_read_agent(struct store *s, struct store_txn *t, struct err *reterr)
{
	struct key  k = key_text("agent");
	struct span id;

	if (!rec_get_bytes(t, DB_META, &k, &id) || id.n != sizeof(s->agent_id) - 1)
		return err_set(reterr, ERR_CORRUPT, 0, "%s: its agent id cannot be read", s->dir);
	memcpy(s->agent_id, id.p, id.n);
	return ERR_OK;
}

/* *fresh: nothing was ever written. */
static enum err_code
store_look(struct store *s, const struct store_conf *conf, struct store_txn *t, bool *fresh, struct err *reterr)
{
	struct span   format, crypt;
	enum err_code code;

	*fresh = !meta_get_plain(t, "format", &format);
	if (*fresh)
		return store_txn_error(t, reterr);
	if (format.n != 4)
		return err_set(reterr, ERR_CORRUPT, 0, "%s: its format cannot be read", s->dir);
	if (be32_get(format.p) > STORE_FORMAT) {
		err_set(reterr, ERR_UNSUPPORTED, (int)be32_get(format.p), "%s: written by a newer version (format %u)",
		    s->dir, be32_get(format.p));
		return err_hint(reterr, "install the newer version again");
	}
	if (!meta_get_plain(t, "crypt", &crypt))
		return err_set(reterr, ERR_CORRUPT, 0, "%s: its encryption parameters cannot be read", s->dir);
	if ((code = store_key_open(s, conf->key, crypt, reterr)) != ERR_OK)
		return code;
	return store_read_agent(s, t, reterr);
}

static enum err_code
store_know(struct store *s, const struct store_conf *conf, struct err *reterr)
{
	struct store_txn t;
	enum err_code    code;
	bool             fresh, knows_file;

	if ((code = txn_begin(s, TXN_LOOP, &t, reterr)) != ERR_OK)
		return code;
	code = store_look(s, conf, &t, &fresh, reterr);
	txn_abort(&t);
	if (code != ERR_OK)
		return code;
	if (fresh && conf->must_exist)
		return err_set(reterr, ERR_NOT_FOUND, 0, "%s: no store there", s->dir);
	if (fresh)
		return store_create(s, conf, reterr);
	s->foreign = !host_is_bound(s, &knows_file);
	if (!s->foreign && !knows_file && host_bind(s, reterr) != ERR_OK) { /* an earlier version wrote it; the next start tries again */
		log_at(LOG_WARN, "store", "it cannot be noted which file it is, so a copy of it would not be told: %s", reterr->msg);
		err_clear(reterr);
	}
	return ERR_OK;
}

/* ---------------------------------------------------------------- open and close */

static struct store *
store_new(struct loop *l, struct work *w, const struct store_conf *conf)
{
	struct store      *s = xcalloc(1, sizeof(*s));
	pthread_condattr_t attr;

	s->loop = l;
	s->work = w;
	s->dir = xstrdup(conf->dir);
	while (strlen(s->dir) > 1 && s->dir[strlen(s->dir) - 1] == '/')
		s->dir[strlen(s->dir) - 1] = '\0';
	s->binding = host_binding(conf);
	s->dirfd = s->ownerfd = -1;
	s->inline_commit = conf->inline_commit || loop_is_virtual(l);
	s->free_min = conf->free_min;
	s->events_max = conf->events_max != 0 ? conf->events_max : STORE_EVENTS_MAX;
	s->map_size = conf->map_size;
	rand_system(&s->writer.own);
	s->writer.rand = loop_is_virtual(l) ? loop_rand(l) : &s->writer.own;
	gate_init(&s->gate);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_mutex_init(&s->writer.lock, NULL);
	pthread_cond_init(&s->writer.work, &attr);
	pthread_condattr_destroy(&attr);
	return s;
}

static void
store_free(struct store *s)
{
	store_env_close(s);
	crypt_key_free(s->key);
	if (s->ownerfd >= 0)
		close(s->ownerfd);
	if (s->dirfd >= 0)
		close(s->dirfd);
	gate_free(&s->gate);
	pthread_cond_destroy(&s->writer.work);
	pthread_mutex_destroy(&s->writer.lock);
	free(s->binding);
	free(s->dir);
	free(s);
}

enum err_code
store_open(struct loop *l, struct work *w, const struct store_conf *conf, struct store **ret, struct err *reterr)
{
	struct store *s = store_new(l, w, conf);
	struct err    e = { 0 };
	enum err_code code;

	if ((code = host_dir_open(s, conf, &e)) == ERR_OK && (code = host_own(s, &e)) == ERR_OK &&
	    (code = store_env_open(s, &e)) == ERR_OK && (code = store_know(s, conf, &e)) == ERR_OK &&
	    (code = stage_sweep(s, &e)) == ERR_OK)
		code = writer_start(s, &e);
	if (code != ERR_OK) {
		store_free(s);
		if (reterr != NULL)
			*reterr = e;
		return code;
	}
	*ret = s;
	return ERR_OK;
}

void
store_close(struct store *s)
{
	if (s == NULL)
		return;
	writer_stop(s);
	store_free(s);
}

const char *
store_dir(const struct store *s)
{
	return s->dir;
}

const char *
store_agent_id(const struct store *s)
{
	return s->agent_id;
}

bool
store_is_foreign(const struct store *s)
{
	return s->foreign;
}

const char *
store_trouble(const struct store *s)
{
	return s->trouble;
}
