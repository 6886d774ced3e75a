/* SPDX-License-Identifier: MIT */
#include "azurerm_lease.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/encode.h"

#define AZURERM_RETRY_PAUSE_MS 250

void
azurerm_lease_free(struct op *op)
{
	struct azurerm_lease *k = container_of(op, struct azurerm_lease, op);

	send_request_free(&k->req);
	send_answer_free(&k->ans);
	azurerm_props_free(&k->props);
	buf_free(&k->text);
	free(k->name);
	free(k->blob);
	free(k);
}

struct azurerm_lease *
azurerm_lease_new(struct backend *b, const struct op_class *class, const struct state_ref *ref)
{
	struct azurerm_lease *k = xcalloc(1, sizeof(*k));

	k->z = azurerm_of(b);
	op_init(&k->op, class, k->z->env->loop);
	k->name = xstrdup(ref->name);
	k->blob = azurerm_blob_of(k->z, ref->name);
	buf_init(&k->text, 0);
	return k;
}

/* ---------------------------------------------------------------- requests */

struct op *
azurerm_lease_look(struct azurerm_lease *k, const char *lease)
{
	azurerm_to_blob(k->z, &k->req, "HEAD", k->blob, NULL);
	if (lease != NULL)
		send_header(&k->req, "x-ms-lease-id", "%s", lease);
	return azurerm_send(k->z, &k->req, &k->ans);
}

void
azurerm_lease_act(struct azurerm_lease *k, const char *action)
{
	azurerm_to_blob(k->z, &k->req, "PUT", k->blob, "lease");
	send_header(&k->req, "x-ms-lease-action", "%s", action);
}

struct op *
azurerm_lease_release(struct azurerm_lease *k)
{
	azurerm_lease_act(k, "release");
	send_header(&k->req, "x-ms-lease-id", "%s", k->mine.id);
	return azurerm_send(k->z, &k->req, &k->ans);
}

struct op *
azurerm_lease_remove(struct azurerm_lease *k, const char *etag)
{
	azurerm_to_blob(k->z, &k->req, "DELETE", k->blob, NULL);
	send_header(&k->req, "x-ms-lease-id", "%s", k->mine.id);
	send_header(&k->req, "if-match", "\"%s\"", etag);
	return azurerm_send(k->z, &k->req, &k->ans);
}

struct op *
azurerm_lease_describe(struct azurerm_lease *k, const char *lock)
{
	azurerm_to_blob(k->z, &k->req, "PUT", k->blob, "metadata");
	send_header(&k->req, "x-ms-lease-id", "%s", k->mine.id);
	azurerm_props_keep(&k->props, lock, &k->req);
	return azurerm_send(k->z, &k->req, &k->ans);
}

/* ---------------------------------------------------------------- what comes back */

enum op_turn
azurerm_lease_refused(struct azurerm_lease *k, const char *doing)
{
	char *what = xasprintf("%s %.120s", doing, k->name);

	azurerm_refused(k->z, &k->ans, what, &k->op.res);
	if (k->op.res.code == ERR_NOT_FOUND) /* the container, not the lock */
		k->op.res.code = ERR_CONFIG;
	free(what);
	return op_fail(&k->op);
}

enum op_turn
azurerm_lease_failed(struct azurerm_lease *k)
{
	struct err why = k->op.err.code != ERR_OK ? k->op.err : k->op.res;

	k->op.err = (struct err){ .code = ERR_OK };
	k->op.res = why;
	if (k->doubt && why.code != ERR_UNCERTAIN) {
		err_set(&k->op.res, ERR_UNCERTAIN, why.detail, "%s; what became of the lock of %.60s is unknown", why.msg, k->name);
		if (why.hint[0] != '\0')
			err_hint(&k->op.res, "%s", why.hint);
	}
	return op_fail(&k->op);
}

bool
azurerm_lease_is_gone(const struct azurerm_lease *k)
{
	return azurerm_no_such_blob(&k->ans) || azurerm_lease_is_lost(&k->ans);
}

void
azurerm_lease_parse(struct azurerm_lease *k)
{
	struct buf body;
	bool       read;

	buf_init(&body, LOCK_BODY_MAX);
	read = k->props.lock != NULL && base64_decode(span_str(k->props.lock), &body) &&
	    lock_info_parse(buf_span(&body), &k->there, NULL) == ERR_OK && azurerm_is_uuid(k->there.id);
	buf_free(&body);
	if (!read) {
		memset(&k->there, 0, sizeof(k->there));
		k->there.unnamed = true;
		snprintf(k->there.who, sizeof(k->there.who), "a lease without terraform's words");
		snprintf(k->there.id, sizeof(k->there.id), "%s", k->props.etag);
	}
	snprintf(k->there.generation, sizeof(k->there.generation), "%s", k->props.etag);
}

int64_t
azurerm_lease_pause(const struct azurerm_lease *k)
{
	return provider_backoff_ms(&k->z->b, k->tries, AZURERM_RETRY_PAUSE_MS);
}
