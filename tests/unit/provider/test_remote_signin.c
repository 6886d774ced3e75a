/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <unistd.h>

#include "../../lib/remote_access_rig.h"
#include "../../lib/test.h"

/* Which token is taken for a host, and what is said when there is none. */

static struct remote_access_rig rig;

#define HOST "tfe.my-corp.example"
#define VAR  "TF_TOKEN_tfe_my__corp_example"

static void
begin(void)
{
	remote_access_rig_open(&rig, HOST);
}

static void
end(void)
{
	remote_access_rig_close(&rig);
}

static void
file(const char *path, const char *text)
{
	remote_access_rig_file(&rig, path, 0600, text);
}

static void
expect(const char *token, const char *source)
{
	if (remote_access_rig_sign_in(&rig) != ERR_OK)
		test_fail(__FILE__, __LINE__, "%s; %s", rig.err.msg, rig.err.hint);
	CHECK_STR(secret_str(rig.token), token);
	if (strstr(rig.source, source) == NULL)
		test_fail(__FILE__, __LINE__, "the source is %s", rig.source);
}

static void
expect_error(enum err_code code, const char *says, const char *hint)
{
	remote_access_rig_sign_in(&rig);
	if (rig.err.code != code || strstr(rig.err.msg, says) == NULL || strstr(rig.err.hint, hint) == NULL)
		test_fail(__FILE__, __LINE__, "%d: %s; %s", rig.err.code, rig.err.msg, rig.err.hint);
	CHECK(strstr(rig.err.msg, "CANARY") == NULL && strstr(rig.err.hint, "CANARY") == NULL);
}

static void
decodes_names_of_variables(void)
{
	static const char *const rows[][2] = { { "TF_TOKEN_app_terraform_io", "app.terraform.io" },
		{ "TF_TOKEN_tfe_my__corp_example", "tfe.my-corp.example" }, { "TF_TOKEN_xn____bcher__kva_example", "xn--bcher-kva.example" },
		{ "TF_TOKEN_App_Terraform_IO", "app.terraform.io" }, { "TF_TOKEN_app.terraform.io", "app.terraform.io" },
		{ "TF_TOKEN_tfe.my-corp.example", "tfe.my-corp.example" }, { "TF_TOKEN_a___b", "a-.b" }, { "TF_TOKEN_localhost", "localhost" },
		{ "TF_TOKEN_", NULL }, { "TF_TOKEN__a", NULL }, { "TF_TOKEN_a_", NULL }, { "TF_TOKEN_a b", NULL }, { "TF_TOKEN_a/b", NULL },
		{ "TF_TOKEN_b\xc3\xbc", NULL }, { "TF_TOKENapp", NULL }, { "tf_token_a_b", NULL }, { "TF_TOKEN_localterraform_com", NULL } };

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct buf host;
		bool       ok;

		buf_init(&host, 0);
		ok = remote_token_host(span_str(rows[i][0]), &host);
		CHECK_STR(ok ? buf_str(&host) : NULL, rows[i][1]);
		buf_free(&host);
	}
}

static void
takes_what_comes_first(void)
{
	begin();
	file(".terraformrc", "credentials \"" HOST "\" {\n  token = \"CANARY-main\"\n}\n");
	file(".terraform.d/credentials.tfrc.json", "{\"credentials\":{\"" HOST "\":{\"token\":\"CANARY-login\"}}}");
	setenv(VAR, "CANARY-var", 1);
	rig.conf.token = secret_new(SPAN_LIT("CANARY-block"));
	expect("CANARY-block", "token of the block");
	secret_free(rig.conf.token);
	rig.conf.token = NULL;
	expect("CANARY-var", VAR);
	unsetenv(VAR);
	expect("CANARY-login", "/.terraform.d/credentials.tfrc.json");
	CHECK(unlink(remote_access_rig_file(&rig, ".terraform.d/credentials.tfrc.json", 0600, "")) == 0);
	expect("CANARY-main", "/.terraformrc");
	end();
}

