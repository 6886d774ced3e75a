/* SPDX-License-Identifier: MIT */
#include "base/json.h"
#include "../lib/fuzz.h"

/* Whatever the input and however it is cut: the same events, the same verdict, and skipping finds the same faults. */
struct seen {
	const uint8_t *data;
	size_t         n;
	uint64_t       events;       /* a hash of all that was told */
	uint64_t       at;           /* the end of the token before */
	unsigned       depth;
	bool           skip_containers;
};

static void
seen_add(struct seen *s, const void *p, size_t n)
{
	const uint8_t *b = p;

	for (size_t i = 0; i < n; i++)
		s->events = (s->events ^ b[i]) * UINT64_C(0x100000001B3);
}

static enum json_want
seen_event(void *arg, const struct json_token *t)
{
	struct seen *s = arg;
	uint64_t     head[4] = { t->event, t->depth, t->start, t->end };

	FUZZ_CHECK(t->start >= s->at && t->start < t->end && t->end <= s->n);
	FUZZ_CHECK(t->depth <= JSON_DEPTH_MAX);
	s->at = t->end;
	seen_add(s, head, sizeof(head));
	switch (t->event) {
	case JSON_EV_KEY:
	case JSON_EV_STRING:
		FUZZ_CHECK(s->data[t->start] == '"' && s->data[t->end - 1] == '"');
		FUZZ_CHECK(t->text.n <= JSON_TEXT_MAX);
		seen_add(s, t->text.p, t->text.n);
		break;
	case JSON_EV_NUMBER:
		FUZZ_CHECK(t->text.n <= JSON_NUMBER_MAX && t->cut == (t->end - t->start > JSON_NUMBER_MAX));
		FUZZ_CHECK(memcmp(s->data + t->start, t->text.p, t->text.n) == 0);
		break;
	case JSON_EV_OBJECT:
	case JSON_EV_ARRAY:
		FUZZ_CHECK(t->depth == s->depth);
		if (s->skip_containers)
			return JSON_SKIP_TEXT;
		s->depth++;
		break;
	case JSON_EV_OBJECT_END:
	case JSON_EV_ARRAY_END:
		s->depth--;
		FUZZ_CHECK(t->depth == s->depth);
		break;
	default:
		break;
	}
	return JSON_WANT;
}

/* cut: 0 for one piece, else pieces of 1 to cut bytes, drawn from the length. */
static enum err_code
run(struct seen *s, const uint8_t *data, size_t n, unsigned cut, struct err *e)
{
	struct json_reader *r = json_reader_new(seen_event, s);
	enum err_code       rc = ERR_OK;
	uint64_t            seed = n;
	size_t              take;

	s->data = data;
	s->n = n;
	for (size_t at = 0; at < n && rc == ERR_OK; at += take) {
		seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
		take = cut == 0 ? n : 1 + (size_t)(seed >> 33) % cut;
		take = take < n - at ? take : n - at;
		/* A copy of its own, so that a step outside is seen. */
		uint8_t *piece = malloc(take);
		memcpy(piece, data + at, take);
		rc = json_feed(r, piece, take, e);
		free(piece);
	}
	if (rc == ERR_OK)
		rc = json_end(r, e);
	json_reader_free(r);
	return rc;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct seen   whole = { 0 }, other, skipped = { .skip_containers = true };
	struct err    e = { 0 }, e2 = { 0 };
	enum err_code rc = run(&whole, data, n, 0, &e);

	for (unsigned cut = 1; cut <= 16; cut += 5) {
		other = (struct seen){ 0 };
		e2.msg[0] = '\0';
		FUZZ_CHECK(run(&other, data, n, cut, &e2) == rc);
		FUZZ_CHECK(other.events == whole.events && strcmp(e.msg, e2.msg) == 0);
	}
	e2.msg[0] = '\0';
	FUZZ_CHECK(run(&skipped, data, n, 7, &e2) == rc);
	FUZZ_CHECK(strcmp(e.msg, e2.msg) == 0);
	return 0;
}
