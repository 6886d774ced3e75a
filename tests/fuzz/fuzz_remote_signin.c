/* SPDX-License-Identifier: MIT */
/* Names of hosts and variables, and files of terraform's own configuration: any bytes. A host in normal form stays as it is; what was read
 * of a file is whole, also when the file is refused. */
#include "../lib/fuzz.h"

#include <string.h>

#include "provider/remote/remote.h"
#include "provider/remote/remote_cli.h"

static struct span file;

static void
host(const char *text)
{
	struct buf once, twice;
	struct err e = { .msg = "" };

	buf_init(&once, 0);
	buf_init(&twice, 0);
	if (remote_host(text, &once, &e) == ERR_OK) {
		FUZZ_CHECK(once.len > 0 && once.len <= 253 + 6 && strpbrk(buf_str(&once), "ABCDEFGHIJKLMNOPQRSTUVWXYZ/@ \n") == NULL);
		FUZZ_CHECK(remote_host(buf_str(&once), &twice, NULL) == ERR_OK && span_eq(buf_span(&once), buf_span(&twice)));
	} else {
		FUZZ_CHECK(once.len == 0 && e.code == ERR_CONFIG && e.msg[0] != '\0');
	}
	buf_free(&once);
	buf_free(&twice);
}

static void
variable(struct span name)
{
	struct buf ret;

	buf_init(&ret, 0);
	FUZZ_CHECK(remote_token_host(name, &ret) == (ret.len > 0));
	FUZZ_CHECK(ret.len == 0 || strchr(buf_str(&ret), '/') == NULL);
	buf_free(&ret);
}

static const char *
env(void *arg, const char *name)
{
	(void)arg;
	return strcmp(name, "TF_CLI_CONFIG_FILE") == 0 ? "/x/rc" : NULL;
}

static enum err_code
read_file(void *arg, const char *path, struct buf *ret, struct err *reterr)
{
	(void)arg;
	(void)path;
	return buf_add(ret, file.p, file.n, reterr);
}

static void
configuration(struct span text)
{
	struct conf_source  source = { .env = env, .file = read_file };
	struct provider_env penv = { .source = &source };
	struct remote_cli   c = { 0 };
	size_t              n = 0;

	file = text;
	remote_cli_read(&penv, "a.example", &c);
	FUZZ_CHECK(c.only != NULL && c.only_file != NULL && (c.trouble == NULL || c.trouble[0] != '\0'));
	FUZZ_CHECK((c.token != NULL) == (c.token_file != NULL) && (c.helper != NULL) == (c.helper_file != NULL));
	FUZZ_CHECK((c.service != NULL) == (c.service_file != NULL) && (c.token == NULL || secret_len(c.token) > 0));
	while (c.words[n] != NULL)
		n++;
	FUZZ_CHECK(n <= REMOTE_CLI_WORDS_MAX);
	remote_cli_free(&c);
	FUZZ_CHECK(c.words[0] == NULL && c.token == NULL);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	char *text = span_dup(span_of(data, n));

	host(text);
	variable(span_of(data, n));
	configuration(span_of(data, n));
	free(text);
	return 0;
}
