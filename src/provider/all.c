/* SPDX-License-Identifier: MIT */
#include "provider/provider.h"

const struct provider *const provider_all[] = { &provider_azurerm, &provider_brainboard, &provider_cloud, &provider_gcs,
	&provider_harness, &provider_http, &provider_local, &provider_mem, &provider_remote, &provider_s3, NULL };
