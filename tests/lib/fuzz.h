/* SPDX-License-Identifier: MIT */
#ifndef TESTS_LIB_FUZZ_H
#define TESTS_LIB_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* What a fuzz target defines; libFuzzer calls it, or corpus_main.c. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* A property that does not hold is a crash, so that the fuzzer keeps the input. */
#define FUZZ_CHECK(cond) \
	do { \
		if (!(cond)) { \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond); \
			abort(); \
		} \
	} while (0)

#endif
