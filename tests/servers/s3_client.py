# SPDX-License-Identifier: MIT
"""The S3 client of the tests: signs by itself, sends exactly the key it is given, hides nothing. Not for production."""
import datetime
import hashlib
import hmac
import http.client
import urllib.parse
import xml.etree.ElementTree as ET

NS = "{http://s3.amazonaws.com/doc/2006-03-01/}"
SAFE = "-_.~"


class S3Error(Exception):
    """An answer that is not 2xx."""

    def __init__(self, what, status, body):
        code = ET.fromstring(body).findtext("Code", "") if body.lstrip().startswith(b"<") else ""
        super().__init__(f"{what}: {status} {code}")
        self.status, self.code = status, code


def _hmac(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


class S3Client:
    """One bucket owner's view of a server on loopback; path-style."""

    def __init__(self, port, access_key, secret_key, region):
        self.port, self.access_key, self.secret_key, self.region = port, access_key, secret_key, region
        self._conn = None

    def request(self, method, bucket, key=None, query=(), body=b"", headers=()):
        """(status, body, headers in lower case) of a signed request; raises S3Error unless 2xx."""
        path = "/" + bucket + ("" if key is None else "/" + urllib.parse.quote(key, safe=SAFE + "/"))
        pairs = sorted((urllib.parse.quote(k, safe=SAFE), urllib.parse.quote(v, safe=SAFE)) for k, v in query)
        args = "&".join(f"{k}={v}" for k, v in pairs)
        send = self.signed(method, path, args, body, dict(headers))
        target = path + ("?" + args if args else "")
        status, data, got = self.send(method, target, body, send)
        if status >= 300:
            raise S3Error(f"{method} {target}", status, data)
        return status, data, got

    def signed(self, method, path, args, body, headers):
        now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
        digest = hashlib.sha256(body).hexdigest()
        headers = {k.lower(): v for k, v in headers.items()}
        headers |= {"host": f"127.0.0.1:{self.port}", "x-amz-date": now, "x-amz-content-sha256": digest}
        names = sorted(headers)
        canonical = "\n".join([method, path, args, *(f"{n}:{headers[n]}" for n in names), "", ";".join(names), digest])
        scope = f"{now[:8]}/{self.region}/s3/aws4_request"
        to_sign = "\n".join(["AWS4-HMAC-SHA256", now, scope, hashlib.sha256(canonical.encode()).hexdigest()])
        key = ("AWS4" + self.secret_key).encode()
        for part in (now[:8], self.region, "s3", "aws4_request"):
            key = _hmac(key, part)
        headers["authorization"] = (f"AWS4-HMAC-SHA256 Credential={self.access_key}/{scope}, "
                                    f"SignedHeaders={';'.join(names)}, Signature={_hmac(key, to_sign).hex()}")
        return headers

    def send(self, method, target, body, headers):
        for again in (True, False):
            if self._conn is None:
                self._conn = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
            try:
                self._conn.request(method, target, body, headers)
                answer = self._conn.getresponse()
                return answer.status, answer.read(), {k.lower(): v for k, v in answer.getheaders()}
            except (http.client.HTTPException, ConnectionError):
                self.close()
                if not again:
                    raise
        raise AssertionError("not reached")

    def close(self):
        if self._conn:
            self._conn.close()
        self._conn = None

    def create_bucket(self, bucket, versioning=False):
        body = b""
        if self.region != "us-east-1":
            body = (f'<CreateBucketConfiguration xmlns="{NS[1:-1]}"><LocationConstraint>{self.region}'
                    "</LocationConstraint></CreateBucketConfiguration>").encode()
        self.request("PUT", bucket, body=body)
        if versioning:
            self.request("PUT", bucket, query=[("versioning", "")],
                         body=f'<VersioningConfiguration xmlns="{NS[1:-1]}"><Status>Enabled</Status>'
                              "</VersioningConfiguration>".encode())

    def put(self, bucket, key, body, **headers):
        """The new ETag. Header names are given with _ for -."""
        return self.request("PUT", bucket, key, body=body,
                            headers={k.replace("_", "-"): v for k, v in headers.items()})[2].get("etag")

    def get(self, bucket, key):
        """The bytes, or None when there is no such object."""
        try:
            return self.request("GET", bucket, key)[1]
        except S3Error as e:
            if e.status == 404 and e.code in ("NoSuchKey", ""):
                return None
            raise

    def delete(self, bucket, key):
        self.request("DELETE", bucket, key)

    def keys(self, bucket, prefix=""):
        """Every key below prefix, all pages."""
        out, more = [], [("list-type", "2"), ("prefix", prefix), ("encoding-type", "url")]
        query = more
        while True:
            doc = ET.fromstring(self.request("GET", bucket, query=query)[1])
            plain = urllib.parse.unquote if doc.findtext(NS + "EncodingType") == "url" else str
            out += [plain(c.findtext(NS + "Key")) for c in doc.iter(NS + "Contents")]
            token = doc.findtext(NS + "NextContinuationToken")
            if not token:
                return out
            query = [*more, ("continuation-token", token)]

    def versions(self, bucket, key):
        """The version ids of one object, newest first, without delete markers."""
        doc = ET.fromstring(self.request("GET", bucket, query=[("versions", ""), ("prefix", key)])[1])
        return [v.findtext(NS + "VersionId") for v in doc.iter(NS + "Version") if v.findtext(NS + "Key") == key]
