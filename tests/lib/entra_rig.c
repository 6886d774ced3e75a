/* SPDX-License-Identifier: MIT */
#include "entra_rig.h"

#include <errno.h>
#include <stdlib.h>

#include "test.h"

#define WALL ((int64_t)1795000000000)

struct entra_rig entra;

static const char *
var(void *arg, const char *name)
{
	(void)arg;
	for (size_t i = 0; i < ARRAY_LEN(entra.vars) && entra.vars[i][0] != NULL; i++)
		if (strcmp(entra.vars[i][0], name) == 0)
			return entra.vars[i][1];
	return NULL;
}

/* Text, or "golden/...": a file of these tests. */
static enum err_code
file(void *arg, const char *path, struct buf *ret, struct err *reterr)
{
	size_t      n;
	const char *text;

	(void)arg;
	for (size_t i = 0; i < ARRAY_LEN(entra.files) && entra.files[i][0] != NULL; i++) {
		if (strcmp(entra.files[i][0], path) != 0)
			continue;
		text = entra.files[i][1];
		n = strlen(text);
		if (strncmp(text, "golden/", 7) == 0)
			text = test_read(text, &n);
		return buf_add(ret, text, n, reterr);
	}
	return err_set(reterr, ERR_IO, ENOENT, "%s: there is no such file", path);
}

void
entra_begin(void)
{
	memset(&entra, 0, sizeof(entra));
	CHECK_OK(crypto_init(&entra.err), entra.err);
	entra.loop = loop_new_virtual(7, WALL);
	entra.work = work_new(entra.loop);
	entra.http = scripted_http_new(entra.loop);
	entra.fake = fake_entra_behind(entra.http, entra.loop);
	entra.source = (struct conf_source){ .env = var, .file = file };
	entra.env = (struct provider_env){ .loop = entra.loop, .work = entra.work, .http = scripted_http_client(entra.http), .source = &entra.source };
	entra.conf = (struct azurerm_conf){ .storage_account_name = FAKE_ACCOUNT, .container_name = "tfstate", .tenant_id = FAKE_TENANT,
		.client_id = FAKE_CLIENT, .use_azuread_auth = true };
}

void
entra_turn(void)
{
	while (loop_turn(entra.loop, false))
		continue;
}

void
entra_end(void)
{
	CHECK(strstr(entra.err.msg, "CANARY") == NULL && strstr(entra.err.hint, "CANARY") == NULL);
	azurerm_cred_free(entra.cred);
	entra_turn();
	secret_free(entra.conf.access_key);
	secret_free(entra.conf.sas_token);
	secret_free(entra.conf.client_secret);
	secret_free(entra.conf.client_certificate);
	secret_free(entra.conf.client_certificate_password);
	secret_free(entra.conf.oidc_token);
	secret_free(entra.conf.oidc_request_token);
	fake_entra_free(entra.fake);
	scripted_http_free(entra.http);
	work_free(entra.work);
	loop_free(entra.loop);
}

struct secret *
entra_secret(const char *text)
{
	return secret_new(span_str(text));
}

enum err_code
entra_open(void)
{
	err_clear(&entra.err);
	return azurerm_cred_new(&entra.env, &entra.conf, "/conf", &entra.cred, &entra.err);
}

void
entra_done(struct op *op, void *arg)
{
	(void)arg;
	entra.err = op->err;
	entra.ended++;
	op_free(op);
}

enum err_code
entra_ready(void)
{
	struct op *op = azurerm_cred_ready(entra.cred);

	err_clear(&entra.err);
	if (op == NULL)
		return ERR_OK;
	op_start(op, entra_done, NULL);
	entra_turn();
	return entra.err.code;
}

/* What a request would carry. */
const char *
entra_signature(void)
{
	struct http_header headers[] = { { "x-ms-date", (char[]){ "Sun, 22 Nov 2026 00:52:03 GMT" } }, { "x-ms-version", (char[]){ "2023-11-03" } },
		{ "content-type", (char[]){ "application/xml; charset=utf-8" } } };
	struct buf         header, query;

	buf_init(&header, 0);
	buf_init(&query, 0);
	azurerm_cred_sign(entra.cred, &(struct azurerm_signing){ .method = "GET", .path = "/tfstate", .query =
	    "comp=list&prefix=prod%2Fnet.tfstateenv%3A&restype=container", .headers = headers, .nheaders = 3 }, &header, &query);
	CHECK(header.len == 0 || query.len == 0);
	snprintf(entra.got, sizeof(entra.got), "%s%s", buf_str(&header), buf_str(&query));
	buf_wipe_free(&header);
	buf_wipe_free(&query);
	return entra.got;
}

void
entra_works(const char *source, const char *scope)
{
	CHECK_OK(entra_open(), entra.err);
	CHECK_OK(entra_ready(), entra.err);
	if (entra.fake->wrong > 0)
		test_fail(__FILE__, __LINE__, "%s", entra.fake->why);
	CHECK_STR(azurerm_cred_source(entra.cred), source);
	CHECK_STR(entra.fake->scope, scope);
	CHECK_STR(entra_signature(), "Bearer CANARY-token-1");
	entra_end();
}

void
entra_refused(enum err_code want, const char *msg, const char *hint)
{
	enum err_code rc = entra_open();

	if (rc == ERR_OK)
		rc = entra_ready();
	if (rc != want || strstr(entra.err.msg, msg) == NULL || strstr(entra.err.hint, hint) == NULL)
		test_fail(__FILE__, __LINE__, "%s: %s; %s", err_kind(rc), entra.err.msg, entra.err.hint);
	entra_end();
}
