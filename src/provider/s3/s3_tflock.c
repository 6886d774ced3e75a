/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "provider/lock_object.h"
#include "s3.h"

/* Terraform's lock object, KEY.tflock, made by a conditional write (docs/protocol/s3.md, "The lock object"). */
struct s3_locking {
	struct lock_object  lock;
	struct send_request req;
	struct send_answer  ans;
	bool                marker; /* a delete marker was seen in the lock's place */
	bool                plain;  /* DELETE without a precondition */
};

static void
s3_lock_put(struct s3 *s, struct s3_locking *k)
{
	struct body  *body = body_copy(span_str(k->lock.body));
	struct digest d;

	sha256_of(k->lock.body, strlen(k->lock.body), &d);
	s3_request_write(s, &k->req, "application/json", body, &d);
	s3_request_tags(&s->conf->lock_tags, &k->req);
	send_header(&k->req, "if-none-match", "*");
	body_unref(body);
}

static void
s3_lock_remove(struct s3_locking *k)
{
	char *tag;

	k->req.method = "DELETE";
	k->req.changing = true;
	if (k->plain || k->lock.there.generation[0] == '\0')
		return;
	tag = s3_etag_quoted(k->lock.there.generation);
	send_header(&k->req, "if-match", "%s", tag);
	free(tag);
}

static struct op *
s3_lock_request(struct lock_object *lock)
{
	struct s3_locking *k = container_of(lock, struct s3_locking, lock);
	struct s3         *s = s3_of(lock->b);

	send_request_free(&k->req);
	k->req.object = xstrdup(lock->object);
	switch (lock->asked) {
	case LOCK_OBJECT_PUT:
		s3_lock_put(s, k);
		break;
	case LOCK_OBJECT_READ:
		k->req.method = "GET";
		k->req.max_body = LOCK_BODY_MAX;
		s3_request_sse_read(s, &k->req);
		break;
	case LOCK_OBJECT_REMOVE:
		s3_lock_remove(k);
		break;
	}
	return s3_send(s, &k->req, &k->ans);
}

static enum lock_object_answer
s3_lock_answer(struct lock_object *lock)
{
	struct s3_locking *k = container_of(lock, struct s3_locking, lock);
	const char        *marker = http_header_get(&k->ans.http, "x-amz-delete-marker");
	bool               read = lock->asked == LOCK_OBJECT_READ;

	if (read && k->ans.http.status == 200) {
		lock_object_read(lock, k->ans.http.body != NULL ? body_span(k->ans.http.body) : span_str(""));
		s3_etag(http_header_get(&k->ans.http, "etag"), lock->there.generation);
		lock_object_name(lock, lock->there.generation);
		return LOCK_OBJECT_THERE;
	}
	if (!read && k->ans.http.status / 100 == 2) {
		s3_etag(http_header_get(&k->ans.http, "etag"), lock->there.generation);
		return LOCK_OBJECT_DONE;
	}
	if (lock->asked != LOCK_OBJECT_PUT && s3_no_such_object(&k->req, &k->ans)) {
		k->marker |= marker != NULL && strcmp(marker, "true") == 0;
		return LOCK_OBJECT_ABSENT;
	}
	if (lock->asked == LOCK_OBJECT_REMOVE && s3_no_conditions(&k->ans) && !k->plain) {
		k->plain = true;
		return LOCK_OBJECT_AGAIN;
	}
	if (!read && s3_raced(&k->ans))
		return LOCK_OBJECT_RACED;
	return !read && s3_precondition_failed(&k->ans) ? LOCK_OBJECT_UNMET : LOCK_OBJECT_REFUSED;
}

static void
s3_lock_refused(struct lock_object *lock, const char *doing, struct err *reterr)
{
	struct s3_locking *k = container_of(lock, struct s3_locking, lock);

	s3_refused(s3_of(lock->b), &k->req, &k->ans, doing, reterr);
}

/* The trap of delete markers. */
static void
s3_lock_vanishing(struct lock_object *lock, struct err *reterr)
{
	struct s3_locking *k = container_of(lock, struct s3_locking, lock);

	err_set(reterr, ERR_UNSUPPORTED, 412, "bucket %s: %.80s exists (412) and does not exist (404): this store counts a delete marker as "
	    "an object", s3_of(lock->b)->conf->bucket, lock->object);
	err_hint(reterr, "%suse_lockfile cannot work with its versioning: turn it off, or remove the marker of that object",
	    k->marker ? "" : "if no other agent locks and unlocks it all the time: ");
}

static void
s3_lock_release(struct lock_object *lock)
{
	struct s3_locking *k = container_of(lock, struct s3_locking, lock);

	send_request_free(&k->req);
	send_answer_free(&k->ans);
}

static const struct lock_object_driver s3_lock_driver = { .store = "S3", .name_max = S3_KEY_MAX, .request = s3_lock_request,
	.answer = s3_lock_answer, .refused = s3_lock_refused, .vanishing = s3_lock_vanishing, .release = s3_lock_release };

static struct lock_object *
s3_lock_new(struct backend *b, const struct state_ref *ref)
{
	struct s3_locking *k = xcalloc(1, sizeof(*k));
	struct s3         *s = s3_of(b);
	char              *key = s3_key_of(s, ref->name);

	lock_object_init(&k->lock, &s3_lock_driver, b, ref, xasprintf("%s%s", key, S3_LOCK_SUFFIX));
	free(key);
	return &k->lock;
}

struct op *
s3_object_lock(struct backend *b, const struct state_ref *ref, struct lock_info *l, struct lock_info *ret_holder)
{
	return lock_object_lock(s3_lock_new(b, ref), l, ret_holder);
}

struct op *
s3_object_unlock(struct backend *b, const struct state_ref *ref, const struct lock_info *l)
{
	return lock_object_unlock(s3_lock_new(b, ref), l);
}

struct op *
s3_object_lock_peek(struct backend *b, const struct state_ref *ref, struct lock_info *ret)
{
	return lock_object_peek(s3_lock_new(b, ref), ret);
}
