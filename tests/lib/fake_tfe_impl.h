/* SPDX-License-Identifier: MIT */
#ifndef TESTS_LIB_FAKE_TFE_IMPL_H
#define TESTS_LIB_FAKE_TFE_IMPL_H

#include "fake_tfe.h"

/* Between the pieces of the fake: what there is (fake_tfe.c), how it is told (fake_tfe_tell.c), who is asked (fake_tfe_ask.c). */
struct tfe_version *fake_tfe_current(struct tfe_workspace *w);
struct tfe_version *fake_tfe_announce(struct fake_tfe *f, struct tfe_workspace *w);
void                fake_tfe_receive(struct fake_tfe *f, struct tfe_workspace *w, struct tfe_version *v, struct span body);
void                fake_tfe_settle(struct fake_tfe *f, struct tfe_version *v);
void                fake_tfe_md5(struct span s, char ret[33]);
void                fake_tfe_workspace_free(struct tfe_workspace *w);

void fake_tfe_refuse(struct scripted_answer *a, int status, const char *detail);
/* One of both. */
void fake_tfe_one(struct fake_tfe *f, struct scripted_answer *a, int status, struct tfe_workspace *w, struct tfe_version *v);
void fake_tfe_list(struct fake_tfe *f, const struct scripted_request *rq, struct scripted_answer *a);
void fake_tfe_history(struct fake_tfe *f, const struct scripted_request *rq, struct scripted_answer *a);

#endif
