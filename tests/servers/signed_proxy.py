# SPDX-License-Identifier: MIT
"""In front of an S3 server that believes any signature: refuses what AWS refuses. Every header that begins with x-amz- must be
signed, the payload's hash must be that of the body, and the session token the one that was lent with the keys."""
import datetime
import hashlib
import hmac
import re
import urllib.parse

from fault_proxy import FaultProxy, Message

SAFE = "-_.~"
CLOCK_MAX = 15 * 60
AUTHORIZATION = re.compile(r"AWS4-HMAC-SHA256 Credential=(?P<key>[^/,]+)/(?P<date>\d{8})/(?P<region>[^/,]+)/s3/aws4_request,"
                           r"\s*SignedHeaders=(?P<names>[a-z0-9;-]+),\s*Signature=(?P<signature>[0-9a-f]{64})")


class Refused(Exception):
    """S3's word for it, and ours for the test."""

    def __init__(self, code, why):
        super().__init__(f"{code}: {why}")
        self.code = code


def _signature(message, found, secret):
    path, _, query = message.first[1].partition("?")
    quote = urllib.parse.quote
    pairs = sorted((quote(urllib.parse.unquote(k), SAFE), quote(urllib.parse.unquote(v), SAFE))
                   for k, _, v in (p.partition("=") for p in query.split("&") if p))
    headers = message.headers
    names = found["names"].split(";")
    canonical = "\n".join([message.first[0], quote(urllib.parse.unquote(path), SAFE + "/"), "&".join(f"{k}={v}" for k, v in pairs),
                           *(f"{n}:{' '.join(headers.get(n, '').split())}" for n in names), "", found["names"],
                           headers["x-amz-content-sha256"]])
    scope = f"{found['date']}/{found['region']}/s3/aws4_request"
    text = "\n".join(["AWS4-HMAC-SHA256", headers["x-amz-date"], scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = ("AWS4" + secret).encode()
    for part in [*scope.split("/"), text]:
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key.hex()


class SignedProxy(FaultProxy):
    """`refused` holds what was wrong, oldest first."""

    def __init__(self, server, token):
        super().__init__(server.port)
        self.server, self.token, self.refused = server, token, []

    def _check(self, message):
        headers = message.headers
        found = AUTHORIZATION.fullmatch(headers.get("authorization", ""))
        if not found:
            raise Refused("AccessDenied", f"authorization: {headers.get('authorization')!r}")
        if found["key"] != self.server.access_key or headers.get("x-amz-security-token") != self.token:
            raise Refused("InvalidToken" if found["key"] == self.server.access_key else "InvalidAccessKeyId", "credentials")
        must = {"host"} | {n for n in headers if n.startswith("x-amz-")}
        if left_out := must - set(found["names"].split(";")):
            raise Refused("AccessDenied", f"not signed: {sorted(left_out)}")
        at = datetime.datetime.strptime(headers.get("x-amz-date", ""), "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.timezone.utc)
        if abs((datetime.datetime.now(datetime.timezone.utc) - at).total_seconds()) > CLOCK_MAX:
            raise Refused("RequestTimeTooSkewed", headers["x-amz-date"])
        if not hmac.compare_digest(_signature(message, found, self.server.secret_key), found["signature"]):
            raise Refused("SignatureDoesNotMatch", message.head.decode("latin-1"))
        digest = headers["x-amz-content-sha256"]
        if re.fullmatch("[0-9a-f]{64}", digest) and digest != hashlib.sha256(message.body).hexdigest():
            raise Refused("XAmzContentSHA256Mismatch", digest)

    def _forward(self, message, method, upstream):
        try:
            self._check(message)
        except Refused as e:
            self.refused.append(e)
            body = b"" if method == "HEAD" else f"<Error><Code>{e.code}</Code><Message>refused</Message></Error>".encode()
            return Message(f"HTTP/1.1 403 Forbidden\r\nContent-Length: {len(body)}\r\n\r\n".encode(), body)
        return super()._forward(message, method, upstream)
