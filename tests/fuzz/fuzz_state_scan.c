/* SPDX-License-Identifier: MIT */
#include "base/digest.h"
#include "base/state_scan.h"
#include "../lib/fuzz.h"

/* Whatever the input: the cuts and the listener change nothing, offsets cover what they promise. */
struct seen {
	uint64_t objects;            /* a hash of all that was told */
	uint64_t current, deposed;
};

static void
seen_add(struct seen *s, struct span text)
{
	for (size_t i = 0; i < text.n; i++)
		s->objects = (s->objects ^ text.p[i]) * UINT64_C(0x100000001B3);
}

static void
seen_object(void *arg, const struct state_object *o)
{
	struct seen *s = arg;

	FUZZ_CHECK(o->deposed.n == 0 || o->deposed.n == 8);
	seen_add(s, o->address);
	seen_add(s, o->deposed);
	s->objects = (s->objects ^ o->fingerprint ^ o->tainted) * UINT64_C(0x100000001B3);
	s->current += o->deposed.n == 0;
	s->deposed += o->deposed.n != 0;
}

/* cut: 0 for one piece, else pieces of 1 to cut bytes, drawn from the length. */
static void
run(struct seen *s, const uint8_t *data, size_t n, unsigned cut, struct state_info *ret)
{
	struct state_scan *scan = state_scan_new(s == NULL ? NULL : seen_object, s);
	uint64_t           seed = n;
	size_t             take;

	for (size_t at = 0; at < n; at += take) {
		seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
		take = cut == 0 ? n : 1 + (size_t)(seed >> 33) % cut;
		take = take < n - at ? take : n - at;
		uint8_t *piece = malloc(take);
		memcpy(piece, data + at, take);
		state_scan_feed(scan, piece, take);
		free(piece);
	}
	state_scan_end(scan, ret);
	state_scan_free(scan);
}

static void
check_same(const struct state_info *a, const struct state_info *b)
{
	FUZZ_CHECK(a->kind == b->kind && strcmp(a->why, b->why) == 0);
	FUZZ_CHECK(a->version == b->version && a->serial == b->serial && a->has_serial == b->has_serial);
	FUZZ_CHECK(strcmp(a->lineage, b->lineage) == 0 && strcmp(a->writer, b->writer) == 0);
	FUZZ_CHECK(a->resources == b->resources && a->instances == b->instances && a->deposed == b->deposed);
	FUZZ_CHECK(a->outputs == b->outputs && a->size == b->size);
	FUZZ_CHECK(a->serial_start == b->serial_start && a->serial_end == b->serial_end);
	FUZZ_CHECK(a->lineage_start == b->lineage_start && a->lineage_end == b->lineage_end);
}

static void
check_offsets(const struct state_info *i, const uint8_t *data)
{
	uint64_t v = 0;

	FUZZ_CHECK(i->serial_start <= i->serial_end && i->serial_end <= i->size);
	FUZZ_CHECK(i->has_serial == (i->serial_start < i->serial_end));
	for (uint64_t at = i->serial_start; at < i->serial_end; at++) {
		FUZZ_CHECK(data[at] >= '0' && data[at] <= '9');
		v = v * 10 + (uint64_t)(data[at] - '0');
	}
	FUZZ_CHECK(v == i->serial);
	FUZZ_CHECK(i->lineage_start <= i->lineage_end && i->lineage_end <= i->size);
	if (i->lineage_start < i->lineage_end)
		FUZZ_CHECK(data[i->lineage_start] == '"' && data[i->lineage_end - 1] == '"');
	else
		FUZZ_CHECK(i->lineage[0] == '\0');
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct seen       whole = { 0 }, other;
	struct state_info info, info2;
	struct digest     d, d2;

	FUZZ_CHECK(crypto_init(NULL) == ERR_OK);
	run(&whole, data, n, 0, &info);
	FUZZ_CHECK(info.size == n);
	check_offsets(&info, data);
	FUZZ_CHECK(state_is_good(&info) == (info.why[0] == '\0'));
	for (unsigned cut = 1; cut <= 16; cut += 5) {
		other = (struct seen){ 0 };
		run(&other, data, n, cut, &info2);
		check_same(&info, &info2);
		FUZZ_CHECK(other.objects == whole.objects);
	}
	run(NULL, data, n, 9, &info2);
	check_same(&info, &info2);
	FUZZ_CHECK((state_semantic_digest(span_of(data, n), &d, NULL) == ERR_OK) == (info.kind == STATE_V4));
	if (info.kind == STATE_V4) {
		FUZZ_CHECK(state_semantic_digest(span_of(data, n), &d2, NULL) == ERR_OK && digest_eq(&d, &d2));
		/* Only a key that is there twice may show more than what counts. */
		FUZZ_CHECK(whole.current >= info.instances && whole.deposed >= info.deposed);
	}
	return 0;
}
