/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "internal.h"

/* migrate: what moved, then what has to be pasted into terraform's configuration. */

static void
migrate_words(const json_t *list)
{
	json_t *v;
	size_t  i;

	json_array_foreach(list, i, v) {
		fputs(i > 0 ? ", " : "", stdout);
		cli_text(json_string_value(v));
	}
}

static void
migrate_older(const json_t *doc)
{
	double n = cli_num(doc, "backfill");

	if (!cli_bool(doc, "older_versions_stay"))
		return;
	printf("\nThe version that is there now moves; older ones stay at the old place");
	if (n > 0)
		printf(", and up to %.0f of each are kept in the store: stateferry log\n", n);
	else
		printf(": backfill in its block, before a state is read the first time, keeps them in the store\n");
}

static void
migrate_text(const struct cli *c, const json_t *doc)
{
	const json_t *list = json_object_get(doc, "result"), *blocks = json_object_get(doc, "blocks");
	const json_t *edges = json_object_get(doc, "edges_from_source");
	json_t       *v;
	size_t        i;

	(void)c;
	cli_print_restores(list != NULL ? list : json_object_get(doc, "plan"), stdout);
	json_array_foreach(blocks, i, v) {
		printf("\nterraform's block for ");
		migrate_words(json_object_get(v, "states"));
		printf(" (workspaces: ");
		migrate_words(json_object_get(v, "workspaces"));
		printf("), instead of the one that is there:\n\n%s", cli_str(v, "hcl"));
	}
	if (json_array_size(blocks) > 0)
		printf("\nThen, where terraform runs:\n\n");
	json_array_foreach(json_object_get(doc, "commands"), i, v) {
		if (json_array_size(blocks) > 0)
			printf("  %s\n", json_string_value(v));
	}
	if (json_array_size(blocks) == 0)
		return;
	migrate_older(doc);
	if (json_array_size(edges) == 0)
		return;
	printf("\nThese still copy from the old place, until their \"from\" is another: ");
	migrate_words(edges);
	putchar('\n');
}

int
cli_migrate(struct cli *c)
{
	struct cli_request r = { .method = "POST", .route = "migrate", .flags = CLI_MAKES_STORE, .progress = PROGRESS_MIGRATE };
	int                rc;

	cli_arg(&r, "from", c->words[0]);
	cli_arg(&r, "to", c->words[1]);
	cli_arg(&r, "yes", cli_value(c, "yes"));
	cli_arg(&r, "dry_run", cli_value(c, "dry-run"));
	if (cli_value(c, "dry-run") == NULL && ((rc = cli_preview_restores(c, &r)) != -1 || (rc = cli_confirm(c, c->words[0])) != -1))
		return rc;
	return cli_call(c, &r, migrate_text);
}
