# SPDX-License-Identifier: MIT
"""A small Azure Blob client of the tests' own: signs by SharedKey, keeps what terraform keeps, judges nothing."""
import base64
import email.utils
import hashlib
import hmac
import http.client
import urllib.parse
import xml.etree.ElementTree as ET

VERSION = "2023-11-03"
SIGNED = ("content-encoding", "content-language", "content-length", "content-md5", "content-type", "date", "if-modified-since",
          "if-match", "if-none-match", "if-unmodified-since", "range")


class AzureError(Exception):
    """An answer of 300 and up: .status, .code."""

    def __init__(self, status, code):
        super().__init__(f"{status} {code}")
        self.status, self.code = status, code


class AzureClient:
    """Path-style, as azurite wants it: http://127.0.0.1:PORT/ACCOUNT/CONTAINER/BLOB; context: by TLS."""

    def __init__(self, port, account, key, context=None):
        self.port, self.account, self.key, self.context = port, account, base64.b64decode(key), context

    def signature(self, method, path, query, headers):
        lower = {k.lower(): str(v) for k, v in headers.items()}
        if lower.get("content-length") == "0":
            lower["content-length"] = ""
        lines = [method, *(lower.get(name, "") for name in SIGNED)]
        lines += [f"{k}:{lower[k].strip()}" for k in sorted(lower) if k.startswith("x-ms-")]
        resource = f"/{self.account}{path}" + "".join(f"\n{k}:{v}" for k, v in sorted(query.items()))
        text = "\n".join([*lines, resource])
        return base64.b64encode(hmac.new(self.key, text.encode(), hashlib.sha256).digest()).decode()

    def call(self, method, path, query=None, headers=None, body=b""):
        """(headers, body); path begins with the container."""
        path = urllib.parse.quote(f"/{self.account}/{path}", safe="/~")
        query = query or {}
        headers = {"x-ms-date": email.utils.formatdate(usegmt=True), "x-ms-version": VERSION,
                   "Content-Length": str(len(body)), **(headers or {})}
        headers["Authorization"] = f"SharedKey {self.account}:{self.signature(method, path, query, headers)}"
        if self.context:
            conn = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=10, context=self.context)
        else:
            conn = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            conn.request(method, path + ("?" + urllib.parse.urlencode(query) if query else ""), body or None, headers)
            answer = conn.getresponse()
            data = answer.read()
            if answer.status >= 300:
                raise AzureError(answer.status, answer.getheader("x-ms-error-code", ""))
            return {k.lower(): v for k, v in answer.getheaders()}, data
        finally:
            conn.close()

    def sas(self, permissions="racwdl", expires="2099-01-01T00:00:00Z"):
        """A token for all containers of the account and their blobs."""
        parts = {"sv": VERSION, "ss": "b", "srt": "co", "sp": permissions, "se": expires, "spr": "https,http"}
        text = "\n".join([self.account, permissions, "b", "co", "", expires, "", "https,http", VERSION, "", ""])
        signature = base64.b64encode(hmac.new(self.key, text.encode(), hashlib.sha256).digest()).decode()
        return urllib.parse.urlencode(parts | {"sig": signature})

    def create_container(self, container):
        self.call("PUT", container, {"restype": "container"})

    def put(self, container, name, body, **headers):
        return self.call("PUT", f"{container}/{name}", None, {"x-ms-blob-type": "BlockBlob", "x-ms-blob-content-type":
                         "application/json", **{k.replace("_", "-"): v for k, v in headers.items()}}, body)[0]["etag"]

    def get(self, container, name, **query):
        return self.call("GET", f"{container}/{name}", query)[1]

    def snapshots(self, container, name):
        """Their times, oldest first."""
        _, data = self.call("GET", container, {"restype": "container", "comp": "list", "prefix": name, "include": "snapshots"})
        return [e.text for e in ET.fromstring(data).iterfind("Blobs/Blob/Snapshot")]

    def head(self, container, name):
        return self.call("HEAD", f"{container}/{name}")[0]

    def delete(self, container, name):
        self.call("DELETE", f"{container}/{name}")

    def lease(self, container, name, action, **headers):
        return self.call("PUT", f"{container}/{name}", {"comp": "lease"}, {"x-ms-lease-action": action,
                         **{k.replace("_", "-"): v for k, v in headers.items()}})[0]

    def describe(self, container, name, **headers):
        """Replaces all metadata."""
        self.call("PUT", f"{container}/{name}", {"comp": "metadata"}, {k.replace("_", "-"): v for k, v in headers.items()})

    def names(self, container, prefix=""):
        return [name for name, _ in self.listed(container, prefix)]

    def leased(self, container):
        return [name for name, leased in self.listed(container) if leased]

    def listed(self, container, prefix=""):
        """(name, is it leased)"""
        found, marker = [], ""
        while True:
            _, data = self.call("GET", container, {"restype": "container", "comp": "list", "prefix": prefix, "marker": marker})
            page = ET.fromstring(data)
            found += [(e.findtext("Name"), e.findtext("Properties/LeaseStatus") == "locked") for e in page.iterfind("Blobs/Blob")]
            marker = page.findtext("NextMarker") or ""
            if not marker:
                return found
