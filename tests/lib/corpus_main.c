/* SPDX-License-Identifier: MIT */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fuzz.h"
#include "test.h"

/*
 * The main() of a fuzz target without libFuzzer: runs it once over each file of its corpus, as one test.
 *
 *	fuzz_x              tests/fuzz/corpus/x
 *	fuzz_x PATH...      these files and folders
 */
static unsigned inputs;

static void
corpus_file(const char *path, size_t n)
{
	FILE    *f = fopen(path, "rb");
	uint8_t *body = malloc(n == 0 ? 1 : n);

	if (f == NULL || body == NULL || fread(body, 1, n, f) != n) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		exit(1);
	}
	fclose(f);
	LLVMFuzzerTestOneInput(body, n);
	free(body);
	inputs++;
}

static void
corpus_path(const char *path)
{
	char           below[1024];
	struct stat    st;
	struct dirent *d;
	DIR           *dir;

	if (stat(path, &st) != 0) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		exit(1);
	}
	if (S_ISREG(st.st_mode))
		corpus_file(path, (size_t)st.st_size);
	dir = S_ISDIR(st.st_mode) ? opendir(path) : NULL;
	if (dir == NULL)
		return;
	while ((d = readdir(dir)) != NULL) {
		if (d->d_name[0] == '.')
			continue;
		snprintf(below, sizeof(below), "%s/%s", path, d->d_name);
		corpus_path(below);
	}
	closedir(dir);
}

int
main(int argc, char **argv)
{
	const char *name = strrchr(argv[0], '/') == NULL ? argv[0] : strrchr(argv[0], '/') + 1;
	char        folder[256];

	snprintf(folder, sizeof(folder), "fuzz/corpus/%s", strncmp(name, "fuzz_", 5) == 0 ? name + 5 : name);
	if (argc < 2)
		corpus_path(test_path(folder));
	for (int i = 1; i < argc; i++)
		corpus_path(argv[i]);
	printf("%s 1 %s: %u inputs\n1..1\n", inputs > 0 ? "ok" : "not ok", name, inputs);
	return inputs == 0;
}
