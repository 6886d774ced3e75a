/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "base/digest.h"
#include "base/encode.h"
#include "base/state_scan.h"
#include "fake_tfe_impl.h"
#include "provider/provider.h"
#include "test.h"

static void
new_id(struct fake_tfe *f, const char *kind, char ret[24])
{
	snprintf(ret, 24, "%s-%08u", kind, ++f->ids);
}

struct tfe_workspace *
fake_tfe_workspace(struct fake_tfe *f, const char *name)
{
	struct tfe_workspace *w = map_get(f->workspaces, span_str(name));

	if (w != NULL)
		return w;
	w = xcalloc(1, sizeof(*w));
	new_id(f, "ws", w->id);
	snprintf(w->name, sizeof(w->name), "%s", name);
	w->order = ++f->order;
	map_put(f->workspaces, span_str(name), w);
	return w;
}

void
fake_tfe_workspace_free(struct tfe_workspace *w)
{
	for (size_t i = 0; i < w->n; i++)
		body_unref(w->versions[i].body);
	free(w);
}

void
fake_tfe_drop(struct fake_tfe *f, const char *name)
{
	fake_tfe_workspace_free(map_del(f->workspaces, span_str(name)));
}

struct tfe_version *
fake_tfe_current(struct tfe_workspace *w)
{
	for (size_t i = w->n; i > 0; i--)
		if (strcmp(w->versions[i - 1].status, "finalized") == 0)
			return &w->versions[i - 1];
	return NULL;
}

struct tfe_version *
fake_tfe_announce(struct fake_tfe *f, struct tfe_workspace *w)
{
	struct tfe_version *v = &w->versions[w->n++];

	CHECK(w->n <= FAKE_TFE_VERSIONS);
	new_id(f, "sv", v->id);
	v->status = "pending";
	return v;
}

void
fake_tfe_receive(struct fake_tfe *f, struct tfe_workspace *w, struct tfe_version *v, struct span body)
{
	v->body = body_copy(body);
	v->status = f->pending > 0 ? "pending" : "finalized";
	w->order = ++f->order;
}

/* A look takes its time with it further. */
void
fake_tfe_settle(struct fake_tfe *f, struct tfe_version *v)
{
	if (v->body != NULL && strcmp(v->status, "pending") == 0 && (f->pending == 0 || --f->pending == 0))
		v->status = "finalized";
}

void
fake_tfe_md5(struct span s, char ret[33])
{
	uint8_t sum[MD5_LEN];

	md5_of(s.p, s.n, sum);
	hex_encode(sum, sizeof(sum), ret);
}

struct tfe_version *
fake_tfe_put(struct fake_tfe *f, const char *name, struct span body)
{
	struct tfe_workspace *w = fake_tfe_workspace(f, name);
	struct tfe_version   *v = fake_tfe_announce(f, w);
	struct body           *bytes = body_copy(body);
	struct snapshot        s;

	snapshot_of(&s, bytes, NULL);
	v->serial = s.info.serial;
	snprintf(v->lineage, sizeof(v->lineage), "%.63s", s.info.lineage);
	fake_tfe_md5(body, v->md5);
	v->body = body_ref(bytes);
	v->status = "finalized";
	w->order = ++f->order;
	snapshot_free(&s);
	body_unref(bytes);
	return v;
}

bool
fake_tfe_get(struct fake_tfe *f, const char *name, struct span *ret)
{
	struct tfe_workspace *w = map_get(f->workspaces, span_str(name));
	struct tfe_version   *v = w != NULL ? fake_tfe_current(w) : NULL;

	if (v != NULL)
		*ret = body_span(v->body);
	return v != NULL;
}

unsigned
fake_tfe_locks(struct fake_tfe *f)
{
	unsigned n = 0;
	void    *w;

	for (size_t i = 0; map_next(f->workspaces, &i, NULL, &w);)
		n += ((struct tfe_workspace *)w)->locked;
	return n;
}
