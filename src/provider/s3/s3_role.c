/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "s3.h"

/* assume_role and assume_role_with_web_identity of a block, as arguments or as blocks, and the older flat arguments. */
struct s3_role_conf {
	const char      *role_arn, *external_id, *policy, *session_name, *source_identity;
	struct conf_strs policy_arns, transitive_tag_keys;
	struct conf_map  tags;
	int64_t          duration_ms;
	struct secret   *web_identity_token;
	const char      *web_identity_token_file;
};

#define AT(member) offsetof(struct s3_role_conf, member)

static const struct conf_field s3_role_fields[] = {
	{ .name = "role_arn", .type = CONF_STR, .offset = AT(role_arn), .required = true, .help = "the role" },
	{ .name = "duration", .type = CONF_MS, .offset = AT(duration_ms), .help = "of its session; STS's own default is an hour" },
	{ .name = "external_id", .type = CONF_STR, .offset = AT(external_id), .help = "what its trust policy asks for" },
	{ .name = "policy", .type = CONF_STR, .offset = AT(policy), .help = "narrows it: a policy in JSON" },
	{ .name = "policy_arns", .type = CONF_STRS, .offset = AT(policy_arns), .help = "the same by managed policies" },
	{ .name = "session_name", .type = CONF_STR, .offset = AT(session_name),
	    .help = "what the account's audit log shows; default: stateferry@NAME of the agent" },
	{ .name = "source_identity", .type = CONF_STR, .offset = AT(source_identity), .help = "kept through all later roles" },
	{ .name = "tags", .type = CONF_MAP, .offset = AT(tags), .help = "of the session" },
	{ .name = "transitive_tag_keys", .type = CONF_STRS, .offset = AT(transitive_tag_keys), .help = "of tags that later roles keep" },
	{ .name = NULL },
};

static const struct conf_field s3_web_role_fields[] = {
	{ .name = "role_arn", .type = CONF_STR, .offset = AT(role_arn), .env = "AWS_ROLE_ARN", .required = true, .help = "the role" },
	{ .name = "duration", .type = CONF_MS, .offset = AT(duration_ms), .help = "of its session" },
	{ .name = "policy", .type = CONF_STR, .offset = AT(policy), .help = "narrows it: a policy in JSON" },
	{ .name = "policy_arns", .type = CONF_STRS, .offset = AT(policy_arns), .help = "the same by managed policies" },
	{ .name = "session_name", .type = CONF_STR, .offset = AT(session_name), .env = "AWS_ROLE_SESSION_NAME",
	    .help = "default: stateferry@NAME of the agent" },
	{ .name = "web_identity_token", .type = CONF_SECRET, .offset = AT(web_identity_token), .help = "the token itself" },
	{ .name = "web_identity_token_file", .type = CONF_PATH, .offset = AT(web_identity_token_file),
	    .env = "AWS_WEB_IDENTITY_TOKEN_FILE", .help = "where it is; read again for each session" },
	{ .name = NULL },
};

/* The inner block of that type, or what an argument of that name makes; NULL: neither. */
static struct conf_block *
s3_inner(struct conf *c, struct conf_block *block, const char *type, const struct conf_value *value)
{
	for (size_t i = 0; i < block->nblocks; i++)
		if (strcmp(block->blocks[i].type, type) == 0)
			return &block->blocks[i];
	return value != NULL ? conf_inner(c, type, value) : NULL;
}

static enum err_code
s3_role_read(struct conf *c, struct conf_block *inner, const struct conf_field *fields, struct s3_role *ret, struct err *reterr)
{
	static const char *const     none[] = { NULL };
	const struct conf_field     *tables[] = { fields, NULL };
	struct s3_role_conf          r;

	memset(&r, 0, sizeof(r));
	if (conf_filled(c, inner, fields, &r, tables, none, reterr) != ERR_OK)
		return reterr->code;
	*ret = (struct s3_role){ .arn = r.role_arn, .session_name = r.session_name, .external_id = r.external_id, .policy = r.policy,
		.source_identity = r.source_identity, .seconds = r.duration_ms / 1000, .policy_arns = r.policy_arns,
		.transitive_tag_keys = r.transitive_tag_keys, .tags = r.tags, .token_file = r.web_identity_token_file,
		.token = r.web_identity_token };
	if (ret->arn[0] == '\0')
		return conf_error(reterr, inner->pos, "role_arn is empty");
	return ERR_OK;
}

static enum err_code
s3_role_flat(struct s3 *s, struct conf_block *block, bool nested, struct err *reterr)
{
	const struct s3_conf *c = s->conf;

	if (c->role_arn == NULL || c->role_arn[0] == '\0')
		return ERR_OK;
	if (nested)
		return conf_error(reterr, conf_where(block, "assume_role"), "either assume_role or role_arn, not both");
	s->role = (struct s3_role){ .arn = c->role_arn, .session_name = c->session_name, .external_id = c->external_id,
		.policy = c->assume_role_policy, .seconds = c->assume_role_duration_seconds, .policy_arns = c->assume_role_policy_arns,
		.transitive_tag_keys = c->assume_role_transitive_tag_keys, .tags = c->assume_role_tags };
	return ERR_OK;
}

enum err_code
s3_roles_read(struct s3 *s, struct conf *c, struct conf_block *block, struct err *reterr)
{
	struct conf_block *role = s3_inner(c, block, "assume_role", s->conf->assume_role);
	struct conf_block *web = s3_inner(c, block, "assume_role_with_web_identity", s->conf->assume_role_with_web_identity);

	if (role != NULL && s3_role_read(c, role, s3_role_fields, &s->role, reterr) != ERR_OK)
		return reterr->code;
	if (s3_role_flat(s, block, role != NULL, reterr) != ERR_OK)
		return reterr->code;
	if (web == NULL)
		return ERR_OK;
	if (s3_role_read(c, web, s3_web_role_fields, &s->web, reterr) != ERR_OK)
		return reterr->code;
	if ((s->web.token == NULL || secret_len(s->web.token) == 0) && s->web.token_file == NULL)
		return conf_error(reterr, web->pos, "expected web_identity_token or web_identity_token_file, or the environment variable "
		    "AWS_WEB_IDENTITY_TOKEN_FILE");
	return ERR_OK;
}
