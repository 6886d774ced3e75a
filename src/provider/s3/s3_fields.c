/* SPDX-License-Identifier: MIT */
#include "s3.h"

/*
 * Terraform's arguments. The last of them, from AWS_FIRST on, say how AWS is reached and who signs: what else speaks to AWS takes these
 * too, as a table of its own.
 */
#define AWS_FIRST "use_fips_endpoint"

static const char *const s3_retry_modes[] = { "legacy", "standard", "adaptive", NULL };

#define AT(member) offsetof(struct s3_conf, member)

const struct conf_field s3_fields[] = {
	{ .name = "bucket", .type = CONF_STR, .offset = AT(bucket), .required = true, .help = "the bucket" },
	{ .name = "key", .type = CONF_STR, .offset = AT(key),
	    .help = "one state and its workspaces, as terraform names them; without it every *.tfstate below prefix" },
	{ .name = "workspace_key_prefix", .type = CONF_STR, .offset = AT(workspace_key_prefix), .def = S3_WORKSPACES,
	    .help = "where workspaces other than default lie" },
	{ .name = "region", .type = CONF_STR, .offset = AT(region), .env = "AWS_REGION AWS_DEFAULT_REGION",
	    .help = "of the bucket; a wrong one is corrected by the first answer" },
	{ .name = "use_lockfile", .type = CONF_BOOL, .offset = AT(use_lockfile), .def = "false",
	    .help = "lock by KEY.tflock, as terraform 1.10 and later" },
	{ .name = "encrypt", .type = CONF_BOOL, .offset = AT(encrypt), .def = "false",
	    .help = "ask for encryption; kms_key_id and sse_customer_key need it" },
	{ .name = "kms_key_id", .type = CONF_STR, .offset = AT(kms_key_id), .help = "encrypt with this KMS key" },
	{ .name = "sse_customer_key", .type = CONF_SECRET, .offset = AT(sse_customer_key),
	    .env = "AWS_SSE_CUSTOMER_KEY", .help = "encrypt with this key, 32 bytes in base64" },
	{ .name = "acl", .type = CONF_STR, .offset = AT(acl), .help = "canned ACL of states and lock objects" },
	{ .name = "skip_s3_checksum", .type = CONF_BOOL, .offset = AT(skip_s3_checksum), .def = "false",
	    .help = "send no checksum header" },
	{ .name = "use_path_style", .type = CONF_BOOL, .offset = AT(use_path_style), .def = "false",
	    .help = "the bucket in the path, not in the host" },
	{ .name = "force_path_style", .type = CONF_BOOL, .offset = AT(force_path_style), .def = "false",
	    .help = "older name of use_path_style" },
	{ .name = "endpoints", .type = CONF_MAP, .offset = AT(endpoints),
	    .help = "{ s3 = URL, dynamodb = URL, sts = URL, sso = URL }: an S3-compatible store, its table, and issuers" },
	{ .name = "endpoint", .type = CONF_STR, .offset = AT(endpoint),
	    .env = "AWS_ENDPOINT_URL_S3 AWS_S3_ENDPOINT AWS_ENDPOINT_URL",
	    .help = "older form of endpoints = { s3 = URL }" },
	{ .name = "retry_mode", .type = CONF_ENUM, .offset = AT(retry_mode), .def = "standard",
	    .env = "AWS_RETRY_MODE", .choices = s3_retry_modes, .help = "all are alike here" },
	{ .name = "skip_credentials_validation", .type = CONF_BOOL, .offset = AT(skip_credentials_validation),
	    .def = "false", .help = "no difference: the first request tells" },
	{ .name = "skip_requesting_account_id", .type = CONF_BOOL, .offset = AT(skip_requesting_account_id),
	    .def = "false", .help = "it is asked for only where account ids are allowed or forbidden; with these an error" },
	{ .name = "skip_region_validation", .type = CONF_BOOL, .offset = AT(skip_region_validation), .def = "false",
	    .help = "no difference: any region may be named" },
	{ .name = "iam_endpoint", .type = CONF_STR, .offset = AT(iam_endpoint),
	    .help = "accepted; IAM is never asked" },
	{ .name = "dynamodb_table", .type = CONF_STR, .offset = AT(dynamodb_table),
	    .help = "lock by rows of this table, and keep the MD5 of each state there; with use_lockfile both locks are taken" },
	{ .name = "dynamodb_endpoint", .type = CONF_STR, .offset = AT(dynamodb_endpoint),
	    .env = "AWS_ENDPOINT_URL_DYNAMODB AWS_DYNAMODB_ENDPOINT AWS_ENDPOINT_URL",
	    .help = "older form of endpoints = { dynamodb = URL }" },
	{ .name = "role_arn", .type = CONF_STR, .offset = AT(role_arn), .help = "older form of assume_role" },
	{ .name = "session_name", .type = CONF_STR, .offset = AT(session_name), .help = "the same" },
	{ .name = "external_id", .type = CONF_STR, .offset = AT(external_id), .help = "the same" },
	{ .name = "assume_role_duration_seconds", .type = CONF_INT, .offset = AT(assume_role_duration_seconds), .help = "the same" },
	{ .name = "assume_role_policy", .type = CONF_STR, .offset = AT(assume_role_policy), .help = "the same" },
	{ .name = "assume_role_policy_arns", .type = CONF_STRS, .offset = AT(assume_role_policy_arns), .help = "the same" },
	{ .name = "assume_role_tags", .type = CONF_MAP, .offset = AT(assume_role_tags), .help = "the same" },
	{ .name = "assume_role_transitive_tag_keys", .type = CONF_STRS, .offset = AT(assume_role_transitive_tag_keys),
	    .help = "the same" },
	{ .name = "state_tags", .type = CONF_MAP, .offset = AT(state_tags), .help = "tags of state objects (OpenTofu)" },
	{ .name = "lock_tags", .type = CONF_MAP, .offset = AT(lock_tags), .help = "tags of lock objects (OpenTofu)" },
	{ .name = "use_fips_endpoint", .type = CONF_BOOL, .offset = AT(use_fips_endpoint), .def = "false",
	    .env = "AWS_USE_FIPS_ENDPOINT", .help = "the host with validated cryptography" },
	{ .name = "use_dualstack_endpoint", .type = CONF_BOOL, .offset = AT(use_dualstack_endpoint), .def = "false",
	    .env = "AWS_USE_DUALSTACK_ENDPOINT", .help = "the host that has IPv6 too" },
	{ .name = "max_retries", .type = CONF_INT, .offset = AT(max_retries), .def = "5",
	    .help = "how often a read is tried" },
	{ .name = "access_key", .type = CONF_STR, .offset = AT(access_key),
	    .help = "else profile, AWS_ACCESS_KEY_ID, the shared files, or the machine's own" },
	{ .name = "secret_key", .type = CONF_SECRET, .offset = AT(secret_key), .help = "better env() or file()" },
	{ .name = "token", .type = CONF_SECRET, .offset = AT(token), .help = "of temporary credentials" },
	{ .name = "profile", .type = CONF_STR, .offset = AT(profile),
	    .help = "of the shared files; comes before AWS_ACCESS_KEY_ID" },
	{ .name = "shared_credentials_files", .type = CONF_STRS, .offset = AT(shared_credentials_files),
	    .help = "default: AWS_SHARED_CREDENTIALS_FILE, ~/.aws/credentials" },
	{ .name = "shared_config_files", .type = CONF_STRS, .offset = AT(shared_config_files),
	    .help = "default: AWS_CONFIG_FILE, ~/.aws/config" },
	{ .name = "shared_credentials_file", .type = CONF_STR, .offset = AT(shared_credentials_file),
	    .help = "older form of shared_credentials_files" },
	{ .name = "ec2_metadata_service_endpoint", .type = CONF_STR, .offset = AT(metadata_endpoint),
	    .env = "AWS_EC2_METADATA_SERVICE_ENDPOINT", .help = "of the instance's metadata" },
	{ .name = "ec2_metadata_service_endpoint_mode", .type = CONF_STR, .offset = AT(metadata_mode),
	    .env = "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", .help = "IPv4 or IPv6" },
	{ .name = "skip_metadata_api_check", .type = CONF_BOOL, .offset = AT(skip_metadata_api_check), .def = "false",
	    .help = "never ask the instance's metadata" },
	{ .name = "custom_ca_bundle", .type = CONF_PATH, .offset = AT(custom_ca_bundle), .env = "AWS_CA_BUNDLE",
	    .help = "PEM file that replaces the system's roots" },
	{ .name = "insecure", .type = CONF_BOOL, .offset = AT(insecure), .def = "false",
	    .help = "do not verify the server's certificate" },
	{ .name = "http_proxy", .type = CONF_STR, .offset = AT(http_proxy),
	    .help = "also for https, if https_proxy is not given" },
	{ .name = "https_proxy", .type = CONF_STR, .offset = AT(https_proxy),
	    .help = "default: the proxy variables of the environment" },
	{ .name = "no_proxy", .type = CONF_STR, .offset = AT(no_proxy),
	    .help = "hosts and domains to reach directly, separated by commas" },
	{ .name = "sts_endpoint", .type = CONF_STR, .offset = AT(sts_endpoint),
	    .env = "AWS_ENDPOINT_URL_STS AWS_STS_ENDPOINT AWS_ENDPOINT_URL", .help = "older form of endpoints = { sts = URL }" },
	{ .name = "sts_region", .type = CONF_STR, .offset = AT(sts_region), .help = "of STS; default: region" },
	{ .name = "assume_role", .type = CONF_INNER, .offset = AT(assume_role),
	    .help = "a role to take with the credentials found, as argument or block" },
	{ .name = "assume_role_with_web_identity", .type = CONF_INNER, .offset = AT(assume_role_with_web_identity),
	    .help = "a role to take with a token, instead of other credentials" },
	{ .name = "allowed_account_ids", .type = CONF_STRS, .offset = AT(allowed_account_ids),
	    .help = "no others are used: STS is asked whose the credentials are" },
	{ .name = "forbidden_account_ids", .type = CONF_STRS, .offset = AT(forbidden_account_ids), .help = "these are not used" },
	{ .name = NULL },
};

const struct conf_field *
s3_aws_fields(void)
{
	const struct conf_field *f = s3_fields;

	while (strcmp(f->name, AWS_FIRST) != 0)
		f++;
	return f;
}
