/* SPDX-License-Identifier: MIT */
#ifndef SRC_PROVIDER_OUTSIDE_H
#define SRC_PROVIDER_OUTSIDE_H

#include "provider/provider.h"

/* What stands outside the configuration, in variables and files that terraform reads too: as the configuration's source shows them. */

/* NULL: not set, or empty. */
const char   *outside_env(const struct provider_env *env, const char *name);
/* "~/x" below the home folder, other relative paths below dir (NULL: as they are); owned. */
char         *outside_path(const struct provider_env *env, const char *dir, const char *path);
/* A whole small file, appended up to ret's limit; blocks. *found false: it is not there, and that is no error. *loose: others than root
 * and the user of the agent may write it. ret is wiped by the caller. src may be NULL. */
enum err_code outside_read(const struct conf_source *src, const char *path, struct buf *ret, bool *found, bool *loose,
    struct err *reterr);
/* What terraform takes either way: the text of the file of that name, if there is one, else text itself. Blocks; ret is wiped by the
 * caller. Messages do not quote text, which may be a secret. */
enum err_code outside_path_or_text(const struct provider_env *env, const char *dir, const char *text, struct buf *ret,
    struct err *reterr);

#endif
