/* SPDX-License-Identifier: MIT */
#include "base/shell.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/rand.h"

#include "../../lib/test.h"

static void
words_that_a_shell_leaves_alone_stay(void)
{
	static const struct {
		const char *word, *quoted;
	} rows[] = { { "dr:prod/a.tfstate@7", "dr:prod/a.tfstate@7" }, { "5e8a-44f0", "5e8a-44f0" }, { "", "''" }, { "a b", "'a b'" },
		{ "x;$(touch y)", "'x;$(touch y)'" }, { "it's", "'it'\\''s'" }, { "~root", "'~root'" }, { "a*", "'a*'" }, { "{backend}", "'{backend}'" } };

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char *out = shell_wordf("%s", rows[i].word);

		CHECK_STR(out, rows[i].quoted);
		free(out);
	}
}

/* A real shell gives each word back. */
static void
a_shell_reads_the_same_word(void)
{
	struct rand r;
	struct buf  command;

	rand_seeded(&r, 3);
	buf_init(&command, 0);
	for (unsigned n = 0; n < 40; n++) {
		char  word[17] = "", back[sizeof(word) + 2] = "", *quoted;
		FILE *f;

		for (size_t i = 0; i < 16; i++)
			word[i] = (char)(0x20 + rand_below(&r, 0x5f));
		quoted = shell_wordf("%s", word);
		buf_reset(&command);
		buf_printf(&command, "printf '%%s\\n' %s", quoted);
		free(quoted);
		f = popen(buf_str(&command), "r"); /* NOLINT(cert-env33-c): a shell is what is tested */
		CHECK(f != NULL && fgets(back, sizeof(back), f) != NULL);
		CHECK_U64((uint64_t)pclose(f), 0);
		back[strcspn(back, "\n")] = '\0';
		CHECK_STR(back, word);
	}
	buf_free(&command);
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){
		{ "words that a shell leaves alone stay as they are", words_that_a_shell_leaves_alone_stay },
		{ "a shell reads the same word", a_shell_reads_the_same_word },
		{ NULL, NULL } });
}
