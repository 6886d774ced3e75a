/* SPDX-License-Identifier: MIT */
#include "conf/seek.h"

#include <string.h>

struct seek {
	const uint8_t      *p, *end;
	struct conf_pos     pos; /* of *p */
	unsigned            depth;
	size_t              found;
	struct conf_sought *ret;
	conf_block_fn      *each; /* not NULL: is told of every block of the file, and nothing is sought */
	void               *arg;
};

static void
seek_step(struct seek *s)
{
	if (s->p == s->end)
		return;
	if (*s->p == '\n') {
		s->pos.line++;
		s->pos.column = 1;
	} else if ((*s->p & 0xc0) != 0x80) {
		s->pos.column++;
	}
	s->p++;
}

static void
seek_steps(struct seek *s, size_t n)
{
	while (n-- > 0)
		seek_step(s);
}

static bool
seek_at(const struct seek *s, const char *text)
{
	return span_starts(span_of(s->p, (size_t)(s->end - s->p)), text);
}

static bool
seek_in(const struct seek *s, const char *set)
{
	return s->p < s->end && *s->p != '\0' && strchr(set, *s->p) != NULL;
}

static bool
seek_in_word(const struct seek *s)
{
	return seek_in(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789-") || (s->p < s->end && *s->p >= 0x80);
}

static void
seek_line_end(struct seek *s)
{
	while (s->p < s->end && *s->p != '\n')
		seek_step(s);
}

/* Past one comment, up to the newline that ends it; false: there is none here. */
static bool
seek_comment(struct seek *s)
{
	if (seek_at(s, "/*")) {
		for (seek_steps(s, 2); s->p < s->end && !seek_at(s, "*/");)
			seek_step(s);
		seek_steps(s, 2);
		return true;
	}
	if (!seek_at(s, "#") && !seek_at(s, "//"))
		return false;
	seek_line_end(s);
	return true;
}

static void seek_piece(struct seek *s);

/* Past the "}" that ends a template's ${ or %{, or a bracket's partner; what is open at the end of the file is at its end. */
static void
seek_until(struct seek *s, char close)
{
	while (s->p < s->end && *s->p != (uint8_t)close)
		seek_piece(s);
	seek_step(s);
}

static void
seek_string(struct seek *s)
{
	for (seek_step(s); s->p < s->end && *s->p != '"' && *s->p != '\n';) {
		if (*s->p == '\\') {
			seek_steps(s, 2);
		} else if (seek_at(s, "$${") || seek_at(s, "%%{")) {
			seek_steps(s, 3);
		} else if (seek_at(s, "${") || seek_at(s, "%{")) {
			seek_steps(s, 2);
			seek_until(s, '}');
		} else {
			seek_step(s);
		}
	}
	seek_step(s);
}

/* Past "<<NAME" and the lines up to one that holds nothing but NAME; without a name it is no heredoc. */
static void
seek_heredoc(struct seek *s)
{
	const uint8_t *name;
	size_t         n;

	seek_steps(s, seek_at(s, "<<-") ? 3 : 2);
	name = s->p;
	while (seek_in_word(s))
		seek_step(s);
	n = (size_t)(s->p - name);
	while (n > 0 && s->p < s->end) {
		seek_line_end(s);
		seek_step(s);
		while (seek_in(s, " \t"))
			seek_step(s);
		if ((size_t)(s->end - s->p) < n || memcmp(s->p, name, n) != 0)
			continue;
		seek_steps(s, n);
		if (!seek_in_word(s))
			return;
	}
}

/* Past a comment, a string, a heredoc, all between two brackets, or one character. */
static void
seek_piece(struct seek *s)
{
	char open = s->p < s->end ? (char)*s->p : '\0';

	if (seek_comment(s))
		return;
	if (s->depth == SEEK_DEPTH_MAX || strchr("\"<([{", open) == NULL || open == '\0') {
		seek_step(s);
		return;
	}
	s->depth++;
	if (open == '"') {
		seek_string(s);
	} else if (seek_at(s, "<<")) {
		seek_heredoc(s);
	} else {
		seek_step(s);
		if (open != '<')
			seek_until(s, open == '(' ? ')' : open == '[' ? ']' : '}');
	}
	s->depth--;
}

/* To the next item of a body: past blanks, newlines and comments. */
static void
seek_item(struct seek *s)
{
	while (s->p < s->end && (seek_in(s, " \t\r\n") || seek_at(s, "#") || seek_at(s, "/")))
		if (!seek_comment(s))
			seek_step(s);
}

/* The rest of an argument: to the end of its line, or to the brace that closes the block around it. */
static void
seek_argument(struct seek *s)
{
	while (s->p < s->end && *s->p != '\n' && *s->p != '}')
		seek_piece(s);
}

/* Past the labels of a block, up to its "{"; false: something else follows. */
static bool
seek_labels(struct seek *s)
{
	while (s->p < s->end && *s->p != '{') {
		if (*s->p == '"')
			seek_string(s);
		else if (seek_in_word(s) || seek_in(s, " \t"))
			seek_step(s);
		else if (!seek_at(s, "/*") || !seek_comment(s))
			return false;
	}
	return s->p < s->end;
}

static void
seek_found(struct seek *s, const uint8_t *start, struct conf_pos pos)
{
	if (s->found++ == 0)
		*s->ret = (struct conf_sought){ span_of(start, (size_t)(s->p - start)), pos };
}

/* The items of the file (inner false) or of a terraform block, past its closing brace. */
static void
seek_body(struct seek *s, bool inner)
{
	for (seek_item(s); s->p < s->end; seek_item(s)) {
		const uint8_t  *start = s->p;
		struct conf_pos pos = s->pos;
		struct span     word;

		if (inner && *s->p == '}') {
			seek_step(s);
			return;
		}
		while (seek_in_word(s))
			seek_step(s);
		word = span_of(start, (size_t)(s->p - start));
		if (word.n == 0) {
			seek_piece(s);
		} else if (!seek_labels(s)) {
			seek_argument(s);
		} else if (s->each != NULL) {
			seek_piece(s);
			s->each(s->arg, word, span_of(start, (size_t)(s->p - start)), pos);
		} else if (!inner && span_eq(word, SPAN_LIT("terraform"))) {
			seek_step(s);
			seek_body(s, true);
		} else {
			seek_piece(s);
			if (span_eq(word, SPAN_LIT("backend")) || span_eq(word, SPAN_LIT("cloud")) ||
			    (!inner && span_eq(word, SPAN_LIT(CONF_REMOTE_STATE))))
				seek_found(s, start, pos);
		}
	}
}

size_t
conf_seek(const char *file, struct span text, struct conf_sought *ret)
{
	struct seek s = { .p = text.p, .end = text.p + text.n, .pos = { file, 1, 1 }, .ret = ret };

	seek_body(&s, false);
	return s.found;
}

void
conf_each_block(const char *file, struct span text, conf_block_fn *fn, void *arg)
{
	struct seek s = { .p = text.p, .end = text.p + text.n, .pos = { file, 1, 1 }, .each = fn, .arg = arg };

	seek_body(&s, false);
}
