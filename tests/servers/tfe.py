# SPDX-License-Identifier: MIT
"""A strict fake of the API of HCP Terraform and Terraform Enterprise, version 2: what a client of state needs, and no runs.

Every request must be one that it knows, with queries, headers and members that it knows: anything else is answered, and written down in
`errors`, which fails the test. Faults come from `rules` (faults.py), people from put(), lock() and their like. Blobs have a host of their own
("localhost" beside "127.0.0.1"), where nobody may show a token. What the server sees in a state is what it was told in the request
that announced it.

    dialect "tfc"   as HCP Terraform answers
            "old"   Enterprise before 202306: a state comes inside the request; older statuses
            "otf"   the open source server: relative links, no lineage check, 500 for a refusal"""
import hashlib
import itertools
import json
import re
import time
import urllib.parse

from http_state import Answer, HttpState
from tfe_objects import KINDS, Principal, Version, Workspace, new_id, parsed
from tfe_versions import BLOB, NEVER, StateVersions

TFE_TOKEN = "tfe-canary.atlasv1.0f6e8d"
TYPE = "application/vnd.api+json"
PAGE_DEFAULT, PAGE_MAX = 20, 100
SERVICES = ("tfe.v2", "tfe.v2.1", "tfe.v2.2", "state.v2")
RIGHTS = ("can-read-state-versions", "can-create-state-versions", "can-lock", "can-unlock", "can-force-unlock", "can-update", "can-destroy")
SETTABLE = {"name", "execution-mode", "operations", "terraform-version", "source-name", "source-url", "description", "auto-apply"}
UNUSED = {"setting-overwrites"}
LISTED = {"page[number]", "page[size]", "include", "sort", "search[name]", "search[wildcard-name]", "search[tags]", "search[exclude-tags]",
          "filter[project][id]", "filter[current-run][status]", "TagBindings"}
INCLUDES = {"locked_by", "current_run", "organization", "project", "outputs", "run", "created_by", "effective_tag_bindings"}