/* The last of several in the environment, and none that is empty. */
static void
takes_the_last_variable(void)
{
	begin();
	setenv("TF_TOKEN_other_example", "CANARY-other", 1);
	setenv("TF_TOKEN_tfe.my-corp.example", "CANARY-1", 1);
	setenv(VAR, "CANARY-2", 1);
	expect("CANARY-2", VAR);
	setenv(VAR, "", 1);
	file(".terraformrc", "credentials \"" HOST "\" {\n  token = \"CANARY-main\"\n}\n");
	expect("CANARY-main", ".terraformrc");
	end();
}

static void
reads_every_place(void)
{
	static const struct {
		const char *path, *text;
	} rows[] = {
		{ ".terraformrc", "# main\nplugin_cache_dir = \"$HOME/.cache\"\ndisable_checkpoint = true\ncredentials \"TFE.My-Corp.example:443\" {\n"
		    "  token = \"CANARY\"\n}\nprovider_installation {\n  direct {\n    exclude = [\"a/*\"]\n  }\n}\n" },
		{ ".terraformrc", "\n {\"credentials\":{\"" HOST "\":{\"token\":\"CANARY\"}}}" },
		{ ".terraform.d/any.tfrc", "credentials \"" HOST "\" {\n  token = \"CANARY\"\n}\n" },
		{ ".terraform.d/credentials.tfrc.json", "{\"credentials\":{\"app.terraform.io\":{\"token\":\"no\"},\"" HOST "\":{\"token\":\"CANARY\"}}}" },
		{ ".tofurc", "credentials \"" HOST "\" {\n  token = \"CANARY\"\n}\n" },
		{ "xdg/opentofu/tofurc", "credentials \"" HOST "\" {\n  token = \"CANARY\"\n}\n" },
		{ "xdg/opentofu/credentials.tfrc.json", "{\"credentials\":{\"" HOST "\":{\"token\":\"CANARY\"}}}" } };

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char *xdg;

		begin();
		xdg = xasprintf("%s/xdg", rig.home);
		setenv("XDG_CONFIG_HOME", xdg, 1);
		free(xdg);
		file(rows[i].path, rows[i].text);
		file(".terraform.d/plugins/README", "credentials {");
		expect("CANARY", rows[i].path);
		end();
	}
}

/* What login wrote is not read then, as terraform does not. */
static void
reads_one_file_that_a_variable_names(void)
{
	begin();
	file(".terraform.d/credentials.tfrc.json", "{\"credentials\":{\"" HOST "\":{\"token\":\"CANARY-login\"}}}");
	setenv("TF_CLI_CONFIG_FILE", remote_access_rig_file(&rig, "ci.tfrc", 0600, "disable_checkpoint = true\n"), 1);
	expect_error(ERR_AUTH, "no token for " HOST ", neither in the environment nor in terraform's configuration",
	    "set " VAR ", or write credentials \"" HOST "\" { token = ... } into ");
	CHECK(strstr(rig.err.hint, "/ci.tfrc, which TF_CLI_CONFIG_FILE names") != NULL);
	file("ci.tfrc", "credentials \"" HOST "\" {\n  token = \"CANARY-ci\"\n}\n");
	expect("CANARY-ci", "/ci.tfrc");
	setenv("TERRAFORM_CONFIG", getenv("TF_CLI_CONFIG_FILE"), 1);
	unsetenv("TF_CLI_CONFIG_FILE");
	expect("CANARY-ci", "/ci.tfrc");
	setenv("TERRAFORM_CONFIG", "/nowhere/x.tfrc", 1);
	expect_error(ERR_AUTH, "no token for " HOST ", not in the environment, and terraform's configuration file is not there",
	    "into /nowhere/x.tfrc, which TERRAFORM_CONFIG names");
	setenv(VAR, "CANARY-var", 1);
	expect("CANARY-var", VAR);
	end();
}

