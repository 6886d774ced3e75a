/* SPDX-License-Identifier: MIT */
#include "base/map.h"

#include <stdlib.h>

#include "base/mem.h"
#include "base/rand.h"
#include "../../lib/test.h"

static int values[2000];

static void
keeps_and_replaces(void)
{
	struct map *m = map_new();

	CHECK(map_get(m, SPAN_LIT("a")) == NULL && map_del(m, SPAN_LIT("a")) == NULL && map_count(m) == 0);
	CHECK(map_put(m, SPAN_LIT("a"), &values[0]) == NULL);
	CHECK(map_put(m, SPAN_LIT("b"), &values[1]) == NULL);
	CHECK(map_put(m, SPAN_LIT("a"), &values[2]) == &values[0]);
	CHECK(map_get(m, SPAN_LIT("a")) == &values[2] && map_count(m) == 2);
	CHECK(map_del(m, SPAN_LIT("a")) == &values[2] && map_get(m, SPAN_LIT("a")) == NULL && map_count(m) == 1);
	CHECK(map_del(m, SPAN_LIT("b")) == &values[1] && map_get(m, SPAN_LIT("b")) == NULL && map_count(m) == 0);
	map_free(m);
	map_free(NULL);
}

/* Every length around the hash's words, keys of zeros, and the empty key are all different. */
static void
keys_are_bytes(void)
{
	static const uint8_t zeros[40];
	struct map          *m = map_new();
	uint8_t              key[3] = { 'x', 0, 'y' };

	for (size_t n = 0; n <= sizeof(zeros); n++)
		CHECK(map_put(m, span_of(zeros, n), &values[n]) == NULL);
	for (size_t n = 0; n <= sizeof(zeros); n++)
		CHECK(map_get(m, span_of(zeros, n)) == &values[n]);
	CHECK(map_get(m, span_of(NULL, 0)) == &values[0]);
	map_put(m, span_of(key, 3), &values[50]);
	key[2] = 'z'; /* the map has a copy */
	CHECK(map_get(m, span_of(key, 3)) == NULL && map_get(m, SPAN_LIT("x\0y")) == &values[50]);
	map_free(m);
}

static void
iterates_in_order_of_insertion(void)
{
	struct map *m = map_new();
	struct span key;
	void       *value;
	char        text[16];
	size_t      pos = 0;
	int         seen = 0;

	CHECK(!map_next(m, &pos, &key, &value));
	for (int i = 0; i < 1000; i++) {
		snprintf(text, sizeof(text), "%d", i * 7919 % 1000);
		map_put(m, span_str(text), &values[i]);
	}
	map_put(m, SPAN_LIT("0"), &values[0]); /* replacing does not move */
	for (pos = 0; map_next(m, &pos, &key, &value); seen++) {
		snprintf(text, sizeof(text), "%d", seen * 7919 % 1000);
		CHECK(span_is(key, text) && value == &values[seen]);
	}
	CHECK_U64(seen, 1000);
	for (pos = 0, seen = 0; map_next(m, &pos, NULL, NULL);)
		seen++;
	CHECK_U64(seen, 1000);
	map_free(m);
}

static void
entry_just_seen_may_go(void)
{
	struct map *m = map_new();
	struct span key;
	char        text[16];
	size_t      seen = 0;

	for (int i = 0; i < 500; i++) {
		snprintf(text, sizeof(text), "k%d", i);
		map_put(m, span_str(text), &values[i]);
	}
	for (size_t pos = 0; map_next(m, &pos, &key, NULL); seen++)
		if (seen % 3 != 0)
			CHECK(map_del(m, key) == &values[seen]);
	CHECK_U64(seen, 500);
	CHECK_U64(map_count(m), 167);
	seen = 0;
	for (size_t pos = 0; map_next(m, &pos, &key, NULL); seen++) {
		snprintf(text, sizeof(text), "k%zu", 3 * seen);
		CHECK(span_is(key, text));
	}
	CHECK_U64(seen, 167);
	map_free(m);
}

/* A queue of names for days: deleted places are used again. */
static void
does_not_grow_with_turnover(void)
{
	struct map *m = map_new();
	char        text[16];

	for (int i = 0; i < 200000; i++) {
		snprintf(text, sizeof(text), "%d", i);
		map_put(m, span_str(text), &values[i % 2000]);
		if (i >= 10) {
			snprintf(text, sizeof(text), "%d", i - 10);
			CHECK(map_del(m, span_str(text)) == &values[(i - 10) % 2000]);
		}
	}
	CHECK_U64(map_count(m), 10);
	map_free(m);
}

/* The model: an array searched from the front. */
struct model {
	char  key[300][8];
	void *value[300];
	int   n;
};

static int
model_find(const struct model *o, const char *key)
{
	for (int i = 0; i < o->n; i++)
		if (strcmp(o->key[i], key) == 0)
			return i;
	return -1;
}

static void *
model_put(struct model *o, const char *key, void *value)
{
	int   i = model_find(o, key);
	void *old = i < 0 ? NULL : o->value[i];

	if (i < 0)
		strcpy(o->key[i = o->n++], key);
	o->value[i] = value;
	return old;
}

static void *
model_del(struct model *o, const char *key)
{
	int   i = model_find(o, key);
	void *old = i < 0 ? NULL : o->value[i];

	if (i < 0)
		return NULL;
	o->n--;
	memmove(o->key[i], o->key[i + 1], (size_t)(o->n - i) * sizeof(o->key[0]));
	memmove(&o->value[i], &o->value[i + 1], (size_t)(o->n - i) * sizeof(o->value[0]));
	return old;
}

static void
model_check(const struct model *o, const struct map *m)
{
	struct span key;
	void       *value;
	int         i = 0;

	for (size_t pos = 0; map_next(m, &pos, &key, &value); i++)
		CHECK(i < o->n && span_is(key, o->key[i]) && value == o->value[i]);
	CHECK_U64(i, o->n);
}

static void
property_same_as_a_list(void)
{
	static struct model o;
	struct map         *m = map_new();
	struct rand         r;
	char                key[8];
	void               *value;
	int                 found;

	rand_seeded(&r, 5);
	for (int i = 0; i < 60000; i++) {
		uint64_t range = i / 5000 % 2 == 0 ? 300 : 12;

		snprintf(key, sizeof(key), "%d", (int)rand_below(&r, range));
		value = &values[rand_below(&r, 2000)];
		switch (rand_below(&r, i / 10000 % 2 == 0 ? 3 : 5)) {
		case 0:
			CHECK(map_put(m, span_str(key), value) == model_put(&o, key, value));
			break;
		case 1:
			found = model_find(&o, key);
			CHECK(map_get(m, span_str(key)) == (found < 0 ? NULL : o.value[found]));
			break;
		default:
			CHECK(map_del(m, span_str(key)) == model_del(&o, key));
			break;
		}
		CHECK_U64(map_count(m), o.n);
		if (i % 100 == 0)
			model_check(&o, m);
	}
	map_free(m);
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv,
	    (struct test[]){
		{ "keeps and replaces", keeps_and_replaces },
		{ "keys are bytes", keys_are_bytes },
		{ "iterates in order of insertion", iterates_in_order_of_insertion },
		{ "the entry just seen may go", entry_just_seen_may_go },
		{ "does not grow with turnover", does_not_grow_with_turnover },
		{ "property: same as a list", property_same_as_a_list },
		{ NULL, NULL },
	    });
}
