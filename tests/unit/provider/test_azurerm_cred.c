/* SPDX-License-Identifier: MIT */
#include "../../lib/test.h"
#include "provider/azurerm/azurerm.h"

/* What an account's key and a shared access signature add to a request. */

#define KEY "dGVzdCBrZXkgb2Ygc3RhdGVmZXJyeSwgbm90IGEgc2VjcmV0IQ=="

static struct azurerm_cred *
cred(const char *key, const char *sas, struct err *e)
{
	static struct azurerm_conf conf;
	struct azurerm_cred       *c = NULL;

	secret_free(conf.access_key);
	secret_free(conf.sas_token);
	conf = (struct azurerm_conf){ .storage_account_name = "acmestates", .access_key = key != NULL ? secret_new(span_str(key)) : NULL,
		.sas_token = sas != NULL ? secret_new(span_str(sas)) : NULL };
	azurerm_cred_new(NULL, &conf, "/", &c, e);
	return c;
}

static void
signs(const char *key, const char *sas, const char *header, const char *query, const char *source)
{
	struct err             e;
	struct azurerm_cred   *c = cred(key, sas, &e);
	struct buf             h, q;
	struct http_header     list[] = { { "x-ms-date", (char *)(uintptr_t)"Sun, 22 Nov 2026 00:45:53 GMT" },
		    { "x-ms-version", (char *)(uintptr_t)"2023-11-03" } };
	struct azurerm_signing s = { .method = "GET", .path = "/tfstate/a.tfstate", .headers = list, .nheaders = 2 };

	CHECK(c != NULL);
	CHECK(azurerm_cred_ready(c) == NULL);
	buf_init(&h, 0);
	buf_init(&q, 0);
	azurerm_cred_sign(c, &s, &h, &q);
	CHECK_STR(buf_str(&h), header);
	CHECK_STR(buf_str(&q), query);
	CHECK_STR(azurerm_cred_source(c), source);
	buf_free(&h);
	buf_free(&q);
	azurerm_cred_free(c);
}

static void
signs_by_either(void)
{
	static const char by_key[] = "SharedKey acmestates:ezVn/9cIE0fURhVs1eXeUyFUWMUWUWp++p1jjWbC6mo=";

	signs(NULL, "?sv=2023-11-03&sig=a%2Bb", "", "sv=2023-11-03&sig=a%2Bb", "sas_token");
	signs(NULL, "sv=2023-11-03&sig=a%2Bb", "", "sv=2023-11-03&sig=a%2Bb", "sas_token");
	signs(KEY, NULL, by_key, "", "access_key");
	signs(KEY, "sv=2023-11-03&sig=a%2Bb", by_key, "", "access_key"); /* terraform's order */
}

static void
refuses(void)
{
	static const char *const rows[][3] = { { NULL, NULL, "access_key" }, { "no base64", NULL, "access_key" }, { NULL, "canary", "sas_token" },
		{ NULL, "sig=canary x", "sas_token" } };
	struct err               e;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		CHECK(cred(rows[i][0], rows[i][1], &e) == NULL);
		CHECK_U64(e.code, ERR_CONFIG);
		CHECK(strstr(e.msg, rows[i][2]) != NULL);
		CHECK(strstr(e.msg, "canary") == NULL);
	}
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){ { "signs by either", signs_by_either }, { "refuses", refuses }, { NULL, NULL } });
}