/* What terraform takes there and we do not, and what neither does, hides nothing of the rest, and never stops us. */
static void
reads_what_it_can(void)
{
#define GOOD "credentials \"" HOST "\" {\n  token = \"CANARY\"\n}\n"
	static const struct {
		const char *text;
		bool        found;
	} rows[] = { { "credentials \"a.example\" { token = \"x\", more = \"y\" }\n" GOOD, true },
		{ "provider_installation { filesystem_mirror { path = \"/x\" include = [\"a/*\"] } direct { exclude = [\"b/*\"] } }\n" GOOD, true },
		{ "x = \"${a(\"b\")}\"\n" GOOD, true }, { "foo = bar\n" GOOD, true }, { GOOD "broken = = {\n", true },
		{ "\"quoted\" = 1\n" GOOD, true }, { GOOD "credentials {\n", true },
		{ "credentials \"" HOST "\" { token = \"CANARY\" other = 1 }\n", false }, { "credentials \"" HOST "\" {\n  token = bar\n}\n", false },
		{ "{\"credentials\":", false }, { "\xff\xfe", false } };

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		begin();
		file(".terraformrc", rows[i].text);
		if (rows[i].found)
			expect("CANARY", ".terraformrc");
		else
			expect_error(ERR_AUTH, "no token for " HOST, "repair ");
		CHECK(rig.r.warned);
		file(".terraform.d/credentials.tfrc.json", "{\"credentials\":{\"" HOST "\":{\"token\":\"CANARY-login\"}}}");
		expect("CANARY-login", "credentials.tfrc.json");
		end();
	}
}

/* Of a token that is refused: login replaces only what it wrote itself. */
static void
says_where_a_new_one_belongs(void)
{
	struct err e;

	begin();
	err_set(&e, ERR_AUTH, 401, "x");
	remote_token_hint(&rig.r, "/home/a/.terraform.d/credentials.tfrc.json", &e);
	CHECK(strstr(e.hint, "\"terraform login " HOST "\" makes a new one") != NULL);
	remote_token_hint(&rig.r, VAR, &e);
	CHECK(strstr(e.hint, "put a new one where it is from, " VAR) != NULL);
	end();
}

static void
says_where_it_looked(void)
{
	begin();
	expect_error(ERR_AUTH, "no token for " HOST ", neither in the environment nor in terraform's configuration", "set " VAR ", or run");
	file(".terraformrc", "credentials \"" HOST "\" {\n  token = \"CANARY ${x}\"\n}\n");
	expect_error(ERR_AUTH, "no token for " HOST, "/.terraformrc:2:");
	CHECK(strncmp(rig.err.hint, "repair ", 7) == 0);
	end();
	remote_access_rig_open(&rig, HOST ":8443");
	setenv(VAR, "CANARY-var", 1);
	file(".terraformrc", "credentials \"" HOST "\" {\n  token = \"CANARY\"\n}\n");
	expect_error(ERR_AUTH, "no token for " HOST ":8443", "run \"terraform login " HOST ":8443\" as the agent's user, or give token");
	end();
}

/* ---------------------------------------------------------------- helpers */

#if defined(__x86_64__)
#define PLUGINS_HERE true /* the folder of this machine's is linux_amd64 */
#else
#define PLUGINS_HERE false
#endif
#define HELPER  ".terraform.d/plugins/terraform-credentials-vault"
#define PROGRAM "#!/bin/sh\n[ \"$*\" = \"--mount=a b get " HOST "\" ] && echo '{\"token\":\"CANARY-helped\"}'\n"
#define ASKS    "credentials_helper \"vault\" {\n  args = [\"--mount=a b\"]\n}\n"

static void
asks_a_helper(void)
{
	test_not_under_valgrind("starts a program");
	begin();
	file(".terraformrc", ASKS "credentials \"other.example\" {\n  token = \"CANARY-other\"\n}\n");
	expect_error(ERR_AUTH, "/.terraformrc: there is no program terraform-credentials-vault", ".terraform.d/plugins");
	remote_access_rig_file(&rig, HELPER, 0700, PROGRAM);
	expect("CANARY-helped", "credentials helper vault");
	file(".terraformrc", ASKS "credentials \"" HOST "\" {\n  token = \"CANARY-main\"\n}\n");
	expect("CANARY-main", ".terraformrc");
	file(".terraformrc", "{\"credentials_helper\":{\"vault\":{\"args\":[\"--mount=a b\"]}}}");
	expect("CANARY-helped", "credentials helper vault");
	remote_access_rig_file(&rig, HELPER, 0700, "#!/bin/sh\necho '{}'\n");
	expect_error(ERR_AUTH, "no token for " HOST ", as the credentials helper says", "set " VAR);
	remote_access_rig_file(&rig, HELPER, 0700, "#!/bin/sh\necho CANARY >&2\nexit 3\n");
	expect_error(ERR_AUTH, "credentials helper vault ended with exit code 3", "by hand");
	end();
}

