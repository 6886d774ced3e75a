/* SPDX-License-Identifier: MIT */
/* What "stateferry init" prints: blocks, and comments that say where each was found, and what was not. */
#include <string.h>

#include "base/utf8.h"
#include "init.h"

#define INIT_SHOWN_MAX 20 /* states that the comment above a block names */

const char *
init_relative(const struct init *in, const char *path)
{
	size_t n = strlen(in->d->dir);

	if (strncmp(path, in->d->dir, n) != 0 || (path[n] != '/' && path[n] != '\0'))
		return path;
	return path[n] == '/' ? path + n + 1 : strrchr(path, '/') + 1;
}

/* Names come from files of others: no line of a comment ends before we end it. */
static void
init_comment(struct buf *out, const char *text)
{
	uint8_t  utf8[4];
	uint32_t c;

	for (struct span s = span_str(text); s.n > 0;) {
		size_t n = utf8_next(s.p, s.n, &c);

		buf_put(out, utf8, utf8_put(utf8, c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x2028 || c == 0x2029 ? '?' : c));
		s = span_of(s.p + n, s.n - n);
	}
}

static void
init_at(const struct init *in, struct buf *out, const char *path, unsigned line)
{
	init_comment(out, init_relative(in, path));
	if (line > 0)
		buf_printf(out, ":%u", line);
}

static void
init_states(const struct init *in, size_t g, struct buf *out)
{
	size_t shown = 0, more = 0;

	for (size_t i = 0; i < in->nplaces; i++) {
		const struct init_place *p = &in->places[i];

		if (p->group != g)
			continue;
		if (shown++ >= INIT_SHOWN_MAX) {
			more++;
			continue;
		}
		buf_puts(out, "# ");
		init_at(in, out, p->found->pos.file, p->found->pos.line);
		if (p->found->args != NULL) {
			buf_puts(out, " with ");
			init_at(in, out, p->found->args, 0);
		}
		if (p->name[0] != '\0') {
			buf_puts(out, ": ");
			init_comment(out, p->name);
		}
		if (p->found->workspace != NULL) {
			buf_puts(out, ", workspace ");
			init_comment(out, p->found->workspace);
		}
		buf_putc(out, '\n');
	}
	if (more > 0)
		buf_printf(out, "# and %zu more, which --json names\n", more);
}

/* What a reader has to know before the block is used. */
static void
init_remarks(const struct init *in, size_t g, struct buf *out)
{
	const struct init_group    *group = &in->groups[g];
	const struct init_place    *p = group->first;
	const struct init_platform *platform = init_platform(p);

	if (group->left_out[0] != '\0')
		buf_printf(out, "# Left out, for this version does not do it: %s\n", group->left_out);
	if (group->hidden[0] != '\0')
		buf_printf(out, "# Read from the file that has it: %s. Better here, as env(\"...\") or file(\"...\"), and from_file away.\n",
		    group->hidden);
	if (group->wide)
		buf_puts(out, "# All states of the bucket, whoever keeps them there; \"include\" would narrow it.\n");
	if (platform != NULL && group->n == 1) {
		buf_printf(out, "# %s", platform->does);
		if (platform->several != NULL) {
			buf_puts(out, ": with {name} in the place of ");
			init_comment(out, p->name[0] != '\0' ? p->name : "the name");
			buf_printf(out, " in the addresses %s", platform->several);
		}
		init_comment(out, p->farther != NULL ? p->farther : "");
		buf_puts(out, ".\n");
	}
	if (p->provider == &provider_harness && conf_attr(p->block, "password") == NULL && strstr(p->variables, "API_KEY") == NULL &&
	    strstr(p->variables, "TF_HTTP_PASSWORD") == NULL)
		buf_puts(out, "# It wants a token: HARNESS_PLATFORM_API_KEY, or TF_HTTP_PASSWORD as terraform takes it, or api_key = env(\"...\") here.\n");
	if (platform != NULL && init_value(p, "username")[0] == '\0' && conf_attr(p->block, "headers") == NULL &&
	    strstr(p->variables, "TF_HTTP_USERNAME") == NULL && strstr(p->variables, "TF_HTTP_PASSWORD") == NULL)
		buf_puts(out, "# It wants credentials: username and password here, or TF_HTTP_USERNAME and TF_HTTP_PASSWORD.\n");
	if (p->variables[0] != '\0')
		buf_printf(out, "# From the environment, which the agent needs too: %s\n", p->variables);
}

static void
init_edges(const struct init *in, struct buf *out)
{
	for (size_t g = 0; g < in->ngroups; g++) {
		if (in->groups[g].dropped)
			continue;
		buf_puts(out, "\nreplicate ");
		conf_quote(out, in->groups[g].label);
		buf_puts(out, " {\n  from = ");
		conf_quote(out, in->groups[g].label);
		buf_puts(out, "\n  to   = [\"" INIT_TARGET "\"]\n  key  = \"{backend}/{name}\"\n}\n");
	}
}

void
init_text(const struct init *in, struct buf *ret)
{
	buf_puts(ret, "# From \"stateferry init\": where terraform keeps the states of ");
	init_comment(ret, in->d->dir);
	buf_puts(ret, "\n# This passes \"stateferry config check\"; with --probe that also asks each place. \"stateferry sync\" copies.\n");
	for (size_t g = 0; g < in->ngroups; g++) {
		if (in->groups[g].dropped)
			continue;
		buf_putc(ret, '\n');
		init_states(in, g, ret);
		init_remarks(in, g, ret);
		buf_puts(ret, in->groups[g].text);
	}
	if (in->d->nunread > 0)
		buf_puts(ret, "\n# Not in this configuration:\n");
	for (size_t i = 0; i < in->d->nunread; i++) {
		const struct discover_unread *u = &in->d->unread[i];

		buf_puts(ret, "# ");
		init_at(in, ret, u->path, u->line);
		buf_puts(ret, ": ");
		init_comment(ret, u->message);
		buf_puts(ret, u->hint[0] != '\0' ? "; " : "");
		init_comment(ret, u->hint);
		buf_putc(ret, '\n');
	}
	buf_puts(ret, "\n# Where the copies go. A folder beside this file is enough to see it work; what helps on a bad day is another account:\n"
	    "#\n# backend \"s3\" \"" INIT_TARGET "\" {\n#   bucket       = \"...\"\n#   region       = \"...\"\n#   profile      = \"...\"\n"
	    "#   use_lockfile = true\n#   create       = true\n# }\n"
	    "backend \"local\" \"" INIT_TARGET "\" {\n  dir    = \"" INIT_TARGET "\"\n  create = true\n}\n");
	init_edges(in, ret);
}
