/* SPDX-License-Identifier: MIT */
#include "base/digest.h"

int
main(void)
{
	struct err e;

	return crypto_init(&e) == ERR_OK ? 0 : 1;
}
