/* SPDX-License-Identifier: MIT */
#include "../../lib/s3_rig.h"
#include "../../lib/test.h"

/* The versions that a bucket keeps of one object: which of a listing by prefix they are, page by page, and reading one. */
#define DATE "2026-11-20T10:00:00.000Z"
#define VERSION(key, id, etag, latest) "<Version><Key>" key "</Key><VersionId>" id "</VersionId><IsLatest>" latest "</IsLatest><LastModified>" \
	DATE "</LastModified><ETag>&quot;" etag "&quot;</ETag><Size>53</Size></Version>"
#define MARKER(key, id) "<DeleteMarker><Key>" key "</Key><VersionId>" id "</VersionId><IsLatest>false</IsLatest><LastModified>" DATE \
	"</LastModified></DeleteMarker>"
#define PAGE(truncated, inside) "<?xml version=\"1.0\"?><ListVersionsResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>acme</Name>" \
	"<IsTruncated>" truncated "</IsTruncated><EncodingType>url</EncodingType>" inside "</ListVersionsResult>"

static const char state[] = "{\"version\":4,\"serial\":7,\"lineage\":\"l\",\"resources\":[]}";

static struct s3_rig r;
static struct buf    seen;
static unsigned      enough;

static bool
note(void *arg, const struct version_seen *v)
{
	buf_printf(arg, "%s%s%s/%s/%lld ", v->id, v->latest ? "*" : "", v->deleted ? "-" : "", v->etag, (long long)(v->modified / 1000));
	return enough == 0 || --enough > 0;
}

static enum err_code
history(const char *name)
{
	buf_reset(&seen);
	fake_s3_forget(r.fake);
	return s3_rig_run(&r, provider_history(r.b, &(struct state_ref){ name }, note, &seen));
}

static void
answer(const char *what, int status, const char *headers, const char *body, unsigned times)
{
	fake_s3_rule(r.fake, &(struct fake_s3_rule){ .method = "GET", .what = what, .how = FAKE_ANSWER, .status = status, .headers = headers,
	    .body = body, .times = times });
}

static void
begin(const char *args)
{
	memset(&r, 0, sizeof(r));
	buf_init(&seen, 0);
	enough = 0;
	s3_rig_open(&r, args);
}

static void
end(void)
{
	buf_free(&seen);
	CHECK_U64(r.fake->wrong, 0);
	s3_rig_close(&r);
}

static void
lists_one_key_over_all_pages(void)
{
	begin("prefix = \"p q/\"\n");
	answer("key-marker=p%20q%2Fa.tfstate&max-keys=1000&prefix=p%20q%2Fa.tfstate&version-id-marker=v2", 200, "",
	    PAGE("true", VERSION("p+q/a.tfstate", "v1", "e1", "false") VERSION("p+q/a.tfstate.tflock", "l9", "x", "true")
	        "<NextKeyMarker>p+q/a.tfstate.tflock</NextKeyMarker><NextVersionIdMarker>l9</NextVersionIdMarker>"), 0);
	answer("versions=", 200, "", PAGE("true", VERSION("p+q/a.tfstate", "v3", "e3", "true") MARKER("p+q/a.tfstate", "d1")
	        VERSION("p+q/a.tfstate", "v2", "e2", "false")
	        "<NextKeyMarker>p+q/a.tfstate</NextKeyMarker><NextVersionIdMarker>v2</NextVersionIdMarker>"), 0);
	CHECK_OK(history("a.tfstate"), r.err);
	CHECK_STR(buf_str(&seen), "v3*/e3/1795168800 d1-//1795168800 v2/e2/1795168800 v1/e1/1795168800 ");
	CHECK_U64(r.fake->nlog, 2); /* what follows is another key */
	end();
}

static void
asks_no_more_than_is_wanted(void)
{
	begin("");
	answer("versions=", 200, "", PAGE("true", VERSION("a", "v3", "e3", "true") VERSION("a", "v2", "e2", "false")
	        "<NextKeyMarker>a</NextKeyMarker><NextVersionIdMarker>v2</NextVersionIdMarker>"), 0);
	enough = 2;
	CHECK_OK(history("a"), r.err);
	CHECK_STR(buf_str(&seen), "v3*/e3/1795168800 v2/e2/1795168800 ");
	CHECK_U64(r.fake->nlog, 1);
	end();
}

static void
tells_what_is_missing(void)
{
	static const char denied[] = "<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>";
	struct snapshot   s;

	begin("");
	answer("versions=", 403, "", denied, 0);
	CHECK_U64(history("a"), ERR_AUTH);
	CHECK(strstr(r.err.hint, "s3:ListBucketVersions") != NULL);
	answer("versionId=v2", 403, "", denied, 0);
	CHECK_U64(s3_rig_run(&r, provider_get_version(r.b, &(struct state_ref){ "a" }, "v2", &s)), ERR_AUTH);
	CHECK(strstr(r.err.hint, "s3:GetObjectVersion") != NULL);
	answer("versionId=v2", 404, "", "<Error><Code>NoSuchVersion</Code><Message>gone</Message></Error>", 0);
	CHECK_U64(s3_rig_run(&r, provider_get_version(r.b, &(struct state_ref){ "a" }, "v2", &s)), ERR_NOT_FOUND);
	answer("versions=", 501, "", "<Error><Code>NotImplemented</Code><Message>no</Message></Error>", 0);
	CHECK_U64(history("a"), ERR_UNSUPPORTED);
	answer("versions=", 200, "", "<html>hello</html>", 0);
	CHECK_U64(history("a"), ERR_UNSUPPORTED);
	answer("versions=", 200, "", PAGE("true", VERSION("a", "v3", "e3", "true")
	        "<NextKeyMarker>a</NextKeyMarker><NextVersionIdMarker>v3</NextVersionIdMarker>"), 5);
	CHECK_U64(history("a"), ERR_CORRUPT); /* in a circle */
	end();
}

static void
reads_one(void)
{
	struct snapshot s;

	begin("");
	fake_s3_put(r.fake, "a", "{}");
	answer("versionId=v%2F2", 200, "etag: \"e2\"\nx-amz-version-id: v/2\n", state, 0);
	CHECK_OK(s3_rig_run(&r, provider_get_version(r.b, &(struct state_ref){ "a" }, "v/2", &s)), r.err);
	CHECK(span_is(body_span(s.body), state));
	CHECK_STR(s.version, "v/2");
	CHECK_U64(s.info.serial, 7);
	snapshot_free(&s);
	answer("/acme/a", 200, "etag: \"e\"\nx-amz-version-id: null\n", state, 0); /* "null" names no bytes */
	CHECK_OK(s3_rig_get(&r, "a", &s), r.err);
	CHECK_STR(s.version, "");
	snapshot_free(&s);
	end();
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){ { "lists one key over all pages", lists_one_key_over_all_pages },
	    { "asks no more than is wanted", asks_no_more_than_is_wanted }, { "tells what is missing", tells_what_is_missing },
	    { "reads one", reads_one }, { NULL, NULL } });
}
