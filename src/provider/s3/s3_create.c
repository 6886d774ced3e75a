/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>

#include "base/encode.h"
#include "base/log.h"
#include "net/xml.h"
#include "s3.h"

/*
 * Makes the bucket when it is missing. It is looked for first: in us-east-1 a second creation answers 200 and resets its ACL. At AWS one
 * that we made is closed to the public, keeps versions, and encrypts by the key of the block whoever writes; what a store elsewhere
 * makes of these settings is not known, so it keeps its own. Then the lock table.
 */
struct s3_creating {
	struct op           op;
	struct s3          *s;
	struct send_request req;
	struct send_answer  ans;
	bool                asked;   /* the PUT was sent */
	size_t              setting; /* the next one */
};

#define S3_XMLNS "xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\""

static const struct s3_setting {
	const char *query, *what, *permission, *before, *after;
	bool        kms;           /* only with a key, which stands between before and after */
} s3_settings[] = {
	{ "publicAccessBlock=", "closing it to the public", "s3:PutBucketPublicAccessBlock", "<PublicAccessBlockConfiguration " S3_XMLNS
	    "><BlockPublicAcls>true</BlockPublicAcls><IgnorePublicAcls>true</IgnorePublicAcls><BlockPublicPolicy>true</BlockPublicPolicy>"
	    "<RestrictPublicBuckets>true</RestrictPublicBuckets></PublicAccessBlockConfiguration>", "", false },
	{ "encryption=", "encrypting by kms_key_id", "s3:PutEncryptionConfiguration", "<ServerSideEncryptionConfiguration " S3_XMLNS
	    "><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>aws:kms</SSEAlgorithm><KMSMasterKeyID>",
	    "</KMSMasterKeyID></ApplyServerSideEncryptionByDefault><BucketKeyEnabled>true</BucketKeyEnabled></Rule>"
	    "</ServerSideEncryptionConfiguration>", true },
	{ "versioning=", "keeping versions", "s3:PutBucketVersioning", "<VersioningConfiguration " S3_XMLNS
	    "><Status>Enabled</Status></VersioningConfiguration>", "", false },
};

enum s3_create_state { CREATE_LOOK, CREATE_LOOKED, CREATE_ANSWERED, CREATE_SET, CREATE_SETTLED, CREATE_TABLED };

static const char *const s3_create_states[] = { "look", "looked", "answered", "set", "setting answered", "table" };

static struct op *
s3_create_look(struct s3_creating *c)
{
	send_request_free(&c->req);
	c->req.method = "HEAD";
	return s3_send(c->s, &c->req, &c->ans);
}

/* us-east-1 is what no constraint means, and may not be named. */
static struct op *
s3_create_send(struct s3_creating *c)
{
	struct buf text;

	send_request_free(&c->req);
	c->asked = true;
	c->req.method = "PUT";
	c->req.changing = true;
	if (strcmp(c->s->region, "us-east-1") != 0) {
		buf_init(&text, 0);
		buf_puts(&text, "<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><LocationConstraint>");
		xml_escape(span_str(c->s->region), &text);
		buf_puts(&text, "</LocationConstraint></CreateBucketConfiguration>");
		sha256_of(text.data, text.len, &c->req.digest);
		c->req.body = body_new(&text);
		send_header(&c->req, "content-type", "application/xml");
	}
	return s3_send(c->s, &c->req, &c->ans);
}

static enum op_turn
s3_create_refused(struct s3_creating *c)
{
	const char *bucket = c->s->conf->bucket;
	struct err *e = &c->op.res;

	if (strcmp(c->ans.code, "BucketAlreadyExists") == 0) {
		err_set(e, ERR_CONFLICT, c->ans.http.status, "bucket %s belongs to somebody else (%d %s)", bucket,
		    c->ans.http.status, c->ans.code);
		err_hint(e, "names of buckets are global: choose another one");
	} else if (strcmp(c->ans.code, "IllegalLocationConstraintException") == 0 ||
	    strcmp(c->ans.code, "InvalidLocationConstraint") == 0) {
		err_set(e, ERR_CONFIG, c->ans.http.status, "bucket %s cannot be made in region %s at this endpoint (%d %s)", bucket,
		    c->s->region, c->ans.http.status, c->ans.code);
		err_hint(e, "check region and endpoints");
	} else {
		s3_refused(c->s, &c->req, &c->ans, "making the bucket", e);
	}
	return op_fail(&c->op);
}

/* ---------------------------------------------------------------- what a new one is set to */

