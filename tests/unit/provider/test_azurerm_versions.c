/* SPDX-License-Identifier: MIT */
#include "../../lib/azure_rig.h"
#include "../../lib/test.h"

/* The versions that an account keeps of a blob, as the service documents them: the emulator has none. */
#define BLOB(name, id, md5, size) "<Blob><Name>" name "</Name><VersionId>" id "</VersionId><Properties><Last-Modified>Fri, 20 Nov 2026 10:00:00 " \
	"GMT</Last-Modified><Etag>0x" md5 "</Etag><Content-Length>" size "</Content-Length><Content-MD5>" md5 "</Content-MD5></Properties></Blob>"
#define CURRENT(name, id, md5) "<Blob><Name>" name "</Name><VersionId>" id "</VersionId><IsCurrentVersion>true</IsCurrentVersion><Properties>" \
	"<Etag>0x1</Etag><Content-Length>9</Content-Length><Content-MD5>" md5 "</Content-MD5></Properties></Blob>"
#define PAGE(inside, marker) "<?xml version=\"1.0\"?><EnumerationResults><Blobs>" inside "</Blobs><NextMarker>" marker \
	"</NextMarker></EnumerationResults>"
#define AT(n) "2026-11-20T10:00:0" n ".1234567Z"

static struct buf seen;

static bool
note(void *arg, const struct version_seen *v)
{
	buf_printf(arg, "%.19s%s%s/%s/%d ", v->id, v->latest ? "*" : "", v->deleted ? "-" : "", v->etag, (int)(v->modified / 1000 % 60));
	return true;
}

static enum err_code
history(void)
{
	buf_init(&seen, 0);
	return provider_rig_run(&azure.r, provider_history(azure.r.b, &azure_ref, note, &seen));
}

static void
lists_them_over_all_pages(void)
{
	azure_begin("");
	scripted_expect(azure.r.http, "GET", "include=versions", 200, "", PAGE(BLOB(AZURE_NAME, AT("1"), "", "0") BLOB(AZURE_NAME, AT("2"), "m2", "9"),
	    "next"));
	scripted_expect(azure.r.http, "GET", "marker=next", 200, "", PAGE(BLOB(AZURE_NAME, AT("3"), "m2", "9") CURRENT(AZURE_NAME, AT("4"), "m4")
	    BLOB(AZURE_NAME "env:dev", AT("5"), "m5", "9"), "more"));
	CHECK_OK(history(), azure.r.err);
	CHECK_STR(buf_str(&seen), "2026-11-20T10:00:04*/m4/4 2026-11-20T10:00:03/m2/3 2026-11-20T10:00:02/m2/2 2026-11-20T10:00:01-/0x/1 ");
	buf_free(&seen);
	scripted_http_check(azure.r.http);
	azure_end();
}

/* An account without versions, or an emulator: none has a name. */
static void
knows_an_account_without(void)
{
	azure_begin("");
	scripted_expect(azure.r.http, "GET", "include=versions", 200, "", PAGE("<Blob><Name>" AZURE_NAME "</Name><Properties><Etag>0x1</Etag>"
	    "<Content-Length>9</Content-Length></Properties></Blob>", ""));
	CHECK_OK(history(), azure.r.err);
	CHECK_STR(buf_str(&seen), "");
	buf_free(&seen);
	azure_end();
}

static void
reads_one(void)
{
	struct snapshot s;

	azure_begin("");
	scripted_expect(azure.r.http, "GET", "versionid=2026-11-20T10%3A00%3A02.1234567Z", 200, "ETag: \"0x2\"\nx-ms-blob-type: BlockBlob\n"
	    "x-ms-version-id: " AT("2"), AZURE_STATE);
	CHECK_OK(provider_rig_run(&azure.r, provider_get_version(azure.r.b, &azure_ref, AT("2"), &s)), azure.r.err);
	CHECK(span_is(body_span(s.body), AZURE_STATE));
	CHECK_STR(s.version, AT("2"));
	snapshot_free(&s);
	scripted_expect(azure.r.http, "GET", "versionid=", 404, "x-ms-error-code: BlobNotFound", "");
	CHECK_U64(provider_rig_run(&azure.r, provider_get_version(azure.r.b, &azure_ref, AT("2"), &s)), ERR_NOT_FOUND);
	azure_end();
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){ { "lists them over all pages", lists_them_over_all_pages },
	    { "knows an account without", knows_an_account_without }, { "reads one", reads_one }, { NULL, NULL } });
}
