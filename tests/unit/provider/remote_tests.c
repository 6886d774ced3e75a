/* SPDX-License-Identifier: MIT */
#include "remote_tests.h"

struct provider_rig r;
struct fake_tfe    *fake;

void
begin(const char *more)
{
	char text[1000];

	snprintf(text, sizeof(text), HEAD("cloud") "%s}\n", more);
	provider_rig_open(&r, false, text);
	fake = fake_tfe_behind(r.http);
}

void
end(void)
{
	fake_tfe_free(fake);
	provider_rig_close(&r);
}

enum err_code
run(struct op *op)
{
	enum err_code code = provider_rig_run(&r, op);

	if (strstr(r.err.msg, "canary") != NULL || strstr(r.err.hint, "canary") != NULL)
		test_fail(__FILE__, __LINE__, "a secret is told: %s; %s", r.err.msg, r.err.hint);
	return code;
}

struct state_ref
ref(const char *name)
{
	return (struct state_ref){ name };
}

enum err_code
put(const char *name, const char *text, char ret[ETAG_MAX])
{
	struct put_condition when = { .when = PUT_UNDER_LOCK };
	struct body         *body = body_copy(span_str(text));
	struct snapshot      s;
	struct state_ref     at = ref(name);
	enum err_code        code;

	snapshot_of(&s, body, NULL);
	code = run(provider_put(r.b, &at, &s, &when, ret));
	snapshot_free(&s);
	body_unref(body);
	return code;
}

enum err_code
get(const char *name, const char *unless, struct snapshot *ret)
{
	struct state_ref at = ref(name);

	return run(provider_get(r.b, &at, unless, ret));
}

enum err_code
lock(const char *name, struct lock_info *l, struct lock_info *holder)
{
	struct state_ref at = ref(name);

	if (l->id[0] == '\0')
		provider_lock_new(r.b, &at, "replicate a to b", l);
	return run(provider_lock(r.b, &at, l, holder));
}

enum err_code
unlock(const char *name, const struct lock_info *l)
{
	struct state_ref at = ref(name);

	return run(provider_unlock(r.b, &at, l));
}

bool
holds(const char *name, const char *text)
{
	struct span s;

	return fake_tfe_get(fake, name, &s) && span_is(s, text);
}

static void
saw(void *arg, const struct state_seen *s)
{
	struct buf *b = arg;

	CHECK(s->problem == NULL);
	buf_printf(b, "%s=%s%s ", s->name, s->etag, s->locked ? "!" : "");
}

enum err_code
list(char *ret, size_t size)
{
	struct buf    b;
	enum err_code code;

	buf_init(&b, 0);
	code = run(provider_list(r.b, saw, &b));
	snprintf(ret, size, "%s", buf_str(&b));
	buf_free(&b);
	return code;
}