static struct op *
s3_setting_send(struct s3_creating *c, const struct s3_setting *set)
{
	struct buf text, sum;
	uint8_t    md5[MD5_LEN];

	buf_init(&text, 0);
	buf_init(&sum, 0);
	buf_puts(&text, set->before);
	if (set->kms)
		xml_escape(span_str(c->s->conf->kms_key_id), &text);
	buf_puts(&text, set->after);
	send_request_free(&c->req);
	c->req.method = "PUT";
	c->req.query = xstrdup(set->query);
	c->req.changing = true;
	md5_of(text.data, text.len, md5);
	base64_encode(span_of(md5, sizeof(md5)), &sum);
	sha256_of(text.data, text.len, &c->req.digest);
	c->req.body = body_new(&text);
	send_header(&c->req, "content-type", "application/xml");
	send_header(&c->req, "content-md5", "%s", buf_str(&sum));
	buf_free(&sum);
	return s3_send(c->s, &c->req, &c->ans);
}

/* The bucket is there and can be used: what is missing is said, and left to a person. */
static void
s3_setting_failed(struct s3_creating *c, const struct s3_setting *set)
{
	struct op *op = &c->op;
	char       why[ERR_TEXT_MAX];

	if (!op_failed(op))
		s3_refused(c->s, &c->req, &c->ans, set->what, &op->res);
	if (op->res.code == ERR_AUTH)
		err_hint(&op->res, "the credentials from %s need %s; the bucket is used without", s3_cred_source(c->s->cred), set->permission);
	log_at(LOG_WARN, c->s->b.label, "bucket %s is made, but %s failed: %s", c->s->conf->bucket, set->what, err_text(&op->res, why));
	err_clear(&op->res);
}

static enum op_turn
s3_create_set(struct s3_creating *c)
{
	struct op               *op = &c->op;
	const struct s3_conf    *conf = c->s->conf;
	const struct s3_setting *set = &s3_settings[c->setting];
	bool                     kms = conf->encrypt && conf->kms_key_id != NULL && conf->kms_key_id[0] != '\0';

	if (!c->asked || !c->s->aws || c->setting == ARRAY_LEN(s3_settings))
		return op_await(op, CREATE_TABLED, s3_has_table(c->s) ? s3_table_create(c->s) : NULL);
	c->setting++;
	return set->kms && !kms ? op_go(op, CREATE_SET) : op_await(op, CREATE_SETTLED, s3_setting_send(c, set));
}

static enum op_turn
s3_create_looked(struct s3_creating *c)
{
	struct op *op = &c->op;

	if (op_failed(op))
		return op_finish(op); /* after an unknown outcome: that */
	if (c->ans.http.status / 100 == 2) {
		err_clear(&op->err);
		return op_go(op, CREATE_SET);
	}
	if (c->ans.http.status == 404 && !c->asked)
		return op_await(op, CREATE_ANSWERED, s3_create_send(c));
	if (op->err.code != ERR_OK)
		return op_finish(op);
	s3_refused(c->s, &c->req, &c->ans, "looking for the bucket", &op->res);
	return op_fail(op);
}

static enum op_turn
s3_create_step(struct op *op)
{
	struct s3_creating *c = container_of(op, struct s3_creating, op);

	switch ((enum s3_create_state)op->state) {
	case CREATE_LOOK:
		return op_await(op, CREATE_LOOKED, s3_create_look(c));
	case CREATE_LOOKED:
		return s3_create_looked(c);
	case CREATE_ANSWERED:
		if (!op_failed(op) && (c->ans.http.status / 100 == 2 || strcmp(c->ans.code, "BucketAlreadyOwnedByYou") == 0))
			return op_go(op, CREATE_SET);
		if (!op_failed(op))
			s3_create_refused(c);
		if (op->res.code != ERR_UNCERTAIN && op->res.code != ERR_CONFLICT)
			return op_finish(op);
		op->err = op->res; /* unless it is there, and ours to use */
		return op_await(op, CREATE_LOOKED, s3_create_look(c));
	case CREATE_SET:
		return s3_create_set(c);
	case CREATE_SETTLED:
		if (op->res.code == ERR_CANCELLED)
			return op_fail(op);
		if (op_failed(op) || c->ans.http.status / 100 != 2)
			s3_setting_failed(c, &s3_settings[c->setting - 1]);
		return op_go(op, CREATE_SET);
	case CREATE_TABLED:
		return op_finish(op);
	}
	return OP_DONE;
}

static void
s3_create_free(struct op *op)
{
	struct s3_creating *c = container_of(op, struct s3_creating, op);

	send_request_free(&c->req);
	send_answer_free(&c->ans);
	free(c);
}

static const struct op_class s3_create_class = { "s3 create", s3_create_step, NULL, s3_create_free, s3_create_states,
	ARRAY_LEN(s3_create_states) };

struct op *
s3_create(struct backend *b)
{
	struct s3_creating *c = xcalloc(1, sizeof(*c));

	c->s = s3_of(b);
	op_init(&c->op, &s3_create_class, c->s->env->loop);
	return &c->op;
}