class Tfe(StateVersions, HttpState):
    """tokens: {token: Principal}. A test may change every attribute while the server runs."""

    def __init__(self, organization="acme", token=TFE_TOKEN, dialect="tfc", limit=30, **kw):
        super().__init__(**kw)
        assert dialect in ("tfc", "old", "otf")
        self.dialect, self.organization, self.token = dialect, organization, token
        self.me = Principal("ferry")
        self.tokens = {token: self.me}
        self.projects = {"Default Project": new_id("prj")}
        self.workspaces, self.blobs, self.ticks = {}, {}, itertools.count()
        self.scheme, self.services, self.limit, self.mode, self.processing = "http", SERVICES, limit, "local", 0.0
        self.older_status, self.totals, self.window = 409, True, []

    # --- what tests ask and do, past every rule ----------------------------------------------------------------------

    def backend(self, kind="remote", hostname=None, token=True, **workspaces):
        """A block of terraform's: (type, arguments, those of its block of workspaces)."""
        args = {"hostname": hostname or f"127.0.0.1:{self.port}", "organization": self.organization}
        return kind, args | ({"token": self.token} if token else {}), workspaces

    def cli_config(self, name, token=True):
        """What a CLI configuration says so that the host NAME is this server, in the plain."""
        services = "".join(f'    "{s}" = "http://127.0.0.1:{self.port}/api/v2/"\n' for s in self.services)
        return f'host "{name}" {{\n  services = {{\n{services}  }}\n}}\n' + \
            (f'credentials "{name}" {{\n  token = "{self.token}"\n}}\n' if token else "")

    def now(self):
        """Never the same twice, so that an order by time is one."""
        at = time.time() + next(self.ticks) / 1000
        return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at)) + f".{int(at * 1000) % 1000:03}Z"

    def add(self, name, project="Default Project", **attributes):
        with self._mutex:
            return self.workspaces.setdefault(name, Workspace(name, self.projects[project], self.now(), **attributes))

    def put(self, name, body):
        """None: the workspace is deleted."""
        with self._mutex:
            if body is None:
                return self.workspaces.pop(name, None)
            doc = parsed(body)
            v = Version(doc.get("serial", 0), hashlib.md5(body).hexdigest(), doc.get("lineage"), self.now())
            v.body, v.status = body, "finalized"
            self.add(name).versions.append(v)
            return v

    def body(self, name):
        with self._mutex:
            w = self.workspaces.get(name)
            return w.current().body if w and w.current() else None

    def serials(self, name):
        with self._mutex:
            self.workspaces[name].settle()
            return [v.serial for v in self.workspaces[name].versions if v.status == "finalized"]

    def locks(self):
        with self._mutex:
            return {n: (w.holder.name, w.reason) for n, w in self.workspaces.items() if w.holder}

    def lock(self, name, who=None, reason=None):
        with self._mutex:
            w = self.workspaces[name]
            w.holder, w.reason = who or Principal("someone"), reason

    def unlock(self, name):
        with self._mutex:
            self.workspaces[name].holder = None

    def rename(self, name, new):
        with self._mutex:
            w = self.workspaces[new] = self.workspaces.pop(name)
            w.name = new

    # --- one request -------------------------------------------------------------------------------------------------

    def apply(self, entry, headers, body):
        status, out, more = super().apply(entry, headers, body)
        if entry["target"].startswith("/api/"):
            more |= {"TFP_API_Version": "2.5" if self.dialect == "otf" else "2.6", "X_Request_Id": new_id("req")}
            more |= {"tfc": {"TFP_AppName": "HCP Terraform"}, "otf": {},
                     "old": {"TFP_AppName": "Terraform Enterprise", "X_TFE_Version": "v202304-1"}}[self.dialect]
            more |= {"X_RateLimit_Limit": self.limit, "X_RateLimit_Remaining": max(0, self.limit - len(self.window))} if self.limit else {}
        return status, out, more

    def route(self, entry, headers, body):
        path, _, query = entry["target"].partition("?")
        self.entry, self.headers, self.payload = entry, headers, body
        self.query = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
        self.base = f"{self.scheme}://{headers.get('Host')}"
        if path.startswith(BLOB):
            self.blob(path.removeprefix(BLOB))
        if path == "/.well-known/terraform.json":
            self.known("GET")
            raise Answer(200, json.dumps({s: "/api/v2/" for s in self.services} | {"modules.v1": "/api/registry/v1/modules/"}).encode(),
                         Content_Type="application/json")
        self.throttle()
        m = re.fullmatch(r"/api/state-versions/([\w-]+)/(hosted_state|hosted_json_state)|/api/v2/state-versions/([\w-]+)/(download)", path)
        if m and (m[4] is None) == (self.dialect != "otf"):
            self.download(m[1] or m[3])
        self.who = self.principal()
        if not path.startswith("/api/v2/"):
            self.wrong("no such address", 404)
        parts = [urllib.parse.unquote(p) for p in path.removeprefix("/api/v2/").split("/")]
        if parts == ["ping"]:
            self.known("GET")
            raise Answer(204)
        if body and headers.get("Content-Type") != TYPE:
            self.wrong(f"Content-Type is {headers.get('Content-Type')!r}", 415)
        table = {("organizations", 2): self.of_organization, ("organizations", 3): self.of_organization, ("organizations", 4): self.by_name,
                 ("workspaces", 2): self.by_id, ("workspaces", 3): self.by_id, ("workspaces", 4): self.by_id,
                 ("state-versions", 1): self.history, ("state-versions", 2): self.version}
        if (parts[0], len(parts)) not in table:
            self.wrong("no such address", 404)
        table[parts[0], len(parts)](*parts[1:])

    def wrong(self, what, status=400):
        """A client's mistake: written down, and answered."""
        self.blame(self.entry, what)
        self.refuse(status, "bad request", what)

    def refuse(self, status, title, detail=None, **more):
        raise Answer(status, json.dumps({"errors": [{"status": str(status), "title": title} | ({"detail": detail} if detail else {})]}).encode(),
                     Content_Type=TYPE, **more)

    def missing(self):
        self.refuse(404, "not found")

    def known(self, method, query=()):
        """The request has this method, and no query but these."""
        if self.entry["method"] != method:
            self.wrong(f"the method is not {method}", 405)
        stray = {q for q in self.query if q not in query and not re.fullmatch(r"filter\[tagged\]\[\d+\]\[(key|value)\]", q)}
        if stray:
            self.wrong(f"unknown query {stray}")
        for name in set(self.query.get("include", "").split(",")) - {""} - INCLUDES:
            self.wrong(f"include parameter {name}")
        if method in ("GET", "DELETE") and self.payload:
            self.wrong("a body where none belongs")

    def principal(self):
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if token not in self.tokens:
            self.refuse(401, "unauthorized")
        self.entry["who"] = self.tokens[token].name
        return self.tokens[token]

    def throttle(self):
        """So many requests in any second, answered with how long to wait."""
        now = time.monotonic()
        self.window = [t for t in self.window if t > now - 1]
        if self.limit and len(self.window) >= self.limit:
            self.refuse(429, "Too many requests", "You have exceeded the API's rate limit.",
                        X_RateLimit_Reset=f"{self.window[0] + 1 - now:.3f}")
        self.window.append(now)

    def needs(self, right):
        if not self.who.may(right):
            self.missing()

    def sent(self, kind, attributes, relations=()):
        """What a request sends: (attributes, relations), which must be known by name."""
        try:
            doc = json.loads(self.payload)["data"]
            got, linked = doc.get("attributes", {}), doc.get("relationships", {})
            assert doc["type"] in (kind, ""), f"the type is {doc['type']!r}"
            assert set(got) <= set(attributes) and set(linked) <= set(relations), f"unknown members {set(got) | set(linked)}"
        except (ValueError, KeyError, TypeError, AssertionError) as e:
            self.wrong(f"the body: {e!r}", 422)
        return got, linked

    def answer(self, data, status=200, **more):
        raise Answer(status, json.dumps({"data": data} | more).encode(), Content_Type=TYPE)

    def page(self, items, describe):
        try:
            number, size = int(self.query.get("page[number]", 1)), min(int(self.query.get("page[size]", PAGE_DEFAULT)), PAGE_MAX)
            assert number > 0 and size > 0
        except (ValueError, AssertionError):
            self.wrong("paging")
        pages = max(1, -(-len(items) // size))
        meta = {"current-page": number, "page-size": size, "prev-page": number - 1 or None, "next-page": number + 1 if number < pages else None}
        meta |= {"total-pages": pages, "total-count": len(items)} if self.totals else {}
        self.answer([describe(i) for i in items[(number - 1) * size:number * size]], meta={"pagination": meta})

    # --- organizations and workspaces --------------------------------------------------------------------------------

    def of_organization(self, name, what=None):
        if name != self.organization:
            self.missing()
        if what == "workspaces" and self.entry["method"] == "POST":
            self.create()
        if what == "workspaces":
            self.known("GET", LISTED)
            self.page(self.selected(), self.describe)
        if what == "projects":
            self.known("GET", {"filter[names]", "q", *NEVER})
            wanted = self.query.get("filter[names]")
            self.page([p for p in self.projects if wanted in (None, p)],
                      lambda p: {"id": self.projects[p], "type": "projects", "attributes": {"name": p}})
        self.known("GET")
        if what == "entitlement-set":
            self.answer({"id": name, "type": "entitlement-sets", "attributes": {"state-storage": True, "operations": False}})
        if what is None:
            self.answer({"id": name, "type": "organizations", "attributes": {"name": name, "default-execution-mode": self.mode}})
        self.wrong("no such address", 404)

    def selected(self):
        q, found = self.query, list(self.workspaces.values())

        def words(key):
            return set(filter(None, q.get(key, "").split(",")))
        if q.get("search[name]"):
            found = [w for w in found if q["search[name]"].lower() in w.name.lower()]
        if q.get("search[wildcard-name]"):
            pattern = ".*".join(map(re.escape, q["search[wildcard-name]"].split("*")))
            found = [w for w in found if re.fullmatch(pattern, w.name)]
        if q.get("filter[project][id]"):
            found = [w for w in found if w.project == q["filter[project][id]"]]
        if q.get("filter[current-run][status]"):
            found = []
        found = [w for w in found if words("search[tags]") <= set(w.tags) and not words("search[exclude-tags]") & set(w.tags)]
        for key in [k for k in q if k.endswith("[key]")]:
            value = q.get(key.replace("[key]", "[value]"))
            found = [w for w in found if q[key] in w.tags and value in (None, w.tags[q[key]])]
        sort = q.get("sort") or "name"
        by = {"name": lambda w: w.name, "latest-change-at": lambda w: w.changed(), "current-run.created-at": lambda w: w.created}
        if sort.lstrip("-") not in by:
            self.wrong(f"sort by {sort}")
        return sorted(found, key=by[sort.lstrip("-")], reverse=sort.startswith("-"))

    def describe(self, w):
        v, linked = w.current(), {"organization": {"data": {"id": self.organization, "type": "organizations"}},
                                  "project": {"data": {"id": w.project, "type": "projects"}}}
        linked["locked-by"] = {"data": {"id": w.holder.id, "type": w.holder.kind} if w.holder else None}
        if self.dialect != "otf":
            linked["current-state-version"] = {"data": {"id": v.id, "type": "state-versions"} if v else None}
        mode = w.attributes.get("execution-mode", self.mode)
        return {"id": w.id, "type": "workspaces", "relationships": linked, "attributes": {
            "name": w.name, "locked": bool(w.holder), "locked-reason": w.reason if w.holder else None, "created-at": w.created,
            "updated-at": w.changed(), "latest-change-at": w.changed(), "terraform-version": "1.11.4", "tag-names": sorted(w.tags),
            "resource-count": 0, "permissions": {r: self.who.may(r) for r in RIGHTS}, "actions": {"is-destroyable": True},
            } | w.attributes | {"execution-mode": mode, "operations": mode != "local"}}

    def show(self, w, status=200):
        who, more = w.holder, {}
        if who and "locked_by" in self.query.get("include", ""):
            more["included"] = [{"id": who.id, "type": who.kind, "attributes": {"username" if who.kind == "users" else "name": who.name}}]
        self.answer(self.describe(w), status, **more)

    def take(self, w, got, linked):
        """The settings of a create or an update."""
        if "name" in got and not re.fullmatch(r"[A-Za-z0-9_-]{1,90}", got["name"]):
            self.refuse(422, "invalid attribute", "Name can only include letters, numbers, -, and _.")
        if got.get("name", w.name) != w.name and got["name"] in self.workspaces:
            self.refuse(422, "invalid attribute", "Name has already been taken")
        if w.name in self.workspaces and "name" in got:
            self.rename(w.name, got["name"])
        w.name = got.get("name", w.name)
        w.attributes |= {k: v for k, v in got.items() if k not in UNUSED | {"name", "operations"}}
        if linked.get("project", {}).get("data"):
            w.project = linked["project"]["data"]["id"]
            if w.project not in self.projects.values():
                self.missing()
        for item in [*linked.get("tags", {}).get("data", []), *linked.get("tag-bindings", {}).get("data", [])]:
            self.tag(w, item["attributes"])

    @staticmethod
    def tag(w, attributes):
        w.tags[attributes.get("name") or attributes["key"]] = attributes.get("value", "")

    def create(self):
        self.known("POST")
        got, linked = self.sent("workspaces", SETTABLE | UNUSED, {"project", "tags", "tag-bindings"})
        self.needs("can-update")
        w = Workspace("", self.projects["Default Project"], self.now())
        self.take(w, got, linked)
        self.workspaces[w.name] = w
        self.show(w, 201)

    def by_name(self, organization, what, name):
        w = self.workspaces.get(name)
        if organization != self.organization or what != "workspaces" or w is None:
            self.missing()
        self.one(w)

    def one(self, w):
        method = self.entry["method"]
        if method == "PATCH":
            self.known("PATCH")
            self.needs("can-update")
            self.take(w, *self.sent("workspaces", SETTABLE | UNUSED, {"project", "tags", "tag-bindings"}))
        elif method == "DELETE":
            self.known("DELETE")
            self.needs("can-destroy")
            del self.workspaces[w.name]
            raise Answer(204)
        else:
            self.known("GET", {"include"})
        self.show(w)

    def by_id(self, identity, what=None, action=None):
        w = next((w for w in self.workspaces.values() if w.id == identity), None)
        if w is None:
            self.missing()
        self.entry["name"] = w.name
        if what is None:
            self.one(w)
        verb = f"{self.entry['method']} {what}" + (f" {action}" if action else "")
        table = {"POST actions lock": self.do_lock, "POST actions unlock": self.do_unlock, "POST actions force-unlock": self.do_force,
                 "POST actions safe-delete": self.do_delete, "GET current-state-version": self.do_current,
                 "POST state-versions": self.do_create, "GET tag-bindings": self.do_tags, "PATCH tag-bindings": self.do_tags,
                 "POST relationships tags": self.do_tags}
        if verb not in table:
            self.wrong("no such address or method here", 404)
        self.known(self.entry["method"], {"include"} if "current" in verb else ())
        table[verb](w)

    def do_tags(self, w):
        if self.entry["method"] != "GET":
            for item in json.loads(self.payload)["data"]:
                self.tag(w, item["attributes"])
        if self.entry["method"] == "POST":
            raise Answer(204)
        self.answer([{"id": new_id("tag"), "type": "tag-bindings", "attributes": {"key": k, "value": v}} for k, v in w.tags.items()])

    def do_delete(self, w):
        self.needs("can-destroy")
        if w.holder:
            self.refuse(409, "conflict", "Workspace is currently locked.")
        if w.current() and json.loads(w.current().body).get("resources"):
            self.refuse(409, "conflict", "Workspace manages resources and cannot be safely deleted.")
        del self.workspaces[w.name]
        raise Answer(204)

    # --- locks -------------------------------------------------------------------------------------------------------

    def do_lock(self, w):
        doc = json.loads(self.payload) if self.payload else {}
        reason = doc["reason"] if "reason" in doc else self.sent("workspaces", {"reason"})[0].get("reason") if doc else None
        self.needs("can-lock")
        if w.holder:
            if self.dialect == "otf":
                raise Answer(409)
            self.refuse(409, "conflict", "Unable to lock workspace. The workspace is already locked.")
        w.holder, w.reason = self.who, reason
        self.show(w)

    def do_unlock(self, w):
        self.needs("can-unlock")
        if w.holder is None:
            self.refuse(409, "conflict", "Unable to unlock workspace. The workspace is already unlocked.")
        if w.holder is not self.who:
            self.refuse(409, "conflict", f"Unable to unlock workspace. The workspace is locked by {KINDS[w.holder.kind]} {w.holder.name}.")
        if w.pending():
            self.refuse(503, "service unavailable", "Unable to unlock workspace. The latest state version is still pending.")
        w.holder = None
        self.show(w)

    def do_force(self, w):
        self.needs("can-force-unlock")
        if w.holder is None:
            self.refuse(409, "conflict", "Unable to force unlock workspace. The workspace is already unlocked.")
        w.holder = None
        self.show(w)
