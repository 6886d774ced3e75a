/* SPDX-License-Identifier: MIT */
#ifndef TESTS_LIB_ENTRA_RIG_H
#define TESTS_LIB_ENTRA_RIG_H

#include "fake_entra.h"
#include "provider/azurerm/azurerm.h"

/* What the azurerm backend signs in with, alone: a configuration in conf, variables and files of the test's own, issuers that check what they
 * are sent. */
#define ENTRA_MINUTE ((int64_t)60 * 1000)
/* By the key of the account, as terraform signed what entra_signature() does. */
#define ENTRA_SIGNED_KEY "SharedKey tfacct1:yVuAarOfUMLnuaz2p3pYun1CRKsuHfnqPkznV3nl80Q="

struct entra_rig {
	struct loop          *loop;
	struct work          *work;
	struct scripted_http *http;
	struct fake_entra    *fake;
	struct conf_source    source;
	struct provider_env   env;
	struct azurerm_conf   conf;
	struct azurerm_cred  *cred;
	const char           *vars[8][2], *files[4][2];
	char                  got[2048];    /* Authorization, or what is added to the query */
	struct err            err;
	unsigned              ended;
};
extern struct entra_rig entra;

void           entra_begin(void);
void           entra_end(void);   /* checks that no message has told a secret */
void           entra_turn(void);  /* until nothing is left to do */
struct secret *entra_secret(const char *text);
enum err_code  entra_open(void);
enum err_code  entra_ready(void); /* credentials are there, or why not */
void           entra_done(struct op *op, void *arg); /* of an op: counts it, frees it */
const char    *entra_signature(void); /* what a request would carry */
/* The whole of a test: opens what conf says; then it works so, or is refused. */
void           entra_works(const char *source, const char *scope);
void           entra_refused(enum err_code want, const char *msg, const char *hint);

#endif
