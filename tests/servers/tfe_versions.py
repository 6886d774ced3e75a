# SPDX-License-Identifier: MIT
"""The state versions of the fake of HCP Terraform (tfe.py), and the host of their blobs."""
import base64
import hashlib
import json
import re
import time

from http_state import Answer
from tfe_objects import KINDS, Version, new_id, parsed

BLOB = "/_archivist/v1/object/"
TFE_LINK = "-canary-of-a-signed-link"
NEVER = {"page[number]", "page[size]"}


class StateVersions:
    """Part of Tfe, whose request it answers."""

    def link(self, v, kind):
        """A secret address at the host of blobs: of a download, or of an upload that works once."""
        if kind == "read" or kind not in v.links:
            secret = new_id("secret") + TFE_LINK
            self.blobs[secret] = (v, kind)
            v.links[kind] = secret
        host, _, port = self.headers.get("Host").partition(":")
        other = "localhost" if host == "127.0.0.1" else "127.0.0.1"
        return f"{self.scheme}://{other}:{port}{BLOB}{v.links[kind]}"

    def describe_version(self, v, w):
        uploads = {f"hosted-{'' if k == 'state' else 'json-'}state-upload-url": self.link(v, k) for k in ("state", "json")
                   if self.dialect == "otf" or (self.dialect == "tfc" and v.status == "pending" and v.links.get(k) != "used")}
        got, doc = {"serial": v.serial, "created-at": v.created, "status": v.status, "terraform-version": None}, {}
        if v.body is not None and v.status == "finalized":
            doc = parsed(v.body)
            got |= {"hosted-state-download-url": f"/api/v2/state-versions/{v.id}/download" if self.dialect == "otf"
                    else f"{self.base}/api/state-versions/{v.id}/hosted_state"}
            got |= {"state-version": doc.get("version"), "terraform-version": doc.get("terraform_version")}
        if self.dialect != "otf":
            got |= {"size": len(v.body or b""), "intermediate": False, "resources-processed": True, "resources": []}
        return {"id": v.id, "type": "state-versions", "attributes": got | uploads,
                "relationships": {"workspace": {"data": {"id": w.id, "type": "workspaces"}}, "outputs": {"data": []},
                                  "run": {"data": {"id": v.run, "type": "runs"} if v.run else None}}}

    def do_current(self, w):
        self.needs("can-read-state-versions")
        if w.current() is None:
            self.missing()
        self.answer(self.describe_version(w.current(), w))

    def find(self, identity):
        self.needs("can-read-state-versions")
        return next(((v, w) for w in self.workspaces.values() for v in w.versions if v.id == identity), None) or self.missing()

    def version(self, identity):
        self.known("GET", {"include"})
        v, w = self.find(identity)
        w.settle()
        self.answer(self.describe_version(v, w))

    def history(self):
        names = ("filter[organization][name]", "filter[workspace][name]")
        self.known("GET", {*names, "filter[status]", "include", *NEVER})
        if not all(self.query.get(n) for n in names):
            self.wrong(f"both of {names} are needed", 422)
        w = self.workspaces.get(self.query[names[1]])
        self.needs("can-read-state-versions")
        if self.query[names[0]] != self.organization or w is None:
            self.missing()
        w.settle()
        self.page([v for v in reversed(w.versions) if self.query.get("filter[status]") in (None, v.status)],
                  lambda v: self.describe_version(v, w))

    def do_create(self, w):
        got, _ = self.sent("state-versions", {"serial", "md5", "lineage", "state", "json-state", "json-state-outputs", "force"}, {"run"})
        self.needs("can-create-state-versions")
        serial, md5 = got.get("serial"), got.get("md5")
        if not isinstance(serial, int) or not re.fullmatch(r"[0-9a-f]{32}", md5 or ""):
            self.wrong("serial or md5 are missing", 422)
        body = base64.b64decode(got["state"], validate=True) if got.get("state") else None
        if body is None and self.dialect == "old":
            self.refuse(400, "bad request", "param is missing or the value is empty: state")
        if body is not None and hashlib.md5(body).hexdigest() != md5:
            self.wrong("the md5 is not that of the state", 422)
        if self.dialect != "otf" and w.holder is not self.who:
            self.refuse(409, "conflict", f"The workspace is locked by {KINDS[w.holder.kind]} {w.holder.name}." if w.holder else
                        "The workspace is not locked. State can only be uploaded to a locked workspace.")
        if not got.get("force"):
            self.compare(w.current(), serial, md5, got.get("lineage"))
        v = Version(serial, md5, got.get("lineage"), self.now())
        w.versions.append(v)
        if body is not None:
            self.receive(v, body)
        w.settle()
        self.answer(self.describe_version(v, w), 201)

    def compare(self, now, serial, md5, lineage):
        status, older = (500, 500) if self.dialect == "otf" else (409, self.older_status)
        if now and self.dialect != "otf" and lineage and now.lineage and lineage != now.lineage:
            self.refuse(status, "conflict", f"The state's lineage {lineage} does not match the workspace's lineage {now.lineage}.")
        if now and serial < now.serial:
            self.refuse(older, "conflict", f"The serial {serial} is not greater than the serial {now.serial} of the current state.")
        if now and serial == now.serial and md5 != now.md5:
            self.refuse(status, "conflict", "A state with a different MD5 hash and the same serial number exists.")

    def receive(self, v, body):
        """Checked against what was announced."""
        try:
            doc = json.loads(body)
            assert doc.get("serial", 0) == v.serial and v.lineage in (None, doc.get("lineage")), "serial or lineage are not those announced"
        except (ValueError, AssertionError) as e:
            self.wrong(f"the state: {e}", 422)
        v.body, v.ready = body, time.monotonic() + self.processing

    # --- blobs -------------------------------------------------------------------------------------------------------

    def download(self, identity):
        self.known("GET")
        self.who = self.principal()
        v, w = self.find(identity)
        w.settle()
        if v.status != "finalized":
            self.missing()
        if self.dialect == "otf":
            raise Answer(200, v.body, Content_Type="application/json")
        raise Answer(302, Location=self.link(v, "read"))

    def blob(self, secret):
        method, (v, kind) = self.entry["method"], self.blobs.get(secret, (None, None))
        if self.headers.get("Authorization") or self.headers.get("Cookie"):
            self.wrong("a token or cookie is shown to the host of the blobs", 400)
        if self.headers.get("Referer") and "stateferry" in self.entry["agent"]:
            self.wrong("a signed link tells where it came from")
        if v is None or (method == "GET") != (kind == "read"):
            raise Answer(404, b"<Error><Code>NoSuchKey</Code></Error>", Content_Type="application/xml")
        self.known("GET" if kind == "read" else "PUT")
        if method == "GET":
            raise Answer(200, v.body, Content_Type="application/octet-stream")
        if kind == "state" and hashlib.md5(self.payload).hexdigest() != v.md5:
            self.wrong("the md5 is not that announced", 422)
        if kind == "state":
            self.receive(v, self.payload)
        if self.dialect != "otf":
            v.links[kind] = "used"
            del self.blobs[secret]
        raise Answer(200)
