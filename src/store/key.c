/* SPDX-License-Identifier: MIT */
/*
 * Keys. Numbers are big-endian, so that they sort; whatever a person or a backend named is hashed, for keys are
 * short and must not tell names or digests when the store is encrypted: then the hash is keyed.
 */
#include <assert.h>
#include <string.h>

#include "base/digest.h"
#include "store/internal.h"

static void
key_add(struct key *k, const void *p, size_t n)
{
	assert(k->n + n <= sizeof(k->b));
	memcpy(k->b + k->n, p, n);
	k->n += n;
}

static void
key_add_u64(struct key *k, uint64_t v)
{
	uint8_t be[8];

	be64_put(be, v);
	key_add(k, be, sizeof(be));
}

struct key
key_u64(uint64_t v)
{
	struct key k = { .n = 0 };

	key_add_u64(&k, v);
	return k;
}

struct key
key_u64_u64(uint64_t a, uint64_t b)
{
	struct key k = key_u64(a);

	key_add_u64(&k, b);
	return k;
}

struct key
key_text(const char *name)
{
	struct key k = { .n = 0 };

	key_add(&k, name, strlen(name));
	return k;
}

struct key
key_piece(uint64_t blob, uint32_t n)
{
	struct key k = key_u64(blob);
	uint8_t    be[4];

	be32_put(be, n);
	key_add(&k, be, sizeof(be));
	return k;
}

static void
key_add_hash(struct key *k, const struct store *s, const char *label, struct span data, size_t n)
{
	uint8_t       mac[DIGEST_LEN];
	struct digest d;

	if (s->key != NULL) {
		crypt_mac(s->key, label, data, mac);
		key_add(k, mac, n);
		return;
	}
	sha256_of(data.p, data.n, &d);
	key_add(k, d.b, n);
}

static void
key_add_digest(struct key *k, const struct store *s, const struct digest *d)
{
	if (s->key != NULL)
		key_add_hash(k, s, "digest", span_of(d->b, DIGEST_LEN), KEY_DIGEST);
	else
		key_add(k, d->b, KEY_DIGEST);
}

/* Hashes the label and each word with its length in front, so that no two lists of words look the same. */
static void
key_add_words(struct key *k, const struct store *s, size_t n, const char *label, const char *const *words, size_t count)
{
	struct buf text;
	uint8_t    be[4];

	buf_init(&text, 0);
	for (size_t i = 0; i < count + 1; i++) {
		const char *word = i == 0 ? label : words[i - 1];

		be32_put(be, (uint32_t)strlen(word));
		buf_put(&text, be, sizeof(be));
		buf_puts(&text, word);
	}
	key_add_hash(k, s, "name", buf_span(&text), n);
	buf_free(&text);
}

struct key
key_digest(const struct store *s, const struct digest *d)
{
	struct key k = { .n = 0 };

	key_add_digest(&k, s, d);
	return k;
}

struct key
key_version_digest(const struct store *s, uint64_t state, const struct digest *d)
{
	struct key k = key_u64(state);

	key_add_digest(&k, s, d);
	return k;
}

struct key
key_name(const struct store *s, const char *backend, const char *name)
{
	struct key k = { .n = 0 };

	key_add_words(&k, s, DIGEST_LEN, "state", (const char *[]){ backend, name }, 2);
	return k;
}

/* One of the configuration's few words, which a walk over all states asks for again and again: hashed once for each of the
 * last ones that t has seen. label is a literal, and told by its address. */
static void
key_add_word(struct key *k, struct store_txn *t, const char *label, const char *word)
{
	struct key_word *w;

	for (size_t i = 0; i < KEY_WORDS; i++) {
		w = &t->words[i];
		if (w->label == label && strcmp(w->word, word) == 0) {
			key_add(k, w->hash, KEY_HASH);
			return;
		}
	}
	key_add_words(k, t->s, KEY_HASH, label, (const char *[]){ word }, 1);
	if (strlen(word) >= KEY_WORD_MAX)
		return;
	w = &t->words[t->next_word++ % KEY_WORDS];
	w->label = label;
	memcpy(w->word, word, strlen(word) + 1);
	memcpy(w->hash, k->b + k->n - KEY_HASH, KEY_HASH);
}

struct key
key_backend(struct store_txn *t, const char *backend, uint64_t state)
{
	static const char label[] = "backend";
	struct key        k = { .n = 0 };

	key_add_word(&k, t, label, backend);
	key_add_u64(&k, state);
	return k;
}

struct key
key_target(struct store_txn *t, const char *edge, const char *target, uint64_t state)
{
	static const char edge_label[] = "edge", target_label[] = "target";
	struct key        k = { .n = 0 };

	key_add_word(&k, t, edge_label, edge);
	key_add_word(&k, t, target_label, target);
	key_add_u64(&k, state);
	return k;
}

struct key
key_target_name(const struct store *s, const char *target, const char *name)
{
	struct key k = { .n = 0 };

	key_add_words(&k, s, DIGEST_LEN, "target name", (const char *[]){ target, name }, 2);
	return k;
}

/* The sign bit turned, so that times before 1970 sort first. */
struct key
key_due(int64_t due, const struct key *target)
{
	struct key k = { .n = 0 };

	key_add(&k, target->b, 2 * KEY_HASH);
	key_add_u64(&k, (uint64_t)due ^ (uint64_t)1 << 63);
	key_add(&k, target->b + 2 * KEY_HASH, target->n - 2 * KEY_HASH);
	return k;
}

struct key
key_mark(const struct store *s, const char *name)
{
	struct key k = { .n = 0 };

	key_add_words(&k, s, DIGEST_LEN, "mark", (const char *[]){ name }, 1);
	return k;
}
