/* SPDX-License-Identifier: MIT */
/* What a cloud's metadata service and the management API answer: any bytes. What is taken can be used, what is refused is not quoted. */
#include <string.h>
#include <strings.h>

#include "../lib/fuzz.h"
#include "base/mem.h"
#include "provider/azurerm/azurerm.h"
#include "provider/azurerm/azurerm_signin.h"

static void
check_cloud(struct span json)
{
	struct azurerm_cloud c = { NULL, NULL, NULL };
	struct err           e = { .msg = "" };

	if (azurerm_cloud_parse(json, &c, &e) == ERR_OK) {
		FUZZ_CHECK(strncasecmp(c.login, "https://", 8) == 0 && strncasecmp(c.arm, "https://", 8) == 0);
		FUZZ_CHECK(c.suffix[0] != '\0' && strpbrk(c.suffix, "/@?# \\") == NULL);
	} else {
		FUZZ_CHECK(e.code == ERR_CORRUPT && e.msg[0] != '\0' && c.login == NULL);
	}
	azurerm_cloud_clear(&c);
}

static void
check_keys(struct span json)
{
	struct secret *key = NULL;
	struct err     e = { .msg = "" };

	if (azurerm_keys_parse(json, &key, &e) == ERR_OK)
		FUZZ_CHECK(secret_len(key) > 0);
	else
		FUZZ_CHECK(e.msg[0] != '\0' && key == NULL);
	secret_free(key);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	check_cloud(span_of(data, n));
	check_keys(span_of(data, n));
	return 0;
}
