/* SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "gcs.h"
#include "provider/lock_object.h"

/*
 * Terraform's lock object, made by ifGenerationMatch=0 (docs/protocol/gcs.md, "The lock object"). Its generation is what terraform calls
 * the lock's ID; the ID inside its body tells whether it is ours.
 */
struct gcs_locking {
	struct lock_object  lock;
	struct send_request req;
	struct send_answer  ans;
};

/* Never under the states' keys: terraform would not find it. */
static struct op *
gcs_lock_request(struct lock_object *lock)
{
	struct gcs_locking *k = container_of(lock, struct gcs_locking, lock);
	struct gcs         *g = gcs_of(lock->b);
	struct body        *body;

	switch (lock->asked) {
	case LOCK_OBJECT_PUT:
		body = body_copy(span_str(lock->body));
		gcs_to_upload(g, &k->req, lock->object, "application/json", body);
		send_query(&k->req, "ifGenerationMatch", "0");
		body_unref(body);
		break;
	case LOCK_OBJECT_READ:
		gcs_to_object(g, &k->req, "GET", lock->object);
		send_query(&k->req, "alt", "media");
		k->req.max_body = LOCK_BODY_MAX;
		break;
	case LOCK_OBJECT_REMOVE:
		gcs_to_object(g, &k->req, "DELETE", lock->object);
		send_query(&k->req, "ifGenerationMatch", lock->there.generation);
		break;
	}
	return gcs_send(g, &k->req, &k->ans);
}

/* Who holds it, under the ID that terraform shows; only of our fleet's locks the body's own is kept. */
static enum lock_object_answer
gcs_lock_parse(struct gcs_locking *k)
{
	struct lock_info *there = &k->lock.there;
	const char       *generation = http_header_get(&k->ans.http, "x-goog-generation");

	if (generation == NULL || strlen(generation) >= sizeof(there->generation))
		return LOCK_OBJECT_REFUSED;
	lock_object_read(&k->lock, k->ans.http.body != NULL ? body_span(k->ans.http.body) : span_str(""));
	snprintf(there->generation, sizeof(there->generation), "%s", generation);
	if (!lock_info_is_ours(there))
		snprintf(there->id, sizeof(there->id), "%s", generation);
	return LOCK_OBJECT_THERE;
}

static enum lock_object_answer
gcs_lock_answer(struct lock_object *lock)
{
	struct gcs_locking *k = container_of(lock, struct gcs_locking, lock);
	struct lock_info   *there = &lock->there;
	int                 status = k->ans.http.status;

	if (status == 412)
		return LOCK_OBJECT_UNMET;
	if (lock->asked != LOCK_OBJECT_PUT && gcs_no_such_object(&k->ans))
		return LOCK_OBJECT_ABSENT;
	if (lock->asked == LOCK_OBJECT_REMOVE)
		return status / 100 == 2 ? LOCK_OBJECT_DONE : LOCK_OBJECT_REFUSED;
	if (status != 200)
		return LOCK_OBJECT_REFUSED;
	if (lock->asked == LOCK_OBJECT_READ)
		return gcs_lock_parse(k);
	return gcs_member(&k->ans, "generation", there->generation, sizeof(there->generation)) ? LOCK_OBJECT_DONE : LOCK_OBJECT_UNMET;
}

static void
gcs_lock_refused(struct lock_object *lock, const char *doing, struct err *reterr)
{
	struct gcs_locking *k = container_of(lock, struct gcs_locking, lock);
	struct gcs         *g = gcs_of(lock->b);

	if (k->ans.http.status != 200) {
		gcs_refused(g, &k->req, &k->ans, doing, reterr);
		return;
	}
	err_set(reterr, ERR_UNSUPPORTED, 200, "bucket %s: %.120s: the answer is no object, it has no generation", g->conf->bucket,
	    lock->object);
	err_hint(reterr, GCS_OTHER_HINT);
}

static void
gcs_lock_vanishing(struct lock_object *lock, struct err *reterr)
{
	err_set(reterr, ERR_BUSY, 0, "bucket %s: %.80s is refused, but it is not there", gcs_of(lock->b)->conf->bucket, lock->object);
}

static void
gcs_lock_release(struct lock_object *lock)
{
	struct gcs_locking *k = container_of(lock, struct gcs_locking, lock);

	send_request_free(&k->req);
	send_answer_free(&k->ans);
}

static const struct lock_object_driver gcs_lock_driver = { .store = "Cloud Storage", .name_max = GCS_NAME_MAX,
	.request = gcs_lock_request, .answer = gcs_lock_answer, .refused = gcs_lock_refused, .vanishing = gcs_lock_vanishing,
	.release = gcs_lock_release };

static struct lock_object *
gcs_lock_new(struct backend *b, const struct state_ref *ref)
{
	struct gcs_locking *k = xcalloc(1, sizeof(*k));

	lock_object_init(&k->lock, &gcs_lock_driver, b, ref, gcs_lock_of(gcs_of(b), ref->name));
	return &k->lock;
}

struct op *
gcs_lock(struct backend *b, const struct state_ref *ref, struct lock_info *l, struct lock_info *ret_holder)
{
	return lock_object_lock(gcs_lock_new(b, ref), l, ret_holder);
}

struct op *
gcs_unlock(struct backend *b, const struct state_ref *ref, const struct lock_info *l)
{
	return lock_object_unlock(gcs_lock_new(b, ref), l);
}

struct op *
gcs_lock_peek(struct backend *b, const struct state_ref *ref, struct lock_info *ret)
{
	return lock_object_peek(gcs_lock_new(b, ref), ret);
}