/* Of several the newest, as terraform takes it; what is no version is another program's name. */
static void
asks_the_newest_helper(void)
{
	static const char *const rows[][6] = { /* below plugins, the one to be asked first */
		{ "terraform-credentials-vault_v2.0.0", "terraform-credentials-vault" },
		{ "terraform-credentials-vault_v10.0.0", "terraform-credentials-vault_v9.9.9", "terraform-credentials-vault_v2.0.0" },
		{ "terraform-credentials-vault_v2.0.0_x4", "terraform-credentials-vault_v1.0.0" },
		{ "linux_amd64/terraform-credentials-vault_v2", "terraform-credentials-vault_v1.9" },
		{ "terraform-credentials-Vault_V3.0.0", "terraform-credentials-vault_v2.0.0" },
		{ "terraform-credentials-vault_v2.0.0", "terraform-credentials-vault_v2.0.0-rc1", "linux_amd64/terraform-credentials-vault_v2.0.0" },
		{ "terraform-credentials-vault_v2.0.0-rc2", "terraform-credentials-vault_v2.0.0-rc1" },
		{ "terraform-credentials-vault", "terraform-credentials-vault2", "terraform-credentials-vault_vNEXT", "terraform-credentials-vault_v2x",
		    "terraform-provider-vault_v9.0.0", "terraform-credentials-other_v9.0.0" } };

	test_not_under_valgrind("starts a program");
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		begin();
		file(".terraformrc", ASKS);
		for (size_t n = 0; n < ARRAY_LEN(rows[i]) && rows[i][n] != NULL; n++) {
			char *path = xasprintf(".terraform.d/plugins/%s", rows[i][n]);

			if (strncmp(rows[i][n], "linux_amd64/", 12) != 0 || PLUGINS_HERE)
				remote_access_rig_file(&rig, path, 0700, n == 0 ? PROGRAM : "#!/bin/sh\nexit 3\n");
			free(path);
		}
		if (strncmp(rows[i][0], "linux_amd64/", 12) != 0 || PLUGINS_HERE)
			expect("CANARY-helped", "credentials helper vault");
		end();
	}
}

/* A program is named, and is, only where nobody else could have put it. */
static void
runs_no_strangers_program(void)
{
	begin();
	remote_access_rig_file(&rig, HELPER, 0700, PROGRAM);
	remote_access_rig_file(&rig, ".terraformrc", 0662, ASKS);
	expect_error(ERR_AUTH, "the credentials helper is not run, for others", "chmod go-w");
	CHECK(strstr(rig.err.msg, "/.terraformrc: ") != NULL);
	remote_access_rig_file(&rig, ".terraformrc", 0600, ASKS);
	remote_access_rig_file(&rig, HELPER, 0722, PROGRAM);
	expect_error(ERR_AUTH, HELPER ": the credentials helper is not run, for others", "chmod go-w");
	end();
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){
		{ "names of variables", decodes_names_of_variables },
		{ "the order of places", takes_what_comes_first },
		{ "several variables", takes_the_last_variable },
		{ "every place", reads_every_place },
		{ "one file by a variable", reads_one_file_that_a_variable_names },
		{ "what it can", reads_what_it_can },
		{ "where a new one belongs", says_where_a_new_one_belongs },
		{ "where it looked", says_where_it_looked },
		{ "a helper", asks_a_helper },
		{ "the newest helper", asks_the_newest_helper },
		{ "no stranger's program", runs_no_strangers_program },
		{ NULL, NULL },
	});
}
