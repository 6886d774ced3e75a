/* SPDX-License-Identifier: MIT */
#include <stdio.h>

int
main(void)
{
	printf("stateferry %s\n", SF_VERSION);
	return 0;
}
