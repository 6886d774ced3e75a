/* SPDX-License-Identifier: MIT */
#include "sync/judge.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/shell.h"
#include "base/time.h"

#define LLU(x) ((unsigned long long)(x))

static void judge_say(struct judgement *j, enum verdict v, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static void compare_say(struct comparison *c, enum compare_action a, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static void
judge_say(struct judgement *j, enum verdict v, const char *fmt, ...)
{
	va_list ap;

	j->verdict = v;
	va_start(ap, fmt);
	vsnprintf(j->reason, sizeof(j->reason), fmt, ap);
	va_end(ap);
}

static void
compare_say(struct comparison *c, enum compare_action a, const char *fmt, ...)
{
	va_list ap;

	c->action = a;
	va_start(ap, fmt);
	vsnprintf(c->reason, sizeof(c->reason), fmt, ap);
	va_end(ap);
}

/* Percent of the head's instances that are gone, rounded up: "more than max_shrink" must not be missed by rounding. */
static int64_t
judge_loss(const struct version_rec *head, const struct state_info *now)
{
	uint64_t lost;

	if (now->instances >= head->instances)
		return 0;
	lost = head->instances - now->instances;
	if (lost > UINT64_MAX / 200)
		return (int64_t)(lost / (head->instances / 100));
	return (int64_t)((lost * 100 + head->instances - 1) / head->instances);
}

static bool
judge_is_shrunk(const struct judge_facts *f)
{
	if (f->head->instances < JUDGE_SHRINK_MIN || f->max_shrink >= 100 || f->unwatched)
		return false;
	if (f->now->kind == STATE_ENCRYPTED || f->head->kind == STATE_ENCRYPTED) /* nothing to count */
		return false;
	return judge_loss(f->head, f->now) > f->max_shrink;
}

static void
judge_older(const struct judge_facts *f, struct judgement *ret)
{
	char when[TIME_TEXT_MAX];

	if (f->seen_before != NULL)
		judge_say(ret, VERDICT_OLDER, "serial %llu is lower than %llu: version %llu of %s again", LLU(f->now->serial),
		    LLU(f->head->serial), LLU(f->seen_before->number), time_format_s(f->seen_before->seen, when));
	else
		judge_say(ret, VERDICT_OLDER, "serial %llu is lower than %llu, and these bytes are new", LLU(f->now->serial),
		    LLU(f->head->serial));
}

static void
judge_serials(const struct judge_facts *f, struct judgement *ret)
{
	if (f->now->serial < f->head->serial)
		judge_older(f, ret);
	else if (f->now->serial == f->head->serial && f->same_meaning)
		judge_say(ret, VERDICT_REENCODED, "same meaning as version %llu in other bytes", LLU(f->head->number));
	else if (f->now->serial == f->head->serial)
		judge_say(ret, VERDICT_FORK, "serial %llu again with different content", LLU(f->now->serial));
	else if (judge_is_shrunk(f))
		judge_say(ret, VERDICT_SHRUNK, "%llu of %llu instances are gone (max_shrink is %lld%%)",
		    LLU(f->head->instances - f->now->instances), LLU(f->head->instances), (long long)f->max_shrink);
	else
		judge_say(ret, VERDICT_ADVANCE, "%s", "");
}

static bool
judge_is_unrelated(const struct judge_facts *f)
{
	return strcmp(f->now->lineage, f->head->lineage) != 0;
}

static void
judge_content(const struct judge_facts *f, struct judgement *ret)
{
	if (f->now->kind == STATE_EMPTY)
		judge_say(ret, VERDICT_EMPTY, "%s", f->now->size == 0 ? "zero bytes" : "nothing but blanks");
	else if (f->now->kind == STATE_DAMAGED)
		judge_say(ret, VERDICT_DAMAGED, "%s", f->now->why);
	else if (f->now->kind == STATE_UNREADABLE)
		judge_say(ret, VERDICT_UNREADABLE, "%s", f->now->why);
	else if (f->head == NULL)
		judge_say(ret, VERDICT_FIRST, "%s", "");
	else if (digest_eq(f->digest, &f->head->digest))
		judge_say(ret, VERDICT_SAME, "%s", "");
	else if (f->released)
		judge_say(ret, VERDICT_ADVANCE, "released by a person");
	else if (judge_is_unrelated(f) && f->same_meaning) /* terraform's own migrations do this; still a person's call */
		judge_say(ret, VERDICT_UNRELATED, "same content under another lineage, as after init -migrate-state");
	else if (judge_is_unrelated(f))
		judge_say(ret, VERDICT_UNRELATED, "lineage \"%.40s\" is not the head's \"%.40s\"", f->now->lineage, f->head->lineage);
	else
		judge_serials(f, ret);
}

/* At first contact nothing is held back for what was there earlier: another lineage begins anew, and what the source holds is taken. */
void
judge(const struct judge_facts *f, struct judgement *ret)
{
	judge_content(f, ret);
	if (f->unwatched && state_is_good(f->now) && !verdict_is_head(ret->verdict) && (f->current || ret->verdict == VERDICT_UNRELATED))
		ret->verdict = VERDICT_FIRST;
}

bool
judge_needs_meaning(const struct judge_facts *f)
{
	if (f->head == NULL || f->released || !state_is_good(f->now) || digest_eq(f->digest, &f->head->digest))
		return false;
	if (f->now->kind != STATE_V4 || f->head->kind != STATE_V4)
		return false;
	return judge_is_unrelated(f) || f->now->serial == f->head->serial;
}

static bool
compare_is_bare(const struct state_info *i)
{
	return (i->kind == STATE_V4 || i->kind == STATE_V3) && i->resources == 0 && i->outputs == 0;
}

static void
compare_same_lineage(const struct compare_facts *f, struct comparison *ret)
{
	if (f->released && f->known)
		compare_say(ret, COMPARE_WRITE, "serial %llu, by a person's decision", LLU(f->now->serial));
	else if (f->now->serial < f->next->serial)
		compare_say(ret, COMPARE_WRITE, "serial %llu", LLU(f->now->serial));
	else if (f->now->serial == f->next->serial && f->same_meaning)
		compare_say(ret, COMPARE_LEAVE, "equal meaning in other bytes");
	else if (f->now->serial == f->next->serial)
		compare_say(ret, COMPARE_HOLD, "the target has serial %llu with different content", LLU(f->now->serial));
	else
		compare_say(ret, COMPARE_HOLD, "the target is newer: serial %llu, the source has %llu", LLU(f->now->serial),
		    LLU(f->next->serial));
}

void
compare(const struct compare_facts *f, struct comparison *ret)
{
	assert(state_is_good(f->next));
	if (f->now == NULL)
		compare_say(ret, COMPARE_WRITE, "%s", "");
	else if (digest_eq(f->now_digest, f->next_digest))
		compare_say(ret, COMPARE_CURRENT, "%s", "");
	else if (f->resolved)
		compare_say(ret, COMPARE_WRITE, "what a person allowed to replace");
	else if (f->now->kind == STATE_EMPTY && f->now->size == 0) /* made by a lock and never written, or emptied: nothing to lose */
		compare_say(ret, COMPARE_WRITE, "zero bytes");
	else if (!state_is_good(f->now))
		compare_say(ret, COMPARE_HOLD, "the target holds no state (%s)", f->now->why[0] != '\0' ? f->now->why : "blanks");
	else if (strcmp(f->now->lineage, f->next->lineage) == 0)
		compare_same_lineage(f, ret);
	else if (f->released && f->known)
		compare_say(ret, COMPARE_WRITE, "another lineage, by a person's decision");
	else if (compare_is_bare(f->now))
		compare_say(ret, COMPARE_WRITE, "an empty state of another lineage");
	else
		compare_say(ret, COMPARE_HOLD, "the target holds another lineage \"%.40s\"", f->now->lineage);
}

bool
compare_needs_meaning(const struct compare_facts *f)
{
	if (f->now == NULL || digest_eq(f->now_digest, f->next_digest) || f->resolved)
		return false;
	return f->now->kind == STATE_V4 && f->next->kind == STATE_V4 && f->now->serial == f->next->serial &&
	    strcmp(f->now->lineage, f->next->lineage) == 0;
}

/* Dropping what the source still holds mends nothing: the next look finds it again. */
void
judge_advice(const struct state_rec *s, const struct version_rec *v, bool now, struct buf *ret)
{
	bool  good = state_is_good(&(struct state_info){ .kind = v->kind }) && v->verdict != VERDICT_DAMAGED;
	char *at = shell_wordf("%s:%s@%" PRIu64, s->backend, s->name, v->number), *head = shell_wordf("%s:%s@head", s->backend, s->name);

	if (now && good)
		buf_printf(ret, "stateferry quarantine release %s if this is meant", at);
	else if (now)
		buf_puts(ret, "repair the source");
	else if (good)
		buf_printf(ret, "the source holds something else by now: stateferry quarantine drop %s, or stateferry restore %s", at, at);
	else
		buf_printf(ret, "stateferry cat %s shows it, stateferry quarantine drop %s removes it", at, at);
	if (now && s->head != 0)
		buf_printf(ret, ", %s stateferry restore %s", good ? "else" : "or", head);
	free(at);
	free(head);
}

void
judge_held(const struct state_rec *s, const struct version_rec *v, struct err *ret)
{
	struct buf advice;

	buf_init(&advice, 0);
	judge_advice(s, v, true, &advice);
	err_set(ret, ERR_CONFLICT, 0, "version %" PRIu64 " is %s%s%s", v->number, verdict_name(v->verdict), v->reason[0] != '\0' ? ": " : "",
	    v->reason);
	err_hint(ret, "%s", buf_str(&advice));
	buf_free(&advice);
}
