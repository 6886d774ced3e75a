/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "../../lib/provider_rig.h"
#include "../../lib/test.h"

/* A snapshot of bytes from elsewhere: the same from memory and from a file, and none of a file that cannot be read. */
static struct provider_rig r;

static struct body *
in_file(struct span bytes, int flags)
{
	char *path = xasprintf("%s/body", test_tmpdir());
	FILE *f = fopen(path, "w");
	int   fd;

	CHECK(f != NULL && fwrite(bytes.p, 1, bytes.n, f) == bytes.n && fclose(f) == 0);
	fd = open(path, flags | O_CLOEXEC);
	CHECK(fd >= 0);
	free(path);
	return body_from_fd(fd, bytes.n);
}

static enum err_code
read_it(struct snapshot *ret, struct body *body)
{
	struct op *op = snapshot_read(r.env.work, ret, body);

	body_unref(body);
	return op == NULL ? ERR_OK : provider_rig_run(&r, op);
}

static void
from_memory_and_from_a_file(void)
{
	struct snapshot memory, file;
	struct buf      text;

	provider_rig_open(&r, true, "backend \"mem\" \"b\" {}\n");
	for (size_t pad = 10; pad < 8 * WORK_SMALL; pad *= 300) {
		buf_init(&text, 0);
		buf_printf(&text, "{\"version\":4,\"serial\":7,\"lineage\":\"l\",\"resources\":[],\"outputs\":{\"a\":\"%*s\"}}", (int)pad, "x");
		CHECK_OK(read_it(&file, in_file(buf_span(&text), O_RDONLY)), r.err);
		CHECK_OK(read_it(&memory, body_new(&text)), r.err);
		CHECK(digest_eq(&memory.digest, &file.digest));
		CHECK_U64(memory.info.serial, 7);
		CHECK(file.info.serial == 7 && file.info.size == memory.info.size);
		snapshot_free(&memory);
		snapshot_free(&file);
	}
	provider_rig_close(&r);
}

static void
a_file_that_cannot_be_read(void)
{
	struct snapshot s;

	provider_rig_open(&r, true, "backend \"mem\" \"b\" {}\n");
	CHECK_U64(read_it(&s, in_file(span_str("{}"), O_WRONLY)), ERR_IO);
	snapshot_free(&s);
	provider_rig_close(&r);
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){ { "from memory and from a file", from_memory_and_from_a_file },
	    { "a file that cannot be read", a_file_that_cannot_be_read }, { NULL, NULL } });
}
