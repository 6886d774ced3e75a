/* SPDX-License-Identifier: MIT */
#include "azure_rig.h"

#include "base/encode.h"
#include "test.h"

struct azure_rig azure;
struct state_ref azure_ref = { AZURE_NAME };

const char *
azure_block(const char *more)
{
	static char text[1000];

	snprintf(text, sizeof(text), "backend \"azurerm\" \"b\" {\n  storage_account_name = \"" FAKE_AZURE_ACCOUNT "\"\n  container_name = \""
	    FAKE_AZURE_CONTAINER "\"\n%s}\n", more);
	return text;
}

void
azure_begin(const char *more)
{
	char text[400];

	snprintf(text, sizeof(text), "  access_key = \"" FAKE_AZURE_KEY "\"\n%s", more);
	provider_rig_open(&azure.r, false, azure_block(text));
	azure.fake = fake_azure_behind(azure.r.http);
}

void
azure_end(void)
{
	fake_azure_free(azure.fake);
	provider_rig_close(&azure.r);
}

enum err_code
azure_put(const char *text, enum put_if when, const char *etag, const struct lock_info *lock, char ret[ETAG_MAX])
{
	return provider_rig_put(&azure.r, &azure_ref, span_str(text), &(struct put_condition){ .when = when, .etag = etag, .lock = lock }, ret);
}

enum err_code
azure_get(struct snapshot *ret)
{
	memset(ret, 0, sizeof(*ret));
	return provider_rig_run(&azure.r, provider_get(azure.r.b, &azure_ref, NULL, ret));
}

enum err_code
azure_lock(struct lock_info *l)
{
	struct lock_info holder;

	provider_lock_new(azure.r.b, &azure_ref, "", l);
	return provider_rig_run(&azure.r, provider_lock(azure.r.b, &azure_ref, l, &holder));
}

enum err_code
azure_unlock(const struct lock_info *l)
{
	return provider_rig_run(&azure.r, provider_unlock(azure.r.b, &azure_ref, l));
}

void
azure_unlock_at_last(const struct lock_info *l)
{
	if (azure_unlock(l) != ERR_OK)
		CHECK_U64(azure_unlock(l), ERR_OK);
}

enum err_code
azure_peek(struct lock_info *ret)
{
	return provider_rig_run(&azure.r, provider_lock_peek(azure.r.b, &azure_ref, ret));
}

void
azure_words_of(const char *id)
{
	struct lock_info l = { .operation = "OperationTypeApply", .who = "ann@desk", .version = "1.11.4", .created = "2026-11-22T00:44:48.9Z" };
	struct buf       body, text;

	snprintf(l.id, sizeof(l.id), "%s", id);
	buf_init(&body, 0);
	buf_init(&text, 0);
	lock_info_body(&l, &body);
	base64_encode(buf_span(&body), &text);
	fake_azure_set_meta(azure.fake, AZURE_NAME, "terraformlockid", buf_str(&text));
	buf_free(&body);
	buf_free(&text);
}

bool
azure_nothing_locked(void)
{
	return fake_azure_leases(azure.fake) == 0 && fake_azure_meta(azure.fake, AZURE_NAME, "terraformlockid")[0] == '\0';
}
