/* SPDX-License-Identifier: MIT */
#include "provider/provider.h"

extern const struct provider provider_http, provider_local, provider_mem, provider_s3;

const struct provider *const provider_all[] = { &provider_http, &provider_local, &provider_mem, &provider_s3, NULL };
