/* SPDX-License-Identifier: MIT */
/* What Brainboard's API answers, and names in a storage: any bytes. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "../lib/fuzz.h"
#include "base/mem.h"
#include "provider/brainboard/brainboard.h"

static void
check_item(void *arg, const struct brainboard_item *i)
{
	char  uuid[UUID_LEN + 1];
	char *alias = brainboard_alias(i->name, i->status, i->name);
	struct err e = { .msg = "" };

	FUZZ_CHECK(uuid_lower(span_str(i->uuid), uuid) && strcmp(uuid, i->uuid) == 0);
	FUZZ_CHECK(strpbrk(alias, "\t\n\r\\") == NULL && strchr(alias, '/') != NULL);
	free(alias);
	++*(size_t *)arg;
	if (i->inner != NULL)
		brainboard_items(i->inner, check_item, arg, &e);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	size_t     items = 0;
	struct err e = { .msg = "" };
	char       uuid[UUID_LEN + 1], lower[UUID_LEN + 1], *text = span_dup(span_of(data, n)), *key;

	FUZZ_CHECK(brainboard_parse(span_of(data, n), check_item, &items, &e) == ERR_OK || (e.code == ERR_CORRUPT && e.msg[0] != '\0'));
	if (brainboard_key_uuid(text, uuid))
		FUZZ_CHECK(uuid_lower(span_str(uuid), lower) && strncasecmp(text, uuid, UUID_LEN) == 0);
	if (brainboard_key_matches("a/{uuid}.x", text, uuid)) {
		key = brainboard_key_of("a/{uuid}.x", uuid);
		FUZZ_CHECK(strcasecmp(key, text) == 0);
		free(key);
	}
	if (name_uuid(span_of(data, n), uuid))
		FUZZ_CHECK(uuid_lower(span_str(uuid), lower) && strcmp(uuid, lower) == 0);
	free(text);
	return 0;
}
