/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <strings.h>

#include "base/mem.h"
#include "base/state_scan_impl.h"

static bool
state_head_has(const struct state_scan *s, const char *word)
{
	size_t n = strlen(word);

	for (size_t i = 0; i + n <= s->head_n; i++)
		if (strncasecmp((const char *)s->head + i, word, n) == 0)
			return true;
	return false;
}

/* What else the bytes may be, for a person; NULL: no idea. */
static const char *
state_guess(const struct state_scan *s)
{
	static const struct {
		struct span magic;
		const char *what;
	} known[] = {
		{ { (const uint8_t *)"\xEF\xBB\xBF", 3 }, "a byte order mark in front of it" },
		{ { (const uint8_t *)"\xFF\xFE", 2 }, "UTF-16 text" },
		{ { (const uint8_t *)"\xFE\xFF", 2 }, "UTF-16 text" },
		{ { (const uint8_t *)"\x00\x00\x00\x00", 4 }, "NUL bytes" },
		{ { (const uint8_t *)"\x1F\x8B", 2 }, "gzip data" },
		{ { (const uint8_t *)"\x28\xB5\x2F\xFD", 4 }, "zstd data" },
		{ { (const uint8_t *)"PK\x03\x04", 4 }, "a zip file (a plan is one)" },
		{ { (const uint8_t *)"tfstate", 7 }, "a binary state of terraform before 0.3" },
		{ { (const uint8_t *)"version https://git-lfs", 23 }, "a Git LFS pointer" },
	};
	size_t at = 0;

	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		if (s->head_n >= known[i].magic.n && memcmp(s->head, known[i].magic.p, known[i].magic.n) == 0)
			return known[i].what;
	while (at < s->head_n && s->head[at] <= ' ')
		at++;
	if (at == s->head_n || s->head[at] != '<')
		return NULL;
	if (state_head_has(s, "<html") || state_head_has(s, "<!doctype html"))
		return "HTML page";
	return "XML (looks like an error answer)";
}

static enum state_kind
state_says(struct state_scan *s, enum state_kind kind, const char *why)
{
	snprintf(s->info.why, sizeof(s->info.why), "%.*s", (int)sizeof(s->info.why) - 1, why);
	return kind;
}

static enum state_kind
state_not_json(struct state_scan *s, const struct err *e)
{
	const char *guess = state_guess(s);

	if (guess != NULL)
		return state_says(s, STATE_DAMAGED, guess);
	if (e->code == ERR_UNSUPPORTED)
		return state_says(s, STATE_UNREADABLE, e->msg);
	snprintf(s->info.why, sizeof(s->info.why), "%s%.100s",
	    strncmp(e->msg, "byte ", 5) == 0 ? "not JSON: " : "JSON ", e->msg);
	return STATE_DAMAGED;
}

static enum state_kind
state_no_version(struct state_scan *s)
{
	if (s->faults[IN_ENVELOPE][0] != '\0')
		return state_says(s, STATE_DAMAGED, s->faults[IN_ENVELOPE]);
	if (s->envelope == ENVELOPE_OTHER)
		return state_says(s, STATE_UNREADABLE, "an OpenTofu envelope of an encryption_version that is not known");
	if (s->envelope == ENVELOPE_V0 && !s->has_ciphertext)
		return state_says(s, STATE_DAMAGED, "an OpenTofu envelope without encrypted_data");
	if (s->envelope == ENVELOPE_V0)
		return STATE_ENCRYPTED;
	if (s->looks_like_error)
		return state_says(s, STATE_DAMAGED, "JSON without version (looks like an error answer)");
	return state_says(s, STATE_DAMAGED, "JSON without version");
}

static enum state_kind
state_by_version(struct state_scan *s)
{
	enum scope  scope = s->info.version == 4 ? IN_V4 : IN_V3;
	const char *fault = s->faults[scope];

	if (s->info.version < 1 || s->info.version > 4) {
		snprintf(s->info.why, sizeof(s->info.why), "format version %u is not known", s->info.version);
		return STATE_UNREADABLE;
	}
	if (fault[0] != '\0')
		return state_says(s, STATE_DAMAGED, fault);
	if (scope == IN_V3 && !s->has_modules)
		return state_says(s, STATE_DAMAGED, "no modules: the backend pointer of a .terraform folder, not a state");
	if (s->unnamed)
		return state_says(s, STATE_UNREADABLE, "instances before their resource's name exceed STATE_WAITING_MAX");
	return scope == IN_V4 ? STATE_V4 : STATE_V3;
}

enum state_kind
state_verdict(struct state_scan *s)
{
	struct err      e;
	enum state_kind kind;

	if (s->blank)
		return state_says(s, STATE_EMPTY, s->info.size == 0 ? "zero bytes" : "nothing but blanks");
	if (json_end(s->reader, &e) != ERR_OK)
		return state_not_json(s, &e);
	if (s->top != JSON_EV_OBJECT)
		return state_says(s, STATE_DAMAGED, s->top == JSON_EV_NULL ? "JSON, but null instead of an object"
		    : s->top == JSON_EV_ARRAY ? "JSON, but an array instead of an object" : "JSON, but no object");
	if (s->faults[IN_VERSION][0] != '\0')
		return state_says(s, STATE_DAMAGED, s->faults[IN_VERSION]);
	kind = s->has_version ? state_by_version(s) : state_no_version(s);
	if (kind != STATE_V4 && kind != STATE_V3 && kind != STATE_ENCRYPTED)
		return kind;
	if (s->faults[IN_HEADER][0] != '\0')
		return state_says(s, STATE_DAMAGED, s->faults[IN_HEADER]);
	if (s->lineage_odd)
		return state_says(s, STATE_UNREADABLE, "lineage has a NUL or is longer than STATE_LINEAGE_MAX");
	return kind;
}
