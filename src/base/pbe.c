/* SPDX-License-Identifier: MIT */
#include "base/pbe.h"

#include <psa/crypto.h>
#include <stdlib.h>
#include <string.h>

#include "base/encode.h"
#include "base/mem.h"

#define PBE_BLOCK_MAX 128

static const struct pbe_kind {
	psa_algorithm_t alg;
	size_t          len, block;
} pbe_kinds[] = {
	[PBE_SHA1] = { PSA_ALG_SHA_1, 20, 64 },
	[PBE_SHA256] = { PSA_ALG_SHA_256, 32, 64 },
	[PBE_SHA512] = { PSA_ALG_SHA_512, 64, 128 },
};

size_t
pbe_hash_len(enum pbe_hash h)
{
	return pbe_kinds[h].len;
}

/* What cannot fail once the library is up, unless memory is gone. */
static void
pbe_must(psa_status_t rc)
{
	if (rc != PSA_SUCCESS)
		abort();
}

static void
pbe_hash2(const struct pbe_kind *k, struct span a, struct span b, uint8_t *ret)
{
	psa_hash_operation_t op = psa_hash_operation_init();
	size_t               n;

	pbe_must(psa_hash_setup(&op, k->alg));
	pbe_must(psa_hash_update(&op, a.p, a.n));
	pbe_must(psa_hash_update(&op, b.p, b.n));
	pbe_must(psa_hash_finish(&op, ret, k->len, &n));
}

/* --- HMAC (RFC 2104), its two halves begun once for many messages ------------------------------------------------------ */

struct pbe_mac {
	const struct pbe_kind *kind;
	psa_hash_operation_t   inner, outer;
};

static void
pbe_mac_begin(struct pbe_mac *m, const struct pbe_kind *k, struct span key)
{
	uint8_t block[PBE_BLOCK_MAX] = { 0 }, pad[PBE_BLOCK_MAX];

	m->kind = k;
	if (key.n > k->block)
		pbe_hash2(k, key, SPAN_LIT(""), block);
	else if (key.n > 0)
		memcpy(block, key.p, key.n);
	m->inner = m->outer = psa_hash_operation_init();
	pbe_must(psa_hash_setup(&m->inner, k->alg));
	pbe_must(psa_hash_setup(&m->outer, k->alg));
	for (size_t i = 0; i < k->block; i++)
		pad[i] = block[i] ^ 0x36;
	pbe_must(psa_hash_update(&m->inner, pad, k->block));
	for (size_t i = 0; i < k->block; i++)
		pad[i] = block[i] ^ 0x5c;
	pbe_must(psa_hash_update(&m->outer, pad, k->block));
	mem_wipe(block, sizeof(block));
	mem_wipe(pad, sizeof(pad));
}

static void
pbe_mac_of(const struct pbe_mac *m, struct span a, struct span b, uint8_t *ret)
{
	psa_hash_operation_t in = psa_hash_operation_init(), out = psa_hash_operation_init();
	size_t               n;

	pbe_must(psa_hash_clone(&m->inner, &in));
	pbe_must(psa_hash_clone(&m->outer, &out));
	pbe_must(psa_hash_update(&in, a.p, a.n));
	pbe_must(psa_hash_update(&in, b.p, b.n));
	pbe_must(psa_hash_finish(&in, ret, m->kind->len, &n));
	pbe_must(psa_hash_update(&out, ret, m->kind->len));
	pbe_must(psa_hash_finish(&out, ret, m->kind->len, &n));
}

static void
pbe_mac_end(struct pbe_mac *m)
{
	psa_hash_abort(&m->inner);
	psa_hash_abort(&m->outer);
}

void
pbe_hmac(enum pbe_hash h, struct span key, struct span data, uint8_t ret[PBE_HASH_MAX])
{
	struct pbe_mac m;

	pbe_mac_begin(&m, &pbe_kinds[h], key);
	pbe_mac_of(&m, data, SPAN_LIT(""), ret);
	pbe_mac_end(&m);
}

/* --- PBKDF2 -------------------------------------------------------------------------------------------------------------- */

void
pbe_pbkdf2(enum pbe_hash h, struct span password, struct span salt, uint32_t iterations, uint8_t *ret, size_t n)
{
	size_t         len = pbe_kinds[h].len;
	uint8_t        u[PBE_HASH_MAX], t[PBE_HASH_MAX], number[4];
	struct pbe_mac m;

	pbe_mac_begin(&m, &pbe_kinds[h], password);
	for (uint32_t block = 1; n > 0; block++) {
		size_t take = n < len ? n : len;

		be32_put(number, block);
		pbe_mac_of(&m, salt, span_of(number, sizeof(number)), u);
		memcpy(t, u, len);
		for (uint32_t i = 1; i < iterations; i++) {
			pbe_mac_of(&m, span_of(u, len), SPAN_LIT(""), u);
			for (size_t j = 0; j < len; j++)
				t[j] ^= u[j];
		}
		memcpy(ret, t, take);
		ret += take;
		n -= take;
	}
	pbe_mac_end(&m);
	mem_wipe(u, sizeof(u));
	mem_wipe(t, sizeof(t));
}

/* --- PKCS #12 ------------------------------------------------------------------------------------------------------------ */

/* Repeats s until a whole number of blocks is full; returns how many bytes that are. */
static size_t
pbe_fill(struct span s, size_t block, uint8_t *ret)
{
	size_t n = block * ((s.n + block - 1) / block);

	for (size_t i = 0; i < n; i++)
		ret[i] = s.p[i % s.n];
	return n;
}

/* Each block of in becomes itself + b + 1, as a big-endian number of that many bytes. */
static void
pbe_step(uint8_t *in, size_t n, const uint8_t *b, size_t block)
{
	for (size_t at = 0; at < n; at += block) {
		unsigned carry = 1;

		for (size_t i = block; i-- > 0;) {
			carry += (unsigned)in[at + i] + b[i];
			in[at + i] = (uint8_t)carry;
			carry >>= 8;
		}
	}
}

void
pbe_pkcs12(enum pbe_hash h, uint8_t id, struct span password, struct span salt, uint32_t iterations, uint8_t *ret, size_t n)
{
	const struct pbe_kind *k = &pbe_kinds[h];
	size_t                 room = salt.n + password.n + 2 * k->block, in_n;
	uint8_t               *in = xcalloc(1, room), d[PBE_BLOCK_MAX], b[PBE_BLOCK_MAX], a[PBE_HASH_MAX];

	memset(d, id, sizeof(d));
	in_n = pbe_fill(salt, k->block, in);
	in_n += pbe_fill(password, k->block, in + in_n);
	while (n > 0) {
		size_t take = n < k->len ? n : k->len;

		pbe_hash2(k, span_of(d, k->block), span_of(in, in_n), a);
		for (uint32_t i = 1; i < iterations; i++)
			pbe_hash2(k, span_of(a, k->len), SPAN_LIT(""), a);
		memcpy(ret, a, take);
		ret += take;
		n -= take;
		pbe_fill(span_of(a, k->len), k->block, b);
		pbe_step(in, in_n, b, k->block);
	}
	mem_wipe(in, room);
	mem_wipe(a, sizeof(a));
	mem_wipe(b, sizeof(b));
	free(in);
}
