/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "provider/process.h"
#include "s3_cred.h"

/*
 * credential_process of a profile: a program that prints credentials as JSON. No shell sees the line: words are divided at blanks, and
 * quotes and "\" keep them together, nothing else means anything.
 */
#define PROCESS_WORDS_MAX 64

/* One word at *at, into the same memory; false: a quote is not closed. */
static bool
process_word(char **at, const char **ret)
{
	char *in = *at, *out = *at, quote = '\0';

	*ret = out;
	for (; *in != '\0' && (quote != '\0' || (*in != ' ' && *in != '\t')); in++) {
		if (quote == '\0' && (*in == '"' || *in == '\''))
			quote = *in;
		else if (*in == quote)
			quote = '\0';
		else if (*in == '\\' && quote != '\'' && in[1] != '\0')
			*out++ = *++in;
		else
			*out++ = *in;
	}
	*at = *in != '\0' ? in + 1 : in;
	*out = '\0';
	return quote == '\0';
}

/* At least one, on success. */
static enum err_code
process_words(char *line, const char *ret[PROCESS_WORDS_MAX + 1], struct err *reterr)
{
	size_t n = 0;

	for (line += strspn(line, " \t"); *line != '\0'; line += strspn(line, " \t")) {
		if (n == PROCESS_WORDS_MAX)
			return err_set(reterr, ERR_CONFIG, 0, "credential_process has more than %d words", PROCESS_WORDS_MAX);
		if (!process_word(&line, &ret[n++]))
			return err_set(reterr, ERR_CONFIG, 0, "credential_process has a quote that is not closed");
	}
	ret[n] = NULL;
	return n > 0 ? ERR_OK : err_set(reterr, ERR_CONFIG, 0, "credential_process is empty");
}

enum err_code
s3_process_keys(const char *command, struct work_job *job, struct s3_keys *ret, struct err *reterr)
{
	char         *line = xstrdup(command);
	const char   *words[PROCESS_WORDS_MAX + 1];
	struct buf    text;
	enum err_code rc = process_words(line, words, reterr);

	buf_init(&text, PROCESS_OUTPUT_MAX);
	buf_reserve(&text, PROCESS_OUTPUT_MAX, NULL);
	if (rc == ERR_OK)
		rc = process_run("credential_process", words, job, &text, reterr);
	if (rc == ERR_OK && s3_keys_parse(buf_span(&text), ret, reterr) != ERR_OK)
		rc = err_prefix(reterr, "credential_process");
	buf_wipe_free(&text);
	free(line);
	return rc;
}
